"""Where rewards run: online, while collecting, on stored runs, and from the command line."""

from __future__ import annotations

import asyncio
import json
import warnings
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from browsing import need_browser
from episodes import told
from gymnasium.utils.env_checker import check_env

import agentgym
from agentgym import cli
from agentgym.collector import Collector, episode_keys
from agentgym.errors import RewardError
from agentgym.evaluate import Plan, Run
from agentgym.policy import open_policy
from agentgym.rewards import PRESETS, Bound, Stage, bind, parse
from agentgym.rewards.collecting import rewarded
from agentgym.rewards.online import ShapedReward
from agentgym.rewards.rescore import record, recorded, rescore, row
from agentgym.store import Store
from agentgym.types import Outcome

ENV = "agentgym/ALFWorld-v0"
SMALL = {"size": "small"}
TASKS = ["clean:size=small:seed=1", "pick2:size=small:seed=2", "look:size=small:seed=3"]
CAUSAL = "outcome + 0.1 * progress - 0.05 * invalid_penalty.over(50)"
UNCOUNTED = "length_penalty(1, 2, length='tokens')"
"""No engine counted what a random player said."""
GROUPED = "outcome.group(zscore(pool='totals')) + 0.1 * progress.group(zscore())"


def play(policy: str, out: Path, group: int = 2, env: str = ENV, **args: object) -> Store:
    tasks = tuple(TASKS) if env == ENV else ()
    if not args and env == ENV:
        args = {**SMALL}
    plan = Plan(env, policy, args, tasks=tasks, limit=None if tasks else 3, group=group)
    run = Run(plan, out)

    async def everything() -> None:
        async for _ in run.stream(concurrency=4):
            pass

    asyncio.run(everything())
    run.close()
    return Store.open(out)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three tasks, twice each, by a player who knows nothing."""
    return play("random", tmp_path_factory.mktemp("runs") / "random")


# ------------------------------------------------------------------------------------------ online


@pytest.mark.parametrize("reward", [CAUSAL, "(2 - outcome).sum()", "discounted_pass.clip(0.5, 1)"])
def test_a_shaped_environment_pays_turn_by_turn_what_the_stored_run_pays(reward):
    env = ShapedReward(gym.make(ENV, **SMALL), reward)
    plain = Collector(lambda: gym.make(ENV, **SMALL), open_policy("oracle"))
    (trajectory,) = plain.run(episode_keys(ENV, TASKS[:1], seeds=[0]))
    scored = bind(parse(reward), env.unwrapped).score([trajectory])[0]
    env.reset(seed=0, options={"task": TASKS[0]})
    paid = []
    for turn in trajectory.turns:
        _, now, *_, info = env.step(turn.action)
        paid.append(now)
        assert sum(value or 0.0 for value in info["signals"].values()) == pytest.approx(now)
    assert paid == scored.per_turn.tolist()
    assert info["outcome"].score == 1.0


@pytest.mark.parametrize(
    ("reward", "reason"),
    [
        ("outcome + format", r"format\.mean\(\) .* say format\.over\(max_turns\), or format\.sum"),
        ("format.when(outcome >= 0.5)", "before the episode ends"),
        (GROUPED, "before all of its group have ended"),
        ("box_iou.sum()", "box_iou needs the fact 'box'"),
    ],
)
def test_what_cannot_be_paid_online_is_refused_by_name(reward, reason):
    with pytest.raises(RewardError, match=reason):
        ShapedReward(gym.make(ENV), reward)


def test_a_shaped_environment_can_be_collected_from():
    collector = Collector(
        lambda: ShapedReward(gym.make(ENV, **SMALL), CAUSAL), open_policy("oracle"), concurrency=2
    )
    trajectories = collector.run(episode_keys(ENV, TASKS, seeds=[0]))
    for trajectory in trajectories:
        assert trajectory.outcome.score == 1.0
        for turn in trajectory.turns:
            assert set(turn.signals) == {
                "outcome",
                "0.1 * progress",
                "-(0.05 * invalid_penalty.over(50))",
            }
            assert turn.reward == pytest.approx(sum(v or 0.0 for v in turn.signals.values()))
        outcomes = [turn.signals["outcome"] for turn in trajectory.turns]
        assert outcomes == [*[None] * (len(outcomes) - 1), 1.0]  # there is none before the end


def test_a_shaped_environment_is_one_of_gymnasiums():
    env = ShapedReward(gym.make(ENV, **SMALL), "outcome - 0.05 * invalid_penalty.over(50)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*a wrapper applied to it")
        check_env(env)
    again = gym.make(env.spec)
    assert isinstance(again, ShapedReward)
    assert str(again.reward) == str(env.reward)
    for world in (env, again):
        world.reset(seed=0, options={"task": TASKS[0]})
    assert env.step("fly away") == again.step("fly away")


def test_what_could_not_be_verified_is_no_fault_of_the_environment():
    class Unverified(gym.Wrapper):
        """Ends at once, and cannot say how."""

        provides = frozenset()

        def step(self, action):
            shown, _, _, _, info = self.env.step(action)
            unknown = Outcome(0.0, False, "no_tests", available=False)
            return shown, 0.0, True, False, {**info, "outcome": unknown}

    env = ShapedReward(Unverified(gym.make(ENV, **SMALL)), "outcome - 0.5 + valid.over(4)")
    _, info = env.reset(seed=0, options={"task": TASKS[0], "hints": ["oracle"]})
    _, paid, terminated, _, info = env.step(info["oracle"])
    assert terminated
    assert info["outcome"].label == "no_tests"
    assert info["signals"] == {"outcome": None, "(-0.5).at_end()": None, "valid.over(4)": 0.25}
    assert paid == 0.25


def test_schedules_follow_the_training_step_online_too():
    env = ShapedReward(gym.make(ENV, **SMALL), "valid.over(4).weight(linear(1.0, 0.0, 10))")
    paid = []
    for env.training_step in (0.0, 5.0, 10.0):
        _, info = env.reset(seed=0, options={"task": TASKS[0], "hints": ["oracle"]})
        paid.append(env.step(info["oracle"])[1])
    assert paid == [0.25, 0.125, 0.0]


@pytest.mark.parametrize("reward", ["0.1 * progress + valid.over(50)", "novelty(fact='progress')"])
def test_what_is_paid_online_costs_the_same_late_as_early_where_no_part_looks_back(
    reward, monkeypatch
):
    seen = []
    score = Bound.score

    def counted(self, trajectories, step=0.0):
        seen.append(len(trajectories[0].turns))
        return score(self, trajectories, step)

    monkeypatch.setattr(Bound, "score", counted)
    env = ShapedReward(gym.make(ENV, **SMALL), reward)
    env.reset(seed=0, options={"task": TASKS[0]})
    for _ in range(4):
        env.step("look")
    assert seen == ([1, 1, 1, 1] if "valid" in reward else [1, 2, 3, 4])


def test_the_advice_for_what_is_not_known_online_can_be_read():
    with pytest.raises(RewardError, match="nobody knows yet") as refused:
        ShapedReward(gym.make(ENV), "outcome + (0.5 * format + valid).mean()")
    advice = "(0.5 * format + valid).over(max_turns), or (0.5 * format + valid).sum()"
    assert str(refused.value).endswith(f"say {advice}")
    for text in advice.replace("max_turns", "50").split(", or "):
        ShapedReward(gym.make(ENV), f"outcome + {text}")


def test_a_world_that_does_not_say_what_it_provides_is_refused():
    with pytest.raises(RewardError, match="does not say which facts it provides"):
        ShapedReward(gym.make("CartPole-v1"), "outcome")


# -------------------------------------------------------------------------------- while collecting


def test_each_group_is_rewarded_when_its_last_sample_has_ended():
    collector = Collector(lambda: gym.make(ENV, **SMALL), open_policy("random"), concurrency=4)
    keys = list(episode_keys(ENV, TASKS, seeds=[0], group=3))
    bound = bind(parse(GROUPED), gym.make(ENV, **SMALL))

    async def everything():
        return [pair async for pair in rewarded(collector.stream(keys), bound, group=3)]

    pairs = asyncio.run(everything())
    assert sorted(trajectory.key for trajectory, _ in pairs) == sorted(keys)
    for start in range(0, 9, 3):
        three = pairs[start : start + 3]
        assert len({trajectory.key.group for trajectory, _ in three}) == 1
        alone = bound.score([trajectory for trajectory, _ in three])
        for (trajectory, scored), again in zip(three, alone, strict=True):
            assert scored is not None
            assert scored.key == trajectory.key == again.key
            assert np.array_equal(scored.per_turn, again.per_turn)


@pytest.mark.parametrize("reward", ["outcome", UNCOUNTED])
def test_when_nobody_wants_more_or_a_reward_fails_no_more_episodes_are_played(reward):
    closed = []

    async def endless():
        try:
            while True:
                yield told("x", [1])
        finally:
            closed.append(True)

    async def first():
        pairs = rewarded(endless(), bind(parse(reward), set()))
        try:
            await anext(pairs)
        except RewardError:
            assert reward == UNCOUNTED
        else:
            await pairs.aclose()
        return list(closed)

    assert asyncio.run(first()) == [True]


def test_groups_that_are_too_small_to_be_set_against_are_refused_or_told_of(caplog):
    keys = list(episode_keys(ENV, TASKS[:1], seeds=[0], group=3))
    collector = Collector(lambda: gym.make(ENV, **SMALL), open_policy("random"))
    bound = bind(parse(GROUPED), gym.make(ENV, **SMALL))

    async def everything(group):
        return [pair async for pair in rewarded(collector.stream(keys), bound, group=group)]

    with pytest.raises(RewardError, match=r"group is 1: give the number of samples .* at least 2"):
        asyncio.run(everything(1))
    pairs = asyncio.run(everything(2))
    assert len(pairs) == 3
    assert "1 groups have fewer than 2 samples" in caplog.text


def test_what_is_not_scored_is_handed_on_without_a_reward_and_is_not_counted_in_its_group():
    lost, won = (told("x", [1], score=score, sample=i) for i, score in enumerate((0.0, 1.0)))
    failed = replace(lost, key=lost.key._replace(sample=2), outcome=None)
    bound = bind(parse("outcome.group(center())"), set())

    async def everything():
        async def ended():
            for each in (lost, failed, won):
                yield each

        return [pair async for pair in rewarded(ended(), bound, group=3)]

    paid = [(trajectory, found and found.total) for trajectory, found in asyncio.run(everything())]
    assert paid == [(lost, -0.5), (failed, None), (won, 0.5)]


# ------------------------------------------------------------------------------------- stored runs


@pytest.mark.parametrize("reward", [CAUSAL, "outcome + 0.2 * format", GROUPED, "gra", "verpo"])
def test_a_stored_run_is_scored_alike_every_time_bit_for_bit(store, reward):
    expression = parse(reward)
    if reward == "verpo":
        with pytest.raises(RewardError, match="weighted_tests needs the fact 'tests'"):
            bind(expression, store.manifest)
        return
    bound = bind(expression, store.manifest)
    path = store.write_rewards("a", map(row, rescore(store, bound)))
    once = path.read_bytes()
    assert store.write_rewards("a", map(row, rescore(store, bound))).read_bytes() == once
    rows = list(store.rewards("a"))
    assert {tuple(each["key"]) for each in rows} == {tuple(key) for key in store.done()}
    for each in rows:
        paid = np.zeros(len(each["per_turn"]))
        for values in each["parts"].values():
            paid += [value or 0.0 for value in values]
        assert paid == pytest.approx(each["per_turn"])


EVERYWHERE = {"gra", "gra-sum", "dra", "dra-sum", "search-r1"}
"""Presets that need no facts; `igpo` and `infopo` ask a model."""
SPARSE = {"search-r1", "search-answer-seen"}
"""Presets that pay some turns of every episode nothing."""
SEARCH, VISUAL = "agentgym/Search-v0", "agentgym/VisualSearch-v0"
FOR_SEARCH = {"dense-progress", "search-evidence", "search-answer-seen", "search-frugal"}
GROUND, CURSOR = "agentgym/GUIGround-v0", "agentgym/GUICursor-v0"
BEST = {(GROUND, "gui-g2"): 2.0, (CURSOR, "gui-cursor"): 0.9 * 1.1 + 0.1}
"""What an expert is paid who says the very box, or stops at its very middle."""
WEB, GUI = "agentgym/Web-v0", "agentgym/GUI-v0"
WORLDS = {
    ENV: (SMALL, EVERYWHERE | {"dense-progress"}),
    GUI: (
        {
            "template": "fix-customer",
            "interruptions": False,
            "max_turns": 12,
            "viewport": [800, 500],
        },
        EVERYWHERE | {"dense-progress", "gui-cursor"},
    ),
    WEB: ({"template": "fix-customer", "max_turns": 12}, EVERYWHERE | {"dense-progress"}),
    "agentgym/Clarify-v0": ({}, EVERYWHERE | {"vrag-rl"}),
    SEARCH: ({"task_set": "world:hops=2,docs=100,worlds=1"}, EVERYWHERE | FOR_SEARCH | {"vrag-rl"}),
    "agentgym/SWE-v0": ({"backend": "local", "max_turns": 5}, EVERYWHERE | {"verpo"}),
    "agentgym/TextWorld-v0": ({"family": "coin", "level": 1}, EVERYWHERE | {"dense-progress"}),
    GROUND: ({}, EVERYWHERE | {"gui-g2", "gui-cursor"}),
    CURSOR: ({}, EVERYWHERE | {"gui-cursor"}),
    VISUAL: (
        {"task_set": "world:hops=2,docs=100,worlds=1"},
        EVERYWHERE | FOR_SEARCH | {"vrag-rl", "gui-g2"},
    ),
}
"""Each world's arguments, and the presets that bind to it."""


@pytest.fixture(scope="module", params=WORLDS)
def runs(request, tmp_path_factory):
    """A world, and what the oracle and a random player did in it."""
    if request.param == "agentgym/SWE-v0":
        request.getfixturevalue("local_boxes")
    if request.param == "agentgym/TextWorld-v0":
        pytest.importorskip("textworld", reason="needs agentgym-env[textworld]")
    if request.param == VISUAL:
        pytest.importorskip("PIL", reason="needs agentgym-env[image]")
    if request.param in (WEB, GUI, GROUND, CURSOR):
        need_browser()
    args, binds = WORLDS[request.param]
    folder = tmp_path_factory.mktemp("worlds")
    played = {
        policy: play(policy, folder / policy, 1, request.param, **args)
        for policy in ("oracle", "random")
    }
    return binds, played


def test_text_is_no_reward_until_it_is_parsed():
    with pytest.raises(RewardError, match=r"'outcome' is no reward: .* parse"):
        bind("outcome", ["milestones"])


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_pay_where_the_world_has_their_facts_and_say_what_is_missing_elsewhere(
    preset, runs
):
    binds, played = runs
    for policy, run in played.items():
        if preset not in binds:
            with pytest.raises(RewardError, match=r"needs the fact '\w+'|asks a model"):
                bind(parse(preset), run.manifest)
            continue
        bound = bind(parse(preset), run.manifest)
        if (run.manifest["plan"]["env"], preset) == (GROUND, "gui-cursor"):
            with pytest.raises(RewardError, match="has no fact 'point': record where the cursor"):
                list(rescore(played["oracle"], bound))  # it says boxes: no cursor was moved
            continue
        if (run.manifest["plan"]["env"], preset, policy) == (GUI, "gui-cursor", "random"):
            continue  # a path of points, of which scrolling and waiting have none
        for scored in rescore(run, bound):
            if bound.stage is Stage.GROUP:  # one episode a group: nothing to set it against
                assert not scored.per_turn.any()
            elif preset == "vrag-rl":  # its weights share out 1, 0.7 of it by the outcome
                assert 0.7 * scored.outcome <= scored.total <= 1.0 + 1e-9
            elif best := BEST.get((run.manifest["plan"]["env"], preset)):
                if policy == "oracle":
                    assert scored.total == pytest.approx(best)
                else:
                    assert scored.total < best
            elif preset == "gui-g2":  # crops of evidence alone, and no outcome
                assert (scored.total > 0) == (policy == "oracle")
            elif run.manifest["plan"]["env"] == VISUAL and preset in FOR_SEARCH:
                assert scored.total > 1 if policy == "oracle" else (scored.per_turn <= 0).all()
            elif preset == "gui-cursor" and policy == "oracle":
                assert scored.total == pytest.approx(0.1)  # its last turn points at nothing
            elif preset in SPARSE or (
                run.manifest["plan"]["env"] in (WEB, GUI) and preset == "dense-progress"
            ):
                assert scored.total >= scored.outcome >= float(policy == "oracle")
            elif policy == "oracle":  # valid and won: every turn is paid, on top of the outcome
                assert (scored.per_turn > 0).all()
                assert scored.total > scored.outcome == 1.0
            elif preset.startswith("gra") and scored.outcome < 0.5:  # the gate is closed
                assert scored.total == scored.outcome
            elif run.manifest["plan"]["env"] == SEARCH and preset in FOR_SEARCH:
                assert (scored.per_turn <= 0).all()  # random words are in no passage
            else:
                assert scored.per_turn.any()


@pytest.mark.parametrize("reward", [GROUPED, "verpo"])
def test_the_order_in_which_episodes_ended_changes_no_bit(store, tmp_path, reward):
    lines = (store.path / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "episodes.jsonl").write_bytes(b"".join(reversed(lines)))
    (tmp_path / "manifest.json").write_bytes((store.path / "manifest.json").read_bytes())
    found = []
    for run in (store, Store.open(tmp_path)):
        bound = bind(parse(reward), {"progress", "tests"})
        found.append({each.key: each.per_turn.tolist() for each in rescore(run, bound)})
    assert found[0] == found[1]


def test_incomplete_groups_of_a_run_are_told_of(store, tmp_path, caplog):
    lines = (store.path / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "episodes.jsonl").write_bytes(b"".join(lines[:-1]))  # it was killed
    (tmp_path / "manifest.json").write_bytes((store.path / "manifest.json").read_bytes())
    killed = Store.open(tmp_path)
    list(rescore(killed, bind(parse(GROUPED), killed.manifest)))
    assert "1 of 3 groups are incomplete (fewer than 2 scored episodes)" in caplog.text


# ------------------------------------------------------------------------------------ command line


def test_rewards_of_a_run_say_what_made_them_and_are_not_replaced_unasked(store, capsys):
    args = ["score", str(store.path), "--name", "said", "--reward"]
    assert cli.main([*args, "outcome.weight(linear(1, 0, 10))", "--step", "5"]) == 0
    about = json.loads((store.path / "rewards" / "said.json").read_text())
    assert about == {
        "reward": "outcome.weight(linear(start=1, end=0, steps=10))",
        "step": 5.0,
        "scorer": None,
        "agentgym": agentgym.__version__,
        "episodes": 6,
    }
    before = (store.path / "rewards" / "said.jsonl").read_bytes()
    assert cli.main([*args, "outcome"]) != 0
    assert "holds another reward" in capsys.readouterr().err
    assert (store.path / "rewards" / "said.jsonl").read_bytes() == before
    assert cli.main([*args, "outcome", "--force"]) == 0
    assert json.loads((store.path / "rewards" / "said.json").read_text())["reward"] == "outcome"


def test_rewards_that_were_written_stay_vouched_for_where_others_cannot_be_computed(store):
    plain, other = (bind(parse(text), store.manifest) for text in ("outcome", UNCOUNTED))
    record(store, plain, rescore(store, plain), name="kept")
    rows = (store.path / "rewards" / "kept.jsonl").read_bytes()
    with pytest.raises(RewardError, match="were not counted"):
        record(store, other, rescore(store, other), name="kept")
    assert (store.path / "rewards" / "kept.jsonl").read_bytes() == rows
    assert recorded(store, "kept") == "outcome"


def test_what_is_not_scored_is_not_explained(store, tmp_path, capsys):
    (trajectory,) = list(store.episodes())[:1]
    unscored = replace(trajectory, outcome=Outcome(0.0, False, available=False))
    with Store.create(tmp_path / "run", store.manifest) as run:
        run.append(unscored)
    for reward in ("format", GROUPED):
        args = ["--reward", reward, "--episode", "1"]
        assert cli.main(["reward", "explain", str(tmp_path / "run"), *args]) != 0
        assert "is not scored, so that nothing is paid for it" in capsys.readouterr().err
    assert cli.main(["score", str(tmp_path / "run"), "--reward", "outcome"]) != 0
    assert "no scored episode" in capsys.readouterr().err


def test_an_evaluation_computes_its_reward_and_refuses_one_it_cannot_before_it_starts(
    tmp_path, capsys
):
    args = ["eval", ENV, "--arg", "size=small", "--policy", "oracle", "--limit", "3"]
    assert cli.main([*args, "--reward", "box_iou", "--out", str(tmp_path / "no")]) != 0
    assert "box_iou needs the fact 'box'" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    assert cli.main([*args, "--reward", GROUPED, "--out", str(tmp_path / "run")]) == 0
    run = Store.open(tmp_path / "run")
    assert run.manifest["plan"]["reward"] == GROUPED
    assert len(list(run.rewards("reward"))) == 3


def test_a_model_can_be_asked_from_the_command_line(store, capsys):
    args = ["score", str(store.path), "--reward", "info_gain(history='text')"]
    assert cli.main(args) != 0
    assert "--scorer llamacpp" in capsys.readouterr().err
    assert cli.main([*args, "--scorer", "oracle"]) != 0
    assert "no scorer 'oracle'" in capsys.readouterr().err


def test_score_writes_the_rewards_of_a_run_and_says_what_each_part_paid(store, capsys):
    args = ["score", str(store.path), "--reward", CAUSAL, "--name", "shaped", "--json"]
    assert cli.main(args) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["episodes"] == 6
    assert set(said["parts"]) == {
        "outcome",
        "0.1 * progress",
        "-(0.05 * invalid_penalty.over(50))",
    }
    rows = list(store.rewards("shaped"))
    assert np.mean([each["total"] for each in rows]) == pytest.approx(said["total"])


def test_explain_shows_turn_by_turn_which_part_paid_what(store, capsys):
    args = ["reward", "explain", str(store.path), "--reward", CAUSAL, "--episode", "2"]
    assert cli.main(args) == 0
    said = capsys.readouterr().out
    assert "0.1 * progress" in said
    assert "in all" in said
    assert said.count("\n") > len(next(iter(store.episodes())).turns)
    assert cli.main([*args, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reward"] == str(parse(CAUSAL))


def test_explain_draws_a_picture_beside_the_table(store, capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="needs agentgym-env[plot]")
    args = ["reward", "explain", str(store.path), "--reward", CAUSAL, "--picture"]
    assert cli.main([*args, str(tmp_path / "paid.svg")]) == 0
    said = capsys.readouterr().out
    assert "in all" in said
    assert "paid.svg" in said
    assert "0.1 * progress" in (tmp_path / "paid.svg").read_text()
    assert cli.main([*args, str(tmp_path / "paid.svg"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reward"] == str(parse(CAUSAL))
    assert cli.main([*args, str(tmp_path / "paid.gif")]) == 2
    assert cli.main([*args, str(tmp_path / "nowhere" / "paid.svg")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_list_names_every_signal_and_preset_with_what_it_needs(capsys):
    assert cli.main(["reward", "list", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    by_name = {each["signal"]: each for each in said["signals"]}
    assert by_name["progress"]["needs"] == ["progress"]
    assert by_name["info_gain"]["needs"] == ["scorer"]
    assert by_name["weighted_tests"]["when"] == "group"
    assert by_name["neg_distance"]["needs"] == ["image_size", "point", "target_box"]
    assert by_name["score_delta"]["needs"] == ["max_score", "score"]
    assert by_name["novelty"]["needs"] == ["state_key"]
    assert by_name["fact"]["needs"] == ["key=…"]
    assert by_name["potential"]["needs"] == ["fact=…"]
    presets = {each["preset"]: each for each in said["presets"]}
    assert set(presets) == {*PRESETS, "spa"}
    assert presets["gra"]["when"] == "finished"
    assert "spa('FILE'" in presets["spa"]["reward"]


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--reward", "fromat"], "did you mean 'format'"),
        (["--reward", "box_iou"], "box_iou needs the fact 'box'"),
        (["--reward", "outcome", "--name", "../x"], "plain file name"),
    ],
)
def test_score_refuses_what_it_cannot_do(store, args, reason, capsys):
    assert cli.main(["score", str(store.path), *args]) != 0
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("step", ["nan", "inf", "soon"])
def test_a_step_that_is_no_finite_number_is_refused(store, step, capsys):
    assert cli.main(["score", str(store.path), "--reward", "outcome", "--step", step]) == 2
    assert f"'{step}': give a finite number" in capsys.readouterr().err
