"""What a run's episodes say: the numbers, and how sure they are."""

from __future__ import annotations

import itertools
import math
import random
import tracemalloc
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.report import (
    Cluster,
    Tally,
    clustered_interval,
    compare,
    pass_all_k,
    pass_at_k,
    student,
    summarise,
    wilson,
)
from agentgym.store import Store
from agentgym.types import Completion, EpisodeKey, Outcome, Stop, Task, Trajectory, Turn

UNSCORED = Outcome(0.0, False, "unscored", available=False)


def episode(task="t", seed=0, sample=0, score=1.0, *, stop=Stop.TERMINATED, error=None, turns=()):
    """An episode; unscored where `score` is None."""
    return Trajectory(
        EpisodeKey("tests/World-v0", task, seed, sample),
        Task(task),
        list(turns),
        outcome=UNSCORED if score is None else Outcome(score, score == 1.0),
        stop=stop,
        error=error,
    )


def turn(invalid=None, **completion):
    said = Completion("go", **completion)
    return Turn("a room", said, "go", invalid, 0.0, {}, timings={"policy_s": 0.5, "env_s": 0.25})


def run(scores):
    """Episodes of `{task: [score of each sample]}`."""
    return [
        episode(task, sample=sample, score=score)
        for task, samples in scores.items()
        for sample, score in enumerate(samples)
    ]


def interval(scores):
    return clustered_interval([Cluster(len(s), sum(s), sum(x * x for x in s)) for s in scores])


def width(scores):
    low, high = interval(scores)
    return high - low


# ---------------------------------------------------------------------------- counting


def test_no_episodes_make_a_summary_without_numbers():
    summary = summarise([])
    assert (summary.episodes, summary.scored, summary.wall_s) == (0, 0, 0.0)
    assert summary.mean is summary.interval is summary.pass_rate is summary.invalid_rate is None
    assert summary.pass_at == summary.units == summary.stops == {}


def test_the_mean_and_the_pass_rate_are_of_scored_episodes():
    summary = summarise(run({"a": [1.0, 0.0], "b": [0.5], "c": [None]}))
    assert (summary.episodes, summary.scored, summary.passed) == (4, 3, 1)
    assert summary.mean == 0.5
    assert summary.pass_rate == pytest.approx(1 / 3)


def test_each_task_has_its_own_mean():
    summary = summarise(run({"b": [1.0, 0.0], "a": [0.25]}))
    assert summary.unit == "task"
    assert [*summary.units] == ["a", "b"]
    assert (summary.units["b"].scored, summary.units["b"].mean, summary.units["b"].passed) == (
        2, 0.5, 1,
    )  # fmt: skip


def test_where_there_is_one_task_its_seeds_are_the_units():
    summary = summarise(
        episode("only", seed, sample, score=float(seed == 1))
        for seed in (0, 1)
        for sample in (0, 1)
    )
    assert summary.unit == "seed"
    means = {name: unit.mean for name, unit in summary.units.items()}
    assert means == {"only#0": 0.0, "only#1": 1.0}


def test_unscored_episodes_are_counted_by_who_is_to_blame_and_never_read_as_0():
    summary = summarise([
        episode("a"),
        episode("b", score=None, stop=Stop.ERROR, error="policy: no server at :8000"),
        episode("c", score=None, stop=Stop.ERROR, error="policy: another word"),
        episode("d", score=None, stop=Stop.ERROR, error="environment: it died"),
        episode("e", score=None, stop=Stop.DEADLINE),
        episode("f", score=None, stop=Stop.CANCELLED),
        episode("g", score=None, stop=Stop.TERMINATED),
    ])  # fmt: skip
    assert summary.mean == 1.0
    assert summary.unscored == {
        "cancelled": 1, "deadline": 1, "environment": 1, "policy": 2, "unverified": 1,
    }  # fmt: skip
    assert summary.complaints["policy"] == "policy: no server at :8000"
    assert summary.stops == {
        "terminated": 2, "deadline": 1, "cancelled": 1, "error": 3,
    }  # fmt: skip


def test_turns_and_invalid_actions_are_of_scored_episodes_and_costs_of_all():
    summary = summarise([
        episode("a", turns=[turn(), turn("parse"), turn("parse"), turn("empty")]),
        episode("b", turns=[turn(), turn()]),
        episode("c", score=None, stop=Stop.ERROR, error="policy: x", turns=[turn("parse")] * 4),
    ])  # fmt: skip
    assert summary.mean_turns == 3.0
    assert summary.invalid_rate == 0.5
    assert summary.invalid == {"empty": 1, "parse": 2}
    assert summary.turns == 10
    assert (summary.policy_s, summary.env_s) == (5.0, 2.5)


def test_tokens_are_counted_as_the_engine_says_or_else_by_their_ids():
    ids = np.arange(5, dtype=np.int32)
    summary = summarise([
        episode("a", turns=[turn(usage={"prompt_tokens": 100, "completion_tokens": 7})]),
        episode("b", turns=[turn(prompt_ids=ids, completion_ids=ids[:2])]),
        episode("c", turns=[turn()]),
    ])  # fmt: skip
    assert (summary.tokens_in, summary.tokens_out) == (105, 9)


@pytest.mark.parametrize("told", [None, "5", 5.5])
def test_a_count_that_is_none_is_passed_over(told):
    ids = np.arange(5, dtype=np.int32)
    odd = turn(usage={"prompt_tokens": told, "completion_tokens": told}, completion_ids=ids)
    summary = summarise([episode("a", turns=[odd, turn(usage={"prompt_tokens": 100})])])
    assert (summary.tokens_in, summary.tokens_out) == (100, 5)


def test_episodes_whose_prompts_do_not_extend_one_another_are_branched():
    ids = np.arange(10, dtype=np.int32)
    straight = [
        turn(prompt_ids=ids[:2], completion_ids=ids[2:4]),
        turn(prompt_ids=ids[:6], completion_ids=ids[6:8]),
    ]
    rewritten = [straight[0], turn(prompt_ids=ids[1:6], completion_ids=ids[6:8])]
    summary = summarise([episode("a", turns=straight), episode("b", turns=rewritten)])
    assert summary.branched == 1


def test_wall_time_is_from_the_first_start_to_the_last_end():
    episodes = [episode(str(i)) for i in range(3)]
    for i, trajectory in enumerate(episodes):
        trajectory.provenance = {"started": 1_000_000.0 + 2 * i, "wall_s": 1.5}
    assert summarise(reversed(episodes)).wall_s == 5.5


def test_the_time_before_a_run_was_resumed_is_no_wall_time():
    episodes = [episode(str(i)) for i in range(4)]
    for trajectory, (began, started) in zip(
        episodes, [(10.0, 10.5), (10.0, 11.0), (5000.0, 5000.0), (5000.0, 5001.0)], strict=True
    ):
        trajectory.provenance = {"began": began, "started": started, "wall_s": 1.5}
    assert summarise(episodes).wall_s == 2.0 + 2.5


def test_time_in_which_two_collections_overlap_counts_once():
    episodes = [episode(str(i)) for i in range(2)]
    for trajectory, began in zip(episodes, (10.0, 11.0), strict=True):
        trajectory.provenance = {"began": began, "started": began, "wall_s": 3.0}
    assert summarise(episodes).wall_s == 4.0


def test_a_stored_run_gives_the_same_summary_as_the_live_one(tmp_path):
    episodes = run({"a": [1.0, 0.0], "b": [0.5, None]})
    with Store.create(tmp_path / "run", {}) as store:
        for trajectory in episodes:
            store.append(trajectory)
    assert summarise(Store.open(tmp_path / "run").episodes()) == summarise(episodes)


def test_memory_does_not_grow_with_the_number_of_episodes():
    def grown(count):
        tally = Tally()
        tracemalloc.start()
        try:
            for i in range(count):
                tally.add(episode(f"task-{i % 100}", sample=i // 100, turns=[turn("parse")]))
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert grown(10_000) < grown(1_000) + 20_000


# ---------------------------------------------------------------------------- samples


def test_pass_at_k_and_pass_all_k_are_what_drawing_k_of_the_samples_gives():
    for count in range(1, 7):
        for passed in range(count + 1):
            samples = [True] * passed + [False] * (count - passed)
            for k in range(1, count + 1):
                draws = list(itertools.combinations(samples, k))
                any_passes = sum(map(any, draws)) / len(draws)
                all_pass = sum(map(all, draws)) / len(draws)
                assert pass_at_k(count, passed, k) == pytest.approx(any_passes)
                assert pass_all_k(count, passed, k) == pytest.approx(all_pass)


def test_pass_at_k_is_the_mean_over_groups():
    summary = summarise(run({"a": [1.0, 0.0, 0.0, 0.0], "b": [1.0] * 4, "c": [0.0] * 4}))
    assert summary.pass_at == pytest.approx({1: (0.25 + 1) / 3, 2: 1.5 / 3, 4: 2 / 3})
    assert summary.pass_all == pytest.approx({1: (0.25 + 1) / 3, 2: 1 / 3, 4: 1 / 3})


def test_groups_that_lost_samples_count_only_where_they_have_enough():
    summary = summarise(run({"a": [1.0, 0.0, None], "b": [1.0, 1.0, 1.0]}))
    assert summary.pass_at == {1: 0.75, 2: 1.0, 3: 1.0}
    assert summary.pass_all == {1: 0.75, 2: 0.5, 3: 1.0}


def test_single_samples_have_no_pass_at_k_and_no_dead_groups():
    summary = summarise(run({"a": [1.0], "b": [0.0]}))
    assert summary.pass_at == summary.pass_all == {}
    assert summary.dead_group_fraction is None
    assert summary.groups == 2


def test_a_group_is_dead_when_its_samples_all_scored_the_same():
    alike, mixed = [0.3, 0.3], [0.3, 0.30001]
    summary = summarise(run({"a": alike, "b": [1.0, 1.0, None], "c": mixed, "d": [1.0]}))
    assert summary.dead_group_fraction == pytest.approx(2 / 3)


def test_two_seeds_of_a_task_are_two_groups_of_one_unit():
    summary = summarise(
        [
            episode("a", seed=0),
            episode("a", seed=1, score=0.0),
            episode("b"),
            episode("b", sample=1),
        ]
    )
    assert summary.groups == 3
    assert summary.units["a"].mean == 0.5


# ---------------------------------------------------------------------------- intervals

score = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0))
table = st.lists(st.lists(score, min_size=1, max_size=5), min_size=1, max_size=12)


@given(table)
@settings(deadline=None)
def test_an_interval_is_inside_0_and_1_and_contains_the_mean(scores):
    low, high = interval(scores)
    flat = [x for samples in scores for x in samples]
    assert 0.0 <= low <= high <= 1.0
    assert low - 1e-9 <= math.fsum(flat) / len(flat) <= high + 1e-9


@given(table)
@settings(deadline=None)
def test_more_tasks_like_these_narrow_the_interval(scores):
    if len(scores) > 1:
        assert width(scores * 4) < width(scores)


@given(st.lists(score, min_size=1, max_size=12), st.integers(2, 6))
@settings(deadline=None)
def test_identical_samples_in_a_group_do_not_narrow_the_interval(scores, copies):
    once = interval([[x] for x in scores])
    again = interval([[x] * copies for x in scores])
    assert again == pytest.approx(once, abs=1e-6)


@given(table, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_episodes_does_not_matter(scores, chance):
    episodes = run({f"task {i}": samples for i, samples in enumerate(scores)})
    shuffled = list(episodes)
    chance.shuffle(shuffled)
    first, second = summarise(episodes), summarise(shuffled)
    assert second.interval == pytest.approx(first.interval, abs=1e-9)
    assert second.mean == pytest.approx(first.mean)
    rest = {"interval": None, "mean": None, "units": {}}
    assert replace(second, **rest) == replace(first, **rest)


@given(st.integers(1, 50), st.integers(1, 8), st.sampled_from([0.0, 1.0, 0.3]))
@settings(deadline=None)
def test_where_all_score_alike_the_tasks_are_what_counts(tasks, samples, value):
    assert interval([[value] * samples] * tasks) == pytest.approx(wilson(value, tasks))


def test_one_of_each_task_is_wilsons_interval_but_for_small_numbers():
    scores = [[1.0]] * 300 + [[0.0]] * 100
    assert interval(scores) == pytest.approx(wilson(0.75, 400), abs=1e-3)
    assert wilson(0.75, 400) == pytest.approx((0.7053, 0.7899), abs=1e-4)  # by hand


def test_samples_that_agree_within_tasks_count_as_one_a_task():
    agreeing = [[1.0] * 10] * 20 + [[0.0] * 10] * 20
    independent = [[1.0] * 5 + [0.0] * 5] * 40
    assert width(agreeing) > 2.5 * width(independent)


def test_no_scores_no_interval():
    assert clustered_interval([]) is None


def test_students_quantiles_are_as_in_the_tables():
    published = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 30: 2.042}
    for freedom, quantile in published.items():
        assert student(freedom) == pytest.approx(quantile, rel=2e-3)
    assert student(10**6) == pytest.approx(NormalDist().inv_cdf(0.975), rel=1e-5)


@pytest.mark.parametrize("tasks", [3, 10, 40])
@pytest.mark.parametrize("samples", [1, 8])
def test_intervals_cover_the_truth_about_as_often_as_they_claim(tasks, samples):
    """Tasks of random difficulty, drawn anew each time: 91 of 100 at least; they claim 95."""
    chance = random.Random(0)
    covered = 0
    for _ in range(400):
        scores = []
        for _ in range(tasks):
            difficulty = chance.betavariate(1, 1)
            scores.append([float(chance.random() < difficulty) for _ in range(samples)])
        low, high = interval(scores)
        covered += low <= 0.5 <= high
    assert covered >= 0.91 * 400


# ---------------------------------------------------------------------------- two runs


def test_runs_are_compared_task_by_task_on_what_both_scored():
    first = summarise(run({"a": [0.0], "b": [0.0], "c": [1.0], "only here": [1.0]}))
    second = summarise(run({"a": [1.0], "b": [0.0], "c": [1.0], "only there": [0.0]}))
    found = compare(first, second)
    assert found.units == 3
    assert found.mean == pytest.approx(1 / 3)
    assert found.interval.low < 1 / 3 < found.interval.high


def test_a_paired_difference_is_surer_than_two_separate_means():
    chance = random.Random(1)
    hard = {f"t{i}": [float(chance.random() < 0.5)] for i in range(200)}
    easier = {
        task: [1.0] if i % 10 == 0 else scores for i, (task, scores) in enumerate(hard.items())
    }
    low, high = compare(summarise(run(hard)), summarise(run(easier))).interval
    assert low > 0.0
    assert high - low < width(list(hard.values()))


@given(st.lists(st.tuples(score, score), min_size=1, max_size=20))
@settings(deadline=None)
def test_a_difference_is_inside_its_interval_and_turns_with_the_runs(pairs):
    first = summarise(run({f"t{i}": [a] for i, (a, _) in enumerate(pairs)}))
    second = summarise(run({f"t{i}": [b] for i, (_, b) in enumerate(pairs)}))
    there, back = compare(first, second), compare(second, first)
    assert -1.0 <= there.interval.low <= there.mean <= there.interval.high <= 1.0
    assert there.mean == pytest.approx(-back.mean)
    assert there.interval == pytest.approx((-back.interval.high, -back.interval.low))


def test_runs_with_nothing_in_common_are_not_compared():
    several, seeds = run({"a": [1.0], "b": [1.0]}), run({"c": [1.0]})
    assert compare(summarise(several), summarise(run({"c": [1.0], "d": [1.0]}))) is None
    assert compare(summarise(several), summarise(seeds)) is None
    assert compare(summarise([]), summarise([])) is None


def test_runs_of_a_single_task_are_compared_by_seed_if_it_is_the_same_task():
    def seeds(task, scores):
        return summarise(episode(task, seed, score=score) for seed, score in enumerate(scores))

    found = compare(seeds("trip", [0.0, 0.0, 1.0]), seeds("trip", [1.0, 0.0]))
    assert (found.units, found.mean) == (2, 0.5)
    assert compare(seeds("trip", [0.0, 0.0]), seeds("pizza", [1.0, 1.0])) is None
