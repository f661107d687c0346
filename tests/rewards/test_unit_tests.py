"""Unit tests as partial credit, G-RA's and SPA's immediate rewards, and presets."""

from __future__ import annotations

import numpy as np
import pytest
from episodes import episode, paid, told, turn, unhurried
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards import PRESETS, SIGNALS, bind, parse
from agentgym.rewards.expression import Stage

NEAR = 5e-7
ROWS = ["1100", "1110", "1000", "1100"]


def results(row):
    return {f"test_{i}": mark == "1" for i, mark in enumerate(row)}


def ran(rows, sample=0, score=0.0):
    listed = [None if row is None else results(row) for row in rows]
    return told("tests", listed, score=score, sample=sample)


def group(rows):
    """Two samples of one task, so that turns are pooled over both."""
    return ran(rows[:3]), ran(rows[3:], sample=1)


rows_ = st.integers(1, 5).flatmap(
    lambda tests: st.lists(st.text("01", min_size=tests, max_size=tests), min_size=4, max_size=8)
)


def test_each_turn_is_worth_the_share_of_tests_it_passes():
    assert paid("tests_passed", ran([*ROWS, None])) == [0.5, 0.75, 0.25, 0.5, None]


def test_rare_tests_weigh_more_as_worked_by_hand():
    found = paid("weighted_tests", *group(ROWS))
    assert found == pytest.approx([0.343377, 0.924378, 0.129639, 0.343377], abs=NEAR)
    weights = parse("weighted_tests").weights(np.array([1, 0.75, 0.25, 0]))
    assert weights == pytest.approx([0.129639, 0.213738, 0.581001, 0.957911], abs=NEAR)
    alike = np.exp(-2 * np.array([1, 0.75, 0.25, 0])) / weights - 1e-6  # N of each
    assert alike == pytest.approx([1.043937, 1.043941, 1.043941, 1.043937], abs=NEAR)


def test_the_advantage_of_weighted_tests_is_centred_over_all_turns():
    found = paid("weighted_tests.group(center())", *group(ROWS))
    assert found == pytest.approx([-0.091816, 0.489185, -0.305554, -0.091816], abs=NEAR)
    assert sum(found) == pytest.approx(0, abs=1e-12)


def test_copies_of_a_test_hardly_change_the_weighted_reward_but_move_the_plain_share():
    copied = [row + row[0] * 2 for row in ROWS]
    weighted = paid("weighted_tests", *group(copied))
    assert weighted == pytest.approx([0.330525, 0.911526, 0.133382, 0.330525], abs=NEAR)
    plain = paid("tests_passed", *group(copied))
    assert plain == pytest.approx([0.666667, 0.833333, 0.5, 0.666667], abs=NEAR)


@unhurried
@given(rows=rows_, times=st.integers(1, 6))
def test_copies_of_all_tests_change_nothing(rows, times):
    once = paid("weighted_tests(eps=0)", *group(rows))
    copied = paid("weighted_tests(eps=0)", *group([row * times for row in rows]))
    assert copied == pytest.approx(once, abs=1e-9)


@unhurried
@given(rows=rows_)
def test_rewards_are_at_least_0_and_a_turn_that_passes_all_has_the_most(rows):
    found = paid("weighted_tests", *group(["1" * len(rows[0]), *rows[1:]]))
    assert min(found) >= 0
    assert found[0] == pytest.approx(max(found))


@unhurried
@given(rates=st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True))
def test_a_rarer_test_weighs_more_where_none_is_like_it(rates):
    spread = np.linspace(0, 1, len(rates))
    weights = parse("weighted_tests(sigma=0.01)").weights(spread)
    assert (np.diff(weights) < 0).all()


@unhurried
@given(rows=rows_)
def test_the_order_of_the_group_does_not_matter(rows):
    one, two = group(rows)
    there, back = paid("weighted_tests", one, two), paid("weighted_tests", two, one)
    assert back == pytest.approx(there[3:] + there[:3], abs=1e-12)


def test_groups_are_by_themselves_and_turns_without_tests_count_for_nothing():
    assert parse("weighted_tests").stage is Stage.GROUP
    one, two = ran([*ROWS[:3], None]), ran([None, ROWS[3]], sample=1)
    found = paid("weighted_tests", one, two)
    assert found[3:5] == [None, None]
    assert [x for x in found if x is not None] == paid("weighted_tests", *group(ROWS))
    assert paid("weighted_tests", ran([None])) == [None]


@pytest.mark.parametrize("tests", [{}, {"a": 1}, {"a": None}, ["a"], {"a": 0.5}])
def test_no_tests_or_odd_results_are_an_error_that_names_signal_turn_and_remedy(tests):
    for reward in ("tests_passed", "weighted_tests"):
        with pytest.raises(RewardError, match=rf"{reward}: fact 'tests' of turn 1 .*: give each"):
            paid(reward, episode([turn(tests=tests)]))


def test_tests_that_change_their_ids_are_an_error():
    with pytest.raises(RewardError, match=r"turn 1 of .*1 are not those of turn 1 .*'test_2'"):
        paid("weighted_tests", ran(["11"]), ran(["111"], sample=1))


def test_a_discounted_pass_is_worth_less_the_later_it_comes():
    assert paid("discounted_pass(0.5)", ran(["1"] * 3, score=1.0)) == [None, None, 0.125]
    assert paid("discounted_pass(0.5)", ran(["1"] * 3, score=0.5)) == [None, None, 0]


def test_verpo_adds_the_trajectorys_advantage_to_each_of_its_turns():
    one, two = ran(ROWS[:3], score=1.0), ran(ROWS[3:], sample=1)
    turns = paid("weighted_tests.group(center())", one, two)
    half = 0.99**3 / 2
    expected = [
        value + share for value, share in zip(turns, [half, half, half, -half], strict=True)
    ]
    assert paid("verpo", one, two) == pytest.approx(expected)


# -------------------------------------------------------------------- immediate rewards, and gates


def immediate(score):
    return episode([turn(x=x) for x in (0.1, 0.1, 0.0, 0.1, 0.1)], score)


def total(reward, seen):
    [scored] = bind(parse(reward), {"x"}).score([seen])
    return scored.total


@pytest.mark.parametrize(
    ("score", "gated", "open_"), [(0, 0, 0.4), (0.25, 0.25, 0.65), (0.5, 0.9, 0.9), (1, 1.4, 1.4)]
)
def test_the_gate_of_the_paper_lets_sums_through_from_the_threshold_on(score, gated, open_):
    seen = immediate(float(score))
    summed = "outcome + fact('x').sum()"
    assert total(f"{summed}.when(outcome >= 0.5)", seen) == pytest.approx(gated)
    assert total(summed, seen) == pytest.approx(open_)


def test_the_gate_by_default_pays_a_fifth_of_the_mean():
    reward = "outcome + 0.2 * fact('x').mean().when(outcome >= 0.5)"
    assert total(reward, immediate(0.25)) == 0.25
    assert total(reward, immediate(1.0)) == pytest.approx(1.016)
    assert paid(reward, immediate(0.5)) == pytest.approx([0.004, 0.004, 0, 0.004, 0.504])
    seen = immediate(0.5)
    seen.turns[2] = turn()
    assert total(reward, seen) == pytest.approx(0.52)


invalids = st.lists(st.sampled_from([None, "parse", "inadmissible"]), min_size=1, max_size=9)


@unhurried
@given(one=invalids, two=invalids, rungs=st.lists(
    st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=2, unique=True))  # fmt: skip
def test_a_higher_rung_always_beats_a_lower_one(one, two, rungs):
    low, high = sorted(rungs)
    for preset in ("gra", "dra"):
        below = total(preset, episode([turn(x) for x in one], low))
        assert total(preset, episode([turn(x) for x in two], high)) > below


@unhurried
@given(invalid=invalids, score=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_below_the_gate_the_total_is_the_outcome_and_opening_it_never_costs(invalid, score):
    seen = episode([turn(x) for x in invalid], score)
    gated = total("gra", seen)
    assert gated == score if score < 0.5 else gated >= score
    assert total("dra", seen) >= gated
    for limit, same in ((-1, "dra"), (2, "outcome")):
        reward = f"outcome + 0.1 * (format + tool_ok).mean().when(outcome >= {limit})"
        assert total(reward, seen) == pytest.approx(total(same, seen))


def test_actions_that_were_not_carried_out_are_0_or_minus_1():
    seen = episode([turn(), turn("parse"), turn("inadmissible")])
    assert paid("tool_ok", seen) == [1, 0, 0]
    assert paid("invalid_penalty", seen) == [0, -1, -1]
    assert paid("format", seen) == [1, 0, 1]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_read_comes_back_from_its_text_and_is_no_signals_name(name):
    assert name not in SIGNALS
    assert parse(str(parse(name))) == parse(name)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_says_where_it_comes_from(name):
    of_the_environment = SIGNALS[name].__module__ == "agentgym.rewards.facts"
    assert of_the_environment or "Source: " in SIGNALS[name].__doc__
