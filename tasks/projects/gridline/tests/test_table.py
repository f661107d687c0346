import pytest
from gridline import Table
from gridline.table import as_number


@pytest.fixture
def tools() -> Table:
    rows = [["saw", "9.50", "hand"], ["Drill", "120", "power"], ["hammer", "12", "hand"]]
    return Table(["name", "price", "kind"], rows)


def test_rows_are_read_by_column(tools: Table) -> None:
    assert next(iter(tools)) == {"name": "saw", "price": "9.50", "kind": "hand"}


def test_columns_are_chosen_in_order(tools: Table) -> None:
    assert tools.select("kind", "name").rows[0] == ["hand", "saw"]


def test_rows_are_chosen(tools: Table) -> None:
    assert tools.where(lambda row: row["kind"] == "hand").column("name") == ["saw", "hammer"]


def test_numbers_are_sorted_as_numbers(tools: Table) -> None:
    assert tools.sort("price").column("price") == ["9.50", "12", "120"]


def test_text_is_sorted_whatever_its_case(tools: Table) -> None:
    assert tools.sort("name").column("name") == ["Drill", "hammer", "saw"]


def test_sorting_downwards(tools: Table) -> None:
    assert tools.sort("price", descending=True).column("name") == ["Drill", "hammer", "saw"]


def test_a_column_is_summed(tools: Table) -> None:
    assert tools.total("price") == 141.5


def test_columns_of_text_are_not_numeric(tools: Table) -> None:
    assert tools.is_numeric("price")
    assert not tools.is_numeric("name")


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12.0), (" 7 ", 7.0), ("1.5", 1.5), ("40%", 40.0), ("n/a", None), ("nan", None)],
)
def test_cells_are_read_as_numbers(text: str, number: float | None) -> None:
    assert as_number(text) == number


def test_there_must_be_such_a_column(tools: Table) -> None:
    with pytest.raises(KeyError, match="no column 'colour'"):
        tools.column("colour")


def test_names_of_columns_are_unique() -> None:
    with pytest.raises(ValueError, match="one name"):
        Table(["a", "a"], [])


def test_rows_must_fit() -> None:
    with pytest.raises(ValueError, match="1 cells"):
        Table(["a", "b"], [["1"]])
