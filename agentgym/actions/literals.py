r"""Literals as models write them, Python's and JSON's alike, read without evaluating anything.

`ast.parse` is not used, on purpose: it needs to be told where a call ends, warns (or, with warnings
as errors, fails) about the `"\d"` models love to write, and can exhaust the C stack. This reader
finds the end itself, takes time linear in what it reads, and nests at most `MAX_DEPTH` deep. It is
more forgiving than Python: `true` and `null`, line breaks inside quotes, unknown escapes kept as
they are (octal ones too: `"\1"` from a model is a back-reference).
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 8
"""Lists and objects inside one another."""

_TOKEN = re.compile(
    r"""\s*+(?:
      (?P<string>[rR]?(?:
          \"{3}(?:[^"\\]++|\\.|"(?!""))*+\"{3} | '{3}(?:[^'\\]++|\\.|'(?!''))*+'{3}
        | "(?!"")(?:[^"\\]++|\\.)*+"           | '(?!'')(?:[^'\\]++|\\.)*+'))
    | (?P<number>[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?(?![\w.]))
    | (?P<word>[A-Za-z_]\w*+)
    | (?P<mark>[\[\](){},])
    )""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORD = re.compile(r"\s*+([A-Za-z_]\w*+)\s*+(?:=(?!=)|:)")
_COLON = re.compile(r"\s*+:")
_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
_ESCAPE = re.compile(
    r"\\(?:u([0-9a-fA-F]{4})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))",
    re.DOTALL,
)
_ESCAPED = {
    **{"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0"},
    **{"\\": "\\", '"': '"', "'": "'", "\n": ""},
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNPRINTED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST_NUMBER = 64


class Malformed(ValueError):
    """What was read is no literal; never leaves `agentgym.actions`."""


def well_formed(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced: it can be encoded."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def write(value: Any) -> str:
    """A str, int, float, bool, None, or a list of them, as a one-line literal."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        if text.isprintable():
            return text
        return _UNPRINTED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(write, value))}]"
    return repr(value)


class Reader:
    r"""Reads literals out of `text`, from any position.

    Args:
        text: What to read; nothing before or after a literal matters.
        json_escapes: Whether `"\/"` is a slash, as in JSON, rather than a backslash and a slash.

    Every method raises `Malformed` where no complete literal stands.
    """

    __slots__ = ("json_escapes", "text")

    def __init__(self, text: str, *, json_escapes: bool = False) -> None:
        self.text = text
        self.json_escapes = json_escapes

    def value(self, position: int) -> tuple[Any, int]:
        """The literal at `position`, and where it ends."""
        return self._value(self._token(position), MAX_DEPTH)

    def arguments(self, position: int) -> tuple[list[Any], dict[str, Any], int]:
        """What stands between brackets, read from behind the opening one.

        Returns:
            Positional arguments, keyword arguments, and the position after the closing bracket.
        """
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        while True:
            keyword = _KEYWORD.match(self.text, position)
            token = self._token(keyword.end() if keyword else position)
            if token[0][-1] == ")" and token.lastgroup == "mark" and not keyword:
                return positional, keywords, token.end()
            value, position = self._value(token, MAX_DEPTH)
            if keyword is None:
                if keywords:
                    raise Malformed("a positional argument follows a keyword argument")
                positional.append(value)
            elif keyword[1] in keywords:
                raise Malformed(f"{keyword[1][:40]} is given twice")
            else:
                keywords[keyword[1]] = value
            position, closed = self._after_item(position, ")")
            if closed:
                return positional, keywords, position

    def _token(self, position: int) -> re.Match[str]:
        token = _TOKEN.match(self.text, position)
        if token is None:
            here = self.text[position : position + 20].strip()
            if not here:
                raise Malformed("it is not complete")
            if here[0] in "\"'":
                raise Malformed(f"the quotes of {here!r} are not closed")
            raise Malformed(f"{here!r} is no literal")
        return token

    def _after_item(self, position: int, closer: str) -> tuple[int, bool]:
        """Steps over the `,` or `closer` at `position`; whether it was the closer."""
        token = self._token(position)
        mark = token["mark"]
        if mark == closer:
            return token.end(), True
        if mark != ",":
            raise Malformed(f"expected ',' or {closer!r}, not {token[0].strip()[:20]!r}")
        return token.end(), False

    def _value(self, token: re.Match[str], depth: int) -> tuple[Any, int]:
        kind, end = token.lastgroup, token.end()
        if kind == "number":
            return _number(token["number"]), end
        if kind == "string":
            return self._string(token["string"]), end
        if kind == "word":
            word = token["word"]
            if word not in _WORDS:
                raise Malformed(f"{word[:40]!r} needs quotes if it is text")
            return _WORDS[word], end
        mark = token["mark"]
        if depth == 0:
            raise Malformed("it is nested too deeply")
        if mark == "[":
            return self._list(end, "]", depth - 1)
        if mark == "(":
            return self._list(end, ")", depth - 1)
        if mark == "{":
            return self._object(end, depth - 1)
        raise Malformed(f"unexpected {mark!r}")

    def _string(self, text: str) -> str:
        raw = text[0] in "rR"
        if raw:
            text = text[1:]
        quotes = 3 if text[:3] in ('"""', "'''") else 1
        text = text[quotes:-quotes]
        if "\\" in text and not raw:
            text = well_formed(_ESCAPE.sub(self._unescaped, text))
        return text

    def _unescaped(self, match: re.Match[str]) -> str:
        digits = match[1] or match[2] or match[3]
        if digits:
            return chr(int(digits, 16))
        if match[4] == "/" and self.json_escapes:
            return "/"
        return _ESCAPED.get(match[4], match[0])

    def _list(self, position: int, closer: str, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while True:
            token = self._token(position)
            if token["mark"] == closer:
                return items, token.end()
            item, position = self._value(token, depth)
            items.append(item)
            position, closed = self._after_item(position, closer)
            if closed:
                return items, position

    def _object(self, position: int, depth: int) -> tuple[dict[str, Any], int]:
        items: dict[str, Any] = {}
        while True:
            token = self._token(position)
            if token["mark"] == "}":
                return items, token.end()
            if token.lastgroup not in ("string", "word"):
                raise Malformed("a key of an object is text in quotes")
            key = token["word"] or self._string(token["string"])
            colon = _COLON.match(self.text, token.end())
            if colon is None:
                raise Malformed("a key of an object needs a ':' after it")
            items[key], position = self._value(self._token(colon.end()), depth)
            position, closed = self._after_item(position, "}")
            if closed:
                return items, position


def _number(text: str) -> int | float:
    if len(text) > _LONGEST_NUMBER:
        raise Malformed("a number is too long")
    try:
        return int(text)
    except ValueError:
        return float(text)
