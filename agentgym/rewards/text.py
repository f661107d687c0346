"""Rewards as text: `parse(str(reward)) == reward`.

The text is Python's syntax for expressions, read as a tree by `ast` and never evaluated: numbers,
`+ - *`, comparisons, the names of signals, and the methods of `Reward`. Nothing else is let in.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from agentgym.errors import RewardError, did_you_mean
from agentgym.rewards.arguments import is_finite
from agentgym.rewards.expression import Number, OutcomeScore, Product, Reward, Signal, add
from agentgym.rewards.groups import GROUP_OPERATIONS, GroupOperation
from agentgym.rewards.operations import Condition
from agentgym.rewards.schedules import SCHEDULES, Schedule

MAX_CHARS = 10_000
MAX_DEPTH = 40
"""Of a text; a sum counts once, however many terms it has."""
METHODS = frozenset(
    {"mean", "sum", "over", "clip", "map", "when", "weight", "group", "at_end", "broadcast"}
    | {"to_go", "shortfall", "delta", "min_form", "min_to_go"}
)
"""Of `Reward`, that a text may call."""
SIGNALS: dict[str, type[Signal]] = {}
"""Every signal, by name."""
PRESETS: dict[str, str] = {}
"""Named expressions: what `parse` reads for such a name."""


def register(signal: type[Signal]) -> type[Signal]:
    """Make a signal known by its name (a class decorator).

    Raises:
        RewardError: The name is taken.
    """
    if signal.name in SIGNALS or signal.name in ("outcome", "passed") or signal.name in PRESETS:
        raise RewardError(f"a signal {signal.name!r} is there already")
    SIGNALS[signal.name] = signal
    return signal


def parse(text: str) -> Reward:
    """Read a reward, or the preset of that name.

    Raises:
        RewardError: It is none; names what is wrong with it.
    """
    text = PRESETS.get(text.strip(), text.strip())
    if not text:
        raise RewardError("the reward is empty: give an expression, such as outcome, or a preset")
    if len(text) > MAX_CHARS:
        raise RewardError(f"a reward has at most {MAX_CHARS} characters, not {len(text)}")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise RewardError(f"cannot read the reward {text[:80]!r}: {reason}") from None
    try:
        return _Reader().reward(tree, 0)
    except RecursionError:  # what is too deep to be shown in an error
        raise RewardError(f"a reward is at most {MAX_DEPTH} levels deep") from None


class _Reader:
    """Turns a syntax tree into a reward."""

    def reward(self, node: ast.expr, depth: int) -> Reward:
        if depth > MAX_DEPTH:
            raise RewardError(f"a reward is at most {MAX_DEPTH} levels deep")
        match node:
            case ast.Constant():
                return Number(_number(node))
            case ast.Name(id="outcome"):
                return OutcomeScore()
            case ast.Name(id=name):
                return self._signal(name, [], [], depth)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as number):
                return Number(-_number(number))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.reward(operand, depth + 1)
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                return self._sum(node, depth)
            case ast.BinOp(op=ast.Mult(), left=left, right=right):
                return Product(self.reward(left, depth + 1), self.reward(right, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self._signal(name, args, keywords, depth)
            case ast.Call(func=ast.Attribute(value=source, attr=method), args=args, keywords=kw):
                return self._method(self.reward(source, depth + 1), method, args, kw, depth)
            case ast.BinOp(op=ast.Div(), left=left, right=ast.Constant(value=int() | float())):
                raise RewardError(
                    f"a reward cannot hold {_shown(node)}: it takes no /, write a factor, as in "
                    f"0.5 * {ast.unparse(left):.40}"
                )
            case ast.Compare() | ast.BoolOp():
                raise RewardError(
                    f"{_shown(node)} is a condition, not a reward: write x.when(outcome >= 0.5), "
                    "and .when(...) again for another"
                )
        raise RewardError(
            f"a reward cannot hold {_shown(node)}: it holds numbers, signals, + - * and methods"
        )

    def _sum(self, node: ast.expr, depth: int) -> Reward:
        """Of as many terms as there are, from the left."""
        terms: list[Reward] = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            right = self.reward(node.right, depth + 1)
            terms.append(right if isinstance(node.op, ast.Add) else -right)
            node = node.left
        return add(self.reward(node, depth + 1), *reversed(terms))

    def _signal(
        self, name: str, args: list[ast.expr], keywords: list[ast.keyword], depth: int
    ) -> Reward:
        if name == "passed":
            raise RewardError(
                "passed is a condition, not a reward: write x.when(passed), or outcome for what is "
                "paid"
            )
        if name == "spa" and not args and not keywords:
            raise RewardError(
                "spa takes the file of an estimator, which its `save` wrote: write "
                "outcome + 0.2 * spa('FILE', calibrate='shift')"
            )
        if name not in SIGNALS:
            close = did_you_mean(name, ["outcome", *SIGNALS, *PRESETS])
            raise RewardError(
                f"there is no signal {name!r}{close or '; '}{' ' if close else ''}"
                "`agentgym reward list` shows all"
            )
        signal = _build(SIGNALS[name], *self._arguments(args, keywords, depth), name)
        assert isinstance(signal, Reward)
        return signal

    def _method(
        self,
        source: Reward,
        method: str,
        args: list[ast.expr],
        keywords: list[ast.keyword],
        depth: int,
    ) -> Reward:
        if method not in METHODS:
            raise RewardError(
                f"a reward has no method .{method}(){did_you_mean(method, METHODS)}: it has "
                f"{', '.join(sorted(METHODS))}"
            )
        built = _build(
            getattr(source, method), *self._arguments(args, keywords, depth), f".{method}"
        )
        assert isinstance(built, Reward)
        return built

    def _arguments(
        self, args: list[ast.expr], keywords: list[ast.keyword], depth: int
    ) -> tuple[list[Any], dict[str, Any]]:
        named = {}
        for keyword in keywords:
            if keyword.arg is None:
                raise RewardError("a reward cannot hold **arguments")
            if keyword.arg in named:
                raise RewardError(f"the argument {keyword.arg} is given twice")
            named[keyword.arg] = self._argument(keyword.value, depth + 1)
        return [self._argument(each, depth + 1) for each in args], named

    def _argument(self, node: ast.expr, depth: int) -> Any:
        match node:
            case ast.Constant(value=str() | bool() | None):
                return node.value
            case ast.Constant():
                return _literal(node)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as number):
                return -_literal(number)
            case ast.Tuple(elts=elements):
                return tuple(self._argument(each, depth + 1) for each in elements)
            case ast.Compare(left=left, ops=[comparison], comparators=[threshold]):
                return self._condition(left, comparison, threshold, depth)
            case ast.Name(id="passed"):
                return OutcomeScore() >= 1.0
            case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)) if name in _PLAIN:
                call = node if isinstance(node, ast.Call) else None
                given = self._arguments(call.args, call.keywords, depth) if call else ([], {})
                return _build(_PLAIN[name], *given, name)
        return self.reward(node, depth)

    def _condition(
        self, left: ast.expr, comparison: ast.cmpop, threshold: ast.expr, depth: int
    ) -> Condition:
        signs = _SIGNS.get(type(comparison))
        if signs is None:
            raise RewardError(
                "a condition compares by >=, >, <= or <: write outcome >= 1, or passed, for == 1"
            )
        source, limit = self.reward(left, depth + 1), self.reward(threshold, depth + 1)
        sign = signs[0]
        if isinstance(source, Number) and not isinstance(limit, Number):  # 0.5 <= outcome
            source, limit, sign = limit, source, signs[1]
        if not isinstance(limit, Number):
            raise RewardError(f"a condition compares with a number, not {_shown(threshold)}")
        return Condition(source, sign, limit.value)


_SIGNS: Mapping[type[ast.cmpop], tuple[str, str]] = {
    ast.GtE: (">=", "<="),
    ast.Gt: (">", "<"),
    ast.LtE: ("<=", ">="),
    ast.Lt: ("<", ">"),
}
"""How a comparison is written, and how with its sides exchanged."""
_PLAIN: Mapping[str, type[GroupOperation | Schedule]] = {**GROUP_OPERATIONS, **SCHEDULES}


def _build(
    make: Callable[..., Any], positional: list[Any], named: dict[str, Any], name: str
) -> Any:
    try:
        inspect.signature(make).bind(*positional, **named)
    except TypeError as error:
        raise RewardError(f"{name}: {error}") from None
    return make(*positional, **named)


def _number(node: ast.Constant) -> float:
    return float(_literal(node))


def _literal(node: ast.Constant) -> int | float:
    value = node.value
    if not is_finite(value):
        raise RewardError(f"a reward cannot hold {ast.unparse(node)[:40]!r}: give a finite number")
    assert isinstance(value, int | float)
    return value


def _shown(node: ast.expr) -> str:
    return f"{ast.unparse(node)[:60]!r}"
