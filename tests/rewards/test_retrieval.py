"""What a search showed, against what was relevant."""

from __future__ import annotations

import math

import pytest
from episodes import episode, paid, told, turn, unhurried
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards import bind, parse
from agentgym.rewards.expression import Stage

NEAR = 5e-7
ids = st.lists(st.sampled_from("abcdefg"), max_size=10)
gold = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=4, unique=True)


def value(shown, relevant, arguments=""):
    [found] = paid(f"ndcg{arguments}", episode([turn(shown=shown, relevant=relevant)]))
    return found


def test_one_miss_between_two_hits():
    assert value(["a", "x", "b"], ["a", "b"]) == pytest.approx(0.919721, abs=NEAR)


def test_a_document_shown_twice_counts_once():
    assert value(["a", "a"], ["a"]) == 1.0
    counted_twice = value(["a", "b"], ["a", "b"]) * (1 + 1 / math.log2(3))  # over a gain of 1
    assert counted_twice == pytest.approx(1.630930, abs=NEAR)  # as the released code gives


def test_vrags_total_is_a_sum_of_three():
    seen = episode([turn(shown=["a", "x", "b"], relevant=["a", "b"], judge=1.0)])
    reward = parse("0.7 * fact('judge') + 0.1 * format + 0.2 * ndcg")
    [scored] = bind(reward, {"shown", "relevant", "judge"}).score([seen])
    assert scored.total == pytest.approx(0.983944, abs=NEAR)


@unhurried
@given(shown=ids, relevant=gold)
def test_it_is_in_0_to_1_and_1_exactly_when_all_relevant_come_first(shown, relevant):
    found = value(shown, relevant)
    distinct = list(dict.fromkeys(shown))
    assert 0.0 <= found <= 1.0
    assert (found > 1 - 1e-12) == (set(distinct[: len(relevant)]) == set(relevant))


@unhurried
@given(shown=ids, relevant=gold)
def test_showing_again_changes_nothing(shown, relevant):
    assert value(shown + shown, relevant) == value(shown, relevant)


@unhurried
@given(shown=ids, relevant=gold, more=st.integers(0, 6))
def test_a_hit_further_down_is_worth_less(shown, relevant, more):
    noise = [f"noise {i}" for i in range(more)]
    assert value(noise + shown, relevant) <= value(shown, relevant)


def test_relevance_has_grades_and_ranks_can_be_cut():
    assert value(["b", "a"], {"a": 3, "b": 1}) < value(["a", "b"], {"a": 3, "b": 1}) == 1.0
    assert value(["x", "a"], ["a"], "(top=1)") == 0.0
    assert value(["a", "x", "b"], ["a", "b"], "(top=1)") == 1.0


def test_nothing_shown_is_0_and_no_search_is_no_value():
    seen = told("shown", [[], None, ["a"]], data={"relevant": ["a"]})
    assert paid("ndcg", seen) == [0.0, None, 1.0]


def test_an_episode_is_one_ranking_of_all_it_was_shown():
    seen = told("shown", [["a", "x"], None, ["a", "b"]], start={"relevant": ["a", "b"]})
    found = paid("ndcg(of='episode')", seen)
    assert found == [None, None, pytest.approx(0.919721, abs=NEAR)]
    assert parse("ndcg(of='episode')").stage is Stage.FINISHED
    assert parse("ndcg").stage is Stage.CAUSAL
    assert paid("ndcg(of='episode')", told("shown", [None, None])) == [None, None]


@pytest.mark.parametrize("relevant", [[], {}, {"a": 0}, {"a": -1}, None, "a", {"a": float("nan")}])
def test_empty_or_odd_references_are_an_error_that_names_signal_turn_and_remedy(relevant):
    with pytest.raises(RewardError, match=r"ndcg: fact 'relevant' of turn 1 .*: give a list"):
        value(["a"], relevant)
    with pytest.raises(RewardError, match="is absent"):
        paid("ndcg", told("shown", [["a"]]))


def test_what_is_no_list_of_ids_is_an_error():
    with pytest.raises(RewardError, match=r"'shown' of turn 1 .*: give a list of ids"):
        value([["a"]], ["a"])
