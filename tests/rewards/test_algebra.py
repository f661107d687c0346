"""What holds for every reward, whatever it is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards import Number, Stage, bind, outcome, parse
from agentgym.rewards.expression import Reward
from agentgym.rewards.groups import ZScore
from agentgym.rewards.schedules import Decay, Linear
from agentgym.types import Completion, EpisodeKey, Outcome, Task, Trajectory, Turn

PROVIDES = {"progress", "regret", "a", "b"}


def turn(invalid=None, **facts):
    return Turn("", Completion(""), "", invalid, 0.0, facts)


def episode(turns, score=0.0, sample=0, task="t"):
    ended = Outcome(score, score == 1.0)
    return Trajectory(EpisodeKey("e", task, 0, sample), Task(task), list(turns), outcome=ended)


numbers = st.floats(-3, 3, allow_nan=False).map(lambda x: round(x, 3))
maybe = st.none() | numbers


@st.composite
def turns_(draw):
    return turn(
        draw(st.sampled_from([None, "parse", "inadmissible"])), a=draw(maybe), b=draw(maybe)
    )


@st.composite
def episodes(draw, sample=0):
    listed = draw(st.lists(turns_(), min_size=1, max_size=6))
    return episode(listed, draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])), sample)


@st.composite
def groups(draw):
    count = draw(st.integers(1, 4))
    return [draw(episodes(sample=i)) for i in range(count)]


leaves = st.sampled_from(["outcome", "format", "valid", "fact('a')", "fact('b')"]).map(parse)


def grown(inner):
    factor = numbers.filter(lambda x: x != 0)
    return st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] - p[1]),
        st.tuples(factor, inner).map(lambda p: p[0] * p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
        inner.map(lambda r: r.mean()),
        inner.map(lambda r: r.sum()),
        st.tuples(inner, st.integers(1, 50)).map(lambda p: p[0].over(p[1])),
        inner.map(lambda r: r.clip(-1.0, 1.0)),
        inner.map(lambda r: r.map("tanh", scale=0.5)),
        inner.map(lambda r: r.when(outcome >= 0.5)),
        inner.map(lambda r: r.weight(Linear(1.0, 0.0, 10))),
        inner.map(lambda r: r.at_end()),
        inner.map(lambda r: r.broadcast()),
        inner.map(lambda r: r.to_go(0.9)),
        inner.map(lambda r: -r),
        inner.map(lambda r: r.group(ZScore())),
    )


rewards = st.recursive(leaves, grown, max_leaves=6)
many = settings(max_examples=150, deadline=None)


def score(reward: Reward, batch, step=0.0):
    return bind(reward, PROVIDES).score(batch, step)


# ------------------------------------------------------------------------- properties of every one


@many
@given(rewards, groups())
def test_the_parts_add_up_to_what_is_paid_and_are_finite(reward, group):
    for scored, trajectory in zip(score(reward, group), group, strict=True):
        assert scored.per_turn.shape == (len(trajectory.turns),)
        assert np.isfinite(scored.per_turn).all()
        assert np.allclose(sum(scored.parts.values()), scored.per_turn, atol=1e-12)
        for name, values in scored.parts.items():
            assert not values[~scored.available[name]].any()


@many
@given(rewards)
def test_a_reward_is_its_text(reward):
    assert parse(str(reward)) == reward
    assert str(parse(str(reward))) == str(reward)


@many
@given(rewards, groups())
def test_the_outcome_is_untouched(reward, group):
    before = [trajectory.outcome for trajectory in group]
    scored = score(reward, group)
    assert [each.outcome for each in scored] == [found.score for found in before]
    assert [trajectory.outcome for trajectory in group] == before


@many
@given(rewards.filter(lambda r: r.reduced().stage is Stage.CAUSAL), episodes(), turns_())
def test_a_causal_value_stays_when_later_turns_are_added(reward, shorter, later):
    shorter.outcome = Outcome(0.0, False)
    longer = replace(shorter, turns=[*shorter.turns, later])
    now, then = score(reward, [shorter])[0], score(reward, [longer])[0]
    assert (now.per_turn == then.per_turn[:-1]).all()


@many
@given(rewards, groups(), st.randoms(use_true_random=False))
def test_the_order_of_a_group_does_not_matter(reward, group, random):
    shuffled = list(group)
    random.shuffle(shuffled)
    by_key = {each.key: each.per_turn for each in score(reward, shuffled)}
    for each in score(reward, group):
        assert np.allclose(by_key[each.key], each.per_turn, atol=1e-9)


@many
@given(rewards.filter(lambda r: r.stage is not Stage.GROUP), groups())
def test_what_else_is_in_the_batch_does_not_matter(reward, batch):
    together = [each.per_turn.tolist() for each in score(reward, batch)]
    assert together == [score(reward, [each])[0].per_turn.tolist() for each in batch]


@many
@given(rewards, groups())
def test_a_part_of_weight_zero_can_be_left_out(reward, group):
    with_it = score(outcome + 0.0 * reward.reduced(), group)
    for scored, plain in zip(with_it, score(parse("outcome"), group), strict=True):
        assert (scored.per_turn == plain.per_turn).all()


@many
@given(rewards, groups())
def test_a_gate_that_is_always_open_changes_nothing_and_one_never_open_pays_nothing(reward, group):
    reward = reward.reduced()
    plain = score(reward, group)
    for scored, same in zip(score(reward.when(outcome >= -1e9), group), plain, strict=True):
        assert np.array_equal(scored.per_turn, same.per_turn)
    assert not any(each.per_turn.any() for each in score(reward.when(outcome >= 1e9), group))


# --------------------------------------------------------------------------------- what is paid how


def test_what_is_immediate_pays_its_mean_unless_told_otherwise():
    long = episode([turn()] * 10)
    assert score(parse("0.2 * format"), [long])[0].total == pytest.approx(0.2)
    assert score(parse("(0.2 * format).sum()"), [long])[0].total == pytest.approx(2.0)
    assert score(parse("format.over(20)"), [long])[0].total == pytest.approx(0.5)
    assert list(score(parse("format"), [long])[0].parts) == ["format.mean()"]


def test_a_mean_divides_by_the_turns_that_have_a_value():
    some = episode([turn(a=1.0), turn(a=None), turn(a=0.0)])
    scored = score(parse("fact('a')"), [some])[0]
    assert scored.per_turn.tolist() == [0.5, 0.0, 0.0]
    assert scored.available["fact(key='a').mean()"].tolist() == [True, False, True]


def test_the_outcome_is_paid_at_the_last_turn():
    (scored,) = score(outcome, [episode([turn()] * 3, 0.5)])
    assert scored.per_turn.tolist() == [0.0, 0.0, 0.5]
    assert scored.available["outcome"].tolist() == [False, False, True]


IMMEDIATES = [turn(a=value) for value in (0.1, 0.1, 0.0, 0.1, 0.1)]


@pytest.mark.parametrize(
    ("score_", "gated", "direct"), [(0.0, 0.0, 0.4), (0.25, 0.25, 0.65), (0.5, 0.9, 0.9)]
)
def test_gated_accumulation_as_the_paper_sums_it(score_, gated, direct):
    ended = [episode(IMMEDIATES, score_)]
    opened = parse("outcome + fact('a').sum().when(outcome >= 0.5)")
    assert score(opened, ended)[0].total == pytest.approx(gated)
    assert score(parse("outcome + fact('a').sum()"), ended)[0].total == pytest.approx(direct)


def test_gated_accumulation_by_the_mean():
    gra = parse("outcome + 0.2 * fact('a').mean().when(outcome >= 0.5)")
    paid = score(gra, [episode(IMMEDIATES, 0.5)])[0]
    assert paid.per_turn == pytest.approx([0.004, 0.004, 0, 0.004, 0.504])
    assert paid.total == pytest.approx(0.516)
    assert score(gra, [episode(IMMEDIATES, 0.25)])[0].total == 0.25
    assert score(gra, [episode(IMMEDIATES, 1.0)])[0].total == pytest.approx(1.016)
    without = [*IMMEDIATES[:2], turn(a=None), *IMMEDIATES[3:]]
    assert score(gra, [episode(without, 0.5)])[0].total == pytest.approx(0.52)


def test_returns_to_go():
    facts = [turn(a=value) for value in (0.6, 0.2, 0.45, 1.1)]
    paid = score(parse("fact('a').sum().to_go(0.99)"), [episode(facts)])[0]
    assert paid.per_turn == pytest.approx([2.306374, 1.72361, 1.539, 1.1], abs=1e-6)


def test_schedules_follow_the_step():
    halfway = score(parse("format.weight(linear(1.0, 0.0, 10))"), [episode([turn()])], step=5)
    assert halfway[0].total == pytest.approx(0.5)
    assert Decay(0.3, 500).at(500) == pytest.approx(0.3 / math.e)
    assert Linear(1.0, 0.2, 4).at(99) == 0.2


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "text",
    [
        "",
        "import os",
        "outcome.__class__",
        "__import__('os').system('true')",
        "(lambda: 1)()",
        "[format]",
        "format if outcome else valid",
        "format.foo()",
        "format.compute(1)",
        "fromat",
        "format(3)",
        "fact()",
        "fact(**{})",
        "outcome >= 0.5",
        "format.when(outcome == 1)",
        "format.when(0.5 <= outcome <= 1)",
        "format.clip()",
        "format.clip(1, 0)",
        "format.over(0)",
        "format.map('eval')",
        "format.to_go(2)",
        "format.weight(linear(1.0, 0.0, 0))",
        "format.group(zscore(ddof=3))",
        "1e999",
        "True",
        "'format'",
        "format +" + " format +" * 1000,
        "-" * 60 + "format",
        "(" * 300 + "format" + ")" * 300,
    ],
)
def test_what_is_no_reward_is_refused_with_a_reason(text):
    with pytest.raises(RewardError, match=r"\w"):
        parse(text)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_text_does_anything_but_be_a_reward_or_be_refused(text):
    try:
        read = parse(text)
    except RewardError:
        return
    assert parse(str(read)) == read


def test_a_missing_fact_is_named_with_the_part_that_needs_it_before_the_first_episode():
    with pytest.raises(RewardError, match=r"progress needs the fact 'progress'.*provides a, b$"):
        bind(parse("outcome + 0.5 * progress"), {"a", "b"})


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "1", [1]])
def test_a_fact_that_is_no_finite_number_is_named_with_its_turn(wrong):
    with pytest.raises(RewardError, match=r"fact 'a' of turn 2 of episode t#0.0 is .*finite"):
        score(parse("fact('a')"), [episode([turn(a=1.0), turn(a=wrong)])])


def test_an_episode_without_outcome_or_turns_is_refused():
    unscored = replace(episode([turn()]), outcome=None)
    with pytest.raises(RewardError, match="no outcome"):
        score(outcome, [unscored])
    with pytest.raises(RewardError, match="no turn"):
        score(outcome, [episode([])])


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "x", None, True])
def test_only_finite_numbers_take_part(wrong):
    with pytest.raises(RewardError):
        outcome * wrong


def test_numbers_compare_by_value():
    assert Number(1.0) == parse("1")
