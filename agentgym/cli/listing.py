"""Show the registered environments, or the tasks of one.

Examples:
agentgym list
agentgym list agentgym/TextWorld-v0 --split test --limit 5
agentgym list 'agentgym/TextWorld-v0?family=coin' --json
"""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from agentgym import registry
from agentgym.cli.parsing import add_environment, read_environment, whole
from agentgym.env import Env
from agentgym.errors import AgentGymError, ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_environment(parser, optional=True)
    parser.add_argument(
        "--limit", metavar="N", type=whole(1), default=20, help="show the first N tasks"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Show environments or tasks."""
    if args.env is None:
        if args.arg or args.split or args.max_turns or args.dialect:
            raise ConfigError("these arguments are for one environment: say which")
        _show_environments(args.json)
    else:
        _show_tasks(*read_environment(args), args.limit, args.json)
    return 0


def _show_environments(as_json: bool) -> None:
    from agentgym.cli import render

    found = [{"id": id, "about": about, **_look(id)} for id, about in registry.ids().items()]
    if as_json:
        render.print_json({"environments": found})
        return
    rows = [[env["id"], ", ".join(env["splits"]) or "–", env["about"]] for env in found]
    render.print_table(["environment", "splits", ""], rows)
    for env in found:
        if env["problem"]:
            render.print_line(f"\n{env['id']} cannot be used: {env['problem']}")


def _look(id: str) -> dict[str, Any]:
    """Its splits, or why it cannot be made: constructors are cheap."""
    try:
        with closing(registry.make(id)) as env:
            return {"splits": list(getattr(env.unwrapped, "splits", ())), "problem": ""}
    except AgentGymError as error:
        return {"splits": [], "problem": str(error)}
    except Exception as error:  # somebody else's code: the others are shown all the same
        return {"splits": [], "problem": f"{type(error).__name__}: {error}"}


def _show_tasks(id: str, given: dict[str, Any], limit: int, as_json: bool) -> None:
    from agentgym.cli import render
    from agentgym.cli.text import several

    with closing(registry.make(id, **given)) as env:
        world = env.unwrapped
        if not isinstance(world, Env):
            raise ConfigError(f"{id} is not an agentgym environment: it has no list of tasks")
        known = world.tasks()
        shown = [known[i] for i in range(min(limit, len(known)))]
        split, splits = world.split, list(world.splits)
    if as_json:
        render.print_json(
            {"id": id, "split": split, "splits": splits, "total": len(known), "tasks": shown}
        )
        return
    for task in shown:
        render.print_line(task)
    more = "" if len(known) == len(shown) else f", of which these are the first {len(shown)}"
    count = several(len(known), "task")
    render.print_line(f"\n{count} in split {split!r} (of {', '.join(splits)}){more}")
