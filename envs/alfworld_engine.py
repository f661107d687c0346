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
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from agentgym.actions import Action
from agentgym.envs import alfworld_acts as acts
from agentgym.envs import alfworld_text as text
from agentgym.tasks.alfworld_game import TRAIT, Game, names

_ARTICLES = re.compile(r"\b(?:the|an?)\s+")
_APPLIANCES = frozenset(treatment.appliance for treatment in acts.TREATMENTS.values())
_PUT = re.compile(r"(?:put|move|place) (.+?) (?:in/on|into|onto|in|on|to) (.+)")

action = lru_cache(maxsize=16_384)(Action)
"""An `Action` of that text; games have most of their commands in common."""


class State:
    """A point of an episode.

    Attributes:
        location: Number of the agent's location.
        held: The object in hand, -1 for none.
        opened: Bit mask of receptacles.
        seen: Bit mask of receptacles whose contents the agent was shown.
        known: Bit mask of objects the agent has held.
        contents: For each receptacle its objects, in order.
        within: For each object the bit mask of the receptacles it is in.
        where: For each object the bit mask of its locations.
        moved: Of each object that is not where it started, its `within` and `where`.
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
        "known",
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
    known: int
    contents: list[tuple[int, ...]]
    within: list[int]
    moved: dict[int, tuple[int, int]]
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
        twin = State()
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
        self.task_type, self.target = game.task_type, game.target
        self.task, self.human_goals, self.scene = game.task, game.human_goals, game.scene
        self.dialect = text.DIALECTS[version]
        self.relaxed = relaxed
        self._verbs = acts.verbs(self.dialect)
        receptacles, things = game.receptacles, game.things
        spots = {game.start, *(r.location for r in receptacles)}
        spots.update(at for thing in things for at in thing.locations)
        spot = {name: i for i, name in enumerate(sorted(spots))}
        called = names([*(r.id for r in receptacles), *(t.id for t in things), *spots])
        self._lay_out(game, spot)
        self._name(game, called, [called[at] for at in spot])
        self._set_goal(game)
        self._start = self._make_start(game, spot)

    def _lay_out(self, game: Game, spot: Mapping[str, int]) -> None:
        """Where things are, and what they are."""
        receptacles, things = game.receptacles, game.things
        self.place = [spot[r.location] for r in receptacles]
        """Location of each receptacle."""
        self.here: dict[int, tuple[int, ...]] = {}
        """The receptacles at each location that has any."""
        for i, at in enumerate(self.place):
            self.here[at] = (*self.here.get(at, ()), i)
        self.near = {at: sum(1 << i for i in each) for at, each in self.here.items()}
        """The same as bit masks."""
        self.openable = _mask(i for i, r in enumerate(receptacles) if r.openable)
        self.receptacle_types = [r.type for r in receptacles]
        self.traits = [t.traits for t in things]
        self.object_types = [t.type for t in things]
        of_type: dict[str, int] = {}
        for i, kind in enumerate(self.object_types):
            of_type[kind] = of_type.get(kind, 0) | 1 << i
        fitting = {
            kind: sum(of_type.get(each, 0) for each in kinds)
            for kind, kinds in game.can_contain.items()
        }
        self.fits = [fitting.get(kind, 0) for kind in self.receptacle_types]
        """For each receptacle the bit mask of the objects it takes."""
        self.would_fit = _mask(
            i
            for i, kind in enumerate(self.receptacle_types)
            if game.target in game.can_contain.get(kind, ())
        )
        """Bit mask of the receptacles that take targets."""
        number = {r.id: i for i, r in enumerate(receptacles)}
        self.within = [_mask(number[r] for r in t.receptacles) for t in things]
        """For each object the bit mask of the receptacles it starts in."""
        self.where = [_mask(spot[at] for at in t.locations) for t in things]
        """For each object the bit mask of the locations it starts at."""
        self._pickupable, self._toggleable = self._having("pickupable"), self._having("toggleable")
        self._knives = {i for i, t in enumerate(things) if t.type in ("knife", "butterknife")}

    def _name(self, game: Game, called: Mapping[str, str], locations: Sequence[str]) -> None:
        """What everything is called."""
        self.receptacle_names = [called[r.id] for r in game.receptacles]
        self.object_names = [called[t.id] for t in game.things]
        self.receptacle_number = {name: i for i, name in enumerate(self.receptacle_names)}
        self.object_number = {name: i for i, name in enumerate(self.object_names)}
        ranked = sorted(self.receptacle_names)
        self._goes = [action(f"go to {name}") for name in ranked]
        self._passed_over: dict[int, list[int]] = {}
        """For each location the places in that list of what is there, the last one first."""
        for at in reversed(range(len(ranked))):
            location = self.place[self.receptacle_number[ranked[at]]]
            self._passed_over.setdefault(location, []).append(at)
        self.arrive = [
            text.ARRIVE.format(locations[at] if self.dialect.arrives_at_location else name)
            for at, name in zip(self.place, self.receptacle_names, strict=True)
        ]
        number = {t.id: i for i, t in enumerate(game.things)}
        self.inside: dict[int, list[str]] = {}
        """For each object that holds others, which."""
        for inner, outer in game.inside:
            self.inside.setdefault(number.get(outer, -1), []).append(called.get(inner, inner))

    def _set_goal(self, game: Game) -> None:
        """What is wanted, and what can satisfy it."""
        looking = self.task_type == "look"
        self.two = self.task_type == "pick2"
        self.lamps = tuple(
            i
            for i, kind in enumerate(self.object_types)
            if looking and kind == game.destination and self._toggleable >> i & 1
        )
        self.destinations = tuple(
            i
            for i, kind in enumerate(self.receptacle_types)
            if not looking and kind == game.destination
        )
        self.wanted = _mask(self.destinations)
        self.targets = tuple(i for i, kind in enumerate(self.object_types) if kind == self.target)
        treatment = acts.TREATMENTS.get(self.task_type)
        self.treatable = tuple(
            i for i in self.targets if treatment is None or self.traits[i] & treatment.trait
        )
        """Targets that can come to be as the goal wants them."""

    def _make_start(self, game: Game, spot: Mapping[str, int]) -> State:
        state = State()
        state.location = spot[game.start]
        state.held = -1
        state.opened = _mask(i for i, r in enumerate(game.receptacles) if r.opened)
        state.seen = state.known = 0
        state.within = self.within.copy()
        state.contents = [
            tuple([i for i, mask in enumerate(self.within) if mask >> r & 1])
            for r in range(len(self.place))
        ]
        state.moved = {}
        state.where = self.where.copy()
        state.taken = [0] * len(self.place)
        state.clean, state.hot = self._having("isclean"), self._having("ishot")
        state.cool, state.on = self._having("iscool"), self._having("istoggled")
        state.sliced = self._having("issliced")
        state.won = self.goal_holds(state)
        return state

    def _having(self, trait: str) -> int:
        """Bit mask of the objects of which that is said."""
        bit = TRAIT[trait]
        return _mask(i for i, traits in enumerate(self.traits) if traits & bit)

    def start(self) -> State:
        """The start of an episode."""
        return self._start.copy()

    def intro(self, state: State, task: str) -> str:
        """What is said first."""
        if state.location in self.here:
            room = acts.look_here(self, state)
        else:
            room = text.ROOM.format(text.listed(self.receptacle_names))
        return f"{text.WELCOME}\n\n{room}\n\n{text.TASK.format(task)}"

    def act(self, state: State, command: str) -> str | None:
        """Carry a command out; what is said, None if it is not possible."""
        verb, _, words = command.strip().partition(" ")
        act = self._verbs.get(verb)
        return None if act is None else act(self, state, words)

    def meant(self, command: str) -> str:
        """The command that is meant, where the game is relaxed about how it is said."""
        plain = _ARTICLES.sub("", " ".join(command.lower().split()).rstrip(".!"))
        put = _PUT.fullmatch(plain)
        return plain if put is None else self.dialect.put.format(put[1], put[2])

    # ---------------------------------------------------------------- what is possible

    def reachable(self, state: State, receptacle: int) -> bool:
        """Whether one can see and reach into it: it is open, or does not close."""
        return not (self.openable & ~state.opened) >> receptacle & 1

    def can_take(self, state: State, thing: int, receptacle: int) -> bool:
        """Whether the object can be taken out of the receptacle at hand."""
        return (
            state.held < 0
            and state.within[thing] >> receptacle & 1 == 1
            and self._pickupable >> thing & 1 == 1
            and self.reachable(state, receptacle)
        )

    def can_put(self, state: State, receptacle: int) -> bool:
        """Whether what is held can be put into the receptacle at hand."""
        return (
            state.held >= 0
            and self.fits[receptacle] >> state.held & 1 == 1
            and self.reachable(state, receptacle)
        )

    def can_treat(self, state: State, verb: str, receptacle: int) -> bool:
        """Whether what is held can be cleaned, heated or cooled in the receptacle at hand."""
        treatment = acts.TREATMENTS[verb]
        return (
            state.held >= 0
            and self.receptacle_types[receptacle] == treatment.appliance
            and self.traits[state.held] & treatment.trait > 0
        )

    def can_use(self, state: State, thing: int) -> bool:
        """Whether it is a lamp at hand."""
        near = self.near.get(state.location, 0)
        return self._toggleable >> thing & 1 == 1 and state.within[thing] & near > 0

    def can_slice(self, state: State, thing: int) -> bool:
        """Whether it can be sliced here with what is held."""
        return (
            state.held in self._knives
            and self.traits[thing] & TRAIT["sliceable"] > 0
            and state.where[thing] >> state.location & 1 == 1
        )

    def admissible(self, state: State) -> list[Action]:
        """All that can be done, sorted."""
        held = state.held
        found = ["inventory", "look"]
        if self.dialect.help is not None:
            found.append("help")
        for receptacle in self.here.get(state.location, ()):
            self._list_at(state, receptacle, found)
        if held >= 0:
            name = self.object_names[held]
            found.append(f"examine {name}")
            if held in self._knives:
                found += [
                    f"slice {other} with {name}"
                    for thing, other in enumerate(self.object_names)
                    if self.can_slice(state, thing)
                ]
        found.sort()
        first = bisect(found, "go to ")
        listed = self._goes_from(state.location)
        listed[:0] = map(action, found[:first])
        listed.extend(map(action, found[first:]))
        return listed

    def _list_at(self, state: State, receptacle: int, found: list[str]) -> None:
        """Add what can be done with one receptacle at hand."""
        name, held = self.receptacle_names[receptacle], state.held
        contents, objects = state.contents[receptacle], self.object_names
        found.append(f"examine {name}")
        if self.openable >> receptacle & 1:
            found.append(f"close {name}" if state.opened >> receptacle & 1 else f"open {name}")
        if self._toggleable:
            lamps = [f"use {objects[i]}" for i in contents if self._toggleable >> i & 1]
            found += [use for use in lamps if use not in found]
        if held < 0:
            if self.reachable(state, receptacle):
                pickupable = self._pickupable
                found += [f"take {objects[i]} from {name}" for i in contents if pickupable >> i & 1]
            return
        if self.can_put(state, receptacle):
            found.append(self.dialect.put.format(objects[held], name))
        if self.receptacle_types[receptacle] in _APPLIANCES:
            found += [
                f"{verb} {objects[held]} with {name}"
                for verb in acts.TREATMENTS
                if self.can_treat(state, verb, receptacle)
            ]

    def _goes_from(self, location: int) -> list[Action]:
        """Where one can go from there, sorted."""
        goes = self._goes.copy()
        if not self.relaxed:
            for at in self._passed_over.get(location, ()):
                del goes[at]
        return goes

    # ---------------------------------------------------------------- the goal

    def treated(self, state: State) -> int:
        """Bit mask of the objects that are as the goal wants them, wherever they are."""
        kind = self.task_type
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
        return text.listed([self.object_names[i] for i in contents])

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


def _mask(bits: Iterable[int]) -> int:
    mask = 0
    for bit in bits:
        mask |= 1 << bit
    return mask
