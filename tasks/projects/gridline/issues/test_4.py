from gridline import Table, to_markdown


def first_row(table: Table) -> str:
    return to_markdown(table).splitlines()[2]


def test_bars_in_names_of_columns_are_escaped() -> None:
    assert to_markdown(Table(["in|out"], [])).splitlines()[0] == r"| in\|out |"


def test_bars_in_cells_are_escaped() -> None:
    assert first_row(Table(["a"], [["x|y"]])) == r"| x\|y |"


def test_backslashes_are_written_twice() -> None:
    assert first_row(Table(["a"], [["C:\\tools"]])) == r"| C:\\tools |"


def test_a_backslash_before_a_bar() -> None:
    assert first_row(Table(["a"], [["x\\|y"]])) == r"| x\\\|y |"


def test_line_ends_in_names_of_columns() -> None:
    assert to_markdown(Table(["a\nb"], [])).splitlines()[0] == "| a<br>b |"
