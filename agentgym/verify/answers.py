"""Short answers to questions: what is paid, and beside it the figures that papers report.

What is paid is hardened (`agentgym.verify.wording`). SQuAD's figures are not: an empty answer
equals "The" there. They are for comparing with papers, and paid by nothing.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

from agentgym.errors import ConfigError
from agentgym.types import Outcome, Task
from agentgym.verify.base import Kind, references
from agentgym.verify.text import OTHER_ORDER, f1
from agentgym.verify.wording import normalise

MAX_ANSWER_CHARS = 512
"""A longer answer is wrong, unread."""
MOST_WORDS = 12
"""An answer of more words than this, and than three times the reference, has no F1."""
MORE_WORDS = 3
"""How many words more than the reference a text may have that is said to cover it."""
VERDICTS = frozenset({"yes", "no", "noanswer", "unanswerable"})
"""Answers that are given or not: no part of another is worth anything."""

_ACCENT = re.compile("[\u0300-\u036f]+")
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_form(text: str) -> str:
    """What two answers must share to be the same one: `normalise`, without accents."""
    form = normalise(text)
    if form.isascii():
        return form
    bare = unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", form)))
    return bare or form


def squad_form(text: str) -> str:
    """SQuAD's normal form: lower case, no punctuation, no articles, single spaces.

    Source: SQuAD's evaluation script (Rajpurkar et al. 2016), as Search-R1 and HotpotQA use it.
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def squad_em(answer: str, reference: str) -> float:
    """1 where both have one normal form: SQuAD's exact match."""
    return float(squad_form(answer) == squad_form(reference))


def squad_f1(answer: str, reference: str) -> float:
    """F1 of the words of both normal forms; of yes and no, 1 or 0.

    Source: HotpotQA's evaluation script (Yang et al. 2018), which is SQuAD's but for yes and no.
    """
    return _squad_f1(squad_form(answer), squad_form(reference))


def _squad_f1(ours: str, theirs: str) -> float:
    if ours != theirs and (ours in VERDICTS or theirs in VERDICTS):
        return 0.0
    mine, other = ours.split(), theirs.split()
    shared = (Counter(mine) & Counter(other)).total()
    return 2 * shared / (len(mine) + len(other)) if shared else 0.0


def guarded_f1(form: str, reference: str) -> float:
    """F1 of two texts in `answer_form`, which long answers and parts of verdicts do not get.

    All the right words in another order are worth `OTHER_ORDER`.
    """
    if form == reference:
        return 1.0
    if reference in VERDICTS or form in VERDICTS:
        return 0.0
    if len(form.split()) > max(MOST_WORDS, 3 * len(reference.split())):
        return 0.0
    share = f1(form, reference)
    return OTHER_ORDER if share == 1.0 else share


def covers(form: str, reference: str) -> bool:
    """Whether a text (both in `answer_form`) has the reference's words in a row, and few others."""
    ours, theirs = form.split(), reference.split()
    if reference in VERDICTS or len(ours) > len(theirs) + MORE_WORDS:
        return form == reference
    most = len(ours) - len(theirs)
    return any(ours[at : at + len(theirs)] == theirs for at in range(most + 1))


@lru_cache(maxsize=4096)
def _forms(text: str) -> tuple[str, str]:
    """Both normal forms; references come again and again, and so do answers of a group."""
    return answer_form(text), squad_form(text)


@dataclass(frozen=True, slots=True)
class ShortAnswer:
    """The answer to a question, as `ExactMatch` reads it but for accents, with papers' figures.

    Parts: `em` and `f1`, hardened; `squad_em` and `squad_f1`, as papers report them; `cover`: the
    reference stands in the answer, with at most 3 words more.

    Args:
        score: What the score is: `em`, or `f1` (1 only where the answer matches exactly).
    """

    kind: ClassVar[Kind] = Kind.TEXT
    score: Literal["em", "f1"] = "em"

    @property
    def graded(self) -> float:
        """Most that an attack of the corpus may score."""
        return 0.95 if self.score == "f1" else 0.0

    def __call__(self, task: Task, evidence: Mapping[str, Any], /) -> Outcome:
        """Compare `evidence["answer"]` with `task.data["answers"]`."""
        accepted = references(task)
        for text in accepted:
            if not isinstance(text, str) or not _forms(text)[0]:
                raise ConfigError(f"task {task.id!r} has the answer {text!r:.80}: give it as text")
        answer = evidence.get("answer")
        if answer is None:
            return _nothing("no_answer")
        if not isinstance(answer, str):
            return _nothing("unreadable")
        if len(answer) > MAX_ANSWER_CHARS:
            return _nothing("too_long")
        return self._judge(answer, [_forms(text) for text in accepted])

    def _judge(self, answer: str, accepted: list[tuple[str, str]]) -> Outcome:
        form, plain = _forms(answer)
        passed = bool(form) and any(form == reference for reference, _ in accepted)
        best = max(guarded_f1(form, reference) for reference, _ in accepted) if form else 0.0
        parts = {
            "em": float(passed),
            "f1": best,
            "squad_em": float(any(plain == reference for _, reference in accepted)),
            "squad_f1": max(_squad_f1(plain, reference) for _, reference in accepted),
            "cover": float(bool(form) and any(covers(form, each) for each, _ in accepted)),
        }
        label = "right" if passed else "wrong" if form else "no_answer"
        score = parts["em"] if self.score == "em" else best
        return Outcome(score, passed, label, parts)


def _nothing(label: str) -> Outcome:
    return Outcome(0.0, False, label, dict.fromkeys(PARTS, 0.0))


PARTS = ("em", "f1", "squad_em", "squad_f1", "cover")
"""Parts of every outcome of `ShortAnswer`."""
