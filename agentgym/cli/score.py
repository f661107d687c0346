"""Compute a reward on a recorded run, without playing anything again.

The reward is an expression, or the name of a preset (`agentgym reward list` shows both). What it
pays, turn by turn and part by part, goes to RUN/rewards/NAME.jsonl; the episodes stay as they are,
and so do their outcomes. The same run and reward give the same numbers, bit for bit.

Examples:
agentgym eval agentgym/ALFWorld-v0 --policy oracle --limit 10 --out runs/alfworld
agentgym score runs/alfworld --reward "outcome + 0.1 * progress"
agentgym score runs/alfworld --reward "outcome + 0.2 * format.mean()" --name formatted
agentgym reward explain runs/alfworld --reward "outcome + 0.1 * progress" --episode 1
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgym.errors import ConfigError

if TYPE_CHECKING:
    from agentgym.rewards import Scored
    from agentgym.rewards.scorer import Scorer
    from agentgym.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument(
        "--reward", metavar="EXPRESSION", required=True, help="an expression, or a preset's name"
    )
    parser.add_argument(
        "--name", default="reward", help="of the file in RUN/rewards (default: reward)"
    )
    parser.add_argument(
        "--step", type=float, default=0.0, help="of training, for schedules (default: 0)"
    )
    add_scorer(parser)
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")


def add_scorer(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names who answers signals that ask a model."""
    parser.add_argument(
        "--scorer",
        metavar="NAME[:MODEL]",
        help="who tells log-probabilities to signals that ask: llamacpp or transformers (a small "
        "model), llamacpp:FILE.gguf, transformers:MODEL",
    )


@contextmanager
def open_scorer(name: str | None) -> Iterator[Scorer | None]:
    """The scorer of that name, closed afterwards; none for None.

    Raises:
        ConfigError: There is no such scorer.
    """
    kind, _, model = (name or "").partition(":")
    if name is None:
        yield None
    elif kind == "llamacpp":
        from agentgym.rewards.scorer_llamacpp import LlamaScorer

        with LlamaScorer(model or None) as scorer:
            yield scorer
    elif kind == "transformers":
        from agentgym.rewards.scorer_transformers import TransformersScorer

        yield TransformersScorer(model or "smollm2")
    else:
        raise ConfigError(
            f"there is no scorer {name!r}: give llamacpp or transformers, or one with a model, as "
            "in llamacpp:FILE.gguf"
        )


def run(args: argparse.Namespace) -> int:
    """Score a run."""
    from agentgym.cli import render
    from agentgym.cli.progress import Progress
    from agentgym.rewards import bind, parse
    from agentgym.rewards.rescore import rescore, row

    if not args.name or args.name != Path(args.name).name or args.name.startswith("."):
        raise ConfigError(f"--name {args.name!r}: give a plain file name, without its ending")
    store = open_run(args.run)
    reward = parse(args.reward)
    progress = Progress("score", len(store.heads()))
    summary = Summary()
    with open_scorer(args.scorer) as scorer, progress:
        bound = bind(reward, store.manifest, scorer)
        rows = (
            row(each, scorer)
            for each in summary.over(rescore(store, bound, step=args.step, ended=progress.add))
        )
        path = store.write_rewards(args.name, rows)
    if args.json:
        render.print_json({"reward": str(reward), "path": str(path), **summary.as_data()})
        return 0
    render.print_table(["part", "mean total", "turns with a value"], summary.rows(), numbers=True)
    render.print_line(f"{summary.episodes} episodes: {path}")
    return 0


def open_run(path: Path) -> Store:
    """The one run at a path.

    Raises:
        ConfigError: There are several.
    """
    from agentgym.cli.runs import find_runs
    from agentgym.store import Store

    found = find_runs(path)
    if len(found) > 1:
        names = ", ".join(each.name for each in found[:5])
        raise ConfigError(f"{path} holds {len(found)} runs: choose one of them ({names}, …)")
    return Store.open(found[0])


class Summary:
    """What each part paid, over all episodes."""

    def __init__(self) -> None:
        self.episodes = 0
        self._turns = 0
        self._totals: dict[str, float] = {}
        self._having: dict[str, int] = {}
        self._outcome = 0.0

    def over(self, scored: Iterator[Scored]) -> Iterator[Scored]:
        """Count what passes."""
        for each in scored:
            self.episodes += 1
            self._turns += len(each.per_turn)
            self._outcome += each.outcome or 0.0
            for name, values in each.parts.items():
                self._totals[name] = self._totals.get(name, 0.0) + float(values.sum())
                having = int(each.available[name].sum())
                self._having[name] = self._having.get(name, 0) + having
            yield each

    def as_data(self) -> dict[str, Any]:
        """Means over episodes."""
        count = max(self.episodes, 1)
        return {
            "episodes": self.episodes,
            "outcome": self._outcome / count,
            "total": sum(self._totals.values()) / count,
            "parts": {name: total / count for name, total in self._totals.items()},
            "turns": self._turns,
            "available": self._having,
        }

    def rows(self) -> list[list[str]]:
        """A table of the same."""
        data = self.as_data()
        listed = [
            [name, f"{mean:.4f}", f"{data['available'][name]}/{data['turns']}"]
            for name, mean in data["parts"].items()
        ]
        return [*listed, ["in all", f"{data['total']:.4f}", ""]]
