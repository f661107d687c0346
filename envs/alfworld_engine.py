"""ALFWorld's rules, natively: what is possible, what happens, and what is said about it.

`Board` is a game compiled once and shared by every world that plays it; `State` is one point of one
episode, a few hundred bytes to two kilobytes, changed in place. Commands, texts and the end are
those of ALFWorld's own engine (a PDDL interpreter and a grammar), oddities included:

- "go to" works for receptacles elsewhere only, not for those that share the agent's spot;
- objects can be examined only when held;
- a lamp is turned on, never off, also inside something closed;
- "next to it" lists what was taken from a receptacle here and put elsewhere here;
- where the start is nowhere, "look" sees nothing any more.

`relaxed=True` mends what players stumble over: "go to" works for every receptacle, and commands are
understood in either dialect, in any case, with articles and stray spaces.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agentgym.actions import Action
from agentgym.envs import alfworld_acts as acts
from agentgym.envs import alfworld_text as text
from agentgym.tasks.alfworld_game import TRAIT, Game, names

_MOST_VIEWS = 2_000
_ARTICLES = re.compile(r"\b(?:the|an?)\s+")
_PUT = re.compile(r"(?:put|move|place) (.+?) (?:in/on|into|onto|in|on|to) (.+)")


class Operation(NamedTuple):
    """A command, understood."""

    apply: Callable[[Board, State, int, int], str]
    first: int = -1
    second: int = -1


class View(NamedTuple):
    """What can be done at one point, apart from going elsewhere."""

    operations: dict[str, Operation]
    admissible: tuple[Action, ...]
    """Everything, sorted."""


class State:
    """A point of an episode.

    Attributes:
        location: Number of the agent's location.
        held: The object in hand, -1 for none.
        opened: Bit mask of receptacles.
        seen: Bit mask of receptacles whose contents the agent was shown.
        contents: For each receptacle its objects, in order.
        within: For each object the bit mask of the receptacles it is in.
        where: For each object the bit mask of its locations.
        moved: Like `within`, of objects that are not where they started.
        taken: For each receptacle the bit mask of objects taken from it and not put back.
        clean, hot, cool, on, sliced: Bit masks of objects.
        won: Whether the goal holds.
    """

    __slots__ = (
        "clean",
        "contents",
        "cool",
        "held",
        "hot",
        "location",
        "moved",
        "on",
        "opened",
        "seen",
        "sliced",
        "taken",
        "where",
        "within",
        "won",
    )

    location: int
    held: int
    opened: int
    seen: int
    contents: list[tuple[int, ...]]
    within: list[int]
    moved: dict[int, int]
    where: list[int]
    taken: list[int]
    clean: int
    hot: int
    cool: int
    on: int
    sliced: int
    won: bool

    def copy(self) -> State:
        """Another state at the same point."""
        twin = State.__new__(State)
        for name in State.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.contents = self.contents.copy()
        twin.within = self.within.copy()
        twin.moved = self.moved.copy()
        twin.where = self.where.copy()
        twin.taken = self.taken.copy()
        return twin

    def __getstate__(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in State.__slots__)

    def __setstate__(self, values: tuple[object, ...]) -> None:
        for name, value in zip(State.__slots__, values, strict=True):
            setattr(self, name, value)


class Board:
    """A game, compiled.

    Args:
        game: What to play.
        version: Dialect of commands and answers, of `alfworld_text.VERSIONS`.
        relaxed: Mend what players stumble over.
    """

    def __init__(self, game: Game, version: str = text.VERSIONS[0], relaxed: bool = False) -> None:
        self.game = game
        self.dialect = text.DIALECTS[version]
        self.relaxed = relaxed
        receptacles, things = game.receptacles, game.things
        spots = {game.start, *(r.location for r in receptacles)}
        spots.update(at for thing in things for at in thing.locations)
        self.locations = sorted(spots)
        spot = {name: i for i, name in enumerate(self.locations)}
        number = {r.id: i for i, r in enumerate(receptacles)}
        called = names([*number, *(t.id for t in things), *self.locations])
        self.receptacle_names = [called[r.id] for r in receptacles]
        self.object_names = [called[t.id] for t in things]
        self.place = [spot[r.location] for r in receptacles]
        """Location of each receptacle."""
        self.here: dict[int, tuple[int, ...]] = {}
        for i, at in enumerate(self.place):
            self.here[at] = (*self.here.get(at, ()), i)
        self.openable = sum(1 << i for i, r in enumerate(receptacles) if r.openable)
        self.traits = [t.traits for t in things]
        self.object_types = [t.type for t in things]
        self.receptacle_types = [r.type for r in receptacles]
        self._takes = [frozenset(game.can_contain.get(r.type, ())) for r in receptacles]
        self._knives = {i for i, t in enumerate(things) if t.type in ("knife", "butterknife")}
        self._sliceable = [i for i, t in enumerate(things) if t.traits & TRAIT["sliceable"]]
        self.goes = [Action(f"go to {name}") for name in self.receptacle_names]
        self._go = {str(go): i for i, go in enumerate(self.goes)}
        arrivals = [called[at] for at in self.locations]
        self.arrive = [
            text.ARRIVE.format(arrivals[at] if self.dialect.arrives_at_location else name)
            for at, name in zip(self.place, self.receptacle_names, strict=True)
        ]
        inside: dict[str, list[str]] = {}
        for inner, outer in game.inside:
            inside.setdefault(outer, []).append(called[inner])
        self.inside = {i: inside.get(t.id, []) for i, t in enumerate(things)}
        self.targets = tuple(i for i, t in enumerate(things) if t.type == game.target)
        self._spot = spot
        self._number = number
        self.within = tuple(sum(1 << number[r] for r in t.receptacles) for t in things)
        """For each object the bit mask of the receptacles it starts in."""
        self._goes: dict[int, list[Action]] = {}
        self._views: dict[tuple[object, ...], View] = {}
        self._lists: dict[tuple[int, ...], str] = {}
        looking = game.task_type == "look"
        wanted = game.destination
        self.lamps = tuple(
            i
            for i, t in enumerate(things)
            if looking and t.type == wanted and t.traits & TRAIT["toggleable"]
        )
        self.near = {at: sum(1 << i for i in each) for at, each in self.here.items()}
        """Bit mask of the receptacles at a location."""
        self.destinations = tuple(
            i for i, r in enumerate(receptacles) if not looking and r.type == wanted
        )
        self.wanted = sum(1 << i for i in self.destinations)
        self.two = game.task_type == "pick2"
        trait = {"clean": "cleanable", "heat": "heatable", "cool": "coolable"}.get(game.task_type)
        self.treatable = tuple(
            i for i in self.targets if trait is None or self.traits[i] & TRAIT[trait]
        )
        """Targets that can come to be as the goal wants them."""

    def start(self) -> State:
        """The start of an episode."""
        state = State()
        game = self.game
        state.location = self._spot[game.start]
        state.held = -1
        state.opened = sum(1 << i for i, r in enumerate(game.receptacles) if r.opened)
        state.seen = 0
        contents: list[list[int]] = [[] for _ in game.receptacles]
        for i, thing in enumerate(game.things):
            for receptacle in thing.receptacles:
                contents[self._number[receptacle]].append(i)
        state.contents = [tuple(each) for each in contents]
        state.within = list(self.within)
        state.moved = {}
        state.where = [sum(1 << self._spot[at] for at in t.locations) for t in game.things]
        state.taken = [0] * len(game.receptacles)
        state.clean, state.hot, state.cool, state.on, state.sliced = (
            sum(1 << i for i, traits in enumerate(self.traits) if traits & TRAIT[name])
            for name in ("isclean", "ishot", "iscool", "istoggled", "issliced")
        )
        state.won = self.goal_holds(state)
        return state

    def intro(self, state: State, task: str) -> str:
        """What is said first."""
        if state.location in self.here:
            room = acts.look_here(self, state)
        else:
            room = text.ROOM.format(text.listed(self.receptacle_names))
        return f"{text.WELCOME}\n\n{room}\n\n{text.TASK.format(task)}"

    def act(self, state: State, command: str) -> str | None:
        """Carry a command out; what is said, None if it cannot be."""
        operation = self._view(state).operations.get(command)
        if operation is not None:
            return operation.apply(self, state, operation.first, operation.second)
        receptacle = self._go.get(command, -1)
        if receptacle < 0 or not (self.relaxed or self.place[receptacle] != state.location):
            return None
        return acts.go(self, state, receptacle, -1)

    def admissible(self, state: State) -> tuple[Action, ...]:
        """All that can be done, sorted."""
        return self._view(state).admissible

    def meant(self, state: State, command: str) -> str:
        """The command that is meant, where the game is relaxed about how it is said."""
        operations = self._view(state).operations
        if command in operations or command in self._go:
            return command
        plain = _ARTICLES.sub("", " ".join(command.lower().split()).rstrip(".!"))
        put = _PUT.fullmatch(plain)
        return plain if put is None else self.dialect.put.format(put[1], put[2])

    # ---------------------------------------------------------------- what can be done

    def reachable(self, state: State, receptacle: int) -> bool:
        """Whether one can see and reach into it: it is open, or does not close."""
        return not (self.openable & ~state.opened) >> receptacle & 1

    def takes(self, receptacle: int, thing: int) -> bool:
        """Whether the receptacle takes objects of this type."""
        return self.object_types[thing] in self._takes[receptacle]

    def _view(self, state: State) -> View:
        location, held, contents = state.location, state.held, state.contents
        near: tuple[int, ...] = ()
        if held in self._knives:
            near = tuple(i for i in self._sliceable if state.where[i] >> location & 1)
        here = self.here.get(location, ())
        at_hand = [contents[r] for r in here]
        key = (location, held, state.opened & self.near.get(location, 0), near, *at_hand)
        view = self._views.get(key)
        if view is None:
            if len(self._views) >= _MOST_VIEWS:
                self._views.clear()
            view = self._views[key] = self._look_around(state, here, near)
        return view

    def _look_around(self, state: State, here: Sequence[int], near: Sequence[int]) -> View:
        held = state.held
        found = {"inventory": Operation(acts.inventory), "look": Operation(acts.look)}
        if self.dialect.help is not None:
            found["help"] = Operation(acts.help_)
        if held >= 0:
            found[f"examine {self.object_names[held]}"] = Operation(acts.examine_object, held)
        for receptacle in here:
            self._look_at(state, receptacle, found)
        for thing in near:
            command = f"slice {self.object_names[thing]} with {self.object_names[held]}"
            found[command] = Operation(acts.slice_, thing, held)
        ordered = list(map(Action, sorted(found)))
        first = bisect(ordered, "go to ")
        return View(found, (*ordered[:first], *self._goes_from(state.location), *ordered[first:]))

    def _goes_from(self, location: int) -> list[Action]:
        """Where one can go from there, sorted."""
        goes = self._goes.get(location)
        if goes is None:
            goes = self._goes[location] = sorted(
                go for i, go in enumerate(self.goes) if self.relaxed or self.place[i] != location
            )
        return goes

    def _look_at(self, state: State, receptacle: int, found: dict[str, Operation]) -> None:
        """What can be done with one receptacle at hand."""
        name, held = self.receptacle_names[receptacle], state.held
        found[f"examine {name}"] = Operation(acts.examine_receptacle, receptacle)
        if self.openable >> receptacle & 1:
            if state.opened >> receptacle & 1:
                found[f"close {name}"] = Operation(acts.close, receptacle)
            else:
                found[f"open {name}"] = Operation(acts.open_, receptacle)
        for thing in state.contents[receptacle]:
            if self.traits[thing] & TRAIT["toggleable"]:
                found[f"use {self.object_names[thing]}"] = Operation(acts.use, thing)
        if held < 0:
            if self.reachable(state, receptacle):
                for thing in state.contents[receptacle]:
                    if self.traits[thing] & TRAIT["pickupable"]:
                        command = f"take {self.object_names[thing]} from {name}"
                        found[command] = Operation(acts.take, thing, receptacle)
            return
        thing_name = self.object_names[held]
        if self.reachable(state, receptacle) and self.takes(receptacle, held):
            found[self.dialect.put.format(thing_name, name)] = Operation(acts.put, held, receptacle)
        kind = self.receptacle_types[receptacle]
        for verb, treatment in acts.TREATMENTS.items():
            if kind == treatment.appliance and self.traits[held] & treatment.trait:
                command = f"{verb} {thing_name} with {name}"
                found[command] = Operation(treatment.apply, held, receptacle)

    # ---------------------------------------------------------------- the goal

    def treated(self, state: State) -> int:
        """Bit mask of the objects that are as the goal wants them, wherever they are."""
        kind = self.game.task_type
        if kind == "clean":
            return state.clean
        if kind == "heat":
            return state.hot
        return state.cool if kind == "cool" else -1

    def goal_holds(self, state: State) -> bool:
        """Whether the goal is reached."""
        if self.lamps:
            near = self.near.get(state.location, 0)
            return state.held in self.targets and any(
                state.on >> lamp & 1 and state.within[lamp] & near for lamp in self.lamps
            )
        treated, once = self.treated(state), 0
        for thing in self.treatable:
            if treated >> thing & 1:
                there = state.within[thing] & self.wanted
                if there & once or (there and not self.two):
                    return True
                once |= there
        return False

    # ---------------------------------------------------------------- texts

    def listing(self, contents: tuple[int, ...]) -> str:
        """Objects in a sentence."""
        told = self._lists.get(contents)
        if told is None:
            if len(self._lists) >= _MOST_VIEWS:
                self._lists.clear()
            told = self._lists[contents] = text.listed([self.object_names[i] for i in contents])
        return told

    def describe(self, state: State, receptacle: int) -> str:
        """What is seen of a receptacle; counts as having seen it."""
        name = self.receptacle_names[receptacle]
        if self.openable >> receptacle & 1:
            if not state.opened >> receptacle & 1:
                return text.CLOSED.format(name)
            state.seen |= 1 << receptacle
            return text.IN.format(name, self.listing(state.contents[receptacle]))
        state.seen |= 1 << receptacle
        return text.ON.format(name, self.listing(state.contents[receptacle]))
