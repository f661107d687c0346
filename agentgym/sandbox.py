"""Sandboxes: where what an agent writes and runs can do no harm.

A `Sandbox` is a box with a file system of its own, no network, and limits on memory, processes,
processor and disk. Environments reach one by name, through `open_sandbox`; what boxes are made of
is in `agentgym.sandboxes`: `docker` (containers) and `local` (namespaces, without a daemon).
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

from agentgym.errors import ConfigError, did_you_mean

BACKENDS = ("docker", "local")

Stopped = Literal["", "timeout", "output", "disk", "interrupt"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a box may use.

    Raises:
        ConfigError: What is given is no number, or out of range.
    """

    memory_mb: int = 2048
    """Memory, swap and what is kept in memory file systems, in MiB."""
    cpus: float = 1.0
    pids: int = 256
    """Most processes and threads."""
    disk_mb: int = 1024
    """What may be written, in MiB; a local box keeps it in memory, at most half of `memory_mb`."""
    output_mb: int = 64
    """A command that prints more is ended, in MiB."""

    def __post_init__(self) -> None:
        for name in ("memory_mb", "cpus", "pids", "disk_mb", "output_mb"):
            value = getattr(self, name)
            kinds: tuple[type, ...] = (int, float) if name == "cpus" else (int,)
            endless = isinstance(value, float) and not math.isfinite(value)
            if isinstance(value, bool) or not isinstance(value, kinds) or endless:
                wanted = "a number" if name == "cpus" else "a whole number"
                raise ConfigError(f"limits: {name} is {value!r}: give {wanted}")
        for name, least in (("memory_mb", 32), ("cpus", 0.01), ("pids", 8), ("disk_mb", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"limits: {name} is {getattr(self, name)!r}: at least {least}")
        if not 1 <= self.output_mb <= 1024:
            raise ConfigError(f"limits: output_mb is {self.output_mb!r}: from 1 to 1024")


@dataclass(frozen=True, slots=True)
class Image:
    """What a box begins with: files of a base, a tree on top, and commands run once over both.

    The same recipe gives the same image, which is made once and kept.
    """

    base: str
    """A name of the engine's (`python:3.11-slim`), `base` (the one `agentgym images base` makes),
    or, for local boxes, a folder or a tar file with a root file system."""
    files: Mapping[str, bytes | str] = field(default_factory=dict)
    """Absolute path in the box to content. A path that ends in `.tar` is unpacked where it is."""
    commands: Sequence[str] = ()
    """Shell commands, in order; each must succeed."""
    workdir: str = "/"
    """Where commands start."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command ended."""

    code: int
    """Exit status; 128 + n where signal n ended it."""
    output: str
    """What it printed, standard output and error as they came: the head and the tail where it was
    long, with the middle left out; bytes that are no UTF-8 are replaced."""
    stopped: Stopped = ""
    """Why it was ended before its time: too long, too much output, a full disk, or by the owner."""
    total: int = 0
    """Bytes it printed."""
    elided: int = 0
    """Bytes left out of `output`."""
    cwd: str = ""
    """Where the next command will start."""
    duration_s: float = 0.0
    """Wall-clock time in the box."""
    head: int = 0
    """Characters of `output` that come before what was left out."""


class Entry(NamedTuple):
    """A name in a folder."""

    path: str
    kind: Literal["file", "folder", "link", "other"]
    size: int


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a file since the manifest was taken."""

    path: str
    """Relative to the folder of the manifest."""
    kind: Literal["added", "modified", "deleted"]
    type: Literal["file", "link", "folder", "other"] = "file"
    mode: int = 0o644
    content: bytes | None = None
    """Of a regular file; the target of a link; None if deleted, or too large."""
    size: int = 0


@runtime_checkable
class Sandbox(Protocol):
    """A box. Calls come one after another, but `interrupt` and `close` from any thread."""

    features: frozenset[str]
    """Of `cwd` (commands keep their folder and exported variables), `manifest` (changes are told
    by what the kernel recorded), `fork`, `protected` (what serves the calls cannot be killed or
    spoofed from inside), `interrupt`."""
    image: str
    """What it was made from."""

    def run(
        self,
        command: str,
        *,
        timeout_s: float = 60.0,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        keep_bytes: int = 32_768,
        background: bool = False,
    ) -> ExecResult:
        """Run a shell command, in a fresh shell that goes on where the last one was.

        Args:
            command: Any text without NUL, of any length.
            timeout_s: It and all it started is killed then.
            cwd: Where to run it; this folder is then kept for the next.
            env: Variables for this command alone.
            keep_bytes: How much of the output to keep: half from its start, half from its end.
            background: Leave what it started in the background running when it has ended.

        Raises:
            SandboxError: The box died.
            ConfigError: The command holds a NUL.
        """
        ...

    def read(self, path: str, *, max_bytes: int = 16_777_216) -> bytes:
        """The content of a regular file.

        Raises:
            FileNotFoundError, IsADirectoryError, PermissionError, OSError: As the system says; a
                link, a device, a pipe or a file larger than `max_bytes` is an OSError.
            SandboxError: The box died.
        """
        ...

    def write(self, path: str, data: bytes | str, *, mode: int | None = None) -> None:
        """Write a file in one step, with the folders it needs; a link is replaced, not followed.

        Raises:
            OSError: As the system says.
            SandboxError: The box died.
        """
        ...

    def delete(self, path: str) -> None:
        """Remove a file or a link.

        Raises:
            OSError: As the system says.
            SandboxError: The box died.
        """
        ...

    def list(self, path: str, *, depth: int = 1, limit: int = 10_000) -> Sequence[Entry]:
        """What is in a folder, sorted; links are not followed.

        Raises:
            OSError: As the system says.
            SandboxError: The box died.
        """
        ...

    def manifest(self, root: str, *, exclude: Sequence[str] = ()) -> int:
        """Remember the state of every file under `root`; returns how many there are.

        Args:
            root: A folder.
            exclude: Names of folders right under `root` that do not count (`.git`).
        """
        ...

    def changes(self, *, max_bytes: int = 67_108_864) -> Sequence[Change]:
        """What became of files since the manifest, by path, whatever was done to hide it.

        Raises:
            SandboxError: There is no manifest, or the box died.
        """
        ...

    def snapshot(self, name: str | None = None) -> str:
        """Keep the files as an image, and return its name; it is removed with its owner's process.

        Args:
            name: Keep it beyond that, under this name.

        Raises:
            SandboxError: The box died, or there is no room.
        """
        ...

    def fork(self) -> Self:
        """A second box with the same files; processes are not taken along."""
        ...

    def reset_session(self) -> None:
        """Kill every process and forget the folder and variables that commands left."""
        ...

    def interrupt(self) -> None:
        """End the command that is running, from another thread."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        ...

    def close(self) -> None:
        """Remove it with everything in it; closing twice is fine."""
        ...


def open_sandbox(
    image: str | Image,
    *,
    backend: str = "auto",
    limits: Limits = Limits(),
    workdir: str | None = None,
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> Sandbox:
    """Start a box.

    Args:
        image: What it begins with.
        backend: `docker`, `local`, or `auto`: docker if an engine answers, else local.
        limits: What it may use.
        workdir: Where commands start; as the image says if None.
        env: Variables of every command.
        options: Of the backend; `docker` takes `runtime` (as in `runsc`).

    Raises:
        ConfigError: No such backend, or a limit is out of range.
        SandboxError: It cannot be started; says why, and what to do.
    """
    return find_backend(backend).open(
        image, limits=limits, workdir=workdir, env=dict(env or {}), **options
    )


class Pool(Protocol):
    """Boxes kept ready; `agentgym.sandboxes.pool.Pool` is one."""

    def pop(self, image: str | Image, *, wait_s: float = 300.0, **how: Any) -> Sandbox:
        """A box of one's own, that answers.

        Args:
            image: What it begins with.
            wait_s: Longest to wait.
            how: As `open_sandbox` takes it.

        Raises:
            ConfigError, RegistryError: As `open_sandbox` does.
            SandboxError: None can be started, after several attempts.
        """
        ...


@functools.cache
def shared_pool(size: int = 0) -> Pool:
    """This process's pool that keeps so many of each kind of box ready."""
    pool: Pool = importlib.import_module("agentgym.sandboxes.pool").Pool(size)
    return pool


class Backend(Protocol):
    """A kind of sandbox; the modules of `agentgym.sandboxes` named in `BACKENDS` are such."""

    name: str

    def open(
        self,
        image: str | Image,
        *,
        limits: Limits,
        workdir: str | None,
        env: Mapping[str, str],
        **options: Any,
    ) -> Sandbox:
        """Start a box."""
        ...

    def build(self, image: Image) -> str:
        """Make the image unless it is there, and return its name."""
        ...


def find_backend(name: str = "auto") -> Backend:
    """The backend of a name.

    Raises:
        ConfigError: No such backend.
        SandboxError: `auto`, and neither can be used here.
    """
    if name == "auto":
        choose = importlib.import_module("agentgym.sandboxes").choose
        name = choose()
    if name not in BACKENDS:
        raise ConfigError(
            f"backend is {name!r}: give {', '.join(BACKENDS)} or auto{did_you_mean(name, BACKENDS)}"
        )
    module = importlib.import_module(f"agentgym.sandboxes.{name}")
    backend: Backend = module.BACKEND
    return backend
