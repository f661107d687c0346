"""Tasks of the shop that change what belongs to the customer: reviews, wish list, details."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence

from agentgym.tasks.sites.contract import (
    Case,
    Condition,
    Goal,
    Step,
    TaskTemplate,
    Verdict,
    check,
    click,
    done,
    fill,
    select,
    verdict,
)
from agentgym.tasks.sites.database import Write, deletes, inserts, updates
from agentgym.tasks.sites.shop.buying import Params, find, in_stock, read_product
from agentgym.tasks.sites.shop.tasks_orders import order_lines

_STARS = {1: "1 star", 2: "2 stars", 3: "3 stars", 4: "4 stars", 5: "5 stars"}
_REVIEWS = (
    ("Worth every penny", "We have had it for two weeks and use it daily."),
    ("Solid choice", "Sturdy, quiet, and it looks good in our hallway."),
    ("Came too late", "The product is fine, but it took twelve days to arrive."),
    ("Smaller than expected", "Nicely made, only a size smaller than I had thought."),
    ("A keeper", "My second one already. The first has lasted for six years."),
)
_STREETS = ("Bridge Street", "Chapel Lane", "Victoria Terrace", "Quay Street", "Elm Grove")
_CITIES = (("Sheffield", "S1 2HH"), ("Norwich", "NR2 4TH"), ("Galway", "H91 E8PD"))


class WriteReview(TaskTemplate):
    """A review of what was ordered, word by word."""

    name = "write-review"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A product that was delivered."""
        line = rng.choice(order_lines(db, ("Delivered",)))
        title, body = rng.choice(_REVIEWS)
        params = {"product": line["product"], "name": line["name"], "stars": rng.randint(1, 5)}
        params |= {"title": title, "body": body}
        text = (
            f"Write a review of the {line['name']}: {_STARS[params['stars']]}, with the title "
            f"“{title}” and the text “{body}”"
        )
        return Goal(text, params)

    def check(self, case: Case, answer: str) -> Verdict:
        """One review, as asked."""
        new = case.inserted("reviews")
        review = new[0] if len(new) == 1 else {}
        return verdict(
            ("one review", bool(review)),
            ("product", review.get("product_id") == case.params["product"]),
            *((name, review.get(name) == case.params[name]) for name in ("stars", "title", "body")),
        )

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The product, the form, the review."""
        page = f"/product/{case.params['product']}"
        return [
            ("product opened", case.saw(page)),
            ("form opened", case.saw(f"{page}/review")),
            ("reviewed", bool(case.inserted("reviews"))),
            ("as asked", self.check(case, "").success),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """The review, and the product's rating that follows from it."""
        product = [case.params["product"]]
        return [*inserts("reviews"), *updates("products", product, "rating", "reviews")]

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Find it, fill in the form."""
        words = case.words
        yield from find(words, params["name"])
        yield click("link", words("Write a review"))
        yield select(words("Your rating"), words(_STARS[params["stars"]]))
        yield fill(words("Title"), params["title"])
        yield fill(words("Your review"), params["body"])
        yield click("button", words("Publish review"))
        yield done()

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """Another product, rating or title; twice."""
        params = {**case.params}
        other = next(id for id in in_stock(case.base) if id != params["product"])
        steps = list(self.oracle(case, params))
        name = read_product(case.base, other)["name"]
        return {
            "another product": self.oracle(case, {**params, "name": name}),
            "another rating": self.oracle(case, {**params, "stars": params["stars"] % 5 + 1}),
            "another title": self.oracle(case, {**params, "title": "Review"}),
            "twice": [*steps[:-1], *steps],
        }


class EditWishList(TaskTemplate):
    """Put one thing on the wish list and take another off."""

    name = "wish-list"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A wish list of two or three."""
        first, *rest = rng.sample(in_stock(db), rng.randint(3, 4))
        for product in rest:
            db.execute("INSERT INTO wishlist (product_id) VALUES (?)", (product,))
        names = {product: read_product(db, product)["name"] for product in (first, *rest)}
        removed = rng.choice(rest)
        kept = next(product for product in rest if product != removed)
        params = {"added": names[first], "removed": names[removed], "kept": names[kept]}
        text = (
            f"Put the {params['added']} on the wish list and take the {params['removed']} off it."
        )
        return Goal(text, params | {"on": first, "off": removed})

    def check(self, case: Case, answer: str) -> Verdict:
        """One more, one less."""
        on = {row[0] for row in case.db.execute("SELECT product_id FROM wishlist")}
        was = {row[0] for row in case.base.execute("SELECT product_id FROM wishlist")}
        return verdict(
            ("added", case.params["on"] in on),
            ("removed", case.params["off"] not in on),
            ("the rest as it was", on == was - {case.params["off"]} | {case.params["on"]}),
        )

    def milestones(self, case: Case) -> Sequence[Condition]:
        """One more, one less."""
        on = {row[0] for row in case.db.execute("SELECT product_id FROM wishlist")}
        return [
            ("product opened", case.saw(f"/product/{case.params['on']}")),
            ("added", case.params["on"] in on),
            ("removed", case.params["off"] not in on),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """The list. A row that went may come back for another product."""
        return [*inserts("wishlist"), *deletes("wishlist"), *updates("wishlist")]

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Add on the product's page, remove on the list."""
        words = case.words
        yield from find(words, params["added"])
        yield click("button", words("Add to wish list"))
        yield click("link", words("Wish list"))
        yield click("button", words("Remove {name}", name=params["removed"]))
        yield done()

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """Another removed; another added; only half of it."""
        params = {**case.params}
        steps = list(self.oracle(case, params))
        listed = {row[0] for row in case.base.execute("SELECT product_id FROM wishlist")}
        other = next(id for id in in_stock(case.base) if id not in {*listed, params["on"]})
        name = read_product(case.base, other)["name"]
        return {
            "another removed": self.oracle(case, {**params, "removed": params["kept"]}),
            "another added": self.oracle(case, {**params, "added": name}),
            "none removed": [*steps[:-2], done()],
            "none added": steps[4:],
        }


class ChangeAddress(TaskTemplate):
    """Move one of the saved addresses."""

    name = "change-address"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A new street, city and postcode."""
        label, other = rng.sample(("Home", "Work", "Parents"), 2)
        city, postcode = rng.choice(_CITIES)
        street = f"{rng.randint(100, 199)} {rng.choice(_STREETS)}"
        sql = "SELECT id FROM addresses WHERE label = ?"
        params = {"label": label, "other": other, "id": db.execute(sql, (label,)).fetchone()[0]}
        params |= {"street": street, "city": city, "postcode": postcode}
        text = (
            f"Change the saved address {label!r} to {street}, {city}, postcode {postcode}; "
            "name and country stay as they are."
        )
        return Goal(text, params)

    def check(self, case: Case, answer: str) -> Verdict:
        """The three fields."""
        row = case.row("addresses", case.params["id"])
        fields = ("street", "city", "postcode")
        return verdict(*((field, row.get(field) == case.params[field]) for field in fields))

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The account, the form, the fields."""
        row = case.row("addresses", case.params["id"])
        return [
            ("account opened", case.saw("/account")),
            ("form opened", case.saw(f"/account/addresses/{case.params['id']}")),
            ("street", row.get("street") == case.params["street"]),
            ("all fields", self.check(case, "").success),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """These fields of this address."""
        return updates("addresses", [case.params["id"]], "street", "city", "postcode")

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Edit it."""
        words = case.words
        yield click("link", words("Account"))
        yield click("link", words("Edit {name}", name=params["label"]))
        yield fill(words("Street and number"), params["street"])
        yield fill(words("City"), params["city"])
        yield fill(words("Postcode"), params["postcode"])
        yield click("button", words("Save address"))
        yield done()

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """Another address; one field wrong; the name lost; a new address instead."""
        params, words = {**case.params}, case.words
        steps = list(self.oracle(case, params))
        return {
            "another address": self.oracle(case, {**params, "label": params["other"]}),
            "another number": self.oracle(case, {**params, "street": "1 Elm Grove"}),
            "also the name": [*steps[:-2], fill(words("Full name"), "Someone Else"), *steps[-2:]],
            "not saved": [*steps[:-2], done()],
        }


class ChangeDetails(TaskTemplate):
    """Change the e-mail address or the telephone number, and the newsletter."""

    name = "change-details"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A new telephone number or e-mail address; the newsletter on."""
        name = db.execute("SELECT name FROM account").fetchone()[0]
        if rng.random() < 0.5:
            field, value = "phone", f"+44 161 496 0{rng.randint(100, 999)}"
            told = f"telephone number to {value}"
        else:
            site = rng.choice(("post.example", "letters.example", "inbox.example"))
            field, value = "email", f"{name.split()[0].lower()}{rng.randint(10, 99)}@{site}"
            told = f"e-mail address to {value}"
        text = f"In your account, change the {told} and sign up for the newsletter."
        return Goal(text, {"field": field, "value": value})

    def check(self, case: Case, answer: str) -> Verdict:
        """Both."""
        row = case.row("account", 1)
        return verdict(
            (case.params["field"], row[case.params["field"]] == case.params["value"]),
            ("newsletter", row["newsletter"] == 1),
        )

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The account, each change."""
        row = case.row("account", 1)
        return [
            ("account opened", case.saw("/account")),
            (case.params["field"], row[case.params["field"]] == case.params["value"]),
            ("newsletter", row["newsletter"] == 1),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """The two fields."""
        return updates("account", [1], case.params["field"], "newsletter")

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Fill in the form."""
        words = case.words
        yield click("link", words("Account"))
        label = {"phone": "Telephone", "email": "E-mail"}[params["field"]]
        yield fill(words(label), params["value"])
        yield check(words("Send me the newsletter"))
        yield click("button", words("Save details"))
        yield done()

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """Another value; no newsletter; the name changed, too."""
        params, words = {**case.params}, case.words
        steps = list(self.oracle(case, params))
        wrong = {"phone": "+44 161 496 0001", "email": "someone@post.example"}[params["field"]]
        return {
            "another value": self.oracle(case, {**params, "value": wrong}),
            "no newsletter": [*steps[:2], *steps[3:]],
            "also the name": [*steps[:-2], fill(words("Full name"), "Someone Else"), *steps[-2:]],
        }


TEMPLATES = (WriteReview(), EditWishList(), ChangeAddress(), ChangeDetails())
