"""How passages are shown: whole sentences within a budget, and nothing that passes for more.

What is retrieved is untrusted. `neutralise` keeps what it says and takes away what it could be
taken for: tags of tools, tokens of chat templates, line breaks that would begin another passage,
and characters that are not seen. Orders in a text ("ignore all previous instructions") stay: they
are data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from agentgym.retrieval import Passage
from agentgym.verify.wording import fold

MAX_TITLE = 200
"""Characters of a title that are shown."""
MAX_ID = 100
CUT = " …"
"""Marks where a text was cut."""

_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_UNSEEN = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]+"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG = re.compile("<(?=[\u200c\u200d]*[^\\W\\d]|[\u200c\u200d]*[/|!?｜])")
_TAG_END = re.compile(r"(?<=[\w/|\"'?!｜])>")
_MARK = re.compile(r"\[(\s*/?\s*[A-Z][A-Z_]{2,40}\s*)\]")
_ECHOED = re.compile(r"<(?=[|｜]|\s*/?\s*information)", re.IGNORECASE)


class Piece(NamedTuple):
    """A part of a passage as it is shown."""

    text: str
    sentences: list[int]
    """Indices of those shown to their end; not to be changed."""
    mask: int
    """The same, a bit each."""
    folded: str
    """Title and text in the form that answers are looked for in."""


def neutralise(text: str) -> str:
    """`text` on one line, its tags and template tokens in look-alike brackets; idempotent."""
    if text.isascii() and text.isprintable() and "<" not in text and "[" not in text:
        return text
    text = _on_one_line(text)
    if "<" in text:
        text = _TAG_END.sub("›", _TAG.sub("‹", text))
    return _MARK.sub(r"⟦\1⟧", text)


def defuse(message: str) -> str:
    """A refusal that quotes what the model said, without what closes an observation or a turn."""
    lines = (_ECHOED.sub("‹", _on_one_line(line)) for line in message.split("\n"))
    return _MARK.sub(r"⟦\1⟧", "\n".join(lines))


def _on_one_line(text: str) -> str:
    """`text` with nothing in it that is not seen."""
    text = _LINE.sub(" ", text)
    return text if text.isascii() else _SURROGATE.sub("\ufffd", _UNSEEN.sub("", text))


def cut(text: str, limit: int) -> str:
    """`text`, or as much of it as fits with the mark of a cut."""
    return text if len(text) <= limit else text[: limit - len(CUT)].rstrip() + CUT


def shown_id(id: str) -> str:
    """An id as it is shown, and asked for: no brackets, not long, and of one passage only."""
    plain = cut(neutralise(id).replace("[", "⟦").replace("]", "⟧").strip(), MAX_ID - 10)
    if plain == id:
        return id
    return f"{plain} #{blake2b(id.encode('utf-8', 'surrogatepass'), digest_size=4).hexdigest()}"


@lru_cache(maxsize=16_384)
def title_of(passage: Passage) -> str:
    """Its title as it is shown."""
    return cut(neutralise(passage.title), MAX_TITLE)


@lru_cache(maxsize=16_384)
def head(passage: Passage, limit: int) -> Piece:
    """The first sentences of a passage, within `limit` characters."""
    pieces = _pieces(passage, limit - len(CUT))
    text, sentences = next(pieces, ("", []))
    more = next(pieces, None) is not None
    return _piece(passage, text + CUT if more else text, sentences)


@lru_cache(maxsize=1024)
def pages(passage: Passage, limit: int) -> tuple[Piece, ...]:
    """All of a passage in pages of at most `limit` characters; at least one."""
    found = [_piece(passage, text, sentences) for text, sentences in _pieces(passage, limit)]
    return tuple(found) or (_piece(passage, "", []),)


def matches(passage: Passage, wanted: str, limit: int) -> tuple[Piece, int]:
    """The sentences that hold a text, whatever its case, within `limit`; and how many there are."""
    sought = neutralise(wanted).casefold().strip()
    listed = [neutralise(sentence) for sentence in passage.sentences]
    places = [i for i, sentence in enumerate(listed) if sought and sought in sentence.casefold()]
    text, shown = "", list[int]()
    for place in places:
        longer = f"{text}{CUT} {listed[place]}" if text else listed[place]
        if len(longer) > limit:
            text = text or cut(longer, limit)
            break
        text = longer
        shown.append(place)
    return _piece(passage, text, shown), len(places)


def _piece(passage: Passage, text: str, sentences: list[int]) -> Piece:
    folded = fold(f"{title_of(passage)}\n{text}").casefold()
    return Piece(text, sentences, sum(1 << place for place in sentences), folded)


def _pieces(passage: Passage, limit: int) -> Iterator[tuple[str, list[int]]]:
    """Texts of at most `limit` characters, with the sentences that end in each.

    A sentence goes on in the next text only if it is longer than `limit`.
    """
    text, ended = "", list[int]()
    for place, sentence in enumerate(passage.sentences):
        rest = neutralise(sentence).strip()
        if text and len(text) + 1 + len(rest) > limit:
            yield text, ended
            text, ended = "", []
        while len(rest) > limit:
            yield rest[:limit], ended
            rest, ended = rest[limit:], []
        text = f"{text} {rest}" if text else rest
        ended.append(place)
    if ended:
        yield text, ended


def listed(
    found: Sequence[tuple[Passage, str]], doc_chars: int, limit: int, *, numbered: bool
) -> tuple[str, list[tuple[Passage, str, Piece]]]:
    """Passages as a search shows them.

    Args:
        found: Passages with the ids they are shown by, best first.
        doc_chars: Characters of each one's text.
        limit: Characters in all; what does not fit is left out.
        numbered: As Search-R1 writes them, without ids.

    Returns:
        The text, and what of which passage it shows.
    """
    parts, shown = [], []
    for number, (passage, id) in enumerate(found, 1):
        title = title_of(passage)
        name = f'Doc {number}(Title: "{title}") ' if numbered else f"[{id}] {title}\n"
        room = limit - len(name)
        if room < min(doc_chars, 100):
            break
        piece = head(passage, min(doc_chars, room))
        part = name + piece.text
        parts.append(part)
        shown.append((passage, id, piece))
        limit -= len(part) + 2
    return ("\n" if numbered else "\n\n").join(parts), shown
