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
import sys
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agentgym.actions import Action, Grammar
from agentgym.env import Env, Execution
from agentgym.errors import ConfigError, InvalidAction, RegistryError, TaskError
from agentgym.tasks.textworld import SEEDS, GameIds, find_task, game_path
from agentgym.types import Outcome, Reply, Task

if TYPE_CHECKING:
    from agentgym.envs.textworld_world import World

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


_CHEAP_FACTS = frozenset({"max_score", "score", "state_key"})


class TextWorld(Env):
    """Text adventures by the TextWorld engine.

    Games are made when first played (1 to 3 s) and kept under `$AGENTGYM_CACHE` or
    `~/.cache/agentgym`. Task ids read `coin:level=5:seed=123`, or `game:PATH`. All worlds of a game
    in a process share one interpreter and what it has said.

    Facts, at the start, of each turn, and of a command that was refused:

    `score`
        Points so far, an int.
    `max_score`
        Points there are, a number; at the start, and where they are counted out of a finite sum.
    `state_key`
        Digest of what is true in the world, whatever led there; str.
    `remaining`
        Commands of the best plan known to a win from here, an int; 0 when won, None in a dead end.
    `progress`
        1, 0 or -1: whether `remaining` fell, stayed or rose with this turn; None in a dead end.
    `regret`
        Turns taken, plus `remaining`, minus `remaining` at the start: commands wasted so far, an
        int; None in a dead end.
    `dead_end`
        Whether the game cannot be won any more (lost included); bool. Where even a game in which
        nothing is ever undone could not be won it is certain; else it means that the planner gave
        up.
    `subgoals`
        Each quest of the game to the turn, counted from 1, it was first done in; None if not yet.
    `target_entropy`
        How little is known of where to look, in nats: of the first thing the plan needs that was
        never in sight, the natural logarithm of the number of places it may be in and that were
        not seen: rooms not visited, and, for what can be carried into containers, closed ones not
        looked into. At least 0; 0 when all that the plan needs was seen, or there is no plan.

    A plan is kept while it is followed, and made anew where it is left: `oracle` is its next
    command, and lowers `remaining` by exactly 1. All of it depends on the commands of this episode
    alone.

    Args:
        family: One of `coin`, `treasure`, `simple`, `cooking`, `custom`, or several (a sequence, or
            one string with commas), which take turns.
        level: How hard; a mapping gives each family its own, None takes each family's default.
            See `agentgym.tasks.textworld.FAMILIES`.
        goal: How much the opening text tells: `detailed` (every step), `brief` (the last one) or
            `none`. Cooking games always send the agent to the cookbook.
        game: A `.z8` file that `tw-make` wrote, to be played in place of a family.
        oracle_facts: Whether facts tell what the planner knows; if not, `score` and `state_key`.
        split: `train`, `valid` or `test`: disjoint seeds, and for cooking disjoint recipes.
        max_turns: Turn limit.
        dialect: How actions are written.
        render_mode: None or `"ansi"`.

    Raises:
        RegistryError: TextWorld is not installed.
        ConfigError: No such family, level, goal or game, or both a family and a game.
    """

    execution: ClassVar[Execution] = "process"
    provides: frozenset[str] = _CHEAP_FACTS | {
        *("remaining", "progress", "regret", "dead_end", "subgoals", "target_entropy"),
    }
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
        oracle_facts: bool = True,
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
        if not isinstance(oracle_facts, bool):
            raise ConfigError(f"oracle_facts is {oracle_facts!r}: give true or false")
        self._tasks: Sequence[str]
        if game is None:
            self._tasks = GameIds("coin" if family is None else family, level, split, goal)
        else:
            if not isinstance(game, str | PathLike):
                raise ConfigError(f"game is {game!r}: give the path of a .z8 file")
            if family is not None or level is not None or goal != "detailed":
                raise ConfigError(f"game is {fspath(game)!r}: leave out family, level and goal")
            try:
                game_path(game)
            except TaskError as error:
                raise ConfigError(str(error)) from error
            self._tasks = (f"game:{fspath(game)}",)
        self.oracle_facts = oracle_facts
        if not oracle_facts:
            self.provides = _CHEAP_FACTS
        self._world: World | None = None
        self._playing = ""
        """Id of the task whose game the world is in."""

    # ---------------------------------------------------------------- hooks

    def tasks(self) -> Sequence[str]:
        """The first seeds of the split, for each family in turn."""
        return self._tasks

    def find_task(self, task_id: str) -> Task:
        """Any game of the split, whether `tasks()` lists it or not."""
        return find_task(task_id, self._name, self.split)

    def begin(self, task: Task) -> Reply:
        """Start the game of `task` over."""
        world = self._load(task.id)
        return Reply(world.start(), None, world.facts(0))

    def respond(self, action: Action) -> Reply:
        """Play one command."""
        world = self._at_work
        try:
            command = check_command(action)
        except InvalidAction as error:
            error.facts = world.facts(self.turn + 1)
            raise
        text = world.send(command)
        facts = world.facts(self.turn + 1)
        ending = world.node.ending
        if not ending:
            return Reply(text, None, facts)
        won = ending == "won"
        return Reply(text, Outcome(float(won), won, ending, self._parts()), facts)

    def judge(self) -> Outcome:
        """Not won in time: 0, with what was earned in `parts`."""
        return Outcome(0.0, False, "limit", self._parts())

    def admissible(self) -> Sequence[str]:
        """Commands that do something now, sorted; TextWorld's own list."""
        return self._at_work.admissible()

    def oracle(self) -> str | None:
        """The command towards a win from here, None once there is no winning."""
        return self._at_work.oracle()

    def save_state(self) -> Any:
        """The commands so far and what is told of them: some kilobytes, picklable."""
        return self._at_work.save()

    def load_state(self, state: Any) -> None:
        """Return to a saved point of the current task's game."""
        if self.task is None:
            raise ConfigError("load_state() needs the task that the state belongs to")
        world = self._world if self._playing == self.task.id else None
        (world or self._load(self.task.id)).load(state)

    def close(self) -> None:
        """Leave the game; the last environment to do so unloads the interpreter."""
        self._world = None
        if "agentgym.envs.textworld_shelf" in sys.modules:
            from agentgym.envs import textworld_shelf

            textworld_shelf.leave(self)
        super().close()

    # ---------------------------------------------------------------- the world

    def _load(self, task_id: str) -> World:
        """The world with the game of `task_id` in it."""
        from agentgym.envs import textworld_shelf  # the engine is not everyone's

        cartridge = textworld_shelf.take(task_id, self)
        from agentgym.envs.textworld_world import World

        if self._world is None or self._world.cartridge is not cartridge:
            self._world = World(cartridge, self.oracle_facts)
        self._playing = task_id
        return self._world

    @property
    def _at_work(self) -> World:
        if self._world is None:
            raise ConfigError("this TextWorld is closed: reset() starts it again")
        return self._world

    def _parts(self) -> dict[str, float]:
        """The share of the points, where they are counted out of a finite sum."""
        world = self._at_work
        most = world.cartridge.grounding.max_score
        return {"score": world.node.score / most} if 0 < most < float("inf") else {}
