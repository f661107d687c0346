"""From the cart to the order."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from agentgym.tasks.sites.database import Row
from agentgym.tasks.sites.shop.data import PAYMENTS, POSTAGE, TODAY, place_order
from agentgym.tasks.sites.web import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

MOST = 20
"""Pieces of one product in the cart."""


def read_cart(visit: Visit) -> dict[str, Any]:
    """What is in the cart, and what it comes to without postage."""
    lines: list[Row] = visit.rows(
        "SELECT cart.*, products.name, kind, price, stock, hue FROM cart "
        "JOIN products ON products.id = product_id ORDER BY cart.id"
    )
    for line in lines:
        line["chosen"] = json.loads(line["chosen"])
    subtotal = sum(line["price"] * line["quantity"] for line in lines)
    found = visit.rows("SELECT coupons.* FROM cart_coupon JOIN coupons ON coupons.id = coupon_id")
    coupon = found[0] if found and subtotal >= found[0]["minimum"] else None
    discount = subtotal * coupon["percent"] // 100 if coupon else 0
    return {"lines": lines, "subtotal": subtotal, "coupon": coupon, "discount": discount}


def cart(visit: Visit) -> Response:
    """What is in the cart."""
    return visit.render("cart.html", error="", **read_cart(visit))


def change(visit: Visit, id: int) -> Response:
    """Another quantity of a line; 0 takes it out."""
    line = visit.one(
        "SELECT name, stock FROM cart JOIN products ON products.id = product_id WHERE cart.id = ?",
        id,
    )
    quantity = visit.number("quantity", 0, MOST)
    if quantity is None or quantity > line["stock"]:
        told = visit.episode.words("Not available in this quantity.")
        return visit.render("cart.html", 422, error=told, **read_cart(visit))
    if quantity == 0:
        return remove(visit, id)
    visit.db.execute("UPDATE cart SET quantity = ? WHERE id = ?", (quantity, id))
    visit.note("Changed: {name}", name=line["name"])
    return visit.redirect("/cart")


def remove(visit: Visit, id: int) -> Response:
    """Take a line out."""
    line = visit.one(
        "SELECT name FROM cart JOIN products ON products.id = product_id WHERE cart.id = ?", id
    )
    visit.db.execute("DELETE FROM cart WHERE id = ?", (id,))
    visit.note("Removed: {name}", name=line["name"])
    return visit.redirect("/cart")


def use_coupon(visit: Visit) -> Response:
    """Take a coupon into account, or none for an empty code."""
    code = visit.text("code", 40).upper()
    visit.db.execute("DELETE FROM cart_coupon")
    if not code:
        return visit.redirect("/cart")
    found = visit.rows("SELECT * FROM coupons WHERE code = ?", code)
    if not found:
        told = visit.episode.words("There is no such coupon.")
        return visit.render("cart.html", 422, error=told, **read_cart(visit))
    if read_cart(visit)["subtotal"] < found[0]["minimum"]:
        told = visit.episode.words("Your cart is too small for this coupon.")
        return visit.render("cart.html", 422, error=told, **read_cart(visit))
    visit.db.execute("INSERT INTO cart_coupon (coupon_id) VALUES (?)", (found[0]["id"],))
    visit.note("Coupon applied: {name}", name=code)
    return visit.redirect("/cart")


def checkout(visit: Visit, errors: dict[str, str] | None = None) -> Response:
    """Where to, how, and how it is paid."""
    held = read_cart(visit)
    if not held["lines"]:
        return visit.redirect("/cart")
    return visit.render(
        "checkout.html",
        422 if errors else 200,
        addresses=visit.rows("SELECT * FROM addresses ORDER BY id"),
        postage=POSTAGE,
        payments=PAYMENTS,
        errors=errors or {},
        form=visit.form,
        **held,
    )


def order(visit: Visit) -> Response:
    """Place the order."""
    held = read_cart(visit)
    if not held["lines"]:
        return visit.redirect("/cart")
    errors = {}
    address = visit.number("address", 1, 1_000_000)
    if not visit.value("SELECT 1 FROM addresses WHERE id = ?", address):
        errors["address"] = "Please choose."
    shipping, payment = visit.text("shipping"), visit.text("payment")
    if shipping not in POSTAGE:
        errors["shipping"] = "Please choose."
    if payment not in PAYMENTS:
        errors["payment"] = "Please choose."
    taken: Counter[int] = Counter()
    for line in held["lines"]:  # of one product there may be several, chosen differently
        taken[line["product_id"]] += line["quantity"]
    if any(taken[line["product_id"]] > line["stock"] for line in held["lines"]):
        errors["lines"] = "Not available in this quantity."
    if errors or address is None:
        return checkout(visit, errors)
    lines = [(line["product_id"], line["chosen"], line["quantity"]) for line in held["lines"]]
    coupon = held["coupon"] or {"code": "", "percent": 0}
    placed = place_order(
        visit.db,
        lines,
        date=TODAY,
        address=address,
        shipping=shipping,
        payment=payment,
        coupon=coupon["code"],
        percent=coupon["percent"],
    )
    for product, quantity in taken.items():
        visit.db.execute("UPDATE products SET stock = stock - ? WHERE id = ?", (quantity, product))
    visit.db.execute("DELETE FROM cart")
    visit.db.execute("DELETE FROM cart_coupon")
    visit.note("Thank you! Your order has been placed.")
    number = visit.value("SELECT number FROM orders WHERE id = ?", placed)
    return visit.redirect(f"/orders/{number}")


PAGES = [
    Page("/cart", cart),
    Page("/cart/coupon", use_coupon, "POST"),
    Page("/cart/{id:int}", change, "POST"),
    Page("/cart/{id:int}/remove", remove, "POST"),
    Page("/checkout", checkout),
    Page("/checkout", order, "POST"),
]
