"""The command `agentgym`: one module a command, imported when it is called.

A command module has `configure(parser)`, which adds its arguments, and `run(args) -> int`, which
returns the exit code: 0, 1 for a run or check that failed, 2 for input that cannot be used, 130
when it was interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple

import agentgym
from agentgym.cli.parsing import Parser, Told
from agentgym.cli.warnings import shown_warnings
from agentgym.errors import AgentGymError, ConfigError, InfraError, did_you_mean


class Command(NamedTuple):
    """A command, before anything of it is imported."""

    module: str
    about: str
    """One line."""


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "list": Command("listing", "show environments, or the tasks of one"),
        "eval": Command("evaluate", "play policies in an environment, record it, report the score"),
        "check": Command("check", "check that an environment keeps the contract"),
        "audit": Command("audit", "attack a verifier, and say what it lets pass"),
        "play": Command("play", "play one episode yourself, or watch a policy play it"),
        "show": Command("show", "report on recorded runs, or show one of their episodes"),
        "score": Command("score", "compute a reward on a recorded run"),
        "reward": Command("reward", "list rewards, or explain what one pays in an episode"),
        "export": Command("export", "write the episodes of a run as chat messages to train on"),
        "doctor": Command(
            "doctor", "say what of this machine agentgym can use, and how to get the rest"
        ),
        "models": Command("models", "list or download the small language models"),
        "data": Command("data", "list or fetch the data sets of environments"),
        "tasks": Command("tasks", "make tasks out of a project, or check tasks"),
        "corpus": Command("corpus", "build the index of a corpus to search, check it or serve it"),
        "images": Command("images", "list, make or remove what sandboxes begin with"),
    }
)
"""Every command by name; its module is in this package."""

_EXAMPLES = """\
examples:
  agentgym list
  agentgym play agentgym/TextWorld-v0
  agentgym eval agentgym/TextWorld-v0 --policy oracle --policy random --limit 20
  agentgym show runs/*

`agentgym COMMAND --help` says more.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    with shown_warnings(debug):
        try:
            code = _command([argument for argument in arguments if argument != "--debug"])
            sys.stdout.flush()
            return code
        except Told:
            return 0
        except SystemExit as end:  # a world's or a policy's
            _trace(debug)
            say(f"error: the environment or policy called sys.exit({end.code!r})")
            return 1
        except BrokenPipeError:
            with suppress(OSError, ValueError):  # or Python complains when it flushes at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except KeyboardInterrupt:
            say("interrupted")
            return 130
        except AgentGymError as error:
            _trace(debug)
            return complain(error)
        except OSError as error:  # a file of the user's that cannot be had
            _trace(debug)
            say(
                f"error: {error.filename}: {error.strerror}"
                if error.filename
                else f"error: {error}"
            )
            return 2
        except Exception as error:
            _trace(debug)
            hint = "" if debug else " (--debug shows where)"
            say(f"error: {type(error).__name__}: {error}{hint}")
            return 1


def complain(error: AgentGymError) -> int:
    """Say on one line what went wrong, and return the exit code for it."""
    say(f"error: {error}")
    return 1 if isinstance(error, InfraError) else 2


def say(text: str) -> None:
    """Print one line on standard error."""
    from agentgym.cli.text import clean

    print("agentgym:", clean(" ".join(text.split())), file=sys.stderr, flush=True)


def _trace(debug: bool) -> None:
    if debug:
        traceback.print_exc()


def _command(arguments: list[str]) -> int:
    """Find the command's module, let it read what follows its name, and run it."""
    place = next((i for i, word in enumerate(arguments) if not word.startswith("-")), None)
    top = _top_parser()
    top.parse_args(arguments[:place])
    if place is None:
        top.print_help(sys.stderr)
        return 2
    name = arguments[place]
    if name not in COMMANDS:
        raise ConfigError(
            f"no command {name!r}{did_you_mean(name, COMMANDS)} (there is {', '.join(COMMANDS)})"
        )
    module = importlib.import_module(f"agentgym.cli.{COMMANDS[name].module}")
    parser = Parser(f"agentgym {name}", *(module.__doc__ or "").split("Examples:\n", 1))
    module.configure(parser)
    words = arguments[place + 1 :]
    args = parser.parse_args(words)
    if getattr(args, "config", None) is not None:
        from agentgym.cli.config import read_with_config

        args = read_with_config(parser, words, args.config)
    code: int = module.run(args)
    return code


def _top_parser() -> Parser:
    commands = "".join(f"  {name:<8} {command.about}\n" for name, command in COMMANDS.items())
    parser = Parser(
        "agentgym",
        "A gym for training and benchmarking LLM agents.",
        f"commands:\n{commands}\n{_EXAMPLES}",
        usage="agentgym COMMAND ...",
    )
    version = f"agentgym {agentgym.__version__}"
    parser.add_argument("--version", action="version", version=version, help="say which this is")
    return parser
