"""A page as text: an indented tree, a flat list, simple HTML, or Markdown."""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterator, Mapping

from agentgym.errors import ConfigError, did_you_mean
from agentgym.sandboxes.page import PageState, Row

Formatter = Callable[[PageState], Iterator[tuple[str, Row]]]


def render(
    page: PageState, view: str = "tree", *, max_chars: int = 20_000, boxes: bool = False
) -> str:
    """The page as a model reads it; what does not fit is counted.

    Args:
        page: What to show.
        view: One of `VIEWS`.
        max_chars: Longest text; whole lines are left out.
        boxes: Say where each element is, in pixels.

    Raises:
        ConfigError: No such view.
    """
    if view not in VIEWS:
        raise ConfigError(f"view is {view!r}: give {', '.join(VIEWS)}{did_you_mean(view, VIEWS)}")
    lines = [_boxed(line, row) if boxes and row.id else line for line, row in VIEWS[view](page)]
    ends = itertools.accumulate(len(line) + 1 for line in lines)
    kept = [line for line, end in zip(lines, ends, strict=True) if end <= max_chars]
    left = len(lines) - len(kept) + page.cut
    if left:
        kept.append(f"… {left} more lines do not fit: scroll(), find(text) or read(id)")
    if page.outside:
        kept.append(f"… {page.outside} elements are out of view: scroll()")
    return "\n".join(kept)


def _boxed(line: str, row: Row) -> str:
    return f"{line} @{','.join(map(str, row.box))}" if row.box else line


def describe(row: Row) -> str:
    """One element on one line: `[12] button "Go" focused`."""
    number, _, role, name, value, states, _, _, attributes = row
    if not (number or value or states or attributes):  # most rows: no more work than they need
        return f"{role} {_quote(name)}" if name or role == "text" else role
    parts = [f"[{number}] {role}" if number else role]
    if name:
        parts.append(_quote(name))
    if value:
        parts.append(f"value={_quote(value)}")
    parts += states
    parts += [f"{_short(key)}={_word(value)}" for key, value in shown_attributes(row).items()]
    if row.clickable and row.in_view and not row.hit:
        parts.append("covered")
    return " ".join(parts)


def shown_attributes(row: Row) -> Mapping[str, str]:
    """The attributes asked for; where a link leads is for Markdown and HTML only."""
    if "href" not in row.attributes:
        return row.attributes
    return {key: value for key, value in row.attributes.items() if key != "href"}


def _short(name: str) -> str:
    return name.removeprefix("style:")


def _word(value: str) -> str:
    return value if value.replace("-", "").replace("_", "").isalnum() else _quote(value)


def _quote(text: str) -> str:
    if '"' in text or "\\" in text or "\n" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _tree(page: PageState) -> Iterator[tuple[str, Row]]:
    for row in page.rows:
        yield "  " * min(row.depth, 24) + describe(row), row


def _flat(page: PageState) -> Iterator[tuple[str, Row]]:
    for row in page.rows:
        if row.id or (row.role in ("text", "heading", "cell", "columnheader") and row.name):
            yield describe(row), row


_TAGS = {
    "link": "a", "button": "button", "textbox": "input", "searchbox": "input", "password": "input",
    "spinbutton": "input", "checkbox": "input", "radio": "input", "slider": "input",
    "combobox": "select", "listbox": "select", "option": "option", "heading": "h2", "img": "img",
    "list": "ul", "listitem": "li", "table": "table", "row": "tr", "cell": "td",
    "columnheader": "th", "navigation": "nav", "form": "form", "iframe": "iframe",
}  # fmt: skip
_VOID = frozenset({"input", "img"})


def _html(page: PageState) -> Iterator[tuple[str, Row]]:
    for row in page.rows:
        indent = " " * min(row.depth, 24)
        if row.role == "text":
            yield indent + html.escape(row.name, quote=False), row
            continue
        tag = _TAGS.get(row.role, "div")
        told = {"id": str(row.id)} if row.id else {}
        if tag in ("div", "input") and row.role not in ("textbox", "clickable"):
            told["role" if tag == "div" else "type"] = row.role
        if row.value:
            told["value"] = row.value
        told.update({_short(key): value for key, value in row.attributes.items()})
        if tag in _VOID and row.name:
            told["label"] = row.name
        said = "".join(f' {key}="{html.escape(value)}"' for key, value in told.items())
        said += "".join(f" {state}" for state in row.states)
        inside = html.escape(row.name, quote=False)
        closed = f"{inside}</{tag}>" if inside and tag not in _VOID else ""
        yield f"{indent}<{tag}{said}>{closed}", row


def _markdown(page: PageState) -> Iterator[tuple[str, Row]]:
    for row in page.rows:
        if line := _markdown_of(row):
            yield line, row


def _markdown_of(row: Row) -> str:
    number = f"[{row.id}]" if row.id else ""
    states = f" ({', '.join(row.states)})" if row.states else ""
    if row.role == "heading":
        return f"## {row.name}"
    if row.role == "link":
        return f"{number}({row.name}){states}"
    if row.role == "listitem":
        return f"- {row.name}"
    if row.role in ("checkbox", "radio"):
        return f"{number} [{'x' if 'checked' in row.states else ' '}] {row.name}"
    if row.value is not None:
        return f"{number} {row.role} {row.name}: {row.value or '(empty)'}{states}"
    if row.id and row.role != "text":
        return f"{number} **{row.name or row.role}**{states}"
    return f"{number} {row.name}".lstrip()


VIEWS: Mapping[str, Formatter] = {
    "tree": _tree,
    "flat": _flat,
    "html": _html,
    "md": _markdown,
}
"""Ways of writing a page, by name."""
