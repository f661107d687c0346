"""Advantages as trainers take them: plain functions of numbers, on groups of any sizes.

`groups` says of each trajectory which group it is of (anything hashable: `key.group`); None is one
group. A group of one, and one in which nothing differs, gives 0 in all of them. What a trainer of
another library computes itself should not be computed here as well: normalising twice is the
commonest mistake there is.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_choice, check_number
from agentgym.rewards.batch import Bools, Floats, Ints, returns
from agentgym.rewards.groups import check_std, leave_one_out, standardise
from agentgym.types import Trajectory


def grpo(
    scores: npt.ArrayLike,
    groups: Sequence[Hashable] | None = None,
    *,
    ddof: int = 1,
    eps: float = 1e-6,
) -> Floats:
    """(score - mean) / (std + eps) within each group.

    Source: DeepSeekMath (arXiv 2402.03300), outcome supervision; `ddof=1` is `torch.std`, which the
    released trainers use.

    Args:
        scores: float64[n], one a trajectory.
        groups: Of each trajectory.
        ddof: 0 as `numpy.std`, 1 as `torch.std`.
        eps: Added to the standard deviation.

    Returns:
        float64[n].

    Raises:
        RewardError: A score is not finite, or `groups` is of another length.
    """
    check_std("grpo", ddof, eps)
    found = _scores(scores, "grpo")
    for members in _members(groups, found.size, "grpo"):
        found[members] = standardise(found[members], ddof=ddof, eps=eps)
    return found


def dr_grpo(scores: npt.ArrayLike, groups: Sequence[Hashable] | None = None) -> Floats:
    """Score - mean within each group; float64[n] of float64[n].

    Source: Dr.GRPO (arXiv 2503.20783): dividing by the standard deviation favours tasks that are
    almost always, or almost never, solved. Its other half, a loss that is not divided by length,
    is the trainer's.

    Raises:
        RewardError: A score is not finite, or `groups` is of another length.
    """
    found = _scores(scores, "dr_grpo")
    for members in _members(groups, found.size, "dr_grpo"):
        found[members] = standardise(found[members], std=False)
    return found


def rloo(scores: npt.ArrayLike, groups: Sequence[Hashable] | None = None) -> Floats:
    """Score - mean of the others of the group; float64[n] of float64[n].

    Source: RLOO (arXiv 2402.14740).

    Raises:
        RewardError: A score is not finite, or `groups` is of another length.
    """
    found = _scores(scores, "rloo")
    for members in _members(groups, found.size, "rloo"):
        found[members] = leave_one_out(found[members])
    return found


def returns_to_go(rewards: Sequence[npt.ArrayLike], gamma: float = 1.0) -> list[Floats]:
    """The discounted return from each turn on: sum_{k>=t} gamma^(k-t) r_k.

    Args:
        rewards: float64[T_i] of each trajectory, per turn.
        gamma: Discount a turn, in [0, 1].

    Returns:
        float64[T_i] of each.

    Raises:
        RewardError: A reward is not finite, or gamma not in [0, 1].
    """
    _check_unit("returns_to_go", gamma=gamma)
    return [returns(each, gamma) for each in _turns(rewards, "returns_to_go")]


class GiGPO(NamedTuple):
    """What `gigpo` finds."""

    advantages: list[Floats]
    """float64[T_i] of each trajectory: episode + weight * step."""
    episode: Floats
    """float64[n]"""
    step: list[Floats]
    """float64[T_i] of each trajectory."""
    mean_anchor_group: float
    """Turns that share a state, on average. At 1.0 no state was ever met twice, and the step part
    is 0 throughout: look for a counter or the history in the state."""


def gigpo(
    rewards: Sequence[npt.ArrayLike],
    states: Sequence[Sequence[Hashable]],
    groups: Sequence[Hashable] | None = None,
    *,
    gamma: float = 0.95,
    weight: float = 1.0,
    norm: Literal["mean_norm", "mean_std_norm"] = "mean_norm",
    ddof: int = 1,
    eps: float = 1e-6,
) -> GiGPO:
    """Group-in-group advantages: of the episode, and of each turn among those in its state.

    Source: GiGPO (arXiv 2505.10978). Of the released code (verl-agent) this takes the episode part
    with statistics over trajectories (`compute_mean_std_cross_steps=False`, the paper's); there, a
    group of one keeps its score in the episode part and gets 0 in the step part, here 0 in both.

    Args:
        rewards: float64[T_i] of each trajectory, per turn, the outcome in the last.
        states: The state in which each turn was taken, without history or turn counter
            (`anchor_states`).
        groups: Of each trajectory; equal states of different groups do not meet.
        gamma: Discount of the step returns, a turn.
        weight: Of the step part.
        norm: Subtract the mean only, or divide by the standard deviation as well.
        ddof: 0 as `numpy.std`, 1 as `torch.std`.
        eps: Added to the standard deviation.

    Raises:
        RewardError: Lengths differ, a reward is not finite, or a parameter is out of range.
    """
    check_std("gigpo", ddof, eps)
    check_number("gigpo", "weight", weight)
    check_choice("gigpo", "norm", norm, ("mean_norm", "mean_std_norm"))
    divide = norm == "mean_std_norm"
    steps = returns_to_go(rewards, gamma)
    episode = np.array([each.sum() for each in _turns(rewards, "gigpo")], dtype=np.float64)
    if [len(each) for each in states] != [each.size for each in steps]:
        raise RewardError("gigpo: give one state for each turn of each trajectory")
    anchors: dict[Hashable, list[tuple[int, int]]] = {}
    for number, members in enumerate(_members(groups, len(steps), "gigpo")):
        episode[members] = standardise(episode[members], ddof=ddof, eps=eps, std=divide)
        for i in members:
            for turn, state in enumerate(states[i]):
                anchors.setdefault((number, state), []).append((int(i), turn))
    for places in anchors.values():
        pool = np.array([steps[i][turn] for i, turn in places])
        values = standardise(pool, ddof=ddof, eps=eps, std=divide)
        for (i, turn), value in zip(places, values, strict=True):
            steps[i][turn] = value
    turns = sum(each.size for each in steps)
    return GiGPO(
        [a + weight * each for a, each in zip(episode, steps, strict=True)],
        episode,
        steps,
        turns / len(anchors) if anchors else 0.0,
    )


def anchor_states(trajectory: Trajectory) -> list[str]:
    """The state in which each turn was taken, by the fact `state_key`; T strings.

    The fact says where a turn led, so turn `t` was taken in that of turn `t - 1`, and the first in
    that of the start. A turn that could not be carried out and does not say has left it as it was.

    Raises:
        RewardError: A turn has none.
    """
    keys = [trajectory.facts.get("state_key")]
    for turn in trajectory.turns[:-1]:
        refused = turn.invalid is not None and "state_key" not in turn.facts
        keys.append(keys[-1] if refused else turn.facts.get("state_key"))
    for number, key in enumerate(keys):
        if key is None:
            where = f"turn {number} led to" if number else "it started"
            raise RewardError(
                f"gigpo: episode {trajectory.key} does not say where {where}: it needs the fact "
                "'state_key' at the start and at every turn; give an environment that provides it"
            )
    return list(map(str, keys[: len(trajectory.turns)]))


def mt_grpo(
    outcomes: npt.ArrayLike,
    turn_rewards: npt.ArrayLike,
    lengths: Sequence[int],
    result_turns: Sequence[int | None],
    groups: Sequence[Hashable] | None = None,
    *,
    weight: float = 1.0,
    ddof: int = 1,
    eps: float = 1e-6,
) -> list[Floats]:
    """Two normalised advantages: the outcome's for all turns, the turn reward's up to its result.

    Turns up to the one that got a tool's result have A_outcome + weight * A_turn, later ones
    A_outcome. A trajectory without a result has the advantage of outcome + turn reward throughout.

    Source: MT-GRPO (arXiv 2505.11821), `_assign_advantages` of the released trainer ("aae").

    Args:
        outcomes: float64[n].
        turn_rewards: float64[n], what the tool call was worth.
        lengths: Turns of each trajectory (T_i).
        result_turns: The turn, from 0, that got the first tool result; None where none did.
        groups: Of each trajectory.
        weight: Of the turn part.
        ddof: 0 as `numpy.std`, 1 as `torch.std`.
        eps: Added to the standard deviation.

    Returns:
        float64[T_i] of each trajectory.

    Raises:
        RewardError: Lengths differ, a number is not finite, or a result's turn is not there.
    """
    check_number("mt_grpo", "weight", weight)
    final, turn = _scores(outcomes, "mt_grpo"), _scores(turn_rewards, "mt_grpo")
    if not final.size == turn.size == len(lengths) == len(result_turns):
        raise RewardError("mt_grpo: give one of everything for each trajectory")
    outcome, both = (grpo(x, groups, ddof=ddof, eps=eps) for x in (final, final + turn))
    of_turn = grpo(turn, groups, ddof=ddof, eps=eps)
    found = []
    for i, (length, result) in enumerate(zip(lengths, result_turns, strict=True)):
        if result is None:
            found.append(np.full(length, both[i]))
            continue
        if not 0 <= result < length:
            raise RewardError(f"mt_grpo: trajectory {i} has {length} turns, and none is {result}")
        advantages = np.full(length, outcome[i])
        advantages[: result + 1] += weight * of_turn[i]
        found.append(advantages)
    return found


class BiLevelGAE(NamedTuple):
    """What `bilevel_gae` finds."""

    turns: Floats
    """float64[T]: the advantage of each turn."""
    tokens: Floats
    """float64[N]: of each token, not whitened."""
    returns: Floats
    """float64[N]: what values are fitted to: token advantage + value."""


def bilevel_gae(
    rewards: npt.ArrayLike,
    values: npt.ArrayLike,
    turn_ends: Sequence[int],
    *,
    turn_gamma: float = 0.95,
    gamma: float = 1.0,
    lam: float = 1.0,
) -> BiLevelGAE:
    """Generalised advantages of turns, then of the tokens within each, for one trajectory.

    A turn's last token gets the turn's advantage; before it, advantages run back token by token.

    Source: RAGEN (arXiv 2504.20073), authors' code (`compute_bi_level_gae_advantage_return`).
    There, turns end where the reward is not 0, so that a turn worth 0 is no turn; here they end
    where `turn_ends` says.

    Args:
        rewards: float64[N] of the tokens that the model sampled, nothing in between; within a turn
            they are paid at its end.
        values: float64[N], by the critic.
        turn_ends: T places in 0..N-1, ascending: each turn's last token.
        turn_gamma: Discount from turn to turn.
        gamma: Discount from token to token.
        lam: Of both.

    Raises:
        RewardError: Lengths differ, a number is not finite, or a place or parameter is impossible.
    """
    _check_unit("bilevel_gae", turn_gamma=turn_gamma, gamma=gamma, lam=lam)
    paid, worth = _scores(rewards, "bilevel_gae"), _scores(values, "bilevel_gae")
    ends = [int(end) for end in turn_ends]
    if paid.size != worth.size:
        raise RewardError(f"bilevel_gae: {paid.size} rewards, but {worth.size} values")
    if ends != sorted(set(ends)) or (ends and ends[0] < 0) or ends[-1:] != [paid.size - 1]:
        raise RewardError(
            f"bilevel_gae: turn_ends {ends[:8]} must ascend, and the last be the last token "
            f"({paid.size - 1})"
        )
    starts = [0, *(end + 1 for end in ends[:-1])]
    turns, tokens = np.zeros(len(ends)), np.zeros(paid.size)
    ahead = value_ahead = 0.0
    for turn in range(len(ends) - 1, -1, -1):
        start, end = starts[turn], ends[turn]
        delta = paid[start : end + 1].sum() + turn_gamma * value_ahead - worth[end]
        ahead = turns[turn] = tokens[end] = delta + turn_gamma * lam * ahead
        value_ahead = worth[end]
        running = ahead
        for token in range(end - 1, start - 1, -1):
            running = gamma * worth[token + 1] - worth[token] + gamma * lam * running
            tokens[token] = running
    return BiLevelGAE(turns, tokens, tokens + worth)


# -------------------------------------------------------------------------------------- inputs


def _scores(values: npt.ArrayLike, name: str) -> Floats:
    """A copy, checked."""
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1:
        raise RewardError(f"{name}: give one number each, not an array of shape {array.shape}")
    wrong: Bools = ~np.isfinite(array)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise RewardError(f"{name}: number {place} is {array[place]}: give finite numbers")
    return array


def _turns(rewards: Sequence[npt.ArrayLike], name: str) -> list[Floats]:
    return [_scores(each, f"{name}: trajectory {i}") for i, each in enumerate(rewards)]


def _members(groups: Sequence[Hashable] | None, count: int, name: str) -> list[Ints]:
    """int64[G] for each group: its trajectories."""
    if groups is None:
        return [np.arange(count, dtype=np.int64)]
    if len(groups) != count:
        raise RewardError(f"{name}: {count} trajectories, but {len(groups)} groups: give one each")
    found: dict[Hashable, list[int]] = {}
    for i, group in enumerate(groups):
        found.setdefault(group, []).append(i)
    return [np.array(members, dtype=np.int64) for members in found.values()]


def _check_unit(name: str, **parameters: float) -> None:
    for parameter, value in parameters.items():
        check_number(name, parameter, value, 0, 1)
