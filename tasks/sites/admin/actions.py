"""What can be done to one order, customer or ticket besides editing its fields."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentgym.tasks.sites.admin.data import REFUND_REASONS, TODAY
from agentgym.tasks.sites.database import Row
from agentgym.tasks.sites.web import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

WITH_MORE = ("orders", "customers", "tickets")
"""Tables whose rows have a template of their own."""


def order_more(visit: Visit, row: Row) -> dict[str, Any]:
    """What an order's page shows besides its fields."""
    lines = visit.rows(
        "SELECT order_lines.*, name, sku FROM order_lines "
        "JOIN products ON products.id = product_id WHERE order_id = ? ORDER BY order_lines.id",
        row["id"],
    )
    refunds = visit.rows("SELECT * FROM refunds WHERE order_id = ? ORDER BY id", row["id"])
    left = row["total"] - sum(refund["amount"] for refund in refunds)
    return {"lines": lines, "refunds": refunds, "left": left, "reasons": REFUND_REASONS}


def customer_more(visit: Visit, row: Row) -> dict[str, Any]:
    """What a customer's page shows besides their fields."""
    sql = "SELECT * FROM {} WHERE customer_id = ? ORDER BY id DESC LIMIT 8"
    return {name: visit.rows(sql.format(name), row["id"]) for name in ("orders", "tickets")}


def ticket_more(visit: Visit, row: Row) -> dict[str, Any]:
    """What a ticket's page shows besides its fields."""
    return {
        "replies": visit.rows("SELECT * FROM replies WHERE ticket_id = ? ORDER BY id", row["id"])
    }


def nothing_more(visit: Visit, row: Row) -> dict[str, Any]:
    """Other pages show the fields alone."""
    return {}


RELATED: dict[str, Callable[[Visit, Row], dict[str, Any]]] = {
    "orders": order_more,
    "customers": customer_more,
    "tickets": ticket_more,
    "products": nothing_more,
    "staff": nothing_more,
}


def refund(visit: Visit, id: int) -> Response:
    """Pay back some or all of an order."""
    row = visit.one("SELECT * FROM orders WHERE id = ?", id)
    left, reason = order_more(visit, row)["left"], visit.text("reason")
    amount, given = 0, visit.text("amount", 20)
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{2})?", given, re.ASCII):
        amount = round(float(given) * 100)
    if not 0 < amount <= left:
        visit.note("Not refunded: give an amount up to what is left.")
    elif reason not in REFUND_REASONS:
        visit.note("Not refunded: choose a reason.")
    else:
        sql = "INSERT INTO refunds (order_id, amount, reason, date) VALUES (?, ?, ?, ?)"
        visit.db.execute(sql, (id, amount, reason, TODAY.isoformat()))
        if amount == left:
            visit.db.execute("UPDATE orders SET status = 'Refunded' WHERE id = ?", (id,))
        visit.note("The refund has been made.")
    return visit.redirect(f"/orders/{id}")


def merge(visit: Visit, id: int) -> Response:
    """Give a customer the orders and tickets of another, who is deleted."""
    visit.one("SELECT id FROM customers WHERE id = ?", id)
    found = re.fullmatch(r"C-([0-9]{1,9})", visit.text("number", 20), re.ASCII)
    other = int(found[1]) if found else 0
    if other == id or not visit.value("SELECT 1 FROM customers WHERE id = ?", other):
        visit.note("Not merged: give the number of another customer, like C-1001.")
        return visit.redirect(f"/customers/{id}")
    for table in ("orders", "tickets"):
        visit.db.execute(f"UPDATE {table} SET customer_id = ? WHERE customer_id = ?", (id, other))
    visit.db.execute("DELETE FROM customers WHERE id = ?", (other,))
    visit.note("C-{number} has been merged into this customer.", number=other)
    return visit.redirect(f"/customers/{id}")


def reply(visit: Visit, id: int) -> Response:
    """Answer a ticket."""
    visit.one("SELECT id FROM tickets WHERE id = ?", id)
    if body := visit.text("body", 2000):
        author = visit.value("SELECT name FROM staff WHERE id = 1")
        sql = "INSERT INTO replies (ticket_id, author, body, date) VALUES (?, ?, ?, ?)"
        visit.db.execute(sql, (id, author, body, TODAY.isoformat()))
        visit.note("Your reply has been sent.")
    else:
        visit.note("Nothing was sent: the reply is empty.")
    return visit.redirect(f"/tickets/{id}")


PAGES = [
    Page("/orders/{id:int}/refund", refund, "POST"),
    Page("/customers/{id:int}/merge", merge, "POST"),
    Page("/tickets/{id:int}/reply", reply, "POST"),
]
