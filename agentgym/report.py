"""What the episodes of a run say: means with honest intervals, pass@k, stops, faults, costs.

Episodes are taken one at a time and none is kept: memory grows with the number of groups (tasks
times seeds), by some hundred bytes each. Only scored episodes count towards scores, turns and
invalid actions; unscored ones are counted apart, by who is to blame, and never read as 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from sys import intern
from typing import Literal, NamedTuple

from agentgym.tokens import token_spans
from agentgym.types import Completion, Stop, TokenIds, Trajectory

Z = NormalDist().inv_cdf(0.975)
"""Half-width of a 95 % interval, in standard errors."""


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


class Cluster(NamedTuple):
    """Scores that are not independent of one another: of one task, say."""

    scored: int
    """How many there are."""
    total: float
    squares: float
    """Sum of squared scores."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The scored episodes of one task (of one seed, where a run has a single task)."""

    scored: int
    mean: float
    passed: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How much higher one run scored than another on what both have scored."""

    units: int
    """How many tasks (or seeds) were compared."""
    mean: float
    """Mean over units of second minus first, in [-1, 1]."""
    interval: Interval


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in numbers; None where there is nothing to divide by."""

    episodes: int = 0
    scored: int = 0
    mean: float | None = None
    """Of `outcome.score` over scored episodes."""
    interval: Interval | None = None
    """Of the mean, over tasks like these: episodes of one task are not taken for independent."""
    passed: int = 0
    pass_rate: float | None = None
    pass_at: Mapping[int, float] = field(default_factory=dict)
    """k -> chance that at least one of k samples passes, for groups of more than one sample."""
    pass_all: Mapping[int, float] = field(default_factory=dict)
    """k -> chance that all of k samples pass (pass^k)."""
    groups: int = 0
    """Groups with a scored episode."""
    dead_group_fraction: float | None = None
    """Of the groups with more than one scored sample, those whose samples all scored the same."""
    stops: Mapping[str, int] = field(default_factory=dict)
    unscored: Mapping[str, int] = field(default_factory=dict)
    """Who or what left episodes unscored: `policy`, `environment`, `deadline`, `cancelled`, …"""
    complaints: Mapping[str, str] = field(default_factory=dict)
    """An error message for each of those, where there is one."""
    mean_turns: float | None = None
    invalid_rate: float | None = None
    """Share of turns whose action could not be carried out."""
    invalid: Mapping[str, int] = field(default_factory=dict)
    """Turns that could not be carried out, by kind."""
    turns: int = 0
    """Of all episodes, as are the counts and times below."""
    tokens_in: int = 0
    """Prompt tokens, summed over turns; 0 where the engine does not tell."""
    tokens_out: int = 0
    branched: int = 0
    """Episodes whose tokens are more than one sequence (`agentgym.tokens`)."""
    policy_s: float = 0.0
    env_s: float = 0.0
    wall_s: float = 0.0
    """From the start of the first episode to the end of the last; the time before a run was resumed
    is left out."""
    unit: Literal["task", "seed"] = "task"
    """What `units` are, and the interval's clusters."""
    units: Mapping[str, Unit] = field(default_factory=dict)
    """By task; by `task#seed` where there is a single one."""


def summarise(trajectories: Iterable[Trajectory]) -> Summary:
    """Read episodes, live or from `Store.episodes()`, once and in any order."""
    tally = Tally()
    for trajectory in trajectories:
        tally.add(trajectory)
    return tally.summary()


class _Group:
    """The scores of one group."""

    __slots__ = ("count", "high", "low", "passed", "squares", "total")

    def __init__(self) -> None:
        self.count = self.passed = 0
        self.total = self.squares = 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, score: float, passed: bool) -> None:
        self.count += 1
        self.passed += passed
        self.total += score
        self.squares += score * score
        self.low, self.high = min(self.low, score), max(self.high, score)


class Tally:
    """A summary in the making: what `summarise` keeps between episodes."""

    def __init__(self) -> None:
        self.episodes = 0
        self.scored = 0
        self.total = 0.0
        """Sum of scores."""
        self.turns = 0
        self.tokens_in = 0
        self.tokens_out = 0
        self._groups: dict[tuple[str, str, int], _Group] = {}
        self._stops: Counter[str] = Counter()
        self._unscored: Counter[str] = Counter()
        self._invalid: Counter[str] = Counter()
        self._complaints: dict[str, str] = {}
        self._scored_turns = self._branched = 0
        self._policy_s = self._env_s = 0.0
        self._sittings: dict[float, tuple[float, float]] = {}
        """When the run was started or resumed -> from when to when episodes were then played."""

    @property
    def mean(self) -> float | None:
        """Mean score so far."""
        return self.total / self.scored if self.scored else None

    def add(self, trajectory: Trajectory) -> None:
        """Count an episode."""
        self.episodes += 1
        if trajectory.stop is not None:
            self._stops[trajectory.stop.value] += 1
        self._add_costs(trajectory)
        outcome = trajectory.outcome
        if outcome is None or not outcome.available:
            blamed = _blamed(trajectory)
            self._unscored[blamed] += 1
            if trajectory.error:
                self._complaints.setdefault(blamed, trajectory.error)
            return
        self.scored += 1
        self.total += outcome.score
        self._scored_turns += len(trajectory.turns)
        self._invalid.update(turn.invalid for turn in trajectory.turns if turn.invalid is not None)
        key = trajectory.key
        name = (intern(key.env), intern(key.task_id), key.seed)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group()
        group.add(outcome.score, outcome.passed)

    def _add_costs(self, trajectory: Trajectory) -> None:
        self.turns += len(trajectory.turns)
        for turn in trajectory.turns:
            said = turn.completion
            self.tokens_in += _tokens(said, "prompt_tokens", said.prompt_ids)
            self.tokens_out += _tokens(said, "completion_tokens", said.completion_ids)
            self._policy_s += turn.timings.get("policy_s", 0.0)
            self._env_s += turn.timings.get("env_s", 0.0)
        if any(turn.completion.prompt_ids is not None for turn in trajectory.turns):
            spans, _ = token_spans(turn.completion for turn in trajectory.turns)
            self._branched += len(spans) > 1
        made = trajectory.provenance
        start = made.get("started")
        if isinstance(start, float):
            end = start + made.get("wall_s", 0.0)
            began = made.get("began", 0.0)
            first, last = self._sittings.get(began, (start, end))
            self._sittings[began] = min(first, start), max(last, end)

    def summary(self) -> Summary:
        """What was counted so far."""
        groups = self._groups.values()
        sampled = [group for group in groups if group.count > 1]
        passed = sum(group.passed for group in groups)
        unit, members = self._members()
        invalid = sum(self._invalid.values())
        return Summary(
            episodes=self.episodes,
            scored=self.scored,
            mean=self.mean,
            interval=clustered_interval([_cluster(some) for some in members.values()]),
            passed=passed,
            pass_rate=passed / self.scored if self.scored else None,
            pass_at=_by_k(sampled, pass_at_k),
            pass_all=_by_k(sampled, pass_all_k),
            groups=len(groups),
            dead_group_fraction=(
                sum(g.low == g.high for g in sampled) / len(sampled) if sampled else None
            ),
            stops={stop.value: n for stop in Stop if (n := self._stops[stop.value])},
            unscored=dict(sorted(self._unscored.items())),
            complaints=dict(sorted(self._complaints.items())),
            mean_turns=self._scored_turns / self.scored if self.scored else None,
            invalid_rate=invalid / self._scored_turns if self._scored_turns else None,
            invalid=dict(sorted(self._invalid.items())),
            turns=self.turns,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            branched=self._branched,
            policy_s=round(self._policy_s, 6),
            env_s=round(self._env_s, 6),
            wall_s=round(_covered(self._sittings.values()), 6),
            unit=unit,
            units={name: _unit(members[name]) for name in sorted(members)},
        )

    def _members(self) -> tuple[Literal["task", "seed"], dict[str, list[_Group]]]:
        """The groups of each task; of each seed where all are of one task.

        With a single task the interval can only speak of other seeds of it.
        """
        several = len({(env, task) for env, task, _ in self._groups}) > 1
        several_envs = len({env for env, _, _ in self._groups}) > 1
        members: dict[str, list[_Group]] = {}
        for (env, task, seed), group in self._groups.items():
            name = (f"{env} {task}" if several_envs else task) if several else f"{task}#{seed}"
            members.setdefault(name, []).append(group)
        return ("task" if several else "seed"), members


def clustered_interval(clusters: Sequence[Cluster]) -> Interval | None:
    """95 % interval of the mean of scores in [0, 1] that come in clusters; None without scores.

    A Wilson interval with an effective number of scores in place of their number: how many
    independent passes and failures would have a mean of this variance. That variance is the
    cluster-robust one, but at least that of independent scores, which a handful of clusters can
    fall short of by chance. Where all scores are equal it is 0 and tells nothing: the effective
    number is then that of the clusters.

    Source: Wilson 1927; Miller 2024, "Adding Error Bars to Evals", section 2.2 (clustered standard
    errors over questions), here with the factor C/(C-1) of survey sampling; Korn & Graubard 1998,
    "Confidence intervals for proportions with small expected number of positive counts estimated
    from survey data", for the effective size and its reduction by Student's t where clusters are
    few. They put it into Clopper-Pearson's interval, which is wider.
    """
    count = sum(cluster.scored for cluster in clusters)
    if not count:
        return None
    mean = sum(cluster.total for cluster in clusters) / count
    spread = sum(cluster.squares for cluster in clusters) - count * mean * mean
    effective: float = len(clusters)
    if spread > 1e-12 * count:
        variance = spread / count / (count - 1)
        freedom = count - 1
        if len(clusters) > 1:
            between = sum((cluster.total - cluster.scored * mean) ** 2 for cluster in clusters)
            freedom = len(clusters) - 1
            variance = max(variance, len(clusters) / freedom * between / count**2)
        effective = mean * (1 - mean) / variance * (Z / student(freedom)) ** 2
    return wilson(mean, effective)


def wilson(mean: float, count: float) -> Interval:
    """Wilson's 95 % interval for a proportion of `count` trials; contains `mean`, inside [0, 1]."""
    shrink = 1 + Z * Z / count
    centre = (mean + Z * Z / (2 * count)) / shrink
    half = Z / shrink * math.sqrt(mean * (1 - mean) / count + (Z / (2 * count)) ** 2)
    return Interval(max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)))


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, to about 0.1 %.

    Source: Abramowitz & Stegun 26.7.5; exact for one and two degrees of freedom.
    """
    if freedom == 1:
        return math.tan(0.475 * math.pi)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    terms = (
        (Z**3 + Z) / 4,
        (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
        (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
        (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160,
    )
    return Z + sum(term / float(freedom) ** power for power, term in enumerate(terms, 1))


def pass_at_k(count: int, passed: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k samples passes, from `count` of them.

    Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", equation 1.
    """
    return 1.0 - math.comb(count - passed, k) / math.comb(count, k)


def pass_all_k(count: int, passed: int, k: int) -> float:
    """Unbiased estimate of the chance that k samples all pass, from `count` of them.

    Source: Yao et al. 2024, "τ-bench", section 4 (pass^k).
    """
    return math.comb(passed, k) / math.comb(count, k)


def compare(first: Summary, second: Summary) -> Difference | None:
    """How much higher `second` scored on the tasks both scored; None if there are none.

    Source: Agresti & Min 2005, "Simple improved confidence intervals for comparing matched
    proportions": half a pair is added to each cell of the table of pairs, that is two pairs with a
    sum of differences of 0 and of their squares of 1. The same is done to scores between 0 and 1.
    """
    if first.unit != second.unit:
        return None
    common = first.units.keys() & second.units.keys()
    if not common:
        return None
    gains = [second.units[name].mean - first.units[name].mean for name in common]
    count = len(gains)
    mean = math.fsum(gains) / count
    shrunk = mean * count / (count + 2)
    squares = (math.fsum(gain * gain for gain in gains) + 1) / (count + 2)
    half = Z * math.sqrt(max(0.0, squares - shrunk * shrunk) / (count + 2))
    low, high = min(mean, shrunk - half), max(mean, shrunk + half)
    return Difference(count, mean, Interval(max(-1.0, low), min(1.0, high)))


def _cluster(groups: Iterable[_Group]) -> Cluster:
    """Groups as one cluster, summed such that their order does not matter."""
    groups = list(groups)
    return Cluster(
        sum(group.count for group in groups),
        math.fsum(group.total for group in groups),
        math.fsum(group.squares for group in groups),
    )


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """How long it is that one of the spans lasts at least."""
    total, until = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def _unit(groups: Iterable[_Group]) -> Unit:
    groups = list(groups)
    cluster = _cluster(groups)
    return Unit(cluster.scored, cluster.total / cluster.scored, sum(g.passed for g in groups))


def _by_k(
    sampled: Sequence[_Group], estimate: Callable[[int, int, int], float]
) -> dict[int, float]:
    """For k = 1, 2, 4, … and the largest group's size: the mean over groups with k samples."""
    sizes = Counter((group.count, group.passed) for group in sampled)
    largest = max((count for count, _ in sizes), default=0)
    ks = sorted({*(2**i for i in range(largest.bit_length()) if 2**i <= largest), largest} - {0})
    means = {}
    for k in ks:
        enough = {size: n for size, n in sizes.items() if size[0] >= k}
        total = math.fsum(n * estimate(*size, k) for size, n in enough.items())
        means[k] = total / sum(enough.values())
    return means


def _blamed(trajectory: Trajectory) -> str:
    """Who or what left an episode unscored."""
    match trajectory.stop:
        case Stop.ERROR:
            return (trajectory.error or "unknown").partition(":")[0]
        case Stop.DEADLINE | Stop.CANCELLED as stop:
            return stop.value
        case None:
            return "unfinished"
    return "unverified"


def _tokens(said: Completion, name: str, ids: TokenIds | None) -> int:
    """What the engine counted, or else the ids there are."""
    counted = said.usage.get(name)
    if isinstance(counted, int):  # a server may have said anything
        return counted
    return 0 if ids is None else len(ids)
