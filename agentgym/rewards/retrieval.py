"""What a search showed, against what was relevant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_choice, check_number, is_finite
from agentgym.rewards.batch import place
from agentgym.rewards.expression import Form, Signal, Stage
from agentgym.rewards.reading import MISSING, find, is_ids
from agentgym.rewards.text import register
from agentgym.types import Trajectory


@register
@dataclass(frozen=True)
class Ndcg(Signal):
    """sum over ranks i of (2^rel - 1) / log2(i + 1), over that of the best order; in [0, 1].

    Facts: `shown`, ids in the order shown, of each turn; `relevant`, a list of ids (relevance 1) or
    a mapping from id to relevance, of the turn, the start or the task's data. What is shown twice
    counts once, where it came first: with duplicates the released code gives up to 1.63. A turn
    without `shown` has no value, one that was shown nothing 0. Not potential-form.

    Source: VRAG-RL (arXiv 2505.22019), authors' code, the retrieval part; its total is `0.7 *
    fact("judge") + 0.1 * format + 0.2 * ndcg`, and 0 where the format is wrong.

    Args:
        top: Only the first so many ranks count; None is all.
        of: `turn`: of each by itself; `episode`: of all that was shown, at the last turn.
        unseen: Of each turn, against what no turn before it showed: showing again is worth 0, and
            so is a turn when all was shown. No value where nothing is relevant at all.
    """

    name: ClassVar[str] = "ndcg"
    facts: ClassVar[frozenset[str]] = frozenset({"shown", "relevant"})
    top: int | None = None
    of: Literal["turn", "episode"] = "turn"
    unseen: bool = False

    def __post_init__(self) -> None:
        if self.top is not None:
            check_number(self.name, "top", self.top, 1, whole=True)
        check_choice(self.name, "of", self.of, ("turn", "episode"))
        check_choice(self.name, "unseen", self.unseen, (False, self.of == "turn"))

    @property
    def stage(self) -> Stage:
        """All that was shown is known at the end."""
        return Stage.CAUSAL if self.of == "turn" else Stage.FINISHED

    @property
    def form(self) -> Form:
        """A value a turn, or one an episode."""
        return Form.TURNS if self.of == "turn" else Form.ONCE

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From the ranks of what was relevant."""
        shown = [self._shown(trajectory, turn) for turn in range(len(trajectory.turns))]
        if self.unseen:
            return self._of_unseen(trajectory, shown)
        if self.of == "turn":
            return [
                None if ids is None else self._score(ids, trajectory, turn)
                for turn, ids in enumerate(shown)
            ]
        last = len(shown) - 1
        searched = [ids for ids in shown if ids is not None]
        together = [each for ids in searched for each in ids]
        return [*[None] * last, self._score(together, trajectory, last) if searched else None]

    def _of_unseen(
        self, trajectory: Trajectory, shown: Sequence[Sequence[Any] | None]
    ) -> list[float | None]:
        seen: set[Any] = set()
        found: list[float | None] = []
        for turn, ids in enumerate(shown):
            if ids is None or find(trajectory, trajectory.turns[turn], "relevant") in ([], {}):
                found.append(None)
                continue
            gains = self._gains(trajectory, turn)
            left = {each: gain for each, gain in gains.items() if each not in seen}
            found.append(self._ranked(ids, left) if any(left.values()) else 0.0)
            seen.update(ids)
        return found

    def _score(self, shown: Sequence[Any], trajectory: Trajectory, turn: int) -> float:
        return self._ranked(shown, self._gains(trajectory, turn))

    def _ranked(self, shown: Sequence[Any], gains: Mapping[Any, float]) -> float:
        ranked = [gains.get(each, 0.0) for each in dict.fromkeys(shown)]
        best = sorted(gains.values(), reverse=True)
        return min(self._sum(ranked) / self._sum(best), 1.0)

    def _sum(self, gains: Sequence[float]) -> float:
        cut = gains if self.top is None else gains[: self.top]
        return math.fsum(gain / math.log2(rank + 2) for rank, gain in enumerate(cut))

    def _shown(self, trajectory: Trajectory, turn: int) -> Sequence[Any] | None:
        shown = trajectory.turns[turn].facts.get("shown")
        if shown is not None and not is_ids(shown):
            raise RewardError(
                f"{self}: fact 'shown' of {place(trajectory, turn)} is {shown!r:.80}: give a list "
                "of ids"
            )
        return shown

    def _gains(self, trajectory: Trajectory, turn: int) -> dict[Any, float]:
        relevant = find(trajectory, trajectory.turns[turn], "relevant")
        if isinstance(relevant, Mapping):
            given = dict(relevant)
        else:
            given = dict.fromkeys(relevant, 1) if is_ids(relevant) else {}
        if not all(is_finite(each) and 0 <= each <= 100 for each in given.values()) or not any(
            given.values()
        ):
            told = "absent" if relevant is MISSING else f"{relevant!r:.80}"
            raise RewardError(
                f"{self}: fact 'relevant' of {place(trajectory, turn)} is {told}: give a list of "
                "at least one id, or a mapping from ids to relevance, 0 to 100 and not all 0"
            )
        return {each: 2.0 ** float(grade) - 1 for each, grade in given.items()}
