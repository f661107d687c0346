r"""Compute a reward on a recorded run, without playing anything again.

The reward is an expression, or the name of a preset (`agentgym reward list` shows both). What it
pays, turn by turn and part by part, goes to RUN/rewards/NAME.jsonl, and what made it to NAME.json;
the episodes stay as they are, and so do their outcomes. The same run and reward give the same
numbers, bit for bit. Write --reward=-0.1*format, with =, where it begins with a minus.

Examples:
agentgym eval agentgym/ALFWorld-v0 --policy oracle --limit 10 --out runs/alfworld
agentgym score runs/alfworld --reward "outcome + 0.1 * progress"
agentgym score runs/alfworld --reward "outcome + 0.2 * format.mean()" --name formatted
agentgym score runs/search --reward "outcome + 0.2 * info_gain" \
    --scorer vllm:Qwen/Qwen3-8B@http://127.0.0.1:8000/v1
agentgym reward explain runs/alfworld --reward "outcome + 0.1 * progress" --episode 1
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgym.errors import ConfigError

if TYPE_CHECKING:
    from agentgym.rewards import Scored
    from agentgym.rewards.scorer import Scorer
    from agentgym.types import Trajectory

logger = logging.getLogger(__name__)

_DIGEST = re.compile(r".*:([0-9a-f]{16,})", re.DOTALL)
"""A weight version that was computed from the weights: a name, and of what a digest says."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument(
        "--reward", metavar="EXPRESSION", required=True, help="an expression, or a preset's name"
    )
    parser.add_argument("--name", default="reward", help="of the file in RUN/rewards")
    parser.add_argument(
        "--force", action="store_true", help="replace what another reward wrote under that name"
    )
    add_step(parser)
    add_scorer(parser)
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")


def add_step(parser: argparse.ArgumentParser) -> None:
    """Add the argument that says how far training is."""
    parser.add_argument(
        "--step", metavar="X", type=_finite, default=0.0, help="of training, for schedules"
    )


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r}: give a finite number")
    return value


def add_scorer(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names who answers signals that ask a model."""
    parser.add_argument(
        "--scorer",
        metavar="NAME[:MODEL]",
        help="who tells log-probabilities to signals that ask: llamacpp or transformers (a small "
        "model), llamacpp:FILE.gguf, transformers:MODEL, or vllm:MODEL@URL (a vLLM server, its URL "
        "up to /v1; the key is taken from $OPENAI_API_KEY)",
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
    elif kind == "vllm":
        from agentgym.rewards.scorer_http import VLLMScorer

        model, at, rest = model.partition("@http")
        if not model or not at:
            raise ConfigError(
                f"{name!r} names no server: write 'vllm:MODEL@http://127.0.0.1:8000/v1'"
            )
        key = os.environ.get("OPENAI_API_KEY") or None
        with VLLMScorer(model, f"http{rest}", api_key=key) as scorer:
            yield scorer
    else:
        raise ConfigError(
            f"there is no scorer {name!r}: give llamacpp or transformers, or one with a model, as "
            "in llamacpp:FILE.gguf or vllm:MODEL@URL"
        )


def run(args: argparse.Namespace) -> int:
    """Score a run."""
    from agentgym.cli import render
    from agentgym.cli.progress import Progress
    from agentgym.cli.runs import open_run
    from agentgym.rewards import bind, parse
    from agentgym.rewards.rescore import record, recorded, rescore

    if not args.name or args.name != Path(args.name).name or args.name.startswith("."):
        raise ConfigError(f"--name {args.name!r}: give a plain file name, without its ending")
    store = open_run(args.run)
    reward = parse(args.reward)
    before = recorded(store, args.name)
    if before not in (None, str(reward)) and not args.force:
        raise ConfigError(
            f"{store.path}/rewards/{args.name}.jsonl holds another reward, {before!r}: give this "
            "one another --name, or --force to replace it"
        )
    heads = store.heads()
    if not any(head["scored"] for _, head in heads.values()):
        raise ConfigError(f"{store.path} has no scored episode: there is nothing to reward")
    progress = Progress("score", len(heads))
    summary = Summary()
    strangers = 0
    with open_scorer(args.scorer) as scorer, progress:
        bound = bind(reward, store.manifest, scorer)

        def ended(trajectory: Trajectory) -> None:
            nonlocal strangers
            progress.add(trajectory)
            if scorer is not None and "scorer" in reward.needs:
                strangers += played_with_others(trajectory, scorer.weight_version)

        scored = summary.over(rescore(store, bound, step=args.step, ended=ended))
        path = record(store, bound, scored, name=args.name, step=args.step)
    if strangers:
        logger.warning(
            "%d of %d episodes were played with other weights than %s, which scored them",
            strangers,
            len(heads),
            scorer and scorer.weight_version,
        )
    if args.json:
        render.print_json({"reward": str(reward), "path": str(path), **summary.as_data()})
        return 0
    render.print_table(["part", "mean total", "turns with a value"], summary.rows(), numbers=True)
    render.print_line(f"{summary.episodes} episodes: {path}")
    return 0


def played_with_others(trajectory: Trajectory, version: str) -> bool:
    """Whether any turn is known to come from other weights than those of this version.

    Versions of different kinds (a digest of files, a trainer's `step-7`) tell nothing of each
    other, and not every policy tells one.
    """
    kind, value = _read(version)
    played = {told for turn in trajectory.turns for told in turn.completion.weight_versions}
    return any(other == kind and told != value for other, told in map(_read, played))


def _read(version: str) -> tuple[str, str]:
    """Of which kind a version is, and what tells it from others of that kind."""
    if found := _DIGEST.fullmatch(version):
        return f"{len(found[1])} digits", found[1]
    return re.sub(r"\d+", "#", version), version


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
            [name, f"{mean:z.4f}", f"{data['available'][name]}/{data['turns']}"]
            for name, mean in data["parts"].items()
        ]
        return [*listed, ["in all", f"{data['total']:z.4f}", ""]]
