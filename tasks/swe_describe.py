"""Issues in words, from what failing tests print."""

from __future__ import annotations

import ast
import io
import re
import textwrap
from collections.abc import Iterable, Mapping

from agentgym.tasks.swe_source import Project

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
    source = project.files[place[0]].decode(errors="replace") if place else ""
    tried = _tried(source, place[1], values) if place else ""
    error = list(dict.fromkeys(error))
    if len(error) > _MOST_LINES:
        error = [*error[:_MOST_LINES], "…"]
    return tried, re.sub(r" at 0x[0-9a-f]+", "", "\n".join(error))


def _tried(source: str, line: int, values: Mapping[str, str]) -> str:
    """A test as far as it came: the values of its parameters, and its statements up to a line."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ""  # no Python of today's
    lines = list(io.StringIO(source, newline=None))  # as the tree counts them
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if function.lineno <= line <= (function.end_lineno or line):
            body = [each for each in function.body if not _is_docstring(each)]
            reached = [each for each in body if each.lineno <= line]
            if not reached:
                return ""
            first, last = reached[0].lineno, reached[-1].end_lineno
            text = textwrap.dedent("".join(lines[first - 1 : last]))
            names = [argument.arg for argument in function.args.args]
            given = [f"{name} = {values[name]}" for name in names if name in values]
            return "\n".join([*given, *text.splitlines()[-2 * _MOST_LINES :]])
    return ""


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _indented(text: str) -> str:
    return textwrap.indent(text, "    ")
