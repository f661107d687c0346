"""What ALFWorld's commands do to a state, and what is said of it; each is known to be possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from agentgym.envs import alfworld_text as text
from agentgym.tasks.alfworld_game import TRAIT

if TYPE_CHECKING:
    from agentgym.envs.alfworld_engine import Board, State


def go(board: Board, state: State, receptacle: int, _: int) -> str:
    """Go to a receptacle elsewhere."""
    state.location = board.place[receptacle]
    if board.lamps:
        state.won = board.goal_holds(state)
    return board.arrive[receptacle] + board.describe(state, receptacle)


def open_(board: Board, state: State, receptacle: int, _: int) -> str:
    """Open a receptacle here."""
    state.opened |= 1 << receptacle
    return text.OPEN.format(board.receptacle_names[receptacle]) + board.describe(state, receptacle)


def close(board: Board, state: State, receptacle: int, _: int) -> str:
    """Close a receptacle here."""
    state.opened &= ~(1 << receptacle)
    return text.CLOSE.format(board.receptacle_names[receptacle])


def take(board: Board, state: State, thing: int, receptacle: int) -> str:
    """Take an object out of a receptacle."""
    state.contents[receptacle] = tuple([i for i in state.contents[receptacle] if i != thing])
    _lies(board, state, thing, state.within[thing] & ~(1 << receptacle))
    state.taken[receptacle] |= 1 << thing
    state.where[thing] &= ~(1 << state.location)
    state.held = thing
    if board.lamps:
        state.won = board.goal_holds(state)
    return text.TAKE.format(board.object_names[thing], board.receptacle_names[receptacle])


def put(board: Board, state: State, thing: int, receptacle: int) -> str:
    """Put what is in hand into a receptacle."""
    state.contents[receptacle] = tuple(sorted({*state.contents[receptacle], thing}))
    _lies(board, state, thing, state.within[thing] | 1 << receptacle)
    state.taken[receptacle] &= ~(1 << thing)
    state.where[thing] |= 1 << state.location
    state.held = -1
    state.won = board.goal_holds(state)
    return board.dialect.put_feedback.format(
        board.object_names[thing], board.receptacle_names[receptacle]
    )


def _lies(board: Board, state: State, thing: int, within: int) -> None:
    state.within[thing] = within
    if within == board.within[thing]:
        state.moved.pop(thing, None)
    else:
        state.moved[thing] = within


def clean(board: Board, state: State, thing: int, receptacle: int) -> str:
    """Clean what is in hand."""
    state.clean |= 1 << thing
    return _treated(board, state, "clean", thing, receptacle)


def heat(board: Board, state: State, thing: int, receptacle: int) -> str:
    """Heat what is in hand; it is cool no more."""
    state.hot |= 1 << thing
    state.cool &= ~(1 << thing)
    return _treated(board, state, "heat", thing, receptacle)


def cool(board: Board, state: State, thing: int, receptacle: int) -> str:
    """Cool what is in hand; it is hot no more."""
    state.cool |= 1 << thing
    state.hot &= ~(1 << thing)
    return _treated(board, state, "cool", thing, receptacle)


def _treated(board: Board, state: State, verb: str, thing: int, receptacle: int) -> str:
    state.won = board.goal_holds(state)
    return text.TREAT.format(verb, board.object_names[thing], board.receptacle_names[receptacle])


def use(board: Board, state: State, thing: int, _: int) -> str:
    """Turn a lamp on."""
    state.on |= 1 << thing
    state.won = board.goal_holds(state)
    return text.USE.format(board.object_names[thing])


def slice_(board: Board, state: State, thing: int, knife: int) -> str:
    """Slice something here with the knife in hand."""
    state.sliced |= 1 << thing
    return text.SLICE.format(board.object_names[thing], board.object_names[knife])


def examine_receptacle(board: Board, state: State, receptacle: int, _: int) -> str:
    """See what is in a receptacle."""
    return board.describe(state, receptacle)


def examine_object(board: Board, state: State, thing: int, _: int) -> str:
    """See what was done to the object in hand."""
    name, traits = board.object_names[thing], board.traits[thing]
    if traits & TRAIT["isreceptacleobject"]:
        return text.HOLDER.format(name, text.listed(board.inside[thing]))
    clean, hot, cool, sliced = (
        bool(mask >> thing & 1) for mask in (state.clean, state.hot, state.cool, state.sliced)
    )
    warmth = "hot" if hot else "cool" if cool else ""
    if warmth == "cool" and not clean and not sliced:
        warmth = "cold"
    state_words = " and ".join(filter(None, (warmth, "clean" if clean else "")))
    if state_words:
        return text.STATE.format(state_words + (" sliced" if sliced else ""), name)
    if traits & TRAIT["toggleable"] and state.on >> thing & 1:
        return text.SWITCHED_ON.format(name)
    if sliced:
        return text.STATE.format("sliced", name)
    return text.ORDINARY.format(name)


def inventory(board: Board, state: State, _: int, __: int) -> str:
    """See what is in hand."""
    if state.held < 0:
        return text.EMPTY_HANDED
    return text.CARRYING.format(text.listed([board.object_names[state.held]]))


def help_(board: Board, state: State, _: int, __: int) -> str:
    """See what commands there are."""
    return board.dialect.help or text.NOTHING_HAPPENS


def look(board: Board, state: State, _: int, __: int) -> str:
    """See where one stands."""
    if state.location not in board.here:
        return text.ROOM.format(text.NOTHING)
    return look_here(board, state)


def look_here(board: Board, state: State) -> str:
    """See which receptacles are here, and what was put beside them."""
    here = board.here[state.location]
    moved = [
        board.object_names[thing]
        for thing in range(len(board.object_names))
        for receptacle in here
        if state.taken[receptacle] >> thing & 1 and state.where[thing] >> state.location & 1
    ]
    facing = [board.receptacle_names[r] for r in here]
    joined = ", ".join(facing[:-1]) + f", and {facing[-1]}" if len(facing) > 1 else facing[0]
    return text.FACING.format(joined, text.listed(moved))


class Treatment(NamedTuple):
    """What can be done to an object in hand at an appliance."""

    appliance: str
    """Type of receptacle."""
    trait: int
    """What the object must be."""
    apply: Callable[[Board, State, int, int], str]


TREATMENTS = {
    "clean": Treatment("sinkbasin", TRAIT["cleanable"], clean),
    "heat": Treatment("microwave", TRAIT["heatable"], heat),
    "cool": Treatment("fridge", TRAIT["coolable"], cool),
}
