"""What pytest prints, read back to the status of each test, by the id that pytest gives it.

Two kinds of lines name a test: those of progress under `-v` (`a.py::test_f[x] PASSED  [ 10%]`) and
those of the short summary under `-rA` and the like (`FAILED a.py::test_f[x] - assert 0`). Between
them stands what tests printed, which may look like either. So a test passes by the last summary
only, or, where that lists no test that passed, by the progress before any other section; a line
that says it failed counts wherever it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple

from agentgym.tasks.swe_logs import Status, add_parser, clean_lines, shortened, worsen

_WORDS: dict[str, Status] = {
    "PASSED": "passed",
    "XPASS": "passed",
    "xpass": "passed",
    "XFAIL": "xfailed",
    "xfail": "xfailed",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "FAIL": "failed",  # in summaries of pytest 3
    "ERROR": "error",
}
_FAILURES = ("failed", "error")
_ANY = "|".join(_WORDS)
_SECTION = re.compile(r"={3,} (.+?) ={3,}")
_BEGINS = "test session starts"
_SUMMARY = "short test summary info"
_COUNTS = re.compile(r"=* ?\d+ \w+.* in [\d.]+ ?s.*")
_WORD_FIRST = re.compile(rf"(\[gw\d+\](?: \[[^]]*\])? )?({_ANY}) (\S.*)")
_WORD_LAST = re.compile(rf" ({_ANY})(?: \(.*\))? *(?:\[[^]]*\])?")
_SUBTEST = re.compile(r"(?:\[gw\d+\](?: \[[^]]*\])? )?SUBFAIL(?:ED)?\b.*? (\S+::.*)")
_SUBTEST_LAST = re.compile(r"(\S+::.*?) SUBFAIL(?:ED)?\b.*")


class _Line(NamedTuple):
    number: int
    id: str
    """With the reason behind it, where `reasoned`."""
    status: Status
    reasoned: bool = False


@add_parser("pytest")
def parse_pytest(output: str) -> dict[str, Status]:
    """Of pytest, with `-rA`, `-v` or both; 3.3 and later, by pytest-xdist or not.

    An expected failure has passed, and so has an unexpected success, unless it is strict, when
    pytest itself calls it failed. A failed subtest fails its test, an error of a file all tests of
    the file. A summary does not name tests that were skipped: only progress does.
    """
    lines = clean_lines(output)
    summary, progress = _parts(lines)
    reported = summary | progress
    read = list(_read(lines, summary))
    known = {line.id for line in read if not line.reasoned}
    if any(line.number in summary and line.status == "passed" for line in read):
        passes: Set[int] = summary
    else:
        passes = reported
    found: dict[str, Status] = {}
    for line in read:
        trusted = reported if line.status == "skipped" else passes
        if line.status not in _FAILURES and line.number in trusted:
            worsen(found, _ids(line, known)[-1], line.status)
    known |= set(found)
    for line in read:
        if line.status in _FAILURES:
            for id in _ids(line, known):
                worsen(found, id, line.status)
    for line in read:
        if line.status == "skipped" and line.id in found:
            worsen(found, line.id, "skipped")
    for id in found:
        places = id.split("::")
        if any(found.get("::".join(places[:end])) == "error" for end in range(1, len(places))):
            worsen(found, id, "error")
    return found


def _parts(lines: Sequence[str]) -> tuple[Set[int], Set[int]]:
    """Numbers of the lines of the last summary, and of those of progress."""
    sections = [
        (n, match[1]) for n, line in enumerate(lines) if (match := _SECTION.fullmatch(line))
    ]
    begins = next((n for n, title in sections if title == _BEGINS), -1)
    ends = next((n for n, _ in sections if n > begins), len(lines))
    start = max((n for n, title in sections if title == _SUMMARY), default=len(lines))
    stop = start + 1
    while stop < len(lines) and not (
        _SECTION.fullmatch(lines[stop]) or _COUNTS.fullmatch(lines[stop])
    ):
        stop += 1
    return set(range(start + 1, stop)), set(range(begins + 1, ends))


def _read(lines: Sequence[str], summary: Set[int]) -> Iterator[_Line]:
    for number, line in enumerate(lines):
        if match := _SUBTEST.fullmatch(line):
            yield _Line(number, match[1], "failed", reasoned=True)
        elif match := _SUBTEST_LAST.fullmatch(line):
            yield _Line(number, match[1], "failed")
        elif match := _WORD_FIRST.fullmatch(line):
            worker, word, rest = match.groups()
            if word.upper() in ("XFAIL", "XPASS") and " - " not in rest:
                rest = _unreasoned(rest)
            if ("::" in rest or number in summary) and not rest.startswith("["):
                yield _Line(number, rest, _WORDS[word], reasoned=word != "PASSED" and not worker)
        elif "::" in line:
            for match in _WORD_LAST.finditer(line):
                id = line[: match.start()]
                if _is_whole(id) and _WORD_LAST.fullmatch(line, match.start()):
                    yield _Line(number, id, _WORDS[match[1]])
                    break


def _unreasoned(rest: str) -> str:
    """An id without the reason that pytest before 7.3 puts right behind it."""
    word = rest.partition(" ")[0]
    return word if "[" not in word else rest[: rest.rfind("]") + 1] or rest


def _ids(line: _Line, known: Set[str]) -> list[str]:
    """Ids that a line may be about: ` - ` may part an id from a reason, or be in either."""
    if not line.reasoned:
        return [line.id]
    ends = [match.start() for match in re.finditer(" - ", line.id)]
    begun = [*(line.id[:end] for end in ends), line.id]
    return [id for id in begun if id in known] or [next(filter(_is_whole, begun), begun[0])]


def _is_whole(id: str) -> bool:
    """Whether no bracket of its parameters is left open."""
    return id.endswith("]") or "[" not in id[id.rfind("::") :]


@add_parser("pytest_options")
def parse_pytest_options(output: str) -> dict[str, Status]:
    """As SWE-bench names tests of requests, pylint and pydicom: a path as parameter is its end."""
    found: dict[str, Status] = {}
    for id, status in parse_pytest(output).items():
        worsen(found, shortened(id), status)
    return found


@add_parser("pytest_matplotlib")
def parse_pytest_matplotlib(output: str) -> dict[str, Status]:
    """As SWE-bench names tests of matplotlib: mouse buttons are numbers."""
    return parse_pytest(output.replace("MouseButton.LEFT", "1").replace("MouseButton.RIGHT", "3"))
