"""Boxes without a daemon: namespaces, a layered file system in memory, control groups.

Works as root, and unprivileged where the kernel lets users make namespaces (then the image's files
must belong to the user). What is written stays in memory and is gone with the box.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from agentgym.doctor import Probe
from agentgym.errors import ConfigError, SandboxError
from agentgym.sandbox import Image, Limits
from agentgym.sandboxes import cgroups, janitor, rootfs
from agentgym.sandboxes.box import Box, Channel, source, supervisor_command

START_S = 30.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3", "/opt/miniconda3/bin/python")
_numbers = count(1)
_uses: Counter[Path] = Counter()
"""Of layers that go with this process: boxes, and images that were asked for."""
_counting = janitor.lock()


class LocalBox(Box):
    """A box made of namespaces; `Local.open` makes them."""

    def __init__(
        self, image: str, limits: Limits, layers: list[Path], workdir: str, env: Mapping[str, str]
    ) -> None:
        name = f"{janitor.owner()}-{next(_numbers)}"
        self._place = _make_place(name)
        self._opened = layers, workdir, dict(env)
        _use(layers)
        self._upper = -1
        self._groups = cgroups.make(name, limits)
        try:
            ours, self._process = _start(self._command(limits, layers, workdir, env))
        except BaseException as error:
            self._discard()
            if isinstance(error, OSError):
                told = f"{error.filename or 'unshare'}: {error.strerror}"
                raise SandboxError(f"no sandbox can be started: {told}") from error
            raise
        super().__init__(Channel(ours), image, limits)
        try:
            self._upper = self._take_folder(ours)
            self.python = str(self._hello(START_S)["python"])
        except BaseException:
            self.close()
            raise

    def _take_folder(self, end: socket.socket) -> int:
        """The folder of what the box changes, which the launcher sends first."""
        poller = select.poll()
        poller.register(end, select.POLLIN)
        folders = socket.recv_fds(end, 1, 1)[1] if poller.poll(START_S * 1000) else []
        if not folders:
            raise self._died("it did not start")
        return folders[0]

    def _command(
        self, limits: Limits, layers: list[Path], workdir: str, env: Mapping[str, str]
    ) -> list[str]:
        _, *command = supervisor_command("python3", workdir, env)
        rlimits = {"RLIMIT_CORE": 0}
        if not self._groups:
            rlimits |= {"RLIMIT_AS": limits.memory_mb << 20, "RLIMIT_NPROC": limits.pids}
        rootless = os.geteuid() != 0
        settings = {
            "place": str(self._place),
            "layers": [str(layer) for layer in layers],
            "disk": min(limits.disk_mb, max(limits.memory_mb // 2, 1)),
            "shared": min(64, max(limits.memory_mb // 4, 1)),
            "rootless": rootless,
            "cgroups": [str(group) for group in self._groups],
            "rlimits": rlimits,
            "pythons": PYTHONS,
            "command": command,
            "env": {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"},
        }
        users = ["--user", "--map-root-user"] if rootless else []
        return [
            *("unshare", *users, "--mount", "--pid", "--net", "--ipc", "--uts"),
            *("--fork", "--kill-child", "--", sys.executable, "-I", "-S", "-c"),
            *(source("launcher"), ascii(settings)),
        ]

    def snapshot(self, name: str | None = None) -> str:
        """Keep the files as an image; see `Sandbox.snapshot`."""
        with self._turn:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            layers, workdir, _ = self._opened
            kept = rootfs.keep(self._upper, layers, name, workdir)
        _use(rootfs.find(kept).layers)  # for good
        return kept

    def fork(self) -> LocalBox:
        """A second box with the same files."""
        _, workdir, env = self._opened
        kept = self.snapshot()
        below = rootfs.find(kept).layers
        try:
            return LocalBox(kept, self.limits, below, workdir, env)
        finally:
            _disuse(below)  # but by that box

    def _cause(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return self._said()

    def _said(self) -> str:
        """What the launcher complained of."""
        stream = self._process.stderr
        if stream is None or stream.closed or self._process.poll() is None:
            return ""
        return stream.read().decode(errors="replace").strip()

    def _remove(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._discard()

    def _discard(self) -> None:
        if self._upper >= 0:
            os.close(self._upper)
            self._upper = -1
        cgroups.remove(self._groups)
        with contextlib.suppress(OSError):
            self._place.rmdir()
        _disuse(self._opened[0])


def _make_place(name: str) -> Path:
    """The folder a box is mounted on."""
    try:
        janitor.watch()
        place = janitor.folder() / name
        place.mkdir()
    except OSError as error:
        where = error.filename or "where boxes are kept"
        raise SandboxError(
            f"no sandbox can be started: {where}: {error.strerror or error}; make room there"
        ) from error
    return place


def _start(command: list[str]) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a program; its input and output are the other end of this socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            return ours, subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={},
                cwd="/",
            )
        except BaseException:
            ours.close()
            raise


def _use(layers: list[Path]) -> None:
    with _counting:
        _uses.update(layer for layer in layers if layer.parent == janitor.folder())


def _disuse(layers: list[Path]) -> None:
    """Remove the layers of forks that no box has any more."""
    with _counting:
        _uses.subtract(layer for layer in layers if layer.parent == janitor.folder())
        unused = [layer for layer, uses in _uses.items() if uses <= 0]
        for layer in unused:
            del _uses[layer]
    for layer in unused:
        shutil.rmtree(layer, ignore_errors=True)
        layer.with_name(f"{layer.name}.json").unlink(missing_ok=True)


class Local:
    """Namespaces on this machine."""

    name = "local"

    def open(
        self,
        image: str | Image,
        *,
        limits: Limits,
        workdir: str | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> LocalBox:
        """Start a box; see `open_sandbox`."""
        if options:
            raise ConfigError(f"local boxes take no option {sorted(options)[0]!r}")
        found = rootfs.find(self.build(image) if isinstance(image, Image) else image)
        name = found.name
        return LocalBox(name, limits, found.layers, workdir or found.workdir, env or {})

    def build(self, image: Image) -> str:
        """Make the image unless it is there, and return its name."""
        from agentgym.sandboxes import images

        return images.build(image, self)

    def has(self, name: str) -> bool:
        """Whether there is an image of that name."""
        return rootfs.exists(name)

    def identity(self, name: str) -> str:
        """The name, and its layers."""
        return " ".join([name, *map(str, rootfs.find(name).layers)])


BACKEND = Local()


@functools.cache
def _why_not() -> str:
    """Why no box can be started here; nothing if one can."""
    if not sys.platform.startswith("linux"):
        return "needs Linux"
    if shutil.which("unshare") is None:
        return "unshare is not installed (package util-linux)"
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *users, "--mount", "--pid", "--net", "--fork", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return "" if done.returncode == 0 else done.stderr.strip() or "namespaces are refused"


def probe() -> Probe:
    """Whether namespaces can be made here."""
    if why := _why_not():
        remedy = "be root, or allow users to make namespaces (sysctl user.max_user_namespaces)"
        return Probe("local", False, why, remedy)
    limited = "control groups" if cgroups.parents() else "resource limits, no control groups"
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    return Probe("local", True, f"namespaces as {who}, {limited}")
