"""Passages, corpora and retrievers: the few types that search is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import orjson

from agentgym.errors import ConfigError


class Passage(NamedTuple):
    """A document, or a part of one, as sentences."""

    id: str
    """Unique in its corpus."""
    title: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentences, one space between them."""
        return " ".join(self.sentences)


class Hit(NamedTuple):
    """A passage that was found."""

    passage: Passage
    score: float
    """Higher is better; comparable within one answer only."""


def dump_passage(passage: Passage) -> bytes:
    """A passage as JSON, `[id, title, [sentence, ...]]`: what fingerprints are made of."""
    try:
        return orjson.dumps(tuple(passage))
    except TypeError:  # of lone surrogates, which UTF-8 cannot hold
        return json.dumps(passage).encode()


def load_passage(line: bytes) -> Passage:
    """The passage that `dump_passage` gave this for."""
    try:
        id, title, sentences = orjson.loads(line)
    except orjson.JSONDecodeError:
        id, title, sentences = json.loads(line)
    return Passage(id, title, tuple(sentences))


@runtime_checkable
class Corpus(Protocol):
    """Passages in a fixed order."""

    name: str

    @property
    def fingerprint(self) -> str:
        """Changes with any byte of any passage, or with their order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Passage]: ...


class Passages:
    """A corpus in memory.

    Args:
        name: For messages and records.
        passages: In order.

    Raises:
        ConfigError: Two have one id.
    """

    def __init__(self, name: str, passages: Iterable[Passage]) -> None:
        self.name = name
        self._passages = tuple(passages)
        self._places = {each.id: place for place, each in enumerate(self._passages)}
        if len(self._places) < len(self._passages):
            places = enumerate(self._passages)
            twice = next(each.id for place, each in places if self._places[each.id] != place)
            raise ConfigError(f"corpus {name!r} has passage {twice!r} twice: give each its own id")
        self._fingerprint = ""

    @property
    def fingerprint(self) -> str:
        """BLAKE2b of all passages, 32 hexadecimal digits; made when first asked for."""
        if not self._fingerprint:
            digest = hashlib.blake2b(digest_size=16)
            for each in self._passages:
                digest.update(dump_passage(each) + b"\n")
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def __len__(self) -> int:
        return len(self._passages)

    def __iter__(self) -> Iterator[Passage]:
        return iter(self._passages)

    def __getitem__(self, place: int) -> Passage:
        return self._passages[place]

    def get(self, id: str) -> Passage | None:
        """The passage of that id."""
        place = self._places.get(id)
        return None if place is None else self._passages[place]


class Retriever(Protocol):
    """Finds passages. Safe to share between environments of a process.

    Both faces give the same: `search` and `fetch` directly, `asearch` and `afetch` awaited. Queries
    are untrusted: any text is answered, an empty one by nothing.

    Raises:
        InfraError: Of both faces: the retriever cannot answer; never the query's fault.
    """

    remote: bool
    """Whether answers take long (a network, a neural model), so that callers should await them."""

    @property
    def fingerprint(self) -> str:
        """Of the corpus, the analysis and the parameters; recorded with every trajectory."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The best `k` passages for each query, best first; ties in the corpus's order."""

    async def asearch(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """`search`, awaited."""

    def fetch(self, ids: Sequence[str]) -> list[Passage | None]:
        """Passages by id; None where there is none, or where it cannot be asked for."""

    async def afetch(self, ids: Sequence[str]) -> list[Passage | None]:
        """`fetch`, awaited."""

    def close(self) -> None:
        """Let go of connections and files."""


def open_retriever(spec: str, corpus: Corpus | None = None, **options: Any) -> Retriever:
    """The retriever that `spec` names.

    Args:
        spec: `bm25`, `dense` or `bm25+dense` over `corpus`; the folder of an index; `http://…`, a
            server of Search-R1's protocol; `qdrant://…`; `opensearch://…`.
        corpus: What the first three search.
        options: Of that kind of retriever.

    Raises:
        ConfigError: No such retriever, or its extra is not installed; says what to do.
        InfraError: It does not answer, or its index is damaged.
    """
    from agentgym.retrieval.opening import open_named  # it imports this module

    return open_named(spec, corpus, options)
