"""Whether actions were carried out, under the names and signs that papers give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from agentgym.rewards.expression import Signal
from agentgym.rewards.text import register
from agentgym.types import Trajectory


@register
@dataclass(frozen=True)
class ToolOk(Signal):
    """1 where the action was carried out, 0 where it was not: what `valid` says, as a tool call.

    Not potential-form: summed up it pays for delay, which is why it is reduced to its mean.

    Source: gated reward accumulation (G-RA, arXiv 2508.10548), immediate rewards, from secondary
    sources.
    """

    name: ClassVar[str] = "tool_ok"

    def values(self, trajectory: Trajectory) -> Sequence[float]:
        """From `Turn.invalid`."""
        return [float(turn.invalid is None) for turn in trajectory.turns]


@register
@dataclass(frozen=True)
class InvalidPenalty(Signal):
    """-1 where the action was not carried out, 0 where it was: never pays for another turn.

    Not potential-form; but a sum of it is at most 0, so that more turns cannot pay more. Penalties
    did not collapse where SPA's bonus for each valid action did.

    Source: our own, in place of the bonus of SPA (arXiv 2505.20732).
    """

    name: ClassVar[str] = "invalid_penalty"

    def values(self, trajectory: Trajectory) -> Sequence[float]:
        """From `Turn.invalid`."""
        return [-float(turn.invalid is not None) for turn in trajectory.turns]
