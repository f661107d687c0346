"""Software engineering: mend a real repository, in a box, until hidden tests pass."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from agentgym.actions import Action, Grammar
from agentgym.env import Env
from agentgym.envs import swe_tools as tools
from agentgym.envs.swe_diff import carry_out
from agentgym.envs.swe_grade import LADDER, LEVELS, Verdict, evidence, grade, policy_image
from agentgym.envs.swe_guard import suspicions
from agentgym.errors import ConfigError, InvalidAction, SandboxError, TaskError, did_you_mean
from agentgym.sandbox import Backend, ExecResult, Limits, Sandbox, find_backend, shared_pool
from agentgym.tasks.swe import SWETask, load
from agentgym.tasks.swe_logs import PARSERS
from agentgym.tasks.swe_patches import places_of
from agentgym.types import Outcome, Reply, Task

TOOLS = ("default", "bash")
SUBMIT_LINE = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""A command whose output begins so hands in the work: as mini-swe-agent has it (MIT licence)."""


@lru_cache(maxsize=16)
def _load(source: str, format: str | None, split: str | None) -> Mapping[str, SWETask]:
    return {task.id: task for task in load(source, format=format, split=split)}


class SWE(Env):
    """A repository with an issue: look around, edit, run things, and submit; hidden tests decide.

    Args:
        tasks: A suite (`projects`), a file of rows, or a dataset of the Hugging Face hub.
        format: How its rows are written; found out from the first if None.
        tools: `default`: shell, editor and search; `bash`: the shell alone.
        visible_tests: Whether there is a tool that runs the repository's own tests.
        outcome: `passed`: 1 or 0; `levels`: 0, 0.25, 0.5 or 1 for nothing submitted, an empty
            patch, one that fails, one that passes (after G-RA, arXiv 2508.10548).
        submit_at_limit: Whether the work is graded at the turn limit too, though nobody submitted.
        tests_each_turn: Whether the hidden tests are run after every turn once a file is changed,
            in a box of their own, for signals that read them; the policy is told nothing.
        confirm: Whether tests that pass are asked again with wrong answers, which they must then
            refuse: another run of the tests, for work that mends something.
        backend: `docker`, `local` or `auto`.
        command_timeout_s: Longest a command may take, if it does not ask for less.
        episode_timeout_s: Longest all commands and test runs of an episode may take together.
        output_chars: Longest observation.
        warm: Boxes of each task kept ready ahead, for groups of episodes.
        memory_mb: See `Limits`, as `cpus`, `pids` and `disk_mb`.
        cpus: Processors.
        pids: Processes.
        disk_mb: What may be written.
        options: Those of `Env`: `split`, `max_turns`, `dialect`, `render_mode`.

    Raises:
        ConfigError: An argument is wrong.
    """

    execution = "thread"
    provides = frozenset(
        {
            "tool", "exit_code", "flags", "tests", "patch", "edited", "file_recall",
            "file_precision", "hunk_recall", "level", "fail_to_pass", "pass_to_pass",
            "FAIL_TO_PASS", "PASS_TO_PASS", "problem", "repo",
        }
    )  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("train", "dev", "test")
    max_turns = 100
    max_observation_chars: ClassVar[int] = 200_000

    def __init__(
        self,
        *,
        tasks: str = "projects",
        format: str | None = None,
        tools: str = "default",
        visible_tests: bool = False,
        outcome: str = "passed",
        submit_at_limit: bool = False,
        tests_each_turn: bool = False,
        confirm: bool = True,
        backend: str = "auto",
        command_timeout_s: float = 60.0,
        episode_timeout_s: float = 3600.0,
        output_chars: int = 10_000,
        warm: int = 0,
        memory_mb: int = 2048,
        cpus: float = 1.0,
        pids: int = 256,
        disk_mb: int = 1024,
        **options: Any,
    ) -> None:
        for name, value, known in (
            ("tools", tools, TOOLS),
            ("outcome", outcome, ("passed", "levels")),
            ("backend", backend, ("auto", "docker", "local")),
        ):
            if value not in known:
                raise ConfigError(
                    f"{name} is {value!r}: give {' or '.join(known)}{did_you_mean(value, known)}"
                )
        for name, number, least in (
            ("command_timeout_s", command_timeout_s, 0.1),
            ("episode_timeout_s", episode_timeout_s, 1),
            ("output_chars", output_chars, 200),
        ):
            if not isinstance(number, int | float) or not number >= least:
                raise ConfigError(f"{name} is {number!r}: give a number of at least {least}")
        if isinstance(warm, bool) or not isinstance(warm, int) or warm < 0:
            raise ConfigError(f"warm is {warm!r}: give a whole number of at least 0")
        self.grammar = _grammar(tools, visible_tests)
        super().__init__(**options)
        self.limits = Limits(memory_mb, cpus, pids, disk_mb)
        self.source, self.format = tasks, format
        self.graded = outcome == "levels"
        self.submit_at_limit = submit_at_limit
        self.tests_each_turn = tests_each_turn
        self.confirm = confirm
        self.command_timeout_s = command_timeout_s
        self.episode_timeout_s = episode_timeout_s
        self.output_chars = int(output_chars)
        self.warm = warm
        self._backend_name = backend
        self._backend: Backend | None = None
        self._box: Sandbox | None = None

    # ---------------------------------------------------------------- tasks

    @property
    def instructions(self) -> str:  # type: ignore[override]
        """What the system message says."""
        return (
            "You are a software engineer, at work on a repository in a sandbox without network. "
            "Solve the issue by changing the repository's source; tests that you cannot see decide "
            "whether it is solved, and changes of tests do not count. When you are done, submit."
        )

    def tasks(self) -> Sequence[str]:
        """The ids of the split."""
        return list(_load(self.source, self.format, self.split))

    def find_task(self, task_id: str) -> Task:
        """A task of the split.

        Raises:
            TaskError: There is none of that id.
        """
        known = _load(self.source, self.format, self.split)
        if task_id not in known:
            raise TaskError(
                f"{self._name} has no task {task_id!r} in split {self.split!r} of {self.source!r}"
                f"{did_you_mean(task_id, list(known)[:1000])}"
            )
        found = known[task_id]
        data = {
            "problem": found.problem,
            "repo": found.repo,
            "FAIL_TO_PASS": list(found.fail_to_pass),
            "PASS_TO_PASS": list(found.pass_to_pass),
        }
        return Task(task_id, self._name, self.split, data)

    # ---------------------------------------------------------------- hooks

    def begin(self, task: Task) -> Reply:
        """Start a box with the repository, and tell the issue."""
        self._leave()
        self._swe = _load(self.source, self.format, self.split)[task.id]
        self._enter()
        self._spent_s = 0.0
        self._steps = 0
        self._edited: list[str] = []
        self._facts: dict[str, Any] = {}
        hints = f"\n\nHints:\n{self._swe.hints}" if self._swe.hints else ""
        text = f"The repository is in {self._swe.workdir}.\n\n{self._swe.problem.strip()}{hints}"
        return Reply(text, facts={"level": 0.0})

    def _enter(self) -> None:
        """Take a box with the repository as the task begins."""
        if self._backend is None:
            self._backend = find_backend(self._backend_name)
        self._box = self._open(policy_image(self._swe, self._backend), self.limits)
        self._box.manifest(self._swe.workdir, exclude=[".git"])
        self._editor = tools.Editor(self._box, self._swe.workdir, self.output_chars)

    def _open(self, image: str, limits: Limits) -> Sandbox:
        assert self._backend is not None
        return shared_pool(self.warm).pop(
            image,
            backend=self._backend.name,
            limits=limits,
            workdir=self._swe.workdir,
            env=tools.QUIET,
        )

    def respond(self, action: Action) -> Reply:
        """Use a tool."""
        call = action.calls[0]
        tool: Callable[..., Reply] = getattr(self, f"_do_{call.verb}")
        self._facts = {"tool": call.verb}
        self._steps += 1
        if any(isinstance(each, str) and "\0" in each for each in call.arguments.values()):
            raise InvalidAction("arguments", "an argument holds a NUL character", self._facts)
        try:
            reply = tool(**call.arguments)
        except InvalidAction as error:
            raise InvalidAction(error.kind, error.message, self._facts) from error
        except SandboxError:
            raise
        except OSError as error:
            told = f"{error.strerror}: {error.filename}"
            raise InvalidAction("system", told, self._facts) from error
        if self.tests_each_turn and reply.outcome is None:
            self._facts["tests"] = dict(self._grade(confirm=False).tests) or None
        return reply._replace(facts={**self._facts, **reply.facts})

    def judge(self) -> Outcome:
        """At the turn limit: graded if `submit_at_limit`, else nothing was submitted."""
        if self.submit_at_limit:
            return self._outcome(self._grade(self.confirm))
        return self._outcome(Verdict("no_submit"))

    def oracle(self) -> Action | None:
        """The solution that came with the task, and then submit."""
        if self._box is None or not self._swe.gold:
            return None
        if self._steps == 0:
            command = f"git apply --whitespace=nowarn <<'AGENTGYM'\n{self._swe.gold}\nAGENTGYM"
            return self.grammar.parse(
                Action(tools.BASH.canonical({"command": command, "timeout": None}))
            )
        return Action("submit()")

    def close(self) -> None:
        """Remove the box."""
        self._leave()
        super().close()

    def _leave(self) -> None:
        if self._box is not None:
            self._box.close()
            self._box = None

    # ---------------------------------------------------------------- tools

    @property
    def box(self) -> Sandbox:
        """The box of the running episode."""
        if self._box is None:
            raise SandboxError("there is no sandbox: the environment was closed")
        return self._box

    def _run(self, command: str, timeout_s: float, keep_bytes: int) -> ExecResult:
        left_s = self.episode_timeout_s - self._spent_s
        if left_s <= 0:
            raise InvalidAction("time", "the time for commands is used up: submit")
        done = self.box.run(
            command, timeout_s=min(left_s, timeout_s), keep_bytes=keep_bytes, background=True
        )
        self._spent_s += done.duration_s
        self._facts["exit_code"] = done.code
        return done

    def _do_bash(self, command: str, timeout: int | None) -> Reply:
        allowed_s = min(self.command_timeout_s, timeout or self.command_timeout_s)
        done = self._run(command, allowed_s, 8 * self.output_chars)
        if flags := suspicions(command):
            self._facts["flags"] = flags
        if done.output.lstrip().startswith(SUBMIT_LINE):
            return self._do_submit()
        return Reply(tools.told(done, self.output_chars))

    def _do_view(self, path: str, start: int, end: int | None) -> Reply:
        return Reply(self._editor.view(path, start, end))

    def _do_create(self, path: str, text: str) -> Reply:
        return self._edit(path, self._editor.create(path, text))

    def _do_str_replace(self, path: str, old: str, new: str) -> Reply:
        return self._edit(path, self._editor.str_replace(path, old, new))

    def _do_insert(self, path: str, line: int, text: str) -> Reply:
        return self._edit(path, self._editor.insert(path, line, text))

    def _do_undo(self, path: str) -> Reply:
        return self._edit(path, self._editor.undo(path))

    def _edit(self, path: str, text: str) -> Reply:
        relative = self._editor.path(path).removeprefix(f"{self._swe.workdir}/")
        self._edited = [*dict.fromkeys([*self._edited, relative])]
        self._facts["edited"] = relative
        self._facts |= localisation(self._edited, self._swe.gold)
        return Reply(text)

    def _do_search(self, pattern: str, path: str) -> Reply:
        return Reply(tools.search(self.box, self._swe.workdir, pattern, path, self.output_chars))

    def _do_run_tests(self) -> Reply:
        unseen = {*self._swe.hidden, *self._swe.removed}
        shown = [test for test in self._swe.tests if test.partition("::")[0] not in unseen]
        tests = " ".join(map(shlex.quote, shown))
        command = self._swe.test_command.replace("{tests}", tests)
        done = self._run(
            f"( cd {shlex.quote(self._swe.workdir)} && {command} )",
            min(self._swe.tests_timeout_s, 10 * self.command_timeout_s),
            4 << 20,
        )
        found = PARSERS[self._swe.parser](done.output)
        failed = [name for name, status in found.items() if status in ("failed", "error")]
        self._facts["visible_tests"] = {name: name not in failed for name in found} or None
        said = f"{len(found) - len(failed)} of {len(found)} tests pass."
        return Reply(f"{tools.told(done, self.output_chars)}\n{said}")

    def _do_submit(self) -> Reply:
        verdict = self._grade(self.confirm)
        outcome = self._outcome(verdict)
        patched = list(_places(verdict.patch))
        facts = {**evidence(verdict), **localisation(patched, self._swe.gold, verdict.patch)}
        facts["flags"] = [*self._facts.get("flags", []), *verdict.flags]
        self._leave()
        return Reply("Submitted.", outcome, facts)

    # ---------------------------------------------------------------- grading

    def _grade(self, confirm: bool) -> Verdict:
        assert self._backend is not None
        try:
            changes = self.box.changes()
        except OSError as error:
            return Verdict("fails", flags=(f"changes: {error.strerror}",))
        graders = Limits(max(self.limits.memory_mb, 4096), self.limits.cpus, 1024, 2048)
        return grade(
            self._swe,
            changes,
            self._backend,
            lambda image: self._open(image, graders),
            confirm=confirm,
        )

    def _outcome(self, verdict: Verdict) -> Outcome:
        level = LEVELS.index(verdict.level)
        score = LADDER[level] if self.graded else float(verdict.passed)
        parts = {
            "level": float(level),
            "fail_to_pass": verdict.fail_to_pass,
            "pass_to_pass": verdict.pass_to_pass,
        }
        return Outcome(score, verdict.passed, verdict.level, parts)

    # ---------------------------------------------------------------- snapshots

    def save_state(self) -> Any:
        """What was changed in the repository, and where the shell is with which variables.

        Processes, and what was changed outside of the repository, are not kept.

        Raises:
            SandboxError: Too much was changed to be kept.
        """
        try:
            changes = self.box.changes()
        except OSError as error:
            raise SandboxError(f"no snapshot: {error.strerror}") from error
        for each in changes:
            if each.kind != "deleted" and each.type == "file" and each.content is None:
                raise SandboxError(f"no snapshot: {each.path} is too large ({each.size} bytes)")
        told = 'export -p; printf "cd -- %q\\n" "$PWD"'
        shell = self.box.run(told, keep_bytes=1 << 20, background=True).output
        edits = list(self._editor.history)
        return self._swe, changes, shell, edits, self._spent_s, self._steps, list(self._edited)

    def load_state(self, state: Any) -> None:
        """Go back to what `save_state` returned."""
        self._leave()
        self._swe, changes, shell, edits, self._spent_s, self._steps, edited = state
        self._edited, self._facts = list(edited), {}
        self._enter()
        self._editor.history = list(edits)
        files = [each for each in changes if each.kind == "deleted" or each.type == "file"]
        carry_out(self.box, self._swe.workdir, files)
        for each in changes:
            if each.type == "link" and each.content is not None:
                target = shlex.quote(each.content.decode("utf-8", "surrogateescape"))
                path = f"{self._swe.workdir}/{each.path}"
                folder, path = shlex.quote(posixpath.dirname(path)), shlex.quote(path)
                self.box.run(f"mkdir -p {folder} && ln -sfn -- {target} {path}")
        self.box.run(shell)


def _grammar(preset: str, visible_tests: bool) -> Grammar:
    run_tests = (tools.RUN_TESTS,) if visible_tests else ()
    if preset == "bash":
        return Grammar(tools.BASH, *run_tests, tools.SUBMIT, dialect="blocks")
    return Grammar(tools.BASH, *tools.EDITOR, tools.SEARCH, *run_tests, tools.SUBMIT)


def localisation(files: Sequence[str], gold: str, patch: str = "") -> dict[str, float]:
    """How well the files, and the places in them, that were changed match the solution's.

    Returns:
        `file_recall`, `file_precision`; with a patch, `hunk_recall`: the share of the solution's
        hunks that meet one of the patch's, lines around both included. All in [0, 1].
    """
    wanted, changed = _places(gold), _places(patch)
    right = set(files) & set(wanted)
    told = {
        "file_recall": len(right) / len(wanted) if wanted else 1.0,
        "file_precision": len(right) / len(set(files)) if files else 0.0,
    }
    if patch:
        hunks = [(file, hunk) for file, found in wanted.items() for hunk in found]
        met = sum(
            any(_touch(hunk, other) for other in changed.get(file, ())) for file, hunk in hunks
        )
        told["hunk_recall"] = met / len(hunks) if hunks else 1.0
    return told


def _touch(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _places(patch: str) -> Mapping[str, Sequence[tuple[int, int]]]:
    try:
        return places_of(patch)
    except TaskError:
        return {}  # of the task's own, which cannot be graded then
