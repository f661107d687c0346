"""Reading a page: the rows of all of its frames, put together."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from json import dumps
from typing import TYPE_CHECKING, Any

from agentgym.sandboxes.openpage import OpenPage
from agentgym.sandboxes.page import HIT, IN_VIEW, Box, PageState, Row, Tab
from agentgym.sandboxes.traffic import Frame, Overtaken

if TYPE_CHECKING:
    from agentgym.sandboxes.session import Session

_MOST_FRAMES = 30
_DEEPEST_FRAME = 4
_LONGEST_URL = 2_000
_FRAME_ROLES = ("iframe", "frame")
_NOTHING: Box = (0, 0, 0, 0)


class Reader:
    """What is known of the elements of an episode: which number is whose, and where."""

    def __init__(self) -> None:
        self.owners: dict[int, tuple[OpenPage, Frame]] = {}
        """The page and frame that showed an element."""
        self.rows: dict[int, Row] = {}
        """Every element shown in this episode, as it was last."""
        self._first = 0
        self._frames = 0

    async def read(self, session: Session, *, viewport: bool, most: int) -> PageState:
        """The page of the active tab.

        Raises:
            Overtaken, Asked, Hung, BrowserError: As `OpenPage.call`.
        """
        page, settings = session.page, session.settings
        asked = {
            "most": most,
            "viewport": viewport,
            "attrs": settings.attributes,
            "shapes": settings.shapes,
            "silent": settings.silent,
        }
        self._frames = 0
        top = Frame(page.main)
        told = await self._snapshot(page, top, asked)
        rows = await self._merged(page, top, told, asked, 0, 0)
        probe = session.probed
        if settings.probe and probe is None:
            probe = await page.advance(0, settings.probe)
        tabs = [Tab("", each.url[:_LONGEST_URL]) for each in session.pages]
        tabs[session.active] = Tab(told["title"], page.url[:_LONGEST_URL])
        across, down, width, height = told["scroll"]
        return PageState(
            url=told["url"][:_LONGEST_URL],
            title=told["title"],
            rows=rows,
            size=(told["size"][0], told["size"][1]),
            scroll=(across, down, width, height),
            cut=told["cut"],
            outside=told["outside"],
            focused=told["focused"],
            tabs=tabs,
            tab=session.active,
            events=session.take_events(),
            probe=probe,
        )

    async def _snapshot(self, page: OpenPage, frame: Frame, asked: dict[str, Any]) -> Any:
        expression = f"snapshot({dumps({**asked, 'first': self._first})})"
        told = await page.read(expression, frame.id, page.patience_s)
        self._first = max(self._first, told["last"])
        return told

    async def _merged(
        self,
        page: OpenPage,
        frame: Frame,
        told: Any,
        asked: dict[str, Any],
        depth: int,
        level: int,
        seen: Box | None = None,
    ) -> list[Row]:
        """Rows of a frame and of the frames in it, boxes in pixels of the viewport.

        `seen` is what is seen of a frame that is in another.
        """
        own = _rows(told, round(frame.x), round(frame.y), depth)
        if seen is not None:
            own = [row if _overlap(row.box, seen) else _out_of_view(row) for row in own]
        rows: list[Row] = []
        taken = 0
        for place, number in zip(*told["ids"], strict=True):
            row = own[place]
            self.owners[number] = (page, frame)
            self.rows[number] = row
            if row.role in _FRAME_ROLES and row.in_view and level < _DEEPEST_FRAME:
                self._frames += 1
                if self._frames <= _MOST_FRAMES:
                    rows += own[taken : place + 1]
                    rows += await self._inside(page, frame, row, asked, level + 1, seen)
                    taken = place + 1
        return rows + own[taken:]

    async def _inside(
        self,
        page: OpenPage,
        outer: Frame,
        row: Row,
        asked: dict[str, Any],
        level: int,
        around: Box | None,
    ) -> list[Row]:
        try:
            found = await self._frame_of(page, outer, row.id)
            if found is None:
                return []
            inner = await page.read(f"inner({row.id})", outer.id)
            frame = Frame(found, outer.x + inner["x"], outer.y + inner["y"])
            told = await self._snapshot(page, frame, asked)
        except (Overtaken, KeyError):
            note = "(this frame cannot be read)"
            return [Row(0, row.depth + 1, "text", note, None, (), None, 0, {})]
        seen = _common(row.box or _NOTHING, around or (0, 0, *page.settings.viewport))
        rows = await self._merged(page, frame, told, asked, row.depth + 1, level, seen)
        await self._cover(page, outer, row.id, rows, seen)
        return [each for each in rows if each.in_view or not asked["viewport"] or _is_flat(each)]

    async def _cover(
        self, page: OpenPage, outer: Frame, number: int, rows: list[Row], seen: Box
    ) -> None:
        """Note which rows of a frame something of the page around it lies over."""
        hit = [place for place, row in enumerate(rows) if row.hit]
        if not hit:
            return
        points = []
        for place in hit:
            left, top, right, bottom = _common(rows[place].box or _NOTHING, seen)
            points.append(((left + right) / 2 - outer.x, (top + bottom) / 2 - outer.y))
        told = await page.read(f"areOn({number}, {dumps(points)})", outer.id)
        for place, on in zip(hit, told["on"], strict=True):
            if not on:
                row = rows[place] = rows[place]._replace(flags=rows[place].flags & ~HIT)
                self.rows[row.id] = row

    async def _frame_of(self, page: OpenPage, outer: Frame, number: int) -> str | None:
        """Which frame an element holds."""
        known = {row: frame for frame, row in page.frame_rows.items()}
        if number in known:
            return known[number]
        found = await page.call(
            "Runtime.evaluate",
            expression=f"__agentgym.element({number})",
            contextId=page.world(outer.id),
        )
        node = await page.call("DOM.describeNode", objectId=found["result"]["objectId"], depth=0)
        frame = node["node"].get("frameId")
        if frame:
            page.frame_rows[frame] = number
        return str(frame) if frame else None


def _common(box: Box, other: Box) -> Box:
    left, top, right, bottom = box
    return (max(left, other[0]), max(top, other[1]), min(right, other[2]), min(bottom, other[3]))


def _overlap(box: Box | None, other: Box) -> bool:
    left, top, right, bottom = _common(box or _NOTHING, other)
    return left < right and top < bottom


def _is_flat(row: Row) -> bool:
    """Whether it has no place of its own, as the options of a list that is closed."""
    return not _overlap(row.box, row.box or _NOTHING)


def _out_of_view(row: Row) -> Row:
    return row._replace(flags=row.flags & ~(IN_VIEW | HIT))


def _rows(told: Any, x: int, y: int, depth: int) -> list[Row]:
    """The rows of a frame that is at x, y: `snapshot` in `snapshot.js` gives them as columns.

    A page may have ten thousand of them: none is touched by a line of Python of its own.
    """
    roles, depths, edges = told["roleNames"], told["depths"], told["boxes"]
    if depth:
        depths = [each + depth for each in depths]
    if x or y:
        edges = [each + (y if i % 2 else x) for i, each in enumerate(edges)]
    edge = iter(edges)

    def column(name: str, default: Any) -> list[Any]:
        each = [default] * len(depths)
        for place, value in zip(*told[name], strict=True):
            each[place] = value
        return each

    rows = map(
        Row,
        column("ids", 0),
        depths,
        map(roles.__getitem__, told["roles"]),
        told["names"].split("\n"),
        column("values", None),
        column("states", ()),
        zip(edge, edge, edge, edge, strict=True),
        told["flags"],
        column("attributes", {}),
    )
    with _nothing_collected():
        return list(rows)


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """No search for garbage among tens of thousands of new objects, none of which can be any.

    It would take as long as making them. Threads may overlap: who found it on turns it on again.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
