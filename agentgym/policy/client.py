"""JSON over HTTP to an inference server: one connection pool, capped replies, retries that end.

What is worth another try (a refused or lost connection, silence, 408/409/425/429/5xx, a reply that
is not what was asked for) is tried again after a jittered exponential pause, or after as long as
the server asks (`Retry-After`), and becomes `PolicyError` when the tries are used up. Any other
status is the server's considered answer: `Refused`, for the caller to read.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import orjson

from agentgym.errors import ConfigError, PolicyError

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LARGE = 2**20
"""Bytes from which a body is sent in pieces, between which others have their turn."""
_TRANSIENT = frozenset({408, 409, 425, 429})
_NO_MONEY = b"insufficient_quota"
"""What the OpenAI API says with 429 where waiting does not help."""
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_LONGEST_ASKED_PAUSE_S = 120.0
_SURROGATE = re.compile("[\ud800-\udfff]")


class Refused(PolicyError):
    """A status that another try would not change; `message` is what the server says of it."""

    def __init__(self, status: int, message: str, parameter: str = "", location: str = "") -> None:
        super().__init__(status, message, parameter, location)
        self.status = status
        self.message = message
        self.parameter = parameter
        """The request field it objects to, where it names one."""
        self.location = location
        """Where a redirect points."""

    def __str__(self) -> str:
        return f"HTTP {self.status}: {brief(self.message)}"


class Malformed(Exception):
    """A reply that lacks what it must hold; raised by a `read` callback, tried again."""


class JsonClient:
    """Posts JSON, gets JSON.

    The pool belongs to the event loop that first used it; under another loop a new one is opened.

    Args:
        headers: Sent with every request.
        max_connections: Most requests under way at once; others wait their turn.
        timeout_s: Longest one try may take, from connecting to the last byte.
        max_retries: Tries after the first.
        max_reply_bytes: A longer reply is a `PolicyError`.
        retry_statuses: Whether 429, 500 and their like are worth another try; else they are
            `Refused` as well.
    """

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        *,
        max_connections: int = 1024,
        timeout_s: float = 600.0,
        max_retries: int = 5,
        max_reply_bytes: int = 64 * 2**20,
        retry_statuses: bool = True,
    ) -> None:
        if max_connections < 1:
            raise ConfigError(f"max_connections is {max_connections!r}: give at least 1")
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s is {timeout_s!r}: give a number of seconds above 0")
        if max_retries < 0:
            raise ConfigError(f"max_retries is {max_retries!r}: give 0 or more")
        self.max_connections = max_connections
        self.timeout_s = timeout_s
        self.max_retries = max_retries
        self.max_reply_bytes = max_reply_bytes
        self.retry_statuses = retry_statuses
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **(headers or {}),
        }
        self._urls: dict[str, URL] = {}
        self.first_pause_s = _FIRST_PAUSE_S
        """Longest pause before the second try; it doubles with each further one."""
        self._random = random.Random()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closings = 0
        self._session: aiohttp.ClientSession
        self._turnstile: asyncio.Semaphore

    async def post(
        self,
        url: str,
        payload: Mapping[str, Any],
        read: Callable[[Any], T],
        *,
        session: str = "",
    ) -> T:
        """Post `payload` and return what `read` makes of the reply.

        Args:
            url: Where to.
            payload: The body; lone surrogates in it become U+FFFD.
            read: Takes the parsed reply; raises `Malformed` when it is not what was asked for.
            session: Goes out as `X-Session-ID`, by which routers keep an episode on one server.

        Raises:
            Refused: The server will not have it.
            PolicyError: Still failing after `max_retries` further tries, or the reply is too long.
            ConfigError: The server's certificate is not trusted.
        """
        body = dump_json(payload)
        headers = {"X-Session-ID": _header_value(session)} if session else None
        tries = 0
        closings = self._closings
        while True:
            tries += 1
            asked_pause_s = None
            cause: Exception | None = None
            try:
                status, asked_pause_s, reply = await self._once(url, body, headers)
                if status == 200:
                    try:
                        return read(load_json(reply))
                    except Malformed as error:
                        problem, cause = f"HTTP 200, but {error}: {_excerpt(reply)}", error
                    except ValueError as error:
                        problem, cause = f"HTTP 200, but not JSON: {_excerpt(reply)}", error
                elif self._passes(status) and _NO_MONEY not in reply:
                    problem = f"HTTP {status}: {_excerpt(reply)}"
                else:
                    raise _refusal(status, reply)
            except TimeoutError as error:  # empty when it is the whole try that took too long
                said = brief(str(error))
                problem, cause = said or f"no reply within {self.timeout_s:g} s", error
            except (OSError, _client_error()) as error:
                problem, cause = _trouble(url, error), error
            if closings != self._closings:
                raise PolicyError(f"{url}: closed while a reply was awaited") from cause
            if tries > self.max_retries:
                raise PolicyError(
                    f"{url}: {problem} ({tries} {'try' if tries == 1 else 'tries'})"
                ) from cause
            pause_s = self._pause(tries, asked_pause_s)
            logger.debug("%s: %s; again in %.2f s", url, problem, pause_s)
            await asyncio.sleep(pause_s)
            if closings != self._closings:
                raise PolicyError(f"{url}: closed while it was to be tried again") from cause

    async def get(self, url: str) -> Any:
        """Fetch JSON, once.

        Raises:
            Refused: Any status but 200.
            PolicyError: No reply, or not JSON.
        """
        try:
            status, _, reply = await self._once(url, None, None)
            if status != 200:
                raise _refusal(status, reply)
            return load_json(reply)
        except (OSError, ValueError, _client_error()) as error:
            raise PolicyError(f"{url}: {type(error).__name__}: {brief(str(error))}") from error

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._closings += 1
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if loop is asyncio.get_running_loop():
            await self._session.close()
        else:
            self._session.detach()

    async def _once(
        self, url: str, body: bytes | None, headers: dict[str, str] | None
    ) -> tuple[int, float | None, bytes]:
        """One try: status, the pause the server asks for in seconds, and the body."""
        if self._loop is not asyncio.get_running_loop():
            self._open()
        target = self._urls.get(url) or self._parse(url)
        async with (
            self._turnstile,
            self._session.request(
                "GET" if body is None else "POST",
                target,
                data=io.BytesIO(body) if body and len(body) >= _LARGE else body,
                headers=headers,
                allow_redirects=False,
            ) as response,
        ):
            status = response.status
            if status == 200 and self._fits(response):
                return status, None, await response.read()
            found = response.headers
            reply = await self._read_capped(url, response)
            if 300 <= status < 400:
                raise Refused(status, "a redirect", location=found.get("Location", ""))
            return status, _seconds(found.get("Retry-After")), reply

    def _fits(self, response: aiohttp.ClientResponse) -> bool:
        """Whether the body is known to be short before it is read."""
        length = response.content_length
        return (
            length is not None
            and length <= self.max_reply_bytes
            and "Content-Encoding" not in response.headers
        )

    async def _read_capped(self, url: str, response: aiohttp.ClientResponse) -> bytes:
        reply = bytearray()
        async for chunk in response.content.iter_any():
            reply += chunk
            if len(reply) > self.max_reply_bytes:
                raise PolicyError(
                    f"{url}: the reply is longer than {self.max_reply_bytes} bytes: "
                    "lower max_tokens, or raise max_reply_bytes"
                )
        return bytes(reply)

    def _open(self) -> None:
        import aiohttp  # a fifth of a second to import: only where a server is talked to

        if self._loop is not None:  # its loop is gone, or elsewhere
            self._session.detach()
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.timeout_s, sock_connect=30.0),
            skip_auto_headers=("User-Agent",),
        )
        self._turnstile = asyncio.Semaphore(self.max_connections)
        self._loop = asyncio.get_running_loop()

    def _parse(self, url: str) -> URL:
        from yarl import URL

        parsed = self._urls[url] = URL(url)
        return parsed

    def _passes(self, status: int) -> bool:
        return self.retry_statuses and (status in _TRANSIENT or status >= 500)

    def _pause(self, tries: int, asked_s: float | None) -> float:
        if asked_s is not None:
            return min(asked_s, _LONGEST_ASKED_PAUSE_S) + self._random.uniform(0.0, 0.1)
        longest = min(self.first_pause_s * 2.0 ** (tries - 1), _LONGEST_PAUSE_S)
        return longest * self._random.uniform(0.5, 1.0)


def check_url(url: str) -> str:
    """Return `url` without a trailing slash.

    Raises:
        ConfigError: It is not an http(s) URL.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of the port, or of an IPv6 address
        valid = False
    if not valid:
        raise ConfigError(f"{url!r} is not a URL: give one like 'http://127.0.0.1:8000/v1'")
    return url.rstrip("/")


def dump_json(payload: Mapping[str, Any]) -> bytes:
    """`payload` as JSON; lone surrogates, which UTF-8 cannot hold, become U+FFFD."""
    try:
        return orjson.dumps(payload, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return _SURROGATE.sub("\ufffd", json.dumps(payload, ensure_ascii=False)).encode()


def load_json(body: bytes) -> Any:
    """`body` parsed: quickly, or leniently where it holds NaN, broken UTF-8 or lone surrogates.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body.decode("utf-8", "replace"))
        except RecursionError as error:
            raise ValueError("nested too deep") from error


def clean(text: str) -> str:
    """`text` with lone surrogates replaced, so that it can be stored and sent again."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _client_error() -> type[Exception]:
    import aiohttp  # loaded by then: only asked for once something was raised

    return aiohttp.ClientError


def _trouble(url: str, error: Exception) -> str:
    """What went wrong with the connection, in a line.

    Raises:
        ConfigError: Nothing that will pass.
    """
    import aiohttp

    said = brief(str(error))
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.InvalidURL)):
        raise ConfigError(f"{url}: {type(error).__name__}: {said}") from error
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{said}: is the server running?"
    return f"{type(error).__name__}: {said}"


def _refusal(status: int, reply: bytes) -> Refused:
    """What the server says, from the several shapes servers give errors."""
    parameter: Any = None
    try:
        said: Any = load_json(reply)
    except ValueError:
        return Refused(status, _excerpt(reply))
    if isinstance(said, dict) and isinstance(said.get("error"), (dict, str)):
        said = said["error"]
    if isinstance(said, dict):
        parameter = said.get("param")
        code = said.get("code")
        message = said.get("message") or said.get("detail") or said
        said = f"{message} ({code})" if isinstance(code, str) else message
    message = said if isinstance(said, str) else json.dumps(said)
    return Refused(status, message, parameter if isinstance(parameter, str) else "")


def _excerpt(reply: bytes) -> str:
    return brief(reply[:1000].decode("utf-8", "replace")) or "an empty body"


def brief(text: str) -> str:
    """`text` in one line of at most 200 characters."""
    line = " ".join(text[:2000].split())
    return line if len(line) <= 200 else line[:199] + "…"


def _seconds(value: str | None) -> float | None:
    """`Retry-After`: seconds, or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _header_value(text: str) -> str:
    return text if text.isascii() and text.isprintable() else quote(text)
