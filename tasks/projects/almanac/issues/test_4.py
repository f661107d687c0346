from datetime import date, datetime

from almanac import Calendar, Interval, Rule

THURSDAY = datetime(2024, 5, 9, 18)


def test_nothing_occurs_before_the_start() -> None:
    rule = Rule("weekly", weekdays=(1, 3), count=3)

    found = [each.date() for each in rule.occurrences(THURSDAY)]

    assert found == [date(2024, 5, 9), date(2024, 5, 14), date(2024, 5, 16)]


def test_a_start_on_another_weekday_does_not_occur() -> None:
    rule = Rule("weekly", weekdays=(0,), count=2)

    found = [each.date() for each in rule.occurrences(THURSDAY)]

    assert found == [date(2024, 5, 13), date(2024, 5, 20)]


def test_every_other_week_is_counted_from_the_first() -> None:
    rule = Rule("weekly", every=2, weekdays=(1, 3), count=3)

    found = [each.date() for each in rule.occurrences(THURSDAY)]

    assert found == [date(2024, 5, 9), date(2024, 5, 21), date(2024, 5, 23)]


def test_the_agenda_is_empty_before_a_course_begins() -> None:
    calendar = Calendar()
    lesson = Interval(THURSDAY, THURSDAY.replace(hour=20))
    calendar.add("course", lesson, Rule("weekly", weekdays=(1, 3)))

    assert calendar.agenda(Interval(datetime(2024, 5, 6), datetime(2024, 5, 9))) == []
