"""Small worlds that keep the contract, each in its way, and one that gives trouble when asked."""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import agentgym
from agentgym import Action, Grammar, InvalidAction, Outcome, Reply, Task
from agentgym.errors import SandboxError, TaskError


class Counter(agentgym.Env):
    """Count from a number nearby to the one the task names, then submit."""

    splits = ("train", "test")
    provides = frozenset({"count", "off"})
    grammar = Grammar.text("up, down, drift or submit", example="up")
    instructions = "Count."
    max_turns = 12

    def tasks(self) -> Sequence[str]:
        return [f"to:{n}" for n in ((5, 6, 7) if self.split == "train" else (8, 9))]

    def begin(self, task: Task) -> str:
        self.target = int(task.id.partition(":")[2])
        self.count = int(self.np_random.integers(0, 4))
        return f"{self.count} of {self.target}"

    def respond(self, action: Action) -> Reply:
        if action == "submit":
            return Reply("Submitted.", self.judge(), self._facts())
        if action not in ("up", "down", "drift"):
            raise InvalidAction("unknown_word", f"I do not know {action[:40]!r}.")
        drift = int(self.np_random.integers(-1, 2))
        self.count += {"up": 1, "down": -1}.get(action, drift)
        return Reply(f"{self.count} of {self.target}", facts=self._facts(), info={"extra": 1})

    def judge(self) -> Outcome:
        passed = self.count == self.target
        parts = {"off": float(abs(self.target - self.count))}
        return Outcome(float(passed), passed, "counted", parts)

    def admissible(self) -> list[str]:
        return ["up", "down", "drift", "submit"]

    def oracle(self) -> str:
        return "up" if self.count < self.target else "submit"

    def save_state(self) -> tuple[int, int]:
        return self.target, self.count

    def load_state(self, state: tuple[int, int]) -> None:
        self.target, self.count = state

    def _facts(self) -> dict[str, Any]:
        return {"count": self.count}


class ThreadCounter(Counter):
    """In a thread of its own, under the asynchronous face."""

    execution = "thread"


class ProcessCounter(Counter):
    """In a worker process, under the asynchronous face."""

    execution = "process"


class AsyncCounter(agentgym.Env):
    """The same world with coroutines for hooks; one is plain."""

    splits = Counter.splits
    provides = Counter.provides
    grammar = Counter.grammar
    max_turns = Counter.max_turns
    deadline_s = 0.5
    tasks = Counter.tasks
    oracle = Counter.oracle
    _facts = Counter._facts

    async def begin(self, task: Task) -> str:
        await asyncio.sleep(0)
        self.target = int(task.id.partition(":")[2])
        self.count = int(self.np_random.integers(0, 4))
        return f"{self.count} of {self.target}"

    async def respond(self, action: Action) -> Reply:
        await asyncio.sleep(60 if action == "hang" else 0)
        if action == "submit":
            return Reply("Submitted.", await self.judge(), self._facts())
        if action not in ("up", "down", "drift"):
            raise InvalidAction("unknown_word", f"I do not know {action[:40]!r}.")
        drift = int(self.np_random.integers(-1, 2))
        self.count += {"up": 1, "down": -1}.get(action, drift)
        return Reply(f"{self.count} of {self.target}", facts=self._facts(), info={"extra": 1})

    async def judge(self) -> Outcome:
        passed = self.count == self.target
        parts = {"off": float(abs(self.target - self.count))}
        return Outcome(float(passed), passed, "counted", parts)

    async def admissible(self) -> list[str]:
        return ["up", "down", "drift", "submit"]


class PickyError(Exception):
    """Pickles, and does not come back: what `__init__` takes is not in `args`."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Trouble(agentgym.Env):
    """Does what it is told, whatever comes of it."""

    grammar = Grammar.text(max_chars=3_000_000)
    max_turns = 1000
    provides = frozenset({"pid", "thread"})

    def __init__(self, *, start: str = "", close: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.at_close = close
        if start == "refused":
            raise SandboxError("no place to run in")
        self.start = start

    def begin(self, task: Task) -> str:
        self.respond(Action(self.start))
        return "Ready."

    def respond(self, action: Action) -> Reply:
        word, _, rest = action.partition(" ")
        if word == "sleep":
            time.sleep(float(rest))
        elif word == "spin":
            while True:
                pass
        elif word == "exit":
            os._exit(3)
        elif word == "fail":
            raise {
                "key": KeyError("x"),
                "sandbox": SandboxError("it is gone"),
                "task": TaskError("no such thing"),
                "picky": PickyError("one", "two"),
                "stop": StopIteration(),
                "invalid": InvalidAction("own", "Do not."),
            }[rest]
        elif word == "unpicklable":
            return Reply("Here.", info={"lock": threading.Lock()})
        elif word == "print":
            print("noise", flush=True)  # noqa: T201
        return Reply("Done.", facts={"pid": os.getpid(), "thread": threading.get_ident()})

    def close(self) -> None:
        super().close()
        if self.at_close == "stop":
            raise StopIteration


for world in (Counter, ThreadCounter, ProcessCounter, AsyncCounter, Trouble):
    agentgym.register(f"counting/{world.__name__}-v0", world)
