"""Signals that are facts: what the environment said of each turn, as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from agentgym.errors import RewardError
from agentgym.rewards.expression import Signal
from agentgym.rewards.text import register
from agentgym.types import Trajectory


def number(trajectory: Trajectory, turn: int, name: str) -> float | None:
    """A fact of a turn (counted from 0) as a number; None if it is absent or None.

    Raises:
        RewardError: It is something else.
    """
    return _as_number(trajectory.turns[turn].facts.get(name), name, trajectory, turn)


def at_start(trajectory: Trajectory, name: str) -> float | None:
    """A fact about the start as a number; None if it is absent or None.

    Raises:
        RewardError: It is something else.
    """
    return _as_number(trajectory.facts.get(name), name, trajectory, -1)


def _as_number(value: Any, name: str, trajectory: Trajectory, turn: int) -> float | None:
    if value is None:
        return None
    if not isinstance(value, bool | int | float) or not abs(value) < math.inf:
        raise RewardError(
            f"fact {name!r} of turn {turn + 1} of episode {trajectory.key} is {value!r:.60}: it "
            "must be a finite number"
        )
    return float(value)


@register
@dataclass(frozen=True)
class Valid(Signal):
    """1 where the action could be carried out, 0 where it could not."""

    name: ClassVar[str] = "valid"

    def values(self, trajectory: Trajectory) -> Sequence[float]:
        """From `Turn.invalid`."""
        return [float(turn.invalid is None) for turn in trajectory.turns]


_MISREAD = frozenset({"empty", "parse", "unknown_verb", "arguments", "too_long"})


@register
@dataclass(frozen=True)
class Format(Signal):
    """1 where the reply could be read as an action, possible or not, and 0 where it could not."""

    name: ClassVar[str] = "format"

    def values(self, trajectory: Trajectory) -> Sequence[float]:
        """From `Turn.invalid`."""
        return [float(turn.invalid not in _MISREAD) for turn in trajectory.turns]


@register
@dataclass(frozen=True)
class Fact(Signal):
    """A fact of the environment's own, as it is; none where it is absent."""

    name: ClassVar[str] = "fact"
    key: str

    @property
    def needs(self) -> frozenset[str]:
        """That fact."""
        return frozenset({self.key})

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From `Turn.facts`."""
        return [number(trajectory, turn, self.key) for turn in range(len(trajectory.turns))]


@register
@dataclass(frozen=True)
class Progress(Signal):
    """How much nearer the turn came to the goal, in steps: -1, 0 or 1; none in a dead end.

    Its sum is the way made good, so it is paid in full.
    """

    name: ClassVar[str] = "progress"
    facts: ClassVar[frozenset[str]] = frozenset({"progress"})
    additive: ClassVar[bool] = True

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From the fact."""
        return [number(trajectory, turn, "progress") for turn in range(len(trajectory.turns))]


@register
@dataclass(frozen=True)
class Regret(Signal):
    """Minus the steps that the turn wasted, at most 0; none in a dead end."""

    name: ClassVar[str] = "regret"
    facts: ClassVar[frozenset[str]] = frozenset({"regret"})
    additive: ClassVar[bool] = True

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From what the fact grew by."""
        before: float | None = 0.0
        found: list[float | None] = []
        for turn in range(len(trajectory.turns)):
            now = number(trajectory, turn, "regret")
            found.append(None if now is None or before is None else before - now)
            before = before if now is None else now
        return found
