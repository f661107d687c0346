"""An online shop: what it sells is invented, who shops is signed in already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentgym.tasks.sites.core import Site
from agentgym.tasks.sites.shop import data, tasks_account, tasks_buy, tasks_orders

if TYPE_CHECKING:
    from agentgym.tasks.sites.web import Pages


def _pages() -> Pages:
    # starlette and jinja2 are needed to serve the pages only.
    from agentgym.tasks.sites.shop import pages

    return pages.PAGES


SITE = Site(
    "shop",
    Path(__file__).parent,
    data.generate,
    data.inject,
    (*tasks_buy.TEMPLATES, *tasks_orders.TEMPLATES, *tasks_account.TEMPLATES),
    _pages,
)
