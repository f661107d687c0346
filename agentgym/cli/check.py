"""Check that an environment keeps the contract: episodes are played for real, by several players.

Exits with 1 when a check fails. In tests: `agentgym.testing.conform("name/World-v0").require()`.

Examples:
agentgym check agentgym/TextWorld-v0
agentgym check examples/guess_number.py --seeds 50
agentgym check my_package.worlds:mine/World-v0 --arg level=3 --json
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from agentgym import registry
from agentgym.cli.parsing import add_environment, read_environment, whole

if TYPE_CHECKING:
    from agentgym.testing import Check


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_environment(parser)
    parser.add_argument(
        "--seeds", metavar="N", type=whole(1), default=20, help="play seeds 0 to N - 1"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Check the environment and show what was found."""
    from agentgym.cli import render
    from agentgym.testing import conform

    env = registry.key(*read_environment(args))
    show = None if args.json or not sys.stderr.isatty() else _show
    report = conform(env, seeds=args.seeds, on_check=show)
    if args.json:
        checks = [asdict(check) for check in report.checks]
        render.print_json({"env": report.env, "ok": report.ok, "checks": checks})
        return 0 if report.ok else 1
    rows = [[check.status, check.name, check.detail] for check in report.checks]
    render.print_table(["", "check", ""], rows)
    statuses: list[str] = [check.status for check in report.checks]
    counts = [f"{statuses.count(s)} {told}" for s, told in _TOLD.items() if statuses.count(s)]
    render.print_line(f"\n{report.env}: {', '.join(counts)}", "green" if report.ok else "red")
    return 0 if report.ok else 1


_TOLD = {"pass": "passed", "fail": "failed", "skip": "skipped"}


def _show(check: Check) -> None:
    """Say on the terminal that a check is done, on one line that the next one replaces."""
    sys.stderr.write(f"\r\x1b[2K{check.status} {check.name}\r")
    sys.stderr.flush()
