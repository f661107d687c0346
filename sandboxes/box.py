"""The owner's side of a box: a connection to the supervisor inside, whatever it is made of."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import json
import math
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, cast

from agentgym.errors import ConfigError, SandboxError
from agentgym.sandbox import Change, Entry, ExecResult, Limits, Stopped

_FRAME = struct.Struct(">II")
_LONGEST_HEADER = 64 << 20
_LONGEST_BODY = 1 << 30
PATIENCE_S = 30.0
"""Longest an answer may take that waits for no command."""
FILES_S = 300.0
"""Longest the files of a box may take to be looked through."""
GRACE_S = 10.0
"""How much longer than its own deadline a command may take to be ended."""
_TICK_S = 0.5


class Channel:
    """A two-way stream of bytes to the supervisor: a socket, which never waits for itself.

    Args:
        end: The socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(False)

    def send(self, data: bytes, timeout_s: float = PATIENCE_S) -> None:
        """Send all of it.

        Raises:
            TimeoutError: Nobody took it.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self._end.send(view) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, timeout_s)

    def receive(self, timeout_s: float) -> bytes:
        """What has arrived; nothing at the end of the stream.

        Raises:
            TimeoutError: Nothing arrived in time.
        """
        while True:
            with contextlib.suppress(BlockingIOError):
                return self._end.recv(1 << 20)
            self._wait(select.POLLIN, timeout_s)

    def _wait(self, event: int, timeout_s: float) -> None:
        poller = select.poll()
        poller.register(self._end, event)
        if not poller.poll(timeout_s * 1000):
            raise TimeoutError("nothing happens")

    def close(self) -> None:
        """Close it; whoever waits for it goes on."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()


@functools.cache
def source(name: str) -> str:
    """The text of a program that is handed over, as `supervisor` is."""
    return resources.files("agentgym.sandboxes").joinpath(f"{name}.py").read_text()


def supervisor_command(python: str, workdir: str, env: Mapping[str, str]) -> list[str]:
    """The command line that starts the supervisor, a box's first process.

    Args:
        python: The interpreter in the box.
        workdir: Where commands start.
        env: Variables of every command.
    """
    told = {"workdir": wire(workdir), "env": checked(env)}
    return [python, "-I", "-S", "-c", source("supervisor"), ascii(told)]


def checked(env: Mapping[str, str]) -> dict[str, str]:
    """Variables as they are sent.

    Raises:
        ConfigError: One cannot be set.
    """
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise ConfigError(f"env: {name!r} cannot be set to {value!r}: no NUL, no = in names")
    return {wire(name): wire(value) for name, value in env.items()}


class Box:
    """A sandbox with a supervisor inside.

    Args:
        channel: To the supervisor.
        image: What it was made from.
        limits: What it may use.
    """

    features: frozenset[str] = frozenset({"cwd", "manifest", "protected", "interrupt", "fork"})

    def __init__(self, channel: Channel, image: str, limits: Limits) -> None:
        self.image = image
        self.limits = limits
        self._channel = channel
        self._arrived = bytearray()
        self._turn = threading.RLock()
        self._sending = threading.Lock()
        self._closing = threading.Lock()
        self._numbers = itertools.count(1)
        self._dead: str | None = None
        self._closed = False

    # ---------------------------------------------------------------- commands

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
        """Run a shell command; see `Sandbox.run`."""
        if "\0" in command:
            raise ConfigError("the command holds a NUL: no shell can run it")
        if not (timeout_s > 0 and math.isfinite(timeout_s)):
            raise ConfigError(f"timeout_s is {timeout_s!r}: give a number of seconds above 0")
        if keep_bytes < 0:
            raise ConfigError(f"keep_bytes is {keep_bytes!r}: give 0 or more")
        answer, output = self._ask(
            "run",
            command.encode("utf-8", "surrogateescape"),
            patience_s=timeout_s + GRACE_S,
            watch=True,
            timeout=float(timeout_s),
            keep=int(keep_bytes),
            most=self.limits.output_mb << 20,
            background=bool(background),
            cwd=None if cwd is None else wire(cwd),
            env=checked(env or {}),
        )
        if background:
            self._left_running()
        elided = int(answer["total"]) - len(output)
        cut = int(answer["head"]) if elided else len(output)
        head = output[:cut].decode("utf-8", "replace")
        return ExecResult(
            code=int(answer["code"]),
            output=head + output[cut:].decode("utf-8", "replace"),
            stopped=cast(Stopped, str(answer["stopped"])),
            total=int(answer["total"]),
            elided=elided,
            cwd=_text(answer["cwd"]),
            duration_s=float(answer["duration"]),
            head=len(head),
        )

    def interrupt(self, why: str = "interrupt") -> None:
        """End the command that is running, from another thread."""
        if not self._closed and self._dead is None:
            self._send("interrupt", 0, why=why)

    def reset_session(self) -> None:
        """Kill every process and forget the folder and variables that commands left."""
        self._ask("killall")

    # ---------------------------------------------------------------- files

    def read(self, path: str, *, max_bytes: int = 16_777_216) -> bytes:
        """The content of a regular file; see `Sandbox.read`."""
        return self._ask("read", path=path, most=max_bytes)[1]

    def write(self, path: str, data: bytes | str, *, mode: int | None = None) -> None:
        """Write a file in one step; see `Sandbox.write`."""
        content = data.encode() if isinstance(data, str) else data
        self._ask("write", content, path=path, mode=mode)

    def unpack(self, path: str, archive: bytes) -> None:
        """Unpack a tar file into a folder; for archives one trusts."""
        self._ask("unpack", archive, path=path, patience_s=600.0)

    def delete(self, path: str) -> None:
        """Remove a file or a link.

        Raises:
            OSError: As the system says.
        """
        self._ask("delete", path=path)

    def list(self, path: str, *, depth: int = 1, limit: int = 10_000) -> Sequence[Entry]:
        """What is in a folder; see `Sandbox.list`."""
        answer, _ = self._ask("list", path=path, depth=depth, limit=limit)
        return [Entry(_text(name), kind, size) for name, kind, size in answer["entries"]]

    def manifest(self, root: str, *, exclude: Sequence[str] = ()) -> int:
        """Remember the state of every file under `root`; see `Sandbox.manifest`."""
        names = [wire(name) for name in exclude]
        return int(self._ask("manifest", path=root, exclude=names, patience_s=FILES_S)[0]["files"])

    def changes(self, *, max_bytes: int = 67_108_864) -> Sequence[Change]:
        """What became of files since the manifest; see `Sandbox.changes`."""
        answer, body = self._ask("changes", most=max_bytes, patience_s=FILES_S)
        found, at = [], 0
        for row in answer["changes"]:
            content = None
            if row["length"] is not None:
                content = body[at : at + row["length"]]
                at += row["length"]
            found.append(
                Change(
                    path=_text(row["path"]),
                    kind=row["kind"],
                    type=row["type"],
                    mode=row["mode"],
                    content=content,
                    size=row["size"],
                )
            )
        return found

    # ---------------------------------------------------------------- its life

    @property
    def alive(self) -> bool:
        """Whether it answers, within two seconds."""
        if self._closed or self._dead is not None:
            return False
        try:
            self._ask("ping", patience_s=2.0)
        except SandboxError:
            return False
        return True

    def close(self) -> None:
        """Remove it with everything in it; closing twice is fine."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._channel.close()
        self._remove()

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _remove(self) -> None:
        """Remove what the box is made of."""

    def _cause(self) -> str:
        """Why it died, as far as can be told."""
        return ""

    def _watch(self) -> str:
        """Asked twice a second while a command runs: why it must be ended, if it must."""
        return ""

    def _begins(self) -> None:
        """Told when a command begins that is to be watched."""

    def _left_running(self) -> None:
        """Told when a command may have left something running in the background."""

    # ---------------------------------------------------------------- the connection

    def _hello(self, timeout_s: float) -> dict[str, Any]:
        """What the supervisor says first."""
        with self._turn:
            return self._answer(time.monotonic() + timeout_s, None, None)[0]

    def _ask(
        self,
        op: str,
        body: bytes = b"",
        *,
        patience_s: float = PATIENCE_S,
        watch: bool = False,
        path: str | None = None,
        **arguments: Any,
    ) -> tuple[dict[str, Any], bytes]:
        """A request and its answer.

        Raises:
            OSError: The box could not do it.
            SandboxError: The box died.
        """
        if path is not None:
            arguments["path"] = wire(path)
        with self._turn:
            if self._closed:
                raise SandboxError(self._dead or "the sandbox is closed")
            if watch:
                self._begins()
            number = next(self._numbers)
            self._send(op, number, body, **arguments)
            deadline = time.monotonic() + patience_s
            try:
                answer, content = self._answer(deadline, self._watch if watch else None, number)
            except KeyboardInterrupt:  # the next call finds the box free, and its own answer
                self.interrupt()
                raise
        if answer["ok"]:
            return answer, content
        code, text = int(answer["error"]["errno"]), str(answer["error"]["text"])
        if code == 0:
            raise SandboxError(f"the sandbox could not {op}: {text}")
        raise OSError(code, text, *([] if path is None else [path]))

    def _send(self, op: str, number: int, body: bytes = b"", **arguments: Any) -> None:
        if self._dead is not None:
            raise SandboxError(self._dead)
        text = ascii({"op": op, "id": number, "with": arguments}).encode()
        try:
            with self._sending:
                frame = _FRAME.pack(len(text), len(body)) + text
                self._channel.send(frame + body if body else frame, PATIENCE_S)
        except OSError as error:
            raise self._died(f"its connection broke ({error.strerror or error})") from error

    def _answer(
        self, deadline: float, watch: Callable[[], str] | None, number: int | None
    ) -> tuple[dict[str, Any], bytes]:
        """The answer to the request of that number; those of abandoned ones are passed over."""
        next_look = time.monotonic() + _TICK_S
        while (frame := self._take_frame()) is None or frame[0].get("id") != number:
            now = time.monotonic()
            if watch is not None and now >= next_look:
                next_look = now + _TICK_S
                if why := watch():
                    self.interrupt(why)
                    watch = None
            until = deadline if watch is None else min(deadline, next_look)
            try:
                data = self._channel.receive(max(until - now, 0.001))
            except TimeoutError:
                if time.monotonic() >= deadline:  # and nothing has arrived
                    raise self._died("it did not answer in time") from None
                continue
            except OSError as error:
                raise self._died(f"its connection broke ({error.strerror or error})") from error
            if not data:
                raise self._died("it ended")
            self._arrived += data
        return frame

    def _take_frame(self) -> tuple[dict[str, Any], bytes] | None:
        if len(self._arrived) < _FRAME.size:
            return None
        head, length = _FRAME.unpack_from(self._arrived)
        if head > _LONGEST_HEADER or length > _LONGEST_BODY:
            raise self._died("it does not speak the protocol")
        end = _FRAME.size + head + length
        if len(self._arrived) < end:
            return None
        try:
            header = json.loads(bytes(self._arrived[_FRAME.size : _FRAME.size + head]))
        except ValueError as error:
            raise self._died("it does not speak the protocol") from error
        if not isinstance(header, dict):
            raise self._died("it does not speak the protocol")
        content = bytes(self._arrived[_FRAME.size + head : end])
        del self._arrived[:end]
        return header, content

    def _died(self, how: str) -> SandboxError:
        if self._dead is None and self._closed:
            self._dead = "the sandbox is closed"
        if self._dead is None:
            cause = self._cause()
            self._dead = f"the sandbox of {self.image!r} is lost: {how}"
            self._dead += f" ({cause})" if cause else ""
            self.close()
        return SandboxError(self._dead)


def wire(path: str) -> str:
    """A path as JSON can hold it, whatever its bytes."""
    if "\0" in path:
        raise OSError(errno.EINVAL, "holds a NUL", path)
    return path.encode("utf-8", "surrogateescape").decode("latin-1")


def _text(wire: str) -> str:
    return wire.encode("latin-1").decode("utf-8", "surrogateescape")
