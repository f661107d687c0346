"""One page of a session, by the browser's own protocol: evaluating, settling, letting time run.

Every call has a deadline, ends when the page or its browser dies, and ends when a question opens,
which blocks a page until it is answered. The script that reads pages lives in a world of its own in
each frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentgym.errors import EnvError
from agentgym.sandboxes.page import EPOCH_MS, OWN_S, BrowserError, PageSettings
from agentgym.sandboxes.traffic import COPIED, WORLD, Flag, Overtaken, Traffic

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, Page

T = TypeVar("T")
logger = logging.getLogger(__name__)

_GONE = (
    "context",
    "navigated",
    "Cannot find",
    "__agentgym is not defined",
    "Target closed",
)
"""In messages of calls that a navigation overtook."""


_CHANCES = 4


def crowded() -> bool:
    """Whether more wants to run on this machine, at this moment, than it has processors."""
    try:
        told = Path("/proc/loadavg").read_text(encoding="ascii").split()[3]
    except OSError:  # no Linux
        return os.getloadavg()[0] > (os.cpu_count() or 1)
    return int(told.partition("/")[0]) - 1 > (os.cpu_count() or 1)  # we run, too


class Hung(Exception):
    """The page did not answer in time; its script was stopped."""


class Asked(Exception):
    """A question opened, and the page stands still until it is answered."""


@functools.cache
def reader_source() -> str:
    """The script that reads a page."""
    return Path(__file__).with_name("snapshot.js").read_text(encoding="utf-8")


def world_source(settings: PageSettings) -> str:
    """The script that makes a page's world: its time, its chance."""
    told = {
        "frozen": settings.clock == "frozen",
        "epoch": EPOCH_MS,
        "seed": settings.seed,
        "start": 0,
    }
    return _frozen_source().replace("SETTINGS", json.dumps(told), 1)


@functools.cache
def _frozen_source() -> str:
    return Path(__file__).with_name("frozen.js").read_text(encoding="utf-8")


class OpenPage(Traffic):
    """A page, and what is under way in it."""

    def __init__(self, page: Page, cdp: CDPSession, settings: PageSettings) -> None:
        super().__init__(settings)
        self.page = page
        self.cdp = cdp
        self.asked = Flag()
        """Set while a question is open."""
        self.broken: asyncio.Future[BrowserError] = asyncio.get_running_loop().create_future()
        self.pending: asyncio.Task[Any] | None = None
        """An input that waits for a question to be answered."""
        self.now = 0.0
        """What the page's clock shows, in ms since the session began."""
        self._time_script = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    async def attach(cls, page: Page, settings: PageSettings, now: float) -> OpenPage:
        """Follow what happens in a page."""
        cdp = await page.context.new_cdp_session(page)
        opened = cls(page, cdp, settings)
        opened.now = now
        for event, heard in opened.heard().items():
            cdp.on(event, heard)
        asking = asyncio.ensure_future(cdp.send("Page.getFrameTree"))
        await asyncio.gather(
            asking,
            cdp.send("Page.enable"),
            cdp.send("Runtime.addBinding", {"name": COPIED, "executionContextName": WORLD}),
            cdp.send("Network.enable", {"maxTotalBufferSize": 0, "maxResourceBufferSize": 0}),
            cdp.send(
                "Page.addScriptToEvaluateOnNewDocument",
                {"source": opened._reader(), "worldName": WORLD, "runImmediately": True},
            ),
            cdp.send("Runtime.enable"),
        )
        frame = asking.result()["frameTree"]["frame"]
        opened.main, opened.url = frame["id"], frame["url"]
        opened.began(frame)
        return opened

    def _reader(self) -> str:
        still = "*,*::before,*::after{transition:none!important;animation-duration:1ms!important;"
        still += "animation-delay:0s!important;animation-iteration-count:1!important;"
        still += "caret-color:transparent!important;scroll-behavior:auto!important}"
        css = (still if self.settings.clock == "frozen" else "") + self.settings.css
        if not css:
            return reader_source()
        sheet = (
            "(() => { const sheet = new CSSStyleSheet(); sheet.replaceSync("
            f"{json.dumps(css)}); const put = () => {{ document.adoptedStyleSheets.push(sheet); }};"
            "try { put(); } catch { /* no document */ } })();"
        )
        return f"{sheet}\n{reader_source()}"

    # ---------------------------------------------------------------- calls

    async def call(self, method: str, timeout_s: float | None = None, **told: Any) -> Any:
        """A call of the protocol.

        Args:
            method: Its name.
            timeout_s: As for `guard`.
            **told: Its parameters.

        Raises:
            Hung: No answer in time; the page's script was stopped.
            Asked: A question opened.
            Overtaken: The document is another one by now.
            BrowserError: The page or the browser died.
        """
        return await self.guard(self.cdp.send(method, told), timeout_s)

    async def guard(
        self,
        work: Coroutine[Any, Any, T],
        timeout_s: float | None = None,
        *,
        keep: bool = False,
        until: asyncio.Future[Any] | None = None,
    ) -> T:
        """Await something that a page may never answer; raises as `call` does.

        Args:
            work: What to await.
            timeout_s: The settings' deadline if None; up to `_CHANCES` times that on a machine that
                has more to do than processors, as it is not the page that is slow there.
            keep: Leave it running should a question open.
            until: Do not wait beyond that; then it raises `Overtaken`.
        """
        if self.broken.done():
            work.close()
            raise self.broken.result()
        task = asyncio.get_running_loop().create_task(work)
        ends: set[asyncio.Future[Any]] = {task, self.asked.future, self.broken}
        if until is not None:
            ends.add(until)
        limit = self.settings.deadline_s if timeout_s is None else timeout_s
        try:
            for _ in range(_CHANCES):
                await asyncio.wait(ends, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                if any(end.done() for end in ends) or limit >= OWN_S or not crowded():
                    break
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if task.done():
            return self._result(task)
        if self.asked.is_set() and keep and not self.broken.done():
            self.pending = task
            raise Asked
        if self.broken.done() or self.asked.is_set() or (until is not None and until.done()):
            self._abandon(task)
            if self.broken.done():
                raise self.broken.result()
            raise Asked if self.asked.is_set() else Overtaken("a navigation began")
        await self._stop_script()
        done, _ = await asyncio.wait({task}, timeout=1.0)
        if not done:
            self._abandon(task)
            raise BrowserError("page_hung", f"no answer in {limit:g} s, and it cannot be stopped")
        with contextlib.suppress(Exception):
            task.result()
        raise Hung

    async def _stop_script(self) -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.cdp.send("Runtime.terminateExecution"), 1.0)

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.cancel()

        def forget(done: asyncio.Task[Any]) -> None:
            self._tasks.discard(done)
            if not done.cancelled():
                done.exception()

        task.add_done_callback(forget)

    def _result(self, task: asyncio.Task[T]) -> T:
        try:
            return task.result()
        except Exception as error:
            if type(error).__module__.startswith("playwright"):
                if self.broken.done():
                    raise self.broken.result() from error
                if any(word in str(error) for word in _GONE):
                    raise Overtaken(str(error)) from error
            raise

    def breaks(self, kind: str, why: str) -> None:
        """Every call from now on fails, those that are under way, too."""
        if not self.broken.done():
            self.broken.set_result(BrowserError(kind, why))

    # ---------------------------------------------------------------- evaluating

    @property
    def patience_s(self) -> float:
        """Longest to wait for what the page's script is not to blame for."""
        return max(self.settings.deadline_s, OWN_S)

    async def read(self, expression: str, frame: str = "", timeout_s: float | None = None) -> Any:
        """Evaluate in the world of the reading script; what it gives is JSON text, read here.

        Raises:
            Overtaken: There is no such frame, or its document is another one by now.
        """
        context = self.world(frame or self.main)
        found = await self.call(
            "Runtime.evaluate",
            timeout_s,
            expression=f"__agentgym.{expression}",
            contextId=context,
            returnByValue=True,
        )
        return json.loads(_value(found))

    async def evaluate(self, expression: str) -> Any:
        """Evaluate in the page's own world; a value of JSON, or a promise of one."""
        wrapped = f"(async () => JSON.stringify(await ({expression}) ?? null))()"
        told = {"expression": wrapped, "returnByValue": True, "awaitPromise": True}
        return json.loads(_value(await self.call("Runtime.evaluate", self.patience_s, **told)))

    async def advance(self, ms: float, probe: str = "") -> Any:
        """Let the clocks of all frames run, and evaluate `probe` in the page's own world.

        What `probe` gives is None where it raises: on a page that it was not written for.
        """
        self.now += ms
        others = self.clocks_of_frames()
        for context in others:
            with contextlib.suppress(Overtaken):
                await self._tick(context, "")
        with contextlib.suppress(Overtaken):
            return await self._tick(None, probe)
        return None

    async def _tick(self, context: int | None, probe: str) -> Any:
        after = f"JSON.stringify(({probe}) ?? null)" if probe else "'null'"
        after = f"(() => {{ try {{ return {after}; }} catch {{ return 'null'; }} }})()"
        expression = (
            f"(() => {{ const wait = globalThis.__agentgymClock?.to({self.now}); "
            f"const look = () => {after}; return wait ? wait.then(look) : look(); }})()"
        )
        told: dict[str, Any] = {"expression": expression, "returnByValue": True}
        if context is not None:
            told["contextId"] = context
        limit = max(self.settings.deadline_s, self.settings.load_s if self.fresh else 0.0)
        found = await self.call("Runtime.evaluate", limit, awaitPromise=True, **told)
        self.fresh = False
        return json.loads(_value(found))

    def put_time(self) -> None:
        """See to it that the next document starts at the time it is, without waiting for it."""
        if self.settings.clock == "frozen" and self.now:
            task = asyncio.get_running_loop().create_task(self._put_time())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _put_time(self) -> None:
        with contextlib.suppress(Exception):
            old = self._time_script
            source = f"globalThis.__agentgymClock?.set({self.now})"
            added = await self.cdp.send("Page.addScriptToEvaluateOnNewDocument", {"source": source})
            self._time_script = added["identifier"]
            if old:
                await self.cdp.send("Page.removeScriptToEvaluateOnNewDocument", {"identifier": old})

    async def start_of_time(self) -> None:
        """Have the next document start as the first did."""
        self.now = 0.0
        if self._time_script:
            script, self._time_script = self._time_script, ""
            await self.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)

    # ---------------------------------------------------------------- settling

    async def idle(self, until: float) -> bool:
        """Wait until nothing is under way; whether that came about before `until` (loop time).

        Where the machine is crowded, `load_s` more is waited, as `guard` does.

        Raises:
            Asked, BrowserError: As for `call`.
        """
        loop, more = asyncio.get_running_loop(), _CHANCES - 1
        while self.busy:
            left = until - loop.time()
            if left <= 0 and more and crowded():
                until, more = loop.time() + self.settings.load_s, more - 1
                continue
            if left <= 0:
                if self.navigating:
                    with contextlib.suppress(Hung, Overtaken):
                        await self.call("Page.stopLoading")
                self.forget_traffic()
                return False
            self.changed.clear()
            with contextlib.suppress(Hung):
                await self.guard(self._change(left), left + 1)
        return True

    async def _change(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.changed.wait(), timeout_s)

    async def _barrier(self) -> None:
        """Wait until it is known what an input started: that is told before this is answered.

        The browser answers no call while a navigation is under way.
        """
        if self.navigating:
            return
        self.started.clear()
        asked = self.cdp.send("Runtime.evaluate", {"expression": "0", "returnByValue": True})
        with contextlib.suppress(Overtaken):
            await self.guard(asked, until=self.started.future)

    async def settle(self, ms: float, probe: str = "", *, known: bool = False) -> tuple[Any, bool]:
        """Wait for what was started, let `ms` of the page's time pass, wait for what that started.

        Args:
            ms: Of the page's time.
            probe: An expression for the page's own world.
            known: The last call was no input: what it started is known already.

        Returns:
            What `probe` gives then, and whether nothing was left under way.
        """
        until = asyncio.get_running_loop().time() + self.settings.load_s
        if not known:
            await self._barrier()
        calm = await self.idle(until)
        found = await self.advance(ms, probe)
        for _ in range(3):
            if not (self.busy and calm):
                break
            calm = await self.idle(until)
            found = await self.advance(0, probe)
        return found, calm


def _value(found: Any) -> str:
    """The text that an evaluation gave."""
    if "exceptionDetails" in found:
        details = found["exceptionDetails"]
        told = (details.get("exception") or {}).get("description") or details.get("text", "")
        if "__agentgym is not defined" in told:
            raise Overtaken(told)
        raise PageFault(str(told).splitlines()[0] if told else "an error")
    value = found["result"].get("value")
    return value if isinstance(value, str) else "null"


class PageFault(EnvError):
    """An expression raised in the page."""
