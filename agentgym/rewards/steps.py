"""What becomes of step scores (a process reward model's, say) before they are paid.

Paid as they are, such scores reward more steps and repeated ones. Each operation here removes that;
none is potential-form, for a step's score is no function of the state. Turns without a score keep
having none, and are passed over by their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_number
from agentgym.rewards.batch import Batch, Floats, PerTurn
from agentgym.rewards.expression import Form, Stage
from agentgym.rewards.operations import Operation, Pointwise


@dataclass(frozen=True)
class Shortfall(Pointwise):
    """min(x - eta, 0): at most 0, and 0 for every score that is good enough.

    More steps never pay more. "Clip" of the paper; then `.delta()` for "Clip & Delta".

    Source: "On Designing Effective RL Reward at Training Time for LLM Reasoning" (arXiv
    2410.15115), from secondary sources; eta should leave most steps at 0 (0.9, say).
    """

    method: ClassVar[str] = "shortfall"
    eta: float

    def __post_init__(self) -> None:
        check_number(".shortfall", "eta", self.eta)

    def change(self, values: Floats) -> Floats:
        """The shortfalls."""
        return np.minimum(values - self.eta, 0.0)


@dataclass(frozen=True)
class OfScores(Operation):
    """What needs the scores of all turns."""

    earliest: ClassVar[Stage] = Stage.FINISHED
    pays: ClassVar[Form | None] = Form.SPREAD

    def __post_init__(self) -> None:
        if self.source.form.is_total:
            raise RewardError(
                f"{self}: {self.source} is a total, but this takes a value a turn: leave out what "
                "makes a total of it (.mean(), .sum(), .at_end(), outcome)"
            )


@dataclass(frozen=True)
class Delta(OfScores):
    """x_t - x_{t+1}, and x_t itself for the last score before the last turn, which gets 0.

    The last turn is the answer, paid by the outcome; its score is not used. Telescopes: the
    undiscounted return from a turn on is that turn's score alone (0 from the last), so repeating a
    step of equal score adds nothing to the return of earlier ones. The total is the first score.

    Source: as `Shortfall`; secondary sources disagree about the last two steps, and the telescoping
    sum decides.
    """

    method: ClassVar[str] = "delta"

    def compute(self, batch: Batch) -> PerTurn:
        """The differences."""
        source = self.source.on(batch)
        scored = source.available.copy()
        scored[batch.last] = False
        rows = np.flatnonzero(scored)
        values = np.zeros(batch.count)
        values[rows] = source.values[rows]
        together = batch.owner[rows[:-1]] == batch.owner[rows[1:]]
        values[rows[:-1]] -= np.where(together, source.values[rows[1:]], 0.0)
        return PerTurn(values, source.available)


@dataclass(frozen=True)
class MinForm(OfScores):
    """w_t * x_t with w = softmax(-x / temperature) over the turns: the total is nearly the minimum.

    So one bad step cannot be made up for by good ones, and padding with good ones pays nothing.

    Source: PURE ("Stop Summation: Min-Form Credit Assignment", arXiv 2504.15275), authors' code;
    temperature 0.1 is theirs.
    """

    method: ClassVar[str] = "min_form"
    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(".min_form", "temperature", self.temperature, 0, above=True)

    def compute(self, batch: Batch) -> PerTurn:
        """The weighted scores."""
        source = self.source.on(batch)
        starts = batch.offsets[:-1]
        with np.errstate(over="ignore"):
            scores = np.where(source.available, source.values, np.inf)
            lowest = np.minimum.reduceat(scores, starts)
            above = np.where(source.available, source.values - lowest[batch.owner], np.inf)
            weights = np.where(source.available, np.exp(-above / self.temperature), 0.0)
        sums = np.maximum(np.add.reduceat(weights, starts), 1.0)
        return PerTurn(source.filled * weights / sums[batch.owner], source.available)


@dataclass(frozen=True)
class MinToGo(OfScores):
    """min over k >= t of x_k: what `min_form` approximates, as the return of each turn.

    Non-decreasing over turns, and at most x_t: a worse step lowers the return of all before it. A
    return, not a reward: not to be summed up again. (The released code gives 0 to what is no step.)

    Source: as `MinForm`, the strict form.
    """

    method: ClassVar[str] = "min_to_go"
    pays: ClassVar[Form | None] = Form.FULL

    def compute(self, batch: Batch) -> PerTurn:
        """The minima."""
        source = self.source.on(batch)
        scores = np.where(source.available, source.values, np.inf)
        values = np.empty(batch.count)
        for i in range(len(batch.trajectories)):
            rows = batch.rows(i)
            values[rows] = np.minimum.accumulate(scores[rows][::-1])[::-1]
        return PerTurn(np.where(source.available, values, 0.0), source.available)
