"""Pages of the back office: one set of them for every table."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from agentgym.tasks.sites.admin import actions
from agentgym.tasks.sites.admin.data import TODAY
from agentgym.tasks.sites.admin.resources import RESOURCES, Field, Resource, read, shown
from agentgym.tasks.sites.database import Row
from agentgym.tasks.sites.web import NotFound, Page, Pages, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

PER_PAGE = 15


def standing(visit: Visit) -> dict[str, Any]:
    """What the frame of every page shows."""
    return {
        "resources": RESOURCES.values(),
        "section": visit.path.strip("/").partition("/")[0],
        "me": visit.value("SELECT name FROM staff WHERE id = 1"),
        "today": TODAY.isoformat(),
    }


def dashboard(visit: Visit) -> Response:
    """How things stand."""
    months = visit.rows(
        "SELECT substr(date, 1, 7) AS month, sum(total) AS total FROM orders "
        "WHERE status NOT IN ('Cancelled', 'Refunded') GROUP BY 1 ORDER BY 1 DESC LIMIT 6"
    )[::-1]
    low = "SELECT count(*) FROM products WHERE stock < minimum AND status = 'Active'"
    tiles = [
        ("Pending orders", "SELECT count(*) FROM orders WHERE status = 'Pending'", "orders"),
        ("Low stock", low, "products"),
        ("Open tickets", "SELECT count(*) FROM tickets WHERE status = 'Open'", "tickets"),
        ("Customers", "SELECT count(*) FROM customers", "customers"),
    ]
    return visit.render(
        "dashboard.html",
        months=months,
        most=max((month["total"] for month in months), default=1),
        tiles=[(label, visit.value(sql), name) for label, sql, name in tiles],
        orders=visit.rows(f"{RESOURCES['orders'].sql} ORDER BY date DESC, orders.id DESC LIMIT 6"),
        tickets=visit.rows(
            f"{RESOURCES['tickets'].sql} WHERE tickets.status = 'Open' AND priority = 'Urgent' "
            "ORDER BY opened LIMIT 6"
        ),
    )


def find_resource(name: str) -> Resource:
    """A table by the name in the address."""
    if name not in RESOURCES:
        raise NotFound
    return RESOURCES[name]


def _select(visit: Visit, resource: Resource) -> tuple[str, list[str], str]:
    where, values = ["1"], list[str]()
    if words := visit.query.get("q", "")[:200].lower().split():
        text = " || ' ' || ".join(f"coalesce({name}, '')" for name in resource.searched)
        where += [f"instr(lower({text}), ?)"] * len(words)
        values += words
    for column in resource.filters:
        if value := visit.query.get(column.name):
            where.append(f"{column.name} = ?")
            values.append(value)
    sort = visit.query.get("sort", "")
    order = resource.order
    if sort.lstrip("-") in {column.name for column in resource.columns}:
        order = f"{sort.lstrip('-')} {'DESC' if sort.startswith('-') else 'ASC'}, id"
    return f"SELECT * FROM ({resource.sql}) WHERE {' AND '.join(where)}", values, order


def _staff(visit: Visit) -> dict[str, str]:
    found = visit.rows("SELECT id, name FROM staff ORDER BY name")
    return {str(row["id"]): row["name"] for row in found}


def listing(visit: Visit, name: str, errors: dict[str, str] | None = None) -> Response:
    """A table: searched, filtered, sorted, a page at a time, with what can be done to its rows."""
    resource = find_resource(name)
    sql, values, order = _select(visit, resource)
    total = int(visit.value(f"SELECT count(*) FROM ({sql})", *values))
    last = max(1, -(-total // PER_PAGE))
    page = min(last, visit.number("page", 1, 10_000, "query") or 1)
    offset = (page - 1) * PER_PAGE
    options = {
        column.name: [
            row["value"]
            for row in visit.rows(
                f"SELECT DISTINCT {column.name} AS value FROM ({resource.sql}) ORDER BY 1"
            )
        ]
        for column in resource.filters
    }
    return visit.render(
        "list.html",
        422 if errors else 200,
        resource=resource,
        rows=visit.rows(f"{sql} ORDER BY {order} LIMIT {PER_PAGE} OFFSET {offset}", *values),
        total=total,
        page=page,
        last=last,
        options=options,
        bulk=[field for field in resource.fields if field.name in resource.bulk],
        staff=_staff(visit),
        errors=errors or {},
    )


def export(visit: Visit, name: str) -> Response:
    """The table's rows as text, one a line."""
    resource = find_resource(name)
    sql, values, order = _select(visit, resource)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([visit.episode.words(column.label) for column in resource.columns])
    for row in visit.rows(f"{sql} ORDER BY {order}", *values):
        amounts = {
            c.name: f"{row[c.name] / 100:.2f}" for c in resource.columns if c.kind == "money"
        }
        writer.writerow([amounts.get(c.name, row[c.name]) for c in resource.columns])
    return visit.render("export.html", resource=resource, text=out.getvalue())


def change_many(visit: Visit, name: str) -> Response:
    """Set fields of the ticked rows, or of all that match."""
    resource = find_resource(name)
    sql, values, _ = _select(visit, resource)
    matching = [row["id"] for row in visit.rows(f"SELECT id FROM ({sql})", *values)]
    ids = matching if visit.text("scope") == "matching" else []
    if visit.text("scope") == "selected":
        ids = [id for id in matching if str(id) in visit.ticked]
    new, errors = _read(visit, [f for f in resource.fields if f.name in resource.bulk], skip=True)
    if errors:
        return listing(visit, name, errors)
    if ids and new:
        sets = ", ".join(f"{column} = ?" for column in new)
        marks = ", ".join("?" * len(ids))
        visit.db.execute(f"UPDATE {name} SET {sets} WHERE id IN ({marks})", (*new.values(), *ids))
        visit.note("{number} rows changed.", number=len(ids))
    else:
        visit.note("Nothing was changed: tick rows and choose what to set.")
    return visit.redirect(visit.link())


def _read(
    visit: Visit, fields: list[Field], *, skip: bool = False
) -> tuple[dict[str, Any], dict[str, str]]:
    new, errors, staff = dict[str, Any](), dict[str, str](), _staff(visit)
    for field in fields:
        text = visit.text(field.name, 2000)
        if skip and not text:
            continue
        new[field.name], told = read(field, text, staff)
        if told:
            errors[field.name] = told
    return new, errors


def detail(visit: Visit, name: str, id: int) -> Response:
    """One row; 0 is a new one."""
    resource = find_resource(name)
    if id == 0 and not resource.creates:
        raise NotFound
    row = visit.one(f"SELECT * FROM ({resource.sql}) WHERE id = ?", id) if id else {}
    form = {field.name: shown(field, row.get(field.name)) for field in resource.fields}
    return show_detail(visit, resource, row, form, {})


def show_detail(
    visit: Visit, resource: Resource, row: Row, form: dict[str, str], errors: dict[str, str]
) -> Response:
    """The page of a row, with these values in its form."""
    more = actions.RELATED[resource.name](visit, row) if row else {}
    return visit.render(
        f"{resource.name}.html" if resource.name in actions.WITH_MORE and row else "detail.html",
        422 if errors else 200,
        resource=resource,
        row=row,
        id=row.get("id", 0),
        form=form,
        errors=errors,
        staff=_staff(visit),
        **more,
    )


def save(visit: Visit, name: str, id: int) -> Response:
    """Save the form of a row."""
    resource = find_resource(name)
    row = visit.one(f"SELECT * FROM ({resource.sql}) WHERE id = ?", id) if id else {}
    if id == 0 and not resource.creates:
        raise NotFound
    new, errors = _read(visit, list(resource.fields))
    unique = {"products": "sku", "staff": "email"}.get(name)
    if unique and visit.value(
        f"SELECT 1 FROM {name} WHERE {unique} = ? AND id != ?", new[unique], id
    ):
        errors[unique] = "This is taken already."
    if errors:
        form = {field.name: visit.text(field.name, 2000) for field in resource.fields}
        return show_detail(visit, resource, row, form, errors)
    if id:
        sets = ", ".join(f"{column} = ?" for column in new)
        visit.db.execute(f"UPDATE {name} SET {sets} WHERE id = ?", (*new.values(), id))
        visit.note("Saved.")
        return visit.redirect(f"/{name}/{id}")
    if name == "staff":
        new["joined"] = TODAY.isoformat()
    columns, marks = ", ".join(new), ", ".join("?" * len(new))
    made = visit.db.execute(
        f"INSERT INTO {name} ({columns}) VALUES ({marks})", tuple(new.values())
    ).lastrowid
    visit.note("Saved.")
    return visit.redirect(f"/{name}/{made}")


PAGES = Pages(
    [
        Page("/", dashboard),
        *actions.PAGES,
        Page("/{name}", listing),
        Page("/{name}", change_many, "POST"),
        Page("/{name}/export", export),
        Page("/{name}/{id:int}", detail),
        Page("/{name}/{id:int}", save, "POST"),
    ],
    standing,
)
