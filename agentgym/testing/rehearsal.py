"""Rehearsals: an environment played without a model, and what was seen kept for comparison.

A `Subject` makes the environment, plays it, and remembers what came of it: one episode serves many
checks; `replay` and `areplay` take the same actions again.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import takewhile
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from gymnasium.envs.registration import EnvSpec

from agentgym.env import Env
from agentgym.errors import ConfigError, InvalidAction
from agentgym.registry import key, make, parse_key
from agentgym.types import Outcome

Moment: TypeAlias = dict[str, Any]
"""What was seen at one point of an episode, as plain data that `==` compares."""
Result: TypeAlias = tuple[Any, float, bool, bool, dict[str, Any]]
"""What `step` returns."""
Returned: TypeAlias = tuple[Any, dict[str, Any]] | Result
"""What `reset` or `step` returns."""
Rule: TypeAlias = Callable[[Env, Returned], str | None]
"""Given the environment and what it returned, says what is wrong."""
Player: TypeAlias = Callable[[Env, Mapping[str, Any], np.random.Generator], str | None]
"""Given the environment, `info` and a generator, says what a model might; None: nothing to say."""

_SCRIPT_TURNS = 8
_PLAYER = 0x706C6179
"""Spawn key of the streams that players draw from: none is that of the world."""
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


class Broken(Exception):
    """A check found a fault; its message is what the report says."""


class Skipped(Exception):
    """A check does not apply; its message says why."""


# -------------------------------------------------------------------------------- what was seen


def plain(value: Any) -> Any:
    """`value` with images as data that `==` compares."""
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes())
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return value


def after_reset(result: tuple[Any, dict[str, Any]]) -> Moment:
    """What `reset` showed."""
    shown, info = result
    return {
        "observation": plain(shown), "task": info.get("task"), "facts": plain(info.get("facts"))
    }  # fmt: skip


def after_step(result: Result) -> Moment:
    """What `step` showed; of `info`, what the contract names."""
    shown, reward, terminated, truncated, info = result
    return {
        "observation": plain(shown), "reward": reward, "terminated": terminated,
        "truncated": truncated, "action": info.get("action"), "invalid": info.get("invalid"),
        "facts": plain(info.get("facts")), "outcome": info.get("outcome"),
    }  # fmt: skip


def difference(first: Sequence[Moment], second: Sequence[Moment]) -> str | None:
    """Where two trajectories part, in words; None if they do not."""
    for turn, (one, other) in enumerate(zip(first, second, strict=False)):
        for name in one:
            if one[name] != other[name]:
                return f"turn {turn}: {name} was {_parting(one[name], other[name])}"
    if len(first) != len(second):
        return f"it ended after {len(first) - 1} turns, then after {len(second) - 1}"
    return None


def _parting(one: Any, other: Any) -> str:
    if isinstance(one, str) and isinstance(other, str):
        shared = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
        )
        start = max(0, shared - 20)
        one, other = one[start : start + 60], other[start : start + 60]
    return f"{_short.repr(one)}, then {_short.repr(other)}"


def replay(
    env: Env, seed: int, actions: Sequence[str], options: dict[str, Any] | None = None
) -> list[Moment]:
    """Take actions from a seed until they or the episode end."""
    seen = [after_reset(env.reset(seed=seed, options=options))]
    for action in actions:
        seen.append(after_step(env.step(action)))
        if seen[-1]["terminated"] or seen[-1]["truncated"]:
            break
    return seen


async def areplay(
    reset: Callable[..., Awaitable[Any]],
    step: Callable[[str], Awaitable[Any]],
    seed: int,
    actions: Sequence[str],
) -> list[Moment]:
    """`replay` by other ways of calling `reset` and `step`."""
    seen = [after_reset(await reset(seed=seed))]
    for action in actions:
        seen.append(after_step(await step(action)))
        if seen[-1]["terminated"] or seen[-1]["truncated"]:
            break
    return seen


# -------------------------------------------------------------------------------- who plays


def _oracle(env: Env, info: Mapping[str, Any], rng: np.random.Generator) -> str | None:
    best = info["oracle"]
    return None if best is None else _said(env, best, "oracle() gave")


def _chance(env: Env, info: Mapping[str, Any], rng: np.random.Generator) -> str:
    listed = info["admissible"] or [env.grammar.sample(rng)]
    return _said(env, listed[int(rng.integers(len(listed)))], "admissible() listed")


def _said(env: Env, action: str, who: str) -> str:
    """A canonical action as a model would say it."""
    try:
        return env.grammar.render(action)
    except InvalidAction as error:
        raise Broken(f"{who} {_short.repr(action)}, which is not canonical: {error}") from error


PLAYERS: Mapping[str, Player] = {
    "oracle": _oracle,
    "chance": _chance,
    "silence": lambda env, info, rng: "",
    "idling": lambda env, info, rng: "do nothing at all",
}
"""Stand-ins for a model. What they say is what a model would, in the environment's dialect."""


HINT_OF: Mapping[str, str] = {"oracle": "oracle", "chance": "admissible"}
"""Which hint a player goes by, if any."""


class Episode(NamedTuple):
    """One episode somebody played."""

    seed: int
    outcome: Outcome
    turns: int
    truncated: bool


class Script(NamedTuple):
    """What was said from a seed on, and what it led to."""

    seed: int
    actions: tuple[str, ...]
    seen: list[Moment]


class Subject:
    """The environment under test.

    Args:
        env_id: Its id, or `agentgym.registry.key`.
        seeds: Seeds 0 to `seeds - 1` are played.
        arguments: For `make`.
        rules: What to look at in every turn of every episode, by name.

    Raises:
        RegistryError: No such id, or its extra is not installed.
        ConfigError: It is not an `agentgym.Env`, or does not take these arguments.
    """

    def __init__(
        self, env_id: str, seeds: int, arguments: Mapping[str, Any], rules: Mapping[str, Rule]
    ) -> None:
        if seeds < 1:
            raise ConfigError(f"seeds is {seeds!r}: give a number of at least 1")
        self.id, own = parse_key(env_id)
        self.arguments = {**own, **arguments}
        self.key = key(self.id, self.arguments)
        self.seeds = range(seeds)
        self.faults: dict[str, str] = {}
        """The first breach of each rule."""
        self._rules = rules
        self._played: dict[str, list[Episode]] = {}
        env = self._make()
        self.spec: EnvSpec | None = env.spec
        self.plain_hooks = not env._coroutine_hooks
        self.execution = env.execution
        self.lists_admissible = type(env).admissible is not Env.admissible
        with suppress(Exception):  # a check will find it
            env.close()

    @contextmanager
    def env(self, **more: Any) -> Iterator[Env]:
        """A new instance, closed in the end."""
        env = self._make(**more)
        try:
            yield env
        finally:
            env.close()

    def _make(self, **more: Any) -> Env:
        made = make(self.id, **{**self.arguments, **more})
        world = made.unwrapped
        if not isinstance(world, Env):
            made.close()
            raise ConfigError(
                f"{self.id} is a {type(world).__name__}, not an agentgym.Env: check it with "
                "gymnasium.utils.env_checker.check_env"
            )
        return world

    @property
    def elsewhere(self) -> EnvSpec:
        """The spec, for another process.

        Raises:
            Skipped: Another process cannot import the class.
        """
        entry = None if self.spec is None else self.spec.entry_point
        if self.spec is None or not isinstance(entry, str) or entry.startswith("__main__:"):
            raise Skipped("another process cannot import the class: define it in a module")
        return self.spec

    @cached_property
    def scripts(self) -> list[Script]:
        """Two short random walks with a mistake in each, and the oracle's episode if it has one."""
        with self.env() as env:
            walks = [self._script(env, "chance", seed, _SCRIPT_TURNS) for seed in (0, 1)]
            expert = self._script(env, "oracle", 2, env.max_turns)
            return [*walks, expert] if expert.actions else walks

    def _script(self, env: Env, player: str, seed: int, turns: int) -> Script:
        actions: list[str] = []
        rng = _stream(seed)
        shown, info = env.reset(seed=seed, options=_hints(player))
        seen = [after_reset((shown, info))]
        while len(actions) < turns:
            mistake = player == "chance" and len(actions) == 1
            action = "" if mistake else PLAYERS[player](env, info, rng)
            if action is None:
                break
            result = env.step(action)
            actions.append(action)
            seen.append(after_step(result))
            if result[2] or result[3]:
                break
            info = result[4]
        return Script(seed, tuple(actions), seen)

    def played(self, player: str) -> list[Episode]:
        """One episode a seed; none where the oracle has nothing to say at the start."""
        if player not in self._played:
            with self.env() as env:
                episodes = [self._play(env, player, seed) for seed in self.seeds]
            self._played[player] = [episode for episode in episodes if episode is not None]
        return self._played[player]

    def _play(self, env: Env, player: str, seed: int) -> Episode | None:
        rng = _stream(seed)
        first = env.reset(seed=seed, options=_hints(player))
        self._watch(env, f"{player}, seed {seed}, reset", first)
        info = first[1]
        for turn in range(1, env.max_turns + 1):
            action = PLAYERS[player](env, info, rng)
            where = f"{player}, seed {seed}, turn {turn}"
            if action is None:
                if turn == 1:
                    return None
                raise Broken(f"{where}: oracle() gave None in the middle of an episode")
            result = env.step(action)
            _, _, terminated, truncated, info = result
            self._watch(env, where, result)
            refused = info.get("invalid")
            if refused and (player == "oracle" or (player == "chance" and self.lists_admissible)):
                source = HINT_OF[player]
                told = f"{where}: {_short.repr(action)} from {source}() was refused ({refused})"
                self.faults.setdefault(source, told)
            if terminated or truncated:
                outcome = info.get("outcome") or Outcome(0.0, False, "missing")
                return Episode(seed, outcome, turn, bool(truncated))
        raise Broken(f"{player}, seed {seed}: no end after max_turns={env.max_turns} turns")

    def _watch(self, env: Env, where: str, returned: Returned) -> None:
        for name, rule in self._rules.items():
            if name not in self.faults:
                told = rule(env, returned)
                if told:
                    self.faults[name] = f"{where}: {told}"


def _stream(seed: int) -> np.random.Generator:
    """What a player draws from in the episode of `seed`."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PLAYER,)))


def _hints(player: str) -> dict[str, Any]:
    """The options of `reset` that give a player what it goes by."""
    return {"hints": [HINT_OF[player]]} if player in HINT_OF else {}


def mean_score(episodes: Sequence[Episode]) -> float:
    """Mean outcome."""
    return math.fsum(episode.outcome.score for episode in episodes) / len(episodes)
