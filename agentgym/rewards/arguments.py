"""Arguments of what stands in an expression: checked when it is made, and written as text."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from agentgym.errors import RewardError, did_you_mean

_LARGEST = sys.float_info.max


def is_finite(value: Any) -> bool:
    """Whether it is a number that a float can hold; true and false are none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= _LARGEST


def check_number(
    whose: str,
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    whole: bool = False,
) -> None:
    """Check an argument.

    Raises:
        RewardError: It is no finite number in [low, high], or (low, high] if `above`; or, if
            `whole`, no int.
    """
    within = is_finite(value) and low <= value <= high and not (above and value == low)
    if within and (isinstance(value, int) or not whole):
        return
    limits = [f"{'above' if above else 'at least'} {low:g}"] if low > -math.inf else []
    limits += [f"at most {high:g}"] if high < math.inf else []
    kind = "a whole number" if whole else "a finite number"
    wanted = " ".join([kind, " and ".join(limits)]).strip()
    raise RewardError(f"{whose}: {name} is {value!r:.80}: give {wanted}")


def check_choice(whose: str, name: str, value: Any, choices: Sequence[Any]) -> None:
    """Check an argument.

    Raises:
        RewardError: It is none of the choices.
    """
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise RewardError(
            f"{whose}: {name} is {value!r:.80}: give one of {', '.join(map(repr, choices))}"
            f"{did_you_mean(str(value), [each for each in choices if isinstance(each, str)])}"
        )


def check_kind(whose: str, value: Any, kind: type, wanted: str) -> None:
    """Check an argument that is no number.

    Raises:
        RewardError: It is of another kind; `wanted` says what to give.
    """
    if not isinstance(value, kind) or value == "":
        raise RewardError(f"{whose}: {literal(value):.80} is given: give {wanted}")


def literal(value: Any) -> str:
    """How a value is written in an expression."""
    if isinstance(value, float):
        return repr(float(value))  # as NumPy's, which is a float, too, is not
    return str(value) if is_dataclass(value) else repr(value)


def given(made: Any, *, by_name: bool = False) -> list[str]:
    """The arguments that are not the defaults, as written; `by_name`, those without one, too."""
    found = []
    for field in fields(made):
        value = getattr(made, field.name)
        if field.name == "source" or (field.default is not MISSING and value == field.default):
            continue
        named = by_name or field.default is not MISSING
        found.append(f"{field.name}={literal(value)}" if named else literal(value))
    return found


def call(made: Any) -> str:
    """How it is written in an expression: its name, and the arguments that are not the defaults."""
    return f"{made.name}({', '.join(given(made, by_name=True))})"
