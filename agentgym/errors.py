"""Every error agentgym raises on purpose.

::

    AgentGymError
    ├── ConfigError      an argument is wrong: nothing was started          (also ValueError)
    ├── RegistryError    no such environment, or its extra is not installed (also LookupError)
    ├── TaskError        no such task or split                              (also LookupError)
    ├── StoreError       a run folder cannot be read, locked or written     (also OSError)
    ├── ResetNeeded      step() before reset(), or after the episode ended
    ├── InvalidAction    the model's mistake: comes back to it as an observation
    ├── ContextOverflow  the prompt no longer fits the model: ends the episode, counts as played
    └── InfraError       an infrastructure fault: the episode is unscored, and retried
        ├── EnvError         the environment raised, hung or died
        ├── SandboxError     the sandbox or browser under it did
        ├── PolicyError      the policy or its server did
        ├── RetrievalError   a retriever, its server or its index did
        └── StageTimeout     a stage took longer than its deadline          (also TimeoutError)

A message says what was wrong with which value, then what to do. Errors stay picklable, so that they
can cross a process boundary: whatever `__init__` takes is kept in `args`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from operator import index
from types import TracebackType
from typing import Any, SupportsIndex


class AgentGymError(Exception):
    """Base of every error raised on purpose."""


class ConfigError(AgentGymError, ValueError):
    """An argument is wrong; nothing was started."""


class RegistryError(AgentGymError, LookupError):
    """No such environment, or what it needs is not installed."""


class TaskError(AgentGymError, LookupError):
    """No such task or split."""


class StoreError(AgentGymError, OSError):
    """A run folder cannot be read, locked or written."""


class RewardError(AgentGymError, ValueError):
    """A reward cannot be computed: says of which part, and what it lacks."""


class ResetNeeded(AgentGymError, RuntimeError):
    """`step()` was called before `reset()`, or after the episode ended."""


class InvalidAction(AgentGymError):
    """What the model said cannot be carried out; an observation to it, never a crash.

    `kind` is machine-readable (``"empty"``, ``"parse"``, ``"unknown_verb"``, ``"arguments"``,
    ``"too_long"``, ``"inadmissible"``, or a world's own); `message` is what the model reads;
    `facts` are recorded with the turn, as those of a `Reply` are.
    """

    def __init__(self, kind: str, message: str, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.facts: Mapping[str, Any] = facts or {}

    def __str__(self) -> str:
        return self.message


class ContextOverflow(AgentGymError):
    """The prompt no longer fits the model's context; the episode ends with `Stop.CONTEXT`."""


class InfraError(AgentGymError):
    """An infrastructure fault: never a reward of 0, but an unscored episode that is retried."""

    source = "infrastructure"
    """Who is to blame, as recorded in `Trajectory.error`."""


class EnvError(InfraError):
    """The environment raised, hung or died."""

    source = "environment"


class SandboxError(InfraError):
    """The sandbox or browser under an environment raised, hung or died."""

    source = "sandbox"


class PolicyError(InfraError):
    """The policy or its server failed."""

    source = "policy"


class RetrievalError(InfraError):
    """A retriever cannot answer: its server, the way there, or its index failed.

    `kind` is machine-readable: ``"transport"`` (no connection, or it broke), ``"http"`` (a status
    that is not 200), ``"protocol"`` (an answer that is not what was asked for), ``"deadline"``,
    ``"breaker"`` (not asked, as it failed time and again just now) or ``"index"`` (damaged).
    """

    source = "retriever"

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class StageTimeout(InfraError, TimeoutError):
    """A stage (reset, policy, step) took longer than its deadline."""

    source = "deadline"


_PASSED_ON = (InfraError, ConfigError, RegistryError, TaskError, StoreError, ContextOverflow)
"""What `boundary` lets through: faults named already, and what ends a run or an episode."""


class boundary:
    """Turn whatever is raised inside into `fault`, unless it is a fault or the caller's mistake.

    The one place that catches every `Exception`: what a plugin, an engine or a client library
    raises becomes a typed fault that says who did it and doing what, the original as its cause.

    Args:
        fault: The `InfraError` subclass that names who is to blame.
        doing: What was being done, for the message.
    """

    __slots__ = ("doing", "fault")

    def __init__(self, fault: type[InfraError], doing: str) -> None:
        self.fault = fault
        self.doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, _PASSED_ON):
            return
        if not isinstance(error, Exception | SystemExit) and not _is_stray(error):
            return  # cancelled, or Ctrl-C
        raise self.fault(f"{self.doing}: {type(error).__name__}: {error}") from error


def _is_stray(error: BaseException) -> bool:
    """Whether it is the cancellation of something that was awaited, and not of who awaits it."""
    import asyncio  # a tenth of the package's import

    if not isinstance(error, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # plain code: nobody cancels that
        return True
    return task is None or not task.cancelling()


def whole(name: str, value: SupportsIndex, least: int = 0) -> int:
    """The argument `name` as an int: any whole number, NumPy's too.

    Raises:
        ConfigError: It is none (a bool is none), or below `least`.
    """
    try:
        number = least - 1 if isinstance(value, bool) else index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ConfigError(f"{name} is {value!r}: give a whole number of at least {least}")
    return number


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` when something in `known` is close to `name`, else `""`."""
    close = get_close_matches(name, list(known), n=1) if isinstance(name, str) else []
    return f"; did you mean {close[0]!r}?" if close else ""
