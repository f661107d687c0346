"""Kinds of mistakes, each with the places where it can be made."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from agentgym.tasks.swe_code import Code, Site, name_of


@dataclass(frozen=True, slots=True)
class Operator:
    """A kind of mistake."""

    name: str
    about: str
    find: Callable[[Code, ast.AST], Iterable[Site]]
    """The mistakes that can be made at a node."""

    def sites(self, tree: ast.Module, source: str) -> list[Site]:
        """Every place in a file where it can be made, in order; some may not compile."""
        return self.sites_in(Code(tree, source))

    def sites_in(self, code: Code) -> list[Site]:
        """The same, of a file that is read already."""
        return sorted({site for node in code.nodes for site in self.find(code, node)})


_COMPARISONS = MappingProxyType(
    {
        ast.Lt: ("<", "<="),
        ast.LtE: ("<=", "<"),
        ast.Gt: (">", ">="),
        ast.GtE: (">=", ">"),
        ast.Eq: ("==", "!="),
        ast.NotEq: ("!=", "=="),
        ast.In: (r"\bin\b", "not in"),
        ast.NotIn: (r"\bnot\s+in\b", "in"),
        ast.Is: (r"\bis\b", "is not"),
        ast.IsNot: (r"\bis\s+not\b", "is"),
    }
)


def _compare(code: Code, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        for (left, right), operator in zip(pairwise(operands), node.ops, strict=True):
            pattern, after = _COMPARISONS[type(operator)]
            found = code.token(code.span(left)[1], code.span(right)[0], pattern)
            if found:
                yield Site(*found, after)


def _logic(code: Code, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.BoolOp):
        word, after = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in pairwise(node.values):
            found = code.token(code.span(left)[1], code.span(right)[0], rf"\b{word}\b")
            if found:
                yield Site(*found, after)


def _not(code: Code, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        start, end = code.span(node)
        found = code.token(start, end, r"not[ \t]*")
        if found:
            yield Site(*found, "")


_ARITHMETIC = MappingProxyType(
    {
        ast.Add: (r"\+", "-"),
        ast.Sub: ("-", "+"),
        ast.Mult: (r"\*", "+"),
        ast.Div: ("/", "//"),
        ast.FloorDiv: ("//", "/"),
        ast.Mod: ("%", "//"),
        ast.BitAnd: ("&", "|"),
        ast.BitOr: (r"\|", "&"),
        ast.LShift: ("<<", ">>"),
        ast.RShift: (">>", "<<"),
    }
)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr | ast.List) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _arithmetic(code: Code, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.BinOp):
        left: ast.AST = node.left
        right, operator = node.right, node.op
    elif isinstance(node, ast.AugAssign):
        left, right, operator = node.target, node.value, node.op
    else:
        return
    if type(operator) in _ARITHMETIC and not _is_text(left) and not _is_text(right):
        pattern, after = _ARITHMETIC[type(operator)]
        found = code.token(code.span(left)[1], code.span(right)[0], pattern)
        if found:
            yield Site(*found, after)


def _constant(code: Code, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        start, end = code.span(node)
        if code.source[start:end].isdecimal() and node.value < 10_000:
            yield Site(start, end, str(node.value + 1))
            if node.value:
                yield Site(start, end, str(node.value - 1))


_SIMPLE = (ast.Name, ast.Attribute, ast.Call, ast.Subscript)


def _bound(code: Code, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.Slice):
        pairs = [(node.lower, " + 1"), (node.upper, " - 1"), (node.upper, " + 1")]
    elif isinstance(node, ast.Call) and name_of(node.func) == "range" and node.args:
        last = node.args[min(1, len(node.args) - 1)]
        pairs = [(last, " - 1"), (last, " + 1")]
    else:
        return
    for bound, added in pairs:
        if isinstance(bound, _SIMPLE):
            end = code.span(bound)[1]
            yield Site(end, end, added)


def _increment(code: Code, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        right = node.right
        if isinstance(right, ast.Constant) and type(right.value) is int and right.value == 1:
            left_end, end = code.span(node.left)[1], code.span(right)[1]
            found = code.token(left_end, end, r"[ \t]*[+-]")
            if found:
                yield Site(found[0], end, "")


_ORDERED_CALLS = frozenset({"isinstance", "issubclass", "getattr", "setattr", "hasattr"})


def _swap(code: Code, first: ast.AST, second: ast.AST) -> Iterator[Site]:
    """Two nodes in each other's place."""
    (start, first_end), (second_start, end) = code.span(first), code.span(second)
    one, other = code.source[start:first_end], code.source[second_start:end]
    if one != other:
        yield Site(start, end, other + code.source[first_end:second_start] + one)


def _arguments(code: Code, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.Call) and name_of(node.func) not in _ORDERED_CALLS:
        for first, second in pairwise(node.args):
            if not isinstance(first, ast.Starred) and not isinstance(second, ast.Starred):
                yield from _swap(code, first, second)


def _keyword(code: Code, node: ast.AST) -> Iterator[Site]:
    if not isinstance(node, ast.Call):
        return
    named = [each for each in node.keywords if each.arg]
    for first, second in pairwise(named):
        yield from _swap(code, first.value, second.value)
    for each in named:
        start, end = code.span(each)
        comma = re.search(r",\s*\Z", code.source[:start])
        if comma:
            yield Site(comma.start(), end, "")


_FLIPPED = MappingProxyType({True: "False", False: "True"})


def _flag(code: Code, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield Site(*code.span(node), _FLIPPED[node.value])


def _default(code: Code, node: ast.AST) -> Iterator[Site]:
    if not isinstance(node, ast.arguments):
        return
    for default in (*node.defaults, *node.kw_defaults):
        if isinstance(default, ast.Constant):
            value, span = default.value, code.span(default)
            if isinstance(value, bool):
                yield Site(*span, _FLIPPED[value])
            elif isinstance(value, str) and code.source[span[0] : span[1]] == repr(value):
                yield Site(*span, repr("" if value else " "))
            elif type(value) is int and code.source[span[0] : span[1]].isdecimal():
                yield Site(*span, "1" if value == 0 else "0")


def _guard(code: Code, node: ast.AST) -> Iterator[Site]:
    """The early way out of a block, gone."""
    parent = code.parent(node)
    if not isinstance(parent, ast.If) or not isinstance(node, ast.Return | ast.Raise):
        return
    function = code.function(node)
    if function is None or function.body[-1] is not parent:  # type: ignore[attr-defined]
        yield Site(*code.span(node), "pass")


def _loop(code: Code, node: ast.AST) -> Iterator[Site]:
    if isinstance(node, ast.Continue):
        yield Site(*code.span(node), "break")
    elif isinstance(node, ast.Break):
        yield Site(*code.span(node), "continue")


def _branch(code: Code, node: ast.AST) -> Iterator[Site]:
    """An `if` or `elif` gone with its body, or an `else`; or a test turned around."""
    if not isinstance(node, ast.If):
        return
    start, _ = code.span(node)
    first, last = node.lineno, node.body[-1].end_lineno or node.lineno
    alone = not code.source[code.whole_lines(first, first)[0] : start].strip()
    chained = code.source.startswith("elif", start)
    if alone and (chained or not node.orelse):
        yield Site(*code.whole_lines(first, last), "")
    if alone and node.orelse and not code.text(node.orelse[0]).startswith("elif"):
        end = node.orelse[-1].end_lineno or last
        yield Site(*code.whole_lines(last + 1, end), "")
    if not isinstance(node.test, ast.Compare | ast.UnaryOp | ast.BoolOp):
        yield Site(*code.span(node.test), f"not {code.text(node.test)}")


_SAME_KIND = (
    "strip lstrip rstrip lower upper casefold title capitalize copy expandtabs removeprefix "
    "removesuffix replace resolve absolute expanduser splitlines zfill ljust rjust"
)
_IDENTITY_METHODS = frozenset(_SAME_KIND.split())


def _call(code: Code, node: ast.AST) -> Iterator[Site]:
    """A method call gone from a chain."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        value, end = node.func.value, code.span(node)[1]
        if node.func.attr in _IDENTITY_METHODS:
            found = code.token(code.span(value)[1], end, r"\s*\.")
            if found:
                yield Site(found[0], end, "")


_TWINS = (
    "startswith endswith|lower upper|find rfind|index rindex|split rsplit|lstrip rstrip|"
    "partition rpartition|popleft pop|add discard|append appendleft|ljust rjust|"
    "insert_before insert_after|first last|keys values"
)
_METHODS = MappingProxyType(
    {
        name: twin
        for line in _TWINS.split("|")
        for pair in [line.split()]
        for name, twin in (pair, pair[::-1])
        if name not in ("pop", "split", "rsplit", "values", "append")
    }
)
_BUILTINS = MappingProxyType(
    {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "reversed": "list"}
)


def _callee(code: Code, node: ast.AST) -> Iterator[Site]:
    """A function or method taken for its twin."""
    if not isinstance(node, ast.Call):
        return
    start, end = code.span(node.func)
    if isinstance(node.func, ast.Name) and node.func.id in _BUILTINS:
        yield Site(start, end, _BUILTINS[node.func.id])
    elif isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
        yield Site(end - len(node.func.attr), end, _METHODS[node.func.attr])


def _variable(code: Code, node: ast.AST) -> Iterator[Site]:
    """Another variable of the function, or attribute of the object."""
    parent = code.parent(node)
    if isinstance(parent, ast.Call) and parent.func is node:
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        function = code.function(node)
        known = code.variables(function) if function is not None else {}
        if node.id not in known or node.id in ("self", "cls"):
            return
        others = [
            name
            for name, line in known.items()
            if line < node.lineno and name not in ("self", "cls", "_")
        ]
        after = _next(sorted(others), node.id)
        if after:
            yield Site(*code.span(node), after)
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        known_here = code.attributes(node) if code.text(node.value) == "self" else []
        after = _next(known_here, node.attr) if node.attr in known_here else ""
        if after:
            end = code.span(node)[1]
            yield Site(end - len(node.attr), end, after)


def _next(names: Sequence[str], name: str) -> str:
    """The one after `name`, round the corner if need be; `""`: there is no other."""
    later = [each for each in names if each > name] or [each for each in names if each != name]
    return later[0] if later else ""


def _handler(code: Code, node: ast.AST) -> Iterator[Site]:
    """An exception passed on instead of handled, or one kind of it forgotten."""
    if not isinstance(node, ast.ExceptHandler):
        return
    first = node.body[0]
    if not isinstance(first, ast.Raise) and not hasattr(first, "body"):
        yield Site(*code.span(first), "raise")
    if isinstance(node.type, ast.Tuple) and len(node.type.elts) > 1:
        for each in node.type.elts:
            kept = [code.text(other) for other in node.type.elts if other is not each]
            yield Site(*code.span(node.type), f"({', '.join(kept)},)")


def _statement(code: Code, node: ast.AST) -> Iterator[Site]:
    """A step forgotten."""
    if isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield Site(*code.span(node), "pass")


OPERATORS: tuple[Operator, ...] = (
    Operator("compare", "a comparison is off: < for <=, == for !=, in for not in", _compare),
    Operator("logic", "and for or, or for and", _logic),
    Operator("not", "a not is missing", _not),
    Operator("increment", "+ 1 or - 1 is missing", _increment),
    Operator("arithmetic", "another operator: + for -, / for //", _arithmetic),
    Operator("default", "another default of a parameter", _default),
    Operator("constant", "a whole number is one off", _constant),
    Operator("bound", "the bound of a slice or range is one off", _bound),
    Operator("arguments", "two arguments are swapped", _arguments),
    Operator("keyword", "a keyword argument is missing, or two are swapped", _keyword),
    Operator("flag", "True for False", _flag),
    Operator("guard", "an early return or raise is missing", _guard),
    Operator("loop", "break for continue", _loop),
    Operator("branch", "a branch is missing, or its test turned around", _branch),
    Operator("call", "a method call is missing from a chain", _call),
    Operator("callee", "a function or method is taken for its twin", _callee),
    Operator("variable", "another variable or attribute of the same scope", _variable),
    Operator("handler", "an exception is not handled", _handler),
    Operator("statement", "a step is missing", _statement),
)
"""Every kind of mistake; the first that finds a place has it."""
