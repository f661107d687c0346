"""What worlds of pages may show, and what can be done on what they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym

from agentgym.actions import Action, Grammar
from agentgym.actions.pointing import View
from agentgym.sandboxes.page import Box, PageState, Row
from agentgym.spaces import Image, Unicode
from agentgym.types import Observation

_LARGEST_IMAGE = 4096
_FIELDS = frozenset({"textbox", "searchbox", "password"})
_LISTS = frozenset({"combobox", "listbox"})
_MOST_OPTIONS = 40


class Screen(gym.Space[Observation]):
    """What image worlds show: a mapping with an image, or text alone where an action is refused."""

    def __init__(self, max_chars: int) -> None:
        self.text = Unicode(max_chars)
        self.image = Image(_LARGEST_IMAGE, _LARGEST_IMAGE)
        super().__init__()

    @property
    def is_np_flattenable(self) -> bool:
        """False: text has no array form."""
        return False

    def seed(self, seed: Any = None) -> Any:
        """Seed both parts."""
        self.text.seed(seed)
        return self.image.seed(seed)

    def sample(self, mask: Any = None, probability: Any = None) -> Observation:
        """A text and an image of noise."""
        return {"text": self.text.sample(), "image": self.image.sample()}

    def contains(self, x: Any) -> bool:
        """Whether `x` is text, or a mapping of text and an image."""
        if isinstance(x, Mapping):
            return self.text.contains(x.get("text")) and self.image.contains(x.get("image"))
        return self.text.contains(x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Screen) and self.text == other.text and self.image == other.image

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Screen({self.text!r}, {self.image!r})"


def possible(
    page: PageState, spoken: Grammar, view: View, texts: Sequence[str] = ("text",)
) -> Sequence[Action]:
    """Calls that can be carried out on a page; of what can be typed, a few examples.

    Args:
        page: What is shown.
        spoken: The verbs there are.
        view: What the last image showed; points are said in its convention, and lie in it.
        texts: What fields are filled with.
    """
    verbs, found = spoken.verbs, list[Action]()

    def offer(name: str, *given: Any) -> None:
        verb = verbs[name]
        found.append(Action(verb.canonical(verb.bind(given, {}))))

    if page.dialog and "dialog" in verbs:
        return [Action("dialog()"), Action("dialog(accept=False)")]
    by_number = "click" in verbs and any(a.name == "id" for a in verbs["click"].arguments)
    pointing = next((name for name in ("click_at", "move") if name in verbs), "")
    for place, row in enumerate(page.rows):
        if not row.hit or row.box is None or "disabled" in row.states:
            continue
        if row.role in _FIELDS and "fill" in verbs and "readonly" not in row.states:
            for text in texts:
                offer("fill", row.id, text)
        if row.role in _LISTS and "select" in verbs:
            for name in _options(page.rows, place):
                offer("select", row.id, [name])
        if by_number:
            offer("click", row.id)
        elif pointing and (point := _point(row.box, page.size, view)):
            offer(pointing, *point)
    if "click" in verbs and not by_number:  # where the pointer is
        offer("click")
    focused = page.row(page.focused)
    if "type" in verbs and "fill" not in verbs and focused and focused.role in _FIELDS:
        for text in texts:
            offer("type", text)
    if "scroll" in verbs and page.scroll[3] > page.size[1] + 1:
        offer("scroll", "down")
        offer("scroll", "up")
    for name in ("wait", "done"):
        if name in verbs:
            offer(name)
    return list(dict.fromkeys(found))


def _options(rows: Sequence[Row], place: int) -> Iterator[str]:
    """Names of the first options of a list."""
    for row in rows[place + 1 : place + 1 + _MOST_OPTIONS]:
        if row.depth <= rows[place].depth:
            return
        if row.role == "option" and row.name and "disabled" not in row.states:
            yield row.name


def _point(box: Box, size: tuple[int, int], view: View) -> tuple[float, float] | None:
    """The middle of a box as a model says it; None if the image does not show it."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    left, top, width, height = view.region
    if not (0 <= x < size[0] and 0 <= y < size[1]):
        return None
    if not (left <= x < left + width and top <= y < top + height):
        return None
    across, down = view.to_image(x, y)
    digits = 4 if view.coords == "norm1" else 1
    return round(across, digits), round(down, digits)
