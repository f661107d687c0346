"""TextWorld: text adventures by Microsoft's engine, with games by family, level and seed.

The agent reads the game's own text and types commands. Winning pays 1; losing (eating what should
be cooked, taking the wrong treasure) pays 0 and ends the episode, and so does the turn limit, which
is no loss. How much of the score was earned is `outcome.parts["score"]`.

What the agent types reaches a 1990s interpreter, whose input is not made for strangers: `save` and
`script` write files, a backslash speaks to the interpreter itself (and can hang it), `undo` and
`restart` take turns back, `tw-...` and a few others are TextWorld's own debugging. None of these
get through. Whatever the game merely does not understand is answered by the game.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from agentgym.actions import Action, Grammar
from agentgym.env import Env, Execution
from agentgym.errors import ConfigError, InvalidAction, RegistryError, TaskError
from agentgym.tasks.textworld import SEEDS, GameIds, find_task, game_path
from agentgym.types import Outcome, Reply, Task

if TYPE_CHECKING:
    from agentgym.envs.textworld_engine import Machine, Saved

_LONGEST = 120
_WORDS = re.compile(r"[A-Za-z0-9 '-]+")
_OUTSIDE = """
    save restore restart quit q undo oops o again g script transcript verify version notify
    brief normal long verbose short superbrief
    enable disable restrict tw-extra-infos tw-trace-actions tw-print
"""
"""Words that speak to the interpreter rather than to the world."""


def _as_heard(word: str) -> str:
    """What the interpreter's dictionary keeps of a word: nine units, two for all but letters."""
    kept, room = "", 9
    for character in word.lower():
        room -= 1 if character.isalpha() else 2
        if room < 0:
            break
        kept += character
    return kept


_REFUSED = frozenset(map(_as_heard, _OUTSIDE.split()))


def check_command(command: str) -> str:
    """The command as the interpreter may read it.

    Raises:
        InvalidAction: It must not read it.
    """
    words = command.rstrip(" .!?").split()
    text = " ".join(words)
    if len(text) > _LONGEST:
        raise InvalidAction("too_long", f"A command has at most {_LONGEST} characters.")
    if not words or not _WORDS.fullmatch(text):
        raise InvalidAction(
            "parse", "Type one command of plain words, such as: take the lamp from the table"
        )
    if "then" in map(str.lower, words):
        raise InvalidAction("inadmissible", "One command at a time: leave out 'then'.")
    if _as_heard(words[0]) in _REFUSED:
        raise InvalidAction("inadmissible", f"{words[0]!r} is not a command of this game.")
    return text


class TextWorld(Env):
    """Text adventures by the TextWorld engine.

    Games are made when first played (1 to 3 s) and kept under `$AGENTGYM_CACHE` or
    `~/.cache/agentgym`. Task ids read `coin:level=5:seed=123`, or `game:PATH`.

    Args:
        family: One of `coin`, `treasure`, `simple`, `cooking`, `custom`, or several (a sequence, or
            one string with commas), which take turns.
        level: How hard; a mapping gives each family its own, None takes each family's default.
            See `agentgym.tasks.textworld.FAMILIES`.
        goal: How much the opening text tells: `detailed` (every step), `brief` (the last one) or
            `none`. Cooking games always send the agent to the cookbook.
        game: A `.z8` file that `tw-make` wrote, to be played in place of a family.
        split: `train`, `valid` or `test`: disjoint seeds, and for cooking disjoint recipes.
        max_turns: Turn limit.
        dialect: How actions are written.
        render_mode: None or `"ansi"`.

    Raises:
        RegistryError: TextWorld is not installed.
        ConfigError: No such family, level, goal or game, or both a family and a game.
    """

    execution: ClassVar[Execution] = "process"
    provides: ClassVar[frozenset[str]] = frozenset({"score", "state_key"})
    splits: ClassVar[tuple[str, ...]] = tuple(SEEDS)
    instructions: str = (
        "You are the player of a text adventure. You see what the game prints, and type one short "
        "command a turn. Commands: look, goal, inventory, go north (or south, east, west), examine "
        "..., open ..., close ..., take ..., take ... from ..., drop ..., put ... on ..., "
        "insert ... into ..., unlock ... with ..., lock ... with ..., eat ..., and in a kitchen "
        "cook ... with ..., slice (or dice, chop) ... with ..., prepare meal."
    )
    grammar: Grammar = Grammar.text(
        "One command, as typed by the player of a text adventure", example="open the chest"
    )
    max_turns: int = 100

    def __init__(
        self,
        *,
        family: str | Sequence[str] | None = None,
        level: int | Mapping[str, int] | None = None,
        goal: str = "detailed",
        game: str | Path | None = None,
        split: str = "train",
        max_turns: int | None = None,
        dialect: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        if importlib.util.find_spec("textworld") is None:
            raise RegistryError(
                "agentgym/TextWorld-v0 needs textworld: pip install 'agentgym-env[textworld]'"
            )
        super().__init__(split=split, max_turns=max_turns, dialect=dialect, render_mode=render_mode)
        self._tasks: Sequence[str]
        if game is None:
            self._tasks = GameIds("coin" if family is None else family, level, split, goal)
        else:
            if family is not None or level is not None or goal != "detailed":
                raise ConfigError(f"game is {fspath(game)!r}: leave out family, level and goal")
            try:
                game_path(game)
            except TaskError as error:
                raise ConfigError(str(error)) from error
            self._tasks = (f"game:{fspath(game)}",)
        self._machine: Machine | None = None
        self._playing = ""
        """Id of the task whose game the machine holds."""

    # ---------------------------------------------------------------- hooks

    def tasks(self) -> Sequence[str]:
        """The first seeds of the split, for each family in turn."""
        return self._tasks

    def find_task(self, task_id: str) -> Task:
        """Any game of the split, whether `tasks()` lists it or not."""
        return find_task(task_id, self._name, self.split)

    def begin(self, task: Task) -> str:
        """Start the game of `task` over."""
        return self._load(task.id).start()

    def respond(self, action: Action) -> Reply:
        """Play one command."""
        machine = self._at_work
        text = machine.send(check_command(action))
        facts = {"score": machine.score, "state_key": machine.state_key()}
        if not machine.ending:
            return Reply(text, None, facts)
        won = machine.ending == "won"
        return Reply(text, Outcome(float(won), won, machine.ending, self._parts()), facts)

    def judge(self) -> Outcome:
        """Not won in time: 0, with what was earned in `parts`."""
        return Outcome(0.0, False, "limit", self._parts())

    def admissible(self) -> Sequence[str]:
        """Commands that do something now, sorted; TextWorld's own list."""
        return self._at_work.admissible()

    def oracle(self) -> str | None:
        """The command towards a win from here, None once there is no winning."""
        machine = self._at_work
        return None if machine.ending else machine.planner.next_command(machine.position)

    def save_state(self) -> Any:
        """Interpreter and facts at this point: 40 kB, picklable."""
        return self._at_work.save()

    def load_state(self, state: Any) -> None:
        """Return to a saved point of the current task's game."""
        if self.task is None:
            raise ConfigError("load_state() needs the task that the state belongs to")
        fresh = self._machine is None or self._playing != self.task.id
        machine = self._load(self.task.id)
        if fresh:
            machine.start()
        machine.load(cast("Saved", state))

    def close(self) -> None:
        """Unload the interpreter."""
        if self._machine is not None:
            self._machine.close()
            self._machine, self._playing = None, ""
        super().close()

    # ---------------------------------------------------------------- the machine

    def _load(self, task_id: str) -> Machine:
        """The machine with the game of `task_id` in it."""
        if self._machine is not None:
            if self._playing == task_id:
                return self._machine
            self._machine.close()
            self._machine, self._playing = None, ""
        from agentgym.tasks.textworld_games import import_engine, load_game

        import_engine()  # textworld and jericho take a second, and are not everyone's
        from agentgym.envs.textworld_engine import Machine

        self._machine, self._playing = Machine(load_game(task_id)), task_id
        return self._machine

    @property
    def _at_work(self) -> Machine:
        if self._machine is None:
            raise ConfigError("this TextWorld is closed: reset() starts it again")
        return self._machine

    def _parts(self) -> dict[str, float]:
        """The share of the points, where they are counted out of a finite sum."""
        machine = self._at_work
        most = machine.max_score
        return {"score": machine.score / most} if 0 < most < float("inf") else {}
