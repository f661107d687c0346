import pytest
from gridline import ParseError, parse


def test_the_first_record_names_the_columns() -> None:
    table = parse("name,price\nbolt,0.25\n")

    assert table.columns == ["name", "price"]
    assert table.rows == [["bolt", "0.25"]]


def test_the_last_line_need_not_end() -> None:
    assert len(parse("name\nbolt")) == 1


def test_another_delimiter() -> None:
    assert parse("a;b\n1;2,5\n", delimiter=";").rows == [["1", "2,5"]]


def test_spaces_around_fields_do_not_count() -> None:
    assert parse("a , b\n 1 ,2\n").rows == [["1", "2"]]


def test_fields_in_quotes_hold_delimiters() -> None:
    assert parse('a,b\n"1,5",2\n').rows == [["1,5", "2"]]


def test_fields_in_quotes_hold_line_ends() -> None:
    assert parse('a,b\n"one\ntwo",2\n').rows == [["one\ntwo", "2"]]


def test_blank_lines_are_skipped() -> None:
    assert parse("a,b\n\n1,2\n\n").rows == [["1", "2"]]


def test_short_records_are_filled_up() -> None:
    assert parse("a,b,c\n1\n").rows == [["1", "", ""]]


def test_a_long_record_is_an_error() -> None:
    with pytest.raises(ParseError, match="line 3: 3 fields under 2 columns"):
        parse("a,b\n1,2\n1,2,3\n")


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(ParseError, match="not closed"):
        parse('a,b\n"1,2\n')


def test_nothing_is_no_table() -> None:
    with pytest.raises(ParseError, match="no header"):
        parse("\n\n")
