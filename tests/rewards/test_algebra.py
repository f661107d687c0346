"""What holds for every reward, whatever it is made of."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards import Number, Signal, Stage, bind, outcome, parse
from agentgym.rewards.batch import RUNNING
from agentgym.rewards.expression import Reward, Sum
from agentgym.rewards.groups import VarianceGate, ZScore
from agentgym.rewards.schedules import Decay, Linear
from agentgym.types import Completion, EpisodeKey, Outcome, Task, Trajectory, Turn

PROVIDES = {"progress", "regret", "a", "b"}


def turn(invalid=None, **facts):
    return Turn("", Completion(""), "", invalid, 0.0, facts)


def episode(turns, score=0.0, sample=0, task="t"):
    ended = Outcome(score, score == 1.0)
    return Trajectory(EpisodeKey("e", task, 0, sample), Task(task), list(turns), outcome=ended)


numbers = st.floats(-3, 3, allow_nan=False).map(lambda x: round(x, 3))
some_numbers = numbers | numbers.map(np.float64) | st.sampled_from([1e16, -1e-300, -2, 0])
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


def neutral(inner):
    """What keeps a total what it was when an episode takes longer."""
    factor = numbers.filter(lambda x: x != 0)
    gates = st.sampled_from(
        [outcome >= 0.5, parse("format") > 0.5, parse("fact('a')") <= np.float64(0)]
    )
    return st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] - p[1]),
        st.tuples(factor, inner).map(lambda p: p[0] * p[1]),
        st.tuples(inner, factor).map(lambda p: p[0] - p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
        inner.map(lambda r: r.mean()),
        inner.map(lambda r: r.clip(-1.0, 1.0)),
        inner.map(lambda r: r.clip(np.float64(0.25))),
        inner.map(lambda r: r.map("tanh", scale=0.5)),
        inner.map(lambda r: r.map("sigmoid", shift=np.float64(0.5))),
        inner.map(lambda r: r.shortfall(0.5)),
        st.tuples(inner, gates).map(lambda p: p[0].when(p[1])),
        inner.map(lambda r: r.weight(Linear(1.0, 0.0, 10))),
        inner.map(lambda r: r.at_end()),
        inner.map(lambda r: -r),
        inner.map(lambda r: r if r.form.is_total else r.delta()),
        inner.map(lambda r: r if r.form.is_total else r.min_form()),
        inner.map(lambda r: r.group(ZScore(pool="totals"))),
        inner.map(lambda r: r.group(VarianceGate())),
    )


def grown(inner):
    return st.one_of(
        neutral(inner),
        inner.map(lambda r: r.sum()),
        st.tuples(inner, st.integers(1, 50)).map(lambda p: p[0].over(p[1])),
        inner.map(lambda r: r.broadcast()),
        inner.map(lambda r: r.to_go(0.9)),
        inner.map(lambda r: r if r.form.is_total else r.min_to_go()),
        inner.map(lambda r: r.group(ZScore())),
    )


def of(leaves, growth):
    """Expressions of a few leaves."""
    return st.recursive(leaves, growth, max_leaves=6)


rewards = of(leaves, grown)
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
@given(of(leaves | some_numbers.map(Number), grown))
def test_a_reward_is_its_text(reward):
    assert parse(str(reward)) == reward
    assert str(parse(str(reward))) == str(reward)


@many
@given(of(leaves | numbers.map(Number), grown), groups())
def test_a_parts_name_is_a_reward_that_pays_what_the_part_pays(reward, group):
    assert reward.reduced().reduced() == reward.reduced()
    scored = score(reward, group)[0]
    for name, values in scored.parts.items():
        alone = score(parse(name), group)[0].per_turn
        times = list(map(str, terms_of(reward))).count(name)
        assert alone * times == pytest.approx(values)


def terms_of(reward):
    paid = reward.reduced()
    return paid.terms if isinstance(paid, Sum) else (paid,)


@many
@given(rewards, groups())
def test_the_outcome_is_untouched(reward, group):
    before = [trajectory.outcome for trajectory in group]
    scored = score(reward, group)
    assert [each.outcome for each in scored] == [found.score for found in before]
    assert [trajectory.outcome for trajectory in group] == before


@many
@given(rewards.filter(lambda r: r.reduced().stage is Stage.CAUSAL), episodes(), turns_())
def test_a_causal_value_stays_when_later_turns_are_added(reward, longer, later):
    longer.turns.append(later)
    shorter = replace(longer, turns=longer.turns[:-1], outcome=RUNNING)
    now, then = score(reward, [shorter])[0], score(reward, [longer])[0]
    assert (now.per_turn == then.per_turn[:-1]).all()


@many
@given(
    of(leaves | numbers.map(Number), neutral), st.lists(maybe, min_size=2, max_size=2), st.data()
)
def test_no_total_depends_on_how_many_turns_of_the_same_there_were(reward, values, data):
    each = turn(data.draw(st.sampled_from([None, "parse"])), a=values[0], b=values[1])
    score_ = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    short, long = (episode([each] * length, score_, length) for length in (2, 20))
    other = episode([turn(a=1.0, b=-2.0)] * 3, 0.25, 1)
    paid = {len(each.per_turn): each.total for each in score(reward, [other, short, long])}
    assert paid[20] == pytest.approx(paid[2], rel=1e-6, abs=1e-6)


@many
@given(rewards, groups(), st.randoms(use_true_random=False))
def test_the_order_of_a_group_does_not_matter(reward, group, random):
    shuffled = list(group)
    random.shuffle(shuffled)
    by_key = {each.key: each.per_turn for each in score(reward, shuffled)}
    for each in score(reward, group):
        assert by_key[each.key].tolist() == each.per_turn.tolist()  # to the bit


@many
@given(rewards.filter(lambda r: r.stage is not Stage.GROUP), groups())
def test_what_else_is_in_the_batch_does_not_matter(reward, batch):
    together = [each.per_turn.tolist() for each in score(reward, batch)]
    assert together == [score(reward, [each])[0].per_turn.tolist() for each in batch]


@many
@given(rewards, groups())
def test_a_part_of_weight_zero_can_be_left_out(reward, group):
    with_it = score(outcome + 0.0 * reward, group)
    for scored, plain in zip(with_it, score(parse("outcome"), group), strict=True):
        assert (scored.per_turn == plain.per_turn).all()


@many
@given(rewards, groups())
def test_a_gate_that_is_always_open_changes_nothing_and_one_never_open_pays_nothing(reward, group):
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


def totals(text, turns=(2, 20), **facts):
    """What won episodes of so many turns are paid in all; they are one group."""
    batch = [episode([turn(**facts)] * count, 1.0, count) for count in turns]
    return [each.total for each in score(parse(text), batch)]


@pytest.mark.parametrize(
    ("text", "total"),
    [
        # one value a trajectory: what is done to it is done to that one value
        ("outcome.map('sigmoid')", 1 / (1 + math.exp(-1))),
        ("outcome.map('exp')", math.e),
        ("outcome.clip(0.5, 1)", 1.0),
        ("outcome.shortfall(0.5)", 0.0),
        # a number is as what it is added to: here a total, there a value a turn
        ("outcome - 0.5", 0.5),
        ("(outcome - 0.5).at_end()", 0.5),
        ("(outcome - 0.5).map('tanh')", math.tanh(0.5)),
        ("(outcome - 1).group(center(pool='totals'))", 0.0),
        ("0.5 + format", 1.5),
        ("(0.5 + format).mean()", 1.5),
        ("2", 2.0),
        # in groups of totals, values a turn count by their means
        ("format.group(zscore(pool='totals'))", 0.0),
        ("valid.group(center(pool='totals'))", 0.0),
        # a product with a total is one of totals
        ("format * outcome", 1.0),
        ("(0.5 * format) * format", 0.5),
        ("0.5 * fact('a').mean() * format.mean()", 1.0),
        # what is done to a total of values a turn is done to the total
        ("fact('a').mean().clip(0, 1.5)", 1.5),
        ("(outcome + fact('a')).clip(0, 2.5)", 2.5),
        ("(outcome + format).mean()", 2.0),
        ("progress.map('sigmoid')", 0.5),
        ("format.group(variance_gate())", 0.5),
        ("fact('a').to_go(0).mean()", None),
    ],
)
def test_length_is_not_paid_for(text, total):
    paid = totals(text, a=2.0, progress=0)
    if total is not None:
        assert paid == pytest.approx([total, total])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("format.sum()", [2, 20]),
        ("fact('a').sum() * format", [4, 40]),  # the sum, times the mean
        ("fact('a').sum().clip(0, 30)", [4, 30]),  # the sum, clipped
        ("(outcome + format).sum()", [3, 21]),
        ("(outcome + format).over(10)", [0.3, 2.1]),
        ("format.sum().when(outcome >= 0.5)", [2, 20]),
        ("(1).sum()", [2, 20]),
        ("progress.clip(0, 0.5)", [1, 10]),  # pays in full, and nothing for no progress
        ("outcome.broadcast()", [2, 20]),
    ],
)
def test_a_sum_that_is_asked_for_stays_a_sum(text, expected):
    assert totals(text, a=2.0, progress=1) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["outcome.delta()", "format.mean().min_form()"])
def test_operations_on_step_scores_refuse_totals(text):
    with pytest.raises(RewardError, match="is a total, but this takes a value a turn: leave out"):
        parse(text)


@pytest.mark.parametrize("shape", ["right", "left", "flat"])
def test_a_long_sum_is_read_bound_scored_and_written_in_no_time(shape):
    parts = ["format", "outcome", "fact('a')"] * 10
    text = {
        "flat": " + ".join(["format"] * 600),
        "left": f"({' + '.join(parts)}).mean()",
        "right": " + (".join(parts) + ")" * (len(parts) - 1),
    }[shape]
    begun = time.process_time()
    reward = parse(text)
    paid = score(reward, [episode([turn(a=1.0)] * 4, 1.0)])[0].total
    assert paid == pytest.approx(600 if shape == "flat" else 30)
    assert parse(str(reward)) == reward
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("turns", range(1, 60))
def test_rounding_closes_no_gate_and_opens_none(turns):
    won = [episode([turn()] * turns, 1.0)]  # in floats, 1/n is not always 1 when n of it are added
    assert score(parse("outcome.when(valid >= 1)"), won)[0].total == 1.0
    assert score(parse("outcome.when(valid > 1)"), won)[0].total == 0.0
    assert score(parse("outcome.when(valid < 1)"), won)[0].total == 0.0


def test_a_comparison_may_have_its_number_first():
    assert parse("format.when(0.5 <= outcome)") == parse("format.when(outcome >= 0.5)")
    assert parse("format.when(0.5 < outcome)") == parse("format.when(outcome > 0.5)")


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
        "9" * 400,
        "format.clip('a')",
        "format.clip((1, 2), 3)",
        "format.map('tanh', 'a')",
        "format.map(outcome)",
        "format.to_go('a')",
        "format.over(True)",
        "format.over(1.5)",
        "format.when(outcome)",
        "format.when(1)",
        "format.weight(0.5)",
        "format.group(outcome)",
        "format.group(zscore(eps='x'))",
        "format.group(zscore(ddof=True))",
        "format.group(zscore(std='no'))",
        "format.group(variance_gate(tau='x'))",
        "feedback_gain(mask=3)",
        "info_gain(prefix=3)",
        "ndcg(top=2.5)",
        "fact(key='a', key='b')",
        "fact(outcome)",
        "fact(3)",
        "fact('')",
        "True",
        "'format'",
        "format +" + " format +" * 1000,
        "-" * 60 + "format",
        "(" * 300 + "format" + ")" * 300,
        "outcome" + ".a" * 900,
        "outcome" + "[0]" * 900,
        "outcome / " * 900 + "2",
        "format.clip(" + "~" * 900 + "1)",
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


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "the reward is empty: give an expression"),
        ("passed", r"passed is a condition, .*\.when\(passed\)"),
        ("outcome / 2", r"takes no /, write a factor, as in 0\.5 \* outcome"),
        ("outcome == 1", r"is a condition, not a reward: write x\.when"),
        ("format.when(outcome == 1)", "outcome >= 1, or passed"),
        ("spa", r"spa takes the file of an estimator.*spa\('FILE'"),
        (
            "fromat",
            r"no signal 'fromat'; did you mean 'format'\? `agentgym reward list` shows all$",
        ),
        ("xyzzy", "no signal 'xyzzy'; `agentgym reward list` shows all$"),
        ("format.when(outcome)", "a comparison, as in outcome >= 0.5"),
    ],
)
def test_a_refusal_says_what_to_write(text, remedy):
    with pytest.raises(RewardError, match=remedy):
        parse(text)


def test_conditions_are_not_true_or_false_in_python():
    with pytest.raises(RewardError, match=r"one at a time: x\.when\(outcome >= 0.5\)\.when"):
        outcome.when((outcome >= 0.5) and (outcome <= 0.7))
    with pytest.raises(RewardError, match="False is given: give a comparison"):
        outcome.when(outcome == 1)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("outcome + fact('a').sum() * 10", "fact"),
        ("fact('a').to_go() * fact('a')", r"to_go\(\) \* fact"),
        ("fact('a').min_to_go() * 10 * 10 * 0", "min_to_go"),
        ("fact('a').group(zscore())", "too large or too small for a float"),
        ("fact('a').group(zscore(eps=0.0))", "too large or too small for a float"),
    ],
)
def test_what_overflows_is_refused_with_part_turn_and_episode(text, part):
    batch = [episode([turn(a=sign * 1e308)] * 3, sample=i) for i, sign in enumerate((1, -1))]
    with pytest.raises(RewardError, match=part) as refused:
        score(parse(text), batch)
    if "group" not in text:
        assert "at turn 1 of episode t#0.0" in str(refused.value)


@pytest.mark.parametrize("step", [math.nan, math.inf, "1", None])
def test_the_step_is_a_finite_number(step):
    with pytest.raises(RewardError, match=r"step is .*: give a finite number"):
        score(outcome, [episode([turn()])], step)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "1", [1], 10**400])
def test_a_fact_that_is_no_finite_number_is_named_with_its_turn(wrong):
    with pytest.raises(RewardError, match=r"fact 'a' of turn 2 of episode t#0.0 is .*finite"):
        score(parse("fact('a')"), [episode([turn(a=1.0), turn(a=wrong)])])


def test_an_episode_without_outcome_or_turns_is_refused():
    unscored = replace(episode([turn()]), outcome=None)
    with pytest.raises(RewardError, match="no outcome"):
        score(outcome, [unscored])
    with pytest.raises(RewardError, match="no turn"):
        score(outcome, [episode([])])


@dataclass(frozen=True)
class Said(Signal):
    """Whatever it is given, of every episode."""

    name = "said"
    each: tuple[object, ...]

    def values(self, trajectory):
        return self.each


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((1.0,), r"gave 1 values for the 2 turns of episode t#0\.0"),
        ((1.0, None, 1.0), "gave 3 values for the 2 turns"),
        ((1.0, math.nan), r"^episode t#0\.0: said.* is nan at turn 2: it must be a finite number"),
        ((math.inf, None), "is inf at turn 1"),
        (("x", 1.0), r"^episode t#0\.0: said.* gave what is no number"),
        ((10**400, 1.0), "gave what is no number"),
    ],
)
def test_a_signal_of_ones_own_that_gives_something_else_is_named_with_its_episode(values, says):
    with pytest.raises(RewardError, match=says):
        score(Said(values), [episode([turn()] * 2)])


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "x", None, True])
def test_only_finite_numbers_take_part(wrong):
    with pytest.raises(RewardError):
        outcome * wrong


def test_numbers_of_numpy_are_numbers():
    assert np.float64(0.5) * outcome == 0.5 * outcome
    assert outcome - np.float64(0.5) == parse("outcome - 0.5")
    assert str(outcome.when(outcome >= np.float64(0.5))) == "outcome.when(outcome >= 0.5)"


def test_numbers_compare_by_value():
    assert Number(1.0) == parse("1")
