import pytest
from gridline import Table, render
from gridline.rendering import shorten


@pytest.mark.parametrize("width", range(1, 12))
def test_what_is_cut_fits(width: int) -> None:
    short = shorten("abcdefghijkl", width)

    assert len(short) == width
    assert short.endswith("…")


def test_what_fits_is_not_cut() -> None:
    assert shorten("abcd", 4) == "abcd"


def test_blanks_before_the_ellipsis_are_dropped() -> None:
    assert shorten("paint the fence", 7) == "paint…"


def test_columns_with_cut_cells_line_up() -> None:
    table = Table(["task", "h"], [["paint the fence", "3"], ["rest", "8"]])

    assert render(table, max_width=8).splitlines() == [
        "task      h",
        "--------  -",
        "paint t…  3",
        "rest      8",
    ]


def test_a_column_is_as_wide_as_what_is_left_of_it() -> None:
    table = Table(["a", "b"], [["one two three", "x"]])

    assert render(table, max_width=5).splitlines() == ["a     b", "----  -", "one…  x"]
