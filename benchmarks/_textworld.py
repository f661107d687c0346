"""`agentgym/TextWorld-v0` against `textworld.gym`, on the same games and the same commands.

The reference is asked for everything it can tell (`INFOS`), since what it tells is what ours does:
admissible commands, the way to win, progress, facts. Ours is made by `gymnasium.make`, with the
hint `admissible` and facts of the oracle on. All times are CPU time of this process. Both sides
have imported what they need, and TextWorld's parser has seen the game's rules. When the first
episodes of a game begin, ours has made it, which takes seconds and includes grounding its rules
(reported by itself), and knows nothing else of it: no text, no plan.
"""

from __future__ import annotations

import gc
import json
import os
import random
import statistics
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
from _measure import Figure

import agentgym  # noqa: F401 - registers the environment

GAMES = {
    "coin": "coin:level=10:seed=1",
    "treasure": "treasure:level=10:seed=1",
    "simple": "simple:level=1:seed=1",
    "cooking": "cooking:level=8:seed=1",
    "custom": "custom:level=5:seed=1",
}
"""Ten rooms; five rooms and two things; the house, dense; three things to fetch, cut and cook in
six rooms with few hands; six rooms, twelve things and a quest of five."""
EPISODES = 24
EPSILON = 0.3
"""How often a random admissible command is played in place of the oracle's."""
REPEATS = 3
"""Of everything that is timed; the best of each side counts."""
LIMIT = 50
"""Turns of an episode."""
WORLDS = 100
INFOS = (
    *("admissible_commands", "policy_commands", "intermediate_reward", "facts", "description"),
    *("inventory", "score", "won", "lost"),
)


class _Ours(NamedTuple):
    """CPU seconds, and what was played."""

    episodes: list[list[str]]
    grounding: float
    first: float
    """All episodes, nothing said yet at the start."""
    misses: list[float]
    """Steps the interpreter was asked."""
    again: float
    """All steps, played again; resets left out."""


def figures(quick: bool) -> dict[str, Figure]:
    """Speed by family and over all, and memory."""
    found: dict[str, Figure] = {}
    ratios: dict[str, list[float]] = {"memo": [], "new": [], "first": []}
    with _cache() as folder:
        _warm_up(folder)
        for family, task in GAMES.items():
            rounds = []
            for _ in range(1 if quick else REPEATS):  # in turn: the machine's speed drifts
                ours = _play(folder, task, 8 if quick else EPISODES)
                rounds.append((ours, *_reference(folder, task, ours.episodes)))
            steps = sum(map(len, ours.episodes))
            whole = max(rate for _, rate, _ in rounds)
            stepping = max(rate for _, _, rate in rounds)
            found[f"textworld.gym, {family}"] = _rate(stepping)
            for kind, rate, reference in (
                ("memo", steps / min(each.again for each, *_ in rounds), stepping),
                ("new", max(len(e.misses) / sum(e.misses) for e, *_ in rounds), stepping),
                ("first", steps / min(each.first for each, *_ in rounds), whole),
            ):
                found[f"{_SAID[kind]}, {family}"] = _rate(rate)
                ratios[kind].append(rate / reference)
            found[f"textworld grounding of a game, {family}"] = Figure(
                1000 * rounds[0][0].grounding, "ms"
            )
            found[f"textworld share of steps from the memo, {family}"] = Figure(
                100 * (1 - len(ours.misses) / steps), "%", lower_is_better=False
            )
        found["textworld memory of a world"] = Figure(
            _kilobytes_per_world(GAMES["cooking"], quick), "kB", 50.0
        )
    for kind, bound in (("memo", 100.0), ("new", 3.0), ("first", 10.0)):
        found[f"{_SAID[kind]} over textworld.gym"] = Figure(
            statistics.geometric_mean(ratios[kind]), "x", bound, lower_is_better=False
        )
    return found


_SAID = {
    "memo": "textworld step from the memo",
    "new": "textworld step not in the memo",
    "first": "textworld first episodes of a game",
}


def _rate(steps: float) -> Figure:
    return Figure(steps, "steps/s", lower_is_better=False)


@contextmanager
def _cache() -> Iterator[Path]:
    """A cache of our own, so that nothing is known of any game."""
    kept = os.environ.get("AGENTGYM_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AGENTGYM_CACHE"] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop("AGENTGYM_CACHE")
            if kept is not None:
                os.environ["AGENTGYM_CACHE"] = kept


def _warm_up(folder: Path) -> None:
    """Import everything, and let TextWorld's parser see a game."""
    task = "custom:level=1:seed=9"
    episodes = _play(folder, task, 1).episodes
    _reference(folder, task, episodes)


def _play(folder: Path, task: str, episodes: int) -> _Ours:
    """Play a game that was made but never played; then play the same again."""
    from agentgym.envs.textworld_shelf import load_grounding
    from agentgym.tasks.textworld_games import engine, import_engine, load_game

    import_engine()
    from textworld.generator.game import Game

    with engine:  # TextWorld's parser remembers rules it has seen: the same for both sides
        Game.deserialize(load_game(task).description)
    clock = time.process_time
    begun = clock()
    load_grounding(load_game(task))
    grounding = clock() - begun
    rng = random.Random(0)
    played: list[list[str]] = []
    misses: list[float] = []
    env: Any = gym.make("agentgym/TextWorld-v0", max_turns=LIMIT)
    options = {"task": task, "hints": ["admissible"]}
    gc.collect()
    begun = clock()
    for seed in range(episodes):
        _, info = env.reset(seed=seed, options=options)
        commands: list[str] = []
        over = False
        while not over:
            best = env.oracle()
            random_one = best is None or rng.random() < EPSILON
            command = rng.choice(info["admissible"]) if random_one else best
            known = command in env._at_work.node.edges
            started = clock()
            _, _, terminated, truncated, info = env.step(command)
            if not known:
                misses.append(clock() - started)
            commands.append(str(command))
            over = terminated or truncated
        played.append(commands)
    first = clock() - begun
    again = 0.0
    for seed, commands in enumerate(played):
        env.reset(seed=seed, options=options)
        step = env.step
        started = clock()
        for command in commands:
            step(command)
        again += clock() - started
    env.close()
    return _Ours(played, grounding, first, misses, again)


def _reference(folder: Path, task: str, episodes: list[list[str]]) -> tuple[float, float]:
    """Steps a second of `textworld.gym`: with loading and resets, and without."""
    import textworld
    import textworld.gym

    from agentgym.tasks.textworld_games import load_game

    game = load_game(task)
    path = folder / f"{task.replace(':', '-')}.z8"
    path.write_bytes(game.rom)
    path.with_suffix(".json").write_text(json.dumps(game.description))
    infos = textworld.EnvInfos(**dict.fromkeys(INFOS, True))
    clock = time.process_time
    gc.collect()
    begun = clock()
    name = textworld.gym.register_game(str(path), infos, max_episode_steps=LIMIT + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jericho's, about games it does not support
        env = textworld.gym.make(name)
        env.reset()
    stepping = 0.0
    for commands in episodes:
        env.reset()
        started = clock()
        for command in commands:
            env.step(command)
        stepping += clock() - started
    total = clock() - begun
    env.close()
    steps = sum(map(len, episodes))
    return steps / total, steps / stepping


def _kilobytes_per_world(task: str, quick: bool) -> float:
    """What a world takes beside the game and its memo: 20 turns in, on one of five ways."""
    count = WORLDS // 4 if quick else WORLDS
    before_any = [_wander(task, seed) for seed in range(5)]
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    worlds = [_wander(task, seed % 5) for seed in range(count)]
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for env in (*before_any, *worlds):
        env.close()
    return (after - before) / count / 1000


def _wander(task: str, seed: int) -> Any:
    env: Any = gym.make("agentgym/TextWorld-v0", max_turns=LIMIT)
    env.reset(seed=0, options={"task": task})
    rng = random.Random(seed)
    for _ in range(20):
        *_, terminated, truncated, _ = env.step(rng.choice(env.admissible()))
        if terminated or truncated:
            break
    return env
