"""Pieces of plans for the back office, and what its tasks share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentgym.tasks.sites.admin.resources import RESOURCES
from agentgym.tasks.sites.contract import (
    Case,
    Step,
    click,
    done,
    fill,
    select,
)
from agentgym.tasks.sites.look import Words

Params = Mapping[str, Any]


def search(words: Words, section: str, text: str, link: str) -> Iterator[Step]:
    """Steps to the page of a row, from any page."""
    yield click("link", words(section))
    yield fill(words("Search"), text, "searchbox")
    yield click("button", words("Filter"))
    yield click("link", link)


def save(words: Words) -> Iterator[Step]:
    """Save the form, and end."""
    yield click("button", words("Save"))
    yield done()


def filter_rows(words: Words, section: str, filters: Mapping[str, str]) -> Iterator[Step]:
    """Steps to a table with these filters, from any page."""
    yield click("link", words(section))
    for label, value in filters.items():
        yield select(words(label), words(value))
    yield click("button", words("Filter"))


def saw_filtered(case: Case, table: str, least: int = 1) -> bool:
    """Whether the table was shown with so many of the filters that the task is about."""
    columns = {column.label: column.name for column in RESOURCES[table].filters}
    wanted = {(columns[label], value) for label, value in case.params["filters"].items()}
    return any(len(wanted & set(asked.items())) >= least for asked in case.queries(f"/{table}"))
