"""How a site looks and what it says besides: theme, layout, language, distractions.

None of it changes what a task asks for, or whether it was done. Names of products and people stay
as they are in every language; what a site says itself is translated.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from agentgym.errors import ConfigError, did_you_mean

THEMES = ("light", "dark", "warm", "contrast")
LAYOUTS = ("standard", "mirrored", "compact")
LANGUAGES = ("en", "de", "fr", "es")
AXES = ("theme", "layout", "language", "interruptions", "injection")
"""What can be drawn by the seed."""


@dataclass(frozen=True, slots=True)
class Look:
    """One appearance of a site.

    Raises:
        ConfigError: There is no such theme, layout or language.
    """

    theme: str = "light"
    layout: str = "standard"
    """`mirrored` swaps the sides, `compact` shows more in less space."""
    language: str = "en"
    """Of the site; goals are in English."""
    banner: bool = False
    """A banner asks about cookies until it is answered; it covers the foot of the page."""
    popup: bool = False
    """A dialog covers the page until it is closed."""
    injection: bool = False
    """Texts by strangers (reviews, tickets) hold instructions to whoever reads them."""

    def __post_init__(self) -> None:
        known = {"theme": THEMES, "layout": LAYOUTS, "language": LANGUAGES}
        for axis, values in known.items():
            if (given := getattr(self, axis)) not in values:
                hint = did_you_mean(str(given), values)
                raise ConfigError(f"no {axis} {given!r}{hint} ({', '.join(values)})")


def draw_look(seed: int, vary: Collection[str] = AXES, look: Look | None = None) -> Look:
    """A look by the seed in the axes of `vary`, as `look` (or plain) in the others.

    Raises:
        ConfigError: `vary` names what is no axis.
    """
    for axis in vary:
        if axis not in AXES:
            raise ConfigError(f"no axis {axis!r}{did_you_mean(axis, AXES)} ({', '.join(AXES)})")
    rng = random.Random(f"look:{seed}")
    # All are drawn, so that an axis is the same whatever else varies.
    theme, layout, language = rng.choice(THEMES), rng.choice(LAYOUTS), rng.choice(LANGUAGES)
    banner, popup, injection = (rng.random() < 0.5 for _ in range(3))
    look = look or Look()
    if "theme" in vary:
        look = replace(look, theme=theme)
    if "layout" in vary:
        look = replace(look, layout=layout)
    if "language" in vary:
        look = replace(look, language=language)
    if "interruptions" in vary:
        look = replace(look, banner=banner, popup=popup)
    if "injection" in vary:
        look = replace(look, injection=injection)
    return look


def money(cents: int) -> str:
    """An amount as sites write it: `$1,234.50`."""
    return f"-${-cents / 100:,.2f}" if cents < 0 else f"${cents / 100:,.2f}"


class Words:
    """What a site says, in one language: `words("Add to cart")`.

    Untranslated texts, such as names of products, come back as they are. A text may have places:
    `words("Remove {name}", name=...)`.
    """

    def __init__(self, translated: dict[str, str]) -> None:
        self._translated = translated

    def __call__(self, text: object, /, **places: object) -> str:
        """The text in this language."""
        said = self._translated.get(str(text), str(text))
        return said.format(**places) if places else said


@lru_cache(maxsize=64)
def read_words(folder: Path, language: str) -> Words:
    """A site's words, from its `words.tsv`: the English, then the other languages' columns."""
    if language == "en":
        return Words({})
    column = LANGUAGES.index(language)
    translated = {}
    for file in (Path(__file__).parent / "common" / "words.tsv", folder / "words.tsv"):
        for line in file.read_text(encoding="utf-8").splitlines():
            columns = line.split("\t")
            if len(columns) == len(LANGUAGES):
                translated[columns[0]] = columns[column]
    return Words(translated)
