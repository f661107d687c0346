"""The plain records everything else passes around.

One episode is a `Trajectory` of `Turn`s; a turn holds what the policy saw (`observation`), what it
said (`completion`), and what the environment made of it (`action`, `reward`, `facts`). Records hold
data and no behaviour beyond what can be read off their own fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Observation: TypeAlias = str | Mapping[str, Any]
"""Text, or a mapping with `"text"` (str) and/or `"image"` (uint8[H, W, 3]); other keys are the
world's own."""

Message: TypeAlias = dict[str, Any]
"""A chat message as OpenAI-compatible servers take it: `role` and `content` (text, or parts)."""

TokenIds: TypeAlias = npt.NDArray[np.int32]
LogProbs: TypeAlias = npt.NDArray[np.float32]
"""Natural-log probabilities."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to do. The id alone rebuilds it, e.g. `"coin:level=5:seed=123"`."""

    id: str
    env: str = ""
    """Id of the environment it belongs to."""
    split: str = "train"
    data: Mapping[str, Any] = field(default_factory=dict)
    """Whatever the world needs to set it up; JSON."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verifier says of an episode: raw, never shaped.

    Raises:
        ValueError: `score` is not in [0, 1], or it is 1 without `passed` (or the reverse).
    """

    score: float
    """In [0, 1], and 1 exactly when `passed`; partial credit that is not paid goes to `parts`."""
    passed: bool
    label: str = ""
    """One word for how it ended, e.g. `"won"`, `"lost"`, `"limit"`."""
    parts: Mapping[str, float] = field(default_factory=dict)
    available: bool = True
    """False when nothing could be verified (an infrastructure fault): masked, never read as 0."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:  # also catches NaN
            raise ValueError(f"Outcome.score is {self.score!r}: give a number in [0, 1]")
        if self.available and (self.score == 1.0) != self.passed:
            raise ValueError(
                f"Outcome(score={self.score!r}, passed={self.passed!r}): the score is 1 exactly "
                "when the task was passed; put partial credit into parts"
            )
        for name, value in self.parts.items():
            if not math.isfinite(value):
                raise ValueError(f"Outcome.parts[{name!r}] is {value!r}: give a finite number")


class Reply(NamedTuple):
    """What a world answers to an action."""

    observation: Observation
    outcome: Outcome | None = None
    """Given: the episode has terminated, and `step()` pays `outcome.score`."""
    facts: Mapping[str, Any] = {}
    """JSON that signals may read; recorded with the turn."""
    info: Mapping[str, Any] = {}
    """Anything else for the caller of `step()`; not recorded."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A point of an episode to come back to; opaque outside `Env`."""

    task: Task
    turn: int
    over: bool
    generator: Mapping[str, Any]
    seed: int | None
    world: Any


class Stop(StrEnum):
    """Why an episode ended."""

    TERMINATED = "terminated"
    """The world ended it: solved, lost, submitted, answered."""
    TURNS = "turns"
    """The turn limit: truncated, and judged as it stood."""
    CONTEXT = "context"
    """The conversation no longer fits the model: judged as it stood."""
    DEADLINE = "deadline"
    """The episode's wall-clock deadline: unscored."""
    CANCELLED = "cancelled"
    """The caller gave up on it: unscored, run again on resume."""
    ERROR = "error"
    """An infrastructure fault, after retries: unscored, run again on resume."""


class EpisodeKey(NamedTuple):
    """Which episode this is; unique within a run. A group shares all but `sample`."""

    env: str
    """Environment id and arguments, e.g. `"agentgym/TextWorld-v0?family=coin"`."""
    task_id: str
    seed: int
    """Seed of `env.reset`."""
    sample: int = 0
    """0..G-1."""

    @property
    def group(self) -> tuple[str, str, int]:
        """What the samples of one group share: they start from the same state."""
        return (self.env, self.task_id, self.seed)

    def __str__(self) -> str:
        return f"{self.task_id}#{self.seed}.{self.sample}"


class Sampling(NamedTuple):
    """How a policy draws tokens. The defaults are the model's own distribution, untruncated."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0: no cut."""
    max_tokens: int = 512
    """Most tokens a turn may generate."""
    seed: int | None = None
    stop: tuple[str, ...] = ()


class ToolCall(NamedTuple):
    """One OpenAI-style tool call; `arguments` is the JSON text the model wrote."""

    name: str
    arguments: str
    id: str = ""


@dataclass(slots=True, eq=False)
class Completion:
    """What the model said, to the token where the engine tells; not to be changed.

    (Not frozen, like `Turn`: there is one a turn, and freezing triples what it costs to make.)
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    prompt_ids: TokenIds | None = None
    """int32[P]: what the engine saw."""
    completion_ids: TokenIds | None = None
    """int32[N]: what it sampled, the end-of-turn token included where the engine reports it."""
    logprobs: LogProbs | None = None
    """float32[N]: log-probability of each sampled token."""
    logprob_kind: Literal["raw", "processed"] | None = None
    """raw: of the model at temperature 1, unmasked; processed: of the distribution sampled from."""
    finish_reason: str = "stop"
    """`stop`, `length` (cut at `max_tokens`), or the engine's own word."""
    weight_versions: tuple[str, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """What was sent to the engine."""
    usage: Mapping[str, int] = field(default_factory=dict)
    """`prompt_tokens`, `completion_tokens`, `cached_tokens` where known."""


class Policy(Protocol):
    """The agent side: anything with this method.

    Two attributes are optional. `wants` names the hint (`"admissible"` or `"oracle"`) the
    environment should give with each observation; it arrives as `admissible` (for `"oracle"` a list
    of one: the expert's action). `aclose()` is awaited by whoever opened the policy.
    """

    async def act(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        session: str,
        admissible: Sequence[str] | None = None,
    ) -> Completion:
        """Say what to do next.

        Args:
            messages: The conversation so far; append-only within an episode, not to be changed.
            sampling: How to draw tokens, with the seed of this turn.
            session: One id for the whole episode: servers route by it.
            admissible: What the hint in `wants` gave, else None.

        Raises:
            ContextOverflow: The conversation does not fit the model.
            PolicyError: The engine or its server failed; the episode may be retried.
            ConfigError: It can never work (no such model, no access): the run ends.
        """
        ...


@dataclass(slots=True, eq=False)
class Turn:
    """One exchange; not to be changed."""

    observation: Observation
    """What the policy saw before it acted."""
    completion: Completion
    action: str
    """What to step to replay the turn: the canonical text (an `Action`) where the model was
    understood, else what it said."""
    invalid: str | None
    """Why it could not be carried out (`InvalidAction.kind`), None if it was."""
    reward: float
    """What `step()` paid."""
    facts: Mapping[str, Any]
    """What the world said of the turn, for signals; JSON."""
    signals: Mapping[str, float | None] = field(default_factory=dict)
    """What each part of a reward paid online, by its text; None where it had no value."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds: `policy_s`, `env_s`."""


@dataclass(slots=True, eq=False)
class Trajectory:
    """One episode, filled in turn by turn."""

    key: EpisodeKey
    task: Task
    turns: list[Turn] = field(default_factory=list)
    final_observation: Observation | None = None
    """What the last action led to."""
    outcome: Outcome | None = None
    """None until the episode has ended."""
    stop: Stop | None = None
    error: str | None = None
    """`source: what happened`, for `Stop.ERROR`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the world said of the start, for signals; JSON."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """`agentgym` (version), `policy`, `sampling`, `seed` (of the run), `attempt`, `began` (when the
    run was started or resumed, in Unix seconds), `started` (likewise), `wall_s`; JSON."""

    @property
    def scored(self) -> bool:
        """Whether the outcome may be counted."""
        return self.outcome is not None and self.outcome.available

    @property
    def reward(self) -> float:
        """Sum of what `step()` paid."""
        return float(sum(turn.reward for turn in self.turns))
