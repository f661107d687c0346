"""Typed arguments of verbs: what fits, what can be made to fit, and how each is described."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agentgym.actions import literals
from agentgym.actions.replies import quoted
from agentgym.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
"""Names of verbs and arguments: valid in Python, in JSON schemas and as tags."""
_Type: TypeAlias = type
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")
_LARGEST_INTEGER = 2**63 - 1
_SCHEMA_TYPES: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
}


class _Required(Enum):
    REQUIRED = "required"


REQUIRED: Final = _Required.REQUIRED
"""Default of an argument that must be given."""


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return repr(value)
    raise ValueError


def _integer(value: Any) -> int:
    if isinstance(value, str):
        value = int(value) if _INTEGER.fullmatch(value) else None
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and abs(value) <= _LARGEST_INTEGER:
        return value
    raise ValueError


def _number(value: Any) -> float:
    if isinstance(value, str) and len(value) <= 64:
        value = float(value)
    if type(value) in (int, float) and math.isfinite(value):
        return float(value) + 0.0  # -0.0 is 0.0
    raise ValueError


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower())
    if isinstance(value, bool):
        return value
    raise ValueError


_CONVERT: dict[type, Callable[[Any], Any]] = {
    **{str: _text, int: _integer, float: _number, bool: _boolean},
}


@dataclass(frozen=True, slots=True)
class Argument:
    """One typed argument.

    Raises:
        ConfigError: The name, a bound, a choice or the default does not fit the rest.
    """

    name: str
    type: _Type = str
    """`str`, `int`, `float`, `bool`, or `list`."""
    description: str = ""
    default: Any = REQUIRED
    """What an optional argument is when it is not given; may be None."""
    minimum: float | None = None
    """Least number allowed; of each item, for a list."""
    maximum: float | None = None
    choices: Sequence[Any] = ()
    """All that is allowed, if anything is listed; of each item, for a list."""
    min_length: int = 0
    """Fewest characters, or items of a list."""
    max_length: int | None = None
    items: _Type = str
    """Type of each item of a list: `str`, `int`, `float` or `bool`."""
    example: Any = None
    """What instructions show; made up from the type if not given."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"argument name {self.name!r}: use letters, digits and underscores")
        if self.type not in _SCHEMA_TYPES or self.items not in _CONVERT:
            raise ConfigError(
                f"argument {self.name!r} is of type {self.type!r} with items {self.items!r}: "
                "use str, int, float, bool, or a list of these"
            )
        role = "example"
        try:
            self.read(self.example_value())
            role = "default"
            if not (self.required or self.default is None):
                object.__setattr__(self, "default", self.read(self.default))
        except ValueError as error:
            raise ConfigError(f"{role} of argument {self.name!r} {error}") from error

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is REQUIRED

    def read(self, value: Any) -> Any:
        """`value` as this argument's type: `"12"` is 12 where an int is due, and so on.

        Raises:
            ValueError: It does not fit; the message goes on from the argument's name.
        """
        if self.type is not list:
            return self._one(value, self.type)
        values = value if isinstance(value, (list, tuple)) else [value]
        self._check_length(len(values), "items")
        return [self._one(item, self.items) for item in values]

    def _one(self, value: Any, wanted: _Type) -> Any:
        try:
            result = _CONVERT[wanted](value)
        except (ValueError, OverflowError) as error:
            message = f"must be {self.shown_type()}, not {quoted(_shown(value))}"
            raise ValueError(message) from error
        if self.choices:
            return self._chosen(result)
        if self.minimum is not None and result < self.minimum:
            raise ValueError(f"must be at least {self.minimum!r}, not {result!r}")
        if self.maximum is not None and result > self.maximum:
            raise ValueError(f"must be at most {self.maximum!r}, not {result!r}")
        if self.type is str:
            self._check_length(len(result), "characters")
        return result

    def _chosen(self, value: Any) -> Any:
        if value in self.choices:
            return value
        if isinstance(value, str):
            folded = value.strip().casefold()
            alike = [choice for choice in self.choices if choice.casefold() == folded]
            if len(alike) == 1:
                return alike[0]
        raise ValueError(f"must be {self.shown_type()}, not {quoted(_shown(value))}")

    def _check_length(self, length: int, of: str) -> None:
        if length < self.min_length:
            raise ValueError(f"must have at least {self.min_length} {of}, not {length}")
        if self.max_length is not None and length > self.max_length:
            raise ValueError(f"must have at most {self.max_length} {of}, not {length}")

    def shown_type(self) -> str:
        """Its type as instructions show it: `int`, `"left" | "right"`, `list[str]`."""
        one = " | ".join(map(literals.write, self.choices)) if self.choices else ""
        if self.type is list:
            return f"list[{one or self.items.__name__}]"
        return one or self.type.__name__

    def shown(self) -> str:
        """As it stands in a signature: `id: int`, `button: "left" | "right" = "left"`."""
        default = "" if self.required else f" = {literals.write(self.default)}"
        return f"{self.name}: {self.shown_type()}{default}"

    def example_value(self) -> Any:
        """A value that fits."""
        if self.example is not None:
            return self.example
        if self.type is list:
            return [self._example_of(self.items)] * max(1, self.min_length)
        return self._example_of(self.type)

    def _example_of(self, wanted: _Type) -> Any:
        if self.choices:
            return self.choices[0]
        if wanted is bool:
            return True
        if wanted is str:
            text = "some text"[: self.max_length if self.type is str else None]
            return text.ljust(self.min_length if self.type is str else 0, "x")
        low, high = self._range()
        if wanted is int:
            return min(max(1, math.ceil(low)), math.floor(high))
        return float(min(max(0.5, low), high))

    def _range(self) -> tuple[float, float]:
        """Least and most number to draw, where the bounds leave that open too."""
        low, high = self.minimum, self.maximum
        if low is None:
            low = 0 if high is None or high >= 0 else high - 99
        return low, low + 99 if high is None else high

    def sample(self, rng: np.random.Generator) -> Any:
        """A random value that fits."""
        if self.type is not list:
            return self._sample_of(self.type, rng)
        most = max(self.min_length, 3) if self.max_length is None else self.max_length
        length = int(rng.integers(self.min_length, min(most, self.min_length + 3), endpoint=True))
        return [self._sample_of(self.items, rng) for _ in range(length)]

    def _sample_of(self, wanted: _Type, rng: np.random.Generator) -> Any:
        if self.choices:
            return self.choices[int(rng.integers(len(self.choices)))]
        if wanted is bool:
            return bool(rng.integers(2))
        if wanted is str:
            least = self.min_length if self.type is str else 1
            most = least + 8 if self.max_length is None or self.type is list else self.max_length
            length = int(rng.integers(least, min(most, least + 8), endpoint=True))
            return "".join(map(chr, rng.integers(ord("a"), ord("z"), length, endpoint=True)))
        low, high = self._range()
        if wanted is int:
            return int(rng.integers(math.ceil(low), math.floor(high), endpoint=True))
        return min(max(round(float(rng.uniform(low, high)), 3), low), high)

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        schema: dict[str, Any] = {"type": _SCHEMA_TYPES[self.type]}
        one: dict[str, Any] = schema
        if self.type is list:
            one = schema["items"] = {"type": _SCHEMA_TYPES[self.items]}
        if self.choices:
            one["enum"] = list(self.choices)
        if self.minimum is not None:
            one["minimum"] = self.minimum
        if self.maximum is not None:
            one["maximum"] = self.maximum
        unit = "Items" if self.type is list else "Length" if self.type is str else ""
        if unit and self.min_length:
            schema[f"min{unit}"] = self.min_length
        if unit and self.max_length is not None:
            schema[f"max{unit}"] = self.max_length
        if self.description:
            schema["description"] = self.description
        if not self.required and self.default is not None:
            schema["default"] = self.default
        return schema


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else literals.write(value)
