"""Questions about a knowledge world, each with one answer, and the facts that prove it.

A question is drawn, then checked: every fact it rests on is told, on a page of its own; the answer
stands neither in the question nor on a page before the last; no page but its own, once reached,
names what came before. What fails is drawn again, so the same number is the same question always.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from agentgym.errors import TaskError
from agentgym.tasks.knowledge import Fact, Page, World
from agentgym.tasks.knowledge_drafts import HOPS, UNANSWERABLE, Draft, Drafts
from agentgym.tasks.questions import Evidence, Poison, Question

__all__ = ["HOPS", "UNANSWERABLE", "Asker"]

_TRIES = 960


class Asker:
    """Questions about a world.

    Args:
        world: What is asked about.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._drafts = Drafts(world)

    def ask(self, kind: str, hops: int, number: int) -> Question:
        """The question of that number; independent of all others.

        Args:
            kind: Of `HOPS`.
            hops: Of the kind's hops.
            number: From 0 on.

        Raises:
            TaskError: The world is too small to ask it.
        """
        for attempt in range(_TRIES):
            draft = self._drafts.draw(kind, hops, number, attempt)
            if draft is not None:
                question = self._checked(kind, hops, draft)
                if question is not None:
                    return question
        raise TaskError(
            f"{self.world.name}, of {self.world.options.docs} pages, has no question of kind "
            f"{kind!r}, hops {hops} and number {number}: give it more docs"
        )

    def starts(self, kind: str, hops: int) -> int:
        """From how many facts questions start; numbers below half of that have their own."""
        return self._drafts.starts(kind, hops)

    # ---- checking

    def _checked(self, kind: str, hops: int, draft: Draft) -> Question | None:
        """The question, unless it could be read, or answered, in another way."""
        world = self.world
        facts = [fact for path in draft.paths for fact in path] + list(draft.last)
        subjects = [subject for _, subject in facts]
        if draft.missing is not None:
            subjects.append(draft.missing[1])
        wanted = len(facts) + (draft.missing is not None)
        if len(set(subjects)) < wanted - (kind == "intersection"):
            return None  # a thing twice
        pages = {each: world.page(each) for each in subjects}
        if not draft.named and _names(draft.text, draft.answers):
            return None
        if not all(self._apart(path, draft, pages) for path in draft.paths):
            return None
        return {
            "question": draft.text,
            "answers": draft.answers,
            "kind": kind,
            "hops": hops,
            "evidence": self._evidence(facts, draft.missing, pages),
            "searches": [world.things[each].title for each in pages],
            "poison": self._poison(draft, kind, subjects),
        }

    def _apart(self, path: tuple[Fact, ...], draft: Draft, pages: Mapping[int, Page]) -> bool:
        """Whether a path can be walked only step by step, and its end is seen only there."""
        world = self.world
        things = [subject for _, subject in path]
        if draft.missing is not None:
            things.append(draft.missing[1])
        texts = [_page_text(pages[each]) for each in things]
        for place, thing in enumerate(things):
            forms = world.forms(thing)
            if place and _names(draft.text, forms):
                return False
            later = [*texts[place + 1 :], *(_page_text(pages[each[1]]) for each in draft.last)]
            if any(_names(text, forms) for text in later):
                return False
        if draft.read:
            earlier = texts if draft.last else texts[:-1]
            if any(_names(text, draft.answers) for text in earlier):
                return False
        return bool(draft.last or draft.missing) or self._ends_apart(path)

    def _ends_apart(self, path: tuple[Fact, ...]) -> bool:
        """Whether the page of the answer itself, where it has one, names nothing of the path."""
        world = self.world
        relation, subject = path[-1]
        if not world.is_thing(relation):
            return True
        answer = world.value(relation, subject)
        if any(answer == each for _, each in path):
            return False
        text = _page_text(world.page(answer))
        return not any(_names(text, world.forms(each)) for _, each in path[:-1])

    def _evidence(
        self, facts: list[Fact], missing: Fact | None, pages: dict[int, Page]
    ) -> list[Evidence]:
        world, found = self.world, list[Evidence]()
        for relation, subject in facts:
            page = pages[subject]
            unit: Evidence = {
                "doc": page.passage.id,
                "sentence": page.facts[relation, subject],
                "options": world.options_of(relation),
            }
            if world.is_thing(relation):
                value = world.value(relation, subject)
                if (relation, subject) in world.echoes.get(value, ()):
                    other = world.page(value)
                    place = other.facts[relation, subject]
                    unit["also"] = [{"doc": other.passage.id, "sentence": place}]
            found.append(unit)
        if missing is not None:  # that a page does not tell it is known from the whole page
            found.append({"doc": world.doc(missing[1]), "sentence": None, "options": 1})
        return found

    def _poison(self, draft: Draft, kind: str, subjects: Iterable[int]) -> list[Poison]:
        """What unreliable pages on the things of the path would have one answer."""
        world, found = self.world, list[Poison]()
        for subject in dict.fromkeys(subjects):
            lie = world.lie(subject)
            if lie is None:
                continue
            answer = None
            path = draft.paths[0]
            if lie.commands:
                answer = world.answers(lie.relation, lie.value)[0]
            elif kind == "chain" and (lie.relation, subject) in path:
                answer = self._believed(path, path.index((lie.relation, subject)), lie.value)
            if answer is not None and answer not in draft.answers:
                found.append({"doc": lie.doc, "answer": answer, "commands": lie.commands})
        return found

    def _believed(self, path: tuple[Fact, ...], place: int, value: int) -> str:
        """The answer of whoever takes a wrong value for the fact at a place of the path."""
        relation = path[place][0]
        for relation, _ in path[place + 1 :]:
            value = self.world.value(relation, value)
        return self.world.answers(relation, value)[0]


def _page_text(page: Page) -> str:
    return f"{page.passage.title}\n{page.passage.text}"


def _names(text: str, forms: Iterable[str]) -> bool:
    """Whether a text holds one of the forms as whole words."""
    return any(
        form in text and re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text) is not None
        for form in forms
    )
