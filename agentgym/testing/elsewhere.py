"""What the kit does in a fresh interpreter: play again, and look for what is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from gymnasium.envs.registration import EnvSpec

from agentgym.env import Env
from agentgym.testing.rehearsal import Broken, Moment, Script, areplay, replay

T = TypeVar("T")

CHILD_DEADLINE_S = 600.0
"""Longest a fresh interpreter may take, in seconds."""
ROUNDS = 3
"""Rounds of episodes after the first; what grows by one a round is a leak, the rest a cache."""
GRACE_S = 5.0
"""How long processes and threads may take to end after `close`, in seconds."""
_MARK = "AGENTGYM_LEAK_CHECK"
_BOOT = """
import pickle, sys
with open(sys.argv[1] + "/work", "rb") as file:
    sys.path[:] = pickle.load(file)
    function, arguments = pickle.load(file)
result = function(*arguments)
with open(sys.argv[1] + "/result", "wb") as file:
    pickle.dump(result, file)
"""


def call_elsewhere(
    function: Callable[..., T], *arguments: Any, folder: Path, **environment: str
) -> T:
    """Call a function of an importable module in a fresh interpreter with more `environment`.

    It is given no pipe of ours, so that nothing it leaves running can keep us waiting.

    Raises:
        Broken: It raised, or took longer than `CHILD_DEADLINE_S`.
    """
    with (folder / "work").open("wb") as file:
        pickle.dump(sys.path, file)
        pickle.dump((function, arguments), file)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, str(folder)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            code = process.wait(CHILD_DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            raise Broken(f"nothing came back after {CHILD_DEADLINE_S:g} s") from error
        finally:
            process.kill()
            process.wait()
    if code != 0:
        last = (folder / "log").read_text(errors="replace").strip().rpartition("\n")[2]
        raise Broken(f"in another process: {last or f'exit status {code}'}")
    with (folder / "result").open("rb") as file:
        result: T = pickle.load(file)
    return result


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one use of `call_elsewhere`."""
    with tempfile.TemporaryDirectory(prefix="agentgym-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def replay_all(spec: EnvSpec, scripts: Sequence[Script]) -> list[list[Moment]]:
    """Replay scripts in a new instance."""
    env: Any = spec.make()
    try:
        return [replay(env.unwrapped, script.seed, script.actions) for script in scripts]
    finally:
        env.close()


# -------------------------------------------------------------------------------- leaks


def leaks(spec: EnvSpec, scripts: Sequence[Script]) -> list[str]:
    """What episodes in a fresh interpreter leave behind: after `close`, and after its end."""
    mark = uuid.uuid4().hex
    with scratch() as folder:
        temporary = folder / "tmp"
        temporary.mkdir()
        environment = {_MARK: mark, "TMPDIR": str(temporary)}
        try:
            found = call_elsewhere(_held_after, spec, scripts, folder=folder, **environment)
        finally:
            orphans = _marked(mark)
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        left = sorted(path.name for path in temporary.iterdir())
    if orphans:
        found.append(f"processes outlive the interpreter ({', '.join(orphans.values())})")
    if left:
        found.append(f"temporary files outlive the interpreter ({', '.join(left[:3])})")
    return found


def _held_after(spec: EnvSpec, scripts: Sequence[Script]) -> list[str]:
    """Play a few rounds and say what there is one more of after each; runs elsewhere."""
    _round(spec, scripts)
    before = _held()
    for _ in range(ROUNDS):
        _round(spec, scripts)
    grown: dict[str, Counter[str]] = {}
    until = time.monotonic() + GRACE_S
    while True:
        gc.collect()
        grown = {kind: count - before[kind] for kind, count in _held().items()}
        grown = {kind: more for kind, more in grown.items() if more.total() >= ROUNDS}
        if not grown or time.monotonic() > until:
            break
        time.sleep(0.05)
    return [
        f"{more.total()} more {kind} after {2 * ROUNDS} episodes ({', '.join(list(more)[:3])})"
        for kind, more in grown.items()
    ]


def _round(spec: EnvSpec, scripts: Sequence[Script]) -> None:
    """One episode left in the middle, by one face, and one played out by the other."""
    cut, whole = scripts[0], scripts[-1]

    async def play(env: Env) -> None:
        try:
            await areplay(env.areset, env.astep, cut.seed, cut.actions[:2])
        finally:
            await env.aclose()

    plain: Any = spec.make()
    replay(plain.unwrapped, whole.seed, whole.actions)
    plain.close()
    other: Any = spec.make()
    asyncio.run(play(other.unwrapped))


def _held() -> dict[str, Counter[str]]:
    """What this process holds; a name for each thing, numbers in it left out."""
    files: Counter[str] = Counter()
    for entry in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            files[os.readlink(f"/proc/self/fd/{entry}").partition(":[")[0]] += 1
    threads = Counter(thread.name for thread in threading.enumerate())
    threads["native"] = max(0, len(os.listdir("/proc/self/task")) - threads.total())
    return {
        "open files": files,
        "threads": threads,
        "processes": Counter(_descendants(os.getpid()).values()),
        "temporary files": Counter(path.name for path in Path(tempfile.gettempdir()).iterdir()),
    }


def _processes() -> Iterator[tuple[int, Path]]:
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            yield int(path.name), path


def _command(path: Path) -> str:
    words = (path / "cmdline").read_bytes().split(b"\0")
    return b" ".join(words[:3]).decode(errors="replace").strip()[:60] or path.name


def _descendants(root: int) -> dict[int, str]:
    """Living processes below `root`, with their commands."""
    parents: dict[int, int] = {}
    for pid, path in _processes():
        with suppress(OSError):
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[pid] = int(parent)
    found: dict[int, str] = {}
    for pid in parents:
        above = pid
        while above in parents and above != root:
            above = parents[above]
        if above == root and pid != root:
            with suppress(OSError):
                found[pid] = _command(Path(f"/proc/{pid}"))
    return found


def _marked(mark: str) -> dict[int, str]:
    """Living processes that inherited our mark, whoever their parent is by now."""
    wanted = f"{_MARK}={mark}".encode()
    found: dict[int, str] = {}
    for pid, path in _processes():
        with suppress(OSError):
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                found[pid] = _command(path)
    return found
