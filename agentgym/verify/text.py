"""Answers that are words: exact match and F1, after a normalisation that keeps what matters.

SQuAD's normalisation drops case, articles and punctuation. It also makes "-40" equal "40", "1.5"
equal "15", "C++" equal "C", "vitamin A" equal "vitamin", and any two answers made of articles and
punctuation alone equal the empty one: all of which a model that is paid for it finds. Here
punctuation goes where it only separates, and stays where it says something.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from agentgym.errors import ConfigError
from agentgym.types import Outcome, Task
from agentgym.verify.base import Kind, judged, references

MAX_CHARS = 2_000
"""Of an answer; a longer one is wrong, unread."""
OTHER_ORDER = 0.99
"""Most that the right words in another order score."""

_SUPERSCRIPT = re.compile(r"([⁰¹²³⁴-⁹⁺⁻]++)(\d?)")
_VULGAR = re.compile(r"(?<=[0-9])(?=[¼-¾⅐-⅞↉])|(?<=[¼-¾⅐-⅞↉])(?=[\d¼-¾⅐-⅞↉])")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹣－⁃"), "-")
_SLASHES = dict.fromkeys(map(ord, "⁄∕"), "/")
_MARKS = {ord(mark): "'" for mark in "‘’‛′`´ʼ"}
_SAME = {**_DASHES, **_SLASHES, **_MARKS}

_THOUSANDS = re.compile(r"(?<![\w.,])([0-9]{1,3}(?:,[0-9]{3})+)(?![0-9,])")
_RANGE = re.compile(r"(?<=[0-9])\s+-\s+(?=[0-9])")
_SIGN = re.compile(r"(?<![\w%)\].-])([-+])\s*(?=[$€£¥]?\s*\.?[0-9])")
_BARE_POINT = re.compile(r"(?<![\w.])\.(?=[0-9])")
_SPACED = re.compile(r"(?<=[0-9])\s+(?=[%°])|(?<=[$€£¥])\s+(?=[0-9])")
_STARRED = re.compile(r"\*{1,3}([^*]+)\*{1,3}")
_INITIALS = re.compile(r"(?<!\w)([a-z]\.)\s+(?=[a-z]\.)")
_LETTER = r"(?:[^\W_]|[^\x00-\x7f\s€£¥°])"  # a mark of any script is part of its word
_TOKEN = re.compile(
    rf"""(?:(?<!\S)-)?[$€£¥]?[0-9]+(?:[.,:/^-][0-9]+|\^-[0-9]+)*(?:[%°!]|-(?!\w))?  # -40  3/4  $5
      | (?:(?<!\S)-)?{_LETTER}(?:{_LETTER}|['.](?={_LETTER}))*                      # u.s.a  -x
        (?:\+\+?|\#|\*|-(?!\w))?(?:\^-?[0-9]+)?                                     # c++  b-  x^2
      | \S                                                   # symbols, thinned out below
    """,
    re.VERBOSE,
)
_WITHIN_NUMBERS = "€£¥°∞"
_START_NUMBERS = "0123456789$€£¥"
_ARTICLES = frozenset({"a", "an", "the"})
_TELLING = "$+<=>|~^€£¥°"
"""Marks that are kept where they stand alone."""


def normalise(text: str) -> str:
    """What two texts must share to be the same answer; of any text, and idempotent.

    Unicode's compatible forms, digits of every script, dashes and quotes are one; invisible
    characters, case, white space and thousands separators do not count. "the" goes everywhere but
    at the end, "a" and "an" go at the beginning, unless nothing would be left. Punctuation is
    dropped, except within numbers (1.5, 3/4, 12:30, -40, 50%) and on names (C++, C#, A*, B-, -x).

    Source: SQuAD's evaluation script (Rajpurkar et al. 2016); deviations as in the module's
    docstring.
    """
    for _ in range(8):
        before, text = text, _once(text)
        if text == before:
            break
    return text


def fold(text: str) -> str:
    """`text` in compatible forms: one minus, one slash, ASCII digits, nothing invisible.

    Powers stay powers (10² is 10^2), and mixed numbers stay mixed (1½ is 1 1/2).
    """
    if text.isascii():
        return text
    text = _SUPERSCRIPT.sub(lambda found: f"^{found[1]} {found[2]}".rstrip(" "), text)
    text = unicodedata.normalize("NFKC", _VULGAR.sub(" ", text))
    return "".join(map(_plain, text)).translate(_SAME)


def _plain(character: str) -> str:
    if character.isascii():
        return character
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return "" if unicodedata.category(character)[0] == "C" else character


def _apart(character: str) -> str:
    """Other scripts' punctuation as a space, and their symbols as words."""
    if character.isascii() or character in _WITHIN_NUMBERS:
        return character
    category = unicodedata.category(character)
    if category[0] in "PZ" or category == "Sk":
        return " "
    return f" {character} " if category[0] == "S" else character


def _once(text: str) -> str:
    text = fold(fold(text).casefold())
    if not text.isascii():
        text = "".join(map(_apart, text))
    text = _INITIALS.sub(r"\1", _STARRED.sub(r"\1", text))
    text = _THOUSANDS.sub(lambda found: found[1].replace(",", ""), text)
    text = _BARE_POINT.sub("0.", _RANGE.sub("-", text))
    text = _SIGN.sub(lambda found: " -" if found[1] == "-" else " ", text)
    text = _SPACED.sub("", text)
    words = [word for word in map(_word, _TOKEN.findall(text)) if word]
    if not words:
        return " ".join(text.split())
    if _ARTICLES.issuperset(words):
        return " ".join(words)
    words = [word for word in words[:-1] if word != "the"] + words[-1:]
    while len(words) > 1 and words[0] in _ARTICLES:
        del words[0]
    return " ".join(words)


def _word(token: str) -> str:
    """A token as it is compared; empty where it only separates."""
    if len(token) == 1 and token.isascii() and not token.isalnum():
        return token if token in _TELLING else ""
    if token.lstrip("-")[0] in _START_NUMBERS:
        return token
    return token.replace("'", "").replace(".", "")


def f1(answer: str, reference: str) -> float:
    """F1 of the words two normalised texts share, each counted as often as it occurs.

    Source: SQuAD's evaluation script (Rajpurkar et al. 2016).
    """
    ours, theirs = answer.split(), reference.split()
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
    """1 where the answer is one of the references, both normalised."""

    kind: ClassVar[Kind] = Kind.TEXT

    def __call__(self, task: Task, evidence: Mapping[str, Any], /) -> Outcome:
        """Compare `evidence["answer"]` with `task.data["answers"]`."""
        accepted = _references(task)
        answer, trouble = _read(evidence)
        return judged(not trouble and answer in accepted, trouble)


@dataclass(frozen=True, slots=True)
class F1:
    """The best F1 over the references; passed where the answer matches one exactly.

    The same words in another order score `OTHER_ORDER`: "dog bites man" is not "man bites dog".
    """

    kind: ClassVar[Kind] = Kind.TEXT

    def __call__(self, task: Task, evidence: Mapping[str, Any], /) -> Outcome:
        """Compare `evidence["answer"]` with `task.data["answers"]`."""
        accepted = _references(task)
        answer, trouble = _read(evidence)
        if trouble:
            return judged(False, trouble, f1=0.0)
        best = max(f1(answer, reference) for reference in accepted)
        if answer in accepted:
            return judged(True, f1=best)
        label = "partly" if best else "wrong"
        return Outcome(min(best, OTHER_ORDER), False, label, {"f1": best})
