"""What a template of tasks says: a goal, whether it was reached, and how to reach it.

A template is tried in CI on its own word: its oracle scores 1; doing nothing, or claiming to be
done at once, scores 0; so do its mutants, each a plan that goes wrong in one place.
"""

from __future__ import annotations

import random
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from agentgym.tasks.sites.database import Change, Row, Write
from agentgym.tasks.sites.look import Words
from agentgym.verify import normalise, read_number
from agentgym.verify.units import PLAIN

Verb: TypeAlias = Literal["click", "fill", "select", "check", "goto", "done"]


class Step(NamedTuple):
    """A step of a plan, by what the page shows: the first element of that role and name."""

    verb: Verb
    role: str = ""
    """ARIA role: link, button, textbox, searchbox, spinbutton, combobox, checkbox, radio."""
    name: str = ""
    """Accessible name, in the language of the site."""
    value: str = ""
    """Text to fill in, option to select, `"true"` or `"false"` to check, path, or answer."""


def click(role: str, name: str) -> Step:
    """Click the element."""
    return Step("click", role, name)


def fill(name: str, text: object, role: str = "textbox") -> Step:
    """Replace the field's text."""
    return Step("fill", role, name, str(text))


def select(name: str, option: str) -> Step:
    """Choose an option, by its label, of a combobox."""
    return Step("select", "combobox", name, option)


def check(name: str, on: bool = True) -> Step:
    """Tick a checkbox, or untick it; what is as wanted stays."""
    return Step("check", "checkbox", name, str(on).lower())


def done(answer: object = "") -> Step:
    """End the episode."""
    return Step("done", value=str(answer))


class Goal(NamedTuple):
    """What is asked for: in words, and as the numbers and ids that judge it."""

    text: str
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check says."""

    score: float
    """1 if all was done and nothing else, else 0."""
    success: bool
    why: str
    """What is missing, in words; for people, never shown to the model."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Graded credit, e.g. `webshop`; see `TaskTemplate.parts`."""


Condition: TypeAlias = tuple[str, bool]


def verdict(*conditions: Condition, parts: Mapping[str, float] | None = None) -> Verdict:
    """Success if all hold; else says which is the first that does not."""
    missing = next((name for name, holds in conditions if not holds), None)
    why = "done" if missing is None else f"not met: {missing}"
    return Verdict(float(missing is None), missing is None, why, parts or {})


@dataclass(frozen=True, slots=True)
class Case:
    """A task under way, as its template sees it."""

    db: sqlite3.Connection
    """As it is now."""
    base: sqlite3.Connection
    """As it was at the beginning."""
    params: Mapping[str, Any]
    changes: Sequence[Change]
    """Rows that differ between the two."""
    visited: Sequence[str]
    """Paths of the pages that were shown, with their queries."""
    words: Words
    """What the site calls things, in its language."""

    def inserted(self, table: str) -> list[Row]:
        """New rows of a table, in the order of their ids."""
        return [
            change.after
            for change in self.changes
            if change.table == table and change.before is None and change.after is not None
        ]

    def row(self, table: str, id: int) -> Row:
        """A row as it is now; empty if it is gone."""
        found = self.db.execute(f"SELECT * FROM {table} WHERE id = ?", (id,)).fetchone()
        return dict(found) if found else {}

    def saw(self, path: str) -> bool:
        """Whether the page of that path was shown, or one below it."""
        return any(f"{one.partition('?')[0]}/".startswith(f"{path}/") for one in self.visited)

    def queries(self, path: str) -> list[dict[str, str]]:
        """What the page of that path was asked for, each time that it was shown."""
        parts = (one.partition("?") for one in self.visited)
        return [dict(parse_qsl(query)) for shown, _, query in parts if shown == path]


class TaskTemplate(ABC):
    """A kind of task of a site, with parameters drawn from the seed."""

    name: ClassVar[str]
    """As in task ids: `buy:seed=3`."""
    held_out: ClassVar[bool] = False
    """Never in the splits to train on."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Names of the graded credit in its verdicts. `graded` is what may be paid in place of 0: below
    1 unless all was done."""

    @abstractmethod
    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """Draw a task that can be done; what it writes is part of the beginning."""

    @abstractmethod
    def check(self, case: Case, answer: str) -> Verdict:
        """Judge the state and the answer; collateral damage was looked for before."""

    @abstractmethod
    def milestones(self, case: Case) -> Sequence[Condition]:
        """What is reached on the way, in order; it need not be reached by every way."""

    @abstractmethod
    def oracle(self, case: Case, params: Mapping[str, Any]) -> Iterable[Step]:
        """A plan for these parameters, from the start page; ends with `done`.

        A generator may look at `case.db` as it goes on; a mutant is the plan for others.
        """

    @abstractmethod
    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """At least three plans that each go wrong in one place, by what is wrong."""

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """What may change; nothing, for a question."""
        return []


def is_answer(answer: str, *expected: object) -> bool:
    """Whether it is one of these, but for ways of writing that do not count."""
    return normalise(answer) in {normalise(str(text)) for text in expected}


def is_amount(answer: str, cents: int) -> bool:
    """Whether it is this amount of money: a number, with or without a dollar sign."""
    read = read_number(answer)
    if read is None or read.unit.factor != 1 or read.unit.dimension not in ("number", "dollar"):
        return False
    return read.value * 100 == cents


def is_count(answer: str, count: int) -> bool:
    """Whether it is this whole number, and no more than it: "4 or 5" would be 4 of "or 5"."""
    read = read_number(answer)
    return read is not None and read.unit == PLAIN and read.value == count
