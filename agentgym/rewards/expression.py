"""Rewards as expressions: signals and the outcome, combined.

A `Reward` is plain data with one serial form, its text (`str(reward)`, read back by
`agentgym.rewards.parse`). It gives one value a turn, and each part knows

- when it can be known (`stage`): as soon as the turn has ended, when the trajectory has, or when
  its whole group has;
- what it needs (`needs`): facts and outcome parts that the environment must provide, or a scorer;
- whether its sum over turns means something (`total`). What is immediate (a value a turn: "was it
  valid?") does not: summed up, it pays for taking longer. Such parts are therefore reduced to their
  mean, unless `.sum()` or `.over(n)` says otherwise.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from agentgym.errors import RewardError
from agentgym.rewards.batch import RUNNING, Batch, PerTurn
from agentgym.types import Trajectory

if TYPE_CHECKING:
    from agentgym.rewards.bound import Bound
    from agentgym.rewards.groups import GroupOperation
    from agentgym.rewards.schedules import Schedule
    from agentgym.rewards.scorer import Scorer


class Stage(IntEnum):
    """When a value can be known."""

    CAUSAL = 0
    """When its turn has ended."""
    FINISHED = 1
    """When the trajectory has."""
    GROUP = 2
    """When all trajectories of the group have."""


class Reward:
    """One value a turn; immutable."""

    @property
    def stage(self) -> Stage:
        """When its values can be known."""
        return max((part.stage for part in self.children), default=Stage.CAUSAL)

    @property
    def needs(self) -> frozenset[str]:
        """Facts and outcome parts that must be provided; `"scorer"` for a scorer."""
        return frozenset().union(*(part.needs for part in self.children))

    @property
    def total(self) -> bool:
        """Whether its sum over the turns of a trajectory is what it is meant to pay in all."""
        return all(part.total for part in self.children if not part.constant)

    @property
    def constant(self) -> bool:
        """Whether it is the same number in every turn there is."""
        return False

    @property
    def children(self) -> tuple[Reward, ...]:
        """What it is made of."""
        return ()

    @abstractmethod
    def compute(self, batch: Batch) -> PerTurn:
        """Its values on a batch; `on` asks this once a batch."""

    def on(self, batch: Batch) -> PerTurn:
        """Its values on a batch.

        Raises:
            RewardError: They cannot be computed; says why, and of which episode and turn.
        """
        found = batch.known.get(self)
        if found is None:
            found = batch.known[self] = self.compute(batch)
        return found

    def reduced(self) -> Reward:
        """Itself where its sum means something, else its mean."""
        return self if self.total else operations.Mean(self)

    def bind(self, provides: Any, scorer: Scorer | None = None) -> Bound:
        """Check that it can be computed from what an environment or a run's manifest provides.

        Raises:
            RewardError: A fact or the scorer is missing; names the part that needs it.
        """
        from agentgym.rewards.bound import bind

        return bind(self, provides, scorer)

    def walk(self) -> Iterator[Reward]:
        """Itself and all it is made of."""
        yield self
        for part in self.children:
            yield from part.walk()

    # ---------------------------------------------------------------- composing

    def __add__(self, other: Reward | float) -> Reward:
        return Sum(self, as_reward(other))

    def __radd__(self, other: float) -> Reward:
        return Sum(as_reward(other), self)

    def __sub__(self, other: Reward | float) -> Reward:
        return Sum(self, Product(Number(-1.0), as_reward(other)))

    def __rsub__(self, other: float) -> Reward:
        return Sum(as_reward(other), Product(Number(-1.0), self))

    def __neg__(self) -> Reward:
        return Product(Number(-1.0), self)

    def __mul__(self, other: Reward | float) -> Reward:
        return Product(self, as_reward(other))

    def __rmul__(self, other: float) -> Reward:
        return Product(as_reward(other), self)

    def __ge__(self, threshold: float) -> operations.Condition:
        return operations.Condition(self, ">=", _finite(threshold, "a threshold"))

    def __gt__(self, threshold: float) -> operations.Condition:
        return operations.Condition(self, ">", _finite(threshold, "a threshold"))

    def __le__(self, threshold: float) -> operations.Condition:
        return operations.Condition(self, "<=", _finite(threshold, "a threshold"))

    def __lt__(self, threshold: float) -> operations.Condition:
        return operations.Condition(self, "<", _finite(threshold, "a threshold"))

    def mean(self) -> Reward:
        """Pay x_t / (number of turns that have a value): the total is the mean."""
        return operations.Mean(self)

    def sum(self) -> Reward:
        """Pay every turn's value in full, as most papers do; longer episodes are paid more."""
        return operations.Summed(self)

    def over(self, turns: int) -> Reward:
        """Pay x_t / `turns`: causal, and bounded where episodes have at most that many turns."""
        return operations.Over(self, turns)

    def clip(self, low: float | None = None, high: float | None = None) -> Reward:
        """Keep values within [low, high]; None is no bound."""
        return operations.Clip(self, low, high)

    def map(self, function: str, scale: float = 1.0, shift: float = 0.0) -> Reward:
        """Apply one of `FUNCTIONS` to scale * (x - shift)."""
        return operations.Map(self, function, scale, shift)

    def when(self, condition: operations.Condition) -> Reward:
        """Pay only in trajectories where the condition holds (a gate); else pay 0."""
        return operations.When(self, condition)

    def weight(self, schedule: Schedule) -> Reward:
        """Multiply by what the schedule says at the batch's training step."""
        return operations.Weighted(self, schedule)

    def group(self, operation: GroupOperation) -> Reward:
        """Set against the other trajectories of the group."""
        return operations.Grouped(self, operation)

    def at_end(self) -> Reward:
        """Pay the total at the last turn."""
        return operations.AtEnd(self)

    def broadcast(self) -> Reward:
        """Pay the total at every turn."""
        return operations.Broadcast(self)

    def to_go(self, gamma: float = 1.0) -> Reward:
        """The discounted return from each turn on: sum_{k>=t} gamma^(k-t) x_k."""
        return operations.ToGo(self, gamma)

    def shortfall(self, eta: float) -> Reward:
        """min(x - eta, 0): pay nothing for what is good enough, and less for the rest."""
        return steps.Shortfall(self, eta)

    def delta(self) -> Reward:
        """x_t - x_{t+1}: the return from each turn on is its own score."""
        return steps.Delta(self)

    def min_form(self, temperature: float = 0.1) -> Reward:
        """Weigh by softmax(-x / temperature): the total is nearly the lowest score."""
        return steps.MinForm(self, temperature)

    def min_to_go(self) -> Reward:
        """The lowest score from each turn on, as its return."""
        return steps.MinToGo(self)


def as_reward(value: Reward | float) -> Reward:
    """A number as an expression.

    Raises:
        RewardError: It is not finite, or no number at all.
    """
    return value if isinstance(value, Reward) else Number(_finite(value, "a factor or term"))


def _finite(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise RewardError(f"{what} is {value!r}: give a finite number")
    return float(value)


# --------------------------------------------------------------------------------------- leaves


@dataclass(frozen=True)
class Number(Reward):
    """The same number at every turn."""

    value: float

    @property
    def constant(self) -> bool:
        """By definition."""
        return True

    @property
    def total(self) -> bool:
        """A number a turn pays for length."""
        return False

    def compute(self, batch: Batch) -> PerTurn:
        """The number."""
        return PerTurn(np.full(batch.count, self.value), np.ones(batch.count, dtype=np.bool_))

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True)
class OutcomeScore(Reward):
    """What the environment verified, paid at the last turn; as a condition, of the trajectory."""

    @property
    def stage(self) -> Stage:
        """It is what `step` pays, in the turn that ends the episode."""
        return Stage.CAUSAL

    def compute(self, batch: Batch) -> PerTurn:
        """The score at the last turn, none before: one value a trajectory."""
        found = batch.at_last(batch.outcomes)
        found.available[batch.last] = [t.outcome is not RUNNING for t in batch.trajectories]
        return found

    def __str__(self) -> str:
        return "outcome"


class Signal(Reward):
    """A value a turn that is read off trajectories; subclasses are frozen dataclasses.

    What a subclass computes at a turn may depend on that turn and those before (and then it is
    `causal`), or on the whole trajectory.
    """

    name: ClassVar[str]
    """In expressions."""
    facts: ClassVar[frozenset[str]] = frozenset()
    """What the environment must provide."""
    asks: ClassVar[bool] = False
    """Whether it needs a scorer."""
    causal: ClassVar[bool] = True
    additive: ClassVar[bool] = False
    """Whether its sum over turns means something: it telescopes, or redistributes the outcome."""

    @property
    def stage(self) -> Stage:
        """As `causal` says."""
        return Stage.CAUSAL if self.causal else Stage.FINISHED

    @property
    def needs(self) -> frozenset[str]:
        """Its facts, and the scorer."""
        return self.facts | {"scorer"} if self.asks else self.facts

    @property
    def total(self) -> bool:
        """As `additive` says."""
        return self.additive

    @abstractmethod
    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """One value for each turn, None for "none"."""

    def compute(self, batch: Batch) -> PerTurn:
        """The values of each trajectory, one after another."""
        return batch.each(self.values, str(self))

    def __str__(self) -> str:
        given = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]  # every one is a dataclass
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}({', '.join(given)})" if given else self.name


# ---------------------------------------------------------------------------------- combinations


@dataclass(frozen=True)
class Sum(Reward):
    """Two rewards together; a turn where only one has a value is paid that one.

    A number is no such one: it is paid where the other has a value.
    """

    left: Reward
    right: Reward

    @property
    def children(self) -> tuple[Reward, ...]:
        """Both, what is immediate beside what is not reduced to its mean."""
        left, right = self.left, self.right
        if left.total == right.total or left.constant or right.constant:
            return (left, right)
        return (left.reduced(), right.reduced())

    def compute(self, batch: Batch) -> PerTurn:
        """The sum; a number is added where the other has a value."""
        first, second = self.children
        left, right = first.on(batch), second.on(batch)
        available = left.available | right.available
        if first.constant != second.constant:
            available = right.available if first.constant else left.available
        return PerTurn(np.where(available, left.filled + right.filled, 0.0), available)

    def __str__(self) -> str:
        right = self.right
        if isinstance(right, Product) and right.left == Number(-1.0):
            grouped = isinstance(right.right, Sum | Number)
            return f"{self.left} - ({right.right})" if grouped else f"{self.left} - {right.right}"
        return f"{self.left} + ({right})" if isinstance(right, Sum) else f"{self.left} + {right}"


@dataclass(frozen=True)
class Product(Reward):
    """Two rewards multiplied; no value where either has none."""

    left: Reward
    right: Reward

    @property
    def children(self) -> tuple[Reward, ...]:
        """Both."""
        return (self.left, self.right)

    @property
    def constant(self) -> bool:
        """If both are."""
        return self.left.constant and self.right.constant

    @property
    def total(self) -> bool:
        """That of the one that varies."""
        return not self.constant and super().total

    def compute(self, batch: Batch) -> PerTurn:
        """The product."""
        left, right = self.left.on(batch), self.right.on(batch)
        available = left.available & right.available
        return PerTurn(np.where(available, left.values * right.values, 0.0), available)

    def __str__(self) -> str:
        if self.left == Number(-1.0):
            grouped = isinstance(self.right, Sum | Product | Number)
            return f"-({self.right})" if grouped else f"-{self.right}"
        right = f"({self.right})" if isinstance(self.right, Product) else _factor(self.right)
        return f"{_factor(self.left)} * {right}"


def _factor(part: Reward) -> str:
    """As a factor of a product."""
    negative = isinstance(part, Product) and part.left == Number(-1.0)
    bare = isinstance(part, Sum) or negative or (isinstance(part, Number) and part.value < 0)
    return f"({part})" if bare else str(part)


from agentgym.rewards import operations, steps  # noqa: E402 - which are rewards, too
