"""Outcome verifiers, and the audit that attacks them.

from agentgym import Task
from agentgym.verify import ExactMatch

task = Task("capital", data={"answers": ["Canberra"]})
ExactMatch()(task, {"answer": "canberra."})  # Outcome(score=1.0, passed=True, label='correct', ...)

`agentgym audit exact` tries a verifier with everything in `agentgym.verify.corpus`.
"""

from agentgym.verify.answers import ShortAnswer, squad_em, squad_f1
from agentgym.verify.base import (
    Kind,
    Verifier,
    find_verifier,
    graded_of,
    kind_of,
    register,
    verifiers,
)
from agentgym.verify.numeric import Numeric, read_number
from agentgym.verify.structured import JsonMatch, StateMatch
from agentgym.verify.text import F1, ExactMatch, f1
from agentgym.verify.unit_tests import UnitTests
from agentgym.verify.wording import normalise

__all__ = [
    "F1",
    "ExactMatch",
    "JsonMatch",
    "Kind",
    "Numeric",
    "ShortAnswer",
    "StateMatch",
    "UnitTests",
    "Verifier",
    "f1",
    "find_verifier",
    "graded_of",
    "kind_of",
    "normalise",
    "read_number",
    "register",
    "squad_em",
    "squad_f1",
    "verifiers",
]

register("exact", ExactMatch())
register("f1", F1())
register("short", ShortAnswer())
register("numeric", Numeric())
register("json", JsonMatch())
register("tests", UnitTests())
register("state", StateMatch())
