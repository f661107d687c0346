"""Tasks of the shop about orders that were placed, and questions about what it sells."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from agentgym.tasks.sites.contract import (
    Case,
    Condition,
    Goal,
    Step,
    TaskTemplate,
    Verdict,
    click,
    done,
    is_amount,
    is_answer,
    is_count,
    select,
    verdict,
)
from agentgym.tasks.sites.database import Row, Write, updates
from agentgym.tasks.sites.look import money
from agentgym.tasks.sites.shop.buying import Params, find, in_stock, read_product
from agentgym.tasks.sites.shop.data import REASONS


def order_lines(db: sqlite3.Connection, statuses: Sequence[str]) -> list[Row]:
    """Lines of orders in these states, each with its order and product."""
    marks = ", ".join("?" * len(statuses))
    found = db.execute(
        "SELECT order_items.id, order_items.order_id, products.name, products.id AS product, "
        "orders.number, orders.status, orders.arrives, orders.total, orders.shipping "
        "FROM order_items JOIN orders ON orders.id = order_id "
        f"JOIN products ON products.id = product_id WHERE orders.status IN ({marks}) "
        "ORDER BY order_items.id",
        tuple(statuses),
    )
    return [dict(row) for row in found]


class AskAboutOrder(TaskTemplate):
    """A question that the page of an order answers."""

    name = "order-status"
    _ASKED: ClassVar = {
        "status": "what is the status of that order? Answer with the status alone",
        "arrives": "on which date did or will it arrive? Answer with the date, as YYYY-MM-DD",
        "total": "what was the total of that order? Answer with the amount alone",
        "shipping": "which shipping method was chosen? Answer with the method alone",
    }

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """Name the order by what was in it."""
        asked = rng.choice(list(self._ASKED))
        statuses = ["Delivered", "Shipped", "Processing"]
        if asked == "status":  # most were delivered: each is the answer as often
            statuses = [rng.choice(statuses)]
        line = rng.choice(order_lines(db, statuses))
        text = f"You once ordered the {line['name']}: {self._ASKED[asked]}."
        expected = line[asked]
        params = {"asked": asked, "expected": expected, "number": line["number"]}
        return Goal(text, params)

    def check(self, case: Case, answer: str) -> Verdict:
        """The answer, in English or as the site says it; not guessed without a look."""
        asked, expected = case.params["asked"], case.params["expected"]
        right = is_answer(answer, expected, case.words(str(expected)))
        if asked == "total":
            right = is_amount(answer, expected)
        return verdict(("answer", right), ("looked it up", case.saw("/orders")))

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The list, then the order."""
        return [
            ("orders opened", case.saw("/orders")),
            ("order opened", case.saw(f"/orders/{case.params['number']}")),
        ]

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Open the order and say what it shows."""
        yield click("link", case.words("Orders"))
        yield click("link", params["number"])
        amount = params["asked"] == "total"
        yield done(money(params["expected"]) if amount else case.words(params["expected"]))

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """Another answer, all answers, and a right one after a deed nobody asked for."""
        params = {**case.params}
        asked, expected = params["asked"], params["expected"]
        wrong = {
            "status": "Processing" if expected != "Processing" else "Delivered",
            "arrives": "2026-03-15" if expected != "2026-03-15" else "2026-03-14",
            "total": 100 if asked != "total" else expected + 100,
            "shipping": "Express" if expected != "Express" else "Standard",
        }
        all_of_them = f"Processing, Shipped, Delivered, Express, {money(1)}"
        cheapest = case.base.execute("SELECT name FROM products ORDER BY price, id").fetchone()
        wished = [*find(case.words, cheapest[0]), click("button", case.words("Add to wish list"))]
        return {
            "another answer": self.oracle(case, {**params, "expected": wrong[asked]}),
            "every answer": [done(f"{all_of_them}, {expected}")],
            "and wished for something": [*wished, *self.oracle(case, params)],
        }


class CancelOrder(TaskTemplate):
    """Cancel what has not left yet."""

    name = "cancel-order"
    held_out = True

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """There are two orders still being processed; one is to go."""
        sql = "UPDATE orders SET status = 'Processing' WHERE status = 'Shipped'"
        db.execute(sql)
        lines = order_lines(db, ("Processing",))
        line = rng.choice(lines)
        other = next(one for one in lines if one["order_id"] != line["order_id"])
        params = {"order": line["order_id"], "number": line["number"], "other": other["number"]}
        return Goal(f"Cancel the order with the {line['name']}, and no other.", params)

    def check(self, case: Case, answer: str) -> Verdict:
        """That order is cancelled."""
        status = case.row("orders", case.params["order"]).get("status")
        return verdict(("cancelled", status == "Cancelled"))

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The list, the order, the deed."""
        return [
            ("orders opened", case.saw("/orders")),
            ("order opened", case.saw(f"/orders/{case.params['number']}")),
            ("cancelled", self.check(case, "").success),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """Its status."""
        return updates("orders", [case.params["order"]], "status")

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Open it, cancel it."""
        yield click("link", case.words("Orders"))
        yield click("link", params["number"])
        yield click("button", case.words("Cancel order"))
        yield done()

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """The other order; both; none."""
        params = {**case.params}
        steps = list(self.oracle(case, params))
        other = list(self.oracle(case, {**params, "number": params["other"]}))
        return {
            "the other order": other,
            "both orders": [*other[:-1], *steps],
            "only looked": [*steps[:-2], done()],
        }


class ReturnItem(TaskTemplate):
    """Send back one item of an order, for a reason."""

    name = "return-item"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """An item that was delivered."""
        lines = order_lines(db, ("Delivered",))
        line = rng.choice(lines)
        other = rng.choice([one for one in lines if one["id"] != line["id"]])
        params = {"item": line["id"], "number": line["number"], "name": line["name"]}
        params |= {"reason": rng.choice(REASONS)}
        params |= {"other": {"number": other["number"], "name": other["name"]}}
        text = (
            f"Ask to return the {line['name']} that you ordered; the reason is "
            f"{params['reason']!r}."
        )
        return Goal(text, params)

    def check(self, case: Case, answer: str) -> Verdict:
        """The item is on its way back, for that reason."""
        item = case.row("order_items", case.params["item"])
        return verdict(
            ("requested", item.get("status") == "Return requested"),
            ("reason", item.get("reason") == case.params["reason"]),
        )

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The order, the form, the request."""
        order = f"/orders/{case.params['number']}"
        form = f"{order}/return/{case.params['item']}"
        status = case.row("order_items", case.params["item"]).get("status")
        return [
            ("orders opened", case.saw("/orders")),
            ("order opened", case.saw(order)),
            ("form opened", case.saw(form)),
            ("requested", status == "Return requested"),
            ("reason", self.check(case, "").success),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """Its state and the reason."""
        return updates("order_items", [case.params["item"]], "status", "reason")

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Open the order, fill in the form."""
        words = case.words
        yield click("link", words("Orders"))
        yield click("link", params["number"])
        yield click("link", words("Return {name}", name=params["name"]))
        yield select(words("Reason"), words(params["reason"]))
        yield click("button", words("Request return"))
        yield done()

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """Another item; another reason; the form left unsent."""
        params = {**case.params}
        reason = next(one for one in REASONS if one != params["reason"])
        return {
            "another item": self.oracle(case, {**params, **params["other"]}),
            "another reason": self.oracle(case, {**params, "reason": reason}),
            "not sent": [*list(self.oracle(case, params))[:-2], done()],
        }


class Compare(TaskTemplate):
    """A question about four products, or about all of a category."""

    name = "compare"
    held_out = True
    _ASKED: ClassVar = {
        "the cheapest": ("price", 1),
        "the best rated": ("rating", -1),
        "the one with the most reviews": ("reviews", -1),
    }
    """Each by what column, and whether the least (1) or the most (-1) of it is meant."""

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """Four of a category, one of them ahead. Its price is asked for: names can be guessed."""
        if rng.random() < 0.3:
            return self._count(db, rng)
        asked = rng.choice(list(self._ASKED))
        column, sign = self._ASKED[asked]
        category = rng.choice(db.execute("SELECT id FROM categories ORDER BY id").fetchall())[0]
        products = [read_product(db, id) for id in in_stock(db)]
        found = [product for product in products if product["category_id"] == category]
        while True:
            four = rng.sample(found, 4)
            best, second, *_ = sorted(four, key=lambda product: sign * product[column])
            if best[column] != second[column] and len({one["price"] for one in four}) == 4:
                break
        names = {product["id"]: product["name"] for product in four}
        text = (
            f"What does {asked} of these cost: {', '.join(names.values())}? "
            "Answer with the amount alone."
        )
        params = {"expected": money(best["price"]), "wrong": money(second["price"])}
        return Goal(text, params | {"price": best["price"], "names": names, "count": None})

    def _count(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        rows = db.execute(
            "SELECT categories.name, attributes.name, value, count(*) FROM attributes "
            "JOIN products ON products.id = product_id "
            "JOIN categories ON categories.id = category_id GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ).fetchall()
        category, attribute, value, count = rng.choice(rows)
        text = (
            f"How many products in {category} have {attribute} {value!r}? "
            "Answer with the number alone."
        )
        params = {"expected": str(count), "wrong": str(count + 1), "count": count}
        filters = {"category": category, "attribute": attribute, "value": value}
        return Goal(text, params | filters)

    def check(self, case: Case, answer: str) -> Verdict:
        """The price; or the number, not guessed without a look."""
        if case.params["count"] is None:
            return verdict(("answer", is_amount(answer, case.params["price"])))
        right = is_count(answer, case.params["count"])
        return verdict(("answer", right), ("looked it up", case.saw("/search")))

    def milestones(self, case: Case) -> Sequence[Condition]:
        """Where the answer can be read."""
        if case.params["count"] is not None:
            slug = case.base.execute(
                "SELECT slug FROM categories WHERE name = ?", (case.params["category"],)
            ).fetchone()[0]
            asked = [query for query in case.queries("/search") if query.get("category") == slug]
            facet = (f"attribute {case.params['attribute']}", case.params["value"])
            filtered = any(facet in query.items() for query in asked)
            return [("category opened", bool(asked)), ("filtered", filtered)]
        names = case.params["names"].items()
        return [(f"{name} opened", case.saw(f"/product/{id}")) for id, name in names]

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Look at all four, or filter and count; then say it."""
        if params["count"] is None:
            for name in params["names"].values():
                yield from find(case.words, name)
        else:
            yield click("link", case.words(params["category"]))
            yield select(case.words(params["attribute"]), case.words(params["value"]))
            yield click("button", case.words("Apply filters"))
        yield done(params["expected"])

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """The other one; both; neither."""
        params = {**case.params}
        both = f"{params['expected']} or {params['wrong']}"
        return {
            "the other": self.oracle(case, {**params, "expected": params["wrong"]}),
            "both": self.oracle(case, {**params, "expected": both}),
            "neither": self.oracle(case, {**params, "expected": "I do not know"}),
        }


TEMPLATES = (AskAboutOrder(), ReturnItem(), CancelOrder(), Compare())
