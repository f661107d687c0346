"""Make tasks out of any Python project with tests, or check that tasks are sound.

`make swe` puts bugs into a project and keeps those that its tests tell. `verify` is what a task has
to pass before it is worth training on: the tests that should fail do, the others pass, and with
the task's own solution all pass; each twice.

Examples:
agentgym tasks make swe --source sqlparse==0.5.3 --count 20 --out tasks.jsonl
agentgym tasks make swe --source ~/code/mylib --count 5 --bugs 2 --seed 1 --out hard.jsonl
agentgym tasks verify tasks.jsonl
agentgym tasks verify tasks.jsonl --limit 3 --backend local --json
"""

from __future__ import annotations

import argparse
import importlib
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgym.errors import ConfigError, SandboxError

if TYPE_CHECKING:
    from agentgym.sandbox import Change

ROUNDS = 2
"""Each check is made so often: a task that does not always do the same is none."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from agentgym.cli.parsing import whole
    from agentgym.sandbox import BACKENDS

    parser.add_argument("action", choices=("make", "verify"), help="make tasks, or check them")
    parser.add_argument(
        "what", metavar="WHAT", help="make: which kind (swe); verify: a file or suite of tasks"
    )
    parser.add_argument(
        "--backend", choices=("auto", *BACKENDS), default="auto", help="where tests are run"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    making = parser.add_argument_group("make")
    making.add_argument(
        "--source", metavar="SOURCE", help="NAME==VERSION on the package index, a folder or archive"
    )
    making.add_argument("--count", metavar="N", type=whole(1), default=20, help="tasks to make")
    making.add_argument("--out", metavar="FILE", type=Path, help="where to write them, as JSONL")
    making.add_argument("--seed", metavar="N", type=whole(0), default=0, help="decides on the bugs")
    making.add_argument("--bugs", metavar="N", type=whole(1, 4), default=1, help="in each task")
    making.add_argument(
        "--image", metavar="IMAGE", default="base", help="a Python with what the project needs"
    )
    checking = parser.add_argument_group("verify")
    checking.add_argument("--limit", metavar="N", type=whole(1), help="at most so many tasks")
    checking.add_argument("--split", metavar="SPLIT", help="the tasks of a split")


def run(args: argparse.Namespace) -> int:
    """Make tasks, or check some."""
    if args.action == "verify":
        return _verify(args)
    if args.what != "swe":
        raise ConfigError(f"cannot make tasks of kind {args.what!r}: there is swe")
    if args.source is None or args.out is None:
        raise ConfigError("make from what, to where? Give --source and --out")
    return _make(args)


# ---- make ----


def _make(args: argparse.Namespace) -> int:
    import orjson

    from agentgym.cli import render
    from agentgym.cli.data import Meter
    from agentgym.cli.text import duration, several
    from agentgym.sandbox import Image, Sandbox, open_sandbox

    making = importlib.import_module("agentgym.tasks.swe_make")
    to_row = importlib.import_module("agentgym.tasks.swe").to_row

    def open_box(image: Image) -> Sandbox:
        return open_sandbox(image, backend=args.backend)

    read_source = importlib.import_module("agentgym.tasks.swe_source").read_source
    project = read_source(args.source, cache=_cache_folder(), base=args.image)
    started = time.monotonic()
    made = 0
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with Meter() as meter, args.out.open("wb") as file:
        for task in making.make_bugs(
            project,
            count=args.count,
            seed=args.seed,
            open_box=open_box,
            bugs=args.bugs,
            progress=meter,
        ):
            file.write(orjson.dumps(to_row(task)) + b"\n")
            file.flush()  # what was made is kept if this is interrupted
            made += 1
    taken_s = time.monotonic() - started
    if args.json:
        told = {"tasks": made, "wanted": args.count, "seconds": taken_s, "out": str(args.out)}
        render.print_json(told)
    else:
        per_minute = 60 * made / max(taken_s, 1e-9)
        render.print_line(
            f"{several(made, 'task')} in {duration(taken_s)} ({per_minute:.1f} a minute): "
            f"{args.out}"
        )
        if made < args.count:
            render.print_line(f"{project.name} has no more bugs that its tests tell")
    return 0 if made else 1


def _cache_folder() -> Path:
    try:
        root = Path(os.environ.get("AGENTGYM_CACHE") or "~/.cache/agentgym").expanduser()
    except RuntimeError as error:
        raise ConfigError("this user has no home folder: set AGENTGYM_CACHE") from error
    return root / "sources"


# ---- verify ----


def _verify(args: argparse.Namespace) -> int:
    from agentgym.cli import render
    from agentgym.cli.data import Meter
    from agentgym.cli.text import several

    load = importlib.import_module("agentgym.tasks.swe").load
    tasks = load(args.what, split=args.split, limit=args.limit)
    found: dict[str, list[str]] = {}
    with Meter() as meter:
        for number, task in enumerate(tasks):
            meter("checking tasks", number, len(tasks))
            found[task.id] = problems(task, args.backend)
    unsound = {id: why for id, why in found.items() if why}
    if args.json:
        render.print_json({"tasks": [{"id": id, "problems": why} for id, why in found.items()]})
    else:
        for id, why in unsound.items():
            render.print_line(f"{id}: {'; '.join(why)}")
        render.print_line(f"{len(found) - len(unsound)} of {several(len(found), 'task')} sound")
    return 1 if unsound else 0


def problems(task: Any, backend: str) -> list[str]:
    """What is wrong with a task; nothing if it is sound.

    Args:
        task: A `SWETask`.
        backend: Where its tests are run.

    Raises:
        SandboxError: A box died or could not be started.
    """
    from agentgym.sandbox import find_backend, open_sandbox

    grading = importlib.import_module("agentgym.envs.swe_grade")
    engine = find_backend(backend)

    def open_box(image: str) -> Any:
        return open_sandbox(image, backend=engine.name)

    found: list[str] = []
    if not task.gold:
        found.append("it has no solution")
    for _ in range(ROUNDS):
        with closing(open_box(grading.grader_image(task, engine))) as box:
            verdict = grading.run_tests(task, box)
        found += _objections(verdict, mended=0.0, when="as it is")
    for _ in range(ROUNDS if task.gold else 0):
        changes = _solution(task, grading.policy_image(task, engine), open_box)
        verdict = grading.grade(task, changes, engine, open_box)
        found += _objections(verdict, mended=1.0, when="solved")
    return list(dict.fromkeys(found))


def _objections(verdict: Any, *, mended: float, when: str) -> list[str]:
    found = [f"{when}: {flag}" for flag in verdict.flags]
    if verdict.fail_to_pass != mended:
        found.append(f"{when}, {verdict.fail_to_pass:.0%} of the tests to mend pass")
    if verdict.pass_to_pass != 1.0:
        found.append(f"{when}, {1 - verdict.pass_to_pass:.0%} of the other tests fail")
    return found


def _solution(task: Any, image: str, open_box: Callable[[str], Any]) -> list[Change]:
    """What a policy changes that applies the task's own solution.

    Raises:
        SandboxError: It does not apply, or the box died.
    """
    with closing(open_box(image)) as box:
        box.manifest(task.workdir, exclude=[".git"])
        box.write("/tmp/gold.patch", task.gold)
        done = box.run("git apply --whitespace=nowarn /tmp/gold.patch", cwd=task.workdir)
        if done.code:
            raise SandboxError(f"task {task.id}: its solution does not apply: {done.output[-500:]}")
        return list(box.changes())
