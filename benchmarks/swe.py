"""What a software-engineering episode costs beside its commands, and how fast bugs are made.

    python benchmarks/swe.py [--quick] [--json]

Needs local boxes, the base image (`agentgym images base`) and, once, the package index, for the
source of sqlparse 0.5.3.
"""

from __future__ import annotations

import statistics
import sys
import time

import _measure

import agentgym
from agentgym.cache import cache_folder
from agentgym.sandbox import open_sandbox
from agentgym.tasks.swe_make import make_bugs
from agentgym.tasks.swe_source import read_source

SOURCE = "sqlparse==0.5.3"
TASK = "projects:larder-1"


def main() -> int:
    """Measure and print the figures."""
    options = _measure.arguments(__doc__.partition("\n")[0])
    figures = {**episodes(2 if options.quick else 10), **bugs(4 if options.quick else 20)}
    return _measure.report(figures, as_json=options.json)


def episodes(count: int) -> dict[str, _measure.Figure]:
    """A shipped task: reset, a turn, and the grading of its solution."""
    env = agentgym.make("agentgym/SWE-v0", backend="local")
    taken: dict[str, list[float]] = {"reset": [], "turn": [], "grading": []}
    for seed in range(count + 1):
        begun = time.perf_counter()
        _, info = env.reset(seed=seed, options={"task": TASK, "hints": ["oracle"]})
        taken["reset"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        env.step('bash("true")')
        taken["turn"].append(time.perf_counter() - begun)
        env.step(info["oracle"])
        begun = time.perf_counter()
        _, reward, *_ = env.step("submit()")
        taken["grading"].append(time.perf_counter() - begun)
        if reward != 1.0:
            raise SystemExit("the solution did not pass: nothing was measured")
    env.close()
    return {  # the first one makes images
        f"an episode's {name}": _measure.Figure(statistics.median(found[1:]) * 1e3, "ms")
        for name, found in taken.items()
    }


def bugs(count: int) -> dict[str, _measure.Figure]:
    """Verified bugs in a package, one box at a time, from nothing."""
    project = read_source(SOURCE, cache=cache_folder("sources"))
    begun = time.perf_counter()
    made = make_bugs(
        project, count=count, seed=0, open_box=lambda image: open_sandbox(image, backend="local")
    )
    found = sum(1 for _ in made)
    rate = 60 * found / (time.perf_counter() - begun)
    return {
        "verified bugs a minute, sqlparse": _measure.Figure(
            rate, "1/min", 10.0, lower_is_better=False
        )
    }


if __name__ == "__main__":
    sys.exit(main())
