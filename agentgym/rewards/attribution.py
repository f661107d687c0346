"""What each turn contributed to the outcome, by an estimator that was fitted on finished episodes.

SPA: an estimator gives every turn a number, so that the numbers of an episode sum to its outcome.
Here it is a ridge regression on hashed features of turns: closed form, the same on every machine,
one JSON file. Two others may look at what came before a turn: a small network (`attribution_torch`)
and a head on a language model (`attribution_hf`). None knows more than what is asked of it: fitted
on failures alone it has nothing to credit, and a signal made of it is refused.
"""

from __future__ import annotations

import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import orjson

from agentgym.errors import RewardError
from agentgym.rewards.arguments import check_choice, check_kind
from agentgym.rewards.batch import Floats, outcome_of
from agentgym.rewards.expression import Form, Signal, Stage
from agentgym.rewards.text import register
from agentgym.rewards.turn_features import check_features, hashed_turns
from agentgym.types import Trajectory

Calibration = Literal["shift", "scale"]
RIDGE = "agentgym ridge progress estimator 1"
NETWORK = "agentgym network progress estimator 1"
HEAD = "agentgym language model progress estimator 1"
"""How a file begins, by what it holds."""
_LEAST_SUM = 1e-8
_Row = TypeVar("_Row")


@dataclass(frozen=True, eq=False)
class Estimator(ABC):
    """What `spa` asks for the contributions of turns; fitted once, kept as one JSON file."""

    kind: ClassVar[str]
    """How its file begins."""
    title: ClassVar[str]
    """What errors call it."""

    features: tuple[str, ...]
    """What it looks at."""
    episodes: int
    """How many it was fitted on."""
    successes: int
    """How many of those had an outcome above 0."""

    @property
    @abstractmethod
    def blank(self) -> bool:
        """Whether it has nothing to credit."""

    @abstractmethod
    def predict(self, trajectory: Trajectory) -> Floats:
        """float64[T]: what each turn contributed; known when the turn has ended."""

    @abstractmethod
    def contents(self) -> dict[str, Any]:
        """What its file holds, beside the kind; JSON."""

    @classmethod
    @abstractmethod
    def of_contents(cls, contents: dict[str, Any]) -> Self:
        """The estimator of which these are the `contents`.

        Raises:
            ValueError, KeyError, TypeError, IndexError, AttributeError: They are of none.
        """

    def loss(self, trajectories: Iterable[Trajectory]) -> float:
        """The mean of (sum_t c_t - outcome)^2 over scored episodes.

        Raises:
            RewardError: None is scored.
        """
        errors = [
            float(self.predict(trajectory).sum()) - score
            for trajectory, score in _scored(trajectories)
        ]
        if not errors:
            raise RewardError("spa: no episode is scored, so there is no loss")
        return float(np.mean(np.square(errors)))

    def save(self, path: str | Path) -> str:
        """Write it as JSON; equal estimators are equal files. Returns the file's SHA-256."""
        data = orjson.dumps({"kind": self.kind, **self.contents()})
        Path(path).write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, path: str | Path, sha256: str = "") -> Self:
        """Read what `save` wrote.

        Args:
            path: The file.
            sha256: What the file must have; not checked if empty.

        Raises:
            RewardError: It cannot be read, is another file than `sha256` says, or of another kind.
        """
        data = _read(path, sha256)
        try:
            document: Any = orjson.loads(data)
            if document["kind"] != cls.kind:
                raise ValueError(f"kind {document['kind']!r}")
            return cls.of_contents(document)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise RewardError(
                f"spa: {str(path)!r} is no {cls.title} ({type(error).__name__}: {error}): give a "
                f"file that {cls.__name__}.save wrote"
            ) from error


def fitting(
    trajectories: Iterable[Trajectory], look: Callable[[Trajectory], _Row]
) -> tuple[list[_Row], Floats]:
    """What an estimator is fitted to: what `look` sees in each scored episode, and float64[n].

    The numbers are the outcomes. Both come in an order that does not depend on the one given.

    Raises:
        RewardError: No episode is scored.
    """
    found = [
        (
            (trajectory.key, score, [(t.action, t.completion.text) for t in trajectory.turns]),
            look(trajectory),
        )
        for trajectory, score in _scored(trajectories)
    ]
    if not found:
        raise RewardError(
            "spa: there is no scored episode to fit an estimator to: collect some first"
        )
    found.sort(key=lambda each: each[0])
    return [row for _, row in found], np.array([score for (_, score, _), _ in found])


def _scored(trajectories: Iterable[Trajectory]) -> Iterator[tuple[Trajectory, float]]:
    for trajectory in trajectories:
        if trajectory.outcome is not None and trajectory.outcome.available:
            yield trajectory, trajectory.outcome.score


@dataclass(frozen=True, eq=False)
class ProgressEstimator(Estimator):
    """A linear model of what a turn contributes.

    `loss = mean over episodes of (sum_t c_t - outcome)^2 + ridge * |weights|^2 / episodes`.

    Source: SPA-RL (arXiv 2505.20732), with a linear model in the place of a language model's head.
    """

    kind: ClassVar[str] = RIDGE
    title: ClassVar[str] = "estimator"

    weights: Floats
    """float64[D]"""
    ridge: float

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
        rows, outcomes = fitting(
            trajectories, lambda each: hashed_turns(each, features, dimension).sum(axis=0)
        )
        return cls(
            features=features,
            episodes=len(rows),
            successes=int(np.count_nonzero(outcomes)),
            weights=ridge_weights(np.array(rows), outcomes, ridge),
            ridge=ridge,
        )

    @property
    def blank(self) -> bool:
        """Whether it credits nothing to any turn."""
        return not self.weights.any()

    def predict(self, trajectory: Trajectory) -> Floats:
        """float64[T]: what each turn contributed; known when the turn has ended."""
        credit: Floats = hashed_turns(trajectory, self.features, self.weights.size) @ self.weights
        return credit

    def contents(self) -> dict[str, Any]:
        """The weights that are not 0, and where they are."""
        places = np.flatnonzero(self.weights)
        return {
            "features": self.features,
            "ridge": self.ridge,
            "episodes": self.episodes,
            "successes": self.successes,
            "dimension": self.weights.size,
            "places": places.tolist(),
            "weights": self.weights[places].tolist(),
        }

    @classmethod
    def of_contents(cls, contents: dict[str, Any]) -> Self:
        """Checked: the features, the places and that all is finite."""
        weights = np.zeros(int(contents["dimension"]))
        weights[np.array(contents["places"], dtype=np.int64)] = contents["weights"]
        features = tuple(map(str, contents["features"]))
        check_features(features)
        check_finite(weights)
        return cls(
            features=features,
            episodes=int(contents["episodes"]),
            successes=int(contents["successes"]),
            weights=weights,
            ridge=float(contents["ridge"]),
        )


def check_finite(*weights: Floats) -> None:
    """Refuse what no fit gives.

    Raises:
        ValueError: A number is not finite.
    """
    if not all(np.isfinite(each).all() for each in weights):
        raise ValueError("a weight that is not finite")


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

    Source: SPA-RL (arXiv 2505.20732); calibrating is our own.

    Args:
        estimator: Path of a file that an estimator's `save` wrote.
        sha256: Of that file; taken from it if empty.
        calibrate: None: as estimated, and causal; `shift` or `scale`: made to sum to the outcome.
    """

    name: ClassVar[str] = "spa"
    pays: ClassVar[Form] = Form.FULL
    estimator: str
    sha256: str = ""
    calibrate: Calibration | None = None

    def __post_init__(self) -> None:
        check_choice(self.name, "calibrate", self.calibrate, (None, "shift", "scale"))
        check_kind(self.name, self.estimator, str, "the path of an estimator's file")
        if not self.sha256:
            found = hashlib.sha256(_read(self.estimator)).hexdigest()
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
        outcome = outcome_of(trajectory, f"{self.name}, calibrated")
        return [float(each) for each in calibrated(credit, outcome.score, self.calibrate)]


@functools.lru_cache(maxsize=16)
def _load(path: str, sha256: str) -> Estimator:
    begins = _read(path, sha256)[:80]
    if NETWORK.encode() in begins:
        from agentgym.rewards.attribution_torch import NetworkEstimator

        return NetworkEstimator.load(path, sha256)
    if HEAD.encode() in begins:
        from agentgym.rewards.attribution_hf import LanguageModelEstimator

        return LanguageModelEstimator.load(path, sha256)
    return ProgressEstimator.load(path, sha256)


def _read(path: str | Path, sha256: str = "") -> bytes:
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
