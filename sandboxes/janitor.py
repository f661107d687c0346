"""Removes what a process leaves behind when it is killed: folders, control groups, containers.

The first box of a process starts a second process, which does nothing but wait for its owner's end,
and which the kernel tells of it, whatever way the owner ends. All that an owner makes carries its
name, so what to remove is found, not remembered. Should the second process be killed too, the next
owner on the machine removes what both left.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import re
import select
import shutil
import signal
import socket
import sys
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

OWNER = re.compile(r"agentgym-([0-9a-f]{6})([0-9a-f]{6})-(\d+)-(\d+)-(\d+)(?!\d)")
"""Machine, boot, namespace of process numbers, process, when it was started."""
LABEL = "agentgym.owner"
"""Label of containers and images that go with their owner."""

_GOODBYE = "goodbye"
"""What an owner says that ends by itself: it has nothing under way."""
VARIABLE = "AGENTGYM_OWNER"
"""In the environment of browsers: who they go with."""

PROFILE = "playwright_chromiumdev_profile-"
"""How the names of browsers' profiles begin."""
_SWEEPS = 5
"""How often, a second apart, an engine is looked at again for what dead owners left."""
_REMOVAL_S = 20.0
"""Longest wait for the engine to remove a container by itself."""


def lock() -> threading.Lock:
    """A lock that is free in a child that was forked while another thread had it."""
    made = threading.Lock()
    os.register_at_fork(after_in_child=made._at_fork_reinit)  # type: ignore[attr-defined]
    return made


_starting = lock()
_janitor: tuple[int, int, int] | None = None  # its owner, itself, the pipe to it
_engines: set[str] = set()


def started(pid: int) -> str | None:
    """When a process was started, in clock ticks since boot; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


@functools.cache
def _place() -> str:
    """Machine, boot and namespace: an engine, or a folder, may be shared by several."""
    told = [socket.gethostname(), ""]
    boot = ""
    with contextlib.suppress(OSError):
        told[1] = Path("/etc/machine-id").read_text()
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    parts = [hashlib.sha256(each.encode()).hexdigest()[:6] for each in ("\n".join(told), boot)]
    return f"{''.join(parts)}-{os.stat('/proc/self/ns/pid').st_ino}"


@functools.cache
def _owner(pid: int) -> str:
    return f"agentgym-{_place()}-{pid}-{started(pid) or 0}"


def owner() -> str:
    """The name of this process, that no other has had or will have."""
    return _owner(os.getpid())


def lives(name: str) -> bool:
    """Whether the owner that something is named after is still there, as far as can be told."""
    found, own = OWNER.match(name), OWNER.match(owner())
    if found is None or own is None or found[1] != own[1]:
        return True
    if found[2] != own[2]:  # before the machine was restarted
        return False
    return found[3] != own[3] or started(int(found[4])) == found[5]


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
    global _janitor
    with _starting:
        told = set(_engines)
        if not _at_work():
            _janitor = _start()
            atexit.register(_dismiss, _janitor)
            told.clear()
            sweep()
        _engines.update({engine} - {""})
        for each in _engines - told:
            with contextlib.suppress(OSError):
                os.write(_janitor[2], f"{each}\n".encode())  # type: ignore[index]


def _at_work() -> bool:
    if _janitor is None or _janitor[0] != os.getpid():  # or its parent's
        return False
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(_janitor[1], os.WNOHANG)[0] == 0
    return False


def _start() -> tuple[int, int, int]:
    reading, writing = os.pipe()
    # -P: beside this file is a `docker.py` that is not the one it imports
    command = [sys.executable, "-P", str(Path(__file__).resolve()), owner(), str(folder())]
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_DUP2, reading, 0)]
    actions += [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_WRONLY, 0) for fd in (1, 2)]
    try:
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True)
    finally:
        os.close(reading)
    return os.getpid(), pid, writing


def _dismiss(janitor: tuple[int, int, int]) -> None:
    """At the end of this process, wait for what it leaves to be removed; not for long."""
    process, pid, pipe = janitor
    if process != os.getpid():  # a parent's
        return
    with contextlib.suppress(OSError):
        os.write(pipe, f"{_GOODBYE}\n".encode())
    deadline = time.monotonic() + 3.0
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.005)


def sweep() -> None:
    """Remove the folders and control groups of owners that are no more."""
    names = {OWNER.match(path.name) for path in _places(folder())}
    for name in {found[0] for found in names if found is not None}:
        if not lives(name):
            clean(name, folder())
    end_browsers()


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
    """End the local boxes of an owner, and remove their folders and control groups."""
    _end_boxes(f"{kept}/{name}-")
    end_browsers(name)
    deadline = time.monotonic() + 5.0
    for path in _places(kept):
        if not (path.name == name or path.name.startswith((name + "-", name + "."))):
            continue
        if path.is_symlink():
            _remove_profile(path)
        elif path.is_file():
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


def keep_profiles() -> None:
    """Note the profiles of this process's browsers, which the browser's driver made somewhere."""
    for profile in filter(None, _browsers(owner()).values()):
        with contextlib.suppress(FileExistsError):
            (folder() / f"{owner()}-{Path(profile).name}").symlink_to(profile)


def remove_profiles() -> None:
    """Remove the noted profiles, as the driver does unless it is ended before, and artifacts."""
    for link in folder().glob(f"{owner()}-{PROFILE}*"):
        _remove_profile(link)
    shutil.rmtree(folder() / f"{owner()}-artifacts", ignore_errors=True)


def _remove_profile(link: Path) -> None:
    with contextlib.suppress(OSError):
        profile = link.readlink()
        if profile.name.startswith(PROFILE) and not profile.is_symlink():
            shutil.rmtree(profile, ignore_errors=True)
        link.unlink(missing_ok=True)


def _browsers(name: str) -> dict[int, str]:
    """Processes of an owner's browsers, and the profile of each that has one to itself."""
    marked, found = f"{VARIABLE}={name}".encode(), dict[int, str]()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            if marked in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                own = not any(word.startswith("--type=") for word in words)
                profiles = [w.partition("=")[2] for w in words if w.startswith("--user-data-dir=")]
                found[int(entry.name)] = profiles[0] if own and profiles else ""
    return found


def _end_boxes(place: str) -> None:
    """End what unshared its namespaces for a box there; the kernel ends all in the box with it."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            command = (entry / "cmdline").read_bytes()
            if command.startswith(b"unshare\0") and place.encode() in command:
                os.kill(int(entry.name), signal.SIGKILL)


def end_browsers(name: str = "") -> None:
    """End the browsers of an owner; of all owners that are no more, if none is named."""
    marked = f"{VARIABLE}={name}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            for told in (entry / "environ").read_bytes().split(b"\0"):
                if told == marked or (
                    not name and told.startswith(marked) and not lives(told[len(marked) :].decode())
                ):
                    os.kill(int(entry.name), signal.SIGKILL)


def clean_engine(engine: Any, name: str) -> None:
    """Remove the containers and images of an owner from a Docker engine."""
    label = {"label": f"{LABEL}={name}"}
    for container in engine.containers(all=True, quiet=True, filters=label):
        with contextlib.suppress(Exception):
            remove_container(engine, container["Id"])
    before = set[str]()
    # one that others were made of can only be removed after them
    while (images := set(engine.images(quiet=True, filters=label))) != before:
        before = images
        for image in images:
            with contextlib.suppress(Exception):
                engine.remove_image(image, force=True)


def remove_container(engine: Any, container: str) -> None:
    """Come back when it is gone, also where the engine was faster: it removes what has ended."""
    try:
        engine.remove_container(container, force=True, v=True)
    except Exception as error:
        if getattr(error, "status_code", None) != HTTPStatus.CONFLICT:
            raise
        engine.wait(container, timeout=_REMOVAL_S, condition="removed")


def sweep_engine(engine: Any) -> None:
    """Remove the containers and images of owners on this machine that are no more."""
    labelled = {"label": LABEL}
    found = engine.containers(all=True, filters=labelled) + engine.images(filters=labelled)
    names = {(each.get("Labels") or {}).get(LABEL, "") for each in found}
    for name in names:
        if OWNER.fullmatch(name) and not lives(name):
            clean_engine(engine, name)


def main() -> None:
    """Wait for the owner's end, then clean up after it."""
    name, kept = sys.argv[1], Path(sys.argv[2])
    os.chdir("/")
    clients: list[Any] = []
    pauses_s: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0)  # requests may be under way
    poller = select.poll()
    poller.register(0, select.POLLIN)
    sweeps, ended = 0, False
    try:  # a process that the owner forked may hold its pipe, too
        poller.register(os.pidfd_open(int(name.split("-")[3])), select.POLLIN)
    except ProcessLookupError:
        ended = True
    except (AttributeError, OSError):  # nothing that this Python, or this kernel, has
        pass
    while True:
        ready = [fd for fd, _ in poller.poll(0 if ended else 1000 if sweeps else None)]
        if not ready and not ended:  # what others left may have been in use a moment ago
            sweeps -= 1
            for client in clients:
                with contextlib.suppress(Exception):
                    sweep_engine(client)
            continue
        if 0 not in ready or not (told := os.read(0, 65536)):
            break
        words = told.decode().split()
        clients += map(_connect, [word for word in words if word != _GOODBYE])
        sweeps = _SWEEPS
        if _GOODBYE in words:
            pauses_s = (0.0,)
            break
    clean(name, kept)
    for pause_s in pauses_s:
        time.sleep(pause_s if clients else 0.0)
        for client in clients:
            with contextlib.suppress(Exception):
                clean_engine(client, name)


def _connect(engine: str) -> Any:
    with contextlib.suppress(Exception):
        import docker

        client = docker.APIClient(base_url=engine, version="auto", timeout=30)
        with contextlib.suppress(Exception):
            sweep_engine(client)
        return client


if __name__ == "__main__":
    main()
