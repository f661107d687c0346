"""Many episodes at once: groups, bounds, faults, retries, cancellation."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from contextlib import aclosing

import gymnasium as gym
import numpy as np
import pytest
from worlds import CountAsync, Counting, fresh_python

from agentgym import Sampling, Stop, collector
from agentgym.collector import Collector, derive_seed, episode_keys
from agentgym.errors import ConfigError, InfraError, PolicyError, StoreError, TaskError
from agentgym.execution import WorkerPool
from agentgym.policy import open_policy
from agentgym.policy.basic import ScriptedPolicy
from agentgym.rollout import Deadlines
from agentgym.types import EpisodeKey


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch):
    monkeypatch.setattr(collector, "FIRST_BACKOFF_S", 0.01)


def keys(episodes, *, world="Count", group=1, task="count:0"):
    return episode_keys(f"tests/{world}-v0", [task], seeds=range(episodes), group=group)


def maker(world="Count", **kwargs):
    return lambda: gym.make(f"tests/{world}-v0", **kwargs)


def collect(policy, wanted, world="Count", fault="", **kwargs):
    return Collector(maker(world, fault=fault), policy, **kwargs).run(wanted)


class Tracking(Counting):
    """Knows how many calls are under way."""

    def __init__(self, wait_s=0.01):
        self.now = self.most = self.calls = 0
        self.wait_s = wait_s

    async def act(self, messages, **kwargs):
        self.now += 1
        self.calls += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.wait_s)
            return await super().act(messages, **kwargs)
        finally:
            self.now -= 1


class Failing(Counting):
    """Fails the first `failures` calls."""

    def __init__(self, failures, error=None):
        self.failures = failures
        self.error = error or PolicyError("the server is away")

    async def act(self, messages, **kwargs):
        if self.failures > 0:
            self.failures -= 1
            raise self.error
        return await super().act(messages, **kwargs)


def test_keys_are_ordered_task_by_task_seed_by_seed_sample_by_sample():
    assert [str(k) for k in episode_keys("e", ["a", "b"], seeds=(3, 4), group=2)] == [
        "a#3.0", "a#3.1", "a#4.0", "a#4.1", "b#3.0", "b#3.1", "b#4.0", "b#4.1",
    ]  # fmt: skip


def test_keys_can_be_played_again():
    wanted = episode_keys("tests/Count-v0", (id for id in ["count:0", "count:1"]))
    assert [len(collect(Counting(), wanted)) for _ in range(2)] == [2, 2]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"task_ids": "clean:seed=1"}, "task_ids is 'clean:seed=1': give a list"),
        ({"task_ids": ["a", "b", "a"]}, "task_ids holds 'a' twice: group is for playing it again"),
        ({"seeds": []}, "seeds is empty: give at least one"),
        ({"seeds": 3}, "seeds is 3: give a list"),
        ({"seeds": [0, 0]}, "seeds holds 0 twice: group is for playing it again"),
        ({"seeds": ["0"]}, "a seed is '0': give a whole number of at least 0"),
        ({"seeds": [True]}, "a seed is True: give a whole number of at least 0"),
        ({"seeds": [-1]}, "a seed is -1: give a whole number of at least 0"),
        ({"group": 0}, "group is 0: give a whole number of at least 1"),
        ({"group": 1.5}, "group is 1.5: give a whole number of at least 1"),
    ],
)
def test_keys_of_nothing_or_of_one_episode_twice_are_refused(wrong, told):
    with pytest.raises(ConfigError, match=told):
        episode_keys("e", **{"task_ids": ["a"], **wrong})


def test_whole_numbers_may_be_numpys():
    def played(number):
        wanted = episode_keys(
            "tests/Count-v0", ["count:0"], seeds=[number(0), number(1)], group=number(2)
        )
        trajectories = collect(open_policy("random"), wanted, concurrency=number(2), seed=number(7))
        return {t.key: [turn.action for turn in t.turns] for t in trajectories}

    assert played(np.int64) == played(int)
    assert derive_seed(7, EpisodeKey("e", "t", np.int64(3))) == derive_seed(
        7, EpisodeKey("e", "t", 3)
    )


def test_every_key_is_played_once():
    wanted = keys(50, group=2)
    trajectories = collect(Counting(), wanted)
    assert sorted(t.key for t in trajectories) == sorted(wanted)
    assert all(t.outcome.passed for t in trajectories)


def test_samples_of_a_group_start_alike_and_draw_differently():
    trajectories = collect(open_policy("random"), keys(4, group=4))
    by_group = {}
    for trajectory in trajectories:
        by_group.setdefault(trajectory.key.group, []).append(trajectory)
    assert len(by_group) == 4
    for group in by_group.values():
        assert len({t.turns[0].observation for t in group}) == 1
        assert len({t.turns[0].completion.text for t in group}) > 1


def test_policy_seeds_are_derived_from_the_run_and_the_key():
    one, other = EpisodeKey("e", "t", 0, 0), EpisodeKey("e", "t", 0, 1)
    assert derive_seed(0, one) == derive_seed(0, one)
    assert len({derive_seed(0, one), derive_seed(0, other), derive_seed(1, one)}) == 3
    assert 0 <= derive_seed(0, one) < 2**31


def test_the_same_run_gives_the_same_trajectories_whatever_the_concurrency():
    def texts(concurrency):
        trajectories = collect(
            open_policy("random"), keys(20, group=2), concurrency=concurrency, seed=7
        )
        return {t.key: [turn.action for turn in t.turns] for t in trajectories}

    assert texts(1) == texts(13)


def test_no_more_than_concurrency_episodes_are_in_flight_and_all_slots_are_used():
    policy = Tracking()
    collect(policy, keys(60), concurrency=7)
    assert policy.most == 7


def test_no_more_slots_are_made_than_there_are_episodes(monkeypatch):
    slots = []
    real = Collector._slot
    monkeypatch.setattr(Collector, "_slot", lambda *args: (slots.append(1), real(*args))[1])
    assert len(collect(Counting(), keys(3), concurrency=1_000_000)) == 3
    assert len(slots) == 3


def test_five_hundred_episodes_are_in_flight_at_once():
    policy = Tracking(wait_s=0.2)
    trajectories = collect(policy, keys(600), concurrency=500)
    assert policy.most == 500
    assert len(trajectories) == 600
    assert all(t.scored for t in trajectories)


def test_episodes_begin_oldest_first():
    begun = []

    class Noting(Counting):
        async def act(self, messages, *, session, **kwargs):
            key = session.partition("@")[0]
            if key not in begun:
                begun.append(key)
            await asyncio.sleep(0.001)
            return await super().act(messages, session=session, **kwargs)

    wanted = keys(30)
    collect(Noting(), wanted, concurrency=4)
    assert begun == [str(key) for key in wanted]


async def test_results_stream_as_they_end_and_a_slow_consumer_holds_the_collector_back():
    policy = Tracking(wait_s=0)
    seen = 0
    async with aclosing(Collector(maker(), policy, concurrency=4).stream(keys(200))) as stream:
        async for _ in stream:
            seen += 1
            if seen == 3:
                await asyncio.sleep(0.2)
                calls = policy.calls
                await asyncio.sleep(0.2)
                assert policy.calls == calls  # waiting, not running ahead
                assert calls < 200
    assert seen == 200


def test_a_fault_that_passes_is_retried_and_leaves_no_trace_but_the_attempt():
    (trajectory,) = collect(Failing(2), keys(1), retries=2)
    assert trajectory.outcome.passed
    assert trajectory.error is None
    assert trajectory.provenance["attempt"] == 2
    assert trajectory.turns[0].action == "1"


def test_a_fault_that_stays_is_an_unscored_episode_and_the_others_are_played():
    class FailingOne(Counting):
        async def act(self, messages, *, session, **kwargs):
            if session.startswith("count:0#3."):
                raise ConnectionResetError("by peer")
            return await super().act(messages, session=session, **kwargs)

    trajectories = collect(FailingOne(), keys(10), retries=1)
    lost = [t for t in trajectories if not t.scored]
    assert [t.key.seed for t in lost] == [3]
    assert lost[0].error == "policy: policy.act: ConnectionResetError: by peer"
    assert lost[0].stop is Stop.ERROR


@pytest.mark.timeout(30)
def test_a_cancellation_that_nobody_asked_for_is_a_fault_and_loses_no_episode():
    class Dropped(Counting):
        dropped = 0

        async def act(self, messages, **kwargs):
            if self.dropped < 3:
                self.dropped += 1
                reply = asyncio.get_running_loop().create_future()
                reply.cancel()
                await reply
            return await super().act(messages, **kwargs)

    trajectories = collect(Dropped(), keys(10), concurrency=2)
    assert len(trajectories) == 10
    assert all(t.outcome.passed for t in trajectories)
    assert sum(t.provenance["attempt"] for t in trajectories) == 3


def test_a_cancellation_that_comes_out_of_a_close_loses_no_episode():
    class Dropped(CountAsync):
        steps = 0

        async def respond(self, action):
            Dropped.steps += 1
            if Dropped.steps == 1:
                raise RuntimeError("the browser went away")
            return await super().respond(action)

        async def aclose(self):
            await super().aclose()
            raise asyncio.CancelledError

    trajectories = Collector(Dropped, Counting(), concurrency=1).run(keys(3, task="default"))
    assert [t.outcome.passed for t in trajectories] == [True] * 3


def test_every_attempt_is_a_session_of_its_own():
    policy = ScriptedPolicy(["1", "2", "3", "4", "5"])
    for _ in range(50):  # forgotten at once, so that the next one may lie where it lay
        (trajectory,) = collect(policy, keys(1))
        assert trajectory.outcome.passed


def test_when_everything_fails_the_run_gives_up_and_says_why():
    recorded = []
    with pytest.raises(InfraError, match=r"gave up: \d episodes in a row failed, the last with"):
        collect(
            Failing(10**6),
            keys(100),
            retries=0,
            give_up_after=5,
            concurrency=2,
            record=recorded.append,
        )
    assert 5 <= len(recorded) <= 7
    assert all(t.stop in (Stop.ERROR, Stop.CANCELLED) for t in recorded)


def test_what_can_never_work_ends_the_run_at_once():
    with pytest.raises(ConfigError, match="no such model"):
        collect(Failing(10**6, ConfigError("no such model")), keys(10))
    with pytest.raises(TaskError):
        collect(Counting(), [EpisodeKey("tests/Count-v0", "none", 0)])


@pytest.mark.parametrize("fault", ["reset raises", "step raises"])
def test_an_environment_that_raises_is_made_again_for_each_attempt(fault):
    made = []

    def make():
        made.append(gym.make("tests/Count-v0", fault=fault if len(made) < 2 else ""))
        return made[-1]

    (trajectory,) = Collector(make, Counting(), retries=2, concurrency=1).run(keys(1))
    assert trajectory.outcome.passed
    assert len(made) == 3


def test_an_environment_that_cannot_be_made_is_an_error_of_the_environment():
    def make():
        raise OSError("no socket")

    (trajectory,) = Collector(make, Counting(), retries=1).run(keys(1))
    assert trajectory.error == "environment: making the environment: OSError: no socket"


def test_an_environment_that_raises_in_close_loses_no_episode():
    trajectories = collect(Counting(), keys(6), fault="close raises", concurrency=2)
    assert sum(t.outcome.passed for t in trajectories) == 6


@pytest.mark.timeout(30)  # it hangs for a minute
def test_a_wrapped_environment_that_hangs_in_close_holds_up_nothing():
    let_go = threading.Event()

    class Hanging(gym.Wrapper):
        def close(self):
            let_go.wait(60)

    deadlines = Deadlines(close_s=0.2)
    played = Collector(lambda: Hanging(maker()()), Counting(), deadlines=deadlines).run(keys(2))
    let_go.set()
    assert len(played) == 2


@pytest.mark.timeout(30)  # what hangs does so for a minute
@pytest.mark.parametrize("world", ["CountInThread", "CountInProcess"])
def test_an_environment_that_hangs_is_replaced(world):
    made = []

    def make():
        made.append(gym.make(f"tests/{world}-v0", fault="" if made else "step hangs"))
        return made[-1]

    trajectories = Collector(
        make, Counting(), concurrency=1, retries=1, deadlines=Deadlines(step_s=1.5)
    ).run(keys(3))
    assert [t.outcome.passed for t in trajectories] == [True] * 3
    assert trajectories[0].provenance["attempt"] == 1


def test_a_dying_worker_process_costs_retries_and_no_episode():
    made = []

    def make():
        made.append(gym.make("tests/CountInProcess-v0", fault="" if made else "step dies"))
        return made[-1]

    trajectories = Collector(make, Counting(), concurrency=4, workers=1, retries=3).run(keys(12))
    assert len(trajectories) == 12
    assert all(t.outcome.passed for t in trajectories)


def test_many_environments_share_few_worker_processes(monkeypatch):
    pools = []
    real = WorkerPool.__init__
    monkeypatch.setattr(
        WorkerPool, "__init__", lambda self, *a, **k: (pools.append(self), real(self, *a, **k))[1]
    )
    most = []

    class Looking(Counting):
        async def act(self, messages, **kwargs):
            most.append(len(pools[0]._workers))
            return await super().act(messages, **kwargs)

    trajectories = Collector(maker("CountInProcess"), Looking(), concurrency=24, workers=2).run(
        keys(48)
    )
    assert all(t.outcome.passed for t in trajectories)
    assert max(most) == 2


async def test_leaving_early_cancels_what_is_in_flight_records_it_and_closes_everything():
    recorded, closed = [], []

    def make():
        env = gym.make("tests/Count-v0")
        close = env.close
        env.close = lambda: (closed.append(env), close())
        return env

    before = threading.active_count()
    running = Collector(make, Tracking(0.05), concurrency=5, record=recorded.append)
    async with aclosing(running.stream(keys(100))) as stream:
        async for _ in stream:
            break
    assert running.in_flight == 0
    assert len(set(map(id, closed))) == 5
    stops = [t.stop for t in recorded]
    assert stops.count(Stop.CANCELLED) >= 3
    assert all(not t.scored for t in recorded if t.stop is Stop.CANCELLED)
    assert threading.active_count() == before
    assert [t for t in asyncio.all_tasks() if t is not asyncio.current_task()] == []


async def test_a_cancellation_while_everything_is_closed_is_not_lost():
    closing, closed = asyncio.Event(), asyncio.Event()

    class Slow(CountAsync):
        async def aclose(self):
            await super().aclose()
            closing.set()
            try:
                await asyncio.sleep(60)
            finally:
                closed.set()

    async def leave():
        running = Collector(Slow, Counting(), concurrency=1, deadlines=Deadlines(close_s=1))
        async with aclosing(running.stream(keys(9, task="default"))) as stream:
            async for _ in stream:
                break

    leaving = asyncio.create_task(leave())
    await closing.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert closed.is_set()


def test_a_record_that_fails_ends_the_run_with_its_error():
    def full(trajectory):
        raise StoreError("no space left on device")

    with pytest.raises(StoreError, match="no space"):
        collect(Counting(), keys(10), record=full)


def test_sampling_reaches_the_policy_with_a_seed_of_the_episode():
    seen = {}

    class Asking(Counting):
        async def act(self, messages, *, sampling, session, **kwargs):
            seen.setdefault(session.partition("@")[0], sampling)
            return await super().act(messages, sampling=sampling, session=session, **kwargs)

    wanted = keys(2)
    collect(Asking(), wanted, sampling=Sampling(temperature=0.5), seed=3)
    for key in wanted:
        assert seen[str(key)] == Sampling(temperature=0.5, seed=derive_seed(3, key))


@pytest.mark.parametrize(
    "wrong",
    [{"concurrency": 0}, {"concurrency": 1.5}, {"retries": -1}, {"give_up_after": 0},
     {"history": -1}, {"seed": "0"}, {"workers": 0}],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Collector(maker(), Counting(), **wrong)


@pytest.mark.parametrize("policy", ["random", Counting])
def test_what_is_no_policy_is_refused(policy):
    with pytest.raises(ConfigError, match=r"policy is .*: give an object with `async def act`"):
        Collector(maker(), policy)


async def test_a_run_is_played_inside_a_running_loop_too():
    assert len(Collector(maker(), Counting()).run(keys(5))) == 5
    with pytest.raises(ConfigError, match="no such model"):
        collect(Failing(10**6, ConfigError("no such model")), keys(10))


@pytest.mark.timeout(30)
async def test_an_interrupt_ends_a_run_inside_a_running_loop():
    recorded = []

    class Interrupted(Counting):
        async def act(self, messages, **kwargs):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            await asyncio.sleep(60)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Collector(maker(), Interrupted(), record=recorded.append).run(keys(1))
    finally:
        signal.signal(signal.SIGINT, handler)
    assert [t.stop for t in recorded] == [Stop.CANCELLED]


def test_an_empty_run_ends():
    assert collect(Counting(), []) == []


PLAY_20_000 = """
import asyncio, worlds
from contextlib import aclosing
from test_collector import Collector, Stop, keys, maker
from worlds import Saying

async def run(episodes):
    collector = Collector(maker(), Saying("x" * 500), concurrency=32)
    async with aclosing(collector.stream(keys(episodes))) as stream:
        async for trajectory in stream:
            assert trajectory.stop is Stop.TURNS

asyncio.run(run(1_000))
before = worlds.peak_mb()
asyncio.run(run(20_000))
print(worlds.peak_mb() - before)
"""


def test_twenty_thousand_episodes_leave_memory_flat():
    grown_mb = float(fresh_python(PLAY_20_000))
    assert grown_mb < 20  # together, they hold over 150 MB


def test_a_policy_over_its_deadline_costs_the_others_in_its_worker_nothing():
    class SlowOnce(Counting):
        slow = True

        async def act(self, messages, **kwargs):
            if self.slow:
                self.slow = False
                await asyncio.sleep(60)
            return await super().act(messages, **kwargs)

    trajectories = collect(
        SlowOnce(),
        keys(5, world="Slow"),
        world="Slow",
        workers=1,
        retries=1,
        deadlines=Deadlines(policy_s=1.0),
    )
    assert all(t.outcome.passed for t in trajectories)
    assert sum(t.provenance["attempt"] for t in trajectories) == 1


def test_a_blip_that_fails_everything_in_flight_does_not_end_the_run():
    class Blip(Failing):
        pass

    trajectories = collect(Blip(64), keys(200), retries=0, concurrency=64)
    assert len(trajectories) == 200
    assert sum(not t.scored for t in trajectories) == 64


async def test_overlapping_collections_leave_the_garbage_collector_as_it_was():
    before = gc.get_threshold()
    streams = [
        Collector(maker(), Tracking(0.01), concurrency=8 * n).stream(keys(30)) for n in (1, 9)
    ]
    for stream in streams:
        await anext(stream)
    assert gc.get_threshold() != before
    for stream in streams:
        await stream.aclose()
    assert gc.get_threshold() == before


async def test_an_episode_cancelled_while_it_waits_for_another_try_is_recorded(monkeypatch):
    monkeypatch.setattr(collector, "_backoff_s", lambda attempt: 60.0)
    recorded = []
    running = Collector(maker(), Failing(1), concurrency=1, record=recorded.append)
    playing = asyncio.create_task(anext(running.stream(keys(1))))
    while running._faults_in_a_row == 0 and not running.in_flight:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    await asyncio.sleep(0)
    assert [t.stop for t in recorded] == [Stop.ERROR]
