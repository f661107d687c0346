"""Grading a policy's work on a repository: in boxes that the policy never saw.

What counts of the policy's changes (`agentgym.envs.swe_guard`) is written into a fresh box, with
the hidden tests, and with a canary: a test that must fail. A run in which it does not, that ends
well, that was stopped, or whose output is too long to be kept whole is not believed. What it says
of the tests that must be mended is then asked again, in another fresh box and with some answers
wrong (`agentgym.envs.swe_control`): the work must fail where the task's own solution does. Outcomes
are levels: `no_submit`, `empty`, `fails`, `passes`.

What this cannot tell: work that knows right answers from wrong ones, which is to solve the issue
where the tests run instead of in the code; with one test to mend, work that cheats at random in one
run and not in the other, a quarter of the times; without a solution, or where no hidden test has an
answer to change, work that makes all pass but what it takes for the canary; where a script writes
the reward, work that writes part of it itself, or, where no test of it is known, all.
`Verdict.confirmed` says whether wrong answers were told.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import posixpath
import random
import re
import shlex
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from agentgym.cache import cache_folder
from agentgym.envs.swe_control import Canary, spoil, spoilable
from agentgym.envs.swe_diff import carry_out, read_file, read_versions, version_after, write_diff
from agentgym.envs.swe_guard import keep
from agentgym.errors import SandboxError, TaskError
from agentgym.sandbox import Backend, Change, ExecResult, Image, Sandbox
from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_logs import PARSERS, Status, is_kept, is_solved
from agentgym.tasks.swe_patches import files_of

LEVELS = ("no_submit", "empty", "fails", "passes")
LADDER = (0.0, 0.25, 0.5, 1.0)
"""Scores of the levels where the outcome is graded. The levels are those of G-RA (arXiv
2508.10548); its numbers could not be verified."""
LOG_CHARS = 8_000
"""How much of what tests printed is kept, from its end."""
_OUTPUT_BYTES = 16 << 20
_CONTROL = "2"
"""Of the way in which controls are made: another one makes them anew."""
_ATTEMPTS = 3
_NO_REWARD = "no reward file"
_STOPPED = "tests stopped: "
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
    confirmed: bool = False
    """Whether tests with wrong answers failed, as they do with the task's own solution."""

    @property
    def passed(self) -> bool:
        """Whether all tests are as they should be."""
        return self.level == "passes"


# -------------------------------------------------------------------------------- images


def policy_image(task: SWETask, backend: Backend) -> str:
    """The image that a policy works in: one commit, no hidden test, no trace of the solution."""
    removed = []
    for path in task.removed:
        folder, name = posixpath.split(path)
        compiled = posixpath.join(folder, "__pycache__", name.removesuffix(".py"))
        removed.append(f"rm -rf -- {shlex.quote(path)} {shlex.quote(compiled)}.*")
    return _build(task, [*_prepared(task), *removed, _COMMIT], backend)


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


def grade(
    task: SWETask,
    changes: Iterable[Change],
    backend: Backend,
    open_box: Open,
    *,
    confirm: bool = True,
) -> Verdict:
    """Run the tests of a task on a policy's work.

    Args:
        task: The task.
        changes: All that the policy changed in the repository.
        backend: Where images are.
        open_box: Starts a fresh box.
        confirm: Ask again, with wrong answers, about tests that pass.

    Raises:
        SandboxError: The infrastructure failed, or the task's own files do: this says nothing about
            the work.
    """
    image = grader_image(task, backend)
    with closing(open_box(image)) as box:
        kept = keep(changes, protected(task), lambda path: read_file(box, task.workdir, path))
        before = read_versions(box, task.workdir, [each.path for each in kept.changes])
        _put_tests(task, box)
        done, flags = carry_out(box, task.workdir, kept.changes)
        flags = [*kept.refused, *flags]
        patch = "".join(
            write_diff(change.path, before[change.path], version_after(change)) for change in done
        )
        if not patch:
            return Verdict("empty", flags=tuple(flags))
        verdict = _run(task, box, patch, flags)
    return _asked_again(task, verdict, done, image, open_box) if confirm else verdict


def protected(task: SWETask) -> set[str]:
    """Files that a policy has no say about, and folders, which end in `/`.

    Raises:
        SandboxError: The test patch is damaged.
    """
    graded = (*task.tests, *task.fail_to_pass, *task.pass_to_pass)
    files = (test.partition("::")[0] for test in graded)
    own = {path for path in files if path.endswith(".py")}
    own |= {*_patched(task), *task.hidden, *task.removed, *task.protected}
    own |= {folder for path in own if (folder := _tests_folder(path))}
    scripts = {posixpath.normpath(word) for word in re.findall(r"[\w./-]+", task.test_command)}
    scripts -= {".", *_patched(task, task.gold, "solution")}
    reward = posixpath.normpath(posixpath.join(task.workdir, task.reward_file or "."))
    return own | scripts | {posixpath.relpath(reward, task.workdir)}


def _patched(task: SWETask, patch: str | None = None, what: str = "test patch") -> tuple[str, ...]:
    """Files of a patch of the task's, of its tests if not said."""
    try:
        return files_of(task.test_patch if patch is None else patch)
    except TaskError as error:
        raise SandboxError(f"task {task.id}: its {what}: {error}") from error


def _tests_folder(path: str) -> str:
    """The folder of tests that a test is in, with what supports them; nothing if it has none."""
    folders = posixpath.dirname(path).split("/")
    for i, folder in enumerate(folders):
        if re.fullmatch(r"tests?|testing", folder):
            return "/".join(folders[: i + 1]) + "/"
    return ""


def run_tests(task: SWETask, box: Sandbox) -> Verdict:
    """Run the hidden tests in a box, canary included, and say what came of it.

    Raises:
        SandboxError: The hidden tests cannot be put there.
    """
    _put_tests(task, box)
    return _run(task, box)


def _put_tests(task: SWETask, box: Sandbox) -> None:
    """Done before anything of the policy's is there, so that nothing of it can be in the way."""
    if task.test_patch and (said := _apply(task, box, task.test_patch)):
        raise SandboxError(f"task {task.id}: its test patch does not apply: {said}")
    try:
        for path, content in task.hidden.items():
            box.write(posixpath.join(task.workdir, path), content)
    except OSError as error:
        raise SandboxError(f"task {task.id}: its hidden tests: {error}") from error


def _apply(task: SWETask, box: Sandbox, patch: str) -> str:
    """Apply a patch; what is wrong with it, if it does not."""
    box.write(_PATCH, patch)
    done = box.run(f"git apply --whitespace=nowarn {_PATCH}", cwd=task.workdir)
    return done.output[-500:] or "no reason is given" if done.code else ""


def _run(
    task: SWETask,
    box: Sandbox,
    patch: str = "",
    flags: Sequence[str] = (),
    spoiled: Mapping[str, str] = MappingProxyType({}),
) -> Verdict:
    flags = list(flags)
    for path, content in spoiled.items():
        box.write(posixpath.join(task.workdir, path), content)
    canary = Canary.of(task)
    tests = list(task.tests)
    if canary is not None:
        box.write(posixpath.join(task.workdir, canary.path), canary.source)
        tests.append(canary.argument)  # last, when what it is there to catch has been imported
    if task.evaluation == "reward_file":
        box.run(f"rm -rf -- {shlex.quote(task.reward_file)}", cwd=task.workdir)
    command = task.test_command.replace("{tests}", " ".join(map(shlex.quote, tests)))
    done = box.run(
        command, cwd=task.workdir, timeout_s=task.tests_timeout_s, keep_bytes=_OUTPUT_BYTES
    )
    if done.stopped:
        flags.append(f"{_STOPPED}{done.stopped}")
    elif done.elided and task.evaluation == "tests":
        flags.append("output too long")
    whole = not (done.stopped or done.elided)
    if task.evaluation == "reward_file":
        return _of_reward_file(task, box, patch, flags, done)
    found = PARSERS[task.parser](done.output) if whole else {}
    if whole and canary is not None and (why := canary.objection(found, done.code)):
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
    task: SWETask, box: Sandbox, patch: str, flags: Sequence[str], done: ExecResult
) -> Verdict:
    """The verdict of tests that write a number in [0, 1] into a file of their own."""
    told = b"" if done.stopped else read_file(box, task.workdir, task.reward_file) or b""
    try:
        reward = float(told.decode())
    except ValueError:
        reward = math.nan
    if math.isnan(reward):
        reward, flags = 0.0, [*flags, _NO_REWARD]
    reward = min(max(reward, 0.0), 1.0)
    return Verdict(
        "passes" if reward == 1.0 else "fails",
        tests={"reward": reward == 1.0},
        fail_to_pass=reward,
        pass_to_pass=1.0,
        flags=tuple(flags),
        patch=patch,
        log=done.output[-LOG_CHARS:],
    )


# -------------------------------------------------------------------------------- asked again


class _Control(NamedTuple):
    """Tests with wrong answers, and which then fail with the task's own solution."""

    files: Mapping[str, str]
    fails: Sequence[str]


def _asked_again(
    task: SWETask, verdict: Verdict, changes: Sequence[Change], image: str, open_box: Open
) -> Verdict:
    """The verdict, if what it says of the tests to be mended also holds where some are wrong."""
    claimed = {name for name in _mended(task) if verdict.tests.get(name)}
    controls = _controls(task, image, open_box) if claimed else []
    control = next((each for each in controls if claimed.intersection(each.fails)), None)
    if control is None:
        return verdict
    with closing(open_box(image)) as box:
        _put_tests(task, box)
        carry_out(box, task.workdir, changes)
        again = _run(task, box, spoiled=control.files)
    belied = [name for name in claimed if again.tests[name] == (name in control.fails)]
    if not belied:
        return replace(verdict, confirmed=True)
    easy = any(again.tests[name] for name in belied)
    why = "passes tests with wrong answers" if easy else "does not pass twice"
    return replace(
        verdict,
        level="fails",
        tests=dict.fromkeys(verdict.tests, False),
        fail_to_pass=0.0,
        pass_to_pass=0.0,
        flags=(*verdict.flags, *again.flags, why),
    )


def _mended(task: SWETask) -> list[str]:
    if task.evaluation == "reward_file":
        return ["reward"]
    return [name for name in task.fail_to_pass if name not in task.flaky]


def _controls(task: SWETask, image: str, open_box: Open) -> list[_Control]:
    """A task's controls, made once and kept in the cache: two, if it has tests for that."""
    told: list[object] = [
        _CONTROL,
        task.id,
        task.test_command,
        task.tests,
        task.fail_to_pass,
        task.gold,
    ]
    told += [task.bug, task.test_patch, dict(task.hidden), task.parser, task.flaky]
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
    place = cache_folder("swe", "controls", f"{key}.json")
    with _making(key):  # episodes of a group end together
        try:
            return [_Control(*each) for each in json.loads(place.read_text())]
        except (OSError, ValueError, TypeError):
            made = _make_controls(task, key, image, open_box) if task.gold else []
        if made is None:
            return []
        _keep_controls(place, made)
    return made


@functools.lru_cache(maxsize=256)
def _making(key: str) -> threading.Lock:
    return threading.Lock()


def _keep_controls(place: Path, made: Sequence[_Control]) -> None:
    partial = place.with_suffix(f".{os.getpid()}")
    with suppress(OSError):  # then they are made again
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(made))
        partial.replace(place)


def _make_controls(task: SWETask, key: str, image: str, open_box: Open) -> list[_Control] | None:
    """None if that cannot be said, as tests were stopped; it may be a machine with much to do."""
    draw = random.Random(key)
    wanted = spoilable(task, _patched(task))
    with closing(open_box(image)) as box:
        _put_tests(task, box)
        read = {path: read_file(box, task.workdir, path) or b"" for path in wanted}
    sources = {path: data.decode("utf-8", "replace") for path, data in read.items()}
    made: list[_Control] = []
    stopped = False
    for _ in range(_ATTEMPTS):
        for files in spoil(sources, wanted, draw):
            with closing(open_box(image)) as box:
                _put_tests(task, box)
                if _apply(task, box, task.gold):
                    return []
                solved = _run(task, box, spoiled=files)
            fails = [name for name in _mended(task) if not solved.tests[name]]
            stopped |= any(flag.startswith(_STOPPED) for flag in solved.flags)
            if fails and {*solved.flags} <= {_NO_REWARD}:
                made.append(_Control(files, fails))
        if made or stopped:
            break
    return made if made or not stopped else None


def evidence(verdict: Verdict) -> dict[str, Any]:
    """What is recorded of a verdict."""
    return {
        "tests": dict(verdict.tests) or None,
        "patch": verdict.patch,
        "flags": list(verdict.flags),
    }
