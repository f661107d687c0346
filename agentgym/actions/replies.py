"""What is done to a reply before any dialect reads it, and how a refusal is worded."""

from __future__ import annotations

import re

from agentgym.errors import InvalidAction

_THOUGHT = re.compile(r"<(/?)(?:think|thinking|reasoning)\s*+>", re.IGNORECASE)
RESERVED_TAG = re.compile(r"</?(?:think|thinking|reasoning|action|tool_call)\s*+/?>", re.IGNORECASE)
"""Tags that mean something to a dialect or to `without_thoughts`; never part of a command."""

_LONGEST_MESSAGE = 300
_LONGEST_QUOTE = 80


def without_thoughts(text: str) -> str:
    """`text` with what the model thought taken out; linear in its length.

    A thought runs from `<think>`, `<thinking>` or `<reasoning>` to the next closing tag of the
    three. A closing tag with nothing open ends a thought that the chat template began: everything
    before it goes. An opening tag that is never closed takes the rest.
    """
    if "<" not in text:
        return text
    kept: list[str] = []
    position = 0
    opened = False
    for tag in _THOUGHT.finditer(text):
        if not tag[1]:
            if not opened:
                kept.append(text[position : tag.start()])
            opened = True
            continue
        if not opened:
            kept.clear()
        opened = False
        position = tag.end()
    if not opened:
        kept.append(text[position:])
    return "".join(kept)


def quoted(text: str) -> str:
    """`text` in quotes, cut to 80 characters."""
    literal = repr(text[:_LONGEST_QUOTE])
    if len(text) <= _LONGEST_QUOTE and len(literal) <= _LONGEST_QUOTE:
        return literal
    return f"{literal[: _LONGEST_QUOTE - 2]}…{literal[0]}"


def invalid(kind: str, message: str) -> InvalidAction:
    """The refusal to raise, its message cut to 300 characters."""
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[: _LONGEST_MESSAGE - 1]}…"
    return InvalidAction(kind, message)
