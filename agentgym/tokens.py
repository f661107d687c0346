"""Which tokens an engine saw and sampled over an episode, without storing any twice.

As long as each prompt extends the one before (its prompt, what was sampled, and whatever the world
added), a whole episode is one sequence: a *branch*. When a prompt does not extend it (a chat
template that drops thoughts, text that tokenises differently the second time, a cut history), the
next branch opens. Each branch is one training sample; how many there are is worth watching.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agentgym.types import Completion, LogProbs, TokenIds

_NOTHING: TokenIds = np.zeros(0, dtype=np.int32)


class Place(NamedTuple):
    """Where a turn's tokens are: in which branch, and where its prompt and completion end.

    A prompt that ends at 0 is not known: there are no empty prompts.
    """

    branch: int
    prompt_end: int
    completion_end: int


@dataclass(slots=True, eq=False)
class TokenSpan:
    """One branch: tokens that follow one another in the model's context."""

    ids: TokenIds
    """int32[N]"""
    logprobs: LogProbs | None
    """float32[N] of the sampled tokens, NaN elsewhere; None if the engine gave none."""
    sampled: list[tuple[int, int]] = field(default_factory=list)
    """Half-open ranges of `ids` that the model sampled, one a turn."""

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """bool[N]: True where the model sampled the token."""
        mask = np.zeros(len(self.ids), dtype=np.bool_)
        for start, end in self.sampled:
            mask[start:end] = True
        return mask


def token_spans(completions: Iterable[Completion]) -> tuple[list[TokenSpan], list[Place | None]]:
    """Merge the tokens of successive turns into branches.

    Returns:
        The branches, and for each turn its place in them; None where the engine gave no ids.

    Raises:
        ValueError: A turn has not as many log-probabilities as sampled tokens.
    """
    branches: list[tuple[list[TokenIds], list[LogProbs | None], list[tuple[int, int]]]] = []
    places: list[Place | None] = []
    previous: Completion | None = None
    length = 0
    for completion in completions:
        prompt, sampled = completion.prompt_ids, completion.completion_ids
        if sampled is None:
            places.append(None)
            previous = None
            continue
        if completion.logprobs is not None and len(completion.logprobs) != len(sampled):
            raise ValueError(
                f"turn {len(places) + 1} has {len(sampled)} completion_ids but "
                f"{len(completion.logprobs)} logprobs: give one for each"
            )
        if prompt is None:  # some servers tell only what they sampled: a branch without a prompt
            prompt, previous = _NOTHING, None
        if previous is None or not _extends(prompt, previous, length):
            branches.append(([], [], []))
            length = 0
        ids, logprobs, ranges = branches[-1]
        ids += [prompt[length:], sampled]
        start, length = len(prompt), len(prompt) + len(sampled)
        ranges.append((start, length))
        logprobs.append(completion.logprobs)
        places.append(Place(len(branches) - 1, start, length))
        previous = None if completion.prompt_ids is None else completion
    return [_span(*branch) for branch in branches], places


def _extends(prompt: TokenIds, previous: Completion, length: int) -> bool:
    """Whether `prompt` starts with all that the previous turn's engine saw and sampled."""
    seen, sampled = previous.prompt_ids, previous.completion_ids
    if (
        seen is None
        or sampled is None
        or len(prompt) < length
        or len(seen) + len(sampled) != length
    ):
        return False
    return bool(
        np.array_equal(prompt[: len(seen)], seen)
        and np.array_equal(prompt[len(seen) : length], sampled)
    )


def _span(
    ids: list[TokenIds], logprobs: list[LogProbs | None], ranges: list[tuple[int, int]]
) -> TokenSpan:
    joined = np.concatenate(ids).astype(np.int32, copy=False)
    if all(values is None for values in logprobs):
        return TokenSpan(joined, None, ranges)
    spread = np.full(len(joined), np.nan, dtype=np.float32)
    for (start, end), values in zip(ranges, logprobs, strict=True):
        if values is not None:
            spread[start:end] = values
    return TokenSpan(joined, spread, ranges)
