"""Attribution of the outcome to turns: estimators, their files, and the signal made of them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards import Stage, bind, parse
from agentgym.rewards.attribution import ProgressEstimator, Spa, calibrated, ridge_weights
from agentgym.types import Completion, EpisodeKey, Outcome, Task, Trajectory, Turn

CREDIT = np.array([0.1, 0.2, -0.05, 0.6])
DESIGN = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 1]], float)
WORTH = np.array([0.3, 0.5, 0.2])


def episode(actions, score, sample=0, facts=(), observations=()):
    facts = list(facts) or [{}] * len(actions)
    seen = list(observations) or [""] * len(actions)
    turns = [
        Turn(seen[i], Completion(action), action, None, 0.0, facts[i])
        for i, action in enumerate(actions)
    ]
    outcome = None if score is None else Outcome(score, score == 1.0)
    return Trajectory(EpisodeKey("e", "t", 0, sample), Task("t"), turns, outcome=outcome)


ERRANDS = {"sweep": 0.3, "dust": 0.5, "mop": 0.2, "wait": 0.0}


def errands(plans):
    return [
        episode(plan, round(sum(ERRANDS[a] for a in plan), 9), i) for i, plan in enumerate(plans)
    ]


PLANS = [
    ["sweep"],
    ["sweep", "dust", "wait"],
    ["mop", "sweep", "dust"],
    ["wait", "dust", "mop"],
    ["wait"],
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "errands.json"
    ProgressEstimator.fit(errands(PLANS), features=["action"], ridge=1e-6).save(path)
    return path


# ------------------------------------------------------------------------------ worked numbers


def test_the_worked_example():
    assert CREDIT.sum() == pytest.approx(0.85)
    assert (CREDIT.sum() - 1) ** 2 == pytest.approx(0.0225)
    shifted = calibrated(CREDIT, 1.0, "shift")
    assert shifted == pytest.approx([0.1375, 0.2375, -0.0125, 0.6375], abs=5e-7)
    scaled = calibrated(CREDIT, 1.0, "scale")
    assert scaled == pytest.approx([0.117647, 0.235294, -0.058824, 0.705882], abs=5e-7)


def test_least_squares_recovers_what_events_are_worth_and_ridge_shrinks_it():
    assert ridge_weights(DESIGN, DESIGN @ WORTH, 1e-12) == pytest.approx(WORTH, abs=1e-9)
    found = ridge_weights(DESIGN, DESIGN @ WORTH, 1e-3)
    assert found == pytest.approx([0.300066, 0.499634, 0.200232], abs=5e-7)


def test_both_closed_forms_agree():
    wide = np.hstack([DESIGN, DESIGN[:, ::-1]])
    dual = ridge_weights(wide, DESIGN @ WORTH, 0.1)
    primal = np.linalg.solve(wide.T @ wide + 0.1 * np.eye(6), wide.T @ (DESIGN @ WORTH))
    assert dual == pytest.approx(primal)


def test_scaling_falls_back_to_shifting_where_the_sum_says_the_opposite_or_nothing():
    for credit in (np.array([-0.5, 0.2]), np.array([0.5, -0.5])):
        expected = calibrated(credit, 1.0, "shift")
        assert calibrated(credit, 1.0, "scale").tolist() == expected.tolist()
    assert calibrated(np.array([0.5, 0.2]), 0.0, "scale").tolist() == [0, 0]


# ------------------------------------------------------------------------------------- fitting


def test_an_additive_task_is_told_apart_into_its_errands():
    estimator = ProgressEstimator.fit(errands(PLANS), features=["action"], ridge=1e-9)
    found = estimator.predict(episode(list(ERRANDS), None))
    assert found == pytest.approx(list(ERRANDS.values()), abs=1e-6)
    assert estimator.loss(errands(PLANS)) == pytest.approx(0, abs=1e-12)
    assert (estimator.episodes, estimator.successes) == (5, 4)


def test_facts_words_and_what_was_seen_can_be_looked_at():
    plain = dict(features=["fact:x"], ridge=1e-9)
    lists = [[{"x": 1}, {"x": 2}], [{"x": 0.5}], [{}, {"x": None}]]
    scores = [0.75, 0.125, 0.0]
    episodes_ = [
        episode(["a"] * len(facts), score, i, facts)
        for i, (facts, score) in enumerate(zip(lists, scores, strict=True))
    ]
    estimator = ProgressEstimator.fit(episodes_, **plain)
    assert estimator.predict(episodes_[0]) == pytest.approx([0.25, 0.5])
    assert estimator.predict(episodes_[2]).tolist() == [0, 0]
    seen = [
        episode(["go", "go"], 1.0, 0, observations=["a hall", "the KEY, here"]),
        episode(["go"], 0.0, 1, observations=["a hall"]),
    ]
    credit = ProgressEstimator.fit(seen, features=["observation"], ridge=1e-3).predict(seen[0])
    assert credit[1] > 0.9
    assert abs(credit[0]) < 0.01
    credit = ProgressEstimator.fit(seen, features=["feedback"], ridge=1e-3).predict(seen[0])
    assert credit[0] > 0.9  # which led to the key


def test_what_is_not_scored_is_left_out_of_the_fit():
    some = errands(PLANS)
    with_more = [*some, episode(["dust"], None, 9)]
    a, b = (ProgressEstimator.fit(each, features=["action"]) for each in (some, with_more))
    assert a.weights.tolist() == b.weights.tolist()


def test_nothing_to_fit_to_is_refused():
    with pytest.raises(RewardError, match="no scored episode"):
        ProgressEstimator.fit([episode(["a"], None)])
    with pytest.raises(RewardError, match="no episode is scored"):
        ProgressEstimator.fit(errands(PLANS)).loss([])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(features=["actions"]), "did you mean 'action'"),
        (dict(features=[]), "at least one"),
        (dict(features=["words", "words"]), "none twice"),
        (dict(ridge=0.0), "above 0"),
        (dict(dimension=0), "at least 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(wrong, says):
    with pytest.raises(RewardError, match=says):
        ProgressEstimator.fit(errands(PLANS), **wrong)


plans = st.lists(st.sampled_from(sorted(ERRANDS)), min_size=1, max_size=4)
runs = st.lists(st.tuples(plans, st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=6)


@given(runs, st.randoms())
def test_the_order_of_episodes_does_not_change_a_bit_of_the_fit(listed, random):
    fitted = [episode(plan, score, i) for i, (plan, score) in enumerate(listed)]
    shuffled = random.sample(fitted, len(fitted))
    a, b = (ProgressEstimator.fit(each, dimension=64) for each in (fitted, shuffled))
    assert a.weights.tolist() == b.weights.tolist()


@given(st.lists(plans, min_size=1, max_size=6))
def test_failures_alone_credit_nothing(listed):
    fitted = ProgressEstimator.fit([episode(plan, 0.0, i) for i, plan in enumerate(listed)])
    assert not fitted.weights.any()


@given(
    st.lists(st.floats(-5, 5, allow_nan=False), min_size=1, max_size=9).map(np.array),
    st.floats(0, 1),
    st.sampled_from(["shift", "scale"]),
)
def test_calibrated_credit_sums_to_the_outcome(credit, outcome, how):
    assert calibrated(credit, outcome, how).sum() == pytest.approx(outcome, abs=1e-9)


# --------------------------------------------------------------------------------------- files


def test_a_file_gives_back_the_same_estimator_and_equal_ones_are_equal_files(file, tmp_path):
    estimator = ProgressEstimator.load(file)
    again = tmp_path / "again.json"
    sha256 = estimator.save(again)
    assert again.read_bytes() == file.read_bytes()
    loaded = ProgressEstimator.load(again, sha256)
    assert loaded.weights.tolist() == estimator.weights.tolist()
    assert (loaded.features, loaded.ridge) == (("action",), 1e-6)


def test_features_are_hashed_alike_in_every_process(file):
    program = f"""
from agentgym.rewards.attribution import ProgressEstimator
from agentgym.types import *
t = Trajectory(EpisodeKey("e", "t", 0), Task("t"),
               [Turn("", Completion(""), a, None, 0.0, {{}}) for a in {list(ERRANDS)}])
print(ProgressEstimator.load({str(file)!r}).predict(t).tolist())
"""
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert json.loads(said[0]) == pytest.approx(list(ERRANDS.values()), abs=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"kind": "other"}',
        '{"kind": "agentgym ridge progress estimator 1", "dimension": 2, "places": [5], '
        '"weights": [1.0], "features": ["action"], "ridge": 1, "episodes": 1, "successes": 1}',
    ],
)
def test_what_is_no_estimator_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(RewardError, match="is no estimator"):
        ProgressEstimator.load(path)


# -------------------------------------------------------------------------------------- signal


def test_the_signal_names_its_file_and_what_is_in_it(file):
    reward = parse(f"spa({str(file)!r}, calibrate='shift')")
    assert isinstance(reward, Spa)
    assert reward.sha256
    assert reward.sha256 in str(reward)
    assert parse(str(reward)) == reward


def test_another_file_under_the_same_name_is_refused(file):
    text = str(Spa(str(file)))
    ProgressEstimator.fit(errands(PLANS), features=["words"]).save(file)
    assert parse(text)  # what was read already stays
    other = text.replace(text.split("sha256='")[1][:8], "00000000")
    with pytest.raises(RewardError, match="is not the estimator that was meant"):
        parse(other)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(RewardError, match=r"ProgressEstimator\.fit\(trajectories\)\.save\(path\)"):
        Spa(str(tmp_path / "none.json"))


def test_an_estimator_that_knows_failures_only_is_refused_not_silently_zero(tmp_path):
    path = tmp_path / "failures.json"
    ProgressEstimator.fit([episode(["a"], 0.0, i) for i in range(3)]).save(path)
    with pytest.raises(RewardError, match=r"spa: .* credits nothing .* 3 episodes of which 0 had"):
        Spa(str(path))


def test_calibrated_credit_is_the_outcome_in_another_place(file):
    done = episode(["sweep", "wait", "dust", "mop"], 1.0)
    for how in ("shift", "scale"):
        (found,) = bind(Spa(str(file), calibrate=how), set()).score([done])
        assert found.total == pytest.approx(1.0, abs=1e-12)
        assert found.per_turn == pytest.approx([0.3, 0, 0.5, 0.2], abs=1e-4)


def test_uncalibrated_credit_is_causal_and_calibrated_is_not(file):
    assert Spa(str(file)).stage is Stage.CAUSAL
    assert Spa(str(file), calibrate="scale").stage is Stage.FINISHED
    with pytest.raises(RewardError, match=r"spa, calibrated: .* has no outcome"):
        Spa(str(file), calibrate="scale").values(episode(["mop"], None))
    with pytest.raises(RewardError, match="'shift', 'scale'"):
        Spa(str(file), calibrate="stretch")


@given(plans, plans)
def test_credit_of_a_turn_stays_when_later_turns_are_added(shorter, later):
    estimator = ProgressEstimator.fit(errands(PLANS))
    short = estimator.predict(episode(shorter, None))
    assert estimator.predict(episode(shorter + later, None))[: len(shorter)] == pytest.approx(short)


def test_facts_it_looks_at_are_needed(tmp_path):
    path = tmp_path / "facts.json"
    fitted = [episode(["a"], 1.0, 0, [{"x": 1.0}])]
    ProgressEstimator.fit(fitted, features=["fact:x"]).save(path)
    with pytest.raises(RewardError, match="needs the fact 'x'"):
        bind(Spa(str(path)), {"y"})
    assert bind(Spa(str(path)), {"x"})


def test_the_papers_fused_reward(file):
    """Attribution plus half a point for each valid action, which pays for length: in full."""
    done = episode(["sweep", "dust"], 0.8)
    done.turns[0].invalid = "inadmissible"
    (found,) = bind(parse(f"spa({str(file)!r}) + 0.5 * valid.sum()"), set()).score([done])
    assert found.per_turn == pytest.approx([0.3, 0.5 + 0.5], abs=1e-4)
    (neutral,) = bind(parse(f"spa({str(file)!r}) + 0.5 * valid"), set()).score([done])
    assert neutral.per_turn == pytest.approx([0.3, 0.5 + 0.25], abs=1e-4)
