"""Pages of print: passages set in two columns, with the exact place of every sentence.

A page is a function of its passages, its number and the font: the same pixels on every machine with
the same Pillow. Places are in pixels of the page, [left, top, right, bottom], right and bottom
exclusive, a box for each line that a sentence runs over; boxes of a page do not overlap, and all
ink of a sentence is within its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from agentgym.envs.visual_type import BESIDE, Typeface, blank, spelled, typeface
from agentgym.retrieval import Corpus, Passage

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Pixels = npt.NDArray[np.uint8]
"""uint8[H, W, 3]."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels; right and bottom are exclusive."""
Region = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels, between them where need be."""

WIDTH = 1240
"""Of a page: A4 at 150 dots an inch. Its height is what the text needs, 1754 for an A4 page."""
LONGEST = 9_000
"""Characters of a passage that are set; a longer one is cut, visibly, and the rest has no place."""
TITLE, _NONE = -1, -2
"""In place of the index of a sentence."""
_LONGEST_TITLE = 300
_MARGIN, _GUTTER = 96, 52
_COLUMN = (WIDTH - 2 * _MARGIN - _GUTTER) // 2
_HEAD, _TOP, _BOTTOM = 84, 124, 90
_BODY, _LEADING, _SPACE, _SMALL = 20, 28, 5, 17
_HEAD_TONE, _RULE_TONE = 110, 200
_TITLE, _TITLE_LEADING, _TITLE_ABOVE, _TITLE_SPACE = 25, 34, 22, 7
_LONGEST_WORD = 40
"""Characters; a longer word is broken, as is one that is wider than a column."""
_WIDEST_GAP = 22
"""A line whose words would stand farther apart is not justified."""
_THUMBS_ACROSS, _GAP, _LABEL = 4, 10, 26
_LONGEST_SHEET, _LEAST_THUMB = 4096, 0.02
_TABLE = 222
"""The tone about thumbnails."""
_PAPER, _INK = (253, 251, 245), (24, 25, 30)
_TONES = np.array(
    [[round(i + (p - i) * tone / 255) for p, i in zip(_PAPER, _INK, strict=True)]
     for tone in range(256)],
    dtype=np.uint8,
)  # fmt: skip
"""uint8[256, 3]: the colour of each tone from ink to paper."""


class _Word(NamedTuple):
    """A word in its place."""

    size: int
    weight: int
    x: int
    baseline: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A page that was set; it is painted when it is looked at."""

    passages: tuple[Passage, ...]
    size: tuple[int, int]
    """Width and height, in pixels."""
    lines: Mapping[tuple[str, int], tuple[Box, ...]]
    """By id of a passage and index of a sentence, -1 for the title; none without ink is in it."""
    words: tuple[_Word, ...]
    rules: tuple[tuple[int, Box], ...]
    """Lines that are drawn, each with its tone."""
    font: str = ""

    @property
    def key(self) -> str:
        """The id of its first passage."""
        return self.passages[0].id

    @property
    def frame(self) -> Box:
        """All of it."""
        return (0, 0, *self.size)

    @property
    def picture(self) -> Picture:
        """In tones from 0, ink, to 255, paper."""
        return _painted(self)

    def part(self, region: Region, size: tuple[int, int]) -> Picture:
        """A part of the page, scaled to `size`, width and height in pixels; exactly that part."""
        from PIL import Image

        width, height = self.size
        left, top = max(region[0], 0), max(region[1], 0)
        box = (left, top, min(region[2], width), min(region[3], height))
        return self.picture.resize(size, Image.Resampling.BICUBIC, box=box)

    def shown(self, region: Region, size: tuple[int, int]) -> Pixels:
        """The same, in the colours of ink and paper."""
        return coloured(self.part(region, size))


def coloured(tones: Picture) -> Pixels:
    """A picture of tones in the colours of ink and paper."""
    colours: Pixels = np.take(_TONES, np.asarray(tones), axis=0)
    return colours


def sheet(pages: Mapping[str, Page], pixels: int) -> tuple[Pixels, dict[str, tuple[int, int]]]:
    """Thumbnails of pages side by side, each below its id.

    Args:
        pages: By id, in order; at least one.
        pixels: Of the sheet, at most; a few more where there is no room for the ids.

    Returns:
        The picture, and width and height of each thumbnail, in pixels.
    """
    across = min(len(pages), _THUMBS_ACROSS)
    down = -(-len(pages) // across)
    tall = max(page.size[1] for page in pages.values())
    scale = min(1.0, math.sqrt(pixels / (across * WIDTH * down * tall)))
    while True:
        cell = int(WIDTH * scale) + _GAP, int(tall * scale) + _LABEL + _GAP
        width, height = across * cell[0] + _GAP, down * cell[1] + _GAP
        small = width * height <= pixels and max(width, height) <= _LONGEST_SHEET
        if small or scale < _LEAST_THUMB:
            break
        scale *= 0.98
    face, sizes = typeface(18, 2), dict[str, tuple[int, int]]()
    picture = blank(width, height)
    picture.paste(_TABLE, (0, 0, width, height))
    for place, (id, page) in enumerate(pages.items()):
        left = _GAP + place % across * cell[0]
        top = _GAP + place // across * cell[1]
        sizes[id] = size = max(int(WIDTH * scale), 1), max(int(page.size[1] * scale), 1)
        face.draw(picture, left + 1, top + face.ascent - 2, id)
        picture.paste(page.part(page.frame, size), (left, top + _LABEL))
    return coloured(picture), sizes


@dataclass(slots=True)
class _Line:
    """Words that stand beside each other: where each begins, from the line's own beginning."""

    passage: Passage
    title: bool
    words: list[tuple[int, str, int]] = field(default_factory=list)
    """Pixels from the left, the word, and the index of its sentence: -1 in a title, -2 in none."""
    width: int = 0
    above: int = 0
    """Pixels left free above it, unless it is the first of a column."""

    @property
    def height(self) -> int:
        return _TITLE_LEADING if self.title else _LEADING


@lru_cache(maxsize=32)
def _painted(page: Page) -> Picture:
    """A page takes two megabytes: the last 32 are kept, and any other is painted again."""
    picture = blank(*page.size)
    for tone, box in page.rules:
        picture.paste(tone, box)
    for size, weight, x, baseline, word in page.words:
        typeface(size, weight, page.font).draw(picture, x, baseline, word)
    return picture


@lru_cache(maxsize=512)
def set_page(passages: tuple[Passage, ...], number: int = 0, font: str = "") -> Page:
    """Set a page.

    Args:
        passages: What is on it, at least one.
        number: Of the page, printed at its head; none is if it is 0.
        font: A TrueType or OpenType file; Pillow's own if empty.

    Raises:
        RegistryError: Pillow is not installed.
        ConfigError: The file is no font.
    """
    faces = {False: (_BODY, 1), True: (_TITLE, 2)}
    body, title = (typeface(*each, font) for each in faces.values())
    columns = _columns([line for each in passages for line in _flow(each, body, title)])
    height = max(map(_height, columns))
    words = list(_head(passages, number, font))
    lines: dict[tuple[str, int], list[Box]] = {}
    for column, left in zip(columns, (_MARGIN, _MARGIN + _COLUMN + _GUTTER), strict=True):
        top = _TOP
        for line in column:
            top += line.above if line is not column[0] else 0
            face = title if line.title else body
            baseline = top + face.ascent
            for x, word, _ in line.words:
                words.append(_Word(*faces[line.title], left + x, baseline, word))
            for sentence, start, end in _runs(line, face):
                box = (left + start, top, left + end, baseline + face.descent)
                lines.setdefault((line.passage.id, sentence), []).append(box)
            top += line.height
    rules = [(_HEAD_TONE, (_MARGIN, _HEAD, WIDTH - _MARGIN, _HEAD + 1))]
    if columns[1]:
        middle = _MARGIN + _COLUMN + _GUTTER // 2
        rules.append((_RULE_TONE, (middle, _TOP + 4, middle + 1, _TOP + height)))
    kept = {key: tuple(boxes) for key, boxes in lines.items()}
    size = WIDTH, _TOP + height + _BOTTOM
    return Page(passages, size, kept, tuple(words), tuple(rules), font)


def _head(passages: Sequence[Passage], number: int, font: str) -> Iterator[_Word]:
    """The first and the last title on the page, and its number."""
    face, baseline = typeface(_SMALL, 1, font), _HEAD - 12
    first, last = (spelled(each.title[:_LONGEST_TITLE]) for each in (passages[0], passages[-1]))
    x = _MARGIN
    for word in first if first == last else [*first, "–", *last]:
        if x + face.width(word) > WIDTH - _MARGIN - 80:
            break
        yield _Word(_SMALL, 1, x, baseline, word)
        x += face.width(word) + _SPACE
    if number:
        told = str(number)
        yield _Word(_SMALL, 1, WIDTH - _MARGIN - face.width(told), baseline, told)


def _flow(passage: Passage, body: Typeface, title: Typeface) -> Iterator[_Line]:
    """The lines of a passage, its title first."""
    above = _TITLE_ABOVE
    heading = [(word, TITLE) for word in spelled(passage.title[:_LONGEST_TITLE])]
    for line in _broken(_Line(passage, True), heading, title, _TITLE_SPACE):
        line.above, above = above, 0
        yield line
    words: list[tuple[str, int]] = []
    room = LONGEST
    for index, sentence in enumerate(passage.sentences):
        whole = len(sentence) <= room
        words += [(word, index if whole else _NONE) for word in spelled(sentence[:room])]
        room -= len(sentence)
        if not whole:
            words.append(("[…]", _NONE))
            break
    lines = list(_broken(_Line(passage, False), words, body, _SPACE))
    for line in lines:
        line.above, above = above, 0
        if line is not lines[-1]:
            _justify(line)
        yield line


def _broken(
    line: _Line, words: Sequence[tuple[str, int]], face: Typeface, space: int
) -> Iterator[_Line]:
    """`line` filled with words, and as many more like it as they take."""
    for word, sentence in _fitting(words, face):
        start = line.width + space if line.words else 0
        width = face.width(word)
        if line.words and start + width > _COLUMN:
            yield line
            line, start = _Line(line.passage, line.title), 0
        line.words.append((start, word, sentence))
        line.width = start + width
    if line.words:
        yield line


def _fitting(words: Sequence[tuple[str, int]], face: Typeface) -> Iterator[tuple[str, int]]:
    """The words; those that are wider than a column in pieces."""
    for word, sentence in words:
        rest = word
        while len(rest) > _LONGEST_WORD or (len(rest) > 1 and face.width(rest) > _COLUMN):
            cut = min(len(rest) - 1, _LONGEST_WORD)
            while cut > 1 and face.width(rest[:cut]) > _COLUMN:
                cut -= 1
            yield rest[:cut], sentence
            rest = rest[cut:]
        yield rest, sentence


def _justify(line: _Line) -> None:
    """Move words apart until the line is as wide as the column."""
    gaps, spare = len(line.words) - 1, _COLUMN - line.width
    if gaps < 1 or _SPACE + spare / gaps > _WIDEST_GAP:
        return
    line.words = [
        (x + spare * place // gaps, word, sentence)
        for place, (x, word, sentence) in enumerate(line.words)
    ]
    line.width = _COLUMN


def _height(column: Sequence[_Line]) -> int:
    inner = sum(line.above for line in column[1:])
    return inner + sum(line.height for line in column)


def _columns(flow: Sequence[_Line]) -> tuple[Sequence[_Line], Sequence[_Line]]:
    """Two columns of about one height, the left one no lower; no title stands at a foot."""
    whole = _height(flow)
    half = 0
    for place, line in enumerate(flow):
        if place and half >= whole / 2 and not flow[place - 1].title:
            return flow[:place], flow[place:]
        half += line.height + (line.above if place else 0)
    return flow, []


def _runs(line: _Line, face: Typeface) -> Iterator[tuple[int, int, int]]:
    """Each sentence of a line, with the pixels from and to which its ink may reach."""
    for sentence in dict.fromkeys(each for _, _, each in line.words if each != _NONE):
        own = [(x, word) for x, word, each in line.words if each == sentence]
        last, word = own[-1]
        yield sentence, own[0][0] - BESIDE, last + face.width(word) + BESIDE


class Book:
    """A corpus as pages: neighbours share one, as many as there is room for.

    Args:
        corpus: In its order; without one each passage is a page of its own.
        page_chars: Characters that are set on a page; a longer passage has one of its own.
        font: A TrueType or OpenType file; Pillow's own if empty.
    """

    def __init__(self, corpus: Corpus | None, page_chars: int = 4_500, font: str = "") -> None:
        self._font = font
        self._pages: list[tuple[Passage, ...]] = []
        self._numbers: dict[str, int] = {}
        for passages in _paged(corpus or (), page_chars):
            self._numbers.update((each.id, len(self._pages)) for each in passages)
            self._pages.append(passages)

    def __len__(self) -> int:
        return len(self._pages)

    def find(self, passage: Passage) -> Page:
        """The page that a passage is on; one of its own, unnumbered, if it is not in the corpus."""
        number = self._numbers.get(passage.id)
        if number is None:
            return set_page((passage,), 0, self._font)
        return set_page(self._pages[number], number + 1, self._font)

    def key(self, id: str) -> str:
        """The key of the page that the passage of an id is on."""
        number = self._numbers.get(id)
        return id if number is None else self._pages[number][0].id

    def page(self, key: str) -> Page | None:
        """The page of a key, or the one that a passage is on; None if it is not in the corpus."""
        number = self._numbers.get(key)
        if number is None:
            return None
        return set_page(self._pages[number], number + 1, self._font)


def _paged(corpus: Corpus | tuple[()], page_chars: int) -> Iterator[tuple[Passage, ...]]:
    together: list[Passage] = []
    room = page_chars
    for passage in corpus:
        length = len(passage.title) + sum(map(len, passage.sentences)) + 100
        if together and length > room:
            yield tuple(together)
            together, room = [], page_chars
        together.append(passage)
        room -= length
    if together:
        yield tuple(together)
