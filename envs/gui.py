"""The sites of `agentgym/Web-v0` for agents that see pixels and point at them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, ClassVar

from agentgym.actions import Action, Call
from agentgym.actions.pointing import View
from agentgym.envs.web import Web
from agentgym.errors import ConfigError
from agentgym.sandboxes.page import Box, PageState

_SHOWN = ("image", "both", "som")
_SAYS = {"type": "text", "press": "keys", "find": "text", "done": "answer"}
"""The argument of a verb that is text."""


class GUI(Web):
    """Tasks on web sites, from screenshots, by points and keys.

    Facts besides those of `Web`, boxes and points in pixels of images. Of the image that was shown
    last: `elements` (what can be acted on and is visible: `role`, `name`, `box`). Of a turn, for
    the image that the model saw when it took it: `target_box` (the box of what the task's own plan
    would act on; None if that is out of view, or nothing), `expected` (what the plan
    would do: `type`, a verb, and as they apply `box`, `text`, `direction`) and `performed` (what
    the model did: the same with `point` for `box`); at the start, those of the first image.

    Args:
        obs: `image`, `both` (with text) or `som` (numbered marks, and text).
        **kwargs: Of `Web`, `Browsing` and `Env`.

    Raises:
        ConfigError: An argument is wrong.
    """

    provides = Web.provides | {"target_box", "elements", "expected", "performed"}
    actions: ClassVar[str] = "gui"
    instructions = Web.instructions + (
        " You see the page as an image. Point at what you want to use; click a field before you "
        "type into it."
    )
    max_turns = 80
    points: ClassVar[bool] = True

    def __init__(self, *, obs: str = "image", **kwargs: Any) -> None:
        if obs not in _SHOWN:
            raise ConfigError(
                f"obs is {obs!r}: give {', '.join(_SHOWN)}; agentgym/Web-v0 shows text alone"
            )
        super().__init__(obs=obs, **kwargs)
        self._aimed: dict[str, Any] = {}
        self._performed: dict[str, Any] | None = None

    def _note(self, action: Action) -> None:
        super()._note(action)
        view = self._need_session().view
        self._performed = _performed(self._doing[0], view) if self._doing else None

    def tell(self, page: PageState) -> Mapping[str, Any]:
        """What can be acted on, and what the plan would have done."""
        fresh, begins = page is not self._told, self._told is None
        facts = dict(super().tell(page))
        view = self._need_session().view
        before = self._aimed
        if fresh:
            self._aimed = self._aim(page, view)
        facts |= deepcopy(self._aimed if begins else before)
        facts["elements"] = _elements(page, view)
        if not begins and fresh:
            facts["performed"] = self._performed
        return facts

    def _aim(self, page: PageState, view: View) -> dict[str, Any]:
        """What the plan would do on the image that is shown."""
        wanted = self._next(page, self.guide) if self.guide is not None else None
        if wanted is None:
            return {"target_box": None, "expected": None}
        box = None if wanted.row is None else _shown(wanted.row.box, view)
        expected = _said(wanted.verb, wanted.arguments)
        if box is not None and wanted.verb in ("click_at", "click"):
            expected["box"] = box
        return {"target_box": box, "expected": expected}


def _shown(box: Box | None, view: View) -> list[float] | None:
    """A box of the viewport in pixels of an image, as far as that shows it; None if not at all."""
    if box is None:
        return None
    left, top, width, height = view.region
    x1, x2 = max(box[0], left), min(box[2], left + width)
    y1, y2 = max(box[1], top), min(box[3], top + height)
    if x1 >= x2 or y1 >= y2:
        return None
    return [round(value, 2) for value in (*view.to_pixels(x1, y1), *view.to_pixels(x2, y2))]


def _elements(page: PageState, view: View) -> list[dict[str, Any]]:
    """What can be acted on and is visible, in the order of the page."""
    found = []
    for row in page.rows:
        usable = row.hit or (row.role == "option" and row.in_view)
        if usable and (box := _shown(row.box, view)) is not None:
            found.append({"role": row.role, "name": row.name, "box": box})
    return found


def _said(verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A call as rewards compare it."""
    told: dict[str, Any] = {"type": verb}
    if verb in _SAYS and given[_SAYS[verb]].strip():
        told["text"] = given[_SAYS[verb]]
    if verb in ("scroll", "scroll_at"):
        told["direction"] = _direction(str(given["dy"]).strip().lower(), given.get("dx", 0.0))
    return told


def _direction(down: str, across: float) -> str:
    """Which way is scrolled; of both, the way down or up."""
    if down in ("up", "down", "left", "right"):
        return down
    if across and not float(down):
        return "left" if across < 0 else "right"
    return "up" if down.startswith("-") else "down"


def _performed(call: Call, view: View) -> dict[str, Any]:
    """What was done, its point in pixels of the image that was shown."""
    told = _said(call.verb, call.arguments)
    names = ("x2", "y2") if "x2" in call.arguments else ("x", "y")
    if names[0] in call.arguments:
        at = view.to_pixels(*(call.arguments[name] for name in names))
        told["point"] = [round(value, 2) for value in at]
    return told
