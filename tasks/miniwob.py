"""MiniWoB++: which tasks there are, what counts as solved, and how each is started.

The pages come from the `miniwob` distribution (MIT); nothing else of it is used.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from agentgym.errors import RegistryError

HOST = "miniwob.test"
SEEDS = 1_000_000
"""A split's own seeds, from `FIRST_SEED` on."""
FIRST_SEED: Mapping[str, int] = {"train": 0, "valid": 1_000_000, "test": 2_000_000}
LISTED: Mapping[str, int] = {"train": 20, "valid": 4, "test": 4}
"""Seeds of each task that are listed."""
TASK_ID = re.compile(r"([a-z0-9-]+):seed=(0|[1-9][0-9]{0,8})")

THRESHOLDS: Mapping[str, float] = {
    "bisect-angle": 0.9,
    "chase-circle": 0.9,
    "circle-center": 0.9,
    "draw-circle": 0.8,
    "draw-line": 0.8,
    "find-midpoint": 0.9,
    "right-angle": 0.95,
    "use-colorwheel": 0.95,
    "use-colorwheel-2": 0.95,
}
"""Least raw reward that counts as solved, where it is not 1: tasks that measure how exact one is.

Everywhere else a raw reward below 1 is a wrong answer, or a part of the right one: `find-greatest`
pays 0.1 for a wrong card, `click-checkboxes-soft` for each box that happens to be right.
"""

RELOADED = frozenset(
    {
        "book-flight", "book-flight-nodelay", "choose-date", "choose-date-easy",
        "choose-date-medium", "choose-date-nodelay", "click-pie", "click-pie-nodelay",
        "drag-single-shape", "form-sequence", "form-sequence-2", "form-sequence-3", "scroll-text",
        "scroll-text-2", "simon-says", "social-media", "social-media-all", "social-media-some",
        "use-autocomplete", "use-autocomplete-nodelay", "use-colorwheel", "use-colorwheel-2",
        "use-slider", "use-slider-2", "use-spinner",
    }
)  # fmt: skip
"""Tasks that do not start on the same page as if it was loaded anew."""

SHAPED = re.compile(r"shape|circle|pie|count-sides|right-angle|bisect|midpoint|draw|drag-cube")
"""Tasks drawn with shapes."""


@functools.cache
def folder() -> Path:
    """Where the pages are.

    Raises:
        RegistryError: `miniwob` is not installed.
    """
    found = importlib.util.find_spec("miniwob")
    if found is None or found.origin is None:
        raise RegistryError("agentgym/MiniWoB-v0 needs miniwob: pip install 'agentgym-env[web]'")
    return Path(found.origin).parent / "html"


@functools.cache
def names() -> tuple[str, ...]:
    """Every task, in alphabetical order."""
    return tuple(sorted(path.stem for path in (folder() / "miniwob").glob("*.html")))


@functools.cache
def listed(split: str, task: str) -> Sequence[str]:
    """Ids of the tasks of a split; of one task, if it is named."""
    first, count = FIRST_SEED[split], LISTED[split]
    chosen = [task] if task else names()
    return [f"{name}:seed={first + i}" for i in range(count) for name in chosen]


def page_seed(seed: int) -> int:
    """What the page's generator is started with: the number that BrowserGym draws for the seed."""
    return int(np.random.RandomState(seed).randint(0, 1_000_000))


def start(task: str, seed: int, limit_ms: int) -> str:
    """The script that starts an episode; it gives the goal.

    What covers the page after an episode would start another one, of another task, when clicked.
    """
    return (
        f"(async () => {{ document.activeElement?.blur(); Math.seedrandom({page_seed(seed)});"
        " core.cover_div.onclick = null;"
        f" core.EPISODE_MAX_TIME = {limit_ms};"
        f" window.agentgymEpisode = {seed}; core.startEpisodeReal();"
        " const told = core.getUtterance();"
        " return typeof told === 'string' ? told : told.utterance; })()"
    )


PROBE = (
    "[WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL, WOB_REWARD_REASON, WOB_TASK_READY,"
    " window.agentgymEpisode]"
)
"""Whether the page has decided, its raw reward and why, whether the task is there, and the seed it
was started with: a page that was loaded again has none, and starts tasks of its own."""
CSS = "#reward-display,#click-canvas{display:none!important}"
SILENT = "#reward-display,#click-canvas,#query,#sync-task-cover"
ATTRIBUTES = ("id", "class", "fill", "style:background-color")
