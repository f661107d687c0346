"""Rewards of episodes as they are collected: each as soon as it can be known."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Any

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_number
from agentgym.rewards.bound import Bound, Scored
from agentgym.rewards.expression import Stage
from agentgym.types import Trajectory

logger = logging.getLogger(__name__)


async def rewarded(
    episodes: AsyncIterable[Trajectory], bound: Bound, *, group: int = 1, step: float = 0.0
) -> AsyncIterator[tuple[Trajectory, Scored | None]]:
    """Pair episodes with what a reward pays for them.

    A reward that needs groups is computed when all `group` samples of a task have ended, whatever
    else has ended meanwhile; any other at the end of each episode. What is not scored (an
    infrastructure fault) has no reward, and is not counted in its group.

    Args:
        episodes: As `Collector.stream` yields them; it is closed with this.
        bound: The reward, bound to the environment.
        group: Samples of each task and seed.
        step: Of training, for schedules.

    Yields:
        Each episode, once, and its rewards; None where it has none.

    Raises:
        RewardError: The reward cannot be computed.
    """
    check_number("rewarded", "group", group, 1, whole=True)
    if bound.stage is Stage.GROUP and group < 2:
        raise RewardError(
            f"{bound.reward} sets each episode against its group, but group is {group!r}: give "
            "the number of samples of each task, as told to episode_keys, at least 2"
        )
    together = group if bound.stage is Stage.GROUP else 1
    waiting: dict[Any, list[Trajectory]] = {}
    try:
        async for trajectory in episodes:
            gathered = waiting.setdefault(trajectory.key.group, [])
            gathered.append(trajectory)
            if len(gathered) == together:
                for pair in _scored(waiting.pop(trajectory.key.group), bound, step):
                    yield pair
    finally:
        if isinstance(episodes, AsyncGenerator):
            await episodes.aclose()
    if waiting and together > 1:
        logger.warning(
            "%d groups have fewer than %d samples, and are set against what there is",
            len(waiting),
            together,
        )
    for gathered in waiting.values():  # groups that were not played to their last sample
        for pair in _scored(gathered, bound, step):
            yield pair


def _scored(
    gathered: list[Trajectory], bound: Bound, step: float
) -> list[tuple[Trajectory, Scored | None]]:
    usable = [each for each in gathered if each.scored and each.turns]
    found = {each.key: each for each in bound.score(usable, step)}
    return [(each, found.get(each.key)) for each in gathered]
