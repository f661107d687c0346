"""Groups: what is set against what, and when nothing is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards import Batch, bind, parse
from agentgym.rewards.groups import (
    Center,
    LeaveOneOut,
    Rank,
    VarianceGate,
    ZScore,
    dead_group_fraction,
)
from agentgym.types import Completion, EpisodeKey, Outcome, Task, Trajectory, Turn


def episode(values, score=0.0, sample=0, task="t", available=True):
    turns = [Turn("", Completion(""), "", None, 0.0, {} if v is None else {"x": v}) for v in values]
    outcome = Outcome(score, score == 1.0, available=available)
    return Trajectory(EpisodeKey("e", task, 0, sample), Task(task), turns, outcome=outcome)


def scored(text, trajectories):
    return [each.per_turn for each in bind(parse(text), {"x"}).score(trajectories)]


# IGPO's worked example: two trajectories, information gains and outcomes
GAINS = [episode([1.8, -0.3, 1.3, None], 0.8, 0), episode([0.5, 0.1, None], 0.0, 1)]


def test_the_pool_is_what_has_a_value_and_the_deviation_is_as_asked():
    a, b = scored("fact('x').group(zscore(eps=0.0))", GAINS)
    assert a == pytest.approx([1.453688, -1.271977, 0.80472, 0], abs=5e-7)
    assert b == pytest.approx([-0.233628, -0.752802, 0], abs=5e-7)
    a, b = scored("fact('x').group(zscore(ddof=1, eps=0.0))", GAINS)
    assert a == pytest.approx([1.300218, -1.13769, 0.719763, 0], abs=5e-7)
    outcome = scored("outcome.group(zscore(ddof=1, eps=0.0, pool='totals'))", GAINS)
    assert [each[-1] for each in outcome] == pytest.approx([0.707107, -0.707107], abs=5e-7)


@pytest.mark.parametrize("operation", [*(f"zscore(ddof={d})" for d in (0, 1)), "rank()"])
def test_outcomes_are_set_against_those_of_the_group_however_many_turns_they_took(operation):
    # no pool of zeros: one value a trajectory, at its last turn
    lengths, outcomes = [4, 1, 2, 7], [1.0, 0.0, 0.5, 0.0]
    group = [
        episode([None] * n, score, i)
        for i, (n, score) in enumerate(zip(lengths, outcomes, strict=True))
    ]
    totals = operation.replace(")", ", pool='totals')").replace("(, ", "(")
    found = scored(f"outcome.group({operation})", group)
    for each, same in zip(found, scored(f"outcome.group({totals})", group), strict=True):
        assert each.tolist() == same.tolist()
        assert not each[:-1].any()
    if operation == "zscore(ddof=1)":  # GRPO, by hand: mean 0.375, deviation 0.478714
        advantages = [each[-1] for each in found]
        assert advantages == pytest.approx([1.305578, -0.783347, 0.261116, -0.783347], abs=5e-6)


def test_igpo_normalises_gains_and_outcomes_apart_and_sums_to_go():
    gains = "fact('x').group(zscore(eps=0.0))"
    text = f"({gains} + outcome.group(zscore(eps=0.0, pool='totals'))).to_go({{}})"
    a, b = scored(text.format(""), GAINS)
    assert a == pytest.approx([1.986431, 0.532743, 1.80472, 1], abs=5e-7)
    assert b[0] == pytest.approx(-0.233628 - 0.752802 - 1, abs=2e-6)
    a, _ = scored(text.format("0.9"), GAINS)
    assert a == pytest.approx([1.689732, 0.262271, 1.70472, 1], abs=5e-7)
    text = text.replace("zscore(", "zscore(ddof=1, ")
    a, _ = scored(text.format(""), GAINS)
    assert a == pytest.approx([1.589397, 0.28918, 1.42687, 0.707107], abs=5e-7)


def test_infopo_as_released_takes_zeros_for_nothing():
    trajectories = [episode([1.0, 0.0, 3.0], sample=0), episode([0.0, 2.0], sample=1)]
    a, b = scored("fact('x').group(zscore(mask='nonzero', eps=0.0))", trajectories)
    assert a == pytest.approx([-np.sqrt(1.5), 0, np.sqrt(1.5)])
    assert b == pytest.approx([0, 0])
    part = bind(parse("fact('x').group(zscore(mask='nonzero'))"), {"x"}).score(trajectories)[0]
    assert next(iter(part.available.values())).tolist() == [True, False, True]


def test_leave_one_out():
    group = [episode([None], score, i) for i, score in enumerate([1.0, 0.0, 0.0, 1.0])]
    found = scored("outcome.group(rloo(pool='totals'))", group)
    assert [each[0] for each in found] == pytest.approx(
        [0.666667, -0.666667, -0.666667, 0.666667], abs=5e-7
    )


def test_ranks_are_shared_by_equals():
    ranks = Rank().normalise(np.array([5.0, 1.0, 5.0, 9.0]))
    assert ranks == pytest.approx([0, -1, 0, 1])


def test_ranks_are_shared_by_what_differs_by_rounding_alone():
    # the mean of seven ones is 0.9999999999999998, that of three is 1
    found = scored(
        "fact('x').group(rank(pool='totals'))",
        [episode([1.0] * 3), episode([0.5], sample=1), episode([1.0] * 7, sample=2)],
    )
    assert [each[-1] for each in found] == [0.5, -1, 0.5]


@pytest.mark.parametrize(
    ("outcomes", "ddof", "factor"),
    [
        ([0, 0, 0, 0], 0, 0.5),
        ([1, 0, 1, 0], 0, 4.539787e-5),
        ([1, 0, 1, 0], 1, 9.664849e-6),
        ([1, 1, 1, 0], 0, 1.733102e-4),
        ([1], 1, 0.5),
    ],
)
def test_the_gate_closes_where_outcomes_differ(outcomes, ddof, factor):
    gate = VarianceGate(ddof=ddof)
    assert gate.factor(np.array(outcomes, float)) == pytest.approx(factor, rel=2e-7)
    group = [episode([2.0, None], score, i) for i, score in enumerate(outcomes)]
    for values in scored(f"fact('x').sum().group({gate})", group):
        assert values == pytest.approx([2 * factor, 0], rel=2e-7)


def test_the_gate_reads_outcomes_of_its_own_group_only():
    dead = [episode([1.0], 0.0, i, "dead") for i in range(2)]
    alive = [episode([1.0], score, i, "alive") for i, score in enumerate([0.0, 1.0])]
    found = scored("fact('x').sum().group(variance_gate())", [dead[0], *alive, dead[1]])
    assert np.concatenate(found) == pytest.approx([0.5, 4.539787e-5, 4.539787e-5, 0.5], rel=2e-7)


@pytest.mark.parametrize(
    "wrong",
    [
        "zscore(ddof=2)",
        "zscore(eps=-1.0)",
        "zscore(pool='all')",
        "zscore(mask='some')",
        "zscore(pool='totals', mask='nonzero')",
        "center(pool='x')",
        "variance_gate(tau=0.0)",
        "variance_gate(ddof=3)",
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(RewardError, match=wrong.split("(")[0]):
        parse(f"outcome.group({wrong})")


def test_the_share_of_dead_groups():
    groups = [
        *[episode([1.0], 0.0, i, "dead") for i in range(3)],
        *[episode([1.0], s, i, "alive") for i, s in enumerate([0.0, 1.0])],
        episode([1.0], 1.0, 0, "alone"),
        episode([1.0], 1.0, 3, "dead", available=False),
    ]
    assert dead_group_fraction(groups) == pytest.approx(2 / 3)
    with pytest.raises(RewardError, match="no episode is scored"):
        dead_group_fraction(groups[-1:])


# ------------------------------------------------------------------------------- properties

numbers = st.floats(-100, 100, allow_nan=False)
pools = st.lists(numbers, min_size=1, max_size=8).map(np.array)
operations = st.sampled_from([ZScore(), ZScore(ddof=1), Center(), LeaveOneOut(), Rank()])


@given(operations, pools)
def test_what_is_set_against_its_group_is_on_average_nothing(operation, pool):
    assert operation.normalise(pool).mean() == pytest.approx(0, abs=1e-9 * (1 + np.ptp(pool)))


@given(operations, numbers, st.integers(1, 6))
def test_where_nothing_differs_there_is_no_advantage(operation, value, size):
    pool = np.full(size, value)
    pool[0] += 1e-15 * value
    assert (operation.normalise(pool) == 0).all()


@given(operations, pools, numbers)
def test_adding_a_constant_changes_nothing(operation, pool, constant):
    pool, constant = np.round(pool, 3), round(constant, 3)
    assert operation.normalise(pool + constant) == pytest.approx(
        operation.normalise(pool), abs=1e-5
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 2), st.floats(1, 3))
def test_the_gate_is_at_most_a_half_and_falls_as_outcomes_spread(outcomes, tau, wider):
    gate = VarianceGate(tau)
    narrow = gate.factor(np.array(outcomes))
    assert 0 <= gate.factor(np.array(outcomes) * wider) <= narrow + 1e-12  # but for rounding
    assert narrow <= 0.5


@given(operations, st.lists(st.lists(numbers | st.none(), min_size=1, max_size=4), min_size=1))
def test_ragged_groups_keep_what_has_no_value_without_one(operation, listed):
    batch = Batch(
        [episode(values, sample=i % 3, task=str(i % 2)) for i, values in enumerate(listed)]
    )
    source = parse("fact('x')").on(batch)
    found = operation.apply(source, batch)
    assert found.available.tolist() == source.available.tolist()
    assert np.isfinite(found.values).all()
    assert (found.values[~found.available] == 0).all()
