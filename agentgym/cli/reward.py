"""See which rewards there are, and what one pays in an episode, turn by turn.

Examples:
agentgym reward list
agentgym reward explain runs/alfworld --reward "outcome + 0.1 * progress" --episode 1
agentgym reward explain runs/alfworld --reward gra --episode "clean:seed=0#0.0" --json
agentgym reward explain runs/alfworld --reward gra --picture gra.svg
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgym.cli.score import add_scorer, add_step
from agentgym.errors import ConfigError

if TYPE_CHECKING:
    from agentgym.rewards import Bound, Scored, Signal
    from agentgym.store import Store
    from agentgym.types import Trajectory

_BAR = 24


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("action", choices=("list", "explain"))
    parser.add_argument("run", metavar="RUN", nargs="?", type=Path, help="a run folder, to explain")
    parser.add_argument("--reward", metavar="EXPRESSION", help="an expression, or a preset's name")
    parser.add_argument("--episode", metavar="KEY|N", default="1", help="by key or number")
    add_step(parser)
    add_scorer(parser)
    parser.add_argument(
        "--picture",
        metavar="FILE",
        type=Path,
        help="also draw it: a bar a turn, a colour a part (.svg, .png or .pdf; needs matplotlib)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List rewards, or explain one."""
    if args.action == "list":
        _list(args.json)
        return 0
    if args.run is None or args.reward is None:
        raise ConfigError(
            "explain takes a run and --reward: agentgym reward explain RUN --reward …"
        )
    _explain(args)
    return 0


def _list(as_json: bool) -> None:
    from agentgym.cli import render
    from agentgym.rewards import PRESETS, SIGNALS, parse
    from agentgym.rewards.presets import SPA

    signals: list[dict[str, Any]] = [
        {
            "signal": name,
            "needs": _needs(signal),
            "when": _undecided(signal).stage.name.lower(),
            "says": (signal.__doc__ or "").strip().partition("\n")[0],
        }
        for name, signal in sorted(SIGNALS.items())
    ]
    paid = {name: parse(text).reduced() for name, text in sorted(PRESETS.items())}
    presets: list[dict[str, Any]] = [
        {
            "preset": name,
            "reward": PRESETS[name],
            "needs": sorted(reward.needs),
            "when": reward.stage.name.lower(),
        }
        for name, reward in paid.items()
    ]
    presets.append(
        {"preset": "spa", "reward": SPA, "needs": _needs(SIGNALS["spa"]), "when": "finished"}
    )
    if as_json:
        render.print_json({"signals": signals, "presets": presets})
        return
    rows = [[s["signal"], ", ".join(s["needs"]), s["when"], s["says"]] for s in signals]
    render.print_table(["signal", "needs", "known when", ""], rows)
    if presets:
        render.print_line()
        rows = [[p["preset"], ", ".join(p["needs"]), p["reward"]] for p in presets]
        render.print_table(["preset", "needs", "reward"], rows)


def _undecided(signal: type[Signal]) -> Signal:
    """A signal with its defaults, and `name=…` for what has none."""
    made = object.__new__(signal)
    for field in dataclasses.fields(signal):  # type: ignore[arg-type]  # every one is a dataclass
        missing = field.default is dataclasses.MISSING
        object.__setattr__(made, field.name, f"{field.name}=…" if missing else field.default)
    return made


def _needs(signal: type[Signal]) -> list[str]:
    """The facts it reads, as far as they are known without its arguments."""
    from agentgym.errors import RewardError

    try:
        return sorted(_undecided(signal).needs)
    except RewardError:  # an estimator's file is to say
        return ["estimator=…"]


def _explain(args: argparse.Namespace) -> None:
    from agentgym.cli import render
    from agentgym.cli.runs import open_run
    from agentgym.cli.score import open_scorer
    from agentgym.cli.show import find_episode
    from agentgym.rewards import bind, parse
    from agentgym.rewards.picture import check_picture, save_picture
    from agentgym.rewards.rescore import row

    if args.picture is not None:
        check_picture(args.picture)
    store = open_run(args.run)
    trajectory = find_episode(store, args.episode)
    if not trajectory.scored or not trajectory.turns:
        raise ConfigError(
            f"episode {trajectory.key} is not scored, so that nothing is paid for it: "
            f"agentgym show {args.run} --episode '{trajectory.key}' shows it"
        )
    reward = parse(args.reward)
    with open_scorer(args.scorer) as scorer:
        bound = bind(reward, store.manifest, scorer)
        scored = _scored(store, trajectory, bound, args.step)
    if args.picture is not None:
        save_picture(scored, args.picture)
    if args.json:
        render.print_json({"reward": str(reward), **row(scored, bound.scorer)})
        return
    _print(trajectory, scored)
    if args.picture is not None:
        render.print_line(f"picture: {args.picture}")


def _scored(store: Store, trajectory: Trajectory, bound: Bound, step: float) -> Scored:
    """What the episode is paid; with the rest of its group, where that matters."""
    from agentgym.rewards import Stage

    together = [trajectory]
    if bound.stage is Stage.GROUP:
        heads = store.heads().items()
        group = [k for k, (_, head) in heads if k.group == trajectory.key.group and head["scored"]]
        together = [each for each in store.episodes(group) if each.turns]
    return next(each for each in bound.score(together, step) if each.key == trajectory.key)


def _print(trajectory: Trajectory, scored: Scored) -> None:
    """A table with a column a part, and a bar for what each turn is paid."""
    from agentgym.cli import render

    most = max(float(abs(scored.per_turn).max()), 1e-12)
    rows = []
    for i, turn in enumerate(trajectory.turns):
        cells = [
            f"{values[i]:+z.4f}" if scored.available[name][i] else "–"
            for name, values in scored.parts.items()
        ]
        paid = float(scored.per_turn[i])
        bar = ("█" if paid >= 0 else "░") * round(abs(paid) / most * _BAR)
        rows.append([str(i + 1), *cells, f"{paid:+z.4f}", bar, str(turn.action)])
    totals = [f"{values.sum():+z.4f}" for values in scored.parts.values()]
    rows.append(["in all", *totals, f"{scored.total:+z.4f}", "", ""])
    render.print_table(["turn", *scored.parts, "paid", "", "action"], rows)
    render.print_line(f"outcome {scored.outcome:g}, untouched by all this")
