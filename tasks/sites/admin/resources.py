"""What the back office keeps tables of: their columns, filters, and the fields one may edit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from agentgym.tasks.sites.admin import data

Kind: TypeAlias = Literal["text", "money", "number", "email", "sku", "choice", "staff", "area"]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    label: str
    kind: Literal["text", "date", "money", "number", "tag"] = "text"


@dataclass(frozen=True)
class Field:
    """A field of a form."""

    name: str
    label: str
    kind: Kind = "text"
    options: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Resource:
    """A table of the back office and its pages."""

    name: str
    label: str
    one: str
    """What one of them is called."""
    sql: str
    """Gives every row with an `id` and all columns."""
    columns: tuple[Column, ...]
    """The first names a row, and leads to its page."""
    searched: tuple[str, ...]
    filters: tuple[Column, ...]
    fields: tuple[Field, ...]
    bulk: tuple[str, ...] = ()
    """Fields that can be set for many rows at once."""
    creates: bool = False
    order: str = "id"


_PRODUCTS = Resource(
    "products",
    "Products",
    "product",
    "SELECT *, CASE WHEN stock = 0 THEN 'Out of stock' WHEN stock < minimum THEN 'Low' "
    "ELSE 'Enough' END AS level FROM products",
    (
        Column("sku", "SKU"),
        Column("name", "Name"),
        Column("category", "Category"),
        Column("supplier", "Supplier"),
        Column("price", "Price", "money"),
        Column("stock", "Stock", "number"),
        Column("level", "Stock level", "tag"),
        Column("status", "Status", "tag"),
    ),
    ("sku", "name"),
    (
        Column("category", "Category"),
        Column("supplier", "Supplier"),
        Column("level", "Stock level"),
        Column("status", "Status"),
    ),
    (
        Field("sku", "SKU", "sku"),
        Field("name", "Name"),
        Field("category", "Category", "choice", data.CATEGORIES),
        Field("supplier", "Supplier", "choice", data.SUPPLIERS),
        Field("price", "Price ($)", "money"),
        Field("stock", "Stock", "number"),
        Field("minimum", "Minimum stock", "number"),
        Field("status", "Status", "choice", data.PRODUCT_STATUSES),
    ),
    ("status", "supplier", "stock"),
    creates=True,
)
_CUSTOMERS = Resource(
    "customers",
    "Customers",
    "customer",
    "SELECT *, 'C-' || id AS number, (SELECT count(*) FROM orders "
    "WHERE customer_id = customers.id) AS orders FROM customers",
    (
        Column("number", "Number"),
        Column("name", "Name"),
        Column("email", "E-mail"),
        Column("city", "City"),
        Column("country", "Country"),
        Column("segment", "Segment", "tag"),
        Column("orders", "Orders", "number"),
        Column("since", "Customer since", "date"),
    ),
    ("number", "name", "email", "phone", "city"),
    (Column("country", "Country"), Column("segment", "Segment")),
    (
        Field("name", "Name"),
        Field("email", "E-mail", "email"),
        Field("phone", "Telephone"),
        Field("city", "City"),
        Field("country", "Country", "choice", data.COUNTRIES),
        Field("segment", "Segment", "choice", data.SEGMENTS),
    ),
    ("segment",),
)
_ORDERS = Resource(
    "orders",
    "Orders",
    "order",
    "SELECT orders.*, customers.name AS customer, customers.country AS country, "
    "substr(date, 1, 7) AS month FROM orders LEFT JOIN customers ON customers.id = customer_id",
    (
        Column("number", "Number"),
        Column("customer", "Customer"),
        Column("country", "Country"),
        Column("date", "Date", "date"),
        Column("total", "Total", "money"),
        Column("status", "Status", "tag"),
    ),
    ("number", "customer"),
    (Column("status", "Status"), Column("country", "Country"), Column("month", "Month")),
    (
        Field("status", "Status", "choice", data.ORDER_STATUSES),
        Field("note", "Internal note", "area", required=False),
    ),
    ("status",),
    order="date DESC, id DESC",
)
_TICKETS = Resource(
    "tickets",
    "Tickets",
    "ticket",
    "SELECT tickets.*, customers.name AS customer, coalesce(staff.name, 'Nobody') AS assignee "
    "FROM tickets LEFT JOIN customers ON customers.id = customer_id "
    "LEFT JOIN staff ON staff.id = assignee_id",
    (
        Column("number", "Number"),
        Column("subject", "Subject"),
        Column("customer", "Customer"),
        Column("topic", "Topic"),
        Column("opened", "Opened", "date"),
        Column("assignee", "Assignee"),
        Column("priority", "Priority", "tag"),
        Column("status", "Status", "tag"),
    ),
    ("number", "subject", "customer"),
    (
        Column("status", "Status"),
        Column("topic", "Topic"),
        Column("priority", "Priority"),
        Column("assignee", "Assignee"),
    ),
    (
        Field("status", "Status", "choice", data.TICKET_STATUSES),
        Field("priority", "Priority", "choice", data.PRIORITIES),
        Field("assignee_id", "Assignee", "staff", required=False),
        Field("topic", "Topic", "choice", data.TOPICS),
    ),
    ("status", "priority", "assignee_id"),
    order="opened DESC, id DESC",
)
_STAFF = Resource(
    "staff",
    "Staff",
    "account",
    "SELECT * FROM staff",
    (
        Column("name", "Name"),
        Column("email", "E-mail"),
        Column("team", "Team"),
        Column("role", "Role", "tag"),
        Column("access", "Access", "tag"),
        Column("joined", "Joined", "date"),
    ),
    ("name", "email"),
    (Column("team", "Team"), Column("role", "Role"), Column("access", "Access")),
    (
        Field("name", "Name"),
        Field("email", "E-mail", "email"),
        Field("role", "Role", "choice", data.ROLES),
        Field("team", "Team", "choice", data.TEAMS),
        Field("access", "Access", "choice", data.ACCESS),
    ),
    creates=True,
    order="name",
)
RESOURCES = {one.name: one for one in (_ORDERS, _PRODUCTS, _CUSTOMERS, _TICKETS, _STAFF)}


def shown(field: Field, value: object) -> str:
    """A value as the field of a form has it."""
    if value is None:
        return ""
    return f"{int(str(value)) / 100:.2f}" if field.kind == "money" else str(value)


def read(field: Field, text: str, staff: dict[str, str]) -> tuple[Any, str]:
    """What was filled in, as the table has it, and what is wrong with it."""
    if not text:
        value = None if field.kind == "staff" else ""
        return value, "Please fill this in." if field.required else ""
    if field.kind == "money":
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{2})?", text, re.ASCII):
            return text, "Give an amount like 12.50."
        return round(float(text) * 100), ""
    if field.kind == "number":
        if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII):
            return text, "Give a whole number."
        return int(text), ""
    if field.kind == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text):
        return text, "This is no e-mail address."
    if field.kind == "sku" and not re.fullmatch(r"[A-Z]{2}-[0-9]{4}", text, re.ASCII):
        return text, "Give two capitals and four digits, like AB-1234."
    if field.kind == "choice" and text not in field.options:
        return text, "Please choose."
    if field.kind == "staff":
        return (int(text), "") if text in staff else (text, "Please choose.")
    return text, ""
