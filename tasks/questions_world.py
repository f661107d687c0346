"""Sets of questions about knowledge worlds, each task rebuilt from its id alone.

An id reads ``world:docs=1000:kind=chain:hops=2:world=17:task=5``, with what else the world is like
after `docs`. Splits are disjoint ranges of worlds, so an id also says which split it belongs to;
within one world, questions of different numbers share facts. Worlds of a hidden test split are made
from a secret: their ids read ``world=hidden3``, and tell nothing without it.
"""

from __future__ import annotations

import hmac
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any, NamedTuple, cast, overload

from agentgym.errors import ConfigError, TaskError, did_you_mean
from agentgym.retrieval import Passages
from agentgym.tasks.knowledge import World, WorldOptions
from agentgym.tasks.knowledge_questions import HOPS, Asker
from agentgym.types import Task

SEEDS: Mapping[str, range] = {
    "train": range(0, 1_000_000),
    "valid": range(1_000_000, 2_000_000),
    "test": range(2_000_000, 3_000_000),
}
"""Seeds of the worlds of each split."""
SECRET = "AGENTGYM_WORLD_SECRET"
"""The variable that hidden worlds are made from."""
_RATES = tuple(each.name for each in fields(WorldOptions) if each.name != "docs")
_KEYS = ("docs", "hops", "kinds", "worlds", "tasks", "hidden", *_RATES)
_MOST_WORLDS, _MOST_DOCS = 16, 400_000
"""What is kept at once; the last world always is."""


class WorldId(NamedTuple):
    """A task's id, taken apart."""

    options: WorldOptions
    kind: str
    hops: int
    world: str
    """Its seed, or `hidden` and a number."""
    task: int

    def __str__(self) -> str:
        rates = "".join(
            f":{name}={getattr(self.options, name)!r}"
            for name in _RATES
            if getattr(self.options, name) != _DEFAULTS[name]
        )
        return (
            f"world:docs={self.options.docs}{rates}:kind={self.kind}:hops={self.hops}"
            f":world={self.world}:task={self.task}"
        )

    @property
    def split(self) -> str:
        """The split its world lies in."""
        if self.world.startswith("hidden"):
            return "test"
        return next(split for split, seeds in SEEDS.items() if int(self.world) in seeds)


_DEFAULTS = {each.name: each.default for each in fields(WorldOptions)}
_ID = re.compile(
    r"world:docs=(?P<docs>[0-9]{1,7})(?P<rates>(?::[a-z]+=[0-9.e-]{1,24})*):kind=(?P<kind>[a-z]+)"
    r":hops=(?P<hops>[0-9]):world=(?P<hidden>(?:hidden)?)(?P<world>[0-9]{1,7}):task=(?P<task>[0-9]{1,9})"
)


def parse_id(task_id: str) -> WorldId:
    """Take the id of a task apart.

    Raises:
        TaskError: It names no task.
    """
    match = _ID.fullmatch(task_id)
    if match is None:
        raise TaskError(
            f"no question {task_id!r}: ids read 'world:docs=1000:kind=chain:hops=2:world=17:task=5'"
        )
    rates = dict(each.split("=") for each in match["rates"].split(":")[1:])
    try:
        options = _read_options({"docs": match["docs"], **rates})
        kind, hops = _check_kind(match["kind"]), int(match["hops"])
    except ConfigError as error:
        raise TaskError(f"no question {task_id!r}: {error}") from error
    world = match["hidden"] + str(int(match["world"]))
    parsed = WorldId(options, kind, hops, world, int(match["task"]))
    if hops not in HOPS[kind]:
        raise TaskError(f"no question {task_id!r}: {kind} has {_told_hops(kind)} hops")
    if parsed.world.isdigit() and not any(int(parsed.world) in each for each in SEEDS.values()):
        raise TaskError(f"no question {task_id!r}: there is no such world")
    if str(parsed) != task_id:
        raise TaskError(f"no question {task_id!r}; did you mean {str(parsed)!r}?")
    return parsed


# ---- parameters


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """Which questions about which worlds."""

    options: WorldOptions
    asked: tuple[tuple[str, int], ...]
    """Kinds and their hops, that take turns."""
    worlds: int = 8
    """Worlds of each split."""
    tasks: int = 1000
    """Questions about each world of `train`; of the other splits, a tenth."""
    hidden: bool = False
    """Whether the worlds of `test` are made from a secret."""


def parse_spec(text: str) -> WorldSpec:
    """Read ``hops=2,docs=1000,kinds=chain+comparison``.

    Raises:
        ConfigError: A parameter is unknown, or its value wrong.
    """
    given: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = (each.strip() for each in part.partition("="))
        if name not in _KEYS:
            raise ConfigError(
                f"questions 'world:{text}': a world has no parameter {name!r}"
                f"{did_you_mean(name, _KEYS)}: it has {', '.join(_KEYS)}"
            )
        if not equals or not value or name in given:
            raise ConfigError(f"questions 'world:{text}': give {name} once, as in {name}=VALUE")
        given[name] = value
    try:
        return _read_spec(given)
    except ConfigError as error:
        raise ConfigError(f"questions 'world:{text}': {error}") from error


def _read_spec(given: dict[str, str]) -> WorldSpec:
    kinds = [_check_kind(each) for each in given.pop("kinds", "chain").split("+")]
    hops = _read_hops(given.pop("hops", "1-4"))
    hidden = given.pop("hidden", "false").lower()
    if hidden not in ("true", "false"):
        raise ConfigError(f"hidden is {hidden!r}: give true or false")
    counts = {
        name: _read_count(name, given.pop(name)) for name in ("worlds", "tasks") & given.keys()
    }
    asked = tuple((kind, each) for each in hops for kind in kinds if each in HOPS[kind])
    for kind in kinds:
        if not any(kind == each for each, _ in asked):
            raise ConfigError(f"{kind} has {_told_hops(kind)} hops: ask for some of these")
    if len(set(asked)) < len(asked):
        raise ConfigError("name each kind and each number of hops once")
    options = _read_options(given)
    if "unanswerable" in kinds and not options.missing:
        raise ConfigError("unanswerable questions need missing facts: give missing above 0")
    return WorldSpec(options, asked, hidden=hidden == "true", **counts)


def _read_options(given: Mapping[str, str]) -> WorldOptions:
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name == "docs":
            options[name] = _read_count(name, value)
            continue
        if name not in _RATES:
            raise ConfigError(f"a world has no {name!r}{did_you_mean(name, _RATES)}")
        try:
            options[name] = float(value)
        except ValueError:
            raise ConfigError(f"{name} is {value!r}: give a rate in [0, 1]") from None
    return WorldOptions(**options)


def _read_count(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", value) or not 1 <= int(value) <= 1_000_000:
        raise ConfigError(f"{name} is {value!r}: give a whole number of 1 to 1000000")
    return int(value)


def _read_hops(text: str) -> list[int]:
    """Numbers, as in `2`, `1-4` or `1+3`."""
    found: list[int] = []
    for part in text.split("+"):
        match = re.fullmatch(r"([1-4])(?:-([1-4]))?", part)
        if match is None:
            raise ConfigError(f"hops is {text!r}: give some of 1 to 4, as in 2, 1-4 or 1+3")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    if not found:
        raise ConfigError(f"hops is {text!r}: give the smaller number first")
    return found


def _check_kind(kind: str) -> str:
    if kind not in HOPS:
        raise ConfigError(
            f"there is no kind of question {kind!r}{did_you_mean(kind, HOPS)}: there are "
            f"{', '.join(HOPS)}"
        )
    return kind


def _told_hops(kind: str) -> str:
    return f"{HOPS[kind].start} to {HOPS[kind].stop - 1}"


# ---- the set


class WorldIds(Sequence[str]):
    """Task ids of a split, made when asked for: world by world, kinds and hops in turn."""

    def __init__(self, spec: WorldSpec, split: str) -> None:
        self._spec = spec
        self._each = spec.tasks if split == "train" else max(1, spec.tasks // 10)
        hidden = spec.hidden and split == "test"
        self._name, self._first = ("hidden", 0) if hidden else ("", SEEDS[split].start)

    def __len__(self) -> int:
        return self._spec.worlds * self._each

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        world, place = divmod(range(len(self))[index], self._each)
        number, turn = divmod(place, len(self._spec.asked))
        kind, hops = self._spec.asked[turn]
        return str(
            WorldId(self._spec.options, kind, hops, f"{self._name}{self._first + world}", number)
        )


class WorldQuestions:
    """Questions about worlds.

    Any task of any world is found by its id, listed or not.

    Args:
        spec: What is listed.
        secret: What hidden worlds are made from; by default, what the variable
            AGENTGYM_WORLD_SECRET holds.
    """

    splits: tuple[str, ...] = tuple(SEEDS)

    def __init__(self, spec: WorldSpec, secret: str | None = None) -> None:
        self.spec = spec
        self._secret = secret
        if spec.hidden:
            self._seed("hidden0")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the questions that are listed."""
        return tuple(dict.fromkeys(kind for kind, _ in self.spec.asked))

    def ids(self, split: str) -> Sequence[str]:
        """Ids of a split's tasks.

        Raises:
            TaskError: No such split.
        """
        if split not in SEEDS:
            raise TaskError(
                f"no split {split!r}{did_you_mean(split, SEEDS)}: give one of {', '.join(SEEDS)}"
            )
        return WorldIds(self.spec, split)

    def task(self, id: str) -> Task:
        """The task of an id, its data a `Question`.

        Raises:
            TaskError: No such task, or its world is hidden and the secret is not there.
        """
        parsed = parse_id(id)
        question = self._asker(parsed).ask(parsed.kind, parsed.hops, parsed.task)
        return Task(id, split=parsed.split, data=cast(Mapping[str, Any], question))

    def corpus(self, id: str) -> Passages:
        """All pages of the task's world.

        Raises:
            TaskError: No such task.
        """
        return self.world(id).corpus

    def world(self, id: str) -> World:
        """The world of a task.

        Raises:
            TaskError: No such task.
        """
        return self._asker(parse_id(id)).world

    def _asker(self, parsed: WorldId) -> Asker:
        return _open_asker(self._seed(parsed.world), parsed.options, f"world {parsed.world}")

    def _seed(self, world: str) -> str:
        if not world.startswith("hidden"):
            return world
        secret = self._secret if self._secret is not None else os.environ.get(SECRET, "")
        if not secret:
            raise TaskError(f"world {world!r} is hidden: set {SECRET} to what it is made from")
        return hmac.digest(secret.encode(), world.encode(), "sha256").hex()


def open_world(parameters: str) -> WorldQuestions:
    """The set that parameters name.

    Raises:
        ConfigError: A parameter is unknown, or its value wrong.
    """
    return WorldQuestions(parse_spec(parameters))


_kept: OrderedDict[tuple[str, WorldOptions], Asker] = OrderedDict()
_lock = Lock()


def _open_asker(seed: str, options: WorldOptions, name: str) -> Asker:
    """Worlds take time to make: the last ones used are kept."""
    key = (seed, options)
    with _lock:
        asker = _kept.get(key)
        if asker is None:
            asker = _kept[key] = Asker(World(seed, options, name))
            while len(_kept) > 1 and (
                len(_kept) > _MOST_WORLDS
                or sum(each.world.options.docs for each in _kept.values()) > _MOST_DOCS
            ):
                _kept.popitem(last=False)
        _kept.move_to_end(key)
        return asker
