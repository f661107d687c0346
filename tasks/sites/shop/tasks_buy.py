"""Tasks of the shop that end with an order."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentgym.tasks.sites.contract import (
    Case,
    Goal,
    Step,
    Verdict,
    click,
    done,
    fill,
    select,
    verdict,
)
from agentgym.tasks.sites.database import Row, Write, deletes, inserts, updates
from agentgym.tasks.sites.shop.buying import (
    Buying,
    Params,
    find,
    in_stock,
    ordered,
    pay,
    put_in_cart,
    read_product,
    with_values,
)
from agentgym.tasks.sites.shop.data import choose


class Buy(Buying):
    """A product by its attributes and options, under a price: WebShop's kind of task."""

    name = "buy"
    parts = ("type", "attributes", "options", "price", "webshop", "graded")

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """Ask for what one product is; any other that fits is as good."""
        target = read_product(db, rng.choice(in_stock(db)))
        chosen = choose(db, rng, target["id"])
        cap = -(-target["price"] // 1000) * 10 + rng.choice((0, 10, 20))
        params = {
            "product": target["id"],
            "name": target["name"],
            "kind": target["kind"],
            "category_id": target["category_id"],
            "attributes": target["attributes"],
            "chosen": chosen,
            "cap": cap,
            "quantity": 1,
            **self.draw_delivery(rng),
        }
        wanted = ", ".join(f"{name}: {value}" for name, value in target["attributes"].items())
        text = (
            f"Buy one {target['kind']} ({wanted}), in {with_values(chosen)}, for ${cap} or less. "
            f"Order nothing else.{self.told_delivery(params)}"
        )
        return Goal(text, params)

    def fits(self, case: Case, line: Row) -> dict[str, float]:
        """How near what was ordered comes to what was asked for.

        Source: WebShop (Yao et al. 2022), section 3 and `goal.py` of its code: r = r_type *
        (attributes + options hit + [price <= cap]) / (|attributes| + |options| + 1). r_type is 1
        for the same kind, 0.5 for another of the category, 0.1 for another category; WebShop
        decides it by words of the titles.
        """
        params, product = case.params, read_product(case.base, line["product_id"])
        kind = 1.0 if product["kind"] == params["kind"] else 0.5
        if product["category_id"] != params["category_id"]:
            kind = 0.1
        chosen = json.loads(line["chosen"])
        hits = sum(product["attributes"].get(n) == v for n, v in params["attributes"].items())
        options = sum(chosen.get(name) == value for name, value in params["chosen"].items())
        price = float(product["price"] <= params["cap"] * 100)
        asked = len(params["attributes"]) + len(params["chosen"]) + 1
        return {
            "type": kind,
            "attributes": hits / len(params["attributes"]),
            "options": options / len(params["chosen"]),
            "price": price,
            "webshop": kind * (hits + options + price) / asked,
        }

    def check(self, case: Case, answer: str) -> Verdict:
        """One piece of a product that fits in every respect."""
        order, lines = ordered(case)
        found = [self.fits(case, line) for line in lines]
        nothing = dict.fromkeys(self.parts, 0.0)
        best = max(found, key=lambda parts: parts["webshop"], default=nothing)
        besides = [
            ("one order", order is not None),
            ("of one product", len(lines) == 1 and lines[0]["quantity"] == 1),
            *self.delivery(case, order),
        ]
        # Shared among the lines: else who orders all there is has the right one among them.
        met = sum(holds for _, holds in besides) / len(besides)
        graded = best["webshop"] / max(1, len(lines)) * met
        return verdict(
            *besides[:2],
            ("that fits", best["webshop"] == 1.0),
            *besides[2:],
            parts={**best, "graded": graded},
        )

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Look for the product it was drawn from."""
        yield from find(case.words, params["name"])
        yield from put_in_cart(case.words, params["chosen"], params["quantity"])
        yield from pay(case.words, params)

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """Another product, option or quantity; one thing too many; ordered, then cancelled."""
        params = {**case.params}
        other = self.unfit(case)
        wrong = self.otherwise(case, params["product"], params["chosen"])
        steps = list(self.oracle(case, params))
        again = [*find(case.words, other["name"]), *put_in_cart(case.words, other["chosen"], 1)]
        extra = [
            *find(case.words, other["name"]),
            click("button", case.words("Add to wish list")),
        ]
        return {
            "another product": self.oracle(case, {**params, **other}),
            "another option": self.oracle(case, {**params, "chosen": wrong}),
            "two pieces": self.oracle(case, {**params, "quantity": 2}),
            "and wished for another": [*extra, *self.oracle(case, params)],
            "and left one in the cart": [*steps[:-1], *again, done()],
            "and cancelled": [*steps[:-1], click("button", case.words("Cancel order")), done()],
        }

    def unfit(self, case: Case) -> dict[str, Any]:
        """A product of another kind."""
        row = case.base.execute(
            "SELECT id FROM products WHERE kind != ? AND stock >= 6 "
            "AND id NOT IN (SELECT product_id FROM wishlist) ORDER BY id",
            (case.params["kind"],),
        ).fetchone()
        chosen = choose(case.base, random.Random(0), row[0])
        name = read_product(case.base, row[0])["name"]
        return {"product": row[0], "name": name, "chosen": chosen}


class BuyCheapest(Buying):
    """The cheapest of a kind with an attribute that people liked."""

    name = "buy-cheapest"
    _FITS = (
        "SELECT DISTINCT products.id FROM products JOIN attributes ON product_id = products.id "
        "WHERE category_id = ? AND attributes.name = ? AND value = ? AND rating >= 4 "
        "AND stock > 0 ORDER BY price, products.id"
    )

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """Draw until there are two to choose between, and one is cheaper."""
        rows = db.execute(
            "SELECT DISTINCT category_id, categories.name, attributes.name, value FROM attributes "
            "JOIN products ON products.id = product_id "
            "JOIN categories ON categories.id = category_id ORDER BY 1, 3, 4"
        ).fetchall()
        while True:
            category_id, category, name, value = rng.choice(rows)
            fits = [row[0] for row in db.execute(self._FITS, (category_id, name, value))]
            found = [read_product(db, id) for id in fits]
            if len(found) > 1 and found[0]["price"] < found[1]["price"] and found[0]["stock"] > 3:
                break
        chosen = choose(db, rng, fits[0])
        quantity = rng.randint(1, 3)
        params: dict[str, Any] = {"product": fits[0], "name": found[0]["name"]}
        params |= {"next": found[1]["name"]}
        params |= {"next_id": fits[1], "category": category, "attribute": name, "value": value}
        params |= {"chosen": chosen, "quantity": quantity, **self.draw_delivery(rng)}
        many = "one" if quantity == 1 else f"{quantity} pieces"
        text = (
            f"Order {many} of the cheapest product in {category} with {name} {value!r} that is in "
            f"stock and rated 4.0 or better, in {with_values(chosen)}; order nothing else."
            f"{self.told_delivery(params)}"
        )
        return Goal(text, params)

    def check(self, case: Case, answer: str) -> Verdict:
        """That product, as chosen, so many times."""
        order, lines = ordered(case)
        line, params = (lines[0] if len(lines) == 1 else {}), case.params
        return verdict(
            ("one order", order is not None),
            ("the cheapest that fits", line.get("product_id") == params["product"]),
            ("as chosen", json.loads(line.get("chosen", "{}")) == params["chosen"]),
            ("quantity", line.get("quantity") == params["quantity"]),
            *self.delivery(case, order),
        )

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Filter, sort by price, take the product."""
        words = case.words
        yield click("link", words(params["category"]))
        yield select(words("Sort by"), words("Price: low to high"))
        yield select(words(params["attribute"]), words(params["value"]))
        yield select(words("Rating"), words("4 stars and more"))
        yield click("checkbox", words("In stock only"))
        yield click("button", words("Apply filters"))
        yield click("link", params["name"])
        yield from put_in_cart(words, params["chosen"], params["quantity"])
        yield from pay(words, params)

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """The next cheapest; another quantity; no order."""
        params = {**case.params}
        chosen = choose(case.base, random.Random(0), params["next_id"])
        other = {"name": params["next"], "chosen": chosen}
        steps = list(self.oracle(case, params))
        return {
            "the next cheapest": self.oracle(case, {**params, **other}),
            "one more": self.oracle(case, {**params, "quantity": params["quantity"] + 1}),
            "left in the cart": [*steps[:-2], done()],
        }


class EditCart(Buying):
    """Put a full cart in order, then order it."""

    name = "edit-cart"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A cart of three, one of them not wanted, one in another quantity."""
        lines = []
        for product in rng.sample(in_stock(db), 3):
            chosen = json.dumps(choose(db, rng, product), sort_keys=True)
            line: dict[str, Any] = {"product": product, "chosen": chosen}
            line["quantity"] = rng.randint(1, 2)
            sql = "INSERT INTO cart (product_id, chosen, quantity) VALUES (?, ?, ?)"
            db.execute(sql, tuple(line.values()))
            lines.append(line | {"name": read_product(db, product)["name"]})
        changed, removed, kept = rng.sample(lines, 3)
        params: dict[str, Any] = {"changed": changed, "removed": removed, "kept": kept}
        params |= {"quantity": changed["quantity"] + rng.randint(1, 3), **self.draw_delivery(rng)}
        text = (
            f"Take the {removed['name']} out of the cart, change the quantity of the "
            f"{changed['name']} to {params['quantity']}, then order what is in the cart."
            f"{self.told_delivery(params)}"
        )
        return Goal(text, params)

    def check(self, case: Case, answer: str) -> Verdict:
        """Two lines, chosen as they were, in the right quantities."""
        order, lines = ordered(case)
        got = sorted((line["product_id"], line["chosen"], line["quantity"]) for line in lines)
        params, kept = case.params, case.params["kept"]
        changed = {**params["changed"], "quantity": params["quantity"]}
        wanted = ((line["product"], line["chosen"], line["quantity"]) for line in (changed, kept))
        return verdict(
            ("one order", order is not None),
            ("the lines as asked", got == sorted(wanted)),
            *self.delivery(case, order),
        )

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """As for every order; the cart may change, too."""
        return [*super().allowed_writes(case), *updates("cart", None, "quantity")]

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Remove, change, order."""
        words = case.words
        yield click("link", words("Cart"))
        yield click("button", words("Remove {name}", name=params["removed"]["name"]))
        name = params["changed"]["name"]
        label = words("Quantity of {name}", name=name)
        yield fill(label, params["quantity"], "spinbutton")
        yield click("button", words("Update {name}", name=name))
        yield from pay(words, params)

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """The wrong one removed; the wrong quantity or option; one step left out."""
        params, words = {**case.params}, case.words
        steps, kept = list(self.oracle(case, params)), params["kept"]
        wrong = self.otherwise(case, kept["product"], json.loads(kept["chosen"]))
        again = [*find(words, kept["name"]), *put_in_cart(words, wrong, kept["quantity"])]
        swapped = {"removed": params["kept"], "kept": params["removed"]}
        return {
            "another removed": self.oracle(case, {**params, **swapped}),
            "wrong quantity": self.oracle(case, {**params, "quantity": params["quantity"] + 1}),
            "another option": [
                steps[0],
                click("button", words("Remove {name}", name=kept["name"])),
                *again,
                *steps[1:],
            ],
            "nothing removed": [steps[0], *steps[2:]],
            "not ordered": [*steps[:4], done()],
        }


class UseCoupon(Buying):
    """Order with the coupon that is named."""

    name = "use-coupon"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A product dear enough for the coupon."""
        coupons = db.execute("SELECT code, minimum FROM coupons ORDER BY id").fetchall()
        code, minimum = rng.choice(coupons)
        target = read_product(db, rng.choice(in_stock(db)))
        quantity = max(rng.randint(1, 2), -(-minimum // target["price"]))
        while quantity > target["stock"] or quantity > 6:
            target = read_product(db, rng.choice(in_stock(db)))
            quantity = max(rng.randint(1, 2), -(-minimum // target["price"]))
        params = {"product": target["id"], "name": target["name"], "quantity": quantity}
        params |= {"chosen": choose(db, rng, target["id"]), "code": code}
        params |= self.draw_delivery(rng)
        many = "one" if quantity == 1 else f"{quantity} pieces"
        text = (
            f"Order {many} of the {target['name']} in {with_values(params['chosen'])} with the "
            f"coupon {code}; order nothing else.{self.told_delivery(params)}"
        )
        return Goal(text, params)

    def check(self, case: Case, answer: str) -> Verdict:
        """The product, with the coupon's discount."""
        order, lines = ordered(case)
        line, params = (lines[0] if len(lines) == 1 else {}), case.params
        return verdict(
            ("one order", order is not None),
            ("product", line.get("product_id") == params["product"]),
            ("as chosen", json.loads(line.get("chosen", "{}")) == params["chosen"]),
            ("quantity", line.get("quantity") == params["quantity"]),
            ("coupon", (order or {}).get("coupon") == params["code"]),
            *self.delivery(case, order),
        )

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """As for every order; the coupon in the cart goes with it."""
        return [*super().allowed_writes(case), *inserts("cart_coupon"), *deletes("cart_coupon")]

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Fill the cart, enter the code, order."""
        yield from find(case.words, params["name"])
        yield from put_in_cart(case.words, params["chosen"], params["quantity"])
        if params["code"]:
            yield fill(case.words("Coupon code"), params["code"])
            yield click("button", case.words("Apply coupon"))
        yield from pay(case.words, params)

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """No coupon; one piece too many; another product."""
        params = {**case.params}
        other = self.other(case, params["product"])
        return {
            "no coupon": self.oracle(case, {**params, "code": ""}),
            "one more": self.oracle(case, {**params, "quantity": params["quantity"] + 1}),
            "another product": self.oracle(case, {**params, **other, "code": ""}),
        }


TEMPLATES = (Buy(), BuyCheapest(), EditCart(), UseCoupon())
