"""Drawing questions about a knowledge world: which facts one rests on, and its words.

A draft may turn out to be no good; the next attempt at the same number draws another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

from agentgym.tasks.knowledge import Fact, World
from agentgym.tasks.knowledge_names import Stream, make_key
from agentgym.tasks.knowledge_schema import KINDS, RELATIONS, VALUES

HOPS: Mapping[str, range] = {
    "chain": range(1, 5),
    "comparison": range(2, 5),
    "difference": range(2, 5),
    "count": range(1, 4),
    "intersection": range(1, 4),
    "unanswerable": range(1, 5),
}
"""Kinds of questions, and how many hops each may have.

A comparison or difference counts the facts of both its sides; a count or an intersection, the steps
to what is counted or met, and one more.
"""
UNANSWERABLE = "unanswerable"
TRIES_EACH = 24
"""Attempts before another fact is started from."""
_NUMBERS = {"2": "two", "3": "three", "4": "four", "5": "five"}


class Draft(NamedTuple):
    """A question before it is checked."""

    text: str
    answers: list[str]
    paths: tuple[tuple[Fact, ...], ...]
    """Facts in the order in which they are found; each path starts from a thing named."""
    last: tuple[Fact, ...] = ()
    """Facts that come after, in any order."""
    named: bool = False
    """Whether the question gives answers to choose from."""
    read: bool = False
    """Whether the answer is read off the last page, and must not stand on those before."""
    missing: Fact | None = None


class Drafts:
    """Questions about a world, not yet checked.

    Args:
        world: What is asked about.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._leads: dict[tuple[str, int], list[Fact]] = {}
        self._key = make_key("ask", world.seed, world.options.docs)
        self._drawers: dict[str, Callable[[int, int, int], Draft | None]] = {
            "chain": self._chain,
            "comparison": self._comparison,
            "difference": self._difference,
            "count": self._count,
            "intersection": self._intersection,
            "unanswerable": self._unanswerable,
        }

    def draw(self, kind: str, hops: int, number: int, attempt: int) -> Draft | None:
        """The draft of that number and attempt, where there is one; independent of all others."""
        return self._drawers[kind](hops, number, attempt)

    def starts(self, kind: str, hops: int) -> int:
        """From how many facts questions start; numbers below half of that have their own."""
        names = {
            "chain": "_told" if hops == 1 else "_linking",
            "comparison": "_ordered",
            "difference": "_dated",
            "count": "_countable",
            "intersection": "_meeting",
            "unanswerable": "_untold",
        }
        if kind in ("chain", "intersection"):
            return len(getattr(self, names[kind]))
        lead = hops // 2 - 1 if kind in ("comparison", "difference") else hops - 1
        return len(self._with_lead(names[kind], lead))

    # ---- where questions start

    def _shuffled(self, name: str, facts: Iterable[Fact]) -> list[Fact]:
        facts = list(facts)
        return [facts[i] for i in Stream(make_key(self._key, "order", name)).order(len(facts))]

    def _all(self, told: bool) -> Iterable[Fact]:
        world = self.world
        for relation, each in enumerate(RELATIONS):
            for subject in world.of_kind(each.subject):
                if world.told(relation, subject) == told:
                    yield relation, subject

    @cached_property
    def _told(self) -> list[Fact]:
        return self._shuffled("told", self._all(told=True))

    @cached_property
    def _linking(self) -> list[Fact]:
        """Facts that lead on to a thing whose page does not tell them too."""
        return [fact for fact in self._told if self._leads_on(fact)]

    def _leads_on(self, fact: Fact) -> bool:
        world = self.world
        return world.is_thing(fact[0]) and fact not in world.echoes.get(world.value(*fact), ())

    @cached_property
    def _untold(self) -> list[Fact]:
        return self._shuffled("untold", self._all(told=False))

    @cached_property
    def _ordered(self) -> list[Fact]:
        return [fact for fact in self._told if RELATIONS[fact[0]].order]

    @cached_property
    def _dated(self) -> list[Fact]:
        return [fact for fact in self._told if RELATIONS[fact[0]].event]

    @cached_property
    def _hidden(self) -> set[Fact]:
        """Relations and values that some fact has which is told nowhere."""
        world = self.world
        return {(each[0], world.value(*each)) for each in self._untold}

    @cached_property
    def _incoming(self) -> dict[int, list[Fact]]:
        """Facts that lead to a thing."""
        found: dict[int, list[Fact]] = {}
        for relation, by_object in enumerate(self.world.inverse):
            for thing, subjects in by_object.items():
                found.setdefault(thing, []).extend(
                    (relation, each) for each in subjects if self._leads_on((relation, each))
                )
        return found

    @cached_property
    def _countable(self) -> list[Fact]:
        """Relations, and values that two to five subjects have; each number of them in turn.

        Two is by far the most frequent: else nobody would have to count.
        """
        found = [
            (relation, value)
            for relation, by_object in enumerate(self.world.inverse)
            if RELATIONS[relation].many
            for value, subjects in by_object.items()
            if 2 <= len(subjects) <= 5 and (relation, value) not in self._hidden
        ]
        rounds, counts = list[tuple[int, Fact]](), Counter[int]()
        for relation, value in self._shuffled("countable", found):
            count = len(self.world.inverse[relation][value])
            rounds.append((counts[count], (relation, value)))
            counts[count] += 1
        return [fact for _, fact in sorted(rounds, key=lambda each: each[0])]

    @cached_property
    def _meeting(self) -> list[tuple[int, int, int]]:
        """Two relations and the one thing that has its values of both; neither would do alone."""
        world, found = self.world, []
        for thing in range(world.options.docs):
            facts = [
                (each, world.value(each, thing))
                for each in world.relations_of(thing)
                if world.is_thing(each) and world.told(each, thing)
            ]
            facts = [
                (each, value)
                for each, value in facts
                if (each, value) not in self._hidden and len(world.inverse[each][value]) > 1
            ]
            for i, (first, one) in enumerate(facts):
                for second, other in facts[i + 1 :]:
                    shared = {*world.inverse[first][one]} & {*world.inverse[second][other]}
                    if len(shared) == 1:
                        found.append((first, second, thing))
        order = Stream(make_key(self._key, "order", "meeting")).order(len(found))
        return [found[i] for i in order]

    # ---- drawing

    def _stream(self, *key: object) -> Stream:
        return Stream(make_key(self._key, *key))

    @cached_property
    def _led_to(self) -> list[set[int]]:
        """The things that a path of 0, 1, 2 or 3 facts leads to."""
        found = [set(range(self.world.options.docs))]
        for _ in range(3):
            before = found[-1]
            found.append(
                {
                    thing
                    for thing, facts in self._incoming.items()
                    if any(subject in before for _, subject in facts)
                }
            )
        return found

    def _with_lead(self, name: str, hops: int) -> list[Fact]:
        """Of the facts under a name, those about a thing, or `countable` values, led to."""
        key = (name, hops)
        if key not in self._leads:
            facts: list[Fact] = getattr(self, name)
            facts = [each for each in facts if each[1] in self._led_to[hops]]
            if hops and name == "_countable":  # what is counted leads nowhere else
                facts = [each for each in facts if self._choices(each[1], hops - 1, each[0])]
            self._leads[key] = facts
        return self._leads[key]

    def _choices(self, thing: int, left: int, but: int | None) -> list[Fact]:
        """Facts that lead to a thing and have a path before them; of all relations but one."""
        incoming = self._incoming.get(thing, ())
        reached = self._led_to[left]
        return [each for each in incoming if each[1] in reached and each[0] != but]

    def _lead(
        self, thing: int, hops: int, stream: Stream, but: int | None = None
    ) -> tuple[Fact, ...] | None:
        """So many facts, one after another, that lead to a thing; the last of another relation."""
        path: tuple[Fact, ...] = ()
        for left in range(hops - 1, -1, -1):
            choices = self._choices(path[0][1] if path else thing, left, None if path else but)
            if not choices:
                return None
            path = (stream.pick(choices), *path)
        return path

    def _refer(self, path: tuple[Fact, ...], thing: int) -> str:
        """Words for the thing that a path leads to; its name where there is no path."""
        text = self.world.things[path[0][1] if path else thing].named
        for relation, _ in path:
            text = RELATIONS[relation].phrase.replace("{s}", text)
        return text

    def _place(self, count: int, number: int, attempt: int) -> int:
        """Where to start: at the number's own place, for some tries; then counted from the end."""
        turn = attempt // TRIES_EACH
        return (number if turn == 0 else -number - 1 - (turn - 1) * 7919) % count

    def _chain(self, hops: int, number: int, attempt: int) -> Draft | None:
        world = self.world
        starts = self._told if hops == 1 else self._linking
        if not starts:
            return None
        path = [starts[self._place(len(starts), number, attempt)]]
        stream = self._stream("chain", hops, number, attempt)
        for left in range(hops - 1, 0, -1):
            thing = world.value(*path[-1])
            onward = [
                each
                for each in world.relations_of(thing)
                if world.told(each, thing) and (left == 1 or self._leads_on((each, thing)))
            ]
            if not onward:
                return None
            path.append((stream.pick(onward), thing))
        return self._ending(tuple(path))

    def _ending(self, path: tuple[Fact, ...]) -> Draft:
        relation, subject = path[-1]
        text = RELATIONS[relation].ask.replace("{s}", self._refer(path[:-1], subject))
        return Draft(
            text, self.world.answers(relation, self.world.value(*path[-1])), (path,), read=True
        )

    def _unanswerable(self, hops: int, number: int, attempt: int) -> Draft | None:
        untold = self._with_lead("_untold", hops - 1)
        if not untold:
            return None
        fact = untold[self._place(len(untold), number, attempt)]
        lead = self._lead(fact[1], hops - 1, self._stream(UNANSWERABLE, hops, number, attempt))
        if lead is None:
            return None
        text = RELATIONS[fact[0]].ask.replace("{s}", self._refer(lead, fact[1]))
        return Draft(text, [UNANSWERABLE], (lead,), missing=fact)

    def _two_sides(
        self, name: str, hops: int, number: int, attempt: int, same: bool
    ) -> tuple[tuple[Fact, ...], tuple[Fact, ...]] | None:
        """Two paths to facts whose values differ; of one relation, if asked for."""
        split = (hops // 2, hops - hops // 2)
        facts, others = (self._with_lead(name, each - 1) for each in split)
        if not facts or not others:
            return None
        stream = self._stream("sides", same, hops, number, attempt)
        one = facts[self._place(len(facts), number, attempt)]
        if same:
            subjects = self.world.of_kind(RELATIONS[one[0]].subject)
            other = (one[0], stream.pick(subjects))
            if not self.world.told(*other):
                return None
        else:
            other = stream.pick(others)
        if one == other or self._number(one) == self._number(other):
            return None
        sides = []
        for fact, depth in zip((one, other), split, strict=True):
            lead = self._lead(fact[1], depth - 1, stream)
            if lead is None:
                return None
            sides.append((*lead, fact))
        first = stream.below(2)
        return sides[first], sides[1 - first]

    def _number(self, fact: Fact) -> int:
        return int(VALUES[RELATIONS[fact[0]].range][self.world.value(*fact)])

    def _comparison(self, hops: int, number: int, attempt: int) -> Draft | None:
        sides = self._two_sides("_ordered", hops, number, attempt, same=True)
        if sides is None:
            return None
        greater = self._stream("greater", hops, number).below(2)
        order = RELATIONS[sides[0][-1][0]].order
        assert order is not None
        one, other = (self._refer(side[:-1], side[-1][1]) for side in sides)
        answer = sorted(sides, key=lambda side: self._number(side[-1]))[greater][-1][1]
        named = any(len(side) == 1 and side[-1][1] == answer for side in sides)
        text = f"Which {order[greater]}: {one}, or {other}?"
        return Draft(text, self.world.forms(answer), sides, named=named)

    def _difference(self, hops: int, number: int, attempt: int) -> Draft | None:
        sides = self._two_sides("_dated", hops, number, attempt, same=False)
        if sides is None:
            return None
        one, other = (
            RELATIONS[side[-1][0]].event.replace("{s}", self._refer(side[:-1], side[-1][1]))
            for side in sides
        )
        years = abs(self._number(sides[0][-1]) - self._number(sides[1][-1]))
        unit = "year" if years == 1 else "years"
        text = f"How many years lie between {one} and {other}?"
        return Draft(text, [str(years), f"{years} {unit}"], sides)

    def _count(self, hops: int, number: int, attempt: int) -> Draft | None:
        countable = self._with_lead("_countable", hops - 1)
        if not countable:
            return None
        relation, thing = countable[self._place(len(countable), number, attempt)]
        lead = self._lead(thing, hops - 1, self._stream("count", hops, number, attempt), relation)
        if lead is None:
            return None
        subjects = self.world.inverse[relation][thing]
        many = RELATIONS[relation].many.replace("{o}", self._refer(lead, thing))
        count = str(len(subjects))
        last = tuple((relation, each) for each in subjects)
        return Draft(f"How many {many}?", [count, _NUMBERS[count]], (lead,), last)

    def _intersection(self, hops: int, number: int, attempt: int) -> Draft | None:
        if not self._meeting:
            return None
        world = self.world
        place = self._place(len(self._meeting), number, attempt)
        first, second, thing = self._meeting[place]
        stream = self._stream("intersection", hops, number, attempt)
        if stream.below(2):
            first, second = second, first
        one, other = world.value(first, thing), world.value(second, thing)
        lead = self._lead(one, hops - 1, stream)
        if lead is None or one == other:
            return None
        said = [RELATIONS[each].says[0].removeprefix("{s} ")[:-1] for each in (first, second)]
        text = said[0].replace("{o}", self._refer(lead, one))
        text += " and " + said[1].replace("{o}", world.things[other].named)
        kind = KINDS[world.things[thing].kind].name
        return Draft(
            f"Which {kind} {text}?",
            world.forms(thing),
            (lead,),
            ((first, thing), (second, thing)),
            read=True,
        )
