"""Signals that are facts: what the environment said of each turn, as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from agentgym.rewards.arguments import check_kind
from agentgym.rewards.expression import Form, Signal
from agentgym.rewards.reading import MISREAD, number
from agentgym.rewards.text import register
from agentgym.types import Trajectory


@register
@dataclass(frozen=True)
class Valid(Signal):
    """1 where the action could be carried out, 0 where it could not.

    Not potential-form: summed up it pays for delay, which is why its mean is paid.
    """

    name: ClassVar[str] = "valid"
    local: ClassVar[bool] = True

    def values(self, trajectory: Trajectory) -> Sequence[float]:
        """From `Turn.invalid`."""
        return [float(turn.invalid is None) for turn in trajectory.turns]


@register
@dataclass(frozen=True)
class ToolOk(Valid):
    """`valid`, under the name that papers give it.

    Source: gated reward accumulation (G-RA, arXiv 2508.10548), immediate rewards, from secondary
    sources.
    """

    name: ClassVar[str] = "tool_ok"


@register
@dataclass(frozen=True)
class InvalidPenalty(Valid):
    """`valid` - 1: -1 where the action could not be carried out, which never pays for another turn.

    Not potential-form; but a sum of it is at most 0, so that more turns cannot pay more. Penalties
    did not collapse where SPA's bonus for each valid action did.

    Source: our own, in place of the bonus of SPA (arXiv 2505.20732).
    """

    name: ClassVar[str] = "invalid_penalty"

    def values(self, trajectory: Trajectory) -> Sequence[float]:
        """From `Turn.invalid`."""
        return [each - 1.0 for each in super().values(trajectory)]


@register
@dataclass(frozen=True)
class Format(Signal):
    """1 where the reply could be read as an action, possible or not, and 0 where it could not."""

    name: ClassVar[str] = "format"
    local: ClassVar[bool] = True

    def values(self, trajectory: Trajectory) -> Sequence[float]:
        """From `Turn.invalid`."""
        return [float(turn.invalid not in MISREAD) for turn in trajectory.turns]


@register
@dataclass(frozen=True)
class Fact(Signal):
    """A fact of the environment's own, as it is; none where it is absent."""

    name: ClassVar[str] = "fact"
    local: ClassVar[bool] = True
    key: str

    def __post_init__(self) -> None:
        check_kind(self.name, self.key, str, "the fact's name, as in fact('score')")

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
    local: ClassVar[bool] = True
    facts: ClassVar[frozenset[str]] = frozenset({"progress"})
    pays: ClassVar[Form] = Form.FULL

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From the fact."""
        return [number(trajectory, turn, "progress") for turn in range(len(trajectory.turns))]


@register
@dataclass(frozen=True)
class Regret(Signal):
    """Minus the steps that the turn wasted, at most 0; none in a dead end."""

    name: ClassVar[str] = "regret"
    facts: ClassVar[frozenset[str]] = frozenset({"regret"})
    pays: ClassVar[Form] = Form.FULL

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From what the fact grew by."""
        before = 0.0
        found: list[float | None] = []
        for turn in range(len(trajectory.turns)):
            now = number(trajectory, turn, "regret")
            found.append(None if now is None else before - now)
            before = before if now is None else now
        return found
