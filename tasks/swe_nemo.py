"""NeMo-Gym's wrapping of SWE-bench Verified, SWE-Gym and DeepSWE rows.

What NeMo-Gym puts around a row (`responses_create_params` and the like) is kept and not used, but
for DeepSWE, where the prompt is all there is. For SWE-Gym that prompt asks for an answer in one
piece, so the problem statement is taken instead.

A DeepSWE row says neither where the repository is nor how it is tested: by its task format (Harbor)
that is `/app`, and `/tests/test.sh`, which writes a reward. The scripts are not in the row: grading
needs the task's `tests` folder at `/tests` of the grader's box. Scripts of version 1.1 leave
the reward in a `reward.json` beside `REWARD_FILE`, it seems. None of this was run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentgym.errors import TaskError
from agentgym.tasks import swe_bench, swe_gym
from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_rows import read_text

DEEPSWE_WORKDIR = "/app"
REWARD_FILE = "/logs/verifier/reward.txt"


def read(row: Mapping[str, Any]) -> SWETask:
    """The task of a row.

    Raises:
        TaskError: Something is missing in it.
    """
    if "instance" in row:
        instance = row["instance"]
        if not isinstance(instance, Mapping):
            raise TaskError(f"'instance' is {type(instance).__name__}: give the wrapped row")
        split = read_text(row, "dataset_split", "test")
        return replace(_read(instance), split=split, source="swe_nemo", row=row)
    if "instance_id" in row:
        return replace(_read(row), source="swe_nemo", row=row)
    return _read_deepswe(row)


def _read(row: Mapping[str, Any]) -> SWETask:
    known = row.get("repo") in swe_bench.SPECS and "test_script" not in row
    return swe_bench.read(row) if known else swe_gym.read(row)


def _read_deepswe(row: Mapping[str, Any]) -> SWETask:
    return SWETask(
        id=read_text(row, "task_id"),
        repo="",
        problem=_prompt(row),
        image=read_text(row, "image"),
        workdir=DEEPSWE_WORKDIR,
        test_command="bash /tests/test.sh",
        evaluation="reward_file",
        reward_file=REWARD_FILE,
        split=read_text(row, "split", "test"),
        source="swe_nemo",
        row=row,
    )


def _prompt(row: Mapping[str, Any]) -> str:
    try:
        said = [each for each in row["responses_create_params"]["input"] if each["role"] == "user"]
        return "\n\n".join(read_text(each, "content") for each in said)
    except (KeyError, TypeError) as error:
        raise TaskError(
            "has no prompt: give 'responses_create_params' with an 'input' of messages, each with "
            "'role' and 'content'"
        ) from error
