"""Browsers for many worlds at once: one thread with an event loop, one Chromium, many contexts.

Playwright's asynchronous form lives on the host's own loop, so worlds may be stepped from plain
code, from a notebook's loop or from many threads, and every call has a deadline. A world leases a
`Session`, which is a context of its own: cookies, storage and cache are nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import secrets
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from agentgym.errors import RegistryError, SandboxError, StageTimeout
from agentgym.sandboxes import browser, janitor
from agentgym.sandboxes.page import BrowserError, PageSettings
from agentgym.sandboxes.serving import PASS, App, Server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Playwright

    from agentgym.sandboxes.session import Session

T = TypeVar("T")

CONTEXTS = 16
"""Contexts of one browser; a further browser is started beyond."""
LEASES = 400
"""Contexts a browser serves before it is replaced."""
LAUNCH_S = 30.0
OPEN_S = 20.0
IDLE_S = 1800.0
"""A session that nobody uses for so long is closed."""
_REAP_S = 30.0
_ADVICE = "pip install 'agentgym-env[web]'"
_OFF = (
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "ThirdPartyStoragePartitioning",
    "TranslateUI",
    "RenderDocument",  # a new frame for each document: a third of what a navigation costs
)
"""Features of Chromium that are off: Playwright's list, which ours replaces, and the last."""
_FLAGS = (
    "--disable-site-isolation-trials",  # a page's frames are read through one connection
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    f"--disable-features={','.join(_OFF)}",
    "--hide-scrollbars",
    "--font-render-hinting=none",
    "--disable-lcd-text",
    "--disable-partial-raster",  # the same page, the same pixels, whatever was drawn before
)
_SHELL_FLAGS = ("--run-all-compositor-stages-before-draw",)
"""Of a headless shell, whose pages have no window around them that would wait, too: a picture takes
one frame, and not two."""


@dataclass(eq=False)
class _Running:
    """A browser, and what it serves."""

    browser: Browser
    key: tuple[tuple[str, ...], bool]
    """How it was started, and whether it shows itself."""
    served: int = 0
    leases: int = 0
    sessions: set[Session] = field(default_factory=set)
    has_fonts: bool = False
    """Known once a page was opened."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the browser ended: not all that is under way then fails by itself."""

    async def unless_gone(self, opening: Coroutine[Any, Any, T]) -> T:
        """Await something of the browser, for as long as it runs and `OPEN_S` at most."""
        work = asyncio.ensure_future(opening)
        ending = asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait({work, ending}, timeout=OPEN_S, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                why = "the browser ended" if self.gone.is_set() else f"nothing in {OPEN_S:g} s"
                raise BrowserError("no_page", why)
            return work.result()
        finally:
            ending.cancel()
            work.cancel()


class BrowserHost:
    """Starts browsers when needed and replaces those that die; `host()` is this process's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._playwright: Playwright | None = None
        self._running: list[_Running] = []
        self._starting: asyncio.Lock | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.server = Server()
        self.launches = 0
        """Browsers started so far."""
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="agentgym-browser", daemon=True
        )
        self._thread.start()

    # ---------------------------------------------------------------- from any thread or loop

    async def run(self, work: Coroutine[Any, Any, T], deadline_s: float, what: str) -> T:
        """Do something on the host's loop, awaited from any loop.

        Raises:
            StageTimeout: It took longer than that; it was cancelled.
            BrowserError: The browser, or a page of it, died.
        """
        future = asyncio.run_coroutine_threadsafe(_typed(work), self._loop)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), deadline_s)
        except TimeoutError as error:
            if isinstance(error, StageTimeout):
                raise
            raise StageTimeout(f"{what} took longer than {deadline_s:g} s") from error
        finally:
            future.cancel()

    def run_now(self, work: Coroutine[Any, Any, T], deadline_s: float, what: str) -> T:
        """The same from plain code.

        Raises:
            StageTimeout: It took longer than that; it was cancelled.
            BrowserError: The browser, or a page of it, died.
        """
        future = asyncio.run_coroutine_threadsafe(_typed(work), self._loop)
        try:
            return future.result(deadline_s)
        except TimeoutError as error:
            if isinstance(error, StageTimeout):
                raise
            raise StageTimeout(f"{what} took longer than {deadline_s:g} s") from error
        finally:
            future.cancel()

    def serve(self, name: str, app: App) -> None:
        """Have a host name, which ends in `.test`, lead to an ASGI application."""
        self.server.apps[name] = app

    def let_go(self, session: Session) -> None:
        """Close a session without waiting, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: so is the session
            self._loop.call_soon_threadsafe(self._spawn_close, session)

    def _spawn_close(self, session: Session) -> None:
        task = self._loop.create_task(session.close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---------------------------------------------------------------- on the host's loop

    async def lease(self, settings: PageSettings) -> Session:
        """A context with a page, from a browser that runs; called on the host's loop.

        Raises:
            SandboxError: No browser can be started, or no page opened.
            RegistryError: Playwright is not installed.
        """
        from agentgym.sandboxes.session import Session

        await self.server.start()
        if self._reaper is None:
            self._reaper = self._loop.create_task(self._reap())
        last: BaseException | None = None
        token = secrets.token_hex(16)
        for _ in range(3):
            running = await self._browser(self._flags(settings), settings.headed)
            running.served += 1
            running.leases += 1
            try:
                opening = Session.open(running.browser, settings, {PASS: token})
                session = await running.unless_gone(opening)
                running.has_fonts = running.has_fonts or await _has_fonts(session)
            except Exception as error:
                running.leases -= 1
                last = error
                self._drop(running)
                continue
            if not running.has_fonts:
                await session.close()
                running.leases -= 1
                raise SandboxError(f"{browser.NO_FONTS}: {browser.FONTS_REMEDY}")
            running.sessions.add(session)
            self.server.passes[token.encode()] = frozenset(settings.hosts)
            session.on_close(functools.partial(self._returned, running, session))
            session.on_close(functools.partial(self.server.passes.pop, token.encode(), None))
            return session
        raise BrowserError("no_page", f"no page can be opened: {_line(last)}") from last

    def _flags(self, settings: PageSettings) -> tuple[str, ...]:
        """Names lead to our own server or nowhere, but for those of the Internet that are named."""
        outside = sorted(host for host in settings.hosts if not host.endswith(".test"))
        rules = [f"MAP *.test:80 127.0.0.1:{self.server.port}"]
        rules += [f"EXCLUDE {host}" for host in outside]
        return (f"--host-resolver-rules={', '.join(rules)}, MAP * ~NOTFOUND",)

    async def _browser(self, flags: tuple[str, ...], headed: bool) -> _Running:
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            for running in self._running:
                if (
                    running.key == (flags, headed)
                    and running.leases < CONTEXTS
                    and running.served < LEASES
                    and running.browser.is_connected()
                ):
                    return running
            for running in [each for each in self._running if not each.leases]:
                self._drop(running)  # it serves nobody: those of other hosts would add up
            started = _Running(await self._launch(flags, headed), (flags, headed))
            janitor.keep_profiles()
            self.launches += 1
            started.browser.on("disconnected", lambda _: self._lost(started))
            self._running.append(started)
            return started

    async def _launch(self, flags: tuple[str, ...], headed: bool) -> Browser:
        try:
            from playwright.async_api import Error, async_playwright
        except ImportError as error:
            raise RegistryError(f"browsers need Playwright: {_ADVICE}") from error
        if headed:
            browser.need_display()
        path = browser.find_browser(headed=headed)
        if path is None:
            raise SandboxError(f"no Chromium found: {browser.REMEDY}")
        janitor.watch()
        fixed = [*browser.flags()[1:], *_FLAGS, *(_SHELL_FLAGS if "shell" in path.name else ())]
        told = ""
        for _ in range(2):
            if self._playwright is None:
                self._playwright = await async_playwright().start()
            try:
                return await self._playwright.chromium.launch(
                    executable_path=str(path),
                    headless=not headed,
                    args=[*fixed, *flags],
                    chromium_sandbox=os.geteuid() != 0,
                    env={**os.environ, janitor.VARIABLE: janitor.owner()},
                    artifacts_dir=str(janitor.folder() / f"{janitor.owner()}-artifacts"),
                    timeout=LAUNCH_S * 1000,
                    handle_sigint=False,
                    handle_sigterm=False,
                    handle_sighup=False,
                )
            except Error as error:
                told = _line(error)
                if "Executable" in told:
                    break
            except Exception as error:  # its own process is gone
                told = _line(error)
            driver, self._playwright = self._playwright, None
            with contextlib.suppress(Exception):
                await asyncio.wait_for(driver.stop(), 3)
        raise SandboxError(f"{path} does not start: {told}; {browser.REMEDY}")

    def _returned(self, running: _Running, session: Session) -> None:
        running.leases -= 1
        running.sessions.discard(session)
        if not running.leases and running.served >= LEASES:
            self._drop(running)

    def _lost(self, running: _Running) -> None:
        running.gone.set()
        if running in self._running:
            self._running.remove(running)
        for session in list(running.sessions):
            for opened in session.pages:
                opened.breaks("browser_gone", "the browser ended")

    def _drop(self, running: _Running) -> None:
        """Close a browser that is used up, or of no use."""
        if running in self._running:
            self._running.remove(running)
        if not running.leases:
            task = self._loop.create_task(_close_quietly(running.browser))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reap(self) -> None:
        """Close sessions that nobody uses."""
        while True:
            await asyncio.sleep(_REAP_S)
            now = time.monotonic()
            for running in list(self._running):
                for session in list(running.sessions):
                    if now - session.used_s > IDLE_S:
                        await session.close()

    # ---------------------------------------------------------------- the end

    def close(self) -> None:
        """Close every browser and the thread."""
        future = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        with contextlib.suppress(Exception):
            future.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _close(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
        for running in list(self._running):
            for session in list(running.sessions):
                await session.close()
            await _close_quietly(running.browser)
        self._running.clear()
        if self._playwright is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._playwright.stop(), 5)
            self._playwright = None
        janitor.end_browsers(janitor.owner())
        janitor.remove_profiles()
        await self.server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


async def _typed(work: Coroutine[Any, Any, T]) -> T:
    """Whatever the driver raises of a browser that is gone is a `BrowserError`."""
    try:
        return await work
    except Exception as error:
        if type(error).__module__.startswith("playwright."):
            raise BrowserError("browser_gone", _line(error)) from error
        raise


async def _has_fonts(session: Session) -> bool:
    width = await session.page.call(
        "Runtime.evaluate", expression=browser.TEXT_WIDTH, returnByValue=True
    )
    return bool(width["result"].get("value"))


async def _close_quietly(browser: Browser) -> None:
    with contextlib.suppress(Exception):
        await asyncio.wait_for(browser.close(), 5)


def _line(error: BaseException | None) -> str:
    """The line of a message that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = (line for line in lines if "error" in line.lower() or "FATAL" in line)
    return next(told, lines[0] if lines else repr(error))[:400]


_lock = threading.Lock()
_hosts: dict[int, BrowserHost] = {}


def host() -> BrowserHost:
    """The host of this process, started when first needed and closed at exit."""
    with _lock:
        if os.getpid() not in _hosts:
            import atexit

            _hosts.clear()  # of a parent that forked
            _hosts[os.getpid()] = BrowserHost()
            atexit.register(close)
        return _hosts[os.getpid()]


def close() -> None:
    """Close this process's browsers, if any were started."""
    with _lock:
        running = _hosts.pop(os.getpid(), None)
    if running is not None:
        running.close()
