"""Retrievers that environments of a process share: indexes in memory, and connections."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from agentgym.retrieval import Corpus, Retriever, open_retriever

OVER_CORPUS = frozenset({"bm25", "dense", "bm25+dense"})
"""Retrievers that are made over a corpus; any other has its own."""
_MOST, _MOST_PASSAGES = 16, 400_000
"""Indexes that are kept, and passages in them; the last one always is."""

_lock = threading.Lock()
_indexes: OrderedDict[str, tuple[Retriever, int]] = OrderedDict()
"""By name, options and corpus: the retriever, and how many passages it searches."""
_leased: dict[str, tuple[Retriever, int]] = {}
"""The same of those that are leased: the retriever, and how many use it."""


def index_of(name: str, corpus: Corpus | None, options: Mapping[str, Any]) -> Retriever:
    """The retriever of that name over a corpus: questions go from one corpus to the other and back.

    Raises:
        ConfigError: There is no corpus, or what the retriever needs is not installed.
    """
    if corpus is None:
        return open_retriever(name, corpus, **options)
    key = _key(name, options, corpus.fingerprint)
    with _lock:
        if key not in _indexes:
            _indexes[key] = open_retriever(name, corpus, **options), len(corpus)
        _indexes.move_to_end(key)
        while len(_indexes) > 1 and (
            len(_indexes) > _MOST
            or sum(passages for _, passages in _indexes.values()) > _MOST_PASSAGES
        ):
            _indexes.popitem(last=False)
        return _indexes[key][0]


class Lease:
    """The use of a retriever with files or connections of its own, closed with its last user.

    Searches of many environments can so travel together.

    Args:
        name: As `open_retriever` takes it.
        corpus: What it should be of, if that is known.
        options: Of it.

    Raises:
        ConfigError: No such retriever, or it is of another corpus.
        InfraError: It does not answer, or its index is damaged.
    """

    def __init__(self, name: str, corpus: Corpus | None, options: Mapping[str, Any]) -> None:
        self._held = _key(name, options, "" if corpus is None else corpus.fingerprint)
        with _lock:
            known = _leased.get(self._held)
            retriever = known[0] if known else open_retriever(name, corpus, **options)
            _leased[self._held] = retriever, (known[1] if known else 0) + 1
        self.retriever = retriever

    def close(self) -> None:
        """Give it back; twice is fine."""
        held, self._held = self._held, ""
        if not held:
            return
        with _lock:
            retriever, users = _leased.pop(held)
            if users > 1:
                _leased[held] = retriever, users - 1
        if users == 1:
            retriever.close()


def _key(name: str, options: Mapping[str, Any], corpus: str) -> str:
    return json.dumps([name, corpus, dict(options)], sort_keys=True, default=repr)
