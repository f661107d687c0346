"""Policies for MiniWoB that read nothing but the observation: text in, one call out."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

LINE = re.compile(r'\s*(?:\[(\d+)\] )?(\w+)(?: "((?:\\.|[^"\\])*)")?(.*)')
VALUE = re.compile(r'value="((?:\\.|[^"\\])*)"')


class Line(NamedTuple):
    id: int
    role: str
    name: str
    rest: str

    @property
    def value(self):
        found = VALUE.search(self.rest)
        return re.sub(r"\\(.)", r"\1", found[1]) if found else ""


class Seen:
    """An observation, taken apart."""

    def __init__(self, text, memory):
        self.memory = memory
        goal, _, rest = text.partition("\n")
        self.goal = goal.removeprefix("Goal: ")
        self.lines = []
        for line in rest.splitlines():
            if not line.startswith(("Page:", "…", "Scrolled:")) and (m := LINE.match(line)):
                name = re.sub(r"\\(.)", r"\1", m[3] or "")
                self.lines.append(Line(int(m[1] or 0), m[2], name, m[4]))

    def all(self, role="", name=None, fold=False):
        for line in self.lines:
            same = name is None or (
                line.name.lower() == name.lower() if fold else line.name == name
            )
            if line.id and same and (not role or line.role == role):
                yield line

    def id(self, role="", name=None, fold=False, nth=0):
        return list(self.all(role, name, fold))[nth].id

    @property
    def quoted(self):
        return re.findall(r'"(.*?)"', self.goal)

    @property
    def texts(self):
        return [line.name for line in self.lines if line.role == "text"]

    def submit(self):
        return f"click({self.id('button', 'submit', fold=True)})"


def click(seen, name, role="", fold=False):
    return f"click({seen.id(role, name, fold)})"


def fill_once(seen, nth, text):
    """Fill the field of that place, then submit."""
    if "filled" in seen.memory:
        return seen.submit()
    seen.memory["filled"] = True
    fields = [
        x for x in seen.all() if x.role in ("textbox", "password", "date", "time", "spinbutton")
    ]
    return f"fill({fields[nth].id}, {quote(text)})"


def quote(text):
    return json.dumps(text, ensure_ascii=False)


def checkboxes(seen):
    names = re.search(r"Select (.*) and click Submit", seen.goal)[1]
    wanted = set() if names == "nothing" else set(names.split(", "))
    for box in (*seen.all("checkbox"), *seen.all("radio")):
        if box.name in wanted and "checked" not in box.rest:
            return f"click({box.id})"
    return seen.submit()


def choose(seen):
    names = re.search(r"Select (.*) from the (?:scroll )?list", seen.goal)[1].split(", ")
    if "chosen" in seen.memory:
        return seen.submit()
    seen.memory["chosen"] = True
    box = next(x for x in seen.all() if x.role in ("combobox", "listbox"))
    return f"select({box.id}, {quote(names)})"


def login(seen):
    done = seen.memory.setdefault("done", 0)
    seen.memory["done"] += 1
    if done == 2:
        return click(seen, "login", fold=True)
    fields = [x for x in seen.all() if x.role in ("textbox", "password")]
    return f"fill({fields[done].id}, {quote(seen.quoted[done])})"


def password(seen):
    done = seen.memory.setdefault("done", 0)
    seen.memory["done"] += 1
    if done == 2:
        return seen.submit()
    return f"fill({seen.id('password', nth=done)}, {quote(seen.quoted[0])})"


def date(seen):
    month, day, year = re.search(r"(\d\d)/(\d\d)/(\d{4})", seen.goal).groups()
    return fill_once(seen, 0, f"{year}-{month}-{day}")


def clock(seen):
    hour, minute, half = re.search(r"(\d+):(\d\d) ([AP])M", seen.goal).groups()
    return fill_once(seen, 0, f"{int(hour) % 12 + 12 * (half == 'P'):02}:{minute}")


def case(seen):
    upper = "upper case" in seen.goal
    return fill_once(seen, 0, seen.quoted[0].upper() if upper else seen.quoted[0].lower())


def arithmetic(seen):
    a, sign, b = re.search(r"(\d+) ([-+x*/]) (\d+) =", " ".join(seen.texts)).groups()
    a, b = int(a), int(b)
    return fill_once(seen, 0, str({"+": a + b, "-": a - b, "x": a * b, "*": a * b}[sign]))


def algebra(seen):
    a, sign, b, c = re.search(r"(\w+) ([-+]) (\w+) = (-?\d+)", " ".join(seen.texts)).groups()
    c, way = int(c), 1 if sign == "+" else -1
    x = c - way * int(b) if a == "x" else way * (c - int(a))
    return fill_once(seen, 0, str(x))


def sequence(seen):
    done = seen.memory.setdefault("done", 0)
    seen.memory["done"] += 1
    return click(seen, ("ONE", "TWO")[done])


COLOURS = {
    "red": "#ff0000", "blue": "#0000ff", "green": "#00ff00", "lime": "#00ff00",
    "yellow": "#ffff00", "magenta": "#ff00ff", "cyan": "#00ffff", "aqua": "#00ffff",
    "black": "#000000", "gray": "#808080", "grey": "#808080", "orange": "#ffa500",
    "purple": "#800080", "pink": "#ffc0cb", "brown": "#a52a2a", "white": "",
    "olive": "#808000", "blue-violet": "#8a2be2",
}  # fmt: skip


def colour(seen):
    wanted = COLOURS[re.search(r"Click on the (\S+) colored box", seen.goal)[1]]
    for box in seen.all("clickable"):
        if (wanted and wanted in box.rest) or (not wanted and "#" not in box.rest):
            return f"click({box.id})"
    raise LookupError(wanted)


def widget(seen):
    role = {"text": "textbox", "textarea": "textbox"}.get(seen.quoted[0], seen.quoted[0])
    return f"click({seen.id(role)})"


def grid(seen):
    spot = re.search(r"\(.*\)", seen.goal)[0]
    return f"click({next(x.id for x in seen.all() if spot in x.rest)})"


def nth_text(seen):
    nth = re.search(r"(\d)", seen.goal)
    return f"click({seen.id('textbox', nth=int(nth[1]) - 1 if nth else 0)})"


def word(seen):
    nth = int(re.search(r"(\d+)", seen.goal)[1])
    words = re.findall(r"[A-Za-z]+", seen.texts[0])
    return fill_once(seen, 0, words[nth - 1])


def table(seen):
    wanted = re.search(r"value of (.*) into", seen.goal)[1]
    cells = [line.name for line in seen.lines if line.role == "cell"]
    return fill_once(seen, 0, cells[cells.index(wanted) + 1])


def parity(seen):
    pairs, numbers = [], [t for t in seen.texts if re.fullmatch(r"-?\d+", t)]
    odd, even = list(seen.all("button", "Odd")), list(seen.all("button", "Even"))
    pairs = [(odd if int(n) % 2 else even)[i].id for i, n in enumerate(numbers)]
    done = seen.memory.setdefault("done", 0)
    seen.memory["done"] += 1
    return f"click({pairs[done]})" if done < len(pairs) else seen.submit()


def guess(seen):
    low, high = seen.memory.get("low", 0), seen.memory.get("high", 9)
    told = " ".join(seen.texts)
    if "last" in seen.memory and (found := re.search(r"(higher|lower) than (\d+)", told)):
        number = int(found[2])
        low, high = (number + 1, high) if found[1] == "higher" else (low, number - 1)
    seen.memory.update(low=low, high=high)
    if seen.memory.pop("typed", False):
        seen.memory["last"] = True
        return seen.submit()
    seen.memory["typed"] = True
    return f'fill({seen.id("spinbutton")}, "{(low + high) // 2}")'


def trash(seen):
    who = re.search(r"by (\S+) ", seen.goal)[1]
    for line in seen.all("clickable"):
        if "trash" in line.rest:
            return f"click({line.id})"
    return f"click({next(x.id for x in seen.all() if x.name.startswith(who + ' '))})"


def shape(seen):
    kinds = {"rect": "Rectangle", "circle": "Circle", "polygon": "Triangle"}
    for line in seen.lines:
        if line.role in kinds:
            return click(seen, kinds[line.role])
        if line.role == "svgtext":
            return click(seen, "Number" if line.name.isdigit() else "Letter")
    raise LookupError("no shape")


def copy(seen):
    if "filled" in seen.memory:
        return seen.submit()
    seen.memory["filled"] = True
    said, field = (
        next(x for x in seen.all("textbox") if f"id={name}" in x.rest)
        for name in ("to-copy", "answer-input")
    )
    return f"fill({field.id}, {quote(said.value)})"


def tabs(seen):
    wanted = seen.quoted[0]
    if link := next(seen.all("clickable", wanted), None) or next(
        (x for x in seen.all("clickable") if x.name.strip(",.") == wanted), None
    ):
        return f"click({link.id})"
    seen.memory["tab"] = seen.memory.get("tab", 0) + 1
    return f"click({seen.id('tab', nth=seen.memory['tab'])})"


def link(seen):
    found = [x for x in seen.all("clickable") if x.name.strip(",.") == seen.quoted[0].strip(",.")]
    return f"click({found[0].id})"


POLICIES = {
    "click-test": lambda s: f"click({s.id('button')})",
    "click-test-2": lambda s: click(s, "ONE"),
    "click-test-transfer": lambda s: click(s, "ONE"),
    "click-button": lambda s: click(s, s.quoted[0], "button"),
    "unicode-test": lambda s: click(s, s.quoted[0], "button"),
    "click-button-sequence": sequence,
    "click-link": link,
    "click-dialog": lambda s: click(s, "Close", "button"),
    "click-dialog-2": lambda s: click(s, {"x": "Close"}.get(s.quoted[0], s.quoted[0]), "button"),
    "click-checkboxes": checkboxes,
    "click-checkboxes-large": checkboxes,
    "click-checkboxes-transfer": checkboxes,
    "click-option": checkboxes,
    "click-tab": lambda s: click(s, re.search(r"Tab #\d", s.goal)[0], "tab"),
    "click-tab-2": tabs,
    "click-color": colour,
    "click-widget": widget,
    "choose-list": choose,
    "click-scroll-list": choose,
    "enter-text": lambda s: fill_once(s, 0, s.quoted[0]),
    "enter-text-2": case,
    "enter-text-dynamic": lambda s: fill_once(s, 0, s.quoted[0]),
    "enter-password": password,
    "enter-date": date,
    "enter-time": clock,
    "focus-text": nth_text,
    "focus-text-2": nth_text,
    "login-user": login,
    "simple-arithmetic": arithmetic,
    "simple-algebra": algebra,
    "read-table": table,
    "find-word": word,
    "text-transform": lambda s: fill_once(s, 0, s.texts[0]),
    "odd-or-even": parity,
    "guess-number": guess,
    "grid-coordinate": grid,
    "identify-shape": shape,
    "email-inbox-delete": trash,
    "copy-paste": copy,
}
