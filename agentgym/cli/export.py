"""Write a run's episodes as chat messages, ready for supervised fine-tuning.

A line is an episode: its messages as the model was shown them, answers included, with env, task_id,
seed, sample, score, passed and turns. What oracle and random players did is written in the dialect
that the system message asks for. Unscored episodes are never exported. The environment must be
installed: it is asked for its instructions.

Examples:
agentgym eval examples/guess_number.py --policy oracle --seeds 0-999 --out runs/oracle
agentgym export runs/oracle --out demos.jsonl
agentgym export runs/qwen3 --passed --drop-invalid --limit 500 --out demos.parquet
agentgym export runs/oracle --dialect tools --out - | head -1
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agentgym.cli.parsing import whole
from agentgym.errors import ConfigError

if TYPE_CHECKING:
    from agentgym.export import Demonstrations


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder")
    which = parser.add_argument_group("which episodes (all scored ones if none is given)")
    which.add_argument("--passed", action="store_true", help="only those that passed")
    which.add_argument(
        "--drop-invalid",
        action="store_true",
        help="none that holds an action that could not be carried out",
    )
    which.add_argument("--limit", metavar="N", type=whole(1), help="at most N")
    how = parser.add_argument_group("how they are told")
    how.add_argument(
        "--dialect",
        help="write actions as text, call, tags, json, tools or blocks (as in the run if unset); "
        "of what a model said beside them nothing is left",
    )
    how.add_argument(
        "--replay",
        action="store_true",
        help="play the recorded actions again: a run with --show-admissible needs it, for the "
        "lists that were shown are not recorded",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        metavar="FILE",
        required=True,
        help="where to: JSON lines, or Parquet if it ends in .parquet (needs pyarrow); "
        "- is standard output",
    )
    output.add_argument("--force", action="store_true", help="replace FILE if it is there")
    output.add_argument("--json", action="store_true", help="print what was exported as JSON")


def run(args: argparse.Namespace) -> int:
    """Export the episodes of a run."""
    if args.json and args.out == "-":
        raise ConfigError("--json would be among the episodes on standard output: give --out FILE")
    from agentgym.cli.progress import Progress
    from agentgym.cli.runs import open_run
    from agentgym.export import Choice, Demonstrations, export_messages, line

    store = open_run(args.run)
    choice = Choice(args.passed, args.drop_invalid, args.limit, args.dialect, args.replay)
    progress = Progress("export", len(store.heads()))
    demonstrations = Demonstrations(store, choice, progress.add)
    with progress:
        if args.out == "-":
            for row in demonstrations:
                sys.stdout.buffer.write(line(row))
            sys.stdout.buffer.flush()
        else:
            export_messages(demonstrations, args.out, force=args.force)
    _tell(demonstrations, args.out, args.json)
    return 0


def _tell(demonstrations: Demonstrations, out: str, as_json: bool) -> None:
    from agentgym.cli import render, say
    from agentgym.cli.text import several

    skipped = demonstrations.skipped
    told = f"exported {several(demonstrations.episodes, 'episode')}"
    if demonstrations.rows != demonstrations.episodes:
        told += f", a line a turn ({demonstrations.rows})"
    told += " to standard output" if out == "-" else f" to {out}"
    if skipped:
        reasons = ", ".join(f"{count} {why}" for why, count in skipped.items())
        told += f"; skipped {skipped.total()}: {reasons}"
    say(told)
    if as_json:
        render.print_json(
            {
                "run": str(demonstrations.store.path),
                "out": out,
                "episodes": demonstrations.episodes,
                "rows": demonstrations.rows,
                "skipped": dict(skipped),
            }
        )
