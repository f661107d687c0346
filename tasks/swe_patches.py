"""Patches as git writes them: the files they name, and the patch that takes one back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from agentgym.errors import TaskError

_HUNK = re.compile(r"@@ -(\d+(?:,(\d+))?) \+(\d+(?:,(\d+))?) @@(.*)", re.DOTALL)
_GIT = re.compile(r'diff --git (?:a/(?P<same>.+) b/(?P=same)|"a/(?P<quoted>.+)" "b/(?P=quoted)")')
_ESCAPED = re.compile(r"\\([0-7]{3}|.)")
_LETTERS = {"n": b"\n", "t": b"\t", "r": b"\r", "a": b"\a", "b": b"\b", "f": b"\f", "v": b"\v"}
_SWAPPED = {"deleted file mode ": "new file mode ", "new file mode ": "deleted file mode "}
_PAIRS = (("old mode ", "new mode "), ("rename from ", "rename to "))
_NO_WAY_BACK = ("GIT binary patch", "Binary files ", "copy from ")


class _File(NamedTuple):
    """What a patch does to one file: its lines before the first hunk, and its hunks."""

    header: list[str]
    hunks: list[list[str]]


def reverse(patch: str) -> str:
    """The patch that takes a patch back; lines taken away stay before lines put in.

    Taking that back in turn gives the patch as it was, if it ended with a newline.

    Raises:
        TaskError: It is damaged, or says too little to be taken back (of binary files, copies).
    """
    made: list[str] = []
    for file in _files(patch):
        made += _reversed_header(file.header)
        for hunk in file.hunks:
            made += _reversed_hunk(hunk)
    return "".join(f"{line}\n" for line in made)


def files_of(patch: str, *, gone: bool = True) -> tuple[str, ...]:
    """Paths that a patch names, in its order, each once.

    Args:
        patch: A unified diff.
        gone: Also those that are no longer there once it is applied.

    Raises:
        TaskError: It is damaged.
    """
    paths: list[str] = []
    for file in _files(patch):
        before, after = _paths(file.header)
        paths += [path for path in (before if gone else "", after) if path]
    return tuple(dict.fromkeys(paths))


def places_of(patch: str) -> dict[str, list[tuple[int, int]]]:
    """Files of a patch, and the first and last line of each hunk before it, context included.

    Raises:
        TaskError: It is damaged.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for file in _files(patch):
        before, after = _paths(file.header)
        places = found.setdefault(after or before, [])
        for hunk in file.hunks:
            first, _, count = hunk[0].split(" ")[1].removeprefix("-").partition(",")
            places.append((int(first), int(first) + max(int(count or 1) - 1, 0)))
    return found


def _files(patch: str) -> list[_File]:
    lines = patch.removesuffix("\n").split("\n") if patch else []
    files: list[_File] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        named = line.startswith("--- ") and "".join(lines[at + 1 : at + 2]).startswith("+++ ")
        if named and files:  # after another's names
            named = any(each.startswith("+++ ") for each in files[-1].header)
        if named or line.startswith("diff --git ") or not files:
            files.append(_File([], []))
        if match := _HUNK.fullmatch(line):
            end = _end(lines, at, match)
            files[-1].hunks.append(lines[at:end])
            at = end
            continue
        if files[-1].hunks and line[:1] in ("+", "-", " ") and not named:
            _damaged(at, "a line that its hunk did not announce")
        files[-1].header.append(line)
        at += 1
    return files


def _end(lines: Sequence[str], at: int, match: re.Match[str]) -> int:
    """Where a hunk ends, by the numbers of lines that it announces."""
    before, after = (int(match[group] or 1) for group in (2, 4))
    end = at + 1
    while before > 0 or after > 0 or "".join(lines[end : end + 1]).startswith("\\"):
        kind = (lines[end][:1] or " ") if end < len(lines) else ""
        if kind not in (" ", "-", "+", "\\") or not kind:
            _damaged(end, "the end of a hunk that announced more lines")
        before -= kind in (" ", "-")
        after -= kind in (" ", "+")
        end += 1
    if before or after:
        _damaged(end, "more lines than the hunk announced")
    return end


def _damaged(at: int, what: str) -> NoReturn:
    raise TaskError(f"the patch is damaged: line {at + 1} is {what}")


def _paths(header: Sequence[str]) -> tuple[str, str]:
    """A file's path before and after; `""` where it is not there."""
    before = after = ""
    for line in header:
        if match := _GIT.fullmatch(line):
            before = after = match["same"] or _unquoted(f'"{match["quoted"]}"')
    for line in header:
        for start, prefix in (("--- ", "a/"), ("rename from ", "")):
            if line.startswith(start):
                before = _path(line.removeprefix(start), prefix)
        for start, prefix in (("+++ ", "b/"), ("rename to ", "")):
            if line.startswith(start):
                after = _path(line.removeprefix(start), prefix)
        if line.startswith("new file mode "):
            before = ""
        elif line.startswith("deleted file mode "):
            after = ""
    return before, after


def _path(text: str, prefix: str) -> str:
    text = text.partition("\t")[0]  # which git itself escapes
    text = _unquoted(text) if text.startswith('"') else text
    return "" if text == "/dev/null" else text.removeprefix(prefix)


def _unquoted(text: str) -> str:
    """A path as git quotes it, with bytes that are not ASCII as octal numbers."""

    def byte(match: re.Match[bytes]) -> bytes:
        escaped = match[1].decode("latin-1")
        if escaped.isdigit():
            return bytes([int(escaped, 8) & 255])
        return _LETTERS.get(escaped, escaped.encode("latin-1"))

    inside = text.strip('"').encode()
    return re.sub(_ESCAPED.pattern.encode(), byte, inside).decode(errors="replace")


def _reversed_header(header: Sequence[str]) -> list[str]:
    made = list(header)
    moved: dict[str, str] = {}
    for number, line in enumerate(header):
        following = header[number + 1] if number + 1 < len(header) else ""
        if line.startswith(_NO_WAY_BACK):
            raise TaskError(f"the patch cannot be taken back: it has {line!r}")
        for old, new in _SWAPPED.items():
            if line.startswith(old):
                made[number] = new + line.removeprefix(old)
        for old, new in _PAIRS:
            if line.startswith(old) and following.startswith(new):
                was, became = line.removeprefix(old), following.removeprefix(new)
                made[number : number + 2] = [old + became, new + was]
                if old == "rename from ":
                    moved = {"from": was, "to": became}
        if line.startswith("--- ") and following.startswith("+++ "):
            made[number] = "--- " + _side(following[4:], "b/", "a/")
            made[number + 1] = "+++ " + _side(line[4:], "a/", "b/")
        if match := re.fullmatch(r"index (\w+)\.\.(\w+)(.*)", line):
            made[number] = f"index {match[2]}..{match[1]}{match[3]}"
    if moved and header[0].startswith("diff --git "):
        made[0] = "diff --git " + _named(moved["to"], "a/") + " " + _named(moved["from"], "b/")
    return made


def _side(text: str, old: str, new: str) -> str:
    quote = '"' if text.startswith('"') else ""
    rest = text.removeprefix(quote)
    return quote + new + rest.removeprefix(old) if rest.startswith(old) else text


def _named(path: str, prefix: str) -> str:
    return f'"{prefix}{path[1:]}' if path.startswith('"') else prefix + path


def _reversed_hunk(hunk: Sequence[str]) -> list[str]:
    match = _HUNK.fullmatch(hunk[0])
    made = [f"@@ -{match[3]} +{match[1]} @@{match[5]}" if match else hunk[0]]
    taken: list[str] = []
    put: list[str] = []
    last = made
    for line in hunk[1:]:
        if line.startswith("\\"):  # it is about the line before
            last.append(line)
            continue
        if line.startswith("-"):
            last = put
        elif line.startswith("+"):
            last = taken
        else:
            made += taken + put
            taken, put = [], []
            last = made
        last.append({"-": "+", "+": "-"}.get(line[:1], line[:1]) + line[1:])
    return made + taken + put
