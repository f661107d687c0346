"""Rewards at work: bound to what an environment provides, computed on trajectories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_number
from agentgym.rewards.batch import Batch, Bools, Floats
from agentgym.rewards.expression import Reward, Signal, Stage, Sum
from agentgym.types import EpisodeKey, Trajectory

if TYPE_CHECKING:
    from agentgym.rewards.scorer import Scorer

SOURCES = frozenset({"valid"})
"""Facts that every environment of this library records."""


class Scored(NamedTuple):
    """What a reward pays for one trajectory."""

    key: EpisodeKey
    per_turn: Floats
    """float64[T]: the sum of the parts."""
    parts: Mapping[str, Floats]
    """float64[T] each, by the text of the part; 0 where a part has no value."""
    available: Mapping[str, Bools]
    """bool[T] each: where a part has one."""
    outcome: float | None
    """As the environment verified it; None for an episode that is not scored."""

    @property
    def total(self) -> float:
        """What the whole trajectory is paid."""
        return float(self.per_turn.sum())


class Bound:
    """A reward and what it needs.

    Args:
        reward: The expression; of a value a turn the mean is paid.
        scorer: For signals that ask a model.
    """

    def __init__(self, reward: Reward, scorer: Scorer | None = None) -> None:
        self.reward = reward
        self.scorer = scorer
        self.parts = terms(reward)
        """What is computed: the terms of what is paid, by their text."""

    @property
    def stage(self) -> Stage:
        """When its values can be known."""
        return max(part.stage for part in self.parts.values())

    def score(self, trajectories: Sequence[Trajectory], step: float = 0.0) -> list[Scored]:
        """What it pays for each; those of one group must come together.

        Args:
            trajectories: Scored ones, of at least one turn.
            step: Of training, for schedules.

        Raises:
            RewardError: It cannot be computed.
        """
        if not trajectories:
            return []
        check_number("score", "step", step)
        batch = Batch(trajectories, self.scorer, step)
        with np.errstate(all="ignore"):  # what overflows is found below
            computed = {name: part.on(batch) for name, part in self.parts.items()}
            for name, each in computed.items():
                batch.check_finite(each.filled, name)
            paid = np.sum([each.filled for each in computed.values()], axis=0)
        batch.check_finite(paid, self.reward)
        found = []
        for i, trajectory in enumerate(trajectories):
            rows = batch.rows(i)
            parts = {name: each.filled[rows] for name, each in computed.items()}
            outcome = trajectory.outcome
            found.append(
                Scored(
                    trajectory.key,
                    paid[rows],
                    parts,
                    {name: each.available[rows] for name, each in computed.items()},
                    outcome.score if outcome is not None and outcome.available else None,
                )
            )
        return found


def bind(reward: Reward, provides: Any, scorer: Scorer | None = None) -> Bound:
    """Check that a reward can be computed, before the first episode.

    Args:
        reward: The expression.
        provides: What facts there will be: an environment, a run's manifest, or the names.
        scorer: For signals that ask a model.

    Raises:
        RewardError: A fact or the scorer is missing; names the part that needs it. Or this is no
            reward.
    """
    if not isinstance(reward, Reward):
        raise RewardError(f"{reward!r} is no reward: an expression in text goes through parse(...)")
    names = _provided(provides)
    for part in reward.walk():
        missing = (part.needs if isinstance(part, Signal) else frozenset()) - names - SOURCES
        if "scorer" in missing and scorer is not None:
            missing -= {"scorer"}
        if "scorer" in missing:
            raise RewardError(
                f"{part} asks a model: give a scorer (--scorer llamacpp, or bind(..., scorer=...))"
            )
        if missing:
            raise RewardError(
                f"{part} needs the fact {min(missing)!r}, which the environment does not provide; "
                f"it provides {', '.join(sorted(names)) or 'none'}"
            )
    return Bound(reward, scorer)


def _provided(source: Any) -> frozenset[str]:
    if isinstance(source, Mapping):
        return frozenset(source.get("provides", ()))
    found: Any = getattr(source, "provides", source)
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise RewardError(
            f"{source!r:.60} does not say which facts it provides: give an environment of this "
            "library, a run's manifest, or the facts' names"
        )
    return frozenset(found)


def terms(reward: Reward) -> dict[str, Reward]:
    """The terms of what is paid, by their text."""
    paid = reward.reduced()
    named: dict[str, Reward] = {}
    for term in paid.terms if isinstance(paid, Sum) else (paid,):
        name = str(term)
        named[name] = named[name] + term if name in named else term
    return named
