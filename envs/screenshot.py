"""What worlds of one screenshot share: where it comes from, how it is shown, and what is recorded.

Nothing happens on a screenshot, so it needs no browser but to be taken: an episode is a picture, a
view of it and what the agent says. All facts are in pixels of the whole picture, whatever part of
it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import gymnasium as gym
import numpy as np

from agentgym.actions import Action, Call
from agentgym.actions.pointing import CONVENTIONS, Convention, View
from agentgym.actions.spellings import SPELLINGS, SpokenGrammar
from agentgym.actions.web import grammar
from agentgym.env import Env, Execution
from agentgym.envs.screen import Screen
from agentgym.errors import ConfigError, InvalidAction, TaskError, did_you_mean
from agentgym.sandboxes.picture import Pixels, decode
from agentgym.spaces import Image
from agentgym.tasks import grounding
from agentgym.tasks.grounding_sets import Box
from agentgym.tasks.sites.core import site_names
from agentgym.types import Observation, Task

if TYPE_CHECKING:
    from agentgym.tasks.grounding import Example

LARGEST_PX = 8192
"""Longest side of a picture."""
_SMALLEST_ZOOM_PX = 4.0
_GRID = 8
SCALES = {
    "pixel": "pixels of the last image, from its top left corner",
    "norm1000": "0 to 1000 across the last image, from its top left corner, and down",
    "norm1": "0 to 1 across the last image, from its top left corner, and down",
}
"""What points are said in, in words."""


class _Moment(NamedTuple):
    """A point of an episode."""

    example: Example
    view: View
    more: Any


class Screenshot(Env):
    """A world of one screenshot and one instruction.

    Args:
        data: A folder or file of ScreenSpot, ScreenSpot-v2, ScreenSpot-Pro, or one that `agentgym
            tasks make grounding` wrote; screens of our own sites, taken as they are needed, if
            empty. A set has no splits: each holds all of it.
        site: Which of our own sites; all if empty.
        actions: Which verbs there are: a subset's name, or a list.
        coords: How points are said: `pixel`, `norm1000` or `norm1`, of the last image.
        speaks: A spelling of `agentgym.actions.spellings.SPELLINGS` that models use; ours if "".
        **kwargs: Of `Env`.

    Raises:
        ConfigError: An argument is wrong.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 2}  # type: ignore[misc]
    execution: ClassVar[Execution] = "thread"
    provides = frozenset(
        {"target_box", "point", "image_size", "elements", "kind", "source", "state_key"}
    )
    splits: ClassVar[tuple[str, ...]] = tuple(grounding.FIRST_SEED)
    actions: ClassVar[str]
    verbs: ClassVar[frozenset[str]]
    """What the world can carry out."""

    def __init__(
        self,
        *,
        data: str = "",
        site: str = "",
        actions: str | Sequence[str] | None = None,
        coords: str = "pixel",
        speaks: str = "",
        **kwargs: Any,
    ) -> None:
        if coords not in CONVENTIONS:
            hint = did_you_mean(coords, CONVENTIONS)
            raise ConfigError(f"coords is {coords!r}: give {', '.join(CONVENTIONS)}{hint}")
        if speaks not in ("", *SPELLINGS):
            hint = did_you_mean(speaks, SPELLINGS)
            raise ConfigError(f"speaks is {speaks!r}: give {', '.join(SPELLINGS)}{hint}")
        known = site_names()
        if site and site not in known:
            hint = did_you_mean(site, known)
            raise ConfigError(f"site is {site!r}: give {', '.join(known)}{hint}")
        if data and not (isinstance(data, str | Path) and Path(data).expanduser().exists()):
            raise ConfigError(f"data is {data!r}, which is not there")
        base = grammar(self.actions if actions is None else actions)
        if strange := [name for name in base.verbs if name not in self.verbs]:
            told = ", ".join(sorted(self.verbs))
            raise ConfigError(f"actions has {strange[0]!r}: a screenshot knows {told}")
        spoken = SpokenGrammar(*base.verbs.values())
        spoken.spelling = speaks
        self.grammar = spoken
        super().__init__(**kwargs)
        self.data, self.sites = data, [site] if site else known
        self.coords = cast("Convention", coords)
        space = Screen(self.max_observation_chars)
        space.image = Image(LARGEST_PX, LARGEST_PX)
        self.observation_space = cast("gym.Space[Observation]", space)
        self.example: Example | None = None
        """What the episode is about; holds the answer."""
        self._examples: Mapping[str, Example] | None = None
        self._decoded: tuple[Example, Pixels] | None = None
        self.view = View((0, 0, 1, 1), (1, 1))
        """What the last image showed."""

    def close(self) -> None:
        """Let go of what takes screenshots, unless another world is at it."""
        super().close()
        grounding.put_away()

    # ---------------------------------------------------------------- tasks

    def tasks(self) -> Sequence[str]:
        """All of a set's, or the first seeds of each site."""
        if self.data:
            return tuple(self._set())
        return grounding.listed(self.split, self.sites)

    def find_task(self, task_id: str) -> Task:
        """One of a set; or any seed of the split's own million, listed or not."""
        if not self.data:
            grounding.find(task_id, self.split, self.sites)
        elif task_id not in self._set():
            known = list(self._set())
            hint = did_you_mean(task_id, known[:1000])
            told = f"has no example {task_id!r}{hint}: give one like {known[0]}"
            raise TaskError(f"{self.data!r} {told}")
        return Task(task_id, self._name, self.split)

    def _set(self) -> Mapping[str, Example]:
        if self._examples is None:
            self._examples = {each.id: each for each in grounding.load(self.data)}
        return self._examples

    def _find(self, task: Task) -> Example:
        if self.data:
            return self._set()[task.id]
        return grounding.draw(*grounding.find(task.id, self.split, self.sites))

    # ---------------------------------------------------------------- what worlds of them call

    def open(self, task: Task) -> dict[str, Any]:
        """Take up a task's screenshot, and show all of it; gives facts about the start."""
        self.example = example = self._find(task)
        self.view = self.whole()
        facts: dict[str, Any] = {
            "target_box": list(example.box),
            "image_size": list(example.size),
            "expected": {"type": "click", "box": list(example.box)},
        }
        if example.elements:
            facts["elements"] = [list(box) for box in example.elements]
        named = {"kind": example.kind, "source": example.source}
        return facts | {name: value for name, value in named.items() if value}

    @property
    def shown(self) -> Example:
        """The example under way."""
        if self.example is None:
            raise ConfigError("no episode was started: reset it first")
        return self.example

    def whole(self) -> View:
        """All of the picture."""
        width, height = self.shown.size
        return View((0.0, 0.0, float(width), float(height)), (width, height), self.coords)

    def look(self) -> Observation:
        """The instruction, and the part of the picture that is shown."""
        width, height = self.view.size
        part = "" if self.view == self.whole() else ", a part of the screenshot"
        said = f"Instruction: {self.shown.instruction}\nImage: {width} x {height} pixels{part}"
        text = said.encode("utf-8", "replace").decode()
        return {"text": text[: self.max_observation_chars], "image": self.picture()}

    def picture(self) -> Pixels:
        """What the view shows, uint8[H, W, 3]."""
        pixels = self._pixels()
        left, top, width, height = self.view.region
        if self.view == self.whole():
            return pixels.copy()
        from PIL import Image as Pictures

        region = (left, top, left + width, top + height)
        picture = Pictures.fromarray(pixels)
        shown = picture.resize(self.view.size, Pictures.Resampling.BICUBIC, box=region)
        return np.asarray(shown, dtype=np.uint8)

    def _pixels(self) -> Pixels:
        """All of the picture, not to be written to."""
        example = self.shown
        if self._decoded is None or self._decoded[0] is not example:
            encoded = example.read()
            try:
                pixels = decode(encoded)
            except (OSError, SyntaxError, ValueError) as error:  # which Pillow raises
                told = f"the screenshot of {example.id!r} cannot be read: {error}"
                raise TaskError(told) from error
            height, width = pixels.shape[:2]
            if (width, height) != example.size or max(width, height) > LARGEST_PX:
                raise TaskError(
                    f"the screenshot of {example.id!r} is {width}x{height} pixels: it should be "
                    f"{'x'.join(map(str, example.size))}, and at most {LARGEST_PX} each way"
                )
            self._decoded = (example, pixels)
        return self._decoded[1]

    def render(self) -> Any:
        """The last image in mode `rgb_array`, text in mode `ansi`."""
        if self.render_mode == "rgb_array":
            return None if self.example is None else self.picture()
        return super().render()

    def zoom(self, call: Call) -> None:
        """Show a part larger, or all again; its corners are pixels of the whole picture.

        Raises:
            InvalidAction: Of kind `out_of_bounds`: there is nothing between them.
        """
        if call.verb == "unzoom":
            self.view = self.whole()
            return
        given = call.arguments
        left, right = sorted((given["x1"], given["x2"]))
        top, bottom = sorted((given["y1"], given["y2"]))
        across, down = right - left, bottom - top
        if min(across, down) < _SMALLEST_ZOOM_PX:
            told = f"too small to zoom into: {across:g} x {down:g} pixels"
            raise InvalidAction("out_of_bounds", told)
        width, height = self.shown.size
        scale = min(width / across, height / down)
        size = (max(1, round(across * scale)), max(1, round(down * scale)))
        self.view = View((left, top, across, down), size, self.coords)

    def say(self, verb: str, *points: tuple[float, float]) -> Action | None:
        """An action about points of the whole picture, as it is said now.

        None if the view does not show one of them.
        """
        left, top, width, height = self.view.region
        inside = all(left <= x <= left + width and top <= y <= top + height for x, y in points)
        if not inside or verb not in self.grammar.verbs:
            return None
        told = [round(value, 4) for x, y in points for value in self.view.to_image(x, y)]
        spoken = self.grammar.verbs[verb]
        return Action(spoken.canonical(spoken.bind(told, {})))

    def places(self) -> Sequence[Box]:
        """The elements that are known; a grid over the picture where there are not two."""
        if len(self.shown.elements) > 1:
            return self.shown.elements
        across, down = (side / _GRID for side in self.shown.size)
        cells = [(i * across, j * down) for i in range(_GRID) for j in range(_GRID)]
        return [(x, y, x + across, y + down) for x, y in cells]

    def ends(self) -> list[Action]:
        """What can be done that is not about a point."""
        names = ("unzoom", "click", "done")
        return [Action(f"{name}()") for name in names if name in self.grammar.verbs]

    # ---------------------------------------------------------------- snapshots

    def save_state(self) -> _Moment:
        """The picture and the view, with what the world adds."""
        return _Moment(self.shown, self.view, self.save_more())

    def load_state(self, state: _Moment) -> None:
        """Go back there."""
        self.example, self.view = state.example, state.view
        self.load_more(state.more)

    def save_more(self) -> Any:
        """What a world keeps besides."""
        return None

    def load_more(self, more: Any) -> None:
        """Go back to what `save_more` gave."""


def inside(x: float, y: float, box: Box) -> bool:
    """Whether a point is in a box, its edges included: ScreenSpot's click accuracy."""
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
