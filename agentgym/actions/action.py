"""What was understood of a reply: canonical text that carries its calls along."""

from __future__ import annotations

from typing import Any, NamedTuple


class Call(NamedTuple):
    """One call of a verb; every argument is present, defaults filled in."""

    verb: str
    arguments: dict[str, Any]


class Action(str):
    """Canonical text of what was understood: a `str` whose type says "already canonical".

    `Action("go east")` is all it takes to make one: oracles, admissible hints and replays do, and
    `Grammar.parse` then reads the text as canonical whatever dialect the model speaks. Text that
    was *not* understood is replayed as a plain `str`, so that it is misunderstood again.
    """

    calls: tuple[Call, ...] = ()
    """What it calls; empty for text grammars, and for an `Action` that was not parsed."""
    ignored: str = ""
    """What followed the last call that counted."""

    @property
    def verb(self) -> str:
        """Verb of the first call, `""` if there is none."""
        return self.calls[0].verb if self.calls else ""

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the first call, `{}` if there is none."""
        return self.calls[0].arguments if self.calls else {}
