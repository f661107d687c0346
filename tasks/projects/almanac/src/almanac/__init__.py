"""Intervals of time, rules that repeat, and calendars."""

from almanac.calendar import Calendar, Event
from almanac.interval import Interval, gaps, merge
from almanac.recurrence import Rule

__all__ = ["Calendar", "Event", "Interval", "Rule", "gaps", "merge"]
