"""What each turn contributed to the outcome, by an estimator that was fitted on finished episodes.

SPA: an estimator gives every turn a number, so that the numbers of an episode sum to its outcome.
Here it is a ridge regression on hashed features of turns: closed form, the same on every machine,
one JSON file (`attribution_torch` has a small network, which may look at what came before). It
knows no more than what is asked of it: fitted on failures alone it has nothing to credit, and a
signal made of it is refused.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import orjson

from agentgym.errors import RewardError
from agentgym.rewards.batch import Floats
from agentgym.rewards.expression import Signal, Stage
from agentgym.rewards.text import register
from agentgym.rewards.turn_features import check_features, hashed_turns
from agentgym.types import Trajectory

Calibration = Literal["shift", "scale"]
NETWORK = "agentgym network progress estimator 1"
"""How a file begins that holds a network."""
_KIND = "agentgym ridge progress estimator 1"
_LEAST_SUM = 1e-8


class Estimator(Protocol):
    """What `spa` asks for the contributions of turns."""

    @property
    def features(self) -> tuple[str, ...]:
        """What it looks at: `turn_features.FEATURES`, `fact:NAME`."""
        ...

    @property
    def episodes(self) -> int:
        """How many it was fitted on."""
        ...

    @property
    def successes(self) -> int:
        """How many of those had an outcome above 0."""
        ...

    @property
    def blank(self) -> bool:
        """Whether it credits nothing to any turn."""
        ...

    def predict(self, trajectory: Trajectory) -> Floats:
        """float64[T]: what each turn contributed; known when the turn has ended."""
        ...


@dataclass(frozen=True, eq=False)
class ProgressEstimator:
    """A linear model of what a turn contributes.

    `loss = mean over episodes of (sum_t c_t - outcome)^2 + ridge * |weights|^2 / episodes`.

    Source: SPA-RL (arXiv 2505.20732), with a linear model in the place of a language model's head.
    """

    weights: Floats
    """float64[D]"""
    features: tuple[str, ...]
    """What it looks at: `turn_features.FEATURES`, `fact:NAME`."""
    ridge: float
    episodes: int
    """How many it was fitted on."""
    successes: int
    """How many of those had an outcome above 0."""

    @classmethod
    def fit(
        cls,
        trajectories: Iterable[Trajectory],
        *,
        features: Sequence[str] = ("action", "words", "observation"),
        ridge: float = 1.0,
        dimension: int = 4096,
    ) -> ProgressEstimator:
        """Fit it to the outcomes of episodes; those that are not scored are left out.

        Args:
            trajectories: In any order.
            features: `action`: the whole text of the action; `words`: its words; `observation`:
                words of what was seen before; `feedback`: of what followed (in the turn that ends
                an episode that tells the outcome, and takes all credit); `fact:NAME`: a number the
                environment tells.
            ridge: Strength of the penalty, above 0.
            dimension: Features are hashed into so many.

        Raises:
            RewardError: There is nothing to fit to, or a parameter is wrong.
        """
        features = tuple(features)
        check_features(features)
        if not 0.0 < ridge < np.inf:
            raise RewardError(f"ridge is {ridge!r}: give a number above 0")
        if dimension < 1:
            raise RewardError(f"dimension is {dimension!r}: give at least 1")
        found = [
            (
                trajectory.key,
                trajectory.outcome.score,
                hashed_turns(trajectory, features, dimension).sum(axis=0),
            )
            for trajectory in trajectories
            if trajectory.outcome is not None and trajectory.outcome.available
        ]
        if not found:
            raise RewardError(
                "spa: there is no scored episode to fit an estimator to: collect some first"
            )
        found.sort(key=lambda each: each[:2])  # so that no bit depends on their order
        outcomes = np.array([score for _, score, _ in found])
        weights = ridge_weights(np.array([row for *_, row in found]), outcomes, ridge)
        return cls(weights, features, ridge, len(found), int(np.count_nonzero(outcomes)))

    @property
    def blank(self) -> bool:
        """Whether it credits nothing to any turn."""
        return not self.weights.any()

    def predict(self, trajectory: Trajectory) -> Floats:
        """float64[T]: what each turn contributed; known when the turn has ended."""
        credit: Floats = hashed_turns(trajectory, self.features, self.weights.size) @ self.weights
        return credit

    def loss(self, trajectories: Sequence[Trajectory]) -> float:
        """The mean of (sum_t c_t - outcome)^2 over scored episodes.

        Raises:
            RewardError: None is scored.
        """
        return squared_error(self, trajectories)

    def save(self, path: str | Path) -> str:
        """Write it as JSON; equal estimators are equal files. Returns the file's SHA-256."""
        places = np.flatnonzero(self.weights)
        document = {
            "kind": _KIND,
            "features": self.features,
            "ridge": self.ridge,
            "episodes": self.episodes,
            "successes": self.successes,
            "dimension": self.weights.size,
            "places": places.tolist(),
            "weights": self.weights[places].tolist(),
        }
        data = orjson.dumps(document)
        Path(path).write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, path: str | Path, sha256: str = "") -> ProgressEstimator:
        """Read what `save` wrote.

        Args:
            path: The file.
            sha256: What the file must have; not checked if empty.

        Raises:
            RewardError: It cannot be read, is another file than `sha256` says, or no estimator.
        """
        return cls._read(path, read_bytes(path, sha256))

    @classmethod
    def _read(cls, path: str | Path, data: bytes) -> ProgressEstimator:
        try:
            document: Any = orjson.loads(data)
            if document["kind"] != _KIND:
                raise ValueError(f"kind {document['kind']!r}")
            weights = np.zeros(int(document["dimension"]))
            weights[np.array(document["places"], dtype=np.int64)] = document["weights"]
            features = tuple(map(str, document["features"]))
            check_features(features)
            if not np.isfinite(weights).all():
                raise ValueError("a weight that is not finite")
            return cls(
                weights,
                features,
                float(document["ridge"]),
                int(document["episodes"]),
                int(document["successes"]),
            )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise RewardError(
                f"spa: {str(path)!r} is no estimator ({type(error).__name__}: {error}): give a "
                "file that ProgressEstimator.save wrote"
            ) from error


def squared_error(estimator: Estimator, trajectories: Sequence[Trajectory]) -> float:
    """The mean of (sum_t c_t - outcome)^2 over scored episodes.

    Raises:
        RewardError: None is scored.
    """
    errors = [
        float(estimator.predict(trajectory).sum()) - trajectory.outcome.score
        for trajectory in trajectories
        if trajectory.outcome is not None and trajectory.outcome.available
    ]
    if not errors:
        raise RewardError("spa: no episode is scored, so there is no loss")
    return float(np.mean(np.square(errors)))


def ridge_weights(design: Floats, outcomes: Floats, ridge: float) -> Floats:
    """The w that minimises |design w - outcomes|^2 + ridge |w|^2, without intercept.

    Args:
        design: float64[n, D].
        outcomes: float64[n].
        ridge: Above 0.

    Returns:
        float64[D].
    """
    episodes, dimension = design.shape
    if episodes < dimension:  # the smaller of two equal systems
        kernel = design @ design.T + ridge * np.eye(episodes)
        return np.asarray(design.T @ np.linalg.solve(kernel, outcomes), dtype=np.float64)
    gram = design.T @ design + ridge * np.eye(dimension)
    return np.asarray(np.linalg.solve(gram, design.T @ outcomes), dtype=np.float64)


def calibrated(credit: Floats, outcome: float, how: Calibration) -> Floats:
    """Credit changed so that it sums to the outcome.

    Args:
        credit: float64[T], T >= 1.
        outcome: What it should sum to.
        how: `shift`: c_t + (R - sum c) / T; `scale`: c_t * R / sum c, and `shift` where the sum is
            near 0 or its sign is not the outcome's.

    Returns:
        float64[T].
    """
    total = float(credit.sum())
    if how == "scale" and abs(total) >= _LEAST_SUM and total * outcome >= 0.0:
        return credit * (outcome / total)
    return credit + (outcome - total) / credit.size


@register
@dataclass(frozen=True)
class Spa(Signal):
    """Each turn's contribution to the outcome, by an estimator from a file.

    The file's SHA-256 is part of the signal and of its text: another file under the same name is
    refused.

    Args:
        estimator: Path of a file that an estimator's `save` wrote.
        sha256: Of that file; taken from it if empty.
        calibrate: None: as estimated, and causal; `shift` or `scale`: made to sum to the outcome.
    """

    name: ClassVar[str] = "spa"
    additive: ClassVar[bool] = True
    estimator: str
    sha256: str = ""
    calibrate: Calibration | None = None

    def __post_init__(self) -> None:
        if self.calibrate not in (None, "shift", "scale"):
            raise RewardError(
                f"spa: calibrate is {self.calibrate!r}: give None, 'shift' or 'scale'"
            )
        if not isinstance(self.estimator, str):
            raise RewardError(f"spa: estimator is {self.estimator!r}: give the path of a file")
        if not self.sha256:
            found = hashlib.sha256(read_bytes(self.estimator, "")).hexdigest()
            object.__setattr__(self, "sha256", found)
        model = self.model
        if model.blank:
            raise RewardError(
                f"spa: the estimator {self.estimator!r} credits nothing to any turn: it was fitted "
                f"on {model.episodes} episodes of which {model.successes} had any success; fit it "
                "on some that succeed"
            )

    @property
    def model(self) -> Estimator:
        """The estimator, read once."""
        return _load(self.estimator, self.sha256)

    @property
    def stage(self) -> Stage:
        """Causal, unless it is calibrated, which takes the outcome."""
        return Stage.CAUSAL if self.calibrate is None else Stage.FINISHED

    @property
    def needs(self) -> frozenset[str]:
        """The facts that the estimator looks at."""
        named = (feature.partition(":") for feature in self.model.features)
        return frozenset(fact for _, colon, fact in named if colon)

    def values(self, trajectory: Trajectory) -> Sequence[float]:
        """The contributions.

        Raises:
            RewardError: They are to be calibrated, and the episode has no outcome.
        """
        credit = self.model.predict(trajectory)
        if self.calibrate is None:
            return [float(each) for each in credit]
        outcome = trajectory.outcome
        if outcome is None or not outcome.available:
            raise RewardError(
                f"{self.name}: episode {trajectory.key} has no outcome to calibrate to: leave out "
                "what is not `scored`, or say calibrate=None"
            )
        return [float(each) for each in calibrated(credit, outcome.score, self.calibrate)]


@functools.lru_cache(maxsize=16)
def _load(path: str, sha256: str) -> Estimator:
    if NETWORK.encode() in read_bytes(path, sha256)[:80]:
        from agentgym.rewards.attribution_torch import NetworkEstimator

        return NetworkEstimator.load(path, sha256)
    return ProgressEstimator.load(path, sha256)


def read_bytes(path: str | Path, sha256: str) -> bytes:
    """An estimator's file.

    Raises:
        RewardError: It cannot be read, or is another file than `sha256` says.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise RewardError(
            f"spa: the estimator {str(path)!r} cannot be read ({error.strerror}): fit one with "
            "ProgressEstimator.fit(trajectories).save(path)"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise RewardError(
            f"spa: {str(path)!r} is not the estimator that was meant: its sha256 is {found}, not "
            f"{sha256}; give the right file, or leave sha256 out to take this one"
        )
    return data
