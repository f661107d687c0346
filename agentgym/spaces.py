"""Spaces that hold real text and images of any size.

`gymnasium.spaces.Text` admits a fixed ASCII alphabet and checks every character, so it cannot hold
prose; `Box` fixes a shape. These two check in O(1) and sample something short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Space


class Unicode(Space[str]):
    """Any string of `min_length` to `max_length` characters.

    Args:
        max_length: Most characters a member may have.
        min_length: Fewest.
        sampler: Draws a member from a generator (the action grammar's, say); short lower-case
            strings if None.
    """

    def __init__(
        self,
        max_length: int,
        *,
        min_length: int = 0,
        sampler: Callable[[np.random.Generator], str] | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self.max_length = max_length
        self.min_length = min_length
        self._sampler = sampler
        super().__init__(seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """False: text has no array form, so shared-memory vector environments refuse it loudly."""
        return False

    def sample(self, mask: None = None, probability: None = None) -> str:
        """Draw a short member."""
        if self._sampler is not None:
            return self._sampler(self.np_random)
        length = int(self.np_random.integers(self.min_length, max(self.min_length, 16) + 1))
        letters = self.np_random.integers(ord("a"), ord("z") + 1, size=min(length, self.max_length))
        return "".join(map(chr, letters))

    def contains(self, x: Any) -> bool:
        """Whether `x` is a string within the length bounds."""
        return isinstance(x, str) and self.min_length <= len(x) <= self.max_length

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Unicode)
            and self.max_length == other.max_length
            and self.min_length == other.min_length
        )

    def __hash__(self) -> int:
        return hash((self.min_length, self.max_length))

    def __repr__(self) -> str:
        return f"Unicode({self.max_length})"


class Image(Space[npt.NDArray[np.uint8]]):
    """RGB images, uint8[H, W, 3], up to `max_height` by `max_width` pixels; the size may vary."""

    def __init__(
        self, max_height: int, max_width: int, *, seed: int | np.random.Generator | None = None
    ) -> None:
        self.max_height = max_height
        self.max_width = max_width
        super().__init__(shape=None, dtype=np.uint8, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """False: the size varies."""
        return False

    def sample(self, mask: None = None, probability: None = None) -> npt.NDArray[np.uint8]:
        """Draw a small image of noise."""
        shape = (min(8, self.max_height), min(8, self.max_width), 3)
        return self.np_random.integers(0, 256, size=shape, dtype=np.uint8)

    def contains(self, x: Any) -> bool:
        """Whether `x` is an RGB image within the bounds."""
        return (
            isinstance(x, np.ndarray)
            and x.dtype == np.uint8
            and x.ndim == 3
            and x.shape[2] == 3
            and 0 < x.shape[0] <= self.max_height
            and 0 < x.shape[1] <= self.max_width
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Image)
            and self.max_height == other.max_height
            and self.max_width == other.max_width
        )

    def __hash__(self) -> int:
        return hash((self.max_height, self.max_width))

    def __repr__(self) -> str:
        return f"Image({self.max_height}, {self.max_width})"
