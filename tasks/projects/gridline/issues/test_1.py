import pytest
from gridline import Table, parse, to_delimited


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ('"3/4"""', '3/4"'),
        ('"""so-called"" tool"', '"so-called" tool'),
        ('""""', '"'),
        ('""""""', '""'),
        ('"a"",""b"', 'a","b'),
    ],
)
def test_a_quote_is_written_twice(field: str, value: str) -> None:
    assert parse(f"name,size\n{field},20\n").rows == [[value, "20"]]


def test_an_empty_field_in_quotes_is_empty() -> None:
    assert parse('name,size\n"",20\n').rows == [["", "20"]]


def test_what_is_written_is_read_again() -> None:
    rows = [['3/4"', '"quoted"'], ['"', "plain"], ['"\n"', '","']]

    assert parse(to_delimited(Table(["a", "b"], rows))).rows == rows
