"""A calendar: events, when they clash, and when there is time for more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from almanac.interval import Interval, gaps
from almanac.recurrence import Rule


@dataclass(frozen=True)
class Event:
    """Something that takes time, once or again and again."""

    title: str
    when: Interval
    """The first time."""
    rule: Rule | None = None

    def during(self, window: Interval) -> Iterator[Interval]:
        """Each time it takes place, at least in part, in a window."""
        if self.rule is None:
            starts: Iterator[datetime] = iter([self.when.start])
        else:
            starts = self.rule.occurrences(self.when.start)
        for start in takewhile(lambda each: each < window.end, starts):
            each = Interval(start, start + self.when.duration)
            if each.overlaps(window):
                yield each


class Calendar:
    """Events by title; a title is there once."""

    def __init__(self) -> None:
        self._events: dict[str, Event] = {}

    def __len__(self) -> int:
        return len(self._events)

    def add(self, title: str, when: Interval, rule: Rule | None = None) -> Event:
        """Put an event in.

        Raises:
            ValueError: There is one of this title.
        """
        if title in self._events:
            raise ValueError(f"there is an event {title!r} already")
        event = self._events[title] = Event(title, when, rule)
        return event

    def remove(self, title: str) -> Event:
        """Take an event out.

        Raises:
            KeyError: There is none of this title.
        """
        return self._events.pop(title)

    def agenda(self, window: Interval) -> list[tuple[Interval, str]]:
        """What takes place in a window, in the order of start, then end, then title."""
        return sorted(
            (when, event.title) for event in self._events.values() for when in event.during(window)
        )

    def conflicts(self, window: Interval) -> list[tuple[str, str]]:
        """Titles of events that overlap in a window, each pair once, the earlier event first."""
        found: dict[tuple[str, str], None] = {}
        agenda = self.agenda(window)
        for place, (when, title) in enumerate(agenda):
            for later, other in agenda[place + 1 :]:
                if later.start >= when.end:
                    break
                if other != title:
                    found.setdefault((title, other))
        return list(found)

    def free(self, window: Interval, at_least: timedelta = timedelta(0)) -> list[Interval]:
        """The parts of a window in which nothing takes place, if they are long enough."""
        busy = [when for when, _ in self.agenda(window)]
        return [gap for gap in gaps(busy, window) if gap.duration >= at_least]

    def next_free(
        self, duration: timedelta, after: datetime, within: timedelta = timedelta(days=30)
    ) -> Interval | None:
        """The first time of a duration in which nothing takes place, or None if there is none."""
        found = self.free(Interval(after, after + within), duration)
        return Interval(found[0].start, found[0].start + duration) if found else None
