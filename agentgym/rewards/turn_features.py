"""Features of turns, hashed into a vector: what estimators of progress look at."""

from __future__ import annotations

import re
import zlib

import numpy as np

from agentgym.errors import RewardError, did_you_mean
from agentgym.rewards.batch import Floats
from agentgym.rewards.reading import number
from agentgym.types import Observation, Trajectory

FEATURES = ("action", "words", "observation", "feedback")
"""What an estimator may look at, besides `fact:NAME`."""
_WORDS = 256
"""Most words of a text that are looked at."""


def check_features(features: tuple[str, ...]) -> None:
    """Refuse what cannot be looked at.

    Raises:
        RewardError: There is no such feature, or none, or one twice.
    """
    if not features or len(set(features)) != len(features):
        raise RewardError(f"features are {features!r}: give at least one, none twice")
    for feature in features:
        if feature not in FEATURES and not re.fullmatch(r"fact:\S+", feature):
            raise RewardError(
                f"there is no feature {feature!r}{did_you_mean(feature, FEATURES)}: there is "
                f"{', '.join(FEATURES)} and fact:NAME"
            )


def hashed_turns(trajectory: Trajectory, features: tuple[str, ...], dimension: int) -> Floats:
    """float64[T, D]: the features of each turn, hashed; those of a turn know nothing later."""
    design = np.zeros((len(trajectory.turns), dimension))
    for t, turn in enumerate(trajectory.turns):
        row = design[t]
        for feature in features:
            match feature:
                case "action":
                    _add(row, f"a:{turn.action}")
                case "words":
                    for word in _words(turn.action):
                        _add(row, f"w:{word}")
                case "observation":
                    for word in _words(turn.observation):
                        _add(row, f"o:{word}")
                case "feedback":
                    last = t + 1 == len(trajectory.turns)
                    seen = trajectory.final_observation if last else None
                    for word in _words(seen if last else trajectory.turns[t + 1].observation):
                        _add(row, f"f:{word}")
                case _:
                    value = number(trajectory, t, feature.partition(":")[2])
                    if value is not None:
                        _add(row, feature, value)
    return design


def _words(observation: Observation | None) -> list[str]:
    """Each once, in order."""
    if observation is None:
        return []
    text = observation if isinstance(observation, str) else str(observation.get("text", ""))
    return list(dict.fromkeys(re.findall(r"\w+", text.casefold())[:_WORDS]))


def _add(row: Floats, feature: str, value: float = 1.0) -> None:
    """Add a feature at its hashed place; the same in every process."""
    row[zlib.crc32(feature.encode("utf-8", "surrogatepass")) % row.size] += value
