"""List the small language models that a machine without a GPU can run, or download one.

Examples:
agentgym models
agentgym models pull smollm2
agentgym eval agentgym/TextWorld-v0 --policy llamacpp --limit 5
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from agentgym.errors import ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "action", nargs="?", choices=("list", "pull"), default="list", help="list is the default"
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="which model to pull")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List the models, or pull one."""
    from agentgym import models
    from agentgym.cli import render

    if args.action == "pull":
        if args.name is None:
            raise ConfigError(f"pull which model? There is {', '.join(models.MODELS)}")
        path = models.pull(args.name, progress=lambda line: print(line, file=sys.stderr))
        if args.json:
            render.print_json({"name": args.name, "path": str(path)})
        else:
            print(path)
        return 0
    if args.name is not None:
        raise ConfigError("list takes no name: agentgym models pull NAME gets one")
    found = [_look(name) for name in models.MODELS]
    if args.json:
        render.print_json({"models": found})
        return 0
    rows = [
        [m["name"], m["description"], m["licence"], f"{m['size'] / 1e6:.0f} MB", m["path"] or "–"]
        for m in found
    ]
    render.print_table(["model", "", "licence", "size", "here"], rows)
    for model in found:
        if model["problem"]:
            render.print_line(f"\n{model['problem']}")
    return 0


def _look(name: str) -> dict[str, Any]:
    from agentgym import models

    model = models.MODELS[name]
    about = {
        "name": name,
        "description": model.description,
        "licence": model.licence,
        "size": model.size,
        "source": model.source,
    }
    try:
        return {**about, "path": str(models.find(name)), "problem": ""}
    except ConfigError as error:
        return {**about, "path": "", "problem": str(error)}
