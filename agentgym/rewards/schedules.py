"""Weights that change during training: a number for every step."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

from agentgym.errors import RewardError


class Schedule:
    """A weight for each training step; subclasses are frozen dataclasses."""

    name: ClassVar[str]
    """In expressions."""

    @abstractmethod
    def at(self, step: float) -> float:
        """The weight at a step (>= 0)."""

    def __str__(self) -> str:
        given = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]  # every one is a dataclass
        ]
        return f"{self.name}({', '.join(given)})"


@dataclass(frozen=True)
class Linear(Schedule):
    """From `start` to `end` over `steps` steps, and `end` ever after."""

    name: ClassVar[str] = "linear"
    start: float
    end: float
    steps: float

    def __post_init__(self) -> None:
        _check(self, positive="steps")

    def at(self, step: float) -> float:
        """The weight at a step."""
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * max(step, 0.0) / self.steps


@dataclass(frozen=True)
class Decay(Schedule):
    """start * exp(-step / steps)."""

    name: ClassVar[str] = "decay"
    start: float
    steps: float

    def __post_init__(self) -> None:
        _check(self, positive="steps")

    def at(self, step: float) -> float:
        """The weight at a step."""
        return self.start * math.exp(-max(step, 0.0) / self.steps)


SCHEDULES = {schedule.name: schedule for schedule in (Linear, Decay)}
"""By name."""


def _check(schedule: Schedule, positive: str) -> None:
    for field in fields(schedule):  # type: ignore[arg-type]  # every one is a dataclass
        value = getattr(schedule, field.name)
        wanted = "a positive number" if field.name == positive else "a finite number"
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or (field.name == positive and value <= 0)
        ):
            raise RewardError(f"{schedule.name}: {field.name} is {value!r}: give {wanted}")
