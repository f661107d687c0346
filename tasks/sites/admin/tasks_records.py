"""Tasks of the back office about one record: mend it, make it, merge it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from agentgym.tasks.sites.admin import data
from agentgym.tasks.sites.admin.plans import Params, save, search
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
    select,
    verdict,
)
from agentgym.tasks.sites.database import Write, deletes, inserts, updates


class FixCustomer(TaskTemplate):
    """Mend one field of a customer's record."""

    name = "fix-customer"
    _FIELDS: ClassVar = {"email": "E-mail", "phone": "Telephone", "city": "City"}

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A customer by name, and what has changed."""
        rows = db.execute("SELECT * FROM customers ORDER BY id").fetchall()
        row, other = rng.sample(rows, 2)
        field = rng.choice(list(self._FIELDS))
        value = {
            "email": f"{row['name'].split()[0].lower()}{rng.randint(10, 99)}@letters.example",
            "phone": f"+43 {rng.randint(600, 699)} {rng.randint(100000, 999999)}",
            "city": rng.choice(("Salzburg", "Bruges", "Esbjerg", "Lille", "Kassel", "Cadiz")),
        }[field]
        told = {"email": "e-mail address", "phone": "telephone number", "city": "city"}[field]
        text = f"The {told} of our customer {row['name']} is now {value}. Correct it."
        params = {"id": row["id"], "name": row["name"], "field": field, "value": value}
        return Goal(text, params | {"other": {"id": other["id"], "name": other["name"]}})

    def check(self, case: Case, answer: str) -> Verdict:
        """The field."""
        row = case.row("customers", case.params["id"])
        field = case.params["field"]
        return verdict((field, row.get(field) == case.params["value"]))

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The table, the record, the field."""
        return [
            ("table opened", case.saw("/customers")),
            ("record opened", case.saw(f"/customers/{case.params['id']}")),
            ("corrected", self.check(case, "").success),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """That field of that customer."""
        return updates("customers", [case.params["id"]], case.params["field"])

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Look for the name, mend the field."""
        words = case.words
        yield from search(words, "Customers", params["name"], f"C-{params['id']}")
        yield fill(words(self._FIELDS[params["field"]]), params["value"])
        yield from save(words)

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """Someone else; another value; the name, too; not saved."""
        params, words = {**case.params}, case.words
        steps = list(self.oracle(case, params))
        wrong = {"email": "a@letters.example", "phone": "+43 600 1", "city": "Melk"}
        value = wrong[params["field"]]
        return {
            "someone else": self.oracle(case, {**params, **params["other"]}),
            "another value": self.oracle(case, {**params, "value": value}),
            "also the name": [*steps[:-2], fill(words("Name"), "N. N."), *steps[-2:]],
            "not saved": [*steps[:-2], done()],
        }


class CreateProduct(TaskTemplate):
    """A new product with all its fields."""

    name = "create-product"
    _COLUMNS = ("sku", "name", "category", "supplier", "price", "stock", "minimum", "status")

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """Draw what it is."""
        taken = {row[0][3:] for row in db.execute("SELECT sku FROM products")}
        digits = rng.choice([str(d) for d in range(1000, 10_000) if str(d) not in taken])
        category = rng.choice(data.CATEGORIES)
        noun = rng.choice(("Folding ladder", "Bench vice", "Paint mixer", "Rivet set", "Foam pump"))
        params: dict[str, Any] = {
            "sku": f"{category[:2].upper()}-{digits}",
            "name": f"{noun} {rng.choice(('Mark II', 'XL', 'Mini', 'Duo'))}",
            "category": category,
            "supplier": rng.choice(data.SUPPLIERS),
            "price": rng.randint(500, 9_999),
            "stock": rng.randint(10, 200),
            "minimum": rng.choice((5, 10, 15)),
            "status": rng.choice(("Active", "Draft")),
        }
        text = (
            f"Create a product: SKU {params['sku']}, name {params['name']}, category "
            f"{params['category']}, supplier {params['supplier']}, price "
            f"${params['price'] / 100:.2f}, stock {params['stock']}, minimum stock "
            f"{params['minimum']}, status {params['status']}."
        )
        return Goal(text, params)

    def check(self, case: Case, answer: str) -> Verdict:
        """One product, field by field."""
        new = case.inserted("products")
        row = new[0] if len(new) == 1 else {}
        columns = ((name, row.get(name) == case.params[name]) for name in self._COLUMNS)
        return verdict(("one product", bool(row)), *columns)

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The form, a product, the right one."""
        return [
            ("table opened", case.saw("/products")),
            ("form opened", case.saw("/products/0")),
            ("created", bool(case.inserted("products"))),
            ("as asked", self.check(case, "").success),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """A product."""
        return inserts("products")

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Fill in the form."""
        words = case.words
        yield click("link", words("Products"))
        yield click("link", words("Create"))
        yield fill(words("SKU"), params["sku"])
        yield fill(words("Name"), params["name"])
        yield select(words("Category"), words(params["category"]))
        yield select(words("Supplier"), params["supplier"])
        yield fill(words("Price ($)"), f"{params['price'] / 100:.2f}")
        yield fill(words("Stock"), params["stock"])
        yield fill(words("Minimum stock"), params["minimum"])
        yield select(words("Status"), words(params["status"]))
        yield from save(words)

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """One field different; a field left out; twice."""
        params = {**case.params}
        steps = list(self.oracle(case, params))
        again = list(self.oracle(case, {**params, "sku": f"ZZ-{params['sku'][3:]}"}))
        return {
            "another price": self.oracle(case, {**params, "price": params["price"] + 1}),
            "another status": self.oracle(case, {**params, "status": "Archived"}),
            "no supplier": [step for step in steps if step.value != params["supplier"]],
            "twice": [*steps[:-1], *again],
        }


class MergeCustomers(TaskTemplate):
    """Merge a customer who is there twice into the older record."""

    name = "merge-customers"
    held_out = True

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """Someone signed up again, and ordered."""
        rows = db.execute(
            "SELECT * FROM customers WHERE id IN (SELECT customer_id FROM orders) ORDER BY id"
        ).fetchall()
        row, third = rng.sample(rows, 2)
        email = f"{row['name'].split()[0].lower()}@second.example"
        same, since = ("phone", "city", "country", "segment"), data.days_ago(rng.randint(10, 150))
        new = db.execute(
            "INSERT INTO customers (name, email, phone, city, country, segment, since) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row["name"], email, *(row[column] for column in same), since),
        ).lastrowid
        orders = [one[0] for one in db.execute("SELECT id FROM orders ORDER BY id")]
        moved = sorted(rng.sample(orders, 2))
        db.execute(
            f"UPDATE orders SET customer_id = ? WHERE id IN ({moved[0]}, {moved[1]})", (new,)
        )
        text = (
            f"{row['name']} is among our customers twice. Merge the newer record into the older "
            "one, which stays."
        )
        params = {"kept": row["id"], "gone": new, "name": row["name"], "orders": moved}
        return Goal(text, params | {"third": third["id"]})

    def check(self, case: Case, answer: str) -> Verdict:
        """One is left, with the orders of both."""
        kept, gone = case.params["kept"], case.params["gone"]
        owners = {case.row("orders", id)["customer_id"] for id in case.params["orders"]}
        return verdict(
            ("newer gone", not case.row("customers", gone)),
            ("older kept", bool(case.row("customers", kept))),
            ("orders moved", owners == {kept}),
        )

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The table, the record, the merger."""
        return [
            ("table opened", case.saw("/customers")),
            ("older opened", case.saw(f"/customers/{case.params['kept']}")),
            ("merged", self.check(case, "").success),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """The newer record goes; its orders and tickets move."""
        return [
            *deletes("customers", [case.params["gone"]]),
            *updates("orders", case.params["orders"], "customer_id"),
        ]

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Open the older one, name the newer."""
        words = case.words
        yield from search(words, "Customers", f"C-{params['kept']}", f"C-{params['kept']}")
        yield fill(words("Number of the duplicate"), f"C-{params['gone']}")
        yield click("button", words("Merge"))
        yield done()

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """The wrong way round; someone else; not done."""
        params = {**case.params}
        kept, gone = params["kept"], params["gone"]
        steps = list(self.oracle(case, params))
        return {
            "the wrong way round": self.oracle(case, {**params, "kept": gone, "gone": kept}),
            "someone else": self.oracle(case, {**params, "gone": params["third"]}),
            "not merged": [*steps[:-2], done()],
        }


class ChangeRole(TaskTemplate):
    """Give a colleague another role, in another team."""

    name = "change-role"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """Someone, a role and a team that are new to them."""
        rows = db.execute("SELECT * FROM staff WHERE id > 1 ORDER BY id").fetchall()
        row, other = rng.sample(rows, 2)
        role = rng.choice([one for one in data.ROLES if one != row["role"]])
        team = rng.choice([one for one in data.TEAMS if one != row["team"]])
        text = f"{row['name']} moves to the team {team}, with the role {role}. Set it up."
        params = {"id": row["id"], "name": row["name"], "role": role, "team": team}
        return Goal(text, params | {"other": {"name": other["name"]}})

    def check(self, case: Case, answer: str) -> Verdict:
        """Both."""
        row = case.row("staff", case.params["id"])
        return verdict(*((name, row.get(name) == case.params[name]) for name in ("role", "team")))

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The table, the account, each change."""
        row = case.row("staff", case.params["id"])
        return [
            ("table opened", case.saw("/staff")),
            ("account opened", case.saw(f"/staff/{case.params['id']}")),
            *((name, row.get(name) == case.params[name]) for name in ("role", "team")),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """Role and team of that account."""
        return updates("staff", [case.params["id"]], "role", "team")

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Open the account, choose both."""
        words = case.words
        yield from search(words, "Staff", params["name"], params["name"])
        yield select(words("Role"), words(params["role"]))
        yield select(words("Team"), words(params["team"]))
        yield from save(words)

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """A colleague; another role; the access, too."""
        params, words = {**case.params}, case.words
        steps = list(self.oracle(case, params))
        was = case.base.execute("SELECT * FROM staff WHERE id = ?", (params["id"],)).fetchone()
        role = next(one for one in data.ROLES if one != params["role"])
        access = next(one for one in data.ACCESS if one != was["access"])
        flipped = [*steps[:-2], select(words("Access"), words(access)), *steps[-2:]]
        return {
            "a colleague": self.oracle(case, {**params, **params["other"]}),
            "another role": self.oracle(case, {**params, "role": role}),
            "also the access": flipped,
            "team only": [step for step in steps if step.name != words("Role")],
        }


TEMPLATES = (FixCustomer(), CreateProduct(), ChangeRole(), MergeCustomers())
