"""What a search brought to light: evidence, the answer, and what asking again is worth.

They read the record of what was shown, which worlds of questions keep (`evidence_found`: places of
the units of evidence that a turn showed first; `evidence` in the task's data: the units), never the
transcript: a text that looks like an answer is worth nothing to them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_choice, check_number
from agentgym.rewards.batch import place
from agentgym.rewards.expression import Form, Signal
from agentgym.rewards.reading import MISSING, find, is_ids, number
from agentgym.rewards.shaping import changes
from agentgym.rewards.text import register
from agentgym.types import Trajectory


class OfEvidence(Signal):
    """A signal computed from the units of evidence that each turn showed first."""

    facts: ClassVar[frozenset[str]] = frozenset({"evidence", "evidence_found"})

    def options(self, trajectory: Trajectory) -> list[int]:
        """How many values each unit might have had; empty where no evidence is known.

        Raises:
            RewardError: The task does not say.
        """
        units = trajectory.task.data.get("evidence")
        options = [_options(each) for each in units] if isinstance(units, list | tuple) else [0]
        if not all(options):
            raise RewardError(
                f"{self}: task {trajectory.task.id!r} has the evidence {units!r:.80}: give a list "
                "of units, each with 'options', a whole number of at least 1 (1: not known)"
            )
        return options

    def found(self, trajectory: Trajectory, most: int) -> list[list[int]]:
        """The places of the units that each turn showed first.

        Raises:
            RewardError: They are no places of units, or one is named twice.
        """
        known: set[int] = set()
        listed = []
        for turn, each in enumerate(trajectory.turns):
            new = each.facts.get("evidence_found", [])
            if (
                not isinstance(new, list | tuple)
                or not all(type(unit) is int and 0 <= unit < most for unit in new)
                or len(set(new) | known) < len(new) + len(known)
            ):
                raise RewardError(
                    f"{self}: fact 'evidence_found' of {place(trajectory, turn)} is {new!r:.80}: "
                    f"give the places (0 to {most - 1}) of what was not shown before, each once"
                )
            known.update(new)
            listed.append(list(new))
        return listed


def _options(unit: Any) -> int:
    options = unit.get("options") if isinstance(unit, Mapping) else None
    return options if type(options) is int and options >= 1 else 0


@register
@dataclass(frozen=True)
class Evidence(OfEvidence):
    """The share of the evidence that the turn showed first: Phi_t - Phi_{t-1}, in [0, 1].

    Phi is the sum of w_g over the units g shown so far. It only grows, a unit pays once however
    often it is shown, and the sum over turns is the recall at the end, at most 1. As a set function
    it is modular, so the order does not count. No value where no evidence is known.

    With `information`, w_g = ln|D_g| / sum ln|D|, D_g what the unit might have said: then Phi is
    exactly the information on the proof path, ln p(path | shown) - ln p_0(path), as a share of all
    there is, for independent units with a uniform prior. Equal shares where any D is not known.

    Source: our own; gamma 1, and Phi is kept at the end (`potential('evidence_recall')` for
    invariance).

    Args:
        weights: `information`, or `equal`: 1 over the number of units.
    """

    name: ClassVar[str] = "evidence"
    pays: ClassVar[Form] = Form.FULL
    weights: Literal["information", "equal"] = "information"

    def __post_init__(self) -> None:
        check_choice(self.name, "weights", self.weights, ("information", "equal"))

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From what each turn showed first."""
        options = self.options(trajectory)
        if not options:
            return [None] * len(trajectory.turns)
        shares = [1.0] * len(options)
        if self.weights == "information" and min(options) > 1:
            shares = [math.log(each) for each in options]
        whole = math.fsum(shares)
        return [
            math.fsum(shares[unit] for unit in new) / whole
            for new in self.found(trajectory, len(options))
        ]


@register
@dataclass(frozen=True)
class ProofGain(OfEvidence):
    """What the turn told about the proof path, in nats: the sum of ln|D_g| over its new units.

    `evidence` before it is made a share: exact where each unit is one of |D_g| values, equally
    likely and independent. At least 0; the order does not count; the sum is at most ln of the
    number of paths. No value where no evidence is known; a unit of unknown options is worth 0.

    Source: our own.

    Args:
        bits: Pay in bits, not nats.
    """

    name: ClassVar[str] = "proof_gain"
    pays: ClassVar[Form] = Form.FULL
    bits: bool = False

    def __post_init__(self) -> None:
        check_choice(self.name, "bits", self.bits, (False, True))

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From what each turn showed first."""
        options = self.options(trajectory)
        if not options:
            return [None] * len(trajectory.turns)
        unit_of = math.log(2) if self.bits else 1.0
        return [
            math.fsum(math.log(options[unit]) for unit in new) / unit_of
            for new in self.found(trajectory, len(options))
        ]


@register
@dataclass(frozen=True)
class AnswerGain(OfEvidence):
    """How much surer of the answer the turn made one who knows what was shown, in [-1, 1].

    Phi_t - Phi_{t-1} with Phi = 1 + ln b_k(a*) / ln|D_k|: of a chain of k facts, each the next
    one's subject, `chain_belief` in the last one's value; 0 before anything is known, 1 when all of
    it is. It can fall. Of a chain found in order only the closing fact pays: 0, 0, 1 for three.
    Exact where relations are functions with uniform values, for one who takes from the texts the
    facts of the path and no others. No value where the task is no chain, or options are not known.

    Source: our own; what IGPO (arXiv 2510.14967) estimates with a language model.
    """

    name: ClassVar[str] = "answer_gain"
    facts: ClassVar[frozenset[str]] = frozenset({"evidence", "evidence_found", "kind"})
    pays: ClassVar[Form] = Form.FULL

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From what each turn showed first."""
        options = self.options(trajectory)
        if not options or min(options) < 2 or trajectory.task.data.get("kind") != "chain":
            return [None] * len(trajectory.turns)
        known: set[int] = set()
        before, gains = answer_potential(options, known), []
        for new in self.found(trajectory, len(options)):
            known.update(new)
            now = answer_potential(options, known)
            gains.append(now - before)
            before = now
        return gains


def chain_belief(options: Sequence[int], known: Iterable[int]) -> float:
    """The probability of a chain's last value for one who knows some of its facts; in (0, 1].

    b_0 = 1 for the first subject, and b_i(o) = sum over subjects s of b_{i-1}(s) T_i(o | s), where
    T is 1 for a fact that is known, else 1/|D_i|. Of the true values, with p_{i-1} the belief in
    the true subject: p_i = p_{i-1} + (1 - p_{i-1}) / |D_i| if the fact is known, else 1/|D_i|.

    Args:
        options: |D_i|, how many values each fact might have.
        known: Places of the facts that are known.
    """
    shown = set(known)
    belief = 1.0
    for step, each in enumerate(options):
        belief = belief + (1 - belief) / each if step in shown else 1 / each
    return belief


def answer_potential(options: Sequence[int], known: Iterable[int]) -> float:
    """1 + ln b_k(a*) / ln|D_k|: 0 where nothing is known of a chain's end, 1 where all is."""
    return 1 + math.log(chain_belief(options, known)) / math.log(options[-1])


@register
@dataclass(frozen=True)
class AnswerSeen(Signal):
    """1 in the turn that first showed an answer, else 0; an answer in the question is none.

    From the fact `answer_seen` of each turn and of the start, whether an answer stands in anything
    shown so far. The sum is 0 or 1. It stands in for `info_gain` where no model can be asked: with
    a small one, what made the answer likelier was mostly that the answer was there to read.

    Source: our own.
    """

    name: ClassVar[str] = "answer_seen"
    facts: ClassVar[frozenset[str]] = frozenset({"answer_seen"})
    pays: ClassVar[Form] = Form.FULL

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From when the fact became true."""
        return changes(trajectory, "answer_seen", self)


@register
@dataclass(frozen=True)
class Repeat(Signal):
    """-J where a query repeats an earlier one, 0 where it does not; none in turns without one.

    J is the fact `repeat`, the largest share of words that the query has in common with an earlier
    one (Jaccard's), or `redundant`, the share of what was shown that had been shown before; what is
    below the threshold is free. In [-1, 0], so that a sum of it cannot pay for more turns.

    Source: our own.

    Args:
        of: `query`, or `results`.
        threshold: The least J that counts, in (0, 1].
    """

    name: ClassVar[str] = "repeat"
    facts: ClassVar[frozenset[str]] = frozenset({"repeat", "redundant"})
    pays: ClassVar[Form] = Form.FULL
    of: Literal["query", "results"] = "query"
    threshold: float = 0.8

    def __post_init__(self) -> None:
        check_choice(self.name, "of", self.of, ("query", "results"))
        check_number(self.name, "threshold", self.threshold, 0, 1, above=True)

    @property
    def needs(self) -> frozenset[str]:
        """The share."""
        return frozenset({self._fact})

    @property
    def _fact(self) -> str:
        return "repeat" if self.of == "query" else "redundant"

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From the share."""
        found: list[float | None] = []
        for turn in range(len(trajectory.turns)):
            share = number(trajectory, turn, self._fact)
            if share is not None and not 0 <= share <= 1:
                raise RewardError(
                    f"{self}: fact {self._fact!r} of {place(trajectory, turn)} is {share!r}: give "
                    "a share, 0 to 1"
                )
            found.append(None if share is None else -share if share >= self.threshold else 0.0)
        return found


@register
@dataclass(frozen=True)
class Cost(Signal):
    """Minus the fact `cost` of the turn (1 for each search, say): at most 0; none without it.

    Its sum is paid: a price for each call, which cannot pay for more of them.

    Source: our own.
    """

    name: ClassVar[str] = "cost"
    facts: ClassVar[frozenset[str]] = frozenset({"cost"})
    local: ClassVar[bool] = True
    pays: ClassVar[Form] = Form.FULL

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From the fact."""
        found: list[float | None] = []
        for turn in range(len(trajectory.turns)):
            cost = number(trajectory, turn, "cost")
            if cost is not None and cost < 0:
                raise RewardError(
                    f"{self}: fact 'cost' of {place(trajectory, turn)} is {cost!r}: a cost is at "
                    "least 0"
                )
            found.append(None if cost is None else 0.0 - cost)
        return found


@register
@dataclass(frozen=True)
class Citation(Signal):
    """F1 of the ids that the answer cites against those of what is relevant; in [0, 1], at the end.

    Facts: `cites` of the last turn, `relevant` as for `ndcg`. 0 where nothing was cited, or nothing
    answered; no value where nothing is relevant.

    Source: our own.
    """

    name: ClassVar[str] = "citation"
    facts: ClassVar[frozenset[str]] = frozenset({"cites", "relevant"})
    causal: ClassVar[bool] = False
    pays: ClassVar[Form] = Form.ONCE

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From what the last turn cited."""
        last = len(trajectory.turns) - 1
        told = {
            "relevant": find(trajectory, trajectory.turns[last], "relevant"),
            "cites": trajectory.turns[last].facts.get("cites", ()),
        }
        if isinstance(told["relevant"], Mapping):
            told["relevant"] = [each for each, grade in told["relevant"].items() if grade]
        for name, ids in told.items():
            if not is_ids(ids):
                shown = "absent" if ids is MISSING else f"{ids!r:.80}"
                raise RewardError(
                    f"{self}: fact {name!r} of {place(trajectory, last)} is {shown}: give a list "
                    "of ids"
                )
        relevant, cited = set(told["relevant"]), set(told["cites"])
        shared = len(cited & relevant)
        score = 2 * shared / (len(cited) + len(relevant)) if shared else 0.0
        return [*[None] * last, score if relevant else None]
