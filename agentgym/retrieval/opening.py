"""Which retriever a name means."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agentgym.errors import ConfigError, did_you_mean
from agentgym.retrieval.base import Corpus, Retriever

if TYPE_CHECKING:
    from agentgym.retrieval.local import Engine, LocalRetriever

_ELSEWHERE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "http": ("http", "HttpRetriever"),
        "https": ("http", "HttpRetriever"),
        "qdrant": ("qdrant", "QdrantRetriever"),
        "qdrant+https": ("qdrant", "QdrantRetriever"),
        "opensearch": ("opensearch", "OpenSearchRetriever"),
        "opensearch+https": ("opensearch", "OpenSearchRetriever"),
        "elasticsearch": ("opensearch", "OpenSearchRetriever"),
        "elasticsearch+https": ("opensearch", "OpenSearchRetriever"),
    }
)
"""Module and class by scheme; a class takes the address, and the rest by name."""
ENGINES = ("bm25", "dense", "bm25+dense")


def open_named(spec: str, corpus: Corpus | None, options: Mapping[str, Any]) -> Retriever:
    """The retriever that `spec` names; see `open_retriever`."""
    scheme, separator, _ = spec.partition("://")
    if not separator:
        return open_local(spec, corpus, options)
    kind = _elsewhere(spec, scheme)
    retriever: Retriever = kind(spec, corpus=corpus, **_checked(spec, kind, options))
    return retriever


def open_local(spec: str, corpus: Corpus | None, options: Mapping[str, Any]) -> LocalRetriever:
    """One that searches in this process: an engine over a corpus, or the folder of an index."""
    if spec in ENGINES:
        if corpus is None:
            raise ConfigError(f"retriever {spec!r} needs a corpus to search: give corpus=")
        opener = _open_bm25 if spec == "bm25" else _open_dense if spec == "dense" else _open_fused
        return opener(corpus, **_checked(spec, opener, options))
    if Path(spec).expanduser().is_dir() or "/" in spec:
        retriever = _open_folder(spec, **_checked(spec, _open_folder, options))
        if corpus is not None and retriever.corpus.fingerprint != corpus.fingerprint:
            retriever.close()
            raise ConfigError(
                f"index {spec!r} is of another corpus than {corpus.name!r}: give a corpus's own "
                "index, or none to search what the index holds"
            )
        return retriever
    hint = did_you_mean(spec, ENGINES) or (
        f"; there is {', '.join(ENGINES)}, the folder of an index (agentgym corpus build), "
        "http://…, qdrant://… and opensearch://…"
    )
    raise ConfigError(f"no retriever {spec!r}{hint}")


def _elsewhere(spec: str, scheme: str) -> Any:
    if scheme not in _ELSEWHERE:
        known = ", ".join(f"{each}://" for each in _ELSEWHERE)
        raise ConfigError(f"no retriever {spec!r}: an address begins with {known}")
    module, name = _ELSEWHERE[scheme]
    return getattr(importlib.import_module(f"agentgym.retrieval.{module}"), name)


def _checked(spec: str, opener: Callable[..., Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    known = [
        each.name
        for each in inspect.signature(opener).parameters.values()
        if each.kind is each.KEYWORD_ONLY and each.name != "corpus"
    ]
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"; it takes {', '.join(known)}"
            raise ConfigError(f"retriever {spec!r} has no option {name!r}{hint}")
    return given


# -------------------------------------------------------------------------------- in this process


def _open_bm25(
    corpus: Corpus, *, k1: float = 1.5, b: float = 0.75, title_weight: int = 2
) -> LocalRetriever:
    """BM25 over a corpus, its index in memory and shared by all that ask for the same."""
    return _local(corpus, _bm25(corpus, k1, b, title_weight))


def _open_dense(
    corpus: Corpus, *, model: str = "minilm", device: str | None = None
) -> LocalRetriever:
    """Nearest by meaning; the corpus's vectors are kept in the cache."""
    return _local(corpus, _dense(corpus, model, device))


def _open_fused(
    corpus: Corpus,
    *,
    k1: float = 1.5,
    b: float = 0.75,
    title_weight: int = 2,
    model: str = "minilm",
    device: str | None = None,
) -> LocalRetriever:
    """Both, fused."""
    from agentgym.retrieval.dense import FusedIndex

    lexical = _bm25(corpus, k1, b, title_weight)
    return _local(corpus, FusedIndex(lexical, _dense(corpus, model, device)))


def _local(corpus: Corpus, engine: Engine) -> LocalRetriever:
    from agentgym.retrieval.local import LocalRetriever, as_shelf

    return LocalRetriever(as_shelf(corpus), engine)


def _bm25(corpus: Corpus, k1: float, b: float, title_weight: int) -> Any:
    from agentgym.retrieval.bm25 import BM25Index, BM25Parameters
    from agentgym.retrieval.local import shared

    parameters = BM25Parameters(k1, b, title_weight)
    key = parameters.fingerprint(corpus.fingerprint)
    make = functools.partial(BM25Index.build, corpus, corpus.fingerprint, parameters)
    return shared(key, len(corpus), make)


def _dense(corpus: Corpus, model: str, device: str | None) -> Any:
    from agentgym.retrieval.dense import DenseIndex, cached_vectors, shared_embedder

    embedder = shared_embedder(model, device)
    if not len(corpus):
        raise ConfigError(f"corpus {corpus.name!r} has no passage: there is nothing to encode")
    vectors = cached_vectors(embedder, corpus, len(corpus), corpus.fingerprint)
    return DenseIndex(vectors, embedder, corpus.fingerprint)


def _open_folder(
    folder: str,
    *,
    engine: str | None = None,
    model: str | None = None,
    device: str | None = None,
    check: bool = True,
) -> LocalRetriever:
    """An index folder: everything it was built with, or the one of `ENGINES` that is asked for."""
    from agentgym.retrieval.folder import share_index
    from agentgym.retrieval.local import LocalRetriever

    if engine is not None and engine not in ENGINES:
        raise ConfigError(f"no engine {engine!r}{did_you_mean(engine, ENGINES)}")
    index = share_index(Path(folder).expanduser(), check=check)
    try:
        engine = engine or ("bm25+dense" if index.manifest.model else "bm25")
        lexical = index.bm25 if "bm25" in engine else None
        if "dense" not in engine:
            return LocalRetriever(index, lexical, on_close=index.close)  # type: ignore[arg-type]
        from agentgym.retrieval.dense import DenseIndex, FusedIndex, shared_embedder

        vectors = index.vectors()
        embedder = shared_embedder(model or index.manifest.model_name, device)
        if embedder.fingerprint != index.manifest.model:
            raise ConfigError(
                f"index {folder!r} was built with another model than {embedder.name!r} "
                f"({index.manifest.model_name!r}): give its model="
            )
        dense = DenseIndex(vectors, embedder, index.fingerprint)
        both = dense if lexical is None else FusedIndex(lexical, dense)
        return LocalRetriever(index, both, on_close=index.close)
    except BaseException:
        index.close()
        raise
