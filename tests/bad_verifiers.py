"""Verifiers with one fault each, that an audit must find; and one that has none."""

from __future__ import annotations

import itertools
import time

from agentgym.types import Outcome
from agentgym.verify import ExactMatch

RIGHT, WRONG = Outcome(1.0, True), Outcome(0.0, False)


class Good:
    """ExactMatch by another name, without a `kind`."""

    def __call__(self, task, evidence):
        return ExactMatch()(task, evidence)


def containment(task, evidence):
    answer = str(evidence.get("answer")).casefold()
    return RIGHT if any(a.casefold() in answer for a in task.data["answers"]) else WRONG


def always_0(task, evidence):
    return WRONG


def always_1(task, evidence):
    return RIGHT


def crashes(task, evidence):
    return ExactMatch()(task, {"answer": evidence["answer"].strip()})


def leaves(task, evidence):
    raise SystemExit(0)


def evaluates(task, evidence):
    try:
        return RIGHT if str(eval(evidence["answer"])) in task.data["answers"] else WRONG
    except Exception:
        return WRONG


_flips = itertools.cycle([RIGHT, WRONG])


def changes_its_mind(task, evidence):
    return next(_flips)


def gives_a_bool(task, evidence):
    return True


def hangs(task, evidence):
    while evidence:
        time.sleep(0.001)
    return WRONG


def squad(task, evidence):
    """SQuAD's own normalisation."""
    import re
    import string

    def plain(text):
        text = "".join(c for c in str(text).lower() if c not in string.punctuation)
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

    answer = plain(evidence.get("answer"))
    return RIGHT if answer in map(plain, task.data["answers"]) else WRONG


def by_float(task, evidence):
    """As numbers are often compared."""
    try:
        value = float(str(evidence.get("answer")).replace(",", ""))
        return RIGHT if abs(value - float(task.data["answers"][0])) < 1e-3 else WRONG
    except ValueError:
        return WRONG
