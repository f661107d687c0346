"""Pictures of pages: kept as PNG, decoded and drawn on only when somebody asks."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import RegistryError
from agentgym.sandboxes.page import Row

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Pixels = npt.NDArray[np.uint8]
"""uint8[H, W, 3]."""
_COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bc7d00")


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)


def decode(png: bytes) -> Pixels:
    """The pixels of a PNG.

    Raises:
        RegistryError: Pillow is not installed.
    """
    return np.asarray(_open(png), dtype=np.uint8)


def encode(pixels: Pixels) -> bytes:
    """A PNG of pixels.

    Raises:
        RegistryError: Pillow is not installed.
    """
    file = io.BytesIO()
    _pillow().fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def with_marks(png: bytes, rows: Sequence[Row]) -> Pixels:
    """A set of marks: a box and its number about each element that may be acted on and is in view.

    Only for pictures of the whole viewport.
    """
    from PIL import ImageDraw, ImageFont

    picture = _open(png)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=11)
    for row in rows:
        if not (row.id and row.box and row.clickable and row.hit):
            continue
        colour = _COLOURS[row.id % len(_COLOURS)]
        left, top, right, bottom = row.box
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour)
        text = str(row.id)
        width = 6 * len(text) + 4
        x = min(max(left, 0), max(picture.width - width, 0))
        y = top - 12 if top >= 12 else top
        draw.rectangle((x, y, x + width, y + 12), fill=colour)
        draw.text((x + 2, y), text, fill="white", font=font)
    return np.asarray(picture, dtype=np.uint8)


def with_cursor(pixels: Pixels, x: float, y: float) -> Pixels:
    """The picture with an arrow whose tip is at a point."""
    from PIL import ImageDraw

    picture = _pillow().fromarray(pixels).convert("RGB")
    shape = [(0, 0), (0, 17), (4, 13), (7, 19), (10, 18), (7, 12), (12, 12)]
    points = [(x + dx, y + dy) for dx, dy in shape]
    ImageDraw.Draw(picture).polygon(points, fill="black", outline="white")
    return np.asarray(picture, dtype=np.uint8)


def _open(png: bytes) -> Picture:
    picture: Picture = _pillow().open(io.BytesIO(png))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        advice = "pip install 'agentgym-env[image]'"
        raise RegistryError(f"pictures of pages need Pillow: {advice}") from error
    return Image
