"""What each verb of `agentgym.actions.web` does to a session."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from json import dumps
from typing import TYPE_CHECKING, Any

from agentgym.actions import Call
from agentgym.actions.pointing import View
from agentgym.actions.web import INSTANT
from agentgym.errors import InvalidAction
from agentgym.sandboxes import going, keyboard
from agentgym.sandboxes.aiming import aim, ask, place
from agentgym.sandboxes.clipboard import clipboard, pastes
from agentgym.sandboxes.render import describe

if TYPE_CHECKING:
    from agentgym.sandboxes.session import Session

Told = Sequence[str]
Doing = Callable[["Session", Mapping[str, Any]], Awaitable[Told | None]]

_BY_KEYS = 200
"""Characters that are typed key by key; of a longer text, the last one."""
_MOST_FOUND = 20
_LONGEST_READ = 4_000
_SMALLEST_ZOOM = 8.0
_DIRECTIONS = {"up": (0, -0.8), "down": (0, 0.8), "left": (-0.8, 0), "right": (0.8, 0)}
_KEY = re.compile(
    r"[A-Za-z0-9]|[`~!@#$%^&*()_=\[\]{}\\|;:'\",<.>/?-]|F([1-9]|1[0-2])|Arrow(Up|Down|Left|Right)"
    r"|Enter|Tab|Escape|Backspace|Delete|Insert|Home|End|PageUp|PageDown|Space|CapsLock"
    r"|Control|Shift|Alt|Meta|\+"
)
_HELD = frozenset({"Control", "Shift", "Alt", "Meta"})


async def carry_out(session: Session, call: Call) -> Told:
    """Do what a call says; what it raises is said in `Session.act`."""
    if session.dialog is not None and call.verb != "dialog":
        await going.answer(session, accept=False, text=None)
        session.tell("the question was dismissed, as it was not answered")
    told = await _DOING[call.verb](session, call.arguments)
    if call.verb not in INSTANT and call.verb not in ("wait", "goto", "dialog"):
        await session.settle()
    return told or ()


# ---------------------------------------------------------------- pointing


async def _input(session: Session, work: Any) -> None:
    """An input, which is left running if a question opens."""
    await session.page.guard(work, keep=True)


async def _click_point(
    session: Session, x: float, y: float, button: str, n: int, mods: Sequence[str] = ()
) -> None:
    width, height = session.settings.viewport
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    session.pointer = (x, y)
    page = session.page.page

    async def work() -> None:
        for key in mods:
            await page.keyboard.down(key)
        try:
            await page.mouse.click(x, y, button=button, click_count=n)  # type: ignore[arg-type]
        finally:
            for key in mods:
                await page.keyboard.up(key)

    await _input(session, work())


async def _click(session: Session, given: Mapping[str, Any]) -> None:
    if "id" not in given:  # where the pointer is
        await _click_point(session, *session.pointer, given["button"], given["n"])
        return
    x, y = await aim(session, given["id"])
    await _click_point(session, x, y, given["button"], given["n"], given["mods"])


async def _click_at(session: Session, given: Mapping[str, Any]) -> None:
    await _click_point(session, given["x"], given["y"], given["button"], given["n"])


async def _move_to(session: Session, x: float, y: float) -> None:
    width, height = session.settings.viewport
    session.pointer = (min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0))
    await _input(session, session.page.page.mouse.move(*session.pointer))


async def _hover(session: Session, given: Mapping[str, Any]) -> None:
    await _move_to(session, *await aim(session, given["id"], disabled=True))


async def _move(session: Session, given: Mapping[str, Any]) -> None:
    await _move_to(session, given["x"], given["y"])


async def _move_by(session: Session, given: Mapping[str, Any]) -> None:
    x, y = session.pointer
    await _move_to(session, x + given["dx"], y + given["dy"])


async def _drag_between(session: Session, start: tuple[float, float], end: Any) -> None:
    mouse = session.page.page.mouse

    async def work() -> None:
        await mouse.move(*start)
        await mouse.down()
        target = await end() if callable(end) else end
        await mouse.move((start[0] + target[0]) / 2, (start[1] + target[1]) / 2, steps=3)
        await mouse.move(*target, steps=3)
        await mouse.up()
        session.pointer = target

    await _input(session, work())


async def _drag(session: Session, given: Mapping[str, Any]) -> None:
    start = await aim(session, given["id"])
    end = await aim(session, given["to_id"])
    if start != (again := await aim(session, given["id"])):  # one scrolled the other away
        start = again
        box = (session.seen(given["to_id"]) or (None,) * 9)[6]
        raise InvalidAction("offscreen", f"both ends of a drag must be in view: {box}")
    await _drag_between(session, start, end)


async def _drag_at(session: Session, given: Mapping[str, Any]) -> None:
    await _drag_between(session, (given["x1"], given["y1"]), (given["x2"], given["y2"]))


async def _mouse_down(session: Session, given: Mapping[str, Any]) -> None:
    await _input(session, session.page.page.mouse.down())


async def _mouse_up(session: Session, given: Mapping[str, Any]) -> None:
    await _input(session, session.page.page.mouse.up())


# ---------------------------------------------------------------- fields and keys


async def _insert(session: Session, text: str) -> None:
    """Type as a keyboard would; of a long text, all but the end at once."""
    send = session.page.cdp.send
    whole, by_keys = ("", text) if len(text) <= _BY_KEYS else (text[:-1], text[-1])

    async def work() -> None:
        if whole:
            await send("Input.insertText", {"text": whole})
        await asyncio.gather(*[send(method, told) for method, told in keyboard.events(by_keys)])

    await _input(session, work())


async def _fill(session: Session, given: Mapping[str, Any]) -> None:
    number, text = given["id"], given["text"]
    told = await ask(session, number, f"focus({number})")
    if told["kind"] == "set":
        await ask(session, number, f"put({number}, {dumps(text)})")
    elif "\t" in text:  # as a key it would leave the field
        await _input(session, session.page.cdp.send("Input.insertText", {"text": text}))
    elif text:
        await _insert(session, text)
    else:
        await _input(session, session.page.page.keyboard.press("Delete"))
    if given["submit"]:
        await _input(session, session.page.page.keyboard.press("Enter"))


async def _select(session: Session, given: Mapping[str, Any]) -> None:
    await ask(session, given["id"], f"choose({given['id']}, {dumps(given['value'])})")


async def _check(session: Session, given: Mapping[str, Any]) -> None:
    number = given["id"]
    if (await ask(session, number, f"describe({number})"))["checked"] != given["on"]:
        x, y = await aim(session, number)
        await _click_point(session, x, y, "left", 1)


async def _upload(session: Session, given: Mapping[str, Any]) -> None:
    number, name = given["id"], given["name"]
    files = session.settings.files
    if name not in files:
        raise InvalidAction("no_file", f"there is no file {name!r}: {', '.join(files) or 'none'}")
    page, frame = place(session, number)
    told = await ask(session, number, f"describe({number})")
    if (told["tag"], told["type"]) != ("INPUT", "file"):
        raise InvalidAction("not_editable", f"element {number} takes no file")
    found = await page.call(
        "Runtime.evaluate",
        expression=f"__agentgym.element({number})",
        contextId=page.world(frame.id),
    )
    target = {"objectId": found["result"]["objectId"]}
    await page.call("DOM.setFileInputFiles", files=[str(files[name])], **target)


async def _type(session: Session, given: Mapping[str, Any]) -> None:
    await _insert(session, given["text"])


async def _press(session: Session, given: Mapping[str, Any]) -> None:
    chord = given["keys"]
    parts = chord.split("+") if len(chord) > 1 else [chord]
    if parts[-1] == "" and len(parts) > 1:  # Control++
        parts = [*parts[:-2], "+"]
    wrong = [part for part in parts if not _KEY.fullmatch(part)]
    wrong += [part for part in parts[:-1] if part not in _HELD]
    if wrong:
        raise InvalidAction(
            "unknown_key", f'there is no key {wrong[0]!r}: write as in "Enter" or "Control+a"'
        )
    pressing = session.page.page.keyboard.press
    if pastes(parts):
        async with clipboard(session):
            await _input(session, pressing("+".join(parts)))
    else:
        await _input(session, pressing("+".join(parts)))


# ---------------------------------------------------------------- what is shown


async def _scroll(session: Session, given: Mapping[str, Any]) -> None:
    said = given["dy"].strip().lower()
    width, height = session.settings.viewport
    if said in _DIRECTIONS:
        across, down = _DIRECTIONS[said]
        dx, dy = across * width, down * height
    else:
        try:
            dx, dy = 0.0, float(said)
        except ValueError:
            told = f'scroll by pixels, or "up", "down", "left", "right", not {said!r}'
            raise InvalidAction("arguments", told) from None
        if not abs(dy) < 1e7:
            raise InvalidAction("arguments", f"cannot scroll by {said}")
    number = given["id"]
    if number is None:
        await session.page.read(f"scroll(0, {dx:.0f}, {dy:.0f})")
    else:
        if said in _DIRECTIONS and (row := session.seen(number)) and row.box:
            dx, dy = across * (row.box[2] - row.box[0]), down * (row.box[3] - row.box[1])
        await ask(session, number, f"scroll({number}, {dx:.0f}, {dy:.0f})")


async def _scroll_at(session: Session, given: Mapping[str, Any]) -> None:
    await _move_to(session, given["x"], given["y"])
    told = ", ".join(f"{given[name]:.0f}" for name in ("x", "y", "dx", "dy"))
    await session.page.read(f"scrollAt({told})")


async def _zoom(session: Session, given: Mapping[str, Any]) -> None:
    left, right = sorted((given["x1"], given["x2"]))
    top, bottom = sorted((given["y1"], given["y2"]))
    across, down = right - left, bottom - top
    if across < _SMALLEST_ZOOM or down < _SMALLEST_ZOOM:
        raise InvalidAction("out_of_bounds", f"too small to zoom into: {across:g} x {down:g}")
    width, height = session.settings.viewport
    scale = min(width / across, height / down)
    size = (max(1, round(across * scale)), max(1, round(down * scale)))
    session.show(View((left, top, across, down), size, session.coords))


async def _unzoom(session: Session, given: Mapping[str, Any]) -> None:
    session.show(None)


async def _find(session: Session, given: Mapping[str, Any]) -> Told:
    events = session.take_events()
    page = await session.observe()
    session.give_back(events, page.events)
    folded = given["text"].casefold()
    rows = [
        r for r in page.rows if folded in r.name.casefold() or folded in (r.value or "").casefold()
    ]
    lines = [describe(row) + ("" if row.in_view else " (out of view)") for row in rows]
    more = [f"… and {len(lines) - _MOST_FOUND} more"] if len(lines) > _MOST_FOUND else []
    return [f"found {len(lines)} of {given['text']!r}:", *lines[:_MOST_FOUND], *more]


async def _read(session: Session, given: Mapping[str, Any]) -> Told:
    told = await ask(session, given["id"], f"describe({given['id']})")
    text = told["text"]
    cut = f"\n… {len(text) - _LONGEST_READ} more characters" if len(text) > _LONGEST_READ else ""
    return [f"element {given['id']} reads:\n{text[:_LONGEST_READ]}{cut}"]


# ---------------------------------------------------------------- all of them


async def _wait(session: Session, given: Mapping[str, Any]) -> None:
    await session.wait(given["ms"])


async def _nothing(session: Session, given: Mapping[str, Any]) -> None:
    """What the world itself answers."""


_DOING: Mapping[str, Doing] = {
    "click": _click,
    "fill": _fill,
    "select": _select,
    "check": _check,
    "hover": _hover,
    "drag": _drag,
    "upload": _upload,
    "click_at": _click_at,
    "move": _move,
    "move_by": _move_by,
    "drag_at": _drag_at,
    "scroll_at": _scroll_at,
    "mouse_down": _mouse_down,
    "mouse_up": _mouse_up,
    "box": _nothing,
    "type": _type,
    "press": _press,
    "scroll": _scroll,
    "zoom": _zoom,
    "unzoom": _unzoom,
    "find": _find,
    "read": _read,
    "goto": going.goto,
    "back": going.back,
    "forward": going.forward,
    "reload": going.reload,
    "tab": going.tab,
    "new_tab": going.new_tab,
    "close_tab": going.close_tab,
    "dialog": going.dialog,
    "wait": _wait,
    "done": _nothing,
    "fail": _nothing,
}
