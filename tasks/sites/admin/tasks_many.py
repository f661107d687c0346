"""Tasks of the back office over many rows: bulk edits, and questions about tables."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence

from agentgym.tasks.sites.admin.plans import Params, filter_rows, saw_filtered
from agentgym.tasks.sites.contract import (
    Case,
    Condition,
    Goal,
    Step,
    TaskTemplate,
    Verdict,
    click,
    done,
    fill,
    is_amount,
    is_count,
    select,
    verdict,
)
from agentgym.tasks.sites.database import Write, updates
from agentgym.tasks.sites.look import money


class BulkEdit(TaskTemplate):
    """Set one field of all rows that match two filters."""

    table: str
    section: str
    """What the table is called."""

    def targets(self, db: sqlite3.Connection, params: Params) -> list[int]:
        """Ids of the rows that are meant."""
        where = " AND ".join(f"{name} = ?" for name in params["where"])
        sql = f"SELECT id FROM {self.table} WHERE {where} ORDER BY id"
        return [row[0] for row in db.execute(sql, tuple(params["where"].values()))]

    def check(self, case: Case, answer: str) -> Verdict:
        """All of them have the value."""
        column, value = case.params["column"], case.params["value"]
        rows = [case.row(self.table, id) for id in case.params["ids"]]
        right = sum(row.get(column) == value for row in rows)
        return verdict((f"{right} of {len(rows)} rows", right == len(rows)))

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The table, a filter, some rows, all rows."""
        column, value = case.params["column"], case.params["value"]
        rows = [case.row(self.table, id) for id in case.params["ids"]]
        was = sum(
            case.base.execute(
                f"SELECT {column} = ? FROM {self.table} WHERE id = ?", (value, id)
            ).fetchone()[0]
            or 0
            for id in case.params["ids"]
        )
        return [
            ("table opened", case.saw(f"/{self.table}")),
            ("filtered", saw_filtered(case, self.table)),
            ("some changed", sum(row.get(column) == value for row in rows) > was),
            ("all changed", self.check(case, "").success),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """That field of those rows."""
        return updates(self.table, case.params["ids"], case.params["column"])

    def change(self, case: Case, params: Params) -> Iterator[Step]:
        """Steps that fill in the new value, on the table's page."""
        label = case.words("Set {name}", name=case.words(params["label"]))
        yield select(label, case.words(str(params["shown"])))

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Filter, set, apply to all."""
        yield from filter_rows(case.words, self.section, params["filters"])
        yield from self.change(case, params)
        number = params.get("number", len(params["ids"]))
        yield click("button", case.words("Apply to all {number} rows", number=number))
        yield done()

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """A filter too few; another value; all rows but one; not applied."""
        params, words = {**case.params}, case.words
        first = dict(list(params["filters"].items())[:1])
        name = next(iter(params["where"]))
        sql = f"SELECT count(*) FROM {self.table} WHERE {name} = ?"
        wider = case.base.execute(sql, (params["where"][name],)).fetchone()[0]
        steps = list(self.oracle(case, params))
        fewer = [
            *steps[:-2],
            click("checkbox", words("Select {name}", name=params["one"])),
            click("button", words("Apply to selected")),
            done(),
        ]
        return {
            "a filter too few": self.oracle(case, {**params, "filters": first, "number": wider}),
            "another value": self.oracle(case, {**params, "shown": params["wrong"]}),
            "one row only": fewer,
            "not applied": [*steps[:-2], done()],
        }


class ArchiveProducts(BulkEdit):
    """Archive what a supplier delivers of a category."""

    name = "archive-products"
    table, section = "products", "Products"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A supplier and a category with two products or more, none of them archived."""
        found = db.execute(
            "SELECT supplier, category FROM products GROUP BY 1, 2 HAVING count(*) > 1 "
            "AND count(*) < 20 AND sum(status = 'Archived') = 0 ORDER BY 1, 2"
        ).fetchall()
        supplier, category = rng.choice(found)
        params = {"where": {"supplier": supplier, "category": category}}
        ids = self.targets(db, params)
        sku = db.execute("SELECT sku FROM products WHERE id = ?", (ids[0],)).fetchone()[0]
        params |= {"filters": {"Supplier": supplier, "Category": category}}
        rest = {"ids": ids, "column": "status", "value": "Archived", "shown": "Archived"}
        rest |= {"label": "Status", "wrong": "Draft", "one": sku}
        text = (
            f"We no longer sell what {supplier} delivers in {category}: set the status of all "
            f"these products to Archived, and change nothing else."
        )
        return Goal(text, params | rest)


class Restock(BulkEdit):
    """Set the stock of what a supplier has brought."""

    name = "restock"
    table, section = "products", "Products"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A supplier with two products or more that are out of stock."""
        found = db.execute(
            "SELECT supplier, sum(stock = 0) FROM products GROUP BY 1 "
            "HAVING sum(stock = 0) > 1 ORDER BY 1"
        ).fetchall()
        supplier = rng.choice(found)[0]
        params = {"where": {"supplier": supplier, "stock": 0}}
        ids = self.targets(db, params)
        sku = db.execute("SELECT sku FROM products WHERE id = ?", (ids[0],)).fetchone()[0]
        stock = rng.choice((50, 60, 75, 80, 90))
        params |= {"filters": {"Supplier": supplier, "Stock level": "Out of stock"}}
        rest = {"ids": ids, "column": "stock", "value": stock, "shown": stock, "label": "Stock"}
        text = (
            f"A delivery from {supplier} has come: set the stock of all their products that are "
            f"out of stock to {stock}."
        )
        return Goal(text, params | rest | {"wrong": stock + 1, "one": sku})

    def change(self, case: Case, params: Params) -> Iterator[Step]:
        """A number instead of a choice."""
        label = case.words("Set {name}", name=case.words(params["label"]))
        yield fill(label, params["shown"])


class EscalateTickets(BulkEdit):
    """Make the open tickets of a topic urgent and give them to someone."""

    name = "escalate-tickets"
    table, section = "tickets", "Tickets"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A topic with open tickets that are not urgent, and someone to see to them."""
        found = db.execute(
            "SELECT topic FROM tickets WHERE status = 'Open' GROUP BY 1 HAVING count(*) > 1 "
            "AND sum(priority != 'Urgent') > 1 ORDER BY 1"
        ).fetchall()
        topic = rng.choice(found)[0]
        people = db.execute("SELECT id, name FROM staff WHERE access = 'Active' ORDER BY id")
        (id, name), (_, other) = rng.sample([tuple(row) for row in people], 2)
        params = {"where": {"topic": topic, "status": "Open"}}
        ids = self.targets(db, params)
        number = db.execute("SELECT number FROM tickets WHERE id = ?", (ids[0],)).fetchone()[0]
        params |= {"filters": {"Topic": topic, "Status": "Open"}}
        rest = {"ids": ids, "column": "priority", "value": "Urgent", "shown": "Urgent"}
        rest |= {"label": "Priority", "wrong": "High", "one": number}
        rest |= {"assignee": id, "person": name, "other": other}
        text = (
            f"Set the priority of all open tickets with the topic {topic!r} to Urgent and assign "
            f"them to {name}."
        )
        return Goal(text, params | rest)

    def check(self, case: Case, answer: str) -> Verdict:
        """All are urgent, and theirs."""
        rows = [case.row("tickets", id) for id in case.params["ids"]]
        return verdict(
            ("urgent", all(row.get("priority") == "Urgent" for row in rows)),
            ("assigned", all(row.get("assignee_id") == case.params["assignee"] for row in rows)),
        )

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """Priority and assignee of those tickets."""
        return updates("tickets", case.params["ids"], "priority", "assignee_id")

    def change(self, case: Case, params: Params) -> Iterator[Step]:
        """Two fields."""
        words = case.words
        yield select(words("Set {name}", name=words("Priority")), words(str(params["shown"])))
        yield select(words("Set {name}", name=words("Assignee")), params["person"])

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """And someone else."""
        params = {**case.params}
        other = self.oracle(case, {**params, "person": params["other"]})
        return {**super().mutants(case), "someone else": other}


class CountOrders(TaskTemplate):
    """How many orders there are of a kind."""

    name = "count-orders"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A status and a country, or a month, with an order at least."""
        by = rng.choice(("country", "month"))
        found = db.execute(
            f"SELECT status, {by} AS value, count(*) FROM (SELECT orders.status, "
            "customers.country AS country, substr(date, 1, 7) AS month FROM orders "
            "JOIN customers ON customers.id = customer_id) GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
        status, value, count = rng.choice(found)
        where = f"from customers in {value}" if by == "country" else f"of the month {value}"
        text = f"How many orders {where} have the status {status!r}? Answer with the number alone."
        filters = {"Status": status, "Country" if by == "country" else "Month": value}
        return Goal(text, {"filters": filters, "count": count, "answer": str(count)})

    def check(self, case: Case, answer: str) -> Verdict:
        """The number; not guessed without a look."""
        right = is_count(answer, case.params["count"])
        return verdict(("answer", right), ("looked it up", case.saw("/orders")))

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The table, a filter."""
        return [
            ("table opened", case.saw("/orders")),
            ("filtered", saw_filtered(case, "orders")),
        ]

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Filter, read the number."""
        yield from filter_rows(case.words, "Orders", params["filters"])
        yield done(params["answer"])

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """One off; a range; right, but an order was changed on the way."""
        params, words = {**case.params}, case.words
        count = params["count"]
        number, status = case.base.execute(
            "SELECT number, status FROM orders ORDER BY date DESC, id DESC"
        ).fetchone()
        other = "Paid" if status != "Paid" else "Shipped"
        changed = [
            click("link", words("Orders")),
            click("link", number),
            select(words("Status"), words(other)),
            click("button", words("Save")),
        ]
        return {
            "one more": self.oracle(case, {**params, "answer": str(count + 1)}),
            "a range": self.oracle(case, {**params, "answer": f"{count} or {count + 1}"}),
            "and changed an order": [*changed, *self.oracle(case, params)],
        }


class SumOrders(TaskTemplate):
    """What a few orders come to."""

    name = "sum-orders"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A status, a country and a month with two to six orders."""
        found = db.execute(
            "SELECT orders.status, country, substr(date, 1, 7), sum(total), max(total) FROM orders "
            "JOIN customers ON customers.id = customer_id GROUP BY 1, 2, 3 "
            "HAVING count(*) BETWEEN 2 AND 6 ORDER BY 1, 2, 3"
        ).fetchall()
        status, country, month, total, most = rng.choice(found)
        text = (
            f"What do the orders of {month} from customers in {country} with the status {status!r} "
            "come to in total? Answer with the amount alone."
        )
        filters = {"Status": status, "Country": country, "Month": month}
        return Goal(text, {"filters": filters, "total": total, "most": most, "answer": total})

    def check(self, case: Case, answer: str) -> Verdict:
        """The amount, to the cent."""
        return verdict(("answer", is_amount(answer, case.params["total"])))

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The table, a filter, all filters."""
        return [
            ("table opened", case.saw("/orders")),
            ("filtered", saw_filtered(case, "orders")),
            ("by all three", saw_filtered(case, "orders", 3)),
        ]

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Filter, add up."""
        yield from filter_rows(case.words, "Orders", params["filters"])
        yield done(money(params["answer"]))

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """One order left out; a cent off; rounded."""
        params = {**case.params}
        total = params["total"]
        rounded = total // 100 * 100 + (100 if total % 100 == 0 else 0)
        return {
            "one left out": self.oracle(case, {**params, "answer": total - params["most"]}),
            "a cent off": self.oracle(case, {**params, "answer": total + 1}),
            "rounded": self.oracle(case, {**params, "answer": rounded}),
        }


TEMPLATES = (ArchiveProducts(), Restock(), EscalateTickets(), CountOrders(), SumOrders())
