"""What agentgym costs per turn, per step, per model call, and to start.

The world is trivial (ten turns, observations of 200 characters, a constant reply), so that what is
left is the machinery. CPU time is that of all processes involved; ratios are taken in one run.

    python benchmarks/overhead.py            # a minute or two
    python benchmarks/overhead.py --quick --json

Peers (gem-llm, skyrl-gym, verifiers 0.1.x, openenv) are measured where they are installed.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import orjson
from _measure import Figure, arguments, cpu_seconds, report

import agentgym
from agentgym.collector import Collector, episode_keys
from agentgym.policy import open_policy
from agentgym.store import Store

TURNS = 10
TEXT = "You are in a room with a table, a chair and a door. " * 4
OBSERVATION = TEXT[:200]
REPLY = "open the door"


class Trivial(agentgym.Env):
    """Ten turns of nothing, then solved."""

    max_turns = TURNS + 1

    def begin(self, task: agentgym.Task) -> str:
        """Show the room."""
        return OBSERVATION

    def respond(self, action: agentgym.Action) -> agentgym.Reply:
        """Show the room again; end on the tenth turn."""
        if self.turn + 1 == TURNS:
            return agentgym.Reply(OBSERVATION, agentgym.Outcome(1.0, True))
        return agentgym.Reply(OBSERVATION)


class Bare(gym.Env[str, str]):
    """The same, as little Gymnasium as possible."""

    def __init__(self) -> None:
        self.observation_space = self.action_space = agentgym.Unicode(1000)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        """Show the room."""
        super().reset(seed=seed)
        self.turn = 0
        return OBSERVATION, {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Show the room again."""
        self.turn += 1
        over = self.turn == TURNS
        return OBSERVATION, float(over), over, False, {}


agentgym.register("bench/Trivial-v0", Trivial)
gym.register("bench/Bare-v0", Bare, order_enforce=False, disable_env_checker=True)


class Constant:
    """Says the same at once; with token ids if given."""

    def __init__(self, ids: tuple[int, int] | None = None) -> None:
        self._prompt, self._sampled = ids or (0, 0)
        generator = np.random.default_rng(0)
        self._ids = generator.integers(0, 50_000, size=100_000).astype(np.int32)
        self._logprobs = generator.normal(size=self._sampled).astype(np.float32)

    async def act(self, messages: Sequence[Any], **_: Any) -> agentgym.Completion:
        """Reply; every prompt extends the one before."""
        if not self._sampled:
            return agentgym.Completion(REPLY)
        turn = len(messages) // 2 - 1
        start = self._prompt + turn * (self._prompt + self._sampled)
        return agentgym.Completion(
            REPLY,
            prompt_ids=self._ids[:start],
            completion_ids=self._ids[start : start + self._sampled],
            logprobs=self._logprobs,
            logprob_kind="raw",
        )


class Slow:
    """Thinks for 50 ms."""

    async def act(self, messages: Sequence[Any], **_: Any) -> agentgym.Completion:
        """Sleep, then reply."""
        await asyncio.sleep(0.05)
        return agentgym.Completion(REPLY)


def make() -> gym.Env[Any, Any]:
    """Make the trivial world."""
    return gym.make("bench/Trivial-v0")


def collect(
    policy: Any, episodes: int, concurrency: int, store: Store | None
) -> tuple[float, float]:
    """Wall and CPU seconds of a collection."""

    async def run() -> None:
        collector = Collector(
            make, policy, concurrency=concurrency, record=store.append if store else None
        )
        keys = episode_keys("bench/Trivial-v0", ["default"], seeds=range(episodes))
        async with aclosing(collector.stream(keys)) as stream:
            async for trajectory in stream:
                if trajectory.outcome is None or trajectory.outcome.score != 1.0:
                    raise SystemExit(f"the trivial world was not solved: {trajectory.error}")

    gc.collect()
    wall, cpu = time.perf_counter(), cpu_seconds()
    asyncio.run(run())
    return time.perf_counter() - wall, cpu_seconds() - cpu


def collector_us(repeats: int, episodes: int, ids: tuple[int, int] | None = None) -> float:
    """CPU microseconds per turn of the collector, recording to disk included; median."""
    taken = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            store = Store.create(Path(folder) / "run", {})
            _, cpu = collect(Constant(ids), episodes, 64, store)
            store.close()
        taken.append(cpu / (episodes * TURNS) * 1e6)
    return statistics.median(taken)


def loop_us(env: gym.Env[Any, Any], episodes: int) -> float:
    """CPU microseconds per step of a plain loop."""
    gc.collect()
    begun = time.process_time()
    for _ in range(episodes):
        env.reset()
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(REPLY)
            over = terminated or truncated
    return (time.process_time() - begun) / (episodes * TURNS) * 1e6


def step_us(env: gym.Env[Any, Any], episodes: int) -> float:
    """Wall-clock microseconds of `env.step` alone, resets left out."""
    spent = 0.0
    clock = time.perf_counter
    for _ in range(episodes):
        env.reset(seed=0)
        step = env.step
        begun = clock()
        for _ in range(TURNS):
            step(REPLY)
        spent += clock() - begun
    return spent / (episodes * TURNS) * 1e6


def step_figures(repeats: int, episodes: int) -> dict[str, Figure]:
    """`env.step` through `gym.make` against a bare environment behind the same; pairwise."""
    ours, bare = make(), gym.make("bench/Bare-v0")
    pairs = [(step_us(bare, episodes), step_us(ours, episodes)) for _ in range(repeats)]
    return {
        "step, bare gymnasium": Figure(min(b for b, _ in pairs), "us"),
        "step, agentgym": Figure(min(o for _, o in pairs), "us"),
        "step over bare gymnasium": Figure(
            min(o for _, o in pairs) - min(b for b, _ in pairs), "us", 2.0
        ),
    }


def throughput(slots: int) -> tuple[float, float]:
    """Share of slots / 50 ms reached by the collector, and by the same loop written bare."""
    episodes = 8 * slots
    best = episodes * TURNS * 0.05 / slots
    wall, _ = collect(Slow(), episodes, slots, None)

    async def bare() -> None:
        remaining = iter(range(episodes))
        policy, env_id = Slow(), "bench/Bare-v0"

        async def slot() -> None:
            env = gym.make(env_id)
            for seed in remaining:
                env.reset(seed=seed)
                messages: list[Any] = []
                over = False
                while not over:
                    completion = await policy.act(messages)
                    messages.append(completion)
                    _, _, over, _, _ = env.step(completion.text)

        async with asyncio.TaskGroup() as group:
            for _ in range(slots):
                group.create_task(slot())

    begun = time.perf_counter()
    asyncio.run(bare())
    return best / wall, best / (time.perf_counter() - begun)


def serve(body: bytes, port: Any) -> None:
    """Answer every request with `body`; in a process of its own."""
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.value = runner.addresses[0][1]
        await asyncio.Event().wait()

    asyncio.run(main())


def reply_body(tokens: int) -> bytes:
    """What a vLLM server answers: a short text, or one with ids and log-probabilities."""
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": REPLY},
    }
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [choice],
        "usage": {"prompt_tokens": 300, "completion_tokens": max(tokens, 4), "total_tokens": 556},
    }
    if tokens:
        choice["token_ids"] = list(range(1000, 1000 + tokens))
        choice["logprobs"] = {
            "content": [
                {
                    "token": f" word{i}",
                    "logprob": -0.1234567 * (i % 9),
                    "bytes": None,
                    "top_logprobs": [],
                }
                for i in range(tokens)
            ]
        }
        body["prompt_token_ids"] = list(range(300))
    return orjson.dumps(body)


def call_us(tokens: int, calls: int) -> float:
    """Client CPU microseconds of a model call, parsed into a Completion."""
    port = multiprocessing.Value("i", 0)
    server = multiprocessing.Process(target=serve, args=(reply_body(tokens), port), daemon=True)
    server.start()
    while not port.value and server.is_alive():
        time.sleep(0.01)
    messages = [{"role": "system", "content": TEXT}]
    for _ in range(5):
        messages += [
            {"role": "user", "content": OBSERVATION},
            {"role": "assistant", "content": REPLY},
        ]
    sampling = agentgym.Sampling()

    async def run() -> float:
        policy = open_policy(f"openai:m@http://127.0.0.1:{port.value}/v1", api_key="none")
        try:

            async def some(count: int) -> None:
                for _ in range(count):
                    await policy.act(messages, sampling=sampling, session="s")

            await some(20)
            begun = time.process_time()
            await asyncio.gather(*(some(calls // 16) for _ in range(16)))
            return (time.process_time() - begun) / (calls // 16 * 16) * 1e6
        finally:
            await policy.aclose()  # type: ignore[attr-defined]

    try:
        return asyncio.run(run())
    finally:
        server.kill()
        server.join()


def command_cpu(command: list[str]) -> float:
    """CPU seconds of a command."""
    before = cpu_seconds()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return cpu_seconds() - before


def start_figures(repeats: int) -> dict[str, Figure]:
    """What importing costs, against `import gymnasium`: in turn, the least CPU time of each."""
    python = sys.executable
    program = str(Path(python).with_name("agentgym"))
    commands = {
        "gymnasium": [python, "-c", "import gymnasium"],
        "agentgym": [python, "-c", "import agentgym"],
        "help": [program, "--help"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats + 1):
        for name, command in commands.items():
            taken[name].append(command_cpu(command))
    base = min(taken["gymnasium"][1:])
    return {
        "import gymnasium": Figure(base * 1e3, "ms"),
        "import agentgym / import gymnasium": Figure(min(taken["agentgym"][1:]) / base, "x", 1.5),
        "agentgym --help / import gymnasium": Figure(min(taken["help"][1:]) / base, "x", 1.5),
    }


def peer_figures(episodes: int) -> dict[str, Figure]:
    """The same trivial world in the peers that are installed."""
    figures = {}
    for name, module, measure in PEERS:
        if importlib.util.find_spec(module) is not None:
            figures[f"turn, {name}"] = Figure(measure(episodes), "us")
    return figures


def skyrl_us(episodes: int) -> float:
    """skyrl-gym: make, init, step, close for each episode."""
    import skyrl_gym
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

    class Room(BaseTextEnv):  # type: ignore[misc]
        def __init__(self, env_config: Any = None, extras: Any = None) -> None:
            super().__init__()
            self.count = 0

        def step(self, action: str) -> Any:
            self.count += 1
            return BaseTextEnvStepOutput(
                observations=[{"role": "user", "content": OBSERVATION}],
                reward=0.1,
                done=self.count == TURNS,
                metadata={},
            )

    skyrl_gym.register(id="bench-room", entry_point=Room)
    begun = time.process_time()
    for _ in range(episodes):
        env = skyrl_gym.make("bench-room", env_config={}, extras={})
        env.init([{"role": "user", "content": OBSERVATION}])
        done = False
        while not done:
            done = env.step(REPLY)["done"]
        env.close()
    return (time.process_time() - begun) / (episodes * TURNS) * 1e6


def gem_us(episodes: int) -> float:
    """gem-llm: one environment, reset for each episode."""
    import gem

    class Room(gem.Env):  # type: ignore[misc]
        def reset(self, seed: int | None = None) -> Any:
            self.count = 0
            return OBSERVATION, {}

        def step(self, action: str) -> Any:
            self.count += 1
            return OBSERVATION, 0.1, self.count == TURNS, False, {}

        def sample_random_action(self) -> str:
            return REPLY

    gem.register("bench:Room", Room)
    return loop_us(gem.make("bench:Room"), episodes)


def openenv_us(episodes: int) -> float:
    """openenv: an Environment in process, pydantic actions and observations."""
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import Action, Observation, State

    class Say(Action):  # type: ignore[misc]
        text: str

    class Show(Observation):  # type: ignore[misc]
        text: str

    class Room(Environment):  # type: ignore[misc]
        def reset(self, seed: Any = None, episode_id: Any = None, **_: Any) -> Any:
            self.count = 0
            return Show(text=OBSERVATION, done=False, reward=None)

        def step(self, action: Any, timeout_s: Any = None, **_: Any) -> Any:
            self.count += 1
            return Show(text=OBSERVATION, done=self.count == TURNS, reward=0.1)

        @property
        def state(self) -> Any:
            return State()

    env = Room()
    begun = time.process_time()
    for _ in range(episodes):
        env.reset()
        done = False
        while not done:
            done = env.step(Say(text=REPLY)).done
    return (time.process_time() - begun) / (episodes * TURNS) * 1e6


def verifiers_us(episodes: int) -> float:
    """Verifiers 0.1.x: MultiTurnEnv with a client object that answers at once, 16 in flight."""
    from types import SimpleNamespace

    import verifiers
    from datasets import Dataset
    from openai.types.chat import ChatCompletion

    answer = ChatCompletion.model_validate(orjson.loads(reply_body(0)) | {"created": 0})

    async def create(**_: Any) -> Any:
        return answer

    client = SimpleNamespace(
        chat=SimpleNamespace(completions=SimpleNamespace(create=create)), base_url="http://here"
    )

    class Room(verifiers.MultiTurnEnv):  # type: ignore[misc]
        async def env_response(self, messages: Any, state: Any, **_: Any) -> Any:
            return [{"role": "user", "content": OBSERVATION}]

    rows = [{"question": OBSERVATION, "answer": ""}] * episodes
    room = Room(dataset=Dataset.from_list(rows), rubric=verifiers.Rubric(), max_turns=TURNS)
    begun = time.process_time()
    played = asyncio.run(
        room.evaluate(client, "m", num_examples=episodes, rollouts_per_example=1, max_concurrent=16)
    )
    if {len(state["trajectory"]) for state in played["state"]} != {TURNS}:
        raise SystemExit("verifiers did not play ten turns")
    return (time.process_time() - begun) / (episodes * TURNS) * 1e6


PEERS: tuple[tuple[str, str, Callable[[int], float]], ...] = (
    ("gem-llm", "gem", gem_us),
    ("skyrl-gym", "skyrl_gym", skyrl_us),
    ("openenv in process", "openenv", openenv_us),
    ("verifiers 0.1.x", "verifiers", verifiers_us),
)


def main() -> int:
    """Measure everything."""
    options = arguments(__doc__ or "")
    repeats, episodes = (3, 300) if options.quick else (5, 2000)
    figures = {
        "turn, collector and store": Figure(collector_us(repeats, episodes), "us", 30.0),
        "turn, with 300+256 token ids": Figure(
            collector_us(repeats, episodes // 4, (300, 256)), "us"
        ),
        "turn, gymnasium.make": Figure(loop_us(gym.make("bench/Bare-v0"), episodes), "us"),
        **peer_figures(min(episodes, 500)),
        **step_figures(repeats * 2, episodes),
        "call, short reply": Figure(call_us(0, 1000 if options.quick else 4000), "us", 200.0),
        "call, 256 ids and logprobs": Figure(
            call_us(256, 1000 if options.quick else 4000), "us", 600.0
        ),
    }
    for slots in (256, 1024):
        ours, bare = throughput(slots)
        figures[f"throughput, {slots} slots"] = Figure(ours * 100, "%", 92.0, lower_is_better=False)
        figures[f"throughput, {slots} slots, bare asyncio"] = Figure(
            bare * 100, "%", lower_is_better=False
        )
    figures.update(start_figures(repeats))
    return report(figures, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
