"""Rewards for pointing: which of them teaches a policy to hit the elements of a page?

    python examples/rewards/gui_g2.py               # five seeds, one or two minutes
    python examples/rewards/gui_g2.py --quick       # two seeds and fewer rewards, seconds

The page is 1000 by 1000 pixels, with 48 elements of 20 to 160. For each the policy is a Gaussian
over centre and log size of the box it says. It starts off by 45 pixels (standard deviation, each
way; 150 in the second table), with boxes of the wrong size. GRPO, groups of eight. Rewards are
expressions of `agentgym.rewards`, computed on recorded turns, and advantages are the library's: to
try a reward of your own, add a line to `REWARDS`.

Nothing here sees or reads: it tells how a reward guides, not what a model can learn to see. The
elements stand alone; what pays for a near miss is never misled by a neighbour.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agentgym.rewards import PRESETS, parse
from agentgym.rewards.advantages import grpo
from agentgym.rewards.batch import Batch, Floats
from agentgym.rewards.grounding import centres, iou
from agentgym.types import Completion, EpisodeKey, Task, Trajectory, Turn

SIDE_PX = 1000
ELEMENTS = 48
SIZES_PX = (20, 160)
SMALL_PX = 40
"""An element is small whose smaller side is at most that."""
GROUP = 8
SAID_SD = np.array([15.0, 15.0, 0.25, 0.25])
"""How widely the policy tries: pixels, pixels, log size, log size."""
RATE = 0.3
OFF_PX = {"near": 45.0, "far": 150.0}
"""How far off the policy starts: standard deviation along each axis."""
EARLY = 20
"""Iterations in which dead groups are counted."""

REWARDS: dict[str, tuple[str, float | None]] = {
    "point in box": ("point_in_box(of='box')", 87.4),
    "IoU": ("box_iou", 85.8),
    "point in box + IoU": ("point_in_box(of='box') + box_iou", 86.5),
    "Gaussian, inside only": ("gaussian_point(of='box') * point_in_box(of='box')", 88.4),
    "Gaussian point": ("gaussian_point(of='box')", 92.1),
    "coverage": ("gaussian_coverage", 90.2),
    "G2": (PRESETS["gui-g2"], 93.3),
    "G2, alpha 0.25": (
        "gaussian_point(alpha=0.25, of='box') + gaussian_coverage(alpha=0.25)",
        None,
    ),
    "G2, alpha 1": ("gaussian_point(alpha=1.0, of='box') + gaussian_coverage(alpha=1.0)", None),
    "negative distance": ("neg_distance(of='box')", None),
}
"""By the name in the table: the reward, and the paper's accuracy with it, in per cent.

GUI-G2 (arXiv 2507.15846), ScreenSpot-v2: a 7B model, so that only the order can be compared. Its
alpha is 0.5; for the last three it tells no figure that could be compared.
"""
QUICK = ("point in box", "Gaussian, inside only", "G2", "negative distance")
FAR = (
    "point in box",
    "IoU",
    "Gaussian point",
    "coverage",
    "G2",
    "G2, alpha 1",
    "negative distance",
)


class Run(NamedTuple):
    """What one policy came to."""

    hits: Floats
    """float64[iterations + 1]: share of elements that the centre of the policy's mean hits."""
    small: float
    """The same of small elements, at the end."""
    distance_px: float
    """Mean distance to the element's centre, at the end."""
    iou: float
    """Mean overlap of the boxes, at the end."""
    dead: float
    """Share of groups without an advantage beyond 0.1, early on."""


def page(rng: np.random.Generator) -> Floats:
    """float64[ELEMENTS, 4]: where the elements are."""
    size = np.exp(rng.uniform(*np.log(SIZES_PX), size=(ELEMENTS, 2))).round()
    corner = rng.uniform(0, SIDE_PX - size).round()
    return np.hstack([corner, corner + size])


def boxes_of(said: Floats) -> Floats:
    """float64[..., 4]: x1, y1, x2, y2 of centre and log size."""
    centre, half = said[..., :2], np.exp(said[..., 2:]) / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def episodes(boxes: Floats, targets: Floats) -> list[Trajectory]:
    """One of a single turn for each box that was said (float64[ELEMENTS, GROUP, 4])."""
    found = []
    for i, (target, said) in enumerate(zip(targets.tolist(), boxes.tolist(), strict=True)):
        data = {"target_box": target, "image_size": [SIDE_PX, SIDE_PX]}
        task = Task(f"element {i}", data=data)
        for sample, box in enumerate(said):
            turn = Turn("", Completion(""), "", None, 0.0, {"box": box})
            found.append(Trajectory(EpisodeKey("page", task.id, 0, sample), task, [turn]))
    return found


def train(reward: str, seed: int, iterations: int, off_px: float) -> Run:
    """Learn to point by a reward; page and start depend on the seed alone."""
    rng = np.random.default_rng(seed)
    expression, targets = parse(reward), page(rng)
    sizes = targets[:, 2:] - targets[:, :2]
    truth = np.hstack([centres(targets), np.log(sizes)])
    mean = truth + rng.normal(size=truth.shape) * [off_px, off_px, 0.5, 0.5]
    groups = np.repeat(np.arange(ELEMENTS), GROUP).tolist()
    hits, dead = [_hit(mean, targets).mean()], []
    for _ in range(iterations):
        noise = rng.normal(size=(ELEMENTS, GROUP, 4))
        batch = Batch(episodes(boxes_of(mean[:, None] + noise * SAID_SD), targets))
        paid = expression.on(batch).filled  # of one turn each, so that a turn's is the episode's
        advantages = grpo(paid, groups).reshape(ELEMENTS, GROUP, 1)
        # the gradient of log p by the mean is noise / sd, made independent of the unit
        mean = mean + RATE * SAID_SD * (advantages * noise).mean(axis=1)
        hits.append(_hit(mean, targets).mean())
        dead.append((np.abs(advantages).max(axis=(1, 2)) < 0.1).mean())
    return Run(
        np.array(hits),
        float(_hit(mean, targets)[sizes.min(axis=1) <= SMALL_PX].mean()),
        float(np.linalg.norm(mean[:, :2] - truth[:, :2], axis=1).mean()),
        float(iou(boxes_of(mean), targets).mean()),
        float(np.mean(dead[:EARLY])),
    )


def _hit(mean: Floats, targets: Floats) -> Floats:
    inside = (targets[:, :2] <= mean[:, :2]) & (mean[:, :2] <= targets[:, 2:])
    return inside.all(axis=1).astype(np.float64)


def show(start: str, runs: dict[str, list[Run]]) -> None:
    """Print a table: means over seeds, and the standard deviation of the hit rate."""
    first = np.mean([run.hits[0] for each in runs.values() for run in each])
    print(f"\n{start}: starts {OFF_PX[start]:.0f} px off along each axis, hits {first:.3f}")
    print(
        f"{'reward':<22} {'hits at 25':>10} {'at the end':>13} {'small':>6} {'px off':>7} "
        f"{'IoU':>5} {'dead early':>10} {'paper, %':>9}"
    )
    for name, each in runs.items():
        ends = [run.hits[-1] for run in each]
        quarter = np.mean([run.hits[min(25, len(run.hits) - 1)] for run in each])
        _, small, distance, overlap, dead = (np.mean([run[i] for run in each]) for i in range(5))
        theirs = REWARDS[name][1] if start == "near" else None
        print(
            f"{name:<22} {quarter:>10.3f} {np.mean(ends):>7.3f}±{np.std(ends):.3f} {small:>6.3f} "
            f"{distance:>7.1f} {overlap:>5.2f} {dead:>10.0%} {theirs or '':>9}"
        )


def plot(found: dict[str, dict[str, list[Run]]], path: Path) -> None:
    """Save hit rates over iterations, where matplotlib is there."""
    try:
        from matplotlib.figure import Figure  # only for the picture: the table needs none
    except ImportError:
        print("\nno picture: matplotlib is not installed")
        return
    figure = Figure(figsize=(5 * len(found), 4), layout="tight")
    places = figure.subplots(1, len(found), squeeze=False)[0]
    for place, (start, runs) in zip(places, found.items(), strict=True):
        for name, each in runs.items():
            place.plot(np.mean([run.hits for run in each], axis=0), label=name)
        place.set(title=f"starts {start}", xlabel="iteration", ylabel="elements hit", ylim=(0, 1))
        place.legend(fontsize="small")
    figure.savefig(path)
    print(f"\npicture: {path}")


LESSONS = """
What it shows: a reward that is 0 outside the box leaves groups dead and small elements unlearnt,
and a Gaussian that is cut off at the edges is no better than the point; a Gaussian that goes on
outside rescues both, and coverage teaches the size of the box as well.
What it does not: that a Gaussian is needed to hit. Plain negative distance hits as well from near
and better from far, where the Gaussians of small elements vanish; it learns nothing of the size.
IoU is better than the point here, and worse in the paper."""


def experiment(
    seeds: int, iterations: int, names: Sequence[str] = tuple(REWARDS), far: Sequence[str] = FAR
) -> dict[str, dict[str, list[Run]]]:
    """Runs by start, then by reward."""
    return {
        start: {
            name: [
                train(REWARDS[name][0], seed, iterations, OFF_PX[start]) for seed in range(seeds)
            ]
            for name in chosen
        }
        for start, chosen in (("near", names), ("far", far))
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, list[Run]]]:
    """Run it all, print tables, save the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two seeds, four rewards")
    parser.add_argument("--seeds", type=int, help="policies trained by each reward")
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--out", type=Path, default=Path("gui_g2.png"), help="of the picture")
    given = parser.parse_args(arguments)
    seeds = given.seeds or (2 if given.quick else 5)
    names, far = (QUICK, QUICK) if given.quick else (tuple(REWARDS), FAR)
    started = time.perf_counter()
    found = experiment(seeds, given.iterations, names, far)
    for start, runs in found.items():
        show(start, runs)
    print(f"\nseeds 0..{seeds - 1}, {given.iterations} iterations of {ELEMENTS} groups of {GROUP}")
    print(f"{time.perf_counter() - started:.0f} s\n{LESSONS}")
    plot(found, given.out)
    return found


if __name__ == "__main__":
    main()
