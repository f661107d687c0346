"""What the verbs do that go about: addresses, history, tabs, and questions of pages."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentgym.errors import InvalidAction
from agentgym.sandboxes.openpage import Asked, Hung, OpenPage
from agentgym.sandboxes.traffic import Overtaken

if TYPE_CHECKING:
    from agentgym.sandboxes.session import Session


async def goto(session: Session, given: Mapping[str, Any]) -> None:
    """Open an address."""
    await session.goto(given["url"])


async def _travel(session: Session, by: int) -> None:
    page = session.page
    history = await page.call("Page.getNavigationHistory")
    index = history["currentIndex"] + by
    if not 0 <= index < len(history["entries"]):
        way = "back" if by < 0 else "forward"
        raise InvalidAction("no_history", f"there is no page to go {way} to")
    entry = history["entries"][index]
    if not session.settings.allows(entry["url"]) or entry["url"] == "about:blank":
        raise InvalidAction("no_history", "there is no page to go to")
    page.expect_navigation()
    page.put_time()
    await page.call("Page.navigateToHistoryEntry", entryId=entry["id"])


async def back(session: Session, given: Mapping[str, Any]) -> None:
    """Go back."""
    await _travel(session, -1)


async def forward(session: Session, given: Mapping[str, Any]) -> None:
    """Go forward."""
    await _travel(session, 1)


async def reload(session: Session, given: Mapping[str, Any]) -> None:
    """Load the page again."""
    session.page.expect_navigation()
    session.page.put_time()
    await session.page.call("Page.reload")


def _tab_of(session: Session, number: int | None) -> OpenPage:
    index = session.active if number is None else number
    if not 0 <= index < len(session.pages):
        raise InvalidAction("no_tab", f"there is no tab {index}: there are {len(session.pages)}")
    return session.pages[index]


async def tab(session: Session, given: Mapping[str, Any]) -> None:
    """Switch to a tab."""
    await session.switch_to(_tab_of(session, given["i"]))


async def new_tab(session: Session, given: Mapping[str, Any]) -> None:
    """Open a tab."""
    if len(session.pages) >= session.settings.popups:
        raise InvalidAction("no_tab", f"{len(session.pages)} tabs are open: close one first")
    url = given["url"]
    if url and not session.settings.allows(url):
        raise InvalidAction("blocked_url", f"{url[:200]!r} may not be opened")
    await session.open_tab()
    if url:
        await session.goto(url)


async def close_tab(session: Session, given: Mapping[str, Any]) -> None:
    """Close a tab."""
    opened = _tab_of(session, given["i"])
    if len(session.pages) == 1:
        raise InvalidAction("no_tab", "the last tab cannot be closed")
    await session.close_tab(opened)


async def dialog(session: Session, given: Mapping[str, Any]) -> None:
    """Answer the question that is open."""
    if session.dialog is None:
        raise InvalidAction("no_dialog", "there is no question to answer")
    await answer(session, accept=given["accept"], text=given["text"])


async def answer(session: Session, *, accept: bool, text: str | None) -> None:
    """Answer the question that is open, and wait for what it kept waiting."""
    dialog, session.dialog = session.dialog, None
    waiting = [page for page in session.pages if page.asked.is_set()]
    for page in waiting:
        page.asked.clear()
    if dialog is not None:
        with contextlib.suppress(Hung):
            if accept:
                work = dialog.accept() if text is None else dialog.accept(text)
            else:
                work = dialog.dismiss()
            await session.page.guard(work)
    for page in waiting:
        if (kept := page.pending) is not None:
            page.pending = None
            with contextlib.suppress(Asked, Overtaken):
                await page.guard(_await(kept), keep=True)
    if session.dialog is None:
        await session.settle()


async def _await(task: Any) -> None:
    await task
