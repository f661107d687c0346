"""What can be done to a reward: reducing, clipping, mapping, gating, spreading over turns."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_choice, check_kind, check_number, given, literal
from agentgym.rewards.batch import Batch, Bools, Floats, PerTurn, returns
from agentgym.rewards.expression import Form, Number, Product, Reward, Stage, Sum
from agentgym.rewards.groups import ROUNDING, GroupOperation, VarianceGate
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

    method: ClassVar[str]
    """In expressions."""
    earliest: ClassVar[Stage] = Stage.CAUSAL
    """When its values can be known, if not later for what it is made of."""
    pays: ClassVar[Form | None] = None
    """What its values are; None: what those of its source are."""

    source: Reward

    @property
    def children(self) -> tuple[Reward, ...]:
        """What it is done to."""
        return (self.source,)

    @property
    def stage(self) -> Stage:
        """That of what it is done to, or later."""
        return max(self.earliest, super().stage)

    @property
    def form(self) -> Form:
        """As `pays` says."""
        return self.source.form if self.pays is None else self.pays

    def plain(self) -> Reward:
        """The same done to what is plain."""
        return replace(self, source=self.source.plain())

    def called(self, method: str, *arguments: str) -> str:
        """How another method of its source is written."""
        negative = isinstance(self.source, Number) and str(self.source).startswith("-")
        grouped = negative or isinstance(self.source, Sum | Product)
        inner = f"({self.source})" if grouped else str(self.source)
        return f"{inner}.{method}({', '.join(arguments)})"

    def __str__(self) -> str:
        return self.called(self.method, *given(self))


@dataclass(frozen=True)
class OfTotal(Operation):
    """What is done to what each turn is paid, or to the total."""

    earliest: ClassVar[Stage] = Stage.FINISHED

    def plain(self) -> Reward:
        """The same done to what is paid."""
        return replace(self, source=self.source.reduced())


# --------------------------------------------------------------------------------------- totals


@dataclass(frozen=True)
class Reducer(Operation):
    """What makes a total of values a turn."""

    keeps_totals: ClassVar[bool] = True

    @property
    def form(self) -> Form:
        """A total."""
        return Form.ONCE if self.source.form is Form.ONCE else Form.SPREAD

    def plain(self) -> Reward:
        """Done to values a turn; of a sum of both, to those that are no totals."""
        return self.source.reduced(self) if self.source.form.is_total else super().plain()

    def of(self, part: Reward) -> Reward:
        """The same of something else."""
        return part if part.form.is_total and self.keeps_totals else replace(self, source=part)


@dataclass(frozen=True)
class Mean(Reducer):
    """x_t / (number of turns that have a value): pays the mean in all, whatever the length."""

    method: ClassVar[str] = "mean"
    earliest: ClassVar[Stage] = Stage.FINISHED  # the number of turns is known at the end

    def compute(self, batch: Batch) -> PerTurn:
        """The shares."""
        source = self.source.on(batch)
        counts = np.maximum(batch.counts(source), 1)
        return PerTurn(source.filled / counts[batch.owner], source.available)


@dataclass(frozen=True)
class Summed(Reducer):
    """x_t in full: pays the sum, and so pays for length."""

    method: ClassVar[str] = "sum"

    def compute(self, batch: Batch) -> PerTurn:
        """As it is."""
        return self.source.on(batch)


@dataclass(frozen=True)
class Over(Reducer):
    """x_t / turns: causal, bounded where episodes have at most that many turns."""

    method: ClassVar[str] = "over"
    keeps_totals: ClassVar[bool] = False
    turns: int

    def __post_init__(self) -> None:
        check_number(".over", "the number of turns", self.turns, 1, whole=True)

    def compute(self, batch: Batch) -> PerTurn:
        """The shares."""
        source = self.source.on(batch)
        return PerTurn(source.filled / self.turns, source.available)


@dataclass(frozen=True)
class AtEnd(OfTotal):
    """The total, at the last turn."""

    method: ClassVar[str] = "at_end"
    pays: ClassVar[Form | None] = Form.ONCE

    @property
    def stage(self) -> Stage:
        """Of a number or of what is there at the last turn only, that of its source."""
        known = self.source.form in (Form.NUMBER, Form.ONCE)
        return self.source.stage if known else super().stage

    def plain(self) -> Reward:
        """The same of a number, or of what is paid."""
        number = self.source.form is Form.NUMBER
        return Operation.plain(self) if number else super().plain()

    def compute(self, batch: Batch) -> PerTurn:
        """The totals, none before the last turn."""
        source = self.source.on(batch)
        number = self.source.form is Form.NUMBER
        return batch.at_last(source.values[batch.last] if number else batch.totals(source))


@dataclass(frozen=True)
class Broadcast(OfTotal):
    """The total, at every turn."""

    method: ClassVar[str] = "broadcast"
    pays: ClassVar[Form | None] = Form.FULL

    def compute(self, batch: Batch) -> PerTurn:
        """The totals."""
        totals = batch.totals(self.source.on(batch))
        return PerTurn(totals[batch.owner], np.ones(batch.count, dtype=np.bool_))


@dataclass(frozen=True)
class ToGo(OfTotal):
    """Discounted returns: sum_{k >= t} gamma^(k - t) x_k."""

    method: ClassVar[str] = "to_go"
    pays: ClassVar[Form | None] = Form.FULL
    gamma: float = 1.0

    def __post_init__(self) -> None:
        check_number(".to_go", "gamma", self.gamma, 0, 1)

    def compute(self, batch: Batch) -> PerTurn:
        """The returns; each turn has one."""
        values = self.source.on(batch).filled
        for i in range(len(batch.trajectories)):
            values[batch.rows(i)] = returns(values[batch.rows(i)], self.gamma)
        return PerTurn(values, np.ones(batch.count, dtype=np.bool_))


# ----------------------------------------------------------------------------------- turn by turn


@dataclass(frozen=True)
class Pointwise(Operation):
    """A function of each turn's value; of a total, of the total, at the last turn."""

    @abstractmethod
    def change(self, values: Floats) -> Floats:
        """The function."""

    @property
    def form(self) -> Form:
        """What is paid in full stays so if nothing is paid for 0, for else it paid for length."""
        form = self.source.form
        if form is Form.FULL and self.change(np.zeros(1))[0] != 0.0:
            return Form.TURNS
        return Form.ONCE if form.is_total else form

    def plain(self) -> Reward:
        """Done to values a turn, or to the total."""
        source = self.source
        return replace(self, source=source.once() if source.form.is_total else source.plain())

    def compute(self, batch: Batch) -> PerTurn:
        """The changed values."""
        source = self.source.on(batch)
        with np.errstate(all="ignore"):
            changed = np.where(source.available, self.change(source.values), 0.0)
        batch.check_finite(changed, self)
        return PerTurn(changed, source.available)


@dataclass(frozen=True)
class Clip(Pointwise):
    """Values kept within bounds."""

    method: ClassVar[str] = "clip"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        for bound in bounds:
            check_number(".clip", "a bound", bound)
        if not bounds or bounds != sorted(bounds):
            raise RewardError(f"{self}: give a lower bound, an upper one, or both")

    def change(self, values: Floats) -> Floats:
        """Within bounds."""
        return np.clip(values, self.low, self.high)


@dataclass(frozen=True)
class Map(Pointwise):
    """A function of scale * (x - shift)."""

    method: ClassVar[str] = "map"
    function: str
    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_choice(".map", "the function", self.function, tuple(FUNCTIONS))
        check_number(".map", "scale", self.scale)
        check_number(".map", "shift", self.shift)

    def change(self, values: Floats) -> Floats:
        """By the function."""
        with np.errstate(all="ignore"):
            return FUNCTIONS[self.function](self.scale * (values - self.shift))


# -------------------------------------------------------------------------------------- multiples


@dataclass(frozen=True)
class Multiple(Operation):
    """A multiple of its source, the same at all turns of a trajectory."""

    def multiple(self, change: Callable[[Reward], Reward]) -> Reward:
        """The same of what `change` gives."""
        return replace(self, source=change(self.source))

    def plain(self) -> Reward:
        """A multiple of what is plain."""
        return self.multiple(lambda part: part.plain())


@dataclass(frozen=True)
class Condition:
    """Whether the total of a reward over a trajectory passes a threshold.

    A total that differs from the threshold by rounding alone is equal to it.
    """

    source: Reward
    comparison: str
    threshold: float

    def __post_init__(self) -> None:
        check_kind("a condition", self.source, Reward, "a reward to compare")
        check_number("a condition", "the threshold", self.threshold)

    def __bool__(self) -> bool:
        raise RewardError(
            f"{self} is not known here: it is for .when(...), one at a time: "
            "x.when(outcome >= 0.5).when(progress > 0)"
        )

    def plain(self) -> Condition:
        """Of the total."""
        return replace(self, source=self.source.reduced())

    def holds(self, batch: Batch) -> Bools:
        """bool[n]: of each trajectory."""
        totals = batch.totals(self.source.on(batch))
        equal = np.isclose(totals, self.threshold, rtol=ROUNDING, atol=ROUNDING)
        return _COMPARE[self.comparison](np.where(equal, self.threshold, totals), self.threshold)

    def __str__(self) -> str:
        return f"{self.source} {self.comparison} {literal(self.threshold)}"


@dataclass(frozen=True)
class When(Multiple):
    """A gate: what it is, in trajectories where the condition holds, and 0 in the others.

    Source: gated reward accumulation (arXiv 2508.10548); `>=` or `>` says what happens at the
    threshold.
    """

    method: ClassVar[str] = "when"
    earliest: ClassVar[Stage] = Stage.FINISHED
    condition: Condition

    def __post_init__(self) -> None:
        check_kind(".when", self.condition, Condition, "a comparison, as in outcome >= 0.5")

    @property
    def children(self) -> tuple[Reward, ...]:
        """What is paid, and what decides."""
        return (self.source, self.condition.source)

    def multiple(self, change: Callable[[Reward], Reward]) -> Reward:
        """The same of what `change` gives, by the total of what decides."""
        return replace(self, source=change(self.source), condition=self.condition.plain())

    def compute(self, batch: Batch) -> PerTurn:
        """The values, or 0."""
        source = self.source.on(batch)
        opened = self.condition.holds(batch)[batch.owner]
        return PerTurn(np.where(opened, source.filled, 0.0), source.available)


@dataclass(frozen=True)
class Weighted(Multiple):
    """Multiplied by a schedule's value."""

    method: ClassVar[str] = "weight"
    schedule: Schedule

    def __post_init__(self) -> None:
        check_kind(".weight", self.schedule, Schedule, "a schedule, as in linear(1.0, 0.0, 500)")

    def compute(self, batch: Batch) -> PerTurn:
        """The weighted values."""
        source = self.source.on(batch)
        return PerTurn(source.filled * self.schedule.at(batch.step), source.available)


@dataclass(frozen=True)
class Grouped(Operation):
    """Set against the group."""

    method: ClassVar[str] = "group"
    earliest: ClassVar[Stage] = Stage.GROUP
    operation: GroupOperation

    def __post_init__(self) -> None:
        check_kind(".group", self.operation, GroupOperation, "what to do in a group, as zscore()")

    @property
    def form(self) -> Form:
        """An advantage is what each turn is to get, or the last; a multiple is as its source."""
        form = self.source.form
        if isinstance(self.operation, VarianceGate):
            return form
        return Form.ONCE if self.operation.of_totals or form is Form.ONCE else Form.FULL

    def plain(self) -> Reward:
        """Done to each turn's value, or to the totals."""
        totals = self.operation.of_totals
        return replace(self, source=self.source.reduced() if totals else self.source.plain())

    def multiple(self, change: Callable[[Reward], Reward]) -> Reward | None:
        """The gate is a multiple."""
        gate = isinstance(self.operation, VarianceGate)
        return replace(self, source=change(self.source)) if gate else None

    def compute(self, batch: Batch) -> PerTurn:
        """The values of each group, by the operation."""
        return self.operation.apply(self.source.on(batch), batch)
