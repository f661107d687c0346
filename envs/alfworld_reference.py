"""ALFWorld's own engine on the same games: slow, and what the native one is compared with.

Needs `alfworld` (and with it TextWorld's PDDL engine and Fast Downward), which runs on Python 3.11
and 3.12. It is not safe in threads, and keeps a copy of Fast Downward's library for every game that
is opened.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from agentgym.envs import alfworld_text as text
from agentgym.errors import RegistryError, TaskError
from agentgym.tasks.alfworld_game import Game, write_problem

PACKAGE = "alfworld==0.4.2"


def check_reference() -> None:
    """Do nothing if ALFWorld's own engine can run here.

    Raises:
        RegistryError: It is not installed, or this Python is too new for it.
    """
    if sys.version_info >= (3, 13):
        raise RegistryError(
            "backend='reference' needs Python 3.11 or 3.12: TextWorld's PDDL engine fails on 3.13"
        )
    if importlib.util.find_spec("alfworld") is None:
        raise RegistryError(f"backend='reference' needs alfworld: pip install '{PACKAGE}'")


class Reference:
    """One game in ALFWorld's own engine.

    Args:
        game: What to play.
        version: Dialect, of `alfworld_text.VERSIONS`.
        problem: Its PDDL, where that is at hand; made of `game` otherwise.
    """

    def __init__(self, game: Game, version: str, *, problem: str | None = None) -> None:
        check_reference()
        logging.getLogger("tatsu").setLevel(logging.WARNING)
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld.envs.pddl import PddlEnv

        infos = textworld.EnvInfos(won=True, admissible_commands=True)
        self._engine: Any = AlfredDemangler(PddlEnv(infos))
        self._data = {**rules(version), "pddl_problem": problem or write_problem(game)}
        self._loaded = False
        self._state: Mapping[str, Any] = {}

    def start(self, task: str) -> str:
        """Start over; what is said first.

        Raises:
            TaskError: The engine does not take the game: its goal cannot be reached from the start.
        """
        if not self._loaded:
            try:
                self._engine.load(self._data)
            except KeyError as error:  # Fast Downward writes no goal then, and it looks for one
                raise TaskError("ALFWorld's engine takes no game that cannot be won") from error
            self._loaded = True
        self._state = self._engine.reset()
        return str(self._state["feedback"]).replace(_GOAL, task)

    def act(self, command: str) -> str | None:
        """Carry a command out; what is said, None if nothing happens."""
        self._state = self._engine.step(command)[0]
        said = str(self._state["feedback"])
        return None if said == text.NOTHING_HAPPENS else said

    @property
    def admissible(self) -> list[str]:
        """All that can be done, sorted."""
        return list(self._state["admissible_commands"])

    @property
    def won(self) -> bool:
        """Whether the goal holds."""
        return bool(self._state["won"])

    def plan(self) -> list[str]:
        """Fast Downward's commands to a win from here; none if it finds none."""
        engine = self._engine.unwrapped
        return list(engine._pddl_state.replan(engine._entity_infos))


@lru_cache
def rules(version: str) -> dict[str, str]:
    """ALFWorld's domain and grammar, as a game file of that version holds them."""
    import alfworld

    folder = Path(alfworld.__file__).parent / "data"
    grammar = (folder / "alfred.twl2").read_text()
    if version == "2.1.1":
        for new, old in _OLDER:
            grammar = grammar.replace(new, old)
        grammar = grammar[: grammar.index("action help {")]
    domain = (folder / "alfred.pddl").read_text()
    if version == "2.1.1":
        domain = domain[: domain.index("(:action help")] + "\n)"
    return {"pddl_domain": domain, "grammar": grammar}


_GOAL = "UNKNOWN GOAL"
"""Stands for the goal in the grammar, and so in what is said first."""
_OLDER = (
    ("You arrive at {r.name}.", "You arrive at {lend.name}."),
    ('"move {o} to {r}"', '"put {o} in/on {r}"'),
    ("You move the {o.name} to the {r.name}.", "You put the {o.name} in/on the {r.name}."),
)
"""The grammar of the package, and of the 2.1.1 game files."""
