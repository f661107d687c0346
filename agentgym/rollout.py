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
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import gymnasium as gym

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
        async with clock:
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
        if isinstance(self.env, Env):
            await self._run(self.env.areset, self.env.astep, conversation, show_admissible)
            return
        faces = _Faces(self.env)
        try:
            await self._run(faces.reset, faces.step, conversation, show_admissible)
        finally:
            faces.release()

    async def _run(
        self, reset: _Reset, step: _Step, conversation: Conversation, show_admissible: bool
    ) -> None:
        trajectory, policy = self.trajectory, self.policy
        wants: str = getattr(policy, "wants", "")
        info = await self._reset(reset, {wants, "admissible"} if show_admissible else {wants})
        shown = cast("Observation", trajectory.final_observation)
        session = f"{trajectory.key}@{id(trajectory):x}"
        act, turns, sampling = policy.act, trajectory.turns, self.sampling
        first_seed = sampling.seed
        clock = time.perf_counter
        acting, stepping = boundary(PolicyError, "policy.act"), boundary(EnvError, "env.step")
        while True:
            conversation.observe(shown, info.get("admissible") if show_admissible else None)
            if first_seed is not None:
                sampling = sampling._replace(seed=(first_seed + len(turns)) & 0x7FFFFFFF)
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
            except ContextOverflow as error:
                await self._stop_for_context(error)
                return
            heard = clock()
            self.clock.enter("step", self.deadlines.step_s)
            with stepping:
                said = spoken(completion)
                after, reward, terminated, truncated, info = await step(said)
                reward = float(reward)
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
                trajectory.outcome = info.get("outcome") or self._foreign_outcome()
                return
            conversation.answer(completion)

    async def _reset(self, reset: _Reset, wanted: set[str]) -> dict[str, Any]:
        key = self.trajectory.key
        options: dict[str, Any] = {"task": key.task_id} if key.task_id else {}
        hints = sorted(wanted - {""})
        if hints:
            options["hints"] = hints
        self.clock.enter("reset", self.deadlines.reset_s)
        with boundary(EnvError, "env.reset"):
            shown, info = await reset(seed=key.seed, options=options or None)
        if isinstance(info.get("task"), Task):
            self.trajectory.task = info["task"]
        self.trajectory.final_observation = shown
        return info

    async def _stop_for_context(self, error: ContextOverflow) -> None:
        """The conversation no longer fits: judge the world as it stands."""
        self.clock.enter("step", self.deadlines.step_s)
        self.trajectory.stop = Stop.CONTEXT
        self.trajectory.error = f"policy: {error}"
        if isinstance(self.env, Env):
            with boundary(EnvError, "env.judge"):
                self.trajectory.outcome = await self.env.aconclude()
        else:
            self.trajectory.outcome = Outcome(0.0, False, "context")

    def _foreign_outcome(self) -> Outcome:
        score = min(max(self.trajectory.reward, 0.0), 1.0)
        return Outcome(score, score == 1.0, "reward")


class _EpisodeTimeout(Exception):
    """The episode's own deadline has passed."""


class _Clock:
    """Interrupts an episode when a stage, or the whole of it, takes too long.

    `asyncio.timeout` does the interrupting. The timer behind it is set when a stage begins only if
    it would go off too late, and sees what is due when it does: stages are many, timeouts few.
    """

    __slots__ = ("_ends_at", "_limit_s", "_loop", "_stage", "_timeout", "_timer", "_until")

    def __init__(self, episode_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends_at = math.inf if episode_s is None else self._loop.time() + episode_s
        self._stage = ""
        self._limit_s = math.inf
        self._until = self._ends_at
        self._timer: asyncio.TimerHandle | None = None
        self._timeout = asyncio.timeout(None)

    def enter(self, stage: str, limit_s: float | None) -> None:
        """Begin a stage; the one before has ended."""
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
        if self._loop.time() >= self._until:
            self._timeout.reschedule(self._loop.time())
        else:
            self._set_timer()

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as expired:
            if self._loop.time() >= self._ends_at:
                raise _EpisodeTimeout from expired
            raise StageTimeout(f"{self._stage} took longer than {self._limit_s:g} s") from expired


_Reset: TypeAlias = Callable[..., Awaitable[tuple[Any, dict[str, Any]]]]
_Step: TypeAlias = Callable[[str], Awaitable[tuple[Any, float, bool, bool, dict[str, Any]]]]


class _Faces:
    """The asynchronous face of an environment that is not an `Env`: a wrapper, or foreign.

    A wrapper sees every call, so it is called plainly: in a thread where what it wraps may wait.
    """

    def __init__(self, env: AnyEnv) -> None:
        world = env.unwrapped
        waits = getattr(world, "execution", "inline") != "inline"
        self._env = env
        self._host = ThreadHost(env) if waits or getattr(world, "_coroutine_hooks", False) else None

    async def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        if self._host is None:
            return self._env.reset(**kwargs)
        return cast("tuple[Any, dict[str, Any]]", await self._host.call("reset", **kwargs))

    async def step(self, action: str) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._host is None:
            return self._env.step(action)
        result = await self._host.call("step", action)
        return cast("tuple[Any, Any, bool, bool, dict[str, Any]]", result)

    def release(self) -> None:
        if self._host is not None:
            self._host.kill()
