"""Sets of questions in files: where rows are read from, what is in one, and the set they make.

A question belongs to the split that its row or its file's name says (`dev` is `valid`); where
neither does, its id decides: a tenth of all for `valid`, a tenth for `test`. Passages of all rows
make one corpus; equal ones are merged.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson

from agentgym.errors import RegistryError, TaskError, did_you_mean
from agentgym.retrieval import Passage, Passages
from agentgym.tasks.questions import Evidence, Question
from agentgym.types import Task

SPLITS = ("train", "valid", "test")
_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")
_SPLIT_WORDS = {"train": "train", "dev": "valid", "valid": "valid", "validation": "valid",
                "test": "test"}  # fmt: skip


class Entry(NamedTuple):
    """A question of a set."""

    id: str
    split: str
    """Empty where its row does not say."""
    question: Question


class Row:
    """A row of a file, that says where it stands when something is wrong with it.

    Args:
        where: The file and the line, for messages.
        fields: What is in it.
        split: What the file's name says; empty where it says nothing.
    """

    __slots__ = ("fields", "split", "where")

    def __init__(self, where: str, fields: Mapping[str, Any], split: str) -> None:
        self.where = where
        self.fields = fields
        self.split = split

    def wrong(self, field: str, what: str) -> TaskError:
        """The error to raise for a field."""
        return TaskError(f"{self.where}: {field!r} {what}")

    def get(self, field: str, kind: type | tuple[type, ...], what: str) -> Any:
        """What is in a field.

        Args:
            field: Its name.
            kind: Of what type it must be.
            what: The same in words, for the message.

        Raises:
            TaskError: It is missing, or of another type.
        """
        if self.fields.get(field) is None:
            close = did_you_mean(field, [each for each in self.fields if each != field])
            raise TaskError(f"{self.where}: has no {field!r}{close}: give {what}")
        value = self.fields[field]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise self.wrong(field, f"is {value!a:.80}: give {what}")
        return value

    def text(self, field: str) -> str:
        """Text that is not empty.

        Raises:
            TaskError: It is missing, empty or no text.
        """
        value: str = self.get(field, str, "text").strip()
        if not value:
            raise self.wrong(field, "is empty: give text")
        return value

    def texts(self, *names: str) -> list[str]:
        """Texts, or one, under the first of some fields that is there; each once.

        Raises:
            TaskError: None is there, or there is something else.
        """
        field = next((each for each in names if self.fields.get(each) is not None), names[0])
        value = self.get(field, (str, list, tuple), "text, or a list of texts")
        return self.check_texts(field, value)

    def check_texts(self, field: str, value: object) -> list[str]:
        """Texts that are not empty, each once.

        Raises:
            TaskError: They are something else.
        """
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
            raise self.wrong(field, f"is {value!a:.80}: give text, or a list of texts")
        found = list(dict.fromkeys(each.strip() for each in values if each.strip()))
        if not found:
            raise self.wrong(field, "is empty: give an answer")
        return found


def read_files(path: str) -> Iterator[Row]:
    """Rows of a file, or of the files of a folder, by their names' order.

    Args:
        path: A `.jsonl`, `.json` or `.parquet` file, the first two also with `.gz`; or a folder of
            such.

    Raises:
        TaskError: There is none, or it is damaged; names the file and the line.
        RegistryError: It needs a package that is not installed.
    """
    found = Path(path).expanduser()
    if found.is_dir():
        files = sorted(each for each in found.iterdir() if _suffix(each) in _SUFFIXES)
    else:
        files = [found] if found.is_file() else []
    if not files:
        raise TaskError(
            f"no questions at {path!r}: give a file, or a folder of files, that end in "
            f"{', '.join(_SUFFIXES)}, or .gz after one of these"
        )
    for file in files:
        split = as_split(file.name)
        for number, fields in read_rows(file):
            where = f"{str(file)!r}, row {number}"
            if not isinstance(fields, dict):
                raise TaskError(f"{where}: is {fields!a:.80}: give an object")
            yield Row(where, fields, split)


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def as_split(name: object) -> str:
    """The split that a file's name, or a row's word for it, means; empty for none."""
    words = re.split(r"[^a-z]+", str(name or "").lower())
    return next((_SPLIT_WORDS[each] for each in words if each in _SPLIT_WORDS), "")


def read_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Rows with their numbers, from 1 on: those of lines, where the file has a row a line.

    Raises:
        TaskError: The file is damaged, or of another kind.
        RegistryError: It needs a package that is not installed.
    """
    suffix = _suffix(path)
    if suffix not in _SUFFIXES:
        raise TaskError(
            f"{str(path)!r} is no file of questions: give one that ends in "
            f"{', '.join(_SUFFIXES)}, or .gz after one of these"
        )
    if suffix == ".parquet":
        yield from _read_parquet(path)
        return
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            if suffix == ".json":
                rows = _parsed(file.read(), str(path))
                yield from enumerate(rows if isinstance(rows, list) else [rows], 1)
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _parsed(line, f"{str(path)!r}, row {number}")
    except (OSError, EOFError, zlib.error) as error:
        raise TaskError(f"{str(path)!r} cannot be read ({error}): get the file again") from error


def _parsed(text: bytes, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise TaskError(f"{where}: is no JSON ({error}): get the file again") from error


def _read_parquet(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")  # large, and no dependency
    except ImportError as error:
        raise RegistryError(
            f"reading {str(path)!r} needs pyarrow: pip install 'agentgym-env[parquet]'"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1000):
                for fields in batch.to_pylist():
                    number += 1
                    yield number, fields
    except (OSError, ValueError) as error:  # which pyarrow's own errors are
        raise TaskError(f"{str(path)!r} is no parquet file: {error}") from error


# ---- sets


class Shelf:
    """Passages as they are met; equal ones are kept once."""

    def __init__(self) -> None:
        self.passages: dict[str, Passage] = {}

    def add(self, title: str, sentences: Iterable[str], id: str = "") -> str:
        """Put a passage there, and tell its id: its own, or one made of what it says."""
        kept = tuple(" ".join(each.split()) for each in sentences)
        if not id:
            digest = hashlib.blake2b(orjson.dumps([title, kept]), digest_size=6)
            id = digest.hexdigest()
        self.passages.setdefault(id, Passage(id, title, kept))
        return id


def titles_of(shelf: Shelf, evidence: Sequence[Evidence]) -> list[str]:
    """Titles of the passages with evidence, in order: what an expert searches for."""
    return list(dict.fromkeys(shelf.passages[each["doc"]].title for each in evidence))


class FileQuestions:
    """Questions from files.

    Args:
        name: For messages, and before every id.
        entries: The questions, in the files' order.
        shelf: What they are asked over; None where that is up to the retriever.

    Raises:
        TaskError: There are none, or two have one id.
    """

    def __init__(self, name: str, entries: Iterable[Entry], shelf: Shelf | None) -> None:
        self.name = name
        self._entries: dict[str, Entry] = {}
        for each in entries:
            id = f"{name}:{each.id}"
            if id in self._entries:
                raise TaskError(
                    f"two questions of {name} have the id {each.id!r}: give each its "
                    "own, or name one file"
                )
            self._entries[id] = Entry(id, each.split or _drawn_split(id), each.question)
        if not self._entries:
            raise TaskError(f"{name}: there is no question in these files")
        self._ids = {
            split: [i for i, each in self._entries.items() if each.split == split]
            for split in SPLITS
        }
        self.splits: tuple[str, ...] = tuple(split for split in SPLITS if self._ids[split])
        self._corpus = None
        if shelf is not None and shelf.passages:
            self._corpus = Passages(name, shelf.passages.values())

    def ids(self, split: str) -> Sequence[str]:
        """Ids of a split's tasks.

        Raises:
            TaskError: No such split.
        """
        if split not in self.splits:
            raise TaskError(
                f"{self.name} has no split {split!r}{did_you_mean(split, self.splits)}"
                f": it has {', '.join(self.splits)}"
            )
        return self._ids[split]

    def task(self, id: str) -> Task:
        """The task of an id, its data a `Question`.

        Raises:
            TaskError: No such task.
        """
        if id not in self._entries:
            raise TaskError(
                f"{self.name} has no question {id!r}{did_you_mean(id, list(self._entries)[:1000])}"
            )
        entry = self._entries[id]
        return Task(id, split=entry.split, data=cast(Mapping[str, Any], entry.question))

    def corpus(self, id: str) -> Passages | None:
        """All passages of these files; None where they hold none.

        Raises:
            TaskError: No such task.
        """
        self.task(id)
        return self._corpus


def _drawn_split(id: str) -> str:
    tenth = hashlib.blake2b(id.encode(), digest_size=8).digest()[0] * 10 // 256
    return SPLITS[max(0, tenth - 7)]


def open_files(
    name: str, path: str, read: Callable[[Row, Shelf], Entry | None], *, passages: bool = True
) -> FileQuestions:
    """The set that rows make.

    Args:
        name: Of the set.
        path: A file, or a folder of files.
        read: A row's question; None for one to leave out. Puts its passages on the shelf.
        passages: Whether rows hold passages.

    Raises:
        TaskError: A file is missing or damaged, or a row wrong.
    """
    shelf = Shelf()
    read_all = (read(row, shelf) for row in read_files(path))
    entries = [each for each in read_all if each is not None]
    return FileQuestions(name, entries, shelf if passages else None)
