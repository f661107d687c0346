"""Boxes of images without Python: fewer features, which say so.

A shell is the container's first process and reads commands from the attached stream; the end of
each is marked by a word that nobody can know beforehand. What takes too long is killed through the
engine, which also moves files in and out and tells what changed. All that is not out of reach of
what runs in the box: a program there that wants to may spoof it.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import os
import posixpath
import re
import secrets
import shlex
import tarfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import docker.errors

from agentgym.errors import SandboxError
from agentgym.sandboxes.box import GRACE_S, PATIENCE_S, wire
from agentgym.sandboxes.docker import START_S, DockerBox, client

Answer = tuple[dict[str, Any], bytes]
_LONGEST_PATH = 4096
_TICK_S = 0.1
_WATCH_S = 0.5
_COMMAND = (
    b"printf '\\000%s:'\n"
    b"( { echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null; cd %s 2>/dev/null || cd /;"
    b" %s eval %s ) </dev/null 2>&1\n"
    b"code=$?; %s printf '\\000%s %%d\\n' $code\n"
)
_LIST = b"cd %s && find . -mindepth 1 -maxdepth %d -exec stat -c '//%%f %%s %%n' {} +"
_KILL = b"for i in 1 2 3 4 5; do kill -9 -1; done 2>/dev/null;"  # some may fork meanwhile
_KINDS = {0o10: "file", 0o04: "folder", 0o12: "link"}


class PlainBox(DockerBox):
    """A container without a supervisor."""

    features = frozenset({"interrupt", "fork"})

    def _entry(self, workdir: str, env: Mapping[str, str]) -> dict[str, Any]:
        self._home = self._cwd = os.fsencode(workdir)
        return {"entrypoint": ["/bin/sh"], "command": [], "environment": {**env, "LANG": "C.UTF-8"}}

    def _greet(self) -> None:
        self._why = ""
        self._root, self._excluded = "", frozenset[str]()
        self._names, self._before = frozenset[str](), dict[str, str]()
        self._run(b"mkdir -p " + _quoted(self._home), timeout=START_S)

    def interrupt(self, why: str = "interrupt") -> None:
        """End the command that is running, from another thread."""
        self._why = why

    def _ask(
        self,
        op: str,
        body: bytes = b"",
        *,
        patience_s: float = PATIENCE_S,
        watch: bool = False,
        path: str | None = None,
        **arguments: Any,
    ) -> Answer:
        if path is not None:
            if len(wire(path)) >= _LONGEST_PATH:  # that, too, raises what is wrong with it
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
            arguments["path"] = posixpath.join("/", path)
        with self._turn:
            if self._closed:
                raise SandboxError(self._dead or "the sandbox is closed")
            if watch:
                self._begins()
            try:
                answer: Answer = getattr(self, f"_{op}")(body, **arguments)
            except docker.errors.DockerException as error:
                raise SandboxError(f"the sandbox could not {op}: {error}") from error
            except OSError as error:
                if error.errno is None:  # the engine does not answer
                    raise SandboxError(f"the sandbox could not {op}: {error}") from error
                raise OSError(error.errno, error.strerror, path) from None
            return answer

    # ---------------------------------------------------------------- commands

    def _run(
        self,
        body: bytes,
        timeout: float = PATIENCE_S,
        keep: int = 1 << 16,
        most: int = 1 << 28,
        background: bool = False,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Answer:
        self._cwd = posixpath.join(self._cwd, (cwd or "").encode("latin-1"))
        exports = b"".join(
            b"export %s=%s;" % (name.encode("latin-1"), _quoted(value.encode("latin-1")))
            for name, value in (env or {}).items()
        )
        word, after = secrets.token_hex(16).encode(), b"" if background else _KILL
        start, self._why = time.monotonic(), ""
        text = _COMMAND % (word, _quoted(self._cwd), exports, _quoted(body), after, word)
        try:
            self._channel.send(text)
        except OSError as error:
            raise self._died(f"its connection broke ({error})") from error
        output, stopped = _Output(word, keep // 2), ""
        next_look = start + _WATCH_S
        while output.code is None:
            now = time.monotonic()
            why = self._why or ("output" if output.total > most else "")
            why = why or ("timeout" if now >= start + timeout else "")
            if now >= next_look:
                next_look, why = now + _WATCH_S, why or self._watch()
            if why and (not stopped or next_look == now + _WATCH_S):
                stopped = stopped or why
                self._kill()
            if now >= start + timeout + GRACE_S:
                raise self._died("a command could not be ended")
            try:
                data = self._channel.receive(_TICK_S)
            except TimeoutError:
                continue
            except OSError as error:
                raise self._died(f"its connection broke ({error})") from error
            if not data:
                raise self._died("it ended")
            output.add(data)
        told = {"code": output.code, "stopped": stopped, "total": output.total}
        told |= {"head": len(output.head), "cwd": self._cwd.decode("latin-1")}
        return told | {"duration": time.monotonic() - start}, output.head + output.tail

    def _kill(self) -> None:
        """End every process but the first; returns when that is done, so it hits nothing later."""
        engine = client()
        made = engine.exec_create(self.container, ["/bin/sh", "-c", _KILL.decode()], user="0:0")
        engine.exec_start(made["Id"])

    def _killall(self, body: bytes, forget: bool = True) -> Answer:
        if forget:
            self._cwd = self._home
        return self._run(b":")

    def _ping(self, body: bytes) -> Answer:
        return self._run(b":", timeout=2.0, background=True)

    # ---------------------------------------------------------------- files

    def _stat(self, path: str) -> dict[str, Any]:
        engine = client()
        place = f"{engine.base_url}/v{engine.api_version}/containers/{self.container}/archive"
        answer = engine.head(place, params={"path": path})
        if answer.status_code != 200:
            code = errno.ENOENT if answer.status_code == 404 else errno.EIO
            raise OSError(code, os.strerror(code))
        told = base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"])
        found: dict[str, Any] = json.loads(told)
        mode = found["mode"]  # as Go has it
        other = mode & (1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19)
        found["kind"] = "folder" if mode >> 31 else "link" if mode >> 27 & 1 else "file"
        return found | {"mode": mode & 0o777} | ({"kind": "other"} if other else {})

    def _read(self, body: bytes, path: str, most: int) -> Answer:
        found = self._stat(path)
        if found["kind"] == "file" and found["size"] > most:
            raise OSError(errno.EFBIG, f"has {found['size']} bytes, {most} at most")
        if found["kind"] != "file":
            folder = found["kind"] == "folder"
            raise OSError(
                *(errno.EISDIR, "is a folder") if folder else (errno.EINVAL, "is no file")
            )
        return {}, self._packed(path, most)[1]

    def _packed(self, path: str, most: int) -> tuple[tarfile.TarInfo, bytes]:
        """What an archive of it says of it, and holds."""
        packed = bytearray()
        for chunk in client().get_archive(self.container, path)[0]:
            packed += chunk
            if len(packed) > most + 65_536:
                raise OSError(errno.EFBIG, f"has more than {most} bytes")
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            member = archive.getmembers()[0]
            file = archive.extractfile(member) if member.isreg() else None
            return member, b"" if file is None else file.read()

    def _write(self, body: bytes, path: str, mode: int | None) -> Answer:
        member, packed = tarfile.TarInfo(path.lstrip("/")), io.BytesIO()
        member.size, member.mtime, member.mode = len(body), int(time.time()), mode or 0o644
        try:
            found = self._stat(path)
        except FileNotFoundError:
            pass
        else:
            if found["kind"] == "folder":
                raise OSError(errno.EISDIR, "is a folder")
            if found["kind"] == "file" and mode is None:
                member.mode = found["mode"]
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.addfile(member, io.BytesIO(body))
        return self._unpack(packed.getvalue(), "/")

    def _unpack(self, body: bytes, path: str) -> Answer:
        if path != "/":
            self._run(b"mkdir -p " + _quoted(os.fsencode(path)))
        try:
            client().put_archive(self.container, path, body)
        except docker.errors.APIError as error:
            raise OSError(errno.EIO, str(error.explanation or error)) from error
        return {}, b""

    def _delete(self, body: bytes, path: str) -> Answer:
        if self._stat(path)["kind"] == "folder":
            raise OSError(errno.EISDIR, "is a folder")
        return self._run(b"rm -f " + _quoted(os.fsencode(path)))

    def _list(self, body: bytes, path: str, depth: int, limit: int) -> Answer:
        if self._stat(path)["kind"] != "folder":
            raise OSError(errno.ENOTDIR, "is no folder")
        done, said = self._run(_LIST % (_quoted(os.fsencode(path)), depth), keep=1 << 28)
        if done["code"] != 0:
            raise OSError(errno.ENOSYS, f"cannot be listed: {said[-200:].decode(errors='replace')}")
        rows = re.findall(rb"//([0-9a-f]+) (\d+) \./(.*?)\n(?=//|\Z)", said, re.S)
        found = sorted(
            (name.decode("latin-1"), _KINDS.get(int(mode, 16) >> 12, "other"), int(size))
            for mode, size, name in rows
        )
        return {"entries": found[:limit]}, b""

    # ---------------------------------------------------------------- changes

    def _manifest(self, body: bytes, path: str, exclude: list[str]) -> Answer:
        found = self._list(b"", path, 1000, 1 << 30)[0]["entries"]
        self._root, self._excluded = path.rstrip("/") + "/", frozenset(exclude)
        names = {name for name, kind, _ in found if kind != "folder"}
        self._names = frozenset(n for n in names if n.partition("/")[0] not in self._excluded)
        self._before = {row["path"]: _digest(row, data) for row, data in self._differences(1 << 30)}
        return {"files": len(self._names)}, b""

    def _changes(self, body: bytes, most: int) -> Answer:
        if not self._root:
            raise SandboxError("there is no manifest to compare with")
        found = {row["path"]: (row, data) for row, data in self._differences(most)}
        lost = (
            self._before.keys() & self._names
        ) - found.keys()  # what was not in the image either
        found |= {name: (_row(name), b"") for name in lost}
        changed = [found[n] for n in sorted(found) if self._before.get(n) != _digest(*found[n])]
        return {"changes": [row for row, _ in changed]}, b"".join(data for _, data in changed)

    def _differences(self, most: int) -> Iterator[tuple[dict[str, Any], bytes]]:
        """What in the folder is other than in the image, as the engine sees it; deletions first."""
        deleted = 2
        for each in sorted(client().diff(self.container) or (), key=lambda row: -row["Kind"]):
            name = os.fsencode(each["Path"].removeprefix(self._root)).decode("latin-1")
            if not each["Path"].startswith(self._root) or name.split("/")[0] in self._excluded:
                continue
            at: dict[str, Any] = (
                {"kind": ""} if each["Kind"] == deleted else self._stat(each["Path"])
            )
            if at["kind"] in ("", "folder"):  # of a folder that is gone, what was in it
                below = f"{name}/" if at["kind"] == "" else "\0"
                gone = [n for n in self._names if n == name or n.startswith(below)]
                yield from ((_row(n), b"") for n in gone)
                continue
            row = _row(name, "modified" if name in self._names else "added", at["kind"])
            row |= {"mode": at["mode"], "size": at["size"]}
            data = b""
            if at["kind"] == "link" or (at["kind"] == "file" and at["size"] <= most):
                member, data = self._packed(each["Path"], most)
                data = os.fsencode(member.linkname) if at["kind"] == "link" else data
                row["length"], most = len(data), most - len(data)
            yield row, data


def _row(name: str, kind: str = "deleted", type_: str = "file") -> dict[str, Any]:
    return {"path": name, "kind": kind, "type": type_, "mode": 0, "size": 0, "length": None}


class _Output:
    """Head and tail of what a command prints, between the marks of its begin and its end.

    What the last one's processes said while they were being killed comes before the first mark.
    """

    def __init__(self, word: bytes, half: int) -> None:
        self._begin, self._end, self._half = b"\0%s:" % word, b"\0%s " % word, half
        self._begun, self._arrived = False, b""
        self.head, self.tail, self.total = b"", b"", 0
        self.code: int | None = None

    def add(self, data: bytes) -> None:
        self._arrived += data
        if not self._begun:
            before, found, after = self._arrived.partition(self._begin)
            self._begun, self._arrived = bool(found), after if found else before[-64:]
            if not self._begun:
                return
        at = self._arrived.find(self._end)
        sure = at if at >= 0 else max(len(self._arrived) - len(self._end), 0)
        piece, self._arrived = self._arrived[:sure], self._arrived[sure:]
        room = self._half - len(self.head)
        self.head += piece[:room]
        self.tail = (self.tail + piece[room:])[-self._half :] if self._half else b""
        self.total += len(piece)
        if at >= 0 and b"\n" in self._arrived:
            self.code = int(self._arrived[len(self._end) :].partition(b"\n")[0])


def _digest(row: Mapping[str, Any], data: bytes) -> str:
    return f"{row['kind'] == 'deleted'} {row['type']} {row['mode']} {row['size']} " + (
        hashlib.sha256(data).hexdigest()
    )


def _quoted(text: bytes) -> bytes:
    """As one word of a shell's."""
    return os.fsencode(shlex.quote(os.fsdecode(text)))
