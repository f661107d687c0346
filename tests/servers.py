"""A chat-completions server on loopback that does as it is told, for whatever talks to one.

::

    async with FaultServer(status(500), garbage(), default=say("look")) as server:
        policy = OpenAIPolicy("m", server.url)
        ...
    assert [request.session for request in server.requests] == ["a", "a", "a"]

Behaviours are used up in order, one a request; then `default` holds. A behaviour is any
`async def (request, body) -> response`; this module makes the usual ones.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

Behaviour = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """A request as it came in."""

    body: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def session(self) -> str:
        return self.headers.get("X-Session-ID", "")


class FaultServer:
    """Serves `/v1/chat/completions` within the running loop.

    Args:
        behaviours: What to do with the first requests, one each.
        default: What to do with all others.
    """

    def __init__(self, *behaviours: Behaviour, default: Behaviour | None = None) -> None:
        self.behaviours = list(behaviours)
        self.default = default or say("look")
        self.requests: list[Received] = []
        self.connections: set[object] = set()
        """Distinct client connections seen."""
        self.under_way = 0
        self.most_under_way = 0
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hang_up()

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """Refuse connections for the while, then listen on the same port again."""
        await self._hang_up()
        try:
            yield
        finally:
            await self._listen()

    async def _listen(self) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/v1/chat/completions", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _hang_up(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.requests.append(Received(body, dict(request.headers)))
        self.connections.add(request.transport)
        behaviour = self.behaviours.pop(0) if self.behaviours else self.default
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await behaviour(request, body)
        finally:
            self.under_way -= 1


def say(
    text: str | Callable[[dict[str, Any]], str | None] | None,
    *,
    ids: Sequence[int] | None = None,
    logprobs: Sequence[float] | None = None,
    finish: str = "stop",
    message: Mapping[str, Any] | None = None,
    after_s: float = 0.0,
    **fields: Any,
) -> Behaviour:
    """A completion.

    Args:
        text: Its content, or how to find it from the request's body.
        ids: Token ids as vLLM gives them (`token_ids`).
        logprobs: One for each token sampled.
        finish: Its `finish_reason`.
        message: More fields of the message, e.g. `tool_calls`.
        after_s: Answer so much later.
        fields: More fields of the reply, e.g. `usage`.
    """

    async def behave(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(after_s)
        said = text(body) if callable(text) else text
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": said, **(message or {})},
            "finish_reason": finish,
        }
        if ids is not None:
            choice["token_ids"] = list(ids)
        if logprobs is not None:
            choice["logprobs"] = {
                "content": [
                    {"token": "t", "logprob": value, "bytes": [116], "top_logprobs": []}
                    for value in logprobs
                ]
            }
        reply = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], **fields}
        return web.Response(text=json.dumps(reply), content_type="application/json")

    return behave


def status(code: int, body: Any = "no", headers: Mapping[str, str] | None = None) -> Behaviour:
    """An answer with this status; a `body` that is not text goes out as JSON."""

    async def behave(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=code, text=text, headers=headers)

    return behave


def refuse(message: str, status_code: int = 400, /, **fields: Any) -> Behaviour:
    """A refusal in OpenAI's shape: `{"error": {"message": …}}`."""
    return status(status_code, {"error": {"message": message, **fields}})


def refuse_fields(*names: str, otherwise: Behaviour | None = None) -> Behaviour:
    """Refuse any request that holds one of these fields, as a server that does not know them."""
    accept = otherwise or say("look")

    async def behave(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        for name in names:
            if name in body:
                return await refuse(f"Unrecognized request argument supplied: {name}")(
                    request, body
                )
        return await accept(request, body)

    return behave


def garbage(body: bytes = b"<html>It works!</html>") -> Behaviour:
    """Status 200, and not what was asked for."""

    async def behave(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    return behave


def stall() -> Behaviour:
    """No answer, ever."""

    async def behave(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise web.HTTPGatewayTimeout

    return behave


def drip(every_s: float = 0.05) -> Behaviour:
    """A byte now and then, for ever."""

    async def behave(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(every_s)

    return behave


def flood(size: int) -> Behaviour:
    """More bytes than anybody asked for, without telling how many."""

    async def behave(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _chunk in range(size // 2**16 + 1):
            await response.write(b" " * 2**16)
        return response

    return behave


def hang_up() -> Behaviour:
    """Close the connection without a word."""

    async def behave(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    return behave


def reset() -> Behaviour:
    """Reset the connection (RST), as a killed server's kernel does."""

    async def behave(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        assert request.transport is not None
        plug = request.transport.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
        return web.Response()

    return behave


def hang_up_midway() -> Behaviour:
    """Promise a long reply, send its beginning, close."""

    async def behave(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices": [{"mess')
        assert request.transport is not None
        request.transport.close()
        return response

    return behave


def closed_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
