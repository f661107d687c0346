"""Reading delimited text: fields between delimiters, in quotes where they need it."""

from __future__ import annotations

from gridline.table import Table

QUOTE = '"'


class ParseError(ValueError):
    """Text that is no table; `line` says where, from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


def parse(text: str, delimiter: str = ",") -> Table:
    """Read a table whose first record names the columns.

    A field in quotes may hold delimiters, line ends and, written twice, quotes. Blank lines are
    skipped; records that are too short are filled up with empty fields.

    Raises:
        ParseError: A quote is not closed, a record is too long, or there is no header.
    """
    records = _records(text.replace("\r\n", "\n"), delimiter)
    if not records:
        raise ParseError(1, "there is no header")
    header = records[0][1]
    rows = []
    for line, record in records[1:]:
        if len(record) > len(header):
            raise ParseError(line, f"{len(record)} fields under {len(header)} columns")
        rows.append(record + [""] * (len(header) - len(record)))
    return Table(header, rows)


def _records(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Records with the lines on which they begin."""
    records: list[tuple[int, list[str]]] = []
    place = 0
    line = 1
    while place < len(text):
        first = line
        fields = []
        while True:
            field, place, ends = _field(text, place, delimiter, line)
            line += ends
            fields.append(field)
            if place >= len(text) or text[place] == "\n":
                break
            place += 1  # the delimiter
            if place == len(text):
                fields.append("")
                break
        place += 1
        line += 1
        if fields != [""]:
            records.append((first, fields))
    return records


def _field(text: str, place: int, delimiter: str, line: int) -> tuple[str, int, int]:
    """A field, where it ends, and how many line ends are in it."""
    if not text.startswith(QUOTE, place):
        end = place
        while end < len(text) and text[end] not in (delimiter, "\n"):
            end += 1
        return text[place:end].strip(), end, 0
    parts = []
    while True:
        end = text.find(QUOTE, place + 1)
        if end < 0:
            raise ParseError(line, "a quote is not closed")
        parts.append(text[place + 1 : end])
        place = end + 1
        if not text.startswith(QUOTE, place):
            break
    value = QUOTE.join(parts)
    while place < len(text) and text[place] == " ":
        place += 1
    if place < len(text) and text[place] not in (delimiter, "\n"):
        raise ParseError(line + value.count("\n"), f"{text[place]!r} after a closing quote")
    return value, place, value.count("\n")
