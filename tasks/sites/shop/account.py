"""The customer's own pages: orders, returns, addresses, details."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from agentgym.tasks.sites.database import Row
from agentgym.tasks.sites.shop.data import REASONS
from agentgym.tasks.sites.web import NotFound, Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

FIELDS = ("label", "name", "street", "city", "postcode", "country")
"""Of an address."""


def account(visit: Visit, errors: dict[str, str] | None = None) -> Response:
    """Details, addresses, and the way to the rest."""
    mine = visit.one("SELECT * FROM account WHERE id = 1")
    return visit.render(
        "account.html",
        422 if errors else 200,
        mine=visit.form if errors else mine,
        addresses=visit.rows("SELECT * FROM addresses ORDER BY id"),
        errors=errors or {},
    )


def change_details(visit: Visit) -> Response:
    """Save name, e-mail, telephone and the newsletter."""
    name, email, phone = (visit.text(field, 100) for field in ("name", "email", "phone"))
    errors = {}
    if not name:
        errors["name"] = "Please fill this in."
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        errors["email"] = "This is no e-mail address."
    if not re.fullmatch(r"\+?[0-9 ()-]{6,30}", phone):
        errors["phone"] = "This is no telephone number."
    if errors:
        return account(visit, errors)
    newsletter = int(visit.text("newsletter") == "1")
    sql = "UPDATE account SET name = ?, email = ?, phone = ?, newsletter = ? WHERE id = 1"
    visit.db.execute(sql, (name, email, phone, newsletter))
    visit.note("Your details have been saved.")
    return visit.redirect("/account")


def address(visit: Visit, id: int) -> Response:
    """The form of an address; 0 is a new one."""
    form: Any = dict.fromkeys(FIELDS, "")
    if id:
        form = visit.one("SELECT * FROM addresses WHERE id = ?", id)
    return visit.render("address.html", id=id, form=form, errors={})


def save_address(visit: Visit, id: int) -> Response:
    """Save an address."""
    if id:
        visit.one("SELECT id FROM addresses WHERE id = ?", id)
    values = {field: visit.text(field, 100) for field in FIELDS}
    errors = {field: "Please fill this in." for field, value in values.items() if not value}
    if errors:
        return visit.render("address.html", 422, id=id, form=values, errors=errors)
    if id:
        sets = ", ".join(f"{field} = ?" for field in FIELDS)
        visit.db.execute(f"UPDATE addresses SET {sets} WHERE id = ?", (*values.values(), id))
    else:
        sql = f"INSERT INTO addresses ({', '.join(FIELDS)}) VALUES (?, ?, ?, ?, ?, ?)"
        visit.db.execute(sql, tuple(values.values()))
    visit.note("The address has been saved.")
    return visit.redirect("/account")


def delete_address(visit: Visit, id: int) -> Response:
    """Forget an address."""
    visit.one("SELECT id FROM addresses WHERE id = ?", id)
    visit.db.execute("DELETE FROM addresses WHERE id = ?", (id,))
    visit.note("The address has been deleted.")
    return visit.redirect("/account")


def orders(visit: Visit) -> Response:
    """All orders, newest first."""
    found = visit.rows("SELECT * FROM orders ORDER BY date DESC, id DESC")
    for one in found:
        one["lines"] = _lines(visit, one["id"])
    return visit.render("orders.html", found=found)


def _lines(visit: Visit, id: int) -> list[Row]:
    lines = visit.rows(
        "SELECT order_items.*, products.name, kind, hue FROM order_items "
        "JOIN products ON products.id = product_id WHERE order_id = ? ORDER BY order_items.id",
        id,
    )
    for line in lines:
        line["chosen"] = json.loads(line["chosen"])
    return lines


def order(visit: Visit, number: str) -> Response:
    """One order."""
    found = visit.one("SELECT * FROM orders WHERE number = ?", number)
    return visit.render("order.html", order=found, lines=_lines(visit, found["id"]))


def cancel(visit: Visit, number: str) -> Response:
    """Cancel an order that has not left."""
    found = visit.one("SELECT * FROM orders WHERE number = ?", number)
    if found["status"] == "Processing":
        visit.db.execute("UPDATE orders SET status = 'Cancelled' WHERE id = ?", (found["id"],))
        visit.note("Order {name} has been cancelled.", name=number)
    else:
        visit.note("Order {name} can no longer be cancelled.", name=number)
    return visit.redirect(f"/orders/{number}")


def _returned(visit: Visit, number: str, id: int) -> dict[str, Any]:
    found = visit.one("SELECT * FROM orders WHERE number = ? AND status = 'Delivered'", number)
    for line in _lines(visit, found["id"]):
        if (line["id"], line["status"]) == (id, "Ordered"):
            return {"order": found, "line": line, "reasons": REASONS}
    raise NotFound


def send_back(visit: Visit, number: str, id: int) -> Response:
    """The form to return an item with."""
    return visit.render("return.html", errors={}, **_returned(visit, number, id))


def request_return(visit: Visit, number: str, id: int) -> Response:
    """Ask for a return."""
    shown, reason = _returned(visit, number, id), visit.text("reason")
    if reason not in REASONS:
        return visit.render("return.html", 422, errors={"reason": "Please choose."}, **shown)
    sql = "UPDATE order_items SET status = 'Return requested', reason = ? WHERE id = ?"
    visit.db.execute(sql, (reason, id))
    visit.note("We have your request. A label is on its way to you.")
    return visit.redirect(f"/orders/{number}")


PAGES = [
    Page("/account", account),
    Page("/account", change_details, "POST"),
    Page("/account/addresses/{id:int}", address),
    Page("/account/addresses/{id:int}", save_address, "POST"),
    Page("/account/addresses/{id:int}/delete", delete_address, "POST"),
    Page("/orders", orders),
    Page("/orders/{number}", order),
    Page("/orders/{number}/cancel", cancel, "POST"),
    Page("/orders/{number}/return/{id:int}", send_back),
    Page("/orders/{number}/return/{id:int}", request_return, "POST"),
]
