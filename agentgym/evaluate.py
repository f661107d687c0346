"""A run from end to end: which episodes, played, recorded, resumed.

A `Plan` is everything that decides what happens in a run, and nothing else: it goes into the
manifest, and a run is resumed only under the plan it was started with. How many episodes are in
flight, or how long a stage may take, is not part of it.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, closing
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib import metadata
from operator import index
from pathlib import Path
from typing import Any, Self

from gymnasium import spaces

import agentgym
from agentgym import registry
from agentgym.collector import Collector, distinct, episode_keys, whole_seeds
from agentgym.env import Env
from agentgym.errors import ConfigError, StoreError, whole
from agentgym.policy import describe, open_policy
from agentgym.rollout import AnyEnv, Deadlines
from agentgym.store import Store
from agentgym.types import EpisodeKey, Sampling, Trajectory

_NUMERIC = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides a run's episodes.

    Raises:
        ConfigError: There would be nothing to run, or an argument is not JSON.
    """

    env: str
    """Environment id."""
    policy: str
    """As `agentgym.policy.open_policy` reads it."""
    env_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of the environment, the split among them; JSON."""
    policy_args: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    """Only the first `limit` tasks of the split."""
    tasks: tuple[str, ...] = ()
    """Only these tasks."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of `env.reset`, each for every task."""
    group: int = 1
    """Samples of each task and seed."""
    seed: int = 0
    """Of the policy: each episode's is derived from it."""
    sampling: Sampling = field(default_factory=Sampling)
    history: int | None = None
    show_admissible: bool = False
    reward: str | None = None
    """Expression of a reward to compute on the episodes (`agentgym.rewards.parse`)."""

    def __post_init__(self) -> None:
        for name in ("env_args", "policy_args"):  # as a manifest gives them back: tuples are lists
            given = getattr(self, name)
            try:
                plain = json.loads(json.dumps(given, allow_nan=False, default=index))
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{name} {given!r} cannot be recorded: {error}") from error
            object.__setattr__(self, name, plain)
        for name, least in (("limit", 1), ("group", 1), ("seed", 0), ("history", 0)):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, whole(name, given, least))
        object.__setattr__(self, "seeds", whole_seeds(self.seeds))
        object.__setattr__(self, "tasks", distinct("tasks", self.tasks))

    @classmethod
    def from_manifest(cls, manifest: dict[str, Any]) -> Self:
        """The plan a run was started with.

        Raises:
            StoreError: The manifest holds none.
        """
        try:
            plan = dict(manifest["plan"])
            plan["sampling"] = Sampling(
                **{**plan["sampling"], "stop": tuple(plan["sampling"]["stop"])}
            )
            plan["seeds"], plan["tasks"] = tuple(plan["seeds"]), tuple(plan["tasks"])
            return cls(**plan)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"the manifest holds no plan that can be resumed: {error}") from error

    def make_env(self) -> AnyEnv:
        """Make the environment.

        Raises:
            RegistryError: No such id, or its extra is not installed.
            ConfigError: It does not take these arguments, or is not about text.
        """
        env = registry.make(self.env, **self.env_args)
        for what in ("action", "observation"):
            space = getattr(env, f"{what}_space", None)
            if isinstance(space, _NUMERIC):
                env.close()
                raise ConfigError(
                    f"{self.env} is not a text environment: its {what}s are {space!s:.80}"
                )
        return env

    def keys(self, env: AnyEnv) -> list[EpisodeKey]:
        """Every episode, in order.

        Raises:
            TaskError: A task of `tasks` is not in the split.
        """
        ids: Sequence[str] = self.tasks
        if isinstance(env, Env):
            for task_id in ids:
                env.find_task(task_id)
            if not ids:
                known = env.tasks()
                count = len(known) if self.limit is None else min(self.limit, len(known))
                ids = [known[i] for i in range(count)]
        elif not ids:
            ids = [""]
        key = registry.key(self.env, self.env_args)
        return episode_keys(key, ids, seeds=self.seeds, group=self.group)

    def manifest(self, env: AnyEnv) -> dict[str, Any]:
        """What a run folder says of itself."""
        packages = ("gymnasium", "numpy", "textworld", "xllamacpp")
        file = registry.file_of(self.env)
        return {
            "plan": {**asdict(self), "sampling": self.sampling._asdict()},
            **({"file": str(file)} if file else {}),
            "provides": sorted(getattr(env, "provides", ())),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {
                "agentgym": agentgym.__version__,
                "python": platform.python_version(),
                **{name: found for name in packages if (found := _version(name))},
            },
            "argv": sys.argv[1:],
        }


class Run:
    """A plan and the folder its episodes go to.

    Args:
        plan: What to run.
        out: The run folder.
        resume: Go on with a folder that is there already.

    Raises:
        AgentGymError: The environment, tasks or folder cannot be had; nothing was started.
    """

    def __init__(self, plan: Plan, out: str | Path, *, resume: bool = False) -> None:
        self.plan = plan
        with closing(plan.make_env()) as env:
            self.keys = plan.keys(env)
            """Every episode of the plan."""
            manifest = {**plan.manifest(env), "episodes": len(self.keys)}
            self._reward = None
            if plan.reward is not None:
                from agentgym.rewards import bind, parse  # numpy and a dozen modules of signals

                self._reward = bind(parse(plan.reward), env.unwrapped)
            grammar = getattr(env, "grammar", None)
            self._tools = grammar.tools() if grammar and grammar.dialect == "tools" else None
        if not self.keys:
            raise ConfigError(f"{plan.env} has no tasks under {plan.env_args}: nothing to run")
        self.done: set[EpisodeKey] = set()
        """Episodes that were scored before."""
        if resume and (Path(out) / "manifest.json").exists():
            self.store = Store.resume(out)
            try:
                _same_plan(Plan.from_manifest(self.store.manifest), plan, out)
                self.done = self.store.done() & set(self.keys)
            except BaseException:
                self.store.close()
                raise
        else:
            self.store = Store.create(out, manifest)

    async def stream(
        self,
        *,
        concurrency: int = 16,
        retries: int = 2,
        give_up_after: int | None = None,
        deadlines: Deadlines = Deadlines(),  # noqa: B008 - frozen
        workers: int | None = None,
    ) -> AsyncGenerator[Trajectory, None]:
        """Play what is not done; every episode is on disk before it is yielded.

        The arguments are those of `agentgym.collector.Collector`.

        Raises:
            AgentGymError: The run cannot go on; what was played is safe.
        """
        plan = self.plan
        options = dict(plan.policy_args)
        if self._tools and plan.policy.startswith("openai:"):
            options["tools"] = self._tools
        policy = open_policy(plan.policy, **options)
        try:
            collector = Collector(
                plan.make_env,
                policy,
                concurrency=concurrency,
                sampling=plan.sampling,
                seed=plan.seed,
                retries=retries,
                give_up_after=give_up_after,
                deadlines=deadlines,
                history=plan.history,
                show_admissible=plan.show_admissible,
                workers=workers,
                record=self.store.append,
                provenance={**describe(policy), "policy": plan.policy},
            )
            todo = [key for key in self.keys if key not in self.done]
            async with aclosing(collector.stream(todo)) as episodes:
                async for trajectory in episodes:
                    yield trajectory
        finally:
            close = getattr(policy, "aclose", None)
            if close is not None:
                await close()

    def close(self) -> None:
        """Force everything to disk, compute the plan's reward, and release the folder.

        Raises:
            RewardError: The reward cannot be computed; the episodes are safe.
            StoreError: The disk is full or failing.
        """
        with self.store:
            if self._reward is not None:
                from agentgym.rewards.rescore import record, rescore

                record(self.store, self._reward, rescore(self.store, self._reward))


def _same_plan(old: Plan, new: Plan, out: str | Path) -> None:
    for name in (f.name for f in fields(Plan)):
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            raise StoreError(
                f"{out} was started with {name} {before!r}, not {now!r}: resume it with the "
                "arguments it was started with, or choose another folder"
            )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
