import pytest
from gridline import Table


@pytest.fixture
def stock() -> Table:
    rows = [["saw", "4", "b"], ["file", "", ""], ["glue", "-2", "A"], ["nail", "4", "B"]]
    return Table(["item", "left", "shelf"], rows)


def test_empty_cells_come_after_numbers(stock: Table) -> None:
    assert stock.sort("left").column("item") == ["glue", "saw", "nail", "file"]


def test_empty_cells_come_last_downwards_too(stock: Table) -> None:
    assert stock.sort("left", descending=True).column("item") == ["saw", "nail", "glue", "file"]


def test_empty_cells_come_after_text(stock: Table) -> None:
    assert stock.sort("shelf").column("item") == ["glue", "saw", "nail", "file"]


def test_equal_rows_keep_their_order_downwards(stock: Table) -> None:
    assert stock.sort("shelf", descending=True).column("item") == ["saw", "nail", "glue", "file"]


def test_cells_of_blanks_are_empty() -> None:
    table = Table(["n"], [["  "], ["1"], ["-1"]])

    assert table.sort("n").column("n") == ["-1", "1", "  "]
