"""Tasks of the back office that serve a customer: pay back, answer."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence

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
from agentgym.tasks.sites.database import Write, inserts, updates


class RefundOrder(TaskTemplate):
    """Pay back a part of an order."""

    name = "refund-order"

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """A delivered order, an amount below its total, a reason."""
        rows = db.execute(
            "SELECT id, number, total FROM orders WHERE status = 'Delivered' AND total > 2000 "
            "ORDER BY id"
        ).fetchall()
        row, other = rng.sample(rows, 2)
        amount = rng.randint(5, min(row["total"], other["total"]) // 200) * 100 + rng.choice(
            (0, 50)
        )
        reason = rng.choice(data.REFUND_REASONS)
        text = f"Refund ${amount / 100:.2f} of order {row['number']}; the reason is {reason!r}."
        params = {"order": row["id"], "number": row["number"], "amount": amount, "reason": reason}
        return Goal(text, params | {"other": other["number"]})

    def check(self, case: Case, answer: str) -> Verdict:
        """One refund, as asked."""
        new = case.inserted("refunds")
        row = new[0] if len(new) == 1 else {}
        return verdict(
            ("one refund", bool(row)),
            ("order", row.get("order_id") == case.params["order"]),
            ("amount", row.get("amount") == case.params["amount"]),
            ("reason", row.get("reason") == case.params["reason"]),
        )

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The table, the order, a refund, the right one."""
        return [
            ("table opened", case.saw("/orders")),
            ("order opened", case.saw(f"/orders/{case.params['order']}")),
            ("refunded", bool(case.inserted("refunds"))),
            ("as asked", self.check(case, "").success),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """A refund; the order's status stays, as some of it is left."""
        return inserts("refunds")

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Open the order, fill in the form."""
        words = case.words
        yield from search(words, "Orders", params["number"], params["number"])
        yield fill(words("Refund amount ($)"), f"{params['amount'] / 100:.2f}")
        yield select(words("Reason"), words(params["reason"]))
        yield click("button", words("Refund"))
        yield done()

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """Another order; another amount; another reason; twice."""
        params = {**case.params}
        steps = list(self.oracle(case, params))
        reason = next(one for one in data.REFUND_REASONS if one != params["reason"])
        return {
            "another order": self.oracle(case, {**params, "number": params["other"]}),
            "another amount": self.oracle(case, {**params, "amount": params["amount"] + 100}),
            "another reason": self.oracle(case, {**params, "reason": reason}),
            "not sent": [*steps[:-2], done()],
        }


class AnswerTicket(TaskTemplate):
    """Reply to a ticket, then close it."""

    name = "answer-ticket"
    held_out = True
    _REPLIES = (
        "We are sorry for that. A replacement leaves our warehouse today.",
        "Thank you for telling us. The invoice has been corrected.",
        "Please try again; the link works now.",
        "The parcel is at the depot and comes tomorrow.",
    )

    def setup(self, db: sqlite3.Connection, rng: random.Random) -> Goal:
        """An open ticket and what to write."""
        rows = db.execute(
            "SELECT id, number FROM tickets WHERE status = 'Open' ORDER BY id"
        ).fetchall()
        row, other = rng.sample(rows, 2)
        body = rng.choice(self._REPLIES)
        text = f"Reply to ticket {row['number']} with “{body}”, then close the ticket."
        params = {"id": row["id"], "number": row["number"], "body": body}
        return Goal(text, params | {"other": other["number"], "status": "Closed"})

    def check(self, case: Case, answer: str) -> Verdict:
        """One reply, word by word, and closed."""
        new = case.inserted("replies")
        row = new[0] if len(new) == 1 else {}
        status = case.row("tickets", case.params["id"]).get("status")
        return verdict(
            ("one reply", row.get("ticket_id") == case.params["id"]),
            ("text", row.get("body") == case.params["body"]),
            ("closed", status == "Closed"),
        )

    def milestones(self, case: Case) -> Sequence[Condition]:
        """The table, the ticket, the reply, the end."""
        return [
            ("table opened", case.saw("/tickets")),
            ("ticket opened", case.saw(f"/tickets/{case.params['id']}")),
            ("replied", bool(case.inserted("replies"))),
            ("closed", self.check(case, "").success),
        ]

    def allowed_writes(self, case: Case) -> Iterable[Write]:
        """A reply, and the ticket's status."""
        return [*inserts("replies"), *updates("tickets", [case.params["id"]], "status")]

    def oracle(self, case: Case, params: Params) -> Iterator[Step]:
        """Write, then close."""
        words = case.words
        yield from search(words, "Tickets", params["number"], params["number"])
        yield fill(words("Reply"), params["body"])
        yield click("button", words("Send reply"))
        yield select(words("Status"), words(params["status"]))
        yield from save(words)

    def mutants(self, case: Case) -> Mapping[str, Iterable[Step]]:
        """Another ticket; another text; another status; left open."""
        params = {**case.params}
        steps = list(self.oracle(case, params))
        return {
            "another ticket": self.oracle(case, {**params, "number": params["other"]}),
            "another text": self.oracle(case, {**params, "body": "Done."}),
            "waiting": self.oracle(case, {**params, "status": "Waiting"}),
            "left open": [*steps[:-3], done()],
        }


TEMPLATES = (RefundOrder(), AnswerTicket())
