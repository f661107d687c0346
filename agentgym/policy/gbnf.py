"""Grammars in llama.cpp's notation (GBNF) that admit given texts and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentgym.policy.client import clean

_DEEPEST = 16
"""Words that alternatives may share before they are written out in full."""


def one_of(texts: Iterable[str]) -> str:
    """A grammar whose sentences are exactly `texts`; empty ones are left out.

    Common first words are factored out: llama.cpp carries every alternative that is still possible
    through each token, and a flat list of a thousand actions costs seven times the decoding itself.
    Lone surrogates, which no model can write, stand as U+FFFD.
    """
    distinct = [clean(text) for text in dict.fromkeys(texts) if text]
    return f"root ::= {_alternatives(distinct, _DEEPEST)}" if distinct else 'root ::= ""'


def _alternatives(texts: Sequence[str], depth: int) -> str:
    groups: dict[str, list[str]] = {}
    for text in texts:
        word, space, rest = text.partition(" ") if depth else (text, "", "")
        groups.setdefault(word + space, []).append(rest)
    return " | ".join(
        _literal(start + rests[0])
        if len(rests) == 1
        else f"{_literal(start)} ({_alternatives(rests, depth - 1)})"
        for start, rests in groups.items()
    )


def _literal(text: str) -> str:
    return f'"{"".join(map(_escape, text))}"'


def _escape(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    point = ord(letter)
    return f"\\x{point:02X}" if point < 0x80 else f"\\U{point:08X}"
