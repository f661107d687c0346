"""TextWorld's rules, grounded once a game into operators over bit masks.

Every action that could ever apply is found by growing the set of facts that could ever hold. A
state is then one integer, with the number of free hands beside it (which hand holds what never
matters), and what TextWorld works out by unification takes a few operations on integers: which
commands apply, which quests are done, what an action changes.

A `Grounding` is plain data, so that it is kept on disk with the game: a game played before is
loaded without TextWorld's parsers.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_FEW = 5
"""Up to so many new facts it is quicker to look for the actions of each."""
_SLOT = "slot"
"""TextWorld's type for a hand that is free or used."""
FREE_HAND = 1
"""The bit that says that a hand is free."""


class Operator(NamedTuple):
    """An action, grounded."""

    command: str
    needs: int
    adds: int
    removes: int
    hands: int
    """Hands it frees (+1) or takes (-1)."""
    things: tuple[int, ...]
    """What it is done with or to, by number in `Grounding.places_of`."""


class Quest(NamedTuple):
    """What ends a quest, as masks of facts."""

    wins: tuple[int, ...]
    fails: tuple[int, ...]
    needed: bool
    """Whether the game is won only with it."""


class Position(NamedTuple):
    """A state of the world."""

    facts: int
    hands: int
    """Free hands, where the game counts them."""
    done: int
    """Quests completed."""


class Place(NamedTuple):
    """Where a thing may be: a room, or what is in or on something, as it is seen from a room."""

    room: int
    """Bit of the player's being there; 0 for things carried."""
    open: int
    """Bit of the container's being open, 0 where nothing hides what is there."""
    fact: int
    """Bit of the thing's being there; for the place itself 0."""


class Grounding(NamedTuple):
    """A game as bit masks; JSON but for the tuples."""

    facts: int
    """Facts at the start."""
    hands: int
    """Free hands at the start."""
    max_score: float
    """May be infinite, and 0."""
    bits: int
    """How many facts can change."""
    operators: tuple[Operator, ...]
    """Actions that change something, those a plan may hold first."""
    plannable: int
    """How many of `operators` a plan may hold."""
    choices: tuple[tuple[str, int], ...]
    """Every command TextWorld would offer, with what it needs; sorted."""
    events: Mapping[str, tuple[tuple[int, ...], ...]]
    """What the interpreter traces, to the operators it may mean: the first group with one that
    applies, and in it the first."""
    rooms: Mapping[str, int]
    """Names of rooms that are one room's alone, to the bit of being there."""
    anywhere: int
    """All bits of being in a room."""
    quests: tuple[Quest, ...]
    places_of: tuple[tuple[Place, ...], ...]
    """For each thing everywhere it may be."""
    containers: tuple[Place, ...]
    """What can be closed, and hides things then: where it is, by `room`, and its `open`."""
    lids: int
    """All bits of a container's being open."""
    subgoals: tuple[tuple[int, str], ...]
    """Quests that can be won: number and name."""

    def position(self) -> Position:
        """The start."""
        return self.completed(Position(self.facts, self.hands, 0))

    def handed(self, facts: int, hands: int) -> int:
        """The facts, with the bit of a free hand as `hands` says."""
        return facts | FREE_HAND if hands > 0 else facts & ~FREE_HAND

    def applied(self, position: Position, operator: Operator) -> Position:
        """Where an operator leads, quests left as they are."""
        hands = position.hands + operator.hands
        facts = (position.facts & ~operator.removes) | operator.adds
        return Position(self.handed(facts, hands), hands, position.done)

    def heard(self, position: Position, event: str) -> Position:
        """Where what the interpreter traced leads; quests left as they are."""
        for group in self.events.get(event, ()):
            for number in group:
                operator = self.operators[number]
                if position.facts & operator.needs == operator.needs:
                    return self.applied(position, operator)
        return position

    def located(self, position: Position, room: str) -> Position:
        """The position with the player in the room of that name, if it is one room's alone."""
        here = self.rooms.get(room.lower(), 0)
        if not here or position.facts & here:
            return position
        return position._replace(facts=position.facts & ~self.anywhere | here)

    def completed(self, position: Position) -> Position:
        """The position with the quests done that are won in it."""
        done, facts = position.done, position.facts
        for number, quest in enumerate(self.quests):
            if not done >> number & 1 and any(facts & win == win for win in quest.wins):
                done |= 1 << number
        return position if done == position.done else position._replace(done=done)

    def dump(self) -> bytes:
        """As JSON."""
        return json.dumps(self).encode()

    @classmethod
    def parse(cls, data: bytes) -> Grounding:
        """What `dump` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            fields = dict(zip(cls._fields, json.loads(data), strict=True))
            fields["operators"] = tuple(
                Operator(c, n, a, r, h, tuple(t)) for c, n, a, r, h, t in fields["operators"]
            )
            fields["choices"] = tuple((command, needs) for command, needs in fields["choices"])
            fields["quests"] = tuple(Quest(tuple(w), tuple(f), b) for w, f, b in fields["quests"])
            places = fields["places_of"]
            fields["places_of"] = tuple(tuple(Place(*p) for p in each) for each in places)
            fields["containers"] = tuple(Place(*p) for p in fields["containers"])
            fields["subgoals"] = tuple((number, name) for number, name in fields["subgoals"])
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"no grounding of a TextWorld game: {error}") from error


class View:
    """What can be done and seen in a position, by the room the player is in."""

    def __init__(self, grounding: Grounding) -> None:
        self._anywhere = anywhere = grounding.anywhere
        self._containers = grounding.containers
        self._choices: dict[int, list[tuple[str, int]]] = {}
        for command, needs in grounding.choices:
            self._choices.setdefault(needs & anywhere, []).append((command, needs))
        self._shown: dict[int, list[tuple[int, int]]] = {}
        for number, places in enumerate(grounding.places_of):
            for room, lid, fact in places:
                self._shown.setdefault(room, []).append((lid | fact, 1 << number))

    def admissible(self, position: Position) -> tuple[str, ...]:
        """Commands that do something, sorted; TextWorld's own list."""
        lacking = ~position.facts
        here = self._choices.get(position.facts & self._anywhere, ())
        found = {command for command, needs in here if not needs & lacking}
        found.update(command for command, needs in self._choices.get(0, ()) if not needs & lacking)
        return tuple(sorted(found))

    def sight(self, position: Position) -> tuple[int, int, int]:
        """The bit of the room, containers looked into by the bit of their being open, things."""
        facts = position.facts
        room = facts & self._anywhere
        inside = things = 0
        for container in self._containers:
            if container.room == room and facts & container.open:
                inside |= container.open
        for place in (room, 0):
            for needs, thing in self._shown.get(place, ()):
                if not needs & ~facts:
                    things |= thing
        return room, inside, things


def ground(game: Any) -> Grounding:
    """Ground a `textworld.Game`."""
    return _Grounder(game).grounding()


class _Grounder:
    """The steps of `ground`, with the tables they share."""

    def __init__(self, game: Any) -> None:
        self._game = game
        self._names = {key: info.name for key, info in game.infos.items()}
        self._actions = _reachable_actions(game)
        changing = {f for action in self._actions for f in action.added | action.removed}
        self._start = set(game.world.state.facts)
        self._always = self._start - changing
        ordered = sorted((fact for fact in changing if not is_hand(fact)), key=str)
        self._bits = {fact: 2 << number for number, fact in enumerate(ordered)}
        self._things: dict[str, int] = {}

    def grounding(self) -> Grounding:
        hands = sum(fact.name == "free" for fact in self._start if is_hand(fact))
        facts = self._mask(self._start) | (FREE_HAND if hands > 0 else 0)
        places, containers = self._places(), self._containers()
        self._things = {name: number for number, name in enumerate(sorted(places))}
        operators, plannable, events = self._operators()
        at = self._at_rooms()
        named: dict[str, list[int]] = {}
        for room, bit in at.items():
            named.setdefault(self._names[room].lower(), []).append(bit)
        return Grounding(
            facts,
            hands,
            float(self._game.max_score),
            len(self._bits) + 1,
            operators,
            plannable,
            self._choices(),
            events,
            {name: bits[0] for name, bits in sorted(named.items()) if len(bits) == 1},
            sum(at.values()),
            tuple(self._quest(quest) for quest in self._game.quests),
            tuple(tuple(places[name]) for name in self._things),
            containers,
            sum(place.open for place in containers),
            tuple(
                (number, f"quest {number + 1}: {self._aim(quest)}")
                for number, quest in enumerate(self._game.quests)
                if quest.win_events
            ),
        )

    def _mask(self, facts: Iterable[Any]) -> int:
        mask = 0
        for fact in facts:
            mask |= self._bits.get(fact, 0)
        return mask

    def _needs(self, action: Any) -> int:
        hand = any(is_hand(fact) and fact.name == "free" for fact in action.preconditions)
        return self._mask(action.preconditions) | (FREE_HAND if hand else 0)

    def _operator(self, action: Any) -> Operator:
        changed = action.added | action.removed
        hands = sum(
            (fact in action.added) - (fact in action.removed)
            for fact in changed
            if is_hand(fact) and fact.name == "free"
        )
        things = {self._things[v.name] for v in action.variables if v.name in self._things}
        return Operator(
            self._command(action),
            self._needs(action) | (FREE_HAND if hands < 0 else 0),
            self._mask(action.added) | (FREE_HAND if hands > 0 else 0),
            self._mask(action.removed),
            hands,
            tuple(sorted(things)),
        )

    def _command(self, action: Any) -> str:
        words = {v.name: self._names[v.name] for v in action.variables}
        command: str = action.format_command(words)
        return command

    def _operators(
        self,
    ) -> tuple[tuple[Operator, ...], int, dict[str, tuple[tuple[int, ...], ...]]]:
        """Operators, how many a plan may hold, and what is traced of each."""
        # The rules let a meal be made of the recipe's first ingredients, the game does not.
        meals = {a.name for a in self._actions if a.name.startswith("make/recipe/")}
        traced: dict[Operator, list[Any]] = {}
        planned: set[Operator] = set()
        for action in self._actions:
            operator = self._operator(action)
            if operator.adds or operator.removes:
                traced.setdefault(operator, []).append(action)
                if action.name not in meals or action.name == max(meals):
                    planned.add(operator)
        operators = (*sorted(planned), *sorted(traced.keys() - planned))
        heard: dict[str, list[tuple[int, str, int]]] = {}
        for number, operator in enumerate(operators):
            for action in traced[operator]:
                key = (-len(action.preconditions), str(action), number)
                heard.setdefault(self._event(action), []).append(key)
        groups = {event: [sorted(keys)] for event, keys in sorted(heard.items())}
        holders = [info.name.lower() for info in self._game.infos.values() if info.name]
        for event, holder in itertools.product(list(groups), holders):
            # `get` is traced without where from.
            taking, _, source = event.partition(" from the ")
            if source == holder and taking.startswith("removing the "):
                groups.setdefault(f"taking the {taking[13:]}", []).extend(groups[event])
        numbered = {
            event: tuple(tuple(dict.fromkeys(number for *_, number in keys)) for keys in each)
            for event, each in groups.items()
        }
        return operators, len(planned), numbered

    def _event(self, action: Any) -> str:
        """What the interpreter traces of an action, in lower case."""
        template: str = self._game.kb.inform7_events.get(action.name, "")
        rule = self._game.kb.rules[action.name]
        words = {
            placeholder.name: self._names[variable.name]
            for placeholder, variable in zip(rule.placeholders, action.variables, strict=True)
        }
        return template.format(**words).lower()

    def _choices(self) -> tuple[tuple[str, int], ...]:
        return tuple(sorted({(self._command(a), self._needs(a)) for a in self._actions}))

    def _quest(self, quest: Any) -> Quest:
        return Quest(
            self._events(quest.win_events),
            self._events(quest.fail_events),
            bool(quest.win_events) and not quest.optional,
        )

    def _aim(self, quest: Any) -> str:
        """What wins a quest: its last command, or else the facts to bring about."""
        if quest.commands:
            return str(quest.commands[-1])
        facts = quest.win_events[0].condition.preconditions
        return ", ".join(
            " ".join([fact.name, *(self._names.get(v.name) or v.name for v in fact.arguments)])
            for fact in facts
        )

    def _events(self, events: Sequence[Any]) -> tuple[int, ...]:
        return tuple(
            self._mask(event.condition.preconditions)
            for event in events
            if all(f in self._bits or f in self._always for f in event.condition.preconditions)
        )

    # ---------------------------------------------------------------- where things may be

    def _at_rooms(self) -> dict[str, int]:
        """Each room to the bit of the player's being there."""
        return {
            f.arguments[1].name: bit
            for f, bit in self._bits.items()
            if f.name == "at" and f.arguments[0].name == "P"
        }

    def _rooms_of(self) -> dict[str, int]:
        """Each room, container and supporter to the bit of the player's being in its room."""
        rooms = self._at_rooms()
        fixed = {
            f.arguments[0].name: rooms[f.arguments[1].name]
            for f in self._always
            if f.name == "at" and f.arguments[1].name in rooms
        }
        return {**rooms, **fixed}

    def _open(self, name: str) -> int:
        """The bit of a container's being open; 0 if it cannot be closed."""
        bits = (
            b for f, b in self._bits.items() if f.name == "open" and f.arguments[0].name == name
        )
        return next(bits, 0)

    def _places(self) -> dict[str, list[Place]]:
        """Everywhere a thing that is in some room may be, by the thing's name."""
        rooms = self._rooms_of()
        places: dict[str, list[Place]] = {}
        for fact in sorted(self._always | self._bits.keys(), key=str):
            if fact.name not in ("at", "on", "in") or fact.arguments[0].name == "P":
                continue
            thing, holder = fact.arguments
            if holder.name not in rooms and holder.type != "I":
                continue
            bit = self._bits.get(fact, 0)
            lid = self._open(holder.name) if fact.name == "in" else 0
            places.setdefault(thing.name, []).append(Place(rooms.get(holder.name, 0), lid, bit))
        return places

    def _containers(self) -> tuple[Place, ...]:
        rooms = self._rooms_of()
        holders = {f.arguments[1].name for f in self._always | self._bits.keys() if f.name == "in"}
        found = (Place(rooms[name], self._open(name), 0) for name in sorted(holders & rooms.keys()))
        return tuple(place for place in found if place.open)


def _reachable_actions(game: Any) -> list[Any]:
    """Every action that could ever apply if no action undid anything."""
    state = game.world.state.copy()
    constants = game.kb.types.constants_mapping
    rules = list(game.kb.rules.values())
    found = dict.fromkeys(state.all_applicable_actions(rules, constants))
    fresh = _new_facts(state, found)
    while fresh:
        state.add_facts(fresh)
        actions = dict.fromkeys(_actions_of(state, rules, constants, fresh))
        fresh = _new_facts(state, actions)
        found.update(actions)
    return list(found)


def _actions_of(
    state: Any, rules: list[Any], constants: Mapping[Any, Any], fresh: list[Any]
) -> Iterator[Any]:
    """Actions of rules that need a fact like the fresh ones; all that need one of them."""
    if len(fresh) > _FEW:
        names = {fact.name for fact in fresh}
        touched = (rule for rule in rules if any(need.name in names for need in rule.preconditions))
        yield from state.all_applicable_actions(touched, constants)
        return
    for fact, rule in itertools.product(fresh, rules):
        for match in filter(None, (need.match(fact) for need in rule.preconditions)):
            yield from state.all_instantiations(rule, {**constants, **match})


def _new_facts(state: Any, actions: Iterable[Any]) -> list[Any]:
    added = {fact for action in actions for fact in action.added if not state.is_fact(fact)}
    return sorted(added)


def is_hand(fact: Any) -> bool:
    """Whether a fact is about one hand: `free(slot)` or `used(slot)`."""
    return len(fact.arguments) == 1 and fact.arguments[0].type == _SLOT
