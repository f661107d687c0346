"""An audit of a knowledge world that goes by nothing but its pages and its questions' words.

It reads the facts back off the pages, sentence by sentence, takes a question's words apart in every
way that they can be taken, and works out all the answers there are. What the world meant by a page
or a question is then compared with that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import product

from agentgym.retrieval import Passage
from agentgym.tasks.knowledge import Fact, World
from agentgym.tasks.knowledge_questions import UNANSWERABLE
from agentgym.tasks.knowledge_schema import KINDS, RELATIONS, VALUES
from agentgym.tasks.questions import Question

UNRELIABLE = ("This is how the page on ", "This page about ")
"""How pages start that are archived, or unreliable."""
_PRONOUNS = {pronoun for kind in KINDS for pronoun in kind.pronouns}


class Reader:
    """All that the pages of a world tell, and what follows from it for a question.

    Args:
        world: Whose pages are read. Of the world itself only names are used: which words mean which
            things, and how plain values are written.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._things: dict[str, list[int]] = {}
        self._titles: dict[str, int] = {}
        for number, thing in enumerate(world.things):
            self._titles[thing.title] = number
            names = (thing.named, thing.short, thing.own)
            for name in {each[0].upper() + each[1:] for each in names} | set(names):
                self._things.setdefault(name, []).append(number)
        self.facts: dict[Fact, set[int]] = {}
        """The values that the pages give for a relation and a subject."""
        self.told_at: dict[tuple[str, int], Fact] = {}
        """The fact that a sentence of a passage tells."""
        self.problems: list[str] = []
        """Sentences that can be read in two ways, and facts with two values."""
        for passage in world.corpus:
            if not passage.sentences[0].startswith(UNRELIABLE):
                self._read(passage)
        self.subjects: dict[tuple[int, int], set[int]] = {}
        """The subjects for which the pages give a value of a relation."""
        for (relation, subject), values in self.facts.items():
            if len(values) > 1:
                self.problems.append(f"{self._name(subject)}: {RELATIONS[relation].name} twice")
            for value in values:
                self.subjects.setdefault((relation, value), set()).add(subject)

    # ---- pages

    def _read(self, passage: Passage) -> None:
        here = self._titles[passage.title]
        for place, sentence in enumerate(passage.sentences):
            found = set(self._readings(sentence, here))
            if len(found) > 1:
                self.problems.append(f"{passage.id}: two readings of {sentence!r}")
            for relation, subject, value in found:
                self.facts.setdefault((relation, subject), set()).add(value)
                self.told_at[passage.id, place] = (relation, subject)

    def _readings(self, sentence: str, here: int) -> Iterator[tuple[int, int, int]]:
        for relation, each in enumerate(RELATIONS):
            for says in each.says:
                match = _pattern(says[0].upper() + says[1:]).fullmatch(sentence)
                if match is None:
                    continue
                named = match["s"]
                subjects = [here] if named in _PRONOUNS else self._things.get(named, [])
                values = self._values(relation, match["v"])
                for subject, value in product(subjects, values):
                    if self._kind(subject) == each.subject:
                        yield relation, subject, value

    def _values(self, relation: int, text: str) -> list[int]:
        name = RELATIONS[relation].range
        if name not in VALUES:
            return [each for each in self._things.get(text, []) if self._kind(each) == name]
        plain = re.sub(r"^an? | (kilo)?metres$", "", text)
        return [place for place, each in enumerate(VALUES[name]) if str(each) == plain]

    def _kind(self, thing: int) -> str:
        return KINDS[self._world.things[thing].kind].name

    def _name(self, thing: int) -> str:
        return self._world.things[thing].title

    # ---- questions

    def answers(self, question: str) -> set[str]:
        """All answers to a question, over all readings of its words; each in its usual form."""
        readers: tuple[Callable[[str], Iterator[str]], ...] = (
            self._chain,
            self._comparison,
            self._difference,
            self._count,
            self._intersection,
        )
        return {answer for reader in readers for answer in reader(question)}

    def _meant(self, text: str) -> set[int]:
        """Things that words may mean."""
        found = set(self._things.get(text, ()))
        for relation, each in enumerate(RELATIONS):
            match = _pattern(each.phrase).fullmatch(text) if each.phrase else None
            if match is not None:
                for subject in self._meant(match["s"]):
                    found |= self.facts.get((relation, subject), set())
        return found

    def _known(self, text: str, field: str) -> Iterator[tuple[int, int]]:
        """Relations and subjects that a text may speak of, in a field of the relations."""
        for relation, each in enumerate(RELATIONS):
            template = getattr(each, field)
            match = _pattern(template).fullmatch(text) if template else None
            if match is not None:
                for subject in self._meant(match["s"]):
                    if self._kind(subject) == each.subject:
                        yield relation, subject

    def _chain(self, question: str) -> Iterator[str]:
        for relation, subject in self._known(question, "ask"):
            values = self.facts.get((relation, subject))
            if values is None:
                yield UNANSWERABLE
            for value in values or ():
                yield self._world.answers(relation, value)[0]

    def _number(self, relation: int, subject: int) -> int | None:
        values = self.facts.get((relation, subject), ())
        return next((int(VALUES[RELATIONS[relation].range][each]) for each in values), None)

    def _comparison(self, question: str) -> Iterator[str]:
        match = re.fullmatch(r"Which (.+): (.+), or (.+)\?", question)
        if match is None:
            return
        for relation, each in enumerate(RELATIONS):
            if each.order is None or match[1] not in each.order:
                continue
            pick = (min, max)[each.order.index(match[1])]
            for pair in product(self._meant(match[2]), self._meant(match[3])):
                numbers = [self._number(relation, subject) for subject in pair]
                if None not in numbers:
                    best = pick(number for number in numbers if number is not None)
                    for subject, number in zip(pair, numbers, strict=True):
                        if number == best:
                            yield self._world.forms(subject)[0]

    def _difference(self, question: str) -> Iterator[str]:
        match = re.fullmatch(r"How many years lie between (.+)\?", question)
        for one, other in _splits(match[1] if match else "", " and "):
            for first in self._known(one, "event"):
                for second in self._known(other, "event"):
                    numbers = self._number(*first), self._number(*second)
                    if numbers[0] is not None and numbers[1] is not None:
                        yield str(abs(numbers[0] - numbers[1]))

    def _count(self, question: str) -> Iterator[str]:
        for relation, each in enumerate(RELATIONS):
            template = f"How many {each.many}?"
            match = _pattern(template).fullmatch(question) if each.many else None
            if match is not None:
                for value in self._meant(match["v"]):
                    if self._kind(value) == each.range:
                        yield str(len(self.subjects.get((relation, value), ())))

    def _intersection(self, question: str) -> Iterator[str]:
        match = re.fullmatch(r"Which ([a-z]+) (.+)\?", question)
        for one, other in _splits(match[2] if match else "", " and "):
            kind = match[1] if match else ""
            for subject in self._having(kind, one) & self._having(kind, other):
                yield self._world.forms(subject)[0]

    def _having(self, kind: str, text: str) -> set[int]:
        """Things of a kind of which a predicate is true."""
        found: set[int] = set()
        for relation, each in enumerate(RELATIONS):
            if each.subject == kind:
                match = _pattern(each.says[0].removeprefix("{s} ")[:-1]).fullmatch(text)
                for value in self._meant(match["v"]) if match else ():
                    found |= self.subjects.get((relation, value), set())
        return found

    # ---- together

    def problems_of(self, question: Question) -> list[str]:
        """What is wrong with a question; empty where nothing is."""
        found = []
        answers = self.answers(question["question"])
        if answers != {question["answers"][0]}:
            found.append(f"{sorted(answers)} answer it, not {question['answers'][0]!r} alone")
        docs = [unit["doc"] for unit in question["evidence"]]
        if len(set(docs)) < len(docs) - (question["kind"] == "intersection"):
            found.append("two of its facts are told on one page")
        for unit in question["evidence"]:
            if unit["sentence"] is None:
                continue
            told = self.told_at.get((unit["doc"], unit["sentence"]))
            if told is None:
                found.append(f"sentence {unit['sentence']} of {unit['doc']} tells nothing")
            found += [
                f"{place} does not tell what {unit['doc']} does"
                for place in unit.get("also", ())
                if self.told_at.get((place["doc"], place["sentence"] or 0)) != told
            ]
        return [f"{question['question']} {each}" for each in found]


def audit(world: World, questions: Iterable[Question]) -> dict[str, list[str]]:
    """Problems by kind of question, under `pages` those of the pages; every kind asked is there."""
    reader = Reader(world)
    found: dict[str, list[str]] = {"pages": reader.problems}
    seen: set[str] = set()
    for question in questions:
        problems = found.setdefault(question["kind"], [])
        problems += reader.problems_of(question)
        if question["question"] in seen:
            problems.append(f"{question['question']} is asked twice")
        seen.add(question["question"])
    return found


def _splits(text: str, word: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(word, text):
        yield text[: match.start()], text[match.end() :]


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """A template with its subject as group `s`, its value as group `v`."""
    escaped = re.escape(template).replace(r"\{s\}", "(?P<s>.+)")
    return re.compile(re.sub(r"\\\{[oa]\\\}", "(?P<v>.+)", escaped))
