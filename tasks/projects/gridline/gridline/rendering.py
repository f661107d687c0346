"""Writing tables: aligned for a terminal, as Markdown, or delimited."""

from __future__ import annotations

from collections.abc import Sequence

from gridline.parsing import QUOTE
from gridline.table import Table

ELLIPSIS = "…"


def render(table: Table, *, max_width: int | None = None) -> str:
    """The table with its columns lined up, numbers to the right, two spaces in between.

    Args:
        table: What to write.
        max_width: Cells that are longer are cut, and end in an ellipsis.
    """
    cells = [[_one_line(cell) for cell in row] for row in [table.columns, *table.rows]]
    if max_width is not None:
        cells = [[shorten(cell, max_width) for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [table.is_numeric(name) for name in table.columns]
    lines = [_line(row, widths, right) for row in cells]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def shorten(text: str, width: int) -> str:
    """`text`, cut to at most `width` characters, the last one an ellipsis if it was cut."""
    if width < 1:
        raise ValueError(f"width is {width}: it must be at least 1")
    if len(text) <= width:
        return text
    return text[: width - 1].rstrip() + ELLIPSIS


def to_markdown(table: Table) -> str:
    """The table for Markdown, numbers to the right; what Markdown would read is escaped."""
    rules = ["---:" if table.is_numeric(name) else "---" for name in table.columns]
    rows = [[_escaped(cell) for cell in row] for row in [table.columns, *table.rows]]
    lines = [f"| {' | '.join(row)} |" for row in [rows[0], rules, *rows[1:]]]
    return "\n".join(lines) + "\n"


def to_delimited(table: Table, delimiter: str = ",") -> str:
    """The table so that `parse` reads the same table again."""
    lines = [
        delimiter.join(_quoted(cell, delimiter) for cell in row)
        for row in [table.columns, *table.rows]
    ]
    return "\n".join(lines) + "\n"


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(row, widths, right, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _one_line(cell: str) -> str:
    return " ".join(cell.splitlines())


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")


def _quoted(cell: str, delimiter: str) -> str:
    plain = cell == cell.strip() and not any(mark in cell for mark in (delimiter, QUOTE, "\n"))
    if plain and cell:
        return cell
    return QUOTE + cell.replace(QUOTE, QUOTE * 2) + QUOTE
