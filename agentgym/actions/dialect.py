"""Dialects: ways of saying a call, each with how to find one in a reply and how to say one.

A dialect reads a reply whose thoughts are already gone, and gives back the first complete calls as
they were said; whether their verbs exist and their arguments fit is for `Grammar` to check. Nothing
here looks at a character more than a bounded number of times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agentgym.actions.literals import Malformed
from agentgym.actions.replies import RESERVED_TAG, invalid, quoted
from agentgym.actions.verbs import Verb
from agentgym.errors import InvalidAction, did_you_mean


class Said(NamedTuple):
    """One complete call as it was said, unchecked."""

    verb: str
    positional: Sequence[Any]
    keywords: Mapping[str, Any]
    end: int
    """Position after it, in the reply."""


class Dialect(ABC):
    """One way of saying calls of `verbs`.

    Args:
        verbs: What may be called, by name.
        plain: Whether actions are plain text: the one verb then stands for it, its one argument is
            the text, and a dialect may leave the verb unsaid.
    """

    how: str
    """How to answer, in words that go before the example."""
    around = " \t\r\n`*;,."
    """What may stand between a call and what is reported as ignored, and is not."""
    behind = " \t\r\n`"
    """What may stand behind what is ignored, and is not reported."""

    def __init__(self, verbs: Mapping[str, Verb], *, plain: bool) -> None:
        self.verbs = verbs
        self.plain = plain

    @abstractmethod
    def find(self, text: str, limit: int) -> list[Said]:
        """The first complete calls in `text`: at least one, at most `limit`.

        Raises:
            InvalidAction: There is none; of kind `parse`, `unknown_verb` or `arguments`.
        """

    @abstractmethod
    def say(self, verb: Verb, arguments: Mapping[str, Any]) -> str:
        """The call as a model would say it, such that `find` finds it."""

    def form(self, verb: Verb) -> str:
        """How instructions list the verb."""
        return verb.signature

    def example(self) -> str:
        """A correct answer: a call of the first verb."""
        verb = next(iter(self.verbs.values()))
        return self.say(verb, verb.example())

    def nothing(self, text: str, why: str = "no action found in") -> InvalidAction:
        """The refusal of a reply that holds no call."""
        return invalid("parse", f"{why} {quoted(text.strip())}; write for example {self.example()}")

    def unread(self, verb: Verb, error: Malformed) -> InvalidAction:
        """The refusal of a known verb whose arguments are no literals."""
        return invalid(
            "arguments", f"cannot read {verb.name}(...): {error}; expected {verb.signature}"
        )


def unknown_verb(name: str, verbs: Mapping[str, Verb]) -> InvalidAction:
    """The refusal of a verb that does not exist."""
    hint = did_you_mean(name[:64], verbs) or f"; use one of {', '.join(verbs)}"
    return invalid("unknown_verb", f"there is no action {quoted(name)}{hint}")


def escaped(text: str) -> str:
    """`text` with `<` escaped if tags in its strings could be taken for tags of the reply.

    Right for calls and JSON only, where a `<` stands nowhere but inside strings.
    """
    return text.replace("<", "\\u003c") if RESERVED_TAG.search(text) else text
