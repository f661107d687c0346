"""What an expert would do next on a site, found from its plan and from the page that is shown.

A plan is a list of steps by role and name. It is followed by what the page says, not by counting:
a field that holds its text is filled, however that came about. Whoever leaves the way is led back
to the start, and the plan begins anew; what was done meanwhile may then be done twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from agentgym.actions import Call
from agentgym.actions.pointing import View
from agentgym.sandboxes.page import PageState, Row
from agentgym.tasks.sites.contract import Step
from agentgym.tasks.sites.core import Episode

_LIKE = {
    "textbox": frozenset({"textbox", "password", "date", "time", "datetime", "month", "week"}),
}
"""Roles on a page that a role of a plan stands for, where they are more than itself."""
_LONGEST_VALUE = 300
"""Characters of a field's text that a page is read with."""


class Wanted(NamedTuple):
    """A call that is to be made next, and the element it is about, if there is one."""

    verb: str
    arguments: Mapping[str, Any]
    row: Row | None = None


def find(page: PageState, step: Step) -> Row | None:
    """The first element of the step's role and name that can be used."""
    roles = _LIKE.get(step.role, (step.role,))
    for row in page.rows:
        if row.id and row.role in roles and row.name == step.name and "disabled" not in row.states:
            return row
    return None


def options(page: PageState, row: Row) -> list[Row]:
    """Options of a list."""
    at = page.rows.index(row) + 1
    found = []
    for each in page.rows[at:]:
        if each.depth <= row.depth:
            break
        if each.role == "option":
            found.append(each)
    return found


def holds(step: Step, row: Row | None, page: PageState) -> bool:
    """Whether the page is as the step would leave it, so that there is nothing to do."""
    if step.verb == "goto":
        return page.url.partition(".test")[2] == step.value
    if row is None or step.verb == "done":
        return False
    if step.verb == "fill":
        return (row.value or "") == step.value[:_LONGEST_VALUE]
    if step.verb == "select":
        return row.value == step.value
    if step.verb == "check":
        return ("checked" in row.states) == (step.value == "true")
    return row.role == "radio" and "checked" in row.states


def is_click_on(call: Call, row: Row) -> bool:
    """Whether a call, its points in pixels of the viewport, clicks an element."""
    given = call.arguments
    if call.verb == "click" and "id" in given:
        return bool(given["id"] == row.id)
    if call.verb != "click_at" or row.box is None or not row.hit:
        return False
    left, top, right, bottom = row.box
    return bool(left <= given["x"] <= right and top <= given["y"] <= bottom)


class Guide:
    """Follows an episode and says what to do next.

    Args:
        episode: The episode.
        plan: What it goes by at first; the episode's oracle if None.
    """

    def __init__(self, episode: Episode, plan: Iterator[Step] | None = None) -> None:
        self._episode = episode
        self.step: Step | None = None
        """What is to be done next."""
        self._lost = False
        self._keys = ""
        """Keys that were pressed last."""
        self._begin(plan)

    def _begin(self, plan: Iterator[Step] | None = None) -> None:
        self._plan = self._episode.oracle() if plan is None else plan
        look = self._episode.look
        self._dismissals = int(look.popup) + int(look.banner)
        self._advance()

    def _advance(self) -> None:
        self.step = next(self._plan, None)
        self._keys = ""

    def follow(self, calls: Sequence[Call], before: PageState | None, page: PageState) -> None:
        """Note what was done on the page before, and what holds on the page now.

        Args:
            calls: What was carried out, points in pixels of the viewport.
            before: The page it was done on; None at the start.
            page: What it led to.
        """
        for call in calls:
            if call.verb == "press":
                self._keys = call.arguments["keys"]
            elif call.verb != "wait":
                self._keys = ""
            if self.step is None or before is None:
                continue
            row = find(before, self.step)
            if self.step.verb == "click" and row is not None and is_click_on(call, row):
                self._dismissals -= self._dismissals > 0
                self._advance()
        self._skip(page)
        self._lost = self._astray(page)
        if self._lost and page.url == self._episode.start_url and before is not None:
            self._begin()
            self._skip(page)
            self._lost = self._astray(page)

    def _skip(self, page: PageState) -> None:
        """Go on to the first step that is not done yet."""
        while self.step is not None:
            row = find(page, self.step)
            if self._dismissals > 0 and row is None:
                self._dismissals -= 1  # it was answered some other way
            elif not holds(self.step, row, page):
                return
            self._advance()

    def _astray(self, page: PageState) -> bool:
        """Whether the next step is not to be done on this page."""
        if self.step is None or self.step.verb in ("done", "goto"):
            return False
        return find(page, self.step) is None and not self._is_below(page)

    def _is_below(self, page: PageState) -> bool:
        _, down, _, height = page.scroll
        return page.outside > 0 and down + page.size[1] < height - 1

    # ---------------------------------------------------------------- what to do next

    def by_number(self, page: PageState) -> Wanted | None:
        """The next call by numbers of elements; None if there is none that helps."""
        step = self.step
        if page.dialog:
            return Wanted("dialog", {"accept": True})
        if step is None:
            return None
        if step.verb == "done":
            return Wanted("done", {"answer": step.value})
        if step.verb == "goto" or self._lost:
            path = step.value if step.verb == "goto" else "/"
            return self._to(path, page)
        row = find(page, step)
        if row is None:
            return Wanted("scroll", {"dy": "down"})
        if step.verb == "fill":
            return Wanted("fill", {"id": row.id, "text": step.value}, row)
        if step.verb == "select":
            return Wanted("select", {"id": row.id, "value": [step.value]}, row)
        if step.verb == "check":
            return Wanted("check", {"id": row.id, "on": step.value == "true"}, row)
        return Wanted("click", {"id": row.id}, row)

    def by_point(self, page: PageState, view: View) -> Wanted | None:
        """The next call by points in pixels of the viewport, and by keys."""
        step = self.step
        if page.dialog or step is None:
            return Wanted("press", {"keys": "Enter"}) if page.dialog else None
        if step.verb == "done":
            return Wanted("done", {"answer": step.value})
        if view.region != (0.0, 0.0, float(page.size[0]), float(page.size[1])):
            return Wanted("unzoom", {})
        row = self._way_home(page) if self._lost or step.verb == "goto" else find(page, step)
        if row is None:
            return Wanted("scroll", {"dy": "down"}) if self._is_below(page) else None
        if (far := _to_scroll(row, page)) is not None:
            return Wanted("scroll", {"dy": str(far)}, None)
        if step.verb == "fill" and not self._lost:
            return self._typed(step, row, page)
        if step.verb == "select" and not self._lost:
            return self._chosen(step, row, page)
        return _click(row, page)

    def _typed(self, step: Step, row: Row, page: PageState) -> Wanted:
        if "focused" not in row.states:
            return _click(row, page)
        if row.value and self._keys != "Control+a":
            return Wanted("press", {"keys": "Control+a"}, row)
        if not step.value:
            return Wanted("press", {"keys": "Delete"}, row)
        return Wanted("type", {"text": step.value}, row)

    def _chosen(self, step: Step, row: Row, page: PageState) -> Wanted:
        for option in options(page, row):
            if option.name == step.value and option.box and option.box[2] > option.box[0]:
                return _click(option, page)
        return _click(row, page)

    def _to(self, path: str, page: PageState) -> Wanted | None:
        url = f"http://{self._episode.site.host}{path}"
        return None if page.url == url else Wanted("goto", {"url": url})

    def _way_home(self, page: PageState) -> Row | None:
        """A link to the start."""
        if page.url == self._episode.start_url:
            return None
        links = (row for row in page.rows if row.attributes.get("href") == "/")
        return next(links, None)


def _click(row: Row, page: PageState) -> Wanted:
    """A click at the middle of what is in view of an element."""
    left, top, right, bottom = row.box or (0, 0, 0, 0)
    x = (max(left, 0) + min(right, page.size[0])) / 2
    y = (max(top, 0) + min(bottom, page.size[1])) / 2
    return Wanted("click_at", {"x": x, "y": y}, row)


def _to_scroll(row: Row, page: PageState) -> int | None:
    """How far an element is from the middle of the page, if it must be brought there."""
    if row.box is None or (row.hit and row.box[1] >= 0 and row.box[3] <= page.size[1]):
        return None
    _, down, _, height = page.scroll
    wanted = round((row.box[1] + row.box[3] - page.size[1]) / 2)
    possible = max(-down, min(wanted, height - page.size[1] - down))
    return possible if abs(possible) > 1 else None
