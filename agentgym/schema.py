"""Trajectories as JSON lines, and back.

A line starts with `head` (key, stop, scored), so that a file can be indexed without parsing
episodes. Token ids and log-probabilities are base64 of little-endian int32 and float32, one run a
branch (`agentgym.tokens`): what a turn's prompt shares with the turns before is stored once, and
read back as views of one array.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import orjson

from agentgym.actions import Action
from agentgym.errors import StoreError
from agentgym.tokens import Place, TokenSpan, token_spans
from agentgym.types import (
    Completion,
    EpisodeKey,
    Observation,
    Outcome,
    Stop,
    Task,
    ToolCall,
    Trajectory,
    Turn,
)

SCHEMA = 1
"""Version of the line format; readers take this and every earlier one."""

SaveImage = Callable[[Any], str]
"""Keeps uint8[H, W, 3] somewhere and returns its name."""
LoadImage = Callable[[str], Any]

_HEAD = b'{"head":'
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def encode(trajectory: Trajectory, save_image: SaveImage | None = None) -> bytes:
    """One line, newline included.

    Raises:
        TypeError: A fact, signal or provenance value is not JSON; the message names the turn.
    """
    spans, places = token_spans(turn.completion for turn in trajectory.turns)
    turns = [
        _turn(turn, place, save_image) for turn, place in zip(trajectory.turns, places, strict=True)
    ]
    stop = trajectory.stop
    document = {
        "head": {
            "schema": SCHEMA,
            "key": tuple(trajectory.key),  # orjson takes tuples, not their subclasses
            "stop": stop.value if stop else None,
            "scored": trajectory.scored,
        },
        "task": _task(trajectory.task),
        "outcome": _outcome(trajectory.outcome),
        "error": trajectory.error,
        "facts": trajectory.facts,
        "turns": turns,
        "final_observation": _observation(trajectory.final_observation, save_image),
        "branches": [_branch(span) for span in spans],
        "provenance": trajectory.provenance,
    }
    try:
        return orjson.dumps(document, option=_OPTIONS) + b"\n"
    except TypeError:  # lone surrogates, or something that is not JSON
        return orjson.dumps(_mended(document, "trajectory"), option=_OPTIONS) + b"\n"


def head(line: bytes) -> dict[str, Any]:
    """The `head` of a line, without parsing the rest.

    Raises:
        StoreError: It is not an episode line, or its schema is newer than this version reads.
    """
    if not line.startswith(_HEAD):
        raise StoreError("it is not an agentgym episode")
    try:
        try:
            found, _ = _DECODER.raw_decode(line[:8192].decode("utf-8", "ignore"), len(_HEAD))
        except ValueError:  # its key is longer, or it is torn
            found, _ = _DECODER.raw_decode(line.decode("utf-8", "ignore"), len(_HEAD))
        schema = int(found["schema"])
        env, task_id, seed, sample = found["key"]
        if not (isinstance(found["scored"], bool) and isinstance(env, str)):
            raise TypeError("it has other fields")
        if not (isinstance(task_id, str) and isinstance(seed, int) and isinstance(sample, int)):
            raise TypeError("its key is no key")
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"its head cannot be read: {error}") from error
    if schema > SCHEMA:
        raise StoreError(
            f"it has schema {schema}, and this agentgym reads up to {SCHEMA}: upgrade agentgym-env"
        )
    return dict(found)


def decode(line: bytes, load_image: LoadImage | None = None) -> Trajectory:
    """Read a line.

    Raises:
        StoreError: It is torn, foreign, or of a newer schema.
    """
    first = head(line)
    try:
        document = orjson.loads(line)
        spans = [_load_branch(branch) for branch in document["branches"]]
        task = Task(**document["task"])
        return Trajectory(
            key=EpisodeKey(*first["key"]),
            task=task,
            facts=document.get("facts", {}),
            turns=[_load_turn(turn, spans, load_image) for turn in document["turns"]],
            final_observation=_load_observation(document["final_observation"], load_image),
            outcome=None if document["outcome"] is None else Outcome(**document["outcome"]),
            stop=None if first["stop"] is None else Stop(first["stop"]),
            error=document["error"],
            provenance=document["provenance"],
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError(f"it cannot be read: {type(error).__name__}: {error}") from error


_DECODER = json.JSONDecoder()


def _task(task: Task) -> dict[str, Any]:
    return {"id": task.id, "env": task.env, "split": task.split, "data": task.data}


def _outcome(outcome: Outcome | None) -> dict[str, Any] | None:
    return None if outcome is None else asdict(outcome)


def _turn(turn: Turn, place: Place | None, save_image: SaveImage | None) -> dict[str, Any]:
    said = turn.completion
    completion: dict[str, Any] = {"text": said.text, "finish_reason": said.finish_reason}
    if said.tool_calls:
        completion["tool_calls"] = [tuple(call) for call in said.tool_calls]
    if place is not None:
        completion["tokens"] = tuple(place)
        completion["logprob_kind"] = said.logprob_kind if said.logprobs is not None else None
    if said.weight_versions:
        completion["weight_versions"] = said.weight_versions
    if said.sampling:
        completion["sampling"] = said.sampling
    if said.usage:
        completion["usage"] = said.usage
    return {
        "observation": _observation(turn.observation, save_image),
        "completion": completion,
        "action": turn.action,
        "understood": type(turn.action) is Action,
        "invalid": turn.invalid,
        "reward": turn.reward,
        "facts": turn.facts,
        "signals": turn.signals,
        "timings": turn.timings,
    }


def _load_turn(turn: dict[str, Any], spans: list[TokenSpan], load: LoadImage | None) -> Turn:
    said = turn["completion"]
    ids: dict[str, Any] = {}
    if "tokens" in said:
        branch, start, end = said["tokens"]
        span = spans[branch]
        ids = {"completion_ids": span.ids[start:end]}
        if start > 0:
            ids["prompt_ids"] = span.ids[:start]
        ids["logprob_kind"] = kind = said["logprob_kind"]
        if span.logprobs is not None:
            told = span.logprobs[start:end]
            if kind is not None or not np.isnan(told).all():  # of a kind, or of one not told
                ids["logprobs"] = told
    return Turn(
        observation=_load_observation(turn["observation"], load) or "",
        completion=Completion(
            text=said["text"],
            tool_calls=tuple(ToolCall(*call) for call in said.get("tool_calls", ())),
            finish_reason=said["finish_reason"],
            weight_versions=tuple(said.get("weight_versions", ())),
            sampling=said.get("sampling", {}),
            usage=said.get("usage", {}),
            **ids,
        ),
        action=Action(turn["action"]) if turn["understood"] else turn["action"],
        invalid=turn["invalid"],
        reward=turn["reward"],
        facts=turn["facts"],
        signals=turn["signals"],
        timings=turn["timings"],
    )


def _observation(shown: Observation | None, save_image: SaveImage | None) -> Any:
    if shown is None or isinstance(shown, str) or "image" not in shown or save_image is None:
        return shown
    return {**shown, "image": {"sha256": save_image(shown["image"])}}


def _load_observation(stored: Any, load: LoadImage | None) -> Observation | None:
    if isinstance(stored, Mapping) and load is not None and isinstance(stored.get("image"), dict):
        return {**stored, "image": load(stored["image"]["sha256"])}
    return stored  # type: ignore[no-any-return]


def _branch(span: TokenSpan) -> dict[str, Any]:
    sampled = None
    if span.logprobs is not None:
        pieces = [span.logprobs[start:end] for start, end in span.sampled]
        sampled = _pack(np.concatenate(pieces), "<f4")
    return {"ids": _pack(span.ids, "<i4"), "sampled": span.sampled, "logprobs": sampled}


def _load_branch(branch: dict[str, Any]) -> TokenSpan:
    ids = _unpack(branch["ids"], "<i4")
    sampled = [(start, end) for start, end in branch["sampled"]]
    if branch["logprobs"] is None:
        return TokenSpan(ids, None, sampled)
    packed = _unpack(branch["logprobs"], "<f4")
    logprobs = np.full(len(ids), np.nan, dtype=np.float32)
    used = 0
    for start, end in sampled:
        logprobs[start:end] = packed[used : used + end - start]
        used += end - start
    return TokenSpan(ids, logprobs, sampled)


def _pack(values: Any, kind: str) -> str:
    return base64.b64encode(values.astype(kind, copy=False).tobytes()).decode("ascii")


def _unpack(text: str, kind: str) -> Any:
    return np.frombuffer(base64.b64decode(text), dtype=kind)


def _mended(value: Any, where: str) -> Any:
    """A copy that JSON can hold: lone surrogates replaced.

    Raises:
        TypeError: Something in it is not JSON; says where.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, int | float) else _mended(key, where): _mended(
                v, f"{where}.{key}"
            )
            for key, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [_mended(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if value is None or isinstance(value, int | float | np.generic | np.ndarray):
        return value
    raise TypeError(f"{where} is a {type(value).__name__}, which is not JSON: {str(value)[:80]!r}")
