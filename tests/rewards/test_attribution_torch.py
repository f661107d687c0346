"""Attribution by a small network: it is fitted by torch, and read without."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import missing

from agentgym.errors import RegistryError, RewardError
from agentgym.rewards import bind, parse
from agentgym.rewards.attribution import ProgressEstimator, Spa
from agentgym.rewards.attribution_torch import NetworkEstimator
from agentgym.rewards.turn_features import hashed_turns
from agentgym.types import Completion, EpisodeKey, Outcome, Task, Trajectory, Turn

DOORS = [  # a door is opened once the key is had, and having it twice is no better
    (["key", "open"], 1.0),
    (["open", "key"], 0.0),
    (["key", "wait", "open"], 1.0),
    (["open", "wait", "wait"], 0.0),
    (["wait", "key", "wait"], 0.0),
    (["wait", "wait", "key", "open"], 1.0),
    (["wait", "open", "key", "wait"], 0.0),
    (["key", "key", "open"], 1.0),
    (["wait"], 0.0),
    (["open"], 0.0),
    (["key"], 0.0),
    (["wait", "open"], 0.0),
]
FIT = dict(features=["action"], dimension=64, hidden=8, epochs=150, learning_rate=0.03)


def episode(actions, score, sample=0):
    turns = [Turn("", Completion(action), action, None, 0.0, {}) for action in actions]
    outcome = None if score is None else Outcome(score, score == 1.0)
    return Trajectory(EpisodeKey("e", "t", 0, sample), Task("t"), turns, outcome=outcome)


def doors():
    return [episode(actions, score, i) for i, (actions, score) in enumerate(DOORS)]


@pytest.fixture(scope="module")
def network():
    if find_spec("torch") is None:
        missing("torch is not installed: scripts/setup.sh transformers")
    return NetworkEstimator.fit(doors(), **FIT)


@pytest.fixture
def file(network, tmp_path):
    path = tmp_path / "doors.json"
    network.save(path)
    return path


def test_what_a_turn_is_worth_may_depend_on_what_came_before(network):
    ridge = ProgressEstimator.fit(doors(), features=["action"], ridge=1e-6)
    assert ridge.loss(doors()) > 0.1  # an action alone does not tell
    assert network.loss(doors()) < 0.01
    with_key = network.predict(episode(["key", "open"], None))
    without = network.predict(episode(["wait", "open"], None))
    assert with_key[1] - without[1] > 0.5
    assert (network.episodes, network.successes) == (12, 4)


def test_credit_of_a_turn_stays_when_later_turns_are_added(network):
    short, long = (network.predict(episode(["key", "open", "key"][:n], None)) for n in (2, 3))
    assert long[:2].tolist() == short.tolist()


def test_the_same_seed_gives_the_same_file_in_any_order_and_another_seed_another(network, tmp_path):
    again = NetworkEstimator.fit([*doors()[::-1], episode(["key"], None, 9)], **FIT)
    other = NetworkEstimator.fit(doors(), **FIT, seed=1)
    sums = [each.save(tmp_path / "x.json") for each in (network, again, other)]
    assert sums[0] == sums[1] != sums[2]


def test_an_episode_without_turns_has_no_credit_and_its_outcome_is_a_loss(network):
    assert network.predict(episode([], None)).shape == (0,)
    assert network.loss([episode([], 1.0)]) == 1.0


def test_turns_that_show_none_of_the_features_are_fitted_too(network):
    blind = NetworkEstimator.fit(doors()[:1], **{**FIT, "features": ["observation"]})
    assert blind.predict(doors()[0]).sum() == pytest.approx(1.0, abs=0.1)


def test_fitting_leaves_torch_as_it_was(network):
    import torch

    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    NetworkEstimator.fit(doors(), **{**FIT, "epochs": 1})
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_numpy_predicts_what_torch_was_fitted_to(network):
    import torch

    gru = torch.nn.GRU(8, 8, batch_first=True, dtype=torch.float64)
    given = {name: torch.tensor(value) for name, value in network.weights.items()}
    with torch.no_grad():
        for theirs, ours in (("weight_ih", "input"), ("weight_hh", "hidden")):
            getattr(gru, f"{theirs}_l0").copy_(given[ours])
            getattr(gru, f"{theirs.replace('weight', 'bias')}_l0").copy_(given[f"{ours}_bias"])
        played = episode(["wait", "key", "open"], None)
        turns = torch.tensor(hashed_turns(played, ("action",), 64))
        credit = gru((turns @ given["words"]).tanh()[None])[0][0] @ given["head"]
    assert network.predict(played) == pytest.approx(credit.numpy(), abs=1e-12)


def test_a_file_gives_back_the_same_network(network, file, tmp_path):
    loaded = NetworkEstimator.load(file, network.save(tmp_path / "again.json"))
    for each in doors():
        assert loaded.predict(each).tolist() == network.predict(each).tolist()
    with pytest.raises(RewardError, match="is not the estimator that was meant"):
        NetworkEstimator.load(file, "0" * 64)


def test_the_signal_takes_either_kind_of_file(network, file, tmp_path):
    done = episode(["key", "open"], 1.0)
    reward = parse(f"spa({str(file)!r}, calibrate='shift')")
    assert parse(str(reward)) == reward
    (found,) = bind(reward, set()).score([done])
    assert found.total == pytest.approx(1.0, abs=1e-12)
    plain = Spa(str(file)).values(done)
    assert plain == network.predict(done).tolist()
    ridge = tmp_path / "ridge.json"
    ProgressEstimator.fit(doors()).save(ridge)
    assert type(Spa(str(ridge)).model) is ProgressEstimator


def test_a_file_is_read_and_used_without_torch(file):
    program = f"""
import sys
sys.modules["torch"] = None
from agentgym.rewards.attribution import Spa
from agentgym.types import *
t = Trajectory(EpisodeKey("e", "t", 0), Task("t"),
               [Turn("", Completion(""), a, None, 0.0, {{}}) for a in ("key", "open")])
print(Spa({str(file)!r}).values(t))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=60
    )
    expected = NetworkEstimator.load(file).predict(episode(["key", "open"], None))
    assert json.loads(done.stdout) == pytest.approx(expected, abs=1e-12)


def test_a_network_that_knows_failures_only_is_refused(network, tmp_path):
    path = tmp_path / "failures.json"
    failures = [episode(["a"], 0.0, i) for i in range(3)]
    NetworkEstimator.fit(failures, **{**FIT, "epochs": 1}).save(path)
    with pytest.raises(RewardError, match=r"credits nothing .* 3 episodes of which 0 had"):
        Spa(str(path))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (dict(features=["actions"]), "did you mean 'action'"),
        (dict(hidden=0), "hidden is 0: give at least 1"),
        (dict(dimension=0), "at least 1"),
        (dict(epochs=0), "at least 1"),
        (dict(learning_rate=0.0), "above 0"),
        (dict(weight_decay=np.nan), "at least 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(wrong, says):
    with pytest.raises(RewardError, match=says):
        NetworkEstimator.fit(doors(), **{**FIT, **wrong})


def test_nothing_to_fit_to_and_no_torch_to_fit_with_are_named(monkeypatch, network):
    with pytest.raises(RewardError, match="no scored episode"):
        NetworkEstimator.fit([episode(["a"], None)])
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RegistryError, match=r"pip install 'agentgym-env\[transformers\]'"):
        NetworkEstimator.fit(doors(), **FIT)


def test_a_damaged_file_is_refused(file, tmp_path):
    document = json.loads(file.read_text())
    del document["weights"]["head"][0]
    broken = tmp_path / "broken.json"
    for text in (json.dumps(document), "{}", "[]", '{"kind": "other"}'):
        broken.write_text(text)
        with pytest.raises(RewardError, match="is no network"):
            NetworkEstimator.load(broken)
