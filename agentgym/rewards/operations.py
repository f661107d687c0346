"""What can be done to a reward: reducing, clipping, mapping, gating, spreading over turns."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agentgym.errors import RewardError, did_you_mean
from agentgym.rewards.batch import Batch, Bools, Floats, PerTurn
from agentgym.rewards.expression import OutcomeScore, Product, Reward, Stage, Sum

if TYPE_CHECKING:
    from agentgym.rewards.groups import GroupOperation
    from agentgym.rewards.schedules import Schedule


def _sigmoid(x: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -x))


FUNCTIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "exp": np.exp,
    "log1p": np.log1p,
    "log_sigmoid": lambda x: -np.logaddexp(0.0, -x),
    "sigmoid": _sigmoid,
    "square": np.square,
    "tanh": np.tanh,
}
"""What `map` applies, by name."""

_COMPARE: Mapping[str, Callable[[Floats, float], Bools]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Operation(Reward):
    """Something done to one reward."""

    source: Reward

    @property
    def children(self) -> tuple[Reward, ...]:
        """What it is done to."""
        return (self.source,)

    def _call(self, method: str, *arguments: object) -> str:
        inner = f"({self.source})" if isinstance(self.source, Sum | Product) else str(self.source)
        return f"{inner}.{method}({', '.join(map(str, arguments))})"


@dataclass(frozen=True)
class Mean(Operation):
    """x_t / (number of turns that have a value): pays the mean in all, whatever the length."""

    @property
    def stage(self) -> Stage:
        """The number of turns is known at the end."""
        return max(Stage.FINISHED, self.source.stage)

    @property
    def total(self) -> bool:
        """By construction."""
        return True

    def compute(self, batch: Batch) -> PerTurn:
        """The shares."""
        source = self.source.on(batch)
        counts = np.maximum(batch.counts(source), 1)
        return PerTurn(source.filled / counts[batch.owner], source.available)

    def __str__(self) -> str:
        return self._call("mean")


@dataclass(frozen=True)
class Summed(Operation):
    """x_t in full: pays the sum, and so pays for length."""

    @property
    def total(self) -> bool:
        """The user says so."""
        return True

    def compute(self, batch: Batch) -> PerTurn:
        """As it is."""
        return self.source.on(batch)

    def __str__(self) -> str:
        return self._call("sum")


@dataclass(frozen=True)
class Over(Operation):
    """x_t / turns: causal, bounded where episodes have at most that many turns."""

    turns: int

    def __post_init__(self) -> None:
        if isinstance(self.turns, bool) or not isinstance(self.turns, int) or self.turns < 1:
            raise RewardError(f"over({self.turns!r}): give a number of turns, at least 1")

    @property
    def total(self) -> bool:
        """The user says of how many."""
        return True

    def compute(self, batch: Batch) -> PerTurn:
        """The shares."""
        source = self.source.on(batch)
        return PerTurn(source.filled / self.turns, source.available)

    def __str__(self) -> str:
        return self._call("over", self.turns)


@dataclass(frozen=True)
class Clip(Operation):
    """Values kept within bounds."""

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        bounds = [b for b in (self.low, self.high) if b is not None]
        if not bounds or not np.isfinite(bounds).all() or bounds != sorted(bounds):
            raise RewardError(
                f"clip({self.low!r}, {self.high!r}): give a lower bound, an upper one, or both"
            )

    def compute(self, batch: Batch) -> PerTurn:
        """The clipped values."""
        source = self.source.on(batch)
        clipped = np.clip(source.values, self.low, self.high)
        return PerTurn(np.where(source.available, clipped, 0.0), source.available)

    def __str__(self) -> str:
        return self._call("clip", self.low, self.high)


@dataclass(frozen=True)
class Map(Operation):
    """A function of scale * (x - shift)."""

    function: str
    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise RewardError(
                f"map({self.function!r}): there is {', '.join(FUNCTIONS)}"
                f"{did_you_mean(str(self.function), FUNCTIONS)}"
            )
        if not np.isfinite([self.scale, self.shift]).all():
            raise RewardError(f"map: scale {self.scale!r} and shift {self.shift!r} must be finite")

    def compute(self, batch: Batch) -> PerTurn:
        """The mapped values."""
        source = self.source.on(batch)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            mapped = FUNCTIONS[self.function](self.scale * (source.values - self.shift))
        mapped = np.where(source.available, mapped, 0.0)
        wrong = np.flatnonzero(~np.isfinite(mapped))
        if wrong.size:
            row = int(wrong[0])
            owner = int(batch.owner[row])
            raise RewardError(
                f"{self} is {mapped[row]} at turn {row - int(batch.offsets[owner]) + 1} of episode "
                f"{batch.trajectories[owner].key}: clip before"
            )
        return PerTurn(mapped, source.available)

    def __str__(self) -> str:
        given = [repr(self.function)]
        given += [f"scale={self.scale!r}"] if self.scale != 1.0 else []
        given += [f"shift={self.shift!r}"] if self.shift != 0.0 else []
        return self._call("map", *given)


@dataclass(frozen=True)
class Condition:
    """Whether the total of a reward over a trajectory passes a threshold."""

    source: Reward
    comparison: str
    threshold: float

    @property
    def stage(self) -> Stage:
        """The total is known at the end."""
        return max(Stage.FINISHED, self.source.stage)

    def holds(self, batch: Batch) -> Bools:
        """bool[n]: of each trajectory."""
        if isinstance(self.source, OutcomeScore):
            totals = batch.outcomes
        else:
            totals = batch.totals(self.source.reduced().on(batch))
        return _COMPARE[self.comparison](totals, self.threshold)

    def __str__(self) -> str:
        inner = f"({self.source})" if isinstance(self.source, Sum) else str(self.source)
        return f"{inner} {self.comparison} {self.threshold!r}"


@dataclass(frozen=True)
class When(Operation):
    """A gate: what it is, in trajectories where the condition holds, and 0 in the others.

    Source: gated reward accumulation (arXiv 2508.10548); `>=` or `>` says what happens at the
    threshold.
    """

    condition: Condition

    @property
    def stage(self) -> Stage:
        """That of the later."""
        return max(self.source.stage, self.condition.stage)

    @property
    def needs(self) -> frozenset[str]:
        """Those of both."""
        return self.source.needs | self.condition.source.needs

    def compute(self, batch: Batch) -> PerTurn:
        """The values, or 0."""
        source = self.source.on(batch)
        opened = self.condition.holds(batch)[batch.owner]
        return PerTurn(np.where(opened, source.filled, 0.0), source.available)

    def __str__(self) -> str:
        return self._call("when", self.condition)


@dataclass(frozen=True)
class Weighted(Operation):
    """Multiplied by a schedule's value."""

    schedule: Schedule

    def compute(self, batch: Batch) -> PerTurn:
        """The weighted values."""
        source = self.source.on(batch)
        return PerTurn(source.filled * self.schedule.at(batch.step), source.available)

    def __str__(self) -> str:
        return self._call("weight", self.schedule)


@dataclass(frozen=True)
class Grouped(Operation):
    """Set against the group."""

    operation: GroupOperation

    @property
    def stage(self) -> Stage:
        """All of the group must have ended."""
        return Stage.GROUP

    @property
    def total(self) -> bool:
        """An advantage is what each turn is to get."""
        return True

    def compute(self, batch: Batch) -> PerTurn:
        """The values of each group, by the operation."""
        return self.operation.apply(self.source.on(batch), batch)

    def __str__(self) -> str:
        return self._call("group", self.operation)


@dataclass(frozen=True)
class AtEnd(Operation):
    """The total, at the last turn."""

    @property
    def stage(self) -> Stage:
        """The total is known at the end."""
        return max(Stage.FINISHED, self.source.stage)

    @property
    def total(self) -> bool:
        """By construction."""
        return True

    def compute(self, batch: Batch) -> PerTurn:
        """The totals, none before the last turn."""
        return batch.at_last(batch.totals(self.source.reduced().on(batch)))

    def __str__(self) -> str:
        return self._call("at_end")


@dataclass(frozen=True)
class Broadcast(Operation):
    """The total, at every turn."""

    @property
    def stage(self) -> Stage:
        """The total is known at the end."""
        return max(Stage.FINISHED, self.source.stage)

    @property
    def total(self) -> bool:
        """Each turn is to get it."""
        return True

    def compute(self, batch: Batch) -> PerTurn:
        """The totals."""
        totals = batch.totals(self.source.reduced().on(batch))
        return PerTurn(totals[batch.owner], np.ones(batch.count, dtype=np.bool_))

    def __str__(self) -> str:
        return self._call("broadcast")


@dataclass(frozen=True)
class ToGo(Operation):
    """Discounted returns: sum_{k >= t} gamma^(k - t) x_k."""

    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.gamma <= 1.0:
            raise RewardError(f"to_go({self.gamma!r}): gamma is in [0, 1]")

    @property
    def stage(self) -> Stage:
        """It looks ahead."""
        return max(Stage.FINISHED, self.source.stage)

    @property
    def total(self) -> bool:
        """A return is what each turn is to get."""
        return True

    def compute(self, batch: Batch) -> PerTurn:
        """The returns; each turn has one."""
        values = self.source.reduced().on(batch).filled
        returns = np.empty_like(values)
        for i in range(len(batch.trajectories)):
            running = 0.0
            for row in range(int(batch.offsets[i + 1]) - 1, int(batch.offsets[i]) - 1, -1):
                running = values[row] + self.gamma * running
                returns[row] = running
        return PerTurn(returns, np.ones(batch.count, dtype=np.bool_))

    def __str__(self) -> str:
        return self._call("to_go", *([] if self.gamma == 1.0 else [self.gamma]))
