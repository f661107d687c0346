"""Grading a policy's work on a repository: in a box that the policy never saw.

What counts of the policy's changes (`agentgym.envs.swe_guard`) is written into a fresh box, with
the hidden tests, and with a canary: a test of a random name that must fail. A run in which it does
not, or which ends well, was tampered with. Outcomes are levels: `no_submit`, `empty`, `fails`,
`passes`.
"""

from __future__ import annotations

import difflib
import posixpath
import re
import secrets
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentgym.envs.swe_guard import keep
from agentgym.errors import SandboxError
from agentgym.sandbox import Backend, Change, Image, Sandbox
from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_logs import PARSERS, Status, is_kept, is_solved

LEVELS = ("no_submit", "empty", "fails", "passes")
LADDER = (0.0, 0.25, 0.5, 1.0)
"""Scores of the levels where the outcome is graded. The levels are those of G-RA (arXiv
2508.10548); its numbers could not be verified."""
LOG_CHARS = 8_000
"""How much of what tests printed is kept, from its end."""
_COMMIT = (
    "rm -rf .git && if command -v git >/dev/null; then git init --quiet && git add --all && "
    "GIT_AUTHOR_DATE='2000-01-01T00:00:00Z' GIT_COMMITTER_DATE='2000-01-01T00:00:00Z' "
    "git -c user.name=agentgym -c user.email=agentgym@localhost -c commit.gpgsign=false "
    "commit --quiet --allow-empty -m start; fi"
)
_PATCH = "/tmp/agentgym.patch"

Open = Callable[[str], Sandbox]
"""Starts a box from the name of an image."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a policy's work."""

    level: str
    """One of `LEVELS`."""
    tests: Mapping[str, bool] = field(default_factory=dict)
    """Each test that counts: whether it is as it should be. Empty if none were run."""
    fail_to_pass: float = 0.0
    """Share of the tests that must be mended, in [0, 1]."""
    pass_to_pass: float = 0.0
    """Share of the tests that must still pass, in [0, 1]."""
    flags: tuple[str, ...] = ()
    """What was refused, and signs of tampering."""
    patch: str = ""
    """The work that counted, as a unified diff."""
    log: str = ""
    """The end of what the tests printed."""

    @property
    def passed(self) -> bool:
        """Whether all tests are as they should be."""
        return self.level == "passes"


# -------------------------------------------------------------------------------- images


def policy_image(task: SWETask, backend: Backend) -> str:
    """The image that a policy works in: one commit, no hidden test, no trace of the solution."""
    commands = [*_prepared(task), *(f"rm -rf -- {shlex.quote(path)}" for path in task.removed)]
    return _build(task, [*commands, _COMMIT], backend)


def grader_image(task: SWETask, backend: Backend) -> str:
    """The image that a policy's work is graded in."""
    return _build(task, [*_prepared(task), "rm -rf .git"], backend)


def _prepared(task: SWETask) -> list[str]:
    applied = [f"git apply --whitespace=nowarn {_PATCH}", f"rm {_PATCH}"] if task.bug else []
    return [*applied, *task.setup]


def _build(task: SWETask, commands: Sequence[str], backend: Backend) -> str:
    base = task.image if isinstance(task.image, str) else backend.build(task.image)
    files = {_PATCH: task.bug} if task.bug else {}
    return backend.build(Image(base, files, commands, task.workdir))


# -------------------------------------------------------------------------------- grading


def grade(task: SWETask, changes: Iterable[Change], backend: Backend, open_box: Open) -> Verdict:
    """Run the tests of a task on a policy's work.

    Args:
        task: The task.
        changes: All that the policy changed in the repository.
        backend: Where images are.
        open_box: Starts a fresh box.

    Raises:
        SandboxError: The infrastructure failed: this says nothing about the work.
    """
    with open_box(grader_image(task, backend)) as box:
        kept = keep(changes, protected(task), lambda path: _read(box, task, path))
        patch = "".join(_diff(box, task, change) for change in kept.changes)
        flags = list(kept.refused)
        if not patch:
            return Verdict("empty", flags=tuple(flags))
        for change in kept.changes:
            _carry_out(box, task, change)
        return run_tests(task, box, patch, flags)


def protected(task: SWETask) -> set[str]:
    """Files that a policy has no say about, and folders, which end in `/`."""
    named = re.findall(r"^(?:---|\+\+\+) [ab]/(\S.*?)\t?$", task.test_patch, re.MULTILINE)
    graded = (*task.tests, *task.fail_to_pass, *task.pass_to_pass)
    files = (test.partition("::")[0] for test in graded)
    own = {path for path in files if path.endswith(".py")}
    own |= {*named, *task.hidden, *task.removed, *task.protected}
    return own | {folder for path in own if (folder := _tests_folder(path))}


def _tests_folder(path: str) -> str:
    """The folder of tests that a test is in, with what supports them; nothing if it has none."""
    folders = posixpath.dirname(path).split("/")
    for i, folder in enumerate(folders):
        if re.fullmatch(r"tests?|testing", folder):
            return "/".join(folders[: i + 1]) + "/"
    return ""


def run_tests(task: SWETask, box: Sandbox, patch: str = "", flags: Sequence[str] = ()) -> Verdict:
    """Run the hidden tests in a box, canary included, and say what came of it.

    Raises:
        SandboxError: The hidden tests cannot be put there.
    """
    flags = list(flags)
    for path, content in task.hidden.items():
        box.write(posixpath.join(task.workdir, path), content)
    if task.test_patch:
        box.write(_PATCH, task.test_patch)
        applied = box.run(f"git apply --whitespace=nowarn {_PATCH}", cwd=task.workdir)
        if applied.code != 0:
            raise SandboxError(
                f"task {task.id}: its test patch does not apply: {applied.output[-500:]}"
            )
    canary = Canary.of(task)
    tests = list(task.tests)
    if canary is not None:
        box.write(posixpath.join(task.workdir, canary.path), canary.source)
        tests.append(canary.argument)
    command = task.test_command
    arguments = " ".join(map(shlex.quote, tests))
    command = command.replace("{tests}", arguments) if "{tests}" in command else command
    done = box.run(command, cwd=task.workdir, timeout_s=task.tests_timeout_s, keep_bytes=16 << 20)
    if done.stopped:
        flags.append(f"tests stopped: {done.stopped}")
    if task.evaluation == "reward_file":
        return _of_reward_file(task, box, patch, flags, done.output)
    found = PARSERS[task.parser](done.output)
    if canary is not None and (why := canary.objection(found, done.code)):
        flags.append(why)
        found = {}
    return _verdict(task, found, patch, flags, done.output)


def _verdict(
    task: SWETask, found: Mapping[str, Status], patch: str, flags: Sequence[str], log: str
) -> Verdict:
    flaky = frozenset(task.flaky)
    mended = {name: is_solved(name, found) for name in task.fail_to_pass if name not in flaky}
    unbroken = {name: is_kept(name, found) for name in task.pass_to_pass if name not in flaky}
    passed = bool(mended) and all(mended.values()) and all(unbroken.values())
    return Verdict(
        "passes" if passed else "fails",
        tests={**unbroken, **mended},
        fail_to_pass=_share(mended),
        pass_to_pass=_share(unbroken),
        flags=tuple(flags),
        patch=patch,
        log=log[-LOG_CHARS:],
    )


def _share(tests: Mapping[str, bool]) -> float:
    return sum(tests.values()) / len(tests) if tests else 1.0


def _of_reward_file(
    task: SWETask, box: Sandbox, patch: str, flags: Sequence[str], log: str
) -> Verdict:
    """The verdict of tests that write a number in [0, 1] into a file of their own."""
    told = _read(box, task, task.reward_file) or b""
    try:
        reward = min(max(float(told.decode()), 0.0), 1.0)
    except ValueError:
        reward, flags = 0.0, [*flags, "no reward file"]
    level = "passes" if reward == 1.0 else "fails"
    return Verdict(
        level,
        tests={"reward": reward == 1.0},
        fail_to_pass=reward,
        pass_to_pass=1.0,
        flags=tuple(flags),
        patch=patch,
        log=log[-LOG_CHARS:],
    )


@dataclass(frozen=True, slots=True)
class Canary:
    """A test that must fail."""

    path: str
    argument: str
    """How the test command is told of it."""
    name: str
    source: str

    @classmethod
    def of(cls, task: SWETask) -> Canary | None:
        """One for the runner of a task; None where there is no way to name it one more test."""
        if "{tests}" not in task.test_command:
            return None
        word = f"t{secrets.token_hex(8)}"
        folder = posixpath.dirname(next(iter(task.tests), "").partition("::")[0])
        path = posixpath.join(folder, f"test_{word}.py")
        if task.parser == "unittest":
            module = path[: -len(".py")].replace("/", ".")
            source = (
                f"import unittest\n\nclass Test{word}(unittest.TestCase):\n"
                f"    def test_{word}(self):\n        self.assertEqual(1, 2)\n"
            )
            return cls(path, module, f"test_{word}", source)
        source = f"def test_{word}():\n    assert 1 == 2\n"
        return cls(path, path, f"test_{word}", source)

    def objection(self, found: Mapping[str, Status], code: int) -> str:
        """Why a run is not to be believed; nothing if it was run, and failed."""
        statuses = [status for name, status in found.items() if self.name in name]
        if not statuses:
            return "canary not run"
        if any(status != "failed" for status in statuses) or code == 0:
            return "canary passed"
        return ""


# -------------------------------------------------------------------------------- files


def _read(box: Sandbox, task: SWETask, path: str) -> bytes | None:
    try:
        return box.read(posixpath.join(task.workdir, path))
    except OSError as error:
        if isinstance(error, SandboxError):
            raise
        return None


def _carry_out(box: Sandbox, task: SWETask, change: Change) -> None:
    path = posixpath.join(task.workdir, change.path)
    if change.kind == "deleted":
        box.run(f"rm -f -- {shlex.quote(path)}")
    elif change.content is not None:
        box.write(path, change.content, mode=change.mode & 0o777)


def _diff(box: Sandbox, task: SWETask, change: Change) -> str:
    """A change as a unified diff; nothing if the file is as it was."""
    before = _read(box, task, change.path)
    after = None if change.kind == "deleted" else change.content
    if before == after:
        return ""
    old, new = (
        [] if data is None else data.decode("utf-8", "replace").splitlines(keepends=True)
        for data in (before, after)
    )
    names = (
        "/dev/null" if before is None else f"a/{change.path}",
        "/dev/null" if after is None else f"b/{change.path}",
    )
    lines = list(difflib.unified_diff(old, new, *names))
    body = "".join(x if x.endswith("\n") else f"{x}\n\\ No newline at end of file\n" for x in lines)
    header = f"diff --git a/{change.path} b/{change.path}\n"
    if before is None:
        header += f"new file mode 100{change.mode & 0o777:o}\n"
    elif after is None:
        header += "deleted file mode 100644\n"
    return header + (body or "")


def evidence(verdict: Verdict) -> dict[str, Any]:
    """What is recorded of a verdict."""
    return {
        "tests": dict(verdict.tests) or None,
        "patch": verdict.patch,
        "flags": list(verdict.flags),
    }
