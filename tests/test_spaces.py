"""Spaces that hold real text and images."""

import string
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Dict, Space
from gymnasium.vector.utils import batch_space

from agentgym import Image, Unicode

NOISE = np.zeros((4, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize("text", ["", "é ✓ 你好 🙂", "\x00\x1b", "\ud800", "x" * 100])
def test_unicode_holds_any_text_up_to_its_length(text: str) -> None:
    assert text in Unicode(100)


@pytest.mark.parametrize("other", ["x" * 101, b"bytes", None, 3, ["x"]])
def test_unicode_holds_nothing_else(other: Any) -> None:
    assert other not in Unicode(100)


def test_unicode_may_ask_for_a_least_length() -> None:
    space = Unicode(5, min_length=2)
    assert "a" not in space
    assert "ab" in space


@pytest.mark.parametrize(
    "space", [Unicode(100), Unicode(3), Unicode(0), Unicode(40, min_length=30), Image(20, 30)]
)
def test_samples_are_members_and_seeded(space: Space[Any]) -> None:
    space.seed(1)
    first = [space.sample() for _ in range(20)]
    space.seed(1)
    assert all(sample in space for sample in first)
    assert all(np.array_equal(sample, space.sample()) for sample in first)


def test_samples_of_text_are_short_words_unless_a_sampler_is_given() -> None:
    space = Unicode(10_000)
    assert all(
        len(text) <= 16 and set(text) <= set(string.ascii_lowercase)
        for text in (space.sample() for _ in range(20))
    )
    assert Unicode(9, sampler=lambda rng: "look").sample() == "look"


@pytest.mark.parametrize(
    "image",
    [
        NOISE.astype(np.float32),
        NOISE[..., :1],
        NOISE[0],
        np.zeros((11, 6, 3), dtype=np.uint8),
        np.zeros((4, 0, 3), dtype=np.uint8),
        NOISE.tolist(),
        None,
    ],
)
def test_images_are_bytes_of_red_green_and_blue_within_bounds(image: Any) -> None:
    assert NOISE in Image(10, 10)
    assert image not in Image(10, 10)


def test_spaces_are_equal_when_they_hold_the_same() -> None:
    assert Unicode(3) == Unicode(3, sampler=lambda rng: "a")
    assert Unicode(3) != Unicode(4)
    assert Unicode(3) != Unicode(3, min_length=1)
    assert Image(3, 4) == Image(3, 4) != Image(4, 3)
    assert len({Unicode(3), Unicode(3), Image(3, 4), Image(3, 4)}) == 2
    assert repr([Unicode(3), Image(3, 4)]) == "[Unicode(3), Image(3, 4)]"


def test_spaces_can_be_batched_and_nested() -> None:
    both = Dict({"text": Unicode(10), "image": Image(8, 8)})
    assert {"text": "hello", "image": NOISE} in both
    batch = batch_space(both, 2)
    assert batch.sample() in batch
    assert ("a", "b") in batch_space(Unicode(10), 2)
