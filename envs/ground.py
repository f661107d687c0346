"""Grounding: a screenshot, an instruction, one answer. Where is what is meant?"""

from __future__ import annotations

from typing import Any

import numpy as np

from agentgym.actions import Action, Call
from agentgym.actions.pointing import on_page
from agentgym.actions.web import COORDINATES
from agentgym.envs.screenshot import SCALES, Screenshot, inside
from agentgym.rewards.grounding import iou
from agentgym.types import Outcome, Reply, Task

_ZOOMED_TURNS = 4


class GUIGround(Screenshot):
    """Say where on a screenshot the element is that an instruction means.

    Passed if the point, or the centre of the box, is in the target's box, as ScreenSpot counts. The
    first answer ends the episode; `done` is to give none. `outcome.parts["iou"]`, for a box, is its
    intersection over union with the target's.

    Args:
        actions: `ground`, or some of `click_at`, `box`, `done`, `zoom` and `unzoom`.
        max_turns: 1 if None, or 4 where one can zoom.
        **kwargs: Of `Screenshot` and `Env`.

    Raises:
        ConfigError: An argument is wrong.
    """

    provides = Screenshot.provides | {"box", "expected", "performed", "iou"}
    max_turns = 1
    actions = "ground"
    verbs = frozenset({"click_at", "box", "done", "zoom", "unzoom"})

    def __init__(self, *, max_turns: int | None = None, **kwargs: Any) -> None:
        super().__init__(max_turns=max_turns, **kwargs)
        if max_turns is None and "zoom" in self.grammar.verbs:
            self.max_turns = _ZOOMED_TURNS
        self.instructions = (
            "You see a screenshot and an instruction about one element of it. Say where that "
            f"element is. Points are said in {SCALES[self.coords]}."
        )

    def begin(self, task: Task) -> Reply:
        """Show the screenshot."""
        facts = self.open(task)
        return Reply(self.look(), facts=facts | {"state_key": self._key()})

    def respond(self, action: Action) -> Reply:
        """Judge the answer, or show another part."""
        call = on_page(action.calls[0], self.view)
        if call.verb in ("zoom", "unzoom"):
            self.zoom(call)
            return Reply(self.look(), facts={"performed": None, "state_key": self._key()})
        outcome, facts = self._judged(call)
        return Reply(self.look(), outcome, {**facts, "state_key": self._key()})

    def _judged(self, call: Call) -> tuple[Outcome, dict[str, Any]]:
        target, given = self.shown.box, call.arguments
        said = [round(given[name], 3) for pair in COORDINATES.get(call.verb, ()) for name in pair]
        if not said:
            return Outcome(0.0, False, "no_answer"), {"performed": None}
        parts: dict[str, float] = {}
        point, upright = said, True
        facts: dict[str, Any] = {"point": said}
        if len(said) == 4:
            upright = said[0] < said[2] and said[1] < said[3]
            point = [(said[0] + said[2]) / 2, (said[1] + said[3]) / 2]
            parts["iou"] = float(iou(np.array([said]), np.array([target]))[0]) if upright else 0.0
            facts = {"box": said}
        hit = upright and inside(point[0], point[1], target)
        label = "hit" if hit else "miss" if upright else "inverted"
        facts["performed"] = {"type": "click", "point": point if upright else None}
        return Outcome(float(hit), hit, label, parts), facts

    def _key(self) -> str:
        """Where the episode stands: what is shown."""
        return ",".join(f"{side:g}" for side in self.view.region)

    def admissible(self) -> list[Action]:
        """Answers about each element that is known, or about a grid; then what else there is."""
        found: list[Action | None] = []
        for left, top, right, bottom in self.places():
            found.append(self.say("box", (left, top), (right, bottom)))
            found.append(self.say("click_at", ((left + right) / 2, (top + bottom) / 2)))
        return [*filter(None, found), *self.ends()]

    def oracle(self) -> Action | None:
        """The target's box, or its centre; after a look at the whole, if that is needed."""
        left, top, right, bottom = self.shown.box
        said = self.say("box", (left, top), (right, bottom))
        said = said or self.say("click_at", ((left + right) / 2, (top + bottom) / 2))
        if said is None and "unzoom" in self.grammar.verbs:
            return Action("unzoom()")
        return said
