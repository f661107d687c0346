"""What a verifier is, and which there are by name.

A verifier is a pure function `(task, evidence) -> Outcome`: what was asked, with the references in
`task.data`, and what came of it, JSON that is kept with the episode. The same two give the same
outcome at any time, so recorded episodes can be judged again.

What stands in `evidence` comes from the model: nothing in it raises, and nothing of it is ever
evaluated. What stands in `task` comes from whoever wrote the task: a task that cannot be judged is
a `ConfigError`.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from agentgym.errors import ConfigError, did_you_mean
from agentgym.types import Outcome, Task


class Kind(StrEnum):
    """What a verifier reads; decides which attacks it is tried with."""

    TEXT = "text"
    """`task.data["answers"]`: texts, any of which is right; `evidence["answer"]`: text."""
    NUMBER = "number"
    """The same, where answers are numbers, perhaps with units; `task.data["unit"]`, if given, is
    what a bare number is taken to be in."""
    JSON = "json"
    """`task.data["expected"]`: a JSON value; `evidence["answer"]`: JSON text, or
    `evidence["value"]`: the value."""
    TESTS = "tests"
    """`task.data["FAIL_TO_PASS"]` and `["PASS_TO_PASS"]`: test ids; `evidence["tests"]`: test id to
    its status."""
    STATE = "state"
    """`task.data["expected"]`: fact to value; `evidence["facts"]`: the facts of the final state."""


class Verifier(Protocol):
    """Anything that judges; two attributes are optional.

    `kind` is a `Kind`. `graded` is the most that a wrong answer of the corpus may score, in [0, 1):
    whoever pays partial credit declares there how much of it an attack can get. Without it, wrong
    answers score 0.
    """

    def __call__(self, task: Task, evidence: Mapping[str, Any], /) -> Outcome:
        """Say whether `evidence` shows that `task` was done.

        Raises:
            ConfigError: The task itself cannot be judged.
        """
        ...


_registered: dict[str, Verifier] = {}


def register(name: str, verifier: Verifier) -> None:
    """Make a verifier known by name; registering it again replaces it.

    Raises:
        ConfigError: The name has a colon, or nothing else.
    """
    if not name or ":" in name:
        raise ConfigError(f"verifier name {name!r}: give one without a colon")
    _registered[name] = verifier


def verifiers() -> dict[str, Verifier]:
    """Every verifier that has a name, in the order they were registered."""
    return dict(_registered)


def find_verifier(spec: str) -> Verifier:
    """The verifier that `spec` names: a registered name, or `module:attribute`.

    A class is called without arguments. Modules of the working folder can be imported too.

    Raises:
        ConfigError: There is no such verifier.
    """
    module_name, colon, attribute = spec.partition(":")
    if not colon:
        if spec not in _registered:
            raise ConfigError(
                f"no verifier {spec!r}{did_you_mean(spec, _registered)}: give one of "
                f"{', '.join(_registered)}, or module:attribute"
            )
        return _registered[spec]
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module_name)
        for name in attribute.split("."):
            found = getattr(found, name)
        if inspect.isclass(found):
            found = found()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"no verifier {spec!r}: {error}") from error
    if not callable(found):
        raise ConfigError(f"verifier {spec!r} is {found!r:.80}: it must be callable")
    verifier: Verifier = found
    return verifier


def kind_of(verifier: Verifier) -> Kind | None:
    """What a verifier says it reads, if it does."""
    told = getattr(verifier, "kind", None)
    return Kind(told) if told in list(Kind) else None


def graded_of(verifier: Verifier) -> float:
    """The most that a verifier says it gives to an attack; 0 where it says nothing.

    Raises:
        ConfigError: It is not in [0, 1).
    """
    told = getattr(verifier, "graded", 0.0)
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told < 1:
        raise ConfigError(
            f"verifier {verifier!r:.80} has graded = {told!r:.80}: give the most that an attack "
            "may score, at least 0 and less than 1"
        )
    return float(told)


def judged(passed: bool, label: str = "", /, **parts: float) -> Outcome:
    """The outcome of a verifier that gives all or nothing."""
    label = label or ("correct" if passed else "wrong")
    return Outcome(float(passed), passed, label, parts)


def unavailable(what: str) -> Outcome:
    """The outcome where what was to be judged never came to be: masked, not a score of 0."""
    return Outcome(0.0, False, f"no_{what}", available=False)


def references(task: Task) -> list[Any]:
    """What `task.data["answers"]` accepts: one answer, or a list of them.

    Raises:
        ConfigError: There is none.
    """
    found = task.data.get("answers")
    listed = list(found) if isinstance(found, list | tuple) else [] if found is None else [found]
    if not listed:
        raise ConfigError(f"task {task.id!r} has no answers: give data['answers'] at least one")
    return listed
