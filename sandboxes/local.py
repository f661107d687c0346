"""Boxes without a daemon: namespaces, a layered file system in memory, control groups.

Works as root, and unprivileged where the kernel lets users make namespaces (then the image's files
must belong to the user). What is written stays in memory and is gone with the box.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

from agentgym.doctor import Probe
from agentgym.errors import ConfigError, SandboxError
from agentgym.sandbox import Image, Limits
from agentgym.sandboxes import cgroups, janitor, rootfs
from agentgym.sandboxes.box import Box, supervisor_command

START_S = 30.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3", "/opt/miniconda3/bin/python")
_numbers = count(1)


class _Socket:
    """The connection to a local box."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, data: bytes) -> None:
        self._end.settimeout(None)
        self._end.sendall(data)

    def receive(self, timeout_s: float) -> bytes:
        self._end.settimeout(timeout_s)
        return self._end.recv(1 << 20)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()


class LocalBox(Box):
    """A box made of namespaces; `Local.open` makes them."""

    def __init__(
        self, image: str, limits: Limits, layers: list[Path], workdir: str, env: Mapping[str, str]
    ) -> None:
        name = f"{janitor.owner()}-{next(_numbers)}"
        janitor.watch()
        self._opened = layers, workdir, dict(env)
        self._upper = -1
        self._groups = cgroups.make(name, limits)
        self._place = janitor.folder() / name
        self._place.mkdir()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    self._command(limits, layers, workdir, env),
                    stdin=theirs,
                    stdout=theirs,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                    env={},
                    cwd="/",
                )
        except OSError as error:
            ours.close()
            self._discard()
            raise SandboxError(f"{error.filename or 'unshare'}: {error.strerror}") from error
        super().__init__(_Socket(ours), image, limits)
        try:
            ours.settimeout(START_S)
            _, folders, _, _ = socket.recv_fds(ours, 1, 1)
            if not folders:
                raise self._died("it did not start")
            self._upper = folders[0]
            self.python = str(self._hello(START_S)["python"])
        except BaseException:
            self.close()
            raise

    def _command(
        self, limits: Limits, layers: list[Path], workdir: str, env: Mapping[str, str]
    ) -> list[str]:
        python, *command = supervisor_command("python3", workdir, env)
        rlimits = {"RLIMIT_CORE": 0}
        if not self._groups:
            rlimits |= {"RLIMIT_AS": limits.memory_mb << 20, "RLIMIT_NPROC": limits.pids}
        rootless = os.geteuid() != 0
        settings = {
            "place": str(self._place),
            "layers": [str(layer) for layer in layers],
            "disk": min(limits.disk_mb, max(limits.memory_mb // 2, 1)),
            "rootless": rootless,
            "cgroups": [str(group) for group in self._groups],
            "rlimits": rlimits,
            "pythons": PYTHONS,
            "command": command,
            "env": {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"},
        }
        users = ["--user", "--map-root-user"] if rootless else []
        return [
            *("unshare", *users, "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"),
            *("--fork", "--kill-child", "--", sys.executable, "-I", "-S", "-c"),
            *(resources.files("agentgym.sandboxes").joinpath("launcher.py").read_text(),),
            json.dumps(settings),
        ]

    def snapshot(self, name: str | None = None) -> str:
        """Keep the files as an image; see `Sandbox.snapshot`."""
        with self._turn:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            layers, workdir, _ = self._opened
            return rootfs.keep(self._upper, layers, name, workdir)

    def fork(self) -> LocalBox:
        """A second box with the same files."""
        layers, workdir, env = self._opened
        kept = self.snapshot()
        return LocalBox(kept, self.limits, rootfs.find(kept).layers, workdir, env)

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
        return Probe("local sandbox", False, why, remedy)
    limited = "control groups" if cgroups.parents() else "resource limits, no control groups"
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    return Probe("local sandbox", True, f"namespaces as {who}, {limited}")
