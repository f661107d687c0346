"""What a dense signal adds to the outcome on ALFWorld, and what a bonus for tidy turns takes away.

    python examples/rewards/progress_alfworld.py            # five seeds, two to three minutes
    python examples/rewards/progress_alfworld.py --quick    # two seeds, half the iterations
    python examples/rewards/progress_alfworld.py --cloning 1  # a clone that hardly ever wins

Two kinds of tasks (put an object somewhere; clean it first) in small generated rooms. A log-linear
policy over the admissible commands is cloned from noisy demonstrations of the oracle, improved by
policy gradient on groups of episodes of one game, once with each of `REWARDS`, and evaluated in
rooms that occur nowhere else (split `generated_unseen`).

`progress` says whether a command brought the goal nearer. It comes from the oracle, which sees into
closed drawers: a **privileged** signal, the best case for dense rewards, and nothing that a user of
a world without an oracle has. The bonus is for valid actions, as all admissible ones are.

Features are made by hand and hashed: no measure of what a language model would do.
"""

from __future__ import annotations

import argparse
import functools
import re
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt

import agentgym  # noqa: F401 - registers the environment
from agentgym.rewards import bind, parse
from agentgym.types import Completion, EpisodeKey, Outcome, Trajectory, Turn

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Steps: TypeAlias = list[tuple[Ints, int]]  # features of all that could be said, and which was

ENV = "agentgym/ALFWorld-v0"
GROUPED = "group(zscore(pool='totals')).broadcast()"
REWARDS = {  # each is an advantage: normalised within groups, and a turn has its own
    "outcome alone": f"outcome.{GROUPED}",
    "outcome + progress": f"outcome.{GROUPED} + 0.5 * progress.group(zscore())",
    "outcome + summed bonus": f"(outcome + 0.2 * valid.sum()).{GROUPED}",
    "the same, gated": f"(outcome + 0.2 * valid.sum().when(passed)).{GROUPED}",
}
NOTES = """\
`progress` is a privileged oracle's: a best case. No paper reports this experiment; a small language
model in place of the features put the rewards in the same order (three seeds, preliminary)."""
DIMENSION = 1 << 14


class Plan(NamedTuple):
    """How much of everything."""

    demonstrations: int = 300
    cloning: int = 8  # updates, each of all demonstrations
    iterations: int = 24
    games: int = 16  # an iteration: so many groups
    samples: int = 8  # a group
    evaluated: int = 200  # games


@functools.lru_cache(maxsize=1 << 18)
def place(*feature: object) -> int:
    """Where a feature is hashed to; the same in every process."""
    return zlib.crc32(repr(feature).encode()) % DIMENSION


@dataclass
class Memory:
    """What a reader of the episode would remember: nothing that was not told."""

    goal: str
    here: str = ""
    last: str = ""
    told: str = ""
    held: str = ""
    seen: str = ""  # where an object of the goal was seen last
    cleaned: bool = False
    done: Counter[str] = field(default_factory=Counter)

    def update(self, command: str, observation: str) -> None:
        """Remember a turn."""
        self.done[command] += 1
        self.last, _, rest = command.partition(" ")
        if self.last == "go" and "arrive" in observation:
            self.here = rest.removeprefix("to ")
        elif self.last == "take":
            self.held, self.cleaned = rest.split()[0], False
        elif self.last == "move":
            self.held = ""
        elif self.last == "clean":
            self.cleaned = True
        listed = re.findall(r"an? (\w+) \d+", observation.partition("you see ")[2])
        wanted = any(name in self.goal.split() for name in listed)
        self.seen = self.here if wanted and self.here else self.seen
        self.told = "closed" if "is closed" in observation else "wanted" if wanted else ""

    def features(self, commands: list[str]) -> Ints:
        """int64[commands, 6]."""
        words = self.goal.split()
        hands = (self.held in words, self.cleaned) if self.held else None
        clean, target, rows = "clean" in words, words[-1], []
        for command in commands:
            verb, _, rest = command.partition(" ")
            names = re.sub(r" \d+|\b(to|from|with) ", "", rest).split()
            matches = tuple(name in words for name in names)
            last = names[-1] if names else ""
            rows.append(
                (
                    place(1, verb, matches, hands, clean),
                    place(2, verb, min(self.done[command], 2), self.last),
                    place(3, verb, self.told, self.here != "" and self.here in rest, hands),
                    place(4, verb, last, hands, clean),
                    place(5, verb, self.seen != "", bool(self.seen) and self.seen in rest, hands),
                    place(6, verb, last, target),
                )
            )
        return np.array(rows)


def chances(weights: Floats, rows: Ints) -> Floats:
    """float64[commands]: how likely the policy says each."""
    scores = weights[rows].sum(axis=1)
    raised = np.exp(scores - scores.max())
    return np.asarray(raised / raised.sum())


class Adam:
    """Ascends a gradient."""

    def __init__(self, rate: float) -> None:
        self.rate, self.count = rate, 0
        self.first, self.second = np.zeros(DIMENSION), np.zeros(DIMENSION)

    def move(self, weights: Floats, steps: Steps, advantages: Floats) -> None:
        """One step up the mean of advantage times log-probability; in place."""
        gradient = np.zeros(DIMENSION)
        for (rows, chosen), advantage in zip(steps, advantages, strict=True):
            if advantage:
                coefficients = -advantage * chances(weights, rows)
                coefficients[chosen] += advantage
                np.add.at(gradient, rows, coefficients[:, None] / len(steps))
        self.count += 1
        self.first += 0.1 * (gradient - self.first)
        self.second += 0.01 * (gradient**2 - self.second)
        scale = np.sqrt(self.second / (1 - 0.99**self.count)) + 1e-8
        weights += self.rate * self.first / (1 - 0.9**self.count) / scale


def make(split: str) -> gym.Env[Any, Any]:
    """The environment, with 20 turns."""
    return gym.make(ENV, task_types="pick,clean", size="small", split=split, max_turns=20)


def play(
    env: gym.Env[Any, Any], game: int, sample: int, rng: np.random.Generator, weights: Any = None
) -> tuple[Trajectory, Steps]:
    """One episode by the policy; without weights by the oracle, 40 % of it by chance."""
    hints = ["admissible", "oracle"] if weights is None else ["admissible"]
    observation, info = env.reset(seed=game, options={"hints": hints})
    task = info["task"]
    trajectory = Trajectory(EpisodeKey(ENV, task.id, game, sample), task, facts=info["facts"])
    memory, steps, over, reward = Memory(task.data["goal"]), [], False, 0.0
    while not over:
        commands = info["admissible"]
        rows = memory.features(commands)
        if weights is not None:
            chosen = int(np.searchsorted(chances(weights, rows).cumsum()[:-1], rng.random()))
        elif rng.random() < 0.4:
            chosen = int(rng.integers(len(commands)))
        else:
            chosen = commands.index(info["oracle"])
        steps.append((rows, chosen))
        said, seen = commands[chosen], observation
        observation, paid, ended, cut, info = env.step(said)
        reward, over = float(paid), ended or cut
        trajectory.turns.append(Turn(seen, Completion(said), said, None, reward, info["facts"]))
        memory.update(said, observation)
    trajectory.outcome = Outcome(reward, reward == 1.0)
    return trajectory, steps


def clone(plan: Plan, seed: int) -> Floats:
    """float64[D]: weights of a policy that imitates noisy demonstrations."""
    rng, env, adam = np.random.default_rng(seed), make("generated"), Adam(0.05)
    games = range(1_000_000 * (seed + 1), 1_000_000 * (seed + 1) + plan.demonstrations)
    steps = [step for game in games for step in play(env, game, 0, rng)[1]]
    weights = np.zeros(DIMENSION)
    for _ in range(plan.cloning):
        adam.move(weights, steps, np.ones(len(steps)))
    return weights


def train(reward: str, cloned: Floats, plan: Plan, seed: int) -> tuple[Floats, Floats]:
    """Improve the policy: its weights, and float64[iterations] of success."""
    rng, env, adam = np.random.default_rng(seed), make("generated"), Adam(0.03)
    bound, weights, curve = bind(parse(reward), env.unwrapped), cloned.copy(), []
    for iteration in range(plan.iterations):
        first = 10_000 * (seed + 1) + plan.games * iteration
        groups = np.repeat(np.arange(first, first + plan.games), plan.samples)
        played = [play(env, int(game), n, rng, weights) for n, game in enumerate(groups)]
        episodes = [trajectory for trajectory, _ in played]
        curve.append(np.mean([each.reward for each in episodes]))
        advantages = np.concatenate([each.per_turn for each in bound.score(episodes)])
        adam.move(weights, [step for _, steps in played for step in steps], advantages)
    return weights, np.array(curve)


def evaluate(weights: Floats, plan: Plan, seed: int) -> Floats:
    """float64[2]: success and turns in rooms that occur nowhere else, sampled."""
    rng, env = np.random.default_rng(seed), make("generated_unseen")
    episodes = [play(env, game, 0, rng, weights)[0] for game in range(plan.evaluated)]
    return np.mean([(each.reward, len(each.turns)) for each in episodes], axis=0)


def compare(plan: Plan, seeds: int) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Success and turns (float64[seeds, 2]), and curves (float64[seeds, iterations]) by reward."""
    clones = [clone(plan, seed) for seed in range(seeds)]
    ends = {"the clone": np.array([evaluate(each, plan, i) for i, each in enumerate(clones)])}
    curves = {}
    for name, reward in REWARDS.items():
        runs = [train(reward, each, plan, seed) for seed, each in enumerate(clones)]
        ends[name] = np.array([evaluate(each, plan, seed) for seed, (each, _) in enumerate(runs)])
        curves[name] = np.array([curve for _, curve in runs])
    return ends, curves


def plot(curves: dict[str, Floats], path: Path) -> str:
    """Success in training, mean over seeds, if matplotlib is here."""
    try:
        from matplotlib.figure import Figure  # not a dependency of the library
    except ImportError:
        return "no plot: matplotlib is not installed"
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    for name, each in curves.items():
        axes.plot(each.mean(axis=0), label=name)
    axes.set(xlabel="iteration", ylabel="success in training")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    return f"plot: {path}"


def main() -> None:
    """Clone, train with every reward, evaluate, and print what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, help="of each reward (5; with --quick 2)")
    parser.add_argument("--quick", action="store_true", help="half the iterations")
    parser.add_argument("--cloning", type=int, default=Plan().cloning, help="updates (8)")
    parser.add_argument("--plot", type=Path, default=Path("progress_alfworld.png"))
    args, begun = parser.parse_args(), time.perf_counter()
    plan = Plan(cloning=args.cloning)
    plan = plan._replace(iterations=12, evaluated=100) if args.quick else plan
    ends, curves = compare(plan, args.seeds or (2 if args.quick else 5))
    print(f"{'held-out rooms':24s}{'success, mean ± std':21s}{'turns':13s}success of each seed")
    for name, each in ends.items():
        (success, turns), (spread, also) = each.mean(axis=0), each.std(axis=0)
        listed = " ".join(f"{value:.2f}" for value in each[:, 0])
        print(
            f"{name:24s}{success:.2f} ± {spread:.2f}          {turns:4.1f} ± {also:.1f}   {listed}"
        )
    print(f"\n{NOTES}\n{plot(curves, args.plot)}\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
