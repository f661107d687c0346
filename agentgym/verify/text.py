"""Answers that are names and phrases: exact match and F1, after `normalise`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from agentgym.errors import ConfigError
from agentgym.types import Outcome, Task
from agentgym.verify.base import Kind, judged, references
from agentgym.verify.wording import normalise

MAX_CHARS = 2_000
"""Of an answer; a longer one is wrong, unread."""
OTHER_ORDER = 0.5
"""What all the right words score in another order."""

_WORD = re.compile(r"[^\s()\[\]{}]+")


def f1(answer: str, reference: str) -> float:
    """F1 of the words two normalised texts share, each counted as often as it occurs.

    Source: SQuAD's evaluation script (Rajpurkar et al. 2016).
    """
    ours, theirs = _WORD.findall(answer), _WORD.findall(reference)
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs)) if shared else 0.0


@lru_cache(maxsize=1024)
def _reference(text: str) -> str:
    return normalise(text)


def _references(task: Task) -> list[str]:
    found = references(task)
    for text in found:
        if not isinstance(text, str) or not _reference(text):
            raise ConfigError(f"task {task.id!r} has the answer {text!r:.80}: give it as text")
    return [_reference(text) for text in found]


def _read(evidence: Mapping[str, Any]) -> tuple[str, str]:
    """The answer, normalised, and why there is none."""
    answer = evidence.get("answer")
    if answer is None:
        return "", "no_answer"
    if not isinstance(answer, str):
        return "", "unreadable"
    if len(answer) > MAX_CHARS:
        return "", "too_long"
    found = normalise(answer)
    return found, "" if found else "no_answer"


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """1 where the answer is one of the references, both normalised.

    For names, phrases and short formulas. What cannot be told apart in general is not the same:
    email and e-mail, JK and J K, GPT-4 and GPT 4; give each as a reference where it will do.
    """

    kind: ClassVar[Kind] = Kind.TEXT

    def __call__(self, task: Task, evidence: Mapping[str, Any], /) -> Outcome:
        """Compare `evidence["answer"]` with `task.data["answers"]`."""
        accepted = _references(task)
        answer, trouble = _read(evidence)
        return judged(not trouble and answer in accepted, trouble)


@dataclass(frozen=True, slots=True)
class F1:
    """The best F1 over the references, which is graded; passed where the answer matches exactly.

    F1 measures how near an answer is, not whether it is right: of a long reference, one that says
    the opposite shares most words. Where that must not pay, gate it with `passed`, or take
    `ExactMatch`. All the right words in another order score `OTHER_ORDER`: "dog bites man" is not
    "man bites dog". `parts["f1"]`: SQuAD's F1, whatever the order.
    """

    kind: ClassVar[Kind] = Kind.TEXT
    graded: ClassVar[float] = 0.95
    """Most that an attack of the corpus may score."""

    def __call__(self, task: Task, evidence: Mapping[str, Any], /) -> Outcome:
        """Compare `evidence["answer"]` with `task.data["answers"]`."""
        accepted = _references(task)
        answer, trouble = _read(evidence)
        if trouble:
            return judged(False, trouble, f1=0.0)
        found = [f1(answer, reference) for reference in accepted]
        best = max(found)
        if answer in accepted:
            return judged(True, f1=best)
        score = max(OTHER_ORDER if share == 1.0 else share for share in found)
        return Outcome(score, False, "partly" if score else "wrong", {"f1": best})
