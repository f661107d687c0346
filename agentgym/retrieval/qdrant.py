"""Searching in Qdrant: our BM25 scores as sparse vectors, so that the scores are the same there.

A collection holds the passages, each with the score that every term of it adds; a second one,
`NAME-terms`, the terms' numbers, by hash, and what the index is. Workers need the address alone.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from agentgym.errors import ConfigError, RetrievalError
from agentgym.policy.client import brief
from agentgym.retrieval.analysis import query_terms
from agentgym.retrieval.base import Corpus, Hit, Passage
from agentgym.retrieval.bm25 import BM25Index
from agentgym.retrieval.folder import Terms, hash64
from agentgym.retrieval.local import Shelf
from agentgym.retrieval.remote import MOST_TOGETHER, Line, Passing, RemoteRetriever
from agentgym.retrieval.sources import Progress

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_VECTOR = "bm25"
_ABOUT = 0
"""The id of the point that says what the index is."""
_BATCH = 256
_MARGIN = 16
"""Hits asked for beyond those wanted: equals among them can then be put in the corpus's order."""
_MOST = 4096
"""Hits that are looked at for equals; among more than that the order is the server's."""
_KNOWN_TERMS = 2**16


def push(
    client: QdrantClient,
    collection: str,
    corpus: Shelf,
    index: BM25Index,
    *,
    progress: Progress | None = None,
) -> None:
    """Fill a collection with a corpus and its index; what had these names is replaced.

    Args:
        client: Of the server.
        collection: Its name.
        corpus: The passages.
        index: Of them.
        progress: Told how far it is.

    Raises:
        RetrievalError: The server is not there, or refuses.
    """
    from qdrant_client.http.exceptions import ApiException

    try:
        _push(client, collection, corpus, index, progress or (lambda what, done, total: None))
    except ApiException as error:
        told = brief(str(getattr(error, "source", error)))
        raise RetrievalError("transport", f"{collection} cannot be pushed: {told}") from error


def _push(
    client: QdrantClient, collection: str, corpus: Shelf, index: BM25Index, tell: Progress
) -> None:
    from qdrant_client import models

    terms = _terms_of(collection)
    for name, sparse in ((collection, {_VECTOR: models.SparseVectorParams()}), (terms, None)):
        if client.collection_exists(name):
            client.delete_collection(name)
        client.create_collection(name, vectors_config={}, sparse_vectors_config=sparse)
    done = 0
    for points in _batches(_passage_points(corpus, index)):
        client.upsert(collection, points, wait=True)
        done += len(points)
        tell("pushing passages", done, len(corpus))
    about = {"fingerprint": index.fingerprint, "corpus": corpus.name, "passages": len(corpus)}
    for points in _batches(_term_points(index)):
        client.upsert(terms, points, wait=True)
    # Last, so that a collection that says what it is is complete.
    client.upsert(terms, [models.PointStruct(id=_ABOUT, vector={}, payload=about)], wait=True)


def connect(url: str, api_key: str | None = None, timeout_s: float = 10.0) -> tuple[Any, str]:
    """A client, and the name of the collection, for `qdrant://host:6333/collection`.

    Args:
        url: With `qdrant+https://` over TLS.
        api_key: Of the server.
        timeout_s: For each call.

    Raises:
        ConfigError: qdrant-client is not installed, or the URL names no collection.
    """
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise ConfigError(
            "Qdrant needs qdrant-client: pip install 'agentgym-env[qdrant]'"
        ) from error
    try:
        parts = urlsplit(url)
        host, port, collection = parts.hostname, parts.port or 6333, parts.path.strip("/")
    except ValueError:  # of the port, or of an IPv6 address
        host, port, collection = None, 0, ""
    if not host or not collection or "/" in collection:
        raise ConfigError(f"{url!r} is no collection: give qdrant://host:6333/COLLECTION")
    client = QdrantClient(
        host=host,
        port=port,
        https=parts.scheme.endswith("+https"),
        api_key=api_key,
        timeout=max(1, round(timeout_s)),
        check_compatibility=False,
    )
    return client, collection


class QdrantRetriever(RemoteRetriever):
    """A collection that `agentgym corpus push` filled.

    Args:
        url: `qdrant://host:6333/collection`; `qdrant+https://` over TLS. With `client`, only the
            collection's name is read.
        client: In place of one made from the URL, as `QdrantClient(":memory:")`; not closed.
        api_key: Of the server.
        corpus: Passages by id, for `fetch`; else they are asked for.
        deadline_s: Longest a search may take, retries included.
        connections: Calls under way at once.
        together: Most queries in a call.
        breaker_failures: Failures in a row after which nobody asks.
        breaker_open_s: For how long.

    Raises:
        ConfigError: An argument is out of range, qdrant-client is not installed, or there is no
            such collection, or not one that was filled by `agentgym corpus push`.
        RetrievalError: The server does not answer.
    """

    def __init__(
        self,
        url: str,
        *,
        client: Any = None,
        api_key: str | None = None,
        corpus: Corpus | None = None,
        deadline_s: float = 10.0,
        connections: int = 1,
        together: int = MOST_TOGETHER,
        breaker_failures: int = 5,
        breaker_open_s: float = 2.0,
    ) -> None:
        self._owned = client is None
        if client is None:
            client, self.collection = connect(url, api_key, deadline_s)
        else:
            self.collection = urlsplit(url).path.strip("/")
        self._client = client
        self._numbers: dict[str, int | None] = {}
        self._one_at_a_time = threading.Lock()
        super().__init__(
            f"{url.partition('?')[0]}",
            "",
            corpus=corpus,
            deadline_s=deadline_s,
            connections=connections,
            together=together,
            breaker_failures=breaker_failures,
            breaker_open_s=breaker_open_s,
        )
        self._fingerprint = self._identify()

    async def _exchange(self, line: Line, queries: Sequence[str], k: int) -> list[list[Hit]]:
        return await asyncio.to_thread(self._ask, lambda: self._search(queries, k))

    def fetch(self, ids: Sequence[str]) -> list[Passage | None]:
        """Passages by id.

        Raises:
            RetrievalError: The server does not answer.
        """
        if self._corpus is not None:
            return super().fetch(ids)
        wanted = [hash64(id) for id in ids]
        try:
            points = self._ask(
                lambda: self._client.retrieve(self.collection, wanted, with_payload=True)
            )
        except Passing as error:
            raise RetrievalError(error.kind, f"{self.name}: {error}") from error
        found = {passage.id: passage for passage in (_passage(p.payload) for p in points)}
        return [found.get(id) for id in ids]

    async def afetch(self, ids: Sequence[str]) -> list[Passage | None]:
        """`fetch`, in a thread."""
        return await asyncio.to_thread(self.fetch, ids)

    def close(self) -> None:
        """Close the client, if it was made here."""
        super().close()
        if self._owned:
            self._client.close()

    def _identify(self) -> str:
        try:
            (point,) = self._ask(
                lambda: self._client.retrieve(
                    _terms_of(self.collection), [_ABOUT], with_payload=True
                )
            )
            return str(point.payload["fingerprint"])
        except Passing as error:
            self.close()
            raise RetrievalError(error.kind, f"{self.name}: {error}") from error
        except (RetrievalError, ValueError, KeyError) as error:
            self.close()
            if isinstance(error, RetrievalError) and "HTTP 404" not in error.message:
                raise
            raise ConfigError(
                f"{self.name} holds no index of ours ({brief(str(error))}): fill it, "
                f"agentgym corpus push FOLDER {self.name}"
            ) from error

    def _search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        from qdrant_client import models

        analysed = [query_terms(query) for query in queries]
        self._learn({term for terms in analysed for term in terms})
        numbers = [
            sorted(n for term in terms if (n := self._numbers.get(term)) is not None)
            for terms in analysed
        ]
        hits: list[list[Hit]] = [[] for _ in numbers]
        open_ones = [place for place, found in enumerate(numbers) if found]
        limit = k + _MARGIN
        while open_ones:
            requests = [
                models.QueryRequest(
                    query=models.SparseVector(
                        indices=numbers[place], values=[1.0] * len(numbers[place])
                    ),
                    using=_VECTOR,
                    limit=limit,
                    with_payload=True,
                )
                for place in open_ones
            ]
            answers = self._client.query_batch_points(self.collection, requests)
            cut = []  # those whose last hit equals the k-th: what was cut off may come before it
            for place, answer in zip(open_ones, answers, strict=True):
                points = answer.points
                hits[place] = _in_order(points)[:k]
                if len(points) == limit < _MOST and points[-1].score == points[k - 1].score:
                    cut.append(place)
            open_ones, limit = cut, min(8 * limit, _MOST)
        return hits

    def _learn(self, terms: set[str]) -> None:
        """Ask for the numbers of terms that are not known yet."""
        unknown = sorted(terms.difference(self._numbers))
        if len(self._numbers) + len(unknown) > _KNOWN_TERMS:
            self._numbers.clear()
            unknown = sorted(terms)
        if unknown:
            hashes = [hash64(term) for term in unknown]
            points = self._client.retrieve(_terms_of(self.collection), hashes, with_payload=True)
            found = {point.id: int(point.payload["number"]) for point in points}
            self._numbers.update(
                (term, found.get(hashed)) for term, hashed in zip(unknown, hashes, strict=True)
            )

    def _ask(self, call: Callable[[], Any]) -> Any:
        """Make a call, one at a time, and name what it fails with."""
        from qdrant_client.http.exceptions import (
            ApiException,
            ResponseHandlingException,
            UnexpectedResponse,
        )

        try:
            with self._one_at_a_time:
                return call()
        except UnexpectedResponse as error:
            status = error.status_code or 0
            problem = f"HTTP {status}: {brief(str(error.content[:1000], 'utf-8', 'replace'))}"
            if status in (408, 425, 429) or status >= 500:
                raise Passing("http", problem, counts=status >= 500) from error
            raise RetrievalError("http", f"{self.name}: {problem}") from error
        except ResponseHandlingException as error:
            if isinstance(error.source, ValueError):  # pydantic's too
                problem = brief(str(error.source))
                raise RetrievalError("protocol", f"{self.name}: {problem}") from error
            raise Passing("transport", f"{error.source!r}: is the server running?") from error
        except json.JSONDecodeError as error:
            raise RetrievalError("protocol", f"{self.name}: not JSON: {error}") from error
        except ApiException as error:
            raise Passing("http", brief(str(error)), counts=False) from error


# -------------------------------------------------------------------------------- points


def _terms_of(collection: str) -> str:
    return f"{collection}-terms"


def _passage_points(corpus: Shelf, index: BM25Index) -> Iterator[Any]:
    from qdrant_client import models

    empty: np.ndarray[Any, Any] = np.empty(0, np.int64)
    order, terms, starts, values = empty, empty, np.zeros(len(corpus) + 1, np.int64), empty
    if index.scores is not None:
        arrays = index.scores.scores
        lengths = np.diff(arrays["indptr"])
        terms = np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths)
        order = np.argsort(arrays["indices"], kind="stable")
        counts = np.bincount(arrays["indices"], minlength=len(corpus))
        np.cumsum(counts, out=starts[1:])
        values = arrays["data"]
    for place, passage in enumerate(corpus):
        own = order[starts[place] : starts[place + 1]]
        vector = models.SparseVector(indices=terms[own].tolist(), values=values[own].tolist())
        payload = {
            "id": passage.id,
            "title": passage.title,
            "sentences": list(passage.sentences),
            "place": place,
        }
        yield models.PointStruct(id=hash64(passage.id), vector={_VECTOR: vector}, payload=payload)


def _term_points(index: BM25Index) -> Iterator[Any]:
    from qdrant_client import models

    vocabulary = index.vocabulary
    pairs: Any
    if isinstance(vocabulary, Terms):
        pairs = zip(vocabulary.hashes.tolist(), vocabulary.numbers.tolist(), strict=True)
    elif isinstance(vocabulary, dict):
        pairs = ((hash64(term), number) for term, number in vocabulary.items())
    else:
        raise TypeError(f"cannot list the terms of {vocabulary!r}")
    for hashed, number in pairs:
        yield models.PointStruct(id=hashed, vector={}, payload={"number": number})


def _batches(points: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(points, _BATCH)):
        yield batch


def _in_order(points: Sequence[Any]) -> list[Hit]:
    """Hits best first; of equals the earlier passages of the corpus."""
    ranked = sorted(points, key=lambda point: (-point.score, point.payload["place"]))
    return [Hit(_passage(point.payload), float(point.score)) for point in ranked]


def _passage(payload: Any) -> Passage:
    return Passage(payload["id"], payload["title"], tuple(payload["sentences"]))
