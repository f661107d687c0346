"""Many episodes at once.

A `Collector` keeps up to `concurrency` episodes in flight, oldest first, on environments it reuses;
it retries infrastructure faults, and hands each episode over the moment it ends. A slow consumer
slows it down; leaving the iteration cancels what is in flight and closes everything.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import Any, TypeVar

import agentgym
from agentgym.env import Env
from agentgym.errors import (
    AgentGymError,
    ConfigError,
    EnvError,
    InfraError,
    PolicyError,
    StageTimeout,
    boundary,
    whole,
)
from agentgym.execution import ThreadHost, WorkerPool
from agentgym.rollout import UNSCORED, AnyEnv, Deadlines, play
from agentgym.types import EpisodeKey, Policy, Sampling, Stop, Task, Trajectory

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0


def derive_seed(seed: int, key: EpisodeKey) -> int:
    """A policy seed in [0, 2**31) for one episode of a run; differs between samples of a group."""
    text = repr((int(seed), (key.env, key.task_id, int(key.seed), int(key.sample))))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") >> 1


def episode_keys(
    env: str, task_ids: Iterable[str], *, seeds: Iterable[int] = (0,), group: int = 1
) -> list[EpisodeKey]:
    """Every episode of a run in its order: task by task, seed by seed, the samples side by side.

    Raises:
        ConfigError: A task or seed comes twice, or there are no seeds or samples.
    """
    task_ids, seeds = distinct("task_ids", task_ids), whole_seeds(seeds)
    group = whole("group", group, 1)
    return [
        EpisodeKey(env, task_id, seed, sample)
        for task_id in task_ids
        for seed in seeds
        for sample in range(group)
    ]


def whole_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """The seeds of a run.

    Raises:
        ConfigError: There is none, one comes twice, or is no whole number.
    """
    found = tuple(whole("a seed", seed) for seed in distinct("seeds", seeds))
    if not found:
        raise ConfigError("seeds is empty: give at least one")
    return found


def distinct(name: str, values: Iterable[T]) -> tuple[T, ...]:
    """`values`, for the argument `name`: a key plays once.

    Raises:
        ConfigError: One comes twice, or they are no list.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"{name} is {values!r}: give a list")
    found = tuple(values)
    twice = next((value for value, count in Counter(found).items() if count > 1), None)
    if twice is not None:
        raise ConfigError(f"{name} holds {twice!r} twice: group is for playing it again")
    return found


class Collector:
    """Plays episodes, many at a time.

    Args:
        make_env: Makes one environment; called once a slot, and again after a fault.
        policy: Who acts, in all of them.
        concurrency: Most episodes in flight.
        sampling: How the policy draws tokens; its seed is replaced by one derived from `seed` and
            the episode's key.
        seed: Of the run.
        retries: How often an episode that ended as an infrastructure fault is played again.
        give_up_after: Episodes in a row that ended as faults, retries included, after which the
            rest is not tried; twice `concurrency`, and at least 16, if None.
        deadlines: Longest each stage may take.
        history: See `agentgym.prompt.Conversation`.
        show_admissible: List the admissible actions with each observation.
        workers: Most worker processes for environments that run in such; the processors if None.
        record: Called with every episode the moment it ends (cancelled ones too), before it is
            handed over: `store.append`.
        provenance: Kept with each episode.

    Raises:
        ConfigError: A number is out of range, or the policy is none.
    """

    def __init__(
        self,
        make_env: Callable[[], AnyEnv],
        policy: Policy,
        *,
        concurrency: int = 16,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        seed: int = 0,
        retries: int = 2,
        give_up_after: int | None = None,
        deadlines: Deadlines = Deadlines(),  # noqa: B008 - frozen
        history: int | None = None,
        show_admissible: bool = False,
        workers: int | None = None,
        record: Callable[[Trajectory], None] | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(policy, type) or not hasattr(policy, "act"):
            raise ConfigError(
                f"policy is {policy!r}: give an object with `async def act`, "
                "agentgym.policy.open_policy('random') for one"
            )
        self.make_env = make_env
        self.policy = policy
        self.concurrency = whole("concurrency", concurrency, 1)
        self.sampling = sampling
        self.seed = whole("seed", seed)
        self.retries = whole("retries", retries)
        self.give_up_after = (
            max(16, 2 * self.concurrency)
            if give_up_after is None
            else whole("give_up_after", give_up_after, 1)
        )
        self.deadlines = deadlines
        self.history = None if history is None else whole("history", history)
        self.show_admissible = show_admissible
        self.workers = None if workers is None else whole("workers", workers, 1)
        self.record = record
        self.provenance = {
            "agentgym": agentgym.__version__,
            "sampling": {k: v for k, v in sampling._asdict().items() if k != "seed"},
            **(provenance or {}),
        }
        self.in_flight = 0
        """Episodes being played now."""
        self._faults_in_a_row = 0
        self._began = 0.0

    def run(self, keys: Iterable[EpisodeKey]) -> list[Trajectory]:
        """Play all of `keys` from plain code or in a notebook; return them as they ended."""

        async def everything() -> list[Trajectory]:
            return [trajectory async for trajectory in self.stream(keys)]

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(everything())
        return _run_in_a_thread(everything())

    async def stream(self, keys: Iterable[EpisodeKey]) -> AsyncGenerator[Trajectory, None]:
        """Play `keys`, yielding each episode as it ends.

        Use `contextlib.aclosing` around it where the iteration may be left early.

        Raises:
            InfraError: `give_up_after` episodes in a row ended as faults.
            AgentGymError: What can never work: no such task, a policy without access, a full disk.
        """
        results: asyncio.Queue[Trajectory | None] = asyncio.Queue(maxsize=self.concurrency)
        waiting = iter(keys)
        pool = WorkerPool(self.workers)
        self._faults_in_a_row = 0
        self._began = time.time()

        async def everything() -> None:
            try:
                async with asyncio.TaskGroup() as slots:
                    for key in islice(waiting, self.concurrency):
                        slots.create_task(self._slot(chain([key], waiting), results, pool))
            finally:
                with suppress(asyncio.QueueFull):  # nobody waits on a full queue
                    results.put_nowait(None)

        playing = asyncio.create_task(everything())
        try:
            with _fewer_collections(self.concurrency):
                while not (playing.done() and results.empty()):
                    trajectory = await results.get()
                    if trajectory is not None:
                        yield trajectory
            await playing
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            playing.cancel()
            try:
                await asyncio.gather(playing, return_exceptions=True)
            finally:
                pool.close()

    async def _slot(
        self,
        waiting: Iterator[EpisodeKey],
        results: asyncio.Queue[Trajectory | None],
        pool: WorkerPool,
    ) -> None:
        """Play one episode after another on an environment that is made again after a fault."""
        slot = _Slot(self.make_env, pool, self.deadlines.close_s)
        try:
            for key in waiting:
                trajectory = await self._episode(key, slot)
                await results.put(trajectory)
                await asyncio.sleep(0)  # let others begin, and a cancellation arrive
        finally:
            await slot.discard()

    async def _episode(self, key: EpisodeKey, slot: _Slot) -> Trajectory:
        """Play an episode, again where the infrastructure failed it."""
        sampling = self.sampling._replace(seed=derive_seed(self.seed, key))
        attempt = 0
        while True:
            trajectory = Trajectory(
                key,
                Task(key.task_id),
                provenance={
                    **self.provenance,
                    "seed": self.seed,
                    "attempt": attempt,
                    "began": self._began,
                    "started": time.time(),
                },
            )
            self.in_flight += 1
            try:
                await self._attempt(trajectory, slot, sampling)
                if trajectory.stop is not Stop.ERROR:
                    self._faults_in_a_row = 0
                    break
                logger.warning("episode %s, attempt %d: %s", key, attempt + 1, trajectory.error)
                if attempt >= self.retries:
                    break
                await asyncio.sleep(_backoff_s(attempt))
                attempt += 1
            except asyncio.CancelledError:
                if trajectory.stop is None:
                    trajectory.stop, trajectory.outcome = Stop.CANCELLED, UNSCORED
                self._record(trajectory)
                raise
            finally:
                self.in_flight -= 1
        self._record(trajectory)
        if trajectory.stop is Stop.ERROR:
            self._faults_in_a_row += 1
            if self._faults_in_a_row >= self.give_up_after:
                raise InfraError(
                    f"gave up: {self._faults_in_a_row} episodes in a row failed, "
                    f"the last with {trajectory.error}"
                )
        return trajectory

    async def _attempt(self, trajectory: Trajectory, slot: _Slot, sampling: Sampling) -> None:
        try:
            with boundary(EnvError, "making the environment"):
                env = slot.open()
        except InfraError as error:
            trajectory.stop, trajectory.outcome = Stop.ERROR, UNSCORED
            trajectory.error = f"{error.source}: {error}"
            return
        await play(
            env,
            self.policy,
            trajectory.key,
            sampling=sampling,
            history=self.history,
            show_admissible=self.show_admissible,
            deadlines=self.deadlines,
            into=trajectory,
        )
        if trajectory.stop is Stop.DEADLINE:
            await slot.discard(hung=True)  # it may be in the middle of something
        elif trajectory.stop is Stop.ERROR and not _blames_policy(trajectory.error or ""):
            await slot.discard(hung=(trajectory.error or "").startswith(StageTimeout.source))

    def _record(self, trajectory: Trajectory) -> None:
        if self.record is not None:
            self.record(trajectory)


class _Slot:
    """The environment one slot plays on."""

    def __init__(self, make: Callable[[], AnyEnv], pool: WorkerPool, close_s: float) -> None:
        self._make = make
        self._pool = pool
        self._close_s = close_s
        self._env: AnyEnv | None = None

    def open(self) -> AnyEnv:
        """The environment, made if need be."""
        if self._env is None:
            env = self._make()
            if isinstance(env, Env) and env.execution == "process":
                env.host = self._pool.lease(env)
            self._env = env
        return self._env

    async def discard(self, *, hung: bool = False) -> None:
        """Close the environment, whatever state it is in, and wait no longer than the deadline.

        One that hangs is not waited for: what it holds is let go when it comes to itself.
        """
        env, self._env = self._env, None
        if env is None:
            return
        try:
            async with asyncio.timeout(min(self._close_s, 1.0) if hung else self._close_s):
                with boundary(EnvError, "env.close"):
                    if isinstance(env, Env):
                        await env.aclose()
                    else:
                        await ThreadHost(env).close()  # no thread that the program's end waits for
        except Exception as error:
            logger.warning("closing %s failed: %s: %s", env, type(error).__name__, error)


def _run_in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` where this thread's loop is running already; an interrupt cancels `work`."""
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()

    async def there() -> T:
        task = asyncio.create_task(work)
        begun.set_result((asyncio.get_running_loop(), task))
        return await task

    with ThreadPoolExecutor(1) as thread:
        thread.submit(int).result()  # an interrupt while it starts would find nothing to cancel
        try:
            running = thread.submit(asyncio.run, there())
            while wait([running], timeout=0.1).not_done:
                pass  # an interrupt that came just before it waited is noticed now
            return running.result()
        except KeyboardInterrupt:
            loop, task = begun.result()
            with suppress(RuntimeError):  # it ended just now
                loop.call_soon_threadsafe(task.cancel)
            raise


def _blames_policy(error: str) -> bool:
    """Whether the environment had no part in it, and can be used again."""
    return error.startswith((PolicyError.source, f"{StageTimeout.source}: policy"))


class _FewerCollections:
    """Has Python look for cyclic garbage less often while episodes are played.

    Their records are many and hold no cycles: at the default threshold, looking through those of
    1,000 episodes takes a quarter of the CPU. The setting is the process's; collections that
    overlap share it, and the last one to end puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = gc.get_threshold()

    @contextmanager
    def __call__(self, in_flight: int) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._before = gc.get_threshold()
            self._inside += 1
            now = gc.get_threshold()
            gc.set_threshold(max(now[0], min(600 * in_flight, 600_000)), *now[1:])
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    gc.set_threshold(*self._before)


_fewer_collections = _FewerCollections()


def _backoff_s(attempt: int) -> float:
    """Full jitter: uniform up to an exponentially growing limit, in seconds."""
    return random.SystemRandom().uniform(
        0.0, min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0**attempt)
    )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error a group of failed slots stands for: ours if there is one."""
    flat: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            flat.append(error)
    return next((e for e in flat if isinstance(e, AgentGymError)), flat[0])
