"""What ALFWorld's commands do: each is read, done to the state if that is possible, and answered.

An act takes the words after its verb and returns what is said, or None where the command is not
possible, and then nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agentgym.envs import alfworld_text as text
from agentgym.tasks.alfworld_game import TRAIT

if TYPE_CHECKING:
    from agentgym.envs.alfworld_engine import Board, State

Act = Callable[["Board", "State", str], str | None]


class Treatment(NamedTuple):
    """What can be done to an object in hand at an appliance."""

    appliance: str
    """Type of receptacle."""
    trait: int
    """What the object must be."""


TREATMENTS: Mapping[str, Treatment] = {
    "clean": Treatment("sinkbasin", TRAIT["cleanable"]),
    "heat": Treatment("microwave", TRAIT["heatable"]),
    "cool": Treatment("fridge", TRAIT["coolable"]),
}


def _go(board: Board, state: State, words: str) -> str | None:
    if not words.startswith("to "):
        return None
    receptacle = board.receptacle_number.get(words[3:], -1)
    if receptacle < 0 or not (board.relaxed or board.place[receptacle] != state.location):
        return None
    state.location = board.place[receptacle]
    if board.lamps:
        state.won = board.goal_holds(state)
    return board.arrive[receptacle] + board.describe(state, receptacle)


def _open(board: Board, state: State, words: str) -> str | None:
    receptacle = _at_hand(board, state, words)
    if receptacle < 0 or not (board.openable & ~state.opened) >> receptacle & 1:
        return None
    state.opened |= 1 << receptacle
    return text.OPEN.format(words) + board.describe(state, receptacle)


def _close(board: Board, state: State, words: str) -> str | None:
    receptacle = _at_hand(board, state, words)
    if receptacle < 0 or not (board.openable & state.opened) >> receptacle & 1:
        return None
    state.opened &= ~(1 << receptacle)
    return text.CLOSE.format(words)


def _take(board: Board, state: State, words: str) -> str | None:
    name, _, receptacle_name = words.partition(" from ")
    thing = board.object_number.get(name, -1)
    receptacle = _at_hand(board, state, receptacle_name)
    if thing < 0 or receptacle < 0 or not board.can_take(state, thing, receptacle):
        return None
    state.contents[receptacle] = tuple([i for i in state.contents[receptacle] if i != thing])
    state.within[thing] &= ~(1 << receptacle)
    state.where[thing] &= ~(1 << state.location)
    state.taken[receptacle] |= 1 << thing
    _note(board, state, thing)
    state.held = thing
    state.known |= 1 << thing
    if state.won or board.lamps:
        state.won = board.goal_holds(state)
    return text.TAKE.format(name, receptacle_name)


def _put(joint: str, board: Board, state: State, words: str) -> str | None:
    name, _, receptacle_name = words.partition(joint)
    thing = board.object_number.get(name, -1)
    receptacle = _at_hand(board, state, receptacle_name)
    if thing != state.held or receptacle < 0 or not board.can_put(state, receptacle):
        return None
    state.contents[receptacle] = tuple(sorted({*state.contents[receptacle], thing}))
    state.within[thing] |= 1 << receptacle
    state.where[thing] |= 1 << state.location
    state.taken[receptacle] &= ~(1 << thing)
    _note(board, state, thing)
    state.held = -1
    state.won = board.goal_holds(state)
    return board.dialect.put_feedback.format(name, receptacle_name)


def _treat(verb: str, board: Board, state: State, words: str) -> str | None:
    name, _, receptacle_name = words.partition(" with ")
    thing = board.object_number.get(name, -1)
    receptacle = _at_hand(board, state, receptacle_name)
    if thing != state.held or receptacle < 0 or not board.can_treat(state, verb, receptacle):
        return None
    bit = 1 << thing
    if verb == "clean":
        state.clean |= bit
    elif verb == "heat":
        state.hot, state.cool = state.hot | bit, state.cool & ~bit
    else:
        state.cool, state.hot = state.cool | bit, state.hot & ~bit
    state.won = board.goal_holds(state)
    return text.TREAT.format(verb, name, receptacle_name)


def _use(board: Board, state: State, words: str) -> str | None:
    thing = board.object_number.get(words, -1)
    if thing < 0 or not board.can_use(state, thing):
        return None
    state.on |= 1 << thing
    state.won = board.goal_holds(state)
    return text.USE.format(words)


def _slice(board: Board, state: State, words: str) -> str | None:
    name, _, knife_name = words.partition(" with ")
    thing, knife = board.object_number.get(name, -1), board.object_number.get(knife_name, -1)
    if thing < 0 or knife != state.held or not board.can_slice(state, thing):
        return None
    state.sliced |= 1 << thing
    return text.SLICE.format(name, knife_name)


def _examine(board: Board, state: State, words: str) -> str | None:
    receptacle = _at_hand(board, state, words)
    if receptacle >= 0:
        return board.describe(state, receptacle)
    thing = board.object_number.get(words, -1)
    return None if thing < 0 or thing != state.held else _looked_at(board, state, thing)


def _inventory(board: Board, state: State, words: str) -> str | None:
    if words:
        return None
    if state.held < 0:
        return text.EMPTY_HANDED
    return text.CARRYING.format(text.listed([board.object_names[state.held]]))


def _help(board: Board, state: State, words: str) -> str | None:
    return None if words else board.dialect.help


def _look(board: Board, state: State, words: str) -> str | None:
    if words:
        return None
    if state.location not in board.here:
        return text.ROOM.format(text.NOTHING)
    return look_here(board, state)


def look_here(board: Board, state: State) -> str:
    """Which receptacles are here, and what was put beside them."""
    here = board.here[state.location]
    moved = [
        name
        for thing, name in enumerate(board.object_names)
        for receptacle in here
        if state.taken[receptacle] >> thing & 1 and state.where[thing] >> state.location & 1
    ]
    facing = [board.receptacle_names[r] for r in here]
    joined = ", ".join(facing[:-1]) + f", and {facing[-1]}" if len(facing) > 1 else facing[0]
    return text.FACING.format(joined, text.listed(moved))


def _looked_at(board: Board, state: State, thing: int) -> str:
    """What is seen of the object in hand."""
    name, traits = board.object_names[thing], board.traits[thing]
    if traits & TRAIT["isreceptacleobject"]:
        return text.HOLDER.format(name, text.listed(board.inside.get(thing, [])))
    clean, hot, cool, sliced = (
        bool(mask >> thing & 1) for mask in (state.clean, state.hot, state.cool, state.sliced)
    )
    warmth = "hot" if hot else "cool" if cool else ""
    if warmth == "cool" and not clean and not sliced:
        warmth = "cold"
    treated = " and ".join(filter(None, (warmth, "clean" if clean else "")))
    if treated:
        return text.STATE.format(treated + (" sliced" if sliced else ""), name)
    if traits & TRAIT["toggleable"] and state.on >> thing & 1:
        return text.SWITCHED_ON.format(name)
    if sliced and traits & TRAIT["sliceable"]:
        return text.STATE.format("sliced", name)
    return text.ORDINARY.format(name)


def _at_hand(board: Board, state: State, name: str) -> int:
    """The receptacle of that name, if it is where the agent is; else -1."""
    receptacle = board.receptacle_number.get(name, -1)
    return receptacle if receptacle >= 0 and board.place[receptacle] == state.location else -1


def _note(board: Board, state: State, thing: int) -> None:
    """Note whether an object is where it was at the start."""
    place = (state.within[thing], state.where[thing])
    if place == (board.within[thing], board.where[thing]):
        state.moved.pop(thing, None)
    else:
        state.moved[thing] = place


_ALWAYS: Mapping[str, Act] = {
    "go": _go,
    "open": _open,
    "close": _close,
    "take": _take,
    "use": _use,
    "slice": _slice,
    "examine": _examine,
    "inventory": _inventory,
    "look": _look,
    **{verb: partial(_treat, verb) for verb in TREATMENTS},
}


def verbs(dialect: text.Dialect) -> Mapping[str, Act]:
    """The act of each verb of a dialect."""
    put, joint = dialect.put.split("{}")[:2]
    known: dict[str, Act] = {**_ALWAYS, put.strip(): partial(_put, joint)}
    if dialect.help is not None:
        known["help"] = _help
    return known
