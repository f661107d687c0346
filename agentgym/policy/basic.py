"""Policies that need no model: the expert, chance, a script, a person."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from agentgym.errors import ConfigError, PolicyError
from agentgym.types import Completion, Message, Sampling


class OraclePolicy:
    """Does what the world's own expert would do: every task must be solvable this way."""

    wants: ClassVar[str] = "oracle"
    provenance: ClassVar[dict[str, Any]] = {"policy": "oracle"}

    def __init__(self) -> None:
        self._was_hinted = False

    async def act(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        session: str,
        admissible: Sequence[str] | None = None,
    ) -> Completion:
        """Return the expert's action, the very object the hint holds.

        Raises:
            ConfigError: The world has no expert.
            PolicyError: It has one, who sees no way to win from here.
        """
        if not admissible or admissible[0] is None:
            if self._was_hinted:
                raise PolicyError("the expert sees no way to win from here")
            raise ConfigError(
                "the oracle policy needs a world that knows its solution, and this one gave no "
                "expert's action: define Env.oracle(), or take another policy"
            )
        self._was_hinted = True
        return Completion(admissible[0])


class RandomPolicy:
    """Draws uniformly from the admissible actions; the same seed draws the same."""

    wants: ClassVar[str] = "admissible"
    provenance: ClassVar[dict[str, Any]] = {"policy": "random"}

    def __init__(self) -> None:
        self._was_hinted = False

    async def act(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        session: str,
        admissible: Sequence[str] | None = None,
    ) -> Completion:
        """Return one of `admissible`, the very object.

        Raises:
            ConfigError: The world lists no actions.
            PolicyError: It does, but there is none to draw from here.
        """
        if not admissible:
            if self._was_hinted:
                raise PolicyError("no action is admissible")
            raise ConfigError(
                "the random policy draws from the admissible actions, and the world gave none: "
                "define Env.admissible(), or take another policy"
            )
        self._was_hinted = True
        draw = random.Random(sampling.seed).random()  # seeded by None: from the system's entropy
        return Completion(admissible[int(draw * len(admissible))])


class ScriptedPolicy:
    """Plays a list of actions from its start in every session, then says nothing (`""`)."""

    def __init__(self, actions: Sequence[str]) -> None:
        self.actions = tuple(actions)
        self.provenance: dict[str, Any] = {
            "policy": "scripted",
            "actions": [str(a) for a in actions],
        }
        self._played: dict[str, int] = {}

    async def act(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        session: str,
        admissible: Sequence[str] | None = None,
    ) -> Completion:
        """Return the session's next action."""
        turn = self._played.get(session, 0)
        self._played[session] = turn + 1
        return Completion(self.actions[turn] if turn < len(self.actions) else "")


class HumanPolicy:
    """A person at the terminal: shows the last message, reads a line, Tab completes actions.

    Args:
        write: Where text goes; standard output unless given.
        read: Shows a prompt and returns a line, raising `EOFError` at the end; `input` unless
            given.
    """

    wants: ClassVar[str] = "admissible"
    provenance: ClassVar[dict[str, Any]] = {"policy": "human"}

    def __init__(
        self,
        write: Callable[[str], object] | None = None,
        read: Callable[[str], str] = input,
    ) -> None:
        self._write = write
        self._read = read

    async def act(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        session: str,
        admissible: Sequence[str] | None = None,
    ) -> Completion:
        """Show the last message and return the line typed.

        Raises:
            KeyboardInterrupt: Ctrl-D: the person has had enough.
        """
        (self._write or sys.stdout.write)(f"\n{_text(messages[-1]) if messages else ''}\n")
        line = await self._ask([str(action) for action in admissible or ()])
        if line is None:
            raise KeyboardInterrupt
        return Completion(line)

    async def _ask(self, choices: Sequence[str]) -> str | None:
        """Read a line in a thread of its own; None at the end of input.

        Not in the loop's executor: that waits for its threads when the loop ends, and nothing wakes
        one that sits in `input()` after Ctrl-C.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str | None] = loop.create_future()

        def ask() -> None:
            line: str | None = None
            error: Exception | None = None
            try:
                line = self._read("> ")
            except (EOFError, KeyboardInterrupt):
                pass
            except Exception as raised:  # carried over to the coroutine
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, line, error)

        def settle(line: str | None, error: Exception | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(line)

        terminal = _Terminal(choices)
        try:
            threading.Thread(target=ask, name="agentgym-human", daemon=True).start()
            return await answer
        finally:
            terminal.restore()


class _Terminal:
    """Tab completion over `choices`, and a way back to the terminal as it was."""

    def __init__(self, choices: Sequence[str]) -> None:
        self._attributes: list[Any] | None = None
        self._completer: Any = None
        try:
            import readline
        except ImportError:  # not every Python is built with it
            self._readline: Any = None
            return
        self._readline = readline
        self._completer = readline.get_completer()
        self._delimiters = readline.get_completer_delims()

        def complete(text: str, state: int) -> str | None:
            found = [choice for choice in choices if choice.startswith(text)]
            return found[state] if state < len(found) else None

        readline.set_completer(complete)
        readline.set_completer_delims("\n")  # an action is completed whole, spaces and all
        readline.parse_and_bind("tab: complete")
        if sys.stdin.isatty():
            import termios

            self._attributes = termios.tcgetattr(sys.stdin)

    def restore(self) -> None:
        if self._readline is None:
            return
        self._readline.set_completer(self._completer)
        self._readline.set_completer_delims(self._delimiters)
        if self._attributes is not None:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSANOW, self._attributes)


def _text(message: Message) -> str:
    """What a person can read of a message: its text, and a mark for each image."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(
        str(part["text"]) if "text" in part else f"[{part.get('type', 'part')}]" for part in content
    )
