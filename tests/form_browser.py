"""A browser small enough to read: links, forms and cookies of none, straight over ASGI.

It runs no scripts, so what it gets done works without them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

VOID = {"input", "meta", "link", "br", "hr", "img", "path", "rect", "circle", "ellipse"}
ROLES = {"a": "link", "button": "button", "select": "combobox", "textarea": "textbox"}
INPUTS = {"checkbox": "checkbox", "radio": "radio", "search": "searchbox", "number": "spinbutton"}


@dataclass(eq=False)
class Element:
    tag: str
    attributes: dict
    parent: Element | None = None
    children: list = field(default_factory=list)

    def walk(self):
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    @property
    def text(self) -> str:
        if self.attributes.get("aria-hidden") == "true":
            return ""
        said = "".join(child if isinstance(child, str) else child.text for child in self.children)
        return " ".join(said.split())

    @property
    def raw(self) -> str:
        return "".join(child for child in self.children if isinstance(child, str))

    @property
    def role(self) -> str:
        if self.tag == "input":
            return INPUTS.get(self.attributes.get("type", "text"), "textbox")
        return ROLES.get(self.tag, "") if self.tag != "a" or "href" in self.attributes else ""

    def ancestor(self, tag: str) -> Element | None:
        above = self.parent
        while above is not None and above.tag != tag:
            above = above.parent
        return above


class Tree(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = self.open = Element("html", {})
        self.feed(html)
        assert self.open is self.root, f"<{self.open.tag}> is not closed"

    def handle_starttag(self, tag, attrs):
        made = Element(tag, {name: value or "" for name, value in attrs}, self.open)
        self.open.children.append(made)
        if tag not in VOID:
            self.open = made

    def handle_startendtag(self, tag, attrs):
        self.open.children.append(Element(tag, dict(attrs), self.open))

    def handle_endtag(self, tag):
        assert tag == self.open.tag, f"</{tag}> closes <{self.open.tag}>"
        self.open = self.open.parent

    def handle_data(self, data):
        self.open.children.append(data)


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(app, method, host, path, body=b"", headers=None) -> Answer:
    """One request; the application never waits for anything, so no event loop is needed."""
    split = urlsplit(path)
    sent = {"host": host, **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": split.path,
        "raw_path": split.path.encode(),
        "root_path": "",
        "query_string": split.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "scheme": "http",
        "server": (host, 80),
        "http_version": "1.1",
    }
    got = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        got.append(message)

    running = app(scope, receive, send)
    try:
        running.send(None)
    except StopIteration:
        pass
    else:
        raise AssertionError("the application waited")
    start = {name.decode(): value.decode() for name, value in got[0]["headers"]}
    return Answer(got[0]["status"], start, b"".join(one.get("body", b"") for one in got[1:]))


class FormBrowser:
    """Carries out the steps of oracles."""

    def __init__(self, app, host: str, token: str) -> None:
        self.app, self.host, self.token = app, host, token
        self.path, self.answer, self.pages = "/", "", []
        self.open("/")

    def open(self, path: str, method: str = "GET", fields=()) -> None:
        body = urlencode(list(fields)).encode()
        headers = {"x-session": self.token}
        if method == "POST":
            headers["content-type"] = "application/x-www-form-urlencoded"
            headers["origin"] = f"http://{self.host}"
        reply = ask(self.app, method, self.host, path, body, headers)
        if reply.status == 303:
            return self.open(reply.headers["location"])
        assert reply.status in (200, 404, 422), (reply.status, path, reply.text)
        self.path, self.status, self.html = path, reply.status, reply.text
        self.pages.append(reply.text)
        self.elements = list(Tree(reply.text).root.walk())
        self.labels = {
            one.attributes["for"]: one.text
            for one in self.elements
            if one.tag == "label" and "for" in one.attributes
        }
        for one in self.elements:
            one.value = self._initial(one)
            one.on = "checked" in one.attributes
        return None

    def _initial(self, element) -> str:
        if element.tag == "select":
            options = [one for one in element.walk() if one.tag == "option"]
            chosen = [one for one in options if "selected" in one.attributes] or options[:1]
            return chosen[0].attributes.get("value", chosen[0].text) if chosen else ""
        if element.tag == "textarea":
            return element.raw
        return element.attributes.get("value", "")

    def name(self, element) -> str:
        if told := element.attributes.get("aria-label"):
            return told
        if element.tag in ("input", "select", "textarea"):
            label = element.ancestor("label")
            return label.text if label else self.labels.get(element.attributes.get("id"), "")
        return element.text

    def find(self, role: str, name: str):
        for one in self.elements:
            usable = one.attributes.get("type") != "hidden" and "disabled" not in one.attributes
            if one.role == role and usable and self.name(one) == name:
                return one
        there = sorted({f"{one.role} {self.name(one)!r}" for one in self.elements if one.role})
        raise LookupError(f"no {role} {name!r} on {self.path}, but {', '.join(there)}")

    def do(self, step) -> None:
        if step.verb == "done":
            self.answer = step.value
        elif step.verb == "goto":
            self.open(step.value)
        else:
            element = self.find(step.role, step.name)
            getattr(self, f"_{step.verb}")(element, step.value)

    def _fill(self, element, text) -> None:
        element.value = text

    def _select(self, element, label) -> None:
        options = {one.text: one for one in element.walk() if one.tag == "option"}
        element.value = options[label].attributes.get("value", label)

    def _check(self, element, on) -> None:
        element.on = on == "true"

    def _click(self, element, _) -> None:
        if element.role == "link":
            self.open(urljoin(self.path, element.attributes["href"].partition("#")[0] or self.path))
        elif element.role == "checkbox":
            element.on = not element.on
        elif element.role == "radio":
            for one in element.ancestor("form").walk():
                if one.attributes.get("name") == element.attributes["name"]:
                    one.on = one is element
        elif element.role == "button":
            self._submit(element)

    def _submit(self, button) -> None:
        form = button.ancestor("form")
        fields = []
        for one in form.walk():
            name = one.attributes.get("name")
            if not name or one.tag not in ("input", "select", "textarea", "button"):
                continue
            if one.tag == "button" and one is not button:
                continue
            if one.attributes.get("type") in ("checkbox", "radio") and not one.on:
                continue
            fields.append((name, one.value))
        action = urljoin(self.path, form.attributes.get("action", self.path))
        if form.attributes.get("method") == "post":
            self.open(action, "POST", fields)
        else:
            self.open(f"{action.partition('?')[0]}?{urlencode(fields)}")

    def run(self, steps) -> str:
        """Carry out a plan; its answer."""
        for step in steps:
            self.do(step)
        return self.answer
