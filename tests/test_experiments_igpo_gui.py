"""The experiments on information gain and on pointing: that they run, and that what they say holds.

What is slow runs them in their quick form, with seeds of their own: its inequalities leave room.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "rewards"


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def igpo():
    return load("igpo")


@pytest.fixture(scope="module")
def gui_g2():
    return load("gui_g2")


# ----------------------------------------------------------------------------------- they run


def test_the_search_experiment_runs_and_prints_its_tables(igpo, tmp_path, capsys):
    given = ["--quick", "--seeds", "1", "--iterations", "3", "--out", str(tmp_path / "igpo.png")]
    found = igpo.main(given)
    printed = capsys.readouterr().out
    assert list(found["two hops"]) == list(igpo.ROWS)
    for world, runs in found.items():
        assert world in printed
        for name, (run,) in runs.items():
            assert name in printed
            accuracy, turns, dead, idle = run
            assert run.shape == (4, 3)
            assert ((accuracy >= 0) & (accuracy <= 1)).all()
            assert ((turns >= 1) & (turns <= igpo.TURNS)).all()
            assert ((dead >= 0) & (dead <= 1)).all()
            if "outcome" in igpo.ROWS[name][0]:
                assert (idle <= dead).all()  # it learns wherever outcomes differ
    assert "60.2" in printed
    assert (tmp_path / "igpo.png").exists() == (importlib.util.find_spec("matplotlib") is not None)


def test_a_search_is_the_same_with_the_same_seed(igpo):
    reward, _ = igpo.ROWS["IGPO"]
    runs = [igpo.train(reward, seed, igpo.World(), 2) for seed in (3, 3, 4)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_the_policy_tells_its_own_likelihood(igpo):
    policy = igpo.Policy(igpo.World())
    before, after = (
        policy.measure(seen, (igpo.ANSWER + 7,), "") for seen in ((0,), (0, igpo.ANSWER + 7))
    )
    assert before == pytest.approx([-np.log(igpo.ANSWERS)])
    assert after > before


def test_what_a_search_is_said_to_do_is_the_slope_of_its_likelihood(igpo):
    policy = igpo.Policy(igpo.World())
    task = igpo.Task("t", data={"kind": 0, "right": [1, 2], "answer": "7"})
    rng = np.random.default_rng(0)
    step = 1e-6
    for sample in range(20):
        trajectory, choices = igpo.play(policy, task, sample, rng)
        assert len(choices) == len(trajectory.turns) <= igpo.TURNS
        for known, of_logits, _ in choices[: igpo.TURNS - 1]:
            chosen = int(of_logits.argmax())
            logits = policy.search[0, known]
            slope = [
                np.log(igpo.softmax(logits + step * one)[chosen] / igpo.softmax(logits)[chosen])
                for one in np.eye(logits.size)
            ]
            assert np.array(slope) / step == pytest.approx(of_logits, abs=1e-4)


def test_the_pointing_experiment_runs_and_prints_its_tables(gui_g2, tmp_path, capsys):
    given = ["--seeds", "1", "--iterations", "2", "--out", str(tmp_path / "gui_g2.png")]
    found = gui_g2.main(given)
    printed = capsys.readouterr().out
    assert list(found["near"]) == list(gui_g2.REWARDS)
    assert list(found["far"]) == list(gui_g2.FAR)
    starts = set()
    for runs in found.values():
        for name, (run,) in runs.items():
            assert name in printed
            assert run.hits.shape == (3,)
            for share in (*run.hits, run.small, run.iou, run.dead):
                assert 0 <= share <= 1
        starts |= {run.hits[0] for (run,) in runs.values()}
    assert len(starts) == 2  # near and far, whatever the reward
    assert "93.3" in printed
    there = importlib.util.find_spec("matplotlib") is not None
    assert (tmp_path / "gui_g2.png").exists() == there


def test_pages_hold_elements_of_the_sizes_they_say(gui_g2):
    boxes = gui_g2.page(np.random.default_rng(0))
    sizes = boxes[:, 2:] - boxes[:, :2]
    assert boxes.shape == (gui_g2.ELEMENTS, 4)
    assert sizes.min() >= 20
    assert sizes.max() <= 160
    assert boxes.min() >= 0
    assert boxes.max() <= gui_g2.SIDE_PX


# ------------------------------------------------------------------------------- what they say


def end(runs, name):
    return np.mean([run[0, -10:].mean() for run in runs[name]])


@pytest.mark.slow
def test_gain_and_outcome_together_learn_sooner_than_either(igpo):
    found = igpo.main(["--quick", "--seeds", "2"])
    runs = found["two hops"]

    def sooner(name):
        return np.mean([run[0, 40:50].mean() for run in runs[name]])

    outcome, gain, *both = igpo.ROWS
    for name in both:
        assert sooner(name) > sooner(outcome) + 0.15
        assert end(runs, name) > end(runs, gain) + 0.3
        assert np.mean([run[1, -10:].mean() for run in runs[name]]) < 3.5
    assert np.mean([run[1, -10:].mean() for run in runs[outcome]]) > 4.5
    assert np.mean([run[3, :20].mean() for run in runs[outcome]]) > 0.3
    assert np.mean([run[3, :20].mean() for run in runs["IGPO"]]) < 0.1
    # where wrong pages make the answer likelier, it is the other way round
    (bait,) = [runs for world, runs in found.items() if world.startswith("bait")]
    assert end(bait, outcome) > end(bait, "IGPO") + 0.3


@pytest.mark.slow
def test_rewards_that_end_at_the_edge_teach_less(gui_g2):
    found = gui_g2.main(["--quick"])
    hits, small, dead = (
        {
            (start, name): np.mean([read(run) for run in each])
            for start, runs in found.items()
            for name, each in runs.items()
        }
        for read in (lambda run: run.hits[-1], lambda run: run.small, lambda run: run.dead)
    )
    point, inside, both, distance = gui_g2.QUICK
    assert hits["near", both] > hits["near", point] + 0.1
    assert hits["near", both] > hits["near", inside] + 0.1
    assert small["near", both] > small["near", point] + 0.1
    assert dead["near", point] > 0.3
    assert dead["near", both] < 0.05
    # what is plain is as good from near, and better from far
    assert hits["near", distance] >= hits["near", both] - 0.02
    assert hits["far", distance] > hits["far", both] + 0.05
    assert hits["far", both] > hits["far", point] + 0.3
