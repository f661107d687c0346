"""List what sandboxes begin with, make the base image, or remove what was long unused.

Examples:
agentgym images
agentgym images --all
agentgym images base
agentgym images base --from base.tar
agentgym images prune --keep 5 --backend local
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import time
from typing import Any

from agentgym.errors import AgentGymError, ConfigError
from agentgym.sandbox import BACKENDS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "base", "prune"),
        default="list",
        help="list is the default; base makes the base image; prune removes the longest unused",
    )
    parser.add_argument(
        "--from", metavar="TAR", dest="source", help="a root file system to take as the base"
    )
    parser.add_argument("--force", action="store_true", help="make the base again")
    parser.add_argument(
        "--keep", metavar="GB", type=float, help="prune down to this ($AGENTGYM_IMAGES_GB, or 20)"
    )
    parser.add_argument("--backend", choices=BACKENDS, help="of this alone (list, prune)")
    parser.add_argument(
        "--all", action="store_true", help="list each image that was built, not their sum"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List, make or prune images."""
    if args.action != "base" and (args.source or args.force):
        raise ConfigError("--from and --force go with `agentgym images base`")
    if args.action != "prune" and args.keep is not None:
        raise ConfigError("--keep goes with `agentgym images prune`")
    if args.action == "base":
        return _base(args)
    backends = [args.backend] if args.backend else list(BACKENDS)
    return (_prune if args.action == "prune" else _list)(args, backends)


def _base(args: argparse.Namespace) -> int:
    from agentgym.cli import render

    base = importlib.import_module("agentgym.sandboxes.base")
    ready = base.make(
        force=args.force, source=args.source, progress=lambda line: print(line, file=sys.stderr)
    )
    path = base.archive()
    if args.json:
        size = path.stat().st_size
        render.print_json({"path": str(path), "size": size, "backends": ready})
    else:
        print(path)
    return 0


def _list(args: argparse.Namespace, backends: list[str]) -> int:
    from agentgym.cli import render

    found, problems = _ask(lambda images, backend: images.kept(backend), backends)
    rows = [image for backend in found for image in reversed(found[backend])]
    if args.json:
        listed = [
            {"name": row.name, "backend": row.backend, "size": row.size, "last_used": row.used}
            for row in rows
        ]
        render.print_json({"images": listed, "problems": problems})
        return 0
    shown = [(row.name, row.backend, row.size, row.used) for row in rows]
    if not args.all:
        shown = _summed(rows)
    render.print_table(
        ["image", "backend", "size", "last used"],
        [[name, backend, _size(size), _when(used)] for name, backend, size, used in shown],
    )
    for backend, problem in problems.items():
        render.print_line(f"{backend}: {problem}")
    return 0


def _summed(rows: list[Any]) -> list[tuple[str, str, int, float]]:
    """Images by name; those that only have a digest in one row for each backend."""
    named: list[tuple[str, str, int, float]] = []
    others: dict[str, list[Any]] = {}
    for row in rows:
        if row.name.startswith(("agentgym/built:", "sha256:", "tar:")):
            others.setdefault(row.backend, []).append(row)
        else:
            named.append((row.name, row.backend, row.size, row.used))
    return named + [
        (
            f"{len(each)} built (--all lists them)",
            backend,
            sum(row.size for row in each),
            max(row.used for row in each),
        )
        for backend, each in others.items()
    ]


def _prune(args: argparse.Namespace, backends: list[str]) -> int:
    from agentgym.cli import render

    if args.keep is not None and not 0 <= args.keep < math.inf:
        raise ConfigError(f"--keep {args.keep:g}: give a number of gigabytes from 0")

    def prune(images: Any, backend: str) -> Any:
        keep = images.budget_gb() if args.keep is None else args.keep
        return images.prune(backend, int(keep * 1e9))

    removed, problems = _ask(prune, backends)
    if args.json:
        render.print_json({"removed": removed, "problems": problems})
        return 0
    for backend, names in removed.items():
        render.print_line(
            f"{backend}: removed {len(names)}{': ' if names else ''}{', '.join(names)}"
        )
    for backend, problem in problems.items():
        render.print_line(f"{backend}: {problem}")
    return 0


def _ask(what: Any, backends: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The answer of each backend, and why some have none; one that is asked alone must answer."""
    images = importlib.import_module("agentgym.sandboxes.images")
    found, problems = {}, {}
    for backend in backends:
        try:
            found[backend] = what(images, backend)
        except ConfigError:
            raise
        except AgentGymError as error:
            if len(backends) == 1:
                raise
            problems[backend] = str(error)
    return found, problems


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _when(used: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(used))
