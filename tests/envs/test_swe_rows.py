"""Tasks as others publish them and as we make them, from a row to a grade, in real boxes."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from pathlib import Path

import pytest

import agentgym
from agentgym import cli
from agentgym.evaluate import Plan, Run
from agentgym.sandbox import Image, find_backend, open_sandbox
from agentgym.tasks import swe, swe_projects
from agentgym.tasks.swe_make import make_bugs
from agentgym.tasks.swe_source import PYTEST, WORKDIR, read_source

SDIST = "sqlparse==0.5.3"
BUGS = 10
ENVIRONMENT = {
    # as published images have it: a conda environment in which the repository is installed
    "/opt/miniconda3/bin/activate": "conda() { :; }\n",
    "/usr/local/bin/pytest": '#!/bin/sh\nexec python3 -m pytest "$@"\n',
    "/usr/lib/python3/dist-packages/testbed.pth": f"{WORKDIR}\n{WORKDIR}/src\n",
}


@pytest.fixture(scope="module")
def bugs(local_boxes, tmp_path_factory):
    """Freshly made ones, in a package from the index, as rows in a file."""
    project = read_source(SDIST, cache=tmp_path_factory.mktemp("sources"))
    found = make_bugs(
        project, count=BUGS, seed=7, open_box=lambda image: open_sandbox(image, backend="local")
    )
    path = tmp_path_factory.mktemp("bugs") / "bugs.jsonl"
    path.write_text("".join(f"{json.dumps(swe.to_row(task))}\n" for task in found))
    return path


def score(path, policy, backend, out, **more):
    """The scores of a policy in the tasks of a file."""
    args = {"tasks": str(path), "backend": backend, "max_turns": 4, **more}
    run = Run(Plan("agentgym/SWE-v0", policy, args), out)

    async def everything():
        return [each async for each in run.stream(concurrency=2)]

    episodes = asyncio.run(everything())
    run.close()
    assert all(each.scored for each in episodes), [each.error for each in episodes]
    return [each.outcome.score for each in episodes]


def test_fresh_bugs_of_a_package_are_solved_by_their_solution_and_by_nothing_less(
    bugs, box_backend, tmp_path
):
    assert len(swe.load(bugs)) == BUGS
    assert score(bugs, "oracle", box_backend, tmp_path / "oracle") == [1.0] * BUGS
    assert score(bugs, "random", box_backend, tmp_path / "random") == [0.0] * BUGS


def test_doing_nothing_solves_no_bug(bugs, box_backend):
    env = agentgym.make("agentgym/SWE-v0", tasks=str(bugs), backend=box_backend, split="train")
    for task_id in list(env.tasks())[:3]:
        env.reset(seed=0, options={"task": task_id})
        assert env.step("submit()")[-1]["outcome"].label == "empty"
    env.close()


def of_project():
    task = next(each for each in swe_projects.suite() if each.id == "projects:larder-1")
    ((path, hidden),) = task.hidden.items()
    return task, {path: hidden}


def of_package(bugs):
    """A made bug; its failing tests are in files that the policy does not get."""
    task = swe.load(bugs)[0]
    (tree,) = task.image.files.values()
    with tarfile.open(fileobj=io.BytesIO(tree)) as archive:
        return task, {path: archive.extractfile(path).read().decode() for path in task.removed}


def new_file(path, content):
    lines = content.splitlines()
    body = "".join(f"+{line}\n" for line in lines)
    head = f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n"
    return f"{head}@@ -0,0 +1,{len(lines)} @@\n{body}"


def as_swe_bench(task, tests):
    """The row; its image has the bug, and none of the tests."""
    row = {
        "repo": "sqlfluff/sqlfluff",
        "instance_id": f"sqlfluff__sqlfluff-{len(task.gold)}",
        "base_commit": "0" * 40,
        "environment_setup_commit": "0" * 40,
        "version": "0.8",
        "patch": task.gold,
        "test_patch": "".join(new_file(path, content) for path, content in tests.items()),
        "problem_statement": task.problem,
        "hints_text": "",
        "created_at": "",
        "FAIL_TO_PASS": json.dumps(list(task.fail_to_pass)),
        "PASS_TO_PASS": json.dumps([]),
    }
    return row, True


def as_swe_smith(task, tests):
    """The row; its image has the project as it was, with all tests."""
    row = {
        "instance_id": f"agentgym__{task.repo}.01234567.{len(task.gold)}",
        "repo": f"swesmith/agentgym__{task.repo}.01234567",
        "base_commit": "0" * 40,
        "bug_patch": task.bug,
        "problem_statement": task.problem,
        "FAIL_TO_PASS": list(task.fail_to_pass),
        "PASS_TO_PASS": list(task.pass_to_pass),
    }
    return row, False


def publish(name, task, backend, tests, *, broken):
    """Make an image under the name that its publisher gave it."""
    found = find_backend(backend)
    base = found.build(task.image)
    files = {**ENVIRONMENT, "/tmp/bug.patch": task.bug}
    commands = ["chmod 755 /usr/local/bin/pytest"]
    if broken:
        commands += ["git apply /tmp/bug.patch", *(f"rm -f {path}" for path in tests)]
    else:
        files |= {f"{WORKDIR}/{path}": content for path, content in tests.items()}
    built = found.build(Image(base, files, [*commands, "rm /tmp/bug.patch"], WORKDIR))
    if backend == "docker":
        from agentgym.sandboxes.docker import client

        repository, _, tag = name.rpartition(":")
        client().tag(built, repository, tag)
    else:
        from agentgym.sandboxes import rootfs

        image = rootfs.find(built)
        rootfs.add(name, image.layers, image.workdir)


@pytest.mark.parametrize("source", ["project", "package"])
@pytest.mark.parametrize("write", [as_swe_bench, as_swe_smith])
def test_a_task_written_as_a_row_of_others_loads_and_is_sound(
    write, source, bugs, box_backend, tmp_path, capsys
):
    task, tests = of_project() if source == "project" else of_package(bugs)
    row, broken = write(task, tests)
    path = Path(tmp_path / "rows.jsonl")
    path.write_text(json.dumps(row) + "\n")
    (loaded,) = swe.load(path)
    assert loaded.row == row
    assert set(loaded.fail_to_pass) == set(task.fail_to_pass)
    publish(loaded.image, task, box_backend, tests, broken=broken)
    code = cli.main(["tasks", "verify", str(path), "--backend", box_backend])
    assert (capsys.readouterr().out.strip(), code) == ("1 of 1 task sound", 0)


def test_pytest_is_run_as_made_tasks_say(bugs):
    assert all(task.test_command.endswith(f"{PYTEST} {{tests}}") for task in swe.load(bugs))
