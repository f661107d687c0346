from datetime import datetime, timedelta

from almanac import Calendar, Interval, Rule, gaps

REVIEW = Interval(datetime(2024, 5, 6, 9), datetime(2024, 5, 6, 11))


def test_what_began_earlier_leaves_no_gap() -> None:
    window = Interval(datetime(2024, 5, 6, 10), datetime(2024, 5, 6, 12))

    assert gaps([REVIEW], window) == [Interval(REVIEW.end, window.end)]


def test_what_covers_the_whole_window_leaves_nothing() -> None:
    window = Interval(datetime(2024, 5, 6, 9, 30), datetime(2024, 5, 6, 10, 30))

    assert gaps([REVIEW], window) == []


def test_what_was_over_before_does_not_count() -> None:
    window = Interval(datetime(2024, 5, 6, 11), datetime(2024, 5, 6, 12))

    assert gaps([REVIEW], window) == [window]


def test_the_next_free_time_is_after_what_is_running() -> None:
    calendar = Calendar()
    calendar.add("review", REVIEW)

    found = calendar.next_free(timedelta(hours=1), after=datetime(2024, 5, 6, 9, 30))

    assert found is not None
    assert found.start == REVIEW.end


def test_a_night_shift_ends_in_the_morning() -> None:
    calendar = Calendar()
    shift = Interval(datetime(2024, 5, 6, 22), datetime(2024, 5, 7, 6))
    calendar.add("night shift", shift, Rule("daily"))

    free = calendar.free(Interval(datetime(2024, 5, 8), datetime(2024, 5, 9)))

    assert free == [Interval(datetime(2024, 5, 8, 6), datetime(2024, 5, 8, 22))]
