"""Bugs for Python source: small mistakes as people make them, put in by rule.

An operator finds places in the syntax tree where its mistake can be made and says which characters
to replace; nothing else of the file changes, so layout and comments stay. What only tools and
readers see is left alone: docstrings, annotations, imports, `__all__` and its like, versions, and
what runs under `TYPE_CHECKING` or as a script.
"""

from __future__ import annotations

import ast
import bisect
import random
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

from agentgym.errors import ConfigError


class Site(NamedTuple):
    """A mistake that can be made: the characters from `start` to `end` become `after`."""

    start: int
    end: int
    after: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file with one mistake in it."""

    operator: str
    """Which mistake."""
    line: int
    """Where, from 1."""
    before: str
    """The characters that were replaced."""
    after: str
    """What they became."""
    source: str
    """The whole file."""
    start: int
    """Where they were in the file, in characters."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A kind of mistake."""

    name: str
    about: str
    find: Callable[[Code, ast.AST], Iterable[Site]]
    """The mistakes that can be made at a node."""

    def sites(self, tree: ast.Module, source: str) -> list[Site]:
        """Every place in a file where it can be made, in order; some may not compile."""
        return self._sites(Code(tree, source))

    def _sites(self, code: Code) -> list[Site]:
        return sorted({site for node in code.nodes for site in self.find(code, node)})


def mutants(
    source: str, rng: random.Random, *, lines: Collection[int] | None = None
) -> Iterator[Mutant]:
    """Every file that is one mistake away, kinds of mistakes taking turns.

    Each compiles, and means something else to the compiler than `source` does.

    Args:
        source: A Python file.
        rng: Decides on the order; the same state gives the same mutants.
        lines: Only mistakes that begin on these.

    Raises:
        ConfigError: `source` is no Python that this interpreter reads.
    """
    tree = _parsed(source)
    if tree is None:
        raise ConfigError("the source does not parse: nothing to put a bug in")
    code, meaning = Code(tree, source), ast.dump(tree)
    queues: list[tuple[str, list[Site]]] = []
    taken: set[Site] = set()
    for operator in OPERATORS:
        sites = [site for site in operator._sites(code) if site not in taken]
        taken.update(sites)
        if lines is not None:
            sites = [site for site in sites if code.line(site.start) in lines]
        rng.shuffle(sites)
        if sites:
            queues.append((operator.name, sites))
    while queues:
        rng.shuffle(queues)
        for name, sites in queues:
            start, end, after = sites.pop()
            changed = source[:start] + after + source[end:]
            parsed = _parsed(changed)
            if parsed is not None and ast.dump(parsed) != meaning:
                before = source[start:end]
                yield Mutant(name, code.line(start), before, after, changed, start)
        queues = [queue for queue in queues if queue[1]]


def combine(source: str, parts: Sequence[Mutant]) -> str:
    """One file with the mistakes of several mutants of it.

    Raises:
        ConfigError: They touch the same characters, or do not compile together.
    """
    ordered = sorted(parts, key=lambda part: part.start)
    for first, second in pairwise(ordered):
        if first.start + len(first.before) >= second.start:
            raise ConfigError(f"two bugs touch each other on line {second.line}: take others")
    for part in reversed(ordered):
        source = source[: part.start] + part.after + source[part.start + len(part.before) :]
    if _parsed(source) is None:
        raise ConfigError("the bugs do not compile together: take others")
    return source


def _parsed(source: str) -> ast.Module | None:
    """The tree, or None for what does not compile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `1 is 1` and the like: the mistake is on purpose
        try:
            tree = ast.parse(source)
            compile(tree, "<mutant>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError):
            return None
    return tree


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
        found = self.around(node, (*_FUNCTIONS, ast.Lambda, ast.ClassDef))
        return found if isinstance(found, _FUNCTIONS) else None

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


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
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
        names = {_name(part) for part in ast.walk(node.test)}
        return bool(names & {"TYPE_CHECKING", "__name__"})
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {_name(target) for target in targets}
        return any("version" in name.lower() or name.startswith("__") for name in names)
    if isinstance(node, ast.Call):
        return _name(node.func) in _TYPING_CALLS
    if isinstance(node, _FUNCTIONS):
        return any(_name(each) == "overload" for each in node.decorator_list)
    return False


def _name(node: ast.AST) -> str:
    """The name, or the last part of a dotted one; `""` for what has none."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _is_integer(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


# ---- operators ----

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
    elif isinstance(node, ast.Call) and _name(node.func) == "range" and node.args:
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
    if isinstance(node, ast.Call) and _name(node.func) not in _ORDERED_CALLS:
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
