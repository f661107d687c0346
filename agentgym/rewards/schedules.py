"""Weights that change during training: a number for every step."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from agentgym.rewards.arguments import call, check_number


class Schedule:
    """A weight for each training step; subclasses are frozen dataclasses."""

    name: ClassVar[str]
    """In expressions."""

    @abstractmethod
    def at(self, step: float) -> float:
        """The weight at a step (>= 0)."""

    def __str__(self) -> str:
        return call(self)


@dataclass(frozen=True)
class Linear(Schedule):
    """From `start` to `end` over `steps` steps, and `end` ever after."""

    name: ClassVar[str] = "linear"
    start: float
    end: float
    steps: float

    def __post_init__(self) -> None:
        check_number(self.name, "start", self.start)
        check_number(self.name, "end", self.end)
        check_number(self.name, "steps", self.steps, 0, above=True)

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
        check_number(self.name, "start", self.start)
        check_number(self.name, "steps", self.steps, 0, above=True)

    def at(self, step: float) -> float:
        """The weight at a step."""
        return self.start * math.exp(-max(step, 0.0) / self.steps)


SCHEDULES = {schedule.name: schedule for schedule in (Linear, Decay)}
"""By name."""
