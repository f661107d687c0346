"""Write envs/data/alfworld_transcripts.jsonl: games that ALFWorld's own engine tells.

Run it with `python tests/make_alfworld_transcripts.py`, where alfworld is installed (Python 3.11 or
3.12), when the generated games change; it takes a minute.
"""

from __future__ import annotations

import json
import random
from typing import Any

from households import TRANSCRIPTS, Player, choose, digest

from agentgym.envs.alfworld_oracle import Oracle
from agentgym.envs.alfworld_reference import Reference
from agentgym.tasks.alfworld_game import TASK_TYPES
from agentgym.tasks.alfworld_generate import generate

STEPS = 32


def record(task_type: str, size: str, seed: int, version: str) -> dict[str, Any]:
    """A game of which each third command or so is a good one."""
    game = generate(task_type, seed, size=size)
    rng = random.Random(seed)
    reference = Reference(game, version)
    steps: list[list[Any]] = [["", reference.start(game.task)]]
    shadow = Player(game, version)  # only to ask the oracle
    oracle = Oracle(shadow.board)
    while len(steps) <= STEPS and not reference.won:
        steps[-1] += [digest(reference.admissible), reference.won]
        command = choose(rng, reference.admissible, 0.08)
        if rng.random() < len(steps) / STEPS:
            command = oracle.next_command(shadow.state) or command
        shadow.board.act(shadow.state, command.strip())
        steps.append([command, reference.act(command)])
    steps[-1] += [digest(reference.admissible), reference.won]
    return {"made": [task_type, size, seed], "version": version, "steps": steps}


def main() -> None:
    """Record them all."""
    with TRANSCRIPTS.open("w") as file:
        for number, task_type in enumerate(TASK_TYPES):
            for size, seed in (("small", 20 + number), ("small", 30 + number), ("full", number)):
                version = ("2.1.2", "2.1.1")[(number + (seed >= 30)) % 2]
                json.dump(record(task_type, size, seed, version), file, separators=(",", ":"))
                file.write("\n")


if __name__ == "__main__":
    main()
