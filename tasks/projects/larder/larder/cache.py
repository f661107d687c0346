"""The cache itself."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from larder.events import Events

_DEFAULT: Any = object()


@dataclass
class Stats:
    """How well a cache serves."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    expirations: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of look-ups that found something; 0 before the first."""
        total = self.hits + self.misses
        return self.hits / total if total else 0.0


class _Entry(NamedTuple):
    value: Any
    expires: float | None
    """When, by the cache's clock; None: never."""


class Cache:
    """Keeps up to `capacity` values, the least recently used going first.

    Events are `evict` (for want of room) and `expire` (past its time), with key and value.

    Args:
        capacity: Most entries at a time.
        ttl: Seconds for which an entry is kept; None: for ever.
        clock: Tells the time in seconds.
    """

    def __init__(
        self,
        capacity: int,
        ttl: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}: it must be at least 1")
        self.capacity = capacity
        self.ttl = ttl
        self.events = Events()
        self.stats = Stats()
        self._clock = clock
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def __len__(self) -> int:
        self.prune()
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        self._expire(key)
        return key in self._entries

    def __iter__(self) -> Iterator[Hashable]:
        """The keys, from the least to the most recently used."""
        self.prune()
        return iter(list(self._entries))

    def put(self, key: Hashable, value: Any, ttl: float | None = _DEFAULT) -> None:
        """Keep a value; what was under its key is replaced, and it counts as used.

        Args:
            key: To get it by.
            value: Anything.
            ttl: Seconds for which it is kept, None for ever; the cache's own if not given.
        """
        seconds = self.ttl if ttl is _DEFAULT else ttl
        expires = None if seconds is None else self._clock() + seconds
        self._entries.pop(key, None)
        if len(self._entries) >= self.capacity:
            self.prune()
        while len(self._entries) >= self.capacity:
            oldest, entry = self._entries.popitem(last=False)
            self.stats.evictions += 1
            self.events.emit("evict", oldest, entry.value)
        self._entries[key] = _Entry(value, expires)

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The value of a key, which counts as using it, or `default` if it is not there."""
        self._expire(key)
        if key not in self._entries:
            self.stats.misses += 1
            return default
        self.stats.hits += 1
        self._entries.move_to_end(key)
        return self._entries[key].value

    def peek(self, key: Hashable, default: Any = None) -> Any:
        """The value of a key without using it: neither order nor statistics change."""
        self._expire(key)
        entry = self._entries.get(key)
        return default if entry is None else entry.value

    def pop(self, key: Hashable, default: Any = None) -> Any:
        """Take a value out, without an event."""
        self._expire(key)
        entry = self._entries.pop(key, None)
        return default if entry is None else entry.value

    def clear(self) -> None:
        """Forget everything, without events; the statistics stay."""
        self._entries.clear()

    def prune(self) -> int:
        """Drop whatever is past its time; returns how many entries that were."""
        return sum(self._expire(key) for key in list(self._entries))

    def _expire(self, key: Hashable) -> bool:
        """Drop one entry if it is past its time."""
        entry = self._entries.get(key)
        if entry is None or entry.expires is None or self._clock() < entry.expires:
            return False
        del self._entries[key]
        self.stats.expirations += 1
        self.events.emit("expire", key, entry.value)
        return True
