"""Instructions that single out one element of a screen, and the proof that they do.

A `Reference` says which element is meant: by its label and kind, where that is ambiguous by the row
or item that it is in, else by its place among those alike. `resolve` finds every element that a
reference fits; an instruction is used only if that is the target alone. Ambiguity is judged
strictly: what is in view counts, covered or cut, and nobody is expected to tell a link from a
button by its looks.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from agentgym.tasks.grounding_pages import Element, Screenshot

NOUNS = {
    "link": "link",
    "button": "button",
    "textbox": "text field",
    "searchbox": "search field",
    "spinbutton": "number field",
    "combobox": "drop-down list",
    "checkbox": "checkbox",
    "radio": "radio button",
    "slider": "slider",
    "switch": "switch",
    "tab": "tab",
    "menuitem": "menu item",
    "date": "date field",
    "time": "time field",
    "file": "file field",
    "password": "password field",
}
"""What each role is called; what has another role is no target."""
VERBS = {
    "link": ("Click {}", "Follow {}"),
    "button": ("Click {}", "Press {}"),
    "checkbox": ("Click {}", "Toggle {}"),
    "radio": ("Click {}", "Choose {}"),
    "combobox": ("Click {}", "Open {}"),
    "textbox": ("Click {}", "Put the cursor into {}"),
    "searchbox": ("Click {}", "Put the cursor into {}"),
}
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
AXES = {"top": 1, "left": 0}
"""From where places are counted: which coordinate of a box."""
LONGEST_LABEL = 60
_PRESSED = frozenset({"link", "button", "tab", "menuitem"})
"""Roles that look alike."""


class Reference(NamedTuple):
    """Which element is meant."""

    label: str
    role: str = ""
    """Whatever it is, if empty."""
    part_kind: str = ""
    """`row` or `item`, where `piece` is told."""
    piece: str = ""
    """A text of the row or item that it is in."""
    ordinal: int = 0
    """Its place among those that fit otherwise, from 1."""
    axis: str = ""
    """Counted from there: of `AXES`."""

    def __str__(self) -> str:
        said = f'"{self.label}"'
        if self.role:
            place = f"{ORDINALS[self.ordinal - 1]} " if self.ordinal else ""
            said = f"the {place}{said} {NOUNS[self.role]}"
        if self.piece:
            part = "row of" if self.part_kind == "row" else "item with"
            said += f' in the {part} "{self.piece}"'
        return f"{said}, counted from the {self.axis}" if self.ordinal else said


def fold(text: str) -> str:
    """A text without what does not tell it from others: case and spaces."""
    return " ".join(text.casefold().split())


def resolve(reference: Reference, screenshot: Screenshot) -> list[Element]:
    """Every element of a screen that a reference may mean."""
    wanted = fold(reference.label)
    found = [e for e in screenshot.elements if wanted in (fold(e.label), fold(e.name))]
    if reference.role:
        found = [e for e in found if _looks_like(e.role, reference.role)]
    if reference.piece:
        piece = fold(reference.piece)
        found = [e for e in found if piece in map(fold, e.pieces)]
    if not reference.ordinal:
        return found
    ordered = _in_order(found, reference.axis)
    return ordered[reference.ordinal - 1 :][:1]


def _looks_like(role: str, other: str) -> bool:
    """Whether one may be taken for the other; what is of no role we know, for anything."""
    return role == other or role not in NOUNS or {role, other} <= _PRESSED


def _in_order(found: Iterable[Element], axis: str) -> list[Element]:
    """Elements from one side to the other; none, unless all can be seen and told apart so."""
    side = AXES[axis]
    ordered = sorted(found, key=lambda e: e.box[side])
    apart = all(one.box[side + 2] <= next_.box[side] for one, next_ in pairwise(ordered))
    return ordered if apart and all(e.whole for e in ordered) else []


def refer(target: Element, screenshot: Screenshot, rng: random.Random) -> Reference | None:
    """A reference that means this element and no other; None if there is none."""
    options = [
        reference
        for reference in _candidates(target, screenshot)
        if resolve(reference, screenshot) == [target]
    ]
    return rng.choice(options) if options else None


def _candidates(target: Element, screenshot: Screenshot) -> Iterator[Reference]:
    if target.role not in NOUNS or not _can_be_quoted(target.label):
        return
    plain = Reference(target.label, target.role)
    rivals = resolve(plain, screenshot)
    if len(rivals) == 1:
        yield plain
        if target.role in _PRESSED and not target.twin and _alone(target, screenshot):
            yield Reference(target.label)
        return
    labels = Counter(fold(element.label) for element in screenshot.elements)
    for piece in target.pieces:
        if len(piece) >= 2 and _can_be_quoted(piece) and labels[fold(piece)] <= 1:
            within = plain._replace(part_kind=target.part_kind, piece=piece)
            inside = resolve(within, screenshot)
            yield within
            if all(element.part == target.part for element in inside):
                yield from _counted(within, target, inside)
    yield from _counted(plain, target, rivals)


def _can_be_quoted(text: str) -> bool:
    return 0 < len(text) <= LONGEST_LABEL and '"' not in text


def _counted(plain: Reference, target: Element, rivals: Sequence[Element]) -> Iterator[Reference]:
    if not 2 <= len(rivals) <= len(ORDINALS):
        return
    alike = (target.role, fold(target.label))
    if any((rival.role, fold(rival.label)) != alike for rival in rivals):
        return
    for axis in AXES:
        ordered = _in_order(rivals, axis)
        if target in ordered:
            yield plain._replace(ordinal=ordered.index(target) + 1, axis=axis)


def _alone(target: Element, screenshot: Screenshot) -> bool:
    """Whether its label is nowhere else on the screen, as a text of no other kind either."""
    return fold(target.label) not in map(fold, screenshot.texts)


def instruct(reference: Reference, role: str, rng: random.Random) -> str:
    """A reference as an instruction: `Click the "Save" button`."""
    return rng.choice(VERBS.get(role, ("Click {}",))).format(reference)
