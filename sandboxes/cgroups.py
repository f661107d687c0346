"""Control groups for local boxes: limits that the kernel keeps, where this process may set some."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from pathlib import Path

from agentgym.sandbox import Limits

_ROOT = Path("/sys/fs/cgroup")
_V1 = ("memory", "pids", "cpu")
_PERIOD_US = 100_000


@functools.cache
def parents() -> tuple[Path, ...]:
    """Folders in which groups can be made: one a controller (version 1), one (version 2), none."""
    if (_ROOT / "cgroup.controllers").exists():
        return _second_version()
    found = [_ROOT / name for name in _V1]
    return tuple(folder for folder in found if os.access(folder, os.W_OK))


def _second_version() -> tuple[Path, ...]:
    """The group of this process or, as that must be empty, its nearest parent that will do."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        here = _ROOT / own.lstrip("/")
        for folder in (here, *here.parents):
            if not folder.is_relative_to(_ROOT) or not os.access(folder, os.W_OK):
                continue
            wanted = {"memory", "pids", "cpu"}
            with contextlib.suppress(OSError):
                enabled = folder / "cgroup.subtree_control"
                if not wanted <= set(enabled.read_text().split()):
                    enabled.write_text(" ".join(f"+{name}" for name in sorted(wanted)))
                return (folder,)
    return ()


def make(name: str, limits: Limits) -> list[Path]:
    """Groups of that name with these limits; none where there may be none."""
    made: list[Path] = []
    try:
        for parent in parents():
            group = parent / name
            group.mkdir()
            made.append(group)
            for file, value in _settings(parent, limits).items():
                with contextlib.suppress(FileNotFoundError):  # swap may not be counted
                    _write(group / file, value)
    except OSError:
        remove(made)
        return []
    return made


def _write(path: Path, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _settings(parent: Path, limits: Limits) -> dict[str, str]:
    memory, quota = str(limits.memory_mb << 20), str(int(limits.cpus * _PERIOD_US))
    if (_ROOT / "cgroup.controllers").exists():
        return {
            "memory.max": memory,
            "memory.swap.max": "0",
            "pids.max": str(limits.pids),
            "cpu.max": f"{quota} {_PERIOD_US}",
        }
    return {
        "memory": {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory},
        "pids": {"pids.max": str(limits.pids)},
        "cpu": {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": quota},
    }[parent.name]


def remove(groups: list[Path], patience_s: float = 2.0) -> None:
    """Remove groups; what is left in them is given that long to end."""
    deadline = time.monotonic() + patience_s
    for group in groups:
        while True:
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    break
                with contextlib.suppress(OSError):
                    (group / "cgroup.kill").write_text("1")
                time.sleep(0.002)
            else:
                break
