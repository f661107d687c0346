"""Points of an image and points of the page behind it.

What a model says is relative to the image it was shown last, in one of three conventions; the image
may be scaled, or show a part of the page only. `View` maps either way, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from agentgym.actions.action import Call
from agentgym.actions.replies import invalid
from agentgym.actions.web import COORDINATES
from agentgym.errors import ConfigError

Convention = Literal["pixel", "norm1000", "norm1"]
CONVENTIONS: tuple[str, ...] = get_args(Convention)
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class View:
    """Which part of a page an image shows, and how large.

    Raises:
        ConfigError: A side is nothing, or the convention is none.
    """

    region: tuple[float, float, float, float]
    """Of the viewport, in its pixels: left, top, width, height."""
    size: tuple[int, int]
    """Of the image, in its pixels: width, height."""
    coords: Convention = "pixel"

    def __post_init__(self) -> None:
        if min(*self.region[2:], *self.size) <= 0:
            raise ConfigError(f"region {self.region!r} and size {self.size!r}: no side may be 0")
        if self.coords not in CONVENTIONS:
            raise ConfigError(f"coords is {self.coords!r}: give {', '.join(CONVENTIONS)}")

    @property
    def extent(self) -> tuple[float, float]:
        """The largest x and y that may be said."""
        if self.coords == "pixel":
            return (float(self.size[0]), float(self.size[1]))
        return (1.0, 1.0) if self.coords == "norm1" else (1000.0, 1000.0)

    def to_page(self, x: float, y: float) -> tuple[float, float]:
        """The point of the viewport that is meant by a point of the image.

        Raises:
            InvalidAction: Of kind `out_of_bounds`.
        """
        across, down = self.extent
        if not (0 <= x <= across + _ROUNDING and 0 <= y <= down + _ROUNDING):
            told = f"({x:g}, {y:g}) is outside of the image, which ends at ({across:g}, {down:g})"
            raise invalid("out_of_bounds", told)
        left, top, width, height = self.region
        return left + x / across * width, top + y / down * height

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the viewport is said to be."""
        left, top, width, height = self.region
        across, down = self.extent
        return (x - left) / width * across, (y - top) / height * down

    def to_pixels(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the viewport is in the image, in pixels, whatever the convention."""
        left, top, width, height = self.region
        return (x - left) / width * self.size[0], (y - top) / height * self.size[1]


def on_page(call: Call, view: View) -> Call:
    """The call with its points as points of the viewport.

    Raises:
        InvalidAction: Of kind `out_of_bounds`.
    """
    pairs = COORDINATES.get(call.verb)
    if call.verb == "move_by":
        across, down = view.extent
        moved = {
            "dx": call.arguments["dx"] / across * view.region[2],
            "dy": call.arguments["dy"] / down * view.region[3],
        }
        return Call(call.verb, moved)
    if pairs is None:
        return call
    told = dict(call.arguments)
    for x, y in pairs:
        told[x], told[y] = view.to_page(told[x], told[y])
    return Call(call.verb, told)
