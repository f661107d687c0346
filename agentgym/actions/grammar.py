"""Grammars: which actions there are, and every way from a model's words to one of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from agentgym.actions.action import Action, Call
from agentgym.actions.arguments import Argument
from agentgym.actions.blocks import BlocksDialect
from agentgym.actions.dialect import Dialect, Said, unknown_verb
from agentgym.actions.literals import Malformed, Reader, well_formed
from agentgym.actions.markup import JsonDialect, TagsDialect, ToolsDialect
from agentgym.actions.replies import invalid, quoted, without_thoughts
from agentgym.actions.spoken import CallDialect, TextDialect
from agentgym.actions.verbs import Verb
from agentgym.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

DIALECTS: Mapping[str, type[Dialect]] = {
    "text": TextDialect,
    "call": CallDialect,
    "tags": TagsDialect,
    "json": JsonDialect,
    "tools": ToolsDialect,
    "blocks": BlocksDialect,
}
"""Dialects by name; `text` is for grammars of plain text only."""

_CALL = re.compile(r"([A-Za-z_]\w*+)\(")
_QUICK = re.compile(r"[A-Za-z](?:[A-Za-z0-9 ,'.-]*[A-Za-z0-9.])?").fullmatch
"""Commands that are canonical at a glance: nothing in them could be a wrapper."""
_QUICK_CHARS = 200


@functools.lru_cache(maxsize=4096)
def _quick(reply: str) -> Action | None:
    """A command that is canonical at a glance; the same ones are said again and again."""
    return Action(reply) if _QUICK(reply) else None


_TEXT = "One short command, as typed by the player of a text adventure"


class Grammar:
    """The actions of a world: what the model is told, and how its replies are read.

    A reply is read in three steps: thoughts (`<think>` and the like) are taken out, the dialect
    finds the first complete call, and its verb and arguments are checked. The result does not
    depend on the dialect: an `Action`, one line a call, required arguments by position and optional
    ones by keyword where they differ from their default. Nothing a model says is ever evaluated.

    Args:
        verbs: What can be done.
        dialect: How it is said, one of `DIALECTS`.
        max_calls: Most calls one reply may make; more are ignored, and reported as such.
        max_chars: Longest reply that is read, thoughts not counted.

    Raises:
        ConfigError: There are no verbs, two of one name, no such dialect, or a limit below 1.
    """

    plain: bool
    """Whether actions are lines of plain text, rather than calls of verbs."""
    verbs: Mapping[str, Verb]
    """What can be done, by name; for plain text `act(command)`, in dialects that need a name."""
    dialect: str
    max_calls: int
    max_chars: int

    def __init__(
        self, *verbs: Verb, dialect: str = "call", max_calls: int = 1, max_chars: int = 100_000
    ) -> None:
        self._set_up(verbs, dialect, max_calls, max_chars, plain=False)

    @classmethod
    def text(
        cls,
        description: str = _TEXT,
        *,
        example: str = "look",
        dialect: str = "text",
        max_chars: int = 100_000,
    ) -> Self:
        """The grammar of worlds whose action is one line of free text.

        Args:
            description: What the text is, for the model.
            example: A command that makes sense in the world.
            dialect: How it is said, any of `DIALECTS`.
            max_chars: Longest reply that is read, thoughts not counted.
        """
        grammar = cls.__new__(cls)
        act = Verb("act", description, Argument("command", min_length=1, example=example))
        grammar._set_up((act,), dialect, 1, max_chars, plain=True)
        return grammar

    def with_dialect(self, dialect: str) -> Self:
        """The same grammar, said in another way."""
        grammar = type(self).__new__(type(self))
        verbs = self.verbs.values()
        grammar._set_up(verbs, dialect, self.max_calls, self.max_chars, plain=self.plain)
        return grammar

    def _set_up(
        self, verbs: Iterable[Verb], dialect: str, max_calls: int, max_chars: int, *, plain: bool
    ) -> None:
        names = [verb.name for verb in verbs]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"verbs are {names}: give at least one, each with its own name")
        if not isinstance(dialect, str) or dialect not in DIALECTS:
            hint = did_you_mean(dialect, DIALECTS) or f"; use one of {', '.join(DIALECTS)}"
            raise ConfigError(f"there is no dialect {dialect!r}{hint}")
        if dialect == "text" and not plain:
            raise ConfigError("dialect 'text' is for Grammar.text: for verbs, use 'call'")
        if max_calls < 1 or max_chars < 1:
            raise ConfigError(f"max_calls={max_calls}, max_chars={max_chars}: give 1 or more")
        self.plain = plain
        self.verbs = {verb.name: verb for verb in verbs}
        self.dialect = dialect
        self.max_calls = max_calls
        self.max_chars = max_chars
        self._dialect = DIALECTS[dialect](self.verbs, plain=plain)
        self._quick_chars = min(max_chars, _QUICK_CHARS) if plain and dialect == "text" else 0

    def __repr__(self) -> str:
        verbs = "text" if self.plain else ", ".join(self.verbs)
        return f"<Grammar {verbs} in dialect {self.dialect!r}>"

    def parse(self, reply: str) -> Action:
        """What `reply` says to do; an `Action` is read as canonical text in every dialect.

        Raises:
            InvalidAction: Of kind `empty`, `parse`, `unknown_verb`, `arguments` or `too_long`.
        """
        if len(reply) <= self._quick_chars and (quick := _quick(reply)):
            return quick
        canonical = isinstance(reply, Action)
        text = (
            well_formed(str(reply)).strip() if canonical else without_thoughts(well_formed(reply))
        )
        if len(text) > self.max_chars:
            raise invalid(
                "too_long", f"{len(text)} characters are too many; use at most {self.max_chars}"
            )
        if canonical:
            return self._action(self._canonical(text), text)
        if not text or text.isspace():
            thought = "" if not reply or reply.isspace() else " outside of the thoughts"
            raise invalid(
                "empty", f"nothing was said{thought}; write for example {self._example()}"
            )
        return self._action(self._find(text), text)

    def _find(self, text: str) -> list[Said]:
        """The calls of a reply whose thoughts are gone."""
        return self._dialect.find(text, self.max_calls)

    def _action(self, found: list[Said], text: str) -> Action:
        calls: list[Call] = []
        for said in found:
            verb = self.verbs.get(said.verb)
            if verb is None:
                raise unknown_verb(said.verb, self.verbs)
            calls.append(Call(verb.name, verb.bind(said.positional, said.keywords)))
        if self.plain:
            action = self._command(calls[0].arguments["command"])
        else:
            action = Action("\n".join([self.verbs[c.verb].canonical(c.arguments) for c in calls]))
            action.calls = tuple(calls)
        end = found[-1].end
        if end < len(text):
            ignored = text[end:].lstrip(self._dialect.around).rstrip(self._dialect.behind)
            if ignored:
                action.ignored = ignored
        return action

    def _command(self, text: str) -> Action:
        lines = text.strip().splitlines()
        command = TextDialect.command(lines[0]) if lines else ""
        if not command:
            raise invalid("empty", f"there is no action; write for example {self._example()}")
        action = Action(command)
        if len(lines) > 1:
            action.ignored = "\n".join(lines[1:])
        return action

    def _canonical(self, text: str) -> list[Said]:
        """The calls that canonical text makes."""
        if not text:
            raise invalid("empty", f"there is no action; write for example {self._example()}")
        if self.plain:
            if len(text.splitlines()) > 1 or without_thoughts(text) != text:
                raise invalid("parse", f"{quoted(text)} is not one command on one line")
            return [Said("act", [text], {}, len(text))]
        reader = Reader(text)
        found: list[Said] = []
        position = 0
        while True:
            head = _CALL.match(text, position)
            if head is None or len(found) == self.max_calls:
                raise invalid("parse", f"{quoted(text)} is not {self._amount()}, one a line")
            if head[1] not in self.verbs:
                raise unknown_verb(head[1], self.verbs)
            try:
                positional, keywords, end = reader.arguments(head.end())
            except Malformed as error:
                raise self._dialect.unread(self.verbs[head[1]], error) from error
            found.append(Said(head[1], positional, keywords, end))
            if end == len(text):
                return found
            position = end + 1 if text[end] == "\n" else len(text)

    def _amount(self) -> str:
        return "one action" if self.max_calls == 1 else f"up to {self.max_calls} actions"

    def _example(self) -> str:
        return self._dialect.example()

    def instructions(self) -> str:
        """What the system message says about how to act, with one correct example."""
        lines: list[str] = []
        if self.plain:
            lines += [verb.description for verb in self.verbs.values() if verb.description]
        else:
            lines.append("Actions:")
            for verb in self.verbs.values():
                about = f": {verb.description}" if verb.description else ""
                lines.append(f"- {self._dialect.form(verb)}{about}")
                lines += [f"    {a.name}: {a.description}" for a in verb.arguments if a.description]
        calls = self._amount() + (", each" if self.max_calls > 1 else "")
        lines += [self._dialect.how.format(calls=calls), self._example()]
        return "\n".join(lines)

    def tools(self) -> list[dict[str, Any]]:
        """OpenAI tool schemas, one a verb; for plain text, of `act(command)`."""
        return [verb.tool() for verb in self.verbs.values()]

    def render(self, action: str) -> str:
        """Canonical text as a model would say it in this dialect: `parse` gives `action` again.

        Raises:
            InvalidAction: `action` is not canonical text of this grammar.
        """
        understood = self.parse(Action(action))
        calls = understood.calls or (Call("act", {"command": str(understood)}),)
        return "\n".join(self._dialect.say(self.verbs[c.verb], c.arguments) for c in calls)

    def sample(self, rng: np.random.Generator) -> Action:
        """A random well-formed action: one call, whether it makes sense or not."""
        verb = list(self.verbs.values())[int(rng.integers(len(self.verbs)))]
        arguments = verb.sample(rng)
        text = arguments["command"] if self.plain else verb.canonical(arguments)
        return self.parse(Action(text))
