"""Packs: the games of one ALFWorld split in one file.

A pack is an SQLite file with two tables: `meta`, and `games`, one row a game in the order of ids,
the game itself as compressed JSON. Opening reads all of it and compares a checksum; afterwards the
file is not needed any more. A `Pack` therefore has no handle that threads, forks or a replaced file
could spoil, at the price of 2 KB of memory a game.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.parse import quote

import orjson

from agentgym.errors import ConfigError, TaskError, did_you_mean
from agentgym.tasks.alfworld_game import TASK_TYPES, Game, Receptacle, Thing

SPLITS = ("train", "valid_seen", "valid_unseen", "valid_train")
"""ALFWorld's three, and `valid_train`, which some benchmarks evaluate on."""

FORMAT = 1
"""Raise it when a `Game` has other fields, or the same file should be read to other games."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE games (
    position INTEGER PRIMARY KEY,
    id TEXT UNIQUE NOT NULL,
    task_type TEXT NOT NULL,
    scene TEXT NOT NULL,
    game BLOB NOT NULL
);
"""


class Row(NamedTuple):
    """A game as a pack holds it."""

    id: str
    task_type: str
    scene: str
    game: bytes


def to_row(game: Game) -> Row:
    """The game, made small."""
    return Row(game.id, game.task_type, game.scene, zlib.compress(orjson.dumps(game), 9))


def to_game(packed: bytes) -> Game:
    """What `to_row` made small."""
    fields = orjson.loads(zlib.decompress(packed))
    fields["receptacles"] = tuple([Receptacle(**each) for each in fields["receptacles"]])
    fields["things"] = tuple(
        [
            Thing(
                each["id"],
                each["type"],
                (*each["locations"],),
                (*each["receptacles"],),
                each["traits"],
            )
            for each in fields["things"]
        ]
    )
    fields["can_contain"] = {into: (*what,) for into, what in fields["can_contain"].items()}
    fields["inside"] = tuple([(inner, outer) for inner, outer in fields["inside"]])
    fields["human_goals"] = (*fields["human_goals"],)
    return Game(**fields)


class Pack:
    """The games of one split.

    Args:
        path: Where they were read.
        split: One of `SPLITS`.
        source: What the pack was made of.
        skipped: What that held besides, and why it is left out: reason to number.
        rows: The games.
    """

    def __init__(
        self,
        path: Path,
        split: str,
        source: str,
        skipped: Mapping[str, int],
        rows: Sequence[Row],
    ) -> None:
        self.path = path
        self.split = split
        self.source = source
        self.skipped: Mapping[str, int] = dict(skipped)
        self._types = {row.id: row.task_type for row in rows}
        self._games = {row.id: row.game for row in rows}

    def __len__(self) -> int:
        return len(self._games)

    def ids(self, task_types: Sequence[str] | None = None) -> list[str]:
        """Ids in their order, which does not depend on the form the games came in.

        Args:
            task_types: Only games of these types, keys of `TASK_TYPES`; None: all.

        Raises:
            ConfigError: No such type.
        """
        if task_types is None:
            return [*self._types]
        wanted = {task_types} if isinstance(task_types, str) else set(task_types)
        for name in sorted(wanted - TASK_TYPES.keys()):
            raise ConfigError(
                f"ALFWorld has no task type {name!r}: it has {', '.join(TASK_TYPES)}"
                f"{did_you_mean(name, TASK_TYPES)}"
            )
        return [id for id, task_type in self._types.items() if task_type in wanted]

    def game(self, id: str) -> Game:
        """The game of that id.

        Raises:
            TaskError: There is none.
        """
        if id not in self._games:
            hint = did_you_mean(id, self._games)
            raise TaskError(f"ALFWorld split {self.split!r} has no game {id!r}{hint}")
        return to_game(self._games[id])


def read_pack(path: Path) -> Pack:
    """Open a pack, and see that it is whole.

    Raises:
        ConfigError: It is not, or it is no pack, or one of another version.
    """
    try:
        address = f"file:{quote(os.fspath(path))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as file:
            meta = dict(file.execute("SELECT key, value FROM meta"))
            if meta.get("format") != str(FORMAT):
                _refuse(path, f"is in format {meta.get('format')}, not {FORMAT}")
            columns = ", ".join(Row._fields)
            found = file.execute(f"SELECT {columns} FROM games ORDER BY position")
            rows = [Row(*row) for row in found]
        skipped = json.loads(meta["skipped"])
        if meta["split"] not in SPLITS or _checksum(rows) != int(meta["checksum"]):
            _refuse(path, "is damaged: its checksum is wrong")
        return Pack(path, meta["split"], meta["source"], skipped, rows)
    except (sqlite3.Error, KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"pack {str(path)!r} is damaged: {error}") from error


def write_pack(
    path: Path, split: str, source: str, skipped: Mapping[str, int], rows: Iterable[Row]
) -> None:
    """Write a pack beside its place, then put it there: it is whole or not there at all."""
    ordered = sorted(rows)
    meta = {
        "format": str(FORMAT),
        "split": split,
        "source": source.encode(errors="backslashreplace").decode(),  # a path need not be text
        "games": str(len(ordered)),
        "skipped": json.dumps(dict(skipped)),
        "checksum": str(_checksum(ordered)),
    }
    handle, beside = tempfile.mkstemp(prefix=f"{half(split)}-", dir=path.parent)
    try:
        with os.fdopen(handle, "rb") as file:
            with closing(sqlite3.connect(beside)) as database:
                database.execute("PRAGMA page_size = 65536")  # or half of each page is empty
                database.execute("PRAGMA journal_mode = OFF")  # or a kill leaves a journal
                database.executescript(_TABLES)
                database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
                database.executemany(
                    "INSERT INTO games VALUES (?, ?, ?, ?, ?)",
                    [(position, *row) for position, row in enumerate(ordered)],
                )
                database.commit()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def half(split: str) -> str:
    """How the names of half-written packs of that split begin."""
    return f".making-{split}"


def _checksum(rows: Iterable[Row]) -> int:
    value = 0
    for row in rows:
        value = zlib.crc32(f"{row.id}\0{row.task_type}\0".encode(), value)
        value = zlib.crc32(row.game, value)
    return value


def _refuse(path: Path, what: str) -> NoReturn:
    raise ConfigError(f"pack {str(path)!r} {what}")
