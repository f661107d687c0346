"""The dialect of fenced blocks, in which models write programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agentgym.actions.dialect import Dialect, Said, escaped, unknown_verb
from agentgym.actions.replies import RESERVED_TAG
from agentgym.actions.spoken import CallDialect
from agentgym.actions.verbs import Verb
from agentgym.errors import did_you_mean

_OPEN = re.compile(r"[ \t]*(`{3,})[ \t]*([A-Za-z_]\w{0,63})?[ \t]*\r?")
_CLOSE = re.compile(r"[ \t]*(`{3,})[ \t]*\r?")
_CALLS = "action"


class BlocksDialect(Dialect):
    """A fenced block named like the verb, which holds its one required argument as it is.

    As in ``` ```bash ```, a line or many, and the closing fence. Any verb can be called in a block
    named `action`.
    """

    how = "Answer with {calls} in a fenced block, for example:"
    around = " \t\r\n"
    behind = around

    def __init__(self, verbs: Mapping[str, Verb], *, plain: bool) -> None:
        super().__init__(verbs, plain=plain)
        self._calls = CallDialect(verbs, plain=plain)

    def find(self, text: str, limit: int) -> list[Said]:
        """See `Dialect.find`."""
        found: list[Said] = []
        other = ""
        fence, name, begun, position = "", "", 0, 0
        for line in text.split("\n"):
            start, position = position, position + len(line) + 1
            if not fence:
                if opened := _OPEN.fullmatch(line):
                    fence, name, begun = opened[1], opened[2] or "", position
                continue
            closed = _CLOSE.fullmatch(line)
            if closed is None or len(closed[1]) < len(fence):
                continue
            fence, end = "", min(position, len(text))
            content = text[begun : max(start - 1, begun)]
            if name == _CALLS or name in self.verbs:
                found += self._said(name, content, end, limit - len(found))
            other = other or name
            if len(found) >= limit:
                break
        if found:
            return found
        if fence and (name == _CALLS or name in self.verbs):
            raise self.nothing(text, f"the block {name!r} is not closed in")
        if other and did_you_mean(other, self.verbs):
            raise unknown_verb(other, self.verbs)
        raise self.nothing(text)

    def _said(self, name: str, content: str, end: int, limit: int) -> list[Said]:
        if name == _CALLS and self.plain:
            return [Said(next(iter(self.verbs)), [content], {}, end)]
        if name == _CALLS:
            return [said._replace(end=end) for said in self._calls.find(content, limit)]
        verb = self.verbs[name]
        if not content.strip() and not verb.required:
            return [Said(name, [], {}, end)]
        if len(verb.required) != 1:
            raise self.nothing(content, f"the block {name!r} cannot hold all arguments, in")
        return [Said(name, [content], {}, end)]

    def say(self, verb: Verb, arguments: Mapping[str, Any]) -> str:
        """See `Dialect.say`."""
        told = list(verb.told(arguments).values())
        if self.plain:
            return f"```{_CALLS}\n{told[0]}\n```"
        if len(told) == 1 and len(verb.required) == 1 and self._fits(verb, told[0]):
            return f"```{verb.name}\n{told[0]}\n```"
        return f"```{_CALLS}\n{escaped(verb.canonical(arguments))}\n```"

    def form(self, verb: Verb) -> str:
        """Its own block, where one can hold its arguments."""
        call = f"```{_CALLS}``` with {verb.signature}"
        if len(verb.required) != 1 or verb.required[0].type is not str:
            return call
        own = f"```{verb.name}``` with {verb.required[0].name}"
        return f"{own}, or {call}" if verb.optional else own

    @staticmethod
    def _fits(verb: Verb, value: object) -> bool:
        """Whether a block can hold a value: not if it would be cut, or read as something else."""
        if verb.required[0].type is not str or not isinstance(value, str) or not value:
            return False
        return "```" not in value and not RESERVED_TAG.search(value) and value.strip() == value
