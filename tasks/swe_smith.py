"""SWE-smith: bugs put into 128 Python projects, with one image for all tasks of a project.

A row's patch is the bug, so what solves it is its reverse. The image has the project as it was; a
task begins with the bug applied and without the files of the tests that fail, which is what the
branch of its name has upstream. That branch is never fetched, since the branches beside it, and the
commits under it, hold the solution.

The test command is SWE-smith's for most of its projects; a few there have one of their own.
Where upstream grades by the files of failing tests alone, all files that a row names are run here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from agentgym.errors import TaskError
from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_bench import WORKDIR, Spec, shell
from agentgym.tasks.swe_patches import reverse
from agentgym.tasks.swe_rows import read_names, read_text

SPEC = Spec("pytest --disable-warnings --color=no --tb=no --verbose {tests}")
NO_PROBLEM = (
    "Something in this repository does not work as it should: a change broke it, and tests that "
    "passed now fail. Find what is wrong and repair it."
)
"""What is told of a row without a problem statement; naming its tests would tell where to look."""

_REPO = re.compile(r"(?:swesmith/)?(?P<owner>[^/]+?)__(?P<repo>[^/]+)\.(?P<commit>[0-9a-f]{8})")


def image_name(repo: str) -> str:
    """The published image of a mirror such as `swesmith/marshmallow-code__apispec.8b421526`.

    Raises:
        TaskError: It is named otherwise.
    """
    match = _REPO.fullmatch(repo)
    if match is None:
        raise TaskError(
            f"'repo' is {repo!r}: give it as 'swesmith/OWNER__NAME.COMMIT', or an 'image_name'"
        )
    name = f"{match['owner']}_1776_{match['repo']}.{match['commit']}".lower()
    return f"docker.io/swebench/swesmith.x86_64.{name}:latest"


def read(row: Mapping[str, Any]) -> SWETask:
    """The task of a row.

    Raises:
        TaskError: Something is missing in it, or its tests are not pytest's.
    """
    id, repo = read_text(row, "instance_id"), read_text(row, "repo")
    bug = read_text(row, "bug_patch" if "bug_patch" in row else "patch")
    if not bug.endswith("\n"):
        bug += "\n"
    fail_to_pass, pass_to_pass = read_names(row, "FAIL_TO_PASS"), read_names(row, "PASS_TO_PASS")
    failing = _files(fail_to_pass)
    image = read_text(row, "image_name", "")
    if image and image.partition("/")[0] not in ("docker.io", "ghcr.io", "quay.io"):
        image = f"docker.io/{image}"
    return SWETask(
        id=id,
        repo=repo,
        problem=read_text(row, "problem_statement", "").strip() or NO_PROBLEM,
        image=image or image_name(repo),
        workdir=WORKDIR,
        test_command=shell(SPEC),
        tests=tuple(dict.fromkeys([*failing, *_files(pass_to_pass)])),
        fail_to_pass=fail_to_pass,
        pass_to_pass=pass_to_pass,
        gold=reverse(bug),
        bug=bug,
        removed=failing,
        split=read_text(row, "split", "train"),
        source="swe_smith",
        row=row,
    )


def _files(names: Iterable[str]) -> tuple[str, ...]:
    files = {name.partition("::")[0] for name in names}
    for file in files:
        if not file.endswith((".py", ".txt", ".rst", ".md")):
            raise TaskError(
                f"a test is in {file!r}: only rows whose tests are pytest's can be read, with ids "
                "as in 'tests/test_a.py::test_b'"
            )
    return tuple(sorted(files))
