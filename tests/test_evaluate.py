"""Runs from end to end: planned, recorded, killed, resumed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
import worlds  # registers the ids

from agentgym.errors import ConfigError, StoreError, TaskError
from agentgym.evaluate import Plan, Run
from agentgym.store import Store
from agentgym.types import Sampling, Stop

TESTS = Path(__file__).parent
PLAN = Plan("tests/Count-v0", "oracle", seeds=tuple(range(4)))


def carry_out(run, stop_after=None, **kwargs):
    async def go():
        count = 0
        async with aclosing(run.stream(**kwargs)) as stream:
            async for _ in stream:
                count += 1
                if count == stop_after:
                    return

    try:
        asyncio.run(go())
    finally:
        run.close()
    return run


def trajectories(path):
    return {
        t.key: ([(turn.observation, turn.action, turn.reward) for turn in t.turns], t.outcome)
        for t in Store.open(path).episodes()
    }


def test_a_run_plays_every_task_seed_and_sample_and_says_what_it_was(tmp_path):
    plan = Plan("tests/Count-v0", "oracle", seeds=(0, 1), group=3, env_args={"max_turns": 9})
    carry_out(Run(plan, tmp_path / "run"))
    store = Store.open(tmp_path / "run")
    assert len(store.done()) == len(worlds.Count().tasks()) * 2 * 3
    assert {key.env for key in store.done()} == {"tests/Count-v0?max_turns=9"}
    assert Plan.from_manifest(store.manifest) == plan
    assert store.manifest["provides"] == ["score"]
    assert store.manifest["versions"]["agentgym"]
    assert all(t.outcome.passed for t in store.episodes())


def test_limit_and_tasks_choose_what_is_played(tmp_path):
    run = carry_out(Run(Plan("tests/Count-v0", "oracle", limit=2), tmp_path / "a"))
    assert [key.task_id for key in run.keys] == ["count:0", "count:1"]
    run = carry_out(Run(Plan("tests/Count-v0", "oracle", tasks=("count:2",)), tmp_path / "b"))
    assert [key.task_id for key in run.keys] == ["count:2"]
    with pytest.raises(TaskError, match="count:9"):
        Run(Plan("tests/Count-v0", "oracle", tasks=("count:9",)), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_resumed_run_plays_what_is_missing_and_nothing_twice(tmp_path):
    carry_out(Run(PLAN, tmp_path / "run"), stop_after=5, concurrency=2)
    resumed = Run(PLAN, tmp_path / "run", resume=True)
    assert 5 <= len(resumed.done) < len(resumed.keys)
    carry_out(resumed)
    assert set(trajectories(tmp_path / "run")) == set(resumed.keys)
    scored = [t.key for t in Store.open(tmp_path / "run").episodes() if t.scored]
    assert len(scored) == len(set(scored)) == len(resumed.keys)
    again = Run(PLAN, tmp_path / "run", resume=True)
    assert len(again.done) == len(again.keys)
    again.close()


def test_cut_groups_are_completed(tmp_path):
    plan = Plan("tests/Count-v0", "random", limit=1, group=6, seeds=(1, 2))
    carry_out(Run(plan, tmp_path / "run"), stop_after=4, concurrency=1)
    carry_out(Run(plan, tmp_path / "run", resume=True))
    assert {(k.seed, k.sample) for k in Store.open(tmp_path / "run").done()} == {
        (seed, sample) for seed in (1, 2) for sample in range(6)
    }


def test_episodes_that_were_cut_are_kept_unscored_and_played_again(tmp_path):
    plan = Plan("tests/Count-v0", "worlds:Paced", seeds=tuple(range(10)))
    carry_out(Run(plan, tmp_path / "run"), stop_after=3, concurrency=3)
    cut = [t for t in Store.open(tmp_path / "run").episodes() if t.stop is Stop.CANCELLED]
    assert cut
    carry_out(Run(plan, tmp_path / "run", resume=True))
    assert all(t.scored for t in Store.open(tmp_path / "run").episodes())


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (Plan("tests/Count-v0", "random", seeds=(0,)), "policy 'oracle'"),
        (Plan("tests/Count-v0", "oracle", seeds=(0, 1)), "seeds"),
        (Plan("tests/Count-v0", "oracle", sampling=Sampling(temperature=0.1)), "sampling"),
        (Plan("tests/Count-v0", "oracle", env_args={"max_turns": 3}), "env_args"),
    ],
)
def test_a_run_is_resumed_only_under_the_plan_it_was_started_with(tmp_path, other, named):
    plan = Plan("tests/Count-v0", "oracle")
    carry_out(Run(plan, tmp_path / "run"))
    with pytest.raises(StoreError, match=f"was started with {named}"):
        Run(other, tmp_path / "run", resume=True)
    carry_out(Run(plan, tmp_path / "run", resume=True))  # the lock was let go


def test_seeds_and_tasks_may_be_lists():
    plan = Plan("tests/Count-v0", "oracle", seeds=[1, 2], tasks=["count:0"])
    assert plan == Plan("tests/Count-v0", "oracle", seeds=(1, 2), tasks=("count:0",))


def test_whole_numbers_may_be_numpys(tmp_path):
    def plan(number):
        return Plan(
            "tests/Count-v0",
            "oracle",
            env_args={"max_turns": number(9)},
            limit=number(1),
            seeds=[number(0)],
            group=number(2),
            seed=number(7),
            history=number(3),
            sampling=Sampling(max_tokens=number(5)),
        )

    carry_out(Run(plan(np.int64), tmp_path / "run"))
    assert Plan.from_manifest(Store.open(tmp_path / "run").manifest) == plan(int)
    assert Run(plan(int), tmp_path / "run", resume=True).done == {
        ("tests/Count-v0?max_turns=9", "count:0", 0, sample) for sample in (0, 1)
    }


def test_episodes_tell_which_sitting_they_were_played_in(tmp_path):
    for _ in range(2):
        carry_out(Run(PLAN, tmp_path / "run", resume=True), stop_after=3, concurrency=1)
    began = [t.provenance["began"] for t in Store.open(tmp_path / "run").episodes() if t.scored]
    assert len(set(began)) == 2
    assert began == sorted(began)


def test_a_reward_that_cannot_be_written_leaves_the_folder_unlocked(tmp_path):
    plan = Plan("tests/Count-v0", "oracle", limit=1, reward="outcome")
    run = Run(plan, tmp_path / "run")
    (tmp_path / "run" / "rewards").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        carry_out(run)
    assert len(Run(plan, tmp_path / "run", resume=True).done) == 1


def test_a_folder_in_use_is_not_written_without_resume(tmp_path):
    carry_out(Run(PLAN, tmp_path / "run"))
    with pytest.raises(StoreError, match="continue it with --resume"):
        Run(PLAN, tmp_path / "run")


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"group": 0}, {"group": 1.5}, {"seeds": ()}, {"tasks": "count:0"},
     {"seed": -1}, {"history": -1}],
)  # fmt: skip
def test_plans_with_nothing_to_run_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Plan("tests/Count-v0", "oracle", **wrong)


def test_arguments_are_kept_as_a_manifest_gives_them_back(tmp_path):
    plan = Plan("tests/Count-v0", "oracle", env_args={"a": (1, 2)}, policy_args={"b": ("c",)})
    assert (plan.env_args, plan.policy_args) == ({"a": [1, 2]}, {"b": ["c"]})
    with pytest.raises(ConfigError, match=r"env_args .* cannot be recorded"):
        Plan("tests/Count-v0", "oracle", env_args={"path": tmp_path})


@pytest.mark.parametrize("plan", ["abc", {"sampling": "abc"}, ["abc"]])
def test_a_manifest_whose_plan_is_none_is_refused(plan):
    with pytest.raises(StoreError, match="holds no plan"):
        Plan.from_manifest({"plan": plan})


def test_an_environment_that_is_not_about_text_is_refused(tmp_path):
    told = r"CartPole-v1 is not a text environment: its actions are Discrete\(2\)"
    with pytest.raises(ConfigError, match=told):
        Run(Plan("CartPole-v1", "random"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


DRIVER = """
import sys, worlds
from test_evaluate import carry_out, Plan, Run
plan = Plan("tests/CountInThread-v0", "worlds:Paced", seeds=tuple(range(60)), group=2)
carry_out(Run(plan, sys.argv[1], resume=True), concurrency=4)
"""


def start(path):
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(path)], env=env)


def test_a_run_killed_at_ten_random_moments_ends_as_if_it_had_not_been(tmp_path):
    uninterrupted = start(tmp_path / "whole")
    moments = random.Random(20)
    file = tmp_path / "killed" / "episodes.jsonl"
    kills = 0
    while kills < 10:
        size = file.stat().st_size if file.exists() else 0
        process = start(tmp_path / "killed")
        while (file.stat().st_size if file.exists() else 0) <= size and process.poll() is None:
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, 0.06))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        assert len(Store.open(tmp_path / "killed").done()) < 360, "it ended before ten kills"
    assert start(tmp_path / "killed").wait() == 0
    assert uninterrupted.wait() == 0
    whole, killed = trajectories(tmp_path / "whole"), trajectories(tmp_path / "killed")
    assert len(whole) == 3 * 60 * 2
    assert killed == whole
    lines = file.read_bytes().splitlines()
    assert len(lines) == len(whole), "an episode was played twice"
