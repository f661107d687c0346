"""Half-open intervals of time: the start belongs to them, the end does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, order=True)
class Interval:
    """From `start` up to, but not including, `end`."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"an interval cannot end ({self.end}) before it starts ({self.start})")

    @property
    def duration(self) -> timedelta:
        """How long it is."""
        return self.end - self.start

    def __bool__(self) -> bool:
        return self.start < self.end

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def overlaps(self, other: Interval) -> bool:
        """Whether the two share a moment; intervals that only touch do not."""
        return self.start < other.end and other.start < self.end

    def intersection(self, other: Interval) -> Interval | None:
        """What both have in common, or None if that is nothing."""
        if not self.overlaps(other):
            return None
        return Interval(max(self.start, other.start), min(self.end, other.end))

    def shift(self, by: timedelta) -> Interval:
        """The same interval, later by `by`."""
        return Interval(self.start + by, self.end + by)

    def split(self, length: timedelta) -> list[Interval]:
        """Pieces of at most `length`, in order; only the last may be shorter."""
        if length <= timedelta(0):
            raise ValueError("pieces must be longer than nothing")
        pieces = []
        start = self.start
        while start < self.end:
            end = min(start + length, self.end)
            pieces.append(Interval(start, end))
            start = end
        return pieces


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """The same moments in as few intervals as possible, sorted; empty ones are left out."""
    merged: list[Interval] = []
    for interval in sorted(filter(None, intervals)):
        if merged and interval.start <= merged[-1].end:
            last = merged.pop()
            interval = Interval(last.start, max(last.end, interval.end))
        merged.append(interval)
    return merged


def gaps(intervals: Iterable[Interval], within: Interval) -> list[Interval]:
    """The parts of `within` that no interval covers, sorted."""
    free = []
    cursor = within.start
    for interval in merge(intervals):
        if interval.end <= cursor:
            continue
        if interval.start >= within.end:
            break
        if cursor < interval.start:
            free.append(Interval(cursor, interval.start))
        cursor = interval.end
    if cursor < within.end:
        free.append(Interval(cursor, within.end))
    return free
