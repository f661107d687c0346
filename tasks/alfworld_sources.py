"""The forms ALFWorld's games come in: folders, archives, lines of JSON.

Folders are as `alfworld-download` leaves them, archives those that it unpacks. Each is a `Source`
for one split and yields a `Game` or a `Skip` for whatever it finds. Left out is what ALFWorld's
text environment leaves out: tasks with movable receptacles or sliced objects, and games that are
not known to be solvable. What cannot be read is left out too, and named.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import orjson

from agentgym.errors import ConfigError, TaskError
from agentgym.tasks.alfworld_game import TASK_TYPES, Game, read_problem
from agentgym.tasks.alfworld_pack import SPLITS

_TRAJECTORY, _GAME = "traj_data.json", "game.tw-pddl"
_SENTENCE = re.compile(r'Your task is to: ([^"\n]+)"')
_DEEPEST = 4
"""Folders between a split's and a trial's, at most; ALFWorld has one."""
_LARGEST = 2**26
"""Bytes of one file in an archive; real ones have 0.2 MB."""
_UNREADABLE = (
    TaskError,
    ValueError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,  # encrypted
)

T = TypeVar("T")


class Skip(NamedTuple):
    """Something that is not among the games, and why."""

    reason: str
    detail: str = ""
    """What is wrong with it, where it should not be so."""


class Source(Protocol):
    """Where the games of a split are read."""

    @property
    def split(self) -> str:
        """Which it is, of `SPLITS`."""
        ...

    @property
    def name(self) -> str:
        """For people: a path, mostly."""
        ...

    def fingerprint(self) -> str:
        """Another one when the source changed."""
        ...

    def total(self) -> int:
        """How much `read` will yield; 0 where that is not known beforehand."""
        ...

    def read(self) -> Iterator[Game | Skip]:
        """All that is there, in any order.

        Raises:
            ConfigError: It cannot be read any further.
        """
        ...


class Folder:
    """`SPLIT/TASK/TRIAL/{traj_data.json,game.tw-pddl}` on disk.

    Args:
        path: The split's folder.
        split: Which it is.
    """

    def __init__(self, path: Path, split: str) -> None:
        self.path = path
        self.split = split
        self.name = str(path)
        self._trials: dict[str, dict[str, os.stat_result]] | None = None

    def fingerprint(self) -> str:
        """Made of names, sizes and times; nothing is opened."""
        digest = hashlib.sha256()
        for id, files in sorted(self._walked().items()):
            for name, about in sorted(files.items()):
                line = f"{id}/{name} {about.st_size} {about.st_mtime_ns}\n"
                digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()

    def total(self) -> int:
        """Trials."""
        return len(self._walked())

    def read(self) -> Iterator[Game | Skip]:
        """Read trial by trial."""
        for id, files in self._walked().items():
            yield _read_trial(
                id, self.split, {name: (self.path / id / name).read_bytes for name in files}
            )

    def _walked(self) -> Mapping[str, Mapping[str, os.stat_result]]:
        if self._trials is None:
            try:
                self._trials = dict(_walk(self.path))
            except OSError as error:
                raise ConfigError(
                    f"cannot look through {self.name!r}: {error.filename}: {error.strerror}"
                ) from error
        return self._trials


def _walk(
    folder: Path, below: str = "", deep: int = 0
) -> Iterator[tuple[str, dict[str, os.stat_result]]]:
    files, folders = {}, []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in (_TRAJECTORY, _GAME):
                if entry.is_file():
                    files[entry.name] = entry.stat()
            elif deep < _DEEPEST and entry.is_dir():
                folders.append(entry.name)
    if files:
        yield below, files
    for name in sorted(folders):
        yield from _walk(folder / name, f"{below}/{name}" if below else name, deep + 1)


class Archives:
    """ALFWorld's release archives, read where they are; nothing of them is unpacked to disk.

    Args:
        paths: The one with trajectories and the one with games.

    Raises:
        ConfigError: One is missing or is no zip file.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.name = ", ".join(path.name for path in paths)
        self._files: dict[str, dict[str, dict[str, Callable[[], bytes]]]] = {}
        self._open: list[zipfile.ZipFile] = []
        for path in paths:
            try:
                archive = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
                self.close()
                raise ConfigError(f"archive {str(path)!r} is damaged: {error}") from error
            self._open.append(archive)
            for member in archive.infolist():
                self._list(archive, member)

    def _list(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        *folders, name = member.filename.split("/")
        split = next((each for each in folders if each in SPLITS), "")
        if not split or name not in (_TRAJECTORY, _GAME):
            return
        id = "/".join(folders[folders.index(split) + 1 :])

        def read() -> bytes:
            if member.file_size > _LARGEST:
                raise ValueError(f"{name} would have {member.file_size} bytes")
            return archive.read(member)

        self._files.setdefault(split, {}).setdefault(id, {})[name] = read

    def __enter__(self) -> Archives:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for archive in self._open:
            archive.close()

    def check(self, progress: Callable[[str, int, int], None]) -> None:
        """Read everything through, comparing checksums.

        Raises:
            ConfigError: Something is damaged.
        """
        for archive in self._open:
            name = os.path.basename(archive.filename or "")
            members = archive.infolist()
            for done, member in enumerate(members):
                progress(f"checking {name}", done, len(members))
                try:
                    with archive.open(member) as file:
                        while file.read(2**20):
                            pass
                except _UNREADABLE as error:
                    raise ConfigError(f"archive {name!r} is damaged: {error}") from error
            progress(f"checking {name}", len(members), len(members))

    @property
    def splits(self) -> list[str]:
        """Splits with at least one whole trial."""
        return [
            split
            for split in SPLITS
            if any(len(files) == 2 for files in self._files.get(split, {}).values())
        ]

    def source(self, split: str) -> Source:
        """The games of one split."""
        return _InArchives(split, self.name, self._files[split])


class _InArchives(NamedTuple):
    split: str
    name: str
    trials: Mapping[str, Mapping[str, Callable[[], bytes]]]

    def fingerprint(self) -> str:
        return ""

    def total(self) -> int:
        return len(self.trials)

    def read(self) -> Iterator[Game | Skip]:
        for id, files in self.trials.items():
            yield _read_trial(id, self.split, files)


def _read_trial(id: str, split: str, files: Mapping[str, Callable[[], bytes]]) -> Game | Skip:
    """The game of a trial's folder, judged as ALFWorld does, in its order."""
    if "movable" in id:
        return Skip("movable")
    if "Sliced" in id:
        return Skip("sliced")
    for name in (_TRAJECTORY, _GAME):
        if name not in files:
            return Skip(f"without {name}")
    try:
        trajectory = orjson.loads(files[_TRAJECTORY]())
        task_type = _field(trajectory, str, "task_type")
        if task_type not in TASK_TYPES.values():
            return Skip("of other types")
        game = orjson.loads(files[_GAME]())
        if "solvable" not in _field(game, dict):
            return Skip("not known to be solvable")
        if not game["solvable"]:
            return Skip("unsolvable")
        sentence = _SENTENCE.search(_field(game, str, "grammar"))
        if sentence is None or "UNKNOWN GOAL" in sentence[1]:
            raise ValueError("its grammar says no task")
        annotations = trajectory.get("turk_annotations") or {"anns": []}
        goals = [_field(each, str, "task_desc") for each in _field(annotations, list, "anns")]
        scene = _field(trajectory, str, "scene", "floor_plan")
        problem = _field(game, str, "pddl_problem")
        return _as_game(id, split, task_type, sentence[1].removesuffix("."), problem, goals, scene)
    except TaskError as error:  # which names the game
        return Skip("damaged", str(error))
    except _UNREADABLE as error:
        return Skip("damaged", f"{id!a}: {error}")


class Lines:
    """A file of JSON lines, one game each, plain or compressed by xz or gzip.

    Args:
        path: The file.
        split: The split its name says.
    """

    PATTERN = re.compile(r"alfworld-(\w+)-[\w.]+?\.jsonl(?:\.xz|\.gz)?")

    def __init__(self, path: Path, split: str) -> None:
        self.path = path
        self.split = split
        self.name = str(path)

    def fingerprint(self) -> str:
        """Made of its size and time; it is not opened."""
        try:
            about = self.path.stat()
        except OSError as error:
            raise ConfigError(f"cannot read {self.name!r}: {error.strerror}") from error
        return hashlib.sha256(f"{about.st_size} {about.st_mtime_ns}".encode()).hexdigest()

    def total(self) -> int:
        """Nobody knows."""
        return 0

    def read(self) -> Iterator[Game | Skip]:
        """Read line by line."""
        seen: set[str] = set()
        try:
            for number, line in enumerate(self._lines(), 1):
                if not line.strip():
                    continue
                found = self._read_line(number, line)
                if isinstance(found, Game) and found.id in seen:
                    found = Skip("there twice", f"line {number}: {found.id!r} is there twice")
                elif isinstance(found, Game):
                    seen.add(found.id)
                yield found
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise ConfigError(
                f"{self.name!r} cannot be read to its end ({error}): get it again"
            ) from error

    def _lines(self) -> Iterator[bytes]:
        openers: Mapping[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open}
        with openers.get(self.path.suffix, open)(self.path, "rb") as file:
            yield from file

    def _read_line(self, number: int, line: bytes) -> Game | Skip:
        try:
            record = orjson.loads(line)
            if _field(record, str, "split") != self.split:
                return Skip("of another split")
            goals = [_field(goal, str) for goal in _field(record, list, "human_goals")]
            id, task_type, task, problem, scene = (
                _field(record, str, name)
                for name in ("id", "task_type", "task", "pddl_problem", "scene")
            )
            return _as_game(id, self.split, task_type, task, problem, goals, scene)
        except _UNREADABLE as error:
            return Skip("damaged", f"line {number}: {error}")


def _as_game(
    id: str, split: str, task_type: str, task: str, problem: str, goals: list[str], scene: str
) -> Game:
    id.encode()  # a file name need not be text
    game = read_problem(problem, id=id, task=task, human_goals=goals, scene=scene, split=split)
    if TASK_TYPES[game.task_type] != task_type:
        raise ValueError(f"its goal is not of type {task_type!r}")
    return game


def _field(record: Any, kind: type[T], *path: str) -> T:
    """What lies in JSON at that path.

    Raises:
        ValueError: Nothing, or something of another kind.
    """
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    if not isinstance(record, kind):
        what = f"has no {'.'.join(path)!r} that is" if path else "is not"
        raise ValueError(f"it {what} a {kind.__name__}")
    return record
