"""The ASGI application that serves every site; the host's name chooses which.

Whose database a request sees is told by a header that the browser sends and no page shows. Without
a valid one nothing is answered, static files included. Serve it with uvicorn and `lifespan="off"`.
"""

from __future__ import annotations

import mimetypes
import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import jinja2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Match, Route

from agentgym.tasks.sites.core import HERE, Episode, Site
from agentgym.tasks.sites.database import Row
from agentgym.tasks.sites.look import money

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

HEADER = "x-session"
MAX_BODY = 65_536
"""Bytes of a form."""
MAX_ADDRESS = 4_096
"""Characters of a path with its query."""
_STATIC = re.compile(r"/static/([a-z0-9][a-z0-9_.-]{0,60})")
_GUARDS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Page(NamedTuple):
    """A path of a site and what answers it."""

    path: str
    """As starlette has it: `/product/{id:int}`."""
    handle: Callable[..., Response]
    """Gets the visit, and what the path holds by name."""
    method: str = "GET"


class Pages(NamedTuple):
    """What a site serves."""

    pages: Sequence[Page]
    standing: Callable[[Visit], dict[str, Any]]
    """What its templates may name on every page."""


class NotFound(Exception):
    """The page is about something that is not there."""


@dataclass(eq=False)
class Visit:
    """A request of an episode: what its handler reads, writes and answers with."""

    episode: Episode
    served: _Served
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    ticked: Sequence[str] = ()
    """Values of the form's fields named `selected`, as tables of rows have them."""

    @property
    def db(self) -> sqlite3.Connection:
        """The episode's database; what a handler writes is rolled back if it raises."""
        return self.episode.db

    def rows(self, sql: str, *values: object) -> list[Row]:
        """All rows of a query."""
        return [dict(row) for row in self.db.execute(sql, values)]

    def one(self, sql: str, *values: object) -> Row:
        """The first row of a query.

        Raises:
            NotFound: There is none.
        """
        row = self.db.execute(sql, values).fetchone()
        if row is None:
            raise NotFound
        return dict(row)

    def value(self, sql: str, *values: object) -> Any:
        """The first column of the first row, or None."""
        row = self.db.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def text(self, name: str, longest: int = 200) -> str:
        """A field of the form, without white space around it, cut to `longest` characters."""
        return self.form.get(name, "").strip()[:longest]

    def number(self, name: str, lowest: int, highest: int, source: str = "form") -> int | None:
        """A whole number of the form (or the query) in these bounds; None where it is not one."""
        given = (self.form if source == "form" else self.query).get(name, "").strip()
        if not re.fullmatch(r"-?[0-9]{1,12}", given, re.ASCII):
            return None
        number = int(given)
        return number if lowest <= number <= highest else None

    def note(self, text: str, **places: object) -> None:
        """Show a notice on the next page, in the site's language."""
        self.remember("notice", self.episode.words(text, **places))

    def render(self, template: str, status: int = 200, /, **names: object) -> Response:
        """A page of the site's templates."""
        notice = self._recall("notice")
        if notice:
            self.db.execute("DELETE FROM visit WHERE name = 'notice'")
        look = self.episode.look
        shared = {
            "_": self.episode.words,
            "look": look,
            "path": self.path,
            "query": self.query,
            "notice": notice,
            "banner": look.banner and not self._recall("banner"),
            "popup": look.popup and not self._recall("popup"),
            "link": self.link,
        }
        found = self.served.environment.get_template(template)
        text: str = found.render(shared | self.served.standing(self) | names)
        return Response(text, status, media_type="text/html")

    def redirect(self, path: str) -> Response:
        """Go on to another page of the site."""
        return RedirectResponse(path, 303)

    def link(self, **changed: object) -> str:
        """The address of this page with parts of its query changed; None takes one out."""
        asked = {**self.query, **changed}
        kept = {name: value for name, value in asked.items() if value is not None}
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    def _recall(self, name: str) -> str:
        return str(self.value("SELECT value FROM visit WHERE name = ?", name) or "")

    def remember(self, name: str, value: str) -> None:
        """Keep something for the rest of the visit, outside of the site's own tables."""
        self.db.execute("INSERT OR REPLACE INTO visit (name, value) VALUES (?, ?)", (name, value))


def answer_interruption(visit: Visit, name: str) -> Response:
    """Note that the banner or the pop-up was answered, and go back to the page it was on."""
    if name not in ("banner", "popup"):
        raise NotFound
    visit.remember(name, visit.text("answer", 20) or "closed")
    back = visit.text("back", MAX_ADDRESS)
    # Only a path of this site: "//host" and "/\host" lead elsewhere.
    return visit.redirect(back if re.match(r"/(?![/\\])", back) else "/")


class _Served:
    """A site ready to be served: its routes and its templates."""

    def __init__(self, site: Site) -> None:
        pages, self.standing = site.pages()
        interruption = Page("/visit/{name}", answer_interruption, "POST")
        self.routes = [self._route(page) for page in [*pages, interruption]]
        folders = [str(site.folder / "templates"), str(HERE / "common")]
        self.environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            autoescape=True,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters["money"] = money

    def _route(self, page: Page) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                query = dict(parse_qsl(request.url.query, max_num_fields=100))
                fields = parse_qsl(await _read_body(request), max_num_fields=1000)
            except (ValueError, ClientDisconnect):
                return PlainTextResponse("the form is too large or malformed", 400)
            episode: Episode = request.scope["episode"]
            ticked = [value for name, value in fields if name == "selected"]
            visit = Visit(episode, self, request.url.path, query, dict(fields), ticked)
            with episode.lock:
                return self.answer(visit, page, request.path_params)

        return Route(page.path, endpoint, methods=[page.method])

    def answer(self, visit: Visit, page: Page | None, found: Mapping[str, Any]) -> Response:
        """Let the page's handler answer; a page that is not there is shown as such."""
        asked = visit.link()
        try:
            with visit.db:
                if page is None:
                    raise NotFound
                answered = page.handle(visit, **found)
            if answered.status_code == 200:
                visit.episode.visited.append(asked)
        except (NotFound, OverflowError):  # OverflowError: an id beyond 64 bits
            with visit.db:
                return visit.render("missing.html", 404)
        return answered


@lru_cache(maxsize=64)
def _serve(site: Site) -> _Served:
    return _Served(site)


async def _read_body(request: Request) -> str:
    if request.method != "POST":
        return ""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ValueError("too large")
    return body.decode("utf-8", "replace")


@lru_cache(maxsize=256)
def _read_static(site: Site, name: str) -> bytes | None:
    file = site.folder / "static" / name
    return file.read_bytes() if file.is_file() and not file.is_symlink() else None


class Server:
    """The ASGI application: admits episodes, and serves each its site on its own database."""

    def __init__(self) -> None:
        self._episodes: dict[str, Episode] = {}

    def admit(self, episode: Episode) -> str:
        """Serve the episode to whoever sends this in the header `X-Session`."""
        token = secrets.token_urlsafe(24)
        self._episodes[token] = episode
        return token

    def dismiss(self, token: str) -> None:
        """Serve it no longer; the episode stays open for its check. Twice is fine."""
        self._episodes.pop(token, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        episode = self._episodes.get(request.headers.get(HEADER, ""))
        if episode is None:
            response: Response = PlainTextResponse("no session", 403)
        else:
            response = (
                _refuse(request, episode)
                or _static(request, episode.site)
                or await _page(request, episode)
            )
        response.headers.update(_GUARDS)
        response.headers.setdefault("Cache-Control", "no-store")
        await response(scope, receive, send)


async def _page(request: Request, episode: Episode) -> Response:
    served = _serve(episode.site)
    request.scope["episode"] = episode
    try:
        for route in served.routes:
            match, found = route.matches(request.scope)
            if match is Match.FULL:
                request.scope.update(found)
                answered: Response = await route.endpoint(request)
                return answered
        visit = Visit(episode, served, request.url.path, {}, {})
        with episode.lock:
            return served.answer(visit, None, {})
    except Exception as error:
        episode.faults.append(f"{request.url.path}: {type(error).__name__}: {error}")
        raise


def _refuse(request: Request, episode: Episode) -> Response | None:
    if request.headers.get("host", "").partition(":")[0] != episode.site.host:
        return PlainTextResponse("no such host", 404)
    if request.method not in ("GET", "POST"):
        return PlainTextResponse("not allowed", 405)
    if len(request.url.path) + len(request.url.query) > MAX_ADDRESS:
        return PlainTextResponse("the address is too long", 414)
    sender = request.headers.get("origin", episode.start_url.rstrip("/"))
    if request.method == "POST" and sender != f"http://{episode.site.host}":
        return PlainTextResponse("from another site", 403)
    return None


def _static(request: Request, site: Site) -> Response | None:
    # Decoded once already: a name with a slash or a leading point matches nothing.
    found = _STATIC.fullmatch(request.scope["path"])
    if found is None or request.method != "GET":
        return None
    body = _read_static(site, found[1])
    if body is None:
        return PlainTextResponse("no such file", 404)
    kind = mimetypes.guess_type(found[1])[0] or "application/octet-stream"
    headers = {"Cache-Control": "private, max-age=86400"}
    return Response(body, media_type=kind, headers=headers)
