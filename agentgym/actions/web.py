"""What can be done on a page or a screen: one grammar for web, GUI, cursor and grounding worlds.

Elements are named by the number that the observation shows. Coordinates are of the last image
shown, in the convention of the world (`agentgym.actions.pointing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentgym.actions.arguments import Argument
from agentgym.actions.grammar import Grammar
from agentgym.actions.verbs import Verb
from agentgym.errors import ConfigError, did_you_mean

LONGEST_TEXT = 10_000
"""Characters that one action may type."""
LONGEST_WAIT_MS = 60_000
_MODIFIERS = ("Control", "Shift", "Alt", "Meta")


def _id(name: str = "id", about: str = "number of the element") -> Argument:
    return Argument(name, int, about, minimum=1, example=12)


def _at(*names: str) -> list[Argument]:
    return [Argument(name, float, example=100.0) for name in names]


_BUTTON = Argument("button", str, default="left", choices=("left", "right", "middle"))
_TIMES = Argument("n", int, "how often", default=1, minimum=1, maximum=3)
_TEXT = Argument("text", max_length=LONGEST_TEXT)
_URL = Argument("url", max_length=2_000, example="http://shop.test/")

GROUPS: Mapping[str, Sequence[Verb]] = {
    "element": (
        Verb(
            "click",
            "Click an element",
            _id(),
            _BUTTON,
            _TIMES,
            Argument("mods", list, "keys held down", default=[], choices=_MODIFIERS, max_length=4),
        ),
        Verb(
            "fill",
            "Replace the text of a field",
            _id(),
            _TEXT,
            Argument("submit", bool, "press Enter, too", default=False),
        ),
        Verb(
            "select",
            "Choose of a list",
            _id(),
            Argument("value", list, "one option, or several", min_length=1, max_length=100),
        ),
        Verb("check", "Tick a box, or not", _id(), Argument("on", bool, default=True)),
        Verb("hover", "Point at an element", _id()),
        Verb("drag", "Drag one element onto another", _id(), _id("to_id", "where to")),
        Verb("upload", "Put a file into a field", _id(), Argument("name", max_length=200)),
    ),
    "pixel": (
        Verb("click_at", "Click at a point", *_at("x", "y"), _BUTTON, _TIMES),
        Verb("move", "Move the pointer to a point", *_at("x", "y")),
        Verb("move_by", "Move the pointer by so much", *_at("dx", "dy")),
        Verb("drag_at", "Drag from a point to another", *_at("x1", "y1", "x2", "y2")),
        Verb(
            "scroll_at",
            "Scroll what is at a point, in pixels; down and right are positive",
            *_at("x", "y", "dy"),
            Argument("dx", float, default=0.0),
        ),
        Verb("mouse_down", "Hold the left button down"),
        Verb("mouse_up", "Let the left button go"),
    ),
    "keys": (
        Verb("type", "Type where the focus is", _TEXT),
        Verb("press", "Press keys", Argument("keys", max_length=60, example="Control+a")),
    ),
    "view": (
        Verb(
            "scroll",
            "Scroll the page, or an element",
            Argument(
                "dy", str, 'pixels, or "up", "down", "left", "right"', max_length=12, example="down"
            ),
            Argument("id", int, default=None, minimum=1),
        ),
        Verb("zoom", "Show a part of the image larger", *_at("x1", "y1", "x2", "y2")),
        Verb("unzoom", "Show the whole again"),
        Verb("find", "Look for text on the whole page", Argument("text", max_length=200)),
        Verb("read", "Read all of an element", _id()),
    ),
    "nav": (
        Verb("goto", "Open an address", _URL),
        Verb("back", "Go back"),
        Verb("forward", "Go forward"),
        Verb("reload", "Load the page again"),
        Verb("tab", "Switch to a tab", Argument("i", int, minimum=0, example=0)),
        Verb("new_tab", "Open a tab", Argument("url", str, default=None, max_length=2_000)),
        Verb("close_tab", "Close a tab", Argument("i", int, default=None, minimum=0)),
        Verb(
            "dialog",
            "Answer the question that is open",
            Argument("accept", bool, default=True),
            Argument("text", str, default=None, max_length=LONGEST_TEXT),
        ),
    ),
    "end": (
        Verb(
            "wait",
            "Let time pass",
            Argument("ms", int, default=500, minimum=0, maximum=LONGEST_WAIT_MS),
        ),
        Verb(
            "done",
            "The task is done",
            Argument("answer", str, "if one was asked for", default="", max_length=LONGEST_TEXT),
        ),
        Verb(
            "fail",
            "The task cannot be done",
            Argument("reason", str, default="", max_length=LONGEST_TEXT),
        ),
    ),
    "box": (Verb("box", "Say where something is", *_at("x1", "y1", "x2", "y2")),),
}
"""Verbs by what they are about."""

VERBS: Mapping[str, Verb] = {verb.name: verb for group in GROUPS.values() for verb in group}
CLICK_HERE = Verb("click", "Click where the pointer is", _BUTTON, _TIMES)
"""`click` where there are no elements: the cursor's."""


def _of(*groups: str) -> tuple[Verb, ...]:
    return tuple(verb for group in groups for verb in GROUPS[group])


def _named(*names: str) -> tuple[Verb, ...]:
    return tuple(VERBS[name] for name in names)


SUBSETS: Mapping[str, tuple[Verb, ...]] = {
    "web": _of("element", "nav", "keys", "view", "end"),
    "gui": _of("pixel", "keys", "view", "end"),
    "cursor": (*_named("move", "move_by", "zoom", "unzoom"), CLICK_HERE, *_named("done")),
    "ground": _named("click_at", "box", "done"),
    "element": (*_of("element", "keys"), *_named("scroll", "dialog", "wait", "done", "fail")),
    "all": _of("element", "pixel", "keys", "view", "nav", "end", "box"),
}
"""Which verbs a world has, by name."""
INSTANT = frozenset({"zoom", "unzoom", "find", "read", "done", "fail", "box"})
"""What changes nothing but what is shown: the page's time does not run."""
COORDINATES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "click_at": (("x", "y"),),
    "move": (("x", "y"),),
    "scroll_at": (("x", "y"),),
    "drag_at": (("x1", "y1"), ("x2", "y2")),
    "zoom": (("x1", "y1"), ("x2", "y2")),
    "box": (("x1", "y1"), ("x2", "y2")),
}
"""Which arguments are points of the image."""


def grammar(
    actions: str | Sequence[str] = "web", *, dialect: str = "call", max_calls: int = 1
) -> Grammar:
    """The grammar of a subset, or of the verbs named.

    Raises:
        ConfigError: There is no such subset or verb.
    """
    if isinstance(actions, str):
        if actions not in SUBSETS:
            hint = did_you_mean(actions, SUBSETS)
            raise ConfigError(f"actions is {actions!r}: give {', '.join(SUBSETS)}{hint}")
        verbs = SUBSETS[actions]
    else:
        listed = isinstance(actions, list | tuple) and all(isinstance(one, str) for one in actions)
        if not actions or not listed:
            raise ConfigError(f"actions is {actions!r}: give a subset's name, or a list of verbs")
        if unknown := [name for name in actions if name not in VERBS]:
            hint = did_you_mean(unknown[0], VERBS)
            raise ConfigError(
                f"there is no action {unknown[0]!r}{hint}: give some of {', '.join(VERBS)}"
            )
        verbs = _named(*actions)
    return Grammar(*verbs, dialect=dialect, max_calls=max_calls)
