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
from agentgym.verify.units import PLAIN, SCALES, UNITS, Unit, find_unit
from agentgym.verify.wording import fold

MAX_CHARS = 200
"""Of a number; a longer one is refused, unread."""
MAX_EXPONENT = 308
"""Largest power of ten, either way."""
_MAX_BITS = 1_100
_LESS_THAN_HALF = Fraction(499, 1000)

_SPACES = "[ \u00a0\u2009\u202f]"
_DIGITS = rf"(?:[0-9]{{1,3}}(?:,[0-9]{{3}})++|[0-9]{{1,3}}(?:{_SPACES}[0-9]{{3}})++|[0-9]++)"
_NUMBER = re.compile(
    rf"""
      (?P<wrap>\*{{1,3}}|["'`])?
      (?P<sign>[-+]\s*)?  (?:(?P<money>[$€£¥]|USD|EUR|GBP|JPY)\s*(?P<owed>[-+]\s*)?)?
      (?:
        (?:(?P<whole>[0-9]++)\s+(?:and\s+)?)?
        (?P<over>[0-9]++)\s*/\s*(?P<under>[0-9]++)
      | 10\s*(?:\^|\*\*)\s*(?P<ten>[-+]?[0-9]++)
      | (?P<decimal>{_DIGITS}(?:\.[0-9]*+)?|\.[0-9]++)
        (?:[eE](?P<exponent>[-+]?[0-9]++)|\s*[×x*]\s*10\s*(?:\^|\*\*)\s*(?P<power>[-+]?[0-9]++))?
      )
      (?:\s*(?P<unit>[^\W\d_][\w/^ ]*|[%°$€£¥][CF]?|per\ cent))?  \.?
      (?(wrap)(?P=wrap)\.?)
    """,
    re.VERBOSE,
)
_POWER = re.compile(r"(?<=[^\W\d_])[23]$")
_PLURAL = re.compile(r"(?<=\w{3})(?<!s)s$")


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
    digits, minus signs and fractions of all of Unicode; quoted or emphasised as a whole. Anything
    else around it makes it none: brackets too, which in accounts are a minus.
    """
    if isinstance(answer, bool):
        return None
    if isinstance(answer, int):
        return Quantity(Fraction(answer), PLAIN) if answer.bit_length() <= _MAX_BITS else None
    if isinstance(answer, float):
        return Quantity(Fraction(str(answer)), PLAIN) if math.isfinite(answer) else None
    if not isinstance(answer, str) or len(answer) > MAX_CHARS:
        return None
    found = _NUMBER.fullmatch(fold(answer).strip())
    return None if found is None else _quantity(found)


def _quantity(found: re.Match[str]) -> Quantity | None:
    value = _value(found)
    if value is None or (found["sign"] and found["owed"]):
        return None
    if (found["sign"] or found["owed"] or "+")[0] == "-":
        value = -value
    words = (found["unit"] or "").split()
    while words and words[0].casefold() in SCALES:
        value *= SCALES[words.pop(0).casefold()]
    name = " ".join(words)
    if found["money"]:
        money = UNITS[found["money"]]
        return Quantity(value, money) if not name or find_unit(name) == money else None
    return Quantity(value, _unit(name) if name else PLAIN)


def _unit(name: str) -> Unit:
    """A unit by its name; one that is not known is of a dimension of that name."""
    name = "%" if name.casefold() == "per cent" else _POWER.sub(r"^\g<0>", name)
    return find_unit(name) or Unit(f"?{_PLURAL.sub('', name.casefold())}", Fraction(1))


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

    A reference that is a whole number in its own unit has to be met exactly; where it cannot be
    written out in the unit of the answer (5 km in miles), it must be the nearest whole number, and
    within the tolerance. Any other is met within `relative` of it, or `absolute` in its unit.
    `exact_whole=False`, and any `absolute`, give whole ones the same tolerance.
    `task.data["unit"]` is the unit of bare numbers, of references and answers alike; a unit this
    does not know ("apples") is compared by name.

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
        found = answer.converted(reference.unit)
        if found is None:
            return False
        wanted = reference.value
        if found == wanted:
            return True
        allowed = max(Fraction(str(self.relative)) * abs(wanted), Fraction(str(self.absolute)))
        if wanted.denominator == 1 and self.exact_whole and not self.absolute:
            if _is_decimal(reference.converted(answer.unit)):
                return False
            allowed = min(allowed, _LESS_THAN_HALF)
        return abs(found - wanted) <= allowed


def _is_decimal(value: Fraction | None) -> bool:
    """Whether a number can be written out in full."""
    left = value.denominator if value is not None else 1
    for prime in (2, 5):
        while left % prime == 0:
            left //= prime
    return left == 1


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
