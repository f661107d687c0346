"""SPA on two toys: where credit learnt from outcomes helps, and where it does not.

    python examples/rewards/spa.py            # six seeds, under a minute
    python examples/rewards/spa.py --quick    # two seeds, fewer iterations

**Errands**: 24 rooms one after another, an errand in each, and only the end says how it went: as
the share of errands done (graded), or whether most were done (binary). **Chain**: seven steps
forward win, every other action costs time or takes a step back; nothing but the win is paid.

The policies are tables of softmax logits: this tests how a reward teaches, not language. The
estimator (the library's; the paper's is a language model with a head) is fitted anew before every
other update, and knows only actions and outcomes. Change `ERRANDS` or `CHAIN` to try other rewards.

Source: SPA-RL (arXiv 2505.20732), on WebShop, ALFWorld and VirtualHome with a language model.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from agentgym.rewards import bind, parse
from agentgym.rewards.attribution import ProgressEstimator
from agentgym.types import Completion, EpisodeKey, Outcome, Task, Trajectory, Turn

Floats: TypeAlias = npt.NDArray[np.float64]

ERRANDS = {
    "terminal broadcast": "outcome.broadcast()",
    "SPA, to go": "spa('{file}').to_go()",
    "SPA calibrated, to go": "spa('{file}', calibrate='shift').to_go()",
    "SPA, each turn its own": "spa('{file}')",
    "oracle, each turn its own": "fact('done').sum()",
}
CHAIN = {
    "terminal broadcast": "outcome.broadcast()",
    "SPA": "spa('{file}').to_go()",
    "SPA calibrated": "spa('{file}', calibrate='shift').to_go()",
    "oracle": "fact('done').sum().to_go()",
    "SPA + 0.5 per valid action": "(spa('{file}') + 0.5 * valid.sum()).to_go()",
    "SPA - 0.1 per invalid action": "(spa('{file}') + 0.1 * (valid - 1).sum()).to_go()",
}
NOTES = """\
The paper: success 2.5 points above earlier methods, on average of its three worlds (abstract).
Helps: a graded outcome, where each turn's own credit needs a third of the iterations; a binary one
of many parts, where it is early and may then stay wrong in a room (oracle: never).
Does not: a chain that is won or not, where the outcome alone is as soon.
Harms: 0.5 for every valid action, the paper's grounding term, summed to go as here: the policy
waits for ever. A penalty for invalid actions does not; small batches may make it slower."""


@dataclass(frozen=True)
class Errands:
    """Room t at turn t; one of four actions does its errand."""

    binary: bool = False

    def start(self) -> Floats:
        """float64[states, actions]: logits of a policy that does a quarter, or 65 %, of them."""
        logits = np.zeros((24, 4))
        logits[:, 0] = np.log(0.65 / 0.35 * 3.0) if self.binary else 0.0
        return logits

    def play(self, logits: Floats, batch: int, rng: np.random.Generator) -> list[Trajectory]:
        """A batch of episodes."""
        cumulated, episodes = softmax(logits).cumsum(axis=1), []
        drawn = (rng.random((batch, 24, 1)) > cumulated[None, :, :-1]).sum(axis=2)
        for number, actions in enumerate(drawn):
            share = float((actions == 0).mean())
            score = float(share >= 0.8) if self.binary else share
            turns = [
                made(f"do {a} in {t}", float(a == 0), t, int(a)) for t, a in enumerate(actions)
            ]
            episodes.append(episode(number, turns, score))
        return episodes

    def success(self, logits: Floats) -> float:
        """The expected share of errands done."""
        return float(softmax(logits)[:, 0].mean())


@dataclass(frozen=True)
class Chain:
    """Forward, back, wait, or something impossible: `length` net steps forward win."""

    length: int = 7
    turns: int = 20

    def start(self) -> Floats:
        """float64[states, actions]: logits of a policy that knows nothing."""
        return np.zeros((self.length, 4))

    def play(self, logits: Floats, batch: int, rng: np.random.Generator) -> list[Trajectory]:
        """A batch of episodes."""
        cumulated, episodes = softmax(logits).cumsum(axis=1), []
        for number, draws in enumerate(rng.random((batch, self.turns))):
            place, turns = 0, []
            for draw in draws:
                action = int(np.searchsorted(cumulated[place, :-1], draw))
                after = max(place + (1, -1, 0, 0)[action], 0)
                text = f"{('forward', 'back', 'wait', 'impossible')[action]} from {place}"
                turns.append(made(text, float(after - place), place, action, action == 3))
                place = after
                if place == self.length:
                    break
            episodes.append(episode(number, turns, float(place == self.length)))
        return episodes

    def success(self, logits: Floats) -> float:
        """The probability of winning, exactly."""
        chances, places = softmax(logits), np.arange(self.length)
        moves = np.zeros((self.length + 1, self.length + 1))
        moves[places, places] = chances[:, 2:].sum(axis=1)
        moves[places, places + 1] = chances[:, 0]
        moves[places, np.maximum(places - 1, 0)] += chances[:, 1]
        moves[-1, -1] = 1.0
        return float(np.linalg.matrix_power(moves, self.turns)[0, -1])


def softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def made(action: str, done: float, state: int, choice: int, bad: bool = False) -> Turn:
    """A turn; what the table of logits needs of it rides along in `usage`."""
    said = Completion(action, usage={"state": state, "choice": choice})
    return Turn("", said, action, "impossible" if bad else None, 0.0, {"done": done})


def episode(number: int, turns: list[Turn], score: float) -> Trajectory:
    """An episode that ended with this score."""
    outcome = Outcome(score, score == 1.0)
    return Trajectory(EpisodeKey("toy", "toy", 0, number), Task("toy"), turns, outcome=outcome)


def train(
    world: Errands | Chain, reward: str, seed: int, iterations: int, batch: int, rate: float
) -> Floats:
    """float64[iterations + 1]: expected success before each update, and after the last."""
    rng, logits, recent = np.random.default_rng(seed), world.start(), list[Trajectory]()
    curve = [world.success(logits)]
    with tempfile.TemporaryDirectory() as folder:
        for iteration in range(iterations):
            episodes = world.play(logits, batch, rng)
            recent = [*recent, *episodes][-128:]
            file = Path(folder) / f"{iteration // 2}.json"  # anew before every other update
            learnable = any(each.outcome.score for each in recent)
            if "{file}" in reward and learnable and not file.exists():
                ProgressEstimator.fit(recent, features=["action"], dimension=512).save(file)
            if "{file}" not in reward or file.exists():  # without a success there is no credit
                scored = bind(parse(reward.replace("{file}", str(file))), {"done"}).score(episodes)
                logits += rate * update(episodes, [each.per_turn for each in scored], logits)
            curve.append(world.success(logits))
    return np.array(curve)


def update(episodes: list[Trajectory], paid: list[Floats], logits: Floats) -> Floats:
    """float64[states, actions]: the policy gradient, with the batch's mean at each turn taken off.

    Advantages are divided by their standard deviation, so that one learning rate does for all.
    """
    values = np.full((len(paid), max(each.size for each in paid)), np.nan)
    for row, each in zip(values, paid, strict=True):
        row[: each.size] = each
    values -= np.nanmean(values, axis=0)
    values /= np.nanstd(values) + 1e-6
    advantages = values[~np.isnan(values)]  # of all turns, end to end
    said = [turn.completion.usage for each in episodes for turn in each.turns]
    states = np.array([usage["state"] for usage in said])
    step = np.zeros_like(logits)
    np.add.at(step, (states, [usage["choice"] for usage in said]), advantages)
    np.subtract.at(step, states, advantages[:, None] * softmax(logits)[states])
    return step / len(episodes)


class Regime(NamedTuple):
    """A world, what is compared in it, and how."""

    world: Errands | Chain
    rewards: dict[str, str]
    iterations: int
    batch: int
    rate: float
    level: float  # of success: how soon it is reached is told


REGIMES = {
    "errands, graded": Regime(Errands(), ERRANDS, 60, 16, 0.6, 0.7),
    "errands, binary": Regime(Errands(binary=True), ERRANDS, 80, 16, 0.6, 0.9),
    "chain of 7": Regime(Chain(), CHAIN, 30, 64, 0.3, 0.5),
    "chain of 10, small batches": Regime(Chain(10, 40), CHAIN, 60, 16, 0.3, 0.5),
}


def compare(regime: Regime, seeds: int, quick: bool = False) -> dict[str, Floats]:
    """float64[seeds, iterations + 1] for each reward: expected success."""
    world, rewards, iterations, batch, rate, _ = regime
    iterations //= 1 + quick
    return {
        name: np.array([train(world, text, s, iterations, batch, rate) for s in range(seeds)])
        for name, text in rewards.items()
    }


def reached(curves: Floats, level: float) -> list[float]:
    """The iteration at which each curve first reaches the level; infinite where it never does."""
    return [float(np.argmax(each >= level)) if each.max() >= level else np.inf for each in curves]


def table(name: str, curves: dict[str, Floats]) -> str:
    """What was measured, as text."""
    level = REGIMES[name].level
    lines = [f"{name:34s}iterations to {level:.0%}   success at the end, mean ± std (worst)"]
    for credit, each in curves.items():
        soon, end = reached(each, level), each[:, -1]
        span = f"{min(soon):.0f} to {max(soon):.0f}".replace("inf to inf", "never")
        lines.append(
            f"  {credit:32s}{span:20s}{end.mean():.3f} ± {end.std():.3f} ({end.min():.3f})"
        )
    return "\n".join(lines)


def plot(found: dict[str, dict[str, Floats]], path: Path) -> str:
    """Success by iteration, mean over seeds, if matplotlib is here."""
    try:
        from matplotlib.figure import Figure  # not a dependency of the library
    except ImportError:
        return "no plot: matplotlib is not installed"
    figure = Figure(figsize=(5 * len(found), 4), layout="constrained")
    places = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (title, curves) in zip(places, found.items(), strict=True):
        for name, each in curves.items():
            axes.plot(each.mean(axis=0), label=name)
        axes.set(title=title, xlabel="iteration", ylabel="success", ylim=(0, 1.02))
        axes.legend(fontsize=7)
    figure.savefig(path, dpi=120)
    return f"plot: {path}"


def main() -> None:
    """Run every regime, and print what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, help="of each curve (6; with --quick 2)")
    parser.add_argument("--quick", action="store_true", help="half the iterations")
    parser.add_argument("--plot", type=Path, default=Path("spa.png"))
    args, begun = parser.parse_args(), time.perf_counter()
    found = {}
    for name, regime in REGIMES.items():
        found[name] = compare(regime, args.seeds or (2 if args.quick else 6), args.quick)
        print(table(name, found[name]) + "\n")
    print(f"{NOTES}\n{plot(found, args.plot)}\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
