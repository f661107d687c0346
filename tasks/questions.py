"""Questions over a corpus: what a set of them is, and how one is named."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NotRequired, Protocol, TypedDict

from agentgym.errors import TaskError, did_you_mean
from agentgym.retrieval import Corpus
from agentgym.types import Task


class Place(TypedDict):
    """Where something is told."""

    doc: str
    """Id of a passage."""
    sentence: int | None
    """Index in the passage's sentences; None is the whole passage."""


class Poison(TypedDict):
    """What an unreliable passage would have somebody answer."""

    doc: str
    """Id of the passage."""
    answer: str
    """What one answers who believes, or obeys, it; never a right answer."""
    commands: bool
    """Whether it commands the answer, rather than tell a wrong fact that leads to it."""


class Evidence(TypedDict):
    """A unit that an answer rests on.

    Where relations are functions with even ranges, as in a knowledge world, the units of a chain
    weigh log(options) / the sum of all log(options): what has been seen of them is then the exact
    gain of information on the proof, and their options alone give the exact belief in the answer.
    """

    doc: str
    """Id of its passage."""
    sentence: int | None
    """Index in the passage's sentences; None is the whole passage."""
    options: int
    """How many values it might have had, if nothing were known; 1 where that is unknown, or where
    nothing can be learned."""
    also: NotRequired[list[Place]]
    """Where else the same is told: one of all these places is enough."""


class Question(TypedDict):
    """The data of a task; policies see `question` alone."""

    question: str
    answers: list[str]
    """All accepted forms, the first the usual one."""
    kind: str
    """`chain`, `comparison`, `difference`, `count`, `intersection`, `unanswerable`, or the set's
    own word."""
    hops: int
    """Facts that have to be found one after another; for a comparison, those of both its sides; 0
    where that is unknown."""
    evidence: list[Evidence]
    """In the order in which they are found; empty where none is known."""
    searches: NotRequired[list[str]]
    """What an expert searches for, in order, until it can answer."""
    poison: NotRequired[list[Poison]]
    """Of unreliable passages on what the question is about."""


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


def plan(question: Question) -> tuple[list[str], str]:
    """What an expert searches for, in order, and what it answers then: for oracles, not policies.

    The searches are empty where nobody knows what to search for.
    """
    return list(question.get("searches", ())), question["answers"][0]


_SETS: Mapping[str, str] = {
    "world": "agentgym.tasks.questions_world:open_world",
    "hotpotqa": "agentgym.tasks.questions_hotpotqa:open_hotpotqa",
    "musique": "agentgym.tasks.questions_musique:open_musique",
    "2wiki": "agentgym.tasks.questions_2wiki:open_2wiki",
    "nq": "agentgym.tasks.questions_nq:open_nq",
    "searchr1": "agentgym.tasks.questions_searchr1:open_searchr1",
    "folder": "agentgym.tasks.questions_folder:open_folder",
}


@lru_cache(maxsize=8)
def open_questions(spec: str) -> QuestionSet:
    """The set that `spec` names; the same object as long as it is kept.

    Args:
        spec: `world` and its parameters, as in `world:hops=2,docs=1000`; or `hotpotqa:PATH`,
            `musique:PATH`, `2wiki:PATH`, `nq:PATH`, `searchr1:PATH` for files; or `folder:PATH`
            for a folder with questions.jsonl and corpus.jsonl. Files may be gzipped, and a path
            may be a folder whose files are named after splits.

    Raises:
        TaskError: No such set, or its files are not there or not readable; says what to do.
        ConfigError: A parameter is wrong.
    """
    name, _, rest = spec.partition(":")
    if name not in _SETS:
        raise TaskError(
            f"no set of questions {spec!r}{did_you_mean(name, _SETS)}: give 'world', or one of "
            f"{', '.join(f'{each}:PATH' for each in _SETS if each != 'world')}"
        )
    if name != "world" and not rest:
        raise TaskError(f"no set of questions {spec!r}: say where its files are, as {name}:PATH")
    module, _, function = _SETS[name].partition(":")
    opened: QuestionSet = getattr(importlib.import_module(module), function)(rest)
    return opened
