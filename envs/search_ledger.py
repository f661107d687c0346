"""What an episode of search has shown: exactly which sentences of which passages.

Facts and rewards are read off this record and the parsed action, never off the text that the model
was shown: nothing that stands in a passage, or that a model writes, can pass for evidence.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from agentgym.envs.search_text import Piece
from agentgym.retrieval import Passage
from agentgym.types import Task
from agentgym.verify.wording import fold

_WORD = re.compile(r"\w+")
_SAYS_NOTHING = frozenset({"yes", "no", "true", "false", "none", "unanswerable"})
"""Answers whose occurrence in a text tells nothing."""
_WORKED_OUT = frozenset({"comparison", "count", "difference", "unanswerable"})
"""Kinds of questions whose answer is not read but worked out."""
_FEWEST_CHARACTERS = 3
"""Of an answer that is looked for: a shorter one stands in many texts by chance."""


Place = tuple[str, int | None]
"""A passage and a sentence of it; None is the whole passage."""


class Gold(NamedTuple):
    """What an answer rests on, and what it looks like; a function of the task."""

    question: str
    answers: tuple[str, ...]
    units: tuple[tuple[Place, ...], ...]
    """Of each unit of evidence, where it is told: one of these places is enough."""
    weights: tuple[float, ...]
    """Of each unit; they sum to 1."""
    documents: tuple[str, ...]
    """Ids of the passages with evidence, in the order of the units."""
    sought: tuple[str, ...]
    """Answers in the form that they are looked for in."""


def gold_of(task: Task) -> Gold:
    """What is to be found in a task."""
    data = task.data
    evidence = data.get("evidence", ())
    units = tuple(
        ((each["doc"], each["sentence"]), *((p["doc"], p["sentence"]) for p in each["also"]))
        if "also" in each
        else ((each["doc"], each["sentence"]),)
        for each in evidence
    )
    answers = tuple(data["answers"])
    return Gold(
        data["question"],
        answers,
        units,
        weights_of([each.get("options", 1) for each in evidence]),
        tuple(dict.fromkeys(places[0][0] for places in units)),
        () if data.get("kind") in _WORKED_OUT else _sought(answers),
    )


def weights_of(options: Sequence[int]) -> tuple[float, ...]:
    """What each unit of evidence weighs: its share of the information, ln(options).

    Equal shares where the options of any are not known.
    """
    if not options:
        return ()
    if min(options) < 2:
        return (1 / len(options),) * len(options)
    whole = math.fsum(map(math.log, options))
    return tuple(math.log(each) / whole for each in options)


@lru_cache(maxsize=4096)
def _sought(answers: tuple[str, ...]) -> tuple[str, ...]:
    folded = dict.fromkeys(" ".join(fold(answer).casefold().split()) for answer in answers)
    return tuple(
        each for each in folded if len(each) >= _FEWEST_CHARACTERS and each not in _SAYS_NOTHING
    )


def holds(text: str, sought: Sequence[str]) -> bool:
    """Whether any of `sought` stands in a text (both folded) and does not go on inside a word."""
    for each in sought:
        at = text.find(each)
        while at >= 0:
            end = at + len(each)
            inside = at and text[at - 1].isalnum() and each[0].isalnum()
            if not inside and not (end < len(text) and text[end].isalnum() and each[-1].isalnum()):
                return True
            at = text.find(each, at + 1)
    return False


def words_of(query: str) -> frozenset[str]:
    """The words of a query, whatever their case, accents and width: as an engine reads them."""
    if not query.isascii():
        apart = unicodedata.normalize("NFKD", fold(query))
        query = "".join(each for each in apart if not unicodedata.combining(each))
    return frozenset(_WORD.findall(query.casefold()))


class Ledger:
    """What was shown and asked in an episode so far.

    Args:
        gold: What is to be found.
    """

    __slots__ = (
        "_key", "_masks", "_whole", "answer_seen", "found", "gold", "passages", "queries",
        "searches",
    )  # fmt: skip

    def __init__(self, gold: Gold) -> None:
        self.gold = gold
        self.passages: dict[str, Passage] = {}
        """Every passage that was shown, by the id it was shown by."""
        self.queries: tuple[frozenset[str], ...] = ()
        """Words of every query."""
        self.found: frozenset[int] = frozenset()
        """Places of the units of evidence that were shown."""
        self.answer_seen = holds(fold(gold.question).casefold(), gold.sought)
        """Whether an answer stands in the question, or in anything that was shown."""
        self.searches = 0
        self._masks: dict[str, int] = {}
        """Sentences shown of each passage, a bit each."""
        self._whole: frozenset[str] = frozenset()
        """Passages all of which was shown."""
        self._key = 0

    def copy(self) -> Ledger:
        """The same, to go on by itself."""
        twin = Ledger.__new__(Ledger)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.passages = dict(self.passages)
        twin._masks = dict(self._masks)
        return twin

    # ------------------------------------------------------------------------------- what is new

    def ask(self, query: str) -> float:
        """Note a query.

        Returns:
            The largest share of words (Jaccard's) that it has in common with an earlier one; 1
            where neither has any.
        """
        words = words_of(query)
        alike = [len(words & each) / len(words | each) if words | each else 1.0
                 for each in self.queries]  # fmt: skip
        self.queries = (*self.queries, words)
        self.searches += 1
        return max(alike, default=0.0)

    def show(self, passage: Passage, id: str, piece: Piece) -> bool:
        """Note that a part of a passage is shown; says whether any of the passage was before."""
        known = id in self.passages
        before = self._masks.get(passage.id, 0)
        now = before | piece.mask
        if not known:
            self.passages[id] = passage
        if now != before or not known:
            self._masks[passage.id] = now
            self._key ^= _digest(passage.id, before if known else -1) ^ _digest(passage.id, now)
            if now + 1 == 1 << len(passage.sentences):
                self._whole |= {passage.id}
        if not self.answer_seen:
            self.answer_seen = holds(piece.folded, self.gold.sought)
        return known

    def new_evidence(self) -> list[int]:
        """Places of the units of evidence that were shown since this was asked last."""
        new = [
            place
            for place, places in enumerate(self.gold.units)
            if place not in self.found and any(self._was_told(*each) for each in places)
        ]
        if new:
            self.found |= frozenset(new)
        return new

    def _was_told(self, document: str, sentence: int | None) -> bool:
        if sentence is None:
            return document in self._whole
        return bool(self._masks.get(document, 0) >> sentence & 1)

    # ---------------------------------------------------------------------------------- how far

    @property
    def recall(self) -> float:
        """Share of the evidence that was shown, by weight."""
        weights = self.gold.weights
        if len(self.found) == len(weights):
            return 1.0 if weights else 0.0
        return math.fsum(weights[place] for place in self.found)

    @property
    def missing(self) -> int | None:
        """Passages with evidence that was not shown; None where no evidence is known."""
        units = self.gold.units
        if not units:
            return None
        return len({places[0][0] for i, places in enumerate(units) if i not in self.found})

    @property
    def wanted(self) -> Place | None:
        """Where the next evidence is told that was not shown."""
        left = (places for i, places in enumerate(self.gold.units) if i not in self.found)
        return next((places[0] for places in left), None)

    @property
    def state_key(self) -> str:
        """What was shown, in whatever order and however often."""
        return f"{self._key:016x}"

    def has(self, passage: Passage, piece: Piece) -> bool:
        """Whether all that ends in a piece of a passage was shown."""
        return not piece.mask & ~self._masks.get(passage.id, 0)

    def asked(self, query: str) -> bool:
        """Whether a query of the same words was made."""
        return words_of(query) in self.queries

    def was_shown(self, document: str) -> bool:
        """Whether anything of a passage (by its id in the corpus) was shown."""
        return document in self._masks

    def facts(self) -> dict[str, Any]:
        """Where the episode stands."""
        missing = self.missing
        return {
            "evidence_recall": self.recall,
            "answer_seen": self.answer_seen,
            "remaining": None if missing is None else missing + 1,
            "state_key": self.state_key,
        }


@lru_cache(maxsize=65_536)
def _digest(document: str, mask: int) -> int:
    """A number of 64 bits for what of a passage was shown; 0 for nothing of it."""
    if mask < 0:
        return 0
    told = f"{mask:x}:{document}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(told, digest_size=8).digest())
