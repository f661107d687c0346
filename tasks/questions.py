"""Questions over a corpus: what a set of them is, and how one is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypedDict

from agentgym.errors import TaskError
from agentgym.retrieval import Corpus
from agentgym.types import Task


class Evidence(TypedDict):
    """A unit that an answer rests on."""

    doc: str
    """Id of its passage."""
    sentence: int | None
    """Index in the passage's sentences; None is the whole passage."""
    options: int
    """How many values it might have had, if nothing were known; 1 where that is unknown."""


class Question(TypedDict):
    """The data of a task; policies see `question` alone."""

    question: str
    answers: list[str]
    """All accepted forms, the first the usual one."""
    kind: str
    """`chain`, `comparison`, `count`, `intersection`, `unanswerable`, or the set's own word."""
    hops: int
    """Units that have to be found one after another; 0 where that is unknown."""
    evidence: list[Evidence]
    """In the order in which they are found; empty where none is known."""


class QuestionSet(Protocol):
    """Tasks by split, and the corpus each is asked over."""

    splits: tuple[str, ...]

    def ids(self, split: str) -> Sequence[str]:
        """Ids of a split's tasks; a lazy sequence where they are many."""

    def task(self, id: str) -> Task:
        """The task of an id, its data a `Question`.

        Raises:
            TaskError: No such task.
        """

    def corpus(self, id: str) -> Corpus | None:
        """What it is asked over; None where that is up to the retriever. Cached."""


def open_questions(spec: str) -> QuestionSet:
    """The set that `spec` names.

    Args:
        spec: `world` and its parameters, as in `world:hops=2,docs=1000`; or `hotpotqa:PATH`,
            `musique:PATH`, `2wiki:PATH`, `nq:PATH`, `searchr1:PATH` for files.

    Raises:
        TaskError: No such set, or its files are not there or not readable; says what to do.
    """
    raise TaskError(f"no set of questions {spec!r}")
