"""ALFWorld: household tasks in text, on a native engine that answers as ALFWorld's own does.

The agent goes about a room, opens things, takes one object at a time, cleans, heats or cools it and
puts it where it is wanted. Winning pays 1. Commands that are not possible are answered with
"Nothing happens." and recorded as inadmissible.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from os import PathLike, fspath
from typing import Any, NamedTuple

from agentgym.actions import Action, Grammar
from agentgym.env import Env
from agentgym.envs.alfworld_engine import Board, State
from agentgym.envs.alfworld_facts import CHEAP, FROM_ORACLE, Track, oracle_facts, state_key
from agentgym.envs.alfworld_oracle import Oracle
from agentgym.envs.alfworld_reference import Reference, check_reference
from agentgym.envs.alfworld_text import DIALECTS, NOTHING_HAPPENS, VERSIONS
from agentgym.errors import ConfigError, InvalidAction
from agentgym.tasks.alfworld import ALL_SPLITS, find_game, task_ids
from agentgym.tasks.alfworld_game import TASK_TYPES
from agentgym.types import Outcome, Reply, Task

PARITIES = ("strict", "relaxed")
BACKENDS = ("native", "reference")
GOALS = ("template", "human")
_WON = Outcome(1.0, True, "won")


class Saved(NamedTuple):
    """A point of an episode; a kilobyte or two, picklable."""

    state: State
    track: Track
    task: str


class ALFWorld(Env):
    """Household tasks in text rooms.

    Task ids of generated splits read `clean:seed=123`; those of the official ones are ALFWorld's
    (`pick_and_place_simple-Mug-None-Desk-308/trial_T2019...`).

    Facts, each turn and at the start: `score` (1 once won), `state_key` (what is true, without
    history), and from the oracle `remaining` (fewest steps to a win), `progress` (in {-1, 0, 1}:
    the sign of how much fewer than before), `regret` (steps taken, plus those remaining, less those
    that sufficed at the start), `dead_end` (there is no winning any more: then the three before are
    None), `subgoals` (name to the turn it was first achieved, or None) and `target_entropy`
    (nats: see `Oracle.target_entropy`).

    Args:
        split: `generated`, `generated_seen` (other seeds), `generated_unseen` (other rooms): made
            on the spot. `train`, `valid_seen`, `valid_unseen`, `valid_train`: ALFWorld's games.
        data: Where ALFWorld's games are, else `$ALFWORLD_DATA`, else what `agentgym data alfworld`
            left in the cache.
        task_types: Some of `pick`, `look`, `clean`, `heat`, `cool`, `pick2` (or ALFWorld's own
            names), in a sequence or one string with commas; None for all.
        size: Of generated rooms: `full`, as ALFWorld's, or `small`.
        version: Whose commands and texts: those of ALFWorld's game files 2.1.2 ("move mug 1 to desk
            1") or 2.1.1 ("put mug 1 in/on desk 1").
        parity: `strict`: as ALFWorld does it, to the letter; `relaxed`: "go to" also reaches what
            shares the agent's spot, and commands are understood in either version, in any case and
            with articles.
        goal: `template`: the goal in ALFWorld's words; `human`: in those of one of several people,
            by the seed.
        oracle_facts: Whether to give the oracle's facts.
        backend: `native`, or `reference`: ALFWorld's own engine (needs `alfworld`, Python 3.11 or
            3.12), without oracle and snapshots.
        max_turns: Turn limit.
        dialect: How actions are written.
        render_mode: None or `"ansi"`.

    Raises:
        ConfigError: An argument is wrong, or the data of the split is not here.
        RegistryError: `backend="reference"` without `alfworld`.
    """

    provides = CHEAP | FROM_ORACLE
    splits = ALL_SPLITS
    instructions: str = (
        "You are in a house and have a task to do there. You see what is around you, and type one "
        "command a turn. Commands: look, inventory, go to RECEPTACLE, open RECEPTACLE, close "
        "RECEPTACLE, take OBJECT from RECEPTACLE, {put}, examine RECEPTACLE, use LAMP, heat OBJECT "
        "with RECEPTACLE, clean OBJECT with RECEPTACLE, cool OBJECT with RECEPTACLE, slice OBJECT "
        "with KNIFE. Names have numbers, as in: cabinet 2. You can hold one object at a time."
    )
    grammar: Grammar = Grammar.text(
        "One command, as typed by the player of a text adventure", example="go to cabinet 2"
    )
    max_turns: int = 50

    def __init__(
        self,
        *,
        split: str = "generated",
        data: str | PathLike[str] | None = None,
        task_types: str | Sequence[str] | None = None,
        size: str = "full",
        version: str = VERSIONS[0],
        parity: str = "strict",
        goal: str = "template",
        oracle_facts: bool = True,
        backend: str = "native",
        max_turns: int | None = None,
        dialect: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        if dialect in VERSIONS:
            raise ConfigError(
                f"dialect is {dialect!r}: it says how actions are written; for ALFWorld's own "
                f"dialects give version={dialect!r}"
            )
        super().__init__(split=split, max_turns=max_turns, dialect=dialect, render_mode=render_mode)
        for name, value, known in (
            ("version", version, VERSIONS),
            ("parity", parity, PARITIES),
            ("goal", goal, GOALS),
            ("backend", backend, BACKENDS),
        ):
            if value not in known:
                raise ConfigError(f"{name} is {value!r}: give one of {', '.join(known)}")
        if not isinstance(oracle_facts, bool):
            raise ConfigError(f"oracle_facts is {oracle_facts!r}: give true or false")
        self._tasks = task_ids(split, data, task_types, size)
        self._data = None if data is None else fspath(data)
        self._version, self._relaxed, self._human = version, parity == "relaxed", goal == "human"
        self._oracle_facts = oracle_facts and backend == "native"
        if not self._oracle_facts:
            self.provides = CHEAP if backend == "native" else frozenset({"score"})
        put = DIALECTS[version].put.format("OBJECT", "RECEPTACLE")
        self.instructions = self.instructions.format(put=put)
        self._reference = backend == "reference"
        if self._reference:
            check_reference()
            if self._relaxed:
                raise ConfigError("parity='relaxed' is the native engine's: leave out backend")
        self._board: Board | None = None
        self._oracle: Oracle | None = None
        self._state: State | None = None
        self._engine: Reference | None = None
        self._track = Track()
        self._goal = ""

    # ---------------------------------------------------------------- hooks

    def tasks(self) -> Sequence[str]:
        """Games of the split and the task types asked for."""
        return self._tasks

    def find_task(self, task_id: str) -> Task:
        """Any game of the split."""
        board = self._open(task_id)[0]
        kind = TASK_TYPES[board.task_type]
        data = {"task_type": kind, "scene": board.scene, "goal": board.task}
        return Task(task_id, self._name, self.split, data)

    def begin(self, task: Task) -> Reply:
        """Start the game of `task` over."""
        board, oracle = self._open(task.id)
        self._goal = self._told(board, task.id)
        if self._reference:
            if self._engine is None or self._board is not board:
                game = find_game(task.id, self.split, self._data)
                self._engine = Reference(game, self._version)
            self._board = board
            return Reply(self._engine.start(self._goal), None, {"score": 0.0})
        self._board, self._oracle = board, oracle
        self._state = state = board.start()
        text = board.intro(state, self._goal)
        return Reply(text, None, self._facts(0))

    def respond(self, action: Action) -> Reply:
        """Carry out one command."""
        if self._reference:
            return self._ask_reference(action)
        board, state = self._playing
        text = board.act(state, board.meant(action) if self._relaxed else action)
        facts = self._facts(self.turn + 1)
        if text is None:
            raise InvalidAction("inadmissible", NOTHING_HAPPENS, facts)
        return Reply(text, _WON if state.won else None, facts)

    def admissible(self) -> Sequence[str]:
        """Commands that are possible now, sorted; ALFWorld's own list."""
        if self._engine is not None:
            return self._engine.admissible
        board, state = self._playing
        return board.admissible(state)

    def oracle(self) -> str | None:
        """The next command of a shortest plan, None once there is no winning."""
        if self._oracle is None:
            return None
        return self._oracle.next_command(self._playing[1])

    @property
    def can_snapshot(self) -> bool:
        """Whether `snapshot`, `restore` and `fork` work: not in ALFWorld's own engine."""
        return not self._reference

    def save_state(self) -> Saved:
        """This point of the episode."""
        return Saved(self._playing[1].copy(), self._track, self._goal)

    def load_state(self, state: Saved) -> None:
        """Return to a saved point of the current task's game."""
        if self.task is None:
            raise ConfigError("load_state() needs the task that the state belongs to")
        self._board, self._oracle = self._open(self.task.id)
        self._state, self._track, self._goal = state.state.copy(), state.track, state.task

    # ---------------------------------------------------------------- the game

    def _open(self, task_id: str) -> tuple[Board, Oracle]:
        return open_board(task_id, self.split, self._data, self._version, self._relaxed)

    def _told(self, board: Board, task_id: str) -> str:
        """The goal, in the words asked for."""
        if not self._human:
            return board.task
        said = board.human_goals
        if not said:
            raise ConfigError(f"goal='human': {task_id!r} has no goal in people's words")
        chosen = said[int(self.np_random.integers(len(said)))]
        return chosen.rstrip(" .") if self._relaxed else chosen

    def _ask_reference(self, action: Action) -> Reply:
        assert self._engine is not None  # begin made it
        text = self._engine.act(action)
        facts = {"score": float(self._engine.won)}
        if text is None:
            raise InvalidAction("inadmissible", NOTHING_HAPPENS, facts)
        return Reply(text, _WON if self._engine.won else None, facts)

    @property
    def _playing(self) -> tuple[Board, State]:
        if self._board is None or self._state is None:
            raise ConfigError("no episode was started: call reset() first")
        return self._board, self._state

    def _facts(self, turns: int) -> dict[str, Any]:
        """What signals may read after that many turns."""
        board, state = self._playing
        if not self._oracle_facts or self._oracle is None:
            return {"score": float(state.won), "state_key": state_key(state)}
        facts, self._track = oracle_facts(board, self._oracle, state, self._track, turns)
        return facts


@lru_cache(maxsize=256)
def open_board(
    task_id: str, split: str, data: str | None, version: str, relaxed: bool
) -> tuple[Board, Oracle]:
    """A game, compiled, with its oracle: shared by all who play it in this process.

    Raises:
        TaskError: No such game in the split.
        ConfigError: The data is not there.
    """
    board = Board(find_game(task_id, split, data), version, relaxed)
    return board, Oracle(board)
