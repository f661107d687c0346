"""ALFWorld games made from tables, without ALFWorld's data.

There are 30 rooms of each of four kinds, fixed for good; a seed draws one of them, what lies in it
and the goal. Whatever the player does, a game can still be won: each object may be put back where
it lay, and nothing that is done to an object closes the way to the goal.

Only `Random.random` is drawn from, the one method whose numbers Python promises to keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from random import Random
from typing import TypeVar

from agentgym.errors import ConfigError, did_you_mean
from agentgym.tasks.alfworld_game import TASK_TYPES, TRAIT, Game, Receptacle, Thing
from agentgym.tasks.alfworld_rooms import (
    APPLIANCES,
    COMPANIONS,
    HELD_OUT_OF_A_KIND,
    HOLLOW,
    ITEMS,
    LAMPS,
    OPENABLE,
    PLURALS,
    REQUESTS,
    ROOM_KINDS,
    ROOMS_OF_A_KIND,
    SENTENCES,
    SPOKEN,
    RoomKind,
)

SIZES = ("small", "full")
"""Rooms as large as ALFWorld's, or the same ones with most of their furniture left out."""

_SMALL_RECEPTACLES = (6, 12)
_SMALL_FIXTURES = 2
_SMALL_ITEMS = (5, 8)
_COPIES = 3
"""How many of a usual item there may be, beside those the task is about."""
_SHARED_LOCATIONS = (0, 0, 1, 1, 2, 3)
"""How many receptacles of a room are where another one is: one of these."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Room:
    """A room before anything is put in it."""

    name: str
    start: str
    receptacles: tuple[Receptacle, ...]
    fixtures: tuple[Thing, ...]
    homes: Mapping[str, Mapping[str, tuple[Receptacle, ...]]]
    """Type of an item to the receptacles of this room that take it, by their type."""
    can_contain: Mapping[str, tuple[str, ...]]
    deck: tuple[str, ...]
    """Types of items that may lie about, as often as they may."""
    items: tuple[int, int]
    """The least and the highest number of items drawn from the deck."""


def generate(task_type: str, seed: int, *, size: str = "full", held_out: bool = False) -> Game:
    """The game of a seed, the same in every process.

    Args:
        task_type: One of the keys of `TASK_TYPES`.
        seed: Not negative.
        size: One of `SIZES`.
        held_out: Whether it plays in one of the held-out rooms, or in one of the others.

    Raises:
        ConfigError: No such task type, size or seed.
    """
    for what, given, known in (("task_type", task_type, TASK_TYPES), ("size", size, SIZES)):
        if given not in known:
            raise ConfigError(
                f"{what} is {given!r}: give one of {', '.join(known)}{did_you_mean(given, known)}"
            )
    if seed < 0:
        raise ConfigError(f"seed is {seed}: give one that is not negative")
    stream = (seed * len(TASK_TYPES) + list(TASK_TYPES).index(task_type)) * len(SIZES)
    rng = Random((stream + SIZES.index(size)) * 2 + held_out)
    room, goals = _choose(rng, _playable(task_type, size, held_out))
    target, destinations = _choose(rng, goals)
    destination = _choose(rng, destinations)
    things = [
        *room.fixtures,
        *_targets(rng, room, task_type, target, destination),
        *_others(rng, room, target),
    ]
    small = "size=small:" if size == "small" else ""
    sentence = _choose(rng, SENTENCES[task_type])
    return Game(
        id=f"{task_type}:{small}seed={seed}",
        task_type=task_type,
        target=target,
        destination=destination,
        task=sentence.format(target, destination),
        start=room.start,
        receptacles=room.receptacles,
        things=tuple(sorted(things, key=attrgetter("id"))),
        can_contain=room.can_contain,
        human_goals=_requests(rng, task_type, target, destination),
        scene=room.name,
    )


def rooms(size: str, held_out: bool) -> tuple[Room, ...]:
    """The rooms that are held out, or the others."""
    first_held_out = ROOMS_OF_A_KIND - HELD_OUT_OF_A_KIND + 1
    numbers = range(1, first_held_out)
    if held_out:
        numbers = range(first_held_out, ROOMS_OF_A_KIND + 1)
    return tuple(_room(kind, number, size) for kind in ROOM_KINDS for number in numbers)


# ----------------------------------------------------------------------------------------- Chance


def _choose(rng: Random, among: Sequence[_T]) -> _T:
    return among[int(rng.random() * len(among))]


def _number(rng: Random, least: int, most: int) -> int:
    return least + int(rng.random() * (most - least + 1))


def _shuffled(rng: Random, items: Sequence[_T]) -> list[_T]:
    return sorted(items, key=lambda _: rng.random())


# ------------------------------------------------------------------------------------------ Rooms


@cache
def _room(kind: str, number: int, size: str) -> Room:
    """A room, made of its kind and number; the small one is part of the full one."""
    table = ROOM_KINDS[kind]
    rng = Random(list(ROOM_KINDS).index(kind) * 1000 + number)
    places = [f"loc_bar_{n:02}" for n in _shuffled(rng, range(1, 100))]
    start = places.pop()
    receptacles = _receptacles(rng, table, places)
    fixtures = _fixtures(rng, table, receptacles, places)
    if size == "small":
        receptacles, fixtures = _small_part(rng, receptacles, fixtures)
    homes = {}
    for item in sorted({*table.usual, *table.occasional}):
        by_type = {
            where: tuple(each for each in receptacles if each.type == where)
            for where in ITEMS[item].where
        }
        homes[item] = {where: found for where, found in by_type.items() if found}
    can_contain = {
        into: tuple(item for item in homes if into in homes[item])
        for into in sorted({each.type for each in receptacles})
    }
    deck = (*table.usual * _COPIES, *table.occasional)
    return Room(
        name=f"{kind}-{number}",
        start=start,
        receptacles=tuple(sorted(receptacles, key=attrgetter("id"))),
        fixtures=tuple(fixtures),
        homes=homes,
        can_contain={into: items for into, items in can_contain.items() if items},
        deck=tuple(item for item in deck if homes[item]),
        items=_SMALL_ITEMS if size == "small" else table.items,
    )


def _receptacles(rng: Random, table: RoomKind, places: list[str]) -> list[Receptacle]:
    made = []
    for kind, (least, most) in table.receptacles.items():
        for number in range(1, _number(rng, least, most) + 1):
            name = f"{kind}_bar_{number:02}"
            if kind.endswith("basin"):
                name = f"{kind.removesuffix('basin')}_bar_{number:02}_bar_{kind}"
            made.append(Receptacle(name, kind, places.pop(), openable=kind in OPENABLE))
    for _ in range(_choose(rng, _SHARED_LOCATIONS)):
        moved = _number(rng, 1, len(made) - 1)
        made[moved] = replace(made[moved], location=made[moved - 1].location)
    return made


def _fixtures(
    rng: Random, table: RoomKind, receptacles: Sequence[Receptacle], places: list[str]
) -> list[Thing]:
    """What stays where it is, the lamps first."""
    made = []
    for kind in sorted(table.fixtures, key=lambda kind: kind not in LAMPS):
        fixture = table.fixtures[kind]
        hosts = [each for each in receptacles if each.type in fixture.where]
        if fixture.where and not hosts:
            continue
        for number in range(1, _number(rng, fixture.least, fixture.most) + 1):
            within: tuple[str, ...] = ()
            if hosts:
                host = _choose(rng, hosts)
                location, within = host.location, (host.id,)
            elif rng.random() < 0.5:
                location = _choose(rng, receptacles).location
            else:
                location = places.pop()
            traits = TRAIT["toggleable"] if kind in LAMPS else 0
            made.append(Thing(f"{kind}_bar_{number:02}", kind, (location,), within, traits))
    for kind, companion in COMPANIONS.items():
        beside = [each for each in receptacles if each.type == kind]
        made += [
            Thing(f"{companion}_bar_{number:02}", companion, (each.location,), ())
            for number, each in enumerate(beside, 1)
        ]
    return made


def _small_part(
    rng: Random, receptacles: Sequence[Receptacle], fixtures: Sequence[Thing]
) -> tuple[list[Receptacle], list[Thing]]:
    """Part of a room: with its appliances, and with its first lamp and what that lies in."""
    kept = fixtures[:_SMALL_FIXTURES]
    appliances = {appliance for appliance, _ in APPLIANCES.values()}
    needed = {into for each in kept for into in each.receptacles}
    needed |= {each.id for each in receptacles if each.type in appliances}
    shuffled = _shuffled(rng, receptacles)
    shuffled.sort(key=lambda each: each.id not in needed)
    return shuffled[: _number(rng, *_SMALL_RECEPTACLES)], list(kept)


@cache
def _playable(
    task_type: str, size: str, held_out: bool
) -> tuple[tuple[Room, tuple[tuple[str, tuple[str, ...]], ...]], ...]:
    """Rooms in which there is something to do: targets, with the destinations of each."""
    found = ((room, tuple(_goals(room, task_type))) for room in rooms(size, held_out))
    return tuple((room, goals) for room, goals in found if goals)


def _goals(room: Room, task_type: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    lamps = tuple(sorted({each.type for each in room.fixtures if each.type in LAMPS}))
    appliance, needed = APPLIANCES.get(task_type, ("", "pickupable"))
    if appliance and appliance not in {each.type for each in room.receptacles}:
        return
    for item, homes in room.homes.items():
        if task_type == "look":
            if lamps and homes:
                yield item, lamps
        elif len(homes) > 1 and ITEMS[item].traits & TRAIT[needed]:  # it can be elsewhere first
            yield item, tuple(where for where in homes if where != appliance)


# --------------------------------------------------------------------------------------- Contents


def _targets(
    rng: Random, room: Room, task_type: str, target: str, destination: str
) -> Iterator[Thing]:
    """What the task is about, so placed that there is something left to do."""
    homes = room.homes[target]
    elsewhere = [found for where, found in homes.items() if where != destination]
    anywhere = list(homes.values())
    if task_type == "pick2":  # one of them may be there already
        places = [elsewhere] * _choose(rng, (1, 1, 2)) + [anywhere]
    elif task_type == "pick":
        places = [elsewhere] * _choose(rng, (1, 1, 2, 3))
    else:
        places = [elsewhere] + [anywhere] * _choose(rng, (0, 0, 1, 2))
    for number, among in enumerate(_shuffled(rng, places), 1):
        yield _thing(target, number, _choose(rng, _choose(rng, among)))


def _others(rng: Random, room: Room, target: str) -> Iterator[Thing]:
    """What else lies about."""
    deck = _shuffled(rng, [item for item in room.deck if item != target])
    numbers: dict[str, int] = {}
    for item in deck[: _number(rng, *room.items)]:
        numbers[item] = number = numbers.get(item, 0) + 1
        by_type = list(room.homes[item].values())
        yield _thing(item, number, _choose(rng, _choose(rng, by_type)))


def _thing(item: str, number: int, into: Receptacle) -> Thing:
    return Thing(f"{item}_bar_{number:02}", item, (into.location,), (into.id,), ITEMS[item].traits)


def _requests(rng: Random, task_type: str, target: str, destination: str) -> tuple[str, ...]:
    """The goal as people might say it: two or three ways."""
    name = SPOKEN.get(target, target)
    words = {
        "name": name,
        "one": f"an {name}" if name[0] in "aeiou" else f"a {name}",
        "many": PLURALS.get(target, f"{name}s"),
        "on": "in" if destination in HOLLOW else "on",
        "place": SPOKEN.get(destination, destination),
    }
    ways = _shuffled(rng, REQUESTS[task_type])[: _number(rng, 2, 3)]
    return tuple(way.format(**words) for way in ways)
