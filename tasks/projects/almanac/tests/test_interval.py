from datetime import datetime, timedelta

import pytest
from almanac import Interval, gaps, merge


def hours(start: int, end: int) -> Interval:
    return Interval(datetime(2024, 5, 6, start), datetime(2024, 5, 6, end))


def test_an_interval_knows_its_duration() -> None:
    assert hours(9, 12).duration == timedelta(hours=3)


def test_an_interval_cannot_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match="before it starts"):
        hours(12, 9)


def test_the_start_is_in_and_the_end_is_not() -> None:
    assert datetime(2024, 5, 6, 9) in hours(9, 12)
    assert datetime(2024, 5, 6, 12) not in hours(9, 12)


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (hours(8, 10), hours(9, 10)),
        (hours(10, 11), hours(10, 11)),
        (hours(11, 14), hours(11, 12)),
        (hours(12, 14), None),
        (hours(6, 9), None),
    ],
)
def test_the_intersection_is_what_both_share(other: Interval, shared: Interval | None) -> None:
    assert hours(9, 12).intersection(other) == shared
    assert hours(9, 12).overlaps(other) == (shared is not None)


def test_a_shifted_interval_is_as_long() -> None:
    assert hours(9, 12).shift(timedelta(hours=2)) == hours(11, 14)


def test_splitting_leaves_the_rest_in_the_last_piece() -> None:
    assert hours(9, 14).split(timedelta(hours=2)) == [hours(9, 11), hours(11, 13), hours(13, 14)]


def test_pieces_cannot_be_empty() -> None:
    with pytest.raises(ValueError, match="longer than nothing"):
        hours(9, 14).split(timedelta(0))


def test_merging_joins_what_overlaps_or_touches() -> None:
    merged = merge([hours(13, 15), hours(9, 11), hours(10, 12), hours(12, 13), hours(17, 18)])

    assert merged == [hours(9, 15), hours(17, 18)]


def test_merging_leaves_out_empty_intervals() -> None:
    assert merge([hours(9, 9), hours(10, 11)]) == [hours(10, 11)]


def test_gaps_are_what_is_left() -> None:
    assert gaps([hours(10, 11), hours(13, 14)], hours(9, 17)) == [
        hours(9, 10),
        hours(11, 13),
        hours(14, 17),
    ]


def test_without_intervals_everything_is_a_gap() -> None:
    assert gaps([], hours(9, 17)) == [hours(9, 17)]
