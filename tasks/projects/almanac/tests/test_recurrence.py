from datetime import datetime
from itertools import islice

import pytest
from almanac import Rule

MONDAY = datetime(2024, 5, 6, 9, 30)


def days(rule: Rule, start: datetime, most: int = 5) -> list[str]:
    return [each.strftime("%m-%d") for each in islice(rule.occurrences(start), most)]


def test_a_daily_rule() -> None:
    assert days(Rule("daily"), MONDAY, 3) == ["05-06", "05-07", "05-08"]


def test_every_third_day() -> None:
    assert days(Rule("daily", every=3), MONDAY, 3) == ["05-06", "05-09", "05-12"]


def test_a_weekly_rule_keeps_the_weekday_of_its_start() -> None:
    assert days(Rule("weekly"), MONDAY, 3) == ["05-06", "05-13", "05-20"]


def test_a_weekly_rule_on_several_days() -> None:
    assert days(Rule("weekly", weekdays=(0, 3)), MONDAY, 4) == ["05-06", "05-09", "05-13", "05-16"]


def test_a_monthly_rule() -> None:
    assert days(Rule("monthly"), MONDAY, 3) == ["05-06", "06-06", "07-06"]


def test_a_monthly_rule_goes_on_in_the_next_year() -> None:
    found = list(islice(Rule("monthly", every=4).occurrences(MONDAY), 3))

    assert [each.year for each in found] == [2024, 2024, 2025]


def test_count_ends_a_rule() -> None:
    assert days(Rule("daily", count=2), MONDAY) == ["05-06", "05-07"]


def test_until_ends_a_rule() -> None:
    assert days(Rule("daily", until=datetime(2024, 5, 8)), MONDAY) == ["05-06", "05-07"]


def test_the_time_of_day_is_kept() -> None:
    assert {each.time() for each in islice(Rule("weekly").occurrences(MONDAY), 4)} == {
        MONDAY.time()
    }


@pytest.mark.parametrize("every", [0, -1])
def test_a_rule_must_go_forward(every: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Rule("daily", every=every)


def test_only_weekly_rules_have_weekdays() -> None:
    with pytest.raises(ValueError, match="no weekdays"):
        Rule("monthly", weekdays=(1,))
