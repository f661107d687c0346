"""Say what of this machine agentgym can use: every part is tried for real.

Only Python is needed by all; what else is missing is information, not an error.

Examples:
agentgym doctor
agentgym doctor --json
agentgym doctor --strict && echo everything is there
"""

from __future__ import annotations

import argparse
from dataclasses import asdict


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--strict", action="store_true", help="fail (1) when a part is missing")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Try every part and show what was found."""
    from agentgym import doctor
    from agentgym.cli import render

    probes = doctor.diagnose()
    if args.json:
        render.print_json({"probes": [asdict(probe) for probe in probes]})
    else:
        rows = [[probe.name, "ok" if probe.ok else "missing", probe.detail] for probe in probes]
        render.print_table(["part", "", "found"], rows)
        remedies = [[probe.name, probe.remedy] for probe in probes if not probe.ok]
        if remedies:
            render.print_line()
            render.print_table(["to get", "do this"], remedies)
    return 1 if args.strict and not all(probe.ok for probe in probes) else 0
