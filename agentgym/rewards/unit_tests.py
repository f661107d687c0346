"""Which tests pass after each turn, one by one: partial credit for code.

The fact `tests` of a turn maps the id of each test to whether it passes; absent or None where none
were run, and the turn has no value. The ids are the same in all turns that are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_number
from agentgym.rewards.batch import Batch, Floats, PerTurn, place
from agentgym.rewards.expression import Signal, Stage
from agentgym.rewards.reading import BatchSignal
from agentgym.rewards.text import register
from agentgym.types import Trajectory


def results(trajectory: Trajectory, turn: int, signal: Signal) -> Mapping[str, bool] | None:
    """Which tests passed; None where none were run.

    Raises:
        RewardError: The fact is something else, or there is no test in it.
    """
    tests = trajectory.turns[turn].facts.get("tests")
    if tests is None:
        return None
    if not isinstance(tests, Mapping) or not tests or set(map(type, tests.values())) != {bool}:
        raise RewardError(
            f"{signal}: fact 'tests' of {place(trajectory, turn)} is {tests!r:.80}: give each "
            "test's id and whether it passed, for at least one test, or None where none were run"
        )
    return tests


@register
@dataclass(frozen=True)
class TestsPassed(Signal):
    """The share of tests that pass after the turn, all weighing the same; in [0, 1].

    Not potential-form: a level, not a change; take `potential` of a world's own fact for that.

    Source: pass ratios of SWE-Gym in arXiv 2510.01132.
    """

    __test__: ClassVar[bool] = False  # it is none of pytest's
    name: ClassVar[str] = "tests_passed"
    local: ClassVar[bool] = True
    facts: ClassVar[frozenset[str]] = frozenset({"tests"})

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """From the fact."""
        found: list[float | None] = []
        for turn in range(len(trajectory.turns)):
            tests = results(trajectory, turn, self)
            found.append(None if tests is None else sum(tests.values()) / len(tests))
        return found


@register
@dataclass(frozen=True)
class WeightedTests(BatchSignal):
    """sum over tests j of w_j * [j passes]: a test weighs more the rarer it is passed in the group.

    rho_j is the share of the group's turns with tests that pass test j, N_j = sum_k exp(-(rho_j -
    rho_k)^2 / (2 sigma^2)) how many tests are like it, and w_j = exp(-alpha * rho_j) / (N_j +
    eps). So a test that is there twice weighs half as much each time. At least 0, most for a turn
    that passes all. Weights differ between groups: not to be compared across tasks, nor logged as a
    metric. Not potential-form.

    Source: VeRPO (arXiv 2601.03525), from a detailed note on it. Its constants could not be
    verified: all defaults are our proposals. Its advantage is the preset `verpo`.

    Args:
        sigma: How near two pass rates are for tests to count as alike.
        alpha: How much more rare tests weigh.
        eps: Keeps the division safe (the paper's delta).
    """

    name: ClassVar[str] = "weighted_tests"
    facts: ClassVar[frozenset[str]] = frozenset({"tests"})
    causal: ClassVar[bool] = False
    sigma: float = 0.1
    alpha: float = 2.0
    eps: float = 1e-6

    def __post_init__(self) -> None:
        check_number(self.name, "sigma", self.sigma, 0, above=True)
        check_number(self.name, "alpha", self.alpha, 0, 100)
        check_number(self.name, "eps", self.eps, 0)

    @property
    def stage(self) -> Stage:
        """Pass rates are the group's."""
        return Stage.GROUP

    def weights(self, rates: Floats) -> Floats:
        """float64[J]: what tests weigh, by their pass rates."""
        different, which, counts = np.unique(rates, return_inverse=True, return_counts=True)
        apart = (different[:, None] - different[None, :]) / self.sigma
        alike = np.exp(-0.5 * np.square(apart)) @ counts
        found: Floats = (np.exp(-self.alpha * different) / (alike + self.eps))[which]
        return found

    def compute(self, batch: Batch) -> PerTurn:
        """From the pass rates of each group."""
        values, available = np.zeros(batch.count), np.zeros(batch.count, dtype=np.bool_)
        for members in batch.groups():
            rows, passed = self._matrix(batch, members.tolist())
            if rows:
                values[rows] = passed @ self.weights(passed.mean(axis=0))
                available[rows] = True
        return PerTurn(values, available)

    def _matrix(self, batch: Batch, members: Sequence[int]) -> tuple[list[int], Floats]:
        """The rows that ran tests, and float64[K, J]: which test passed in each."""
        rows: list[int] = []
        found: list[list[bool]] = []
        names: list[str] = []
        for i in members:
            trajectory = batch.trajectories[i]
            for turn in range(len(trajectory.turns)):
                tests = results(trajectory, turn, self)
                if tests is None:
                    continue
                names = names or sorted(tests)
                row = int(batch.offsets[i]) + turn
                if len(tests) != len(names) or not all(map(tests.__contains__, names)):
                    odd = min(tests.keys() ^ set(names))
                    raise RewardError(
                        f"{self}: the tests of {batch.place(row)} are not those of "
                        f"{batch.place(rows[0])} ({odd!r} is only in one): record every test "
                        "of the task in each turn that runs them, under the same ids"
                    )
                rows.append(row)
                found.append([tests[name] for name in names])
        return rows, np.array(found, dtype=np.float64)
