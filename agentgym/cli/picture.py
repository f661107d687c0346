"""Pictures in a terminal: two pixels a character, where it has the colours for them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from agentgym.cli.render import console
from agentgym.types import Observation

_MOST_COLUMNS = 100
_HALF = "\u2580"
"""The upper half of a character, whose lower half is its background."""


def print_picture(observation: Observation | None) -> None:
    """Print the image of an observation, small; nothing where none can be shown.

    That is: not on a terminal, one without colours, an observation without an image, no Pillow.
    """
    target = console()
    capable = target.is_terminal and target.color_system in ("truecolor", "256")
    if not (capable and isinstance(observation, Mapping) and "image" in observation):
        return
    if find_spec("PIL") is None:
        return
    try:
        pixels = np.asarray(observation["image"], dtype=np.uint8)
    except OSError:  # of a run that lost its images
        return
    print_pixels(pixels, target)


def print_pixels(image: npt.NDArray[np.uint8], target: Console) -> None:
    """Print uint8[H, W, 3] as wide as the console is, and 100 columns at most."""
    from PIL import Image

    height, width = image.shape[:2]
    columns = min(target.width, _MOST_COLUMNS, width)
    lines = max(1, round(columns * height / width / 2))
    small = np.asarray(Image.fromarray(image).convert("RGB").resize((columns, 2 * lines)))
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        line = Text()
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            line.append(_HALF, Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        target.print(line, soft_wrap=True)
