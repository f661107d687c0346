"""The contract of an environment as a test kit: `conform("name/World-v0").require()`.

`agentgym.testing.checks` has the checks, one function each; `agentgym check` prints their report.
Episodes are played for real, through `reset` and `step`, in this process, in threads and in other
processes. Only an `agentgym.Env` is checked: a foreign `gymnasium.Env` has
`gymnasium.utils.env_checker.check_env`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agentgym.errors import ConfigError, did_you_mean
from agentgym.testing.checks import CHECKS, about
from agentgym.testing.rehearsal import Broken, Skipped, Subject
from agentgym.testing.rules import RULES

__all__ = ["Check", "Report", "conform"]

_LONGEST_DETAIL = 400


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found."""

    name: str
    status: Literal["pass", "fail", "skip"]
    detail: str = ""
    """One line: what was seen and what to do, why it was skipped, or a remark."""

    @property
    def about(self) -> str:
        """What it asks of an environment."""
        return about(self.name)


@dataclass(slots=True)
class Report:
    """What all checks found."""

    env: str
    """Id and arguments."""
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.status == "fail"]

    def require(self) -> None:
        """For tests.

        Raises:
            AssertionError: Some checks failed; says which, with their details.
        """
        if not self.ok:
            told = "".join(f"\n  {check.name}: {check.detail}" for check in self.failures)
            amount = f"{len(self.failures)} of {len(self.checks)} checks"
            raise AssertionError(f"{self.env} fails {amount}:{told}")


def conform(
    env_id: str,
    *,
    seeds: int = 20,
    only: Collection[str] | None = None,
    on_check: Callable[[Check], None] | None = None,
    **kwargs: Any,
) -> Report:
    """Check an environment against the contract of `agentgym.Env`.

    Args:
        env_id: Its id, with or without arguments (`"agentgym/TextWorld-v0?family=coin"`).
        seeds: Seeds 0 to `seeds - 1` are played by the oracle, at random, and idly.
        only: Names of the checks to run (`agentgym.testing.checks.CHECKS`); all if None.
        on_check: Called with each check as it is done.
        **kwargs: Arguments of the environment.

    Raises:
        RegistryError: No such id, or its extra is not installed.
        ConfigError: It is not an `agentgym.Env`, does not take these arguments, or `only` names no
            check.
    """
    chosen = list(CHECKS) if only is None else list(only)
    for name in chosen:
        if name not in CHECKS:
            raise ConfigError(f"there is no check {name!r}{did_you_mean(name, CHECKS)}")
    subject = Subject(env_id, seeds, kwargs, RULES)
    report = Report(subject.key)
    for name in chosen:
        check = _run(name, subject)
        report.checks.append(check)
        if on_check is not None:
            on_check(check)
    return report


def _run(name: str, subject: Subject) -> Check:
    try:
        return Check(name, "pass", CHECKS[name](subject) or "")
    except Skipped as reason:
        return Check(name, "skip", str(reason))
    except Broken as found:
        return Check(name, "fail", _one_line(str(found)))
    except (Exception, SystemExit) as error:
        return Check(name, "fail", _one_line(f"{type(error).__name__}: {error} ({_where(error)})"))


def _where(error: BaseException) -> str:
    """The innermost line that is not ours, else the innermost."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = Path(__file__).parent.parent
    theirs = [f for f in frames if not Path(f.filename).is_relative_to(ours)] or frames
    return f"{Path(theirs[-1].filename).name}:{theirs[-1].lineno}"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_DETAIL else f"{line[: _LONGEST_DETAIL - 1]}…"
