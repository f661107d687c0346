"""What tasks of the shop have in common that end with an order."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from agentgym.tasks.sites.contract import (
    Case,
    Condition,
    Step,
    TaskTemplate,
    click,
    done,
    fill,
)
from agentgym.tasks.sites.database import Row, Write, deletes, inserts, updates
from agentgym.tasks.sites.look import Words
from agentgym.tasks.sites.shop.data import PAYMENTS, POSTAGE, choose

Params = Mapping[str, Any]


def read_product(db: sqlite3.Connection, id: int) -> dict[str, Any]:
    """A product with its attributes, and the names of its category."""
    row = db.execute(
        "SELECT products.*, categories.name AS category FROM products "
        "JOIN categories ON categories.id = category_id WHERE products.id = ?",
        (id,),
    ).fetchone()
    attributes = db.execute("SELECT name, value FROM attributes WHERE product_id = ?", (id,))
    return {**dict(row), "attributes": dict(map(tuple, attributes))}


def in_stock(db: sqlite3.Connection) -> list[int]:
    """Ids of products of which there are a few."""
    found = db.execute("SELECT id FROM products WHERE stock >= 6 ORDER BY id")
    return [id for (id,) in found]


def with_values(chosen: Mapping[str, str]) -> str:
    """What was chosen, in words: `Colour black and Size S`."""
    return " and ".join(f"{name} {value}" for name, value in sorted(chosen.items()))


def find(words: Words, name: str) -> Iterator[Step]:
    """Steps to a product by its name, from any page."""
    yield fill(words("Search products"), name, "searchbox")
    yield click("button", words("Search"))
    yield click("link", name)


def put_in_cart(words: Words, chosen: Mapping[str, str], quantity: int) -> Iterator[Step]:
    """Steps from a product's page to the cart."""
    for value in chosen.values():
        yield click("radio", words(value))
    if quantity != 1:
        yield fill(words("Quantity"), quantity, "spinbutton")
    yield click("button", words("Add to cart"))


def pay(words: Words, params: Params) -> Iterator[Step]:
    """Steps from the cart to the order, and the end."""
    yield click("link", words("Go to checkout"))
    for name in ("address", "shipping", "payment"):
        if name in params:
            value = params[name]
            yield click("radio", value if name == "address" else words(value))
    yield click("button", words("Place order"))
    yield done()


def ordered(case: Case) -> tuple[Row | None, list[Row]]:
    """The one new order, if it is one, and its lines."""
    orders = case.inserted("orders")
    return (orders[0] if len(orders) == 1 else None), case.inserted("order_items")


class Buying(TaskTemplate):
    """What tasks that buy have in common: delivery, and what an order may write."""

    def draw_delivery(self, rng: random.Random) -> dict[str, str]:
        """Where to and how; each is asked for in most tasks."""
        drawn = {
            "address": rng.choice(("Home", "Work", "Parents")),
            "shipping": rng.choice(list(POSTAGE)),
            "payment": rng.choice(PAYMENTS),
        }
        return {name: value for name, value in drawn.items() if rng.random() < 0.7}

    def told_delivery(self, params: Params) -> str:
        """The delivery, in words."""
        parts = []
        if "address" in params:
            parts.append(f"have it sent to the address {params['address']!r}")
        if "shipping" in params:
            parts.append(f"choose {params['shipping']} as shipping method")
        if "payment" in params:
            parts.append(f"pay by {params['payment']}")
        return f" At the checkout, {', '.join(parts)}." if parts else ""

    def delivery(self, case: Case, order: Row | None) -> list[Condition]:
        """Whether the order stands, leaves nothing behind, and goes where and how it should."""
        order = order or {}
        left = case.db.execute("SELECT count(*) FROM cart").fetchone()[0]
        conditions = [
            ("not cancelled", order.get("status") == "Processing"),
            ("an empty cart", left == 0),
        ]
        if "address" in case.params:
            sql = "SELECT name, street, city, postcode, country FROM addresses WHERE label = ?"
            row = case.base.execute(sql, (case.params["address"],)).fetchone()
            conditions.append(("address", order.get("address") == ", ".join(row)))
        asked = [name for name in ("shipping", "payment") if name in case.params]
        return [*conditions, *((name, order.get(name) == case.params[name]) for name in asked)]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """An order with its lines; the cart that it came from; stock of what was ordered."""
        bought = [row["product_id"] for row in case.inserted("order_items")]
        return [
            *inserts("orders", "order_items", "cart"),
            *deletes("cart"),
            *updates("products", bought, "stock"),
        ]

    def milestones(self, case: Case) -> Sequence[Condition]:
        """On the way to the order."""
        order, lines = ordered(case)
        held = case.db.execute("SELECT count(*) FROM cart").fetchone()[0]
        return [
            ("looked for products", case.saw("/search") or case.saw("/cart") or bool(lines)),
            ("cart filled", bool(held or lines)),
            ("at the checkout", case.saw("/checkout") or bool(lines)),
            ("ordered", order is not None),
            ("ordered as asked", self.check(case, "").success),
        ]

    def otherwise(self, case: Case, product: int, chosen: Mapping[str, str]) -> dict[str, str]:
        """The same but for one value."""
        name = next(iter(chosen))
        row = case.base.execute(
            "SELECT value FROM choices WHERE product_id = ? AND name = ? AND value != ?",
            (product, name, chosen[name]),
        ).fetchone()
        return {**chosen, name: row[0]}

    def other(self, case: Case, id: int) -> dict[str, Any]:
        """A product much like this one, that is not it, with something chosen."""
        row = case.base.execute(
            "SELECT id FROM products WHERE id != ? AND stock >= 6 AND category_id = "
            "(SELECT category_id FROM products WHERE id = ?) ORDER BY abs(id - ?), id",
            (id, id, id),
        ).fetchone()
        chosen = choose(case.base, random.Random(0), row[0])
        return {"product": row[0], "name": read_product(case.base, row[0])["name"]} | {
            "chosen": chosen
        }
