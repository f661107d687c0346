"""What ALFWorld says, word for word, in the two dialects of its game files.

These strings and templates are fixed by ALFWorld's grammar (`alfworld/data/alfred.twl2` of alfworld
0.4.2, and the game files of releases 0.2.2 and 0.4.0; https://github.com/alfworld/alfworld, MIT
License, Copyright (c) 2020 Mohit Shridhar): an engine that is to be exchanged for ALFWorld's own
must answer with them exactly. Nothing else of ALFWorld is here.
"""

from __future__ import annotations

from typing import NamedTuple

VERSIONS = ("2.1.2", "2.1.1")
"""Of the game files; the first is the newest."""

WELCOME = "-= Welcome to TextWorld, ALFRED! =-"
TASK = "Your task is to: {}."
ROOM = "You are in the middle of a room. Looking quickly around you, you see {}."
FACING = "You are facing the {}. Next to it, you see {}."
NOTHING_HAPPENS = "Nothing happens."
NOTHING = "nothing"
EMPTY_HANDED = "You are not carrying anything."
CARRYING = "You are carrying: {}."
IN = "The {} is open. In it, you see {}."
CLOSED = "The {} is closed."
ON = "On the {}, you see {}."
ARRIVE = "You arrive at {}. "
OPEN = "You open the {}. "
CLOSE = "You close the {}."
TAKE = "You pick up the {} from the {}."
USE = "You turn on the {}."
TREAT = "You {} the {} using the {}."
SLICE = "You sliced the {} with the {}."
HOLDER = "This is a normal {}. In it, you see {}."
STATE = "This is a {} {}."
SWITCHED_ON = "This {} is on."
ORDINARY = "There's nothing special about {}."

LISTED_IN_HELP = (
    ("look", "look around your current location"),
    ("inventory", "check your current inventory"),
    ("go to (receptacle)", "move to a receptacle"),
    ("open (receptacle)", "open a receptacle"),
    ("close (receptacle)", "close a receptacle"),
    ("take (object) from (receptacle)", "take an object from a receptacle"),
    ("move (object) to (receptacle)", "place an object in or on a receptacle"),
    ("examine (something)", "examine a receptacle or an object"),
    ("use (object)", "use an object"),
    ("heat (object) with (receptacle)", "heat an object using a receptacle"),
    ("clean (object) with (receptacle)", "clean an object using a receptacle"),
    ("cool (object) with (receptacle)", "cool an object using a receptacle"),
    ("slice (object) with (object)", "slice an object using a sharp object"),
)


class Dialect(NamedTuple):
    """What differs between the versions."""

    version: str
    put: str
    """Command, of object and receptacle."""
    put_feedback: str
    arrives_at_location: bool
    """Whether arriving names the location ("loc 12") instead of the receptacle."""
    help: str | None
    """What `help` prints; None where there is no such command."""


def _help() -> str:
    lines = []
    for command, meaning in LISTED_IN_HELP:
        # One line of the original is two columns short.
        width = 32 if command.startswith("move") else 34
        lines.append(f"  {command + ':':{width}}{meaning}")
    return "Available commands:\n" + "\n".join(lines) + "\n"


DIALECTS = {
    dialect.version: dialect
    for dialect in (
        Dialect("2.1.2", "move {} to {}", "You move the {} to the {}.", False, _help()),
        Dialect("2.1.1", "put {} in/on {}", "You put the {} in/on the {}.", True, None),
    )
}


def listed(names: list[str]) -> str:
    """Things as ALFWorld lists them: `a mug 1, a pen 2, and a cup 1`."""
    if not names:
        return NOTHING
    if len(names) == 1:
        return f"a {names[0]}"
    return "a " + ", a ".join(names[:-1]) + f", and a {names[-1]}"
