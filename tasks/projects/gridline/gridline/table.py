"""The table: named columns, and rows of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence


def as_number(text: str) -> float | None:
    """The number that a cell shows: with a sign, thousands separators or a % sign, or None."""
    digits = text.strip().replace(",", "").removesuffix("%")
    try:
        number = float(digits)
    except ValueError:
        return None
    return number if digits.lstrip("+-")[:1] in set("0123456789.") else None


class Table:
    """Rows of cells under named columns; methods return new tables.

    Raises:
        ValueError: Two columns have one name, or a row has another length than the header.
    """

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self.columns = list(columns)
        self.rows = [list(row) for row in rows]
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"two columns have one name: {', '.join(self.columns)}")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{len(row)} cells in a row of {len(self.columns)} columns")

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, str]]:
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))

    def column(self, name: str) -> list[str]:
        """The cells of a column.

        Raises:
            KeyError: There is no such column.
        """
        place = self._place(name)
        return [row[place] for row in self.rows]

    def is_numeric(self, name: str) -> bool:
        """Whether a column shows numbers: in every cell that is not empty, and at least in one."""
        filled = [cell for cell in self.column(name) if cell.strip()]
        return bool(filled) and all(as_number(cell) is not None for cell in filled)

    def select(self, *names: str) -> Table:
        """Some columns, in the order given."""
        places = [self._place(name) for name in names]
        return Table(names, ([row[place] for place in places] for row in self.rows))

    def where(self, keep: Callable[[dict[str, str]], bool]) -> Table:
        """The rows for which `keep` is true."""
        return Table(self.columns, ([*row.values()] for row in self if keep(row)))

    def sort(self, name: str, *, descending: bool = False) -> Table:
        """Rows by a column, as numbers if it shows numbers; rows that are equal keep their order.

        Empty cells come last, whichever way.
        """
        place = self._place(name)
        numeric = self.is_numeric(name)

        def key(row: list[str]) -> tuple[float, str]:
            return (as_number(row[place]) or 0.0, "") if numeric else (0.0, row[place].casefold())

        filled = [row for row in self.rows if row[place].strip()]
        empty = [row for row in self.rows if not row[place].strip()]
        return Table(self.columns, sorted(filled, key=key, reverse=descending) + empty)

    def total(self, name: str) -> float:
        """The sum of the numbers of a column; cells that show none count as nothing."""
        return sum(as_number(cell) or 0.0 for cell in self.column(name))

    def _place(self, name: str) -> int:
        if name not in self.columns:
            raise KeyError(f"no column {name!r}: there is {', '.join(self.columns)}")
        return self.columns.index(name)
