"""The environment: Gymnasium outside, two hooks inside.

A world subclasses `Env` and writes `begin(task)` and `respond(action)`. Seeding, the choice of a
task, the reading of what the model said, invalid actions, the turn limit and the order of calls are
here, once. Hooks may be plain functions or coroutines; `Env` has both faces, `reset`/`step` and
`areset`/`astep`, whichever they are:

=============  ==========================================  =========================================
hooks          `reset`, `step`                             `areset`, `astep`
=============  ==========================================  =========================================
plain          called directly                             where `execution` says
`async def`    on the library's loop thread, with the      awaited
               deadline `deadline_s`
=============  ==========================================  =========================================
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Collection, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, cast

import gymnasium as gym
import numpy as np

from agentgym.actions import Action, Grammar
from agentgym.errors import (
    ConfigError,
    EnvError,
    InvalidAction,
    ResetNeeded,
    StageTimeout,
    TaskError,
    did_you_mean,
    whole,
)
from agentgym.spaces import Unicode
from agentgym.types import Observation, Outcome, Reply, Snapshot, Task

if TYPE_CHECKING:
    from agentgym.execution import Host

T = TypeVar("T")

Execution = Literal["inline", "thread", "process"]
HINTS = frozenset({"admissible", "oracle"})
MAX_REPLY_CHARS = 10_000_000
"""Of the action space: thoughts may be long, and do not count for the grammar's own limit."""
LONGEST_REFUSAL = 1_000
"""Characters of an `InvalidAction`'s message that the model is shown."""
_HINTS = 0x68696E74
"""Spawn key of the streams that hints are drawn from: no world spawns so many of its own."""

_HOOKS = ("begin", "respond", "judge", "admissible", "oracle")
_VALID: Mapping[str, Any] = {"valid": True}


class Env(gym.Env[Observation, str]):
    """A multi-turn world for language agents.

    Write `begin` and `respond`; the other hooks have defaults. An instance is reusable by `reset`,
    and its constructor is cheap: resources are taken in `begin`. All randomness comes from
    `self.np_random`.

    Args:
        split: Which of `splits` tasks are drawn from.
        max_turns: Turn limit; the class's own if None.
        dialect: How actions are written (`agentgym.actions.DIALECTS`); the grammar's own if None.
        render_mode: None or `"ansi"`.

    Raises:
        TaskError: No such split.
        ConfigError: `max_turns` or `dialect` is wrong.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}  # type: ignore[misc]
    execution: ClassVar[Execution] = "inline"
    """Where plain hooks run under `areset`/`astep`: `inline` (worlds of microseconds), `thread`
    (waiting on containers, HTTP), `process` (CPU-bound engines)."""
    provides: frozenset[str] = frozenset()
    """Keys its facts, task data and outcome parts will hold."""
    splits: ClassVar[tuple[str, ...]] = ("train",)
    instructions: str = ""
    """What the system message says about the world."""
    grammar: Grammar = Grammar.text()
    """How actions are written and read."""
    max_turns: int = 50
    max_observation_chars: ClassVar[int] = 100_000
    deadline_s: ClassVar[float] = 300.0
    """Longest a coroutine hook may take under `reset`/`step`, in seconds."""

    _coroutine_hooks: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note whether hooks are coroutines."""
        super().__init_subclass__(**kwargs)
        cls._coroutine_hooks = any(inspect.iscoroutinefunction(getattr(cls, h)) for h in _HOOKS)

    def __init__(
        self,
        *,
        split: str = "train",
        max_turns: int | None = None,
        dialect: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        if split not in self.splits:
            raise TaskError(
                f"{type(self).__name__} has no split {split!r}: it has "
                f"{', '.join(map(repr, self.splits))}{did_you_mean(split, self.splits)}"
            )
        if max_turns is not None:
            self.max_turns = whole("max_turns", max_turns, 1)
        if dialect is not None:
            self.grammar = self.grammar.with_dialect(dialect)
        self.split = split
        self.render_mode = render_mode
        self.action_space = Unicode(MAX_REPLY_CHARS, sampler=self.grammar.sample)
        self.observation_space = cast("gym.Space[Observation]", Unicode(self.max_observation_chars))
        self.task: Task | None = None
        """The task of the current episode."""
        self.turn = 0
        """Turns taken in the current episode."""
        self.host: Host | None = None
        """Where plain hooks run under the async face; opened when first needed."""
        self._running = False
        self._hints: frozenset[str] = frozenset()
        self._shown: Observation = ""

    # ---------------------------------------------------------------- hooks: what a world writes

    def begin(self, task: Task) -> Observation | Reply | Awaitable[Observation | Reply]:
        """Set the world up for `task` and return what the agent sees first.

        As a `Reply` it may carry facts about the start.
        """
        raise NotImplementedError(f"{type(self).__name__} must define begin(task)")

    def respond(self, action: Action) -> Reply | Awaitable[Reply]:
        """Carry out `action` (canonical text; `.verb` and `.arguments` hold it parsed).

        Raises:
            InvalidAction: It cannot be carried out: its message becomes the observation.
        """
        raise NotImplementedError(f"{type(self).__name__} must define respond(action)")

    def judge(self) -> Outcome | Awaitable[Outcome]:
        """Verify the world as it stands; asked once, when the turn limit is reached."""
        return Outcome(0.0, False, "limit")

    def admissible(self) -> Sequence[str] | Awaitable[Sequence[str] | None] | None:
        """Canonical actions possible now, or None where the world cannot list them.

        A list of `Action` is handed on as it is, anything else made one.
        """
        return None

    def oracle(self) -> str | Awaitable[str | None] | None:
        """The canonical action an expert would take now, or None where there is none."""
        return None

    def tasks(self) -> Sequence[str]:
        """Task ids of the split; may be lazy, needs only `len` and indexing."""
        return ("default",)

    def find_task(self, task_id: str) -> Task:
        """Rebuild a task from its id.

        Raises:
            TaskError: No such task in the split.
        """
        known = self.tasks()
        if task_id not in known:
            raise TaskError(
                f"{self._name} has no task {task_id!r} in split {self.split!r}"
                f"{did_you_mean(task_id, known[:1000])}"
            )
        return Task(task_id, self._name, self.split)

    def save_state(self) -> Any:
        """Return the world's own state, for `snapshot`; it must not change when the world goes on.

        Defining it together with `load_state` declares the capability.
        """
        raise NotImplementedError(f"{type(self).__name__} has no snapshots")

    def load_state(self, state: Any) -> None:
        """Return to what `save_state` returned, in this or another instance."""
        raise NotImplementedError(f"{type(self).__name__} has no snapshots")

    # ---------------------------------------------------------------- Gymnasium's face

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Same task and seed, same initial state. Without a task it also draws one.
            options: `"task"`: the id of the task to take; `"hints"`: which of `"admissible"` and
                `"oracle"` to put into `info` after each call.

        Returns:
            The first observation and `info` with `task`, `facts` about the start where the world
            tells any, and the hints asked for.

        Raises:
            TaskError: No such task.
            ConfigError: The seed is no whole number; an option is unknown, or of another type.
        """
        return self._now(self._reset(seed, options))

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one turn with what the model said.

        Args:
            action: The model's text in the grammar's dialect, or an `Action` (already canonical).

        Returns:
            Observation, reward (`outcome.score` in the step that ends the episode, else 0),
            terminated, truncated (by the turn limit alone), and `info`: `action` (canonical text),
            `invalid` (kind or None), `facts`, `outcome` at the end, the hints asked for, and
            whatever the world adds.

        Raises:
            ResetNeeded: No episode is running.
            ConfigError: The action is no text.
        """
        if self._coroutine_hooks:
            return self._now(self._step(action))
        understood = action
        reply: Any
        try:
            understood = self._read(action)
            reply = self.respond(understood)
        except InvalidAction as error:
            reply = error
        shown, outcome, info = self._account(understood, reply)
        if outcome is None and self.turn < self.max_turns:
            if self._hints:
                self._tell(info, *self._ask())
            return shown, 0.0, False, False, info
        return self._now(self._settle(shown, outcome, info))

    def render(self) -> str | None:
        """Text of the last observation in mode `"ansi"`."""
        if self.render_mode != "ansi":
            return None
        return self._shown if isinstance(self._shown, str) else str(self._shown.get("text", ""))

    def close(self) -> None:
        """Release everything; closing twice is fine.

        A world with plain hooks overrides this one and calls it too; one with coroutines, `aclose`.
        """
        self._running = False
        if self.host is not None:
            self.host.kill()
            self.host = None
        if self._coroutine_hooks and type(self).aclose is not Env.aclose:
            from agentgym.execution import run_on_loop_thread

            run_on_loop_thread(self.aclose(), self.deadline_s, f"{self._name}.aclose()")

    @property
    def waits(self) -> bool:
        """Whether a step may take a while: it is to be awaited, or done in another thread."""
        return self._coroutine_hooks or self.execution != "inline"

    def conclude(self) -> Outcome:
        """End the running episode here and judge it as it stands.

        Raises:
            ResetNeeded: No episode is running.
        """
        return self._now(self._conclude())

    # ---------------------------------------------------------------- the asynchronous face

    async def areset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """`reset`, for event loops: plain hooks run where `execution` says."""
        if self._coroutine_hooks or not self.waits:
            return await self._reset(seed, options)
        if self.host is None:
            from agentgym.execution import open_host  # asyncio is a tenth of the import

            self.host = open_host(self, self.execution)
        result = await self.host.call("reset", seed=seed, options=options)
        return cast("tuple[Observation, dict[str, Any]]", result)

    async def astep(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """`step`, for event loops."""
        if self.host is not None:
            result = await self.host.call("step", action)
            return cast("tuple[Observation, float, bool, bool, dict[str, Any]]", result)
        return await self._step(action) if self._coroutine_hooks else self.step(action)

    async def aconclude(self) -> Outcome:
        """`conclude`, for event loops."""
        if self.host is not None:
            return cast("Outcome", await self.host.call("conclude"))
        return await self._conclude()

    async def aclose(self) -> None:
        """`close`, for event loops.

        A world whose hooks are coroutines overrides this one (and awaits it too): `close` calls it.
        """
        self._running = False
        if self.host is not None:
            host, self.host = self.host, None
            await host.close()
        if not self._coroutine_hooks:
            self.close()

    # ---------------------------------------------------------------- snapshots

    @property
    def can_snapshot(self) -> bool:
        """Whether `snapshot`, `restore` and `fork` work in this world."""
        return type(self).save_state is not Env.save_state

    def snapshot(self) -> Snapshot:
        """Keep this point of the episode.

        Raises:
            ResetNeeded: No episode was started.
            ConfigError: The world has no snapshots.
        """
        self._need_snapshots()
        if self.task is None:
            if self.host is not None:
                raise ConfigError(f"{self._name} runs in a worker process: snapshots are there")
            raise ResetNeeded("snapshot() before reset(): start an episode first")
        generator, seed = self.np_random.bit_generator.state, self.np_random_seed
        world = self.save_state()
        return Snapshot(self.task, self.turn, not self._running, generator, seed, world)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this environment or of one made with the same arguments.

        Raises:
            ConfigError: The world has no snapshots, or this is none of it.
        """
        self._need_snapshots()
        if not isinstance(snapshot, Snapshot):
            raise ConfigError(f"{snapshot!r:.80} is no snapshot: give what snapshot() returned")
        world = snapshot.task.env
        if self.spec is not None and world not in ("", self._name, type(self).__name__):
            raise ConfigError(f"{self._name} cannot restore a snapshot of {world}: give its own")
        self.task = snapshot.task
        self.turn = snapshot.turn
        self._running = not snapshot.over
        self.np_random.bit_generator.state = dict(snapshot.generator)
        self._np_random_seed = snapshot.seed
        self.load_state(snapshot.world)

    def fork(self) -> Self:
        """Return a second environment at the same point; each goes on by itself.

        Raises:
            ConfigError: The world has no snapshots, or was not made by `gymnasium.make`.
        """
        snapshot = self.snapshot()
        if self.spec is None:
            raise ConfigError("fork() needs an environment made by gymnasium.make")
        twin = cast("Self", self.spec.make())
        twin._hints = self._hints
        twin.restore(snapshot)
        return twin

    # ---------------------------------------------------------------- one implementation for both

    async def _reset(
        self, seed: int | None, options: dict[str, Any] | None
    ) -> tuple[Observation, dict[str, Any]]:
        wanted, hints = self._read_options(options)
        if seed is not None:
            seed = whole("seed", seed)
        self._running = False  # should anything below fail, there is no episode
        super().reset(seed=seed)
        draw = self.np_random.random()  # always, so that a task drawn or named starts alike
        if wanted is None:
            known = self.tasks()
            wanted = known[int(draw * len(known))]
        self.task = self.find_task(wanted)
        self.turn = 0
        self._hints = hints
        first = self.begin(self.task)
        if self._coroutine_hooks and inspect.isawaitable(first):
            first = await first
        info: dict[str, Any] = {"task": self.task}
        if isinstance(first, Reply):
            info = {**first.info, "task": self.task, "facts": dict(first.facts)}
            first = first.observation if first.outcome is None else None  # type: ignore[assignment]
        if not isinstance(first, str | Mapping):
            raise self._misreturned("begin", first, "text, or a mapping with 'text' or 'image'")
        self._shown = first
        self._running = True
        if hints:
            await self._add_hints(info)
        return self._shown, info

    async def _step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """`step` where hooks are coroutines."""
        understood = action
        reply: Any
        try:
            understood = self._read(action)
            reply = self.respond(understood)
            if inspect.isawaitable(reply):
                reply = await reply
        except InvalidAction as error:
            reply = error
        return await self._settle(*self._account(understood, reply))

    def _read(self, action: str) -> Action:
        """What is to be done, in the episode that is running."""
        if not self._running:
            raise ResetNeeded(
                "step() without a running episode: call reset() first"
                if self.task is None
                else "step() after the episode ended: call reset() to start another"
            )
        if not isinstance(action, str):
            raise ConfigError(f"the action is {action!r:.80}: give what the model said, a str")
        return self.grammar.parse(action)

    def _account(
        self, understood: str, reply: Any
    ) -> tuple[Observation, Outcome | None, dict[str, Any]]:
        """Count the turn, and put together what it gives."""
        self.turn += 1
        if isinstance(reply, Reply):
            shown, outcome, facts, extra = reply
            if type(shown) is not str and not isinstance(shown, str | Mapping):
                raise self._misreturned("respond", shown, "text, or a mapping, as the observation")
            facts = {"valid": True, **facts} if facts else {"valid": True}
            if understood.ignored:  # type: ignore[attr-defined]  # an Action, as it was read
                facts["ignored"] = understood.ignored  # type: ignore[attr-defined]
            info = {"action": understood, "invalid": None, "facts": facts}
            if extra:
                info = {**extra, **info}
        elif isinstance(reply, InvalidAction):
            shown, outcome = reply.message[:LONGEST_REFUSAL], None
            facts = {**reply.facts, "valid": False}
            info = {"action": understood, "invalid": reply.kind, "facts": facts}
        else:
            raise self._misreturned("respond", reply, "Reply(observation, ...)")
        self._shown = shown
        return shown, outcome, info

    async def _settle(
        self, shown: Observation, outcome: Outcome | None, info: dict[str, Any]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Add the hints that were asked for, or end the episode if this was its last turn."""
        terminated = outcome is not None
        if outcome is None and self.turn < self.max_turns:
            await self._add_hints(info)
            return shown, 0.0, False, False, info
        if outcome is None:
            outcome = await self._conclude()
        self._running = False
        info["outcome"] = outcome
        return shown, outcome.score, terminated, not terminated, info

    async def _conclude(self) -> Outcome:
        if not self._running:
            raise ResetNeeded("no episode is running: there is nothing to judge")
        self._running = False
        outcome = self.judge()
        if inspect.isawaitable(outcome):
            outcome = await outcome
        return outcome

    def _ask(self) -> tuple[Any, Any]:
        """What the world answers to the hints that `options["hints"]` asked for."""
        return (
            self.admissible() if "admissible" in self._hints else (),
            self.oracle() if "oracle" in self._hints else None,
        )

    async def _add_hints(self, info: dict[str, Any]) -> None:
        """Put the hints that were asked for into `info`."""
        listed, best = self._ask()
        if inspect.isawaitable(listed):
            listed = await listed
        if inspect.isawaitable(best):
            best = await best
        self._tell(info, listed, best)

    def _tell(self, info: dict[str, Any], listed: Any, best: Any) -> None:
        """Put hints into `info`.

        Where the world cannot list its admissible actions, a few are drawn from the grammar.
        """
        if "admissible" in self._hints:
            if listed is None:
                seed = self.np_random_seed & (2**63 - 1)
                stream = np.random.SeedSequence(seed, spawn_key=(_HINTS, self.turn))
                generator = np.random.default_rng(stream)
                listed = [self.grammar.sample(generator) for _ in range(8)]
            canonical = isinstance(listed, list) and listed and type(listed[0]) is Action
            info["admissible"] = listed if canonical else [Action(a) for a in listed]
        if "oracle" in self._hints:
            info["oracle"] = None if best is None else Action(best)

    def _now(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end: it only ever suspends where hooks are coroutines."""
        if self._coroutine_hooks:
            from agentgym.execution import run_on_loop_thread

            try:
                return run_on_loop_thread(work, self.deadline_s, f"{self._name} hook")
            except StageTimeout:
                self._running = False  # it was cut in the middle of something
                raise
        try:
            work.send(None)
        except StopIteration as finished:
            return cast("T", finished.value)
        work.close()
        raise ConfigError(f"{self._name}: a plain hook returned an awaitable; make it `async def`")

    def _misreturned(self, hook: str, value: object, wanted: str) -> EnvError:
        if inspect.iscoroutine(value):
            value.close()
            return EnvError(f"{self._name}.{hook}() returned a coroutine: make it `async def`")
        return EnvError(f"{self._name}.{hook}() returned {value!r:.80}: return {wanted}")

    def _read_options(self, options: dict[str, Any] | None) -> tuple[str | None, frozenset[str]]:
        if options is None:
            return None, frozenset()
        if not isinstance(options, Mapping):
            raise ConfigError(f"options are {options!r:.80}: give a dict, of 'task' and 'hints'")
        for name in options:
            if name not in ("task", "hints"):
                raise ConfigError(f"reset() knows no option {name!r}: it takes 'task' and 'hints'")
        task, hints = options.get("task"), options.get("hints", ())
        if task is not None and not isinstance(task, str):
            raise ConfigError(f"the task is {task!r:.80}: give its id, a str")
        known = sorted(HINTS)
        if (
            isinstance(hints, str)
            or not isinstance(hints, Collection)
            or any(hint not in known for hint in hints)
        ):
            raise ConfigError(f"hints are {hints!r:.80}: give a list, of {known}")
        return task, frozenset(hints)

    def _need_snapshots(self) -> None:
        if not self.can_snapshot:
            raise ConfigError(f"{self._name} has no snapshots: see Env.can_snapshot")

    @property
    def _name(self) -> str:
        return self.spec.id if self.spec is not None else type(self).__name__
