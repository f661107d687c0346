"""What of this machine agentgym can use: every part tried for real, with what to do where it fails.

Only Python and the machine itself are needed by all; the rest is optional, so a probe that is not
ok is information, not a fault.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agentgym import models
from agentgym.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found out about one part."""

    name: str
    ok: bool
    detail: str
    """What was found: a version and a place, or why it cannot be used."""
    remedy: str = ""
    """What to do about it; empty if it is ok."""


EXTRAS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "textworld": ("textworld", "textworld"),
        "alfworld": ("alfworld", "alfworld"),
        "web": ("playwright", "playwright"),
        "docker": ("docker", "docker"),
        "llamacpp": ("xllamacpp", "xllamacpp"),
        "vllm": ("vllm", "vllm"),
        "transformers": ("transformers", "transformers"),
        "search": ("bm25s", "bm25s"),
        "dense": ("sentence_transformers", "sentence-transformers"),
        "qdrant": ("qdrant_client", "qdrant-client"),
        "image": ("PIL", "pillow"),
        "parquet": ("pyarrow", "pyarrow"),
        "plot": ("matplotlib", "matplotlib"),
    }
)
"""Each optional extra: the module it brings, and the distribution that module comes in."""


def diagnose() -> list[Probe]:
    """Try every part. Takes a second or two, most of it the browser's start; raises nothing."""
    probes = [_python(), _machine()]
    probes += [_extra(name) for name in EXTRAS]
    probes += [_model(name) for name in models.MODELS]
    probes += [_sandbox(name) for name in ("engine", "local", "base", "browser")]
    return probes


def _python() -> Probe:
    version = platform.python_version()
    return Probe(
        "python",
        sys.version_info >= (3, 11),
        f"{platform.python_implementation()} {version} at {sys.executable}",
        "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer",
    )


def _machine() -> Probe:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}"
    return Probe("machine", True, f"{cores} cores, {gib:.1f} GiB of memory, {system}")


def _extra(extra: str) -> Probe:
    """Whether its module is installed: found, not imported, as some take seconds to."""
    module, distribution = EXTRAS[extra]
    if importlib.util.find_spec(module) is None:
        remedy = f"pip install 'agentgym-env[{extra}]'"
        return Probe(extra, False, f"{module} is not installed", remedy)
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    return Probe(extra, True, f"{module} {version}")


def _model(name: str) -> Probe:
    try:
        path = models.find(name)
    except ConfigError as error:
        return Probe(name, False, str(error), f"agentgym models pull {name}")
    return Probe(name, True, f"{models.MODELS[name].description}: {path}")


def _sandbox(name: str) -> Probe:
    # By name: the core does not depend on the sandboxes.
    module = importlib.import_module(f"agentgym.sandboxes.{name}")
    probe: Callable[[], Probe] = module.probe
    return probe()
