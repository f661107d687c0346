"""The TextWorld expert: plans a win from any state, in any game TextWorld describes.

The planner searches greedily for the end of all quests over the operators of a `Grounding`, led by
the length of relaxed plans (what it would take if no action undid anything) and first by the
actions those plans begin with. Plans are good, not always the shortest.

Where even the relaxed game cannot be won there is certainly no plan; past `LIMIT` states the search
gives up and says the same.

Source: J. Hoffmann and B. Nebel, The FF Planning System (JAIR 14, 2001), sections 4 and 5; the
search is best-first in place of hill climbing, and finished plans are pruned.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agentgym.envs.textworld_grounding import FREE_HAND, Grounding, Position

LIMIT = 3000
"""States a search looks at before it gives up."""
_GREED = 4
"""How much more a step still to go weighs than one taken."""
IDLE = -1
"""In a plan: let the turn end, for what happens then."""
_IDLE_COMMAND = "look"
MOST_PLANS = 20_000
"""Plans kept; past them all are made anew."""

Plan = tuple[int, ...]
"""Numbers of operators, or `IDLE`."""


class Route:
    """A plan, and where each of its steps leads."""

    __slots__ = ("following", "length", "position", "steps", "things")

    def __init__(
        self, position: Position, steps: Plan, things: int, following: Route | None
    ) -> None:
        self.position = position
        """Where it starts."""
        self.steps = steps
        self.length = len(steps)
        self.things = things
        """What it needs, as bits by number in `Grounding.places_of`."""
        self.following = following
        """What is left after the first step."""

    @property
    def step(self) -> int:
        """The first step; `IDLE` where there is nothing left to do."""
        return self.steps[0] if self.steps else IDLE


_UNKNOWN: Route | None = Route(Position(0, 0, 0), (), 0, None)
"""Stands for a position no plan was made for yet."""


class _Relaxed(NamedTuple):
    length: int
    first: list[int]
    """What the relaxed plan could begin with."""


_UNTRIED: _Relaxed | None = _Relaxed(-1, [])


class Planner:
    """Plans for one game; a plan depends on the position alone.

    Args:
        grounding: The game.
    """

    def __init__(self, grounding: Grounding) -> None:
        self._grounding = grounding
        self._operators = grounding.operators[: grounding.plannable]
        self._quests = grounding.quests
        self._needed = sum(1 << i for i, quest in enumerate(self._quests) if quest.needed)
        self._ends = [(1 << i, quest.wins, quest.fails) for i, quest in enumerate(self._quests)]
        self._routes: dict[Position, Route | None] = {}
        self._relaxations: dict[Position, _Relaxed | None] = {}
        self._last: dict[bool, tuple[int, list[int], frozenset[int]]] = {}
        self._index()

    def command(self, step: int) -> str:
        """What to type for a step of a plan."""
        return self._operators[step].command if step >= 0 else _IDLE_COMMAND

    def route(self, position: Position, earlier: Route | None = None) -> Route | None:
        """The best plan known from here, None if there is no winning any more.

        Args:
            position: Where to start.
            earlier: What was followed until now. Its next part is the answer if this is where it
                led, and turning back to it if that is one command and shorter than a plan anew.
        """
        following = None if earlier is None else earlier.following
        if following is not None and following.position == position:
            return following
        anew = self._routes.get(position, _UNKNOWN)
        if anew is _UNKNOWN:
            if len(self._routes) >= MOST_PLANS:
                self._routes.clear()
            steps = self._plan(position)
            anew = None if steps is None else self.along(position, steps)
            self._routes[position] = anew
        if earlier is not None and (anew is None or anew.length > earlier.length + 1):
            step = self._step_between(position, earlier.position)
            if step is not None:
                return self._prepended(position, step, earlier)
        return anew

    def along(self, position: Position, steps: Plan) -> Route:
        """The route of a plan from where it was made."""
        positions = [position]
        for step in steps:
            after = self.after(positions[-1], step)
            if after is None:
                raise ValueError("a plan that loses")
            positions.append(after)
        route = Route(positions[-1], (), 0, None)
        for place, step in zip(positions[-2::-1], reversed(steps), strict=True):
            route = self._prepended(place, step, route)
        return route

    def _prepended(self, position: Position, step: int, route: Route) -> Route:
        things = route.things
        for thing in self._operators[step].things if step >= 0 else ():
            things |= 1 << thing
        return Route(position, (step, *route.steps), things, route)

    def _step_between(self, here: Position, there: Position) -> int | None:
        """The action that leads from one position to the other, if there is one."""
        return next((n for n in self._applicable(here) if self.after(here, n) == there), None)

    def after(self, position: Position, step: int) -> Position | None:
        """Where a step leads; None if it loses."""
        if step >= 0:
            position = self._grounding.applied(position, self._operators[step])
        facts, hands, done = position
        undone = done
        for bit, wins, fails in self._ends:
            if done & bit:
                continue
            for fail in fails:
                if facts & fail == fail:
                    return None
            for win in wins:
                if facts & win == win:
                    done |= bit
        return position if done == undone else Position(facts, hands, done)

    def won(self, position: Position) -> bool:
        """Whether all is done that has to be."""
        return position.done & self._needed == self._needed

    def _index(self) -> None:
        """For each fact the operators that need it; quests count as operators that reach them."""
        quests = self._grounding.bits
        self._adds = [_bit_numbers(o.adds) for o in self._operators]
        self._needs = [_bit_numbers(o.needs) for o in self._operators]
        for number, quest in enumerate(self._quests):
            for win in quest.wins if quest.needed else ():
                self._adds.append([quests + number])
                self._needs.append(_bit_numbers(win))
        self._missing = [len(needs) for needs in self._needs]
        self._first_quest = quests
        every = range(len(self._needs))
        self._waiting = self._waiting_for(every)
        undone = {number for number in every if self._undoes_only(number)}
        self._waiting_few = self._waiting_for([n for n in every if n not in undone])

    def _waiting_for(self, numbers: Iterable[int]) -> list[list[int]]:
        """For each fact which of the numbers need it."""
        waiting: list[list[int]] = [[] for _ in range(self._first_quest + len(self._quests))]
        for number in numbers:
            for fact in self._needs[number]:
                waiting[fact].append(number)
        return waiting

    def _undoes_only(self, number: int) -> bool:
        """Whether all that an operator makes possible, but for a free hand, is to undo it.

        No relaxed plan needs such a one (closing a door, putting down what was taken) where a hand
        is free.
        """
        count = len(self._operators)
        if number >= count:
            return False
        needs = self._operators[number].needs | FREE_HAND
        for fact in self._adds[number]:
            for then in self._waiting[fact] if 1 << fact != FREE_HAND else ():
                if then >= count or self._operators[then].adds & ~needs:
                    return False
        return True

    # ---------------------------------------------------------------- the relaxed game

    def _relax(self, position: Position) -> _Relaxed | None:
        """A relaxed plan from here, None if there is none."""
        # Searches from neighbouring positions look at the same ones again.
        known = self._relaxations.get(position, _UNTRIED)
        if known is _UNTRIED:
            if len(self._relaxations) >= MOST_PLANS:
                self._relaxations.clear()
            known = self._relaxations[position] = self._relaxed(position)
        return known

    def _relaxed(self, position: Position) -> _Relaxed | None:
        goals = [
            self._first_quest + number
            for number, quest in enumerate(self._quests)
            if quest.needed and not position.done >> number & 1
        ]
        facts, adds = position.facts, self._adds
        waiting = self._waiting_few if position.hands > 0 else self._waiting
        missing, start = self._applicable_at(facts, position.hands > 0)
        reached_by: dict[int, int] = {}
        ready, left = start, len(goals)
        ends = self._first_quest
        while ready:
            frontier = []
            for number in ready:
                for fact in adds[number]:
                    if fact not in reached_by and not facts >> fact & 1:
                        reached_by[fact] = number
                        frontier.append(fact)
                        left -= fact >= ends and fact in goals
            if not left:
                break
            ready = []
            for fact in frontier:
                for number in waiting[fact]:
                    missing[number] -= 1
                    if not missing[number]:
                        ready.append(number)
        return None if left else self._extract(goals, reached_by, start)

    def _applicable_at(self, facts: int, few: bool) -> tuple[list[int], list[int]]:
        """How many needs of each operator these facts leave open, and those with none, in order.

        One search looks at much the same facts again and again, so this is kept up from the last
        time rather than counted anew.
        """
        waiting = self._waiting_few if few else self._waiting
        last, missing, free = self._last.get(few, (0, self._missing, frozenset()))
        missing, ready = missing.copy(), set(free)
        for fact in _bit_numbers(last & ~facts):
            for number in waiting[fact]:
                if not missing[number]:
                    ready.discard(number)
                missing[number] += 1
        for fact in _bit_numbers(facts & ~last):
            for number in waiting[fact]:
                missing[number] -= 1
                if not missing[number]:
                    ready.add(number)
        self._last[few] = (facts, missing, frozenset(ready))
        return missing.copy(), sorted(ready)

    def _extract(
        self, goals: list[int], reached_by: Mapping[int, int], start: list[int]
    ) -> _Relaxed:
        used: set[int] = set()
        seen = set(goals)
        stack = list(goals)
        while stack:
            number = reached_by.get(stack.pop(), -1)
            if number < 0 or number in used:
                continue
            used.add(number)
            for fact in self._needs[number]:
                if fact not in seen:
                    seen.add(fact)
                    stack.append(fact)
        count = len(self._operators)
        at_once = set(start)
        wanted = 0
        for fact in seen:
            if fact < self._first_quest and reached_by.get(fact, -1) in at_once:
                wanted |= 1 << fact
        operators = self._operators
        first = [number for number in start if number < count and operators[number].adds & wanted]
        return _Relaxed(sum(number < count for number in used), first)

    # ---------------------------------------------------------------- search

    def _plan(self, start: Position) -> Plan | None:
        if self.won(start):
            return ()
        for helpful in (True, False):
            path = self._search(start, helpful)
            if path is not None:
                return self._pruned(start, path)
        return None

    def _search(self, start: Position, helpful: bool) -> Plan | None:
        relaxed = self._relax(start)
        if relaxed is None:
            return None
        came: dict[Position, tuple[Position, int] | None] = {start: None}
        queue = [(relaxed.length, 0, 0, start, relaxed)]
        looked_at = 1
        while queue and looked_at < LIMIT:
            _, _, steps, position, relaxed = heapq.heappop(queue)
            moves = [*relaxed.first] if helpful else self._applicable(position)
            if not relaxed.length:
                moves.append(IDLE)
            for step in moves:
                after = self.after(position, step)
                if after is None or after in came:
                    continue
                came[after] = (position, step)
                if self.won(after):
                    return _walk_back(came, after)
                ahead = self._relax(after)
                looked_at += 1
                if ahead is not None:
                    cost = steps + 1 + _GREED * ahead.length
                    heapq.heappush(queue, (cost, looked_at, steps + 1, after, ahead))
        return None

    def _applicable(self, position: Position) -> list[int]:
        missing = ~position.facts
        return [n for n, operator in enumerate(self._operators) if not operator.needs & missing]

    def _pruned(self, start: Position, path: Plan) -> Plan:
        """The path without what it can do without."""
        for index in reversed(range(len(path))):
            shorter = path[:index] + path[index + 1 :]
            if self._wins(start, shorter):
                path = shorter
        return path

    def _wins(self, position: Position, path: Plan) -> bool:
        """Whether the path applies, and wins."""
        for step in path:
            if step >= 0 and self._operators[step].needs & ~position.facts:
                return False
            after = self.after(position, step)
            if after is None:
                return False
            position = after
        return self.won(position)


def _bit_numbers(mask: int) -> list[int]:
    numbers = []
    while mask:
        low = mask & -mask
        numbers.append(low.bit_length() - 1)
        mask ^= low
    return numbers


def _walk_back(came: Mapping[Position, tuple[Position, int] | None], end: Position) -> Plan:
    path: list[int] = []
    step = came[end]
    while step is not None:
        position, operator = step
        path.append(operator)
        step = came[position]
    return tuple(path[::-1])
