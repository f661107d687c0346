"""Answers that are numbers, read by a grammar of their own into exact fractions.

Nothing is evaluated, and no float is made of a text: `1e999` is refused instead of infinite, and
ten million digits are refused before they are looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from agentgym.errors import ConfigError
from agentgym.types import Outcome, Task
from agentgym.verify.base import Kind, judged, references
from agentgym.verify.text import fold
from agentgym.verify.units import PLAIN, SCALES, UNITS, Unit, find_unit

MAX_CHARS = 200
"""Of a number; a longer one is refused, unread."""
MAX_EXPONENT = 308
"""Largest power of ten, either way."""
_MAX_BITS = 1_100

_SPACES = "[ \u00a0\u2009\u202f]"
_DIGITS = rf"(?:[0-9]{{1,3}}(?:,[0-9]{{3}})++|[0-9]{{1,3}}(?:{_SPACES}[0-9]{{3}})++|[0-9]++)"
_NUMBER = re.compile(
    rf"""
      (?P<sign>[-+]\s*)?  (?P<money>[$€£¥]\s*)?
      (?:
        (?:(?P<whole>[0-9]++)\s+(?:and\s+)?)?
        (?P<over>[0-9]++)\s*/\s*(?P<under>[0-9]++)
      | 10\s*(?:\^|\*\*)\s*(?P<ten>[-+]?[0-9]++)
      | (?P<decimal>{_DIGITS}(?:\.[0-9]*+)?|\.[0-9]++)
        (?:[eE](?P<exponent>[-+]?[0-9]++)|\s*[×x*]\s*10\s*(?:\^|\*\*)\s*(?P<power>[-+]?[0-9]++))?
      )
      (?:\s*(?P<unit>[^\W\d_][\w/^ ]*|[%°$€£¥][CF]?|per\ cent))?  \.?
    """,
    re.VERBOSE,
)
_POWERS = {ord("²"): "^2", ord("³"): "^3"}


class Quantity(NamedTuple):
    """A number with its unit."""

    value: Fraction
    """In `unit`."""
    unit: Unit
    """`PLAIN` for a bare number; of an unknown name, a dimension of that name."""

    def converted(self, unit: Unit) -> Fraction | None:
        """Its value in another unit; None where it has none."""
        if self.unit.dimension != unit.dimension:
            return None
        return self.value * self.unit.factor / unit.factor


def read_number(answer: object) -> Quantity | None:
    """A number as people write it, or None.

    Thousands in groups of three by commas or spaces, decimals by a point, `e` and `×10^` with
    exponents up to `MAX_EXPONENT`, fractions and mixed numbers, percent, money, units, a million;
    digits, minus signs and fractions of all of Unicode. Anything around it makes it none.
    """
    if isinstance(answer, bool):
        return None
    if isinstance(answer, int):
        return Quantity(Fraction(answer), PLAIN) if answer.bit_length() <= _MAX_BITS else None
    if isinstance(answer, float):
        return Quantity(Fraction(repr(answer)), PLAIN) if math.isfinite(answer) else None
    if not isinstance(answer, str) or len(answer) > MAX_CHARS:
        return None
    found = _NUMBER.fullmatch(fold(answer).strip())
    return None if found is None else _quantity(found)


def _quantity(found: re.Match[str]) -> Quantity | None:
    value = _value(found)
    if value is None:
        return None
    if found["sign"] and found["sign"][0] == "-":
        value = -value
    words = (found["unit"] or "").split()
    while words and words[0].casefold() in SCALES:
        value *= SCALES[words.pop(0).casefold()]
    name = " ".join(words)
    if found["money"]:
        if name and find_unit(name) != UNITS[found["money"].strip()]:
            return None
        name = found["money"].strip()
    if name.casefold() == "per cent":
        name = "%"
    unit = find_unit(name) if name else PLAIN
    return Quantity(value, unit or Unit(f"?{name.casefold().removesuffix('s')}", Fraction(1)))


def _value(found: re.Match[str]) -> Fraction | None:
    if found["over"]:
        under = int(found["under"])
        return int(found["whole"] or 0) + Fraction(int(found["over"]), under) if under else None
    exponent = found["ten"] or found["exponent"] or found["power"] or "0"
    if len(exponent) > 4 or abs(int(exponent)) > MAX_EXPONENT:
        return None
    digits = re.sub(rf",|{_SPACES}", "", found["decimal"] or "1")
    return Fraction(digits.removesuffix(".")) * Fraction(10) ** int(exponent)


@lru_cache(maxsize=1024, typed=True)
def _reference(answer: int | float | str) -> Quantity | None:
    return read_number(answer)


@dataclass(frozen=True, slots=True)
class Numeric:
    """1 where the answer is one of the references.

    A reference that is whole in the unit of the answer has to be met exactly; any other to within
    `relative` of it, or `absolute` in the reference's unit. `exact_whole=False` gives whole ones
    the same tolerance. `task.data["unit"]` is the unit of bare numbers, of references and answers
    alike; a unit this does not know ("apples") is compared by name.

    Raises:
        ConfigError: A tolerance is negative or not finite.
    """

    kind: ClassVar[Kind] = Kind.NUMBER
    relative: float = 1e-6
    absolute: float = 0.0
    exact_whole: bool = True

    def __post_init__(self) -> None:
        for name, value in (("relative", self.relative), ("absolute", self.absolute)):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value!r}: give a finite tolerance of at least 0")

    def __call__(self, task: Task, evidence: Mapping[str, Any], /) -> Outcome:
        """Compare `evidence["answer"]` with `task.data["answers"]`."""
        bare = _bare_unit(task)
        accepted = [_in(bare, found) for found in _references(task)]
        answer = evidence.get("answer")
        if answer is None:
            return judged(False, "no_answer")
        read = read_number(answer)
        if read is None:
            return judged(False, "unreadable")
        return judged(any(self._meets(_in(bare, read), reference) for reference in accepted))

    def _meets(self, answer: Quantity, reference: Quantity) -> bool:
        wanted = reference.converted(answer.unit)
        if wanted is None:
            return False
        if wanted == answer.value:
            return True
        if wanted.denominator == 1 and self.exact_whole and not self.absolute:
            return False
        allowed = max(
            Fraction(repr(self.relative)) * abs(wanted),
            Fraction(repr(self.absolute)) * reference.unit.factor / answer.unit.factor,
        )
        return abs(answer.value - wanted) <= allowed


def _in(bare: Unit, read: Quantity) -> Quantity:
    return Quantity(read.value, bare) if read.unit == PLAIN else read


def _bare_unit(task: Task) -> Unit:
    name = task.data.get("unit")
    if name is None:
        return PLAIN
    read = read_number(f"1 {name}") if isinstance(name, str) and name else None
    if read is None or read.value != 1:
        raise ConfigError(f"task {task.id!r} has the unit {name!r:.80}: give its name or symbol")
    return read.unit


def _references(task: Task) -> list[Quantity]:
    found = []
    for answer in references(task):
        read = _reference(answer) if isinstance(answer, int | float | str) else None
        if read is None:
            raise ConfigError(f"task {task.id!r} has the answer {answer!r:.80}: give a number")
        found.append(read)
    return found
