"""Searching an OpenSearch or Elasticsearch index, by `_msearch`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agentgym.errors import ConfigError, RetrievalError
from agentgym.policy.client import brief, dump_json
from agentgym.retrieval.base import Corpus, Hit
from agentgym.retrieval.bm25 import digest
from agentgym.retrieval.http import HttpCaller, read_document
from agentgym.retrieval.remote import MOST_TOGETHER, Line

_SOURCE = ["id", "title", "text", "contents", "sentences"]


class OpenSearchRetriever(HttpCaller):
    """An index of OpenSearch or Elasticsearch, whose documents have `title` and `text`.

    Of documents with one score the one with the lesser id comes first, as far as the server
    returns both.

    Args:
        url: `opensearch://host:9200/index`, or `elasticsearch://`; with `+https` after the scheme
            over TLS.
        fields: What is searched, with weights as the server writes them.
        corpus: Passages by id, for `fetch`.
        fingerprint: Of what it searches, where that is known.
        headers: Sent with every call, as for a token.
        deadline_s: Longest a search may take, retries included.
        connections: Calls under way at once.
        together: Most queries in a call.
        breaker_failures: Failures in a row after which nobody asks.
        breaker_open_s: For how long.

    Raises:
        ConfigError: An argument is out of range, or the URL names no index.
    """

    def __init__(
        self,
        url: str,
        *,
        fields: Sequence[str] = ("title^2", "text"),
        corpus: Corpus | None = None,
        fingerprint: str = "",
        headers: Mapping[str, str] | None = None,
        deadline_s: float = 10.0,
        connections: int = 1,
        together: int = MOST_TOGETHER,
        breaker_failures: int = 5,
        breaker_open_s: float = 2.0,
    ) -> None:
        scheme, _, place = url.partition("://")
        host, _, index = place.partition("/")
        if not index.strip("/"):
            raise ConfigError(f"{url!r} names no index: give {scheme}://host:9200/INDEX")
        self.fields = tuple(fields)
        secure = "https" if scheme.endswith("+https") else "http"
        super().__init__(
            f"{secure}://{host}/{index.strip('/')}",
            fingerprint or digest("opensearch", place, {"fields": self.fields}),
            corpus=corpus,
            headers=headers,
            deadline_s=deadline_s,
            connections=connections,
            together=together,
            breaker_failures=breaker_failures,
            breaker_open_s=breaker_open_s,
        )

    async def _exchange(self, line: Line, queries: Sequence[str], k: int) -> list[list[Hit]]:
        lines = b"".join(b"{}\n" + dump_json(self._body(query, k)) + b"\n" for query in queries)
        reply = await self._post(line, f"{self.url}/_msearch", lines, "application/x-ndjson")
        answers = reply.get("responses") if isinstance(reply, dict) else None
        if not isinstance(answers, list) or len(answers) != len(queries):
            raise self._protocol(f"{len(queries)} queries were not answered by as many responses")
        return [self._hits(answer) for answer in answers]

    def _body(self, query: str, k: int) -> dict[str, Any]:
        match = {"query": query, "fields": self.fields, "type": "most_fields"}
        return {"size": k, "query": {"multi_match": match}, "_source": _SOURCE}

    def _hits(self, answer: Any) -> list[Hit]:
        if isinstance(answer, dict) and "error" in answer:
            problem = brief(str(answer["error"]))
            raise RetrievalError("http", f"{self.name}: status {answer.get('status')}: {problem}")
        try:
            found = [self._hit(hit) for hit in answer["hits"]["hits"]]
        except (KeyError, TypeError, ValueError) as error:  # a ConfigError is a ValueError
            raise self._protocol(f"a response cannot be read: {brief(repr(error))}") from error
        return sorted(found, key=lambda hit: (-hit.score, hit.passage.id))

    def _hit(self, hit: Any) -> Hit:
        score = float(hit["_score"])
        if not math.isfinite(score):
            raise ValueError(f"the score {score}")
        return Hit(read_document({"id": hit["_id"], **hit["_source"]}), score)
