"""A back office: tables of orders, products, customers, tickets and staff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentgym.tasks.sites.admin import data, tasks_many, tasks_records, tasks_service
from agentgym.tasks.sites.core import Site

if TYPE_CHECKING:
    from agentgym.tasks.sites.web import Pages


def _pages() -> Pages:
    # starlette and jinja2 are needed to serve the pages only.
    from agentgym.tasks.sites.admin import pages

    return pages.PAGES


SITE = Site(
    "admin",
    Path(__file__).parent,
    data.generate,
    data.inject,
    (*tasks_many.TEMPLATES, *tasks_records.TEMPLATES, *tasks_service.TEMPLATES),
    _pages,
)
