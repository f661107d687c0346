"""Images made from a recipe, once for each recipe, without a network: for either kind of box.

An image is made in a box of its base: files are put there, commands run, and what became of it is
kept under a name that is the recipe's digest. When all of a backend take more room than
`$AGENTGYM_IMAGES_GB` allows (20 if not set), those longest unused are removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import logging
import math
import os
import posixpath
import tarfile
import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from agentgym.cache import cache_folder
from agentgym.errors import ConfigError, SandboxError
from agentgym.sandbox import Image, Limits, Sandbox

logger = logging.getLogger(__name__)

PREFIX = "agentgym/built"
LIMITS = Limits(memory_mb=4096, cpus=float(os.cpu_count() or 1), pids=1024, disk_mb=2048)
"""Of the box an image is made in."""
COMMAND_S = 900.0
BUDGET_GB = 20.0
SPARED_S = 60.0
"""What was used in the last minute is not removed: a box may be about to start from it."""
_LOOK_EVERY_S = 300.0
_PATIENCE_S = 60.0


class Room(Sandbox, Protocol):
    """A box that an image can be made in."""

    def unpack(self, path: str, archive: bytes) -> None:
        """Unpack a tar file into a folder."""
        ...


class Builder(Protocol):
    """What images are built with: a backend."""

    name: str

    def open(
        self,
        image: str | Image,
        *,
        limits: Limits,
        workdir: str | None = None,
        env: dict[str, str] | None = None,
    ) -> Room:
        """Start a box."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is an image of that name."""
        ...

    def identity(self, name: str) -> str:
        """What tells an image from another that had the same name before."""
        ...


class Kept(NamedTuple):
    """An image that was built, or the base."""

    name: str
    backend: str
    size: int
    """Bytes that removing it would free."""
    used: float
    """When it was last used, in seconds since 1970."""


def build(image: Image, backend: Builder) -> str:
    """Make an image unless it is there, and return its name.

    Raises:
        ConfigError: The recipe is wrong.
        SandboxError: The base is missing, or a command failed; says which, and what it printed.
    """
    for path in (*image.files, image.workdir):
        if not path.startswith("/"):
            raise ConfigError(f"image: {path!r} is no absolute path")
    name = f"{PREFIX}:{digest(image, backend.identity(image.base))}"
    if backend.has(name):
        return name
    with one_at_a_time(f"{backend.name}-{name.rpartition(':')[2]}"):
        if backend.has(name):  # another process was faster
            return name
        room = backend.open(image.base, limits=LIMITS, workdir=image.workdir)
        with contextlib.closing(room) as box:
            if image.files:
                box.unpack("/", _archive(image, box))
            for command in image.commands:
                done = box.run(command, cwd=image.workdir, timeout_s=COMMAND_S)
                if done.code != 0:
                    raise SandboxError(
                        f"the image cannot be built: {command!r} "
                        f"{done.stopped or f'ended with {done.code}'}: {done.output[-2000:]}"
                    )
            box.reset_session()
            box.snapshot(name)
    mark_used(backend.name, name)
    _keep_to_budget(backend.name)
    return name


def digest(image: Image, base: str) -> str:
    """Of a recipe and what it starts from."""
    told = hashlib.sha256()
    told.update(json.dumps([base, list(image.commands), image.workdir]).encode())
    for path in sorted(image.files):
        content = image.files[path]
        data = content.encode() if isinstance(content, str) else content
        told.update(json.dumps([path, len(data)]).encode())
        told.update(data)
    return told.hexdigest()[:32]


def _archive(image: Image, box: Room) -> bytes:
    """All plain files in one archive; archives among them are unpacked where they are."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for path, content in sorted(image.files.items()):
            data = content.encode() if isinstance(content, str) else content
            if path.endswith(".tar"):
                box.unpack(posixpath.dirname(path), data)
                continue
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size = len(data)
            member.mode = 0o755 if data.startswith(b"#!") else 0o644
            archive.addfile(member, io.BytesIO(data))
    return whole.getvalue()


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Let one process in; the kernel lets the next one in when it ends, however it ends."""
    from agentgym.sandboxes.rootfs import in_cache

    folder = cache_folder("locks")
    with in_cache("the cache cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / name).open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:  # to close it is not enough: a process forked meanwhile has it, too
            fcntl.flock(file, fcntl.LOCK_UN)


# ------------------------------------------------------------------------- what is kept


def mark_used(backend: str, name: str) -> None:
    """Remember that an image was used now. Local ones are marked by `rootfs.exists`."""
    if backend == "docker":
        mark = cache_folder("used", _file_name(name))
        try:
            os.utime(mark)
        except OSError:
            with contextlib.suppress(OSError):
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch()


def kept(backend: str) -> list[Kept]:
    """The images of a backend that agentgym made, the longest unused first.

    Raises:
        SandboxError: The backend cannot be asked.
    """
    if backend == "docker":
        return sorted(_in_engine(), key=lambda image: image.used)
    from agentgym.sandboxes import rootfs

    base = cache_folder("base", "base.tar")
    names = {rootfs.name_of(base): rootfs.BASE} if base.exists() else {}
    return [Kept(names.get(name, name), "local", size, used) for name, size, used in rootfs.kept()]


def prune(backend: str, most_bytes: int) -> list[str]:
    """Remove images, the longest unused first, until the rest takes no more room than that.

    What boxes are using stays, and so does what was used in the last minute.

    Returns:
        The names of what was removed.
    """
    if backend == "local":
        from agentgym.sandboxes import rootfs

        return rootfs.prune(most_bytes)
    import docker.errors  # only where that backend is asked

    from agentgym.sandboxes.docker import client as connect

    client = connect()
    images = kept("docker")
    total, removed = sum(image.size for image in images), []
    for image in images:
        if total <= most_bytes or time.time() - image.used < SPARED_S:
            break
        try:
            client.remove_image(image.name)
        except (docker.errors.DockerException, OSError) as error:
            logger.debug("image %s stays: %s", image.name, error)  # a container needs it
            continue
        total -= image.size
        removed.append(image.name)
        cache_folder("used", _file_name(image.name)).unlink(missing_ok=True)
    return removed


def _in_engine() -> Iterator[Kept]:
    import docker.errors

    from agentgym.sandboxes.base import LABEL
    from agentgym.sandboxes.docker import BUILT, client

    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            found = client().df().get("Images") or []
            break
        except (docker.errors.DockerException, OSError) as error:
            # An engine answers only one at a time.
            if "already running" not in str(error) or time.monotonic() > deadline:
                raise SandboxError(f"the engine does not tell its images: {error}") from error
            time.sleep(0.05)
    for image in found:
        labels = image.get("Labels") or {}
        if not labels.get(BUILT) and LABEL not in labels:
            continue
        tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
        name = tags[0] if tags else str(image["Id"])
        try:
            used = cache_folder("used", _file_name(name)).stat().st_mtime
        except OSError:
            used = float(image["Created"])
        yield Kept(name, "docker", int(image["Size"]) - max(int(image["SharedSize"]), 0), used)


def _keep_to_budget(backend: str) -> None:
    """Remove what is too much; looked after now and then, as it takes a moment."""
    mark = cache_folder("locks", f"pruned-{backend}")
    with contextlib.suppress(OSError):
        if time.time() - mark.stat().st_mtime < _LOOK_EVERY_S:
            return
    try:
        mark.touch()
        if removed := prune(backend, int(budget_gb() * 1e9)):
            logger.info("removed %d images longest unused: %s", len(removed), ", ".join(removed))
    except (SandboxError, OSError) as error:  # what was built is there all the same
        logger.warning("images are not pruned: %s", error)


def budget_gb() -> float:
    """How much room the images of a backend may take.

    Raises:
        ConfigError: `AGENTGYM_IMAGES_GB` is no number, or out of range.
    """
    told = os.environ.get("AGENTGYM_IMAGES_GB") or str(BUDGET_GB)
    with contextlib.suppress(ValueError):
        if 0 <= (size := float(told)) < math.inf:
            return size
    raise ConfigError(f"AGENTGYM_IMAGES_GB={told!r} is not a number of gigabytes from 0")


def _file_name(name: str) -> str:
    return name.replace("/", "_").replace(":", "_")
