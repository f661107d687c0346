"""An episode as chat messages.

The system message is the world's instructions and its action grammar; then the user (what the world
shows) and the assistant (what the model said) take turns. The list only ever grows, so that a
server's prefix cache and the token record hold; `history` is the one exception.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from agentgym.actions import Grammar, tool_call
from agentgym.errors import RegistryError
from agentgym.types import Completion, Message, Observation

MAX_LISTED = 200
"""Most admissible actions shown to a model."""
IGNORED = "Ignored."
"""Answers every tool call of a turn but the first: servers want them all answered."""


def system_message(env: gym.Env[Any, Any]) -> str:
    """What a model is told first: the world's instructions, then how to write an action."""
    world = env.unwrapped
    return _system_message(getattr(world, "instructions", ""), getattr(world, "grammar", None))


@functools.lru_cache(maxsize=64)
def _system_message(instructions: str, grammar: Grammar | None) -> str:
    told = [instructions, grammar.instructions() if grammar else ""]
    return "\n\n".join(part.strip() for part in told if part.strip())


def spoken(completion: Completion) -> str:
    """What `env.step` is given: the text, with tool calls written as their tags."""
    if not completion.tool_calls:
        return completion.text
    calls = [tool_call(call.name, call.arguments or "{}") for call in completion.tool_calls]
    return "\n".join([completion.text, *calls]).strip()


class Conversation:
    """The messages of one episode.

    Args:
        system: The system message; none if empty.
        history: Show only the first observation and the last `history` exchanges (every turn is
            then a prompt of its own, not an extension of the one before); everything if None.
    """

    __slots__ = ("_answers", "_call_ids", "_history", "_messages", "_shown", "_start")

    def __init__(self, system: str = "", *, history: int | None = None) -> None:
        self._messages: list[Message] = [{"role": "system", "content": system}] if system else []
        self._start = len(self._messages) + 1
        self._history = history
        self._call_ids: list[str] = []
        """Tool calls that are not answered yet."""
        self._shown = 0
        """Where the last observation is."""
        self._answers: list[int] = []
        """Where the model's messages are."""

    @property
    def messages(self) -> list[Message]:
        """What the policy is given now."""
        if self._history is None:
            return self._messages
        if len(self._answers) <= self._history:
            return list(self._messages)
        first = self._messages[: self._start]
        if self._history == 0:  # no call is shown that it could be a tool's answer to
            return [*first, {"role": "user", "content": self._messages[self._shown]["content"]}]
        return [*first, *self._messages[self._answers[-self._history] :]]

    def observe(self, observation: Observation, admissible: Sequence[str] | None = None) -> None:
        """Add what the world shows, and the admissible actions if they are to be listed."""
        content = _content(observation, admissible)
        self._shown = len(self._messages)
        if not self._call_ids:
            self._messages.append({"role": "user", "content": content})
        for i, call_id in enumerate(self._call_ids):  # in their order: some templates drop the ids
            told = IGNORED if i else content
            self._messages.append({"role": "tool", "tool_call_id": call_id, "content": told})

    def answer(self, completion: Completion) -> None:
        """Add what the model said."""
        message: Message = {"role": "assistant", "content": completion.text}
        self._call_ids = []
        if completion.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id or f"call_{i}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for i, call in enumerate(completion.tool_calls)
            ]
            self._call_ids = [call["id"] for call in message["tool_calls"]]
        self._answers.append(len(self._messages))
        self._messages.append(message)


def _content(observation: Observation, admissible: Sequence[str] | None) -> str | list[Message]:
    text = observation if isinstance(observation, str) else str(observation.get("text", ""))
    if admissible is not None:
        shown = [f"- {action}" for action in admissible[:MAX_LISTED]]
        if len(admissible) > MAX_LISTED:
            shown.append(f"- … and {len(admissible) - MAX_LISTED} more")
        text = "\n".join([text, "", "Possible actions:", *shown])
    if isinstance(observation, str) or "image" not in observation:
        return text
    encoded = base64.b64encode(png(np.asarray(observation["image"]))).decode("ascii")
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
    return [{"type": "text", "text": text}, image] if text else [image]


def png(image: Any) -> bytes:
    """Encode uint8[H, W, 3] as PNG.

    Raises:
        RegistryError: Pillow is not installed.
    """
    try:
        from PIL import Image  # only worlds with images need it
    except ImportError as error:
        raise RegistryError(
            "observations with images need pillow: pip install 'agentgym-env[image]'"
        ) from error
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png", compress_level=1)
    return buffer.getvalue()
