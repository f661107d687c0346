"""Events: functions that are called when something happens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

Listener = Callable[..., Any]


class Events:
    """Listeners by the name of what they listen to, called in the order in which they came."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, list[Listener]] = defaultdict(list)

    def on(self, name: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` whenever `name` happens; returns what ends that."""
        self._listeners[name].append(listener)
        return lambda: self.off(name, listener)

    def once(self, name: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` the next time `name` happens, and not again."""

        def heard(*args: Any) -> None:
            self.off(name, heard)
            listener(*args)

        return self.on(name, heard)

    def off(self, name: str, listener: Listener) -> None:
        """Call `listener` no more; does nothing if it was not called anyway."""
        if listener in self._listeners[name]:
            self._listeners[name].remove(listener)

    def emit(self, name: str, *args: Any) -> int:
        """Tell all who listen that `name` happens; returns how many were told.

        Listeners may come and go meanwhile: told are those who listened when it began.
        """
        listeners = list(self._listeners[name])
        for listener in listeners:
            listener(*args)
        return len(listeners)
