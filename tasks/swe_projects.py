"""Sixteen issues in four small libraries of our own: tasks that need no network and no download.

A library is a folder in `projects`, with its tests. Issue N of it is three files of `issues`:
`N.md`, what the policy reads; `N.patch`, the bug; and `test_N.py`, tests that the policy does not
see and that fail with the bug. The library's own tests pass with and without. What each test does
is written down in `projects/tests.json`; `python -m agentgym.tasks.swe_projects` writes it anew.

The libraries, their issues and tests were written for agentgym and are under its licence. Splits
are by library, so that nobody is tested on code that was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType

from agentgym.errors import SandboxError, TaskError
from agentgym.sandbox import Image, Sandbox, open_sandbox
from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_make import run_tests
from agentgym.tasks.swe_patches import reverse
from agentgym.tasks.swe_source import WORKDIR, Project, make_project, read_folder

SPLITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"train": ("almanac", "larder"), "dev": ("gridline",), "test": ("quill",)}
)
"""Libraries by split."""
FOLDER = Path(__file__).with_name("projects")
RECORD = FOLDER / "tests.json"
TESTS_TIMEOUT_S = 120.0
_NEW: Mapping[str, Sequence[str]] = MappingProxyType({"fail_to_pass": ("not recorded yet",)})


def suite(split: str | None = None) -> list[SWETask]:
    """The tasks of a split, or all.

    Raises:
        TaskError: No such split.
    """
    if split is not None and split not in SPLITS:
        raise TaskError(f"no split {split!r}: there is {', '.join(SPLITS)}")
    record = json.loads(RECORD.read_text())
    return [
        _task(name, number, each, record.get(f"{name}-{number}", _NEW))
        for each in ([split] if split else SPLITS)
        for name in SPLITS[each]
        for number in issues(name)
    ]


def issues(name: str) -> list[int]:
    """The numbers of a library's issues."""
    return sorted(int(path.stem) for path in (FOLDER / name / "issues").glob("*.md"))


@cache
def project(name: str) -> Project:
    """A library, with nothing broken and without its issues."""
    files = read_folder(FOLDER / name)
    kept = {path: content for path, content in files.items() if not path.startswith("issues/")}
    return make_project(name, "", kept)


@cache
def _image(name: str) -> Image:
    return project(name).image


def _task(name: str, number: int, split: str, tests: Mapping[str, Sequence[str]]) -> SWETask:
    folder = FOLDER / name / "issues"
    bug = (folder / f"{number}.patch").read_text()
    hidden = f"tests/test_issue_{number}.py"
    return SWETask(
        id=f"projects:{name}-{number}",
        repo=name,
        problem=(folder / f"{number}.md").read_text(),
        image=_image(name),
        workdir=WORKDIR,
        test_command=project(name).test_command,
        tests=(*project(name).test_paths, hidden),
        fail_to_pass=tuple(tests.get("fail_to_pass", ())),
        pass_to_pass=tuple(tests.get("pass_to_pass", ())),
        gold=reverse(bug),
        bug=bug,
        hidden={hidden: (folder / f"test_{number}.py").read_text()},
        split=split,
        source="projects",
        tests_timeout_s=TESTS_TIMEOUT_S,
    )


def record(open_box: Callable[[Image], Sandbox]) -> dict[str, dict[str, list[str]]]:
    """Which tests fail with each bug, and which pass with it, by issue.

    Raises:
        TaskError: A test fails without the bug, one of the library's own fails with it, or none
            does.
        SandboxError: A box died, or cannot apply patches.
    """
    found = {}
    for task in suite():
        name = task.id.removeprefix("projects:")
        box = open_box(_image(task.repo))
        try:
            found[name] = _record(task, box)
        finally:
            box.close()
    return found


def _record(task: SWETask, box: Sandbox) -> dict[str, list[str]]:
    for path, content in task.hidden.items():
        box.write(f"{WORKDIR}/{path}", content)
    good, done = run_tests(box, task.test_command, task.tests, timeout_s=TESTS_TIMEOUT_S)
    if not good or set(good.values()) != {"passed"}:
        raise TaskError(f"{task.id}: tests fail without the bug: {done.output[-2000:]}")
    box.write("/tmp/bug.patch", task.bug)
    applied = box.run("git apply /tmp/bug.patch", cwd=WORKDIR)
    if applied.code:
        raise SandboxError(f"{task.id}: the bug cannot be applied: {applied.output}")
    bad, done = run_tests(box, task.test_command, task.tests, timeout_s=TESTS_TIMEOUT_S)
    failing = sorted(test for test in good if bad.get(test) != "passed")
    plain = [test for test in failing if test.partition("::")[0] not in task.hidden]
    if plain or not failing or bad.keys() != good.keys():
        raise TaskError(f"{task.id}: with the bug, {failing or 'no test'} fails")
    return {"fail_to_pass": failing, "pass_to_pass": sorted(good.keys() - set(failing))}


if __name__ == "__main__":
    RECORD.write_text(json.dumps(record(open_sandbox), indent=1) + "\n")
