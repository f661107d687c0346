"""Try a verifier with the corpus: what passes that must not, what fails that must not, what breaks.

A verifier that trainers can rely on lets no attack pass, and pays none more than it declares:
nothing, unless it is graded. It refuses at most `MOST_MISSED` of the equivalent forms, and neither
raises, hangs, changes its mind nor evaluates anything.
"""

from __future__ import annotations

import builtins
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from agentgym.types import Outcome
from agentgym.verify.base import Kind, Verifier, graded_of
from agentgym.verify.corpus import CANARY, EQUIVALENT, Case, number_cases, text_cases
from agentgym.verify.corpus_forms import number_forms, text_forms
from agentgym.verify.corpus_structured import json_cases, state_cases, tests_cases

MOST_MISSED = 0.02
"""Share of equivalent forms that may be refused."""
DEADLINE_S = 10.0
"""Longest one verdict may take, in seconds, where it can be cut off (the main thread of Unix)."""

_CASES = {
    Kind.TEXT: (text_cases, text_forms),
    Kind.NUMBER: (number_cases, number_forms),
    Kind.JSON: (json_cases,),
    Kind.TESTS: (tests_cases,),
    Kind.STATE: (state_cases,),
}


def cases(kind: Kind) -> Iterator[Case]:
    """The corpus for a kind of verifier; payloads of code come first."""
    for source in _CASES[kind]:
        yield from source()


@dataclass(frozen=True, slots=True)
class Finding:
    """One case that went wrong."""

    case: Case
    what: str
    """`accepted`, `scored 0.95`, `refused`, or how it broke."""


@dataclass(slots=True)
class Tally:
    """What came of one kind of attack, or of the equivalent forms."""

    cases: int = 0
    wrong: int = 0
    """Attacks that passed or scored too much, or equivalent forms that did not pass."""
    crashes: int = 0


@dataclass(slots=True)
class Audit:
    """What a verifier did with the corpus."""

    verifier: str
    kind: Kind
    graded: float = 0.0
    """Most that an attack may score, as the verifier declares it."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    """By kind of attack; the equivalent forms are under `corpus.EQUIVALENT`."""
    false_positives: list[Finding] = field(default_factory=list)
    false_negatives: list[Finding] = field(default_factory=list)
    crashes: list[Finding] = field(default_factory=list)
    highest: float = 0.0
    """Most that an attack scored, passed or not."""
    evaluated: bool = False
    """Whether it ran code out of an answer; it is then tried no further."""

    @property
    def attacks(self) -> int:
        """How many attacks were tried."""
        return sum(tally.cases for name, tally in self.tallies.items() if name != EQUIVALENT)

    @property
    def equivalents(self) -> int:
        """How many equivalent forms were tried."""
        return self.tallies[EQUIVALENT].cases if EQUIVALENT in self.tallies else 0

    @property
    def missed(self) -> float:
        """The share of equivalent forms that were refused."""
        return len(self.false_negatives) / self.equivalents if self.equivalents else 0.0

    @property
    def ok(self) -> bool:
        """Whether the verifier can be relied on."""
        faultless = not (self.false_positives or self.crashes or self.evaluated)
        return faultless and self.missed <= MOST_MISSED


def audit(verifier: Verifier, kind: Kind, name: str, tried: Iterable[Case] | None = None) -> Audit:
    """Try `verifier` with the corpus for `kind`, or with `tried`.

    Raises:
        ConfigError: What it declares as `graded` is not in [0, 1).
    """
    report = Audit(name, kind, graded_of(verifier))
    for case in cases(kind) if tried is None else tried:
        _try(verifier, case, report)
        if report.evaluated:
            break
    return report


def _try(verifier: Verifier, case: Case, report: Audit) -> None:
    tally = report.tallies.setdefault(case.attack, Tally())
    tally.cases += 1
    outcome = trouble = None
    try:
        with _deadline():
            outcome = verifier(case.task, case.evidence)
            again = verifier(case.task, case.evidence)
        if not isinstance(outcome, Outcome):
            trouble = f"returned {outcome!r:.60}, not an Outcome"
        elif outcome != again:
            trouble = "said something else the second time"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: an answer must not end the program
        trouble = f"raised {type(error).__name__}: {str(error)[:80]}".rstrip(": ")
    if builtins.__dict__.pop(CANARY, None) is not None:
        report.evaluated = True
        trouble = "ran code out of the answer"
    if trouble is not None or outcome is None:
        tally.crashes += 1
        report.crashes.append(Finding(case, trouble or "returned None, not an Outcome"))
        return
    if case.passes:
        if not outcome.passed:
            tally.wrong += 1
            report.false_negatives.append(Finding(case, "refused"))
        return
    report.highest = max(report.highest, outcome.score)
    if outcome.passed or outcome.score > report.graded:
        tally.wrong += 1
        what = "accepted" if outcome.passed else f"scored {outcome.score:.2f}"
        report.false_positives.append(Finding(case, what))


class _TookTooLong(BaseException):
    """Raised in the middle of a verdict."""


@contextmanager
def _deadline() -> Iterator[None]:
    """Cut off what takes longer than `DEADLINE_S`, where a signal can do that."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _TookTooLong(f"{DEADLINE_S:g} s were not enough")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def shown(evidence: Mapping[str, Any]) -> str:
    """What was judged, on one short line."""
    value: Any = evidence
    for key in ("answer", "value", "tests", "facts"):
        if key in evidence:
            value = evidence[key]
            break
    if isinstance(value, str):
        return repr(value[:60]) + (f"… ({len(value)} characters)" if len(value) > 60 else "")
    try:
        return f"{value!r:.80}"
    except (RecursionError, ValueError):  # too deep, or too many digits, to be written
        return f"<{type(value).__name__}>"
