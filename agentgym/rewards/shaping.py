"""Rewards for what a turn changed: differences of a fact, so that going back is paid back.

They read the fact at the start (`Trajectory.facts`), too, without which the first turn's change is
not known: it must be there. A sum of such differences over an episode telescopes; only with a
potential of 0 at the terminal state, which `potential` sees to, is what is best left as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_choice, check_kind, check_number, is_finite
from agentgym.rewards.batch import place
from agentgym.rewards.expression import Form, Signal
from agentgym.rewards.reading import MISSING, find, number
from agentgym.rewards.text import register
from agentgym.types import Stop, Trajectory


def changes(trajectory: Trajectory, name: str, signal: Signal) -> list[float | None]:
    """How much a fact grew with each turn; None where it is not known.

    Where it was not known in between, the change is since it was known last: the sum of all is what
    it grew by from first to last.

    Raises:
        RewardError: It is not recorded at the start.
    """
    before = _start(trajectory, name, signal)
    found: list[float | None] = []
    for turn in range(len(trajectory.turns)):
        now = _known(trajectory, turn, name, signal)
        found.append(None if now is None or before is None else now - before)
        before = before if now is None else now
    return found


def _known(trajectory: Trajectory, turn: int, name: str, signal: Signal) -> float | None:
    """The fact after a turn, or at the start (-1)."""
    try:
        return number(trajectory, turn, name)
    except RewardError as error:
        raise RewardError(f"{signal}: {error}") from None


def _start(trajectory: Trajectory, name: str, signal: Signal) -> float | None:
    if name not in trajectory.facts:
        raise RewardError(
            f"{signal}: {place(trajectory, -1)} has no fact {name!r}, so that the change in turn 1 "
            "is not known: record it at the start, too"
        )
    return _known(trajectory, -1, name, signal)


@register
@dataclass(frozen=True)
class Potential(Signal):
    """F_t = gamma * Phi(s_{t+1}) - Phi(s_t), with Phi a fact, and Phi = 0 in a terminal state.

    Potential-form: what is best under a reward stays so with any multiple of this added, if returns
    are discounted by the same gamma. Phi is the fact after the turn, before the first one that of
    the start. The last turn of an episode that has terminated leads to Phi = 0; one that was
    truncated keeps its Phi, for there the learner's value estimate goes on. Range: that of Phi,
    twice. The discounted sum is gamma^T * Phi(s_T) - Phi(s_0).

    The potential must be known in every state. A turn that could not be carried out and says
    nothing of the fact has left the state as it was.

    Source: Ng, Harada and Russell 1999, "Policy invariance under reward transformations". gamma 1
    is our default.

    Args:
        fact: The potential; take `-1 * potential("remaining")` of what is to fall.
        gamma: The learner's discount, in (0, 1].
        missing: Phi where the fact is None (a dead end, say); None refuses that.
    """

    name: ClassVar[str] = "potential"
    pays: ClassVar[Form] = Form.FULL
    fact: str
    gamma: float = 1.0
    missing: float | None = None

    def __post_init__(self) -> None:
        check_kind(self.name, self.fact, str, "a fact's name")
        check_number(self.name, "gamma", self.gamma, 0, 1, above=True)
        if self.missing is not None:
            check_number(self.name, "missing", self.missing)

    @property
    def needs(self) -> frozenset[str]:
        """The fact."""
        return frozenset({self.fact})

    def values(self, trajectory: Trajectory) -> Sequence[float]:
        """From what the fact grew by."""
        potentials = [self._defined(_start(trajectory, self.fact, self), trajectory, -1)]
        last = len(trajectory.turns) - 1
        for at, turn in enumerate(trajectory.turns):
            if at == last and trajectory.stop is Stop.TERMINATED:
                potentials.append(0.0)
            elif turn.invalid is not None and self.fact not in turn.facts:
                potentials.append(potentials[-1])
            else:
                now = _known(trajectory, at, self.fact, self)
                potentials.append(self._defined(now, trajectory, at))
        return [self.gamma * after - before for before, after in pairwise(potentials)]

    def _defined(self, value: float | None, trajectory: Trajectory, turn: int) -> float:
        value = self.missing if value is None else value
        if value is None:
            raise RewardError(
                f"{self}: fact {self.fact!r} of {place(trajectory, turn)} is None or absent, but a "
                "potential must be known in every state: say what it is there, missing=0.0 or so"
            )
        return value


@register
@dataclass(frozen=True)
class ScoreDelta(Signal):
    """(score_t - score_{t-1}) / most: the points a turn brought, as a share of all there are.

    `score` is a fact of each turn and of the start; `max_score` one of the turn, the start or the
    task's data. In [-1, 1] where scores are in [0, most]; the sum is what was reached of the
    maximum, 1 only if all of it was. Points that are lost again are paid back, so that going round
    in circles pays nothing. Potential-form with gamma 1 and Phi = score / most, but that Phi is
    kept at the end: take `potential("score")` for exact policy invariance. A turn without `score`
    has no value; the next one counts since the last that had.

    Source: "A Practitioner's Guide to Multi-turn Agentic Reinforcement Learning" (arXiv
    2510.01132), dense turn rewards of TextWorld, paper and code.

    Args:
        normalise: The maximum: the name of a fact, or a number; 1 leaves points as they are.
    """

    name: ClassVar[str] = "score_delta"
    pays: ClassVar[Form] = Form.FULL
    normalise: str | float = "max_score"

    def __post_init__(self) -> None:
        if isinstance(self.normalise, str):
            check_kind(self.name, self.normalise, str, "a fact's name")
        else:
            check_number(self.name, "normalise", self.normalise, 0, above=True)

    @property
    def needs(self) -> frozenset[str]:
        """The score, and the maximum if it is a fact."""
        return frozenset({"score"}) | (
            {self.normalise} if isinstance(self.normalise, str) else frozenset()
        )

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From what the score grew by."""
        grown = changes(trajectory, "score", self)
        return [
            None if change is None else change / self._most(trajectory, turn)
            for turn, change in enumerate(grown)
        ]

    def _most(self, trajectory: Trajectory, turn: int) -> float:
        if not isinstance(self.normalise, str):
            return float(self.normalise)
        most = find(trajectory, trajectory.turns[turn], self.normalise)
        if not is_finite(most) or most <= 0:
            shown = "absent" if most is MISSING else repr(most)
            raise RewardError(
                f"{self}: fact {self.normalise!r} of {place(trajectory, turn)} is {shown}: record "
                "the most points there are, above 0, or give a number, normalise=10"
            )
        return float(most)


@register
@dataclass(frozen=True)
class EntropyReduction(Signal):
    """H(Z | h_t) - H(Z | h_{t+1}): how much surer the turn made one who knows what was said.

    H is a fact in nats, of each turn and of the start. The sum is H_0 - H_T <= H_0; what tells
    nothing new is worth 0; at least 0 where a turn only ever rules out equally likely options (a
    general update may raise it). Potential-form with gamma 1 and Phi = -H, and Phi is 0 in the end
    where all is known; take `-1 * potential(...)` for exact policy invariance. A turn without the
    fact has no value; the next one counts since the last that had.

    Source: Nous (arXiv 2510.27410), from reviews of it.

    Args:
        fact: The entropy, in nats.
        bits: Pay in bits, not nats.
    """

    name: ClassVar[str] = "entropy_reduction"
    pays: ClassVar[Form] = Form.FULL
    fact: str = "target_entropy"
    bits: bool = False

    def __post_init__(self) -> None:
        check_kind(self.name, self.fact, str, "a fact's name")
        check_choice(self.name, "bits", self.bits, (False, True))

    @property
    def needs(self) -> frozenset[str]:
        """The entropy."""
        return frozenset({self.fact})

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From what the fact fell by."""
        for turn in range(-1, len(trajectory.turns)):
            held = _known(trajectory, turn, self.fact, self)
            if held is not None and held < 0:
                raise RewardError(
                    f"{self}: fact {self.fact!r} of {place(trajectory, turn)} is {held!r}: an "
                    "entropy is at least 0"
                )
        unit = math.log(2) if self.bits else 1.0
        fell = changes(trajectory, self.fact, self)
        return [None if change is None else -change / unit for change in fell]


def entropy(*attributes: Iterable[float], bits: bool = False) -> float:
    """Entropy of independent attributes, from the probabilities of each one's options, in nats.

    Args:
        attributes: Of each, what its options weigh; they need not sum to 1.
        bits: Give bits.

    Raises:
        RewardError: Weights are negative, not finite, or all 0.
    """
    total = 0.0
    for options in map(list, attributes):
        whole = sum(options) if all(is_finite(w) and w >= 0 for w in options) else 0.0
        if not 0 < whole < math.inf:
            raise RewardError(f"entropy of {options!r:.80}: give weights of at least 0, not all 0")
        total -= math.fsum(w / whole * math.log(w / whole) for w in options if w)
    return max(total, 0.0) / (math.log(2) if bits else 1.0)


@register
@dataclass(frozen=True)
class DeadEnd(Signal):
    """-1 in the turn that made the goal unreachable, 0 in others, 1 if it can be reached again.

    From the fact `dead_end` (true or false) of each turn and of the start. The sum is -1 or 0 where
    the start is no dead end. Potential-form with gamma 1 and Phi = -[dead end], but that Phi is
    kept at the end. A turn without the fact has no value.

    Source: our own.
    """

    name: ClassVar[str] = "dead_end"
    facts: ClassVar[frozenset[str]] = frozenset({"dead_end"})
    pays: ClassVar[Form] = Form.FULL

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From when the fact changed."""
        grown = changes(trajectory, "dead_end", self)
        return [None if change is None else 0.0 - change for change in grown]
