"""Rewards of stored runs: recomputed from the record, without replaying anything."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agentgym
from agentgym.rewards.bound import Bound, Scored
from agentgym.rewards.expression import Stage
from agentgym.store import Store
from agentgym.types import EpisodeKey, Trajectory

if TYPE_CHECKING:
    from agentgym.rewards.scorer import Scorer

logger = logging.getLogger(__name__)

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
        groups = _groups(keys)
        _warn_incomplete(groups, store)
        keys = [key for members in groups.values() for key in members]
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


def _warn_incomplete(groups: Mapping[Any, Sequence[EpisodeKey]], store: Store) -> None:
    whole = (store.manifest.get("plan") or {}).get("group", 1)
    few = sum(len(members) < whole for members in groups.values())
    if few:
        logger.warning(
            "%s: %d of %d groups are incomplete (fewer than %d scored episodes), and are set "
            "against what there is",
            store.path,
            few,
            len(groups),
            whole,
        )
    if all(len(members) == 1 for members in groups.values()):
        logger.warning("%s: every group is a single episode, set against nothing", store.path)


def record(
    store: Store, bound: Bound, scored: Iterable[Scored], *, name: str = "reward", step: float = 0.0
) -> Path:
    """Write `rewards/NAME.jsonl`, a line an episode, and `rewards/NAME.json`: what made it."""
    count = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal count
        for count, each in enumerate(scored, 1):  # noqa: B007 - it is read below
            yield row(each, bound.scorer)
        about.unlink(missing_ok=True)  # what is killed now leaves rows that nothing vouches for

    about = _about(store, name)
    path = store.write_rewards(name, rows())
    made = {
        "reward": str(bound.reward),
        "step": step,
        "scorer": None if bound.scorer is None else bound.scorer.weight_version,
        "agentgym": agentgym.__version__,
        "episodes": count,
    }
    about.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def recorded(store: Store, name: str) -> str | None:
    """The reward that `rewards/NAME.jsonl` holds; None if there is none, or nobody knows."""
    try:
        made = json.loads(_about(store, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(made["reward"]) if isinstance(made, dict) and "reward" in made else None


def _about(store: Store, name: str) -> Path:
    return store.path / "rewards" / f"{name}.json"


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
