"""agentgym/ALFWorld-v0: its arguments, its episodes and how they end, its facts and snapshots."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from households import ALFWORLD, choose, make, need_alfworld, play, room, start
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgym.actions import Action
from agentgym.envs.alfworld import ALFWorld
from agentgym.envs.alfworld_text import VERSIONS
from agentgym.errors import ConfigError, ResetNeeded, TaskError
from agentgym.tasks import alfworld_data
from agentgym.tasks.alfworld import LISTED, SEEDS
from agentgym.tasks.alfworld_game import TASK_TYPES, write_problem

EXACT = {"remaining", "progress", "regret", "dead_end", "subgoals", "target_entropy"}
GAME = "heat:size=small:seed=1"
REFUSED = "Nothing happens."


@pytest.fixture
def own_game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ALFWorld:
    """A game with a dead end, in the form that official games come in."""
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path / "cache"))
    game = room(
        {"shelf_bar_1": "loc_bar_1", "drawer_bar_1": "loc_bar_2"},
        {"mug_bar_1": "drawer_bar_1", "book_bar_1": "shelf_bar_1"},
        fits={"shelf": ["mug"], "drawer": ["mug"]},
    )
    line = {
        "id": "pick_and_place_simple-Mug-None-Shelf-1/trial_T1",
        "task_type": TASK_TYPES[game.task_type],
        "split": "valid_seen",
        "scene": "FloorPlan1",
        "task": "put a mug on the shelf",
        "human_goals": ["Put the mug away."],
        "pddl_problem": write_problem(game),
    }
    lines = tmp_path / "alfworld-valid_seen-2.1.1.jsonl"
    lines.write_text(json.dumps(line) + "\n")
    return make(split="valid_seen", data=tmp_path)


# -------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task_types": "pik"}, "has no task type 'pik': .*did you mean 'pick'"),
        ({"task_types": "pick_and_place"}, "did you mean 'pick_and_place_simple'"),
        ({"task_types": "pick,pick"}, "name at least one, and each only once"),
        ({"task_types": []}, "name at least one, and each only once"),
        ({"size": "tiny"}, "size is 'tiny': give one of small, full"),
        ({"size": "small", "split": "train"}, "only generated games come in sizes"),
        ({"version": "2.1.3"}, r"version is '2\.1\.3': give one of 2\.1\.2, 2\.1\.1"),
        ({"parity": "loose"}, "parity is 'loose': give one of strict, relaxed"),
        ({"goal": "people"}, "goal is 'people': give one of template, human"),
        ({"backend": "pip"}, "backend is 'pip': give one of native, reference"),
        ({"dialect": "2.1.1"}, r"give version='2\.1\.1'"),
        ({"dialect": "2.1.2"}, r"give version='2\.1\.2'"),
        ({"dialect": "morse"}, "morse"),
        ({"max_turns": 0}, "max_turns is 0"),
        ({"data": "somewhere"}, "data is 'somewhere': split 'generated' is made, not read"),
        ({"data": "/nowhere", "split": "train"}, "no ALFWorld games at '/nowhere'"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        gym.make(ALFWORLD, **arguments)
    assert "\n" not in str(caught.value)


def test_an_unknown_split_is_told_with_a_near_one() -> None:
    with pytest.raises(TaskError, match=r"no split 'valid_sen': .*did you mean 'valid_seen'"):
        gym.make(ALFWORLD, split="valid_sen")


def test_a_split_whose_data_is_not_here_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path))
    alfworld_data.forget()
    with pytest.raises(ConfigError, match="agentgym data alfworld"):
        gym.make(ALFWORLD, split="valid_unseen")


def test_relaxed_games_are_the_native_engines() -> None:
    need_alfworld()
    with pytest.raises(ConfigError, match="parity='relaxed' is the native engine's"):
        gym.make(ALFWORLD, backend="reference", parity="relaxed")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("clean", "ids read 'clean:seed=123'"),
        ("pikc:seed=1", "did you mean 'pick'"),
        ("clean:seed=", "ids read"),
        ("clean:seed=-1", "ids read"),
        ("clean:seed=1 ", "ids read"),
        ("clean:seed=01", "did you mean 'clean:seed=1'"),
        ("clean:size=full:seed=1", "did you mean 'clean:seed=1'"),
        ("clean:size=huge:seed=1", "sizes are small, full"),
        ("clean:seed=1000000", "seeds of this split 0 to 999999"),
        ("clean:seed=99999999999", "ids read"),
        ("clean:seed=\u0661", "ids read"),
        ("", "no generated ALFWorld task ''"),
    ],
)
def test_a_wrong_task_is_told_in_one_line(task: str, message: str) -> None:
    env = make()
    with pytest.raises(TaskError, match=message) as caught:
        start(env, task)
    assert "\n" not in str(caught.value)
    with pytest.raises(ResetNeeded):
        env.step("look")


@pytest.mark.parametrize("split", SEEDS)
def test_each_split_has_its_own_seeds(split: str) -> None:
    env = make(split=split)
    for seed in (SEEDS[split].start, SEEDS[split].stop - 1):
        assert start(env, f"pick:seed={seed}")[1]["task"].split == split
    for seed in (SEEDS[split].start - 1, SEEDS[split].stop):
        with pytest.raises(TaskError):
            start(env, f"pick:seed={seed}")


def test_task_types_take_turns_and_may_be_named_either_way() -> None:
    env = make(task_types="heat, pick_two_obj_and_place", size="small")
    tasks = env.tasks()
    assert list(tasks[:3]) == [f"{kind}:size=small:seed={n}" for kind, n in
                               (("heat", 0), ("pick2", 0), ("heat", 1))]  # fmt: skip
    assert len(tasks) == 2 * LISTED["generated"]
    assert make(task_types=["pick2", "heat"]).tasks()[0] == "pick2:seed=0"
    for index in (0, 1, len(tasks) - 1):
        task = env.find_task(tasks[index])
        assert task.id == tasks[index]
        assert task.data["task_type"] in (TASK_TYPES["heat"], TASK_TYPES["pick2"])


def test_the_instructions_say_put_as_the_version_does() -> None:
    new, old = (make(version=version).instructions for version in VERSIONS)
    assert "move OBJECT to RECEPTACLE" in new
    assert "put OBJECT in/on RECEPTACLE" in old
    assert "{" not in new + old


# -------------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("parity", ["strict", "relaxed"])
@pytest.mark.parametrize("kind", TASK_TYPES)
def test_winning_pays_one_and_ends_the_episode(kind: str, parity: str, version: str) -> None:
    env = make(parity=parity, version=version)
    _, info = start(env, f"{kind}:seed=3", "oracle")
    ended, turns = False, info["facts"]["remaining"]
    while not ended:
        assert env.turn < turns
        _, reward, ended, truncated, info = env.step(info["oracle"])
        assert reward == float(ended)
        assert not truncated
        assert info["invalid"] is None
        assert ("outcome" in info) == ended
    assert env.turn == turns
    assert (info["outcome"].score, info["outcome"].label) == (1.0, "won")
    assert (info["facts"]["score"], info["facts"]["remaining"]) == (1.0, 0)
    with pytest.raises(ResetNeeded):
        env.step("look")


@pytest.mark.parametrize("last", ["look", "no command"])
def test_running_out_of_turns_is_no_success(last: str) -> None:
    env = make(max_turns=4)
    start(env, GAME)
    for _ in range(3):
        assert env.step("look")[1:4] == (0.0, False, False)
    _, reward, terminated, truncated, info = env.step(last)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert (info["outcome"].score, info["outcome"].label) == (0.0, "limit")
    assert not info["outcome"].passed
    assert info["facts"]["score"] == 0.0


def test_winning_with_the_last_turn_is_winning() -> None:
    turns = start(make(), GAME)[1]["facts"]["remaining"]
    env = make(max_turns=turns)
    _, info = start(env, GAME, "oracle")
    for _ in range(turns):
        _, reward, terminated, truncated, info = env.step(info["oracle"])
    assert (reward, terminated, truncated) == (1.0, True, False)


def test_one_turn_short_of_winning_pays_nothing() -> None:
    turns = start(make(), GAME)[1]["facts"]["remaining"]
    env = make(max_turns=turns - 1)
    _, info = start(env, GAME, "oracle")
    for _ in range(turns - 1):
        _, reward, terminated, truncated, info = env.step(info["oracle"])
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["facts"]["remaining"] == 1


def test_a_dead_end_is_told_and_does_not_end_the_episode(own_game: ALFWorld) -> None:
    task = own_game.tasks()[0]
    _, info = start(own_game, task, "oracle")
    assert info["facts"]["remaining"] == 5
    assert info["facts"]["dead_end"] is False
    own_game.step("go to shelf 1")
    for command in ("take book 1 from shelf 1", "look", "go to drawer 1", "fly"):
        _, reward, terminated, truncated, info = own_game.step(command)
        assert (reward, terminated, truncated) == (0.0, False, False)
        facts = info["facts"]
        assert facts["dead_end"] is True
        assert facts["remaining"] is facts["progress"] is facts["regret"] is None
        assert info["oracle"] is None


# -------------------------------------------------------------------------------- invalid commands


def test_what_is_not_possible_is_refused_and_changes_nothing() -> None:
    env = make()
    start(env, GAME, "admissible")
    *_, before = env.step("look")
    text, reward, terminated, truncated, info = env.step("take moon 1 from sky 1")
    assert text == REFUSED
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["invalid"] == "inadmissible"
    assert info["action"] == "take moon 1 from sky 1"
    assert info["facts"]["valid"] is False
    assert before["facts"]["valid"] is True
    assert info["admissible"] == before["admissible"]
    changing = {"valid", "regret"}
    for name in before["facts"].keys() - changing:
        assert info["facts"][name] == before["facts"][name]
    assert info["facts"]["regret"] == before["facts"]["regret"] + 1  # a turn is a turn


def test_what_is_admissible_is_canonical_sorted_and_possible() -> None:
    env, rng = make(), random.Random(1)
    start(env, GAME)
    for _ in range(20):
        listed = env.admissible()
        assert all(type(each) is Action for each in listed)
        assert list(listed) == sorted(set(listed))
        here = env.snapshot()
        for command in listed:
            env.restore(here)
            assert env.step(command)[4]["invalid"] is None
        env.restore(here)
        env.step(choose(rng, listed, 0.0))


TALK = st.one_of(
    st.text(max_size=60),
    st.text("takemovputin/ 123shelfmug", max_size=40),
    st.sampled_from(
        ["look", "go to ", "x", "\0", "\ud800", "é", "١", "{}", "%s", "<think>"]
    ).flatmap(lambda text: st.integers(0, 3_000).map(lambda times: text * times)),
)


@pytest.fixture(scope="module", params=[("strict", "2.1.2"), ("relaxed", "2.1.1")])
def talked_to(request: pytest.FixtureRequest) -> ALFWorld:
    parity, version = request.param
    env = make(parity=parity, version=version, max_turns=10**9, size="small")
    start(env, GAME)
    return env


@given(command=TALK)
@settings(
    deadline=None,
    derandomize=True,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_is_said_is_answered_in_short(talked_to: ALFWorld, command: str) -> None:
    text, reward, terminated, truncated, info = talked_to.step(command)
    assert isinstance(text, str)
    assert len(text) <= 2_000
    assert text.encode()
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["facts"]["valid"] == (info["invalid"] is None)
    if info["invalid"] == "inadmissible":
        assert text == REFUSED


# -------------------------------------------------------------------------------- facts


def test_facts_are_those_it_says_it_provides() -> None:
    env = make()
    _, info = start(env, GAME)
    assert info["facts"].keys() == env.provides == {"score", "state_key"} | EXACT
    for command in ("look", "xyzzy", info["facts"] and "go to nowhere"):
        *_, info = env.step(command)
        assert info["facts"].keys() == env.provides | {"valid"}


def test_the_oracles_facts_may_be_left_out() -> None:
    env, full = make(oracle_facts=False), make()
    assert env.provides == {"score", "state_key"}
    for world in (env, full):
        start(world, GAME)
    assert full.provides == ALFWorld.provides  # each has its own
    for (_, *told), (_, *more) in zip(play(env, 1, 30), play(full, 1, 30), strict=True):
        facts, all_facts = told[4].pop("facts"), more[4].pop("facts")
        assert facts.keys() == {"valid", "score", "state_key"}
        assert facts == {name: all_facts[name] for name in facts}
        assert told == more


def test_people_put_the_goal_in_their_own_words_by_the_seed() -> None:
    env = make(goal="human")
    goal = "Your task is to: "
    openings = [start(env, GAME, seed=seed)[0].split(goal) for seed in range(20)]
    assert openings == [start(env, GAME, seed=seed)[0].split(goal) for seed in range(20)]
    assert 2 <= len({said for _, said in openings}) <= 3
    opening, template = start(make(), GAME)[0].split(goal)
    assert {each for each, _ in openings} == {opening}
    assert template not in {said for _, said in openings}
