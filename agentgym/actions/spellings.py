"""How others spell actions, read as ours: WebArena, UI-TARS, Playwright-MCP, OSWorld, GUI-Cursor.

Each function takes what a model said and gives the canonical action, `""` arguments and defaults as
`agentgym.actions.web` has them. They only read: whether an element is there is for the world.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from agentgym.actions.action import Action, Call
from agentgym.actions.dialect import Said
from agentgym.actions.grammar import Grammar
from agentgym.actions.replies import invalid, quoted
from agentgym.actions.web import VERBS
from agentgym.errors import InvalidAction

_KEYS = {
    "ctrl": "Control", "control": "Control", "cmd": "Meta", "command": "Meta", "meta": "Meta",
    "win": "Meta", "super": "Meta", "alt": "Alt", "option": "Alt", "shift": "Shift",
    "enter": "Enter", "return": "Enter", "esc": "Escape", "escape": "Escape", "tab": "Tab",
    "space": "Space", "backspace": "Backspace", "delete": "Delete", "del": "Delete",
    "insert": "Insert", "home": "Home", "end": "End", "pageup": "PageUp", "pagedown": "PageDown",
    "page_up": "PageUp", "page_down": "PageDown", "pgup": "PageUp", "pgdn": "PageDown",
    "up": "ArrowUp", "down": "ArrowDown", "left": "ArrowLeft", "right": "ArrowRight",
    "arrowup": "ArrowUp", "arrowdown": "ArrowDown", "arrowleft": "ArrowLeft",
    "arrowright": "ArrowRight", "capslock": "CapsLock",
}  # fmt: skip
_LINE_PX = 100
"""What one notch of a wheel, or one "scroll" without an amount, is worth."""
_SCREEN_PX = 500


def _call(verb: str, **arguments: Any) -> Call:
    return Call(verb, VERBS[verb].bind([], arguments))


def canonical(*calls: Call) -> Action:
    """Calls as an action."""
    action = Action("\n".join(VERBS[call.verb].canonical(call.arguments) for call in calls))
    action.calls = calls
    return action


def keys(said: str) -> str:
    """A chord as Playwright names it: `ctrl+c`, `ctrl c` and `Control+C` are `Control+c`."""
    parts = re.split(r"[+\s]+|(?<=\w)-(?=\w)", said.strip()) if len(said.strip()) > 1 else [said]
    named = [_KEYS.get(part.lower(), part) for part in parts if part]
    named = [re.sub(r"^f(\d{1,2})$", r"F\1", part) for part in named]
    if len(named) > 1 and len(named[-1]) == 1:
        named[-1] = named[-1].lower()
    return "+".join(named)


def _unknown(said: str, whose: str) -> InvalidAction:
    return invalid("parse", f"{quoted(said.strip())} is no action of {whose}")


# ------------------------------------------------------------------------------------- WebArena

_WEBARENA = re.compile(
    r"\b(?P<verb>click|type|hover|press|scroll|tab_focus|goto|stop) *(?P<rest>\[[^\n]*)"
    r"|\b(?P<alone>new_tab|close_tab|go_back|go_forward|scroll (?P<way>up|down)|^stop)[^\w\n]*$",
    re.MULTILINE,
)
"""With brackets, or the last word of its line: elsewhere it is a word of a sentence."""
_BRACKETS = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")


def webarena(said: str) -> Action:
    """WebArena's: `click [12]`, `type [5] [text] [1]`, `scroll [down]`, `stop [answer]`.

    Raises:
        InvalidAction: Of kind `parse` or `arguments`.
    """
    fenced = re.search(r"```(.*?)```", said, re.DOTALL)
    found = _WEBARENA.search(fenced[1] if fenced else said)
    if found is None:
        raise _unknown(said, "WebArena")
    verb, given = found["verb"] or found["alone"], _BRACKETS.findall(found["rest"] or "")
    first = given[0].strip() if given else ""
    if verb in ("click", "hover"):
        return canonical(_call(verb, id=first))
    if verb == "type":
        if len(given) < 2:
            raise _unknown(said, "WebArena")
        enter = len(given) < 3 or given[2].strip().removeprefix("press_enter_after=") == "1"
        return canonical(_call("fill", id=first, text=given[1], submit=enter))
    if verb == "press":
        return canonical(_call("press", keys=keys(first)))
    if verb.startswith("scroll"):
        way = found["way"] or first.removeprefix("direction=") or "down"
        return canonical(_call("scroll", dy=way))
    if verb == "tab_focus":
        return canonical(_call("tab", i=first))
    if verb == "goto":
        return canonical(_call("goto", url=first))
    if verb == "stop":
        if first.lower() == "n/a":
            return canonical(_call("fail", reason="N/A"))
        return canonical(_call("done", answer=given[0] if given else ""))
    plain = {"go_back": "back", "go_forward": "forward"}.get(verb, verb)
    return canonical(_call(plain))


# -------------------------------------------------------------------------------------- UI-TARS

_TARS = re.compile(r"(?<![a-z_])([a-z_]++)\(")
_TARS_ARGUMENT = re.compile(r"(?<!\w)(\w++)\s*+=\s*+(['\"])((?:\\.|(?!\2)[^\\])*+)\2", re.DOTALL)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_ESCAPES = {"n": "\n", "t": "\t"}


def ui_tars(said: str) -> Action:
    r"""UI-TARS': `click(point='<point>200 300</point>')`, `type(content='x\n')`, `finished()`.

    The older `start_box='(200,300)'` is read, too. Coordinates stay as they are: say in which
    convention the model speaks with `coords` of the world.

    Raises:
        InvalidAction: Of kind `parse` or `arguments`.
    """
    told, closed, _ = said.rpartition("Action:")[2].rpartition(")")
    found = _TARS.search(told)
    if found is None or not closed:
        raise _unknown(said, "UI-TARS")
    verb = found[1]
    given = {
        name: re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), value)
        for name, _, value in _TARS_ARGUMENT.findall(told, found.end())
    }

    def point(*names: str) -> tuple[float, float] | None:
        numbers = next((_NUMBER.findall(given[name]) for name in names if name in given), [])
        if len(numbers) == 4:  # a box: its middle
            x1, y1, x2, y2 = map(float, numbers)
            return (x1 + x2) / 2, (y1 + y2) / 2
        return (float(numbers[0]), float(numbers[1])) if len(numbers) == 2 else None

    at = point("point", "start_box", "start_point")
    clicks: Mapping[str, Mapping[str, Any]] = {
        "click": {}, "left_single": {}, "left_double": {"n": 2}, "double_click": {"n": 2},
        "right_single": {"button": "right"}, "long_press": {},
    }  # fmt: skip
    if verb in clicks and at:
        return canonical(_call("click_at", x=at[0], y=at[1], **clicks[verb]))
    if verb in ("mouse_move", "hover") and at:
        return canonical(_call("move", x=at[0], y=at[1]))
    if verb in ("drag", "select") and at and (end := point("end_point", "end_box")):
        return canonical(_call("drag_at", x1=at[0], y1=at[1], x2=end[0], y2=end[1]))
    if verb in ("hotkey", "press") and ("key" in given or "keys" in given):
        return canonical(_call("press", keys=keys(given.get("key") or given["keys"])))
    if verb == "type" and "content" in given:
        text, submits = given["content"], given["content"].endswith("\n")
        calls = [_call("type", text=text.removesuffix("\n"))]
        return canonical(*calls, *([_call("press", keys="Enter")] if submits else []))
    if verb == "scroll" and given.get("direction") in _WAYS:
        across, down = _WAYS[given["direction"]]
        if at is None:
            return canonical(_call("scroll", dy=given["direction"]))
        scrolled = {"dy": down * _SCREEN_PX, "dx": across * _SCREEN_PX}
        return canonical(_call("scroll_at", x=at[0], y=at[1], **scrolled))
    if verb in ("wait", "press_back"):
        return canonical(_call("wait", ms=5000) if verb == "wait" else _call("back"))
    if verb == "finished":
        return canonical(_call("done", answer=given.get("content", "")))
    if verb == "call_user":
        return canonical(_call("fail", reason="call_user"))
    raise _unknown(said, "UI-TARS")


_WAYS = {"down": (0, 1), "up": (0, -1), "right": (1, 0), "left": (-1, 0)}


# ------------------------------------------------------------------------------- Playwright-MCP


def playwright_mcp(said: str) -> Action:
    """Playwright-MCP's tool calls: `{"name": "browser_click", "arguments": {"ref": "e5"}}`.

    Raises:
        InvalidAction: Of kind `parse` or `arguments`.
    """
    name, given = _tool_call(said, "Playwright-MCP")
    name = name.removeprefix("browser_")

    def ref(key: str = "ref") -> str:
        return str(given.get(key, given.get("target", ""))).removeprefix("e")

    if name in ("click", "hover"):
        clicked: dict[str, Any] = {}
        if name == "click":
            clicked = {"button": given.get("button"), "n": 2 if given.get("doubleClick") else None}
            held = given.get("modifiers") or []
            held = held if isinstance(held, list) else [held]
            clicked["mods"] = [_KEYS.get(str(key).lower(), key) for key in held]
        return canonical(_call(name, id=ref(), **clicked))
    if name == "type":
        submit = bool(given.get("submit"))
        return canonical(_call("fill", id=ref(), text=given.get("text", ""), submit=submit))
    if name == "fill_form":
        fields = given.get("fields")
        if not isinstance(fields, list) or not all(isinstance(each, dict) for each in fields):
            raise _unknown(said, "Playwright-MCP")
        return canonical(*map(_field, fields))
    if name == "select_option":
        return canonical(_call("select", id=ref(), value=given.get("values")))
    if name == "drag":
        return canonical(_call("drag", id=ref("startRef"), to_id=ref("endRef")))
    if name == "press_key":
        return canonical(_call("press", keys=given.get("key", "")))
    if name == "navigate":
        return canonical(_call("goto", url=given.get("url", "")))
    if name in ("navigate_back", "navigate_forward"):
        return canonical(_call(name.removeprefix("navigate_")))
    if name == "tabs":
        index, act = given.get("index"), given.get("action")
        if act == "select":
            return canonical(_call("tab", i=index))
        if act in ("new", "close"):
            return canonical(_call("new_tab") if act == "new" else _call("close_tab", i=index))
    if name == "wait_for":
        return canonical(_call("wait", ms=_times(given.get("time", 0.5), 1000)))
    if name == "handle_dialog":
        told = given.get("promptText")
        return canonical(_call("dialog", accept=given.get("accept", True), text=told))
    if name == "mouse_click_xy":
        return canonical(_call("click_at", x=given.get("x"), y=given.get("y")))
    if name == "mouse_move_xy":
        return canonical(_call("move", x=given.get("x"), y=given.get("y")))
    if name == "mouse_drag_xy":
        ends = {"x1": "startX", "y1": "startY", "x2": "endX", "y2": "endY"}
        return canonical(_call("drag_at", **{ours: given.get(t) for ours, t in ends.items()}))
    if name == "mouse_wheel":
        raise invalid("unknown_verb", "browser_mouse_wheel has no place: use scroll")
    raise _unknown(said, "Playwright-MCP")


def _field(field: Mapping[str, Any]) -> Call:
    number, value = str(field.get("ref", "")).removeprefix("e"), field.get("value", "")
    kind = field.get("type", "textbox")
    if kind in ("checkbox", "radio"):
        return _call("check", id=number, on=value)
    if kind == "combobox":
        return _call("select", id=number, value=value)
    return _call("fill", id=number, text=value)


def _tool_call(said: str, whose: str) -> tuple[str, Mapping[str, Any]]:
    start = said.find("{")
    try:
        told, _ = json.JSONDecoder().raw_decode(said[start:] if start >= 0 else "")
    except (ValueError, RecursionError) as error:
        raise _unknown(said, whose) from error
    name = told.get("name", told.get("action_type"))
    beside = {key: value for key, value in told.items() if key != "action_type"}
    given = told.get("arguments", told.get("parameters", beside if "action_type" in told else {}))
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise _unknown(said, whose) from error
    if not isinstance(name, str) or not isinstance(given, dict):
        raise _unknown(said, whose)
    return name, given


# ----------------------------------------------------------------------------------- computer_13


def computer_13(said: str) -> Action:
    """OSWorld's `computer_13`: `{"action_type": "CLICK", "parameters": {"x": 1, "y": 2}}`.

    The parameters may also stand beside the type; `WAIT`, `DONE` and `FAIL` may stand alone.
    Scrolling counts notches, up positive, as there.

    Raises:
        InvalidAction: Of kind `parse` or `arguments`.
    """
    alone = said.strip().strip("`'\"").strip()
    if alone in ("WAIT", "DONE", "FAIL"):
        return canonical(_call(alone.lower()))
    name, given = _tool_call(said, "computer_13")
    x, y = given.get("x"), given.get("y")
    if name in ("WAIT", "DONE", "FAIL"):
        return canonical(_call(name.lower()))
    clicks: Mapping[str, Mapping[str, Any]] = {
        "CLICK": {"button": given.get("button"), "n": given.get("num_clicks")},
        "RIGHT_CLICK": {"button": "right"},
        "DOUBLE_CLICK": {"n": 2},
    }
    if name in clicks:
        if x is None and y is None:  # where the pointer is
            _is_left(name, given)
            return canonical(_call("mouse_down"), _call("mouse_up"))
        return canonical(_call("click_at", x=x, y=y, **clicks[name]))
    if name == "MOVE_TO":
        return canonical(_call("move", x=x, y=y))
    if name in ("MOUSE_DOWN", "MOUSE_UP"):
        _is_left(name, given)
        return canonical(_call(name.lower()))
    if name == "DRAG_TO":
        ends = [_call("mouse_down"), _call("move", x=x, y=y), _call("mouse_up")]
        return canonical(*ends)
    if name == "SCROLL":
        across, down = (_times(given.get(way) or 0, _LINE_PX) for way in ("dx", "dy"))
        if not across:
            return canonical(_call("scroll", dy=-down))
        return canonical(_call("scroll", dy="right" if across > 0 else "left"))
    if name == "TYPING":
        return canonical(_call("type", text=given.get("text")))
    if name == "PRESS":
        return canonical(_call("press", keys=keys(str(given.get("key", "")))))
    if name == "HOTKEY" and isinstance(given.get("keys"), list):
        return canonical(_call("press", keys=keys("+".join(map(str, given["keys"])))))
    raise _unknown(said, "computer_13")


def _is_left(name: str, given: Mapping[str, Any]) -> None:
    """Where no point is given, only the left button can be pressed, once."""
    usual = given.get("button") in (None, "left") and given.get("num_clicks") in (None, 1)
    if name in ("RIGHT_CLICK", "DOUBLE_CLICK") or not usual:
        raise InvalidAction("arguments", f"{name}: give x and y, or the left button, once")


def _times(said: Any, unit: int) -> int:
    """A number of such units."""
    try:
        return round(float(said) * unit)
    except (TypeError, ValueError, OverflowError):
        raise invalid("arguments", f"{quoted(str(said))} is no number to go by") from None


# ----------------------------------------------------------------------------- grounding models

_CURSOR = re.compile(r"(GOTO|MOVE|)\s*\(\s*([^(),]{1,64}),\s*([^(),]{1,64})\)")
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)
_COORDINATES = re.compile(r"[\[(]([^\[\]()]{1,200})[\])]")


def gui_cursor(said: str) -> Action:
    """GUI-Cursor's: `<answer>(x, y)</answer>`, `GOTO(x, y)`, `MOVE(dx, dy)`, and `STOP`.

    Raises:
        InvalidAction: Of kind `parse` or `arguments`.
    """
    answer = _ANSWER.search(said)
    told = (answer[1] if answer else said.rpartition("Action:")[2]).strip()
    if told in ("STOP", "TARGET_REACHED"):
        return canonical(_call("done"))
    found = _CURSOR.fullmatch(told)
    if found is None:
        raise _unknown(said, "GUI-Cursor")
    if found[1] == "MOVE":
        return canonical(_call("move_by", dx=found[2].strip(), dy=found[3].strip()))
    return canonical(_call("move", x=found[2].strip(), y=found[3].strip()))


def coordinates(said: str) -> Action:
    """The last `[x1, y1, x2, y2]`, a box, or `[x, y]`, a click: GUI-G2 and other grounding models.

    Raises:
        InvalidAction: Of kind `parse` or `arguments`.
    """
    answer = _ANSWER.search(said)
    found = _COORDINATES.findall(answer[1] if answer else said)
    numbers = [part.strip() for part in found[-1].split(",")] if found else []
    if len(numbers) == 4:
        return canonical(_call("box", **dict(zip(("x1", "y1", "x2", "y2"), numbers, strict=True))))
    if len(numbers) == 2:
        return canonical(_call("click_at", x=numbers[0], y=numbers[1]))
    raise _unknown(said, "coordinates")


SPELLINGS: Mapping[str, Callable[[str], Action]] = {
    "webarena": webarena,
    "ui-tars": ui_tars,
    "playwright-mcp": playwright_mcp,
    "computer_13": computer_13,
    "gui-cursor": gui_cursor,
    "coordinates": coordinates,
}
"""Readers of what models say, by name."""
_EXAMPLES: Mapping[str, str] = {
    "webarena": "```click [12]```",
    "ui-tars": "Action: click(point='<point>100 100</point>')",
    "playwright-mcp": '{"name": "browser_click", "arguments": {"ref": "e12"}}',
    "computer_13": '{"action_type": "CLICK", "parameters": {"x": 100, "y": 100}}',
    "gui-cursor": "<answer>(100, 100)</answer>",
    "coordinates": "[100, 100, 200, 200]",
}

__all__ = [
    "SPELLINGS",
    "SpokenGrammar",
    "canonical",
    "computer_13",
    "coordinates",
    "gui_cursor",
    "keys",
    "playwright_mcp",
    "ui_tars",
    "webarena",
]


class SpokenGrammar(Grammar):
    """A grammar that reads another system's spelling; what is canonical is read as it is."""

    spelling: str = ""

    def instructions(self) -> str:
        """What the system message says about how to act; a spelling's own verbs are known to it."""
        if not self.spelling:
            return super().instructions()
        return f"Answer with one action as {self.spelling} has it, for example:\n{self._example()}"

    def _example(self) -> str:
        return _EXAMPLES[self.spelling] if self.spelling else super()._example()

    def _find(self, text: str) -> list[Said]:
        if not self.spelling:
            return super()._find(text)
        found = self._canonical(SPELLINGS[self.spelling](text))
        return [said._replace(end=len(text)) for said in found]

    def with_dialect(self, dialect: str) -> SpokenGrammar:
        """The same grammar, said in another way."""
        made = super().with_dialect(dialect)
        made.spelling = self.spelling
        return made
