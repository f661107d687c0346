"""Software-engineering tasks: one form for the rows of every benchmark.

A `SWETask` says what the policy reads, where it works, and how its work is graded. Each format has
a loader in a module of its own (`FORMATS`), which turns a published row into a task and keeps the
row. What grades a task (`gold`, `hidden`, `test_patch`, the names of tests) never enters the box
that the policy works in.
"""

from __future__ import annotations

import importlib
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from os import PathLike, fspath
from typing import Any, Literal

from agentgym.errors import ConfigError, TaskError, did_you_mean
from agentgym.sandbox import Image
from agentgym.tasks.swe_logs import PARSERS
from agentgym.tasks.swe_rows import read_mapping, read_names, read_number, read_rows, read_text

TESTS_TIMEOUT_S = 1800.0

FORMATS: dict[str, str] = {
    "agentgym": "agentgym.tasks.swe:from_row",
    "swe_nemo": "agentgym.tasks.swe_nemo:read",
    "swe_bench": "agentgym.tasks.swe_bench:read",
    "swe_gym": "agentgym.tasks.swe_gym:read",
    "swe_smith": "agentgym.tasks.swe_smith:read",
}
"""A format's name to the `module:function` that makes a task of a row, or raises TaskError."""
SIGNS: dict[str, tuple[str, ...]] = {
    "agentgym": ("id", "problem", "image", "workdir", "test_command"),
    "swe_nemo": ("responses_create_params",),
    "swe_bench": ("instance_id", "repo", "test_patch", "environment_setup_commit"),
    "swe_gym": ("instance_id", "repo", "test_patch"),
    "swe_smith": ("instance_id", "repo", "FAIL_TO_PASS", "PASS_TO_PASS"),
}
"""Keys by which a row's format is known, the first that fits; others have to be named."""
SUITES: dict[str, str] = {"projects": "agentgym.tasks.swe_projects:suite"}
"""A shipped suite's name to the `module:function` that lists its tasks, given a split (or None)."""


@dataclass(frozen=True, slots=True)
class SWETask:
    """An issue in a repository, and the tests that say whether it is solved."""

    id: str
    repo: str
    problem: str
    """What the policy reads."""
    image: str | Image
    """A published image, by the name that its source gives it, or how to make one."""
    workdir: str
    """The repository in the box, as in `/testbed`."""
    test_command: str
    """Run in `workdir` to grade; `{tests}` stands for the files or ids of the tests to run."""
    tests: tuple[str, ...] = ()
    """What `{tests}` becomes: files of tests."""
    parser: str = "pytest"
    """Reads what the test command prints: a name in `agentgym.tasks.swe_logs.PARSERS`."""
    fail_to_pass: tuple[str, ...] = ()
    """Tests that fail before and must pass after."""
    pass_to_pass: tuple[str, ...] = ()
    """Tests that pass before and must still pass."""
    gold: str = ""
    """A patch that solves it: a unified diff, from the root of the repository."""
    bug: str = ""
    """A patch that is applied first: what made the issue, where the image is without it."""
    test_patch: str = ""
    """Applied before grading: tests that the policy must not see."""
    hidden: Mapping[str, str] = field(default_factory=dict)
    """Files written before grading, path in the repository to content."""
    removed: tuple[str, ...] = ()
    """Files of the repository that the policy does not get; they are back for grading."""
    protected: tuple[str, ...] = ()
    """Files whose changes by the policy do not count, beside those that `test_patch`, `hidden` and
    `removed` name."""
    setup: tuple[str, ...] = ()
    """Commands run once in the image, before the first turn."""
    evaluation: Literal["tests", "reward_file"] = "tests"
    """Whether named tests are read from the output, or a file that the test command writes."""
    reward_file: str = ""
    hints: str = ""
    split: str = "test"
    source: str = ""
    """The format it came in."""
    tests_timeout_s: float = TESTS_TIMEOUT_S
    flaky: tuple[str, ...] = ()
    """Tests that did not always do the same; they do not count."""
    row: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """As published."""

    def __post_init__(self) -> None:
        for name in ("id", "workdir", "test_command"):
            if not getattr(self, name).strip():
                raise TaskError(f"task {self.id!r}: {name} is empty")
        if self.evaluation == "tests" and not self.fail_to_pass:
            raise TaskError(f"task {self.id!r}: fail_to_pass is empty, so nothing could solve it")
        if self.evaluation == "tests" and self.parser not in PARSERS:
            raise TaskError(
                f"task {self.id!r}: parser is {self.parser!r}: there is {', '.join(PARSERS)}"
                f"{did_you_mean(self.parser, PARSERS)}"
            )
        for path in (*self.hidden, *self.removed, *self.protected):
            if path.startswith("/") or ".." in path.split("/"):
                raise TaskError(f"task {self.id!r}: {path!r} is not in the repository")


def load(
    source: str | PathLike[str],
    *,
    format: str | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> list[SWETask]:
    """The tasks of a file, a suite or a dataset.

    Args:
        source: A `.jsonl`, `.json` or `.parquet` file of rows; the name of a suite; a dataset of
            the Hugging Face hub as `org/name`, or `hub:` and whatever `datasets` loads.
        format: One of `FORMATS`; told from the first row's keys if None.
        split: The rows of this split alone; all if None, and of a dataset the split `test`.
        limit: At most so many.

    Raises:
        ConfigError: There is no such source or format, or no row of the split.
        TaskError: A row cannot be read; says which, and what to give.
        RegistryError: `datasets` or `pyarrow` is needed and not installed.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(
            f"format is {format!r}: give one of {', '.join(FORMATS)}{did_you_mean(format, FORMATS)}"
        )
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit!r}: give at least 1, or None for all")
    name = fspath(source)
    if name in SUITES:
        tasks: Iterable[SWETask] = _call(SUITES[name], split)
    else:
        tasks = _tasks(read_rows(name, split, SUITES), name, format, split)
    listed = list(islice(tasks, limit))
    if not listed:
        raise ConfigError(f"{name!r} has no tasks" + (f" of split {split!r}" if split else ""))
    for id, count in Counter(task.id for task in listed).items():
        if count > 1:
            raise TaskError(f"{name!r} has {count} tasks with the id {id!r}: give each one its own")
    return listed


def _call(path: str, argument: Any) -> Any:
    module, _, function = path.partition(":")
    return getattr(importlib.import_module(module), function)(argument)


def _tasks(
    rows: Iterable[tuple[int, Any]], name: str, format: str | None, split: str | None
) -> Iterator[SWETask]:
    for number, row in rows:
        try:
            if not isinstance(row, Mapping):
                raise TaskError(f"is {type(row).__name__}: give an object with keys")
            format = format or recognise(row)
            task: SWETask = _call(FORMATS[format], row)
        except TaskError as error:
            told = f" as {format}" if format else ""
            raise TaskError(f"{name!r}, row {number}{told}: {error}") from error
        if split in (None, task.split):
            yield task


def recognise(row: Mapping[str, Any]) -> str:
    """The format of a row, by its keys.

    Raises:
        TaskError: It is of none; says what it lacks for the one that is closest.
    """
    lacks = {name: [key for key in keys if key not in row] for name, keys in SIGNS.items()}
    for name, lacking in lacks.items():
        if not lacking:
            return name
    closest = min(lacks, key=lambda name: len(lacks[name]) / len(SIGNS[name]))
    raise TaskError(
        f"is of no known format ({', '.join(FORMATS)}); the closest is {closest}, for which it "
        f"lacks {', '.join(map(repr, lacks[closest]))}; give them, or name the format"
    )


# --------------------------------------------------------------------------------- our own format


def to_row(task: SWETask) -> dict[str, Any]:
    """A task as JSON: its fields, without those that are as when nothing is said."""
    row: dict[str, Any] = {}
    for each in fields(task):
        value = getattr(task, each.name)
        if isinstance(value, Image):
            value = _image_to_row(value)
        elif isinstance(value, tuple):
            value = list(value)
        if value or each.name in _REQUIRED:
            row[each.name] = value
    return {name: value for name, value in row.items() if value != _DEFAULTS.get(name)}


def from_row(row: Mapping[str, Any]) -> SWETask:
    """The task of a row that `to_row` made, or that was written by hand.

    Raises:
        TaskError: A key is missing or unknown, or what it holds is of the wrong kind.
    """
    known = [each.name for each in fields(SWETask)]
    for name in row:
        if name not in known:
            raise TaskError(f"has {name!r}, which is no field of a task{did_you_mean(name, known)}")
    values: dict[str, Any] = {"source": "agentgym"}
    for name in known:
        if name not in row and name not in _REQUIRED:
            continue
        if name in _LISTS:
            values[name] = read_names(row, name)
        elif name == "image" and isinstance(row.get(name), Mapping):
            values[name] = _image_from_row(row[name])
        elif name in ("hidden", "row"):
            values[name] = read_mapping(row, name, str if name == "hidden" else object)
        elif name == "tests_timeout_s":
            values[name] = read_number(row, name)
        else:
            values[name] = read_text(row, name)
    if values.get("evaluation", "tests") not in ("tests", "reward_file"):
        raise TaskError(f"'evaluation' is {values['evaluation']!r}: give 'tests' or 'reward_file'")
    if values.get("evaluation") == "reward_file" and not values.get("reward_file"):
        raise TaskError("has no 'reward_file': name the file that its test command writes")
    return SWETask(**values)


_REQUIRED = ("id", "repo", "problem", "image", "workdir", "test_command")
_LISTS = ("tests", "fail_to_pass", "pass_to_pass", "removed", "protected", "setup", "flaky")
_DEFAULTS = {each.name: each.default for each in fields(SWETask) if each.name not in _REQUIRED}


def _image_to_row(image: Image) -> dict[str, Any]:
    files = {
        path: {"base64": b64encode(content).decode()} if isinstance(content, bytes) else content
        for path, content in image.files.items()
    }
    return {
        "base": image.base,
        "files": files,
        "commands": list(image.commands),
        "workdir": image.workdir,
    }


def _image_from_row(row: Mapping[str, Any]) -> Image:
    files: dict[str, bytes | str] = {}
    for path, content in read_mapping(row, "files", object).items():
        try:
            files[path] = content if isinstance(content, str) else b64decode(content["base64"])
        except (KeyError, TypeError, ValueError) as error:
            raise TaskError(
                f"'image' has a file {path!r} that is neither text nor {{'base64': TEXT}}"
            ) from error
    return Image(
        base=read_text(row, "base"),
        files=files,
        commands=read_names(row, "commands", ()),
        workdir=read_text(row, "workdir", "/"),
    )
