"""Boxes that are containers of a Docker engine.

The supervisor is the container's first process, and its input and output are the attached stream:
a command costs one message, not an `exec`. When the stream ends, however that comes, the supervisor
ends, the kernel ends what is left, and the engine removes the container.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import struct
import threading
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Self

from agentgym.errors import ConfigError, RegistryError, SandboxError
from agentgym.sandbox import Image, Limits
from agentgym.sandboxes import janitor
from agentgym.sandboxes.box import Box, Channel, supervisor_command
from agentgym.sandboxes.engine import engine_host

try:
    import docker
    import docker.errors
    from docker.transport import UnixHTTPAdapter
except ImportError as error:  # pragma: no cover - without the extra
    raise RegistryError(
        "docker sandboxes need docker-py: pip install 'agentgym-env[docker]'"
    ) from error

START_S = 60.0
TIMEOUT_S = 120.0
"""Longest wait for an answer of the engine, in seconds."""
IDLE_CONNECTIONS = 2
"""Kept open to the engine; more are opened where more threads ask at once."""
OLDEST_API = (1, 40)
BASE = "agentgym/base:latest"
BUILT = "agentgym.built"
"""Label of images that were built from a recipe."""
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
READ_ONLY = (
    *("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"),
    "/proc/1",
)
"""The engine's own, and the supervisor's: whom the kernel ends when memory runs out."""
PYTHONS = (
    "/usr/bin/python3 /usr/local/bin/python3 /opt/miniconda3/bin/python /opt/conda/bin/python "
    "/testbed/.venv/bin/python /usr/bin/python3.*"
)
_START = f"""for python in {PYTHONS}; do
  if [ -x "$python" ]; then exec "$python" -I -S -c "$1" "$2"; fi
done
printf '\\000\\000\\000\\030\\000\\000\\000\\000{{"ok":true,"plain":true}}'
read -r _
"""
_GROWS_S = 0.1
_STDOUT = 1
_HEADER = struct.Struct(">BxxxI")
_numbers = count(1)


class NoPython(SandboxError):
    """An image has no Python: a `PlainBox` is made of it."""


class _Attached(Channel):
    """The attached stream of a container, of which the engine makes packets."""

    def __init__(self, stream: Any) -> None:
        # of its own: the client's goes with the answer it came in
        super().__init__(getattr(stream, "_sock", stream).dup())
        stream._response.close()
        self._packets = bytearray()
        self.complaints = b""
        """What came on standard error."""

    def receive(self, timeout_s: float) -> bytes:
        """What has arrived; nothing at the end of the stream."""
        while not (content := self._unpack()):
            data = super().receive(timeout_s)
            if not data:
                return b""
            self._packets += data
        return content

    def _unpack(self) -> bytes:
        """What standard output has in the packets that arrived whole, or in the first's part."""
        found, at = [], 0
        while len(self._packets) - at >= _HEADER.size:
            stream, size = _HEADER.unpack_from(self._packets, at)
            end = at + _HEADER.size + size
            if len(self._packets) < end:
                break
            content = bytes(self._packets[at + _HEADER.size : end])
            if stream == _STDOUT:
                found.append(content)
            else:
                self.complaints = (self.complaints + content)[-2000:]
            at = end
        del self._packets[:at]
        return b"".join(found)


# -------------------------------------------------------------------------------- the engine

_connecting = janitor.lock()
_clients: dict[tuple[int, str], Any] = {}


def client() -> Any:
    """This process's connections to the engine, for all threads.

    Raises:
        SandboxError: None answers, or one that is too old; says what to do.
    """
    host = engine_host()
    with _connecting:
        key = (os.getpid(), host)
        if key not in _clients:
            _clients.clear()  # of a parent, or of an engine that is used no more
            _clients[key] = _connect(host)
        return _clients[key]


class _NotOfConcern(logging.Filter):
    """Drops the warning that a connection was closed instead of kept: that is what is meant."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Connection pool is full")


_NOT_OF_CONCERN = _NotOfConcern()


class _OnePool(UnixHTTPAdapter):  # type: ignore[misc]  # docker-py has no types
    """docker-py's own keeps connections for each of the last 25 paths that were asked for."""

    def get_connection(self, url: str, proxies: object = None) -> Any:
        """The same pool, whatever the path."""
        return super().get_connection("http+docker://localhost", proxies)


def _connect(host: str) -> Any:
    logging.getLogger("urllib3.connectionpool").addFilter(_NOT_OF_CONCERN)
    try:
        made = docker.APIClient(
            base_url=host, version="auto", timeout=TIMEOUT_S, max_pool_size=IDLE_CONNECTIONS
        )
        if host.startswith("unix://"):
            adapter = _OnePool(f"http+{host}", TIMEOUT_S, max_pool_size=IDLE_CONNECTIONS)
            made.adapters.pop("http+docker://").close()
            made.mount("http+docker://", adapter)
            made.trust_env = False  # proxies lead to no socket; to look for them is not thread-safe
        version = tuple(map(int, str(made.api_version).split(".")))
    except (docker.errors.DockerException, OSError) as error:
        from agentgym.sandboxes.engine import probe

        told = probe()
        why = f"{told.detail}: {told.remedy}" if not told.ok else str(error)
        raise SandboxError(f"no Docker engine: {why}") from error
    if version < OLDEST_API:
        wanted = ".".join(map(str, OLDEST_API))
        raise SandboxError(f"the Docker engine at {host} speaks API {version}: {wanted} is needed")
    return made


@functools.lru_cache(maxsize=64)
def _all_processors(engine: Any) -> int:
    return int(engine.info().get("NCPU") or 0)


def _processors(engine: Any, wanted: float) -> float:
    """As many of an engine's processors as are wanted, or all: it refuses more than it has."""
    if wanted <= 1:
        return wanted
    return min(wanted, _all_processors(engine) or wanted)


class _engine_errors:
    """What the engine refuses becomes a `SandboxError` that says what was being done."""

    def __init__(self, doing: str) -> None:
        self.doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, docker.errors.DockerException | OSError):
            told = getattr(error, "explanation", None) or error
            raise SandboxError(f"{self.doing}: {told}") from error


def find_image(name: str) -> tuple[str, str]:
    """The id and the working folder of an image; it is pulled if it is not here.

    Raises:
        SandboxError: It cannot be had.
    """
    if name == "base":
        name = BASE
    try:
        found = client().inspect_image(name)
    except docker.errors.ImageNotFound:
        _obtain(name)
        with _engine_errors(f"image {name!r}"):
            found = client().inspect_image(name)
    except (docker.errors.DockerException, OSError) as error:
        raise SandboxError(f"image {name!r}: {error}") from error
    config = found.get("Config") or {}
    return str(found["Id"]), config.get("WorkingDir") or "/"


@functools.lru_cache(maxsize=4096)
def _known_image(name: str, process: int) -> tuple[str, str]:
    return find_image(name)


def _obtain(name: str) -> None:
    """Import the base image, or pull any other."""
    if name == BASE:
        from agentgym.sandboxes.base import into_engine

        into_engine(client())
        return
    try:
        for line in client().pull(name, stream=True, decode=True):
            if "error" in line:
                raise SandboxError(
                    f"image {name!r} is not here, and not to be had: {line['error']}"
                )
    except (docker.errors.DockerException, OSError) as error:
        told = getattr(error, "explanation", None) or error
        raise SandboxError(f"image {name!r} is not here, and cannot be pulled: {told}") from error


def export(name: str, path: Path) -> str:
    """Write the files of an image into a tar file; returns its working folder.

    Raises:
        SandboxError: There is no engine, or no such image.
    """
    identity, workdir = find_image(name)
    janitor.watch(engine_host())
    with _engine_errors(f"exporting {name!r}"):
        engine = client()
        made = engine.create_container(identity, ["/"], labels={janitor.LABEL: janitor.owner()})
        try:
            with path.open("wb") as file:
                for chunk in engine.export(made["Id"]):
                    file.write(chunk)
        finally:
            engine.remove_container(made["Id"], force=True, v=True)
    return workdir


# -------------------------------------------------------------------------------- boxes


class DockerBox(Box):
    """A container; `Docker.open` makes them."""

    _own_image = ""
    """An image that goes with it."""
    _over: int | None = None
    """Its size when it was first seen to be over the limit, since a command began."""

    def __init__(
        self,
        image: str,
        limits: Limits,
        workdir: str | None,
        env: Mapping[str, str],
        runtime: str | None = None,
    ) -> None:
        janitor.watch(engine_host())
        identity, folder = _known_image(image, os.getpid())
        self._opened = workdir or folder, dict(env), runtime
        name = f"{janitor.owner()}-{next(_numbers)}"
        engine = client()
        self.container, attached = "", None
        with _engine_errors(f"a container of {image!r} cannot be started"):
            try:
                made = engine.create_container(
                    identity,
                    **self._settings(engine, name, limits, runtime),
                    **self._entry(workdir or folder, env),
                )
                self.container = str(made["Id"])
                stream = engine.attach_socket(
                    self.container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
                )
                attached = self._attached = _Attached(stream)
                engine.start(self.container)
            except BaseException as error:
                if attached is not None:
                    attached.close()
                if self.container:
                    _undertaker().put(self.container)
                if isinstance(error, docker.errors.NotFound):
                    _known_image.cache_clear()  # so that it is pulled again
                if isinstance(error, docker.errors.APIError) and "/bin/sh" in str(error):
                    raise SandboxError(
                        f"image {image!r} has no /bin/sh: no command can run in it"
                    ) from error
                raise
        super().__init__(self._attached, image, limits)
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def _entry(self, workdir: str, env: Mapping[str, str]) -> dict[str, Any]:
        """What the container's first process is."""
        *_, source, settings = supervisor_command("python3", workdir, env)
        return {
            "entrypoint": ["/bin/sh", "-c", _START, "sh"],
            "command": [source, settings],
            "environment": {"LANG": "C.UTF-8"},
        }

    def _greet(self) -> None:
        """Wait until it answers."""
        hello = self._hello(START_S)
        if "plain" in hello:
            raise NoPython(f"image {self.image!r} has no Python (3.6 or newer)")
        self.python = str(hello["python"])

    @staticmethod
    def _settings(engine: Any, name: str, limits: Limits, runtime: str | None) -> dict[str, Any]:
        disk = limits.disk_mb << 20
        host = engine.create_host_config(
            auto_remove=True,
            network_mode="none",
            cap_drop=["ALL"],
            cap_add=list(CAPABILITIES),
            security_opt=["no-new-privileges"],
            pids_limit=limits.pids,
            mem_limit=limits.memory_mb << 20,
            memswap_limit=limits.memory_mb << 20,
            nano_cpus=int(_processors(engine, limits.cpus) * 1e9),
            shm_size=min(64, max(limits.memory_mb // 4, 1)) << 20,
            log_config={"Type": "none"},
            ulimits=[
                {"Name": "fsize", "Soft": disk, "Hard": disk},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
            runtime=runtime,
        )
        host["ReadonlyPaths"] = list(READ_ONLY)
        return {
            "name": name,
            "hostname": "sandbox",
            "labels": {janitor.LABEL: janitor.owner()},
            "host_config": host,
            "stdin_open": True,
            "tty": False,
            "user": "0:0",
            "working_dir": "/",
        }

    def snapshot(self, name: str | None = None) -> str:
        """Keep the files as an image; see `Sandbox.snapshot`."""
        wanted = name or f"agentgym/fork:{janitor.owner()}-{next(_numbers)}"
        if ":" not in wanted.rpartition("/")[2]:
            wanted += ":latest"
        repository, _, tag = wanted.rpartition(":")
        kept = janitor.owner() if name is None else ""
        labels = [f"LABEL {janitor.LABEL}={kept}", f"LABEL {BUILT}={'' if name is None else 'yes'}"]
        with self._turn, _engine_errors(f"no snapshot of {self.image!r}"):
            if self._closed:
                raise SandboxError("the sandbox is closed")
            client().commit(
                self.container,
                repository=repository,
                tag=tag,
                changes="\n".join([f"WORKDIR {self._opened[0]}", *labels]),
            )
        return wanted

    def fork(self) -> Self:
        """A second box with the same files."""
        workdir, env, runtime = self._opened
        kept = self.snapshot()
        try:
            box = type(self)(kept, self.limits, workdir, env, runtime)
        except BaseException:
            _undertaker().put("", kept)
            raise
        box._own_image = kept
        return box

    def _begins(self) -> None:
        self._over = None

    def _watch(self) -> str:
        """A command may free space in a box that is over its limit: only growth ends it."""
        most = self.limits.disk_mb << 20
        size = self._size()
        if size > most and self._over is None:
            self._over = size
            time.sleep(_GROWS_S)
            size = self._size()
        return "disk" if size > most and size > (self._over or 0) else ""

    def _size(self) -> int:
        """Bytes that were written, as far as the engine tells.

        Raises:
            SandboxError: The container is paused.
        """
        found: list[dict[str, Any]] = []
        with contextlib.suppress(docker.errors.DockerException, OSError, SandboxError):
            found = client().containers(all=True, size=True, filters={"id": self.container})
        if found and found[0].get("State") == "paused":
            raise self._died("it does not answer")
        return int(found[0].get("SizeRw") or 0) if found else 0

    def _left_running(self) -> None:
        _warden_of(os.getpid()).watch(self)

    def _look(self) -> None:
        """Between commands: end what fills the disk in the background."""
        if self._turn.acquire(blocking=False):
            try:
                with contextlib.suppress(SandboxError, OSError):
                    if self._watch():
                        self._ask("killall", forget=False)
            finally:
                self._turn.release()

    def _cause(self) -> str:
        told = self._attached.complaints.decode(errors="replace").strip()
        with contextlib.suppress(docker.errors.DockerException, OSError):
            state = client().inspect_container(self.container)["State"]
            told = f"{told} {state['Status']}, exit code {state['ExitCode']}"
            told += ", out of memory" if state.get("OOMKilled") else ""
        return told.strip()

    def _remove(self) -> None:
        _undertaker().put(self.container, self._own_image)


class _Undertaker:
    """Sees to it, in a thread of its own, that containers are removed."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._left = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._work, name="agentgym-undertaker", daemon=True).start()

    def put(self, container: str, image: str = "") -> None:
        with self._changed:
            self._left += 1
        self._waiting.put((container, image))

    def settle(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._left == 0, timeout_s)

    def _work(self) -> None:
        while True:
            container, image = self._waiting.get()
            with contextlib.suppress(Exception):  # the janitor will find it; others are waiting
                if container:
                    janitor.remove_container(client(), container)
            if image:
                self._forget(image)
            with self._changed:
                self._left -= 1
                self._changed.notify_all()

    @staticmethod
    def _forget(image: str) -> None:
        """Remove an image as soon as no box is made of it; its forks keep their files."""
        for _ in range(50):
            with contextlib.suppress(docker.errors.DockerException, OSError, SandboxError):
                client().remove_image(image)
                return
            time.sleep(0.1)


class _Warden:
    """Looks, in a thread of its own, after boxes in which something runs in the background."""

    def __init__(self) -> None:
        self._boxes: set[DockerBox] = set()
        self._lock = threading.Lock()
        self._works = False

    def watch(self, box: DockerBox) -> None:
        with self._lock:
            self._boxes.add(box)
            if not self._works:
                self._works = True
                threading.Thread(target=self._work, name="agentgym-warden", daemon=True).start()

    def _work(self) -> None:
        while True:
            time.sleep(1.0)
            with self._lock:
                self._boxes = {box for box in self._boxes if not box._closed}
                self._works = bool(self._boxes)
                boxes = list(self._boxes)
            if not boxes:
                return
            for box in boxes:
                box._look()


@functools.cache
def _warden_of(process: int) -> _Warden:
    return _Warden()


@functools.cache
def _undertaker_of(process: int) -> _Undertaker:
    return _Undertaker()


def _undertaker() -> _Undertaker:
    return _undertaker_of(os.getpid())


def settle(timeout_s: float = 30.0) -> bool:
    """Wait until what was closed is removed; says whether it is."""
    return _undertaker().settle(timeout_s)


class Docker:
    """A Docker engine, wherever it is."""

    name = "docker"

    def __init__(self) -> None:
        self._without_python: set[str] = set()

    def open(
        self,
        image: str | Image,
        *,
        limits: Limits,
        workdir: str | None = None,
        env: Mapping[str, str] | None = None,
        runtime: str | None = None,
        **options: Any,
    ) -> DockerBox:
        """Start a box; see `open_sandbox`.

        Args:
            image: A name, or a recipe.
            limits: What it may use.
            workdir: Where commands start.
            env: Variables of every command.
            runtime: Of the engine, as in `runsc`.
            options: None.
        """
        from agentgym.sandboxes import images

        if options:
            raise ConfigError(f"docker boxes take no option {sorted(options)[0]!r}: only runtime")
        name = self.build(image) if isinstance(image, Image) else image
        images.mark_used("docker", name)
        identity, _ = _known_image(name, os.getpid())
        if identity not in self._without_python:
            with contextlib.suppress(NoPython):
                return DockerBox(name, limits, workdir, env or {}, runtime)
            self._without_python.add(identity)
        from agentgym.sandboxes.plain import PlainBox

        return PlainBox(name, limits, workdir, env or {}, runtime)

    def build(self, image: Image) -> str:
        """Make the image unless it is there, and return its name."""
        from agentgym.sandboxes import images

        return images.build(image, self)

    def has(self, name: str) -> bool:
        """Whether there is an image of that name."""
        try:
            client().inspect_image(name)
        except docker.errors.ImageNotFound:
            return False
        except (docker.errors.DockerException, OSError) as error:
            raise SandboxError(f"image {name!r}: {error}") from error
        return True

    def identity(self, name: str) -> str:
        """The image's digest."""
        return find_image(name)[0]


BACKEND = Docker()
