"""Expressions: read into functions of the names that are in scope."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from quill.errors import TemplateError

Scope = Mapping[str, Any]
Expression = Callable[[Scope], Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)
    |(?P<text>"[^"]*"|'[^']*')
    |(?P<name>[A-Za-z_]\w*)
    |(?P<mark>==|!=|<=|>=|[-+*/%<>().,|]))""",
    re.VERBOSE,
)
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda item, items: item in items,
}
_SUMS = {"+": operator.add, "-": operator.sub}
_PRODUCTS = {"*": operator.mul, "/": operator.truediv, "%": operator.mod}
_CONSTANTS = {"true": True, "false": False, "none": None}

FILTERS: dict[str, Callable[..., Any]] = {
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "length": len,
    "join": lambda values, between="": str(between).join(map(str, values)),
    "default": lambda value, other: other if value is None else value,
    "round": lambda value, digits=0: round(value, digits),
    "first": lambda values: next(iter(values), None),
}


def read(source: str) -> Expression:
    """The expression that a text stands for.

    Raises:
        TemplateError: It is none.
    """
    parser = _Parser(source)
    expression = parser.filtered()
    if parser.peek():
        raise TemplateError(f"{parser.peek()!r} makes no sense in {source!r}")
    return expression


def look_up(scope: Any, name: str) -> Any:
    """A name in a mapping, or an attribute: the mapping's own keys come first.

    Private names are never found.
    """
    if isinstance(scope, Mapping) and name in scope:
        return scope[name]
    return None if name.startswith("_") else getattr(scope, name, None)


class _Parser:
    """Reads one expression, a method for each strength of operators."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens: list[tuple[str, str]] = []
        place = 0
        while source[place:].strip():
            match = _TOKEN.match(source, place)
            if match is None:
                raise TemplateError(f"cannot read {source[place:].strip()!r} in {source!r}")
            kind = match.lastgroup or ""
            self.tokens.append((kind, match[kind]))
            place = match.end()
        self.place = 0

    def peek(self) -> str:
        """The next token, or `""`."""
        return self.tokens[self.place][1] if self.place < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        """The next token if it is one of those wanted, else `""`."""
        token = self.peek()
        if token not in wanted:
            return ""
        self.place += 1
        return token

    def filtered(self) -> Expression:
        value = self.either()
        while self.take("|"):
            value = self.filter(value)
        return value

    def filter(self, value: Expression) -> Expression:
        name = self.peek()
        if name not in FILTERS:
            raise TemplateError(f"no filter {name!r}: there is {', '.join(FILTERS)}")
        self.place += 1
        arguments: list[Expression] = []
        if self.take("("):
            while not self.take(")"):
                arguments.append(self.either())
                if self.peek() != ")" and not self.take(","):
                    raise TemplateError(f"{name}(…) is not closed in {self.source!r}")
        function = FILTERS[name]
        return lambda scope: function(value(scope), *(each(scope) for each in arguments))

    def either(self) -> Expression:
        left = self.both()
        while self.take("or"):
            left = _lazy_or(left, self.both())
        return left

    def both(self) -> Expression:
        left = self.negation()
        while self.take("and"):
            left = _lazy_and(left, self.negation())
        return left

    def negation(self) -> Expression:
        if self.take("not"):
            value = self.negation()
            return lambda scope: not value(scope)
        return self.comparison()

    def comparison(self) -> Expression:
        left = self.sum()
        if sign := self.take(*_COMPARISONS):
            return _apply(_COMPARISONS[sign], left, self.sum())
        return left

    def sum(self) -> Expression:
        left = self.product()
        while sign := self.take(*_SUMS):
            left = _apply(_SUMS[sign], left, self.product())
        return left

    def product(self) -> Expression:
        left = self.unary()
        while sign := self.take(*_PRODUCTS):
            left = _apply(_PRODUCTS[sign], left, self.unary())
        return left

    def unary(self) -> Expression:
        if self.take("-"):
            value = self.unary()
            return lambda scope: -value(scope)
        return self.dotted()

    def dotted(self) -> Expression:
        value = self.atom()
        while self.take("."):
            value = _attribute(value, self.peek())
            self.place += 1
        return value

    def atom(self) -> Expression:
        if self.take("("):
            inner = self.filtered()
            if not self.take(")"):
                raise TemplateError(f"a parenthesis is not closed in {self.source!r}")
            return inner
        kind, token = self.tokens[self.place] if self.peek() else ("", "")
        self.place += 1
        if kind == "number":
            number = float(token) if "." in token else int(token)
            return lambda scope: number
        if kind == "text":
            return lambda scope: token[1:-1]
        if kind == "name":
            if token in _CONSTANTS:
                return lambda scope: _CONSTANTS[token]
            return lambda scope: look_up(scope, token)
        raise TemplateError(f"a value is missing in {self.source!r}")


def _apply(function: Callable[[Any, Any], Any], left: Expression, right: Expression) -> Expression:
    return lambda scope: function(left(scope), right(scope))


def _lazy_or(left: Expression, right: Expression) -> Expression:
    return lambda scope: left(scope) or right(scope)


def _lazy_and(left: Expression, right: Expression) -> Expression:
    return lambda scope: left(scope) and right(scope)


def _attribute(value: Expression, name: str) -> Expression:
    return lambda scope: look_up(value(scope), name)
