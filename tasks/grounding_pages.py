"""Screens of our own sites for grounding: a page, a look, a size and a place, all by the seed.

What the browser shows is photographed together with what can be pointed at: an element counts as
`whole` if all of it is in view and a click on five of its points is its own.
"""

from __future__ import annotations

import contextlib
import functools
import html
import json
import math
import random
import re
import threading
from collections.abc import Coroutine, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from agentgym.errors import EnvError, InvalidAction
from agentgym.registry import need
from agentgym.sandboxes import host as hosts
from agentgym.sandboxes.page import PageSettings, Row
from agentgym.sandboxes.serving import App, Receive, Send
from agentgym.tasks.sites.core import DATABASES, Episode, Site, find_site, site_names
from agentgym.tasks.sites.look import Look, draw_look

if TYPE_CHECKING:
    from agentgym.sandboxes.session import Session

VIEWPORTS = ((1280, 720), (1024, 768), (1440, 900), (414, 896))
"""Sizes of screens, in pixels: three of computers, one of a phone."""
MOST_PAGES = 60
"""Pages of a site that are photographed."""
MOST_ALIKE = 3
"""Of each kind of page, as addresses tell them apart."""
CAMERAS = 4
"""Browser contexts of a process that take pictures; more wait for each other."""
DEADLINE_S = 60.0
_SETTLE_MS = 100
_SUFFIX = "-screen.test"
_BANNERS = 0.1

PixelBox = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the screenshot; edges belong to it."""


class Element(NamedTuple):
    """What a screen shows that can be pointed at."""

    role: str
    label: str
    """What it says; its accessible name where it says nothing that can be read."""
    name: str
    """Its accessible name."""
    box: PixelBox
    whole: bool
    """All of it is in view, and clicks on it are its own."""
    kind: str
    """`text` if it says its label, else `icon`, as ScreenSpot has it."""
    part: int
    """Which row or item of a list it is in; 0 if in none."""
    part_kind: str
    """`row`, `item` or nothing."""
    pieces: Sequence[str]
    """Texts of that part, if all of it is in view."""
    twin: bool
    """Another link leads to the same place."""


@dataclass(frozen=True, slots=True)
class Screenshot:
    """A screen and what is on it."""

    site: str
    path: str
    png: bytes
    size: tuple[int, int]
    """Width and height, in pixels."""
    elements: tuple[Element, ...]
    texts: tuple[str, ...]
    """Everything else that can be read."""


class _Scene(NamedTuple):
    """What is photographed."""

    site: Site
    episode: Episode
    path: str
    viewport: tuple[int, int]
    down: float
    """How far it is scrolled, as a share."""


def _draw(site: Site, seed: int) -> _Scene:
    rng = random.Random(f"grounding:{site.name}:{seed}")
    look = draw_look(rng.randrange(2**31), ("theme", "layout", "language"), Look())
    if rng.random() < _BANNERS:
        look = Look(look.theme, look.layout, look.language, banner=True)
    path = rng.choice(pages_of(site, seed // 1_000_000 * 1_000_000 + seed % DATABASES))
    viewport = rng.choice(VIEWPORTS)
    down = rng.choice((0.0, 0.0, rng.random(), 1.0))
    return _Scene(site, Episode(site, site.templates[0], seed, look), path, viewport, down)


# ------------------------------------------------------------------------ which pages there are


@functools.lru_cache(maxsize=256)
def pages_of(site: Site, seed: int) -> tuple[str, ...]:
    """Paths of a site that links lead to from its first page, a few of each kind.

    Args:
        site: Which.
        seed: Of the database.
    """
    from agentgym.tasks.sites.web import Server

    server, episode = Server(), Episode(site, site.templates[0], seed)
    token = server.admit(episode)
    found, alike, waiting = list[str](), dict[str, int](), ["/"]
    seen = set(waiting)
    while waiting and len(found) < MOST_PAGES:
        path = waiting.pop(0)
        text = _read(server, site, token, path)
        if text is None:
            continue
        found.append(path)
        for link in re.findall(r'href="(/[^"#]*)"', text):
            link = html.unescape(link)
            kind = re.sub(r"=[^&]*|\d+", "#", link)
            if link not in seen and not link.startswith("/static/"):
                seen.add(link)
                alike[kind] = alike.get(kind, 0) + 1
                if alike[kind] <= MOST_ALIKE:
                    waiting.append(link)
    episode.close()
    return tuple(found)


def _read(app: App, site: Site, token: str, path: str) -> str | None:
    """A page of a site, which never waits for anything; None if there is no such page."""
    path, _, query = path.partition("?")
    headers = {"host": site.host, "x-session": token}
    scope: MutableMapping[str, Any] = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
        "root_path": "", "query_string": query.encode(), "scheme": "http", "http_version": "1.1",
        "server": (site.host, 80),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    said: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message)

    answering = cast("Coroutine[Any, Any, None]", app(scope, receive, send))
    with contextlib.closing(answering), contextlib.suppress(StopIteration):
        answering.send(None)
    plain = dict(said[0]["headers"]).get(b"content-type", b"").startswith(b"text/html")
    if said[0]["status"] != 200 or not plain:
        return None
    return b"".join(each.get("body", b"") for each in said[1:]).decode()


# ------------------------------------------------------------------------------- taking pictures


class _Stage:
    """Serves the sites under names of their own, whatever else this process serves them for."""

    def __init__(self) -> None:
        from agentgym.tasks.sites.web import Server

        self.server = Server()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request, as one to the site's usual host."""
        renamed = [
            (name, value.replace(_SUFFIX.encode(), b".test", 1) if name == b"host" else value)
            for name, value in scope["headers"]
        ]
        await self.server({**scope, "headers": renamed}, receive, send)


class _Camera:
    """A browser context that takes one picture after another."""

    def __init__(self) -> None:
        self.host, self.stage = hosts.host(), _stage()
        self._session: Session | None = None

    def shoot(self, scene: _Scene) -> Screenshot:
        """A picture; called from plain code."""
        server = self.stage.server
        token = server.admit(scene.episode)
        try:
            return self.host.run_now(self._picture(scene, token), DEADLINE_S, "a screenshot")
        finally:
            server.dismiss(token)
            scene.episode.close()

    def close(self) -> None:
        """Let the context go."""
        if self._session is not None:
            self.host.let_go(self._session)
            self._session = None

    async def _picture(self, scene: _Scene, token: str) -> Screenshot:
        names = tuple(f"{name}{_SUFFIX}" for name in site_names())
        for name in names:
            self.host.serve(name, self.stage)
        settings = PageSettings(
            viewport=scene.viewport,
            hosts=names,
            headers={"X-Session": token},
            settle_ms=_SETTLE_MS,
        )
        session = await self._ready(settings)
        try:
            await session.goto(f"http://{scene.site.name}{_SUFFIX}{scene.path}")
        except InvalidAction as error:
            raise EnvError(f"{scene.site.name}{scene.path} cannot be opened: {error}") from error
        if scene.down:
            room = "document.documentElement.scrollHeight - innerHeight"
            await session.evaluate(f"scrollTo(0, Math.round({scene.down} * ({room})))")
            await session.settle(_SETTLE_MS, known=True)
        page = await session.observe(viewport=True)
        png = await session.screenshot()
        if page.dialog or session.view.size != scene.viewport:
            raise EnvError(f"{scene.site.name}{scene.path} does not show as a whole page")
        rows = [row for row in page.rows if row.id and row.clickable and row.in_view]
        found = await _examine(session, [row.id for row in rows])
        elements = [_element(row, told) for row, told in zip(rows, found, strict=True)]
        others = (row for row in page.rows if row.in_view and not (row.id and row.clickable))
        texts = tuple(text for row in others for text in (row.name, row.value) if text)
        return Screenshot(scene.site.name, scene.path, png, scene.viewport, tuple(elements), texts)

    async def _ready(self, settings: PageSettings) -> Session:
        """The context as good as new, in the size that is wanted."""
        session = self._session
        if session is not None:
            width, height = settings.viewport
            try:
                page = session.page
                if settings.viewport != session.settings.viewport:
                    await page.page.set_viewport_size({"width": width, "height": height})
                await session.renew(settings)
            except Exception:
                await session.close()
            else:
                return session
        self._session = await self.host.lease(settings)
        return self._session


async def _examine(session: Session, ids: Sequence[int]) -> list[Any]:
    """What only the page knows of these elements."""
    page = session.page
    found = await page.call(
        "Runtime.evaluate",
        expression=_probe().replace("IDS;", f"{json.dumps(ids)};", 1),
        contextId=page.world(page.main),
        returnByValue=True,
    )
    if "exceptionDetails" in found:
        told = found["exceptionDetails"].get("exception", {}).get("description", "an error")
        raise EnvError(f"the elements of a page cannot be told apart: {told}")
    listed: list[Any] = json.loads(found["result"]["value"])
    return listed


@functools.cache
def _probe() -> str:
    return Path(__file__).with_name("grounding.js").read_text(encoding="utf-8")


def _element(row: Row, told: Any) -> Element:
    box, whole, text, part, part_kind, pieces, twin = told
    left, top = math.ceil(box[0]), math.ceil(box[1])
    right, bottom = math.floor(box[2]), math.floor(box[3])
    says = any(c.isalnum() for c in text)
    label = text if says else row.name
    kind = "text" if says else "icon"
    whole = whole and right - left >= 4 and bottom - top >= 4 and "disabled" not in row.states
    corners = (left, top, right, bottom)
    return Element(row.role, label, row.name, corners, whole, kind, part, part_kind, pieces, twin)


_lock = threading.Lock()
_places = threading.Semaphore(CAMERAS)
_idle: list[_Camera] = []
_stages: list[_Stage] = []


def _stage() -> _Stage:
    """The one of this process: a page is asked of the one that was named last."""
    with _lock:
        if not _stages:
            _stages.append(_Stage())
        return _stages[0]


@contextlib.contextmanager
def _camera() -> Iterator[_Camera]:
    """One of this process's cameras, handed back at the end; one that failed is let go."""
    with _places:
        with _lock:
            camera = _idle.pop() if _idle else None
        if camera is None or camera.host is not hosts.host():
            camera = _Camera()
        try:
            yield camera
        except BaseException:
            camera.close()
            raise
        with _lock:
            _idle.append(camera)


def put_away() -> None:
    """Let cameras go that nobody uses; another is opened when one is needed."""
    with _lock:
        cameras, _idle[:] = list(_idle), []
    for camera in cameras:
        camera.close()


def shoot(site: str, seed: int) -> Screenshot:
    """The screen of a site that a seed draws; the same whoever asks, and whatever was asked before.

    Args:
        site: One of `agentgym.tasks.sites.core.site_names`.
        seed: Any of a split's million.

    Raises:
        TaskError: There is no such site.
        SandboxError: No browser can be started, or the page died.
        RegistryError: A package is missing.
    """
    for package in ("starlette", "jinja2", "playwright", "uvicorn"):
        need(package, extra="web", what="taking screenshots of sites")
    scene = _draw(find_site(site), seed)
    with _camera() as camera:
        return camera.shoot(scene)
