r"""Literals as models write them, Python's and JSON's alike, read with `ast` and never evaluated.

A model's text does not go to `ast.parse` as it is. Tokens are read up to where the brackets close,
and written again as Python that is sure to be harmless: strings with their escapes resolved,
`true` and `null` as `True` and `None`, no names. `ast` alone cannot find where a call ends within
prose, warns (or, with warnings as errors, fails) about the `"\d"` models love to write, and can
exhaust the C stack on deep nesting; here nesting ends at `MAX_DEPTH`. Line breaks inside quotes are
kept, and so are unknown escapes (octal ones too: `"\1"` from a model is a back-reference).
"""

from __future__ import annotations

import ast
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
    | (?P<mark>[\[\](){},:=])
    )""",
    re.VERBOSE | re.DOTALL,
)
_NAMING = re.compile(r"\s*+(?:=(?!=)|:)")
_WORDS = {
    **{"True": "True", "False": "False", "None": "None"},
    **{"true": "True", "false": "False", "null": "None"},
}
_CLOSERS = {"(": ")", "[": "]", "{": "}"}
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
        source, _, end = self._source(position, [])
        return _plain(_expression(source)), end

    def arguments(self, position: int) -> tuple[list[Any], dict[str, Any], int]:
        """What stands between brackets, read from behind the opening one.

        Returns:
            Positional arguments, keyword arguments, and the position after the closing bracket.
        """
        source, names, end = self._source(position, [")"])
        call = _expression(f"_({source}")
        if not isinstance(call, ast.Call):  # cannot be: nothing follows the closing bracket
            raise Malformed("it is no call")
        keywords = {names[int((k.arg or "")[1:])]: _plain(k.value) for k in call.keywords}
        return [_plain(argument) for argument in call.args], keywords, end

    def _source(self, position: int, awaited: list[str]) -> tuple[str, list[str], int]:
        """Python for what stands at `position`, up to where no bracket is awaited any more.

        Returns:
            The source; the names of keyword arguments, which stand in it by number (a model may
            call one `from`); and where what was read ends.
        """
        pieces: list[str] = []
        names: list[str] = []
        deepest = len(awaited) + MAX_DEPTH
        while True:
            token = self._token(position)
            position, kind = token.end(), token.lastgroup
            if kind == "number":
                pieces.append(repr(_number(token["number"])))
            elif kind == "string":
                pieces.append(repr(self._string(token["string"])))
            elif kind == "word":
                word = token["word"]
                naming = _NAMING.match(self.text, position) if awaited else None
                if naming and awaited == [")"]:
                    if word in names:
                        raise Malformed(f"{word[:40]} is given twice")
                    pieces.append(f"_{len(names)}=")
                    names.append(word)
                    position = naming.end()
                    continue
                if word not in _WORDS and not (naming and awaited[-1] == "}"):
                    raise Malformed(f"{word[:40]!r} needs quotes if it is text")
                pieces.append(repr(word) if naming else _WORDS[word])
            else:
                mark = token["mark"]
                if mark in _CLOSERS:
                    awaited.append(_CLOSERS[mark])
                    if len(awaited) > deepest:
                        raise Malformed("it is nested too deeply")
                elif mark in ")]}":
                    if not awaited or awaited.pop() != mark:
                        raise Malformed(f"unexpected {mark!r}")
                elif not awaited:
                    raise Malformed(f"unexpected {mark!r}")
                pieces.append(mark)
            if not awaited:
                return " ".join(pieces), names, position

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


def _expression(source: str) -> ast.expr:
    try:
        return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise Malformed(getattr(error, "msg", None) or "it is not well formed") from error


def _plain(node: ast.expr) -> Any:
    """The value of a literal; tuples are lists."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp):  # a number below zero
        return -_plain(node.operand)
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [None if key is None else _plain(key) for key in node.keys]
        if not all(isinstance(key, str) for key in keys):
            raise Malformed("a key of an object is text in quotes")
        return dict(zip(keys, map(_plain, node.values), strict=True))
    raise Malformed(
        "a key of an object needs a ':' after it"
        if isinstance(node, ast.Set)
        else "it is no literal"
    )


def _number(text: str) -> int | float:
    if len(text) > _LONGEST_NUMBER:
        raise Malformed("a number is too long")
    try:
        return int(text)
    except ValueError:
        return float(text)
