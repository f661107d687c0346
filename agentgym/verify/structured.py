"""Answers that are JSON, and final states of worlds: equal to what was declared, to the leaf."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from agentgym.errors import ConfigError
from agentgym.types import Outcome, Task
from agentgym.verify.base import Kind, judged, unavailable

MAX_CHARS = 100_000
"""Of JSON text."""
MAX_DEPTH = 64
"""Lists and objects inside one another."""
MAX_NODES = 100_000
"""Values in one document."""
_LONGEST_NUMBER = 400
_MAX_BITS = 1_400

_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_FENCED = re.compile(r"```(?:json\b)?(.*)```", re.DOTALL | re.IGNORECASE)

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class Unreadable(ValueError):
    """What was to be read is not the JSON of one value; never leaves `agentgym.verify`."""


def read_json(text: str) -> Any:
    """The value that JSON text holds, by itself or in one code fence; a byte order mark is ignored.

    Raises:
        Unreadable: It is too long or too deep, not JSON, names a key twice, or holds a number that
            is not finite.
    """
    if len(text) > MAX_CHARS:
        raise Unreadable("too_long")
    text = text.removeprefix("\ufeff").strip()
    fenced = _FENCED.fullmatch(text)
    if fenced:
        text = fenced[1]
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += (found[0] in "[{") - (found[0] in "]}")
        if depth > MAX_DEPTH:
            raise Unreadable("too_deep")
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse,
            parse_int=_integer,
            parse_float=_real,
        )
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise Unreadable("unreadable") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable("duplicate_key")
    return found


def _refuse(constant: str) -> Any:
    raise Unreadable("not_finite")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise Unreadable("number_too_long")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits) if len(digits) <= _LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise Unreadable("not_finite")
    return value


def check_json(value: Any) -> None:
    """See that a value is what `read_json` could have given.

    Raises:
        Unreadable: It is not.
    """
    left = MAX_NODES
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise Unreadable("too_large")
        below: Iterable[Any] = ()
        if isinstance(item, Mapping):
            if any(not isinstance(key, str) for key in item):
                raise Unreadable("unreadable")
            below = item.values()
        elif isinstance(item, list | tuple):
            below = item
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise Unreadable("not_finite")
        elif isinstance(item, int):
            if item.bit_length() > _MAX_BITS:
                raise Unreadable("number_too_long")
        elif not (item is None or isinstance(item, str)):
            raise Unreadable("unreadable")
        waiting.extend((child, depth + 1) for child in below)


def leaves(
    expected: Any, found: Any, tolerances: Mapping[str, float], path: str = ""
) -> Iterator[bool]:
    """For every leaf of `expected`, whether `found` has it there; and False for each thing more.

    True and 1 differ, 1 and 1.0 do not; texts are the same in either of Unicode's normal forms (é
    as one character or two), keys only as they are. A leaf is a value that holds no other, an empty
    list or object included.

    Args:
        expected: JSON.
        found: JSON.
        tolerances: JSON pointer (`"/items/0/price"`) of a number to how far off it may be.
        path: Where both are.
    """
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            yield False
            return
        for key, item in expected.items():
            inner = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key in found:
                yield from leaves(item, found[key], tolerances, inner)
            else:
                yield False
        yield from (False for key in found if key not in expected)
        if not expected and not found:
            yield True
    elif isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(expected) != len(found):
            yield False
            return
        for i, (item, other) in enumerate(zip(expected, found, strict=True)):
            yield from leaves(item, other, tolerances, f"{path}/{i}")
        if not expected:
            yield True
    else:
        yield _same(expected, found, tolerances.get(path, 0.0))


def _same(expected: Any, found: Any, tolerance: float) -> bool:
    if isinstance(expected, str) and isinstance(found, str):
        return unicodedata.normalize("NFC", expected) == unicodedata.normalize("NFC", found)
    if isinstance(expected, bool) or not isinstance(expected, int | float):
        return type(expected) is type(found) and bool(expected == found)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    if expected == found or not tolerance:
        return bool(expected == found)
    wanted, given, allowed = (Fraction(str(each)) for each in (expected, found, tolerance))
    return abs(wanted - given) <= allowed  # as written: 20.00 is within 0.01 of 19.99


def _declared(task: Task) -> tuple[Any, Mapping[str, float]]:
    """What a task expects, and how closely."""
    if "expected" not in task.data:
        raise ConfigError(f"task {task.id!r} has no data['expected']: give the value to be met")
    expected, tolerances = task.data["expected"], task.data.get("tolerances", {})
    try:
        check_json(expected)
    except Unreadable as error:
        raise ConfigError(f"data['expected'] of task {task.id!r} is no JSON: {error}") from error
    if not isinstance(tolerances, Mapping):
        raise ConfigError(
            f"data['tolerances'] of task {task.id!r} is {tolerances!r:.80}: map JSON pointers to "
            "numbers"
        )
    for path, tolerance in tolerances.items():
        if not (_is_number(tolerance) and 0 <= tolerance < math.inf):
            raise ConfigError(
                f"task {task.id!r} has the tolerance {tolerance!r:.80} for {path!r}: give a finite "
                "number of at least 0"
            )
        if not _is_number(_at(expected, path)):
            raise ConfigError(
                f"task {task.id!r} has a tolerance for {path!r}, where data['expected'] has no "
                "number: give a JSON pointer such as '/items/0/price'"
            )
    return expected, tolerances


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _at(value: Any, pointer: object) -> Any:
    """What a JSON pointer points to; None if nothing."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        return None
    for step in pointer.split("/")[1:]:
        if isinstance(value, Mapping):
            value = value.get(step.replace("~1", "/").replace("~0", "~"))
        elif isinstance(value, list | tuple) and _INDEX.fullmatch(step):
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    return value


def _compared(expected: Any, found: Any, tolerances: Mapping[str, float], part: str) -> Outcome:
    met = list(leaves(expected, found, tolerances))
    return judged(all(met), **{part: sum(met) / len(met)})


@dataclass(frozen=True, slots=True)
class JsonMatch:
    """1 where the answer is JSON that equals `task.data["expected"]`.

    The order of keys and how numbers are written do not matter; types, order of lists and whatever
    is there beside do. `task.data["tolerances"]` maps JSON pointers of numbers to how far off they
    may be. `parts["matched"]`: the share of leaves that are right.
    """

    kind: ClassVar[Kind] = Kind.JSON

    def __call__(self, task: Task, evidence: Mapping[str, Any], /) -> Outcome:
        """Compare `evidence["answer"]` (JSON text), or `evidence["value"]`, with the expected."""
        expected, tolerances = _declared(task)
        answer = evidence.get("answer")
        try:
            if "value" in evidence:
                found = evidence["value"]
                check_json(found)
            elif isinstance(answer, str):
                found = read_json(answer)
            else:
                return judged(False, "no_answer" if answer is None else "unreadable", matched=0.0)
        except Unreadable as error:
            return judged(False, str(error), matched=0.0)
        return _compared(expected, found, tolerances, "matched")


@dataclass(frozen=True, slots=True)
class StateMatch:
    """1 where every fact that `task.data["expected"]` declares holds in the final state.

    Facts that are not declared are not looked at; values are compared as `JsonMatch` does it.
    `parts["satisfied"]`: the share of declared facts that hold. Without `evidence["facts"]` there
    is no outcome: nobody looked.
    """

    kind: ClassVar[Kind] = Kind.STATE

    def __call__(self, task: Task, evidence: Mapping[str, Any], /) -> Outcome:
        """Compare `evidence["facts"]` with `task.data["expected"]`."""
        expected, tolerances = _declared(task)
        if not isinstance(expected, Mapping) or not expected:
            raise ConfigError(f"task {task.id!r}: data['expected'] must map facts to values")
        facts = evidence.get("facts")
        if facts is None:
            return unavailable("facts")
        if not isinstance(facts, Mapping):
            return judged(False, "unreadable", satisfied=0.0)
        found = {name: facts[name] for name in expected if name in facts}
        try:
            check_json(found)
        except Unreadable as error:
            return judged(False, str(error), satisfied=0.0)
        holds = [
            name in found and all(leaves({name: value}, {name: found[name]}, tolerances))
            for name, value in expected.items()
        ]
        return judged(all(holds), satisfied=sum(holds) / len(holds))
