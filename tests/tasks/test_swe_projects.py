"""The shipped libraries: every issue is real, every solution solves it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentgym.errors import TaskError
from agentgym.tasks import swe_projects
from agentgym.tasks.swe import from_row, to_row
from agentgym.tasks.swe_logs import PARSERS
from agentgym.tasks.swe_source import PYTEST

TASKS = {task.id: task for task in swe_projects.suite()}


def apply(patch: str, folder: Path) -> None:
    done = subprocess.run(
        ["git", "apply", "-"], input=patch, text=True, cwd=folder, capture_output=True
    )
    assert done.returncode == 0, done.stderr


def run_tests(task, folder: Path) -> dict[str, str]:
    """The tests as graders run them, in a folder of this machine."""
    command = [sys.executable, *PYTEST.split()[1:], *task.tests]
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )
    return PARSERS["pytest"](done.stdout)


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]


@pytest.fixture
def checkout(task, tmp_path):
    """The library with its bug, and the tests that the policy does not see."""
    files = swe_projects.project(task.repo).files
    for path, content in {**files, **{p: c.encode() for p, c in task.hidden.items()}}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    apply(task.bug, tmp_path)
    return tmp_path


def test_the_issue_is_real_and_its_solution_solves_it(task, checkout):
    before = run_tests(task, checkout)
    apply(task.gold, checkout)
    after = run_tests(task, checkout)

    assert {test for test, what in before.items() if what != "passed"} == set(task.fail_to_pass)
    assert {test for test, what in before.items() if what == "passed"} == set(task.pass_to_pass)
    assert set(after) == {*task.fail_to_pass, *task.pass_to_pass}
    assert set(after.values()) == {"passed"}


def test_hidden_tests_are_not_in_the_library(task):
    assert not set(task.hidden) & set(swe_projects.project(task.repo).files)
    assert {test.partition("::")[0] for test in task.fail_to_pass} == set(task.hidden)


def test_the_library_s_own_tests_do_not_tell_the_bug(task):
    own = [test for test in task.pass_to_pass if test.partition("::")[0] not in task.hidden]

    assert len(own) > 15


def test_the_issue_names_neither_tests_nor_files(task):
    assert "test_" not in task.problem
    assert ".py" not in task.problem
    assert task.problem.startswith("# ")


def test_a_task_survives_being_written(task):
    assert from_row(to_row(task)) == task


def test_there_are_sixteen_tasks_in_three_splits():
    splits = [task.split for task in TASKS.values()]

    assert [splits.count(split) for split in ("train", "dev", "test")] == [8, 4, 4]


def test_no_library_is_in_two_splits():
    libraries = [name for names in swe_projects.SPLITS.values() for name in names]

    assert len(libraries) == len(set(libraries))
    assert set(libraries) == {task.repo for task in swe_projects.suite()}


def test_a_split_that_is_not_there():
    with pytest.raises(TaskError, match="there is train, dev, test"):
        swe_projects.suite("valid")
