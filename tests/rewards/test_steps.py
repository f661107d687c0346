"""Step scores before they are paid, and targets for length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from episodes import episode, paid, told, turn, unhurried
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards import parse
from agentgym.rewards.expression import Stage
from agentgym.rewards.lengths import LaserD, length_targets
from agentgym.types import EpisodeKey

SCORES = [0.9, 0.95, 0.6, 0.8]
NEAR = 5e-7
numbers = st.floats(-1, 1).map(lambda x: round(x, 3))
some = st.lists(numbers, min_size=1, max_size=8)
gappy = st.lists(st.none() | numbers, min_size=1, max_size=8)


def of(reward, values):
    return paid(f"fact('step_score'){reward}", told("step_score", values))


def to_go(values):
    return np.cumsum(values[::-1])[::-1].tolist()


# -------------------------------------------------------------------------------- Clip and Delta


def test_delta_pays_differences_and_nothing_in_the_answer_step():
    delta = of(".delta()", SCORES)
    assert delta == pytest.approx([-0.05, 0.35, 0.6, 0], abs=NEAR)
    assert to_go(delta) == pytest.approx([0.9, 0.95, 0.6, 0], abs=NEAR)


def test_clip_pays_only_what_is_lacking():
    assert of(".shortfall(0.9)", SCORES) == pytest.approx([0, 0, -0.3, -0.1], abs=NEAR)


def test_clip_and_delta_together_are_as_worked_by_hand():
    both = of(".shortfall(0.9).delta()", SCORES)
    assert both == pytest.approx([0, 0.3, -0.3, 0], abs=NEAR)
    assert to_go(both) == pytest.approx([0, 0, -0.3, 0], abs=NEAR)


@unhurried
@given(values=gappy, eta=numbers)
def test_a_shortfall_is_never_positive_and_there_where_the_score_is(values, eta):
    found = of(f".shortfall({eta!r})", values)
    assert [value is None for value in found] == [value is None for value in values]
    assert all(value <= 0 for value in found if value is not None)


@unhurried
@given(values=gappy)
def test_the_return_of_delta_from_a_step_on_is_that_steps_score_alone(values):
    found = of(".delta()", values)
    assert [value is None for value in found] == [value is None for value in values]
    returns = to_go([value or 0.0 for value in found])
    for turn_, value in enumerate(values[:-1]):
        if value is not None:
            assert returns[turn_] == pytest.approx(value, abs=1e-9)
    assert returns[-1] == 0


@unhurried
@given(values=some, at=st.integers(0, 7))
def test_repeating_a_step_of_equal_score_adds_nothing_to_earlier_returns(values, at):
    at = min(at, len(values) - 1)
    longer = [*values[: at + 1], *values[at:]]
    before, after = (to_go(of(".delta()", each)) for each in ([*values, 0.5], [*longer, 0.5]))
    assert after[: at + 1] == pytest.approx(before[: at + 1], abs=1e-9)


# ------------------------------------------------------------------------------------------ PURE


def test_the_min_form_pays_nearly_the_minimum_in_all_as_in_the_released_code():
    found = of(".min_form(0.1)", [0.8, -0.4, 0.6])
    assert found == pytest.approx([5e-6, -0.399979, 2.7e-5], abs=NEAR)
    assert sum(found) == pytest.approx(-0.399947, abs=NEAR)
    weights = [value / score for value, score in zip(found, [0.8, -0.4, 0.6], strict=True)]
    assert weights == pytest.approx([6e-6, 0.999948, 4.5e-5], abs=NEAR)


def test_the_strict_form_is_the_minimum_from_each_turn_on():
    assert of(".min_to_go()", [0.8, -0.4, 0.6]) == [-0.4, -0.4, 0.6]


@unhurried
@given(values=gappy)
def test_strict_returns_rise_and_are_at_most_the_score(values):
    found = of(".min_to_go()", values)
    assert [value is None for value in found] == [value is None for value in values]
    there = [value for value in found if value is not None]
    assert there == sorted(there)
    assert all(a <= b for a, b in zip(there, [v for v in values if v is not None], strict=True))


@unhurried
@given(values=gappy, temperature=st.floats(1e-4, 10))
def test_the_total_of_the_min_form_is_between_minimum_and_mean(values, temperature):
    found = [v for v in of(f".min_form({temperature!r})", values) if v is not None]
    there = [v for v in values if v is not None]
    if there:
        assert min(there) - 1e-9 <= sum(found) <= sum(there) / len(there) + 1e-9


@unhurried
@given(values=some)
def test_as_the_temperature_falls_the_total_is_the_minimum(values):
    assert sum(of(".min_form(0.00001)", values)) == pytest.approx(min(values), abs=1e-6)


@unhurried
@given(values=some, worse=st.floats(0.1, 2), more=st.lists(st.floats(0, 1), max_size=4))
def test_a_worse_step_lowers_all_earlier_returns_and_padding_raises_none(values, worse, more):
    strict = of(".min_to_go()", values)
    lowest = min(values) - worse
    assert of(".min_to_go()", [*values, lowest]) == [lowest] * (len(values) + 1)
    padded = of(".min_to_go()", [*values, *(value + max(values) for value in more)])
    assert padded[: len(values)] == strict


def test_each_episode_of_a_batch_is_by_itself():
    one, two = told("x", [0.5, None, 0.2]), told("x", [None, -1.0], sample=1)
    for method in (".delta()", ".min_form()", ".min_to_go()", ".shortfall(0.4)"):
        reward = f"fact('x'){method}"
        assert paid(reward, one, two) == paid(reward, one) + paid(reward, two)


@pytest.mark.parametrize("method", [".delta()", ".min_form(0.2)", ".min_to_go()"])
def test_what_looks_ahead_is_known_at_the_end_and_has_a_text(method):
    reward = parse(f"(fact('x') + fact('y')){method}")
    assert reward.stage is Stage.FINISHED
    assert reward.reduced() == reward  # paid as it is
    assert parse(str(reward)) == reward
    assert parse("fact('x').shortfall(0.9)").stage is Stage.CAUSAL


@pytest.mark.parametrize("text", ["valid.min_form(0)", "valid.shortfall('x')"])
def test_step_arguments_that_make_no_sense_are_refused(text):
    with pytest.raises(RewardError, match=r"(temperature|eta) is .*: give"):
        parse(text)


def test_pure_adds_the_outcome_to_the_min_form():
    reward = parse("pure")
    seen = told("step_score", [0.8, -0.4, 0.6], score=1.0)
    assert sum(paid(reward, seen)) == pytest.approx(1 - 0.399947, abs=NEAR)


# ---------------------------------------------------------------------------------------- length


def counted(tokens, score=1.0):
    return episode([turn(tokens=tokens - 100), turn(tokens=100)], score)


def test_laser_pays_for_being_right_and_then_for_being_short():
    assert paid("laser(4096)", counted(3000)) == [None, 1.5]
    assert paid("laser(4096)", counted(5000)) == [None, 1.0]
    assert paid("laser(4096)", counted(200, 0.0)) == [None, -0.5]


@unhurried
@given(right=st.integers(1, 40), wrong=st.integers(1, 40), longer=st.integers(0, 40))
def test_what_passed_beats_what_did_not_and_longer_never_beats_shorter(right, wrong, longer):
    def worth(turns, score):
        return paid("laser(20, length='turns')", episode([turn()] * turns, score))[-1]

    assert worth(right, 1.0) > worth(wrong, 0.5)
    assert worth(right + longer, 1.0) <= worth(right, 1.0)


def answers(task, *samples):
    """A group: how many tokens each sample took, negative where it did not pass."""
    found = []
    for sample, tokens in enumerate(samples):
        made = episode([turn(tokens=abs(tokens))], float(tokens > 0), sample=sample)
        found.append(replace(made, key=EpisodeKey("tests/Made-v0", task, 0, sample)))
    return found


# Eight samples each, of which 6, 3 and 1 pass.
EASY = answers("a", 1500, 3000, 6000, 6000, 6000, 6000, -9000, -9000)
MEDIUM = answers("b", 4000, 4000, 4000, -5000, -9000, -9000, -9000, -9000)
HARD = answers("c", 9000, -3000, -3000, -3000, -3000, -3000, -3000, -10000)


def test_laser_d_finds_the_shortest_targets_that_keep_a_correct_sample():
    # easy: 5 of 8 pass at least, so a fifth must fit: 2 of 8, from 3000 on
    # medium: 2 pass at least, so half must: 4 of 8, from 5000 on
    # hard: 1 passes, so all must: from 10000 on
    found = length_targets([*EASY, *MEDIUM, *HARD])
    assert found == {"easy": 3072, "medium": 5120, "hard": 10240}
    assert length_targets(EASY)["hard"] == 16384  # nobody knows: the longest
    assert length_targets([*EASY, *MEDIUM], least_correct=2) == {
        "easy": 6144,  # two fifths: 4 of 8
        "medium": 9216,  # all of them
        "hard": 16384,
    }
    assert length_targets(EASY, candidates=[1, 2], length="turns")["easy"] == 1


def test_laser_d_pays_by_how_hard_the_task_is():
    reward = LaserD(**length_targets([*EASY, *MEDIUM, *HARD]))
    assert str(reward) == "laser_d(easy=3072, medium=5120, hard=10240)"
    assert parse(str(reward)) == reward
    assert reward.stage is Stage.GROUP
    worth = paid(reward, *EASY[:4], *HARD, *EASY[4:], *MEDIUM)
    assert worth[:4] == [1.5, 1.5, 1.0, 1.0]
    assert worth[4:12] == [1.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5]
    assert worth[12:16] == [1.0, 1.0, -0.5, -0.5]
    assert worth[16:] == [1.5, 1.5, 1.5, *[-0.5] * 5]


@unhurried
@given(
    st.lists(st.integers(-60, 60).filter(bool), min_size=1, max_size=9),
    st.lists(st.integers(1, 60), min_size=3, max_size=3),
)
def test_laser_d_pays_for_being_right_and_then_for_being_short(samples, targets):
    easy, medium, hard = targets
    worth = paid(LaserD(easy, medium, hard), *answers("a", *samples))
    for mine, paid_to_me in zip(samples, worth, strict=True):
        for other, paid_to_other in zip(samples, worth, strict=True):
            if mine > 0 > other:
                assert paid_to_me > paid_to_other
            if 0 < mine <= other:
                assert paid_to_me >= paid_to_other


@unhurried
@given(st.lists(st.lists(st.integers(-60, 60).filter(bool), min_size=1, max_size=9), min_size=1))
def test_targets_are_candidates_and_rise_with_what_they_must_keep(groups):
    seen = [each for number, group in enumerate(groups) for each in answers(str(number), *group)]
    one, two = (length_targets(seen, candidates=range(1, 81), least_correct=k) for k in (1, 2))
    for level in ("easy", "medium", "hard"):
        assert 1 <= one[level] <= two[level] <= 80


def test_targets_that_cannot_be_found_are_refused():
    with pytest.raises(RewardError, match="no episode is scored"):
        length_targets([])
    with pytest.raises(RewardError, match="no candidates: give lengths"):
        length_targets(EASY, candidates=[])
    with pytest.raises(RewardError, match="a candidate is 0: give a finite number above 0"):
        length_targets(EASY, candidates=[8, 0])
    with pytest.raises(
        RewardError, match=r"length_targets: the tokens of turn 1 .* length='turns'"
    ):
        length_targets([episode([turn()], 1.0)])
    with pytest.raises(RewardError, match="laser_d: medium is 0: give a finite number above 0"):
        parse("laser_d(10, 0, 10)")


def test_a_turn_penalty_is_minus_1_at_the_most():
    def worth(turns):
        return paid("length_penalty(28, 40)", episode([turn()] * turns))[-1]

    assert [worth(40), worth(28), worth(27), worth(34)] == [-1, 0, 0, -0.5]


def test_token_ids_are_counted_where_they_are_recorded():
    seen = episode([turn(), turn(tokens=5)], 1.0)
    seen.turns[0].completion.completion_ids = np.zeros(7, dtype=np.int32)
    assert paid("laser(12)", seen)[-1] == 1.5
    assert paid("laser(11)", seen)[-1] == 1.0


def test_tokens_that_nobody_counted_are_an_error_that_names_the_turn_and_the_remedy():
    with pytest.raises(RewardError, match=r"laser.*tokens of turn 2 .* length='turns'"):
        paid("laser(10)", episode([turn(tokens=3), turn()], 1.0))


def test_an_episode_without_outcome_is_an_error():
    seen = counted(200)
    seen.outcome = None
    with pytest.raises(RewardError, match="has no outcome: leave out"):
        paid("laser(10)", seen)


def test_laser_that_would_pay_for_being_wrong_is_refused():
    with pytest.raises(RewardError, match="wrong is 2: give a finite number at most 0"):
        parse("laser(10, wrong=2)")
