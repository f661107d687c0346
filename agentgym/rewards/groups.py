"""Values set against a group: several trajectories of one task."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np

from agentgym.errors import RewardError
from agentgym.rewards.batch import Batch, Floats, PerTurn


class GroupOperation:
    """What becomes of each group's values; subclasses are frozen dataclasses."""

    name: ClassVar[str]
    """In expressions."""

    @abstractmethod
    def apply(self, values: PerTurn, batch: Batch) -> PerTurn:
        """The new values; each group by itself."""

    def __str__(self) -> str:
        given = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]  # every one is a dataclass
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}({', '.join(given)})"


@dataclass(frozen=True)
class ZScore(GroupOperation):
    """(x - mean) / (std + eps), over the pool of all values that the group's turns have.

    A pool of one value, or of equal ones, gives 0: a *dead group*, from which nothing is learned.

    Args:
        ddof: 0 as `numpy.std`, 1 as `torch.std`: papers differ, and so do their numbers.
        eps: Added to the standard deviation.
        std: False only subtracts the mean.
        pool: `turns`: the values of all turns; `totals`: each trajectory's sum, whose advantage all
            its turns then share in proportion (the outcome, say, at the last turn).
    """

    name: ClassVar[str] = "zscore"
    ddof: int = 0
    eps: float = 1e-6
    std: bool = True
    pool: Literal["turns", "totals"] = "turns"

    def __post_init__(self) -> None:
        if self.ddof not in (0, 1) or not 0.0 <= self.eps < np.inf:
            raise RewardError(f"{self.name}: ddof is 0 or 1, and eps a finite number >= 0")
        if self.pool not in ("turns", "totals"):
            raise RewardError(f"{self.name}: pool is 'turns' or 'totals', not {self.pool!r}")

    def apply(self, values: PerTurn, batch: Batch) -> PerTurn:
        """The normalised values; none where there was none."""
        result = np.zeros(batch.count)
        for members in batch.groups():
            rows = np.concatenate([np.arange(*batch.rows(i).indices(batch.count)) for i in members])
            having = rows[values.available[rows]]
            if self.pool == "turns":
                result[having] = self.normalise(values.values[having])
            else:
                ends = batch.last[members]
                result[ends] = self.normalise(batch.totals(values)[members])
        if self.pool == "totals":
            available = np.zeros(batch.count, dtype=np.bool_)
            available[batch.last] = True
            return PerTurn(result, available)
        return PerTurn(result, values.available)

    def normalise(self, pool: Floats) -> Floats:
        """float64[K]: the pool, normalised."""
        if pool.size < 2 or np.ptp(pool) == 0.0:
            return np.zeros_like(pool)
        centred = pool - pool.mean()
        return centred / (pool.std(ddof=self.ddof) + self.eps) if self.std else centred


GROUP_OPERATIONS: dict[str, type[GroupOperation]] = {
    operation.name: operation for operation in (ZScore,)
}
"""By name."""
