"""Rewards as expressions: signals and the outcome, combined.

A `Reward` is plain data with one serial form, its text (`str(reward)`, read back by
`agentgym.rewards.parse`). It gives one value a turn, and each part knows

- when it can be known (`stage`): as soon as the turn has ended, when the trajectory has, or when
  its whole group has;
- what it needs (`needs`): facts and outcome parts that the environment must provide, or a scorer;
- what its values are to a trajectory (`form`): a value a turn, or a total.

What is done to values a turn is done turn by turn; what is done to a total is done to the total,
and paid at the last turn. Where a total is asked for, or anything is paid, values a turn become
their mean: summed up, they would pay for taking longer. `Reward.reduced` is the one place that
does so.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from agentgym.rewards.arguments import call, check_number, literal
from agentgym.rewards.batch import Batch, PerTurn
from agentgym.types import Trajectory

if TYPE_CHECKING:
    from agentgym.rewards.groups import GroupOperation
    from agentgym.rewards.schedules import Schedule


class Stage(IntEnum):
    """When a value can be known."""

    CAUSAL = 0
    """When its turn has ended."""
    FINISHED = 1
    """When the trajectory has."""
    GROUP = 2
    """When all trajectories of the group have."""


class Form(IntEnum):
    """What the values of turns are to their trajectory."""

    NUMBER = 0
    """The same number at every turn: as a total, that number."""
    TURNS = 1
    """A value a turn ("was it valid?"): as a total, their mean."""
    FULL = 2
    """A value a turn, each to be paid in full: what telescopes, returns, advantages."""
    SPREAD = 3
    """A total, spread over the turns: what each is paid of it."""
    ONCE = 4
    """A total, at the last turn."""

    @property
    def is_total(self) -> bool:
        """Whether it is one of the last two."""
        return self >= Form.SPREAD


class Reward:
    """One value a turn; immutable."""

    __array_ufunc__ = None  # NumPy's numbers leave arithmetic and comparisons to it

    @property
    def stage(self) -> Stage:
        """When its values can be known."""
        return max((part.stage for part in self.children), default=Stage.CAUSAL)

    @property
    def needs(self) -> frozenset[str]:
        """Facts and outcome parts that must be provided; `"scorer"` for a scorer."""
        return frozenset().union(*(part.needs for part in self.children))

    @property
    @abstractmethod
    def form(self) -> Form:
        """What its values are to a trajectory."""

    @property
    def children(self) -> tuple[Reward, ...]:
        """What it is made of."""
        return ()

    @abstractmethod
    def compute(self, batch: Batch) -> PerTurn:
        """Its values on a batch; `on` asks this once a batch."""

    def on(self, batch: Batch) -> PerTurn:
        """Its values on a batch, as the expression stands: `plain` or `reduced` it should be.

        Raises:
            RewardError: They cannot be computed; says why, and of which episode and turn.
        """
        found = batch.known.get(self)
        if found is None:
            found = batch.known[self] = self.compute(batch)
        return found

    # ----------------------------------------------------------------------------------- totals

    def plain(self) -> Reward:
        """The same, with totals wherever it asks for one: what is computed."""
        return self

    def reduced(self, how: operations.Reducer | None = None) -> Reward:
        """The same as what is paid, whose sum over turns is the total.

        Of a sum each term is, of a multiple what it is a multiple of.

        Args:
            how: What makes totals of values a turn; if not given, their mean does.
        """
        multiple = self.multiple(lambda part: part.reduced(how))
        if multiple is not None:
            return multiple
        part = self.plain()
        if self.form is Form.NUMBER:
            part = operations.AtEnd(part)
        if how is not None:
            return how.of(part)
        return operations.Mean(part) if self.form is Form.TURNS else part

    def once(self) -> Reward:
        """The same as a total at the last turn."""
        return self.plain() if self.form is Form.ONCE else operations.AtEnd(self.reduced())

    def multiple(self, change: Callable[[Reward], Reward]) -> Reward | None:
        """The same with `change` applied to what it is a multiple of; None if it is none."""

    def walk(self) -> Iterator[Reward]:
        """Itself and all it is made of."""
        yield self
        for part in self.children:
            yield from part.walk()

    # -------------------------------------------------------------------------------- composing

    def __add__(self, other: Reward | float) -> Reward:
        return add(self, as_reward(other))

    def __radd__(self, other: float) -> Reward:
        return add(as_reward(other), self)

    def __sub__(self, other: Reward | float) -> Reward:
        return add(self, -as_reward(other))

    def __rsub__(self, other: float) -> Reward:
        return add(as_reward(other), -self)

    def __neg__(self) -> Reward:
        return Product(Number(-1.0), self)

    def __mul__(self, other: Reward | float) -> Reward:
        return Product(self, as_reward(other))

    def __rmul__(self, other: float) -> Reward:
        return Product(as_reward(other), self)

    def __ge__(self, threshold: float) -> operations.Condition:
        return operations.Condition(self, ">=", threshold)

    def __gt__(self, threshold: float) -> operations.Condition:
        return operations.Condition(self, ">", threshold)

    def __le__(self, threshold: float) -> operations.Condition:
        return operations.Condition(self, "<=", threshold)

    def __lt__(self, threshold: float) -> operations.Condition:
        return operations.Condition(self, "<", threshold)

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
    return value if isinstance(value, Reward) else Number(value)


# --------------------------------------------------------------------------------------- leaves


@dataclass(frozen=True)
class Number(Reward):
    """The same number at every turn."""

    value: float

    def __post_init__(self) -> None:
        check_number("a factor or term", "it", self.value)
        object.__setattr__(self, "value", float(self.value))

    @property
    def form(self) -> Form:
        """By definition."""
        return Form.NUMBER

    def compute(self, batch: Batch) -> PerTurn:
        """The number."""
        return PerTurn(np.full(batch.count, self.value), np.ones(batch.count, dtype=np.bool_))

    def __neg__(self) -> Number:
        return Number(-self.value)

    def __str__(self) -> str:
        return literal(self.value)


@dataclass(frozen=True)
class OutcomeScore(Reward):
    """What the environment verified: one value a trajectory, at its last turn.

    Causal, for it is what `step` pays in the turn that ends the episode.
    """

    @property
    def form(self) -> Form:
        """One value a trajectory."""
        return Form.ONCE

    def compute(self, batch: Batch) -> PerTurn:
        """The score at the last turn, none before."""
        return batch.at_last(batch.outcomes)

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
    local: ClassVar[bool] = False
    """Whether a turn's value is of that turn (and the start) alone: then `ShapedReward` computes
    only the turn that was taken."""
    pays: ClassVar[Form] = Form.TURNS
    """`FULL` if its sum over turns means something (it telescopes, or redistributes the outcome),
    `ONCE` if it has one value, at the last turn."""

    @property
    def stage(self) -> Stage:
        """As `causal` says."""
        return Stage.CAUSAL if self.causal else Stage.FINISHED

    @property
    def needs(self) -> frozenset[str]:
        """Its facts, and the scorer."""
        return self.facts | {"scorer"} if self.asks else self.facts

    @property
    def form(self) -> Form:
        """As `pays` says."""
        return self.pays

    @abstractmethod
    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """One value for each turn, None for "none"."""

    def compute(self, batch: Batch) -> PerTurn:
        """The values of each trajectory, one after another."""
        return batch.each(self.values, self)

    def __str__(self) -> str:
        return call(self).removesuffix("()")


# --------------------------------------------------------------------------------- combinations


@dataclass(frozen=True)
class Sum(Reward):
    """Rewards together; a turn where only some have a value is paid those.

    A number is added where another has a value; to totals of several forms, once a trajectory.
    """

    terms: tuple[Reward, ...]
    """None is a sum itself."""

    @property
    def children(self) -> tuple[Reward, ...]:
        """The terms."""
        return self.terms

    @property
    def form(self) -> Form:
        """That of all its terms; of turns if they differ, a total if one is."""
        forms = {term.form for term in self.terms}
        if forms - {Form.NUMBER} == {Form.ONCE} or len(forms) == 1:
            return max(forms)
        return Form.SPREAD if max(forms).is_total else Form.TURNS

    def plain(self) -> Reward:
        """Each term; as what it is paid if all are a total of several forms."""
        spread = self.form is Form.SPREAD
        return Sum(tuple(term.reduced() if spread else term.plain() for term in self.terms))

    def reduced(self, how: operations.Reducer | None = None) -> Reward:
        """Each term by itself."""
        return Sum(tuple(term.reduced(how) for term in self.terms))

    def compute(self, batch: Batch) -> PerTurn:
        """The sum."""
        varying = [term.form is not Form.NUMBER for term in self.terms]
        found = [term.on(batch) for term in self.terms]
        having = [each.available for each, varies in zip(found, varying, strict=True) if varies]
        available = np.logical_or.reduce(having or [found[0].available])
        values = sum(each.filled for each in found)
        return PerTurn(np.where(available, values, 0.0), available)

    def __str__(self) -> str:
        text = ""
        for term in self.terms:
            if isinstance(term, Product) and term.is_negated and text:
                inner = f"({term.right})" if isinstance(term.right, Sum) else str(term.right)
                text += f" - {inner}"
            elif isinstance(term, Number) and str(term).startswith("-") and text:
                text += f" - {-term}"
            else:
                text += f" + {term}" if text else str(term)
        return text


def add(*rewards: Reward) -> Reward:
    """Their sum; of a sum among them, the terms."""
    terms = [each.terms if isinstance(each, Sum) else (each,) for each in rewards]
    return Sum(tuple(chain.from_iterable(terms)))


@dataclass(frozen=True)
class Product(Reward):
    """Two rewards multiplied, turn by turn; of totals, the totals, at the last turn.

    No value where either has none.
    """

    left: Reward
    right: Reward

    @property
    def children(self) -> tuple[Reward, ...]:
        """Both."""
        return (self.left, self.right)

    @property
    def form(self) -> Form:
        """A multiple is as what it is a multiple of."""
        low, high = sorted((self.left.form, self.right.form))
        return Form.ONCE if high.is_total and low is not Form.NUMBER else high

    def plain(self) -> Reward:
        """Both, as totals if one is."""
        multiple = self.multiple(lambda part: part.plain())
        if multiple is not None:
            return multiple
        if self.form.is_total:
            return Product(self.left.once(), self.right.once())
        return Product(self.left.plain(), self.right.plain())

    def multiple(self, change: Callable[[Reward], Reward]) -> Reward | None:
        """A number times something."""
        if self.right.form is Form.NUMBER:
            return Product(change(self.left), self.right.plain())
        if self.left.form is Form.NUMBER:
            return Product(self.left.plain(), change(self.right))
        return None

    def compute(self, batch: Batch) -> PerTurn:
        """The product."""
        left, right = self.left.on(batch), self.right.on(batch)
        available = left.available & right.available
        return PerTurn(np.where(available, left.values * right.values, 0.0), available)

    @property
    def is_negated(self) -> bool:
        """Whether it is written with a sign in front."""
        return self.left == Number(-1.0) and not isinstance(self.right, Number)

    def __str__(self) -> str:
        if self.is_negated:
            bare = not isinstance(self.right, Sum | Product)
            return f"-{self.right}" if bare else f"-({self.right})"
        left = f"({self.left})" if isinstance(self.left, Sum) else str(self.left)
        right = f"({self.right})" if isinstance(self.right, Sum | Product) else str(self.right)
        return f"{left} * {right}"


from agentgym.rewards import operations, steps  # noqa: E402 - which are rewards, too
