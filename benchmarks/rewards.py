"""What rewards cost: a signal on trajectories in memory, and a reward on a stored run.

    python benchmarks/rewards.py [--quick] [--json]

The stored run has 2,000 episodes of 20 turns with token ids and log-probabilities. It is read and
scored again and again in one process, as a long evaluation of rewards would; what the process holds
must not grow.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import _measure
import numpy as np

from agentgym.actions import Action
from agentgym.rewards import bind, parse
from agentgym.rewards.rescore import rescore, row
from agentgym.store import Store
from agentgym.types import Completion, EpisodeKey, Outcome, Stop, Task, Trajectory, Turn

TURNS = 20
EPISODES = 2_000
FACTS = {"progress", "regret", "score"}
SIGNAL = "fact('progress').sum()"
REWARD = "outcome + 0.1 * progress + 0.2 * format.mean().when(outcome >= 0.5) - 0.01 * regret"
clock = time.process_time


def main() -> int:
    """Measure and print the figures."""
    options = _measure.arguments(__doc__.partition("\n")[0])
    figures = {**in_memory(options.quick), **on_disk(4 if options.quick else 50)}
    return _measure.report(figures, as_json=options.json)


def in_memory(quick: bool) -> dict[str, _measure.Figure]:
    """One arithmetic signal on a ragged batch."""
    rng = random.Random(0)
    batch = [_episode(i, rng, rng.randint(1, 2 * TURNS)) for i in range(100 if quick else 1_000)]
    turns = sum(len(trajectory.turns) for trajectory in batch)
    bound = bind(parse(SIGNAL), FACTS)
    spent = []
    for _ in range(5):
        begun = clock()
        bound.score(batch)
        spent.append((clock() - begun) / turns)
    return {"a signal on a ragged batch, a turn": _measure.Figure(min(spent) * 1e6, "us", 5.0)}


def on_disk(passes: int) -> dict[str, _measure.Figure]:
    """A reward of four parts on a stored run, many times over."""
    with tempfile.TemporaryDirectory() as folder:
        rng = random.Random(0)
        manifest = {"provides": sorted(FACTS)}
        with Store.create(Path(folder) / "run", manifest) as store:
            for number in range(EPISODES):
                store.append(_episode(number, rng, TURNS))
        store = Store.open(Path(folder) / "run")
        bound = bind(parse(REWARD), store.manifest)
        spent, held = [], []
        for _ in range(passes):
            begun = clock()
            store.write_rewards("again", map(row, rescore(store, bound)))
            spent.append((clock() - begun) / (EPISODES * TURNS))
            held.append(_resident())
    early = held[min(9, len(held) // 2)]
    return {
        "scoring a stored run, a turn": _measure.Figure(float(np.median(spent)) * 1e6, "us", 40.0),
        "memory of the last pass over that of the tenth": _measure.Figure(
            held[-1] / early, "x", 1.2
        ),
    }


def _episode(number: int, rng: random.Random, length: int) -> Trajectory:
    """An episode as a model would have played it: each prompt extends the one before."""
    ids = np.array([rng.randrange(32_000) for _ in range(200)], dtype=np.int32)
    turns = []
    for t in range(length):
        said = np.array([rng.randrange(32_000) for _ in range(20)], dtype=np.int32)
        seen = np.array([rng.randrange(32_000) for _ in range(40)], dtype=np.int32)
        completion = Completion(
            "go to shelf 1",
            prompt_ids=ids,
            completion_ids=said,
            logprobs=np.full(20, -0.5, dtype=np.float32),
            logprob_kind="raw",
        )
        facts = {"valid": True, "progress": rng.choice([-1, 0, 1]), "regret": t, "score": 0.0}
        shown = "You arrive at shelf 1. On the shelf 1, you see a mug 1, a pen 2, and a vase 1."
        turns.append(Turn(shown, completion, Action("go to shelf 1"), None, 0.0, facts))
        ids = np.concatenate([ids, said, seen])
    outcome = Outcome(*rng.choice([(0.0, False), (1.0, True)]))
    key = EpisodeKey("world", f"task-{number // 4}", 0, number % 4)
    return Trajectory(key, Task(key.task_id), turns, "done", outcome, Stop.TERMINATED)


def _resident() -> int:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    sys.exit(main())
