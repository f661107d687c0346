"""From text to terms: the same for passages and queries, in every lexical engine.

Text is folded (NFKD, no accents, no case), cut into words (runs of letters, digits and
underscores) and stemmed by Snowball's English stemmer. No word is left out: titles are made of
stop words too. Scripts that put no spaces between words are matched by the run.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from typing import Any

from agentgym.errors import ConfigError

ANALYSIS = "fold+words+snowball-english-1"
"""Names what `terms` does; part of every fingerprint, so it changes with it."""
MAX_QUERY_CHARS = 512
MAX_QUERY_TERMS = 64
MAX_K = 1000
"""Most passages asked for at once."""

_WORD = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])|\n{2,}")
_LONGEST_TERM = 64
_own = threading.local()


def sanitise(query: str) -> str:
    """A query as engines get it: one line of at most 512 printable characters.

    Control characters, surrogates and invisible ones are dropped; all space is one space. The work
    is bounded whatever the length.
    """
    query = query[: 4 * MAX_QUERY_CHARS]
    if not query.isprintable():
        query = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in query)
    return " ".join(query.split())[:MAX_QUERY_CHARS].rstrip()


def terms(text: str) -> list[str]:
    """The terms of a text, in order, repeats kept."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join([c for c in decomposed if not unicodedata.combining(c)])
    stemmed: list[str] = _stemmer().stemWords(_WORD.findall(text.casefold()))
    return stemmed


def query_terms(query: str) -> list[str]:
    """The terms a query is searched by: at most 64, each once, in order."""
    found = [term for term in dict.fromkeys(terms(sanitise(query))) if len(term) <= _LONGEST_TERM]
    return found[:MAX_QUERY_TERMS]


def split_sentences(text: str) -> tuple[str, ...]:
    """The sentences of a text, by their punctuation; never empty ones."""
    pieces = (" ".join(piece.split()) for piece in _split(text))
    return tuple(piece for piece in pieces if piece)


def check_k(k: int) -> int:
    """`k`, if that many passages can be asked for.

    Raises:
        ConfigError: It is not a whole number from 1 to 1000.
    """
    if not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise ConfigError(f"k is {k!r}: ask for 1 to {MAX_K} passages")
    return k


def _split(text: str) -> list[str]:
    """Cut after the closing quotes and brackets that a sentence's end may be followed by."""
    pieces, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        pieces.append(text[start : match.end()])
        start = match.end()
    pieces.append(text[start:])
    return pieces


def _stemmer() -> Any:
    """This thread's stemmer: it has a cache, which two threads must not share."""
    stemmer = getattr(_own, "stemmer", None)
    if stemmer is None:
        stemmer = _own.stemmer = import_search("Stemmer").Stemmer("english")
    return stemmer


def import_search(module: str) -> Any:
    """A module of the extra `search`.

    Raises:
        ConfigError: It is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"searching in this process needs {module}: pip install 'agentgym-env[search]'"
        ) from error
