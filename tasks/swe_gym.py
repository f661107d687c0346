"""SWE-Gym: SWE-bench's rows for other repositories, in images of their own.

NeMo-Gym's copies of the rows hold a `test_script`, which is then run as it is, but for the files it
names. For others `SPECS` says how tests are run, as SWE-Gym's fork of the harness has it. As in
`agentgym.tasks.swe_bench`, nothing is installed again. None of the commands was run in an image.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentgym.errors import TaskError, did_you_mean
from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_bench import Spec, made, tested
from agentgym.tasks.swe_rows import read_names, read_text

_ONE_WORKER = Spec("pytest -n0 -rA {tests}")
_PDM = 'export PATH="$HOME/.local/bin:$PATH"'

SPECS: Mapping[str, Spec] = {
    "Project-MONAI/MONAI": Spec("pytest -rA {tests}"),
    "bokeh/bokeh": Spec("pytest -rA -n0 {tests}"),
    "conan-io/conan": Spec(
        "pytest -n0 -rA {tests}", before='export PYTHONPATH="${PYTHONPATH:-}:$PWD"'
    ),
    "dask/dask": Spec("pytest -n0 -rA --color=no {tests}"),
    "facebookresearch/hydra": Spec("pytest -rA --tb=long {tests}"),
    "getmoto/moto": _ONE_WORKER,
    "iterative/dvc": Spec("pytest -rA {tests}"),
    "modin-project/modin": _ONE_WORKER,
    "pandas-dev/pandas": Spec("pytest -rA --tb=long {tests}"),
    "pydantic/pydantic": Spec(
        "pdm run coverage run -m pytest -rA --tb=short --no-header {tests}", before=_PDM
    ),
    "python/mypy": Spec("pytest -n0 -rA -k {names}"),
}

_SHEBANG = re.compile(r"#!.*\n")


def image_name(instance_id: str) -> str:
    """The published image of an instance; ids are written without two underscores in a row."""
    name = instance_id.replace("__", "_s_").lower()
    return f"docker.io/xingyaoww/sweb.eval.x86_64.{name}:latest"


def read(row: Mapping[str, Any]) -> SWETask:
    """The task of a row.

    Raises:
        TaskError: Something is missing in it, or its repository is none of SWE-Gym's.
    """
    id, repo = read_text(row, "instance_id"), read_text(row, "repo")
    script = _SHEBANG.sub("", read_text(row, "test_script", ""), count=1).strip()
    spec = SPECS.get(repo)
    if spec is None and not script:
        raise TaskError(
            f"'repo' is {repo!r}: it is none of SWE-Gym's{did_you_mean(repo, SPECS)}; give a "
            "'test_script', or the format that the row is of"
        )
    task = made(
        row,
        id=id,
        repo=repo,
        image=image_name(id),
        spec=spec or Spec("{tests}"),
        source="swe_gym",
    )
    if script:
        files = tested(task.test_patch, repo)
        command = _with_tests(script, files)
        return replace(task, test_command=command, tests=files if "{tests}" in command else ())
    wanted = [*read_names(row, "FAIL_TO_PASS"), *read_names(row, "PASS_TO_PASS")]
    names = " or ".join(sorted({name.rpartition("::")[2] for name in wanted}))
    return replace(task, test_command=task.test_command.replace("{names}", shlex.quote(names)))


def _with_tests(script: str, files: tuple[str, ...]) -> str:
    """A script with `{tests}` for the files that its last line ends with, if it does."""
    listed = " " + " ".join(files)
    return script.removesuffix(listed) + " {tests}" if script.endswith(listed) else script
