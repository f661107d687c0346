from datetime import datetime, timedelta

import pytest
from almanac import Calendar, Interval, Rule

DAY = Interval(datetime(2024, 5, 6, 8), datetime(2024, 5, 6, 18))


def hours(start: int, end: int, day: int = 6) -> Interval:
    return Interval(datetime(2024, 5, day, start), datetime(2024, 5, day, end))


@pytest.fixture
def calendar() -> Calendar:
    made = Calendar()
    made.add("lunch", hours(12, 13), Rule("daily"))
    made.add("review", hours(9, 11))
    return made


def test_the_agenda_is_in_order(calendar: Calendar) -> None:
    assert calendar.agenda(DAY) == [(hours(9, 11), "review"), (hours(12, 13), "lunch")]


def test_events_that_repeat_are_in_later_agendas(calendar: Calendar) -> None:
    assert calendar.agenda(hours(8, 18, day=9)) == [(hours(12, 13, day=9), "lunch")]


def test_a_title_is_there_once(calendar: Calendar) -> None:
    with pytest.raises(ValueError, match="already"):
        calendar.add("lunch", hours(14, 15))


def test_a_removed_event_is_gone(calendar: Calendar) -> None:
    calendar.remove("lunch")

    assert len(calendar) == 1
    assert calendar.agenda(DAY) == [(hours(9, 11), "review")]


def test_events_that_overlap_are_conflicts(calendar: Calendar) -> None:
    calendar.add("call", hours(10, 12))

    assert calendar.conflicts(DAY) == [("review", "call")]


def test_free_time_is_between_events(calendar: Calendar) -> None:
    assert calendar.free(DAY) == [hours(8, 9), hours(11, 12), hours(13, 18)]


def test_short_breaks_are_left_out(calendar: Calendar) -> None:
    assert calendar.free(DAY, timedelta(hours=2)) == [hours(13, 18)]


def test_the_next_free_time(calendar: Calendar) -> None:
    found = calendar.next_free(timedelta(minutes=30), after=datetime(2024, 5, 6, 9))

    assert found == Interval(datetime(2024, 5, 6, 11), datetime(2024, 5, 6, 11, 30))


def test_there_may_be_no_free_time(calendar: Calendar) -> None:
    assert calendar.next_free(timedelta(days=3), datetime(2024, 5, 6), timedelta(days=5)) is None
