"""What rewards are computed on: many trajectories laid end to end, and one value a turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from agentgym.errors import RewardError
from agentgym.types import Outcome, Trajectory

if TYPE_CHECKING:
    from agentgym.rewards.scorer import Scorer

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]

RUNNING = Outcome(0.0, False, "running")
"""The outcome, until there is one, of an episode that is paid as it runs."""


class PerTurn(NamedTuple):
    """One value a turn, and whether there is one: 0.0 and "none" are different things."""

    values: Floats
    """float64[N]; 0 where there is none."""
    available: Bools
    """bool[N]."""

    @property
    def filled(self) -> Floats:
        """float64[N]: the values, 0 where there is none."""
        return np.where(self.available, self.values, 0.0)


def per_turn(values: Iterable[float | None], name: object) -> PerTurn:
    """One value a turn; None is "none".

    Raises:
        RewardError: A value is NaN or infinite; says of which turn, counted from 1.
    """
    listed = list(values)
    available = np.array([value is not None for value in listed], dtype=np.bool_)
    try:
        array = np.array([0.0 if value is None else value for value in listed], dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise RewardError(f"{name} gave what is no number: {error}") from None
    if not np.isfinite(array).all():
        turn = int(np.flatnonzero(~np.isfinite(array))[0])
        raise RewardError(f"{name} is {array[turn]} at turn {turn + 1}: it must be a finite number")
    return PerTurn(array, available)


def place(trajectory: Trajectory, turn: int) -> str:
    """How errors call a turn, counted from 0 here and from 1 there; -1 is the start."""
    return f"{f'turn {turn + 1}' if turn >= 0 else 'the start'} of episode {trajectory.key}"


def outcome_of(trajectory: Trajectory, asker: object = "outcome") -> Outcome:
    """What was verified; errors name who asks.

    Raises:
        RewardError: Nothing was.
    """
    outcome = trajectory.outcome
    if outcome is None or not outcome.available:
        raise RewardError(
            f"{asker}: episode {trajectory.key} has no outcome: leave out what is not `scored`"
        )
    return outcome


def returns(rewards: Floats, gamma: float) -> Floats:
    """The discounted return from each turn of a trajectory on; float64[T] of float64[T]."""
    found = rewards.copy()
    for turn in range(found.size - 2, -1, -1):
        found[turn] += gamma * found[turn + 1]
    return found


class Batch:
    """Trajectories laid end to end: turn `t` of trajectory `i` is row `offsets[i] + t`.

    Trajectories with the same `key.group` are a group, whatever their order.

    Args:
        trajectories: At least one turn each; scored, or rewards that read the outcome refuse them.
        scorer: For signals that ask a model.
        step: Of training, for schedules.
    """

    def __init__(
        self, trajectories: Sequence[Trajectory], scorer: Scorer | None = None, step: float = 0.0
    ) -> None:
        self.trajectories = trajectories
        self.scorer = scorer
        self.step = step
        self.lengths: Ints = np.array([len(t.turns) for t in trajectories], dtype=np.int64)
        self.offsets: Ints = np.concatenate([[0], np.cumsum(self.lengths)])
        self.count = int(self.offsets[-1])
        """Turns in all (N)."""
        self.owner: Ints = np.repeat(np.arange(len(trajectories)), self.lengths)
        """int64[N]: which trajectory each turn is of."""
        self.known: dict[Any, PerTurn] = {}
        """What was computed on this batch already, by expression."""
        for trajectory in trajectories:
            if not trajectory.turns:
                raise RewardError(f"episode {trajectory.key} has no turn to reward")

    @property
    def last(self) -> Ints:
        """int64[n]: the row of each trajectory's last turn."""
        return self.offsets[1:] - 1

    @property
    def outcomes(self) -> Floats:
        """float64[n]: each trajectory's verified score.

        Raises:
            RewardError: One has none.
        """
        return np.array([outcome_of(each).score for each in self.trajectories], dtype=np.float64)

    def groups(self) -> list[Ints]:
        """The trajectories of each group, by key; groups in order of appearance.

        So what is computed of a group is the same to the bit, in whatever order its episodes ended.
        """
        found: dict[Any, list[int]] = {}
        for i, trajectory in enumerate(self.trajectories):
            found.setdefault(trajectory.key.group, []).append(i)
        return [
            np.array(sorted(members, key=lambda i: self.trajectories[i].key), dtype=np.int64)
            for members in found.values()
        ]

    def rows(self, trajectory: int) -> slice:
        """The rows of a trajectory's turns."""
        return slice(int(self.offsets[trajectory]), int(self.offsets[trajectory + 1]))

    def each(
        self, function: Callable[[Trajectory], Iterable[float | None]], name: object
    ) -> PerTurn:
        """What `function` gives for the turns of each trajectory.

        Raises:
            RewardError: It gives too many, too few, or what is no finite number.
        """
        values: list[float | None] = []
        for trajectory in self.trajectories:
            given = list(function(trajectory))
            if len(given) != len(trajectory.turns):
                raise RewardError(
                    f"{name} gave {len(given)} values for the {len(trajectory.turns)} turns of "
                    f"episode {trajectory.key}"
                )
            values += given
        try:
            return per_turn(values, name)
        except RewardError:
            for trajectory in self.trajectories:  # once more, to say which
                per_turn(function(trajectory), f"episode {trajectory.key}: {name}")
            raise

    def at_last(self, values: Floats) -> PerTurn:
        """One value a trajectory (float64[n]), at its last turn; none before, or while it runs."""
        paid, available = np.zeros(self.count), np.zeros(self.count, dtype=np.bool_)
        ended = np.array([t.outcome is not RUNNING for t in self.trajectories], dtype=np.bool_)
        paid[self.last] = np.where(ended, values, 0.0)
        available[self.last] = ended
        return PerTurn(paid, available)

    def check_finite(self, values: Floats, name: object) -> None:
        """Refuse what overflowed.

        Raises:
            RewardError: A value (of float64[N]) is NaN or infinite; names part, episode and turn.
        """
        if np.isfinite(values).all():
            return
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise RewardError(
            f"{name} is {values[row]} at {self.place(row)}: its numbers are too large, clip before"
        )

    def place(self, row: int) -> str:
        """How errors call a row."""
        owner = int(self.owner[row])
        return place(self.trajectories[owner], row - int(self.offsets[owner]))

    def totals(self, values: PerTurn) -> Floats:
        """float64[n]: the sum over each trajectory's turns."""
        return np.add.reduceat(values.filled, self.offsets[:-1])

    def counts(self, values: PerTurn) -> Ints:
        """int64[n]: how many turns of each trajectory have a value."""
        return np.add.reduceat(values.available.astype(np.int64), self.offsets[:-1])
