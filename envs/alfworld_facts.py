"""What the oracle says of an ALFWorld episode, turn by turn, for signals to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from agentgym.envs.alfworld_engine import Board, State
from agentgym.envs.alfworld_oracle import Oracle

CHEAP = frozenset({"score", "state_key"})
FROM_ORACLE = frozenset(
    {"remaining", "progress", "regret", "dead_end", "subgoals", "target_entropy"}
)
_TREATED = {"clean": "cleaned", "heat": "heated", "cool": "cooled"}

Reached = Callable[[Board, State], bool]


class Track(NamedTuple):
    """What the facts need to know of the episode so far."""

    start: int | None = None
    """Fewest steps to a win from the start."""
    remaining: int | None = None
    """Fewest steps to a win from here."""
    key: str = ""
    """Of the position."""
    subgoals: Mapping[str, int | None] = {}


def state_key(state: State) -> str:
    """What is true now, written out; equal exactly for equal positions of a game."""
    key = (
        f"{state.location}.{state.held}.{state.opened:x}.{state.clean:x}.{state.hot:x}."
        f"{state.cool:x}.{state.on:x}.{state.sliced:x}"
    )
    if state.moved:
        moved = sorted(state.moved.items())
        key += "".join([f".{thing}@{within:x}:{where:x}" for thing, (within, where) in moved])
    return key


def oracle_facts(
    board: Board, oracle: Oracle, state: State, track: Track, turns: int
) -> tuple[dict[str, Any], Track]:
    """The facts after `turns` turns, and what to remember for the next.

    Args:
        board: The game.
        oracle: Its oracle.
        state: Where the episode is.
        track: What the last call gave; `Track()` at the start.
        turns: Taken so far; 0 at the start.
    """
    key = state_key(state)
    start, before, last_key, subgoals = track
    found = oracle.found(state)
    if turns == 0:
        start = before = remaining = oracle.remaining(state)
        subgoals = dict.fromkeys(["found", *_LATER[board.task_type]])
    else:
        remaining = before if key == last_key else oracle.remaining(state)
    reached = [
        name
        for name, when in subgoals.items()
        if when is None and (found > 0 if name == "found" else _REACHED[name](board, state))
    ]
    if reached:
        subgoals = {**subgoals, **dict.fromkeys(reached, turns)}
    facts: dict[str, Any] = {"score": float(state.won), "state_key": key}
    if remaining is None or before is None or start is None:
        facts.update(remaining=None, progress=None, regret=None, dead_end=True)
    else:
        facts["remaining"] = remaining
        facts["progress"] = (before > remaining) - (before < remaining)
        facts["regret"] = turns + remaining - start
        facts["dead_end"] = False
    facts["subgoals"] = {**subgoals}  # users keep it
    facts["target_entropy"] = oracle.target_entropy(state, found)
    return facts, Track(start, remaining, key, subgoals)


def _held(board: Board, state: State) -> bool:
    return state.held in board.treatable


def _treated(board: Board, state: State) -> bool:
    treated = board.treated(state)
    return any(treated >> thing & 1 for thing in board.treatable)


def _lit(board: Board, state: State) -> bool:
    return any(state.on >> lamp & 1 for lamp in board.lamps)


def _one_placed(board: Board, state: State) -> bool:
    return any(state.within[thing] & board.wanted for thing in board.treatable)


def _won(board: Board, state: State) -> bool:
    return state.won


_REACHED: Mapping[str, Reached] = {
    "held": _held,
    "lit": _lit,
    "placed_one": _one_placed,
    **dict.fromkeys(_TREATED.values(), _treated),
    **dict.fromkeys(("placed", "looked"), _won),
}
_LATER: Mapping[str, tuple[str, ...]] = {
    "pick": ("held", "placed"),
    "look": ("held", "lit", "looked"),
    "pick2": ("held", "placed_one", "placed"),
    **{kind: ("held", treated, "placed") for kind, treated in _TREATED.items()},
}
"""Subgoals of each task type, after `found`."""
