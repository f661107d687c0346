"""Databases of sites: restored in well under a millisecond, every write to them logged.

A database lives in memory and is made from an image, the bytes of an SQLite file. Triggers in its
temporary schema note which rows are touched; they are invisible to the image and to the pages.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Row: TypeAlias = dict[str, Any]
Operation: TypeAlias = Literal["insert", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is no longer what it was."""

    table: str
    id: int
    before: Row | None
    """None: the row is new."""
    after: Row | None
    """None: the row is gone."""

    @property
    def operation(self) -> Operation:
        """What came of it in the end, however many writes it took."""
        if self.before is None:
            return "insert"
        return "update" if self.after is not None else "delete"

    @property
    def columns(self) -> frozenset[str]:
        """The columns that differ."""
        before, after = self.before or {}, self.after or {}
        return frozenset(name for name in {*before, *after} if before.get(name) != after.get(name))


@dataclass(frozen=True, slots=True)
class Write:
    """Rows that a task may change; whatever else changed is collateral damage."""

    table: str
    operation: Operation
    ids: frozenset[int] | None = None
    """None: any row."""
    columns: frozenset[str] | None = None
    """Of an update; None: any column."""

    def covers(self, change: Change) -> bool:
        """Whether the change is one of these."""
        return (
            (self.table, self.operation) == (change.table, change.operation)
            and (self.ids is None or change.id in self.ids)
            and (self.columns is None or change.columns <= self.columns)
        )


def inserts(*tables: str) -> list[Write]:
    """New rows in these tables."""
    return [Write(table, "insert") for table in tables]


def updates(table: str, ids: Iterable[int] | None = None, *columns: str) -> list[Write]:
    """Changes to these rows of a table (None: to any), in these columns (none: in any)."""
    rows = None if ids is None else frozenset(ids)
    return [Write(table, "update", rows, frozenset(columns) or None)]


def deletes(table: str, ids: Iterable[int] | None = None) -> list[Write]:
    """Rows of a table that may go (None: any)."""
    return [Write(table, "delete", None if ids is None else frozenset(ids))]


def restore(image: bytes) -> sqlite3.Connection:
    """A database in memory, as the image has it; usable from any thread, one at a time."""
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.deserialize(image)
    db.row_factory = sqlite3.Row
    return db


def watch(db: sqlite3.Connection, untracked: Collection[str] = ()) -> None:
    """Log every write from now on; each table needs an `id INTEGER PRIMARY KEY`.

    `untracked` tables hold what belongs to the visit and not to the world, e.g. a notice to show.
    """
    tables = [
        name
        for (name,) in db.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")
        if name not in untracked and not name.startswith("sqlite_")
    ]
    # Else the rows that INSERT OR REPLACE deletes would go unnoticed.
    db.execute("PRAGMA recursive_triggers = ON")
    db.execute("CREATE TEMP TABLE written (tbl TEXT, id INTEGER)")
    for table in tables:
        for operation, rows in (("INSERT", "new"), ("DELETE", "old"), ("UPDATE", "old new")):
            noted = "".join(
                f"INSERT INTO written VALUES ('{table}', {row}.id);" for row in rows.split()
            )
            db.execute(
                f"CREATE TEMP TRIGGER written_{table}_{operation} AFTER {operation} "
                f"ON main.{table} BEGIN {noted} END"
            )
    db.commit()


def find_changes(db: sqlite3.Connection, base: sqlite3.Connection) -> list[Change]:
    """Rows of a watched database that differ from `base`; written and written back is unchanged."""
    written: dict[str, list[int]] = {}
    for table, id in db.execute("SELECT DISTINCT tbl, id FROM written ORDER BY tbl, id"):
        written.setdefault(table, []).append(id)
    changes = []
    for table, ids in written.items():
        before, after = _find_rows(base, table, ids), _find_rows(db, table, ids)
        changes += [Change(table, id, before.get(id), after.get(id)) for id in ids]
    return [change for change in changes if change.before != change.after]


def _find_rows(db: sqlite3.Connection, table: str, ids: Iterable[int]) -> dict[int, Row]:
    found = db.execute(f"SELECT * FROM {table} WHERE id IN ({', '.join(map(str, ids))})")
    return {row["id"]: dict(row) for row in found}
