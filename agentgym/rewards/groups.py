"""Values set against a group: several trajectories of one task.

A group in which nothing differs is *dead*: whatever is set against it is 0, and nothing is learned
from it. A group of one is dead by definition. Watch `dead_group_fraction`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agentgym.errors import RewardError
from agentgym.rewards.arguments import call, check_choice, check_number
from agentgym.rewards.batch import Batch, Bools, Floats, Ints, PerTurn
from agentgym.types import Trajectory

ROUNDING = 1e-12
"""Relative differences up to this are rounding, not differences."""


class GroupOperation:
    """What becomes of each group's values; subclasses are frozen dataclasses."""

    name: ClassVar[str]
    """In expressions."""

    @property
    def of_totals(self) -> bool:
        """Whether it is of each trajectory's total, and not of turns."""
        return False

    @abstractmethod
    def apply(self, values: PerTurn, batch: Batch) -> PerTurn:
        """The new values; each group by itself."""

    def __str__(self) -> str:
        return call(self)


class Pooled(GroupOperation):
    """An operation on a pool of values: those of the group's turns, or of its trajectories."""

    pool: Literal["turns", "totals"]

    def __post_init__(self) -> None:
        check_choice(self.name, "pool", self.pool, ("turns", "totals"))

    @property
    def of_totals(self) -> bool:
        """As `pool` says."""
        return self.pool == "totals"

    @abstractmethod
    def normalise(self, pool: Floats) -> Floats:
        """float64[K]: the pool, set against itself."""

    def taken(self, values: PerTurn) -> Bools:
        """bool[N]: which turns are in the pool; what is not keeps no value."""
        return values.available

    def apply(self, values: PerTurn, batch: Batch) -> PerTurn:
        """The normalised values; none where there was none.

        With `totals`, each trajectory's is at its last turn.
        """
        if self.pool == "totals":
            totals = batch.totals(values)
            for members in batch.groups():
                totals[members] = self.normalise(totals[members])
            return batch.at_last(totals)
        result, taken = np.zeros(batch.count), self.taken(values)
        for members in batch.groups():
            rows = _rows(batch, members)
            having = rows[taken[rows]]
            result[having] = self.normalise(values.values[having])
        return PerTurn(result, taken)


@dataclass(frozen=True)
class ZScore(Pooled):
    """(x - mean) / (std + eps), over the pool of all values that the group's turns have.

    A pool of one value, or of equal ones, gives 0: a *dead group*, from which nothing is learned.

    Args:
        ddof: 0 as `numpy.std`, 1 as `torch.std`: papers differ, and so do their numbers.
        eps: Added to the standard deviation.
        pool: `turns`: the values of all turns that have one (of `outcome`, the last of each);
            `totals`: each trajectory's total, whose advantage is then at its last turn
            (`.broadcast()` gives it to all of them).
        mask: `available`: the pool is what has a value; `nonzero`: what has one other than 0, as
            InfoPO's released code does (0.0 and "none" are one thing to it).
    """

    name: ClassVar[str] = "zscore"
    ddof: int = 0
    eps: float = 1e-6
    pool: Literal["turns", "totals"] = "turns"
    mask: Literal["available", "nonzero"] = "available"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_std(self.name, self.ddof, self.eps)
        check_choice(self.name, "mask", self.mask, ("available", "nonzero"))
        if self.mask == "nonzero" and self.pool == "totals":
            raise RewardError(f"{self.name}: mask='nonzero' is of turns: a total of 0 is a total")

    def taken(self, values: PerTurn) -> Bools:
        """As `mask` says."""
        nonzero = values.available & (values.values != 0.0)
        return nonzero if self.mask == "nonzero" else values.available

    def normalise(self, pool: Floats) -> Floats:
        """float64[K]: the pool, normalised."""
        return standardise(pool, ddof=self.ddof, eps=self.eps)


@dataclass(frozen=True)
class Center(Pooled):
    """x - mean: no division, so that a group's spread keeps its size (Dr.GRPO)."""

    name: ClassVar[str] = "center"
    pool: Literal["turns", "totals"] = "turns"

    def normalise(self, pool: Floats) -> Floats:
        """float64[K]: the pool, centred."""
        return standardise(pool, std=False)


@dataclass(frozen=True)
class LeaveOneOut(Pooled):
    """x minus the mean of the others of the pool (RLOO)."""

    name: ClassVar[str] = "rloo"
    pool: Literal["turns", "totals"] = "turns"

    def normalise(self, pool: Floats) -> Floats:
        """float64[K]: the pool, each set against the others."""
        return leave_one_out(pool)


@dataclass(frozen=True)
class Rank(Pooled):
    """The place among the pool, from -1 (lowest) to 1; equal values share the mean of theirs."""

    name: ClassVar[str] = "rank"
    pool: Literal["turns", "totals"] = "turns"

    def normalise(self, pool: Floats) -> Floats:
        """float64[K]: the places."""
        if is_dead(pool):
            return np.zeros_like(pool)
        slack, ordered = ROUNDING * np.abs(pool).max(), np.sort(pool)
        below = np.searchsorted(ordered, pool - slack)
        above = pool.size - np.searchsorted(ordered, pool + slack, side="right")
        places: Floats = (below - above) / (pool.size - 1)
        return places


@dataclass(frozen=True)
class VarianceGate(GroupOperation):
    """x * sigmoid(-std / tau), std of the group's outcomes: speaks up where those do not differ.

    The factor is 0.5 in a dead group and falls towards 0 as outcomes discriminate; with the default
    `tau` it is practically 0 as soon as one outcome differs.

    Source: InfoPO (arXiv 2603.00656), fusion of the information advantage. Its further cap,
    min(1, max(std of outcomes, 1) / std of the signal), is 1 for a signal that was z-scored and is
    left out.

    Args:
        tau: The standard deviation at which the factor is 0.269.
        ddof: Of the standard deviation: 0 as `numpy.std`, 1 as `torch.std`.
    """

    name: ClassVar[str] = "variance_gate"
    tau: float = 0.05
    ddof: int = 0

    def __post_init__(self) -> None:
        check_std(self.name, self.ddof, 0.0)
        check_number(self.name, "tau", self.tau, 0, above=True)

    def factor(self, outcomes: Floats) -> float:
        """In (0, 0.5], for a group's outcomes (float64[G])."""
        std = 0.0 if outcomes.size < 2 else float(outcomes.std(ddof=self.ddof))
        return float(np.exp(-np.logaddexp(0.0, std / self.tau)))

    def apply(self, values: PerTurn, batch: Batch) -> PerTurn:
        """The values, times their group's factor."""
        outcomes = batch.outcomes
        factors = np.zeros(len(batch.trajectories))
        for members in batch.groups():
            factors[members] = self.factor(outcomes[members])
        return PerTurn(values.filled * factors[batch.owner], values.available)


GROUP_OPERATIONS: dict[str, type[GroupOperation]] = {
    operation.name: operation for operation in (ZScore, Center, LeaveOneOut, Rank, VarianceGate)
}
"""By name."""


# ------------------------------------------------------------------------------------ one pool


def is_dead(pool: Floats) -> bool:
    """Whether a pool (float64[K]) has fewer than two values, or equal ones up to rounding."""
    return pool.size < 2 or bool(np.ptp(pool) <= ROUNDING * np.abs(pool).max())


def standardise(pool: Floats, *, ddof: int = 0, eps: float = 1e-6, std: bool = True) -> Floats:
    """(x - mean) / (std + eps) of a pool.

    Args:
        pool: float64[K].
        ddof: 0 as `numpy.std`, 1 as `torch.std`.
        eps: Added to the standard deviation.
        std: False only subtracts the mean.

    Returns:
        float64[K]; 0 where `is_dead`.

    Raises:
        RewardError: A float cannot hold the mean or the standard deviation.
    """
    if is_dead(pool):
        return np.zeros_like(pool)
    with np.errstate(all="ignore"):
        centred: Floats = pool - pool.mean()
        spread = pool.std(ddof=ddof) + eps if std else 1.0
    if not (np.isfinite(centred).all() and 0.0 < spread < np.inf):
        raise RewardError(
            f"values from {pool.min():g} to {pool.max():g} cannot be set against each other: they "
            "are too large or too small for a float, clip or scale them before"
        )
    return centred / spread


def leave_one_out(pool: Floats) -> Floats:
    """Each value minus the mean of the others; float64[K], 0 where `is_dead`."""
    return standardise(pool, std=False) * (pool.size / max(pool.size - 1, 1))


def check_std(name: str, ddof: int, eps: float) -> None:
    """Check how a standard deviation is to be taken.

    Raises:
        RewardError: It cannot be taken so.
    """
    check_choice(name, "ddof", ddof, (0, 1))
    check_number(name, "eps", eps, 0)


def dead_group_fraction(trajectories: Iterable[Trajectory]) -> float:
    """The share of groups in which all outcomes are equal: rollouts that teach nothing.

    Groups of one are dead. What is not scored is left out, as trainers do.

    Raises:
        RewardError: Nothing is scored.
    """
    groups: dict[Hashable, list[float]] = {}
    for trajectory in trajectories:
        if trajectory.outcome is not None and trajectory.outcome.available:
            groups.setdefault(trajectory.key.group, []).append(trajectory.outcome.score)
    if not groups:
        raise RewardError("no episode is scored: there is no group to be dead or alive")
    return float(np.mean([is_dead(np.array(scores)) for scores in groups.values()]))


def _rows(batch: Batch, members: Ints) -> Ints:
    return np.concatenate([np.arange(batch.offsets[i], batch.offsets[i + 1]) for i in members])
