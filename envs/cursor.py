"""Grounding step by step: move a cursor that can be seen until it is on the target, then stop.

Source: "Learning GUI Grounding with Spatial Reasoning from Visual Feedback" (GUI-Cursor, arXiv
2509.21552), and the authors' code.
"""

from __future__ import annotations

import math
from typing import Any

from agentgym.actions import Action
from agentgym.actions.pointing import View, on_page
from agentgym.envs.screenshot import SCALES, Screenshot, inside
from agentgym.errors import ConfigError
from agentgym.sandboxes.picture import Pixels, with_cursor
from agentgym.types import Outcome, Reply, Task

STARTS = ("seeded", "centre")
_TRIES = 100
"""Then the target is taken to be everywhere."""
FOCUS_PX = 1920 * 1080
"""Area of what is shown of a larger screen, once the cursor was moved."""


class GUICursor(Screenshot):
    """Move a cursor to the element that an instruction means, and stop there.

    Passed if the cursor's tip is in the target's box when the agent stops, by `click()` or
    `done()`. Out of turns nothing is passed; `outcome.parts` say where the cursor was: `inside` (1
    or 0, which is what the paper counts) and `distance` to the box, with the screen as a unit
    square.

    Args:
        start: Where the cursor is at first: `seeded`, anywhere but on the target, or `centre`, as
            in the paper.
        focus: Show of a screen larger than 1920 x 1080 only so much around the cursor, in its own
            proportions, once it was moved (the paper's cursor-centric focusing; upright screens are
            shown as they are, as there, and two monitors are not told apart, unlike there).
        **kwargs: Of `Screenshot` and `Env`.

    Raises:
        ConfigError: An argument is wrong.
    """

    provides = Screenshot.provides | {"pointer", "inside", "distance"}
    max_turns = 4
    actions = "cursor"
    verbs = frozenset({"move", "move_by", "zoom", "unzoom", "click", "done"})

    def __init__(self, *, start: str = "seeded", focus: bool = False, **kwargs: Any) -> None:
        if start not in STARTS:
            raise ConfigError(f"start is {start!r}: give {' or '.join(STARTS)}")
        if focus not in (True, False):
            raise ConfigError(f"focus is {focus!r}: give true or false")
        super().__init__(**kwargs)
        self.start, self.focus = start, focus
        self.pointer = (0.0, 0.0)
        """The cursor's tip, in pixels of the whole screenshot."""
        self.moved = False
        ours = "click" in self.grammar.verbs and not kwargs.get("speaks")
        stop = " with click()" if ours else ""
        self.instructions = (
            "You see a screenshot with a cursor, a black arrow with a white edge, and an "
            "instruction about one element. Move the cursor until its tip, at the top left of the "
            f"arrow, is on that element; then stop{stop}. Each image shows where the cursor "
            f"is by then. Points are said in {SCALES[self.coords]}."
        )

    def begin(self, task: Task) -> Reply:
        """Show the screenshot with the cursor on it."""
        facts = self.open(task)
        facts.pop("expected")
        self.moved = False
        self.pointer = self._start()
        return Reply(self.look(), facts={**facts, **self._facts(), "point": list(self.pointer)})

    def _start(self) -> tuple[float, float]:
        width, height = self.shown.size
        if self.start == "centre":
            return (width // 2, height // 2)
        x = y = 0.0
        for _ in range(_TRIES):
            x = float(self.np_random.integers(width))
            y = float(self.np_random.integers(height))
            if not inside(x, y, self.shown.box):
                break
        return (x, y)

    def respond(self, action: Action) -> Reply:
        """Move, look or stop."""
        call = on_page(action.calls[0], self.view)
        given = call.arguments
        if call.verb in ("click", "done"):
            return Reply(self.look(), self._outcome(stopped=True), self._facts())
        if call.verb in ("zoom", "unzoom"):
            self.zoom(call)
            return Reply(self.look(), facts=self._facts())
        x, y = (given["x"], given["y"]) if call.verb == "move" else self.pointer
        self._put(x + given.get("dx", 0.0), y + given.get("dy", 0.0))
        return Reply(self.look(), facts={**self._facts(), "point": list(self.pointer)})

    def _put(self, x: float, y: float) -> None:
        """Move the cursor, no further than the screen's edge."""
        width, height = self.shown.size
        x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
        self.pointer = (round(x, 3), round(y, 3))
        first, self.moved = not self.moved, True
        if self.focus and first and width * height > FOCUS_PX and width >= height:
            scale = math.sqrt(FOCUS_PX / (width * height))
            across, down = int(width * scale), int(height * scale)
            left = min(max(round(x) - across // 2, 0), width - across)
            top = min(max(round(y) - down // 2, 0), height - down)
            region = (float(left), float(top), float(across), float(down))
            self.view = View(region, (across, down), self.coords)

    def judge(self) -> Outcome:
        """Out of turns: not stopped, so not passed."""
        return self._outcome(stopped=False)

    def _outcome(self, *, stopped: bool) -> Outcome:
        (x, y), box = self.pointer, self.shown.box
        width, height = self.shown.size
        off = (max(box[0] - x, 0, x - box[2]) / width, max(box[1] - y, 0, y - box[3]) / height)
        there = inside(x, y, box)
        parts = {"inside": float(there), "distance": math.hypot(*off)}
        label = ("inside" if there else "outside") if stopped else "limit"
        return Outcome(float(stopped and there), stopped and there, label, parts)

    def _facts(self) -> dict[str, Any]:
        shown = ",".join(f"{side:g}" for side in (*self.pointer, *self.view.region))
        return {"pointer": list(self.pointer), "state_key": shown}

    def picture(self) -> Pixels:
        """What the view shows, with the cursor."""
        return with_cursor(super().picture(), *self.view.to_pixels(*self.pointer))

    def admissible(self) -> list[Action]:
        """Moves to each element that is known, or to a grid, and stopping."""
        points = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in self.places()]
        return [*filter(None, (self.say("move", point) for point in points)), *self.ends()]

    def oracle(self) -> Action | None:
        """To the target's centre, and stop."""
        box, verbs = self.shown.box, self.grammar.verbs
        wanted = ["click", "done"]
        if not inside(*self.pointer, box):
            said = self.say("move", ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
            if said is not None or "move" not in verbs:
                return said
            wanted = ["unzoom"]
        return next((Action(f"{name}()") for name in wanted if name in verbs), None)

    def save_more(self) -> Any:
        """The cursor."""
        return self.pointer, self.moved

    def load_more(self, more: Any) -> None:
        """Put it back."""
        self.pointer, self.moved = more
