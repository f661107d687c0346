"""Rewards of stored runs: recomputed from the record, without replaying anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from agentgym.rewards.bound import Bound, Scored
from agentgym.rewards.expression import Stage
from agentgym.store import Store
from agentgym.types import EpisodeKey, Trajectory

if TYPE_CHECKING:
    from agentgym.rewards.scorer import Scorer

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
    whole_groups = bound.stage is Stage.GROUP
    if whole_groups:
        keys = [key for members in _groups(keys).values() for key in members]
    gathered: list[Trajectory] = []
    for trajectory in store.episodes(keys):
        if ended is not None:
            ended(trajectory)
        if not trajectory.turns:
            continue
        complete = len(gathered) >= CHUNK
        if whole_groups:
            complete = bool(gathered) and gathered[0].key.group != trajectory.key.group
        if complete:
            yield from bound.score(gathered, step)
            gathered = []
        gathered.append(trajectory)
    yield from bound.score(gathered, step)


def _groups(keys: Sequence[EpisodeKey]) -> dict[Any, list[EpisodeKey]]:
    groups: dict[Any, list[EpisodeKey]] = {}
    for key in keys:
        groups.setdefault(key.group, []).append(key)
    return groups


def row(scored: Scored, scorer: Scorer | None = None) -> dict[str, Any]:
    """A line of `rewards/NAME.jsonl`: None where a part has no value.

    Args:
        scored: What an episode is paid.
        scorer: The one that was asked, whose weights are recorded.
    """
    return {
        **({} if scorer is None else {"scorer": scorer.weight_version}),
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
