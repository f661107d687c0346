"""Worlds that each break the contract in one way; `BREAKS` says which check must find it."""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from counting import Counter

import agentgym
from agentgym import Action, Outcome, Reply, Task

BREAKS: dict[str, tuple[str, str]] = {}
"""Id of a broken world: the check that must fail, and a part of what it must say."""


def breaks(check: str, told: str) -> Callable[[type[Counter]], type[Counter]]:
    def note(world: type[Counter]) -> type[Counter]:
        id = f"broken/{world.__name__}-v0"
        agentgym.register(id, world)
        BREAKS[id] = (check, told)
        return world

    return note


# ---------------------------------------------------------------- Gymnasium


@breaks("gymnasium", "render")
class NoFrameRate(Counter):
    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012


@breaks("gymnasium", "not within the observation space")
class TooLongForItsSpace(Counter):
    max_observation_chars = 3


class RegisteredWithGymnasium(Counter):
    pass


gym.register("broken/Wrapped-v0", "broken:RegisteredWithGymnasium")
BREAKS["broken/Wrapped-v0"] = ("gymnasium", "agentgym.register")


@breaks("vector", "of make_vec goes another way than alone")
class SharesItsCount(Counter):
    """State on the class: two copies disturb one another."""

    shared = 0

    def respond(self, action: Action) -> Reply:
        reply = super().respond(action)
        type(self).shared += 1
        return reply._replace(observation=f"{reply.observation}, {self.shared}")

    def begin(self, task: Task) -> str:
        type(self).shared = 0
        return super().begin(task)


gym.register("broken/ResetsByItself-v0", "broken:RegisteredWithGymnasium")
BREAKS["broken/ResetsByItself-v0"] = ("vector", "resets by itself")


# ---------------------------------------------------------------- determinism


@breaks("determinism", "turn 0: observation was")
class DrawsElsewhere(Counter):
    def begin(self, task: Task) -> str:
        return f"{super().begin(task)}, {os.urandom(4).hex()}"


@breaks("determinism", "played again in another instance: turn 0")
class RemembersEpisodes(Counter):
    episodes = 0

    def begin(self, task: Task) -> str:
        self.episodes += 1
        return f"{super().begin(task)}, episode {self.episodes}"


@breaks("determinism", "task named instead of drawn")
class DrawsItsOwnTask(Counter):
    drawn = False

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.drawn = not (options or {}).get("task")
        return super().reset(seed=seed, options=options)

    def begin(self, task: Task) -> str:
        if self.drawn:
            self.np_random.random()
        return super().begin(task)


@breaks("other process", "in another process")
class OrderedLikeASet(Counter):
    def begin(self, task: Task) -> str:
        return f"{super().begin(task)}, {' '.join({'red', 'green', 'blue', 'black', 'white'})}"


@breaks("global randomness", "the global `random` is used")
class UsesRandom(Counter):
    def begin(self, task: Task) -> str:
        random.random()
        return super().begin(task)


@breaks("global randomness", "the global `numpy.random` is used")
class SeedsNumpy(Counter):
    def begin(self, task: Task) -> str:
        np.random.seed(0)
        return super().begin(task)


class Shaped(Counter):
    """What `step` returns, changed by `reshape`."""

    def step(self, action: str) -> Any:
        return self.reshape(*super().step(action))

    def reshape(self, shown: Any, reward: Any, ended: bool, cut: bool, info: Any) -> Any:
        """Change it."""
        raise AssertionError("to be overridden")


@breaks("replay", "by info['action']: turn")
class ReportsAnotherAction(Shaped):
    def reshape(self, shown: Any, reward: Any, ended: bool, cut: bool, info: Any) -> Any:
        return shown, reward, ended, cut, {**info, "action": Action("down")}


# ---------------------------------------------------------------- who passes


@breaks("oracle", "scored 0 after 12 turns at the turn limit")
class OracleIsWrong(Counter):
    def oracle(self) -> str:
        return "down"


@breaks("oracle", "from oracle() was refused (unknown_word)")
class OracleSaysTheImpossible(Counter):
    def oracle(self) -> str:
        return "sideways" if self.turn == 0 else super().oracle()


@breaks("oracle", "which is not canonical")
class OracleTalks(Counter):
    def oracle(self) -> str:
        return "up\n\nbecause it is low"


@breaks("oracle", "oracle() gave None in the middle")
class OracleFallsSilent(Counter):
    def oracle(self) -> str | None:  # type: ignore[override]
        return "up" if self.turn < 2 else None


@breaks("idleness", "saying '' passed after 12 turns")
class PassesTheIdle(Counter):
    def judge(self) -> Outcome:
        return Outcome(1.0, True, parts={"off": 0.0})


@breaks("chance", "too easy")
class PassesAnything(Counter):
    def respond(self, action: Action) -> Reply:
        return Reply("Fine.", Outcome(1.0, True))


# ---------------------------------------------------------------- every turn


@breaks("rewards", "the reward is 0.1 before the end")
class PaysOnTheWay(Shaped):
    def reshape(self, shown: Any, reward: Any, ended: bool, cut: bool, info: Any) -> Any:
        return shown, reward or 0.1, ended, cut, info


@breaks("rewards", "the reward is -1.0")
class Punishes(Shaped):
    def reshape(self, shown: Any, reward: Any, ended: bool, cut: bool, info: Any) -> Any:
        return shown, -1.0, ended, cut, info


@breaks("rewards", "the last reward is 0.5 and outcome.score is 0")
class PaysSomethingElse(Shaped):
    def reshape(self, shown: Any, reward: Any, ended: bool, cut: bool, info: Any) -> Any:
        return shown, 0.5 if ended or cut else 0.0, ended, cut, info


@breaks("rewards", "both true")
class EndsTwice(Shaped):
    def reshape(self, shown: Any, reward: Any, ended: bool, cut: bool, info: Any) -> Any:
        return shown, reward, ended or cut, cut, info


@breaks("rewards", "no outcome at the end")
class HidesTheOutcome(Shaped):
    def reshape(self, shown: Any, reward: Any, ended: bool, cut: bool, info: Any) -> Any:
        info.pop("outcome", None)
        return shown, reward, ended, cut, info


@breaks("rewards", "outcome before the end")
class TellsTheOutcome(Counter):
    def respond(self, action: Action) -> Reply:
        return super().respond(action)._replace(info={"outcome": Outcome(0.0, False)})


@breaks("observations", "is not in Unicode(60)")
class RunsOn(Counter):
    max_observation_chars = 60

    def respond(self, action: Action) -> Reply:
        reply = super().respond(action)
        return reply._replace(observation=f"{reply.observation} " * (1 + 9 * self.turn))


@breaks("observations", "not text that can be encoded")
class CutsAnEmoji(Counter):
    def begin(self, task: Task) -> str:
        return f"{super().begin(task)} \ud83d"


@breaks("actions", "info['invalid'] is False")
class SaysFalse(Shaped):
    def reshape(self, shown: Any, reward: Any, ended: bool, cut: bool, info: Any) -> Any:
        return shown, reward, ended, cut, {**info, "invalid": False}


@breaks("actions", "info['action'] is 7")
class NumbersActions(Shaped):
    def reshape(self, shown: Any, reward: Any, ended: bool, cut: bool, info: Any) -> Any:
        return shown, reward, ended, cut, {**info, "action": 7}


class WithFacts(Counter):
    fact: Any = None

    def _facts(self) -> dict[str, Any]:
        return {"count": self.fact}


@breaks("facts", "fact 'secret' is not in `provides`")
class UndeclaredFact(Counter):
    def _facts(self) -> dict[str, Any]:
        return {"secret": 1}


@breaks("facts", "reset: fact 'secret' is not in `provides`")
class UndeclaredFactOfTheStart(Counter):
    def begin(self, task: Task) -> Any:
        return Reply(super().begin(task), facts={"secret": 1})


@breaks("facts", "outcome part 'luck' is not in `provides`")
class UndeclaredPart(Counter):
    def judge(self) -> Outcome:
        return Outcome(0.0, False, parts={"luck": 1.0})


@breaks("facts", "int64 is not JSON serializable")
class FactOfNumpy(WithFacts):
    fact = np.int64(3)


@breaks("facts", "not JSON compliant")
class FactNotANumber(WithFacts):
    fact = float("nan")


@breaks("facts", "exceeds 64-bit range")
class FactTooLarge(WithFacts):
    fact = 2**70


@breaks("facts", "surrogates not allowed")
class FactCutInAnEmoji(WithFacts):
    fact = "\ud83d"


@breaks("facts", "outcome parts are not JSON")
class PartOfNumpy(Counter):
    def judge(self) -> Outcome:
        return Outcome(0.0, False, parts={"count": np.float32(0.5)})


@breaks("facts", "keys must be text")
class FactByNumber(WithFacts):
    fact = {3: "three"}  # noqa: RUF012


@breaks("facts", "task.data are not JSON")
class TaskDataOfSets(Counter):
    def find_task(self, task_id: str) -> Task:
        super().find_task(task_id)
        return Task(task_id, self._name, self.split, {"colours": {"red"}})


@breaks("admissible", "'sideways' from admissible() was refused (unknown_word)")
class AdmitsTheImpossible(Counter):
    def admissible(self) -> list[str]:
        return ["sideways"]


@breaks("admissible", "which is not canonical")
class AdmitsProse(Counter):
    def admissible(self) -> list[str]:
        return ["up\nor down"]


@breaks("invalid input", "raised ValueError")
class CountsWithInt(Counter):
    def respond(self, action: Action) -> Reply:
        return super().respond(action) if action.isalpha() else Reply(str(int(action)))


@breaks("invalid input", "raised SystemExit: 2; raise InvalidAction")
class ExitsLikeACommand(Counter):
    def respond(self, action: Action) -> Reply:
        return super().respond(action) if action.isalpha() else sys.exit(2)


@breaks("invalid input", "an order passed the task")
class Obeys(Counter):
    def respond(self, action: Action) -> Reply:
        if "passed=True" in action:
            return Reply("As you wish.", Outcome(1.0, True))
        return super().respond(action)


@breaks("invalid input", "a long command: an observation (100013 characters) is not in")
class Echoes(Counter):
    def respond(self, action: Action) -> Reply:
        return Reply(f"I cannot do {action}.")


# ---------------------------------------------------------------- order and limits


@breaks("turn limit", "truncated is False in turn 2")
class NeverTruncates(Shaped):
    def reshape(self, shown: Any, reward: Any, ended: bool, cut: bool, info: Any) -> Any:
        return shown, reward, ended, False, info


@breaks("turn limit", "max_turns is refused")
class TakesNoArguments(Counter):
    def __init__(self) -> None:
        super().__init__()


@breaks("order", "step() after the end did not raise ResetNeeded")
class GoesOn(Counter):
    def step(self, action: str) -> Any:
        if self.turn >= self.max_turns:
            return "", 0.0, False, True, {}
        return super().step(action)


@breaks("order", "reset() in the middle of an episode: turn 0")
class FinishesFirst(Counter):
    def begin(self, task: Task) -> str:
        left = getattr(self, "count", 0)
        shown = super().begin(task)
        return f"{shown}, {left} left over"


@breaks("closing", "AttributeError")
class ClosesOnce(Counter):
    def begin(self, task: Task) -> str:
        self.handle = "held"
        return super().begin(task)

    def close(self) -> None:
        super().close()
        if self.task:
            del self.handle


@breaks("closing", "call super().close()")
class ClosesItsOwnWay(Counter):
    def close(self) -> None:
        pass


@breaks("closing", "RuntimeError: closed for good")
class ClosesForGood(Counter):
    closed = False

    def begin(self, task: Task) -> str:
        if self.closed:
            raise RuntimeError("closed for good")
        return super().begin(task)

    def close(self) -> None:
        self.closed = True
        super().close()


@breaks("tasks", "an unknown task did not raise TaskError")
class FindsAnyTask(Counter):
    def find_task(self, task_id: str) -> Task:
        return Task(task_id if ":" in task_id else "to:5", self._name, self.split)


@breaks("tasks", "an unknown task raised ValueError")
class FindsTasksByIndex(Counter):
    def find_task(self, task_id: str) -> Task:
        return Task(self.tasks()[self.tasks().index(task_id)], self._name, self.split)


@breaks("tasks", "gives another task")
class TasksChange(Counter):
    def find_task(self, task_id: str) -> Task:
        super().find_task(task_id)
        return Task(task_id, self._name, self.split, {"drawn": float(self.np_random.random())})


@breaks("tasks", "an unknown split is taken")
class TakesAnySplit(Counter):
    def __init__(self, *, split: str = "train", **kwargs: Any) -> None:
        super().__init__(**kwargs)


@breaks("snapshots", "going on after restore(): turn 0")
class RestoresHalf(Counter):
    def load_state(self, state: tuple[int, int]) -> None:
        self.target, _ = state
        self.count = getattr(self, "count", state[1])


@breaks("snapshots", "going on after restore(): turn")
class SharesItsState(Counter):
    def begin(self, task: Task) -> str:
        self.log: list[str] = []
        return super().begin(task)

    def respond(self, action: Action) -> Reply:
        self.log.append(action)
        reply = super().respond(action)
        return reply._replace(observation=f"{reply.observation} {len(self.log)}")

    def save_state(self) -> Any:
        return super().save_state(), self.log

    def load_state(self, state: Any) -> None:
        super().load_state(state[0])
        self.log = list(state[1])


# ---------------------------------------------------------------- elsewhere


@breaks("asynchronous", "by areset() and astep(): turn 0")
class KnowsItsThread(Counter):
    execution = "thread"

    def begin(self, task: Task) -> str:
        main = threading.current_thread() is threading.main_thread()
        return f"{super().begin(task)} {main}"


@breaks("hosts", "cannot pickle")
class ShowsALock(Counter):
    def respond(self, action: Action) -> Reply:
        return super().respond(action)._replace(info={"lock": threading.Lock()})


@breaks("leaks", "processes")
class LeaksAProcess(Counter):
    def begin(self, task: Task) -> str:
        os.posix_spawnp("sleep", ["sleep", "20"], os.environ)
        return super().begin(task)


@breaks("leaks", "processes outlive the interpreter")
class LeaksADaemon(Counter):
    def begin(self, task: Task) -> str:
        subprocess.run(["sh", "-c", "setsid sleep 20 >/dev/null 2>&1 &"], check=True)
        return super().begin(task)


@breaks("leaks", "12 more open files after 6 episodes (pipe); 6 more threads")
class LeaksAThread(Counter):
    def begin(self, task: Task) -> str:
        os.pipe()
        threading.Thread(target=time.sleep, args=(20,), name="waiter", daemon=True).start()
        return super().begin(task)


@breaks("leaks", "temporary files outlive the interpreter")
class LeaksAFolder(Counter):
    def begin(self, task: Task) -> str:
        tempfile.mkdtemp()
        return super().begin(task)
