"""Sites of our own: one server on this machine, for every `.test` name a browser asks for.

Sites are ASGI applications. They share the browser host's loop, so a page costs no thread and no
process; what names lead here is said to each browser when it is started. Only sessions are
answered, each by the sites that it may open: not other processes, nor the pages of other sites.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mimetypes
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from agentgym.errors import RegistryError

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PASS = "x-agentgym-pass"
"""The header that says which session asks; a page cannot read it."""
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
"""An ASGI application."""


class Server:
    """Serves applications by host name, on a port of 127.0.0.1."""

    def __init__(self) -> None:
        self.port = 0
        self.apps: dict[str, App] = {}
        self.passes: dict[bytes, frozenset[str]] = {}
        """Which sites a session may ask for, by what it sends with each request."""
        self._server: Any = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve, on the running loop; again is fine.

        Raises:
            RegistryError: Its packages are not installed.
        """
        if self._task is not None:
            return
        try:
            import uvicorn
        except ImportError as error:
            advice = "pip install 'agentgym-env[web]'"
            raise RegistryError(f"serving pages needs uvicorn: {advice}") from error
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # from now on pages may ask: they wait until it serves
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._answer,
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            http="h11",
            interface="asgi3",
            ws="none",
            proxy_headers=False,
            timeout_keep_alive=60,
        )
        self._server = uvicorn.Server(config)
        self._task = asyncio.get_running_loop().create_task(
            self._server.serve(sockets=[listener]), name="agentgym-sites"
        )
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.002)

    async def close(self) -> None:
        """Stop serving."""
        if self._task is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._task, 3)
            self._task = None

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        told = dict(scope["headers"])
        name = told.get(b"host", b"").decode("latin-1").partition(":")[0].lower()
        app = self.apps.get(name)
        if name not in self.passes.get(told.get(PASS.encode(), b""), ()):
            await respond(send, 403, b"not for you", "text/plain")
        elif app is None:
            await respond(send, 404, b"no such site", "text/plain")
        else:
            await self._run(app, scope, receive, send)

    async def _run(
        self, app: App, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Have a site answer; should it fail, that is logged, and a page that says so."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await app(scope, receive, sending)
        except asyncio.CancelledError:
            return  # the server is being closed
        except Exception:
            logger.exception("%s failed at %s", type(app).__name__, scope["path"])
            if not begun:
                await respond(send, 500, b"<h1>Internal server error</h1>", "text/html")


async def respond(
    send: Send, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None
) -> None:
    """Answer a request."""
    told = {"content-type": kind, "content-length": str(len(body)), **(headers or {})}
    coded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": coded})
    await send({"type": "http.response.body", "body": body})


class Folder:
    """The files of a folder, read once; browsers may keep them."""

    def __init__(self, root: Path, *, max_age_s: int = 86_400) -> None:
        self._root = root.resolve()
        self._kept: dict[str, tuple[bytes, str]] = {}
        self._headers = {"cache-control": f"public, max-age={max_age_s}, immutable"}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a GET."""
        found = self._find(str(scope["path"])) if scope["method"] in ("GET", "HEAD") else None
        if found is None:
            await respond(send, 404, b"not found", "text/plain")
        else:
            body = b"" if scope["method"] == "HEAD" else found[0]
            await respond(send, 200, body, found[1], self._headers)

    def _find(self, path: str) -> tuple[bytes, str] | None:
        if path not in self._kept:
            try:
                file = (self._root / path.lstrip("/")).resolve()
                if not file.is_relative_to(self._root) or not file.is_file():
                    return None
            except (OSError, ValueError):
                return None
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            if kind.startswith("text/") or kind.endswith("javascript"):
                kind += "; charset=utf-8"
            self._kept[path] = (file.read_bytes(), kind)
        return self._kept[path]
