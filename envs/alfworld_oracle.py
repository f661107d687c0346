"""The shortest way to win an ALFWorld game, from any state, exactly, by enumeration.

One can go anywhere in one step, so a plan is a short sequence of *stops*: be at a receptacle, open
it if that is needed, do one thing there. For each task type there are few sequences worth trying:
put down what is wrongly held, take a target, treat it, put it where it belongs (twice, for two
objects). All are tried, the costs added up as they will be paid, and the cheapest is the plan; its
length is the distance to the goal. Where there is none, the state is a dead end: what is held fits
nowhere, as can happen in ALFWorld's own games.

What a plan depends on is little (where the targets are, what is open there, what is held), so
distances are remembered by that and worked out once for each such situation of a game.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from agentgym.actions import Action
from agentgym.envs.alfworld_acts import TREATMENTS
from agentgym.envs.alfworld_engine import Board, State
from agentgym.tasks.alfworld_game import TRAIT, Game

_MOST_KNOWN = 16_384
_known: dict[tuple[object, ...], Plan | None] = {}
"""Plans by game and situation, of all oracles of this process: at most some 10 MB."""
_serial = itertools.count()
_FAR = 1_000


class Stop(NamedTuple):
    """One thing to do at one receptacle."""

    receptacle: int
    reach: bool
    """Whether it must be open."""
    verb: str
    """What to do there: `take`, `put`, `use`, a treatment, or nothing."""
    thing: int
    """With what."""


class Plan(NamedTuple):
    """The cheapest sequence of stops."""

    length: int
    """Commands, from where it was made."""
    stops: tuple[Stop, ...]


Layers = list[list[Stop]]
"""For each step of a sequence the stops to choose from."""


class Oracle:
    """Plans and distances for one game.

    Args:
        board: The game.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._serial = next(_serial)
        kinds = board.receptacle_types
        treatment = TREATMENTS.get(board.task_type)
        self._verb = board.task_type if treatment else ""
        self._appliances = [
            i
            for i, kind in enumerate(kinds)
            if treatment is not None and kind == treatment.appliance
        ]
        self._fixed = sum(1 << i for i in {*board.destinations, *self._appliances})
        self._followed = (*board.treatable, *board.lamps)
        self._relevant = sum(1 << i for i in self._followed)
        self._enough = min(1 + board.two, len(board.treatable))
        self._droppables: dict[str, int] = {}
        self._besides: dict[int, int] = {}
        self._candidates = board.would_fit
        for thing in board.targets:
            self._candidates |= board.within[thing]

    def remaining(self, state: State) -> int | None:
        """Fewest commands to a win, None if it cannot be won any more."""
        plan = self._plan(state)
        return None if plan is None else plan.length

    def next_command(self, state: State) -> str | None:
        """The next command of a shortest plan; None once won, or when there is no winning."""
        return next(self._commands(state), None)

    def plan(self, state: State) -> list[Action] | None:
        """All commands of a shortest plan, None if there is none."""
        if self._plan(state) is None:
            return None
        return [Action(command) for command in self._commands(state)]

    def target_entropy(self, state: State, found: int) -> float:
        """Natural logarithm of the number of places left for a target not yet seen, in nats.

        These are the receptacles that may hold it by their type and whose contents the agent was
        not shown, each held to be as likely. 0 once all targets needed have been seen.

        Args:
            state: Where the episode is.
            found: What `found` says of it.
        """
        if found >= self._enough:
            return 0.0
        return math.log(max(1, (self._candidates & ~state.seen).bit_count()))

    def found(self, state: State) -> int:
        """How many targets the agent has seen."""
        seen, known, within, count = state.seen, state.known, state.within, 0
        for thing in self._board.treatable:
            if within[thing] & seen or known >> thing & 1:
                count += 1
        return count

    # ---------------------------------------------------------------- plans

    def _commands(self, state: State) -> Iterator[str]:
        plan, board = self._plan(state), self._board
        location, opened = state.location, state.opened
        for receptacle, reach, verb, thing in plan.stops if plan else ():
            name = board.receptacle_names[receptacle]
            if board.place[receptacle] != location:
                yield f"go to {name}"
                location = board.place[receptacle]
            if reach and (board.openable & ~opened) >> receptacle & 1:
                yield f"open {name}"
                opened |= 1 << receptacle
            if verb:
                yield self._command(verb, board.object_names[thing], name)

    def _command(self, verb: str, thing: str, receptacle: str) -> str:
        if verb == "take":
            return f"take {thing} from {receptacle}"
        if verb == "put":
            return self._board.dialect.put.format(thing, receptacle)
        return f"use {thing}" if verb == "use" else f"{verb} {thing} with {receptacle}"

    def _plan(self, state: State) -> Plan | None:
        key = self._situation(state)
        try:
            return _known[key]
        except KeyError:
            pass
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        plan = _known[key] = Plan(0, ()) if state.won else self._cheapest(state)
        return plan

    def _situation(self, state: State) -> tuple[object, ...]:
        """All that the plan depends on."""
        board, held, within = self._board, state.held, state.within
        places = [within[i] for i in self._followed]
        matter = self._fixed
        for mask in places:
            matter |= mask
        near, far = board.near.get(state.location, 0), -1
        if held >= 0:
            droppable = self._droppable(held)
            beside = self._beside(matter | near)
            far = self._far(state, droppable, beside)
            matter |= droppable & beside | (1 << far if far >= 0 else 0)
        location = state.location if near & matter else -1
        done = board.treated(state) if self._verb else state.on
        opened = state.opened & matter
        return (self._serial, location, held, far, opened, *places, done & self._relevant)

    def _cheapest(self, state: State) -> Plan | None:
        best = _Best(self._board, state)
        for layers in self._recipes(state):
            best.try_all(layers)
        return best.plan

    # ---------------------------------------------------------------- what is worth trying

    def _recipes(self, state: State) -> Iterator[Layers]:
        kind = self._board.task_type
        if kind == "look":
            yield from self._look(state)
        elif kind == "pick2":
            yield from self._two(state)
        else:
            yield from self._one(state)

    def _one(self, state: State) -> Iterator[Layers]:
        board, treated = self._board, self._board.treated(state)
        for thing in board.treatable:
            needs = [] if treated >> thing & 1 else [self._treat(thing)]
            for taking, left in self._take(state, thing):
                # It may still lie in a second receptacle, and that be the right one.
                puts = [] if left & board.wanted else [self._put(thing, board.wanted)]
                yield [*taking, *needs, *puts]

    def _two(self, state: State) -> Iterator[Layers]:
        board = self._board
        for destination in board.destinations:
            out = [i for i in board.treatable if not state.within[i] >> destination & 1]
            missing = 2 - (len(board.treatable) - len(out))
            for first in out:
                put = self._put(first, 1 << destination)
                for taking, _ in self._take(state, first):
                    if missing <= 1:
                        yield [*taking, put]
                        continue
                    for second in out:
                        if second not in (first, state.held):
                            for then in self._sources(state, second):
                                yield [*taking, put, then, self._put(second, 1 << destination)]

    def _look(self, state: State) -> Iterator[Layers]:
        board = self._board
        for lamp in board.lamps:
            use = "" if state.on >> lamp & 1 else "use"
            places = _bits(state.within[lamp])
            for thing in board.treatable:
                for taking, _ in self._take(state, thing):
                    if lamp == state.held:  # it will be where it is put down
                        for down in taking[0]:
                            at = Stop(down.receptacle, False, use, lamp)
                            yield [[down], *taking[1:], [at]]
                    else:
                        yield [*taking, [Stop(at, False, use, lamp) for at in places]]

    # ---------------------------------------------------------------- stops

    def _take(self, state: State, thing: int) -> Iterator[tuple[Layers, int]]:
        """Ways to have a thing in hand, and in what receptacles it will still lie."""
        if thing == state.held:
            yield [], state.within[thing]
            return
        down = [] if state.held < 0 else [self._put_down(state)]
        for source in self._sources(state, thing):
            left = state.within[thing] & ~(1 << source[0].receptacle)
            yield [*down, source], left

    def _sources(self, state: State, thing: int) -> list[list[Stop]]:
        board = self._board
        if not board.traits[thing] & TRAIT["pickupable"]:
            return []
        return [[Stop(i, True, "take", thing)] for i in _bits(state.within[thing])]

    def _put(self, thing: int, receptacles: int) -> list[Stop]:
        """Stops to put a thing down, at those of the receptacles (a bit mask) that take it."""
        return [Stop(i, True, "put", thing) for i in _bits(receptacles & self._droppable(thing))]

    def _put_down(self, state: State) -> list[Stop]:
        """Where to be rid of what is held: where one is or must go anyway, else anywhere."""
        board, held = self._board, state.held
        matter = self._fixed | board.near.get(state.location, 0)
        for thing in self._followed:
            matter |= state.within[thing]
        beside = self._beside(matter)
        far = self._far(state, self._droppable(held), beside)
        return self._put(held, beside | (1 << far if far >= 0 else 0))

    def _beside(self, matter: int) -> int:
        """Bit mask of all receptacles at the places of these."""
        mask = self._besides.get(matter)
        if mask is None:
            board, mask = self._board, 0
            for i in _bits(matter):
                mask |= board.near[board.place[i]]
            self._besides[matter] = mask
        return mask

    def _droppable(self, thing: int) -> int:
        """Bit mask of the receptacles that take it."""
        kind = self._board.object_types[thing]
        mask = self._droppables.get(kind)
        if mask is None:
            mask = sum(
                1 << i for i in range(len(self._board.place)) if self._board.fits[i] >> thing & 1
            )
            self._droppables[kind] = mask
        return mask

    def _far(self, state: State, droppable: int, matter: int) -> int:
        """Of the receptacles one has no other business at, the best to put something down in."""
        apart = droppable & ~matter
        at_once = apart & ~(self._board.openable & ~state.opened)
        best = at_once or apart
        return (best & -best).bit_length() - 1

    def _treat(self, thing: int) -> list[Stop]:
        if not self._board.traits[thing] & TREATMENTS[self._verb].trait:
            return []
        return [Stop(i, False, self._verb, thing) for i in self._appliances]


class _Best:
    """The cheapest of the sequences tried so far."""

    def __init__(self, board: Board, state: State) -> None:
        self._place, self._openable = board.place, board.openable
        self._state = state
        self._cost = _FAR
        self._stops: tuple[Stop, ...] | None = None

    @property
    def plan(self) -> Plan | None:
        return None if self._stops is None else Plan(self._cost, self._stops)

    def try_all(self, layers: Layers) -> None:
        """Try every sequence that takes one stop of each layer."""
        if layers and all(layers):
            least = [0] * (len(layers) + 1)  # what the layers from here on cost at the very least
            for i in reversed(range(len(layers))):
                least[i] = least[i + 1] + bool(layers[i][0].verb)
            self._extend(layers, least, (), self._state.location, self._state.opened, 0)

    def _extend(
        self,
        layers: Layers,
        least: list[int],
        chosen: tuple[Stop, ...],
        location: int,
        opened: int,
        cost: int,
    ) -> None:
        depth = len(chosen)
        for stop in layers[depth]:
            receptacle, reach, verb, _ = stop
            place = self._place[receptacle]
            opens = reach and (self._openable & ~opened) >> receptacle & 1
            total = cost + (place != location) + opens + bool(verb)
            if total + least[depth + 1] >= self._cost:
                continue
            if depth + 1 == len(layers):
                self._cost, self._stops = total, (*chosen, stop)
            else:
                now_open = opened | 1 << receptacle if opens else opened
                self._extend(layers, least, (*chosen, stop), place, now_open, total)


def solvable(game: Game) -> bool:
    """Whether the game can be won from its start."""
    board = Board(game)
    return Oracle(board).remaining(board.start()) is not None


def _bits(mask: int) -> list[int]:
    numbers = []
    while mask:
        low = mask & -mask
        numbers.append(low.bit_length() - 1)
        mask ^= low
    return numbers
