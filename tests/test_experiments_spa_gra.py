"""The examples that compare rewards: that they run, and (slow) that what they say holds."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from agentgym.rewards import parse

EXAMPLES = Path(__file__).parent.parent / "examples" / "rewards"


def load(name):
    spec = importlib.util.spec_from_file_location(
        f"examples_rewards_{name}", EXAMPLES / f"{name}.py"
    )
    module = sys.modules[spec.name] = importlib.util.module_from_spec(
        spec
    )  # dataclasses look there
    spec.loader.exec_module(module)
    return module


spa, gra, alfworld = map(load, ("spa", "gra", "progress_alfworld"))


def test_spa_measures_every_credit_in_every_regime():
    for name, regime in spa.REGIMES.items():
        small = regime._replace(iterations=3)
        curves = spa.compare(small, seeds=2)
        assert curves.keys() == regime.rewards.keys()
        for each in curves.values():
            assert each.shape == (2, 4)
            assert ((each >= 0) & (each <= 1)).all()
            assert (each[:, 0] == each[0, 0]).all()  # all start from one policy
        assert all(credit in spa.table(name, curves) for credit in curves)


def test_spa_gives_the_same_numbers_again():
    regime = spa.REGIMES["errands, graded"]._replace(iterations=3)
    first, again = (spa.compare(regime, seeds=1) for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)


def test_the_exact_success_of_the_chain_is_what_sampling_finds():
    chain = spa.Chain()
    episodes = chain.play(chain.start(), 3000, np.random.default_rng(0))
    share = np.mean([each.outcome.score for each in episodes])
    assert abs(share - chain.success(chain.start())) < 0.015


@pytest.mark.parametrize("clock", [False, True])
def test_gra_measures_every_reward(clock):
    found = gra.compare(2, 3, clock)
    assert found.keys() == gra.REWARDS.keys()
    for name, each in found.items():
        assert all(curves.shape == (2, 3) for curves in each.values())
        assert (each["completion"] >= each["modification"]).all()
        assert (each["modification"] >= each["resolved"]).all()
        assert name in gra.table(found)
        if name == "outcome alone":
            assert each["reward"] == pytest.approx(each["outcome"])
        else:
            assert (each["reward"] >= each["outcome"]).all()


def test_alfworld_clones_trains_and_evaluates_with_every_reward():
    plan = alfworld.Plan(demonstrations=6, cloning=2, iterations=2, games=2, samples=3, evaluated=4)
    ends, curves = alfworld.compare(plan, seeds=1)
    assert list(ends) == ["the clone", *alfworld.REWARDS]
    for success, turns in (each[0] for each in ends.values()):
        assert 0 <= success <= 1 <= turns <= 20
    assert all(each.shape == (1, 2) for each in curves.values())


def test_the_memory_of_the_alfworld_policy_holds_what_was_told():
    memory = alfworld.Memory("clean some mug and put it in shelf")
    memory.update("go to drawer 1", "You arrive at drawer 1. On the drawer 1, you see a mug 2.")
    assert (memory.here, memory.seen, memory.told) == ("drawer 1", "drawer 1", "wanted")
    memory.update("take mug 2 from drawer 1", "You pick up the mug 2 from the drawer 1.")
    assert (memory.held, memory.cleaned) == ("mug", False)
    assert memory.features(["look", "go to shelf 1"]).shape == (2, 6)


@pytest.mark.parametrize("module", [spa, gra, alfworld], ids=["spa", "gra", "progress_alfworld"])
def test_a_plot_is_drawn_or_said_to_be_missing(module, tmp_path):
    path = tmp_path / "plot.png"
    if module is spa:
        said = module.plot({"chain of 7": {"SPA": np.zeros((1, 3))}}, path)
    elif module is gra:
        names = ("reward", "completion", "resolved")
        said = module.plot({"outcome alone": {name: np.zeros((1, 3)) for name in names}}, path)
    else:
        said = module.plot({"outcome alone": np.zeros((1, 3))}, path)
    assert path.exists() == said.startswith("plot: ")


def test_every_reward_of_the_examples_can_be_read():
    for text in [*gra.REWARDS.values(), *alfworld.REWARDS.values()]:
        assert parse(str(parse(text))) == parse(text)


# ------------------------------------------------------------------------------- what they say


@pytest.mark.slow
def test_spa_helps_where_the_outcome_is_a_sum_and_not_where_it_is_a_conjunction():
    graded = spa.REGIMES["errands, graded"]
    curves = spa.compare(graded, seeds=3, quick=True)
    soon = {name: max(spa.reached(each, graded.level)) for name, each in curves.items()}
    assert soon["SPA, each turn its own"] < 0.5 * soon["terminal broadcast"]
    assert soon["SPA, to go"] < soon["terminal broadcast"]
    chain = spa.REGIMES["chain of 7"]
    curves = spa.compare(chain, seeds=3, quick=False)
    soon = {name: np.mean(spa.reached(each, chain.level)) for name, each in curves.items()}
    assert abs(soon["SPA"] - soon["terminal broadcast"]) < 4
    assert (curves["SPA - 0.1 per invalid action"][:, -1] > 0.95).all()
    assert (curves["SPA + 0.5 per valid action"][:, -1] < 0.01).all()


@pytest.mark.slow
def test_a_sum_over_turns_undoes_the_outcome_and_a_gate_or_a_mean_saves_it():
    found = gra.compare(3, 100)
    end = {name: {m: gra.ends(c).mean() for m, c in each.items()} for name, each in found.items()}
    summed, alone = end["D-RA, sum"], end["outcome alone"]
    assert summed["completion"] < 0.02 < 0.05 < found["D-RA, sum"]["completion"][:, 0].mean()
    assert summed["reward"] > found["D-RA, sum"]["reward"][:, 0].mean()
    for gate in ("0.25", "0.5"):
        gated = end[f"G-RA, sum, from {gate}"]
        assert gated["completion"] > 0.7
        assert gated["resolved"] < alone["resolved"]
    for name in ("D-RA, mean", "G-RA, mean, from 0.5"):
        assert end[name]["completion"] > 0.9
        assert abs(end[name]["resolved"] - alone["resolved"]) < 0.1


@pytest.mark.slow
def test_progress_adds_to_the_outcome_and_a_summed_bonus_undoes_it():
    ends, _ = alfworld.compare(alfworld.Plan(), seeds=2)
    success = {name: each[:, 0] for name, each in ends.items()}
    assert success["outcome alone"].mean() > success["the clone"].mean() + 0.2
    assert success["outcome + progress"].mean() > success["outcome alone"].mean()
    assert (success["outcome + summed bonus"] < success["the clone"]).all()
    assert success["the same, gated"].mean() > success["the clone"].mean()
