"""What a sandbox costs: a command, a fresh box, sixteen at once, one that idles; beside its peers.

    python benchmarks/sandboxes.py [--quick] [--json]

Needs a Docker engine, the base image (`agentgym images base`) and root or user namespaces. Peers
are measured where they are installed: docker-py and the `docker` command, swe-rex (its local
runtime: without the network between it and a container), mini-swe-agent. All figures are of one
run; latencies are the median of three interleaved rounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import _measure

from agentgym.sandbox import Limits, open_sandbox
from agentgym.sandboxes import docker as containers
from agentgym.sandboxes.engine import engine_host

IMAGE = "base"
COMMAND = "true"
ROUNDS = 3
BOXES = 16
LIMITS = Limits(memory_mb=512)
Run = Callable[[], object]


def main() -> int:
    """Measure and print the figures."""
    options = _measure.arguments(__doc__.partition("\n")[0])
    figures = {
        **commands(10 if options.quick else 60),
        **resets(3 if options.quick else 12),
        **idle(4 if options.quick else BOXES),
    }
    return _measure.report(figures, as_json=options.json)


# -------------------------------------------------------------------------------- commands


def commands(count: int) -> dict[str, _measure.Figure]:
    """A command that does nothing, in a box and through the ways of others."""
    with contextlib.ExitStack() as stack:
        runs: dict[str, Run] = {}
        for backend in ("docker", "local"):
            box = stack.enter_context(_box(backend))
            runs[backend] = lambda box=box: box.run(COMMAND)
        for peer in (_docker_py, _docker_command, _swe_rex, _mini_swe_agent):
            found = stack.enter_context(peer())
            if found is not None:
                runs[found[0]] = found[1]
        taken = _interleaved(runs, count)
    own, native = taken["docker"], taken["local"]
    figures = {
        "a command, docker box": _measure.Figure(own * 1e3, "ms"),
        "a command, local box": _measure.Figure(native * 1e3, "ms"),
    }
    bounds = {
        "docker-py exec_run": 1 / 20,
        "docker exec": 1 / 20,
        "swe-rex run_in_session": 1 / 20,
        "mini-swe-agent docker": 1 / 12,
    }
    for peer, bound in bounds.items():
        if peer in taken:
            figures[f"{peer}, a command"] = _measure.Figure(taken[peer] * 1e3, "ms")
            figures[f"docker box over {peer}"] = _measure.Figure(own / taken[peer], "x", bound)
    figures["local box over docker-py exec_run"] = _measure.Figure(
        native / taken["docker-py exec_run"], "x", 1 / 10
    )
    return figures


def _interleaved(runs: dict[str, Run], count: int) -> dict[str, float]:
    """The median over rounds of each round's median, in seconds."""
    rounds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            run()
            taken = []
            for _ in range(count):
                begun = time.perf_counter()
                run()
                taken.append(time.perf_counter() - begun)
            rounds[name].append(statistics.median(taken))
    return {name: statistics.median(each) for name, each in rounds.items()}


@contextlib.contextmanager
def _box(backend: str) -> Iterator[Any]:
    box = open_sandbox(IMAGE, backend=backend, limits=LIMITS)
    try:
        yield box
    finally:
        box.close()


@contextlib.contextmanager
def _container() -> Iterator[str]:
    """A container as most frameworks start one."""
    identity, _ = containers.find_image(IMAGE)
    engine = containers.client()
    host = engine.create_host_config(network_mode="none")
    made = engine.create_container(identity, ["sleep", "infinity"], host_config=host)
    engine.start(made["Id"])
    try:
        yield made["Id"]
    finally:
        engine.remove_container(made["Id"], force=True)


@contextlib.contextmanager
def _docker_py() -> Iterator[tuple[str, Run]]:
    import docker

    with _container() as name, contextlib.closing(docker.DockerClient(engine_host())) as client:
        container = client.containers.get(name)
        yield "docker-py exec_run", lambda: container.exec_run(COMMAND)


@contextlib.contextmanager
def _docker_command() -> Iterator[tuple[str, Run] | None]:
    if shutil.which("docker") is None:
        yield None
        return
    with _container() as name:
        command = ["docker", "--host", engine_host(), "exec", name, COMMAND]
        yield "docker exec", lambda: subprocess.run(command, check=True)


@contextlib.contextmanager
def _swe_rex() -> Iterator[tuple[str, Run] | None]:
    if importlib.util.find_spec("swerex") is None:
        yield None
        return
    from swerex.runtime.abstract import BashAction, CreateBashSessionRequest
    from swerex.runtime.local import LocalRuntime

    with asyncio.Runner() as runner:
        runtime = LocalRuntime()
        runner.run(runtime.create_session(CreateBashSessionRequest()))
        action = BashAction(command=COMMAND)
        yield "swe-rex run_in_session", lambda: runner.run(runtime.run_in_session(action))
        runner.run(runtime.close())


@contextlib.contextmanager
def _mini_swe_agent() -> Iterator[tuple[str, Run] | None]:
    if importlib.util.find_spec("minisweagent") is None or shutil.which("docker") is None:
        yield None
        return
    os.environ.setdefault("MSWEA_SILENT_STARTUP", "1")
    os.environ["DOCKER_HOST"] = engine_host()
    from minisweagent.environments.docker import DockerEnvironment

    environment = DockerEnvironment(
        image=containers.BASE, cwd="/", run_args=["--rm", "--network=none"]
    )
    try:
        yield "mini-swe-agent docker", lambda: environment.execute({"command": COMMAND})
    finally:
        environment.cleanup()


# -------------------------------------------------------------------------------- boxes


def resets(count: int) -> dict[str, _measure.Figure]:
    """A fresh box in the place of a used one: alone, and many at once."""
    taken: dict[str, list[float]] = {"docker": [], "local": []}
    for _ in range(ROUNDS):
        for backend, found in taken.items():
            box = open_sandbox(IMAGE, backend=backend, limits=LIMITS)
            for _ in range(count):
                begun = time.perf_counter()
                box.close()
                if backend == "docker":
                    containers.settle()  # gone, as a local box is when it is closed
                box = open_sandbox(IMAGE, backend=backend, limits=LIMITS)
                box.run(COMMAND)
                found.append(time.perf_counter() - begun)
            box.close()
    alone = {backend: statistics.median(found) for backend, found in taken.items()}
    figures = {
        "a fresh box, docker": _measure.Figure(alone["docker"] * 1e3, "ms"),
        "a fresh box, local": _measure.Figure(alone["local"] * 1e3, "ms"),
        "local reset over docker reset": _measure.Figure(
            alone["local"] / alone["docker"], "x", 1 / 5
        ),
    }
    for backend in alone:
        single, many = _starts(backend)
        figures[f"a start among {BOXES}, over one alone, {backend}"] = _measure.Figure(
            many / single, "x", 1.0
        )
    return figures


def _starts(backend: str) -> tuple[float, float]:
    """Seconds of a start alone, and of each of many started at once."""
    alone = []
    for _ in range(5):
        begun = time.perf_counter()
        box = open_sandbox(IMAGE, backend=backend, limits=LIMITS)
        alone.append(time.perf_counter() - begun)
        box.close()
    containers.settle()
    shares = []
    for _ in range(ROUNDS):
        with ThreadPoolExecutor(BOXES) as threads:
            begun = time.perf_counter()
            boxes = list(
                threads.map(
                    lambda _: open_sandbox(IMAGE, backend=backend, limits=LIMITS), range(BOXES)
                )
            )
            shares.append((time.perf_counter() - begun) / BOXES)
            list(threads.map(lambda box: box.close(), boxes))
        containers.settle()
    return statistics.median(alone), statistics.median(shares)


def idle(count: int) -> dict[str, _measure.Figure]:
    """What boxes hold that do nothing: their processes' share of memory, by the number of boxes."""
    figures = {}
    for backend in ("docker", "local"):
        with contextlib.ExitStack() as stack:
            boxes = [stack.enter_context(_box(backend)) for _ in range(count)]
            held = sum(_share_mb(process) for box in boxes for process in _processes(backend, box))
        figures[f"an idle box, {backend}"] = _measure.Figure(held / count, "MB")
        containers.settle()
    return figures


def _processes(backend: str, box: Any) -> list[int]:
    """A container's first process and the shim above it; `unshare` and its children."""
    if backend == "docker":
        first = int(containers.client().inspect_container(box.container)["State"]["Pid"])
        line = Path(f"/proc/{first}/stat").read_text()
        return [first, int(line.rpartition(")")[2].split()[1])]
    found = [int(box._process.pid)]
    for process in found:
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
        found += map(int, children.split())
    return found


def _share_mb(process: int) -> float:
    """Its own memory, and its part of what it shares."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    sys.exit(main())
