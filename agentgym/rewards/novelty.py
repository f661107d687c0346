"""Being somewhere for the first time: submodular functions of the states visited so far."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_choice, check_kind
from agentgym.rewards.batch import place
from agentgym.rewards.expression import Form, Signal
from agentgym.rewards.text import register
from agentgym.types import Trajectory


@register
@dataclass(frozen=True)
class Novelty(Signal):
    """F(S_t) - F(S_{t-1}): what the turn adds to the states visited, of which repeats add less.

    - `coverage`: F counts the different states: 1 for a new one, else 0.
    - `log`: F = sum over states of ln(1 + visits): ln((n + 1) / n) at the n-th visit, so ln 2 at
      first; repeats are still paid.

    At least 0; the sum is F of all that was visited; no state pays more than it did the last time.
    Where the start has the fact it was visited, too. The fact may be a list (what a turn showed,
    files it touched): the turn visits each. A turn without it has no value.

    Potential-form only in the history (Phi = F of the states visited), and its potential is not 0
    at the end: it pays for exploring on its own account, and changes what is best. Within an
    episode only: states are new again in the next one.

    Source: submodular rewards (Prajapat et al., "Submodular Reinforcement Learning", arXiv
    2307.13372), with two such functions.

    Args:
        kind: Which function.
        fact: What tells states apart: a text or a whole number, or a list of them.
    """

    name: ClassVar[str] = "novelty"
    pays: ClassVar[Form] = Form.FULL
    kind: Literal["coverage", "log"] = "coverage"
    fact: str = "state_key"

    def __post_init__(self) -> None:
        check_choice(self.name, "kind", self.kind, ("coverage", "log"))
        check_kind(self.name, self.fact, str, "a fact's name")

    @property
    def needs(self) -> frozenset[str]:
        """What tells states apart."""
        return frozenset({self.fact})

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From how often each state was visited before."""
        visits: Counter[Any] = Counter()
        visits.update(self._states(trajectory.facts.get(self.fact), trajectory, -1) or ())
        found: list[float | None] = []
        for number, turn in enumerate(trajectory.turns):
            states = self._states(turn.facts.get(self.fact), trajectory, number)
            found.append(None if states is None else sum(self._gain(visits, s) for s in states))
        return found

    def _gain(self, visits: Counter[Any], state: Any) -> float:
        visits[state] += 1
        if self.kind == "log":
            return math.log1p(1 / visits[state])
        return float(visits[state] == 1)

    def _states(self, value: Any, trajectory: Trajectory, turn: int) -> list[Any] | None:
        if value is None:
            return None
        states = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(state, str | int) for state in states):
            raise RewardError(
                f"{self}: fact {self.fact!r} of {place(trajectory, turn)} is {value!r:.80}: give "
                "a text, a whole number, or a list of them"
            )
        return list(states)
