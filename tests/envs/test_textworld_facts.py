"""What TextWorld tells of each turn: the contract of its facts."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from math import exp
from typing import Any

import gymnasium as gym
import pytest

pytest.importorskip("textworld", reason="needs agentgym-env[textworld]")

from agentgym.envs import textworld_shelf
from agentgym.envs.textworld import TextWorld
from agentgym.envs.textworld_grounding import Position
from agentgym.envs.textworld_oracle import IDLE, Planner
from agentgym.tasks.textworld_games import load_game

TASKS = (
    *("coin:level=110:seed=0", "treasure:level=21:seed=1", "simple:level=1:seed=0"),
    *("cooking:level=8:seed=0", "custom:level=3:seed=1"),
)
COOKING = "cooking:level=3:seed=1"


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for the module, unless the caller keeps one."""
    with pytest.MonkeyPatch.context() as patch:
        if "AGENTGYM_CACHE" not in os.environ:
            patch.setenv("AGENTGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def env() -> Iterator[TextWorld]:
    made = gym.make("agentgym/TextWorld-v0")
    assert isinstance(made, TextWorld)
    yield made
    made.close()


def start(env: TextWorld, task: str) -> dict[str, Any]:
    _, info = env.reset(seed=0, options={"task": task, "hints": ["admissible", "oracle"]})
    return info


@pytest.mark.parametrize("task", TASKS)
def test_facts_keep_their_contract(task: str, env: TextWorld) -> None:
    rng = random.Random(6)
    for _ in range(4):
        info = start(env, task)
        before = info["facts"]
        assert before["progress"] == before["regret"] == 0
        assert set(before["subgoals"].values()) <= {None, 0}
        begun = before["remaining"]
        over = False
        while not over:
            best = info["oracle"]
            by_oracle = best is not None and rng.random() < 0.5
            odd = ["xyzzy", "save", "take it", "look then look"]
            command = best if by_oracle else rng.choice([*info["admissible"], *odd])
            *_, terminated, truncated, info = env.step(command)
            over = terminated or truncated
            facts = info["facts"]
            told = {"valid", *TextWorld.provides} - {"max_score"}  # said once, at the start
            assert set(facts) - {"ignored"} == told
            assert facts["dead_end"] == (facts["remaining"] is None) == (facts["progress"] is None)
            assert facts["dead_end"] == (facts["regret"] is None)
            if not facts["dead_end"]:
                change = before["remaining"] - facts["remaining"]
                assert facts["progress"] == (change > 0) - (change < 0)
                assert facts["regret"] == env.turn + facts["remaining"] - begun
                assert (facts["remaining"] == 0) == (terminated and info["outcome"].passed)
                assert not by_oracle or change == 1
            elif terminated:
                assert info["outcome"].label == "lost"
            for name, turn in facts["subgoals"].items():
                earlier = before["subgoals"][name]
                assert turn == earlier or (earlier is None and turn == env.turn)
            assert facts["target_entropy"] >= 0.0
            if facts["dead_end"]:
                break
            before = facts


def shortest(planner: Planner, position: Position, most: int = 60_000) -> int | None:
    """Commands to a win by brute force: breadth first, every action; -1 where there is none."""
    if planner.won(position):
        return 0
    seen, layer, depth = {position}, [position], 0
    while layer and len(seen) < most:
        depth += 1
        further = []
        for each in layer:
            for step in (IDLE, *planner._applicable(each)):
                after = planner.after(each, step)
                if after is None or after in seen:
                    continue
                if planner.won(after):
                    return depth
                seen.add(after)
                further.append(after)
        layer = further
    return None if layer else -1


@pytest.mark.parametrize(
    "task",
    [
        *("coin:level=10:seed=0", "treasure:level=5:seed=1", "treasure:level=15:seed=1"),
        *("custom:level=3:seed=0", "simple:level=1:seed=0", "cooking:level=1:seed=0"),
    ],
)
def test_what_remains_is_the_shortest_way_by_brute_force(task: str) -> None:
    planner = Planner(textworld_shelf.load_grounding(load_game(task)))
    rng = random.Random(8)
    compared = 0
    for _ in range(12):
        position = planner._grounding.position()
        for _ in range(rng.randrange(20)):
            route = planner.route(position)
            step = rng.choice(planner._applicable(position))
            if route is not None and rng.random() < 0.6:
                step = route.step
            after = planner.after(position, step)
            if after is None or planner.won(after):
                break
            position = after
        length = shortest(planner, position)
        if length is None:
            continue
        route = planner.route(position)
        assert (route.length if route else -1) == length
        compared += 1
    assert compared > 5


def test_turning_back_costs_no_more_than_the_way_there(env: TextWorld) -> None:
    info = start(env, "custom:level=3:seed=1")
    there = {"north": "south", "south": "north", "east": "west", "west": "east"}
    for command in info["admissible"]:
        if command.startswith("go "):
            before = start(env, "custom:level=3:seed=1")["facts"]["remaining"]
            away = env.step(command)[-1]["facts"]
            assert away["remaining"] <= before + 1
            back = env.step(f"go {there[command[3:]]}")[-1]["facts"]
            assert back["remaining"] == before
            assert back["progress"] == -away["progress"]
            assert back["regret"] == 2


def test_a_dead_end_is_told_before_the_game_is_over(env: TextWorld) -> None:
    """Food that the recipe wants, eaten raw, or cut where it must not be: no win any more."""
    rng = random.Random(1)
    for _ in range(20):
        info = start(env, COOKING)
        while not info["facts"]["dead_end"] and "outcome" not in info:
            best = info["oracle"]
            spoiling = [c for c in info["admissible"] if c.split()[0] in ("eat", "cook", "chop")]
            *_, info = env.step(rng.choice([best, best, *spoiling]))
        if info["facts"]["dead_end"]:
            break
    facts = info["facts"]
    assert (facts["remaining"], facts["progress"], facts["regret"]) == (None, None, None)
    assert facts["target_entropy"] == 0.0


def test_a_refused_command_has_facts_and_costs_a_turn(env: TextWorld) -> None:
    before = start(env, COOKING)["facts"]
    *_, info = env.step("save")
    assert info["invalid"] == "inadmissible"
    facts = info["facts"]
    assert not facts["valid"]
    assert (facts["remaining"], facts["progress"]) == (before["remaining"], 0)
    assert facts["regret"] == 1
    assert facts["state_key"] == before["state_key"]


def test_facts_of_the_oracle_can_be_left_out() -> None:
    made = gym.make("agentgym/TextWorld-v0", oracle_facts=False)
    _, info = made.reset(options={"task": COOKING, "hints": ["oracle"]})
    assert set(info["facts"]) == {"max_score", "score", "state_key"}
    over = False
    while not over:
        _, reward, over, _, info = made.step(info["oracle"])
        assert set(info["facts"]) == {"valid", "score", "state_key"}
    assert reward == 1.0
    made.close()


def test_subgoals_are_the_quests_and_when_they_were_done(env: TextWorld) -> None:
    info = start(env, "simple:level=1:seed=0")
    names = list(info["facts"]["subgoals"])
    assert len(names) == len(set(names)) > 5
    assert all(name.startswith("quest ") for name in names)
    while "outcome" not in info:
        *_, info = env.step(info["oracle"])
    turns = info["facts"]["subgoals"].values()
    assert None not in turns
    assert max(turns) == env.turn


def test_target_entropy_counts_the_rooms_not_seen(env: TextWorld) -> None:
    info = start(env, "coin:level=10:seed=0")
    seen = [info["facts"]["target_entropy"]]
    while "outcome" not in info:
        *_, info = env.step(info["oracle"])
        seen.append(info["facts"]["target_entropy"])
    # Ten rooms, one of them seen at the start, and one more with each step but the last (`take`).
    assert [round(exp(entropy)) for entropy in seen] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 1]
    assert seen[-2] == seen[-1] == 0.0


def test_target_entropy_counts_what_was_not_looked_into(env: TextWorld) -> None:
    info = start(env, "simple:level=1:seed=0")
    before = info["facts"]["target_entropy"]
    opening = next(c for c in info["admissible"] if c.startswith("open "))
    *_, info = env.step(opening)
    assert 0.0 <= info["facts"]["target_entropy"] < before
