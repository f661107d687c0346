"""Pages of the shop to find products on, and what every page of it shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentgym.tasks.sites.database import Row
from agentgym.tasks.sites.shop import account, checkout
from agentgym.tasks.sites.shop.data import TODAY, rate
from agentgym.tasks.sites.web import Page, Pages, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

PER_PAGE = 12
ORDERS = {
    "featured": "Featured",
    "price": "Price: low to high",
    "-price": "Price: high to low",
    "rating": "Best rated",
    "newest": "Newest",
}
_SQL = {
    "featured": "(products.id * 37) % 101, products.id",
    "price": "price, products.id",
    "-price": "price DESC, products.id",
    "rating": "rating DESC, reviews DESC, products.id",
    "newest": "added DESC, products.id",
}
_FACET = "attribute "


def standing(visit: Visit) -> dict[str, Any]:
    """What the head of every page shows."""
    return {
        "categories": visit.rows("SELECT * FROM categories ORDER BY id"),
        "cart_count": visit.value("SELECT coalesce(sum(quantity), 0) FROM cart"),
        "wish_count": visit.value("SELECT count(*) FROM wishlist"),
        "customer": visit.value("SELECT name FROM account WHERE id = 1"),
        "searched": visit.query.get("q", "") if visit.path == "/search" else "",
    }


def home(visit: Visit) -> Response:
    """The way in."""
    best = visit.rows(
        f"{_PRODUCTS} WHERE stock > 0 AND reviews > 3 ORDER BY rating DESC, products.id LIMIT 4"
    )
    new = visit.rows(f"{_PRODUCTS} WHERE stock > 0 ORDER BY added DESC, products.id LIMIT 4")
    return visit.render("home.html", best=best, new=new)


_PRODUCTS = (
    "SELECT products.*, categories.slug, categories.name AS category "
    "FROM products JOIN categories ON categories.id = category_id"
)


def search(visit: Visit) -> Response:
    """Products that match words and filters."""
    query = visit.query
    category = None
    if slug := query.get("category"):
        category = visit.one("SELECT * FROM categories WHERE slug = ?", slug)
    where, values = _conditions(visit, category)
    order = query.get("sort", "featured")
    total = int(visit.value(f"SELECT count(*) FROM ({_PRODUCTS} WHERE {where})", *values))
    last = max(1, -(-total // PER_PAGE))
    page = min(last, visit.number("page", 1, 10_000, "query") or 1)
    found = visit.rows(
        f"{_PRODUCTS} WHERE {where} ORDER BY {_SQL.get(order, _SQL['featured'])} LIMIT ? OFFSET ?",
        *values,
        PER_PAGE,
        (page - 1) * PER_PAGE,
    )
    return visit.render(
        "search.html",
        found=found,
        total=total,
        page=page,
        last=last,
        category=category,
        facets=_facets(visit, category),
        chosen={name[len(_FACET) :]: v for name, v in query.items() if name.startswith(_FACET)},
        orders=ORDERS,
        order=order,
    )


def _conditions(visit: Visit, category: Row | None) -> tuple[str, list[Any]]:
    where, values = ["1"], list[Any]()
    if category is not None:
        where.append("category_id = ?")
        values.append(category["id"])
    for word in visit.query.get("q", "")[:200].lower().split()[:12]:
        where.append(
            "(instr(lower(products.name || ' ' || kind || ' ' || categories.name), ?) OR EXISTS "
            "(SELECT 1 FROM attributes WHERE product_id = products.id "
            "AND instr(lower(attributes.value), ?)))"
        )
        values += [word, word]
    for name, value in visit.query.items():
        if name.startswith(_FACET) and value:
            where.append(
                "EXISTS (SELECT 1 FROM attributes WHERE product_id = products.id "
                "AND attributes.name = ? AND attributes.value = ?)"
            )
            values += [name[len(_FACET) :], value]
    if (highest := visit.number("max_price", 0, 1_000_000, "query")) is not None:
        where.append("price <= ?")
        values.append(highest * 100)
    if (lowest := visit.number("min_rating", 1, 5, "query")) is not None:
        where.append("rating >= ?")
        values.append(lowest)
    if visit.query.get("in_stock"):
        where.append("stock > 0")
    return " AND ".join(where), values


def _facets(visit: Visit, category: Row | None) -> dict[str, list[str]]:
    if category is None:
        return {}
    facets: dict[str, list[str]] = {}
    for row in visit.rows(
        "SELECT DISTINCT attributes.name, value FROM attributes JOIN products "
        "ON products.id = product_id WHERE category_id = ? ORDER BY 1, 2",
        category["id"],
    ):
        facets.setdefault(row["name"], []).append(row["value"])
    return facets


def product(visit: Visit, id: int, errors: dict[str, str] | None = None) -> Response:
    """All about one product."""
    found = visit.one(f"{_PRODUCTS} WHERE products.id = ?", id)
    choices: dict[str, list[str]] = {}
    for row in visit.rows("SELECT * FROM choices WHERE product_id = ? ORDER BY id", id):
        choices.setdefault(row["name"], []).append(row["value"])
    similar = visit.rows(
        f"{_PRODUCTS} WHERE kind = ? AND products.id != ? ORDER BY abs(price - ?), products.id "
        "LIMIT 4",
        found["kind"],
        id,
        found["price"],
    )
    return visit.render(
        "product.html",
        422 if errors else 200,
        product=found,
        attributes=visit.rows("SELECT * FROM attributes WHERE product_id = ? ORDER BY id", id),
        choices=choices,
        reviews=visit.rows(
            "SELECT * FROM reviews WHERE product_id = ? ORDER BY date DESC, id DESC", id
        ),
        similar=similar,
        wished=visit.value("SELECT 1 FROM wishlist WHERE product_id = ?", id),
        errors=errors or {},
        form=visit.form,
    )


def add_to_cart(visit: Visit, id: int) -> Response:
    """Put a product into the cart, as chosen."""
    found = visit.one("SELECT * FROM products WHERE id = ?", id)
    offered = visit.rows("SELECT name, value FROM choices WHERE product_id = ?", id)
    given = {one["name"]: visit.text(f"choice {one['name']}") for one in offered}
    chosen = {one["name"]: one["value"] for one in offered if one["value"] == given[one["name"]]}
    errors = {name: "Please choose." for name in given if name not in chosen}
    quantity = visit.number("quantity", 1, checkout.MOST)
    if quantity is None or quantity > found["stock"]:
        errors["quantity"] = "Not available in this quantity."
    if errors or quantity is None:
        return product(visit, id, errors)
    written = json.dumps(chosen, sort_keys=True)
    sql = "SELECT id, quantity FROM cart WHERE product_id = ? AND chosen = ?"
    if held := visit.rows(sql, id, written):
        more = min(checkout.MOST, held[0]["quantity"] + quantity)
        visit.db.execute("UPDATE cart SET quantity = ? WHERE id = ?", (more, held[0]["id"]))
    else:
        visit.db.execute(
            "INSERT INTO cart (product_id, chosen, quantity) VALUES (?, ?, ?)",
            (id, written, quantity),
        )
    visit.note("Added to your cart: {name}", name=found["name"])
    return visit.redirect("/cart")


def wish(visit: Visit, id: int) -> Response:
    """Put a product on the wish list, or take it off."""
    name = visit.one("SELECT name FROM products WHERE id = ?", id)["name"]
    if visit.value("SELECT 1 FROM wishlist WHERE product_id = ?", id):
        visit.db.execute("DELETE FROM wishlist WHERE product_id = ?", (id,))
        visit.note("Removed from your wish list: {name}", name=name)
    else:
        visit.db.execute("INSERT INTO wishlist (product_id) VALUES (?)", (id,))
        visit.note("On your wish list now: {name}", name=name)
    back = "/wishlist" if visit.text("back") == "wishlist" else f"/product/{id}"
    return visit.redirect(back)


def wishlist(visit: Visit) -> Response:
    """What is on the wish list."""
    found = visit.rows(
        f"{_PRODUCTS} JOIN wishlist ON wishlist.product_id = products.id ORDER BY wishlist.id"
    )
    return visit.render("wishlist.html", found=found)


def review(visit: Visit, id: int) -> Response:
    """The form to write a review in."""
    found = visit.one(f"{_PRODUCTS} WHERE products.id = ?", id)
    return visit.render("review.html", product=found, errors={}, form={})


def write_review(visit: Visit, id: int) -> Response:
    """Publish a review."""
    found = visit.one(f"{_PRODUCTS} WHERE products.id = ?", id)
    stars, title, body = (
        visit.number("stars", 1, 5),
        visit.text("title", 80),
        visit.text("body", 2000),
    )
    errors = {}
    if stars is None:
        errors["stars"] = "Choose a rating."
    if not title:
        errors["title"] = "Please fill this in."
    if not body:
        errors["body"] = "Please fill this in."
    if errors:
        return visit.render("review.html", 422, product=found, errors=errors, form=visit.form)
    author = visit.value("SELECT name FROM account WHERE id = 1")
    visit.db.execute(
        "INSERT INTO reviews (product_id, author, stars, title, body, date) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (id, author, stars, title, body, TODAY.isoformat()),
    )
    rate(visit.db, id)
    visit.note("Thank you for your review.")
    return visit.redirect(f"/product/{id}")


def about(visit: Visit) -> Response:
    """What the shop says of shipping and returns."""
    return visit.render("about.html")


PAGES = Pages(
    [
        Page("/", home),
        Page("/search", search),
        Page("/about", about),
        Page("/product/{id:int}", product),
        Page("/product/{id:int}/wish", wish, "POST"),
        Page("/product/{id:int}/review", review),
        Page("/product/{id:int}/review", write_review, "POST"),
        Page("/product/{id:int}/cart", add_to_cart, "POST"),
        Page("/wishlist", wishlist),
        *checkout.PAGES,
        *account.PAGES,
    ],
    standing,
)
