"""Rewards of stored runs: recomputed from the record, without replaying anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agentgym.rewards.bound import Bound, Scored
from agentgym.rewards.expression import Stage
from agentgym.store import Store
from agentgym.types import EpisodeKey, Trajectory

CHUNK = 64
"""Episodes computed at once, where they need not be whole groups."""


def rescore(
    store: Store,
    bound: Bound,
    *,
    step: float = 0.0,
    ended: Callable[[Trajectory], object] | None = None,
) -> Iterator[Scored]:
    """What a reward pays for each scored episode of a run, a few episodes in memory at a time.

    Args:
        store: The run.
        bound: The reward, bound to the run's manifest.
        step: Of training, for schedules.
        ended: Called with each episode that was read.

    Raises:
        RewardError: It cannot be computed; says for which episode.
    """
    keys = [key for key, (_, head) in store.heads().items() if head["scored"]]
    for chunk in _chunks(keys, bound.stage):
        trajectories = []
        for trajectory in store.episodes(chunk):
            if trajectory.turns:
                trajectories.append(trajectory)
            if ended is not None:
                ended(trajectory)
        yield from bound.score(trajectories, step)


def _chunks(keys: Sequence[EpisodeKey], stage: Stage) -> Iterator[Sequence[EpisodeKey]]:
    """Keys that are computed together: whole groups, where the reward needs them."""
    if stage is not Stage.GROUP:
        yield from (keys[i : i + CHUNK] for i in range(0, len(keys), CHUNK))
        return
    groups: dict[Any, list[EpisodeKey]] = {}
    for key in keys:
        groups.setdefault(key.group, []).append(key)
    yield from groups.values()


def row(scored: Scored) -> dict[str, Any]:
    """A line of `rewards/NAME.jsonl`: None where a part has no value."""
    return {
        "key": tuple(scored.key),
        "outcome": scored.outcome,
        "total": scored.total,
        "per_turn": scored.per_turn,
        "parts": {
            name: [
                float(value) if there else None
                for value, there in zip(values, scored.available[name], strict=True)
            ]
            for name, values in scored.parts.items()
        },
    }
