"""A corpus searched in this process: an engine that ranks places, and passages at those places."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from agentgym.retrieval.analysis import check_k
from agentgym.retrieval.base import Corpus, Hit, Passage, Passages
from agentgym.retrieval.bm25 import Ranking

T = TypeVar("T")


class Engine(Protocol):
    """Ranks the places of a corpus."""

    slow: bool
    """Whether a query takes milliseconds, as with a neural model."""

    @property
    def fingerprint(self) -> str:
        """Of the corpus, the analysis and the parameters."""

    def rank(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """The best `k` places for each query, best first; of equals the earlier ones."""


@runtime_checkable
class Shelf(Corpus, Protocol):
    """A corpus whose passages can be had by place and by id."""

    def __getitem__(self, place: int) -> Passage: ...

    def get(self, id: str) -> Passage | None:
        """The passage of that id."""


def as_shelf(corpus: Corpus) -> Shelf:
    """The corpus itself, or a copy of it in memory where it can only be read in order."""
    return corpus if isinstance(corpus, Shelf) else Passages(corpus.name, corpus)


class LocalRetriever:
    """Searches in this process. Safe to share between threads.

    Args:
        corpus: What is searched.
        engine: Ranks it.
        on_close: Called once by `close`.
    """

    def __init__(
        self, corpus: Shelf, engine: Engine, *, on_close: Callable[[], None] | None = None
    ) -> None:
        self.corpus = corpus
        self.engine = engine
        self.remote = engine.slow
        self._on_close = on_close

    @property
    def fingerprint(self) -> str:
        """Of the corpus, the analysis and the parameters."""
        return self.engine.fingerprint

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The best `k` passages for each query, best first; ties in the corpus's order."""
        corpus = self.corpus
        return [
            [Hit(corpus[place], score) for place, score in ranking]
            for ranking in self.engine.rank(queries, check_k(k))
        ]

    async def asearch(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """`search`: in a thread where it is slow; else it takes less time than going there."""
        if self.engine.slow:
            return await asyncio.to_thread(self.search, queries, k)
        return self.search(queries, k)

    def fetch(self, ids: Sequence[str]) -> list[Passage | None]:
        """Passages by id."""
        return [self.corpus.get(id) for id in ids]

    async def afetch(self, ids: Sequence[str]) -> list[Passage | None]:
        """`fetch`."""
        return self.fetch(ids)

    def close(self) -> None:
        """Let go of files, where there are any."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()


_KEPT_PASSAGES = 250_000
"""Indexes in memory are kept for whoever next asks for the same, while they hold no more."""
_kept: OrderedDict[str, tuple[int, object]] = OrderedDict()
_lock = threading.RLock()


def shared(key: str, size: int, make: Callable[[], T]) -> T:
    """What `make` gives, made once for a key as long as it is among those lately asked for.

    Environments of one process over one corpus so share one index.

    Args:
        key: Of what is made: equal only where that is equal.
        size: In passages.
        make: Makes it.
    """
    with _lock:
        made = _kept[key][1] if key in _kept else make()
        _kept[key] = size, made
        _kept.move_to_end(key)
        while len(_kept) > 1 and sum(each for each, _ in _kept.values()) > _KEPT_PASSAGES:
            _kept.popitem(last=False)
        return made  # type: ignore[return-value]
