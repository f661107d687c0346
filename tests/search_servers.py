"""Search servers on loopback that do as they are told; behaviours are those of `servers`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web
from servers import Behaviour, FaultServer, Received


class SearchServer(FaultServer):
    """Serves `/retrieve` and `/INDEX/_msearch`; see `FaultServer`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/retrieve"

    async def _listen(self) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/retrieve", self._serve)
        app.router.add_post("/{index}/_msearch", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.content_type != "application/x-ndjson":
            return await super()._serve(request)
        lines = [json.loads(line) for line in body.splitlines()]
        self.requests.append(Received({"lines": lines}, dict(request.headers)))
        self.connections.add(request.transport)
        behaviour = self.behaviours.pop(0) if self.behaviours else self.default
        return await behaviour(request, {"lines": lines})


def find(*titles: str) -> Behaviour:
    """The same hits for every query, in the dialect it was asked in."""
    hits = [
        {
            "document": {"id": f"d{place}", "contents": f'"{title}"\nThis is {title}. It is.'},
            "score": float(len(titles) - place),
        }
        for place, title in enumerate(titles)
    ]

    async def behave(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        count = 1 if "query" in body else len(body["queries"])
        return web.json_response({"result": [hits[: body["topk"]]] * count})

    return behave


def echo() -> Behaviour:
    """One hit for each query, whose title is the query."""
    return each(
        lambda query: [{"document": {"id": query, "contents": f'"{query}"\nx'}, "score": 1}]
    )


def each(answer: Callable[[str], list[Any]]) -> Behaviour:
    """What `answer` makes of each query."""

    async def behave(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        queries = [body["query"]] if "query" in body else body["queries"]
        return web.json_response({"result": [answer(query) for query in queries]})

    return behave


HOSTILE = {
    "nothing": "",
    "space": " \t\n\u3000 ",
    "punctuation": "!!! ??? ... --- ///",
    "an open quote": '"foo',
    "a boolean query": "foo AND (bar OR NOT baz)",
    "nearness": "NEAR(foo bar, 5) foo NEAR/3 bar",
    "a field": "text:(bar",
    "an injection": "'; DROP TABLE passages; --",
    "a boost": "foo^1e400 bar^-1",
    "wildcards": "*foo* ?ar f*",
    "a regular expression": "/(a+)+$/ [a-",
    "a lone surrogate": "caf\ud800 \udfff",
    "control characters": "foo\x00bar\x1b[31m\x7f",
    "emoji and directions": "👩‍👩‍👧 \u202eevil\u202c \u200bzero",
    "one long word": "a" * 1_000_000,
    "200,000 words": " ".join(f"w{n}" for n in range(200_000)),
    "marks upon marks": "e" + "\u0301" * 100_000,
    "ligatures that expand": "\ufdfa" * 10_000,
}
"""Queries that have broken search engines, or kept them busy for seconds."""
