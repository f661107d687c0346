"""BM25 in this process: bm25s' index, title weight, exact and repeatable top k.

A passage is its title, as often as `title_weight` says, and its text. Scores are Lucene's BM25
(k1, b; Kamphuis et al. 2020), worked out when the index is built and added up per query in 32-bit
floats, always in one order: the same on every machine and in every engine that is given them.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import orjson

from agentgym.errors import ConfigError
from agentgym.retrieval.analysis import ANALYSIS, import_search, query_terms, terms
from agentgym.retrieval.base import Passage

Ranking = list[tuple[int, float]]
"""Places in the corpus with their scores, best first."""
_BLOCKS = 64


@dataclass(frozen=True, slots=True)
class BM25Parameters:
    """What a BM25 index is made with.

    Raises:
        ConfigError: Out of range.
    """

    k1: float = 1.5
    """How much a second occurrence counts; above 0."""
    b: float = 0.75
    """How much long passages are marked down; 0 to 1."""
    title_weight: int = 2
    """How many times the title is counted; 0 to 10."""

    def __post_init__(self) -> None:
        numbers = all(isinstance(each, int | float) for each in (self.k1, self.b))
        if not (numbers and 0 < self.k1 < float("inf") and 0 <= self.b <= 1):
            raise ConfigError(f"k1 is {self.k1!r} and b {self.b!r}: give k1 > 0 and b from 0 to 1")
        if not isinstance(self.title_weight, int) or not 0 <= self.title_weight <= 10:
            raise ConfigError(f"title_weight is {self.title_weight!r}: give a number from 0 to 10")

    def fingerprint(self, corpus: str) -> str:
        """Of an index with these parameters over the corpus of that fingerprint."""
        return digest("bm25", ANALYSIS, asdict(self), corpus)


class Vocabulary(Protocol):
    """The number of a term; a dictionary is one."""

    def get(self, term: str, /) -> int | None:
        """None where no passage has it."""


class BM25Index:
    """A BM25 index: finds places, knows nothing of passages.

    Args:
        scores: A `bm25s.BM25` that was built or loaded; None over a corpus without a word.
        vocabulary: Its terms.
        size: Passages in the corpus.
        fingerprint: Of corpus, analysis and parameters.
    """

    slow = False

    def __init__(self, scores: Any, vocabulary: Vocabulary, size: int, fingerprint: str) -> None:
        self.scores = scores
        self.vocabulary = vocabulary
        self.size = size
        self.fingerprint = fingerprint

    @classmethod
    def build(
        cls,
        passages: Iterable[Passage],
        corpus_fingerprint: str,
        parameters: BM25Parameters | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> BM25Index:
        """Build the index of some passages.

        Args:
            passages: In the corpus's order.
            corpus_fingerprint: Of them.
            parameters: The usual ones if None.
            progress: Told how many passages have been read, now and then.
        """
        parameters = parameters or BM25Parameters()
        bm25s = import_search("bm25s")
        numbers: dict[str, int] = {}
        documents = []
        for place, passage in enumerate(passages):
            words = terms(passage.title) * parameters.title_weight + terms(passage.text)
            documents.append(array("i", [numbers.setdefault(w, len(numbers)) for w in words]))
            if progress is not None and place % 1000 == 999:
                progress(place + 1)
        fingerprint = parameters.fingerprint(corpus_fingerprint)
        scores = None
        if numbers:
            scores = bm25s.BM25(k1=parameters.k1, b=parameters.b, method="lucene")
            scores.index((documents, numbers), create_empty_token=False, show_progress=False)
        return cls(scores, numbers, len(documents), fingerprint)

    def numbers(self, query: str) -> list[int]:
        """The numbers of a query's terms, ascending: the order in which scores are added up."""
        found = (self.vocabulary.get(term) for term in query_terms(query))
        return sorted([number for number in found if number is not None])

    def rank(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """The best `k` places for each query; those without one of its terms never."""
        return [self._rank(query, k) for query in queries]

    def _rank(self, query: str, k: int) -> Ranking:
        numbers = self.numbers(query)
        if not numbers:
            return []
        return best(self.scores.get_scores_from_ids(numbers), k)


def best(scores: np.ndarray[Any, Any], k: int, above: float = 0.0) -> Ranking:
    """The `k` highest of `scores` that are above a bound; of equals the earlier ones.

    The k-th highest of the highest of each block is no higher than the k-th highest of all: what is
    below it need not be sorted.
    """
    rows = len(scores) // _BLOCKS
    floor = above
    if rows > k:
        highest = scores[: rows * _BLOCKS].reshape(_BLOCKS, rows).max(axis=0)
        floor = np.partition(highest, rows - k)[rows - k]
    places = np.flatnonzero(scores >= floor if floor > above else scores > above)
    found = scores[places]
    order = np.argsort(-found, kind="stable")[:k]
    return list(zip(places[order].tolist(), found[order].tolist(), strict=True))


def fused(rankings: Sequence[Ranking], k: int, constant: int = 60) -> Ranking:
    """Reciprocal rank fusion (Cormack et al. 2009): each adds 1 / (constant + rank from 1).

    Args:
        rankings: Of one query.
        k: How many to keep; of equals the earlier places.
        constant: 60 in the paper.
    """
    sums: dict[int, float] = {}
    for ranking in rankings:
        for rank, (place, _) in enumerate(ranking, start=1):
            sums[place] = sums.get(place, 0.0) + 1.0 / (constant + rank)
    return sorted(sums.items(), key=lambda each: (-each[1], each[0]))[:k]


def digest(*parts: str | Mapping[str, Any]) -> str:
    """BLAKE2b of the parts, 32 hexadecimal digits."""
    return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()
