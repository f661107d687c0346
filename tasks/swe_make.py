"""Tasks made of any Python project that has tests: bugs put in by rule, kept if tests tell them.

A task's image is the project as it is; `bug` is the patch that broke it, and `gold` the way back,
so all tasks of a project share one image. The files of tests that fail are `removed`: they stay in
the image for grading, and the policy does not get them, since a failing test names the fault that
its issue only describes.
"""

from __future__ import annotations

import io
import json
import random
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff

from agentgym.errors import ConfigError
from agentgym.sandbox import ExecResult, Image, Sandbox
from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_describe import describe
from agentgym.tasks.swe_logs import PARSERS, Status
from agentgym.tasks.swe_mutate import Mutant, combine, mutants
from agentgym.tasks.swe_source import WORKDIR, Project

MOST_BROKEN = 0.3
"""A bug that fails more than this share of the tests is too plain to be worth a task."""
SUITE_TIMEOUT_S = 600.0

OpenBox = Callable[[Image], Sandbox]
Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it is, and of how much."""

_PASSED = frozenset({"passed", "xfailed"})
_COMPILED = {"PYTHONDONTWRITEBYTECODE": "1"}
"""Compiled files are read, which halves the time of a run; none is written of what is broken."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a project's tests do before anything is broken."""

    passing: frozenset[str]
    """Pass each time."""
    flaky: frozenset[str]
    """Do not always do the same."""
    lines: Mapping[str, frozenset[int]]
    """Lines that the tests run, by file."""
    duration_s: float
    """Of the tests."""


# ---- running tests ----


def run_tests(
    box: Sandbox,
    command: str,
    tests: Iterable[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    parser: str = "pytest",
) -> tuple[dict[str, Status], ExecResult]:
    """Run tests in `WORKDIR`: what became of each, and how the command ended."""
    filled = command.replace("{tests}", shlex.join(tests))
    done = box.run(filled, timeout_s=timeout_s, cwd=WORKDIR, env=env, keep_bytes=16 * 2**20)
    return PARSERS[parser](done.output), done


_RECORDER = """
import atexit, json, os, sys, threading
root, out = os.environ["RECORD_ROOT"], os.environ["RECORD_OUT"]
seen = {}
def call(frame, event, arg):
    name = frame.f_code.co_filename
    if not name.startswith(root):
        return None
    lines = seen.setdefault(name, set())
    lines.add(frame.f_lineno)
    def line(frame, event, arg):
        lines.add(frame.f_lineno)
        return line
    return line
def end():
    sys.settrace(None)
    with open(out, "w") as file:
        json.dump({name: sorted(lines) for name, lines in seen.items()}, file)
atexit.register(end)
threading.settrace(call)
sys.settrace(call)
"""


def measure(project: Project, box: Sandbox) -> Baseline:
    """Run the tests twice as they are, and once more to see which lines they run.

    Raises:
        ConfigError: No test passes, or they take too long.
    """
    runs = []
    for env in ({}, _COMPILED):
        status, done = run_tests(
            box, project.test_command, project.test_paths, timeout_s=SUITE_TIMEOUT_S, env=env
        )
        if done.stopped:
            raise ConfigError(f"the tests of {project.name} were stopped: {done.stopped}")
        _compile(project, box)
        runs.append(status)
    tests = runs[0].keys() | runs[1].keys()
    flaky = {test for test in tests if runs[0].get(test) != runs[1].get(test)}
    passing = {test for test, what in runs[0].items() if what in _PASSED} - flaky
    if not passing:
        tail = done.output.strip()[-600:]
        raise ConfigError(f"no test of {project.name} passes in {project.base!r}: {tail}")
    lines = _executed(project, box, timeout_s=20 * done.duration_s + 60)
    return Baseline(frozenset(passing), frozenset(flaky), lines, done.duration_s)


def _compile(project: Project, box: Sandbox) -> None:
    """Have compiled source looked up by what it holds: a bug may keep a file's size and time."""
    files = shlex.join(project.source_paths)
    command = f"python3 -m compileall -q -f --invalidation-mode checked-hash {files}"
    box.run(command, timeout_s=SUITE_TIMEOUT_S, cwd=WORKDIR)


def _executed(project: Project, box: Sandbox, *, timeout_s: float) -> dict[str, frozenset[int]]:
    """Which lines of the source the tests run, by file."""
    box.write("/tmp/record/sitecustomize.py", _RECORDER)
    out = "/tmp/record/lines.json"
    path = f"/tmp/record:{WORKDIR}/src"
    command = re.sub(r"PYTHONPATH=\S+ ", "", project.test_command)
    env = {"RECORD_ROOT": f"{WORKDIR}/", "RECORD_OUT": out, "PYTHONPATH": path, **_COMPILED}
    _, done = run_tests(box, command, project.test_paths, timeout_s=timeout_s, env=env)
    try:
        found = json.loads(box.read(out))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot tell which lines the tests of {project.name} run: {done.output[-300:]}"
        ) from error
    return {
        name.removeprefix(f"{WORKDIR}/"): frozenset(lines)
        for name, lines in found.items()
        if name.removeprefix(f"{WORKDIR}/") in project.source_paths
    }


# ---- bugs ----


def make_bugs(
    project: Project,
    *,
    count: int,
    seed: int,
    open_box: OpenBox,
    bugs: int = 1,
    progress: Progress | None = None,
) -> Iterator[SWETask]:
    """Break a project in ways that its tests tell, and make a task of each.

    A bug is kept if some tests fail with it and most do not, twice the same; and where there are
    several in a task, if each of them alone fails some.

    Args:
        project: What to break.
        count: Tasks to make; there may be fewer.
        seed: Decides on the bugs.
        open_box: Starts a box with an image.
        bugs: In each task.
        progress: Told how far it is.

    Raises:
        ConfigError: No test of the project passes, or a number is out of range.
        SandboxError: A box died.
    """
    if count < 1 or bugs < 1:
        raise ConfigError(f"count is {count!r} and bugs is {bugs!r}: at least 1")
    say = progress or (lambda what, done, total: None)
    say("running the tests as they are", 0, 0)
    box = open_box(project.image)
    try:
        baseline = measure(project, box)
        candidates = _candidates(project, baseline, random.Random(seed))
        doing, made = f"breaking {project.name}", 0
        say(doing, 0, count)
        while made < count:
            parts = _some(candidates, bugs)
            if not parts:
                return
            broken = _apply(project, parts)
            if broken is None:
                continue
            found = _verify(project, baseline, box, broken, parts)
            if found is not None:
                made += 1
                say(doing, made, count)
                yield _task(project, baseline, broken, parts, *found, seed=seed, number=made)
    finally:
        box.close()


Part = tuple[str, Mutant]
"""A file and one mistake in it."""


def _some(candidates: Iterator[Part], number: int) -> list[Part]:
    """The next few, or none if there are too few."""
    parts = [part for part, _ in zip(candidates, range(number), strict=False)]
    return parts if len(parts) == number else []


def _candidates(project: Project, baseline: Baseline, rng: random.Random) -> Iterator[Part]:
    """Mistakes on lines that tests run: one on a line, long files having more turns."""
    streams: dict[str, Iterator[Mutant]] = {}
    for path in sorted(baseline.lines):
        lines = baseline.lines[path]
        source = project.files[path].decode(errors="replace")
        if "\r" not in source and source.encode() == project.files[path]:
            streams[path] = mutants(source, random.Random(rng.random()), lines=lines)
    used: set[tuple[str, int]] = set()
    while streams:
        paths = list(streams)
        path = rng.choices(paths, [len(baseline.lines[each]) for each in paths])[0]
        try:
            mutant = next(each for each in streams[path] if (path, each.line) not in used)
        except (StopIteration, ConfigError):  # no more, or no Python of today's
            del streams[path]
            continue
        used.add((path, mutant.line))
        yield path, mutant


def _apply(project: Project, parts: Sequence[Part]) -> dict[str, str] | None:
    """The files that change, or None if the mistakes do not go together."""
    by_path: dict[str, list[Mutant]] = {}
    for path, mutant in parts:
        by_path.setdefault(path, []).append(mutant)
    try:
        return {p: combine(project.files[p].decode(), each) for p, each in by_path.items()}
    except ConfigError:
        return None


def _verify(
    project: Project,
    baseline: Baseline,
    box: Sandbox,
    broken: Mapping[str, str],
    parts: Sequence[Part],
) -> tuple[frozenset[str], str] | None:
    """The tests that fail with the bugs, and what was printed; None: it makes no task."""
    failing, _ = _failing(project, baseline, box, broken, project.test_paths)
    most = max(1, int(MOST_BROKEN * len(baseline.passing)))
    if not 1 <= len(failing) <= most or len(failing) == len(baseline.passing):
        return None
    if len(parts) > 1:
        for path, mutant in parts:
            one = {path: mutant.source}
            if not _failing(project, baseline, box, one, project.test_paths)[0]:
                return None
    files = sorted({test.partition("::")[0] for test in failing} & set(project.test_paths))
    again, output = _failing(project, baseline, box, broken, files, options="--showlocals")
    return (failing, output) if again == failing else None


def _failing(
    project: Project,
    baseline: Baseline,
    box: Sandbox,
    broken: Mapping[str, str],
    files: Sequence[str],
    *,
    options: str = "--tb=no",
) -> tuple[frozenset[str], str]:
    """Which tests pass no more with some files broken; none if they do not come to an end."""
    for path, text in broken.items():
        box.write(f"{WORKDIR}/{path}", text)
    try:
        status, done = run_tests(
            box,
            f"{project.test_command} {options}",
            files,
            timeout_s=3 * baseline.duration_s + 10,
            env=_COMPILED,
        )
    finally:
        if box.alive:
            for path in broken:
                box.write(f"{WORKDIR}/{path}", project.files[path])
    if done.stopped or done.code not in (0, 1):  # 1: tests failed; more: they could not be run
        return frozenset(), ""
    ran = {test for test in baseline.passing if test.partition("::")[0] in files}
    return frozenset(test for test in ran if status.get(test) not in _PASSED), done.output


def _task(
    project: Project,
    baseline: Baseline,
    broken: Mapping[str, str],
    parts: Sequence[Part],
    failing: frozenset[str],
    output: str,
    *,
    seed: int,
    number: int,
) -> SWETask:
    name = f"{project.name}-{project.version}" if project.version else project.name
    before = {path: project.files[path].decode() for path in broken}
    hidden = {test.partition("::")[0] for test in failing}
    kinds = [{"file": p, "line": m.line, "operator": m.operator} for p, m in parts]
    return SWETask(
        id=f"bugs:{name}-{seed}-{number}",
        repo=project.name,
        problem=describe(project, failing, output),
        image=project.image,
        workdir=WORKDIR,
        test_command=project.test_command,
        tests=project.test_paths,
        parser="pytest",
        fail_to_pass=tuple(sorted(failing)),
        pass_to_pass=tuple(sorted(baseline.passing - failing)),
        gold=diff(broken, before),
        bug=diff(before, broken),
        removed=tuple(sorted(hidden & set(project.test_paths))),
        split="train",
        source="make",
        tests_timeout_s=max(60.0, 5 * baseline.duration_s + 30),
        flaky=tuple(sorted(baseline.flaky)),
        row={"project": project.name, "version": project.version, "bugs": kinds},
    )


def diff(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """A unified diff between texts of the same files, whose lines end at newlines only."""
    patch: list[str] = []
    for path in sorted(before):
        old, new = (list(io.StringIO(text)) for text in (before[path], after[path]))
        patch += [
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in unified_diff(old, new, f"a/{path}", f"b/{path}")
        ]
    return "".join(patch)
