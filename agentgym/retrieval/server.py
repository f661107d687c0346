r"""A corpus behind HTTP: `POST /retrieve` as three families of trainers ask it.

- Search-R1, verl: JSON `{"queries": [...], "topk": 3, "return_scores": true}`; a list of hits for
  each query.
- SkyRL-Gym: JSON `{"query": "..."}`; a list that holds the one list.
- GEM: MessagePack `{"query": "..."}`; the hits themselves, in MessagePack.

A hit is `{"document": {"id": ..., "contents": "\"Title\"\ntext"}, "score": ...}`, or the document
alone where scores are not asked for. `GET /health` says what is served.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from agentgym.errors import ConfigError, RetrievalError
from agentgym.policy.client import brief, clean, dump_json, load_json
from agentgym.retrieval.analysis import import_search
from agentgym.retrieval.base import Hit, Retriever
from agentgym.retrieval.http import WANTS_SENTENCES

MAX_QUERIES = 1024
MAX_TOPK = 100
MAX_BODY_BYTES = 4 * 2**20
DEFAULT_TOPK = 3
_AT_A_TIME = 16
_STOPPING_S = 5.0
_MSGPACK_MAPS = (*range(0x80, 0x90), 0xDE, 0xDF)
"""First bytes of a map in MessagePack; none begins JSON."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Refusal(Exception):
    """A request that cannot be answered; the message is for whoever wrote the client."""


def make_app(retriever: Retriever, about: Mapping[str, Any] | None = None) -> web.Application:
    """The server of a retriever.

    Args:
        retriever: What answers.
        about: What `/health` says besides the fingerprint.
    """
    service = _Service(retriever, dict(about or {}))
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_as_json])
    app.router.add_post("/retrieve", service.retrieve)
    app.router.add_get("/health", service.health)
    return app


async def serve(
    retriever: Retriever,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    about: Mapping[str, Any] | None = None,
    on_ready: Callable[[str], None] | None = None,
    until: asyncio.Event | None = None,
) -> None:
    """Serve a retriever until SIGINT, SIGTERM or `until`; requests under way are answered.

    Args:
        retriever: What answers.
        host: Where to listen; everybody who reaches it may search.
        port: 0 picks a free one.
        about: What `/health` says besides the fingerprint.
        on_ready: Told the URL of `/retrieve` once it answers.
        until: Ends it from within; signals are then left alone.

    Raises:
        ConfigError: It cannot listen there.
    """
    runner = web.AppRunner(
        make_app(retriever, about), access_log=None, shutdown_timeout=_STOPPING_S
    )
    await runner.setup()
    stop = until or asyncio.Event()
    signals = () if until is not None else (signal.SIGINT, signal.SIGTERM)
    loop = asyncio.get_running_loop()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(f"cannot listen at {host}:{port}: {error.strerror}") from error
        for number in signals:
            loop.add_signal_handler(number, stop.set)
        bound = runner.addresses[0][1]
        if on_ready is not None:
            shown = f"[{host}]" if ":" in host else host
            on_ready(f"http://{shown}:{bound}/retrieve")
        await stop.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        await runner.cleanup()


class _Service:
    """The handlers of a retriever."""

    def __init__(self, retriever: Retriever, about: dict[str, Any]) -> None:
        self._retriever = retriever
        self._about = about

    async def health(self, request: web.Request) -> web.Response:
        """What is served."""
        about = {"status": "ok", "fingerprint": self._retriever.fingerprint, **self._about}
        return web.Response(body=dump_json(about), content_type="application/json")

    async def retrieve(self, request: web.Request) -> web.Response:
        """Answer one search or many."""
        body = await request.read()
        packed = bool(body) and body[0] in _MSGPACK_MAPS
        asked = _unpack(body) if packed else _parse(body)
        queries, topk, scores = _read(asked)
        found: list[list[Hit]] = []
        for start in range(0, len(queries), _AT_A_TIME):  # others have their turn in between
            found += await self._retriever.asearch(queries[start : start + _AT_A_TIME], topk)
            await asyncio.sleep(0)
        as_document = _with_sentences if WANTS_SENTENCES in request.headers else _with_contents
        result: Any = [[_shown(hit, scores, as_document) for hit in hits] for hits in found]
        if packed:
            raw = import_search("msgpack").packb(
                {"result": result[0] if "query" in asked else result}
            )
            return web.Response(body=raw, content_type="application/msgpack")
        return web.Response(body=dump_json({"result": result}), content_type="application/json")


@web.middleware
async def _as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every error as JSON, `{"detail": ...}`, as FastAPI does."""
    try:
        return await handler(request)
    except _Refusal as error:
        return _error(400, str(error))
    except RetrievalError as error:
        return _error(503, str(error))
    except web.HTTPRequestEntityTooLarge:
        return _error(413, f"a request has at most {MAX_BODY_BYTES} bytes")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return _error(error.status, f"{error.reason}: POST /retrieve, or GET /health", headers)


def _error(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    body = dump_json({"detail": detail})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _parse(body: bytes) -> Any:
    try:
        return load_json(body)
    except ValueError as error:
        raise _Refusal(f"the body is neither JSON nor MessagePack: {brief(str(error))}") from error


def _unpack(body: bytes) -> Any:
    msgpack = import_search("msgpack")
    try:
        return msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise _Refusal(f"the body is not MessagePack: {brief(repr(error))}") from error


def _read(asked: Any) -> tuple[list[str], int, bool]:
    """Queries, how many hits, and whether with scores."""
    if not isinstance(asked, dict):
        raise _Refusal("the body is not an object: send {'queries': [...], 'topk': 3}")
    queries = [asked["query"]] if "query" in asked else asked.get("queries")
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        raise _Refusal("there are no queries: 'queries' is a list of texts, or 'query' a text")
    if not 1 <= len(queries) <= MAX_QUERIES:
        raise _Refusal(f"there are {len(queries)} queries: send 1 to {MAX_QUERIES}")
    topk = asked.get("topk")
    topk = DEFAULT_TOPK if topk is None else topk
    if not isinstance(topk, int) or isinstance(topk, bool) or not 1 <= topk <= MAX_TOPK:
        raise _Refusal(f"topk is no whole number of 1 to {MAX_TOPK}")
    return queries, topk, bool(asked.get("return_scores", True))


def _shown(hit: Hit, scores: bool, as_document: Callable[[Hit], dict[str, Any]]) -> dict[str, Any]:
    document = as_document(hit)
    return {"document": document, "score": hit.score} if scores else document


def _with_contents(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {"id": clean(passage.id), "contents": clean(f'"{passage.title}"\n{passage.text}')}


def _with_sentences(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {"id": passage.id, "title": passage.title, "sentences": list(passage.sentences)}
