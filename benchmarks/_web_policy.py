"""Policies that solve some of MiniWoB from elements and goals alone, in words of no side."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Element(NamedTuple):
    """What can be acted on, as a side names it."""

    id: int | str
    role: str
    name: str
    checked: bool


class Move(NamedTuple):
    """What to do: `click`, `fill` or `select`, with which element, and the text."""

    verb: str
    id: int | str
    text: str = ""


Policy = Callable[[str, Sequence[Element], int], Move]
"""Of the goal, the elements, and how many moves were made."""
_FIELDS = ("textbox", "password")


def _click(elements: Sequence[Element], name: str, role: str = "") -> Move:
    found = (e for e in elements if e.name.lower() == name.lower() and role in ("", e.role))
    return Move("click", next(found).id)


def _quoted(goal: str) -> list[str]:
    return re.findall(r'"(.*?)"', goal)


def _boxes(goal: str, elements: Sequence[Element], made: int) -> Move:
    names = re.search(r"Select (.*) and click Submit", goal)
    wanted = set(names[1].split(", ")) if names else set()
    for element in elements:
        ticks = element.role in ("checkbox", "radio")
        if ticks and element.name in wanted and not element.checked:
            return Move("click", element.id)
    return _click(elements, "submit", "button")


def _enter(goal: str, elements: Sequence[Element], made: int) -> Move:
    """The quoted texts into the fields, then the button; the last text goes into those left."""
    fields = [e for e in elements if e.role in _FIELDS]
    if made == len(fields):
        return Move("click", next(e.id for e in elements if e.role == "button"))
    texts = _quoted(goal)
    return Move("fill", fields[made].id, texts[min(made, len(texts) - 1)])


def _choose(goal: str, elements: Sequence[Element], made: int) -> Move:
    if made:
        return _click(elements, "submit", "button")
    named = re.search(r"Select (.*) from the list", goal)
    box = next(e.id for e in elements if e.role == "combobox")
    return Move("select", box, named[1] if named else "")


POLICIES: dict[str, Policy] = {
    "click-test": lambda goal, page, made: Move("click", page[-1].id),
    "click-button": lambda goal, page, made: _click(page, _quoted(goal)[0], "button"),
    "click-button-sequence": lambda goal, page, made: _click(page, ("one", "two")[made]),
    "click-checkboxes": _boxes,
    "click-tab": lambda goal, page, made: _click(page, goal[goal.index("Tab") :].rstrip(".")),
    "enter-text": _enter,
    "login-user": _enter,
    "choose-list": _choose,
}
