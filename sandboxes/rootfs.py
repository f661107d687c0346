"""Root file systems for local boxes: folders, one layer on another, kept in the cache.

An image is a short JSON file that lists its layers, the topmost first. What is built stays until it
is pruned; what a fork needs goes with the process that forked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from agentgym.cache import cache_folder
from agentgym.errors import SandboxError
from agentgym.sandboxes import janitor

BASE = "base"
UNPACK_S = 3600.0
"""A layer of no image may be one that is being unpacked, for so long."""
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class RootFS:
    """An image of local boxes."""

    name: str
    layers: list[Path]
    """Folders, the topmost first."""
    workdir: str = "/"


def store() -> Path:
    """Where images are kept: `local` in the cache."""
    return cache_folder("local")


@contextlib.contextmanager
def in_cache(doing: str) -> Iterator[None]:
    """What the system refuses in the cache becomes a `SandboxError` that says where that is."""
    try:
        yield
    except OSError as error:
        where = error.filename or cache_folder()
        raise SandboxError(
            f"{doing}: {where}: {error.strerror or error}; make room, or set AGENTGYM_CACHE to a "
            f"folder that can be written (it is {cache_folder()})"
        ) from error


def _record(name: str) -> Path:
    folder = janitor.folder() if name.startswith("agentgym-") else store() / "images"
    return folder / f"{name.replace('/', '_').replace(':', '_')}.json"


def exists(name: str) -> bool:
    """Whether an image of that name is kept; marks it as used."""
    record = _record(name)
    try:
        os.utime(record)
    except OSError:
        return False
    return True


def find(name: str) -> RootFS:
    """The image of a name; a folder or a tar file is one, too.

    Raises:
        SandboxError: There is none.
    """
    path = Path(name)
    if name == BASE:
        archive = cache_folder("base", "base.tar")
        if not os.path.exists(archive):  # or not to be seen by this user
            raise SandboxError("there is no base image yet: make it with `agentgym images base`")
        return RootFS(BASE, _unpacked(archive).layers)
    if path.is_absolute() and path.is_dir():
        return RootFS(name, [path])
    if path.is_file():
        return _unpacked(path)
    if exists(name):
        told = json.loads(_record(name).read_text())
        return RootFS(name, [Path(layer) for layer in told["layers"]], told["workdir"])
    return _exported(name)


def add(name: str, layers: list[Path], workdir: str = "/") -> RootFS:
    """Keep an image of these layers under a name."""
    with in_cache(f"image {name!r} cannot be kept"):
        _add(_record(name), name, layers, workdir)
    return RootFS(name, layers, workdir)


def _add(record: Path, name: str, layers: list[Path], workdir: str) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    temporary = record.with_suffix(f".{janitor.owner()}")
    told: dict[str, object] = {
        "name": name,
        "layers": [str(layer) for layer in layers],
        "workdir": workdir,
    }
    if record.parent.parent == store():  # what goes with its owner is not pruned
        told["size"] = _size(layers[0])
    temporary.write_text(json.dumps(told))
    temporary.rename(record)


def keep(upper: int, layers: list[Path], name: str | None, workdir: str) -> str:
    """Copy what a box changed into a layer of its own.

    Args:
        upper: Descriptor of the folder that holds the changes.
        layers: What was below it.
        name: Of the image; None: one that goes with this process.
        workdir: Where commands start.

    Returns:
        Its name.
    """
    own = f"{janitor.owner()}-image-{next(_numbers)}"
    with in_cache("no snapshot"):
        folder = store() / "layers" if name is not None else janitor.folder()
        folder.mkdir(parents=True, exist_ok=True)
        made = None if name is None else tempfile.mkdtemp(prefix="layer-", dir=folder)
        layer = folder / own if made is None else Path(made)
    source = f"/proc/self/fd/{upper}/."
    command = ["cp", "--archive", "--reflink=auto", source, str(layer)]
    done = subprocess.run(command, pass_fds=[upper], capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(layer, ignore_errors=True)
        raise SandboxError(f"no snapshot: {done.stderr.strip()}")
    return add(own if name is None else name, [layer, *layers], workdir).name


def name_of(archive: Path) -> str:
    """The name a tar file has as an image."""
    found = archive.stat()
    identity = f"{archive.resolve()} {found.st_size} {found.st_mtime_ns}"
    return f"tar:{hashlib.sha256(identity.encode()).hexdigest()[:24]}"


def _unpacked(archive: Path) -> RootFS:
    """A tar file, unpacked once."""
    name = name_of(archive)
    if not exists(name):
        from agentgym.sandboxes.images import one_at_a_time  # which imports this module's users

        with one_at_a_time(f"local-{name}"):
            return find(name) if exists(name) else unpack(archive, name)
    return find(name)


def unpack(archive: Path, name: str, workdir: str = "/") -> RootFS:
    """Unpack a tar file with a root file system, and keep it under a name.

    Raises:
        SandboxError: It cannot be unpacked.
    """
    folder = store() / "layers"
    with in_cache(f"{archive} cannot be unpacked"):
        folder.mkdir(parents=True, exist_ok=True)
        layer = Path(tempfile.mkdtemp(prefix="layer-", dir=folder))
        layer.chmod(0o755)
    command = ["tar", "--extract", "--numeric-owner", "--exclude=./dev/*", "--exclude=dev/*"]
    command += ["--file", str(archive), "--directory", str(layer)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(layer, ignore_errors=True)
        raise SandboxError(f"{archive} cannot be unpacked: {done.stderr.strip()[-300:]}")
    return add(name, [layer], workdir)


def _exported(name: str) -> RootFS:
    """The files of a Docker image, if an engine has it."""
    from agentgym.sandboxes import docker

    with in_cache(f"image {name!r} cannot be exported"):
        store().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store()) as folder:
        archive = Path(folder) / "image.tar"
        try:
            workdir = docker.export(name, archive)
        except SandboxError as error:
            raise SandboxError(
                f"there is no image {name!r} for local boxes, and no engine to take it from: "
                f"{error}"
            ) from error
        return unpack(archive, name, workdir)


def kept() -> list[tuple[str, int, float]]:
    """Name, size in bytes and time of last use of every image, the longest unused first."""
    found = []
    for record in (store() / "images").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):  # just being removed
            told = json.loads(record.read_text())
            found.append((str(told["name"]), int(told.get("size", 0)), record.stat().st_mtime))
    return sorted(found, key=lambda each: each[2])


def prune(most_bytes: int) -> list[str]:
    """Remove images, the longest unused first, until the rest takes no more room than that.

    What boxes are using stays, and so does what was used in the last minute.

    Returns:
        The names of what was removed.
    """
    from agentgym.sandboxes.images import SPARED_S, one_at_a_time

    with one_at_a_time("prune-local"):
        images, removed = kept(), []
        gone: set[str] = set()
        forks = [_layers(record) for record in janitor.folder().glob("*.json")]
        total, busy = sum(size for _, size, _ in images), _mounted().union(*forks)
        for name, size, used in images:
            if total <= most_bytes or time.time() - used < SPARED_S:
                break
            if not (layers := _layers(_record(name))) & busy:
                gone |= layers
                _record(name).unlink(missing_ok=True)
                removed.append(name)
                total -= size
        needed = busy.union(*(_layers(record) for record in (store() / "images").glob("*.json")))
        for layer in (store() / "layers").glob("layer-*"):
            left = time.time() - layer.stat().st_ctime > UNPACK_S  # by a killed process
            if layer.name not in needed and (layer.name in gone or left):
                shutil.rmtree(layer, ignore_errors=True)
    return removed


def _layers(record: Path) -> set[str]:
    """Names of the layers that an image is made of."""
    with contextlib.suppress(OSError, ValueError):
        return {Path(layer).name for layer in json.loads(record.read_text())["layers"]}
    return set()


def _mounted() -> set[str]:
    """Names of layers that a box on this machine is using, as far as this user may know."""
    found: set[str] = set()
    for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(OSError):
            found.update(re.findall(r"layers/(layer-[^/:,\s]+)", mounts.read_text()))
    return found


def _size(folder: Path) -> int:
    done = subprocess.run(["du", "-s", "-B1", str(folder)], capture_output=True, text=True)
    return int(done.stdout.split()[0]) if done.stdout else 0
