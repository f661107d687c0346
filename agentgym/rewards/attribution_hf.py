"""What each turn contributed to the outcome, by a head on a frozen language model.

As in the paper, one number is read off the model at the last token of each assistant turn, and so
may depend on all that was said before it. Unlike there, the model is not trained and the head is
linear: it is fitted in closed form. Fitting and predicting take torch and transformers; reading a
file does not, and the model is loaded when it is first asked.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from agentgym.errors import ConfigError, RewardError
from agentgym.policy.causal_lm import CausalLM, opened
from agentgym.prompt import spoken
from agentgym.rewards.arguments import check_number
from agentgym.rewards.attribution import HEAD, Estimator, check_finite, fitting, ridge_weights
from agentgym.rewards.batch import Floats, place
from agentgym.rewards.information import text_of
from agentgym.types import TokenIds, Trajectory, Turn

_FEATURES = ("hidden",)


@dataclass(frozen=True, eq=False)
class LanguageModelEstimator(Estimator):
    """A linear head on the last hidden state of a causal language model.

    `loss = mean over episodes of (sum_t c_t - outcome)^2 + ridge * |weights|^2 / episodes`, the
    weights being those of the standardised state, and the bias. What a turn contributes depends on
    it and on the turns before it, on none after, to the last bit.

    Each turn is read up to its last token: the tokens that the engine saw and sampled, where it
    told them and they are this model's; else observations and replies, as text. Of what is longer
    than `context`, the end is read. A token is computed once as long as prompts extend one another.

    Source: SPA-RL (arXiv 2505.20732), with the model frozen, and a linear head on its hidden state
    (the released code has one on the logits, and trains both).
    """

    kind: ClassVar[str] = HEAD
    title: ClassVar[str] = "head"

    weights: Floats
    """float64[H]: of the hidden state as it is."""
    bias: float
    """What every turn contributes."""
    model: str
    """Where the model is, as `CausalLM` takes it; empty: nowhere but in the process that fitted."""
    weight_version: str
    """Of the model; the head fits no other."""
    context: int
    """Most tokens that are read."""
    ridge: float
    lm: CausalLM | None = None
    """The model, if it is at hand; not part of the file."""

    @classmethod
    def fit(
        cls,
        trajectories: Iterable[Trajectory],
        *,
        model: str | Path | CausalLM = "smollm2",
        ridge: float = 100.0,
        standardize: bool = True,
        context: int = 8192,
    ) -> LanguageModelEstimator:
        """Fit it to the outcomes of episodes; those that are not scored are left out.

        Args:
            trajectories: In any order.
            model: What `CausalLM` takes, or one (a policy's `lm`, one with options of its own).
            ridge: Strength of the penalty, above 0.
            standardize: Penalise the weights of hidden states that were brought to mean 0 and
                deviation 1 over all turns, so that none counts for its size.
            context: Most tokens that are read; cut to what the model can.

        Raises:
            RewardError: There is nothing to fit to, or a parameter is wrong.
            ConfigError: There is no such model, or it cannot be loaded.
            RegistryError: torch or transformers is not installed.
        """
        check_number("spa", "ridge", ridge, 0.0, above=True)
        if context < 1:
            raise RewardError(f"context is {context!r}: give at least 1")
        lm = opened(model, {})
        context = min(context, lm.longest)
        rows, outcomes = fitting(
            (trajectory for trajectory in trajectories if trajectory.turns),
            lambda each: hidden_states(lm, each, context),
        )
        mean, scale = np.zeros(rows[0].shape[1]), np.ones(rows[0].shape[1])
        if standardize:
            turns = np.concatenate(rows)
            mean, scale = turns.mean(axis=0), turns.std(axis=0)
            scale[scale == 0.0] = 1.0
        sums = [((states - mean) / scale).sum(axis=0) for states in rows]
        lengths = [[float(len(states))] for states in rows]
        fitted = ridge_weights(np.hstack([sums, lengths]), outcomes, ridge)
        weights = fitted[:-1] / scale
        return cls(
            features=_FEATURES,
            episodes=len(rows),
            successes=int(np.count_nonzero(outcomes)),
            weights=weights,
            bias=float(fitted[-1] - mean @ weights),
            model=_place(lm) if isinstance(model, CausalLM) else str(model),
            weight_version=lm.weight_version,
            context=context,
            ridge=ridge,
            lm=lm,
        )

    @property
    def blank(self) -> bool:
        """Whether it credits nothing to any turn."""
        return not (self.weights.any() or self.bias)

    def predict(self, trajectory: Trajectory) -> Floats:
        """float64[T]: what each turn contributed; known when the turn has ended.

        Raises:
            RewardError: The model is not the one that the head was fitted on, or not there.
            RegistryError: torch or transformers is not installed.
        """
        states = hidden_states(self._model(), trajectory, self.context)
        # one by one, so that no bit depends on how many there are
        return np.array([float(state @ self.weights) + self.bias for state in states])

    def contents(self) -> dict[str, Any]:
        """The head, and which model it is of."""
        return {
            "features": self.features,
            "model": self.model,
            "weight_version": self.weight_version,
            "context": self.context,
            "ridge": self.ridge,
            "episodes": self.episodes,
            "successes": self.successes,
            "weights": self.weights.tolist(),
            "bias": self.bias,
        }

    @classmethod
    def of_contents(cls, contents: dict[str, Any]) -> Self:
        """Checked: the features, and that all is finite."""
        weights, bias = np.array(contents["weights"], dtype=np.float64), float(contents["bias"])
        check_finite(weights, np.array(bias))
        if weights.ndim != 1 or tuple(contents["features"]) != _FEATURES:
            raise ValueError(f"features {contents['features']!r}, weights of {weights.shape}")
        return cls(
            features=_FEATURES,
            episodes=int(contents["episodes"]),
            successes=int(contents["successes"]),
            weights=weights,
            bias=bias,
            model=str(contents["model"]),
            weight_version=str(contents["weight_version"]),
            context=int(contents["context"]),
            ridge=float(contents["ridge"]),
        )

    def using(self, lm: CausalLM) -> Self:
        """This head on a model that is loaded already, or has moved."""
        return replace(self, lm=lm)

    def _model(self) -> CausalLM:
        """The model, which must be the one that the head was fitted on."""
        lm = self.lm
        if lm is None:
            try:
                lm = _model_at(self.model, self.weight_version)
            except ConfigError as error:
                raise RewardError(
                    f"spa: the model {self.weight_version!r} that the head was fitted on cannot be "
                    f"opened ({error}): give it, LanguageModelEstimator.load(path).using(lm)"
                ) from error
        if lm.weight_version != self.weight_version:
            raise RewardError(
                f"spa: the head was fitted on the model {self.weight_version!r}, and this is "
                f"{lm.weight_version!r}: give that model, or fit a head on this one"
            )
        return lm


@functools.lru_cache(maxsize=2)
def _model_at(model: str, weight_version: str) -> CausalLM:
    """One for all heads of the same weights; opened anew for others in the same place."""
    return CausalLM(model)


def _place(lm: CausalLM) -> str:
    """Where it can be opened again; empty if it was made in this process."""
    return str(Path(lm.source, lm.gguf_file)) if lm.source else ""


def hidden_states(lm: CausalLM, trajectory: Trajectory, context: int) -> Floats:
    """The model's last hidden state at the last token of each turn, given all before it.

    Args:
        lm: The model.
        trajectory: An episode, or its beginning.
        context: Most tokens that are read; of what is longer, the end.

    Returns:
        float64[T, H].

    Raises:
        RewardError: A state is not finite.
    """
    import torch

    found = []
    text: list[int] = []
    read: TokenIds = np.zeros(0, dtype=np.int32)
    cache: Any = None
    last = {"logits_to_keep": 1} if lm.takes("logits_to_keep") else {}
    with lm.computing(lambda: None) as model:
        for t, turn in enumerate(trajectory.turns):
            between = "\n\n" if t else ""
            told = f"{between}{text_of(turn.observation)}\n\n{spoken(turn.completion)}"
            text += lm.tokenize(told, start=not t)
            ids = _tokens(lm, turn)
            if ids is None:
                ids = np.array(text, dtype=np.int32)
            extends = len(read) < len(ids) <= context and np.array_equal(ids[: len(read)], read)
            if not extends:
                ids, read, cache = ids[-context:], read[:0], None
            added = torch.tensor(ids[len(read) :][None].astype(np.int64), device=model.device)
            given = model(
                added, past_key_values=cache, use_cache=True, output_hidden_states=True, **last
            )
            read, cache = ids, given.past_key_values
            found.append(given.hidden_states[-1][0, -1].cpu().double().numpy())
            if not np.isfinite(found[-1]).all():
                raise RewardError(
                    f"spa: the hidden state of {lm.name!r} at {place(trajectory, t)} is not "
                    "finite: give it dtype='float32'"
                )
    return np.array(found)


def _tokens(lm: CausalLM, turn: Turn) -> TokenIds | None:
    """What the engine saw and sampled, if it told and its tokens are the model's."""
    prompt, sampled = turn.completion.prompt_ids, turn.completion.completion_ids
    if prompt is None or sampled is None or not len(prompt) or not len(sampled):
        return None
    ids: TokenIds = np.concatenate([prompt, sampled])
    if ids.min() < 0 or ids.max() >= lm.vocabulary:
        return None
    for text, tokens in ((text_of(turn.observation), prompt), (turn.completion.text, sampled)):
        shown = text.strip().split("\n")[0].strip()[:40]
        if shown not in lm.detokenize(tokens.tolist()):
            return None
    return ids
