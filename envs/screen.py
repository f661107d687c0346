"""What worlds of pages may show, and what can be done on what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from agentgym.actions import Action, Grammar
from agentgym.sandboxes.page import PageState
from agentgym.spaces import Image, Unicode
from agentgym.types import Observation

_LARGEST_IMAGE = 4096
_FIELDS = frozenset({"textbox", "searchbox", "password"})


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
        return isinstance(other, Screen) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Screen({self.text!r}, {self.image!r})"


def possible(page: PageState, spoken: Grammar) -> Sequence[Action]:
    """Calls that can be carried out on a page."""
    verbs, found = spoken.verbs, list[str]()
    if page.dialog and "dialog" in verbs:
        return [Action("dialog()"), Action("dialog(accept=False)")]
    by_number = "click" in verbs and any(a.name == "id" for a in verbs["click"].arguments)
    for row in page.rows:
        if not row.hit or row.box is None or "disabled" in row.states:
            continue
        if row.role in _FIELDS and "fill" in verbs and "readonly" not in row.states:
            found.append(f'fill({row.id}, "text")')
        if by_number:
            found.append(f"click({row.id})")
        elif "click_at" in verbs or "move" in verbs:
            x, y = (row.box[0] + row.box[2]) / 2, (row.box[1] + row.box[3]) / 2
            if 0 <= x < page.size[0] and 0 <= y < page.size[1]:
                found.append(f"{'click_at' if 'click_at' in verbs else 'move'}({x}, {y})")
    if "scroll" in verbs and page.scroll[3] > page.size[1] + 1:
        found += ['scroll("down")', 'scroll("up")']
    found += [f"{name}()" for name in ("wait", "done") if name in verbs]
    return [Action(line) for line in found]
