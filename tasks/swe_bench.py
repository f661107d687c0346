"""SWE-bench up to version 4, Lite and Verified: rows of the datasets, in their published images.

A row does not say how its tests are run: `SPECS` does, for the repositories of its test and dev
splits, as the official harness has it. What differs from there: nothing is installed again before
the tests, since a box has no network, except where the image holds a copy of the package instead
of a link to it. Where a fix changes what has to be compiled, its tests see the old build.

None of these commands was run in the published images. Those of pytest, sqlfluff and pylint's
parser were run on one issue each, in images made by hand.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentgym.errors import TaskError, did_you_mean
from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_patches import files_of
from agentgym.tasks.swe_rows import read_names, read_text

WORKDIR = "/testbed"
ACTIVATE = ". /opt/miniconda3/bin/activate && conda activate testbed"
"""What every image of SWE-bench and its kin needs first."""


@dataclass(frozen=True, slots=True)
class Spec:
    """How a repository's tests are run."""

    command: str
    parser: str = "pytest"
    before: str = ""
    """Shell commands before it."""


_PYTEST = Spec("pytest -rA {tests}")
_OPTIONS = Spec("pytest -rA {tests}", "pytest_options")

SPECS: Mapping[str, Spec] = {
    "astropy/astropy": _PYTEST,
    "django/django": Spec(
        "./tests/runtests.py --verbosity 2 --settings=test_sqlite --parallel 1 {tests}", "django"
    ),
    "matplotlib/matplotlib": Spec("pytest -rA {tests}", "pytest_matplotlib"),
    "mwaskom/seaborn": Spec("pytest --no-header -rA {tests}"),
    "pallets/flask": _PYTEST,
    "psf/requests": _OPTIONS,
    "pydata/xarray": _PYTEST,
    "pylint-dev/pylint": _OPTIONS,
    "pytest-dev/pytest": _PYTEST,
    "scikit-learn/scikit-learn": _PYTEST,
    "sphinx-doc/sphinx": Spec("tox --current-env -epy39 -v -- {tests}"),
    "sympy/sympy": Spec(
        "PYTHONWARNINGS='ignore::UserWarning,ignore::SyntaxWarning' bin/test -C --verbose {tests}",
        "sympy",
    ),
    # The dev split.
    "marshmallow-code/marshmallow": _PYTEST,
    "pvlib/pvlib-python": _PYTEST,
    "pydicom/pydicom": _OPTIONS,
    "pylint-dev/astroid": _PYTEST,  # codespell:ignore astroid
    "pyvista/pyvista": _PYTEST,
    "sqlfluff/sqlfluff": _PYTEST,
}
"""Of all versions but those that `find_spec` knows better."""

_REINSTALL = "python setup.py install > /dev/null 2>&1"
_UTF8 = "export LANG=en_US.UTF-8 LANGUAGE=en_US:en LC_ALL=en_US.UTF-8 PYTHONIOENCODING=utf8"
_LOCALE = "sed -i '/en_US.UTF-8/s/^# //g' /etc/locale.gen && locale-gen > /dev/null"
_NO_TESTS = (
    *(".json", ".png", "csv", ".txt", ".md", ".jpg", ".jpeg", ".pkl", ".yml", ".yaml", ".toml"),
)
"""How names of files end that a test command is not given, as the harness has it."""


def find_spec(repo: str, version: str) -> Spec:
    """How the tests of a version are run.

    Raises:
        TaskError: Nothing is known of the repository.
    """
    spec = SPECS.get(repo)
    if spec is None:
        raise TaskError(
            f"'repo' is {repo!r}: no test command is known for it{did_you_mean(repo, SPECS)}; give "
            "its tasks in the agentgym format, with a test_command"
        )
    number = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if repo == "django/django" and number < (3, 3):
        command = spec.command
        if number == (1, 9):
            command = "./tests/runtests.py --verbosity 2 {tests}"
        before = f"{_LOCALE}; {_UTF8}" if number >= (3,) else f"{_REINSTALL}; {_UTF8}"
        return Spec(command, spec.parser, _REINSTALL if number < (1, 7) else before)
    if repo == "matplotlib/matplotlib" and number < (3,):
        return Spec(spec.command, spec.parser, f"python setup.py build > /dev/null; {_REINSTALL}")
    if repo == "astropy/astropy" and number < (3,):
        return Spec(
            "pytest -rA -vv -o console_output_style=classic --tb=no -p no:nose {tests}", spec.parser
        )
    return spec


def shell(spec: Spec) -> str:
    """The test command of a spec, in the environment that the images have for it."""
    return "; ".join(each for each in (ACTIVATE, spec.before, spec.command) if each)


def tested(test_patch: str, repo: str) -> tuple[str, ...]:
    """What a test command is given: the files of a test patch, for Django as modules."""
    files = [each for each in files_of(test_patch, gone=False) if not each.endswith(_NO_TESTS)]
    if repo != "django/django":
        return tuple(files)
    return tuple(
        each.removesuffix(".py").removeprefix("tests/").replace("/", ".")
        for each in filter(_is_django_test, files)
    )


def _is_django_test(path: str) -> bool:
    name = posixpath.basename(path)
    return name == "tests.py" or name.startswith("test_") or "/tests/" in path or "/test_" in path


def image_name(instance_id: str) -> str:
    """The published image of an instance; ids are written without two underscores in a row."""
    name = instance_id.replace("__", "_1776_").lower()
    return f"docker.io/swebench/sweb.eval.x86_64.{name}:latest"


def read(row: Mapping[str, Any]) -> SWETask:
    """The task of a row.

    Raises:
        TaskError: Something is missing in it, or its repository is none of SWE-bench's.
    """
    id, repo = read_text(row, "instance_id"), read_text(row, "repo")
    spec = find_spec(repo, read_text(row, "version"))
    return made(row, id=id, repo=repo, image=image_name(id), spec=spec, source="swe_bench")


def made(
    row: Mapping[str, Any], *, id: str, repo: str, image: str, spec: Spec, source: str
) -> SWETask:
    """A task of what all rows of SWE-bench's kind have."""
    test_patch = read_text(row, "test_patch")
    tests = tested(test_patch, repo) if "{tests}" in spec.command else ()
    return SWETask(
        id=id,
        repo=repo,
        problem=read_text(row, "problem_statement"),
        image=image,
        workdir=WORKDIR,
        test_command=shell(spec),
        tests=tests,
        parser=spec.parser,
        fail_to_pass=read_names(row, "FAIL_TO_PASS"),
        pass_to_pass=read_names(row, "PASS_TO_PASS"),
        gold=read_text(row, "patch", ""),
        test_patch=test_patch,
        hints=read_text(row, "hints_text", ""),
        split=read_text(row, "split", "test"),
        source=source,
        row=row,
    )
