"""Which element a call means: in which frame it is, where to point at it, or why that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentgym.errors import InvalidAction
from agentgym.sandboxes.openpage import OpenPage
from agentgym.sandboxes.render import describe
from agentgym.sandboxes.traffic import Frame, Overtaken

if TYPE_CHECKING:
    from agentgym.sandboxes.session import Session

_WORDS = {
    "disabled": "is disabled",
    "offscreen": "cannot be brought into view",
    "not_editable": "is no field that text can be put into",
    "readonly": "is read-only",
    "not_select": "is no list of options",
}


def _stale(session: Session, number: int) -> InvalidAction:
    gone = session.seen(number)
    if gone is None:
        return InvalidAction("stale", f"there is no element {number} on the page")
    like = session.last.nearest(gone) if session.last is not None else None
    hint = f"; did you mean {describe(like)}?" if like is not None and like.id != number else ""
    return InvalidAction("stale", f"element {number} ({gone.role} {gone.name!r}) is gone{hint}")


def _refusal(session: Session, number: int, told: Mapping[str, Any]) -> InvalidAction:
    why = told["error"]
    if why == "stale":
        return _stale(session, number)
    row = session.seen(number)
    what = f"element {number}" + (f" ({row.role} {row.name!r})" if row is not None else "")
    if why == "covered":
        over = f" by {told['by']!r}" if told.get("by") else ""
        return InvalidAction("covered", f"{what} is covered{over}")
    if why == "no_option":
        some = ", ".join(map(repr, told["options"]))
        return InvalidAction("no_option", f"{what} has no option {told['missing']}: it has {some}")
    if why == "bad_value":
        return InvalidAction("bad_value", f"{what} does not take that value")
    kind = {"readonly": "not_editable", "not_select": "no_option"}.get(why, why)
    return InvalidAction(kind, f"{what} {_WORDS.get(why, why)}")


async def ask(session: Session, number: int, expression: str) -> Any:
    """Evaluate in the frame that shows an element.

    Raises:
        InvalidAction: It is gone, or it refuses.
    """
    page, frame = place(session, number)
    try:
        told = await page.read(expression, frame.id)
    except Overtaken as error:
        raise _stale(session, number) from error
    if "error" in told:
        raise _refusal(session, number, told)
    return told


def place(session: Session, number: int) -> tuple[OpenPage, Frame]:
    """The page and frame that show an element.

    Raises:
        InvalidAction: It is gone.
    """
    found = session.owner(number)
    if found is None or found[0] is not session.page:
        raise _stale(session, number)
    return found


async def aim(session: Session, number: int, *, disabled: bool = False) -> tuple[float, float]:
    """Where to point at an element, in pixels of the viewport.

    Raises:
        InvalidAction: It is gone, covered, disabled or out of reach.
    """
    page, frame = place(session, number)
    around = _frames_around(session, page, frame)
    for block in ("nearest", "center") if around else ("",):
        told = await ask(session, number, f"aim({number}, {str(disabled).lower()}, {block!r})")
        x, y = told["x"], told["y"]
        for outer, of in around:
            inner = await page.read(f"inner({outer})", of.id)
            x, y = x + inner["x"], y + inner["y"]
            if not (await page.read(f"areOn({outer}, [[{x}, {y}]])", of.id))["on"][0]:
                break
        else:
            return x, y
    raise InvalidAction("covered", f"element {number} is covered")


def _frames_around(session: Session, page: OpenPage, frame: Frame) -> list[tuple[int, Frame]]:
    """The elements that hold a frame, and in which frame each is; the innermost first.

    Raises:
        InvalidAction: One is gone.
    """
    around = []
    while frame.id != page.main:
        outer = page.frame_rows.get(frame.id, 0)
        _, frame = place(session, outer)
        around.append((outer, frame))
    return around
