"""A session: a browser context of its own with its tabs, acted on and observed.

Lives on the browser host's loop, where all of it must be called. Errors are of two kinds: what the
agent did wrong is `InvalidAction`, what the browser did is `BrowserError`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agentgym.actions import Call
from agentgym.actions.pointing import Convention, View
from agentgym.errors import InvalidAction
from agentgym.sandboxes import picture
from agentgym.sandboxes.openpage import Asked, Hung, OpenPage, world_source
from agentgym.sandboxes.page import BrowserError, PageSettings, PageState, Row
from agentgym.sandboxes.reading import Reader
from agentgym.sandboxes.tabs import Tabs, quietly
from agentgym.sandboxes.traffic import Frame, Overtaken

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext


class Session(Tabs):
    """A context of a browser, with its tabs; made by `BrowserHost.lease`."""

    def __init__(
        self, context: BrowserContext, settings: PageSettings, sends: Mapping[str, str]
    ) -> None:
        super().__init__(context, settings)
        self.coords: Convention = "pixel"
        """How points of pictures are said."""
        self.pointer = (settings.viewport[0] / 2, settings.viewport[1] / 2)
        """Where the mouse is, in pixels of the viewport."""
        self.view = self._whole()
        """What the last image showed."""
        self.used_s = time.monotonic()
        """When something was last done with it."""
        self.last: PageState | None = None
        """The last observation."""
        self.probed: Any = None
        """What the settings' probe gave when the page settled last; None if that is not known."""
        self._sends = sends
        self._reader = Reader()
        self._image: bytes | None = None
        self._taking: asyncio.Future[None] | None = None
        """A picture on its way."""
        self._hung = 0
        self._closing: list[Callable[[], object]] = []

    @classmethod
    async def open(
        cls,
        browser: Browser,
        settings: PageSettings,
        sends: Mapping[str, str] = MappingProxyType({}),
    ) -> Session:
        """A context with one blank page; `sends` goes with every request, whatever the settings."""
        width, height = settings.viewport
        context = await browser.new_context(
            viewport={"width": width, "height": height},
            screen={"width": width, "height": height},
            device_scale_factor=1,
            locale="en-US",
            timezone_id="UTC",
            reduced_motion="reduce",
            color_scheme="light",
            accept_downloads=False,
            service_workers="block",
            extra_http_headers={**settings.headers, **sends},
        )
        session = cls(context, settings, sends)
        try:
            await context.add_init_script(world_source(settings))
            context.on("page", session.page_opened)
            context.on("dialog", session.dialog_opened)
            await context.new_page()
            await session.all_attached()
        except BaseException:
            await quietly(context.close())
            raise
        return session

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have something called when the session is closed."""
        self._closing.append(callback)

    # ---------------------------------------------------------------- what worlds call

    async def goto(self, url: str) -> None:
        """Open an address, and wait for the page.

        Raises:
            InvalidAction: Of kind `blocked_url` or `unreachable`.
            BrowserError: The page died.
        """
        if not self.settings.allows(url):
            allowed = ", ".join(self.settings.hosts) or "none"
            raise InvalidAction(
                "blocked_url", f"{url[:200]!r} may not be opened; hosts that may: {allowed}"
            )
        page = self.page
        page.expect_navigation()
        page.put_time()
        try:
            told = await page.call("Page.navigate", page.patience_s, url=url)
        except Overtaken:
            told = {}
        except Hung:
            await page.cdp.send("Page.stopLoading")
            raise InvalidAction("timeout", f"{url[:200]!r} does not answer") from None
        if "loaderId" not in told and not told.get("errorText"):  # the same document
            page.expect_none()
        if (why := told.get("errorText")) and why != "net::ERR_ABORTED":
            told_before = self._events.copy()
            await self.settle(0)
            self._events[:] = told_before  # the error says it
            raise InvalidAction("unreachable", f"{url[:200]!r} cannot be opened: {why}")
        if told.get("errorText"):
            page.expect_none()
        with contextlib.suppress(Asked):  # it is shown, and can be answered
            await self.settle()

    async def act(self, call: Call) -> Sequence[str]:
        """Carry out a call, and let the page settle; returns what is to be told beside the page.

        Coordinates are pixels of the viewport (`agentgym.actions.pointing.on_page`).

        Raises:
            InvalidAction: It cannot be carried out; says why.
            BrowserError: The page or the browser died.
        """
        from agentgym.sandboxes import acting

        self.used_s = time.monotonic()
        self.probed = None
        self._forget_picture()
        try:
            return await acting.carry_out(self, call)
        except Asked:
            return []
        except Overtaken:
            await self._recover(self.settle())
            return []
        except Hung as error:
            raise self._hangs() from error

    def _hangs(self) -> InvalidAction:
        self._hung += 1
        if self._hung > 1:
            raise BrowserError("page_hung", "the page did not answer, again")
        seconds = self.settings.deadline_s
        told = f"the page did not answer in {seconds:g} s: its script was stopped"
        return InvalidAction("timeout", told)

    async def settle(self, ms: float | None = None, *, known: bool = False) -> None:
        """Wait for what was started, then let the page's time run (`settle_ms` if None).

        Args:
            ms: Of the page's time.
            known: The last call was no input, but an evaluation or a wait.
        """
        page = self.page
        frozen = self.settings.clock == "frozen"
        run = (self.settings.settle_ms if ms is None else ms) if frozen else 0
        try:
            self.probed, calm = await page.settle(run, self.settings.probe, known=known)
            if not calm:
                self.tell("the page is still loading")
            await self._come_back(page)
            await self.all_attached()
            if (newer := self.page) is not page:
                self.probed, _ = await newer.settle(0, self.settings.probe)
                await self._come_back(newer)
        except BrowserError as error:
            if error.kind != "no_page":
                raise
            await self.all_attached()

    async def _come_back(self, page: OpenPage) -> None:
        """Leave a page that may not be open, or is none."""
        for url in dict.fromkeys([*page.unreachable, page.strayed]):
            if url and self.settings.allows(url):
                self.tell(f"{url[:200]!r} cannot be opened")
            elif url:
                self.tell(f"blocked: {url[:200]!r} may not be opened")
        page.unreachable.clear()
        for _ in range(3):
            if not page.strayed:
                return
            page.strayed = ""
            history = await page.call("Page.getNavigationHistory")
            entries, at = history["entries"], history["currentIndex"]
            allowed = [e for e in entries[:at] if self.settings.allows(e["url"])]
            page.expect_navigation()
            if allowed:
                await page.call("Page.navigateToHistoryEntry", entryId=allowed[-1]["id"])
            else:
                await page.call("Page.navigate", url="about:blank")
            await page.settle(0)
            page.unreachable.clear()

    async def wait(self, ms: float) -> None:
        """Let the page's time run; real time, where its clock is real."""
        if self.settings.clock == "real":
            await asyncio.sleep(ms / 1000)
            await self.settle(0)
        else:
            await self.settle(ms, known=True)

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page's own world: for trusted pages only."""
        try:
            return await self.page.evaluate(expression)
        except Overtaken:
            await self.settle(0)
            return await self.page.evaluate(expression)
        except Hung as error:
            raise BrowserError("page_hung", "an expression of the world's own hangs") from error

    # ---------------------------------------------------------------- observing

    async def observe(
        self, *, viewport: bool = False, most: int = 20_000, image: bool = False
    ) -> PageState:
        """Read the page of the active tab.

        Args:
            viewport: Leave out what is not in view.
            most: Most rows.
            image: At the same time, begin to take the picture that `screenshot` gives: it comes
                while the text is written.

        Raises:
            BrowserError: The page or the browser died, or hangs.
        """
        self.used_s = time.monotonic()
        if self.dialog is not None:
            return self._while_asked()
        for _ in range(4):
            await self.all_attached()
            self._forget_picture()
            if image and self._shows_all:
                self._taking = asyncio.ensure_future(self._take())
            try:
                state = await self._reader.read(self, viewport=viewport, most=most)
                break
            except Overtaken:
                await self._recover(self.settle(0))
            except Asked:
                return self._while_asked()
            except Hung as error:
                self._hangs()
                self.tell(f"the page's script was stopped: {error or 'it did not end'}")
        else:
            raise BrowserError("page_hung", "the page cannot be read: it is another one each time")
        self.last, self.probed = state, None
        return state

    async def _take(self) -> None:
        """Take a picture if that can be done now; `screenshot` says why it cannot."""
        with contextlib.suppress(Asked, Overtaken, Hung, BrowserError):
            self._image = await self._capture()

    def _forget_picture(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
        self._taking = self._image = None

    async def _recover(self, work: Any) -> None:
        with contextlib.suppress(Asked, Overtaken, Hung):
            await work

    def _while_asked(self) -> PageState:
        """The page as it was, while a question is open."""
        events, self._events = self._events, []
        question = self.dialog.message if self.dialog is not None else ""
        before = self.last
        if before is None:
            return PageState(self.page.url, "", (), self.settings.viewport, events=events,
                             dialog=question)  # fmt: skip
        return replace(before, events=events, dialog=question)

    def owner(self, number: int) -> tuple[OpenPage, Frame] | None:
        """The page and frame that showed an element."""
        return self._reader.owners.get(number)

    def seen(self, number: int) -> Row | None:
        """An element as it was last shown."""
        return self._reader.rows.get(number)

    async def screenshot(self) -> bytes:
        """A PNG of what `view` shows: the viewport, or the part that was zoomed into.

        Raises:
            BrowserError: The page or the browser died, or hangs.
        """
        if self._taking is not None:
            await self._taking
            self._taking = None
        if self._image is None:
            try:
                self._image = await self._capture()
            except Hung as error:
                raise BrowserError("page_hung", "no picture can be taken") from error
            except (Overtaken, Asked):
                told = "no picture can be taken while a page waits"
                raise BrowserError("page_hung", told) from None
        self.view = View(self.view.region, picture.size_of(self._image), self.coords)
        return self._image

    async def _capture(self) -> bytes:
        left, top, width, height = self.view.region
        told: dict[str, Any] = {"format": "png", "optimizeForSpeed": True}
        if not self._shows_all:
            scroll = self.last.scroll if self.last is not None else (0, 0)
            scale = self.view.size[0] / width
            clip = {"x": left + scroll[0], "y": top + scroll[1], "width": width, "height": height}
            told["clip"] = {**clip, "scale": scale}
        page = self.page
        found = await page.call("Page.captureScreenshot", page.patience_s, **told)
        return base64.b64decode(found["data"])

    @property
    def _shows_all(self) -> bool:
        return self.view.region[2:] == tuple(map(float, self.settings.viewport))

    def _whole(self) -> View:
        width, height = self.settings.viewport
        return View((0.0, 0.0, float(width), float(height)), (width, height), self.coords)

    def shown_anew(self) -> None:
        """Show all of another tab."""
        self.view = self._whole()

    def show(self, view: View | None = None) -> None:
        """Show a part of the page in pictures from now on; all of it if None."""
        self.view = self._whole() if view is None else view
        self._forget_picture()

    # ---------------------------------------------------------------- beginning and ending

    async def renew(self, settings: PageSettings) -> None:
        """As good as a new context: one tab, and nothing of what was stored or noted.

        Raises:
            BrowserError: It cannot be had; open another session. So it is wherever the Internet was
                open to it: what was stored for whom is not known.
        """
        if any(not host.endswith(".test") for host in self.settings.hosts):
            raise BrowserError("expired", "a context that was on the Internet is not used again")
        if self.dialog is not None:
            dialog, self.dialog = self.dialog, None
            await quietly(dialog.dismiss())
        for opened in self.pages[1:]:
            await quietly(opened.page.close())
        del self.pages[1:]
        page = self.page
        page.asked.clear()
        origins = {f"http://{host}" for host in self.settings.hosts}
        clearing = [
            page.call("Storage.clearDataForOrigin", origin=each, storageTypes="all")
            for each in origins
        ]
        clearing.append(page.call("Runtime.evaluate", expression="window.name = ''"))
        if settings.headers != self.settings.headers:
            await self.context.set_extra_http_headers({**settings.headers, **self._sends})
        self.settings = page.settings = settings
        await asyncio.gather(self.context.clear_cookies(), *clearing)
        await page.start_of_time()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what the last episode was told."""
        self.active = 0
        self.clipboard = ""
        self._events.clear()
        self._reader = Reader()
        self._forget_picture()
        self.last = None
        self._hung = 0
        self.pointer = (self.settings.viewport[0] / 2, self.settings.viewport[1] / 2)
        self.view = self._whole()

    async def point_home(self) -> None:
        """Put the mouse where it starts: what it is over looks different.

        That no key is let go of has the page told at once, and not with its next picture.
        """
        page = self.page

        async def work() -> None:
            nothing = page.cdp.send("Input.dispatchKeyEvent", {"type": "keyUp"})
            await asyncio.gather(page.page.mouse.move(*self.pointer), nothing)

        await page.guard(work())

    async def forget_history(self) -> None:
        """Have the page that is open be the first."""
        await self.page.call("Page.resetNavigationHistory")

    async def close(self) -> None:
        """Close the context; closing twice is fine."""
        if self.closed:
            return
        self.closed = True
        self._forget_picture()
        for opened in self.pages:
            opened.breaks("no_page", "the session is closed")
        browser = self.context.browser
        if browser is None or browser.is_connected():  # else the answer never comes
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.context.close(), 5)
        for callback in self._closing:
            callback()
        self._closing.clear()
