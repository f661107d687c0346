"""A cursor moved step by step to a target, until the model says that it is there: GUI-Cursor.

Facts: `point` ([x, y] in pixels: where the cursor is after a turn that moved it, and at the start),
`target_box` and `image_size` as in `agentgym.rewards.grounding`. Distances are taken in the image
as a unit square: x by its width, y by its height.

An episode that has terminated was stopped by the model in its last turn, which is no move; if that
turn could not be carried out, it was ended for it. Any other episode ran out of turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_number, is_finite
from agentgym.rewards.batch import Batch, Bools, Floats, PerTurn, place
from agentgym.rewards.expression import Form, Signal
from agentgym.rewards.reading import BatchSignal, image_sizes, targets, tuples
from agentgym.rewards.text import register
from agentgym.types import Stop, Trajectory

_FACTS = frozenset({"point", "target_box", "image_size"})


def _nearness(
    points: Floats, target: Floats, size: Floats, centre: float
) -> tuple[Floats, Bools, Floats]:
    """Of points and boxes in pixels: distance to the box, whether inside, and the centre's pay.

    All by row; distances in the unit square.
    """
    at, low, high = points / size, target[:, :2] / size, target[:, 2:] / size
    distance = np.linalg.norm(at - np.clip(at, low, high), axis=1)
    inside = distance == 0.0
    half = np.linalg.norm((high - low) / 2, axis=1)
    off = np.linalg.norm(at - (low + high) / 2, axis=1)
    ratio = np.divide(off, half, out=np.zeros_like(off), where=inside & (half > 0))
    return distance, inside, np.where(inside, centre * (1 - np.minimum(ratio, 1.0) ** 5), 0.0)


@register
@dataclass(frozen=True)
class CursorPlace(BatchSignal):
    """(1 - d) + centre * (1 - rho^5) inside the box: how well the cursor stands after each move.

    d is the distance to the box, 0 inside; rho the distance to its centre over half its diagonal;
    both in the unit square. In [1 - sqrt(2), 1 + centre] on the image. The moving part of
    `gui_cursor`, known when the turn ends; not potential-form: summed up it pays for more moves. A
    turn without `point` has no value.

    Source: GUI-Cursor (arXiv 2509.21552), authors' code (`get_traj_reward`), with its default.

    Args:
        centre: Most that is paid for being near the centre.
    """

    name: ClassVar[str] = "cursor_place"
    local: ClassVar[bool] = True
    facts: ClassVar[frozenset[str]] = _FACTS
    centre: float = 0.1

    def __post_init__(self) -> None:
        check_number(self.name, "centre", self.centre, 0)

    def compute(self, batch: Batch) -> PerTurn:
        """From where the cursor stands."""
        points, there = tuples(batch, self, "point", 2)
        target, known = targets(batch, self, there)
        size, sized = image_sizes(batch, self, there & known)
        available = there & known & sized
        size = np.where(available[:, None], size, 1.0)
        distance, _, bonus = _nearness(points, target, size, self.centre)
        return PerTurn(np.where(available, 1 - distance + bonus, 0.0), available)


@register
@dataclass(frozen=True)
class GuiCursor(Signal):
    """The worth of the whole path, at the last turn; no value before.

    With d and rho as for `cursor_place`:

    - stopped inside: 1 + centre * (1 - rho^5)
    - stopped outside: false_stop + (1 - d), and if there were two moves or more, + nearer if the
      last ended nearer than the first did, else + astray
    - out of turns: (1 - d), + centre * (1 - rho^5) if inside, + missed if it was inside before, +
      repeated if a place was moved to twice, + astray as above, but for less than two moves
    - ended for a reply that could not be carried out: 0

    With the defaults every stop inside (at least 1) beats every stop outside (less than 0.6). Not
    potential-form. The paper's total is `0.9 * gui_cursor + 0.1 * format.mean()`.

    Source: GUI-Cursor (arXiv 2509.21552), authors' code (`get_traj_reward`), with its defaults;
    that out of turns and with less than two moves none is astray is ours: there the code stops.

    Args:
        centre: Most that is paid for being near the centre.
        false_stop: For stopping outside.
        nearer: For having come nearer.
        astray: For not having come nearer.
        repeated: For a place moved to twice.
        missed: For having been inside without stopping.
    """

    name: ClassVar[str] = "gui_cursor"
    facts: ClassVar[frozenset[str]] = _FACTS
    causal: ClassVar[bool] = False
    pays: ClassVar[Form] = Form.ONCE
    centre: float = 0.1
    false_stop: float = -0.5
    nearer: float = 0.1
    astray: float = -0.2
    repeated: float = -0.2
    missed: float = -0.1

    def __post_init__(self) -> None:
        for name in ("centre", "nearer"):
            check_number(self.name, name, getattr(self, name), 0)
        for name in ("false_stop", "astray", "repeated", "missed"):
            check_number(self.name, name, getattr(self, name), high=0)

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From the path."""
        return [*[None] * (len(trajectory.turns) - 1), self._path(trajectory)]

    def _path(self, trajectory: Trajectory) -> float | None:
        if trajectory.stop is None:
            raise RewardError(
                f"{self}: how episode {trajectory.key} ended is not known: score it when it has, "
                "and set Trajectory.stop"
            )
        batch = Batch([trajectory])
        points, there = tuples(batch, self, "point", 2)
        last = np.zeros(batch.count, dtype=np.bool_)
        last[-1] = True
        target, known = targets(batch, self, last)
        size, _ = image_sizes(batch, self, last & known)
        stopped = trajectory.stop is Stop.TERMINATED
        if stopped and trajectory.turns[-1].invalid is not None:
            return 0.0
        if not known[-1] or not size[-1].all():
            return None
        there &= np.array([turn.invalid is None for turn in trajectory.turns])
        path = points[there]
        moves = points[there & ~last] if stopped else path
        start = self._start(trajectory)
        path = path if start is None else np.vstack([start, path])
        if not len(path):
            raise RewardError(
                f"{self}: episode {trajectory.key} has no fact 'point': record where the cursor "
                "is, with each turn that moves it and at the start"
            )
        everywhere = np.vstack([path, moves])
        distance, inside, bonus = _nearness(everywhere, target[-1:], size[-1:], self.centre)
        at = len(path) - 1
        if stopped and inside[at]:
            return float(1 + bonus[at])
        worth = float(1 - distance[at] + bonus[at])
        coming = bool(len(moves) < 2 or distance[-1] < distance[len(path)])
        if stopped:
            return worth + self.false_stop + self._direction(coming, len(moves))
        worth += self.missed if inside[:at].any() else 0.0
        worth += self.repeated if len(np.unique(moves, axis=0)) < len(moves) else 0.0
        return worth + (0.0 if coming else self.astray)

    def _direction(self, coming: bool, moves: int) -> float:
        if moves < 2:
            return 0.0
        return self.nearer if coming else self.astray

    def _start(self, trajectory: Trajectory) -> Floats | None:
        point = trajectory.facts.get("point")
        if point is None:
            return None
        if not isinstance(point, list | tuple) or len(point) != 2 or not all(map(is_finite, point)):
            raise RewardError(
                f"{self}: fact 'point' of {place(trajectory, -1)} is {point!r:.80}: give 2 finite "
                "numbers"
            )
        return np.array([point], dtype=np.float64)
