"""What an episode of visual search has shown: which images, and which lines of print in them.

A line counts as read when all of it lies within an image and it stands there high enough to be
read; a sentence does when all of its lines were read, in one image or in several. A thumbnail of a
page shows that there is such a page, and nothing of what it says.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from agentgym.actions.pointing import View
from agentgym.envs.search_ledger import Gold, Ledger
from agentgym.envs.search_text import Piece
from agentgym.envs.visual_pages import TITLE, Box, Page, Region
from agentgym.envs.visual_type import spelled
from agentgym.retrieval import Passage
from agentgym.verify.wording import fold

LARGEST_SCALE = 2.0
"""Pixels of an image for one of the page, at most: more would show nothing more."""
LONGEST_SIDE = 4096
_SLACK = 0.5
"""Pixels of the page by which a line may stand out of an image."""
_AROUND = 6
"""Pixels of the page that an expert's crop leaves about what is to be read."""


class Shown(NamedTuple):
    """An image that the agent can speak of."""

    page: Page
    view: View
    """What of the page it shows, and how large."""


class Sight(NamedTuple):
    """How large images are, and what can be read in them."""

    pixels: int
    """Of an image, at most."""
    legible_px: int
    """The least height of a line of print, in pixels of the image, that counts as read."""

    def scale(self, width: float, height: float) -> float:
        """Pixels of the image for one of the page, for a part of so many pixels of the page."""
        room = math.sqrt(self.pixels / (width * height))
        return min(LARGEST_SCALE, room, LONGEST_SIDE / width, LONGEST_SIDE / height)

    def size(self, width: float, height: float) -> tuple[int, int]:
        """Width and height of the image of such a part, at least 1."""
        scale = self.scale(width, height)
        return max(int(width * scale), 1), max(int(height * scale), 1)

    def reads(self, line: Box, view: View) -> bool:
        """Whether a line of the page can be read in an image."""
        left, top, width, height = view.region
        within = (
            left - _SLACK <= line[0]
            and top - _SLACK <= line[1]
            and line[2] <= left + width + _SLACK
            and line[3] <= top + height + _SLACK
        )
        return within and (line[3] - line[1]) * view.size[1] / height >= self.legible_px - 1e-6

    def portions(self, lines: Sequence[Box]) -> Iterator[Box]:
        """Boxes about `lines` in their order, as few as let each line be read."""
        if not lines:
            return
        least = min(line[3] - line[1] for line in lines)
        around = 0, 0, 0, 0
        for place, line in enumerate(lines):
            wider = _union(around, line) if place else line
            width, height = (wider[2] - wider[0]) + 4 * _AROUND, (wider[3] - wider[1]) + 4 * _AROUND
            # One pixel less, for sizes of images are whole numbers.
            if place and least * (self.scale(width, height) - 1 / height) < self.legible_px:
                yield _padded(around)
                wider = line
            around = wider
        yield _padded(around)


def _union(one: Box, other: Box) -> Box:
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _padded(box: Box) -> Box:
    return box[0] - _AROUND, box[1] - _AROUND, box[2] + _AROUND, box[3] + _AROUND


class Reading(Ledger):
    """A ledger of images: what was shown is what could be read in them.

    Args:
        gold: What is to be found.
        sight: What can be read.
        pages: The page that each passage with evidence is on, by its id; None where nobody knows.
    """

    __slots__ = ("crops", "images", "left", "names", "opened", "pages", "read", "sight")

    def __init__(self, gold: Gold, sight: Sight, pages: Mapping[str, Page | None]) -> None:
        super().__init__(gold)
        self.sight = sight
        self.pages = pages
        self.images: dict[str, Shown] = {}
        """Everything that can be spoken of, by id: pages are p1, p2, …; crops c1, c2, …"""
        self.names: dict[str, str] = {}
        """The id of each page that was shown, by its key."""
        self.opened: frozenset[str] = frozenset()
        """Keys of the pages that were shown by themselves."""
        self.read: dict[tuple[str, int], int] = {}
        """Which lines of each sentence were read, a bit each."""
        self.crops = 0
        self.left = self.missing
        """Turns that it took to read what evidence was left, when this was asked last."""

    def copy(self) -> Reading:
        """The same, to go on by itself."""
        twin = copy.copy(self)
        for name in ("passages", "_masks", "images", "names", "read"):
            setattr(twin, name, dict(getattr(self, name)))
        return twin

    # ------------------------------------------------------------------------------- what is new

    def name_page(self, page: Page) -> str:
        """The id of a page, a new one if it was not shown before."""
        id = self.names.setdefault(page.key, f"p{len(self.names) + 1}")
        self.passages.setdefault(id, page.passages[0])
        return id

    def name_crop(self) -> str:
        """An id for another crop."""
        self.crops += 1
        return f"c{self.crops}"

    def look(self, id: str, page: Page, view: View) -> dict[str, list[int]]:
        """Note that an image is shown; says which sentences of which passages it ends to show."""
        self.images[id] = Shown(page, view)
        found: dict[str, list[int]] = {}
        for key, lines in page.lines.items():
            seen = sum(self.sight.reads(line, view) << i for i, line in enumerate(lines))
            if not seen:
                continue
            self.read[key] = seen | self.read.get(key, 0)
            if self.read[key] == (1 << len(lines)) - 1:
                found.setdefault(key[0], []).append(key[1])
        name = self.name_page(page)
        for passage in page.passages:
            if passage.id in found:
                sentences = [each for each in found[passage.id] if each != TITLE]
                self.show(passage, name, _piece(passage, tuple(found[passage.id])))
                found[passage.id] = sentences
        return {passage: sentences for passage, sentences in found.items() if sentences}

    # ---------------------------------------------------------------------------------- how far

    def unread(self, page: Page, document: str, sentence: int | None) -> list[Box]:
        """Lines of a unit of evidence that were not read."""
        return [
            line
            for key in _keys(page, document, sentence)
            for place, line in enumerate(page.lines[key])
            if not self.read.get(key, 0) >> place & 1
        ]

    @property
    def missing(self) -> int | None:
        """Turns that it takes to read what evidence is left; None where that is not known.

        Fewer may do, where images are so large that thumbnails can be read.
        """
        if not self.gold.units:
            return None
        turns, waiting = 0, set[str]()
        for place, places in enumerate(self.gold.units):
            if place in self.found:
                continue
            document, sentence = places[0]
            page = self.pages[document]
            if page is None:
                return None
            lines = self.unread(page, document, sentence)
            if page.key not in self.opened:
                whole = View((0, 0, *page.size), self.sight.size(*page.size))
                lines = [line for line in lines if not self.sight.reads(line, whole)]
                waiting.add(page.key)
            turns += len(list(self.sight.portions(lines)))
        return turns + len(waiting) + len(waiting - self.names.keys())

    @property
    def state_key(self) -> str:
        """Which pages were shown, which were opened, and what was read, in whatever order."""
        told = [sorted(self.names), sorted(self.opened), sorted(self.read.items())]
        text = repr(told).encode("utf-8", "backslashreplace")
        return blake2b(text, digest_size=8).hexdigest()

    def grounding(self, page: Page) -> dict[str, Any]:
        """Where the evidence is on a page, in its pixels."""
        told = [place for places in self.gold.units for place in places]
        keys = dict.fromkeys(key for place in told for key in _keys(page, *place))
        lines = [line for key in keys for line in page.lines[key]]
        around = lines[0] if lines else None
        for line in lines[1:]:
            around = _union(around, line) if around else line
        return {
            "evidence_boxes": [list(line) for line in lines],
            "target_box": list(around) if around else None,
            "image_size": list(page.size),
        }


def _keys(page: Page, document: str, sentence: int | None) -> list[tuple[str, int]]:
    """Sentences of a page that a unit of evidence is."""
    if sentence is not None:
        return [(document, sentence)] if (document, sentence) in page.lines else []
    return [key for key in page.lines if key[0] == document and key[1] != TITLE]


def region_of(view: View) -> Region:
    """The part of a page that a view shows."""
    left, top, width, height = view.region
    return left, top, left + width, top + height


@lru_cache(maxsize=16_384)
def _piece(passage: Passage, places: tuple[int, ...]) -> Piece:
    """Sentences of a passage, and its title if it is among them, as what was shown."""
    texts = [passage.title if place == TITLE else passage.sentences[place] for place in places]
    sentences = [place for place in places if place != TITLE]
    text = " ".join(texts)
    blank = [place for place, said in enumerate(passage.sentences) if not spelled(said)]
    mask = sum(1 << place for place in {*sentences, *blank})  # there is nothing of those to read
    return Piece(text, sentences, mask, fold(text).casefold())
