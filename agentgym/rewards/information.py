"""Signals that ask a model what a turn was worth knowing: IGPO's and InfoPO's.

Both compare log-probabilities of one text in two contexts, the trajectory's own token prefixes. All
requests of a batch go to the scorer in one call.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agentgym.errors import RewardError
from agentgym.prompt import spoken
from agentgym.rewards.arguments import check_choice, check_kind
from agentgym.rewards.batch import Batch, Floats, PerTurn
from agentgym.rewards.expression import Form, Signal
from agentgym.rewards.scorer import Ids, Piece, Scorer, ScoreRequest
from agentgym.rewards.text import register
from agentgym.types import Observation, TokenIds, Trajectory

TEMPLATE = "<think>\nNow there's enough information to answer\n</think>\n<answer>\n"
"""What IGPO lets the model begin with, before the reference answer."""
MASK = "No information found."
"""What InfoPO puts in the place of feedback."""


class Asking(Signal):
    """A signal computed from the answers of a scorer; subclasses are frozen dataclasses."""

    asks: ClassVar[bool] = True
    causal: ClassVar[bool] = False

    history: Literal["tokens", "text"]

    @abstractmethod
    def requests(self, trajectory: Trajectory, scorer: Scorer) -> list[ScoreRequest]:
        """What to ask about a trajectory."""

    @abstractmethod
    def read(self, trajectory: Trajectory, answers: Sequence[Floats]) -> Sequence[float | None]:
        """The values of its turns, from the answers to `requests`, in their order."""

    def values(self, trajectory: Trajectory) -> Sequence[float | None]:
        """Never: it takes a batch with a scorer.

        Raises:
            RewardError: Always.
        """
        raise RewardError(f"{self} asks a model: compute it on a batch with a scorer")

    def compute(self, batch: Batch) -> PerTurn:
        """The values, all requests of the batch in one call."""
        scorer = batch.scorer
        if scorer is None:
            raise RewardError(
                f"{self} asks a model: give a scorer (--scorer llamacpp, or bind(..., scorer=...))"
            )
        asked = []
        for trajectory in batch.trajectories:
            if self.history == "tokens":
                self._check_vocabulary(trajectory, scorer)
            asked.append(self.requests(trajectory, scorer))
        answers = scorer.logprobs([request for requests in asked for request in requests])
        if not all(isinstance(each, np.ndarray) and each.dtype.kind == "f" for each in answers):
            raise RewardError(f"{self}: the scorer answered other things than log-probabilities")
        wanted = sum(map(len, asked))
        if len(answers) != wanted:
            raise RewardError(f"{self}: the scorer answered {len(answers)} of {wanted} requests")
        given = iter(answers)
        read = {
            id(trajectory): self.read(trajectory, [next(given) for _ in requests])
            for trajectory, requests in zip(batch.trajectories, asked, strict=True)
        }
        return batch.each(lambda trajectory: read[id(trajectory)], self)

    def about(self, trajectory: Trajectory, turn: int) -> str:
        """How an error names a turn (counted from 0)."""
        return f"{self}: turn {turn + 1} of episode {trajectory.key}"

    def before(self, trajectory: Trajectory, turn: int) -> tuple[Piece, ...]:
        """What the policy had seen when it was to take a turn.

        Raises:
            RewardError: The engine did not tell.
        """
        if self.history == "text":
            told = []
            for each in trajectory.turns[:turn]:
                told += [text_of(each.observation), spoken(each.completion)]
            told.append(text_of(trajectory.turns[turn].observation))
            return ("\n\n".join(told) + "\n\n",)
        return (_ids(self._prompt(trajectory, turn)),)

    def _prompt(self, trajectory: Trajectory, turn: int) -> TokenIds:
        ids = trajectory.turns[turn].completion.prompt_ids
        if ids is None or not len(ids):
            raise RewardError(
                f"{self.about(trajectory, turn)} has no prompt tokens: play with an engine that "
                "tells them (llamacpp, vLLM), or say history='text'"
            )
        return ids

    def _check_vocabulary(self, trajectory: Trajectory, scorer: Scorer) -> None:
        """Tokens of another model would be scored without complaint."""
        if len(trajectory.turns) < 2:
            return
        prompt = _ids(self._prompt(trajectory, 0))
        shown = text_of(trajectory.turns[0].observation).strip().split("\n")[0].strip()[:40]
        try:
            read = scorer.detokenize(prompt)
        except RewardError as error:
            raise RewardError(f"{self.about(trajectory, 0)}: {error}") from error
        if shown not in read:
            raise RewardError(
                f"{self.about(trajectory, 0)}: its prompt tokens do not read {shown!r} in the "
                f"vocabulary of {scorer.weight_version}: score with the model that played, or say "
                "history='text'"
            )


@register
@dataclass(frozen=True)
class InfoGain(Asking):
    """How much likelier a turn made the reference answer: lp after it, minus lp before.

    lp_t is the mean log-probability of the answer's tokens after what was seen when turn t was to
    be taken, and `prefix`. The sum over turns telescopes. The last turn, which answers, has none.

    Source: IGPO (arXiv 2510.14967). The references are `answers` or `answer` in the task's data.

    Args:
        kind: `logprob`: difference of lp; `prob`: of exp(lp), as in the paper's first version.
        reference: `max`: lp is that of the likeliest reference; `first`: of the first, as released.
        prefix: What the model is made to say before the answer.
        history: `tokens`: what the engine saw; `text`: observations and replies, for episodes whose
            policy tells no tokens, or was another model.
    """

    name: ClassVar[str] = "info_gain"
    pays: ClassVar[Form] = Form.FULL
    kind: Literal["logprob", "prob"] = "logprob"
    reference: Literal["max", "first"] = "max"
    prefix: str = TEMPLATE
    history: Literal["tokens", "text"] = "tokens"

    def __post_init__(self) -> None:
        check_choice(self.name, "kind", self.kind, ("logprob", "prob"))
        check_choice(self.name, "reference", self.reference, ("max", "first"))
        check_choice(self.name, "history", self.history, ("tokens", "text"))
        if not isinstance(self.prefix, str):
            raise RewardError(f"{self.name}: prefix is {self.prefix!r:.80}: give a text")

    def references(self, trajectory: Trajectory) -> list[str]:
        """The answers to look for.

        Raises:
            RewardError: The task has none.
        """
        data = trajectory.task.data
        given = data.get("answers", data.get("answer"))
        listed = list(given) if isinstance(given, list | tuple) else [given]
        if not listed or not all(isinstance(each, str) and each.strip() for each in listed):
            raise RewardError(
                f"{self}: task {trajectory.task.id!r} has no reference answer: it takes texts, in "
                f"the task's data as 'answers' or 'answer', not {given!r:.60}"
            )
        return listed[:1] if self.reference == "first" else listed

    def requests(self, trajectory: Trajectory, scorer: Scorer) -> list[ScoreRequest]:
        """Each reference, when each turn was to be taken."""
        if len(trajectory.turns) < 2:
            return []
        references = self.references(trajectory)
        return [
            ScoreRequest(
                (*self.before(trajectory, turn), *([self.prefix] if self.prefix else [])),
                reference,
                self.about(trajectory, turn),
            )
            for turn in range(len(trajectory.turns))
            for reference in references
        ]

    def read(self, trajectory: Trajectory, answers: Sequence[Floats]) -> Sequence[float | None]:
        """Differences of successive turns."""
        turns = len(trajectory.turns)
        if turns < 2:
            return [None] * turns
        likely = np.array([each.mean() for each in answers]).reshape(turns, -1).max(axis=1)
        if self.kind == "prob":
            likely = np.exp(likely)
        return [*np.diff(likely).tolist(), None]


@register
@dataclass(frozen=True)
class FeedbackGain(Asking):
    """How much likelier a turn's feedback made what the policy did next.

    The mean, over the next completion's tokens, of log p with the feedback minus log p with `mask`
    in its place, of as many tokens. The last turn, and turns without feedback, have none.

    Source: InfoPO (arXiv 2603.00656). Only tokens that hold some of the feedback's text are masked;
    the released code masks the chat template around it as well. The mask is repeated at its last
    token, or cut, as there.

    Args:
        mask: What stands for "nothing was learned".
        history: `tokens`: what the engine saw; `text`: observations and replies, for episodes whose
            policy tells no tokens, or was another model.
    """

    name: ClassVar[str] = "feedback_gain"
    mask: str = MASK
    history: Literal["tokens", "text"] = "tokens"

    def __post_init__(self) -> None:
        check_choice(self.name, "history", self.history, ("tokens", "text"))
        check_kind(self.name, self.mask, str, "a text")
        if not self.mask.strip():
            raise RewardError(f"{self.name}: mask is {self.mask!r}: give a text")

    def requests(self, trajectory: Trajectory, scorer: Scorer) -> list[ScoreRequest]:
        """Two for each turn that is asked about: with its feedback, and with the mask."""
        found = []
        for turn in range(len(trajectory.turns) - 1):
            if not self._asked(trajectory, turn):
                continue
            about = self.about(trajectory, turn)
            target = self._next(trajectory, turn)
            found += [
                ScoreRequest(context, target, about)
                for context in self._contexts(trajectory, turn, scorer)
            ]
        return found

    def read(self, trajectory: Trajectory, answers: Sequence[Floats]) -> Sequence[float | None]:
        """The mean differences; 0 where the feedback is the mask."""
        found: list[float | None] = []
        given = iter(answers)
        for turn in range(len(trajectory.turns)):
            if self._asked(trajectory, turn):
                full, masked = next(given), next(given)
                found.append(float((full - masked).mean()))
            elif self._answered(trajectory, turn):
                found.append(0.0)
            else:
                found.append(None)
        return found

    def _answered(self, trajectory: Trajectory, turn: int) -> bool:
        """Whether there was feedback, and a next turn that could use it."""
        return (
            turn + 1 < len(trajectory.turns)
            and bool(text_of(trajectory.turns[turn + 1].observation).strip())
            and len(self._next(trajectory, turn)) > 0
        )

    def _asked(self, trajectory: Trajectory, turn: int) -> bool:
        return self._answered(trajectory, turn) and (
            text_of(trajectory.turns[turn + 1].observation).strip() != self.mask.strip()
        )

    def _next(self, trajectory: Trajectory, turn: int) -> Piece:
        completion = trajectory.turns[turn + 1].completion
        if self.history == "text":
            return spoken(completion)
        if completion.completion_ids is None:
            raise RewardError(
                f"{self.about(trajectory, turn + 1)} has no completion tokens: play with an "
                "engine that tells them (llamacpp, vLLM), or say history='text'"
            )
        return _ids(completion.completion_ids)

    def _contexts(
        self, trajectory: Trajectory, turn: int, scorer: Scorer
    ) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
        """What the next turn saw, and what it would have seen without the feedback."""
        feedback = text_of(trajectory.turns[turn + 1].observation).strip()
        mask = scorer.tokenize(self.mask)
        if self.history == "text":
            (told,) = self.before(trajectory, turn + 1)
            assert isinstance(told, str)
            before, _, after = told.rpartition(feedback)
            masked = _fitted(mask, len(scorer.tokenize(feedback)))
            return (before, feedback, after), (before, masked, after)
        seen = _ids(self._prompt(trajectory, turn + 1))
        last = trajectory.turns[turn].completion
        known = _ids(self._prompt(trajectory, turn))
        if last.completion_ids is not None:
            known += _ids(last.completion_ids)
        common = _shared(known, seen)
        added = scorer.detokenize(seen[common:])
        # what is new begins with the feedback, unless the engine saw older things anew
        place = added.find(feedback) if common == len(known) else added.rfind(feedback)
        if place < 0:
            raise RewardError(
                f"{self.about(trajectory, turn)}: its feedback {feedback[:40]!r} is not in what "
                "the next prompt adds, as text: say history='text'"
            )
        # tokens that are the same without the feedback stay; those that hold any of it do not
        start = common + _shared(seen[common:], scorer.tokenize(added[:place]))
        rest = scorer.tokenize(added[place + len(feedback) :])
        end = len(seen) - _shared(seen[start:][::-1], rest[::-1])
        masked_ids = seen[:start] + _fitted(mask, end - start) + seen[end:]
        return (seen,), (masked_ids,)


def text_of(observation: Observation) -> str:
    """The text of an observation; empty if it is an image alone."""
    return observation if isinstance(observation, str) else str(observation.get("text", ""))


def _ids(tokens: TokenIds) -> Ids:
    return tuple(tokens.tolist())


def _shared(one: Ids, other: Ids) -> int:
    """How many tokens they begin with in common."""
    differ = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def _fitted(mask: Ids, length: int) -> Ids:
    """Cut to `length` tokens, or its last repeated."""
    return (mask + mask[-1:] * length)[:length]
