"""Run folders as the commands meet them: found, read, named, reported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentgym import registry
from agentgym.cli.render import Reported
from agentgym.errors import ConfigError, StoreError
from agentgym.report import summarise
from agentgym.store import MANIFEST, Store


def find_runs(path: Path) -> list[Path]:
    """The run in a folder, or the runs in the folders in it.

    Raises:
        StoreError: There are none.
    """
    if (path / MANIFEST).exists() or not path.is_dir():
        return [path]
    found = sorted(folder.parent for folder in path.glob(f"*/{MANIFEST}"))
    if not found:
        raise StoreError(
            f"{path} is not a run folder, nor a folder of runs: there is no {MANIFEST} in it"
        )
    return found


def open_run(path: Path) -> Store:
    """The one run at a path.

    Raises:
        ConfigError: There are several.
    """
    found = find_runs(path)
    if len(found) > 1:
        names = ", ".join(each.name for each in found[:5]) + (", …" if len(found) > 5 else "")
        raise ConfigError(f"{path} holds {len(found)} runs: choose one of them ({names})")
    return Store.open(found[0])


def report_on(stores: Sequence[Store]) -> list[Reported]:
    """Read runs and report on them.

    They are named by their policies, and by their folders too where two are of one policy.

    Raises:
        StoreError: A manifest's plan cannot be read.
    """
    labels = [policy_of(store) for store in stores]
    return [
        Reported(
            name=label if labels.count(label) == 1 else f"{label} ({store.path})",
            path=str(store.path),
            env=env_of(store),
            policy=label,
            summary=summarise(store.episodes()),
            planned=planned if isinstance(planned := store.manifest.get("episodes"), int) else None,
        )
        for label, store in zip(labels, stores, strict=True)
    ]


def policy_of(store: Store) -> str:
    """What a run's plan says of its policy."""
    return str(_plan(store).get("policy", "–"))


def env_of(store: Store) -> str:
    """What a run's plan says of its environment: id and arguments."""
    plan = _plan(store)
    return registry.key(str(plan.get("env", "–")), plan.get("env_args", {}))


def _plan(store: Store) -> dict[str, Any]:
    """A run's plan; empty where there is none, as in what other programs write."""
    plan = store.manifest.get("plan", {})
    if not isinstance(plan, dict) or not isinstance(plan.get("env_args", {}), dict):
        raise StoreError(f"{store.path / MANIFEST} cannot be read: its plan is not a run's")
    return plan


def slug(text: str) -> str:
    """A name for a folder: of an environment's id, or of a policy's spec."""
    text = text.partition("?")[0].partition("@")[0]
    if ":" in text and "/" in text:  # openai:Qwen/Qwen3-8B, llamacpp:/models/a.gguf
        text = text.rpartition("/")[2]
    text = text.rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-._").lower()[:60] or "run"
