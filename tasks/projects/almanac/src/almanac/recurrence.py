"""Rules that repeat a moment: every day, every second Tuesday, the 31st of each month."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal


@dataclass(frozen=True)
class Rule:
    """How something repeats.

    Months that lack the day of the first occurrence are skipped, as calendars of others do.
    """

    frequency: Literal["daily", "weekly", "monthly"]
    every: int = 1
    """2 is every other day, week or month."""
    weekdays: tuple[int, ...] = ()
    """Of a weekly rule, Monday being 0; the weekday of the start if there are none."""
    count: int | None = None
    """Occurrences in all."""
    until: datetime | None = None
    """The last moment at which there may be an occurrence."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}: it must be at least 1")
        if self.weekdays and self.frequency != "weekly":
            raise ValueError(f"a {self.frequency} rule has no weekdays")

    def occurrences(self, start: datetime) -> Iterator[datetime]:
        """Every occurrence from `start` on, in order; without count or until they never end."""
        moments = self._moments(start)
        if self.count is not None:
            moments = islice(moments, self.count)
        for moment in moments:
            if self.until is not None and moment > self.until:
                return
            yield moment

    def _moments(self, start: datetime) -> Iterator[datetime]:
        if self.frequency == "daily":
            return self._days(start)
        if self.frequency == "weekly":
            return self._weeks(start)
        return self._months(start)

    def _days(self, start: datetime) -> Iterator[datetime]:
        while True:
            yield start
            start += timedelta(days=self.every)

    def _weeks(self, start: datetime) -> Iterator[datetime]:
        weekdays = sorted(set(self.weekdays)) or [start.weekday()]
        monday = start - timedelta(days=start.weekday())
        while True:
            for weekday in weekdays:
                moment = monday + timedelta(days=weekday)
                if moment >= start:
                    yield moment
            monday += timedelta(weeks=self.every)

    def _months(self, start: datetime) -> Iterator[datetime]:
        month = start.year * 12 + start.month - 1
        while True:
            year, index = divmod(month, 12)
            if start.day <= calendar.monthrange(year, index + 1)[1]:
                yield start.replace(year=year, month=index + 1)
            month += self.every
