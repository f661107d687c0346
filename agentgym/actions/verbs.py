"""Verbs: what an agent can do, checked, described and shown from one declaration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentgym.actions import literals
from agentgym.actions.arguments import NAME, Argument
from agentgym.actions.replies import invalid, quoted
from agentgym.errors import ConfigError, InvalidAction

if TYPE_CHECKING:
    import numpy as np


class Verb:
    """Something an agent can do.

    Args:
        name: A word of letters, digits and underscores.
        description: What it does, for the model.
        arguments: Required ones first.

    Raises:
        ConfigError: The name is no word, or the arguments are in the wrong order or share a name.
    """

    def __init__(self, name: str, description: str, *arguments: Argument) -> None:
        names = [argument.name for argument in arguments]
        if not NAME.fullmatch(name):
            raise ConfigError(f"verb name {name!r}: use letters, digits and underscores")
        if len(set(names)) < len(names):
            raise ConfigError(f"arguments of {name!r} share a name: {', '.join(names)}")
        required = [argument.required for argument in arguments]
        if required != sorted(required, reverse=True):
            raise ConfigError(f"required arguments of {name!r} must come first: {', '.join(names)}")
        self.name = name
        self.description = description
        self.arguments = arguments
        self.required = tuple(argument for argument in arguments if argument.required)
        self.optional = arguments[len(self.required) :]
        self._by_name = {argument.name: argument for argument in arguments}

    def __repr__(self) -> str:
        return f"Verb({self.signature})"

    @property
    def signature(self) -> str:
        """As instructions and refusals show it: `click(id: int, button: str = "left")`."""
        return f"{self.name}({', '.join(argument.shown() for argument in self.arguments)})"

    def bind(self, positional: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Values as they were said, checked and with defaults filled in, in order of declaration.

        Raises:
            InvalidAction: Of kind `arguments`.
        """
        if len(positional) > len(self.arguments):
            raise self._refusal(
                f"takes {len(self.arguments)} arguments at most, not {len(positional)}"
            )
        given = {a.name: value for a, value in zip(self.arguments, positional, strict=False)}
        for name, value in keywords.items():
            if name not in self._by_name:
                raise self._refusal(f"has no argument {quoted(name)}")
            if name in given:
                raise self._refusal(f"got {name} twice")
            given[name] = value
        bound: dict[str, Any] = {}
        for argument in self.arguments:
            value = given.get(argument.name)
            if argument.required:
                if argument.name not in given:
                    raise self._refusal(f"needs {argument.name}")
            elif value is None:
                default = argument.default
                bound[argument.name] = (
                    list(default) if argument.type is list and default else default
                )
                continue
            try:
                bound[argument.name] = argument.read(value)
            except ValueError as error:
                raise self._refusal(f"{argument.name} {error}", ": ") from error
        return bound

    def _refusal(self, what: str, between: str = " ") -> InvalidAction:
        return invalid("arguments", f"{self.name}{between}{what}; expected {self.signature}")

    def told(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `arguments` that need saying: all but the optional ones at their default."""
        return {
            argument.name: arguments[argument.name]
            for argument in self.arguments
            if argument.required or arguments[argument.name] != argument.default
        }

    def canonical(self, arguments: Mapping[str, Any]) -> str:
        """The call on one line: required arguments by position, told optional ones by keyword."""
        parts = [literals.write(arguments[argument.name]) for argument in self.required]
        for argument in self.optional:
            value = arguments[argument.name]
            if value != argument.default:
                parts.append(f"{argument.name}={literals.write(value)}")
        return f"{self.name}({', '.join(parts)})"

    def example(self) -> dict[str, Any]:
        """Arguments of a correct call, defaults where there are any."""
        return self.bind(
            [], {argument.name: argument.example_value() for argument in self.required}
        )

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Arguments of a random correct call; each optional one is drawn half of the time."""
        drawn = {
            argument.name: argument.sample(rng)
            for argument in self.arguments
            if argument.required or rng.random() < 0.5
        }
        return self.bind([], drawn)

    def tool(self) -> dict[str, Any]:
        """Its OpenAI tool schema."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "properties": {a.name: a.schema() for a in self.arguments},
                    "required": [argument.name for argument in self.required],
                    "additionalProperties": False,
                },
            },
        }
