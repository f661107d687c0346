"""The gate that tasks pass before anybody is trained or measured on them.

A task is run as it is, twice, and with its own solution, twice. Tests that do not always do the
same are written down and count no longer; what is left must fail and pass as the task says, and
the solution pass as a policy's would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from agentgym.envs.swe_grade import Verdict, grade, grader_image, policy_image, run_tests
from agentgym.errors import SandboxError
from agentgym.sandbox import Backend, Change, Sandbox
from agentgym.tasks.swe import SWETask

ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Admission:
    """What was found out about a task."""

    task: SWETask
    """With its flaky tests written down."""
    problems: tuple[str, ...]
    """Why it cannot be used; empty if it is sound."""

    @property
    def sound(self) -> bool:
        """Whether it can be used."""
        return not self.problems


def admit(task: SWETask, backend: Backend, open_box: Callable[[str], Sandbox]) -> Admission:
    """Run a task's tests without and with its solution.

    Args:
        task: The task.
        backend: Where its images are made.
        open_box: Starts a box from the name of an image.

    Returns:
        What was found out; a box that died or could not be started is a problem, too.
    """
    if not task.gold:
        return Admission(task, ("it has no solution",))
    try:
        return _admit(task, backend, open_box)
    except SandboxError as error:
        return Admission(task, (str(error),))


def _admit(task: SWETask, backend: Backend, open_box: Callable[[str], Sandbox]) -> Admission:
    broken = [_as_it_is(task, backend, open_box) for _ in range(ROUNDS)]
    changes = _solution(task, policy_image(task, backend), open_box)
    solved = [grade(task, changes, backend, open_box, confirm=False) for _ in range(ROUNDS)]
    flaky = sorted({*task.flaky, *_differing(broken), *_differing(solved)})
    task = replace(task, flaky=tuple(flaky))
    solved.append(grade(task, changes, backend, open_box))
    found = [
        *(problem for verdict in broken for problem in _problems(task, verdict, mended=False)),
        *(problem for verdict in solved for problem in _problems(task, verdict, mended=True)),
    ]
    return Admission(task, tuple(dict.fromkeys(found)))


def _as_it_is(task: SWETask, backend: Backend, open_box: Callable[[str], Sandbox]) -> Verdict:
    with closing(open_box(grader_image(task, backend))) as box:
        return run_tests(task, box)


def _solution(task: SWETask, image: str, open_box: Callable[[str], Sandbox]) -> Sequence[Change]:
    """What a policy changes that applies the task's own solution."""
    with closing(open_box(image)) as box:
        box.manifest(task.workdir, exclude=[".git"])
        box.write("/tmp/gold.patch", task.gold)
        done = box.run("git apply --whitespace=nowarn /tmp/gold.patch", cwd=task.workdir)
        if done.code:
            raise SandboxError(f"task {task.id}: its solution does not apply: {done.output[-500:]}")
        return box.changes()


def _differing(verdicts: Sequence[Verdict]) -> set[str]:
    first, *others = (verdict.tests for verdict in verdicts)
    return {name for other in others for name in first if other.get(name) != first[name]}


def _problems(task: SWETask, verdict: Verdict, *, mended: bool) -> list[str]:
    when = "solved" if mended else "as it is"
    found = [f"{when}: {flag}" for flag in verdict.flags]
    flaky = frozenset(task.flaky)
    to_mend = [name for name in task.fail_to_pass if name not in flaky]
    others = [name for name in task.pass_to_pass if name not in flaky]
    if task.evaluation == "reward_file":
        to_mend, others = ["reward"], []
    if not to_mend:
        found.append("every test to mend is flaky")
    wrong = sum(verdict.tests.get(name, False) != mended for name in to_mend)
    if wrong:
        does = "fail" if mended else "pass"
        found.append(f"{when}, {wrong} of {len(to_mend)} tests to mend {does}")
    broken = sum(not verdict.tests.get(name, False) for name in others)
    if broken:
        found.append(f"{when}, {broken} of {len(others)} other tests fail")
    return found
