"""Small worlds and policies that tests share; importable by name, as worker processes need."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym

import agentgym
from agentgym import Completion, Env, InvalidAction, Outcome, Reply


def fresh_python(code):
    """What `code` prints, run by a new interpreter that can import what lies beside the tests."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def peak_mb():
    """Most memory this process has held so far, in MB: only a fresh one tells what is new."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Count(Env):
    """Count to a number that the seed decides by saying the next one each turn."""

    instructions = "Count upwards from 1, one number a turn."
    provides = frozenset({"score"})
    max_turns = 8

    def __init__(self, *, fault: str = "", at: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.fault, self.at = fault, at

    def tasks(self):
        return [f"count:{n}" for n in range(3)]

    def begin(self, task):
        self.target = 2 + int(self.np_random.integers(0, 4))
        self.last = 0
        self.misbehave("reset")
        return f"Count to {self.target}"

    def respond(self, action):
        self.misbehave("step")
        if self.fault == "shows nothing":
            return Reply(None)
        if not action.isdigit():
            raise InvalidAction("parse", f"{action[:20]!r} is not a number")
        if int(action) != self.last + 1:
            return Reply("Wrong", Outcome(0.0, False, "lost"), facts={"score": self.last})
        self.last += 1
        if self.last == self.target:
            return Reply("Done", Outcome(1.0, True, "won"), facts={"score": self.last})
        return Reply(f"{self.last}, go on", facts={"score": self.last})

    def oracle(self):
        return str(self.last + 1)

    def close(self):
        super().close()
        if self.fault == "close hangs":
            time.sleep(60)
        if self.fault == "close raises":
            raise RuntimeError("the world broke in close")

    def misbehave(self, stage):
        if stage == "step" and self.turn + 1 != self.at:
            return
        if self.fault == f"{stage} raises":
            raise RuntimeError(f"the world broke in {stage}")
        if self.fault == f"{stage} hangs":
            time.sleep(60)
        if self.fault == f"{stage} dies":
            os._exit(3)
        if self.fault == f"{stage} exits":
            raise SystemExit(3)
        if self.fault == f"{stage} refuses":
            raise InvalidAction("parse", "no such thing")


class CountInThread(Count):
    execution = "thread"


class CountInProcess(Count):
    execution = "process"


class CountAsync(Env):
    """The same with coroutine hooks."""

    max_turns = 8

    def __init__(self, *, fault: str = "", **kwargs):
        super().__init__(**kwargs)
        self.fault = fault

    async def begin(self, task):
        await asyncio.sleep(0)
        self.target, self.last = 2 + int(self.np_random.integers(0, 4)), 0
        return f"Count to {self.target}"

    async def respond(self, action):
        await asyncio.sleep(60 if self.fault == "step hangs" else 0)
        if action != str(self.last + 1):
            return Reply("Wrong", Outcome(0.0, False, "lost"))
        self.last += 1
        return Reply("On", Outcome(1.0, True, "won") if self.last == self.target else None)

    def oracle(self):
        return str(self.last + 1)


class Foreign(gym.Env):
    """A Gymnasium environment that knows nothing of agentgym."""

    action_space = observation_space = agentgym.Unicode(1000)

    def __init__(self, reward=1.0):
        self.reward = reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return "Say yes", {}

    def step(self, action):
        return "Thanks", self.reward if action == "yes" else 0.0, True, False, {}


class Slow(Count):
    """Each step takes a while, in a worker process."""

    execution = "process"

    def respond(self, action):
        time.sleep(0.4)
        return super().respond(action)


class Saying:
    """Says the same each turn, after a while."""

    def __init__(self, text="1", after_s=0.0):
        self.text, self.after_s = text, after_s

    async def act(self, messages, *, sampling, session, admissible=None):
        await asyncio.sleep(self.after_s)
        return Completion(self.text)


class Counting:
    """Counts, one number a turn, as `Count` wants it."""

    async def act(self, messages, *, sampling, session, admissible=None):
        return Completion(str(sum(m["role"] == "user" for m in messages)))


class Paced(Counting):
    """Counts, thinking for some milliseconds each time."""

    async def act(self, messages, **kwargs):
        await asyncio.sleep(0.004)
        return await super().act(messages, **kwargs)


for world in (Count, CountInThread, CountInProcess, CountAsync, Slow):
    agentgym.register(f"tests/{world.__name__}-v0", world)
gym.register("tests/Foreign-v0", Foreign, order_enforce=False, disable_env_checker=True)
