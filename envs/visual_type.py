"""Setting words in Pillow's own font, and in what it lacks: accents, dashes, strokes.

The font that comes with Pillow is there wherever Pillow is, and is the same on every machine, but
has 111 glyphs: no accented letter and no dash. Those are composed of its letters and of strokes
drawn here. What cannot be composed is drawn as a box, so that a reader sees that something is
missing.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from agentgym.errors import ConfigError, RegistryError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageFont import FreeTypeFont

_Stroke = Sequence[tuple[float, float]]
"""Points of a line, in shares of the font's size; y grows downwards."""
_THICK = 0.065
_FINER = 4
"""Strokes are drawn so many times larger and then scaled down, which smooths them."""


def _arc(bend: float) -> _Stroke:
    steps = [i / 6 - 1 for i in range(13)]
    return [(0.13 * s, -0.08 + bend * (0.5 - s * s)) for s in steps]


_DOT = 0.045
_ABOVE: dict[str, Sequence[_Stroke]] = {
    "\u0300": [[(-0.1, -0.15), (0.05, -0.02)]],
    "\u0301": [[(0.1, -0.15), (-0.05, -0.02)]],
    "\u0302": [[(-0.13, -0.02), (0.0, -0.14), (0.13, -0.02)]],
    "\u0303": [[(0.15 * s / 6, -0.08 - 0.04 * math.sin(s / 6 * math.pi)) for s in range(-6, 7)]],
    "\u0304": [[(-0.14, -0.07), (0.14, -0.07)]],
    "\u0306": [_arc(0.11)],
    "\u0307": [[(-_DOT, -0.07), (_DOT, -0.07)]],
    "\u0308": [[(d - _DOT, -0.07), (d + _DOT, -0.07)] for d in (-0.12, 0.12)],
    "\u030a": [[(0.07 * math.sin(a), -0.09 + 0.07 * math.cos(a)) for a in range(8)]],
    "\u030b": [[(d + 0.07, -0.15), (d - 0.05, -0.02)] for d in (-0.08, 0.1)],
    "\u030c": [[(-0.13, -0.14), (0.0, -0.02), (0.13, -0.14)]],
}
_BELOW: dict[str, Sequence[_Stroke]] = {
    "\u0323": [[(-_DOT, 0.1), (_DOT, 0.1)]],
    "\u0326": [[(0.02, 0.07), (-0.05, 0.19)]],
    "\u0327": [[(0.0, 0.0), (0.02, 0.06), (0.08, 0.1), (0.03, 0.17), (-0.08, 0.17)]],
    "\u0328": [[(0.1, 0.0), (0.03, 0.09), (0.07, 0.16), (0.14, 0.15)]],
}
_ACROSS: dict[str, tuple[str, Sequence[_Stroke]]] = {
    "ø": ("o", [[(-0.2, 0.02), (0.2, -0.56)]]),
    "Ø": ("O", [[(-0.25, 0.04), (0.25, -0.74)]]),
    "ł": ("l", [[(-0.13, -0.28), (0.13, -0.44)]]),
    "Ł": ("L", [[(-0.3, -0.24), (0.02, -0.44)]]),
    "đ": ("d", [[(-0.02, -0.6), (0.32, -0.6)]]),
    "Đ": ("D", [[(-0.38, -0.36), (0.0, -0.36)]]),
    "ð": ("d", [[(-0.02, -0.52), (0.3, -0.68)]]),
    "Ð": ("D", [[(-0.38, -0.36), (0.0, -0.36)]]),
    "ħ": ("h", [[(-0.3, -0.6), (0.05, -0.6)]]),
    "Ħ": ("H", [[(-0.38, -0.56), (0.38, -0.56)]]),
    "€": ("C", [[(-0.36, y), (0.1, y)] for y in (-0.3, -0.42)]),
    "£": ("L", [[(-0.32, -0.34), (0.1, -0.34)]]),
    "¥": ("Y", [[(-0.2, -0.22), (0.2, -0.22)]]),
    "–": ("  ", [[(-0.2, -0.27), (0.2, -0.27)]]),
    "—": ("    ", [[(-0.42, -0.27), (0.42, -0.27)]]),
    "×": ("  ", [[(-0.17, -0.44), (0.17, -0.1)], [(-0.17, -0.1), (0.17, -0.44)]]),
}
"""A letter, and what is drawn across its middle."""
_JOINED = {"æ": "ae", "œ": "oe", "Æ": "AE", "Œ": "OE"}
_OVERLAP = 0.09
_INSTEAD = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2212", "-"),
        **dict.fromkeys("\u2012\u2013", "–"),
        **dict.fromkeys("\u2014\u2015", "—"),
        **dict.fromkeys("\u02bc\u2032", "’"),
        **dict.fromkeys("\u02bb\u2035", "‘"),
        "″": "”",
        "„": "”",
        "‚": ",",
        "•": "·",
        "ß": "ss",
        "ẞ": "SS",
        "þ": "th",
        "Þ": "Th",
    }
)
_STACKED = 0.12
"""How far a second accent stands above the first."""
BESIDE = 2
"""Ink may reach so many pixels to the left and right of a word's width; it is cut off there."""
_MOST_KEPT = 4_000
"""Words whose ink is kept, of each size; a word takes two or three kilobytes."""
_DOTTED = frozenset("ij")
_NOT_SHOWN = frozenset({"Cc", "Cf"})


class _Sort(NamedTuple):
    """What is drawn in one go: plain text, and strokes about it."""

    text: str
    above: Sequence[Sequence[_Stroke]] = ()
    around: Sequence[Sequence[_Stroke]] = ()
    dotless: bool = False
    missing: bool = False
    closer: float = 0.0


class Typeface:
    """A font at a size.

    Args:
        size: Of the em, in pixels.
        weight: 1 is regular; 2 is drawn twice, a pixel apart.
        path: A TrueType or OpenType file; Pillow's own font if empty.

    Raises:
        RegistryError: Pillow is not installed.
        ConfigError: The file is no font.
    """

    def __init__(self, size: int, weight: int = 1, path: str = "") -> None:
        self.size = size
        self._font = _load(path, size)
        self._weight = weight
        self._missing = _ink(self._font, "\uffff")
        self._known: dict[str, bool] = {}
        self._cut: dict[str, tuple[int, Picture]] = {}
        self._x_top = -int(self._font.getbbox("x", anchor="ls")[1])

    @property
    def ascent(self) -> int:
        """Pixels above the baseline that hold all ink, accents of capitals included."""
        return math.ceil(self.size * 1.02)

    @property
    def descent(self) -> int:
        """Pixels below the baseline that hold all ink."""
        return math.ceil(self.size * 0.26)

    def width(self, word: str) -> int:
        """How far a word moves what follows, in pixels."""
        return self._block(word)[0]

    def draw(self, picture: Picture, x: int, baseline: int, word: str) -> None:
        """Draw a word, black, into a picture of mode `L`.

        Args:
            picture: White where nothing is.
            x: Where the word starts, in pixels; its ink may begin `BESIDE` before that.
            baseline: On which it stands, in pixels.
            word: Without spaces.
        """
        picture.paste(0, (x - BESIDE, baseline - self.ascent), self._block(word)[1])

    def _block(self, word: str) -> tuple[int, Picture]:
        """The width of a word, and its ink: words come again and again, and are kept."""
        found = self._cut.get(word)
        if found is None:
            found = self._cast(word)
            if len(self._cut) >= _MOST_KEPT:
                self._cut.clear()
            self._cut[word] = found
        return found

    def _cast(self, word: str) -> tuple[int, Picture]:
        from PIL import ImageChops, ImageDraw

        sorts = list(self._sorts(word))
        width = sum(map(self._advance, sorts)) + self._weight - 1
        picture = blank(width + 2 * BESIDE, self.ascent + self.descent)
        canvas, x = ImageDraw.Draw(picture), BESIDE
        for sort in sorts:
            for shift in range(self._weight):
                self._draw(picture, canvas, x + shift, self.ascent, sort)
            x += self._advance(sort)
        return width, ImageChops.invert(picture)

    def _advance(self, sort: _Sort) -> int:
        if sort.missing:
            return round(0.7 * self.size)
        return round(self._font.getlength(sort.text) - sort.closer * self.size)

    def _draw(self, picture: Picture, canvas: Any, x: int, baseline: int, sort: _Sort) -> None:
        if sort.missing:
            left, right = x + round(0.08 * self.size), x + round(0.62 * self.size)
            top = baseline - round(0.7 * self.size)
            canvas.rectangle((left, top, right, baseline - 1), outline=0)
            return
        if sort.dotless:
            self._without_dot(picture, x, baseline, sort.text)
        else:
            canvas.text((x, baseline), sort.text, font=self._font, fill=0, anchor="ls")
        if not (sort.above or sort.around):
            return
        middle = x + self._font.getlength(sort.text) / 2
        top = -self._x_top if sort.dotless else int(self._font.getbbox(sort.text, anchor="ls")[1])
        for level, strokes in enumerate(sort.above):
            self._strokes(picture, middle, baseline + top - _STACKED * self.size * level, strokes)
        for strokes in sort.around:
            self._strokes(picture, middle, baseline, strokes)

    def _without_dot(self, picture: Picture, x: int, baseline: int, letter: str) -> None:
        from PIL import Image, ImageDraw

        size = self.size
        ink = Image.new("L", (2 * size, 2 * size), 0)
        canvas = ImageDraw.Draw(ink)
        canvas.text((size // 2, size), letter, font=self._font, fill=255, anchor="ls")
        canvas.rectangle((0, 0, 2 * size, size - self._x_top - 1), fill=0)
        picture.paste(0, (x - size // 2, baseline - size), ink)

    def _strokes(self, picture: Picture, x: float, y: float, strokes: Sequence[_Stroke]) -> None:
        from PIL import Image, ImageDraw

        reach = self.size
        left, top = math.floor(x) - reach, math.floor(y) - reach
        fine = Image.new("L", (2 * reach * _FINER, 2 * reach * _FINER), 0)
        pen, thick = ImageDraw.Draw(fine), max(round(_THICK * self.size * _FINER), 1)
        for stroke in strokes:
            points = [
                ((x + dx * self.size - left) * _FINER, (y + dy * self.size - top) * _FINER)
                for dx, dy in stroke
            ]
            pen.line(points, fill=255, width=thick, joint="curve")
        mask = fine.resize((2 * reach, 2 * reach), Image.Resampling.BOX)
        picture.paste(0, (left, top), mask)

    def _sorts(self, word: str) -> Iterator[_Sort]:
        if all(map(self._has, word)):
            yield _Sort(word)
            return
        plain = ""
        for cluster in _clusters(word):
            if len(cluster) == 1 and self._has(cluster):
                plain += cluster
                continue
            if plain:
                yield _Sort(plain)
                plain = ""
            yield from self._composed(cluster)
        if plain:
            yield _Sort(plain)

    def _composed(self, cluster: str) -> Iterator[_Sort]:
        whole = unicodedata.normalize("NFC", cluster)
        if len(whole) == 1 and self._has(whole):
            yield _Sort(whole)
            return
        base, *marks = list(unicodedata.normalize("NFD", cluster))
        if base in _JOINED and not marks:
            first, second = tuple(_JOINED[base])
            yield _Sort(first, closer=_OVERLAP)
            yield _Sort(second)
            return
        around: list[Sequence[_Stroke]] = []
        if base in _ACROSS:
            base, across = _ACROSS[base]
            around.append(across)
        dotless = base == "ı" or (base in _DOTTED and any(mark in _ABOVE for mark in marks))
        base = "i" if base == "ı" else base
        above = [_ABOVE[mark] for mark in marks if mark in _ABOVE]
        below = [_BELOW[mark] for mark in marks if mark in _BELOW]
        composable = len(above) + len(below) == len(marks) and len(above) <= 2 and len(below) <= 1
        if composable and all(map(self._has, base)):
            around += below
            yield _Sort(base, above, around, dotless)
            return
        simple = unicodedata.normalize("NFKC", cluster)
        if simple != cluster and all(map(self._has, simple)):
            yield _Sort(simple)
        else:
            yield _Sort("", missing=True)

    def _has(self, letter: str) -> bool:
        known = self._known.get(letter)
        if known is None:
            known = letter.isascii() or _ink(self._font, letter) != self._missing
            self._known[letter] = known
        return known


def spelled(text: str) -> list[str]:
    """The words of a text as they are set: what is never seen is left out."""
    if text.isascii() and text.isprintable():
        return text.split()
    composed = unicodedata.normalize("NFC", text).translate(_INSTEAD)
    kept = (
        each for each in composed if each.isspace() or unicodedata.category(each) not in _NOT_SHOWN
    )
    return "".join(kept).split()


def _clusters(word: str) -> Iterator[str]:
    cluster = ""
    for letter in word:
        if cluster and not unicodedata.combining(letter):
            yield cluster
            cluster = ""
        cluster += letter
    if cluster:
        yield cluster


def _ink(font: FreeTypeFont, letter: str) -> tuple[bytes, tuple[int, int]]:
    if "\ud800" <= letter <= "\udfff":  # half of a pair: no font has it
        letter = "\uffff"
    mask = font.getmask(letter)
    return bytes(mask), mask.size


@lru_cache(maxsize=32)
def typeface(size: int, weight: int = 1, path: str = "") -> Typeface:
    """A `Typeface`, shared."""
    return Typeface(size, weight, path)


def _load(path: str, size: int) -> FreeTypeFont:
    try:
        from PIL import ImageFont
    except ImportError as error:
        advice = "pip install 'agentgym-env[image]'"
        raise RegistryError(f"pictures of pages need Pillow: {advice}") from error
    plain = ImageFont.Layout.BASIC  # the other one is not in every build of Pillow
    if not path:
        font = ImageFont.load_default(size=size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise RegistryError("this Pillow was built without FreeType: pip install pillow")
        return font.font_variant(layout_engine=plain)
    try:
        return ImageFont.truetype(path, size, layout_engine=plain)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path!r} is no font that can be read: {error}") from error


def blank(width: int, height: int) -> Picture:
    """White paper, of mode `L`."""
    from PIL import Image

    return Image.new("L", (width, height), 255)
