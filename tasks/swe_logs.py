"""What test runners print, read back to the status of each test.

A parser takes all that a test command printed and gives a status for each test it names. To add one
for another runner::

    @add_parser("mine")
    def parse_mine(output: str) -> dict[str, Status]:
        ...

after which a task's `parser` may be `"mine"`.

What a test prints must not improve a result: a test that is reported twice has its worse status,
wherever the second report stands. What this cannot see is a runner that was made to lie: code under
test shares its process, so a grader has to ask more than the log (see `agentgym.sandbox`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Literal

Status = Literal["passed", "xfailed", "skipped", "failed", "error"]
"""From best to worst; `xfailed` failed as it was expected to."""
Parser = Callable[[str], dict[str, Status]]

PARSERS: dict[str, Parser] = {}
"""Names that a task's `parser` may have."""

_RANK: Mapping[str, int] = {"passed": 0, "xfailed": 1, "skipped": 2, "failed": 3, "error": 4}
_PATH = re.compile(r"\[/(?!/)(?:[^]*]*/)?([^]/*]*)\]$")
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def add_parser(name: str) -> Callable[[Parser], Parser]:
    """A decorator that puts a parser into `PARSERS`."""

    def add(parser: Parser) -> Parser:
        PARSERS[name] = parser
        return parser

    return add


# ----------------------------------------------------------------------------------- verdicts


def status_of(wanted: str, found: Mapping[str, Status]) -> Status | Literal["missing"]:
    """The status of a test by its published name.

    Published names of parametrised tests are often cut at a space (`test_f[a` for `test_f[a b]`).
    Such a name stands for all tests that it may be the beginning of, and has the worst of their
    statuses, so that it passes only where they agree on that. Where a parameter is a path, which
    may be one of the machine where the name was found, its last part does.
    """
    for name in (wanted, shortened(wanted)):
        if name in found:
            return found[name]
    if "[" not in wanted or "::" not in wanted:
        return "missing"
    meant = [status for name, status in found.items() if name.startswith(f"{wanted} ")]
    if not meant and not wanted.endswith("]"):
        meant = [status for name, status in found.items() if name.startswith(wanted)]
    return max(meant, key=_RANK.__getitem__, default="missing")


def is_solved(wanted: str, found: Mapping[str, Status]) -> bool:
    """Whether a test that has to pass now does; one that was skipped or is not there does not."""
    return status_of(wanted, found) in ("passed", "xfailed")


def is_kept(wanted: str, found: Mapping[str, Status]) -> bool:
    """Whether a test that passed still does; it may be skipped, but must be there."""
    return status_of(wanted, found) in ("passed", "xfailed", "skipped")


def shortened(name: str) -> str:
    """A test's name with the last part of a path that is its parameter, as in `test_f[/a.dcm]`."""
    return _PATH.sub(r"[/\1]", name)


# ------------------------------------------------------------------------------ for all parsers


def clean_lines(output: str) -> list[str]:
    """The lines of an output, without colours and spaces at their ends."""
    return [line.rstrip() for line in _COLOURS.sub("", output).split("\n")]


def worsen(found: MutableMapping[str, Status], name: str, status: Status) -> None:
    """Note a status, unless a worse one is known."""
    if name not in found or _RANK[found[name]] < _RANK[status]:
        found[name] = status


class _Progress:
    """Tests of a runner that prints a name, lets the test print, and then says how it ended."""

    def __init__(self) -> None:
        self.found: dict[str, Status] = {}
        self._begun = ""
        self._ended = False

    def note(self, name: str, status: Status) -> None:
        """A line told both the name and how it ended."""
        self.close(name)
        self._begun = ""
        worsen(self.found, name, status)

    def begin(self, name: str) -> None:
        """A line told a name; how it ends may follow."""
        self.close(name)
        self._begun, self._ended = name, False

    def end(self, status: Status) -> None:
        """A line told how what was begun has ended; said twice, the worse counts."""
        if self._begun and not (self._ended and status == "skipped"):
            worsen(self.found, self._begun, status)
            self._ended = True

    def close(self, next: str = "") -> dict[str, Status]:
        """What was found; a test that was begun, and did not end before the next, has failed."""
        if self._begun and self._begun != next and not self._ended:
            worsen(self.found, self._begun, "failed")
        return self.found


# ----------------------------------------------------------------------------------- unittest

_TEST = r"\w+ \([\w.<>]+\)"
_SUBTEST = r"(?: \[.*\])?(?: \(.*\))?"
_ID = re.compile(rf"({_TEST}){_SUBTEST}")
_GLUED = re.compile(rf".*\.\.\.({_TEST})")
_SKIPPED = re.compile(r"(.*?) \.\.\. (skipped .*)")
_ENDED = re.compile(r"(.*) \.\.\. (ok|FAIL|ERROR|expected failure|unexpected success)")
_HEADING = re.compile(rf"(FAIL|ERROR|UNEXPECTED SUCCESS): ({_TEST}){_SUBTEST}")
_ENDINGS: Mapping[str, Status] = {
    "ok": "passed",
    "expected failure": "xfailed",
    "FAIL": "failed",
    "unexpected success": "failed",
    "ERROR": "error",
}
_RULE = re.compile(r"={70}|-{70}")


def _unittest(output: str, by_docstring: bool) -> dict[str, Status]:
    progress = _Progress()
    lines = clean_lines(output)
    before, over = "", False
    for number, line in enumerate(lines):
        line = line.strip()
        if heading := _HEADING.fullmatch(line):
            status: Status = "error" if heading[1] == "ERROR" else "failed"
            worsen(progress.found, heading[2], status)
            described = lines[number + 1].strip() if number + 1 < len(lines) else ""
            if by_docstring and described and not _RULE.fullmatch(described):
                worsen(progress.found, described, status)
        elif match := _SKIPPED.fullmatch(line) or _ENDED.fullmatch(line):
            *never_ended, name = _names(match[1], before, by_docstring)
            for each in never_ended:
                progress.begin(each)
            progress.note(name, _ENDINGS.get(match[2], "skipped"))
        elif line in _ENDINGS or line.startswith("skipped '"):
            progress.end(_ENDINGS.get(line, "skipped"))
        elif not over and " ... " in f"{line} ":  # begun; what follows was printed by the test
            text, _, printed = f"{line} ".rpartition(" ... ")
            line = printed.strip()
            if _ID.fullmatch(line):  # by a runner whose last test never ended
                names = [match[1] for each in text.split(" ... ") if (match := _ID.fullmatch(each))]
            else:
                names = _names(text, before, by_docstring)
            for name in names:
                progress.begin(name)
            for word in ("ok", "FAIL", "ERROR"):
                if line.endswith(word):
                    progress.end(_ENDINGS[word])
        over = over or bool(_RULE.fullmatch(line))
        before = line
    return progress.close()


def _names(text: str, before: str, by_docstring: bool) -> list[str]:
    """Tests that a line of progress begins, the last of which its ending is about.

    Args:
        text: What stands before the last three dots.
        before: The line before it, where a test with a docstring has its name.
        by_docstring: Whether such a test goes by its docstring.
    """
    *earlier, last = text.split(" ... ")
    if glued := _GLUED.fullmatch(last):
        last = glued[1]
    if found := _ID.fullmatch(last):
        never_ended = [match[1] for each in earlier if (match := _ID.fullmatch(each))]
        return [*never_ended, found[1]]
    if not by_docstring and (found := _ID.fullmatch(before)):
        return [found[1]]
    return [text]


@add_parser("unittest")
def parse_unittest(output: str) -> dict[str, Status]:
    """Of `python -m unittest -v`: names read `test_f (module.Class)`, as that Python prints them.

    unittest lets tests print between its own lines: one could report a test that did not run.
    """
    return _unittest(output, by_docstring=False)


@add_parser("django")
def parse_django(output: str) -> dict[str, Status]:
    """Of Django's `runtests.py --verbosity 2`; a test with a docstring goes by its first line.

    That is how SWE-bench names them. Tests that share a docstring share their worst status.
    """
    return _unittest(output, by_docstring=True)


# -------------------------------------------------------------------------------------- sympy

_LETTERS: Mapping[str, Status] = {
    "ok": "passed",
    "X": "passed",
    "f": "xfailed",
    "s": "skipped",
    "w": "skipped",
    "F": "failed",
    "T": "failed",
    "E": "error",
    "K": "error",
}
_SYMPY_TEST = re.compile(r"(test_\w+)(?: (.*))?")
_SYMPY_HEADING = re.compile(r"_+ (\S+\.py:(\w+)) _+")
_OF_FILE = re.compile(r"\s+\[(?:OK|FAIL)\]$")


@add_parser("sympy")
def parse_sympy(output: str) -> dict[str, Status]:
    """Of sympy's `bin/test --verbose`: names of functions, without those of their files."""
    progress = _Progress()
    for line in clean_lines(output):
        line = _OF_FILE.sub("", line)
        last = line.rpartition(" ")[2]
        if heading := _SYMPY_HEADING.fullmatch(line):
            worsen(progress.found, heading[1], "failed")
            worsen(progress.found, heading[2], "failed")
        elif match := _SYMPY_TEST.fullmatch(line):
            if match[2] and last in _LETTERS:
                progress.note(match[1], _LETTERS[last])
            else:
                progress.begin(match[1])
        elif line in _LETTERS:
            progress.end(_LETTERS[line])
    return progress.close()


from agentgym.tasks import swe_logs_pytest  # noqa: E402, F401 - which adds parsers, too
