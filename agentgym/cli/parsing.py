"""What command lines have in common: a parser that teaches, checked numbers, environments."""

from __future__ import annotations

import argparse
import math
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from agentgym import registry
from agentgym.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from agentgym.types import Sampling

MOST_SEEDS = 100_000


class _Help(argparse.RawDescriptionHelpFormatter):
    """Shows defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str:
        told = action.help or ""
        default = action.default
        untold = default is None or default is False or default in ([], argparse.SUPPRESS)
        if untold or not action.option_strings:
            return told
        return f"{told} (default: %(default)s)"


class Told(Exception):
    """Help or the version was asked for, and shown."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `ConfigError`s: one line, with what to do.

    Args:
        program: How the command is called.
        description: What it does.
        examples: Shown after the arguments.
        usage: Instead of the one made of the arguments.
    """

    def __init__(
        self, program: str, description: str, examples: str = "", usage: str | None = None
    ) -> None:
        indented = textwrap.indent(textwrap.dedent(examples), "  ") if usage is None else examples
        super().__init__(
            prog=program,
            usage=usage,
            description=description.strip(),
            epilog=f"examples:\n{indented}" if usage is None and examples else examples,
            formatter_class=_Help,
            allow_abbrev=False,
        )
        self.add_argument(
            "--debug", action="store_true", help="show tracebacks, and all that is logged"
        )

    def parse_args(  # type: ignore[override]  # the namespace is never of another class
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Read a command line; options may stand between its other words, too."""
        return self.parse_intermixed_args(args, namespace)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Leave after --help or --version: not by `SystemExit`, which a world may raise.

        Raises:
            Told: Always.
        """
        raise Told

    def error(self, message: str) -> NoReturn:
        """Raise what argparse has to say.

        Raises:
            ConfigError: Always.
        """
        words = message.split() if message.startswith("unrecognized arguments") else []
        unknown = next((word for word in words if word.startswith("-")), "").partition("=")[0]
        hint = did_you_mean(unknown, self._option_string_actions) if unknown else ""
        raise ConfigError(f"{message}{hint} (see {self.prog} --help)")


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A reader of whole numbers in a range."""
    span = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {span}")
        return value

    return read


def real(least: float, most: float | None = None, *, above: bool = False) -> Callable[[str], float]:
    """A reader of finite numbers in a range; `above`: `least` itself is not in it."""
    span = f"{'above' if above else 'of at least'} {least:g}"
    if most is not None:
        span += f" and at most {most:g}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        fits = math.isfinite(value) and (value > least if above else value >= least)
        if not fits or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {span}")
        return value

    return read


def seeds(text: str) -> tuple[int, ...]:
    """Read `0,1,2`, `0-9`, or both together."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
            raise argparse.ArgumentTypeError(f"{text!r} is not like 0,1,2 or 0-9")
        if len(found) + int(last) - int(first) >= MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"{text!r} is more than {MOST_SEEDS} seeds")
        found += range(int(first), int(last) + 1)
    if len(set(found)) < len(found):
        twice = Counter(found).most_common(1)[0][0]
        raise argparse.ArgumentTypeError(f"{text!r} has seed {twice} twice")
    return tuple(found)


def pair(text: str) -> tuple[str, Any]:
    """Read `name=value`, the value as JSON where it is JSON."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    return name, registry.parse_value(value)


def add_environment(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add ENV and its arguments."""
    parser.add_argument(
        "env",
        metavar="ENV",
        nargs="?" if optional else None,
        help="an environment id (`agentgym list`), with arguments as in 'ID?name=value&…' if need "
        "be; 'module:ID' imports the module first; or a Python file that registers one",
    )
    group = parser.add_argument_group("environment")
    group.add_argument(
        "--arg",
        metavar="NAME=VALUE",
        type=pair,
        action="append",
        default=[],
        help="an argument of the environment, JSON or text; may be repeated",
    )
    group.add_argument("--split", help="which tasks, as in train or test")
    group.add_argument(
        "--max-turns",
        metavar="N",
        type=whole(1),
        help="turn limit (the environment's own if unset)",
    )
    group.add_argument(
        "--dialect", help="how actions are written: text, call, tags, json, tools or blocks"
    )


def read_environment(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The environment's id and arguments; imports the file it is in, if it is in one.

    Raises:
        RegistryError: The file registers no environment.
        ConfigError: The same argument is given twice.
    """
    id, given = registry.parse_key(args.env)
    shorthands = {"split": args.split, "max_turns": args.max_turns, "dialect": args.dialect}
    named = [*args.arg, *((k, v) for k, v in shorthands.items() if v is not None)]
    for name, value in named:
        if name in given:
            raise ConfigError(f"argument {name!r} of the environment is given twice")
        given[name] = value
    if id.endswith(".py"):
        id = registry.load_file(Path(id))
    return id, given


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add how a policy draws tokens."""
    from agentgym.types import Sampling

    default = Sampling()
    group = parser.add_argument_group("sampling, for policies that are models")
    group.add_argument(
        "--temperature", metavar="X", type=real(0), default=default.temperature, help="0 is greedy"
    )
    group.add_argument(
        "--top-p",
        metavar="X",
        type=real(0, 1, above=True),
        default=default.top_p,
        help="draw from the likeliest tokens of this total probability",
    )
    group.add_argument(
        "--top-k",
        metavar="K",
        type=whole(0),
        default=default.top_k,
        help="draw from the K likeliest tokens; 0: from all",
    )
    group.add_argument(
        "--max-tokens",
        metavar="N",
        type=whole(1),
        default=default.max_tokens,
        help="most tokens a turn may generate",
    )
    group.add_argument(
        "--stop",
        metavar="TEXT",
        action="append",
        default=[],
        help="end a turn where the model writes this; may be repeated",
    )


def read_sampling(args: argparse.Namespace) -> Sampling:
    """What `add_sampling` was given."""
    from agentgym.types import Sampling

    return Sampling(
        temperature=args.temperature,
        top_p=args.top_p,
        top_k=args.top_k,
        max_tokens=args.max_tokens,
        stop=tuple(args.stop),
    )
