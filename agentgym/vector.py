"""Several copies of an environment as one vector environment: what `gym.make_vec` returns.

Gymnasium's own vector environments either lose text (shared memory) or throw one action of a
language model away at each episode's end (autoreset). This one does neither: observations are
tuples, and an environment that ended waits until it is reset by `options["reset_mask"]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from agentgym.errors import ConfigError, ResetNeeded, whole
from agentgym.types import Observation

Observations = tuple[Observation, ...]
MAX_THREADS = 32
_MISSING = object()


class ThreadVectorEnv(VectorEnv[Observations, Sequence[str | None], npt.NDArray[Any]]):
    """`num_envs` environments stepped side by side in threads (in turn where no step waits).

    Args:
        make: Makes one environment.
        num_envs: How many.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(self, make: Callable[[], gym.Env[Observation, str]], num_envs: int) -> None:
        num_envs = whole("num_envs", num_envs, 1)
        self.envs = [make() for _ in range(num_envs)]
        self.num_envs = num_envs
        first = self.envs[0]
        self.metadata = {**first.metadata, **type(self).metadata}
        self.render_mode = first.render_mode
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, num_envs)
        self.action_space = batch_space(first.action_space, num_envs)
        waits = getattr(first.unwrapped, "waits", False)
        self._threads = ThreadPoolExecutor(min(num_envs, MAX_THREADS)) if waits else None
        self._shown: list[Observation] = [""] * num_envs
        self._terminated: npt.NDArray[np.bool_] = np.ones(num_envs, dtype=np.bool_)
        self._truncated: npt.NDArray[np.bool_] = np.zeros(num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Reset all environments, or those named by `options["reset_mask"]` (bool[num_envs]).

        Args:
            seed: One for each, or one from which `seed + i` is made.
            options: As `Env.reset` takes them. `"task"` may be a list of one id for each.

        Raises:
            ConfigError: A list or the mask is not `num_envs` long.
        """
        options = dict(options or {})
        mask = np.asarray(options.pop("reset_mask", np.ones(self.num_envs)), dtype=np.bool_)
        seeds = (
            [None if seed is None else int(seed) + i for i in range(self.num_envs)]
            if seed is None or isinstance(seed, int | np.integer)
            else list(seed)
        )
        task = options.pop("task", None)
        tasks = [task] * self.num_envs if task is None or isinstance(task, str) else list(task)
        for name, given in (("reset_mask", mask), ("seed", seeds), ("task", tasks)):
            if len(given) != self.num_envs:
                raise ConfigError(
                    f"{name} has {len(given)} entries for {self.num_envs} environments"
                )

        def reset_one(i: int) -> tuple[Observation, dict[str, Any]]:
            own = {**options, **({} if tasks[i] is None else {"task": tasks[i]})}
            return self.envs[i].reset(seed=seeds[i], options=own)

        chosen = [int(i) for i in np.flatnonzero(mask)]
        faults: list[Exception] = []
        told: list[tuple[int, dict[str, Any]]] = []
        for i, result in zip(chosen, self._each(reset_one, chosen), strict=True):
            if isinstance(result, Exception):
                faults.append(result)
                self._truncated[i] = True
                continue
            self._shown[i], info = result
            self._terminated[i] = self._truncated[i] = False
            told.append((i, info))
        if faults:
            raise faults[0]
        return tuple(self._shown), self._stacked(told)

    def step(
        self, actions: Sequence[str | None]
    ) -> tuple[
        Observations,
        npt.NDArray[np.float64],
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Step every environment; `None` leaves one as it is (one that has ended, say).

        Returns:
            Observations, rewards float64[num_envs], terminated and truncated bool[num_envs] (as
            they stand, for those left alone), infos.

        Raises:
            ConfigError: Not one action for each environment.
            ResetNeeded: An action for an environment whose episode has ended.
            Exception: What the first environment that failed raised, after all were stepped; it can
                only be reset, the others go on.
        """
        if isinstance(actions, str) or len(actions) != self.num_envs:
            raise ConfigError(
                f"give a list of {self.num_envs} actions, one each, not {actions!r:.80}"
            )
        ended = self._terminated | self._truncated
        chosen = [i for i, action in enumerate(actions) if action is not None]
        late = [i for i in chosen if ended[i]] if ended.any() else []
        if late:
            raise ResetNeeded(
                f"the episodes of environments {late} have ended: give them None, or reset them "
                "with options={'reset_mask': mask}"
            )
        rewards = np.zeros(self.num_envs)

        def step_one(i: int) -> tuple[Any, ...]:
            return self.envs[i].step(cast("str", actions[i]))

        faults: list[Exception] = []
        told: list[tuple[int, dict[str, Any]]] = []
        for i, result in zip(chosen, self._each(step_one, chosen), strict=True):
            if isinstance(result, Exception):
                faults.append(result)
                self._truncated[i] = True  # it can only be reset; the others are as they should be
                continue
            self._shown[i], reward, terminated, truncated, info = result
            if reward or terminated or truncated:
                rewards[i] = reward
                self._terminated[i], self._truncated[i] = terminated, truncated
            told.append((i, info))
        if faults:
            raise faults[0]
        return (
            tuple(self._shown),
            rewards,
            self._terminated.copy(),
            self._truncated.copy(),
            self._stacked(told),
        )

    def _stacked(self, told: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
        """Each environment's `info` as arrays of any values, with `_NAME` for who has one.

        (Gymnasium's own `_add_info` types each array after the first value it meets.)
        """
        columns: dict[str, list[Any]] = {}
        for i, info in told:
            for name, value in info.items():
                if name not in columns:
                    columns[name] = [_MISSING] * self.num_envs
                columns[name][i] = value
        stacked: dict[str, Any] = {}
        for name, values in columns.items():
            having = [value is not _MISSING for value in values]
            told_by_all = all(having)
            stacked[name] = np.fromiter(
                values if told_by_all else (None if v is _MISSING else v for v in values),
                dtype=object,
                count=self.num_envs,
            )
            stacked[f"_{name}"] = np.array(having)
        return stacked

    def _each(self, function: Callable[[int], Any], chosen: list[int]) -> list[Any]:
        """What `function` gives for each, or the exception that it raised."""

        def one(i: int) -> Any:
            try:
                return function(i)
            except Exception as error:
                return error

        return list(map(one, chosen) if self._threads is None else self._threads.map(one, chosen))

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()
        if self._threads is not None:
            self._threads.shutdown()


def __getattr__(name: str) -> Callable[..., ThreadVectorEnv]:
    """Return the vector entry point of an environment id.

    `gym.make_vec` calls an entry point without saying which id it is for, and specs stay strings,
    so the id is the attribute's name: `"agentgym.vector:agentgym/TextWorld-v0"`.
    """
    if "-v" not in name:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def make_vector(num_envs: int, **kwargs: Any) -> ThreadVectorEnv:
        return ThreadVectorEnv(lambda: gym.make(name, **kwargs), num_envs)

    return make_vector
