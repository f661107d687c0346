"""Advantages, against numbers worked by hand from the papers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards.advantages import (
    anchor_states,
    bilevel_gae,
    dr_grpo,
    gigpo,
    grpo,
    mt_grpo,
    returns_to_go,
    rloo,
)
from agentgym.types import Completion, EpisodeKey, Task, Trajectory, Turn

near = 5e-7


def test_grpo_divides_by_torchs_deviation_unless_told_otherwise():
    assert grpo([10, 0, 10, 0]) == pytest.approx([0.866025, -0.866025] * 2, abs=near)
    assert grpo([10, 0, 10, 0], ddof=0) == pytest.approx([1, -1] * 2, abs=near)


def test_dr_grpo_only_centres():
    assert dr_grpo([10, 0, 10, 0]).tolist() == [5, -5, 5, -5]


def test_rloo_sets_each_against_the_others():
    expected = [0.666667, -0.666667, -0.666667, 0.666667]
    assert rloo([1, 0, 0, 1]) == pytest.approx(expected, abs=near)


def test_groups_are_told_apart_whatever_their_order():
    assert dr_grpo([1, 10, 3, 30, 7], ["a", "b", "a", "b", "c"]).tolist() == [-1, -10, 1, 10, 0]


def test_returns_to_go():
    assert returns_to_go([[0, 0, 10], [1]], 0.95)[0] == pytest.approx([9.025, 9.5, 10])
    credit = [0.6, 0.2, 0.45, 1.1]  # SPA's worked example
    expected = [2.306374, 1.72361, 1.539, 1.1]
    assert returns_to_go([credit], 0.99)[0] == pytest.approx(expected, abs=near)


# three trajectories meet in state "s": at 9.025, 0 and 9.5
REWARDS = [[0, 0, 10], [0], [0, 10]]
STATES = [["s", "u", "v"], ["s"], ["s", "w"]]


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("mean_norm", [2.85, -6.175, 3.325]),
        ("mean_std_norm", [0.532414, -1.153563, 0.621149]),
    ],
)
def test_gigpo_sets_turns_against_those_of_the_same_state(norm, expected):
    found = gigpo(REWARDS, STATES, norm=norm)
    assert [each[0] for each in found.step] == pytest.approx(expected, abs=near)
    assert [each[1:].tolist() for each in found.step] == [[0, 0], [], [0]]
    assert found.mean_anchor_group == 6 / 4
    for i, each in enumerate(found.advantages):
        assert each == pytest.approx(found.episode[i] + found.step[i])


@pytest.mark.parametrize(
    ("norm", "expected"), [("mean_norm", [5, -5]), ("mean_std_norm", [0.866025, -0.866025])]
)
def test_gigpo_takes_episodes_by_their_sum(norm, expected):
    found = gigpo([[10], [0], [4, 6], [0, 0]], [["a"], ["b"], ["c", "d"], ["e", "f"]], norm=norm)
    assert found.episode == pytest.approx(expected * 2, abs=near)
    assert found.mean_anchor_group == 1.0


def test_gigpo_gives_a_group_of_one_nothing():
    found = gigpo([[0, 7]], [["a", "b"]])
    assert found.advantages[0].tolist() == [0, 0]


def test_equal_states_of_different_groups_do_not_meet():
    found = gigpo([[1], [5]], [["s"], ["s"]], ["a", "b"])
    assert found.mean_anchor_group == 1.0


def played(*keys):
    turns = [Turn("", Completion(""), "", None, 0.0, {"state_key": key}) for key in keys[1:]]
    start = {} if keys[0] is None else {"state_key": keys[0]}
    return Trajectory(EpisodeKey("e", "t", 0), Task("t"), turns, facts=start)


def test_a_turn_is_taken_in_the_state_that_the_one_before_led_to():
    assert anchor_states(played("start", "a", "b")) == ["start", "a"]


def test_a_missing_state_is_named_with_its_turn():
    with pytest.raises(RewardError, match=r"where turn 1 led to.*'state_key'"):
        anchor_states(played("start", None, "b"))
    with pytest.raises(RewardError, match="where it started"):
        anchor_states(played(None, "b"))
    assert anchor_states(played("start", None)) == ["start"]  # where the last led is not asked


def test_a_turn_that_was_refused_and_says_nothing_leaves_the_state_as_it_was():
    refused = played("start", "a", None, None, "b")
    for turn in refused.turns[1:3]:
        turn.invalid, turn.facts = "parse", {}
    assert anchor_states(refused) == ["start", "a", "a", "a"]
    refused.turns[1].facts = {"state_key": "lost"}
    assert anchor_states(refused) == ["start", "a", "lost", "lost"]


def test_mt_grpo_pays_the_turn_part_up_to_the_result():
    found = mt_grpo([1, 0, 1, 0], [1, 1, 0, 0], [2] * 4, [0] * 4)
    first, later = np.array(found).T
    assert first == pytest.approx([1.732048, 0, 0, -1.732048], abs=near)
    assert later == pytest.approx([0.866024, -0.866024, 0.866024, -0.866024], abs=near)


def test_mt_grpo_without_a_result_takes_both_rewards_together():
    found = mt_grpo([1, 0], [1, 0], [3, 1], [None, 0])
    assert found[0] == pytest.approx(np.full(3, grpo([2, 0])[0]))
    assert found[1] == pytest.approx([2 * grpo([1, 0])[1]])


def test_bilevel_gae_as_in_ragens_own_test():
    rewards = [0, 0, 0, 0, 1] * 2
    found = bilevel_gae(rewards, np.arange(1, 11) / 10, [4, 9])
    assert found.turns == pytest.approx([1.45, 0])
    expected = [1.85, 1.75, 1.65, 1.55, 1.45, 0.4, 0.3, 0.2, 0.1, 0]
    assert found.tokens == pytest.approx(expected)


def test_a_turn_worth_nothing_is_a_turn():
    found = bilevel_gae([0, 0, 0, 1], [0.5] * 4, [1, 3], turn_gamma=1.0)
    assert found.turns == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: grpo([1, np.nan]), "grpo: number 1 is nan"),
        (lambda: grpo([[1, 2]]), "shape"),
        (lambda: grpo([1, 2], ddof=2), "ddof"),
        (lambda: rloo([1, 2], ["a"]), "2 trajectories, but 1 groups"),
        (lambda: returns_to_go([[1]], 1.5), "gamma is 1.5"),
        (lambda: returns_to_go([[1], [np.inf]]), "trajectory 1: number 0 is inf"),
        (lambda: gigpo([[1, 2]], [["a"]]), "one state for each turn"),
        (lambda: gigpo([[1]], [["a"]], norm="std"), "norm is"),
        (lambda: gigpo([[1]], [["a"]], weight=np.nan), "gigpo: weight is nan"),
        (lambda: mt_grpo([1], [1], [2], [1], weight=np.inf), "mt_grpo: weight is inf"),
        (lambda: mt_grpo([1], [1], [2], [2]), "has 2 turns, and none is 2"),
        (lambda: mt_grpo([1], [1, 2], [2], [1]), "one of everything"),
        (lambda: bilevel_gae([1], [1, 2], [0]), "1 rewards, but 2 values"),
        (lambda: bilevel_gae([1, 1], [1, 2], [0]), "turn_ends"),
        (lambda: bilevel_gae([1, 1], [1, 2], [1, 1]), "turn_ends"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(call, says):
    with pytest.raises(RewardError, match=says):
        call()


# ------------------------------------------------------------------------------- properties

scores = st.lists(st.floats(-100, 100, allow_nan=False).map(lambda x: round(x, 3)), max_size=10)
labelled = st.lists(
    st.tuples(st.floats(-100, 100, allow_nan=False), st.sampled_from("abc")), max_size=10
)


@given(labelled, st.sampled_from([grpo, dr_grpo, rloo]))
def test_each_group_balances_and_equals_are_treated_as_equals(pairs, method):
    found = method([score for score, _ in pairs], [group for _, group in pairs])
    for group in "abc":
        of_group = [i for i, (_, each) in enumerate(pairs) if each == group]
        assert found[of_group].sum() == pytest.approx(0, abs=1e-6)
    for i, one in enumerate(pairs):
        for j, other in enumerate(pairs):
            if one == other:
                assert found[i] == found[j]


@given(scores, st.randoms())
def test_order_does_not_matter(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    assert grpo([values[i] for i in order]) == pytest.approx(grpo(values)[order], abs=1e-6)


@given(scores)
def test_rloo_is_dr_grpo_times_a_factor(values):
    size = len(values)
    expected = dr_grpo(values) * (size / (size - 1) if size > 1 else 0)
    assert rloo(values) == pytest.approx(expected)


turns = st.lists(st.tuples(st.integers(-5, 5), st.sampled_from("xyz")), min_size=1, max_size=5)


@given(st.lists(turns, min_size=1, max_size=5))
def test_gigpos_step_part_balances_in_every_state(trajectories):
    found = gigpo(
        [[reward for reward, _ in each] for each in trajectories],
        [[state for _, state in each] for each in trajectories],
    )
    for state in "xyz":
        there = [
            found.step[i][t]
            for i, each in enumerate(trajectories)
            for t, (_, s) in enumerate(each)
            if s == state
        ]
        assert sum(there) == pytest.approx(0, abs=1e-9)
    assert found.mean_anchor_group >= 1.0


@given(st.lists(st.floats(-5, 5, allow_nan=False), min_size=1, max_size=12), st.data())
def test_undiscounted_the_first_token_of_each_turn_has_the_return_minus_its_value(rewards, data):
    size = len(rewards)
    values = data.draw(st.lists(st.floats(-5, 5), min_size=size, max_size=size))
    inner = data.draw(st.sets(st.integers(0, size - 1)))
    ends = sorted(inner | {size - 1})
    paid = np.zeros(size)
    paid[ends] = np.array(rewards)[ends]
    found = bilevel_gae(paid, values, ends, turn_gamma=1.0)
    expected = np.cumsum(paid[::-1])[::-1] - values
    assert found.tokens == pytest.approx(expected, abs=1e-9)
    assert found.returns == pytest.approx(expected + values, abs=1e-9)
