"""Recorded episodes as demonstrations: chat messages that trainers fine-tune on.

A row holds `messages` as the policy was given them, the answers included, and what is known of the
episode. The record keeps what was shown and said; the system message is the environment's, which is
made again for it, and not reset. What an expert or a random player did is written as a model would
have to say it, in the dialect that the system message asks for.
"""

from __future__ import annotations

import importlib
import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from agentgym import registry
from agentgym.actions import Action, Call, Grammar
from agentgym.errors import (
    AgentGymError,
    ConfigError,
    EnvError,
    InvalidAction,
    RegistryError,
    StoreError,
    boundary,
    whole,
)
from agentgym.prompt import Conversation, system_message
from agentgym.rollout import AnyEnv
from agentgym.store import EPISODES, MANIFEST, Store
from agentgym.types import (
    Completion,
    Message,
    Observation,
    Outcome,
    ToolCall,
    Trajectory,
    Turn,
)

UNSCORED = "unscored"
NOT_PASSED = "not passed"
INVALID = "with an invalid action"
EMPTY = "without a turn"
NOT_UNDERSTOOD = "with words that no other dialect has"
CHANGED = "replayed differently"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which episodes are exported, and how.

    Raises:
        ConfigError: `limit` is below 1.
    """

    passed: bool = False
    """Only those that passed; else every scored one. Unscored ones never are."""
    drop_invalid: bool = False
    """None that holds an action that could not be carried out."""
    limit: int | None = None
    """At most so many."""
    dialect: str | None = None
    """Write actions in this dialect rather than in the run's; of what a model said beside its
    actions nothing is then left."""
    replay: bool = False
    """Play the recorded actions again where the run listed the admissible ones: the lists are shown
    to the policy, and not recorded."""

    def __post_init__(self) -> None:
        if self.limit is not None:
            whole("limit", self.limit, 1)


class Demonstrations:
    """The rows of a run, and, once they are read, how many episodes they are of.

    A row is `messages`, `env`, `task_id`, `seed`, `sample`, `score`, `passed`, `turns`, and, where
    tools are called, `tools`: their schemas as JSON text. An episode is a row; one that was played
    with `history` is a row a turn, with its number from 1 as `turn`, for then each was a prompt of
    its own. The last message is always the assistant's.

    Args:
        store: The run.
        choice: What of it.
        ended: Called with each episode that was looked at.

    Raises:
        ConfigError: The admissible actions were listed, and `choice.replay` is not set.
    """

    def __init__(
        self,
        store: Store,
        choice: Choice = Choice(),
        ended: Callable[[Trajectory], object] | None = None,
    ) -> None:
        self.store = store
        self.choice = choice
        self.episodes = 0
        """Exported so far."""
        self.rows = 0
        self.skipped: Counter[str] = Counter()
        """Episodes that are not, by reason."""
        self._ended = ended
        plan = store.manifest.get("plan")
        plan = plan if isinstance(plan, dict) else {}
        self._history: int | None = plan.get("history")
        self._listed = bool(plan.get("show_admissible"))
        if self._listed and not choice.replay:
            raise ConfigError(
                f"{store.path} was played with --show-admissible, and the lists are not recorded: "
                "--replay plays the recorded actions again to have them"
            )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Make the rows, one at a time.

        Raises:
            RegistryError: The environment is not installed.
            ConfigError: It has no such dialect.
            StoreError: There is nothing to export.
        """
        self.episodes, self.rows, self.skipped = 0, 0, Counter()
        speakers: dict[str, _Speaker] = {}
        with ExitStack() as opened:
            for trajectory in self.store.episodes():
                why = self._unwanted(trajectory)
                if not why:
                    env_key = trajectory.key.env
                    if env_key not in speakers:
                        speakers[env_key] = self._speaker(env_key, opened)
                    why = yield from self._of(trajectory, speakers[env_key])
                if why:
                    self.skipped[why] += 1
                if self._ended is not None:
                    self._ended(trajectory)
                if self.episodes == self.choice.limit:
                    break
        if not self.episodes:
            there = ", ".join(f"{count} {why}" for why, count in self.skipped.items())
            raise StoreError(
                f"{self.store.path} has nothing to export: its episodes are {there}"
                if there
                else f"{self.store.path} has nothing to export: no episode has ended in it"
            )

    def _unwanted(self, trajectory: Trajectory) -> str:
        """Why the episode is not exported, if it is not."""
        outcome = trajectory.outcome
        if outcome is None or not outcome.available:
            return UNSCORED
        if self.choice.passed and not outcome.passed:
            return NOT_PASSED
        if self.choice.drop_invalid and any(turn.invalid for turn in trajectory.turns):
            return INVALID
        return "" if trajectory.turns else EMPTY

    def _speaker(self, env_key: str, opened: ExitStack) -> _Speaker:
        """Make the environment of episodes; it is closed with `opened`."""
        id, kwargs = registry.parse_key(env_key)
        try:
            _find(id, self.store.manifest)
            env = opened.enter_context(closing(registry.make(id, **kwargs)))
        except RegistryError as error:
            raise RegistryError(
                f"{self.store.path} is a run of {id}, which is asked for its instructions: "
                f"{error}; install what it was played with"
            ) from error
        dialect = self.choice.dialect
        if dialect is None:
            return _Speaker(env)
        grammar = _grammar(env)
        if grammar is None:
            raise ConfigError(f"{id} has no grammar: leave the dialect out")
        if dialect == grammar.dialect:
            return _Speaker(env)
        other = registry.make(id, **{**kwargs, "dialect": dialect})
        return _Speaker(env, opened.enter_context(closing(other)))

    def _of(
        self, trajectory: Trajectory, speaker: _Speaker
    ) -> Generator[dict[str, Any], None, str]:
        """The rows of an episode; returns why there is none, if there is none."""
        admissible = None
        if self._listed:
            admissible = speaker.admissible(trajectory)
            if admissible is None:
                return CHANGED
        try:
            conversations = speaker.conversations(trajectory, admissible, self._history)
        except OSError as error:
            raise StoreError(
                f"an image of episode {trajectory.key} cannot be read: {error}"
            ) from error
        if not conversations:
            return NOT_UNDERSTOOD
        outcome = trajectory.outcome or Outcome(0.0, False)
        self.episodes += 1
        for number, messages in enumerate(conversations, 1):
            row: dict[str, Any] = {
                "messages": messages,
                "env": trajectory.key.env,
                "task_id": trajectory.key.task_id or trajectory.task.id,
                "seed": trajectory.key.seed,
                "sample": trajectory.key.sample,
                "score": outcome.score,
                "passed": outcome.passed,
                "turns": len(trajectory.turns),
            }
            if self._history is not None:
                row["turn"] = number
            if speaker.tools and any("tool_calls" in message for message in messages):
                row["tools"] = speaker.tools
            self.rows += 1
            yield row
        return ""


def messages_of(
    trajectory: Trajectory,
    env: AnyEnv,
    admissible: Sequence[Sequence[str] | None] | None = None,
) -> list[Message]:
    """The messages of an episode, from the system's to the last answer.

    Args:
        trajectory: The episode.
        env: The environment it was played in, made with the same arguments; it is not reset.
        admissible: The admissible actions listed with each observation, where they were.
    """
    return _Speaker(env).conversations(trajectory, admissible)[0]


# ------------------------------------------------------------------------------ how it is said


class _Speaker:
    """An environment as far as its episodes' messages need it.

    Args:
        env: The environment.
        other: The same in another dialect, if its episodes are to be told in that.
    """

    def __init__(self, env: AnyEnv, other: AnyEnv | None = None) -> None:
        self._env = env
        self._translates = other is not None
        speaking = env if other is None else other
        self._system = system_message(speaking)
        self._grammar = _grammar(speaking)
        self.tools = ""
        """The schemas of the tools, as JSON; none where actions are no tool calls."""
        if self._grammar is not None and self._grammar.dialect == "tools":
            self.tools = json.dumps(self._grammar.tools(), ensure_ascii=False)

    def conversations(
        self,
        trajectory: Trajectory,
        admissible: Sequence[Sequence[str] | None] | None = None,
        history: int | None = None,
    ) -> list[list[Message]]:
        """The one of the episode, or with `history` one a turn; none if it cannot be told."""
        conversation = Conversation(self._system, history=history)
        prompts: list[list[Message]] = []
        for i, turn in enumerate(trajectory.turns):
            completion = self._said(turn, i)
            if completion is None:
                return []
            conversation.observe(turn.observation, admissible[i] if admissible else None)
            if history is not None:
                alone = Conversation()
                alone.answer(completion)
                prompts.append([*conversation.messages, *alone.messages])
            conversation.answer(completion)
        return [conversation.messages] if history is None else prompts

    def _said(self, turn: Turn, number: int) -> Completion | None:
        """What was said, as a model says it; None if it cannot be said in the other dialect."""
        if self._grammar is None or not (self._translates or self._is_canonical(turn)):
            return turn.completion
        try:
            if type(turn.action) is Action:
                return _written(self._grammar, turn.action, number)
        except InvalidAction:
            pass
        return None if self._translates else turn.completion

    def _is_canonical(self, turn: Turn) -> bool:
        """Whether an action was given as canonical text, and the dialect would not read that.

        No model can: what is no `Action` is read in the dialect.
        """
        if type(turn.action) is not Action or turn.completion.tool_calls or self._grammar is None:
            return False
        try:
            return self._grammar.parse(str(turn.completion.text)) != turn.action
        except InvalidAction:
            return True

    def admissible(self, trajectory: Trajectory) -> list[Sequence[str] | None] | None:
        """The admissible actions of each turn; None if the world no longer shows the same.

        Raises:
            EnvError: The world broke.
        """
        env, task_id = self._env, trajectory.key.task_id
        options: dict[str, Any] = {"task": task_id} if task_id else {}
        listed: list[Sequence[str] | None] = []
        over = False
        with boundary(EnvError, "env.reset"):
            shown, info = env.reset(
                seed=trajectory.key.seed, options={**options, "hints": ["admissible"]}
            )
        for turn in trajectory.turns:
            if over or _text(shown) != _text(turn.observation):
                return None
            listed.append(info.get("admissible"))
            with boundary(EnvError, "env.step"):
                shown, _, terminated, truncated, info = env.step(turn.action)
            over = terminated or truncated
        return listed


def _written(grammar: Grammar, action: Action, number: int) -> Completion:
    """An action as a model says it in the grammar's dialect; as tool calls, those of turn `number`.

    Raises:
        InvalidAction: It is none of the grammar's.
    """
    if grammar.dialect != "tools":
        return Completion(grammar.render(action))
    understood = grammar.parse(action)
    calls = understood.calls or (Call("act", {"command": str(understood)}),)
    told = [grammar.verbs[call.verb].told(call.arguments) for call in calls]
    return Completion(
        "",
        tuple(
            ToolCall(call.verb, json.dumps(arguments, ensure_ascii=False), f"call_{number}_{i}")
            for i, (call, arguments) in enumerate(zip(calls, told, strict=True))
        ),
    )


def _find(id: str, manifest: Mapping[str, Any]) -> None:
    """Have `id` registered, by the file that the run had it from if need be."""
    try:
        registry.find_spec(id)
    except RegistryError:
        if "file" not in manifest:
            raise
        registry.load_file(Path(str(manifest["file"])))
        registry.find_spec(id)


def _grammar(env: AnyEnv) -> Grammar | None:
    return getattr(env.unwrapped, "grammar", None)


def _text(observation: Observation) -> object:
    return observation if isinstance(observation, str) else observation.get("text")


# ------------------------------------------------------------------------------ files


def export_messages(demonstrations: Demonstrations, out: str | Path, *, force: bool = False) -> int:
    """Write rows as JSON lines, or as Parquet if the name ends in `.parquet`.

    The file is there whole, or not at all.

    Args:
        demonstrations: The rows.
        out: The file.
        force: Replace one that is there.

    Returns:
        How many episodes it holds.

    Raises:
        ConfigError: The file is there already, or cannot be Parquet.
        StoreError: There is nothing to export, or the disk cannot be written.
        AgentGymError: See `Demonstrations`.
    """
    out = Path(out)
    target = out.resolve()
    if target.exists() and not target.is_file():
        raise ConfigError(f"{out} is not a file: choose another name")
    if target.parent == demonstrations.store.path.resolve() and target.name in (EPISODES, MANIFEST):
        raise ConfigError(f"{out} is the run itself: choose another name")
    if target.exists() and not force:
        raise ConfigError(f"{out} exists already: replace it with --force, or choose another name")
    write = _parquet_writer() if out.suffix == ".parquet" else _write_lines
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            write(demonstrations, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        if isinstance(error, AgentGymError):
            raise
        raise StoreError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink()
    return demonstrations.episodes


def line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON, newline included."""
    return orjson.dumps(row) + b"\n"


def _write_lines(rows: Iterable[Mapping[str, Any]], file: BinaryIO) -> None:
    for row in rows:
        file.write(line(row))


def _parquet_writer() -> Callable[[Iterable[Mapping[str, Any]], BinaryIO], None]:
    """What writes rows as Parquet.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    try:  # by name: it is no dependency, and large
        arrow, parquet = map(importlib.import_module, ("pyarrow", "pyarrow.parquet"))
    except ImportError as error:
        raise ConfigError(
            "a .parquet file needs pyarrow: pip install pyarrow, or write a .jsonl file"
        ) from error

    def write(rows: Iterable[Mapping[str, Any]], file: BinaryIO) -> None:
        listed = list(rows)
        try:
            table = arrow.Table.from_pylist(listed)
        except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:  # text here, images there
            raise ConfigError(
                f"messages with images are of no one type: write a .jsonl file ({error})"
            ) from error
        parquet.write_table(table, file)

    return write
