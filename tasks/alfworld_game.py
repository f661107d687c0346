"""One ALFWorld game: what is in the room, where, and what is to be done with it.

`Game` is the form everything here works on: the engine plays it, the oracle plans in it, the
generator makes it, packs hold it. `read_problem` makes one of the PDDL that ALFWorld ships, and
`write_problem` the reverse, for the reference engine.

Ids are ALFWorld's, in lower case: a type and a position, joined by `_bar_`
(`mug_bar__plus_01_dot_65...`). The names that players read are made of them by `names`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agentgym.errors import TaskError

TASK_TYPES: Mapping[str, str] = {
    "pick": "pick_and_place_simple",
    "look": "look_at_obj_in_light",
    "clean": "pick_clean_then_place_in_recep",
    "heat": "pick_heat_then_place_in_recep",
    "cool": "pick_cool_then_place_in_recep",
    "pick2": "pick_two_obj_and_place",
}
"""The short name of each task type, and ALFWorld's."""

TRAITS = (
    "pickupable",
    "cleanable",
    "heatable",
    "coolable",
    "sliceable",
    "toggleable",
    "isreceptacleobject",
    "isclean",
    "ishot",
    "iscool",
    "istoggled",
    "issliced",
)
"""What may be said of an object, in the order of the bits of `Thing.traits`."""
TRAIT: Mapping[str, int] = {name: 1 << i for i, name in enumerate(TRAITS)}


@dataclass(frozen=True, slots=True)
class Receptacle:
    """What things lie in or on."""

    id: str
    type: str
    location: str
    openable: bool = False
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Thing:
    """What lies in receptacles."""

    id: str
    type: str
    locations: tuple[str, ...]
    """Where ALFWorld says it is, which need not be where its receptacle is."""
    receptacles: tuple[str, ...]
    """Usually one, sometimes two (a pot on two burners) or none."""
    traits: int = 0
    """Bits of `TRAIT`."""


@dataclass(frozen=True, slots=True)
class Game:
    """A room and a goal.

    Args:
        id: Unique within its split.
        task_type: One of the keys of `TASK_TYPES`.
        target: Type of the object the task is about, e.g. `"mug"`.
        destination: Type of the receptacle it belongs in; of the lamp, for `look`.
        task: The goal in ALFWorld's words, without a full stop.
        start: Location of the agent.
        can_contain: Receptacle type to the object types it takes.
        inside: Pairs (inner, outer) of objects: the pen in the mug. Nothing ever changes them.
        human_goals: The goal in people's words.
        scene: Name of the room.
    """

    id: str
    task_type: str
    target: str
    destination: str
    task: str
    start: str
    receptacles: tuple[Receptacle, ...]
    things: tuple[Thing, ...]
    can_contain: Mapping[str, tuple[str, ...]]
    inside: tuple[tuple[str, str], ...] = ()
    human_goals: tuple[str, ...] = ()
    scene: str = ""
    split: str = field(default="", compare=False)


def names(ids: Iterable[str]) -> dict[str, str]:
    """What players call each id: its kind and a number, the highest for the first in order."""
    ordered = sorted(ids)
    kinds = {}
    for each in ordered:
        kind, found, _ = each.partition("_bar_")
        if found:
            kinds[each] = kind + "basin" if "basin" in each else kind
    left = Counter(kinds.values())
    named = {}
    for each in ordered:
        if each not in kinds:
            named[each] = f"{each} "
            continue
        kind = kinds[each]
        named[each] = f"{kind} {left[kind]}"
        left[kind] -= 1
    return named


# ------------------------------------------------------------------------------------------- PDDL

_FACT = re.compile(r"\(\s*([\w=-]+)((?:\s+[\w.+-]+)*)\s*\)")
_GOAL_TYPE = re.compile(r"\(\s*(objecttype|receptacletype)\s+\?\w+\s+(\w+?)type\s*\)")
_IGNORED = frozenset({"=", "ison", "moveable", "wasinreceptacle", "checked", "examined", "full"})
"""Predicates that nothing the player reads or does depends on."""
_MARKS = (
    ("look", "(istoggled"),
    ("pick2", "?o2"),
    ("clean", "(isclean"),
    ("heat", "(ishot"),
    ("cool", "(iscool"),
)


def read_problem(
    text: str,
    *,
    id: str,
    task: str,
    human_goals: Sequence[str] = (),
    scene: str = "",
    split: str = "",
) -> Game:
    """The game of an ALFWorld PDDL problem.

    Args:
        text: The problem, as `game.tw-pddl` holds it.
        id: What to call the game.
        task: The goal as a sentence, without a full stop.
        human_goals: The same in people's words.
        scene: Name of the room.
        split: Where it comes from.

    Raises:
        TaskError: It is no such problem, or says what this engine does not know.
    """
    lowered = text.lower()
    initial, goal = lowered.find("(:init"), lowered.find("(:goal")
    if initial < 0 or goal < initial:
        raise TaskError(
            f"game {id!r} is no ALFWorld problem: it has no (:init ...) and (:goal ...)"
        )
    task_type, target, destination = _read_goal(id, lowered[goal:])
    facts = _Facts(id, lowered[initial + len("(:init") : goal])
    openable, opened = facts.of("openable"), facts.of("opened")
    location, kind = facts.single("receptacleatlocation"), facts.single("receptacletype")
    thing_kind = facts.single("objecttype")
    at, within = facts.of("objectatlocation"), facts.of("inreceptacle")
    can_contain, inside = facts.of("cancontain"), facts.of("inreceptacleobject")
    start = facts.single("atlocation")
    traits = [(bit, facts.of(name)) for name, bit in TRAIT.items()]
    facts.finish()
    facts.check("the place of the agent", len(start) == 1)
    facts.check("the place of a receptacle", kind.keys() == location.keys())
    facts.check("the type of an object", at.keys() | within.keys() <= thing_kind.keys())
    facts.check(
        "the type of a receptacle", {r for rs in within.values() for r in rs} <= kind.keys()
    )
    return Game(
        id=id,
        task_type=task_type,
        target=target,
        destination=destination,
        task=task,
        start=next(iter(start.values())),
        receptacles=tuple(
            Receptacle(each, _bare(kind[each]), location[each], each in openable, each in opened)
            for each in sorted(kind)
        ),
        things=tuple(
            Thing(
                each,
                _bare(thing_kind[each]),
                tuple(sorted(at.get(each, ()))),
                tuple(sorted(within.get(each, ()))),
                sum(bit for bit, having in traits if each in having),
            )
            for each in sorted(thing_kind)
        ),
        can_contain={
            _bare(into): tuple(sorted(set(map(_bare, what))))
            for into, what in sorted(can_contain.items())
        },
        inside=tuple(
            sorted((inner, outer) for inner, outers in inside.items() for outer in outers)
        ),
        human_goals=tuple(human_goals),
        scene=scene,
        split=split,
    )


class _Facts:
    """The facts of a problem, by predicate: first argument to second arguments (or none)."""

    def __init__(self, game: str, text: str) -> None:
        self._game = game
        self._left: dict[str, dict[str, list[str]]] = {}
        for predicate, arguments in _FACT.findall(text):
            first, *others = arguments.split() or [""]
            self._left.setdefault(predicate, {}).setdefault(first, []).extend(others)
        rest = _FACT.sub("", text).strip()
        self.check("the facts", rest == ")", f"cannot read {rest[:40]!r} in")

    def of(self, predicate: str) -> dict[str, list[str]]:
        return self._left.pop(predicate, {})

    def single(self, predicate: str) -> dict[str, str]:
        found = self.of(predicate)
        self.check(f"({predicate} ...)", all(len(others) == 1 for others in found.values()))
        return {first: others[0] for first, others in found.items()}

    def finish(self) -> None:
        unknown = self._left.keys() - _IGNORED
        name = min(unknown, default="")
        self.check(f"({name} ...)", not unknown, "this engine does not know")

    def check(self, what: str, right: bool, wrong: str = "the problem does not say, once,") -> None:
        if not right:
            raise TaskError(f"ALFWorld game {self._game!r} cannot be played: {wrong} {what}")


def _read_goal(game: str, goal: str) -> tuple[str, str, str]:
    """Task type, target and destination of a goal in lower case."""
    short = next((name for name, mark in _MARKS if mark in goal), "pick")
    types: dict[str, list[str]] = {"objecttype": [], "receptacletype": []}
    for predicate, name in _GOAL_TYPE.findall(goal):
        if name not in types[predicate]:
            types[predicate].append(name)
    if short == "look" and len(types["objecttype"]) == 2:
        lamp, target = types["objecttype"]
        return short, target, lamp
    if "(issliced" in goal or len(types["objecttype"]) != 1 or len(types["receptacletype"]) != 1:
        raise TaskError(
            f"ALFWorld game {game!r} cannot be played: its goal is of none of the six types"
        )
    return short, types["objecttype"][0], types["receptacletype"][0]


def _bare(type_name: str) -> str:
    return type_name.removesuffix("type")


_GOALS: Mapping[str, str] = {
    "pick": "(inreceptacle ?o ?r)",
    "clean": "(inreceptacle ?o ?r) (cleanable ?o) (isclean ?o)",
    "heat": "(inreceptacle ?o ?r) (heatable ?o) (ishot ?o)",
    "cool": "(inreceptacle ?o ?r) (coolable ?o) (iscool ?o)",
    "pick2": "(inreceptacle ?o ?r) (exists (?o2 - object) (and (not (= ?o ?o2)) "
    "(objecttype ?o2 {target}type) (inreceptacle ?o2 ?r)))",
}
_LOOK = (
    "(and (exists (?o - object ?r - receptacle ?a - agent ?l - location) (and "
    "(objecttype ?o {destination}type) (toggleable ?o) (istoggled ?o) (receptacleatlocation ?r ?l) "
    "(atlocation ?a ?l) (inreceptacle ?o ?r))) "
    "(exists (?o - object ?a - agent) (and (objecttype ?o {target}type) (holds ?a ?o))))"
)
_PLACE = (
    "(exists (?r - receptacle) (exists (?o - object) (and (objecttype ?o {target}type) "
    "(receptacletype ?r {destination}type) %s)))"
)


def write_problem(game: Game) -> str:
    """The game as a PDDL problem of ALFWorld's domain."""
    goal = _LOOK if game.task_type == "look" else _PLACE % _GOALS[game.task_type]
    facts = sorted(_facts_of(game))
    declared: dict[str, set[str]] = {
        kind: set() for kind in ("agent", "location", "otype", "rtype")
    }
    declared["agent"].add("agent1")
    declared["location"] = {game.start, *(r.location for r in game.receptacles)}
    declared["location"].update(at for thing in game.things for at in thing.locations)
    declared["otype"] = {f"{thing.type}type" for thing in game.things}
    declared["otype"] |= {f"{each}type" for types in game.can_contain.values() for each in types}
    declared["otype"].add(f"{game.target}type")
    declared["otype"] |= {"knifetype", "butterknifetype"}  # the domain names these
    declared["rtype"] = {f"{each.type}type" for each in game.receptacles}
    declared["rtype"] |= {f"{each}type" for each in game.can_contain}
    declared["rtype"] |= {"sinkbasintype", "microwavetype", "fridgetype"}  # and these
    if game.task_type == "look":
        declared["otype"].add(f"{game.destination}type")
    else:
        declared["rtype"].add(f"{game.destination}type")
    declared["receptacle"] = {each.id for each in game.receptacles}
    declared["object"] = {each.id for each in game.things}
    objects = "\n".join(
        f"{name} - {kind}" for kind, members in declared.items() for name in sorted(members)
    )
    goal = goal.format(target=game.target, destination=game.destination)
    return (
        "(define (problem game)\n(:domain alfred)\n"
        f"(:objects\n{objects}\n)\n(:init\n{chr(10).join(facts)}\n)\n(:goal {goal})\n)\n"
    )


def _facts_of(game: Game) -> Iterator[str]:
    yield f"(atlocation agent1 {game.start})"
    for receptacle in game.receptacles:
        yield f"(receptacletype {receptacle.id} {receptacle.type}type)"
        yield f"(receptacleatlocation {receptacle.id} {receptacle.location})"
        if receptacle.openable:
            yield f"(openable {receptacle.id})"
        if receptacle.opened:
            yield f"(opened {receptacle.id})"
    for thing in game.things:
        yield f"(objecttype {thing.id} {thing.type}type)"
        yield from (f"(objectatlocation {thing.id} {at})" for at in thing.locations)
        yield from (f"(inreceptacle {thing.id} {into})" for into in thing.receptacles)
        yield from (f"({name} {thing.id})" for name, bit in TRAIT.items() if thing.traits & bit)
    for into, types in game.can_contain.items():
        yield from (f"(cancontain {into}type {each}type)" for each in types)
    yield from (f"(inreceptacleobject {inner} {outer})" for inner, outer in game.inside)
