"""Removes what a process leaves behind when it is killed: folders, control groups, containers.

The first box of a process starts a second process, which does nothing but wait for the end of a
pipe that only its owner holds. Whatever way the owner ends, the kernel closes the pipe. All that an
owner makes carries its name, so what to remove is found, not remembered. Should the second process
be killed too, the next owner on the machine removes what both left (`sweep`).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

OWNER = re.compile(r"agentgym-(\d+)-(\d+)")
LABEL = "agentgym.owner"
"""Label of containers and images that go with their owner."""

_starting = threading.Lock()
_process: subprocess.Popen[bytes] | None = None
_told: set[str] = set()


def started(pid: int) -> str | None:
    """When a process was started, in clock ticks since boot; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


@functools.cache
def _owner(pid: int) -> str:
    return f"agentgym-{pid}-{started(pid) or 0}"


def owner() -> str:
    """The name of this process, that no other has had or will have until the machine restarts."""
    return _owner(os.getpid())


def lives(name: str) -> bool:
    """Whether the owner that something is named after is still there."""
    found = OWNER.match(name)
    return found is not None and started(int(found[1])) == found[2]


@functools.cache
def folder() -> Path:
    """Where owners keep what goes with them: in memory, where there is a place for it."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else Path(os.environ.get("TMPDIR", "/tmp"))
    place = parent / f"agentgym-{os.geteuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.stat().st_uid != os.geteuid() or place.is_symlink():
        raise PermissionError(f"{place} belongs to somebody else: remove it")
    return place


def watch(engine: str = "") -> None:
    """See to it that what this process makes from now on is removed when it ends.

    Args:
        engine: The address of a Docker engine whose containers it makes.
    """
    global _process
    with _starting:
        if _process is None or _process.args != _arguments():
            _process = subprocess.Popen(
                _arguments(),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
            _told.clear()
            sweep()
        if engine and engine not in _told and _process.stdin is not None:
            _told.add(engine)
            with contextlib.suppress(OSError):
                _process.stdin.write(f"{engine}\n".encode())
                _process.stdin.flush()


def _arguments() -> list[str]:
    # -P: beside this file is a `docker.py` that is not the one it imports
    return [sys.executable, "-P", str(Path(__file__).resolve()), owner(), str(folder())]


def sweep() -> None:
    """Remove the folders and control groups of owners that are no more."""
    names = {OWNER.match(path.name) for path in _places(folder())}
    for name in {found[0] for found in names if found is not None}:
        if not lives(name):
            clean(name, folder())


def _places(kept: Path) -> list[Path]:
    groups = Path("/sys/fs/cgroup")
    found = list(kept.glob("agentgym-*")) + list(groups.glob("agentgym-*"))
    own = {line.rpartition(":")[2] for line in _own_groups()}
    for parent in {groups / each.strip().lstrip("/") for each in own}:
        found += parent.glob("agentgym-*")
    for controller in ("memory", "pids", "cpu"):
        found += (groups / controller).glob("agentgym-*")
    return found


def _own_groups() -> list[str]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    return [line for line in lines if line.startswith("0::")]


def clean(name: str, kept: Path) -> None:
    """Remove the folders and control groups of an owner."""
    deadline = time.monotonic() + 5.0
    for path in _places(kept):
        if not (path.name == name or path.name.startswith(name + "-")):
            continue
        if path.is_file():
            path.unlink(missing_ok=True)
        elif not path.is_relative_to("/sys"):
            shutil.rmtree(path, ignore_errors=True)
        while path.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                (path / "cgroup.kill").write_text("1")
            with contextlib.suppress(OSError):
                path.rmdir()
                break
            time.sleep(0.005)


def clean_engine(client: object, name: str) -> None:
    """Remove the containers and images of an owner from a Docker engine."""
    from typing import Any, cast

    engine = cast(Any, client)
    label = {"label": f"{LABEL}={name}"}
    for _ in range(20):  # one that is just being made shows up a moment later
        found = engine.containers(all=True, quiet=True, filters=label)
        for container in found:
            with contextlib.suppress(Exception):
                engine.remove_container(container["Id"], force=True, v=True)
        if not found:
            break
        time.sleep(0.05)
    for image in engine.images(quiet=True, all=True, filters=label):
        with contextlib.suppress(Exception):
            engine.remove_image(image, force=True)


def main() -> None:
    """Wait for the owner's end, then clean up after it."""
    name, kept = sys.argv[1], Path(sys.argv[2])
    clients = []
    for line in sys.stdin:  # ends with the owner
        with contextlib.suppress(Exception):
            import docker

            clients.append(docker.APIClient(base_url=line.strip(), timeout=30))
    clean(name, kept)
    for client in clients:
        with contextlib.suppress(Exception):
            clean_engine(client, name)
            time.sleep(0.5)  # a request that was under way when the owner ended
            clean_engine(client, name)


if __name__ == "__main__":
    main()
