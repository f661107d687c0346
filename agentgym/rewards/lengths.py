"""How long an episode took, against how long it should: paid at the last turn, none before.

Length is counted in turns, or in tokens that the model generated: each turn's `completion_ids`, or
else its `usage["completion_tokens"]`, one of which the policy must have recorded. Nothing here is
potential-form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from agentgym.errors import RewardError
from agentgym.rewards.expression import Signal
from agentgym.rewards.reading import check_choice, check_number, is_finite, place
from agentgym.rewards.text import register
from agentgym.types import Outcome, Trajectory


def length(trajectory: Trajectory, unit: str, signal: Signal) -> int:
    """How long it is, in `turns` or `tokens`.

    Raises:
        RewardError: Nobody counted the tokens.
    """
    if unit == "turns":
        return len(trajectory.turns)
    total = 0
    for number, turn in enumerate(trajectory.turns):
        if turn.completion.completion_ids is not None:
            total += len(turn.completion.completion_ids)
            continue
        counted = turn.completion.usage.get("completion_tokens")
        if not is_finite(counted) or counted is None or counted < 0:
            raise RewardError(
                f"{signal}: the tokens of {place(trajectory, number)} were not counted: take a "
                "policy that records them, or length='turns'"
            )
        total += int(counted)
    return total


def outcome_of(trajectory: Trajectory, signal: Signal) -> Outcome:
    """What was verified.

    Raises:
        RewardError: Nothing was.
    """
    if trajectory.outcome is None or not trajectory.outcome.available:
        raise RewardError(
            f"{signal}: episode {trajectory.key} has no outcome: leave out what is not `scored`"
        )
    return trajectory.outcome


class _AtEnd(Signal):
    causal: ClassVar[bool] = False
    additive: ClassVar[bool] = True

    def worth(self, trajectory: Trajectory) -> float:
        """Of the whole trajectory."""
        raise NotImplementedError

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """The worth at the last turn."""
        return [*[None] * (len(trajectory.turns) - 1), self.worth(trajectory)]


@register
@dataclass(frozen=True)
class Laser(_AtEnd):
    """1 + alpha * [length <= target] if passed, else `wrong`: right first, and then short.

    Pays for the outcome itself: take it in its place. What passed beats what did not, whatever the
    lengths; of what passed, longer never beats shorter.

    Source: LASER (arXiv 2505.15612), authors' code, with its alpha 0.5 and -0.5 for wrong answers;
    there length is in tokens of one answer. Here it is of all turns.

    Args:
        target: The length that is short enough (L_T).
        alpha: What being short enough adds.
        wrong: For what did not pass, at most 0.
        length: In `tokens` or `turns`.
    """

    name: ClassVar[str] = "laser"
    target: float
    alpha: float = 0.5
    wrong: float = -0.5
    length: Literal["tokens", "turns"] = "tokens"

    def __post_init__(self) -> None:
        check_number(self.name, "target", self.target, 0, above=True)
        check_number(self.name, "alpha", self.alpha, 0)
        check_number(self.name, "wrong", self.wrong, high=0)
        check_choice(self.name, "length", self.length, ("tokens", "turns"))

    def worth(self, trajectory: Trajectory) -> float:
        """From the outcome and the length."""
        if not outcome_of(trajectory, self).passed:
            return float(self.wrong)
        return 1.0 + self.alpha * (length(trajectory, self.length, self) <= self.target)


@register
@dataclass(frozen=True)
class LengthPenalty(_AtEnd):
    """(threshold - length) / (most - threshold) from the threshold on, 0 below it.

    -1 at the most, less beyond it; 0 at the threshold.

    Source: the turn penalty of long-horizon SWE training, from a secondary source; there with
    threshold 28 and most 40.

    Args:
        threshold: The length from which on it costs.
        most: The length that costs 1.
        length: In `turns` or `tokens`.
    """

    name: ClassVar[str] = "length_penalty"
    threshold: float
    most: float
    length: Literal["tokens", "turns"] = "turns"

    def __post_init__(self) -> None:
        check_number(self.name, "threshold", self.threshold, 0)
        check_number(self.name, "most", self.most, self.threshold, above=True)
        check_choice(self.name, "length", self.length, ("tokens", "turns"))

    def worth(self, trajectory: Trajectory) -> float:
        """From the length."""
        beyond = max(length(trajectory, self.length, self) - self.threshold, 0.0)
        return 0.0 - beyond / (self.most - self.threshold)


@register
@dataclass(frozen=True)
class DiscountedPass(Signal):
    """gamma^T if the episode of T turns passed, else 0; at the last turn, 0 before; in [0, 1].

    Shorter ways to pass are worth more. Pays for the outcome itself: take it in its place.

    Source: the trajectory reward of VeRPO (arXiv 2601.03525), from a note on it. Its gamma could
    not be verified: 0.99 is our proposal.

    Args:
        gamma: What a turn costs, in (0, 1].
    """

    name: ClassVar[str] = "discounted_pass"
    additive: ClassVar[bool] = True
    gamma: float = 0.99

    def __post_init__(self) -> None:
        check_number(self.name, "gamma", self.gamma, 0, 1, above=True)

    def values(self, trajectory: Trajectory) -> Sequence[float]:
        """From the outcome."""
        turns = len(trajectory.turns)
        passed = outcome_of(trajectory, self).passed
        return [*[0.0] * (turns - 1), float(passed and self.gamma**turns)]
