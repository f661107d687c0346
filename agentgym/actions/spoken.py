"""Dialects without markup: a call on a line, and the plain command line of a text adventure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agentgym.actions.dialect import Dialect, Said, escaped, unknown_verb
from agentgym.actions.literals import Malformed, Reader
from agentgym.actions.replies import RESERVED_TAG, invalid
from agentgym.actions.verbs import Verb


class CallDialect(Dialect):
    """`click(12)`: alone, in a fence, in backticks, on a line among prose, or else in a sentence.

    A call that begins a line (after a list mark, `>`, a backtick or a label such as `Action:`) or
    that directly follows such a call counts before any call within a sentence: what is talked about
    on the way is not what is done.
    """

    how = "Answer with {calls} on a line of its own, with text in quotes, for example:"

    _BEFORE = re.compile(r"[ \t>`*#\-.)\d]*(?:[A-Za-z][\w ]{0,20}:[ \t`*]*)?")
    _BETWEEN = re.compile(r"[\s;,`]{0,8}")
    _OTHER = re.compile(r"^[ \t>`*]*+([A-Za-z_]\w*+)\(", re.MULTILINE)
    _LONGEST_BEFORE = 64

    def __init__(self, verbs: Mapping[str, Verb], *, plain: bool) -> None:
        super().__init__(verbs, plain=plain)
        self._known = re.compile(rf"(?<![\w.])({'|'.join(verbs)}) ?\(")

    def find(self, text: str, limit: int) -> list[Said]:
        """See `Dialect.find`."""
        reader = Reader(text)
        leading: list[Said] = []
        inline: list[Said] = []
        failure: tuple[Verb, Malformed] | None = None
        end = lead_end = -1
        for match in self._known.finditer(text):
            start = match.start()
            if start < end:
                continue  # within the last call: text that it types, perhaps
            leads = self._leads(text, start, lead_end)
            if not leads and len(inline) == limit:
                continue
            try:
                positional, keywords, end = reader.arguments(match.end())
            except Malformed as error:
                failure = failure or (self.verbs[match[1]], error)
                continue
            (leading if leads else inline).append(Said(match[1], positional, keywords, end))
            if leads:
                lead_end = end
                if len(leading) == limit:
                    break
        if leading or inline:
            return leading or inline
        if failure:
            raise self.unread(*failure)
        other = self._OTHER.search(text)
        raise unknown_verb(other[1], self.verbs) if other else self.nothing(text)

    def _leads(self, text: str, start: int, lead_end: int) -> bool:
        """Whether a call at `start` begins its line, or follows the leading call before it."""
        if start == 0 or (lead_end >= 0 and self._BETWEEN.fullmatch(text, lead_end, start)):
            return True
        earliest = max(0, start - self._LONGEST_BEFORE)
        line = text.rfind("\n", earliest, start) + 1
        if line == 0 and earliest > 0:
            return False
        return self._BEFORE.fullmatch(text, line, start) is not None

    def say(self, verb: Verb, arguments: Mapping[str, Any]) -> str:
        """See `Dialect.say`."""
        return escaped(verb.canonical(arguments))


class TextDialect(Dialect):
    """The reply's command line; what a text adventure's player would type.

    It is the first non-empty line of the first fenced block, or what follows the first `Action:` or
    `Command:`, whichever comes first; without either, the first non-empty line. Around it, a prompt
    (`> `), such a label, quotes, backticks and stars are taken off.
    """

    how = "Answer with one action on a line of its own, for example:"

    _FENCE = re.compile(r"\s*(`{3,})[\w+-]*\s*")
    _LABEL = re.compile(
        r"[\s*_#>]*(?:(?:next|my|final) )?(?:action|command)(?: ?\d{1,3})?[*_]*:[\s*_]*",
        re.IGNORECASE,
    )
    _ROUNDS = 8

    def find(self, text: str, limit: int) -> list[Said]:
        """See `Dialect.find`."""
        first: tuple[str, int] | None = None
        fence = ""
        labelled = False
        position = 0
        for line in text.splitlines(keepends=True):
            position += len(line)
            if line.isspace():
                continue
            mark = self._FENCE.fullmatch(line)
            if mark and (not fence or line.strip().startswith(fence)):
                fence = "" if fence else mark[1]
                continue
            marked = bool(fence) or labelled or self._LABEL.match(line) is not None
            if not marked and first is not None:
                continue
            command = self.command(line)
            if command and marked:
                return self._said(command, position)
            if command:
                first = (command, position)
            labelled = marked and not fence
        if first is None:
            raise invalid("empty", f"there is no action; write for example {self.example()}")
        return self._said(*first)

    def _said(self, command: str, end: int) -> list[Said]:
        return [Said(next(iter(self.verbs)), [command], {}, end)]

    @classmethod
    def command(cls, line: str) -> str:
        """`line` without what may be around a command; `""` if that is all there is."""
        for _ in range(cls._ROUNDS):
            before = line
            line = one_line(line).lstrip("> ")
            label = cls._LABEL.match(line)
            if label:
                line = line[label.end() :]
            line = line.strip("`").strip()
            for quote in ("**", '"', "'", "“”", "‘’"):
                opener, closer = (quote[0], quote[1]) if quote in ("“”", "‘’") else (quote, quote)
                inner = line[len(opener) : -len(closer)]
                if line == opener + inner + closer and opener not in inner:
                    line = inner
            if line == before:
                return line
        return ""

    def say(self, verb: Verb, arguments: Mapping[str, Any]) -> str:
        """See `Dialect.say`."""
        return str(next(iter(arguments.values())))


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """`text` as a canonical command can hold it: control characters and reserved tags blanked."""
    text = _CONTROL.sub(" ", text)
    if "<" in text:
        text = RESERVED_TAG.sub(" ", text)
    return text.strip()
