"""Tables in text, for programs and for people."""

from gridline.parsing import ParseError, parse
from gridline.rendering import render, to_delimited, to_markdown
from gridline.table import Table

__all__ = ["ParseError", "Table", "parse", "render", "to_delimited", "to_markdown"]
