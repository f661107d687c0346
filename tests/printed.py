"""A small collection of passages, and questions over it, for worlds of search."""

from __future__ import annotations

from agentgym.errors import TaskError
from agentgym.retrieval import Passage, Passages
from agentgym.types import Task

PLACES = ["Arvendale", "Bryhaven", "Corlune", "Dastrow", "Elmire", "Fenwick", "Garrow", "Hollin"]
PEOPLE = ["Ilse Dvořák", "Anton Reyes", "Mira Halvorsen", "Tomas Lind", "Zoë Abbott", "Karel Witte"]
LENGTHY = (
    "Its collections, which were begun in the year of the great flood and have been added to ever "
    "since by bequest, by purchase and now and then by quarrel, are shown in eleven rooms."
)


def museum(number: int) -> Passage:
    place, person = PLACES[number % len(PLACES)], PEOPLE[number % len(PEOPLE)]
    name = f"{place} Museum of {['Lamps', 'Locks', 'Looms', 'Lenses'][number // len(PLACES)]}"
    return Passage(
        f"m{number}",
        name,
        (
            f"The {name} stands on the north bank of the river.",
            LENGTHY,
            f"It was founded by {person.split()[0]} the {ORDINALS[number]} of {place}.",
            "On Mondays it is closed; on the other days a bell is rung at noon.",
        ),
    )


ORDINALS = [
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth"),
    *("seventeenth", "eighteenth", "nineteenth", "twentieth", "twenty-first", "twenty-second"),
    *("twenty-third", "twenty-fourth"),
]


def founder(number: int) -> Passage:
    place, person = PLACES[number % len(PLACES)], PEOPLE[number % len(PEOPLE)]
    name = f"{person.split()[0]} the {ORDINALS[number]} of {place}"
    trades = ["weaver", "glazier", "printer", "surveyor", "chandler", "locksmith", "cooper"]
    return Passage(
        f"f{number}",
        name,
        (
            f"{name} was a {trades[number % len(trades)]} by trade.",
            "Letters of that time speak of a patient teacher, and of long walks by the river.",
            LENGTHY,
        ),
    )


COLLECTION = Passages("museums", [each(n) for each in (museum, founder) for n in range(24)])


class Questions:
    """Two passages each: who founded a museum, and what that person's trade was."""

    splits = ("train", "test")

    def __init__(self, corpus: Passages | None = COLLECTION) -> None:
        self._corpus = corpus

    def ids(self, split: str) -> list[str]:
        return [f"trade:{n}" for n in (range(20) if split == "train" else range(20, 24))]

    def task(self, id: str) -> Task:
        if id not in (*self.ids("train"), *self.ids("test")):
            raise TaskError(f"no task {id!r}")
        number = int(id.partition(":")[2])
        first, second = museum(number), founder(number)
        trade = second.sentences[0].split(" was a ")[1].removesuffix(" by trade.")
        data = {
            "question": f"What was the trade of the founder of the {first.title}?",
            "answers": [trade],
            "kind": "chain",
            "hops": 2,
            "evidence": [
                {"doc": first.id, "sentence": 2, "options": 24},
                {"doc": second.id, "sentence": 0, "options": 7},
            ],
        }
        return Task(id, "", "train" if number < 20 else "test", data)

    def corpus(self, id: str) -> Passages | None:
        return self._corpus
