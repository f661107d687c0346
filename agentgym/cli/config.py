"""Run files: the options of a command in TOML, read as if they stood before the command line's own.

A key is a long option, with dashes or underscores, or `env`. What may be repeated may be a list,
flags are true or false, and what takes NAME=VALUE is a table. There is nothing else to it: no
sections, includes or variables.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentgym.cli.parsing import Parser, pair
from agentgym.errors import ConfigError, did_you_mean

_NOT_IN_FILES = ("config", "debug", "help")


def read_with_config(parser: Parser, words: Sequence[str], path: Path) -> argparse.Namespace:
    """Read a command line after the file that its `--config` names.

    What the command line gives replaces what the file gives for the same option, or one that
    excludes it; of a table, what has the same name.

    Args:
        parser: Of the command.
        words: The command line.
        path: The file.

    Raises:
        ConfigError: The file is not TOML, or holds what is no option or cannot be its value; names
            the file and the key.
        OSError: It cannot be read.
    """
    options = {each.dest: each for each in parser._actions if each.dest not in _NOT_IN_FILES}
    nothing = argparse.Namespace(**dict.fromkeys(options))  # in place of defaults
    given = {
        name: v for name, v in vars(parser.parse_args(words, nothing)).items() if v is not None
    }
    found: dict[str, list[str]] = {}
    for key, value in _load(path).items():
        name = key.replace("-", "_")
        if name not in options:
            known = [each.replace("_", "-") if "-" in key else each for each in options]
            raise ConfigError(
                f"{path}: {key!r} is no option of {parser.prog}{did_you_mean(key, known)} "
                f"(see {parser.prog} --help)"
            )
        if name in found:
            raise ConfigError(f"{path}: {key!r} is given twice, with a dash and an underscore")
        try:
            found[name] = _words(options[name], value)
            parser.parse_args(found[name])
        except ConfigError as error:
            raise ConfigError(f"{path}: {key}: {error}") from error
        if isinstance(value, dict) and name in given:
            theirs = dict(given.pop(name))
            found[name] = _words(options[name], {k: v for k, v in value.items() if k not in theirs})
    try:
        parser.parse_args(_flat(found))
    except ConfigError as error:  # two that exclude one another
        raise ConfigError(f"{path}: {error}") from error
    replaced = set(given)
    for group in parser._mutually_exclusive_groups:
        together = {each.dest for each in group._group_actions}
        replaced |= together if together & replaced else set()
    kept = {name: each for name, each in found.items() if name not in replaced}
    return parser.parse_args([*_flat(kept), *words])


def _flat(found: dict[str, list[str]]) -> list[str]:
    return [word for words in found.values() for word in words]


def _load(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        try:
            return tomllib.load(file)
        except ValueError as error:
            raise ConfigError(f"{path} is not TOML: {error}") from error


def _words(action: argparse.Action, value: Any) -> list[str]:
    """A value as the command line would have it.

    Raises:
        ConfigError: It cannot be this option's.
    """
    option = f"{action.option_strings[-1]}=" if action.option_strings else ""
    if action.type is pair:
        if not isinstance(value, dict):
            raise ConfigError(f"{value!r} is no table: write NAME = VALUE under [{action.dest}]")
        try:
            return [f"{option}{k}={json.dumps(v, allow_nan=False)}" for k, v in value.items()]
        except (TypeError, ValueError) as error:
            raise ConfigError(f"an argument cannot be recorded: {error}") from error
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ConfigError(f"{value!r} is neither true nor false")
        return [option.rstrip("=")] if value else []
    many = isinstance(value, list) and isinstance(action, argparse._AppendAction)
    values = value if many else [value]
    wrong = next((each for each in values if isinstance(each, bool | list | dict)), None)
    if wrong is not None:
        raise ConfigError(f"{wrong!r} is not one value: give text or a number")
    return [f"{option}{each}" for each in values]
