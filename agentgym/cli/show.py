"""Report on recorded runs, or show one of their episodes.

A folder of runs stands for the runs in it; several runs are compared with the first.

Examples:
agentgym show runs/guess
agentgym show runs/guess --failed
agentgym show runs/guess --episode 3
agentgym show runs/before runs/after --json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgym.errors import ConfigError, TaskError, did_you_mean

if TYPE_CHECKING:
    from agentgym.store import Store
    from agentgym.types import Trajectory


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="a run folder")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--episode", metavar="KEY|N", help="show this episode, by its key or number, turn by turn"
    )
    what.add_argument(
        "--failed", action="store_true", help="list the episodes that were not passed or not scored"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Show runs, failed episodes, or an episode."""
    from agentgym.cli.runs import find_runs
    from agentgym.store import Store

    stores = [Store.open(run) for path in args.runs for run in find_runs(path)]
    if args.episode is not None:
        if len(stores) > 1:
            raise ConfigError(f"--episode is for one run, and these are {len(stores)}: choose one")
        _show_episode(stores[0], args.episode, args.json)
    elif args.failed:
        _show_failed(stores, args.json)
    else:
        _show_reports(stores, args.json)
    return 0


def _show_reports(stores: list[Store], as_json: bool) -> None:
    from agentgym.cli import render
    from agentgym.cli.runs import report_on

    runs = report_on(stores)
    if as_json:
        render.print_json(render.reports_as_json(runs))
    else:
        render.print_reports(runs)


def _show_failed(stores: list[Store], as_json: bool) -> None:
    from agentgym.cli import render
    from agentgym.cli.text import several

    found: list[dict[str, Any]] = []
    for store in stores:
        for number, trajectory in enumerate(store.episodes(), 1):
            outcome = trajectory.outcome
            if outcome is None or not outcome.available or not outcome.passed:
                found.append({"run": str(store.path), "number": number, **_head(trajectory)})
    if as_json:
        render.print_json({"failed": found})
        return
    for store in stores:
        rows = [_row(head) for head in found if head["run"] == str(store.path)]
        if rows:
            render.print_line(str(store.path), "bold")
            render.print_table(["", "episode", "score", "stop", "turns", "error"], rows)
    render.print_line(f"{several(len(found), 'episode')} not passed or not scored")


def _head(trajectory: Trajectory) -> dict[str, Any]:
    outcome = trajectory.outcome
    return {
        "episode": str(trajectory.key),
        "score": outcome.score if outcome is not None and outcome.available else None,
        "label": outcome.label if outcome is not None else "",
        "stop": trajectory.stop,
        "turns": len(trajectory.turns),
        "error": trajectory.error,
    }


def _row(head: dict[str, Any]) -> list[str]:
    score = "unscored" if head["score"] is None else f"{head['score']:g}"
    return [
        str(head["number"]), head["episode"], score, str(head["stop"] or "–"), str(head["turns"]),
        head["error"] or "",
    ]  # fmt: skip


def _show_episode(store: Store, wanted: str, as_json: bool) -> None:
    from agentgym.cli import render, transcript

    trajectory = find_episode(store, wanted)
    if as_json:
        render.print_json(transcript.transcript_as_data(trajectory))
    else:
        transcript.print_transcript(trajectory)


def find_episode(store: Store, wanted: str) -> Trajectory:
    """The episode of a key, or else of a number from 1.

    Raises:
        TaskError: The run has none such.
    """
    keys = {str(key): key for key in store.heads()}
    if wanted in keys:
        return store.episode(keys[wanted])
    if wanted.isdecimal() and 1 <= int(wanted) <= len(keys):
        return store.episode([*keys.values()][int(wanted) - 1])
    raise TaskError(
        f"{store.path} has no episode {wanted!r}{did_you_mean(wanted, keys)}: it has {len(keys)}, "
        "by number from 1, or by key as in TASK#SEED.SAMPLE"
    )
