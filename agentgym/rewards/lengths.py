"""How long an episode took, against how long it should: paid at the last turn, none before.

Length is counted in turns, or in tokens that the model generated: each turn's `completion_ids`, or
else its `usage["completion_tokens"]`, one of which the policy must have recorded. Nothing here is
potential-form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_choice, check_number, is_finite
from agentgym.rewards.batch import RUNNING, Batch, PerTurn, outcome_of, place
from agentgym.rewards.expression import Form, Signal, Stage
from agentgym.rewards.reading import BatchSignal
from agentgym.rewards.text import register
from agentgym.types import Trajectory


def length_of(trajectory: Trajectory, unit: str, asker: object) -> int:
    """How long it is, in `turns` or `tokens`; errors name who asks.

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
                f"{asker}: the tokens of {place(trajectory, number)} were not counted: take a "
                "policy that records them, or length='turns'"
            )
        total += int(counted)
    return total


class _AtEnd(Signal):
    causal: ClassVar[bool] = False
    pays: ClassVar[Form] = Form.ONCE

    def worth(self, trajectory: Trajectory) -> float:
        """Of the whole trajectory."""
        raise NotImplementedError

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """The worth at the last turn, none before."""
        worth = None if trajectory.outcome is RUNNING else self.worth(trajectory)
        return [*[None] * (len(trajectory.turns) - 1), worth]


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
        return _laser(trajectory, self.target, self)


def _laser(trajectory: Trajectory, target: float, how: Laser | LaserD) -> float:
    if not outcome_of(trajectory, how).passed:
        return float(how.wrong)
    return 1.0 + how.alpha * (length_of(trajectory, how.length, how) <= target)


@register
@dataclass(frozen=True)
class LaserD(BatchSignal):
    """As `laser`, with a target for how hard the task is: by the share of its group that passed.

    From 2/3 on it is easy, from 1/3 on medium, below hard. Pays for the outcome itself: take it in
    its place. In a group, what passed beats what did not, and longer never beats shorter of it.

    The targets are found by `length_targets`, and are part of the reward's text. They are for the
    policy they were found with: find them again, and take a new reward, as it learns.

    Source: LASER-D (arXiv 2505.15612), authors' code. (LASER-DE, which also pays for wrong answers
    that are long and do not repeat themselves, is left out.)

    Args:
        easy: The length that is short enough where most of the group passed.
        medium: Where a third did.
        hard: Where fewer did.
        alpha: What being short enough adds.
        wrong: For what did not pass, at most 0.
        length: In `tokens` or `turns`.
    """

    name: ClassVar[str] = "laser_d"
    causal: ClassVar[bool] = False
    pays: ClassVar[Form] = Form.ONCE
    easy: float
    medium: float
    hard: float
    alpha: float = 0.5
    wrong: float = -0.5
    length: Literal["tokens", "turns"] = "tokens"

    def __post_init__(self) -> None:
        for level in LEVELS:
            check_number(self.name, level, getattr(self, level), 0, above=True)
        check_number(self.name, "alpha", self.alpha, 0)
        check_number(self.name, "wrong", self.wrong, high=0)
        check_choice(self.name, "length", self.length, ("tokens", "turns"))

    @property
    def stage(self) -> Stage:
        """How many passed is the group's."""
        return Stage.GROUP

    def compute(self, batch: Batch) -> PerTurn:
        """From the outcomes of each group, and the lengths."""
        worth = np.zeros(len(batch.trajectories))
        for members in batch.groups():
            group = [batch.trajectories[i] for i in members]
            target = getattr(self, _level(group, self))
            worth[members] = [_laser(each, target, self) for each in group]
        return batch.at_last(worth)


LEVELS = ("easy", "medium", "hard")
"""How hard a task is, to `laser_d`."""


def _level(group: Sequence[Trajectory], asker: object) -> str:
    passed = sum(outcome_of(each, asker).passed for each in group)
    return LEVELS[(3 * passed < 2 * len(group)) + (3 * passed < len(group))]


def length_targets(
    trajectories: Iterable[Trajectory],
    *,
    candidates: Iterable[float] = range(2048, 16385, 1024),
    least_correct: float = 1.0,
    length: Literal["tokens", "turns"] = "tokens",
) -> dict[str, float]:
    """The targets of `laser_d`: `LaserD(**length_targets(episodes))`.

    Of each level the shortest candidate that keeps `least_correct` correct samples of a group, to
    be expected: the share of the level's samples that are no longer, times how many of a group of n
    pass at least (2n/3 of an easy one, n/3 of a medium one, rounded down; 1 of a hard one). The
    longest, where none does, or no group is of that level. What is not scored is left out.

    Source: as `LaserD`. There, n is a constant and the last resort the longest answer of the batch;
    here n is the groups' own, averaged, and the rounded numbers are at least 1.

    Args:
        trajectories: Groups of samples of monitoring tasks, by the policy as it is now.
        candidates: Lengths to choose from.
        least_correct: How many correct samples a group should keep.
        length: In `tokens` or `turns`.

    Raises:
        RewardError: Nothing is scored, nobody counted the tokens, or an argument is wrong.
    """
    name = "length_targets"
    check_number(name, "least_correct", least_correct, 0, above=True)
    check_choice(name, "length", length, ("tokens", "turns"))
    ascending = sorted(candidates)
    for each in ascending:
        check_number(name, "a candidate", each, 0, above=True)
    if not ascending:
        raise RewardError(f"{name}: there are no candidates: give lengths to choose from")
    groups: dict[Any, list[Trajectory]] = {}
    for trajectory in trajectories:
        if trajectory.scored and trajectory.turns:
            groups.setdefault(trajectory.key.group, []).append(trajectory)
    if not groups:
        raise RewardError(f"{name}: no episode is scored: give groups of monitoring tasks")
    found = dict.fromkeys(LEVELS, ascending[-1])
    for thirds, level in zip((2, 1, 0), LEVELS, strict=True):
        members = [group for group in groups.values() if _level(group, name) == level]
        lengths = [length_of(each, length, name) for group in members for each in group]
        passing = sum(max(thirds * len(group) // 3, 1) for group in members) / max(len(members), 1)
        for candidate in ascending:
            covered = sum(each <= candidate for each in lengths)
            if lengths and covered * passing >= least_correct * len(lengths):
                found[level] = candidate
                break
    return found


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
        beyond = max(length_of(trajectory, self.length, self) - self.threshold, 0.0)
        return 0.0 - beyond / (self.most - self.threshold)


@register
@dataclass(frozen=True)
class DiscountedPass(_AtEnd):
    """gamma^T if the episode of T turns passed, else 0; at the last turn, none before; in [0, 1].

    Shorter ways to pass are worth more. Pays for the outcome itself: take it in its place.

    Source: the trajectory reward of VeRPO (arXiv 2601.03525), from a note on it. Its gamma could
    not be verified: 0.99 is our proposal.

    Args:
        gamma: What a turn costs, in (0, 1].
    """

    name: ClassVar[str] = "discounted_pass"
    causal: ClassVar[bool] = True
    gamma: float = 0.99

    def __post_init__(self) -> None:
        check_number(self.name, "gamma", self.gamma, 0, 1, above=True)

    def worth(self, trajectory: Trajectory) -> float:
        """From the outcome and the number of turns."""
        return float(outcome_of(trajectory, self).passed and self.gamma ** len(trajectory.turns))
