"""What a world may ask of a browser, and what it is shown of a page."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agentgym.errors import ConfigError, SandboxError

EPOCH_MS = 1_767_225_600_000
"""What a frozen page takes for now when a session starts: 2026-01-01 00:00 UTC."""
OWN_S = 10.0
"""Longest that a page keeps us from reading it or taking its picture, in real seconds: that is not
its script's doing, but long for large pages and on machines with much to do."""
SCHEMES = ("http", "https")
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the viewport."""


class BrowserError(SandboxError):
    """A browser, or a page of it, died or hangs.

    `kind` is one of `page_crash`, `page_hung`, `browser_gone`, `expired`, `no_page`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True)
class PageSettings:
    """What a session's browser shows, and what it may do.

    Raises:
        ConfigError: A number is out of range, or a host is none.
    """

    viewport: tuple[int, int] = (1280, 720)
    """Width and height in pixels."""
    hosts: tuple[str, ...] = ()
    """Hosts that may be opened. Those that end in `.test` are served by this process; any other is
    on the Internet, and can be reached only if it is named here."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request; a page's scripts cannot read them."""
    clock: str = "frozen"
    """`frozen`: the page's time runs only when it is let; `real`."""
    settle_ms: int = 500
    """How long a frozen page's time runs after an action."""
    deadline_s: float = 1.5
    """Longest a page's script may run for an action, in real seconds; then it is stopped. It is
    given up to four times that while the machine has more to do than processors."""
    load_s: float = 3.0
    """Longest that what an action started (a navigation, requests) is waited for, and then the
    script of a page that has just been opened; the same holds."""
    popups: int = 8
    """Most tabs; more are closed as they open."""
    attributes: tuple[str, ...] = ()
    """Shown with each element: names of attributes, or `style:NAME` of computed styles."""
    shapes: bool = False
    """Show the shapes of drawings."""
    silent: str = ""
    """A CSS selector of what is not shown."""
    probe: str = ""
    """An expression, its value JSON, evaluated in the page's own world with each observation."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """What `upload` may choose, by name."""
    seed: int = 1
    """Of `Math.random`."""
    css: str = ""
    """Added to each page."""
    headed: bool = False
    """Show the browser in a window, where there is a display."""

    def __post_init__(self) -> None:
        width, height = self.viewport
        if not (16 <= width <= 4096 and 16 <= height <= 4096):
            raise ConfigError(f"viewport is {self.viewport!r}: give 16 to 4096 pixels each way")
        if self.clock not in ("frozen", "real"):
            raise ConfigError(f"clock is {self.clock!r}: give 'frozen' or 'real'")
        for name in ("settle_ms", "deadline_s", "load_s", "popups"):
            if getattr(self, name) < (1 if name == "popups" else 0):
                raise ConfigError(f"{name} is {getattr(self, name)!r}: give more")
        for host in self.hosts:
            if not host or any(c in host for c in "/:* ,"):
                raise ConfigError(f"host {host!r}: give a name such as 'shop.test'")

    def allows(self, url: str) -> bool:
        """Whether a page of that address may be opened."""
        if url == "about:blank":
            return True
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return False
        if parts.scheme not in SCHEMES or parts.username is not None or parts.password is not None:
            return False
        return parts.hostname in self.hosts and (port in (None, 80, 443))


IN_VIEW, ACTED_ON, HIT, SCROLLS = 1, 2, 4, 8
"""Of `Row.flags`: any of it can be seen, it may be acted on, nothing lies over it, it scrolls."""


class Row(NamedTuple):
    """An element, or a run of text."""

    id: int
    """What actions call it; 0 if nothing can be done with it."""
    depth: int
    role: str
    name: str
    value: str | None
    states: Sequence[str]
    box: Box | None
    flags: int
    """A sum of `IN_VIEW`, `ACTED_ON`, `HIT`, `SCROLLS`."""
    attributes: Mapping[str, str]

    @property
    def in_view(self) -> bool:
        """Whether any of it is in the viewport, and not cut off by what it is in."""
        return bool(self.flags & IN_VIEW)

    @property
    def clickable(self) -> bool:
        """Whether it may be acted on."""
        return bool(self.flags & ACTED_ON)

    @property
    def hit(self) -> bool:
        """Whether a click would meet it."""
        return bool(self.flags & HIT)


class Tab(NamedTuple):
    """A tab, as the agent is told of it."""

    title: str
    url: str


@dataclass
class PageState:
    """A page as it was at one moment."""

    url: str
    title: str
    rows: Sequence[Row]
    size: tuple[int, int]
    """Of the viewport: width, height."""
    scroll: tuple[int, int, int, int] = (0, 0, 0, 0)
    """How far it is scrolled, x and y; width and height of the whole document."""
    cut: int = 0
    """Elements beyond what is read of one page."""
    outside: int = 0
    """Elements left out as they are not in view."""
    focused: int = 0
    tabs: Sequence[Tab] = ()
    tab: int = 0
    """Which tab this is."""
    events: Sequence[str] = ()
    """What happened since the last observation: dialogs, tabs, downloads, blocked addresses."""
    probe: Any = None
    """What `PageSettings.probe` gave."""
    dialog: str = ""
    """The question that waits for an answer, if there is one."""

    @functools.cached_property
    def digest(self) -> str:
        """Of all that is shown but numbers, boxes and the focus: the same page, the same digest."""
        said = [
            [r.role, r.name, r.value, [s for s in r.states if s != "focused"]] for r in self.rows
        ]
        told = json.dumps([self.url, self.title, self.scroll[:2], self.dialog, said])
        return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:24]

    def row(self, number: int) -> Row | None:
        """The element of that number."""
        return self._numbered.get(number)

    @functools.cached_property
    def _numbered(self) -> dict[int, Row]:
        return {row.id: row for row in self.rows if row.id}

    def find(self, role: str = "", name: str = "") -> Iterator[Row]:
        """Elements of a role whose name holds `name`, in upper or lower case."""
        folded = name.casefold()
        for row in self.rows:
            if (not role or row.role == role) and folded in row.name.casefold():
                yield row

    def nearest(self, gone: Row) -> Row | None:
        """The element of the same role and name that is nearest to one that is gone."""
        alike = [r for r in self.rows if r.id and (r.role, r.name) == (gone.role, gone.name)]
        if not alike or gone.box is None:
            return alike[0] if alike else None
        left, top = gone.box[:2]
        return min(
            alike, key=lambda r: abs(r.box[0] - left) + abs(r.box[1] - top) if r.box else 1e9
        )
