"""What signals read off trajectories, checked: every error names the signal, the turn, the remedy.

What the environment wrote down wrongly is an error. What the model did wrong is not: that is worth
the signal's lowest value, and the signals say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agentgym.errors import RewardError
from agentgym.rewards.arguments import is_finite
from agentgym.rewards.batch import Batch, Bools, Floats, PerTurn, place
from agentgym.rewards.expression import Signal
from agentgym.types import Trajectory, Turn

MISSING: Final = object()
"""What `find` gives for a fact that is nowhere; None is a fact: the environment says "none"."""
MISREAD: Final = frozenset({"empty", "parse", "unknown_verb", "arguments", "too_long"})
"""Kinds of invalid actions where the reply could not be read."""
FARTHEST_PX: Final = 1e9
"""Coordinates are kept within this, so that their squares stay finite."""


class BatchSignal(Signal):
    """A signal computed on many turns at once: subclasses have `compute` in place of `values`."""

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """What `compute` says of one trajectory."""
        found = self.compute(Batch([trajectory]))
        return [
            float(value) if there else None
            for value, there in zip(found.values, found.available, strict=True)
        ]

    def compute(self, batch: Batch) -> PerTurn:
        """The values of all turns."""
        raise NotImplementedError


def find(trajectory: Trajectory, turn: Turn, name: str) -> Any:
    """A fact of a turn, else of the start, else of the task's data; `MISSING` if it is in none."""
    for source in (turn.facts, trajectory.facts, trajectory.task.data):
        if name in source:
            return source[name]
    return MISSING


def number(trajectory: Trajectory, turn: int, name: str) -> float | None:
    """A fact of a turn (counted from 0; -1 is the start) as a number; None if absent or None.

    True and false are 1 and 0.

    Raises:
        RewardError: It is something else.
    """
    value = (trajectory.turns[turn] if turn >= 0 else trajectory).facts.get(name)
    if value is None or isinstance(value, bool) or is_finite(value):
        return None if value is None else float(value)
    raise RewardError(
        f"fact {name!r} of {place(trajectory, turn)} is {value!r:.60}: it must be a finite number"
    )


def is_ids(value: Any) -> bool:
    """Whether it is a list of ids: texts, or whole numbers."""
    return isinstance(value, list | tuple) and all(isinstance(each, str | int) for each in value)


_NUMBERS = frozenset({int, float})


def tuples(
    batch: Batch, signal: Signal, name: str, size: int, needed: Bools | None = None
) -> tuple[Floats, Bools]:
    """A fact that is a few numbers (a point, a box, a size), of every turn.

    Args:
        batch: The turns.
        signal: Who asks, for errors.
        name: The fact.
        size: How many numbers.
        needed: bool[N]: where there must be one (None will do), if not in the turn's own facts then
            in those of the start or in the task's data; if not given, only the turn's own count.

    Returns:
        float64[N, size], 0 where there are none; bool[N]: where there are.

    Raises:
        RewardError: They are something else, not finite, or missing where needed.
    """
    rows, found = [], []
    row = -1
    for trajectory in batch.trajectories:
        for turn in trajectory.turns:
            row += 1
            if needed is None:
                value = turn.facts.get(name)
            elif not needed[row]:
                continue
            else:
                value = find(trajectory, turn, name)
            if value is None:
                continue
            if value is MISSING:
                raise _absent(batch, signal, name, row)
            if (
                not isinstance(value, list | tuple)
                or len(value) != size
                or not _NUMBERS.issuperset(map(type, value))
            ):
                raise _wrong(signal, name, value, batch.place(row), f"{size} finite numbers")
            rows.append(row)
            found.append(value)
    values = np.zeros((batch.count, size))
    available = np.zeros(batch.count, dtype=np.bool_)
    if rows:
        try:
            given = np.array(found, dtype=np.float64)
        except OverflowError:  # an int that no float can hold
            given = np.array([[v if is_finite(v) else np.inf for v in each] for each in found])
        for wrong in np.flatnonzero(~np.isfinite(given).all(axis=1)):
            where = batch.place(rows[wrong])
            raise _wrong(signal, name, found[wrong], where, f"{size} finite numbers")
        values[rows] = np.clip(given, -FARTHEST_PX, FARTHEST_PX)
        available[rows] = True
    return values, available


def boxes(
    batch: Batch, signal: Signal, name: str, needed: Bools
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """A fact that is a list of boxes, of every turn where it is needed.

    Args:
        batch: The turns.
        signal: Who asks, for errors.
        name: The fact; looked for as in `tuples`. None is none, as an empty list is.
        needed: bool[N]: where there must be one.

    Returns:
        float64[M, 4], all boxes one after another; int64[M]: the turn that each is of.

    Raises:
        RewardError: They are something else, not finite, inverted, or missing where needed.
    """
    rows: list[Sequence[float]] = []
    owner: list[int] = []
    turns = ((trajectory, turn) for trajectory in batch.trajectories for turn in trajectory.turns)
    for row, (trajectory, turn) in enumerate(turns):
        if not needed[row]:
            continue
        value = find(trajectory, turn, name)
        if value is MISSING:
            raise _absent(batch, signal, name, row)
        if not isinstance(value, list | tuple | None):
            raise _wrong(signal, name, value, batch.place(row), "a list of boxes, [] for none")
        for each in value or ():
            fits = isinstance(each, list | tuple) and len(each) == 4
            if not fits or not all(type(v) in _NUMBERS and is_finite(v) for v in each):
                raise _wrong(signal, name, each, batch.place(row), "boxes of 4 finite numbers")
            if each[2] < each[0] or each[3] < each[1]:
                raise _wrong(signal, name, each, batch.place(row), "boxes that are not inverted")
            rows.append(each)
            owner.append(row)
    found = np.clip(np.array(rows, dtype=np.float64).reshape(-1, 4), -FARTHEST_PX, FARTHEST_PX)
    return found, np.array(owner, dtype=np.int64)


def targets(batch: Batch, signal: Signal, needed: Bools) -> tuple[Floats, Bools]:
    """The fact `target_box`, [x1, y1, x2, y2] in pixels, where needed; see `tuples`.

    Raises:
        RewardError: As `tuples`; or a box is inverted. A degenerate one, a point, will do.
    """
    boxes, available = tuples(batch, signal, "target_box", 4, needed)
    for row in np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1)):
        raise RewardError(
            f"{signal}: fact 'target_box' of {batch.place(int(row))} is "
            f"{boxes[row].tolist()}, which is inverted: give [x1, y1, x2, y2] with x1 <= x2 and "
            "y1 <= y2"
        )
    return boxes, available


def image_sizes(batch: Batch, signal: Signal, needed: Bools) -> tuple[Floats, Bools]:
    """The fact `image_size`, [width, height] in pixels, where needed; see `tuples`.

    Raises:
        RewardError: As `tuples`; or one is not positive.
    """
    sizes, available = tuples(batch, signal, "image_size", 2, needed)
    for row in np.flatnonzero(available & (sizes <= 0).any(axis=1)):
        raise _wrong(
            signal, "image_size", sizes[row].tolist(), batch.place(int(row)), "positive pixels"
        )
    return sizes, available


def _absent(batch: Batch, signal: Signal, name: str, row: int) -> RewardError:
    return RewardError(
        f"{signal}: {batch.place(row)} has no fact {name!r}: record it with the turn, at the start "
        "or in the task's data, None where there is none"
    )


def _wrong(signal: Signal, name: str, value: Any, where: str, wanted: str) -> RewardError:
    return RewardError(f"{signal}: fact {name!r} of {where} is {value!r:.80}: give {wanted}")
