"""A scorer that runs a model of Hugging Face transformers inside this process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agentgym.errors import ConfigError, RewardError, StageTimeout
from agentgym.policy.causal_lm import CausalLM, opened
from agentgym.rewards.scorer import CachedScorer, Ids, asker


class TransformersScorer(CachedScorer):
    """Log-probabilities of a causal language model, by torch.

    Requests are computed together, those of like length in one forward pass, padded at the end. The
    model is loaded at the first request; `close` frees it.

    Args:
        model: What `CausalLM` takes, or one that a policy uses too (`policy.lm`).
        context: Most tokens of context and target together; cut to what the model can.
        timeout_s: Longest one forward pass may take.
        batch_tokens: Most tokens of a forward pass, padding included; a longer request is alone.
        cached: Answers that are kept.
        options: For `CausalLM`: `gguf_file`, `device`, `dtype`, `threads`, `weight_version`.

    Raises:
        ConfigError: There is no such file, or a number is out of range.
        RegistryError: torch or transformers is not installed.
    """

    def __init__(
        self,
        model: str | Path | CausalLM = "smollm2",
        *,
        context: int = 8192,
        timeout_s: float = 60.0,
        batch_tokens: int = 2048,
        cached: int = 65_536,
        **options: Any,
    ) -> None:
        super().__init__(cached)
        if context < 64:
            raise ConfigError(f"context is {context!r}: give at least 64 tokens")
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s is {timeout_s!r}: give a number of seconds above 0")
        if batch_tokens < 1:
            raise ConfigError(f"batch_tokens is {batch_tokens!r}: give at least 1")
        self._own = not isinstance(model, CausalLM)
        self.lm = opened(model, options)
        self.context = context
        self.timeout_s = timeout_s
        self.batch_tokens = batch_tokens

    @property
    def weight_version(self) -> str:
        """The model's name and the start of its SHA-256, or as whoever trains it says."""
        return self.lm.weight_version

    def tokenize(self, text: str, *, start: bool = False) -> Ids:
        """As the model does, special tokens as such."""
        return tuple(self.lm.tokenize(text, start=start))

    def detokenize(self, ids: Sequence[int]) -> str:
        """As the model does.

        Raises:
            RewardError: An id is none of its own.
        """
        self._check_ids(tuple(ids), "")
        return self.lm.detokenize(ids)

    def measure(self, context: Ids, target: Ids, about: str) -> Sequence[float]:
        """In one forward pass."""
        return next(iter(self.measure_all([(context, target, about)])))

    def measure_all(self, asked: Sequence[tuple[Ids, Ids, str]]) -> Iterator[Sequence[float]]:
        """In as few forward passes as `batch_tokens` allows."""
        if not asked:
            return iter(())
        self.context = min(self.context, self.lm.longest)
        for context, target, about in asked:
            if not context:
                raise RewardError(f"{asker(about)}there is no context: give at least one token")
            if (needed := len(context) + len(target)) > self.context:
                raise RewardError(
                    f"{asker(about)}{needed} tokens do not fit the scorer's context of "
                    f"{self.context}: TransformersScorer(context={needed}), if the model can"
                )
            self._check_ids((*context, *target), about)
        lengths = [len(context) + len(target) for context, target, _ in asked]
        found: dict[int, list[float]] = {}
        batch: list[int] = []
        for i in sorted(range(len(asked)), key=lengths.__getitem__):
            if batch and (len(batch) + 1) * lengths[i] > self.batch_tokens:
                found.update(self._forward(asked, batch))
                batch = []
            batch.append(i)
        if batch:
            found.update(self._forward(asked, batch))
        return iter([found[i] for i in range(len(asked))])

    def close(self) -> None:
        """Free the model, unless it is somebody else's; closing twice is fine."""
        if self._own:
            self.lm.close()

    def __enter__(self) -> TransformersScorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_ids(self, ids: Ids, about: str) -> None:
        known = self.lm.vocabulary
        for token in ids:
            if not 0 <= token < known:
                raise RewardError(
                    f"{asker(about)}token {token} is none of the model's {known}: are these "
                    "another model's tokens? Score with the model that played"
                )

    def _forward(
        self, asked: Sequence[tuple[Ids, Ids, str]], batch: list[int]
    ) -> dict[int, list[float]]:
        """What the requests numbered in `batch` find, in one pass."""
        import torch

        rows = [(*asked[i][0], *asked[i][1]) for i in batch]
        longest = max(map(len, rows))
        starts = [len(asked[i][0]) - 1 for i in batch]  # where the first token is predicted
        first = min(starts)
        deadline = time.monotonic() + self.timeout_s
        about = asked[batch[0]][2]

        def check() -> None:
            if time.monotonic() > deadline:
                raise StageTimeout(
                    f"{asker(about)}the model gave no answer in {self.timeout_s:g} s: give the "
                    "scorer a larger timeout_s or a smaller batch_tokens, or shorter episodes"
                )

        with self.lm.computing(check) as model:
            # padded at the end, where no real token looks: positions and attention stay as alone
            padded = [(*row, *(row[-1:] * (longest - len(row)))) for row in rows]
            ids = torch.tensor(padded, device=model.device)
            kept = {}
            if self.lm.takes("logits_to_keep"):
                kept["logits_to_keep"] = torch.arange(first, longest - 1, device=model.device)
            logits = model(input_ids=ids, use_cache=False, **kept).logits
            check()
            before = first if kept else 0
            answers = {}
            for row, (i, start) in enumerate(zip(batch, starts, strict=True)):
                target = torch.tensor(asked[i][1])
                told = logits[row, start - before : start - before + len(target)].cpu().double()
                chosen = told.gather(1, target[:, None])[:, 0]
                answers[i] = (chosen - told.logsumexp(-1)).tolist()
        return answers
