"""Source trees with tests: of an archive, a folder, or a package that pip downloads."""

from __future__ import annotations

import io
import lzma
import posixpath
import re
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentgym.errors import ConfigError
from agentgym.sandbox import Image

WORKDIR = "/testbed"
PYTEST = "python3 -m pytest -q -rfEsxXp --tb=short --color=no -p no:cacheprovider -o addopts="
"""Every test by name in the summary, and nothing that the project's own options would add."""
MOST_BYTES = 64 * 2**20
"""Of a source tree."""
DOWNLOAD_TIMEOUT_S = 300.0
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_SKIPPED_FOLDERS = frozenset({"venv", "__pycache__", "node_modules", "build", "dist"})
_NOT_SOURCE = frozenset({"setup.py", "conftest.py", "noxfile.py", "tasks.py", "fabfile.py"})
_NOT_PACKAGES = frozenset({"tests", "test", "testing", "docs", "doc", "examples", "benchmarks"})


@dataclass(frozen=True, slots=True)
class Project:
    """A source tree with tests."""

    name: str
    version: str
    files: Mapping[str, bytes]
    """Path in the tree to content."""
    source_paths: tuple[str, ...]
    """Files that may get bugs."""
    test_paths: tuple[str, ...]
    """Files of tests."""
    test_command: str
    """Run at the root of the tree; `{tests}` stands for files of tests."""
    base: str = "base"
    """What its image begins with."""

    @property
    def image(self) -> Image:
        """The tree, as it is, in `WORKDIR`."""
        return Image(self.base, {f"{WORKDIR}/tree.tar": pack(self.files)}, workdir=WORKDIR)


def read_source(what: str | Path, *, cache: Path | None = None, base: str = "base") -> Project:
    """A project from `NAME==VERSION`, which pip downloads as source, a folder or an archive.

    To know what it downloads, pip runs the project's own build backend, as for an installation.

    Args:
        what: As above; archives are `.tar` with any compression.
        cache: Where downloads are kept; nowhere if None.
        base: What the image begins with: a Python with pytest and what the project needs.

    Raises:
        ConfigError: It cannot be had or read, or has no tests.
    """
    path = Path(what).expanduser()
    requirement = _REQUIREMENT.fullmatch(str(what))
    if path.is_dir():
        return make_project(path.resolve().name, "", read_folder(path), base=base)
    if path.is_file():
        name, _, version = re.sub(r"\.(tar(\.\w+)?|tgz)$", "", path.name).rpartition("-")
        return make_project(name or path.stem, version, _read_archive(path), base=base)
    if requirement is None:
        raise ConfigError(f"source {str(what)!r} is no file or folder, and not like NAME==VERSION")
    name, version = requirement.groups()
    with tempfile.TemporaryDirectory() as scratch:
        folder = cache / f"{name}-{version}" if cache else Path(scratch)
        found = sorted(folder.glob("*.tar.*")) or _download(name, version, folder)
        return make_project(name, version, _read_archive(found[0]), base=base)


def make_project(
    name: str, version: str, files: Mapping[str, bytes], *, base: str = "base"
) -> Project:
    """A project from its files: which are source, which are tests, and how these are run.

    Raises:
        ConfigError: There is no package, or there are no tests.
    """
    tests = tuple(sorted(path for path in files if _is_test(path)))
    if not tests:
        raise ConfigError(f"{name} has no tests (test_*.py): take a source archive that has them")
    roots = _packages(files)
    source = tuple(
        path
        for path in sorted(files)
        if path.endswith(".py")
        and any(path == root or path.startswith(f"{root}/") for root in roots)
        and not _NOT_PACKAGES & set(path.split("/")[:-1])
        and not _is_test(path)
        and path.rpartition("/")[2] not in _NOT_SOURCE
    )
    if not source:
        raise ConfigError(f"{name} has no Python package at its top or in src: nothing to break")
    in_src = any(root.startswith("src/") for root in roots)
    path = f"PYTHONPATH={WORKDIR}/src " if in_src else ""
    command = f"{path}{PYTEST} {{tests}}"
    return Project(name, version, dict(files), source, tests, command, base)


def _is_test(path: str) -> bool:
    name = path.rpartition("/")[2]
    return bool(re.fullmatch(r"test_.*\.py|.*_test\.py|tests\.py", name))


def _packages(files: Iterable[str]) -> list[str]:
    """Packages and modules, at the top or in `src`."""
    inits = {path.removesuffix("/__init__.py") for path in files if path.endswith("/__init__.py")}
    for prefix in ("src/", ""):
        packages = [
            root
            for root in sorted(inits)
            if posixpath.dirname(root) == prefix.rstrip("/")
            and posixpath.basename(root) not in _NOT_PACKAGES
        ]
        modules = [
            path
            for path in sorted(files)
            if path.endswith(".py")
            and posixpath.dirname(path) == prefix.rstrip("/")
            and posixpath.basename(path) not in _NOT_SOURCE
        ]
        if packages or modules:
            return packages or modules
    return []


def _download(name: str, version: str, folder: Path) -> list[Path]:
    """Have pip fetch the source; `--no-binary` for it alone, or pip builds its tools as well.

    Raises:
        ConfigError: It cannot.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += [f"--no-binary={name}", f"{name}=={version}", f"--dest={folder}"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"pip took too long over {name}=={version}: try again") from error
    found = sorted(folder.glob("*.tar.*"))
    if done.returncode or not found:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = lines[-1] if lines else "there is no source archive"
        hint = "give a folder or an archive instead"
        raise ConfigError(f"pip cannot download the source of {name}=={version}: {why}: {hint}")
    return found


def _read_archive(path: Path) -> dict[str, bytes]:
    """The regular files of an archive, without the one folder that they are in.

    Raises:
        ConfigError: It is no archive, or would write outside its folder, or is too large.
    """
    files: dict[str, bytes] = {}
    size = 0
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                safe = tarfile.data_filter(member, WORKDIR)
                if member.isfile() and not member.name.endswith(".pyc"):
                    size += member.size
                    _check_size(size, path)
                    stream = archive.extractfile(member)
                    name = posixpath.normpath(safe.name)
                    files[name] = stream.read() if stream else b""
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ConfigError(f"cannot read {str(path)!r} as a source archive: {error}") from error
    tops = {name.partition("/")[0] for name in files}
    if len(tops) == 1 and all("/" in name for name in files):
        files = {name.partition("/")[2]: content for name, content in files.items()}
    return {name: files[name] for name in sorted(files)}


def read_folder(folder: Path) -> dict[str, bytes]:
    """The regular files of a folder, without what tools leave behind; links are not followed.

    Raises:
        ConfigError: It cannot be read, or is too large.
    """
    files: dict[str, bytes] = {}
    size = 0
    try:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in name.parts[:-1])
            if hidden or _SKIPPED_FOLDERS & set(name.parts):
                continue
            if path.is_symlink() or not path.is_file():
                continue
            size += path.stat().st_size
            _check_size(size, folder)
            files[name.as_posix()] = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the source in {str(folder)!r}: {error}") from error
    return files


def _check_size(size: int, path: Path) -> None:
    if size > MOST_BYTES:
        raise ConfigError(f"{str(path)!r} holds more than {MOST_BYTES // 2**20} MB: too large")


def pack(files: Mapping[str, bytes]) -> bytes:
    """Files as a tar, the same bytes for the same files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            member = tarfile.TarInfo(path)
            member.size = len(files[path])
            archive.addfile(member, io.BytesIO(files[path]))
    return stream.getvalue()
