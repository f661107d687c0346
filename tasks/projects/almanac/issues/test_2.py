from datetime import date, datetime
from itertools import islice

from almanac import Calendar, Interval, Rule


def dates(rule: Rule, start: datetime, most: int) -> list[date]:
    return [each.date() for each in islice(rule.occurrences(start), most)]


def test_months_without_a_31st_are_skipped() -> None:
    found = dates(Rule("monthly"), datetime(2024, 1, 31, 8), 4)

    assert found == [date(2024, 1, 31), date(2024, 3, 31), date(2024, 5, 31), date(2024, 7, 31)]


def test_only_february_lacks_a_30th() -> None:
    found = dates(Rule("monthly"), datetime(2023, 12, 30), 3)

    assert found == [date(2023, 12, 30), date(2024, 1, 30), date(2024, 3, 30)]


def test_a_leap_day_comes_again_in_a_leap_year() -> None:
    assert dates(Rule("monthly", every=12), datetime(2024, 2, 29), 2) == [
        date(2024, 2, 29),
        date(2028, 2, 29),
    ]


def test_skipped_months_do_not_count() -> None:
    found = dates(Rule("monthly", count=3), datetime(2024, 8, 31), 10)

    assert found == [date(2024, 8, 31), date(2024, 10, 31), date(2024, 12, 31)]


def test_nothing_takes_place_in_a_skipped_month() -> None:
    calendar = Calendar()
    first = Interval(datetime(2024, 1, 31, 8), datetime(2024, 1, 31, 9))
    calendar.add("payroll", first, Rule("monthly"))

    assert calendar.agenda(Interval(datetime(2024, 2, 1), datetime(2024, 3, 31))) == []
