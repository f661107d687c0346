"""Rows of tasks: where they are read from, and what is read from them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from agentgym.errors import ConfigError, RegistryError, TaskError, did_you_mean

Rows = Iterator[tuple[int, Any]]

_ON_HUB = re.compile(r"[\w.-]+/[\w.-]+")


def read_rows(name: str, split: str | None, suites: Iterable[str]) -> Rows:
    """Rows with their numbers, from 1 on; of a file of JSON lines, the numbers of its lines.

    Args:
        name: A file, or a dataset of the Hugging Face hub.
        split: Of a dataset; `test` if None. Files are not split.
        suites: What else there is, for the message.

    Raises:
        ConfigError: There is no such file or dataset.
        TaskError: The file is damaged.
        RegistryError: It needs a package that is not installed.
    """
    path = Path(name)
    readers: Mapping[str, Callable[[Path], Rows]] = {
        ".jsonl": _read_lines,
        ".json": _read_json,
        ".parquet": _read_parquet,
    }
    if name.startswith("hub:"):
        return _read_hub(name.removeprefix("hub:"), split or "test")
    if path.is_file() and path.suffix in readers:
        return readers[path.suffix](path)
    if not path.exists() and path.suffix not in readers and _ON_HUB.fullmatch(name):
        return _read_hub(name, split or "test")
    listed = sorted(suites)
    raise ConfigError(
        f"no tasks at {name!r}: give a {', '.join(readers)} file"
        + (f", a suite ({', '.join(listed)})" if listed else "")
        + f", or 'hub:ORG/NAME' for a dataset of the Hugging Face hub{did_you_mean(name, listed)}"
    )


def _read_lines(path: Path) -> Rows:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _parsed(line, f"{str(path)!r}, row {number}")


def _read_json(path: Path) -> Rows:
    rows = _parsed(path.read_bytes(), repr(str(path)))
    yield from enumerate(rows if isinstance(rows, list) else [rows], 1)


def _parsed(text: bytes, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise TaskError(f"{where}: is no JSON ({error}): get the file again") from error


def _read_parquet(path: Path) -> Rows:
    parquet = _optional("pyarrow.parquet", f"reading {str(path)!r}", "pyarrow")
    try:
        rows = parquet.read_table(path).to_pylist()
    except (OSError, ValueError) as error:  # which pyarrow's own errors are
        raise TaskError(f"{str(path)!r} is no parquet file: {error}") from error
    yield from enumerate(rows, 1)


def _read_hub(name: str, split: str) -> Rows:
    datasets = _optional("datasets", f"the dataset {name!r}", "datasets")
    try:
        rows = datasets.load_dataset(name, split=split)
    except (OSError, RuntimeError, ValueError) as error:  # not found, not reached, no such split
        raise ConfigError(f"cannot load split {split!r} of dataset {name!r}: {error}") from error
    for number, row in enumerate(rows, 1):
        yield number, {**row, "split": split}


def _optional(module: str, what: str, package: str) -> Any:
    """A module that is no dependency, or too large a one to import before it is needed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RegistryError(f"{what} needs {package}: pip install {package}") from error


# ------------------------------------------------------------------------------ what is in a row


def read_text(row: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """What is under a key, which must be text; `default` if nothing is, unless it is None.

    Raises:
        TaskError: It is missing, or no text.
    """
    value = row.get(key)
    if value is None:
        value = default
    if value is None:
        raise TaskError(f"has no {key!r}: give text")
    if not isinstance(value, str):
        raise TaskError(f"{key!r} is {value!a:.80}: give text")
    return value


def read_names(
    row: Mapping[str, Any], key: str, default: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """What is under a key, which must be a list of texts, or JSON of one.

    Raises:
        TaskError: It is missing, or something else.
    """
    value = row.get(key)
    if value is None and default is not None:
        return default
    if value is None:
        raise TaskError(f"has no {key!r}: give a list of texts, or JSON of one")
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise TaskError(
                f"{key!r} is {row[key]!a:.80}, which is no JSON ({error}): give a list of texts"
            ) from error
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise TaskError(f"{key!r} is {value!a:.80}: give a list of texts, or JSON of one")
    return tuple(value)


def read_mapping(row: Mapping[str, Any], key: str, kind: type) -> dict[str, Any]:
    """What is under a key, which must be an object whose values are of a kind; empty if nothing is.

    Raises:
        TaskError: It is something else.
    """
    value = row.get(key, {})
    if not isinstance(value, Mapping) or not all(isinstance(each, kind) for each in value.values()):
        what = "texts" if kind is str else "values"
        raise TaskError(f"{key!r} is {value!a:.80}: give an object of names and {what}")
    return dict(value)


def read_number(row: Mapping[str, Any], key: str) -> float:
    """What is under a key, which must be a number above 0.

    Raises:
        TaskError: It is missing, or something else.
    """
    value = row.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise TaskError(f"{key!r} is {value!a:.80}: give a number above 0")
    return float(value)
