"""Typing: text as the events of a keyboard with an American layout, all sent at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Event = tuple[str, dict[str, Any]]
"""A call of the browser's protocol."""

_PLACES = {
    ";:": (186, "Semicolon"), "=+": (187, "Equal"), ",<": (188, "Comma"), "-_": (189, "Minus"),
    ".>": (190, "Period"), "/?": (191, "Slash"), "`~": (192, "Backquote"),
    "[{": (219, "BracketLeft"), "\\|": (220, "Backslash"), "]}": (221, "BracketRight"),
    "'\"": (222, "Quote"),
}  # fmt: skip
_KEYS = {sign: place for signs, place in _PLACES.items() for sign in signs}
_KEYS |= {sign: (48 + i, f"Digit{i}") for i, sign in enumerate(")!@#$%^&*(")}
_KEYS |= {str(i): (48 + i, f"Digit{i}") for i in range(10)}
_KEYS |= {chr(97 + i): (65 + i, f"Key{chr(65 + i)}") for i in range(26)}
_KEYS |= {chr(65 + i): (65 + i, f"Key{chr(65 + i)}") for i in range(26)}
_KEYS[" "] = (32, "Space")
_NAMED = {"\n": ("Enter", 13, "\r"), "\t": ("Tab", 9, "")}


def events(text: str) -> Iterator[Event]:
    """What a keyboard would send; signs it has no key for come as input does from elsewhere."""
    strange = ""
    for sign in text.replace("\r\n", "\n").replace("\r", "\n"):
        if sign not in _KEYS and sign not in _NAMED:
            strange += sign
            continue
        if strange:
            yield "Input.insertText", {"text": strange}
            strange = ""
        if sign in _NAMED:
            name, code, said = _NAMED[sign]
            key = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        else:
            (code, name), said = _KEYS[sign], sign
            key = {"key": sign, "code": name, "windowsVirtualKeyCode": code}
        told = {"text": said, "unmodifiedText": said} if said else {}
        yield "Input.dispatchKeyEvent", {"type": "keyDown" if said else "rawKeyDown", **key, **told}
        yield "Input.dispatchKeyEvent", {"type": "keyUp", **key}
    if strange:
        yield "Input.insertText", {"text": strange}
