"""The tabs of a browser context, and what happens to them that nobody asked for.

New tabs, questions and downloads come when they please; what is to be told of them is kept until
the next observation.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentgym.sandboxes.openpage import OpenPage
from agentgym.sandboxes.page import BrowserError, PageSettings

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Dialog, Download, Page

_LONGEST_EVENT = 300
_MOST_EVENTS = 40
_WINDOW_S = 2.0
"""How long a tab that a page opened is waited for."""


class Tabs:
    """A context's pages, of which one is active."""

    def __init__(self, context: BrowserContext, settings: PageSettings) -> None:
        self.context = context
        self.settings = settings
        self.pages: list[OpenPage] = []
        self.active = 0
        self.dialog: Dialog | None = None
        """The question that waits for an answer."""
        self.closed = False
        self.clipboard = ""
        """What was copied last in this session."""
        self._events: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._attached = asyncio.Event()
        self._expected = 0
        """Tabs that pages have opened and that are yet to come."""

    @property
    def page(self) -> OpenPage:
        """The page of the active tab.

        Raises:
            BrowserError: The session is over.
        """
        if self.closed or not self.pages:
            raise BrowserError("no_page", "the session is closed")
        return self.pages[self.active]

    def shown_anew(self) -> None:
        """Called when another tab is active."""

    def tell(self, event: str) -> None:
        """Note something that the agent is to be told; of very much, the first."""
        if len(self._events) < _MOST_EVENTS:
            self._events.append(event[:_LONGEST_EVENT].encode("utf-8", "replace").decode())
        elif len(self._events) == _MOST_EVENTS:
            self._events.append("… and more that is not told")

    def _copied(self, text: str) -> None:
        self.clipboard = text

    def _window_expected(self) -> None:
        self._expected += 1

    def page_opened(self, page: Page) -> None:
        """Follow a tab that has opened, or close it if there are too many."""
        self._expected = max(0, self._expected - 1)
        self._attached.set()
        if len(self.pages) + len(self._tasks) >= self.settings.popups:
            self.tell(f"a new tab was closed at once: {self.settings.popups} are open")
            task = asyncio.get_running_loop().create_task(quietly(page.close()))
        else:
            task = asyncio.get_running_loop().create_task(self._attach(page))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attach(self, page: Page) -> None:
        now = self.pages[self.active].now if self.pages else 0.0
        page.on("download", self._download_began)
        try:
            opened = await OpenPage.attach(page, self.settings, now)
        except Exception as error:
            if not self.pages:
                raise BrowserError("no_page", f"a page cannot be followed: {error}") from error
            return  # closed by now
        page.on("crash", lambda _: opened.breaks("page_crash", f"the page at {opened.url} crashed"))
        page.on("close", lambda _: self._page_closed(opened))
        if self.pages:
            self.tell(f"tab {len(self.pages)} opened")
        opened.on_window = self._window_expected
        opened.on_copied = self._copied
        self.pages.append(opened)
        self.activate(len(self.pages) - 1)

    def _page_closed(self, opened: OpenPage) -> None:
        opened.breaks("no_page", "the tab was closed")
        if self.closed or opened not in self.pages:
            return
        index = self.pages.index(opened)
        self.pages.remove(opened)
        self.tell(f"tab {index} closed")
        after = self.active - (self.active > index)
        self.activate(min(after, len(self.pages) - 1))

    def activate(self, index: int) -> None:
        """Make a tab the active one."""
        self.active = max(index, 0)
        self.shown_anew()

    def dialog_opened(self, dialog: Dialog) -> None:
        """Accept what needs no answer; keep what does."""
        kind, said = dialog.type, dialog.message[:200]
        if kind == "beforeunload":
            self._spawn(dialog.accept())
            return
        if kind == "alert":
            self.tell(f"alert: {said}")
            self._spawn(dialog.accept())
            return
        default = f" [{dialog.default_value[:80]}]" if dialog.default_value else ""
        self.tell(f"{kind}: {said}{default} - answer it with dialog(accept=...)")
        self.dialog = dialog
        for opened in self.pages:
            if opened.page is dialog.page or dialog.page is None:
                opened.asked.set()

    def _download_began(self, download: Download) -> None:
        self.tell(f"download of {download.suggested_filename[:80]!r} was denied")
        self._spawn(download.cancel())

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def all_attached(self) -> None:
        """Wait for the tabs that are opening, and see to it that there is one.

        Raises:
            BrowserError: No page can be opened.
        """
        until = time.monotonic() + _WINDOW_S
        while self._expected and time.monotonic() < until:
            self._attached.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._attached.wait(), until - time.monotonic())
        self._expected = 0
        while self._tasks:
            await asyncio.wait(set(self._tasks), timeout=self.settings.deadline_s)
            if any(task.done() and task.exception() for task in self._tasks):
                break
        if not self.pages:
            await self.context.new_page()
            await asyncio.sleep(0)
            if self._tasks:
                await asyncio.wait(set(self._tasks), timeout=self.settings.deadline_s)
            if not self.pages:
                raise BrowserError("no_page", "no page can be opened")

    def take_events(self) -> list[str]:
        """What the agent is yet to be told, taken out."""
        taken, self._events = self._events, []
        return taken

    def give_back(self, *events: Sequence[str]) -> None:
        """Put events back that were taken."""
        self._events[:0] = [each for told in events for each in told]

    async def switch_to(self, opened: OpenPage) -> None:
        """Make a tab the active one."""
        self.activate(self.pages.index(opened))
        await quietly(opened.page.bring_to_front())

    async def open_tab(self) -> None:
        """Open a blank tab, which is then the active one."""
        await self.page.guard(self.context.new_page())
        await self.all_attached()

    async def close_tab(self, opened: OpenPage) -> None:
        """Close a tab."""
        with contextlib.suppress(BrowserError):
            await opened.guard(opened.page.close())


async def quietly(work: Any) -> None:
    """Await something whose failure does not matter."""
    with contextlib.suppress(Exception):
        await work
