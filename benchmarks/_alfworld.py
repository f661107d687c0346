"""ALFWorld here and in its own package, side by side on the same games."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from _measure import Figure

import agentgym  # noqa: F401 - registers the environments
from agentgym.envs.alfworld_engine import Board
from agentgym.envs.alfworld_oracle import Oracle
from agentgym.envs.alfworld_reference import Reference, rules
from agentgym.tasks.alfworld import find_game
from agentgym.tasks.alfworld_game import TASK_TYPES, write_problem

SPLIT = "generated"
clock = time.process_time


def figures(quick: bool) -> dict[str, Figure]:
    """Everything measured about ALFWorld."""
    found: dict[str, Figure] = {}
    games = 6 if quick else 18
    ids = [f"{kind}:seed={900_000 + i}" for i in range(games // 6) for kind in TASK_TYPES]
    first, later, step = _native(ids, 4_000 if quick else 20_000)
    bare = _native(ids, 4_000 if quick else 20_000, oracle_facts=False)[2]
    found["alfworld step, admissible list and oracle's facts"] = Figure(step * 1e6, "us")
    found["alfworld step, admissible list"] = Figure(bare * 1e6, "us")
    found["alfworld first start of a game"] = Figure(first * 1e3, "ms")
    found["alfworld later start"] = Figure(later * 1e6, "us")
    found.update(_many(rounds=10 if quick else 40))
    if importlib.util.find_spec("alfworld") is None or sys.version_info >= (3, 13):
        print("alfworld's own engine is not here: no ratios", file=sys.stderr)
        return found
    start, slow = _reference(ids, steps=10 if quick else 40)
    found["AlfredTWEnv step"] = Figure(slow * 1e3, "ms")
    found["AlfredTWEnv start"] = Figure(start * 1e3, "ms")
    for name, value, bound in (
        ("step", slow / step, 2_000),
        ("first start", start / first, 500),
        ("later start", start / later, 10_000),
    ):
        label = f"alfworld {name} over AlfredTWEnv"
        found[label] = Figure(value, "x", bound, lower_is_better=False)
    found["alfworld oracle over Fast Downward"] = Figure(_planners(2 if quick else 6), "x")
    return found


def _native(ids: list[str], steps: int, **options: Any) -> tuple[float, float, float]:
    """CPU seconds of a first start, a later start and a step, through `gym.make`."""
    env = gym.make("agentgym/ALFWorld-v0", split=SPLIT, **options)
    rng = random.Random(0)
    hints = ["admissible"]
    env.reset(seed=0, options={"task": "pick:seed=1", "hints": hints})  # imports, tables of rooms
    env.step("look")
    firsts, laters, spent, taken = [], [], 0.0, 0
    for task in ids:
        begun = clock()
        env.reset(seed=0, options={"task": task, "hints": hints})
        firsts.append(clock() - begun)
    episode = 0
    while taken < steps:
        wanted = {"task": ids[episode % len(ids)], "hints": hints}
        begun = clock()
        _, info = env.reset(seed=episode, options=wanted)
        laters.append(clock() - begun)
        episode += 1
        commands = info["admissible"]
        begun = clock()
        for _ in range(50):
            command = commands[int(rng.random() * len(commands))]
            _, _, terminated, truncated, info = env.step(command)
            taken += 1
            if terminated or truncated:
                break
            commands = info["admissible"]
        spent += clock() - begun
    return statistics.median(firsts), statistics.median(laters), spent / taken


def _reference(ids: list[str], steps: int) -> tuple[float, float]:
    """CPU seconds of a start and of a step of AlfredTWEnv on these games."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for task in ids:
            _write_trial(Path(folder) / "train" / task.replace(":", "-") / "trial", task)
        from alfworld.agents.environment.alfred_tw_env import AlfredTWEnv

        env: Any = AlfredTWEnv(_config(f"{folder}/train"), train_eval="train").init_env(1)
        rng = random.Random(0)
        starts, spent, taken = [], 0.0, 0
        env.reset()  # imports
        for _ in ids:
            begun = clock()
            _, infos = env.reset()
            starts.append(clock() - begun)
            begun = clock()
            for _ in range(steps):
                _, _, done, infos = env.step([rng.choice(infos["admissible_commands"][0])])
                taken += 1
                if done[0]:
                    break
            spent += clock() - begun
        env.close()
    return statistics.median(starts), spent / taken


def _write_trial(folder: Path, task: str) -> None:
    """A generated game as ALFWorld's own loader takes it."""
    folder.mkdir(parents=True)
    game = find_game(task, SPLIT)
    data = {"task_type": TASK_TYPES[game.task_type]}
    (folder / "traj_data.json").write_text(json.dumps(data))
    texts = rules("2.1.2")
    texts = {**texts, "grammar": texts["grammar"].replace("UNKNOWN GOAL", game.task)}
    document = {**texts, "pddl_problem": write_problem(game), "solvable": True}
    (folder / "game.tw-pddl").write_text(json.dumps(document))


def _config(folder: str) -> dict[str, Any]:
    return {
        "general": {"training_method": "dqn"},
        "rl": {"training": {"max_nb_steps_per_episode": 50}},
        "dataset": {"data_path": folder, "num_train_games": -1},
        "env": {
            "task_types": [1, 2, 3, 4, 5, 6],
            "goal_desc_human_anns_prob": 0.0,
            "domain_randomization": False,
            "expert_type": "handcoded",
        },
    }


def _planners(games: int) -> float:
    """How much longer Fast Downward takes for the plan of a small room's start."""
    slow = fast = 0.0
    kinds = list(TASK_TYPES)
    for i in range(games):
        task = f"{kinds[i % 6]}:size=small:seed={900_000 + i}"
        game = find_game(task, SPLIT)
        engine = Reference(game, "2.1.2")
        engine.start(game.task)
        begun = clock()
        engine.plan()
        slow += clock() - begun
        board = Board(game)
        begun = clock()
        Oracle(board).plan(board.start())
        fast += clock() - begun
    return slow / fast


def _many(rounds: int) -> dict[str, Figure]:
    """A thousand worlds in one process: 125 games, 8 worlds each, as groups are trained on."""
    count, games = 1_000, 125
    seeds = range(910_000, 910_000 + games)
    kinds = list(TASK_TYPES)
    tasks = [f"{kinds[seed % 6]}:seed={seed}" for seed in seeds for _ in range(count // games)]
    small = gym.make_vec("agentgym/ALFWorld-v0", num_envs=2)
    small.reset(seed=0, options={"hints": ["admissible"]})
    before = _resident()
    found = {}
    for name, facts, hints, bound in (
        ("", False, [], 100_000),
        (", admissible lists", False, ["admissible"], None),
        (", admissible lists and oracle's facts", True, ["admissible"], None),
    ):
        envs: Any = gym.make_vec(
            "agentgym/ALFWorld-v0", num_envs=count, oracle_facts=facts, max_turns=1_000_000
        )
        envs.reset(seed=0, options={"task": tasks, "hints": hints})
        label = f"alfworld steps of 1,000 worlds{name}"
        rate = _stepped(envs, rounds)
        found[label] = Figure(rate, "steps/s per core", bound, lower_is_better=False)
        if bound is not None:
            used = (_resident() - before) / count / 1e3
            found["alfworld memory of a world"] = Figure(used, "kB", 50)
        envs.close()
    return found


def _stepped(envs: Any, rounds: int) -> float:
    """Steps a CPU second, in the median round of random play; choosing is not counted."""
    rng = random.Random(0)
    over = np.zeros(envs.num_envs, dtype=bool)
    rates = []
    for _ in range(rounds):
        actions = [
            None if over[i] else rng.choice(env.admissible()) for i, env in enumerate(envs.envs)
        ]
        begun = clock()
        _, _, terminated, truncated, _ = envs.step(actions)
        rates.append((envs.num_envs - int(over.sum())) / (clock() - begun))
        over = terminated | truncated
    return statistics.median(rates)


def _resident() -> int:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
