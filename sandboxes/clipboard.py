"""The clipboard, which is one for all that a browser shows, kept apart for each session.

The reading script tells what is copied; what a session has copied is put into the clipboard right
before it pastes, and nobody else pastes meanwhile.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from json import dumps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from agentgym.sandboxes.session import Session

_LOCKS: weakref.WeakKeyDictionary[Browser, asyncio.Lock] = weakref.WeakKeyDictionary()


def pastes(keys: Sequence[str]) -> bool:
    """Whether keys pressed together paste."""
    if keys[-1] in ("v", "V"):
        return "Control" in keys or "Meta" in keys
    return list(keys) == ["Shift", "Insert"]


@asynccontextmanager
async def clipboard(session: Session) -> AsyncIterator[None]:
    """Have the browser's clipboard hold what the session copied last, and nothing else."""
    browser = session.context.browser
    lock = asyncio.Lock() if browser is None else _LOCKS.setdefault(browser, asyncio.Lock())
    async with lock:
        await session.page.call(
            "Runtime.evaluate",
            expression=f"__agentgym.clip({dumps(session.clipboard)})",
            contextId=session.page.world(session.page.main),
            userGesture=True,
        )
        yield
