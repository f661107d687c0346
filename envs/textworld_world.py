"""One TextWorld game being played: a place on a shared cartridge, and what is told of the way.

A world is a few kilobytes: a node, a clock, the commands so far, the plan it is measured by and
what was seen. Everything it tells is a function of its own commands, whatever other worlds have
asked of the same cartridge.
"""

from __future__ import annotations

from math import log
from typing import Any, NamedTuple

from agentgym.envs.textworld_engine import Cartridge, Node
from agentgym.envs.textworld_oracle import Route


class Seen(NamedTuple):
    """What the player has seen so far, as bits."""

    rooms: int
    """Been in."""
    inside: int
    """Containers looked into, by the bit of their being open."""
    things: int
    """By number."""


class Saved(NamedTuple):
    """A point of a game; picklable, and good in any process."""

    digest: bytes
    clock: int
    history: tuple[str, ...]
    steps: tuple[int, ...] | None
    remaining_at_start: int | None
    achieved: tuple[int | None, ...]
    seen: Seen


class World:
    """A game being played.

    Args:
        cartridge: The game; shared.
        oracle_facts: Whether `facts` tells what the planner knows.
    """

    __slots__ = (
        "_achieved",
        "_history",
        "_oracle_facts",
        "_remaining_at_start",
        "_route",
        "_seen",
        "cartridge",
        "clock",
        "node",
    )

    def __init__(self, cartridge: Cartridge, oracle_facts: bool) -> None:
        self.cartridge = cartridge
        self._oracle_facts = oracle_facts
        self.start()

    def start(self) -> str:
        """Start the game over; the opening text."""
        text, self.node, self.clock = self.cartridge.start()
        self._history: list[str] = []
        self._achieved: tuple[int | None, ...] = (None,) * len(self.cartridge.grounding.quests)
        self._seen = Seen(0, 0, 0)
        self._route: Route | None = None
        self._remaining_at_start: int | None = None
        if self._oracle_facts:
            self._route = self.cartridge.planner.route(self.node.position)
            self._remaining_at_start = _length(self._route)
            self._look_around()
        return text

    def send(self, command: str) -> str:
        """Play one command (ASCII); what the game answers."""
        text, self.node, self.clock = self.cartridge.play(
            self.node, self.clock, command, self._history
        )
        self._history.append(command)
        return text

    def admissible(self) -> tuple[str, ...]:
        """Commands that do something now, sorted."""
        return self.node.admissible(self.cartridge.view)

    def oracle(self) -> str | None:
        """The first command of the plan from here, None if there is no winning any more."""
        if self.node.ending:
            return None
        self._follow()
        return None if self._route is None else self.cartridge.planner.command(self._route.step)

    # ---------------------------------------------------------------- what is told

    def facts(self, turn: int) -> dict[str, Any]:
        """What the world says of its start (turn 0), or of a turn that was played or refused."""
        node = self.node
        facts: dict[str, Any] = {"score": node.score, "state_key": node.state_key}
        most = self.cartridge.grounding.max_score
        if turn == 0 and 0 < most < float("inf"):
            facts["max_score"] = most
        if not self._oracle_facts:
            return facts
        before = self._route
        self._follow()
        self._look_around()
        self._note_quests(turn)
        route = None if node.ending == "lost" else self._route
        facts["remaining"] = remaining = _length(route)
        facts["dead_end"] = remaining is None
        facts["progress"] = facts["regret"] = None
        if remaining is not None:
            earlier = remaining if before is None else before.length
            facts["progress"] = (earlier > remaining) - (earlier < remaining)
            if self._remaining_at_start is not None:
                facts["regret"] = turn + remaining - self._remaining_at_start
        names = self.cartridge.grounding.subgoals
        facts["subgoals"] = {name: self._achieved[number] for number, name in names}
        facts["target_entropy"] = self._target_entropy(route)
        return facts

    def _follow(self) -> None:
        """Keep the plan that the world is measured by up with it."""
        position, route = self.node.position, self._route
        if route is None or route.position != position:
            self._route = self.cartridge.planner.route(position, route)

    def _look_around(self) -> None:
        rooms, inside, things = self._seen
        sight = self.node.sight(self.cartridge.view)
        self._seen = Seen(rooms | sight[0], inside | sight[1], things | sight[2])

    def _note_quests(self, turn: int) -> None:
        done = self.node.position.done
        known = self._achieved
        for number in range(len(known)):
            if done >> number & 1 and known[number] is None:
                known = (*known[:number], turn, *known[number + 1 :])
        self._achieved = known

    def _target_entropy(self, route: Route | None) -> float:
        if route is None or not route.things & ~self._seen.things:
            return 0.0
        grounding = self.cartridge.grounding
        operators = grounding.operators
        for step in route.steps:
            for thing in operators[step].things if step >= 0 else ():
                if not self._seen.things >> thing & 1:
                    rooms, inside, _ = self._seen
                    left = (grounding.anywhere & ~rooms).bit_count()
                    if any(place.open for place in grounding.places_of[thing]):
                        shut = ~(inside | self.node.position.facts)
                        left += (grounding.lids & shut).bit_count()
                    return log(max(left, 1))
        return 0.0

    # ---------------------------------------------------------------- points to come back to

    def save(self) -> Saved:
        """This point of the game, to come back to."""
        return Saved(
            self.node.digest,
            self.clock,
            tuple(self._history),
            None if self._route is None else self._route.steps,
            self._remaining_at_start,
            self._achieved,
            self._seen,
        )

    def load(self, saved: Saved) -> None:
        """Go back to a point of this game."""
        node: Node | None = self.cartridge.known(saved.digest)
        if node is None:
            node = self.cartridge.find(saved.history)
        self.node, self.clock = node, saved.clock
        self._history = list(saved.history)
        self._achieved = saved.achieved
        self._seen = Seen(*saved.seen)
        self._remaining_at_start = saved.remaining_at_start
        self._route = (
            None
            if saved.steps is None
            else self.cartridge.planner.along(node.position, saved.steps)
        )


def _length(route: Route | None) -> int | None:
    return None if route is None else route.length
