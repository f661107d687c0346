"""One episode, turn by turn, for reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from agentgym.cli.picture import print_picture
from agentgym.cli.render import print_line
from agentgym.cli.text import brief, duration, several
from agentgym.prompt import spoken
from agentgym.types import Completion, Observation, Trajectory, Turn

_RULE = 72


def print_transcript(trajectory: Trajectory) -> None:
    """Print what was seen, said and understood, and how it ended."""
    print_line(f"episode {trajectory.key}", "bold")
    print_line(f"  {trajectory.key.env}, task {trajectory.task.id!r}, seed {trajectory.key.seed}")
    for number, turn in enumerate(trajectory.turns, 1):
        print_seen(number, turn.observation)
        print_said(turn.completion)
        print_understood(turn)
    print_end(trajectory)


def print_seen(number: int, observation: Observation | None) -> None:
    """Print an observation under the number of its turn."""
    print_line(f"\n── turn {number} {'─' * (_RULE - len(str(number)) - 9)}", "dim")
    print_line(readable(observation))
    print_picture(observation)


def print_said(completion: Completion) -> None:
    """Print what the policy said."""
    cut = " (cut at max_tokens)" if completion.finish_reason == "length" else ""
    said = spoken(completion)
    print_line(f"\n> {said}{cut}" if said else "\n> (nothing)", "bold")


def print_understood(turn: Turn) -> None:
    """Print what the world made of it, in brief."""
    told = []
    if turn.invalid is not None:
        told.append(f"invalid: {turn.invalid}")
    elif turn.action != turn.completion.text:
        told.append(f"action: {turn.action}")
    if turn.reward:
        told.append(f"reward: {turn.reward:g}")
    facts = {name: value for name, value in turn.facts.items() if name != "valid"}
    if facts:
        told.append(f"facts: {_json(facts)}")
    if turn.signals:
        told.append(f"signals: {_json(turn.signals)}")
    for line in told:
        print_line(f"  {brief(line)}", "red" if line.startswith("invalid") else "dim")


def print_end(trajectory: Trajectory) -> None:
    """Print the last observation, the outcome and what it took."""
    print_line(f"\n── end {'─' * (_RULE - 7)}", "dim")
    if trajectory.final_observation is not None:
        print_line(f"{readable(trajectory.final_observation)}\n")
        print_picture(trajectory.final_observation)
    outcome = trajectory.outcome
    if outcome is None or not outcome.available:
        told = "unscored"
    else:
        told = f"{'passed' if outcome.passed else 'not passed'}, score {outcome.score:g}"
        told += f" ({outcome.label})" if outcome.label else ""
        told += f", parts {_json(outcome.parts)}" if outcome.parts else ""
    style = "green" if outcome is not None and outcome.passed else "red"
    wall_s = trajectory.provenance.get("wall_s")
    took = f" in {duration(wall_s)}" if isinstance(wall_s, float) else ""
    stop = trajectory.stop.value if trajectory.stop else "unfinished"
    print_line(f"{told}; stop: {stop}, {several(len(trajectory.turns), 'turn')}{took}", style)
    if trajectory.error:
        print_line(f"error: {brief(trajectory.error, 1000)}", "red")


def transcript_as_data(trajectory: Trajectory) -> dict[str, Any]:
    """What `print_transcript` shows, whole, for JSON; tokens are counted, not listed."""
    return {
        "key": trajectory.key._asdict(),
        "task": trajectory.task,
        "turns": [_turn_as_data(turn) for turn in trajectory.turns],
        "final_observation": _observation_as_data(trajectory.final_observation),
        "outcome": trajectory.outcome,
        "scored": trajectory.scored,
        "stop": trajectory.stop,
        "error": trajectory.error,
        "provenance": trajectory.provenance,
    }


def _turn_as_data(turn: Turn) -> dict[str, Any]:
    said = turn.completion
    return {
        "observation": _observation_as_data(turn.observation),
        "text": said.text,
        "tool_calls": [call._asdict() for call in said.tool_calls],
        "finish_reason": said.finish_reason,
        "prompt_tokens": None if said.prompt_ids is None else len(said.prompt_ids),
        "completion_tokens": None if said.completion_ids is None else len(said.completion_ids),
        "action": turn.action,
        "invalid": turn.invalid,
        "reward": turn.reward,
        "facts": turn.facts,
        "signals": turn.signals,
        "timings": turn.timings,
    }


def _observation_as_data(observation: Observation | None) -> Any:
    if not isinstance(observation, Mapping) or "image" not in observation:
        return observation
    return {**observation, "image": _image(observation["image"])}


def readable(observation: Observation | None) -> str:
    """The text of an observation, and a mark for an image."""
    if observation is None:
        return "(nothing)"
    if isinstance(observation, str):
        return observation
    parts = [str(observation["text"])] if "text" in observation else []
    parts += [f"[image {_image(observation['image'])}]"] if "image" in observation else []
    return "\n".join(parts) or _json(observation)


def _image(image: Any) -> str:
    """Where a stored image is, or how large one is."""
    path = getattr(image, "path", None)
    return str(path) if path is not None else "×".join(map(str, getattr(image, "shape", ())))


def _json(value: Any) -> str:
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(dict(value), default=str, option=options).decode()
