"""Rewards paid while the episode runs: causal ones, by a wrapper."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, SupportsFloat

import gymnasium as gym

from agentgym.errors import ResetNeeded, RewardError
from agentgym.rewards.batch import RUNNING
from agentgym.rewards.bound import Scored, bind
from agentgym.rewards.expression import Reward, Signal, Stage
from agentgym.rewards.operations import Mean
from agentgym.rewards.text import parse
from agentgym.types import (
    Completion,
    EpisodeKey,
    Observation,
    Outcome,
    Stop,
    Task,
    Trajectory,
    Turn,
)

if TYPE_CHECKING:
    from agentgym.rewards.scorer import Scorer


class ShapedReward(
    gym.Wrapper[Observation, str, Observation, str], gym.utils.RecordConstructorArgs
):
    """Pays a reward turn by turn: `step` returns what the expression says of the turn.

    `info["signals"]` holds each part by its text, None where it has no value; their sum is what is
    paid. The outcome is paid if `outcome` is a term, and stays in `info["outcome"]` in any case;
    one that could not be verified is not paid.

    Args:
        env: An environment of this library.
        reward: A causal expression, or its text.
        scorer: For signals that ask a model.

    Raises:
        RewardError: A part of it cannot be known when its turn ends, or the environment lacks what
            it needs.
    """

    def __init__(
        self,
        env: gym.Env[Observation, str],
        reward: Reward | str,
        scorer: Scorer | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, _disable_deepcopy=True, reward=reward, scorer=scorer
        )
        super().__init__(env)
        self.reward = parse(reward) if isinstance(reward, str) else reward
        self.training_step = 0.0
        """Of training, for schedules: whoever trains sets it."""
        self._bound = bind(self.reward, env.unwrapped, scorer)
        for part in self._bound.parts.values():
            _check_causal(part)
        signals = [each for part in self._bound.parts.values() for each in part.walk()]
        self._local = all(each.local for each in signals if isinstance(each, Signal))
        self._so_far: Trajectory | None = None
        self._shown: Observation = ""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode."""
        self._shown, info = self.env.reset(seed=seed, options=options)
        task = info.get("task")
        task = task if isinstance(task, Task) else Task("")
        self._so_far = Trajectory(
            EpisodeKey(task.env, task.id, seed or 0), task, facts=info.get("facts", {})
        )
        return self._shown, info

    def step(self, action: str) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a turn, and be paid what the expression says of it.

        Raises:
            ResetNeeded: No episode is running.
            RewardError: The reward cannot be computed.
        """
        if self._so_far is None:
            raise ResetNeeded("step() without a running episode: call reset() first")
        shown, paid, terminated, truncated, info = self.env.step(action)
        trajectory = self._so_far
        trajectory.turns.append(
            Turn(
                observation=self._shown,
                completion=Completion(str(action)),
                action=info.get("action", action),
                invalid=info.get("invalid"),
                reward=float(paid),
                facts=info.get("facts", {}),
            )
        )
        self._shown = trajectory.final_observation = shown
        outcome = info.get("outcome")
        known = isinstance(outcome, Outcome) and outcome.available
        trajectory.outcome = outcome if known else RUNNING
        if terminated or truncated:
            trajectory.stop = Stop.TERMINATED if terminated else Stop.TURNS
        scored = self._score(trajectory)
        signals = {
            name: float(values[-1]) if scored.available[name][-1] else None
            for name, values in scored.parts.items()
        }
        return (
            shown,
            float(scored.per_turn[-1]),
            terminated,
            truncated,
            {**info, "signals": signals},
        )

    def _score(self, so_far: Trajectory) -> Scored:
        """What is paid so far; of the last turn alone, where no part looks further back."""
        if self._local:
            last = dataclasses.replace(so_far, turns=so_far.turns[-1:])
            with contextlib.suppress(RewardError):  # which is raised below, and names the turn
                return self._bound.score([last], self.training_step)[0]
        return self._bound.score([so_far], self.training_step)[0]


def _check_causal(part: Reward) -> None:
    late = [
        each
        for each in part.walk()
        if each.stage > max((child.stage for child in each.children), default=Stage.CAUSAL)
        or getattr(each, "earliest", Stage.CAUSAL) is each.stage > Stage.CAUSAL
    ]
    if not late:
        return
    blamed = next((each for each in late if not isinstance(each, Mean)), late[0])
    if isinstance(blamed, Mean):
        raise RewardError(
            f"{blamed} is not known while the episode runs, for nobody knows yet how many turns it "
            f"will have: say {blamed.called('over', 'max_turns')}, or {blamed.called('sum')}"
        )
    when = "all of its group have ended" if blamed.stage is Stage.GROUP else "the episode ends"
    raise RewardError(
        f"{blamed} is not known before {when}, so it cannot be paid turn by turn: leave it to the "
        "collector or `agentgym score`"
    )
