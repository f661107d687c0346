"""How likely a model finds a text after another: the service that signals such as IGPO's ask.

A request is a context and a target, each as token ids or as text; the answer is the natural-log
probability of each of the target's tokens. What is asked twice of the same weights is computed
once. Answers are never guessed: what times out or comes back short is an error that says whose
request it was.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from agentgym.errors import RewardError, did_you_mean
from agentgym.rewards.batch import Floats

Ids: TypeAlias = tuple[int, ...]
Piece: TypeAlias = Ids | str
"""Tokens as an engine saw them, or text that the scorer tokenises by itself."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """How likely is `target` after `context`?"""

    context: tuple[Piece, ...]
    """One after another; each text is tokenised by itself, special tokens as such."""
    target: Piece
    about: str = field(default="", compare=False)
    """Who asks, of which turn: errors begin with it."""


class Scorer(Protocol):
    """Log-probabilities of a model, and its tokens."""

    @property
    def weight_version(self) -> str:
        """Which weights answer; changes when they do."""
        ...

    def tokenize(self, text: str, *, start: bool = False) -> Ids:
        """The tokens of a text; at the start of a sequence, with what models want there."""
        ...

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones included."""
        ...

    def logprobs(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        """float64[L] for each request: natural-log probability of each target token.

        Raises:
            RewardError: A request cannot be answered.
            InfraError: The engine failed, or gave no answer in time.
        """
        ...


class CachedScorer(ABC):
    """A scorer that asks its model once, and checks what it answers.

    Args:
        cached: Answers that are kept, the latest used.
    """

    def __init__(self, cached: int = 65_536) -> None:
        self._cached = cached
        self._answers: OrderedDict[bytes, Floats] = OrderedDict()
        self.asked = 0
        """Requests that went to the model, so far."""

    @property
    @abstractmethod
    def weight_version(self) -> str:
        """Which weights answer; changes when they do."""

    @abstractmethod
    def tokenize(self, text: str, *, start: bool = False) -> Ids:
        """The tokens of a text; at the start of a sequence, with what models want there."""

    @abstractmethod
    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones included."""

    @abstractmethod
    def measure(self, context: Ids, target: Ids, about: str) -> Sequence[float]:
        """The natural-log probability of each token of `target`."""

    def measure_all(self, asked: Sequence[tuple[Ids, Ids, str]]) -> Iterable[Sequence[float]]:
        """What `measure` gives for each: one by one, where an engine has no better way."""
        return (self.measure(*each) for each in asked)

    @property
    def provenance(self) -> dict[str, Any]:
        """What is recorded beside the numbers."""
        return {"scorer": type(self).__name__, "weight_version": self.weight_version}

    def logprobs(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        """float64[L] for each request: natural-log probability of each target token.

        Raises:
            RewardError: A target is empty, or the model's answer is not one finite number a token.
            InfraError: The engine failed, or gave no answer in time.
        """
        version = self.weight_version
        resolved = []
        for request in requests:
            context, target = self._context(request), self._ids(request.target, start=False)
            if not target:
                raise RewardError(f"{asker(request.about)}there is no token to score")
            resolved.append((context, target, _key(version, context, target)))
        found: dict[bytes, Floats] = {}
        missing: dict[bytes, tuple[Ids, Ids, str]] = {}
        # contexts that extend one another come together: an engine keeps what it has read
        for i in sorted(range(len(resolved)), key=lambda i: resolved[i][:2]):
            context, target, key = resolved[i]
            if key in self._answers:
                self._answers.move_to_end(key)
                found[key] = self._answers[key]
            elif key not in missing:
                missing[key] = (context, target, requests[i].about)
        asked = list(missing.values())
        for key, (_, target, about), told in zip(
            missing, asked, self.measure_all(asked), strict=True
        ):
            self.asked += 1
            answer = _checked(told, len(target), about)
            found[key] = self._answers[key] = answer
            if len(self._answers) > self._cached:
                self._answers.popitem(last=False)
        return [found[key] for _, _, key in resolved]

    def _context(self, request: ScoreRequest) -> Ids:
        ids: list[int] = []
        for piece in request.context:
            ids += self._ids(piece, start=not ids)
        return tuple(ids)

    def _ids(self, piece: Piece, *, start: bool) -> Ids:
        return self.tokenize(piece, start=start) if isinstance(piece, str) else piece


class TableScorer(CachedScorer):
    """Log-probabilities that are written down, exact: for tests, and for worlds one can compute.

    A token is a word with the white space before it.

    Args:
        table: What `(context, target)` gives, both as text: one natural-log probability a token.
            A function is asked for what is not in a mapping.
        weight_version: Change it when the table changes.
    """

    def __init__(
        self,
        table: Mapping[tuple[str, str], Sequence[float]] | Callable[[str, str], Sequence[float]],
        weight_version: str = "table",
    ) -> None:
        super().__init__()
        self.table = table
        self.version = weight_version
        self._words: dict[str, int] = {}
        self._texts: list[str] = []

    @property
    def weight_version(self) -> str:
        """As given."""
        return self.version

    def tokenize(self, text: str, *, start: bool = False) -> Ids:
        """One id a word, in order of appearance."""
        words = re.findall(r"\s*\S+|\s+", text)
        for word in words:
            if word not in self._words:
                self._words[word] = len(self._texts)
                self._texts.append(word)
        return tuple(self._words[word] for word in words)

    def detokenize(self, ids: Sequence[int]) -> str:
        """The words, joined.

        Raises:
            RewardError: An id is none of its own.
        """
        if any(not 0 <= token < len(self._texts) for token in ids):
            raise RewardError("the table's tokens are its own: make ids with its tokenize()")
        return "".join(self._texts[token] for token in ids)

    def measure(self, context: Ids, target: Ids, about: str) -> Sequence[float]:
        """What is written down."""
        asked = (self.detokenize(context), self.detokenize(target))
        if not isinstance(self.table, Mapping):
            return self.table(*asked)
        if asked not in self.table:
            known = [key[0] for key in self.table if key[1] == asked[1]]
            raise RewardError(
                f"{asker(about)}the table has no entry for {asked[1]!r} after "
                f"{asked[0][-80:]!r}{did_you_mean(asked[0], known)}"
            )
        return self.table[asked]


def _key(version: str, context: Ids, target: Ids) -> bytes:
    digest = hashlib.blake2b(version.encode(), digest_size=16)
    for ids in (context, target):
        digest.update(len(ids).to_bytes(8, "little"))
        digest.update(array("q", ids).tobytes())
    return digest.digest()


def _checked(answer: Sequence[float], wanted: int, about: str) -> Floats:
    values = np.array(answer, dtype=np.float64)
    if values.shape != (wanted,):
        raise RewardError(
            f"{asker(about)}the scorer gave {values.size} log-probabilities for {wanted} tokens: "
            "it must give one each (does the engine cut its answers short?)"
        )
    if not np.isfinite(values).all() or (values > 1e-6).any():
        raise RewardError(
            f"{asker(about)}the scorer gave {answer!r:.80}: log-probabilities are finite and <= 0"
        )
    values = np.minimum(values, 0.0)
    values.flags.writeable = False
    return values


def asker(about: str) -> str:
    """How an error begins that says who asked."""
    return f"{about}: " if about else ""
