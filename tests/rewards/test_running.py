"""Where rewards run: online, while collecting, on stored runs, and from the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from agentgym import cli
from agentgym.collector import Collector, episode_keys
from agentgym.errors import RewardError
from agentgym.evaluate import Plan, Run
from agentgym.policy import open_policy
from agentgym.rewards import PRESETS, bind, parse
from agentgym.rewards.collecting import rewarded
from agentgym.rewards.online import ShapedReward
from agentgym.rewards.rescore import rescore, row
from agentgym.store import Store

ENV = "agentgym/ALFWorld-v0"
SMALL = {"size": "small"}
TASKS = ["clean:size=small:seed=1", "pick2:size=small:seed=2", "look:size=small:seed=3"]
CAUSAL = "outcome + 0.1 * progress - 0.05 * invalid_penalty.over(50)"
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


EVERYWHERE = {"gra", "gra-sum", "dra", "dra-sum"}
"""Presets that need no facts; `igpo` and `infopo` ask a model."""
WORLDS = {
    ENV: (SMALL, EVERYWHERE | {"dense-progress"}),
    "agentgym/Clarify-v0": ({}, EVERYWHERE),
    "agentgym/TextWorld-v0": ({"family": "coin", "level": 1}, EVERYWHERE | {"dense-progress"}),
}
"""Each world's arguments, and the presets that bind to it."""


@pytest.fixture(scope="module", params=WORLDS)
def runs(request, tmp_path_factory):
    """A world, and what the oracle and a random player did in it."""
    if request.param == "agentgym/TextWorld-v0":
        pytest.importorskip("textworld", reason="needs agentgym-env[textworld]")
    args, binds = WORLDS[request.param]
    folder = tmp_path_factory.mktemp("worlds")
    played = {
        policy: play(policy, folder / policy, 1, request.param, **args)
        for policy in ("oracle", "random")
    }
    return binds, played


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
        for scored in rescore(run, bind(parse(preset), run.manifest)):
            if policy == "oracle":  # valid and won: every turn is paid, on top of the outcome
                assert (scored.per_turn > 0).all()
                assert scored.total > scored.outcome == 1.0
            elif preset.startswith("gra") and scored.outcome < 0.5:  # the gate is closed
                assert scored.total == scored.outcome
            else:
                assert scored.per_turn.any()


# ------------------------------------------------------------------------------------ command line


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
    assert {each["preset"] for each in said["presets"]} == set(PRESETS)


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
