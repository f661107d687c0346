"""Make tasks, of any Python project with tests or of screens; or check that tasks are sound.

`make swe` puts bugs into a project and keeps those that its tests tell. `make grounding` takes
screenshots of our own sites and labels what is on them, as ScreenSpot does. `verify` is what a
task of the former kind has to pass before it is worth training on: the tests that should fail do,
the others pass, and with the task's own solution all pass; each twice. Tests that do not always do
the same count no longer: --out writes the sound tasks, with those written down.

Examples:
agentgym tasks make swe --source sqlparse==0.5.3 --count 20 --out tasks.jsonl
agentgym tasks make swe --source ~/code/mylib --count 5 --bugs 2 --seed 1 --out hard.jsonl
agentgym tasks make grounding --count 1000 --out screens --seed 0
agentgym tasks verify tasks.jsonl --out sound.jsonl
agentgym tasks verify tasks.jsonl --limit 3 --backend local --json
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from agentgym.cache import cache_folder
from agentgym.errors import ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from agentgym.cli.parsing import whole
    from agentgym.sandbox import BACKENDS

    parser.add_argument("action", choices=("make", "verify"), help="make tasks, or check them")
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="make: which kind (swe, grounding); verify: a file or suite of tasks",
    )
    parser.add_argument(
        "--backend", choices=("auto", *BACKENDS), default="auto", help="where tests are run"
    )
    parser.add_argument(
        "--out",
        metavar="PATH",
        type=Path,
        help="where to write tasks that are sound, as JSONL; grounding: a folder",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    making = parser.add_argument_group("make")
    making.add_argument(
        "--source", metavar="SOURCE", help="NAME==VERSION on the package index, a folder or archive"
    )
    making.add_argument("--count", metavar="N", type=whole(1), default=20, help="tasks to make")
    making.add_argument(
        "--seed", metavar="N", type=whole(0), default=0, help="decides on the bugs or screens"
    )
    making.add_argument("--bugs", metavar="N", type=whole(1, 4), default=1, help="in each task")
    making.add_argument(
        "--image", metavar="IMAGE", default="base", help="a Python with what the project needs"
    )
    screens = parser.add_argument_group("make grounding")
    screens.add_argument("--site", metavar="SITE", help="of one site only")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--force", action="store_true", help="replace what is at --out")
    there.add_argument(
        "--resume", action="store_true", help="grounding: go on with the set that is there"
    )
    checking = parser.add_argument_group("verify")
    checking.add_argument("--limit", metavar="N", type=whole(1), help="at most so many tasks")
    parser.add_argument(
        "--split", metavar="SPLIT", help="verify: the tasks of a split; grounding: whose seeds"
    )


def run(args: argparse.Namespace) -> int:
    """Make tasks, or check some."""
    if args.action == "verify":
        if args.out is not None:
            _make_way(args.out, args.force)
        return _verify(args)
    if args.limit is not None:
        raise ConfigError("--limit goes with `agentgym tasks verify`: make as many as --count says")
    if args.what == "grounding":
        return _make_grounding(args)
    if args.what != "swe":
        raise ConfigError(f"cannot make tasks of kind {args.what!r}: there are swe and grounding")
    if args.source is None or args.out is None:
        raise ConfigError("make from what, to where? Give --source and --out")
    _make_way(args.out, args.force)
    return _make(args)


def _make_way(out: Path, force: bool) -> None:
    """See to it, before the long work, that its file can be written."""
    if out.is_dir():
        raise ConfigError(f"{out} is not a file: choose another name")
    if out.is_file() and not force:
        raise ConfigError(f"{out} exists already: replace it with --force, or choose another name")
    out.parent.mkdir(parents=True, exist_ok=True)


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
    project = read_source(args.source, cache=cache_folder("sources"), base=args.image)
    started = time.monotonic()
    made = 0
    with Meter() as meter, _replacing(args.out) as file:
        for task in making.make_bugs(
            project,
            count=args.count,
            seed=args.seed,
            open_box=open_box,
            bugs=args.bugs,
            progress=meter,
        ):
            file.write(orjson.dumps(to_row(task)) + b"\n")
            file.flush()
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


def _make_grounding(args: argparse.Namespace) -> int:
    from agentgym.cli import render
    from agentgym.cli.data import Meter
    from agentgym.cli.text import duration, several

    if args.out is None:
        raise ConfigError("make screens where? Give --out, a folder")
    make = importlib.import_module("agentgym.tasks.grounding").make
    started = time.monotonic()
    with Meter() as meter:
        made = make(
            args.out,
            count=args.count,
            seed=args.seed,
            split=args.split or "train",
            sites=[args.site] if args.site else [],
            resume=args.resume,
            force=args.force,
            progress=meter,
        )
    taken_s = time.monotonic() - started
    if args.json:
        told = {"targets": args.count, "made": made, "seconds": taken_s, "out": str(args.out)}
        render.print_json(told)
    else:
        rate = f" in {duration(taken_s)} ({made / max(taken_s, 1e-9):.0f} a second)" if made else ""
        render.print_line(f"{several(args.count, 'target')}, {made} of them new{rate}: {args.out}")
    return 0


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, that takes the place of `path` at the end, however that comes.

    Where an error ends it before anything was written, what was there stays.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():  # a pipe, /dev/stdout
        with path.open("wb") as file:
            yield file
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            if partial.stat().st_size:
                partial.replace(path)
            else:
                partial.unlink()


# ---- verify ----


def _verify(args: argparse.Namespace) -> int:
    import orjson

    from agentgym.cli import render
    from agentgym.cli.data import Meter
    from agentgym.cli.text import several
    from agentgym.sandbox import Sandbox, find_backend, open_sandbox

    rows = importlib.import_module("agentgym.tasks.swe")
    gate = importlib.import_module("agentgym.envs.swe_gate")
    tasks = rows.load(args.what, split=args.split, limit=args.limit)
    backend = find_backend(args.backend)

    def open_box(image: str) -> Sandbox:
        return open_sandbox(image, backend=backend.name)

    found = []
    with Meter() as meter:
        for number, task in enumerate(tasks):
            meter("checking tasks", number, len(tasks))
            found.append(gate.admit(task, backend, open_box))
    sound = [each.task for each in found if each.sound]
    if args.out is not None:
        with _replacing(args.out) as file:
            file.writelines(orjson.dumps(rows.to_row(each)) + b"\n" for each in sound)
    if args.json:
        told = [
            {"id": each.task.id, "problems": each.problems, "flaky": each.task.flaky}
            for each in found
        ]
        render.print_json({"tasks": told})
    else:
        for each in found:
            remarks = [*each.problems, *(f"flaky: {name}" for name in each.task.flaky)]
            if remarks:
                render.print_line(f"{each.task.id}: {'; '.join(remarks)}")
        render.print_line(f"{len(sound)} of {several(len(found), 'task')} sound")
    return 0 if len(sound) == len(found) else 1
