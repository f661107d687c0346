"""TextWorld tasks: five families of games, each game rebuilt from its id alone.

An id reads ``family:level=L:seed=S``, with ``:goal=brief`` or ``:goal=none`` before the seed where
the goal is not told in detail, or ``game:PATH`` for a game file of the user's own. Splits are
disjoint ranges of seeds, so an id also says which split it belongs to; cooking games moreover take
their food and recipes from that split, and simple games of the test split ask for unseen food.

Games are TextWorld's own (`tw-make`), made by `agentgym.tasks.textworld_games` and kept on disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from agentgym.errors import ConfigError, TaskError, did_you_mean
from agentgym.types import Task

SEEDS: Mapping[str, range] = {
    "train": range(0, 1_000_000),
    "valid": range(1_000_000, 2_000_000),
    "test": range(2_000_000, 3_000_000),
}
"""Seeds of each split."""
LISTED: Mapping[str, int] = {"train": 1000, "valid": 100, "test": 100}
"""How many of a split's seeds, from its first, are drawn from; the others can be named."""
GOALS = ("detailed", "brief", "none")
"""How much the opening text tells: every step, only the last one, or nothing."""

_FULL = {"open": True, "cook": True, "cut": True}
_COOKING: tuple[dict[str, Any], ...] = (
    {"recipe": 1, "take": 1, "go": 1},
    {"recipe": 1, "take": 1, "go": 1, "open": True, "cut": True},
    {"recipe": 1, "take": 1, "go": 1, **_FULL},
    {"recipe": 2, "take": 2, "go": 1, **_FULL},
    {"recipe": 1, "take": 1, "go": 6, **_FULL},
    {"recipe": 2, "take": 2, "go": 6, **_FULL},
    {"recipe": 3, "take": 3, "go": 6, **_FULL},
    {"recipe": 3, "take": 3, "go": 6, "drop": True, **_FULL},
    {"recipe": 4, "take": 4, "go": 9, "drop": True, **_FULL},
    {"recipe": 5, "take": 5, "go": 12, "drop": True, **_FULL},
)
_NO_COOKING = {"open": False, "cook": False, "cut": False, "drop": False, "recipe_seed": 0}
_REWARDS = ("dense", "balanced", "sparse")


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of game."""

    name: str
    maker: str
    """TextWorld's challenge, `""` for its general game maker."""
    levels: tuple[range, ...]
    default_level: int
    settings: Callable[[int, str, str], dict[str, Any]]
    """Level, goal and split to the maker's settings."""
    goals: tuple[str, ...] = GOALS

    @property
    def level_text(self) -> str:
        """The levels there are, e.g. `"1-100, 101-150"`."""
        return ", ".join(f"{levels[0]}-{levels[-1]}" for levels in self.levels)

    def check_level(self, level: object) -> int:
        """`level` if there is one.

        Raises:
            ConfigError: There is not.
        """
        if (
            not isinstance(level, int)
            or isinstance(level, bool)
            or not any(level in levels for levels in self.levels)
        ):
            raise ConfigError(
                f"TextWorld family {self.name!r} has no level {level!r}: it has {self.level_text}"
            )
        return level


def _maze(level: int, goal: str, split: str) -> dict[str, Any]:
    return {"level": level}


def _simple(level: int, goal: str, split: str) -> dict[str, Any]:
    return {"rewards": _REWARDS[level - 1], "goal": goal, "test": split == "test"}


def _cooking(level: int, goal: str, split: str) -> dict[str, Any]:
    return {**_NO_COOKING, **_COOKING[level - 1], "split": split}


def _custom(level: int, goal: str, split: str) -> dict[str, Any]:
    return {"rooms": level + 1, "objects": 2 * level + 2, "quest": level}


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        # Rooms in a chain, as many as the level, with a coin in the last; from 101 on with one dead
        # end a room, from 201 on with two (TextWorld compiles at most 100 rooms).
        Family(
            "coin",
            "tw-coin_collector",
            (range(1, 101), range(101, 151), range(201, 234)),
            5,
            _maze,
        ),
        # Take the right one of two things: in 5 open rooms, from 11 on in 10 with doors and
        # containers, from 21 on in 20 with locks.
        Family("treasure", "tw-treasure_hunter", (range(1, 31),), 5, _maze),
        # One house, one dish: 1 dense, 2 balanced, 3 sparse scores.
        Family("simple", "tw-simple", (range(1, 4),), 1, _simple),
        # `_COOKING`: from one thing to fetch in one room, to five to fetch, cook and cut in twelve
        # with as many hands as ingredients. The cookbook tells the recipe.
        Family("cooking", "tw-cooking", (range(1, 11),), 3, _cooking, ("detailed",)),
        # tw-make custom: level + 1 rooms, 2 * level + 2 things, a quest of `level` actions.
        Family("custom", "", (range(1, 11),), 3, _custom),
    )
}


@dataclass(frozen=True, slots=True)
class GameId:
    """A generated game's id, taken apart."""

    family: Family
    level: int
    seed: int
    goal: str = "detailed"

    def __str__(self) -> str:
        told = "" if self.goal == self.family.goals[0] else f"goal={self.goal}:"
        return f"{self.family.name}:level={self.level}:{told}seed={self.seed}"

    @property
    def split(self) -> str:
        """The split its seed lies in."""
        return next(split for split, seeds in SEEDS.items() if self.seed in seeds)

    @property
    def settings(self) -> dict[str, Any]:
        """What TextWorld's maker of the family takes."""
        return self.family.settings(self.level, self.goal, self.split)


_ID = re.compile(
    r"(?P<family>[a-z]+):level=(?P<level>[0-9]{1,3})(?::goal=(?P<goal>[a-z]+))?"
    r":seed=(?P<seed>[0-9]{1,7})"
)


def parse_id(task_id: str) -> GameId:
    """Take the id of a generated game apart.

    Raises:
        TaskError: It names no game.
    """
    match = _ID.fullmatch(task_id)
    if match is None:
        name = task_id.partition(":")[0]
        raise TaskError(
            f"no TextWorld task {task_id!r}: ids read 'coin:level=5:seed=123' or 'game:PATH', with "
            f"a family of {', '.join(FAMILIES)}{did_you_mean(name, FAMILIES)}"
        )
    try:
        family = find_family(match["family"])
        level = family.check_level(int(match["level"]))
        goal = _check_goal(match["goal"] or family.goals[0])
    except ConfigError as error:
        raise TaskError(f"no TextWorld task {task_id!r}: {error}") from error
    parsed = GameId(family, level, int(match["seed"]), goal)
    if goal not in family.goals or not any(parsed.seed in seeds for seeds in SEEDS.values()):
        what = "seed" if goal in family.goals else "goal"
        raise TaskError(f"no TextWorld task {task_id!r}: it has no such {what}")
    if str(parsed) != task_id:
        raise TaskError(f"no TextWorld task {task_id!r}; did you mean {str(parsed)!r}?")
    return parsed


def find_family(name: str) -> Family:
    """The family of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in FAMILIES:
        raise ConfigError(
            f"TextWorld has no family {name!r}: it has {', '.join(FAMILIES)}"
            f"{did_you_mean(name, FAMILIES)}"
        )
    return FAMILIES[name]


def _check_goal(goal: str) -> str:
    if goal not in GOALS:
        raise ConfigError(
            f"goal is {goal!r}: give one of {', '.join(GOALS)}{did_you_mean(goal, GOALS)}"
        )
    return goal


class GameIds(Sequence[str]):
    """Task ids of a split, made when asked for; several families take turns.

    Args:
        family: Name of a family, several names, or several in one string with commas.
        level: One for all, one for each family by name, or None for the families' own defaults.
        split: Of `SEEDS`.
        goal: Of `GOALS`; families whose goal cannot be changed keep theirs.

    Raises:
        ConfigError: No such family, level or goal.
    """

    def __init__(
        self,
        family: str | Sequence[str],
        level: int | Mapping[str, int] | None,
        split: str,
        goal: str = "detailed",
    ) -> None:
        names = family.split(",") if isinstance(family, str) else family
        if not isinstance(names, Collection) or not all(isinstance(each, str) for each in names):
            raise ConfigError(
                f"family is {family!r}: give names of {', '.join(FAMILIES)}, in a list or one text"
            )
        families = [find_family(name.strip()) for name in names]
        if not families or len({family.name for family in families}) < len(families):
            raise ConfigError(f"family is {family!r}: name at least one, and each only once")
        _check_goal(goal)
        levels = level if isinstance(level, Mapping) else {f.name: level for f in families}
        for name in levels:
            if find_family(name) not in families:
                raise ConfigError(
                    f"level names {name!r}, which is not among the families asked for"
                )
        self._kinds = []
        for each in families:
            given = levels.get(each.name)
            own = each.default_level if given is None else each.check_level(given)
            self._kinds.append((each, own, goal if goal in each.goals else each.goals[0]))
        self._seeds = SEEDS[split][: LISTED[split]]

    def __len__(self) -> int:
        return len(self._kinds) * len(self._seeds)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        turn, which = divmod(range(len(self))[index], len(self._kinds))
        family, level, goal = self._kinds[which]
        return str(GameId(family, level, self._seeds[turn], goal))


def game_path(game: str | Path) -> Path:
    """The `.z8` file of a user's own game, given that file or the `.json` next to it.

    Raises:
        TaskError: One of the two is missing, or it is another kind of file.
    """
    path = Path(game)
    if path.suffix not in (".z8", ".json"):
        raise TaskError(f"game is {str(game)!r}: give a .z8 file that tw-make wrote")
    for needed in (path.with_suffix(".z8"), path.with_suffix(".json")):
        if not needed.is_file():
            raise TaskError(
                f"no TextWorld game {str(game)!r}: {needed.name} is missing (tw-make writes a .z8 "
                "and a .json, side by side)"
            )
    return path.with_suffix(".z8")


def find_task(task_id: str, env: str, split: str) -> Task:
    """Rebuild a task from its id.

    Raises:
        TaskError: No such game, or it belongs to another split.
    """
    kind, _, path = task_id.partition(":")
    if kind == "game":
        return Task(task_id, env, split, {"game": str(game_path(path))})
    parsed = parse_id(task_id)
    if parsed.split != split:
        raise TaskError(
            f"task {task_id!r} belongs to split {parsed.split!r}, not {split!r}: seeds of "
            f"{split!r} are {SEEDS[split].start} to {SEEDS[split].stop - 1}"
        )
    return Task(
        task_id,
        env,
        split,
        {
            "family": parsed.family.name,
            "level": parsed.level,
            "seed": parsed.seed,
            "goal": parsed.goal,
        },
    )
