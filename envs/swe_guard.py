"""Which changes of a policy count: its work on the repository, not on what grades it."""

from __future__ import annotations

import configparser
import posixpath
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from agentgym.envs.swe_diff import quote
from agentgym.sandbox import Change

LARGEST_FILE = 4 << 20
"""Bytes; a larger file is no source."""

INFRASTRUCTURE = re.compile(
    r"""
    (^|/) (
        conftest\.py | \.?pytest\.(ini|toml) | sitecustomize\.py | usercustomize\.py
      | \.coveragerc(\.toml)? | (nox|tox)file\.py | [^/]+\.pth | [^/]+\.egg-link
      | [^/]+\.(dist|egg)-info/.*
    ) $
    """,
    re.VERBOSE,
)
"""Files that test runners and interpreters read by themselves."""

SHADOW = re.compile(r"(?:^|/)(?:pytest|_pytest|pluggy|unittest|py|xdist|pytest_\w+)(?:\.py$|/)")
"""Modules and packages that would be found in the place of a test runner's own; where a repository
has such a package already, as pytest's has, it is what there is to work on."""

LITTER = re.compile(
    r"(^|/)(__pycache__|\.(pytest|mypy|ruff)_cache|\.hypothesis|\.git|\.venv|\.tox|\.nox)/"
    r"|\.py[co]$|~$"
)
"""What running a program leaves; it is neither work nor suspicious."""

COMPILED = re.compile(r"\.(so|pyd|dll|dylib)(\.[\d.]+)?$")
"""Modules that nobody can read, and that are found before those that one can."""

_SECTIONS = ("pytest", "unittest", "coverage", "aliases", "testenv", "entry_points")
_ROOTS = ("", "src", "lib")
_CONFIGURATION = ("pyproject.toml", "setup.cfg", "tox.ini")


@dataclass(slots=True)
class Kept:
    """The changes that count, and what was said of those that do not."""

    changes: list[Change] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Flags: `kind: path`."""


def keep(
    changes: Iterable[Change], protected: Iterable[str], read_base: Callable[[str], bytes | None]
) -> Kept:
    """Sort out the changes that count.

    Args:
        changes: All of them.
        protected: What the policy has no say about, such as hidden tests: files, and folders with
            all that is in them, which end in `/`.
        read_base: What a file held before, None if it was not there.
    """
    changes = sorted(changes, key=lambda change: change.path)
    named = list(protected)
    kept, closed = Kept(), {posixpath.normpath(path) for path in named if path[-1:] != "/"}
    folders = tuple(f"{posixpath.normpath(path)}/" for path in named if path[-1:] == "/")
    packages = {
        posixpath.dirname(path)
        for change in changes
        if posixpath.basename(path := posixpath.normpath(change.path)) == "__init__.py"
    }
    behind: set[str] = set()  # what may be a link still
    for change in changes:
        path = posixpath.normpath(change.path)
        if LITTER.search(path) or change.type == "folder":
            continue
        known = path in closed or path.startswith(folders)
        why = "protected test" if known else _objection(change, path, packages, read_base)
        if not why and not behind.isdisjoint(map(str, PurePosixPath(path).parents)):
            why = "not a regular file"
        if why:
            kept.refused.append(f"{why}: {quote(path)}")
            if change.kind != "added":
                behind.add(path)
        else:
            kept.changes.append(change)
    return kept


def _objection(
    change: Change, path: str, packages: Set[str], read_base: Callable[[str], bytes | None]
) -> str:
    if path.startswith(("/", "../")) or path in ("..", "."):
        return "outside"
    if INFRASTRUCTURE.search(path) or _shadows(path, packages, read_base):
        return "test infrastructure"
    if COMPILED.search(path):
        return "compiled"
    name, base = posixpath.basename(path), None
    if change.kind != "added" or name in _CONFIGURATION:
        base = read_base(path)
    if change.type != "file" or (change.kind != "added" and base is None):
        return "not a regular file"
    if change.kind == "deleted":
        return "configuration" if name in _CONFIGURATION and _tests_of(name, base) else ""
    if change.content is None or len(change.content) > LARGEST_FILE:
        return "too large"
    if name in _CONFIGURATION and _tests_of(name, change.content) != _tests_of(name, base):
        return "configuration"
    return ""


def _shadows(path: str, packages: Set[str], read_base: Callable[[str], bytes | None]) -> bool:
    """Whether a new module would be found in the place of a test runner's, or of Python's own."""
    found = SHADOW.search(path)
    if found is not None:
        own = path if found[0].endswith(".py") else f"{path[: found.end()]}__init__.py"
        return read_base(own) is None
    root, name = posixpath.split(path.removesuffix("/__init__.py"))
    if name.removesuffix(".py") not in sys.stdlib_module_names or not path.endswith(".py"):
        return False
    inside = root in packages or read_base(posixpath.join(root, "__init__.py")) is not None
    return (root in _ROOTS or not inside) and read_base(path) is None


def _tests_of(name: str, content: bytes | None) -> Any:
    """The parts of a configuration that say how tests are run; all of it where nobody can say.

    Parsed, so that a change of its layout, or of anything else in the file, does not matter.
    """
    if content is None:
        return {}
    try:
        text = content.decode()
        if name == "pyproject.toml":
            read = tomllib.loads(text)
            tools, project = read.get("tool", {}), read.get("project", {})
            told = {tool: tools[tool] for tool in tools if tool.startswith(("pytest", "cov"))}
            return told | {"plugins": project.get("entry-points", {}).get("pytest11", {})}
        parser = configparser.RawConfigParser()
        parser.read_string("\n".join(text.splitlines()))  # at all that pytest takes for their ends
    except (ValueError, AttributeError, TypeError, RecursionError, configparser.Error):
        return content  # any change of it may be one of this
    sections = [each for each in parser.sections() if any(word in each for word in _SECTIONS)]
    return {section: dict(parser[section]) for section in sorted(sections)}


_SUSPICIOUS: Sequence[tuple[str, re.Pattern[str]]] = (
    ("git history", re.compile(r"\bgit\s+(log|reflog|fsck|show|rev-list)\b[^|;&]*--all|--reflog")),
    ("network", re.compile(r"\b(curl|wget|pip3?\s+(install|download)|git\s+(clone|fetch|pull))\b")),
    ("test runner", re.compile(r"(site-packages|dist-packages)\S*/_?pytest\b|sitecustomize")),
    ("process 1", re.compile(r"/proc/1/|\bkill\s+(-\S+\s+)?1\b")),
    ("host", re.compile(r"docker\.sock|\bnsenter\b|\bunshare\b|/proc/sysrq")),
)


def suspicions(command: str) -> list[str]:
    """What about a command is worth a look: flags, for people; no reward reads them."""
    return [name for name, pattern in _SUSPICIOUS if pattern.search(command)]
