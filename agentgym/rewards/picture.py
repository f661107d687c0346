"""What each part of a reward paid in an episode, turn by turn, as a picture."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentgym.errors import ConfigError, RegistryError
from agentgym.rewards.bound import Scored

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".svg", ".png", ".pdf")
_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "agentgym", "text.parse_math": False}
_TURN_INCHES = 0.2
_WIDEST_INCHES = 60.0


def check_picture(path: Path) -> None:
    """Check that a picture can be drawn there, before anything is computed for it.

    Raises:
        ConfigError: The file's ending is none of `ENDINGS`.
        RegistryError: matplotlib is not installed.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"a picture ends in {', '.join(ENDINGS)}, unlike {str(path)!r}")
    try:
        import matplotlib  # noqa: F401 - half a second, and only pictures need it
    except ImportError as error:
        raise RegistryError(
            "a picture needs matplotlib: pip install 'agentgym-env[plot]'"
        ) from error


def save_picture(scored: Scored, path: Path) -> None:
    """Draw the parts as stacked bars, one bar a turn, and what is paid as a line.

    What is negative hangs below zero. A row below the bars says by "–" where a part has no value,
    which is not 0; parts that always have one have no row. The same numbers give the same file.

    Args:
        scored: What an episode is paid.
        path: The file, replaced if it is there; its ending says what it is.

    Raises:
        ConfigError: The file's ending is none of `ENDINGS`.
        RegistryError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    check_picture(path)
    import matplotlib
    from matplotlib.figure import Figure  # not pyplot, which looks for a display

    count, parts = len(scored.per_turn), list(scored.parts)
    colors = {name: f"C{number}" for number, name in enumerate(parts)}
    gaps = [name for name in parts if not scored.available[name].all()]
    heights = [4.0, 0.18 * len(gaps)] if gaps else [4.0]
    width = min(max(6.4, 1.2 + _TURN_INCHES * count), _WIDEST_INCHES)
    outcome = "not scored" if scored.outcome is None else f"outcome {scored.outcome:g}"
    title = f"{scored.key}: {outcome}, paid {scored.total:+z.4f}"
    with matplotlib.rc_context(_STYLE):
        height = sum(heights) + 0.5 + 0.2 * len(parts)
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)
        top, bottom = axes[0, 0], axes[-1, 0]
        top.set_title(textwrap.fill(title, int(width * 11)), fontsize=10)
        _draw_bars(top, scored, colors)
        if gaps:
            _draw_gaps(bottom, scored, {name: colors[name] for name in gaps})
        numbered = range(1, count + 1, max(round(_TURN_INCHES * count / _WIDEST_INCHES), 1))
        bottom.set(xlim=(0.3, max(count, 8) + 0.7), xticks=numbered, xlabel="turn")
        bottom.tick_params(axis="x", labelsize=8)
        figure.legend(loc="outside lower center", fontsize=8)
        figure.savefig(path, dpi=120, metadata=_UNDATED.get(path.suffix.lower()))


def _draw_bars(axes: Axes, scored: Scored, colors: dict[str, str]) -> None:
    turns = np.arange(1, len(scored.per_turn) + 1)
    above, below = np.zeros(turns.size), np.zeros(turns.size)
    for name, values in scored.parts.items():
        start = np.where(values < 0, below, above)
        axes.bar(turns, values, bottom=start, color=colors[name], label=name)
        above, below = above + np.maximum(values, 0.0), below + np.minimum(values, 0.0)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.plot(turns, scored.per_turn, "k.-", linewidth=1.0, label="paid")
    axes.set_ylabel("per turn")


def _draw_gaps(axes: Axes, scored: Scored, colors: dict[str, str]) -> None:
    for row, (name, color) in enumerate(colors.items()):
        for turn in np.flatnonzero(~scored.available[name]).tolist():
            axes.text(turn + 1, row, "–", color=color, ha="center", va="center", weight="bold")
    axes.set(ylim=(len(colors) - 0.5, -0.5), yticks=[])
    axes.set_ylabel("no value", rotation=0, ha="right", va="center", fontsize=8)
