"""The TextWorld expert: plans a win from any state, in any game TextWorld describes.

A game's rules are grounded once into operators over bit masks: every action that could ever apply,
found by growing the set of facts that could ever hold. From a state the planner searches greedily
for the end of all quests, led by the length of relaxed plans (what it would take if no action undid
anything) and first by the actions those plans begin with. Plans are good, not always the shortest.

Where even the relaxed game cannot be won there is certainly no plan; past `LIMIT` states the search
gives up and says the same.

Source: J. Hoffmann and B. Nebel, The FF Planning System (JAIR 14, 2001), sections 4 and 5; the
search is best-first in place of hill climbing, and finished plans are pruned.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

LIMIT = 3000
"""States a search looks at before it gives up."""
_GREED = 4
"""How much more a step still to go weighs than one taken."""
_FEW = 5
"""Up to so many new facts it is quicker to look for the actions of each."""
_IDLE = "look"
_SLOT = "slot"
"""TextWorld's type for a hand that is free or used; which one is which never matters."""


class Operator(NamedTuple):
    """An action, grounded."""

    command: str
    needs: int
    adds: int
    removes: int
    hands: int
    """Hands it frees (+1) or takes (-1)."""


class Position(NamedTuple):
    """A state as the planner sees it."""

    facts: int
    hands: int
    """Free hands, where the game counts them."""
    done: int
    """Quests completed."""


class _Quest(NamedTuple):
    wins: tuple[int, ...]
    fails: tuple[int, ...]
    needed: bool


class _Relaxed(NamedTuple):
    length: int
    first: list[Operator]
    """What the relaxed plan could begin with."""
    applicable: list[Operator]


class Planner:
    """Plans for one game.

    Args:
        game: A `textworld.Game`.
    """

    def __init__(self, game: Any) -> None:
        self._bits: dict[Any, int] = {}
        self._always: frozenset[Any] = frozenset()
        self._known: dict[Position, str] = {}
        """Commands of the plans found so far, by where they apply."""
        self._lost_causes: set[Position] = set()
        self._operators = self._ground(game)
        self._quests = [self._quest(quest) for quest in game.quests]
        self._needed = sum(1 << i for i, quest in enumerate(self._quests) if quest.needed)
        self._index()

    def position(self, facts: Iterable[Any], done: Iterable[int]) -> Position:
        """The position in which these facts hold and these quests are done."""
        mask = hands = 0
        for fact in facts:
            if is_hand(fact):
                hands += fact.name == "free"
            else:
                mask |= self._bits.get(fact, 0)
        return Position(self._handed(mask, hands), hands, sum(1 << i for i in done))

    def next_command(self, position: Position) -> str | None:
        """The command to win from here, None if there is no winning any more."""
        if position.done & self._needed == self._needed:
            return _IDLE
        if position in self._lost_causes:
            return None
        if position not in self._known and not self._plan(position):
            self._lost_causes.add(position)
            return None
        return self._known[position]

    def plan(self, position: Position) -> list[str] | None:
        """All commands from here to the win, None if there is no winning any more."""
        commands: list[str] = []
        while position.done & self._needed != self._needed:
            command = self.next_command(position)
            if command is None:
                return None
            commands.append(command)
            operator = next(
                (o for o in self._operators if o.command == command and _applies(o, position)), None
            )
            after = self._after(position, operator)
            if after is None or len(commands) > LIMIT:
                return None
            position = after
        return commands

    # ---------------------------------------------------------------- grounding

    def _ground(self, game: Any) -> list[Operator]:
        actions = _reachable_actions(game)
        names = {key: info.name for key, info in game.infos.items()}
        changing = {fact for action in actions for fact in action.added | action.removed}
        start = set(game.world.state.facts)
        self._always = frozenset(start - changing)
        self._free_hand = 1
        ordered = sorted((fact for fact in changing if not is_hand(fact)), key=str)
        self._bits = {fact: 2 << i for i, fact in enumerate(ordered)}
        found: dict[Operator, None] = {}
        for action in actions:
            words = {variable.name: names[variable.name] for variable in action.variables}
            hands = sum(
                (fact in action.added) - (fact in action.removed)
                for fact in action.added | action.removed
                if is_hand(fact) and fact.name == "free"
            )
            needs = self._mask(action.preconditions) | (self._free_hand if hands < 0 else 0)
            adds = self._mask(action.added) | (self._free_hand if hands > 0 else 0)
            operator = Operator(
                action.format_command(words), needs, adds, self._mask(action.removed), hands
            )
            if operator.adds or operator.removes:
                found[operator] = None
        return sorted(found)  # sets of TextWorld's have no order of their own

    def _mask(self, facts: Iterable[Any]) -> int:
        mask = 0
        for fact in facts:
            mask |= self._bits.get(fact, 0)
        return mask

    def _quest(self, quest: Any) -> _Quest:
        return _Quest(
            self._events(quest.win_events),
            self._events(quest.fail_events),
            bool(quest.win_events) and not quest.optional,
        )

    def _events(self, events: Sequence[Any]) -> tuple[int, ...]:
        return tuple(
            self._mask(event.condition.preconditions)
            for event in events
            if all(f in self._bits or f in self._always for f in event.condition.preconditions)
        )

    def _index(self) -> None:
        """For each fact the operators that need it; quests count as operators that reach them."""
        quests = len(self._bits) + 1
        self._reaches = [(o.needs, _bit_numbers(o.adds)) for o in self._operators]
        for number, quest in enumerate(self._quests):
            if quest.needed:
                self._reaches += [(win, [quests + number]) for win in quest.wins]
        self._needs = [_bit_numbers(needs) for needs, _ in self._reaches]
        self._waiting: list[list[int]] = [[] for _ in range(quests + len(self._quests))]
        for number, needs in enumerate(self._needs):
            for fact in needs:
                self._waiting[fact].append(number)
        self._missing = [len(needs) for needs in self._needs]
        self._free = [number for number, needs in enumerate(self._needs) if not needs]
        self._first_quest = quests

    # ---------------------------------------------------------------- states

    def _handed(self, facts: int, hands: int) -> int:
        return facts | self._free_hand if hands > 0 else facts & ~self._free_hand

    def _after(self, position: Position, operator: Operator | None) -> Position | None:
        """Where `operator` leads (None: nowhere but to the end of the turn); None if it loses."""
        facts, hands, done = position
        if operator is not None:
            hands += operator.hands
            facts = self._handed((facts & ~operator.removes) | operator.adds, hands)
        for number, quest in enumerate(self._quests):
            if done >> number & 1:
                continue
            if any(facts & fail == fail for fail in quest.fails):
                return None
            if any(facts & win == win for win in quest.wins):
                done |= 1 << number
        return Position(facts, hands, done)

    def _relax(self, position: Position) -> _Relaxed | None:
        """A relaxed plan from here, None if there is none."""
        goals = [
            self._first_quest + number
            for number, quest in enumerate(self._quests)
            if quest.needed and not position.done >> number & 1
        ]
        missing = list(self._missing)
        reached_by: dict[int, int] = dict.fromkeys(_bit_numbers(position.facts), -1)
        frontier = list(reached_by)
        ready = list(self._free)
        start: list[int] | None = None
        while True:
            for fact in frontier:
                for number in self._waiting[fact]:
                    missing[number] -= 1
                    if not missing[number]:
                        ready.append(number)
            if start is None:
                start = ready
            frontier = []
            for number in ready:
                for fact in self._reaches[number][1]:
                    if fact not in reached_by:
                        reached_by[fact] = number
                        frontier.append(fact)
            if not frontier:
                break
            ready = []
        if any(goal not in reached_by for goal in goals):
            return None
        return self._extract(goals, reached_by, start)

    def _extract(
        self, goals: list[int], reached_by: Mapping[int, int], start: list[int]
    ) -> _Relaxed:
        used: set[int] = set()
        seen = set(goals)
        stack = list(goals)
        while stack:
            number = reached_by[stack.pop()]
            if number < 0 or number in used:
                continue
            used.add(number)
            for fact in self._needs[number]:
                if fact not in seen:
                    seen.add(fact)
                    stack.append(fact)
        count = len(self._operators)
        applicable = [self._operators[number] for number in start if number < count]
        at_once = set(start)
        wanted = 0
        for fact in seen:
            if fact < self._first_quest and reached_by[fact] in at_once:
                wanted |= 1 << fact
        first = [operator for operator in applicable if operator.adds & wanted]
        return _Relaxed(sum(number < count for number in used), first, applicable)

    # ---------------------------------------------------------------- search

    def _plan(self, start: Position) -> bool:
        """Find a plan from `start` and remember it."""
        for helpful in (True, False):
            path = self._search(start, helpful)
            if path is not None:
                for position, operator in self._pruned(start, path):
                    self._known.setdefault(position, operator.command if operator else _IDLE)
                return True
        return False

    def _search(self, start: Position, helpful: bool) -> list[Operator | None] | None:
        relaxed = self._relax(start)
        if relaxed is None:
            return None
        came: dict[Position, tuple[Position, Operator | None] | None] = {start: None}
        queue = [(relaxed.length, 0, 0, start, relaxed)]
        looked_at = 1
        while queue and looked_at < LIMIT:
            _, _, steps, position, relaxed = heapq.heappop(queue)
            moves: list[Operator | None] = [*(relaxed.first if helpful else relaxed.applicable)]
            if not relaxed.length:
                moves.append(None)
            for operator in moves:
                after = self._after(position, operator)
                if after is None or after in came:
                    continue
                came[after] = (position, operator)
                if after.done & self._needed == self._needed:
                    return _walk_back(came, after)
                ahead = self._relax(after)
                looked_at += 1
                if ahead is not None:
                    cost = steps + 1 + _GREED * ahead.length
                    heapq.heappush(queue, (cost, looked_at, steps + 1, after, ahead))
        return None

    def _pruned(
        self, start: Position, path: list[Operator | None]
    ) -> list[tuple[Position, Operator | None]]:
        """The path without what it can do without, each step with where it applies."""
        best = self._follow(start, path)
        for index in reversed(range(len(path))):
            shorter = path[:index] + path[index + 1 :]
            followed = self._follow(start, shorter)
            if followed is not None:
                path, best = shorter, followed
        return best or []

    def _follow(
        self, start: Position, path: list[Operator | None]
    ) -> list[tuple[Position, Operator | None]] | None:
        """The positions along the path, None if it does not apply or does not win."""
        position, steps = start, []
        for operator in path:
            if operator is not None and not _applies(operator, position):
                return None
            steps.append((position, operator))
            after = self._after(position, operator)
            if after is None:
                return None
            position = after
        return steps if position.done & self._needed == self._needed else None


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
    # The rules let a meal be made of the recipe's first ingredients, the game does not.
    meals = {action.name for action in found if action.name.startswith("make/recipe/")}
    return [a for a in found if a.name not in meals or a.name == max(meals)]


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


def _applies(operator: Operator, position: Position) -> bool:
    return position.facts & operator.needs == operator.needs


def _bit_numbers(mask: int) -> list[int]:
    numbers = []
    while mask:
        low = mask & -mask
        numbers.append(low.bit_length() - 1)
        mask ^= low
    return numbers


def _walk_back(
    came: Mapping[Position, tuple[Position, Operator | None] | None], end: Position
) -> list[Operator | None]:
    path: list[Operator | None] = []
    step = came[end]
    while step is not None:
        position, operator = step
        path.append(operator)
        step = came[position]
    return path[::-1]
