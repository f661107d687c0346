"""Searching a server of Search-R1's protocol, and what all retrievers over HTTP share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from agentgym.errors import ConfigError, RetrievalError
from agentgym.policy.client import brief, check_url, dump_json, load_json
from agentgym.retrieval.base import Corpus, Hit, Passage
from agentgym.retrieval.bm25 import digest
from agentgym.retrieval.remote import (
    MOST_TOGETHER,
    Line,
    Passing,
    RemoteRetriever,
    TooLong,
)
from agentgym.retrieval.sources import as_passage

if TYPE_CHECKING:
    import aiohttp

MAX_REPLY_BYTES = 8 * 2**20
MAX_TEXT_CHARS = 20_000
"""Of a passage; the rest is cut."""
WANTS_SENTENCES = "X-AgentGym-Sentences"
"""Sent with every call: `agentgym corpus serve` then gives documents as title and sentences."""
_TRANSIENT = frozenset({408, 425, 429})

Dialect = Literal["queries", "query"]


class HttpCaller(RemoteRetriever):
    """What retrievers over HTTP share: one pool of connections an event loop, capped replies.

    Args:
        url: Where to.
        fingerprint: Of what is there, as far as it is known.
        headers: Sent with every call, as for a token.
        options: Of `RemoteRetriever`.
    """

    def __init__(
        self,
        url: str,
        fingerprint: str,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.url = check_url(url)
        self._headers = {
            "Accept-Encoding": "identity",
            WANTS_SENTENCES: "1",  # servers that do not know it give contents
            **(headers or {}),
        }
        super().__init__(self.url, fingerprint, **options)

    async def _post(self, line: Line, url: str, body: bytes, content_type: str) -> Any:
        """Post a body: the JSON that comes back.

        Raises:
            Passing: It failed in a way that may pass.
            RetrievalError: It failed in another.
        """
        import aiohttp  # a fifth of a second to import: only where a server is talked to

        if line.session is None:
            line.session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # the search's deadline is the only one
            )
        headers = {"Content-Type": content_type}
        try:
            async with line.session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                reply = await self._read(response)
                status, asked = response.status, response.headers.get("Retry-After")
        except (aiohttp.InvalidURL, aiohttp.ClientSSLError) as error:
            raise ConfigError(f"{url}: {type(error).__name__}: {brief(str(error))}") from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise Passing("transport", _trouble(error)) from error
        if status == 200:
            try:
                return load_json(reply)
            except ValueError as error:
                raise RetrievalError(
                    "protocol", f"{self.name}: HTTP 200, but not JSON: {_excerpt(reply)}"
                ) from error
        problem = f"HTTP {status}: {_excerpt(reply)}"
        if status in _TRANSIENT or status >= 500:
            raise Passing("http", problem, _seconds(asked), counts=status >= 500)
        raise RetrievalError("http", f"{self.name}: {problem}")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        reply = bytearray()
        async for chunk in response.content.iter_any():
            reply += chunk
            if len(reply) > MAX_REPLY_BYTES:
                raise TooLong(
                    "protocol", f"{self.name}: the reply is longer than {MAX_REPLY_BYTES} bytes"
                )
        return bytes(reply)

    def _protocol(self, problem: str) -> RetrievalError:
        return RetrievalError("protocol", f"{self.name}: {problem}")


class HttpRetriever(HttpCaller):
    """A server that speaks Search-R1's protocol, such as `agentgym corpus serve`.

    Args:
        url: Of its `/retrieve`.
        dialect: `queries` as Search-R1 and verl speak it, many in a call; `query` as SkyRL-Gym
            does, one in a call.
        corpus: Passages by id, for `fetch`; what is found is still the server's.
        fingerprint: Of what it searches, where that is known.
        headers: Sent with every call.
        deadline_s: Longest a search may take, retries included.
        connections: Calls under way at once; 1 for `queries` and 16 for `query` if None.
        together: Most queries in a call.
        breaker_failures: Failures in a row after which nobody asks.
        breaker_open_s: For how long.

    Raises:
        ConfigError: An argument is out of range.
    """

    def __init__(
        self,
        url: str,
        *,
        dialect: Dialect = "queries",
        corpus: Corpus | None = None,
        fingerprint: str = "",
        headers: Mapping[str, str] | None = None,
        deadline_s: float = 10.0,
        connections: int | None = None,
        together: int = MOST_TOGETHER,
        breaker_failures: int = 5,
        breaker_open_s: float = 2.0,
    ) -> None:
        if dialect not in ("queries", "query"):
            raise ConfigError(f"dialect is {dialect!r}: give 'queries' or 'query'")
        self.dialect = dialect
        one = dialect == "query"
        super().__init__(
            url,
            fingerprint or digest("http", check_url(url)),
            headers=headers,
            corpus=corpus,
            deadline_s=deadline_s,
            connections=(16 if one else 1) if connections is None else connections,
            together=1 if one else together,
            breaker_failures=breaker_failures,
            breaker_open_s=breaker_open_s,
        )

    async def _exchange(self, line: Line, queries: Sequence[str], k: int) -> list[list[Hit]]:
        asked = {"query": queries[0]} if self.dialect == "query" else {"queries": queries}
        body = dump_json({**asked, "topk": k, "return_scores": True})
        return self._hits(await self._post(line, self.url, body, "application/json"), queries, k)

    def _hits(self, reply: Any, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The hits in a reply, after a look at its shape."""
        rows = reply.get("result") if isinstance(reply, dict) else None
        if not isinstance(rows, list):
            raise self._protocol("the reply has no list 'result'")
        if self.dialect == "query" and all(isinstance(row, dict) for row in rows):
            rows = [rows]  # some servers answer one query with one list, others with a list of it
        if len(rows) != len(queries):
            raise self._protocol(f"{len(queries)} queries were answered by {len(rows)} results")
        return [self._row(row)[:k] for row in rows]

    def _row(self, row: Any) -> list[Hit]:
        if not isinstance(row, list):
            raise self._protocol("a result is not a list")
        return [self._hit(item) for item in row]

    def _hit(self, item: Any) -> Hit:
        if not isinstance(item, dict):
            raise self._protocol("a hit is not an object")
        document = item.get("document", item)
        score = item.get("score", 0.0)
        if isinstance(document, str):
            document = {"contents": document}
        try:
            value = float(score)
            passage = read_document(document)
        except (TypeError, ValueError) as error:  # a ConfigError is a ValueError
            raise self._protocol(f"a hit cannot be read: {brief(str(error))}") from error
        if not math.isfinite(value):
            raise self._protocol(f"a hit has the score {value}")
        return Hit(passage, value)


def read_document(document: Any) -> Passage:
    """A passage from a server's document; one without an id is known by its text's hash.

    Raises:
        ConfigError: It has no text.
    """
    if isinstance(document, dict):
        cut = {
            name: value[:MAX_TEXT_CHARS] if isinstance(value, str) else value
            for name, value in document.items()
        }
        text = cut.get("text", cut.get("contents"))
        if isinstance(text, str):
            hashed = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
            return as_passage(cut, default_id=hashed)
        return as_passage(cut)
    raise ConfigError("a document is not an object")


def _trouble(error: Exception) -> str:
    import aiohttp

    said = brief(str(error))
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{said}: is the server running?"
    return f"{type(error).__name__}: {said}"


def _excerpt(reply: bytes) -> str:
    return brief(reply[:1000].decode("utf-8", "replace")) or "an empty body"


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None
