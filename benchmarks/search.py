"""What searching costs: in this process, over HTTP, and as a turn of an environment.

    python benchmarks/search.py [--quick] [--json] [--peers PYTHON]

Needs `pip install 'agentgym-env[search]'`. Peers are measured where PYTHON is the interpreter of an
environment that holds them:

    uv venv peers
    uv pip install --python peers/bin/python skyrl-gym==0.4.0 fastapi uvicorn bm25s PyStemmer

The corpora are made here, from a seed. Rates are medians of interleaved rounds of one run; CPU is
that of all processes that take part.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _measure import Figure, report

from agentgym.retrieval.base import Passage

SIZES = (10_000, 100_000, 1_000_000)
WORDS = 80
"""Of a passage, as in the Wikipedia that Search-R1 searches."""
ROUNDS = 3
AT_ONCE = 32
PEER = Path(__file__).with_name("_search_peer.py")


def main() -> int:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the smallest corpus: a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--peers", metavar="PYTHON", help="where skyrl-gym and FastAPI are")
    options = parser.parse_args()
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES[:1] if options.quick else SIZES:
            figures |= index(size, Path(folder) / str(size))
        figures |= remote(Path(folder) / str(SIZES[0]), options.quick, options.peers)
        figures |= steps(Path(folder), options.quick, options.peers)
    return report(figures, as_json=options.json)


# -------------------------------------------------------------------------------- an index


def passages(size: int) -> Iterator[Passage]:
    """Passages of words that are as unequally frequent as those of a language."""
    generator = np.random.default_rng(20)
    vocabulary = min(40 * int(size**0.62), 400_000)  # grows with the corpus, as Heaps found
    weights = 1.0 / (np.arange(vocabulary) + 2.7) ** 1.05
    shares = np.cumsum(weights / weights.sum())
    names = [f"w{number}" for number in range(vocabulary)]
    for start in range(0, size, 1000):
        drawn = np.searchsorted(shares, generator.random((1000, WORDS + 2))).clip(
            max=vocabulary - 1
        )
        for row, numbers in enumerate(drawn.tolist(), start=start):
            words = [names[number] for number in numbers]
            half = WORDS // 2 + 2
            sentences = (" ".join(words[2:half]) + ".", " ".join(words[half:]) + ".")
            yield Passage(f"p{row}", f"{words[0]} {words[1]} n{row}", sentences)


BUILD = """
import resource, sys, time
sys.path.insert(0, sys.argv[3])
from search import passages
from agentgym.retrieval.building import build_index

made = 0.0

def timed(rows):
    global made
    rows = iter(rows)
    while True:
        begun = time.process_time()
        row = next(rows, None)
        made += time.process_time() - begun
        if row is None:
            return
        yield row

begun = time.process_time()
build_index(timed(passages(int(sys.argv[1]))), sys.argv[2])
built = time.process_time() - begun - made
print(built, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""

QUERY = """
import sys, time
import agentgym.retrieval.local, bm25s, Stemmer
from agentgym.retrieval import open_retriever

def held_mb():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

folder, size = sys.argv[1], int(sys.argv[2])
before, begun = held_mb(), time.process_time()
retriever = open_retriever(folder)
opened, held = time.process_time() - begun, held_mb() - before
begun = time.process_time()
retriever.close()
retriever = open_retriever(folder, check=False)
unchecked = time.process_time() - begun
titles, questions = [], []
for number in range(0, size, size // 200):
    passage = retriever.corpus[number]
    titles.append(passage.title)
    questions.append(" ".join(passage.text.split()[:18]))
costs = []
for queries in (titles, questions):
    retriever.search(queries[:20], 5)
    begun = time.process_time()
    for query in queries:
        (hits,) = retriever.search([query], 5)
        assert hits
    costs.append((time.process_time() - begun) / len(queries))
print(opened, unchecked, held, *costs, held_mb() - before)
"""


def index(size: int, folder: Path) -> dict[str, Figure]:
    """Building an index folder, opening it, and a query, each in a process of its own."""
    built_s, most_mb = _run(BUILD, size, folder, Path(__file__).parent)
    opened_s, unchecked_s, held_mb, title_s, question_s, searched_mb = _run(QUERY, folder, size)
    disk_mb = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()) / 2**20
    name = f"{size // 1000}k passages"
    return {
        f"{name}: build, CPU": Figure(built_s, "s"),
        f"{name}: build, most memory": Figure(most_mb, "MB"),
        f"{name}: on disk": Figure(disk_mb, "MB"),
        f"{name}: open, every byte checked, CPU": Figure(opened_s * 1e3, "ms"),
        f"{name}: open, unchecked, CPU": Figure(unchecked_s * 1e3, "ms"),
        f"{name}: memory of an open index": Figure(held_mb, "MB"),
        f"{name}: memory after 400 queries": Figure(searched_mb, "MB"),
        f"{name}: a title's query, CPU": Figure(title_s * 1e3, "ms"),
        f"{name}: a question of 18 words, CPU": Figure(question_s * 1e3, "ms"),
    }


def _run(program: str, *arguments: object) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return [float(word) for word in done.stdout.split()]


# -------------------------------------------------------------------------------- over HTTP


@dataclass
class Server:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    def cpu_s(self) -> float:
        """What it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _started(command: list[str], read: Callable[[str], str]) -> Iterator[Server]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Server(read(process.stdout.readline()), process)
    finally:
        process.terminate()
        process.communicate()


def own_server(folder: Path) -> contextlib.AbstractContextManager[Server]:
    """`agentgym corpus serve`."""
    words = ["-m", "agentgym.cli", "corpus", "serve", str(folder), "--port", "0"]
    return _started([sys.executable, *words], lambda line: line.split()[-1])


def peer_server(python: str, folder: Path) -> contextlib.AbstractContextManager[Server]:
    """FastAPI over the same corpus."""
    (corpus,) = folder.glob("*/passages.jsonl")
    command = [python, str(PEER), "serve", str(corpus)]
    return _started(command, lambda line: f"http://127.0.0.1:{line.strip()}/retrieve")


def remote(folder: Path, quick: bool, peers: str | None) -> dict[str, Figure]:
    """Searches of many at once over HTTP: ours together, and a query a call as others send them."""
    count = 600 if quick else 3000
    with contextlib.ExitStack() as stack:
        ways = {"together": (stack.enter_context(own_server(folder)), "queries")}
        ways["a query a call, our server"] = (ways["together"][0], "query")
        if peers:
            ways["a query a call, FastAPI"] = (
                stack.enter_context(peer_server(peers, folder)),
                "query",
            )
        rounds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
        for number in range(ROUNDS + 1):
            for name, (server, dialect) in ways.items():
                taken = asyncio.run(_searches(server, dialect, count if number else 100))
                if number:  # the first warms up
                    rounds[name].append(taken)
    figures = {}
    rates = {}
    for name, taken in rounds.items():
        rates[name], client_s, server_s = (
            statistics.median(each) for each in zip(*taken, strict=True)
        )
        figures[f"searches over HTTP, {name}"] = Figure(rates[name], "/s", lower_is_better=False)
        figures[f"searches over HTTP, {name}: client CPU"] = Figure(client_s * 1e3, "ms")
        figures[f"searches over HTTP, {name}: server CPU"] = Figure(server_s * 1e3, "ms")
    if peers:
        ratio = rates["together"] / rates["a query a call, FastAPI"]
        figures["searches together over FastAPI, a query a call"] = Figure(
            ratio, "x", 2.0, lower_is_better=False
        )
    return figures


async def _searches(server: Server, dialect: str, count: int) -> tuple[float, float, float]:
    """Searches a second, and CPU seconds a search of client and server."""
    from agentgym.retrieval.http import HttpRetriever

    retriever = HttpRetriever(
        server.url,
        dialect=dialect,  # type: ignore[arg-type]
        connections=AT_ONCE if dialect == "query" else None,
    )
    numbers = iter(range(count))

    async def searcher() -> None:
        for number in numbers:
            (hits,) = await retriever.asearch([f"w{number % 97} w{number % 89} n{number}"], 3)
            assert hits

    begun, own, theirs = time.perf_counter(), time.process_time(), server.cpu_s()
    await asyncio.gather(*(searcher() for _ in range(AT_ONCE)))
    seconds = time.perf_counter() - begun
    own, theirs = time.process_time() - own, server.cpu_s() - theirs
    retriever.close()
    return count / seconds, own / count, theirs / count


# -------------------------------------------------------------------------------- a turn


def steps(folder: Path, quick: bool, peers: str | None) -> dict[str, Figure]:
    """An episode is two searches and an answer; the same questions over the same corpus."""
    import gymnasium as gym

    import agentgym  # noqa: F401 - registers the environment
    from agentgym.retrieval.building import build_index

    docs = 1000 if quick else 10_000
    env = gym.make("agentgym/Search-v0", task_set=f"world:hops=2,docs={docs}", dialect="search_r1")
    _, info = env.reset(seed=0)
    first = info["task"].id
    tasks = [info["task"]]
    world, _, _ = first.rpartition(":task=")
    for number in range(40):
        _, info = env.reset(seed=number, options={"task": f"{world}:task={number}"})
        tasks.append(info["task"])
    episodes = [
        (
            [*task.data["searches"][:2]] * (2 if len(task.data["searches"]) < 2 else 1),
            task.data["answers"][0],
        )
        for task in tasks
    ]
    corpus = env.unwrapped.retriever.corpus  # type: ignore[attr-defined]
    count = 60 if quick else 400

    def own() -> tuple[float, float]:
        begun, used, taken = time.perf_counter(), time.process_time(), 0
        for number in range(count):
            turns, answer = episodes[number % len(episodes)]
            env.reset(options={"task": tasks[number % len(episodes)].id})
            for turn in turns:
                env.step(f"<search>{turn}</search>")
            _, _, terminated, _, _ = env.step(f"<answer>{answer}</answer>")
            assert terminated
            taken += len(turns) + 1
        seconds = time.perf_counter() - begun
        return taken / seconds, (time.process_time() - used) / taken

    build_index(corpus, folder / "world")
    rounds: dict[str, list[tuple[float, float]]] = {"agentgym/Search-v0": []}
    with contextlib.ExitStack() as stack:
        theirs = stack.enter_context(_peer_steps(peers, folder, episodes, count)) if peers else None
        own()
        for _ in range(ROUNDS):
            rounds["agentgym/Search-v0"].append(own())
            if theirs is not None:
                rounds.setdefault("skyrl-gym SearchEnv", []).append(theirs())
    env.close()
    figures = {}
    medians = {}
    for name, taken in rounds.items():
        rate, cpu_s = medians[name] = tuple(
            statistics.median(each) for each in zip(*taken, strict=True)
        )
        figures[f"{name}: steps"] = Figure(rate, "/s", lower_is_better=False)
        figures[f"{name}: a step, CPU of all processes"] = Figure(cpu_s * 1e3, "ms")
    if peers:
        (rate, cpu_s), (their_rate, their_cpu_s) = medians.values()
        figures["steps over skyrl-gym's"] = Figure(
            rate / their_rate, "x", 8.0, lower_is_better=False
        )
        figures["CPU of a step over skyrl-gym's"] = Figure(cpu_s / their_cpu_s, "x", 0.25)
    return figures


@contextlib.contextmanager
def _peer_steps(
    python: str, folder: Path, episodes: list[Any], count: int
) -> Iterator[Callable[[], tuple[float, float]]]:
    with peer_server(python, folder / "world") as server:
        plan = folder / "plan.json"
        plan.write_text(json.dumps({"url": server.url, "episodes": episodes}))
        player = subprocess.Popen(
            [python, str(PEER), "play", str(plan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert player.stdin is not None
        assert player.stdout is not None
        try:
            player.stdout.readline()

            def play() -> tuple[float, float]:
                assert player.stdin is not None
                assert player.stdout is not None
                used = server.cpu_s()
                player.stdin.write(f"{count}\n")
                player.stdin.flush()
                taken, seconds, own = json.loads(player.stdout.readline())
                return taken / seconds, (own + server.cpu_s() - used) / taken

            play()
            yield play
        finally:
            player.stdin.close()
            player.wait()


if __name__ == "__main__":
    sys.exit(main())
