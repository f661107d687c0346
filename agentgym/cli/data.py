"""List the data sets that environments read, or fetch one.

Examples:
agentgym data
agentgym data alfworld
agentgym data alfworld --from ~/Downloads --splits valid_seen,valid_unseen
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import time
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from agentgym.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

EVERY_S = 5.0
"""Lines of progress come no faster than this where there is no terminal."""


class DataSet(NamedTuple):
    """A data set, before anything of it is imported."""

    module: str
    """Has `status()` and `fetch(source, splits, *, force, progress)`: what is here, by split."""
    about: str
    """One line."""


DATASETS: Mapping[str, DataSet] = MappingProxyType(
    {
        "alfworld": DataSet(
            "agentgym.tasks.alfworld_fetch",
            "household tasks in text: ALFWorld's own games, MIT, 108 MB to fetch",
        )
    }
)
"""Every data set by name."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="which to fetch; none: list all")
    parser.add_argument(
        "--from",
        metavar="PATH_OR_URL",
        dest="source",
        help="a folder with the archives, data in a form the environment reads, or a mirror's URL",
    )
    parser.add_argument("--splits", metavar="SPLITS", help="as in train,valid_seen (default: all)")
    parser.add_argument("--force", action="store_true", help="fetch and read again what is here")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List the data sets, or fetch one."""
    from agentgym.cli import render

    if args.name is None:
        if args.source or args.splits or args.force:
            raise ConfigError(f"fetch which data set? There is {', '.join(DATASETS)}")
        found = {name: _module(name).status() for name in DATASETS}
    elif args.name not in DATASETS:
        hint = did_you_mean(args.name, DATASETS) or f"; there is {', '.join(DATASETS)}"
        raise ConfigError(f"no data set {args.name!r}{hint}")
    else:
        splits = [part.strip() for part in (args.splits or "").split(",") if part.strip()]
        with Meter() as meter:
            found = {
                args.name: _module(args.name).fetch(
                    args.source, splits, force=args.force, progress=meter
                )
            }
    if args.json:
        render.print_json({"datasets": [_as_json(name, there) for name, there in found.items()]})
    else:
        for name, there in found.items():
            _print(name, there)
    return 0


def _module(name: str) -> Any:
    return importlib.import_module(DATASETS[name].module)


def _as_json(name: str, there: list[Any]) -> dict[str, Any]:
    splits = [dataclasses.asdict(each) for each in there]
    return {"name": name, "about": DATASETS[name].about, "splits": splits}


def _print(name: str, there: list[Any]) -> None:
    from agentgym.cli import render

    render.print_line(f"{name}: {DATASETS[name].about}", "bold")
    rows = [
        [
            each.split,
            ("not read yet" if each.path else "–") if each.games is None else str(each.games),
            ", ".join(f"{number} {reason}" for reason, number in each.skipped.items()) or "–",
            f"{each.size / 1e6:.1f} MB" if each.size else "–",
            each.path or "–",
        ]
        for each in there
    ]
    render.print_table(["split", "games", "skipped", "size", "here"], rows)
    for problem in dict.fromkeys(each.problem for each in there if each.problem):
        render.print_line(f"\n{problem}")
    if not any(each.path for each in there):
        render.print_line(f"\nto fetch it: agentgym data {name}")


class Meter:
    """How far something is, on standard error: a bar on a terminal, else a line now and then.

    Called with what is being done, how far it is, and of how much (0: nobody knows).
    """

    def __init__(self) -> None:
        from agentgym.cli.render import console

        self._console = console(stderr=True)
        self._bar: Bar | None = None
        self._what = ""
        self._said = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show it."""
        begins, self._what = what != self._what, what
        if self._bar is not None:
            if begins:
                for task in self._bar.task_ids:
                    self._bar.remove_task(task)
                self._bar.add_task(what, total=total or None)
            self._bar.update(self._bar.task_ids[0], completed=done, total=total or None)
        elif begins or time.monotonic() - self._said >= EVERY_S:
            share = f": {done / total:.0%}" if total and done else ""
            self._said = time.monotonic()
            self._console.print(f"{what}{share}", soft_wrap=True)
