"""Information gain as a reward: does a search agent learn sooner if each turn is told its worth?

    python examples/rewards/igpo.py               # three seeds, about two minutes
    python examples/rewards/igpo.py --quick       # one seed, two of the five worlds

A question is answered in two hops: one of ten queries finds the bridge, then one of ten the page
that names the answer. In the last of six turns the policy must answer. It chooses queries by a
table of logits, and answers by a head that weighs what was read: there are twenty answers in five
clusters, and the bridge tells the cluster. So the reference answer's likelihood is a real policy's,
which is the library's `Scorer`. It is no language model: this tells how credit flows, and that
partial evidence makes the answer likelier is built in; three of the worlds take that away.

Gains, pools and returns are `agentgym.rewards` on `Trajectory` records: a row of the table is an
expression. To try another, add it to `ROWS`, or a world to `WORLDS`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from agentgym.rewards import bind, parse
from agentgym.rewards.batch import Floats
from agentgym.rewards.groups import dead_group_fraction
from agentgym.rewards.scorer import CachedScorer, Ids
from agentgym.types import Completion, EpisodeKey, Outcome, Task, Trajectory, Turn

KINDS, TURNS, GROUP = 8, 6, 8
"""Kinds of questions, one task of each an iteration; turns; episodes of a task."""
ANSWERS, CLUSTERS = 20, 5
RATE, EARLY = 0.2, 20  # of learning; iterations in which dead groups are counted
NOTHING, BRIDGE, CLUSTER, ANSWER = KINDS, KINDS + 1, KINDS + 2, KINDS + 2 + CLUSTERS
"""Tokens, after those of the questions: one an observation, and one for each answer."""
WORDS = [
    *(f"question of kind {kind}" for kind in range(KINDS)),
    *("nothing found", "the bridge"),
    *(f"the answer is of cluster {cluster}" for cluster in range(CLUSTERS)),
    *(f"the answer is {answer}" for answer in range(ANSWERS)),
]


class World(NamedTuple):
    """Which world is searched."""

    queries: int = 10  # a hop; one is right
    clue: str = "bridge"
    """What in the first hop tells the answer's cluster: the "bridge", "wrong" pages, or "none"."""
    reads: tuple[float, float] = (1.0, 2.0)
    """At the start: log-odds that the head gives a cluster, and an answer, that it has read of."""


GAIN = "info_gain(prefix='').group(zscore())"
OUTCOME = "outcome.group(zscore(pool='totals'))"
ROWS = {
    "GRPO, outcome only": (f"{OUTCOME}.broadcast()", "51.9 / 32.3"),
    "information gain only": (f"{GAIN}.to_go()", "53.5 / 34.6"),
    "IGPO": (f"({GAIN} + {OUTCOME}).to_go()", "60.2 / 48.9"),
    "IGPO, gamma 0.9": (f"({GAIN} + {OUTCOME}).to_go(0.9)", ""),
}
"""By name: the advantages, and F1 of IGPO's paper (arXiv 2510.14967), means of seven sets of
questions, Qwen2.5 of 7B / 3B: the order can be compared, the numbers cannot."""
WORLDS = {
    "two hops": World(),
    "three queries a hop": World(queries=3),
    "a bridge that tells nothing": World(clue="none"),
    "bait: wrong pages tell the cluster": World(clue="wrong"),
    "a policy that cannot read yet": World(reads=(0.0, 0.0)),
}


class Policy(CachedScorer):
    """Tables of logits to search with, and a head to answer with; the library's scorer, too."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.clue = world.clue
        self.search = np.zeros((KINDS, 3, world.queries + 1))
        """By kind of question and what is known (nothing, bridge, answer); the last one answers."""
        self.reads, self.updates = np.array(world.reads), 0

    @property
    def weight_version(self) -> str:
        """One for each update."""
        return str(self.updates)

    def tokenize(self, text: str, *, start: bool = False) -> Ids:
        """The answers are the only texts that are scored."""
        return (ANSWER + int(text),)

    def detokenize(self, ids: Sequence[int]) -> str:
        """Line by line."""
        return "\n".join(WORDS[token] for token in ids)

    def measure(self, context: Ids, target: Ids, about: str) -> Sequence[float]:
        """The head's log-probability of an answer, after what was read."""
        return [float(np.log(self.head(context)[0][target[0] - ANSWER]))]

    def head(self, context: Ids) -> tuple[Floats, Floats]:
        """float64[ANSWERS]: probabilities; float64[2, ANSWERS]: what was read of each."""
        read = np.zeros((2, ANSWERS))
        for token in context:
            if token >= ANSWER:
                read[1, token - ANSWER] = 1.0
            elif token >= CLUSTER:
                read[0, token - CLUSTER :: CLUSTERS] = 1.0
        return softmax(self.reads @ read), read


def softmax(logits: Floats) -> Floats:
    """float64[K]: probabilities."""
    return np.asarray(np.exp(logits - np.logaddexp.reduce(logits)))


Played: TypeAlias = tuple[Trajectory, list[tuple[int, Floats, Floats]]]
"""With each choice: what was known, its log-probability's gradient by the logits, and the head."""


def play(policy: Policy, task: Task, sample: int, rng: np.random.Generator) -> Played:
    """One episode."""
    kind, gold, right = task.data["kind"], int(task.data["answer"]), task.data["right"]
    seen, known, turns, choices = [kind], 0, [], []
    for turn in range(TURNS):
        each = np.eye(policy.search.shape[-1])  # the last is to answer
        chances = softmax(policy.search[kind, known]) if turn < TURNS - 1 else each[-1]
        chosen = int(rng.choice(chances.size, p=chances))
        gradient = each[chosen] - chances
        said = Completion(f"search {chosen}", prompt_ids=np.array(seen, dtype=np.int32))
        turns.append(Turn(WORDS[seen[-1]], said, said.text, None, 0.0, {}))
        if chosen < chances.size - 1:
            choices.append((known, gradient, np.zeros(2)))
            found = known < 2 and chosen == right[known]
            clue = policy.clue == ("bridge" if found else "wrong")
            first = CLUSTER + gold % CLUSTERS if clue else BRIDGE if found else NOTHING
            seen.append(first if known == 0 else ANSWER + gold if found else NOTHING)
            known += found
            continue
        likely, read = policy.head(tuple(seen))
        given = int(rng.choice(ANSWERS, p=likely))
        choices.append((known, gradient, read[:, given] - read @ likely))
        outcome = Outcome(float(given == gold), given == gold)
        break
    return Trajectory(EpisodeKey("search", task.id, 0, sample), task, turns, "", outcome), choices


def train(reward: str, seed: int, world: World, iterations: int, rate: float = RATE) -> Floats:
    """Learn to search by a reward, one plain step of policy gradient an iteration.

    Advantages are divided by their root mean square: none is to learn faster for being larger.
    Returns float64[4, iterations]: accuracy and turns of the episodes it learns from, the share of
    groups whose outcomes are equal, and of those without any advantage.
    """
    rng = np.random.default_rng(seed)
    right = rng.integers(world.queries, size=(KINDS, 2)).tolist()
    policy, records = Policy(world), []
    bound = bind(parse(reward), set(), policy)
    for iteration in range(iterations):
        tasks = []
        for kind, gold in enumerate(rng.integers(ANSWERS, size=KINDS).tolist()):
            data = {"kind": kind, "right": right[kind], "answer": str(gold)}
            tasks.append(Task(f"{iteration}.{kind}", data=data))
        played = [play(policy, task, sample, rng) for task in tasks for sample in range(GROUP)]
        trajectories = [each for each, _ in played]
        advantages = [each.per_turn for each in bound.score(trajectories)]
        size = np.sqrt(np.mean(np.concatenate(advantages) ** 2)) + 1e-6
        search, reads = np.zeros_like(policy.search), np.zeros(2)  # gradients
        for (trajectory, choices), values in zip(played, advantages, strict=True):
            for (known, of_logits, of_reads), advantage in zip(choices, values, strict=True):
                search[trajectory.task.data["kind"], known] += advantage * of_logits
                reads += advantage * of_reads
        policy.search += rate / GROUP / size * search
        policy.reads += 2 * rate / len(played) / size * reads
        policy.updates += 1
        told = [(t.outcome.score, len(t.turns)) for t in trajectories if t.outcome]
        busy = np.reshape([values.any() for values in advantages], (KINDS, GROUP)).any(axis=1)
        records.append((*np.mean(told, axis=0), dead_group_fraction(trajectories), np.mean(~busy)))
    return np.array(records, dtype=np.float64).T


def show(world: str, runs: dict[str, list[Floats]]) -> None:
    """Print a table: means over seeds, each of ten iterations; and how far apart seeds end."""
    iterations = next(iter(runs.values()))[0].shape[1]
    marks = sorted({min(mark, iterations) for mark in (10, 25, 50, 100, iterations)})
    print(f"\n{world}\n{'reward':<22}", *(f"{f'at {mark}':>7}" for mark in marks), end="")
    print(f"{'':<6} {'turns':>6} {'equal outcomes':>15} {'no advantage':>13} {'paper, F1':>12}")
    for name, each in runs.items():
        seeds = np.array(each)
        accuracies = [seeds[:, 0, max(0, mark - 10) : mark].mean(axis=1) for mark in marks]
        dead, idle = seeds[:, 2:, :EARLY].mean(axis=(0, 2))
        print(f"{name:<22}", *(f"{accuracy.mean():>7.3f}" for accuracy in accuracies), end="")
        print(f"±{accuracies[-1].std():.3f} {seeds[:, 1, -10:].mean():>6.2f}", end="")
        print(f" {dead:>15.0%} {idle:>13.0%} {ROWS[name][1] if world == 'two hops' else '':>12}")


def plot(found: dict[str, dict[str, list[Floats]]], path: Path) -> None:
    """Save accuracies over iterations, where matplotlib is there."""
    try:
        from matplotlib.figure import Figure  # only for the picture: the table needs none
    except ImportError:
        print("\nno picture: matplotlib is not installed")
        return
    figure = Figure(figsize=(5 * len(found), 4), layout="tight")
    for i, (world, runs) in enumerate(found.items(), start=1):
        place = figure.add_subplot(1, len(found), i)
        for name, each in runs.items():
            place.plot(np.mean(each, axis=0)[0], label=name)
        place.set(title=world, xlabel="iteration", ylabel="accuracy", ylim=(0, 1))
        place.legend(fontsize="small")
    figure.savefig(path)
    print(f"\npicture: {path}")


LESSONS = """
Where it helps: outcomes of a weak policy are mostly equal within a group and gains are not, so that
IGPO learns sooner, also where the bridge tells nothing, and takes fewer turns. Larger steps do as
much (try --rate 1.2), and both end at the same accuracy.
Where it does not: gain alone finds the pages and never learns to answer. With three queries a hop
the outcome alone is as good. If wrong pages make the answer likelier, IGPO mostly settles for one
of them, and for the bridge if the policy cannot read yet; the outcome alone solves both."""


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, list[Floats]]]:
    """Run it all, print tables, save the picture; the runs by world, then by reward."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, two worlds")
    parser.add_argument("--seeds", type=int, help="policies trained by each reward")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--rate", type=float, default=RATE, help="of learning")
    parser.add_argument("--out", type=Path, default=Path("igpo.png"), help="of the picture")
    given = parser.parse_args(arguments)
    seeds = given.seeds or (1 if given.quick else 3)
    first, *others = WORLDS
    rows = dict.fromkeys(others[2:3] if given.quick else others, ("GRPO, outcome only", "IGPO"))
    started, found = time.perf_counter(), {}
    for world, names in ({first: tuple(ROWS)} | rows).items():
        how = (WORLDS[world], given.iterations, given.rate)
        found[world] = {row: [train(ROWS[row][0], i, *how) for i in range(seeds)] for row in names}
        show(world, found[world])
    print(f"\nseeds 0..{seeds - 1}; {time.perf_counter() - started:.0f} s\n{LESSONS}")
    plot(found, given.out)
    return found


if __name__ == "__main__":
    main()
