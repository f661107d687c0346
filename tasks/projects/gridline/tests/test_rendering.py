from gridline import Table, parse, render, to_delimited, to_markdown

TOOLS = Table(["name", "price"], [["saw", "9.50"], ["hammer", "12"]])


def test_columns_line_up_and_numbers_are_to_the_right() -> None:
    assert render(TOOLS).splitlines() == [
        "name    price",
        "------  -----",
        "saw      9.50",
        "hammer     12",
    ]


def test_a_table_without_rows() -> None:
    assert render(Table(["a", "bc"], [])) == "a  bc\n-  --\n"


def test_cells_of_several_lines_are_put_on_one() -> None:
    assert "one two" in render(Table(["a"], [["one\ntwo"]]))


def test_markdown() -> None:
    assert to_markdown(TOOLS).splitlines() == [
        "| name | price |",
        "| --- | ---: |",
        "| saw | 9.50 |",
        "| hammer | 12 |",
    ]


def test_markdown_has_line_ends_of_its_own() -> None:
    assert "one<br>two" in to_markdown(Table(["a"], [["one\ntwo"]]))


def test_delimited_text_is_quoted_where_need_be() -> None:
    table = Table(["a", "b"], [["1,5", "plain"], ["two\nlines", ""]])

    assert to_delimited(table) == 'a,b\n"1,5",plain\n"two\nlines",""\n'


def test_what_is_written_can_be_read() -> None:
    table = Table(["a", "b"], [["x, y", " padded "], ["", "z"]])

    assert parse(to_delimited(table)).rows == table.rows
