"""Templates: text with values, conditions and loops in it."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, MutableMapping
from typing import Any

from quill.errors import TemplateError
from quill.expressions import Expression, read

Scope = MutableMapping[str, Any]
Node = Callable[[Scope], str]

_TAG = re.compile(r"(\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\})", re.DOTALL)
_FOR = re.compile(r"for\s+([A-Za-z_]\w*)\s+in\s+(.+)", re.DOTALL)


class Template:
    """A text to fill in: `{{ value }}`, `{% if %}`, `{% for %}`, and `{# remarks #}`.

    Raises:
        TemplateError: It cannot be read.
    """

    def __init__(self, source: str) -> None:
        self._pieces = _TAG.split(source)
        self._place = 0
        self._nodes, end = self._block()
        if end:
            raise TemplateError(f"{{% {end} %}} without a beginning")

    def render(self, **values: Any) -> str:
        """The text with values filled in; what is missing is left empty.

        Raises:
            TemplateError: A value is not what the template takes it for.
        """
        return _render(self._nodes, values)

    def _block(self) -> tuple[list[Node], str]:
        """Nodes up to a tag that ends them, and that tag."""
        nodes: list[Node] = []
        while self._place < len(self._pieces):
            piece = self._pieces[self._place]
            self._place += 1
            if piece.startswith("{{"):
                nodes.append(_value(read(piece[2:-2])))
            elif piece.startswith("{%"):
                tag = piece[2:-2].strip()
                if tag in ("end", "else") or tag.startswith("elif "):
                    return nodes, tag
                nodes.append(self._statement(tag))
            elif piece and not piece.startswith("{#"):
                nodes.append(_text(piece))
        return nodes, ""

    def _statement(self, tag: str) -> Node:
        if tag.startswith("if "):
            return self._condition(tag[3:])
        if loop := _FOR.fullmatch(tag):
            return self._loop(loop[1], loop[2])
        raise TemplateError(f"no such tag: {{% {tag} %}}")

    def _condition(self, test: str) -> Node:
        branches: list[tuple[Expression, list[Node]]] = []
        otherwise: list[Node] = []
        tag = f"elif {test}"
        while tag.startswith("elif "):
            condition = read(tag[5:])
            nodes, tag = self._block()
            branches.append((condition, nodes))
        if tag == "else":
            otherwise, tag = self._block()
        self._expect_end(tag, "if")

        def render(scope: Scope) -> str:
            for condition, nodes in branches:
                if condition(scope):
                    return _render(nodes, scope)
            return _render(otherwise, scope)

        return render

    def _loop(self, name: str, source: str) -> Node:
        items = read(source)
        body, tag = self._block()
        empty: list[Node] = []
        if tag == "else":
            empty, tag = self._block()
        self._expect_end(tag, "for")

        def render(scope: Scope) -> str:
            found = items(scope)
            try:
                values = [] if found is None else list(found)
            except TypeError as error:
                raise TemplateError(f"cannot go through {source!r}: {error}") from error
            if not values:
                return _render(empty, scope)
            parts = []
            for index, value in enumerate(values, start=1):
                loop = {"index": index, "first": index == 1, "last": index == len(values)}
                inner = ChainMap({name: value, "loop": loop}, scope)
                parts.append(_render(body, inner))
            return "".join(parts)

        return render

    def _expect_end(self, tag: str, opened: str) -> None:
        if tag != "end":
            raise TemplateError(f"{{% {opened} … %}} is not ended")


def _render(nodes: list[Node], scope: Scope) -> str:
    return "".join(node(scope) for node in nodes)


def _text(text: str) -> Node:
    return lambda scope: text


def _value(expression: Expression) -> Node:
    def render(scope: Scope) -> str:
        value = expression(scope)
        return "" if value is None else str(value)

    return render
