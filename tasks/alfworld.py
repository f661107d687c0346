"""ALFWorld tasks: the official games, by their ids, and generated ones, rebuilt from theirs.

Splits `train`, `valid_seen`, `valid_unseen` and `valid_train` are ALFWorld's (the last one is what
AgentGym tests on), and need its data. `generated`, `generated_seen` and `generated_unseen` need
nothing: games made of tables, in ranges of seeds that do not meet, the last one in rooms that occur
in no other. A generated game's id reads ``TYPE:seed=S``, or ``TYPE:size=small:seed=S``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import zip_longest
from os import PathLike, fspath
from typing import overload

from agentgym.errors import ConfigError, TaskError, did_you_mean
from agentgym.tasks.alfworld_data import SPLITS, Pack, open_pack
from agentgym.tasks.alfworld_game import TASK_TYPES, Game
from agentgym.tasks.alfworld_generate import SIZES, generate

SEEDS: Mapping[str, range] = {
    "generated": range(0, 1_000_000),
    "generated_seen": range(1_000_000, 2_000_000),
    "generated_unseen": range(2_000_000, 3_000_000),
}
"""Seeds of each generated split."""
LISTED: Mapping[str, int] = {"generated": 1000, "generated_seen": 100, "generated_unseen": 100}
"""How many of a split's seeds, from its first, are drawn from for each task type; the others can be
named."""
ALL_SPLITS = (*SEEDS, *SPLITS)

_ID = re.compile(r"(?P<type>[a-z0-9]+)(?::size=(?P<size>[a-z]+))?:seed=(?P<seed>[0-9]{1,7})")


def check_task_types(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Short names of task types, in the order given; all six for None.

    Args:
        given: Names, short or ALFWorld's own, in a sequence or in one string with commas.

    Raises:
        ConfigError: There is no such type, or none is named.
    """
    if given is None:
        return tuple(TASK_TYPES)
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, Collection) or not all(isinstance(each, str) for each in names):
        raise ConfigError(
            f"task_types is {given!r}: give names of {', '.join(TASK_TYPES)}, in a list or one text"
        )
    short = {official: name for name, official in TASK_TYPES.items()}
    wanted = []
    for each in names:
        name = short.get(each.strip(), each.strip())
        if name not in TASK_TYPES:
            raise ConfigError(
                f"ALFWorld has no task type {name!r}: it has {', '.join(TASK_TYPES)}"
                f"{did_you_mean(name, [*TASK_TYPES, *short])}"
            )
        wanted.append(name)
    if not wanted or len(set(wanted)) < len(wanted):
        raise ConfigError(f"task_types is {given!r}: name at least one, and each only once")
    return tuple(wanted)


class GeneratedIds(Sequence[str]):
    """Task ids of a generated split, made when asked for; the task types take turns."""

    def __init__(self, split: str, task_types: Sequence[str], size: str) -> None:
        self._types = task_types
        self._size = "" if size == SIZES[-1] else f":size={size}"
        self._seeds = SEEDS[split][: LISTED[split]]

    def __len__(self) -> int:
        return len(self._types) * len(self._seeds)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        turn, which = divmod(range(len(self))[index], len(self._types))
        return f"{self._types[which]}{self._size}:seed={self._seeds[turn]}"


def task_ids(
    split: str,
    data: str | PathLike[str] | None,
    task_types: str | Sequence[str] | None,
    size: str,
) -> Sequence[str]:
    """Ids of a split's games of these types, which take turns.

    Raises:
        ConfigError: The data is not there, or an argument is wrong.
    """
    wanted = check_task_types(task_types)
    if data is not None and not isinstance(data, str | PathLike):
        raise ConfigError(f"data is {data!r}: give the path of ALFWorld's games")
    if split in SEEDS:
        if data is not None:
            raise ConfigError(f"data is {fspath(data)!r}: split {split!r} is made, not read")
        if size not in SIZES:
            raise ConfigError(f"size is {size!r}: give one of {', '.join(SIZES)}")
        return GeneratedIds(split, wanted, size)
    if size != SIZES[-1]:
        raise ConfigError(f"size is {size!r}: only generated games come in sizes")
    ids = _taking_turns(open_pack(split, data), wanted)
    if not ids:
        raise ConfigError(f"split {split!r} has no game of type {', '.join(wanted)}")
    return ids


@lru_cache(maxsize=32)
def _taking_turns(pack: Pack, task_types: tuple[str, ...]) -> tuple[str, ...]:
    by_type = (pack.ids([kind]) for kind in task_types)
    return tuple(each for turn in zip_longest(*by_type) for each in turn if each is not None)


def find_game(task_id: str, split: str, data: str | PathLike[str] | None = None) -> Game:
    """The game of an id.

    Raises:
        TaskError: No such game in the split.
        ConfigError: The data is not there.
    """
    if split in SEEDS:
        return _generated(task_id, split)
    return open_pack(split, data).game(task_id)


def _generated(task_id: str, split: str) -> Game:
    match = _ID.fullmatch(task_id)
    if match is None or match["type"] not in TASK_TYPES:
        name = task_id.partition(":")[0]
        raise TaskError(
            f"no generated ALFWorld task {task_id!r}: ids read 'clean:seed=123', with a type of "
            f"{', '.join(TASK_TYPES)}{did_you_mean(name, TASK_TYPES)}"
        )
    seed, size = int(match["seed"]), match["size"] or SIZES[-1]
    if size not in SIZES or seed not in SEEDS[split]:
        seeds = SEEDS[split]
        raise TaskError(
            f"no ALFWorld task {task_id!r} in split {split!r}: sizes are {', '.join(SIZES)}, "
            f"seeds of this split {seeds.start} to {seeds.stop - 1}"
        )
    game = generate(match["type"], seed, size=size, held_out=split == "generated_unseen")
    if game.id != task_id:
        raise TaskError(f"no ALFWorld task {task_id!r}; did you mean {game.id!r}?")
    return replace(game, split=split)
