"""Passages out of files: JSON lines, Markdown, HTML.

A line of JSON is a passage: `id`, `title`, and `text`, `contents` or `sentences`; where `contents`
begins with a line that is the title in quotes, as in Search-R1's corpora, that is the title. A page
of Markdown or HTML is cut at its headings and then into passages of some `words`, at the ends of
sentences; ids are the page's path and a number.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from agentgym.errors import ConfigError
from agentgym.policy.client import clean
from agentgym.retrieval.analysis import split_sentences
from agentgym.retrieval.base import Passage

WORDS = 120
"""Words of a passage that is cut from a page: what fits a turn three times."""
Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it is, and of how much (0: nobody knows)."""

_PAGES = (".md", ".markdown", ".html", ".htm")
_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"\s*(```|~~~)[^`]*$")
Sections = Iterable[tuple[str, str]]
"""Headings, each with the text below it."""


def read_source(
    source: str | Path, *, words: int = WORDS, progress: Progress | None = None
) -> Iterator[Passage]:
    """The passages of a file of JSON lines, of a page, or of a folder of pages.

    Args:
        source: `.jsonl` or `.ndjson`, `.gz` after it or not; `.md`, `.html`; or a folder, searched
            to any depth.
        words: About how long a passage of a page is at most.
        progress: Told how far it is.

    Raises:
        ConfigError: It is none of these, or a line of it is no passage: names the file and line.
        OSError: It cannot be read.
    """
    path = Path(source)
    tell = progress or (lambda what, done, total: None)
    if not path.exists():
        raise ConfigError(f"no corpus at {str(path)!r}")
    if path.is_dir():
        return _pages(path, words, tell)
    if path.name.lower().endswith(_LINES):
        return _lines(path, tell)
    if path.suffix.lower() in _PAGES:
        return _page(path, path.name, words)
    raise ConfigError(
        f"{str(path)!r} is no corpus: give JSON lines ({', '.join(_LINES[:2])}, or .gz), "
        "Markdown, HTML, or a folder of pages"
    )


# -------------------------------------------------------------------------------- JSON lines


def _lines(path: Path, tell: Progress) -> Iterator[Passage]:
    total = path.stat().st_size
    with path.open("rb") as raw, _unpacked(raw, path) as file:
        number = 0
        try:
            for number, line in enumerate(file, start=1):
                if number % 1000 == 1:
                    tell("reading", raw.tell(), total)
                if line.strip():
                    yield as_passage(orjson.loads(line), default_id=str(number - 1))
        except (ConfigError, ValueError) as error:
            raise ConfigError(f"{path}, line {number}: {error}") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ConfigError(f"{path} is cut short or damaged: {error}") from error


def _unpacked(raw: BinaryIO, path: Path) -> Any:
    return gzip.open(raw) if path.suffix == ".gz" else contextlib.nullcontext(raw)


def as_passage(row: Any, default_id: str = "") -> Passage:
    """A passage from a row as corpora have them.

    Args:
        row: A mapping with `id` (or `_id`), `title`, and `text`, `contents` or `sentences` (or
            `sents`).
        default_id: Where it has none.

    Raises:
        ConfigError: It holds no text.
    """
    if not isinstance(row, Mapping):
        raise ConfigError("not an object")
    id = row.get("id", row.get("_id", default_id))
    title = row.get("title") or ""
    sentences = row.get("sentences") or row.get("sents")
    text = row.get("text", row.get("contents"))
    if not isinstance(id, str | int) or not isinstance(title, str):
        raise ConfigError("its id or its title is not text")
    if isinstance(sentences, list) and all(isinstance(each, str) for each in sentences):
        found = tuple(clean(each) for each in sentences)
    elif isinstance(text, str):
        if "text" not in row:
            title, text = split_contents(text, title)
        found = split_sentences(clean(text))
    else:
        raise ConfigError("no text: give 'text', 'contents' or 'sentences'")
    return Passage(clean(str(id)), clean(title), found)


def split_contents(contents: str, title: str = "") -> tuple[str, str]:
    """Title and text of Search-R1's `"Title"` newline text; all of it text where it is not that."""
    first, newline, rest = contents.partition("\n")
    first = first.strip()
    if len(first) > 1 and first[0] == first[-1] == '"':
        return title or first[1:-1].replace('""', '"'), rest
    if newline and title and first == title:
        return title, rest
    return title, contents


# -------------------------------------------------------------------------------- pages


def _pages(folder: Path, words: int, tell: Progress) -> Iterator[Passage]:
    found = sorted(each for each in folder.rglob("*") if each.suffix.lower() in _PAGES)
    if not found:
        raise ConfigError(f"{str(folder)!r} holds no pages ({', '.join(_PAGES)})")
    for number, path in enumerate(found):
        tell("reading", number, len(found))
        yield from _page(path, path.relative_to(folder).as_posix(), words)


def _page(path: Path, name: str, words: int) -> Iterator[Passage]:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if path.suffix.lower() in (".html", ".htm"):
        page = _Html()
        page.feed(text)
        page.close()
        title, sections = page.title, page.sections()
    else:
        title, sections = "", _markdown(text)
    number = 0
    for heading, body in sections:
        title = title or heading
        for sentences in _packed(split_sentences(body), words):
            below = heading and heading != title
            shown = f"{title or path.stem}: {heading}" if below else title or path.stem
            yield Passage(f"{name}#{number}", shown, sentences)
            number += 1


def _packed(sentences: Iterable[str], words: int) -> Iterator[tuple[str, ...]]:
    """Sentences put together to passages of up to `words`; a longer sentence stands alone."""
    held: list[str] = []
    length = 0
    for sentence in sentences:
        count = len(sentence.split())
        if held and length + count > words:
            yield tuple(held)
            held, length = [], 0
        held.append(sentence)
        length += count
    if held:
        yield tuple(held)


def _markdown(text: str) -> Iterator[tuple[str, str]]:
    """Headings with what is below them; `#` inside a fence of code is no heading."""
    heading = ""
    body: list[str] = []
    fence = ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if mark and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        match = None if fence else _HEADING.match(line)
        if match:
            yield heading, "\n".join(body)
            heading, body = match[2], []
        else:
            body.append(line)
    yield heading, "\n".join(body)


class _Html(HTMLParser):
    """Collects the text of a page: what is between two headings is a section."""

    _SKIPPED = frozenset({"script", "style", "noscript", "template", "svg"})
    _HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
    _INLINE = frozenset(
        {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "em", "font", "i", "kbd", "mark", "q", "s"}
    ) | frozenset({"samp", "small", "span", "strong", "sub", "sup", "u", "var"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self._found: list[tuple[str, list[str]]] = [("", [])]
        self._within = ""
        self._skipping = 0

    def sections(self) -> Iterator[tuple[str, str]]:
        """Headings with what is below them."""
        for heading, pieces in self._found:
            yield " ".join(heading.split()), "".join(pieces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a heading or a paragraph."""
        if tag in self._SKIPPED:
            self._skipping += 1
        elif self._skipping:
            return
        elif tag == "title" or tag in self._HEADINGS:
            self._within = tag
            if tag != "title":
                self._found.append(("", []))
        elif tag not in self._INLINE:
            self._found[-1][1].append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        """End a heading or a paragraph."""
        if tag in self._SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        elif self._skipping:
            return
        elif tag == self._within:
            self._within = ""
            self.title = " ".join(self.title.split())
        elif tag not in self._INLINE:
            self._found[-1][1].append("\n\n")

    def handle_data(self, data: str) -> None:
        """Keep what is shown."""
        if self._skipping:
            return
        if self._within == "title":
            self.title += data
        elif self._within:
            heading, pieces = self._found[-1]
            self._found[-1] = (heading + data, pieces)
        else:
            self._found[-1][1].append(data)
