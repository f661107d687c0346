"""One episode: the interaction loop, the only one.

`play` awaits the policy and steps the environment where it says it runs, and returns a `Trajectory`
whatever happens: what the model does wrong is in it as observations, what the infrastructure does
wrong as `Stop.ERROR`. Only a caller's mistake (`ConfigError`, `TaskError`, …) and cancellation are
raised.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import gymnasium as gym
import numpy as np

from agentgym.env import Env
from agentgym.errors import (
    ContextOverflow,
    EnvError,
    InfraError,
    PolicyError,
    StageTimeout,
    boundary,
)
from agentgym.execution import ThreadHost
from agentgym.prompt import Conversation, spoken, system_message
from agentgym.types import (
    Completion,
    EpisodeKey,
    Observation,
    Outcome,
    Policy,
    Sampling,
    Stop,
    Task,
    Trajectory,
    Turn,
)

logger = logging.getLogger(__name__)

AnyEnv: TypeAlias = gym.Env[Any, Any]
UNSCORED = Outcome(0.0, False, "unscored", available=False)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Longest each stage may take, in seconds; None for no limit.

    A stage that takes longer is an infrastructure fault and retried; an episode that takes longer
    ends with `Stop.DEADLINE` and is not. Code that runs `inline` cannot be interrupted.
    """

    reset_s: float | None = 300.0
    policy_s: float | None = 600.0
    step_s: float | None = 300.0
    episode_s: float | None = None
    close_s: float = 30.0


async def play(
    env: AnyEnv,
    policy: Policy,
    key: EpisodeKey,
    *,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    history: int | None = None,
    show_admissible: bool = False,
    deadlines: Deadlines = Deadlines(),
    into: Trajectory | None = None,
) -> Trajectory:
    """Play one episode.

    Args:
        env: An `agentgym.Env`, or any Gymnasium environment over text (its score is then the sum of
            its rewards, cut to [0, 1]).
        policy: Who acts.
        key: Which episode: its task (one drawn by the seed if empty) and seed reach `env.reset`.
        sampling: How the policy draws tokens; turn t is given its seed plus t.
        history: See `agentgym.prompt.Conversation`.
        show_admissible: List the admissible actions with each observation.
        deadlines: Longest each stage may take.
        into: A trajectory to fill in, for a caller that wants what there is after a cancellation.

    Returns:
        The episode, ended: `stop` and `outcome` are set.

    Raises:
        AgentGymError: The caller's mistake: no such task, a policy that can never work.
        asyncio.CancelledError: The caller gave up; `into` then has `Stop.CANCELLED`.
    """
    trajectory = into if into is not None else Trajectory(key, Task(key.task_id))
    clock = _Clock(deadlines.episode_s)
    episode = _Episode(env, policy, trajectory, sampling, deadlines, clock)
    started = time.perf_counter()
    try:
        with clock:
            await episode.run(Conversation(system_message(env), history=history), show_admissible)
    except _EpisodeTimeout:
        trajectory.stop, trajectory.outcome = Stop.DEADLINE, UNSCORED
    except InfraError as error:
        trajectory.stop, trajectory.error = Stop.ERROR, f"{error.source}: {error}"
        trajectory.outcome = UNSCORED
    except asyncio.CancelledError:
        trajectory.stop, trajectory.outcome = Stop.CANCELLED, UNSCORED
        raise
    finally:
        trajectory.provenance["wall_s"] = round(time.perf_counter() - started, 6)
    return trajectory


class _Episode:
    """What `play` keeps while an episode runs."""

    __slots__ = (
        "clock",
        "deadlines",
        "env",
        "policy",
        "sampling",
        "trajectory",
    )

    def __init__(
        self,
        env: AnyEnv,
        policy: Policy,
        trajectory: Trajectory,
        sampling: Sampling,
        deadlines: Deadlines,
        clock: _Clock,
    ) -> None:
        self.env = env
        self.policy = policy
        self.trajectory = trajectory
        self.sampling = sampling
        self.deadlines = deadlines
        self.clock = clock

    async def run(self, conversation: Conversation, show_admissible: bool) -> None:
        face = _face(self.env)
        try:
            await self._run(face, conversation, show_admissible)
        finally:
            if face.host is not None:
                face.host.kill()

    async def _run(self, face: _Face, conversation: Conversation, show_admissible: bool) -> None:
        trajectory, policy = self.trajectory, self.policy
        wants: str = getattr(policy, "wants", "") or ""
        info = await self._reset(face, {wants, "admissible"} if show_admissible else {wants})
        shown = cast("Observation", trajectory.final_observation)
        session = f"{trajectory.key}@{secrets.token_hex(4)}"  # each attempt is one of its own
        act, turns, sampling = policy.act, trajectory.turns, self.sampling
        step, waits = face.step, face.waits
        first_seed = sampling.seed
        clock = time.perf_counter
        acting, stepping = boundary(PolicyError, "policy.act"), boundary(EnvError, "env.step")
        while True:
            with stepping:
                conversation.observe(shown, info.get("admissible") if show_admissible else None)
            if first_seed is not None:
                sampling = sampling._replace(seed=int(first_seed + len(turns)) & 0x7FFFFFFF)
            hint = info.get(wants) if wants else None
            begun = clock()
            self.clock.enter("policy", self.deadlines.policy_s)
            try:
                with acting:
                    completion = await act(
                        conversation.messages,
                        sampling=sampling,
                        session=session,
                        admissible=[hint] if isinstance(hint, str) else hint,
                    )
                    _check(completion)
                    said = spoken(completion)
            except ContextOverflow as error:
                await self._stop_for_context(error)
                return
            heard = clock()
            if waits:
                self.clock.enter("step", self.deadlines.step_s)
            with stepping:
                result = step(said)
                if waits:
                    result = await result
                after, reward, terminated, truncated, info = result
                reward = float(reward)
                _check_info(info)
            if not math.isfinite(reward):
                raise EnvError(f"env.step paid {reward!r}: a reward must be a finite number")
            turns.append(
                Turn(
                    observation=shown,
                    completion=completion,
                    action=info.get("action", said),
                    invalid=info.get("invalid"),
                    reward=reward,
                    facts=info.get("facts", {}),
                    signals=info.get("signals", {}),
                    timings={"policy_s": heard - begun, "env_s": clock() - heard},
                )
            )
            trajectory.final_observation = shown = after
            if terminated or truncated:
                trajectory.stop = Stop.TERMINATED if terminated else Stop.TURNS
                outcome = info.get("outcome")
                if not isinstance(outcome, Outcome):
                    outcome = self._foreign_outcome()
                trajectory.outcome = outcome
                return
            conversation.answer(completion)

    async def _reset(self, face: _Face, wanted: set[str]) -> dict[str, Any]:
        key = self.trajectory.key
        options: dict[str, Any] = {"task": key.task_id} if key.task_id else {}
        hints = sorted(wanted - {""})
        if hints:
            options["hints"] = hints
        self.clock.enter("reset", self.deadlines.reset_s)
        with boundary(EnvError, "env.reset"):
            result = face.reset(seed=key.seed, options=options or None)
            shown, info = await result if face.waits else result
            _check_info(info)
        if isinstance(info.get("task"), Task):
            self.trajectory.task = info["task"]
        self.trajectory.facts = info.get("facts", {})
        self.trajectory.final_observation = shown
        return cast("dict[str, Any]", info)

    async def _stop_for_context(self, error: ContextOverflow) -> None:
        """The conversation no longer fits: judge the world as it stands."""
        self.clock.enter("step", self.deadlines.step_s)
        self.trajectory.stop = Stop.CONTEXT
        self.trajectory.error = f"policy: {error}"
        world = self.env.unwrapped
        with boundary(EnvError, "env.judge"):
            if world is self.env and isinstance(world, Env):
                self.trajectory.outcome = await world.aconclude()
            elif isinstance(world, Env):  # in a wrapper, which may have no such method
                host = ThreadHost(world)
                try:
                    self.trajectory.outcome = await host.call("conclude")
                finally:
                    host.kill()
            else:
                self.trajectory.outcome = self._foreign_outcome()

    def _foreign_outcome(self) -> Outcome:
        score = min(max(self.trajectory.reward, 0.0), 1.0)
        return Outcome(score, score == 1.0, "reward")


def _check_info(info: object) -> None:
    if not isinstance(info, dict):
        raise TypeError(f"info is {info!r:.80}: return a dict")


def _check(said: object) -> None:
    """Refuse what could not be recorded.

    Raises:
        TypeError: It is no `Completion`, or one of its fields is not what it should be.
    """
    if not isinstance(said, Completion):
        raise TypeError(f"it returned {said!r:.80}: return a Completion")
    if not isinstance(said.text, str):
        raise TypeError(f"Completion.text is {said.text!r:.80}: give a str")
    if not all(isinstance(count, int) for count in said.usage.values()):
        raise TypeError(f"Completion.usage is {said.usage!r:.80}: give whole numbers")
    for name, values, kinds in (
        ("prompt_ids", said.prompt_ids, "iu"),
        ("completion_ids", said.completion_ids, "iu"),
        ("logprobs", said.logprobs, "iuf"),
    ):
        if values is not None and len(values):
            array = np.asarray(values)
            if array.ndim != 1 or array.dtype.kind not in kinds:
                raise TypeError(f"Completion.{name} is {values!r:.80}: give an array of numbers")
    ids, logprobs = said.completion_ids, said.logprobs
    if ids is not None and logprobs is not None and len(ids) != len(logprobs):
        raise TypeError(
            f"Completion has {len(ids)} completion_ids but {len(logprobs)} logprobs: give one for "
            "each"
        )


class _EpisodeTimeout(Exception):
    """The episode's own deadline has passed."""


class _Clock:
    """Interrupts an episode when a stage, or the whole of it, takes too long.

    As `asyncio.timeout` does, but for many stages and few timeouts: a timer is set only if the one
    that is set would go off too late, and sees what is due when it goes off.
    """

    __slots__ = (
        "_cancelling",
        "_ends_at",
        "_expired",
        "_limit_s",
        "_loop",
        "_stage",
        "_task",
        "_timer",
        "_until",
    )

    def __init__(self, episode_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends_at = math.inf if episode_s is None else self._loop.time() + episode_s
        self._stage = ""
        self._limit_s = math.inf
        self._until = self._ends_at
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._expired = False

    def enter(self, stage: str, limit_s: float | None) -> None:
        """Begin a stage; the one before has ended."""
        if self._expired:  # and the cancellation was swallowed
            raise self._error()
        self._stage = stage
        if limit_s is None:
            self._until = self._ends_at
        else:
            self._limit_s = limit_s
            self._until = min(self._loop.time() + limit_s, self._ends_at)
        if self._timer is None or self._until < self._timer.when():
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._until < math.inf:
            self._timer = self._loop.call_at(self._until, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._loop.time() < self._until:
            self._set_timer()
        elif self._task is not None:
            self._expired = True
            self._task.cancel()

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
        if not self._expired or task is None:
            return
        # somebody else's cancellation goes on; ours becomes an error
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._error() from error

    def _error(self) -> Exception:
        if self._loop.time() >= self._ends_at:
            return _EpisodeTimeout()
        return StageTimeout(f"{self._stage} took longer than {self._limit_s:g} s")


class _Face(NamedTuple):
    """How an environment is called from an event loop."""

    reset: Callable[..., Any]
    step: Callable[[str], Any]
    waits: bool
    """Whether the two return awaitables."""
    host: ThreadHost | None = None


def _face(env: AnyEnv) -> _Face:
    """Plainly where nothing waits; a wrapper, which must see every call, in a thread if need be."""
    if isinstance(env, Env):
        return (
            _Face(env.areset, env.astep, True) if env.waits else _Face(env.reset, env.step, False)
        )
    if not getattr(env.unwrapped, "waits", False):
        return _Face(env.reset, env.step, False)
    host = ThreadHost(env)
    return _Face(partial(host.call, "reset"), partial(host.call, "step"), True, host)
