"""What each turn contributed to the outcome, by a small recurrent network.

Unlike the ridge regression of `attribution`, it may credit a turn for what came before it: the key
that is found is worth something, the key that is found again is not. Fitting takes torch; reading
what was fitted, and predicting, do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, Self

import numpy as np

from agentgym.errors import RegistryError, RewardError
from agentgym.rewards.attribution import NETWORK, Estimator, check_finite, fitting
from agentgym.rewards.batch import Floats
from agentgym.rewards.turn_features import check_features, hashed_turns
from agentgym.types import Trajectory


@dataclass(frozen=True, eq=False)
class NetworkEstimator(Estimator):
    """A recurrent network (GRU) over the hashed features of an episode's turns.

    Fitted to `loss = mean over episodes of (sum_t c_t - outcome)^2`. What a turn contributes
    depends on it and on the turns before it, on none after.

    Source: SPA-RL (arXiv 2505.20732), with a small network in the place of a language model's head.
    """

    kind: ClassVar[str] = NETWORK
    title: ClassVar[str] = "network"

    weights: Mapping[str, Floats]
    """float64: `words` [D, H], `input` and `hidden` [3H, H], their `_bias` [3H], `head` [H]."""
    seed: int

    @classmethod
    def fit(
        cls,
        trajectories: Iterable[Trajectory],
        *,
        features: Sequence[str] = ("action", "words", "observation"),
        hidden: int = 32,
        dimension: int = 1024,
        epochs: int = 300,
        learning_rate: float = 0.01,
        weight_decay: float = 1e-3,
        seed: int = 0,
    ) -> NetworkEstimator:
        """Fit it to the outcomes of episodes, all at once; those that are not scored are left out.

        The same episodes in any order, and the same seed, give the same network with the same torch
        on the same kind of machine.

        Args:
            trajectories: In any order.
            features: As for `ProgressEstimator.fit`.
            hidden: Width of the network.
            dimension: Features are hashed into so many.
            epochs: Steps of AdamW.
            learning_rate: Of AdamW.
            weight_decay: Of AdamW.
            seed: Of the weights to begin with.

        Raises:
            RewardError: There is nothing to fit to, or a parameter is wrong.
            RegistryError: torch is not installed.
        """
        features = tuple(features)
        check_features(features)
        for name, value in (("hidden", hidden), ("dimension", dimension), ("epochs", epochs)):
            if value < 1:
                raise RewardError(f"{name} is {value!r}: give at least 1")
        if not 0.0 < learning_rate < np.inf:
            raise RewardError(f"learning_rate is {learning_rate!r}: give a number above 0")
        if not 0.0 <= weight_decay < np.inf:
            raise RewardError(f"weight_decay is {weight_decay!r}: give a number of at least 0")
        if find_spec("torch") is None:
            raise RegistryError(
                "fitting a network needs torch: pip install 'agentgym-env[transformers]'"
            )
        rows, outcomes = fitting(
            (trajectory for trajectory in trajectories if trajectory.turns),
            lambda each: _sparse(each, features, dimension),
        )
        weights = _fitted(
            rows,
            outcomes.tolist(),
            (dimension, hidden),
            epochs,
            learning_rate,
            weight_decay,
            seed,
        )
        return cls(
            features=features,
            episodes=len(rows),
            successes=int(np.count_nonzero(outcomes)),
            weights=weights,
            seed=seed,
        )

    @property
    def blank(self) -> bool:
        """Whether it has seen no success, and so credits noise."""
        return not self.successes

    def predict(self, trajectory: Trajectory) -> Floats:
        """float64[T]: what each turn contributed; known when the turn has ended."""
        given = self.weights
        turns = hashed_turns(trajectory, self.features, len(given["words"]))
        inputs = np.tanh(turns @ given["words"]) @ given["input"].T + given["input_bias"]
        state = np.zeros(len(given["head"]))
        credit = np.empty(len(turns))
        for t, (reset, update, new) in enumerate(inputs.reshape(-1, 3, state.size)):
            old = (given["hidden"] @ state + given["hidden_bias"]).reshape(3, -1)
            keep = _sigmoid(update + old[1])
            state = (1 - keep) * np.tanh(new + _sigmoid(reset + old[0]) * old[2]) + keep * state
            credit[t] = given["head"] @ state
        return credit

    def contents(self) -> dict[str, Any]:
        """All weights, by name."""
        return {
            "features": self.features,
            "seed": self.seed,
            "episodes": self.episodes,
            "successes": self.successes,
            "weights": {name: value.tolist() for name, value in self.weights.items()},
        }

    @classmethod
    def of_contents(cls, contents: dict[str, Any]) -> Self:
        """Checked: the features, the shapes and that all is finite."""
        weights = {
            name: np.array(value, dtype=np.float64) for name, value in contents["weights"].items()
        }
        _check_shapes(weights)
        check_finite(*weights.values())
        features = tuple(map(str, contents["features"]))
        check_features(features)
        return cls(
            features=features,
            episodes=int(contents["episodes"]),
            successes=int(contents["successes"]),
            weights=weights,
            seed=int(contents["seed"]),
        )


_Turns = list[tuple[list[int], list[float]]]
"""Places and values of the features of each turn."""


def _sparse(trajectory: Trajectory, features: tuple[str, ...], dimension: int) -> _Turns:
    rows = hashed_turns(trajectory, features, dimension)
    return [((places := np.flatnonzero(row)).tolist(), row[places].tolist()) for row in rows]


def _fitted(
    episodes: list[_Turns],
    outcomes: list[float],
    shape: tuple[int, int],
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
) -> dict[str, Floats]:
    """The weights, by torch: float64, on the CPU, one thread."""
    import torch

    dimension, hidden = shape
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            words = torch.nn.EmbeddingBag(dimension, hidden, mode="sum", dtype=torch.float64)
            torch.nn.init.normal_(words.weight, std=0.1)
            recurrent = torch.nn.GRU(hidden, hidden, batch_first=True, dtype=torch.float64)
            head = torch.nn.Linear(hidden, 1, bias=False, dtype=torch.float64)
            flat = [turn for turns in episodes for turn in turns]
            sizes = torch.tensor([0, *(len(places) for places, _ in flat)])[:-1]
            bags = (
                torch.tensor([place for places, _ in flat for place in places], dtype=torch.long),
                sizes.cumsum(0),
                torch.tensor([value for _, values in flat for value in values]).double(),
            )
            lengths = torch.tensor([len(turns) for turns in episodes])
            real = torch.arange(int(lengths.max())) < lengths[:, None]
            wanted = torch.tensor(outcomes, dtype=torch.float64)
            parameters = [*words.parameters(), *recurrent.parameters(), *head.parameters()]
            means, squares = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
            for epoch in range(1, epochs + 1):
                seen = torch.zeros((*real.shape, hidden), dtype=torch.float64)
                seen[real] = words(bags[0], bags[1], per_sample_weights=bags[2]).tanh()
                credit = head(recurrent(seen)[0])[..., 0] * real
                loss = (credit.sum(1) - wanted).square().mean()
                # AdamW; torch.optim's would import a compiler first
                slopes = torch.autograd.grad(loss, parameters)
                with torch.no_grad():
                    for p, slope, mean, square in zip(
                        parameters, slopes, means, squares, strict=True
                    ):
                        mean.lerp_(slope, 0.1)
                        square.lerp_(slope.square(), 0.001)
                        scale = (square / (1 - 0.999**epoch)).sqrt() + 1e-8
                        step = mean / (1 - 0.9**epoch) / scale
                        p -= learning_rate * (step + weight_decay * p)
            trained = {
                "words": words.weight,
                "input": recurrent.weight_ih_l0,
                "input_bias": recurrent.bias_ih_l0,
                "hidden": recurrent.weight_hh_l0,
                "hidden_bias": recurrent.bias_hh_l0,
                "head": head.weight[0],
            }
            found = {name: value.detach().numpy().copy() for name, value in trained.items()}
    finally:
        torch.set_num_threads(threads)
    if not all(np.isfinite(value).all() for value in found.values()):
        raise RewardError("spa: the fit diverged: give a smaller learning_rate")
    return found


def _check_shapes(weights: Mapping[str, Floats]) -> None:
    dimension, hidden = weights["words"].shape
    wanted = {
        "words": (dimension, hidden),
        "input": (3 * hidden, hidden),
        "input_bias": (3 * hidden,),
        "hidden": (3 * hidden, hidden),
        "hidden_bias": (3 * hidden,),
        "head": (hidden,),
    }
    for name, shape in wanted.items():
        if weights[name].shape != shape:
            raise ValueError(f"{name} of shape {weights[name].shape}, not {shape}")


def _sigmoid(value: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * value)), dtype=np.float64)
