from datetime import datetime, timedelta

from almanac import Calendar, Interval, gaps, merge


def hours(start: int, end: int) -> Interval:
    return Interval(datetime(2024, 5, 6, start), datetime(2024, 5, 6, end))


def test_an_interval_inside_another_adds_nothing() -> None:
    assert merge([hours(9, 17), hours(10, 11)]) == [hours(9, 17)]


def test_several_inside_add_nothing_either() -> None:
    assert merge([hours(9, 17), hours(10, 11), hours(12, 13), hours(16, 18)]) == [hours(9, 18)]


def test_there_is_no_gap_inside_an_interval() -> None:
    assert gaps([hours(9, 17), hours(10, 11)], hours(8, 18)) == [hours(8, 9), hours(17, 18)]


def test_nobody_is_free_during_a_workshop() -> None:
    calendar = Calendar()
    calendar.add("workshop", hours(9, 17))
    calendar.add("coffee", hours(10, 11))

    found = calendar.next_free(timedelta(hours=1), after=datetime(2024, 5, 6, 9))

    assert found == hours(17, 18)
