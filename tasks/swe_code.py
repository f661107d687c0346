"""Python source and its syntax tree, for those who replace characters by what nodes mean."""

from __future__ import annotations

import ast
import bisect
import re
from collections.abc import Iterator
from typing import NamedTuple


class Site(NamedTuple):
    """A mistake that can be made: the characters from `start` to `end` become `after`."""

    start: int
    end: int
    after: str


class Code:
    """A file: its text and, in order, those nodes of its tree that mistakes may be made at."""

    def __init__(self, tree: ast.Module, source: str) -> None:
        self.source = source
        self._lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", source)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        self._parents: dict[ast.AST, ast.AST] = {}
        self._locals: dict[ast.AST, dict[str, int]] = {}
        self._attributes: dict[ast.AST, list[str]] = {}
        self.nodes = list(self._walk(tree))

    def _walk(self, node: ast.AST) -> Iterator[ast.AST]:
        for name, value in ast.iter_fields(node):
            if name in _UNTOUCHED_FIELDS:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_untouched(child):
                    self._parents[child] = node
                    yield child
                    yield from self._walk(child)

    def at(self, line: int, column: int) -> int:
        """The index of a position of the tree's, whose columns count bytes."""
        text = self._lines[line - 1]
        inside = column if text.isascii() else len(text.encode()[:column].decode())
        return self._starts[line - 1] + inside

    def line(self, index: int) -> int:
        """The line of an index, from 1."""
        return bisect.bisect_right(self._starts, index)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node is, without parentheses around it."""
        end_line, end_column = node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]
        start = self.at(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        return start, self.at(end_line, end_column)

    def text(self, node: ast.AST) -> str:
        """The characters of a node."""
        start, end = self.span(node)
        return self.source[start:end]

    def whole_lines(self, first: int, last: int) -> tuple[int, int]:
        """Where lines are, with the end of the last."""
        return self._starts[first - 1], self._starts[last]

    def token(self, start: int, end: int, pattern: str) -> tuple[int, int] | None:
        """Where a token first is between two indices, not counting comments."""
        for found in re.finditer(rf"#[^\n\r]*|({pattern})", self.source[start:end]):
            if found[1]:
                return start + found.start(), start + found.end()
        return None

    def parent(self, node: ast.AST) -> ast.AST | None:
        """What a node is right in."""
        return self._parents.get(node)

    def around(self, node: ast.AST, kinds: type[ast.AST] | tuple[type[ast.AST], ...]) -> ast.AST:
        """The nearest node of some kinds around one, or the one at the top."""
        while (above := self._parents.get(node)) is not None:
            node = above
            if isinstance(node, kinds):
                break
        return node

    def function(self, node: ast.AST) -> ast.AST | None:
        """The function around a node."""
        found = self.around(node, (*FUNCTIONS, ast.Lambda, ast.ClassDef))
        return found if isinstance(found, FUNCTIONS) else None

    def variables(self, function: ast.AST) -> dict[str, int]:
        """A function's own variables, and the line from which each has a value."""
        if function not in self._locals:
            found: dict[str, int] = {}
            for node in ast.walk(function):
                if isinstance(node, ast.arg):
                    found.setdefault(node.arg, node.lineno)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.setdefault(node.id, node.lineno)
            self._locals[function] = found
        return self._locals[function]

    def attributes(self, node: ast.AST) -> list[str]:
        """The attributes that the class around a node sets on `self`."""
        around = self.around(node, ast.ClassDef)
        if around not in self._attributes:
            found = {
                each.attr
                for each in ast.walk(around)
                if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)
                if isinstance(each.value, ast.Name) and each.value.id == "self"
            }
            self._attributes[around] = sorted(found)
        return self._attributes[around]


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_UNTOUCHED_FIELDS = frozenset({"annotation", "returns", "type_params", "type_ignores"})
_TYPING_CALLS = frozenset({"TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "cast"})
_UNTOUCHED_KINDS: tuple[type[ast.AST], ...] = (
    ast.Import,
    ast.ImportFrom,
    ast.Assert,
    ast.JoinedStr,  # Python 3.11 does not say where its parts are
    *(getattr(ast, name) for name in ("TypeAlias", "TemplateStr") if hasattr(ast, name)),
)


def _is_untouched(node: ast.AST) -> bool:
    """Whether a node, with all in it, is for tools and readers only."""
    if isinstance(node, _UNTOUCHED_KINDS):
        return True
    if isinstance(node, ast.Expr):  # a docstring, or a string as a comment
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        names = {name_of(part) for part in ast.walk(node.test)}
        return bool(names & {"TYPE_CHECKING", "__name__"})
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {name_of(target) for target in targets}
        return any("version" in name.lower() or name.startswith("__") for name in names)
    if isinstance(node, ast.Call):
        return name_of(node.func) in _TYPING_CALLS
    if isinstance(node, FUNCTIONS):
        return any(name_of(each) == "overload" for each in node.decorator_list)
    return False


def name_of(node: ast.AST) -> str:
    """The name, or the last part of a dotted one; `""` for what has none."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def is_integer(node: ast.AST) -> bool:
    """Whether a node is a whole number."""
    return isinstance(node, ast.Constant) and type(node.value) is int
