"""What the model did in a user interface, against the one action that was expected.

Facts of each turn:

`expected`
    What a recorded expert did: a mapping with `type` (text) and whatever of these is to be equal:
    `box` ([x1, y1, x2, y2] in pixels, to be hit), `point` ([x, y], to be hit nearly), `text`,
    `direction`; `region` (a box to be looked at, for `btl-ui`; else `box` is). None: nothing was
    expected, and the turn has no value. Also looked for at the start and in the task's data.
`performed`
    What the model did, as the environment understood it: a mapping with `type`, and `point`,
    `text`, `direction` as far as it has them; `regions` (a list of boxes) for `btl-ui`. None: it
    did nothing. It must be there in every turn that could be carried out.
`image_size`
    [width, height], only where `btl-ui` is to compare points; looked for like `expected`.

What the model wrote is compared as it is and never evaluated, unlike in the released code of two of
these papers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Literal, NamedTuple

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_choice, check_number, is_finite
from agentgym.rewards.batch import place
from agentgym.rewards.expression import Signal
from agentgym.rewards.reading import MISREAD, MISSING, find
from agentgym.rewards.text import register
from agentgym.types import Trajectory


class _Paper(NamedTuple):
    """How one paper weighs, and what it asks of an argument."""

    type: float
    argument: float
    format: float
    region: float
    joint: bool
    """Whether an argument counts only if the type is right, too."""
    similar: bool
    """Whether half the words of a text will do."""


VARIANTS: Mapping[str, _Paper] = {
    "ui-r1": _Paper(1.0, 1.0, 1.0, 0.0, joint=False, similar=False),
    "gui-r1": _Paper(0.0, 0.8, 0.2, 0.0, joint=True, similar=True),
    "btl-ui": _Paper(0.0, 0.6, 0.1, 0.3, joint=True, similar=True),
    "mobile-r1": _Paper(0.0, 1.0, 1.0, 0.0, joint=True, similar=False),
}
_RADIUS_PX = 140.0
_RADIUS = 0.14
_F1 = 0.5
_IOU = 0.5
_MAX_REGIONS = 64


def shared_words(said: str, wanted: str) -> float:
    """F1 of the sets of words of two texts, whatever their case; in [0, 1]."""
    ours, theirs = set(said.lower().split()), set(wanted.lower().split())
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours and theirs else 0.0


@register
@dataclass(frozen=True)
class ActionMatch(Signal):
    """type * [same type] + argument * [same arguments] + format * [readable] + region * [looked].

    In [0, sum of the weights]; 0 for a reply that could not be read. Not potential-form. A single
    expected action rejects other ways that lead to the goal: use it beside an outcome.

    - `ui-r1` (weights 1, 1, 1, 0: at most 3): the argument is a click in `box`; where no click is
      expected it counts as right.
    - `gui-r1` (0, .8, .2, 0): type and arguments together: in `box`, or less than 140 px from
      `point` if there is no box; half the words of `text` (F1 >= .5); `direction`.
    - `btl-ui` (0, .6, .1, .3): likewise, but in `box` and less than .14 of the image from `point`;
      looked: one of `regions` overlaps the expected region (IoU > .5), and no two of them overlap
      (IoU >= .5); where no region is expected it counts as looked.
    - `mobile-r1` (0, 1, 1, 0: at most 2): type and arguments together, `text` to the letter.

    Types and directions are compared whatever their case; edges belong to boxes.

    Source: UI-R1 (arXiv 2503.21620), GUI-R1 (2504.10458) and BTL-UI (2509.15566), authors' code;
    Mobile-R1 (2506.20332), a review of the paper. Deviations: unreadable replies get 0 in all
    parts; edges count as inside.

    Args:
        variant: Which paper's.
        type_weight: Of the type; None is the paper's own weight, here and below.
        argument_weight: Of the arguments (of type and arguments, where they count together).
        format_weight: Of having been read.
        region_weight: Of having looked at the right place.
    """

    name: ClassVar[str] = "action_match"
    local: ClassVar[bool] = True
    facts: ClassVar[frozenset[str]] = frozenset({"expected", "performed"})
    variant: Literal["ui-r1", "gui-r1", "btl-ui", "mobile-r1"] = "ui-r1"
    type_weight: float | None = None
    argument_weight: float | None = None
    format_weight: float | None = None
    region_weight: float | None = None

    def __post_init__(self) -> None:
        check_choice(self.name, "variant", self.variant, tuple(VARIANTS))
        for name in ("type_weight", "argument_weight", "format_weight", "region_weight"):
            if getattr(self, name) is not None:
                check_number(self.name, name, getattr(self, name), 0)

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From what was expected and performed."""
        return [self._turn(trajectory, turn) for turn in range(len(trajectory.turns))]

    def _turn(self, trajectory: Trajectory, number: int) -> float | None:
        turn = trajectory.turns[number]
        wanted = find(trajectory, turn, "expected")
        if wanted is None:
            return None
        if wanted is MISSING:
            raise RewardError(
                f"{self}: {place(trajectory, number)} has no fact 'expected': record it with the "
                "turn, None where nothing is expected"
            )
        expected = self._read(wanted, "expected", trajectory, number)
        if turn.invalid in MISREAD:
            return 0.0
        said = turn.facts.get("performed", MISSING)
        if said is MISSING and turn.invalid is None:
            raise RewardError(
                f"{self}: {place(trajectory, number)} has no fact 'performed': record what was "
                "carried out"
            )
        given = {} if said is None or said is MISSING else said
        return self._weigh(expected, self._read(given, "performed", trajectory, number))

    def _read(self, given: Any, name: str, trajectory: Trajectory, turn: int) -> _Action:
        if not isinstance(given, Mapping):
            raise RewardError(
                f"{self}: fact {name!r} of {place(trajectory, turn)} is {given!r:.80}: give a "
                "mapping"
            )
        return _Action(given, name, self, trajectory, turn)

    def _weigh(self, wanted: _Action, done: _Action) -> float:
        paper = VARIANTS[self.variant]
        same = done.type == wanted.type
        if paper.joint:
            right = same and self._arguments(wanted, done)
        else:
            right = not wanted.is_place or _near(wanted, done, _RADIUS_PX)
        pairs = (
            (self.type_weight, paper.type, same),
            (self.argument_weight, paper.argument, right),
            (self.format_weight, paper.format, True),
            (self.region_weight, paper.region, self._looked(wanted, done)),
        )
        return sum((own if given is None else given) * hit for given, own, hit in pairs)

    def _looked(self, wanted: _Action, done: _Action) -> bool:
        weight = self.region_weight
        if not (VARIANTS[self.variant].region if weight is None else weight):
            return False
        region = wanted.numbers("region", 4) or wanted.numbers("box", 4)
        if region is None:
            return True
        boxes = done.regions()
        if any(x1 >= x2 or y1 >= y2 for x1, y1, x2, y2 in boxes):
            return False
        if any(_overlap(first, second) >= _IOU for first, second in combinations(boxes, 2)):
            return False
        return any(_overlap(box, region) > _IOU for box in boxes)

    def _arguments(self, wanted: _Action, done: _Action) -> bool:
        if wanted.is_place and not (
            _relative(wanted, done) if self.variant == "btl-ui" else _near(wanted, done, _RADIUS_PX)
        ):
            return False
        text, direction = wanted.text("text"), wanted.text("direction")
        if text is not None:
            said = done.text("text") or ""
            similar = VARIANTS[self.variant].similar
            if not (shared_words(said, text) >= _F1 if similar else said == text):
                return False
        if direction is None:
            return True
        return (done.text("direction") or "").casefold() == direction.casefold()


def _near(wanted: _Action, done: _Action, radius_px: float) -> bool:
    """In the box; near the point where there is no box."""
    at, box, point = done.numbers("point", 2), wanted.numbers("box", 4), wanted.numbers("point", 2)
    if at is None:
        return False
    if box is not None:
        return _inside(at, box)
    return point is not None and math.dist(at, point) < radius_px


def _relative(wanted: _Action, done: _Action) -> bool:
    """In the box, and near the point in the image as a unit square."""
    at, box, point = done.numbers("point", 2), wanted.numbers("box", 4), wanted.numbers("point", 2)
    if at is None or (box is not None and not _inside(at, box)):
        return False
    if point is None:
        return True
    size = find(wanted.trajectory, wanted.trajectory.turns[wanted.turn], "image_size")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(map(_is_positive, size)):
        raise RewardError(
            f"{wanted.signal}: {wanted.where} expects a point, which btl-ui compares in the image: "
            "record the fact 'image_size', [width, height] in pixels"
        )
    return math.hypot((at[0] - point[0]) / size[0], (at[1] - point[1]) / size[1]) < _RADIUS


def _is_positive(value: Any) -> bool:
    return is_finite(value) and value > 0


def _overlap(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Intersection over union of two boxes, the first of which has an area."""
    wide = min(ours[2], theirs[2]) - max(ours[0], theirs[0])
    high = min(ours[3], theirs[3]) - max(ours[1], theirs[1])
    if wide <= 0 or high <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (ours, theirs)]
    return wide * high / (areas[0] + areas[1] - wide * high)


def _inside(at: Sequence[float], box: Sequence[float]) -> bool:
    return box[0] <= at[0] <= box[2] and box[1] <= at[1] <= box[3]


class _Action(NamedTuple):
    """`expected` or `performed`, read with care."""

    given: Mapping[str, Any]
    name: str
    signal: Signal
    trajectory: Trajectory
    turn: int

    @property
    def where(self) -> str:
        return place(self.trajectory, self.turn)

    @property
    def type(self) -> str:
        kind = self.text("type")
        if kind is None and self.name == "expected":
            raise self._wrong("type", None, "a text")
        return (kind or "").casefold()

    @property
    def is_place(self) -> bool:
        return self.given.get("box") is not None or self.given.get("point") is not None

    def text(self, key: str) -> str | None:
        value = self.given.get(key)
        if value is None or (isinstance(value, str) and (value.strip() or self.name != "expected")):
            return value
        raise self._wrong(key, value, "a text, or leave it out")

    def numbers(self, key: str, size: int) -> Sequence[float] | None:
        value = self.given.get(key)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or len(value) != size:
            raise self._wrong(key, value, f"{size} finite numbers")
        if not all(map(is_finite, value)):
            raise self._wrong(key, value, f"{size} finite numbers")
        if size == 4 and (value[0] > value[2] or value[1] > value[3]):
            raise self._wrong(key, value, "a box with x1 <= x2 and y1 <= y2")
        return value

    def regions(self) -> Sequence[Sequence[float]]:
        """Empty if they are too many."""
        value = self.given.get("regions", ())
        if not isinstance(value, list | tuple) or not all(
            isinstance(box, list | tuple) and len(box) == 4 and all(map(is_finite, box))
            for box in value
        ):
            raise self._wrong("regions", value, "a list of boxes")
        return value if len(value) <= _MAX_REGIONS else ()

    def _wrong(self, key: str, value: Any, wanted: str) -> RewardError:
        return RewardError(
            f"{self.signal}: fact {self.name!r} of {self.where} has {key} {value!r:.80}: give "
            f"{wanted}"
        )
