"""Ways of writing that do not count: one normal form for the texts that say the same.

SQuAD's normalisation drops case, articles and punctuation. It also makes "-40" equal "40", "v1.2"
equal "v12", "C++" equal "C", "f'(x)" equal "f(x)", "vitamin A" equal "vitamin", and any two answers
made of articles and punctuation alone equal the empty one: all of which a model that is paid for it
finds. Here a mark goes where it can only wrap or separate, and stays where it may say something.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

_SUPERSCRIPT = re.compile(r"([⁰¹²³⁴-⁹⁺⁻]++)(\d?)")
_VULGAR = re.compile(r"(?<=[0-9])(?=[¼-¾⅐-⅞↉])|(?<=[¼-¾⅐-⅞↉])(?=[\d¼-¾⅐-⅞↉])")
_SAME = {
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹣－⁃"), "-"),
    **dict.fromkeys(map(ord, "⁄∕"), "/"),
    **dict.fromkeys(map(ord, "‘’‛′´ʼ"), "'"),
    **dict.fromkeys(map(ord, "“”„‟″"), '"'),
}
_SEPARATORS = frozenset("、。・「」『』【】《》〈〉‹›«»¿¡•،؛؟।")
"""Punctuation of other scripts that only separates."""
_ATTACHED = frozenset("€£¥°‰∞")
"""Symbols that are part of what they touch; any other is a word of its own."""
_ARTICLES = frozenset({"a", "an", "the"})

_LETTER = r"[a-z\x80-\U0010ffff]"
_PAIR = rf"{_LETTER}{{2}}"
"""Two letters make a word; marks beside a single letter or a digit are a formula's."""
_MARK = r"[-+*/^=<>|&~!:#]+"

_EMPHASIS = re.compile(
    r"""(?<![^\s("'])(\*{1,3})(?=[^\s*])([^*]{1,500})(?<=[^\s*])\1(?![^\s)"'.,;:!?])"""
)
_QUOTES = re.compile(
    r"""(?<![^\s(\[{*])(["'`])(?=\S)(.{1,500}?)(?<=\S)\1(?![^\s)\]}*.,;:!?])""", re.DOTALL
)
_BRACKETS = re.compile(r"\(([^\s()\[\]{},;]+)\)|([^\s()\[\]{},;]+)\)")
_INITIALS_APART = re.compile(rf"(?<!\w)({_LETTER}\.)\s+(?={_LETTER}\.)")
_INITIALS = re.compile(rf"(?<![\w.'])({_LETTER}(?:\.{_LETTER})+)(?:\.(?!\w)|(?![\w.']))")
_THOUSANDS = re.compile(r"(?<![\w.,])([0-9]{1,3}(?:,[0-9]{3})+)(?!,?[0-9])")
_BARE_POINT = re.compile(r"(?<![\w.])\.(?=[0-9])")
_NO_SPACE = re.compile(
    r"(?<=[(\[{])\s+|\s+(?=[)\]}])|(?<=[0-9])\s+(?=[%°‰])|(?<=[$€£¥])\s+(?=[0-9.])"
)
_BETWEEN = re.compile(
    rf"(?<=[^\s,;(\[{{])(?!(?<={_PAIR})\s-\s{_PAIR})\s({_MARK})\s(?=[^\s,;)\]}}])"
)
_BEFORE = re.compile(rf"((?:^|[(\[{{,;])\s?{_MARK})\s(?=\S)")
_AFTER = re.compile(rf"\s({_MARK})(?=\s?(?:$|[)\]}},;]))")
_SEPARATES = re.compile(
    rf"""[,;] | :(?!\S)                                   # London, England   Note: yes
      | (?<!\.)\.(?![\w.]) | (?<![0-9.])\.{{2,}}          # Yes.  well...  but v1.2, 0.3...
      | (?:(?<={_PAIR})|(?<![\w)\]}}!?]))[!?]+(?![^\s)\]}}"',;:.])  # Yahoo!  but n!, !p
      | (?<={_PAIR})-(?={_PAIR})                          # one-way  but x-y, e-mail, GPT-4
    """,
    re.VERBOSE,
)


def normalise(text: str) -> str:
    """What two texts must share to be the same answer; of any text, and idempotent.

    1. Case, invisible characters and white space do not count; digits of every script, dashes,
       quotes and Unicode's compatible forms are one.
    2. What wraps goes: emphasis, quotes around words, round brackets around one word.
    3. What is one is written as one: 1,000 is 1000, .5 is 0.5, U. S. A. is usa.
    4. Spaces around a mark do not count (6 - 2 is 6-2), a space on one side does (6 -2 is not).
    5. What only separates is a space: commas; points and colons that end a word; ! and ? after a
       word; a hyphen between words. A word has two letters or more: beside a digit or a single
       letter all but the comma stays (x-5, n!, 12:30, v1.2).
    6. "the" goes before anything but an article, "a" and "an" go at the beginning before a word,
       unless there is another single letter (A to Z). None goes where it ends the text.

    Every other mark stays. What would be left empty stays as it is.

    Source: SQuAD's evaluation script (Rajpurkar et al. 2016); deviations as in the module's
    docstring.
    """
    for _ in range(8):
        before, text = text, _once(text)
        if text == before:
            break
    return text


def fold(text: str) -> str:
    """`text` in compatible forms: one minus, one slash, ASCII digits, nothing invisible.

    Powers stay powers (10² is 10^2), and mixed numbers stay mixed (1½ is 1 1/2).
    """
    if text.isascii():
        return text
    text = _SUPERSCRIPT.sub(lambda found: f"^{found[1]} {found[2]}".rstrip(" "), text)
    text = unicodedata.normalize("NFKC", _VULGAR.sub(" ", text.translate(_SAME)))
    return "".join(map(_plain, text)).translate(_SAME)


def _plain(character: str) -> str:
    if character.isascii():
        return character
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return "" if unicodedata.category(character)[0] == "C" else character


def _apart(character: str) -> str:
    """Other scripts' separators as a space, and their symbols as words."""
    if character.isascii() or character in _ATTACHED:
        return character
    category = unicodedata.category(character)[0]
    if character in _SEPARATORS or category == "Z":
        return " "
    return f" {character} " if category in "PS" else character


def _once(text: str) -> str:
    folded = " ".join(fold(fold(text).casefold()).split())
    text = folded if folded.isascii() else " ".join("".join(map(_apart, folded)).split())
    text = _spaced(_joined(_unwrapped(text)))
    return " ".join(_without_articles(_SEPARATES.sub(" ", text).split())) or folded


def _unwrapped(text: str) -> str:
    text = _QUOTES.sub(r"\2", _EMPHASIS.sub(r"\2", text))
    bracketed = _BRACKETS.fullmatch(text)
    return text if bracketed is None else bracketed[1] or bracketed[2]


def _joined(text: str) -> str:
    text = _INITIALS_APART.sub(r"\1", text)
    text = _INITIALS.sub(lambda found: found[1].replace(".", ""), text)
    text = _THOUSANDS.sub(lambda found: found[1].replace(",", ""), text)
    return _BARE_POINT.sub("0.", text)


def _spaced(text: str) -> str:
    text = _BETWEEN.sub(r"\1", _NO_SPACE.sub("", text))
    return _AFTER.sub(r"\1", _BEFORE.sub(r"\1", text))


def _without_articles(words: list[str]) -> list[str]:
    kept = [word for word, after in pairwise(words) if word != "the" or after in _ARTICLES]
    words = kept + words[-1:]
    if len(words) < 2 or words[0] not in ("a", "an") or words[1] in _ARTICLES:
        return words
    letters = any(len(word) == 1 and word.isalpha() for word in words[1:])
    return words if letters or not re.match(_PAIR, words[1]) else words[1:]
