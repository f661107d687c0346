"""Dialects with markup around a call: tags, JSON, and tool calls."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from agentgym.actions.dialect import Dialect, Said, escaped, unknown_verb
from agentgym.actions.literals import Malformed, Reader
from agentgym.actions.replies import RESERVED_TAG, invalid, quoted
from agentgym.actions.spoken import CallDialect
from agentgym.actions.verbs import Verb
from agentgym.errors import did_you_mean


class TagsDialect(Dialect):
    """`<action>click(12)</action>`, or a tag named like the verb: `<search>a query</search>`.

    What stands in a verb's own tag is its one required argument, as it is, without quotes.
    """

    how = "Answer with {calls} in tags, for example:"

    _ANY = re.compile(r"<([A-Za-z_]\w{0,63})/?>")

    def __init__(self, verbs: Mapping[str, Verb], *, plain: bool) -> None:
        super().__init__(verbs, plain=plain)
        self._calls = CallDialect(verbs, plain=plain)
        names = ["action"] + ([] if plain else list(verbs))
        self._open = re.compile(rf"<({'|'.join(names)})\s*+(/?)>")

    def find(self, text: str, limit: int) -> list[Said]:
        """See `Dialect.find`."""
        found: list[Said] = []
        unclosed: dict[str, None] = {}
        end = 0
        for tag in self._open.finditer(text):
            name = tag[1]
            if tag.start() < end or name in unclosed:
                continue
            content, end_of_tag = "", tag.end()
            if not tag[2]:
                close = text.find(f"</{name}>", end_of_tag)
                if close < 0:
                    unclosed[name] = None
                    continue
                content = text[end_of_tag:close]
                content = content.rpartition(f"<{name}>")[2].strip()
                end_of_tag = close + len(name) + 3
            end = end_of_tag
            found += self._calls_in(name, content, end, limit - len(found))
            if len(found) >= limit:
                break
        if found:
            return found
        if unclosed:
            name = next(iter(unclosed))
            raise self.nothing(text, f"<{name}> is not closed by </{name}> in")
        other = self._ANY.search(text)
        if other and did_you_mean(other[1], self.verbs):
            raise unknown_verb(other[1], self.verbs)
        raise self.nothing(text)

    def _calls_in(self, name: str, content: str, end: int, limit: int) -> list[Said]:
        if name == "action":
            if self.plain:
                return [Said(next(iter(self.verbs)), [content], {}, end)]
            return [said._replace(end=end) for said in self._calls.find(content, limit)]
        verb = self.verbs[name]
        if not content and not verb.required:
            return [Said(name, [], {}, end)]
        if len(verb.required) > 1:
            raise self.nothing(content, f"<{name}> takes more than one argument, not")
        return [Said(name, [content], {}, end)]

    def say(self, verb: Verb, arguments: Mapping[str, Any]) -> str:
        """See `Dialect.say`."""
        told = list(verb.told(arguments).values())
        if self.plain:
            return f"<action>{told[0]}</action>"
        if self._has_own_tag(verb) and len(told) == 1:
            (value,) = told
            if value and value == value.strip() and "<" not in value and value.isprintable():
                return f"<{verb.name}>{value}</{verb.name}>"
        return f"<action>{escaped(verb.canonical(arguments))}</action>"

    def form(self, verb: Verb) -> str:
        """Its own tag, where it has one."""
        call = f"<action>{verb.signature}</action>"
        if not self._has_own_tag(verb):
            return call
        own = f"<{verb.name}>{verb.required[0].name}</{verb.name}>"
        return f"{own} or {call}" if verb.optional else own

    @staticmethod
    def _has_own_tag(verb: Verb) -> bool:
        only = verb.required[0].type if len(verb.required) == 1 else None
        return only is str and not RESERVED_TAG.fullmatch(f"<{verb.name}>")


class JsonDialect(Dialect):
    """`{"name": "click", "arguments": {"id": 12}}`: alone, in a fence, or among prose.

    The spellings other stacks use are understood too: `action`, `tool`, `function` or `verb` for
    the name, `parameters`, `params`, `args`, `input` or `action_input` for the arguments, or the
    arguments beside the name; and arguments that are a list, or JSON in a string.
    """

    how = "Answer with {calls} as JSON, for example:"
    around = Dialect.around + "]}"

    _NAMES = ("name", "action", "tool", "function", "verb")
    _ARGUMENTS = ("arguments", "parameters", "params", "args", "input", "action_input")
    _ASIDES = ("thought", "thoughts", "think", "reasoning")
    _START = re.compile(r"\{")
    _MOST_TRIES = 1000
    """Most opening braces looked at: objects within objects are read again for each."""

    def find(self, text: str, limit: int) -> list[Said]:
        """See `Dialect.find`."""
        reader = Reader(text, json_escapes=True)
        found: list[Said] = []
        failure = ""
        end = 0
        for match in islice(self._START.finditer(text), self._MOST_TRIES):
            start = match.end() - 1
            if match.start() < end:
                continue
            try:
                value, after = reader.value(start)
            except Malformed as error:
                failure = failure or str(error)
                continue
            said = self._said(value, after)
            if said is None:
                continue
            found.append(said)
            end = after
            if len(found) == limit:
                break
        if not found:
            raise self.nothing(text, f"cannot read JSON, {failure}:" if failure else "no action in")
        return found

    def _said(self, value: Any, end: int) -> Said | None:
        """The call that an object says, if it says one."""
        names = [key for key in self._NAMES if isinstance(value.get(key), str)]
        if not names:
            return None
        named = next((key for key in names if value[key] in self.verbs), names[0])
        verb = value[named]
        key = next((key for key in self._ARGUMENTS if key in value), None)
        if key is None:
            rest = {k: v for k, v in value.items() if k != named and k not in self._ASIDES}
            if self.plain and not rest and verb not in self.verbs:
                return Said(next(iter(self.verbs)), [verb], {}, end)
            return Said(verb, [], rest, end)
        given = value[key]
        if isinstance(given, str):
            given = self._object_in(given)
        if isinstance(given, dict):
            return Said(verb, [], given, end)
        if given is None:
            return Said(verb, [], {}, end)
        return Said(verb, given if isinstance(given, list) else [given], {}, end)

    @staticmethod
    def _object_in(text: str) -> Any:
        """The JSON object in `text`; None if it is empty, `text` if it does not look like one."""
        stripped = text.strip()
        if not stripped.startswith("{"):
            return text if stripped else None
        try:
            value, end = Reader(stripped, json_escapes=True).value(0)
            if end < len(stripped):
                raise Malformed("more follows the object")
        except Malformed as error:
            why = f"cannot read the arguments {quoted(stripped)}: {error}"
            raise invalid("arguments", f"{why}; give one JSON object") from error
        return value

    def say(self, verb: Verb, arguments: Mapping[str, Any]) -> str:
        """See `Dialect.say`."""
        return _json({"name": verb.name, "arguments": verb.told(arguments)})


class ToolsDialect(JsonDialect):
    """Hermes tool calls: `<tool_call>{"name": "click", "arguments": {"id": 12}}</tool_call>`.

    The closing tag may be missing: servers that stop at it do not send it.
    """

    how = "Answer with {calls} in <tool_call> tags, for example:"

    _START = re.compile(r"<tool_call>\s*+\{")
    _END = re.compile(r"\s*+</tool_call>")

    def find(self, text: str, limit: int) -> list[Said]:
        """See `Dialect.find`."""
        found = super().find(text, limit)
        closed = self._END.match(text, found[-1].end)
        if closed:
            found[-1] = found[-1]._replace(end=closed.end())
        return found

    def say(self, verb: Verb, arguments: Mapping[str, Any]) -> str:
        """See `Dialect.say`."""
        return tool_call(verb.name, verb.told(arguments))


def tool_call(name: str, arguments: str | Mapping[str, Any]) -> str:
    """A tool call of an OpenAI-compatible server as text that the `tools` dialect reads.

    Whatever `name` and `arguments` (the object, or the JSON text the model wrote) hold, tags in
    them are escaped: nothing in there ends the call early or passes for a thought.
    """
    return f"<tool_call>\n{_json({'name': name, 'arguments': arguments})}\n</tool_call>"


def _json(value: Mapping[str, Any]) -> str:
    return escaped(json.dumps(value, ensure_ascii=False))
