"""The base image: Debian with Python, pytest and git, made once and kept in the cache.

It is one tar file, `base/base.tar` in the cache. Local boxes unpack it, an engine imports it; each
does so again when the file is another.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agentgym.cache import cache_folder
from agentgym.doctor import Probe
from agentgym.errors import ConfigError, SandboxError
from agentgym.sandboxes import engine, images, rootfs

PACKAGES = ("python3", "python3-pytest", "git", "ca-certificates")
PUBLISHED = "docker.io/library/debian:bookworm-slim"
"""What an engine pulls, where the image cannot be made from packages."""
TAG = "agentgym/base:latest"
LABEL = "agentgym.base"
"""Label of the image in an engine; says which tar file it was made from."""
MAKE_S = 1800.0
_ROOM = 3 << 30
_FULL = "No space left on device"
_PREFIX = "agentgym-base-"
_LEFT_S = 60.0
"""A younger folder may be one that is just being made."""

Progress = Callable[[str], None]


def archive() -> Path:
    """Where the tar file is, or will be."""
    return cache_folder("base", "base.tar")


def make(
    *, force: bool = False, source: str | None = None, progress: Progress = lambda line: None
) -> list[str]:
    """Make the base image unless it is there, for every backend that works here.

    Args:
        force: Make it again.
        source: A tar file with a root file system, made elsewhere.
        progress: Told what is being done, a line at a time.

    Returns:
        What it was made ready for: `local`, `docker`, or both.

    Raises:
        ConfigError: `source` is no such file.
        SandboxError: It cannot be made; says what to do.
    """
    path = archive()
    with images.one_at_a_time("base"), rootfs.in_cache("the base image cannot be made"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if force or source is not None or not path.exists():
            for left_by_a_killed_process in path.parent.glob("base.tar.*"):
                left_by_a_killed_process.unlink()
            _remove_left()
            partial = path.with_name(f"base.tar.{os.getpid()}")
            try:
                _obtain(partial, source, progress)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        if not rootfs.exists(rootfs.name_of(path)):
            progress("unpacking it for local boxes")
        rootfs.find(rootfs.BASE)
        ready = ["local"]
        if engine.probe().ok and importlib.util.find_spec("docker") is not None:
            from agentgym.sandboxes import docker

            into_engine(docker.client(), progress)
            ready.append("docker")
    return ready


def into_engine(client: Any, progress: Progress = lambda line: None) -> None:
    """Import the image into an engine, unless it has this very one.

    Raises:
        SandboxError: It was not made yet, or the engine refuses it.
    """
    import docker.errors  # with the client, it is there

    path = archive()
    try:
        found = path.stat()
    except OSError as error:
        raise SandboxError(
            "there is no base image yet: make it with `agentgym images base`"
        ) from error
    identity = f"{found.st_size}-{found.st_mtime_ns}"
    try:
        there = client.images(name=TAG, filters={"label": f"{LABEL}={identity}"})
        if not there:
            progress("importing it into the Docker engine")
            repository, _, tag = TAG.partition(":")
            client.import_image_from_file(
                str(path), repository=repository, tag=tag, changes=[f"LABEL {LABEL}={identity}"]
            )
    except (docker.errors.DockerException, OSError) as error:
        raise SandboxError(f"importing the base image: {error}") from error


def probe() -> Probe:
    """Whether the base image was made."""
    path = archive()
    if not path.exists():
        return Probe("base", False, f"no {path}", "agentgym images base")
    return Probe("base", True, f"{path} ({path.stat().st_size / 1e6:.0f} MB)")


# ------------------------------------------------------------------------- ways to have it


def _obtain(path: Path, source: str | None, progress: Progress) -> None:
    if source is not None:
        progress(f"copying {source}")
        try:
            shutil.copyfile(source, path)
        except OSError as error:
            raise ConfigError(f"no base image from {source!r}: {error.strerror}") from error
    elif os.geteuid() == 0 and shutil.which("mmdebstrap"):
        from_packages(path, progress)
    elif engine.probe().ok and importlib.util.find_spec("docker") is not None:
        from_engine(path, progress)
    else:
        raise SandboxError(
            "the base image cannot be made here: as root, apt-get install mmdebstrap and run "
            "`agentgym images base` again; or start a Docker engine (agentgym doctor); or make it "
            "elsewhere and give the file: agentgym images base --from base.tar"
        )
    _check(path)


def from_packages(path: Path, progress: Progress) -> None:
    """Make it from the distribution's packages, by mmdebstrap, in memory where there is room.

    Raises:
        SandboxError: A package cannot be had.
    """
    release = _release()
    suite = release.get("VERSION_CODENAME", "bookworm")
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM else None
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += ["--format=tar", suite, str(path), *_mirror(suite)]
    progress(f"making a {release.get('NAME', 'Debian')} {suite} with {', '.join(PACKAGES)}")
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=place) as folder, _held(folder) as held:
        said = _run(command, {**os.environ, "TMPDIR": folder}, progress, held)
    if said:
        raise SandboxError(f"the base image cannot be made: mmdebstrap: {said}")


@contextlib.contextmanager
def _held(folder: str) -> Iterator[int]:
    """A descriptor of a folder, which is in use while a process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_left() -> None:
    """Remove folders of processes that were killed, unless what they started still works there."""
    mounts = Path("/proc/self/mounts")
    mounted = mounts.read_text() if mounts.exists() else ""
    for place in {"/dev/shm", tempfile.gettempdir()}:
        for folder in Path(place).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                aged = time.time() - folder.stat().st_ctime > _LEFT_S
                if aged and f" {folder}/" not in mounted:
                    with _held(str(folder)):
                        shutil.rmtree(folder, ignore_errors=True)


def _run(
    command: list[str], environment: dict[str, str], progress: Progress, held: int | None = None
) -> str:
    """Run it, passing on what it says of its progress; its last words, if it failed.

    It has a session of its own: a program that fails may signal its whole process group.
    """
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=() if held is None else (held,),
    ) as process:
        last = "it did not say why"
        try:
            for line in process.stderr or ():
                kind, _, text = line.strip().partition(": ")
                if kind == "I":
                    progress(text)
                elif _FULL in line and _FULL not in last:
                    last = f"{_FULL} ({line.strip()})"
                elif _FULL not in last and (kind == "E" or not last.startswith("E:")):
                    last = line.strip() or last
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            raise
    return last if process.returncode != 0 else ""


def _release() -> dict[str, str]:
    import platform

    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _mirror(suite: str) -> list[str]:
    """Where this machine has its packages of that release from; nothing if not known."""
    command = ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)"]
    try:
        done = subprocess.run([*command, "Created-By: Packages"], capture_output=True, text=True)
    except OSError:
        return []
    rows = [line.split() for line in done.stdout.splitlines()]
    found = [row[2] for row in rows if row[:2] == [suite, "main"] and len(row) == 3]
    return found[:1]


def from_engine(
    path: Path, progress: Progress, image: str = PUBLISHED, packages: tuple[str, ...] = PACKAGES
) -> None:
    """Make it in a container of a published Debian, with the network, and export that.

    Raises:
        SandboxError: The image or a package cannot be had.
    """
    import docker.errors

    from agentgym.sandboxes import docker as boxes
    from agentgym.sandboxes import janitor

    script = "apt-get -qq update && apt-get -qq -y install --no-install-recommends "
    script = f"{script}{' '.join(packages)} && apt-get clean" if packages else "true"
    progress(f"pulling {image}")
    identity, _ = boxes.find_image(image)
    janitor.watch(engine.engine_host())
    client = boxes.client()
    made = client.create_container(
        identity,
        ["/bin/sh", "-ec", script],
        labels={janitor.LABEL: janitor.owner()},
        network_disabled=not packages,
    )
    try:
        progress(f"installing {', '.join(packages)}")
        client.start(made["Id"])
        code = client.wait(made["Id"], timeout=MAKE_S)["StatusCode"]
        if code != 0:
            said = client.logs(made["Id"], tail=5).decode(errors="replace").strip()
            raise SandboxError(f"the base image cannot be made: apt-get ended with {code}: {said}")
        progress("exporting it")
        with path.open("wb") as file:
            for chunk in client.export(made["Id"]):
                file.write(chunk)
    except (docker.errors.DockerException, OSError) as error:
        raise SandboxError(f"the base image cannot be made: {error}") from error
    finally:
        client.remove_container(made["Id"], force=True, v=True)


def _check(path: Path) -> None:
    """A base without Python is none."""
    command = ["tar", "--list", "--file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    names = {name.removeprefix("./") for name in done.stdout.splitlines()}
    if done.returncode != 0:
        raise SandboxError(f"the base image is no tar file: {done.stderr.strip()[-300:]}")
    if not names & {"usr/bin/python3", "usr/local/bin/python3"}:
        raise SandboxError("the base image has no python3 in /usr/bin or /usr/local/bin")
