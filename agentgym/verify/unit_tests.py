"""The results of a test run, test by test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from agentgym.errors import ConfigError
from agentgym.types import Outcome, Task
from agentgym.verify.base import Kind, judged, unavailable

_PASSED = frozenset({"passed", "pass"})
_EXPECTED = _PASSED | {"xfail", "xfailed"}
_SKIPPED = _EXPECTED | {"skipped", "skip"}


@dataclass(frozen=True, slots=True)
class UnitTests:
    """1 where all that failed before passes now, and all that passed still does.

    `task.data["FAIL_TO_PASS"]` and `["PASS_TO_PASS"]` hold test ids; `evidence["tests"]` maps ids
    to a status (pytest's words in any case) or to whether they passed. A test without a result has
    failed, so a run that was made to end early, collected nothing or lost its tests fails. Without
    `evidence["tests"]` there is no outcome: the tests were never run.

    `parts`: the share of each list that passes (`pass_to_pass` is 1 where that list is empty).
    """

    kind: ClassVar[Kind] = Kind.TESTS
    as_swebench: bool = False
    """Whether expected failures count as passed, and in `PASS_TO_PASS` skipped tests too, as
    SWE-bench has it; a patch can then mark what it breaks."""

    def __call__(self, task: Task, evidence: Mapping[str, Any], /) -> Outcome:
        """Look the tests of `task.data` up in `evidence["tests"]`."""
        fixed = _ids(task, "FAIL_TO_PASS")
        kept = _ids(task, "PASS_TO_PASS") if "PASS_TO_PASS" in task.data else []
        if not fixed:
            raise ConfigError(f"task {task.id!r} has no tests in data['FAIL_TO_PASS']")
        results = evidence.get("tests")
        if results is None:
            return unavailable("tests")
        if not isinstance(results, Mapping):
            return judged(False, "unreadable", fail_to_pass=0.0, pass_to_pass=0.0)
        mended = _share(results, fixed, _EXPECTED if self.as_swebench else _PASSED)
        unbroken = _share(results, kept, _SKIPPED if self.as_swebench else _PASSED)
        passed = mended == unbroken == 1.0
        label = "passed" if passed else "failed" if results else "no_tests"
        return judged(passed, label, fail_to_pass=mended, pass_to_pass=unbroken)


def _ids(task: Task, name: str) -> Sequence[str]:
    found = task.data.get(name, ())
    if not isinstance(found, list | tuple) or not all(isinstance(test, str) for test in found):
        raise ConfigError(f"data[{name!r}] of task {task.id!r} must be a list of test ids")
    return found


def _share(results: Mapping[Any, Any], tests: Sequence[str], good: frozenset[str]) -> float:
    """The share of `tests` whose result is one of `good`; 1 of none."""
    return sum(_is(results.get(test), good) for test in tests) / len(tests) if tests else 1.0


def _is(status: object, good: frozenset[str]) -> bool:
    return status is True or (isinstance(status, str) and status.lower() in good)
