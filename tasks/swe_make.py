"""Tasks made of any Python project that has tests: bugs put in by rule, kept if tests tell them.

A task's image is the project as it is; `bug` is the patch that broke it, and `gold` the way back,
so all tasks of a project share one image. The files of tests that fail are `removed`: they stay in
the image for grading, and the policy does not get them, since a failing test names the fault that
its issue only describes.
"""

from __future__ import annotations

import ast
import io
import json
import posixpath
import random
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from agentgym.errors import ConfigError
from agentgym.sandbox import ExecResult, Image, Sandbox
from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_logs import PARSERS, Status
from agentgym.tasks.swe_mutate import Mutant, combine, mutants

WORKDIR = "/testbed"
PYTEST = "python3 -m pytest -q -rfEsxXp --tb=short --color=no -p no:cacheprovider -o addopts="
"""Every test by name in the summary, and nothing that the project's own options would add."""
MOST_BROKEN = 0.3
"""A bug that fails more than this share of the tests is too plain to be worth a task."""
MOST_BYTES = 64 * 2**20
"""Of a source tree."""
SUITE_TIMEOUT_S = 600.0
DOWNLOAD_TIMEOUT_S = 300.0

OpenBox = Callable[[Image], Sandbox]
Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it is, and of how much."""

_PASSED = frozenset({"passed", "xfailed"})
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_SKIPPED_FOLDERS = frozenset({"venv", "__pycache__", "node_modules", "build", "dist"})
_NOT_SOURCE = frozenset({"setup.py", "conftest.py", "noxfile.py", "tasks.py", "fabfile.py"})
_COMPILED = {"PYTHONDONTWRITEBYTECODE": "1"}
"""Compiled files are read, which halves the time of a run; none is written of what is broken."""
_NOT_PACKAGES = frozenset({"tests", "test", "testing", "docs", "doc", "examples", "benchmarks"})


@dataclass(frozen=True, slots=True)
class Project:
    """A source tree with tests."""

    name: str
    version: str
    files: Mapping[str, bytes]
    """Path in the tree to content."""
    source_paths: tuple[str, ...]
    """Files that may get bugs."""
    test_paths: tuple[str, ...]
    """Files of tests."""
    test_command: str
    """Run at the root of the tree; `{tests}` stands for files of tests."""
    base: str = "base"
    """What its image begins with."""

    @property
    def image(self) -> Image:
        """The tree, as it is, in `WORKDIR`."""
        return Image(self.base, {f"{WORKDIR}/tree.tar": pack(self.files)}, workdir=WORKDIR)


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


# ---- sources ----


def read_source(what: str | Path, *, cache: Path | None = None, base: str = "base") -> Project:
    """A project from `NAME==VERSION`, which pip downloads as source, a folder or an archive.

    To know what it downloads, pip runs the project's own build backend, as for an installation.

    Args:
        what: As above; archives are `.tar` with any compression.
        cache: Where downloads are kept; nowhere if None.
        base: What the image begins with: a Python with pytest and what the project needs.

    Raises:
        ConfigError: It cannot be had or read, or has no tests.
    """
    path = Path(what).expanduser()
    requirement = _REQUIREMENT.fullmatch(str(what))
    if path.is_dir():
        return make_project(path.resolve().name, "", read_folder(path), base=base)
    if path.is_file():
        name, _, version = re.sub(r"\.(tar(\.\w+)?|tgz)$", "", path.name).rpartition("-")
        return make_project(name or path.stem, version, _read_archive(path), base=base)
    if requirement is None:
        raise ConfigError(f"source {str(what)!r} is no file or folder, and not like NAME==VERSION")
    name, version = requirement.groups()
    with tempfile.TemporaryDirectory() as scratch:
        folder = cache / f"{name}-{version}" if cache else Path(scratch)
        found = sorted(folder.glob("*.tar.*")) or _download(name, version, folder)
        return make_project(name, version, _read_archive(found[0]), base=base)


def make_project(
    name: str, version: str, files: Mapping[str, bytes], *, base: str = "base"
) -> Project:
    """A project from its files: which are source, which are tests, and how these are run.

    Raises:
        ConfigError: There is no package, or there are no tests.
    """
    tests = tuple(sorted(path for path in files if _is_test(path)))
    if not tests:
        raise ConfigError(f"{name} has no tests (test_*.py): take a source archive that has them")
    roots = _packages(files)
    source = tuple(
        path
        for path in sorted(files)
        if path.endswith(".py")
        and any(path == root or path.startswith(f"{root}/") for root in roots)
        and not _NOT_PACKAGES & set(path.split("/")[:-1])
        and not _is_test(path)
        and path.rpartition("/")[2] not in _NOT_SOURCE
    )
    if not source:
        raise ConfigError(f"{name} has no Python package at its top or in src: nothing to break")
    in_src = any(root.startswith("src/") for root in roots)
    path = f"PYTHONPATH={WORKDIR}/src " if in_src else ""
    command = f"{path}{PYTEST} {{tests}}"
    return Project(name, version, dict(files), source, tests, command, base)


def _is_test(path: str) -> bool:
    name = path.rpartition("/")[2]
    return bool(re.fullmatch(r"test_.*\.py|.*_test\.py|tests\.py", name))


def _packages(files: Iterable[str]) -> list[str]:
    """Packages and modules, at the top or in `src`."""
    inits = {path.removesuffix("/__init__.py") for path in files if path.endswith("/__init__.py")}
    for prefix in ("src/", ""):
        packages = [
            root
            for root in sorted(inits)
            if posixpath.dirname(root) == prefix.rstrip("/")
            and posixpath.basename(root) not in _NOT_PACKAGES
        ]
        modules = [
            path
            for path in sorted(files)
            if path.endswith(".py")
            and posixpath.dirname(path) == prefix.rstrip("/")
            and posixpath.basename(path) not in _NOT_SOURCE
        ]
        if packages or modules:
            return packages or modules
    return []


def _download(name: str, version: str, folder: Path) -> list[Path]:
    """Have pip fetch the source; `--no-binary` for it alone, or pip builds its tools as well.

    Raises:
        ConfigError: It cannot.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += [f"--no-binary={name}", f"{name}=={version}", f"--dest={folder}"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"pip took too long over {name}=={version}: try again") from error
    found = sorted(folder.glob("*.tar.*"))
    if done.returncode or not found:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = lines[-1] if lines else "there is no source archive"
        hint = "give a folder or an archive instead"
        raise ConfigError(f"pip cannot download the source of {name}=={version}: {why}: {hint}")
    return found


def _read_archive(path: Path) -> dict[str, bytes]:
    """The regular files of an archive, without the one folder that they are in.

    Raises:
        ConfigError: It is no archive, or would write outside its folder, or is too large.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                safe = tarfile.data_filter(member, WORKDIR)
                if member.isfile() and not member.name.endswith(".pyc"):
                    _check_size(sum(map(len, files.values())) + member.size, path)
                    stream = archive.extractfile(member)
                    name = posixpath.normpath(safe.name)
                    files[name] = stream.read() if stream else b""
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ConfigError(f"cannot read {str(path)!r} as a source archive: {error}") from error
    tops = {name.partition("/")[0] for name in files}
    if len(tops) == 1 and all("/" in name for name in files):
        files = {name.partition("/")[2]: content for name, content in files.items()}
    return {name: files[name] for name in sorted(files)}


def read_folder(folder: Path) -> dict[str, bytes]:
    """The regular files of a folder, without what tools leave behind; links are not followed.

    Raises:
        ConfigError: It cannot be read, or is too large.
    """
    files: dict[str, bytes] = {}
    size = 0
    try:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in name.parts[:-1])
            if hidden or _SKIPPED_FOLDERS & set(name.parts):
                continue
            if path.is_symlink() or not path.is_file():
                continue
            size += path.stat().st_size
            _check_size(size, folder)
            files[name.as_posix()] = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the source in {str(folder)!r}: {error}") from error
    return files


def _check_size(size: int, path: Path) -> None:
    if size > MOST_BYTES:
        raise ConfigError(f"{str(path)!r} holds more than {MOST_BYTES // 2**20} MB: too large")


def pack(files: Mapping[str, bytes]) -> bytes:
    """Files as a tar, the same bytes for the same files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            member = tarfile.TarInfo(path)
            member.size = len(files[path])
            archive.addfile(member, io.BytesIO(files[path]))
    return stream.getvalue()


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
    """A unified diff between texts of the same files."""
    patch: list[str] = []
    for path in sorted(before):
        old, new = before[path].splitlines(keepends=True), after[path].splitlines(keepends=True)
        patch += [
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in unified_diff(old, new, f"a/{path}", f"b/{path}")
        ]
    return "".join(patch)


# ---- what the policy reads ----

_TITLE = re.compile(r"^_+ (.+?) _+$", re.MULTILINE)
_FRAME = re.compile(r"^(\S+\.py):(\d+): in .*$")
_VALUE = re.compile(r"^(\w+) += (?!<)(.{1,200})$")
_REMARK = re.compile(r"E +(Use -vv? to|\.{3} ?Full output truncated|$)")
_MOST_SYMPTOMS = 3
_MOST_LINES = 12


def describe(project: Project, failing: Iterable[str], output: str) -> str:
    """An issue in words, from what tests printed: what was tried, and what came of it.

    It names no test, and no place in the source.
    """
    symptoms: dict[str, str] = {}
    for section in _failures(output):
        tried, came = _symptom(section, project)
        if came:
            symptoms.setdefault(came, tried)
    parts = [
        f"{project.name} {project.version}".rstrip() + " does not do what it should.",
        "This worked before. Something in the library's own code has changed since; the fault is "
        "there and not in how it is used.",
    ]
    for came, tried in list(symptoms.items())[:_MOST_SYMPTOMS]:
        if tried:
            parts.append(f"With\n\n{_indented(tried)}\n\nwe get\n\n{_indented(came)}")
        else:
            parts.append(f"We get\n\n{_indented(came)}")
    number = len(set(failing))
    if number > len(symptoms) or number > _MOST_SYMPTOMS:
        parts.append("There may be more like this. Please find the cause, and correct it there.")
    else:
        parts.append("Please find the cause, and correct it there.")
    return "\n\n".join(parts) + "\n"


def _failures(output: str) -> list[str]:
    """What pytest printed of each failure."""
    body = re.split(r"^=+ short test summary info =+$", output, flags=re.MULTILINE)[0]
    return _TITLE.split(body)[2::2]


def _symptom(section: str, project: Project) -> tuple[str, str]:
    """What a test did, and the error, of one failure as `--tb=short --showlocals` has it."""
    section = re.split(r"^(?:-{3,}|={3,}) ", section, flags=re.MULTILINE)[0]
    place: tuple[str, int] | None = None
    error: list[str] = []
    values: dict[str, str] = {}
    in_test = False
    for line in section.splitlines():
        if frame := _FRAME.match(line):
            in_test = place is None and frame[1] in project.test_paths
            if in_test:  # the test itself: what it calls in its own file comes later
                place = (frame[1], int(frame[2]))
        elif line.startswith("E "):
            if not _REMARK.match(line):
                error.append(line[1:].removeprefix("   ").rstrip())
        elif in_test and (value := _VALUE.match(line)):
            values[value[1]] = value[2]
    tried = _tried(project.files[place[0]].decode(), place[1], values) if place else ""
    error = list(dict.fromkeys(error))
    if len(error) > _MOST_LINES:
        error = [*error[:_MOST_LINES], "…"]
    return tried, re.sub(r" at 0x[0-9a-f]+", "", "\n".join(error))


def _tried(source: str, line: int, values: Mapping[str, str]) -> str:
    """A test as far as it came: the values of its parameters, and its statements up to a line."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if function.lineno <= line <= (function.end_lineno or line):
            body = [each for each in function.body if not _is_docstring(each)]
            reached = [each for each in body if each.lineno <= line]
            if not reached:
                return ""
            first, last = reached[0].lineno, reached[-1].end_lineno
            text = textwrap.dedent("\n".join(source.splitlines()[first - 1 : last]))
            names = [argument.arg for argument in function.args.args]
            given = [f"{name} = {values[name]}" for name in names if name in values]
            return "\n".join([*given, *text.splitlines()[-2 * _MOST_LINES :]])
    return ""


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _indented(text: str) -> str:
    return textwrap.indent(text, "    ")
