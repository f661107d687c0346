"""What is under way in a page: its documents and frames, navigations and requests.

Fed by the events of the browser's protocol, which come in the order in which things happened: what
an input started is told before the next call is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from agentgym.sandboxes.page import PageSettings

WORLD = "agentgym"
"""The world of the reading script in each frame."""
COPIED = "__agentgymCopied"
"""What the reading script calls when something was copied."""
_QUIET = frozenset({"WebSocket", "EventSource", "Ping", "Preflight", "CSPViolationReport"})


class Overtaken(Exception):
    """The document is another one by now."""


class Frame(NamedTuple):
    """A frame of a page: which it is, and where its top left corner is in the viewport."""

    id: str
    x: float = 0.0
    y: float = 0.0


class Flag:
    """An event that can be awaited beside other futures without a task of its own."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def is_set(self) -> bool:
        """Whether it was set since it was cleared."""
        return self.future.done()

    def set(self) -> None:
        """Let those who wait go on."""
        if not self.future.done():
            self.future.set_result(None)

    def clear(self) -> None:
        """Have those who come now wait."""
        if self.future.done():
            self.future = asyncio.get_running_loop().create_future()


class Traffic:
    """What a page tells of itself."""

    def __init__(self, settings: PageSettings) -> None:
        self.settings = settings
        self.main = ""
        """The main frame."""
        self.url = "about:blank"
        self.unreachable: list[str] = []
        """Addresses that could not be opened, since somebody looked."""
        self.strayed = ""
        """Where the page is, if it may not be there."""
        self.frame_rows: dict[str, int] = {}
        """The number of the element that holds a frame."""
        self.on_window: Callable[[], None] = lambda: None
        """Called when the page opens another."""
        self.on_copied: Callable[[str], None] = lambda _: None
        """Called with the text that was copied in the page."""
        self.changed = asyncio.Event()
        self.navigating: set[str] = set()
        self.fresh = False
        """Whether a document was opened since time last ran."""
        self.started = Flag()
        """Set when a navigation begins."""
        self._requests: set[str] = set()
        self._worlds: dict[str, int] = {}
        self._clocks: dict[str, int] = {}
        self._frames: dict[int, str] = {}

    @property
    def busy(self) -> bool:
        """Whether a navigation or a request is under way."""
        return bool(self.navigating or self._requests)

    def expect_navigation(self) -> None:
        """A navigation of the page is about to be asked for."""
        self.navigating.add(self.main)

    def expect_none(self) -> None:
        """What was asked for is no navigation after all."""
        self.navigating.discard(self.main)
        self.changed.set()

    def forget_traffic(self) -> None:
        """What is under way is not waited for any more."""
        self.navigating.clear()
        self._requests.clear()

    def clocks_of_frames(self) -> list[int]:
        """The own worlds of all frames but the main one."""
        return [i for f, i in self._clocks.items() if f != self.main and f in self._worlds]

    def world(self, frame: str) -> int:
        """The world of the reading script in a frame.

        Raises:
            Overtaken: There is none.
        """
        if frame not in self._worlds:
            raise Overtaken("no such frame")
        return self._worlds[frame]

    def put_time(self) -> None:
        """See to it that the next document starts at the time it is."""

    # ---------------------------------------------------------------- what the browser tells

    def heard(self) -> dict[str, Callable[[Any], None]]:
        """What to call for each event."""
        return {
            "Runtime.executionContextCreated": self._context_created,
            "Runtime.executionContextDestroyed": self._context_destroyed,
            "Runtime.executionContextsCleared": self._contexts_cleared,
            "Network.requestWillBeSent": self._request_began,
            "Network.loadingFinished": self._request_ended,
            "Network.loadingFailed": self._request_ended,
            "Page.frameRequestedNavigation": self._navigation_requested,
            "Page.frameNavigated": self._navigated,
            "Page.frameStoppedLoading": self._stopped_loading,
            "Page.frameDetached": self._stopped_loading,
            "Page.navigatedWithinDocument": self._moved_within,
            "Page.downloadWillBegin": self._stopped_loading,
            "Page.windowOpen": lambda _: self.on_window(),
            "Runtime.bindingCalled": self._told_by_script,
        }

    def _told_by_script(self, told: Any) -> None:
        if told["name"] == COPIED:
            self.on_copied(told["payload"])

    def _context_created(self, told: Any) -> None:
        context = told["context"]
        about = context.get("auxData") or {}
        frame = about.get("frameId")
        if frame and context["name"] == WORLD:
            self._worlds[frame] = context["id"]
            self._frames[context["id"]] = frame
        elif frame and about.get("isDefault"):
            self._clocks[frame] = context["id"]
            self._frames[context["id"]] = frame

    def _context_destroyed(self, told: Any) -> None:
        number = told["executionContextId"]
        frame = self._frames.pop(number, "")
        for kept in (self._worlds, self._clocks):
            if kept.get(frame) == number:
                del kept[frame]

    def _contexts_cleared(self, _: Any) -> None:
        self._worlds.clear()
        self._clocks.clear()
        self._frames.clear()
        self.frame_rows.clear()

    def _request_began(self, told: Any) -> None:
        if told.get("type") not in _QUIET and not told["request"]["url"].startswith("data:"):
            self._requests.add(told["requestId"])

    def _request_ended(self, told: Any) -> None:
        self._requests.discard(told["requestId"])
        self.changed.set()

    def _navigation_requested(self, told: Any) -> None:
        if told.get("disposition", "currentTab") == "currentTab":
            self.navigating.add(told["frameId"])
            self.started.set()
            self.put_time()

    def _navigated(self, told: Any) -> None:
        frame = told["frame"]
        self.navigating.add(frame["id"])  # until it has stopped loading
        self.started.set()
        unreachable = frame.get("unreachableUrl")
        if unreachable:
            self.unreachable.append(unreachable)
        if "parentId" not in frame:
            self.fresh = True
            self._requests.clear()
            self.main = frame["id"]
            self.url = frame["url"] + frame.get("urlFragment", "")
            if unreachable or not self.settings.allows(frame["url"]):
                self.strayed = unreachable or frame["url"]
        elif not (
            unreachable
            or self.settings.allows(frame["url"])
            or frame["url"].startswith(("about:", "blob:", "data:"))
        ):
            self.strayed = frame["url"]

    def began(self, frame: Any) -> None:
        """What a page that was open before somebody listened shows."""
        unreachable = frame.get("unreachableUrl", "")
        if unreachable or not (frame["url"] in ("", ":") or self.settings.allows(frame["url"])):
            self.strayed = unreachable or frame["url"]

    def _stopped_loading(self, told: Any) -> None:
        self.navigating.discard(told["frameId"])
        self.changed.set()

    def _moved_within(self, told: Any) -> None:
        self.navigating.discard(told["frameId"])
        if told["frameId"] == self.main:
            self.url = told["url"]
        self.changed.set()
