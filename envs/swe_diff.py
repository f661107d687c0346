"""Changes carried out in a box, and written down as git does: `git apply` makes the same files.

Lines end at newlines only, whatever else is in them. What is no UTF-8, or holds a NUL, is written
as git's binary patch: it can be applied, not taken back.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import itertools
import posixpath
import re
import shlex
import zlib
from base64 import b85encode
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from agentgym.errors import SandboxError
from agentgym.sandbox import Change, Sandbox

MOST_WORK = 3_000_000
"""Pairs of equal lines looked at to find the fewest changes: half a second. Where that does not do,
all lines from the first change to the last are written as replaced."""
_CONTEXT = 3
_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL)
_NO_NEWLINE = "\\ No newline at end of file\n"
_ESCAPES = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}


class Version(NamedTuple):
    """A file, before or after."""

    content: bytes
    executable: bool = False

    @property
    def mode(self) -> str:
        """As git records it."""
        return "100755" if self.executable else "100644"

    @property
    def is_text(self) -> bool:
        """Whether it can be written as lines."""
        try:
            return b"\0" not in self.content and self.content.decode() is not None
        except UnicodeDecodeError:
            return False


def write_diff(path: str, before: Version | None, after: Version | None) -> str:
    """A change of a file; nothing if it is as it was.

    Args:
        path: In the repository; bytes that are no UTF-8 as surrogates.
        before: None if it was not there.
        after: None if it is gone.
    """
    if before == after:
        return ""
    old, new = quote(f"a/{path}"), quote(f"b/{path}")
    lines = [f"diff --git {old} {new}\n"]
    if before is None and after is not None:
        lines.append(f"new file mode {after.mode}\n")
    elif after is None and before is not None:
        lines.append(f"deleted file mode {before.mode}\n")
    elif before is not None and after is not None and before.mode != after.mode:
        lines += [f"old mode {before.mode}\n", f"new mode {after.mode}\n"]
    told = [b"" if version is None else version.content for version in (before, after)]
    if told[0] == told[1]:
        return "".join(lines)
    lines.append(f"index {_blob(before)}..{_blob(after)}\n")
    if all(version is None or version.is_text for version in (before, after)):
        lines.append(f"--- {'/dev/null' if before is None else _ended(old)}\n")
        lines.append(f"+++ {'/dev/null' if after is None else _ended(new)}\n")
        lines += _hunks(*(_lines(content.decode()) for content in told))
    else:
        lines += _binary(told[1])
    return "".join(lines)


def quote(path: str) -> str:
    """A path as git quotes it: as it is, or with its unusual bytes as octal numbers."""
    data = path.encode("utf-8", "surrogateescape")
    told = "".join(
        f"\\{_ESCAPES[byte]}"
        if byte in _ESCAPES
        else f"\\{byte:03o}"
        if byte < 32 or byte > 126
        else chr(byte)
        for byte in data
    )
    return path if told == path else f'"{told}"'


def _ended(name: str) -> str:
    return f"{name}\t" if " " in name and not name.startswith('"') else name


def _blob(version: Version | None) -> str:
    if version is None:
        return "0" * 40
    data = version.content
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _lines(text: str) -> list[str]:
    return [f"{line}\n" for line in text.split("\n")[:-1]] + [
        line for line in text.split("\n")[-1:] if line
    ]


def _hunks(old: Sequence[str], new: Sequence[str]) -> list[str]:
    made: list[str] = []
    for group in _groups(old, new):
        (first, _), (start, _) = group[0][1], group[0][2]
        (_, last), (_, end) = group[-1][1], group[-1][2]
        made.append(f"@@ -{_range(first, last)} +{_range(start, end)} @@\n")
        for same, (i, j), (k, m) in group:
            if same:
                made += (_line(" ", line) for line in old[i:j])
            else:
                made += (_line("-", line) for line in old[i:j])
                made += (_line("+", line) for line in new[k:m])
    return made


def _line(sign: str, line: str) -> str:
    return f"{sign}{line}" if line.endswith("\n") else f"{sign}{line}\n{_NO_NEWLINE}"


def _range(start: int, end: int) -> str:
    return f"{start + 1 if end > start else start},{end - start}"


_Block = tuple[bool, tuple[int, int], tuple[int, int]]


def _groups(old: Sequence[str], new: Sequence[str]) -> list[list[_Block]]:
    """Hunks as blocks: whether they are the same, and their lines before and after."""
    most = min(len(old), len(new))
    head = next((n for n in range(most) if old[n] != new[n]), most)
    tail = next((n for n in range(most - head) if old[-1 - n] != new[-1 - n]), most - head)
    end, stop = len(old) - tail, len(new) - tail
    lead, trail = min(head, _CONTEXT), min(tail, _CONTEXT)
    at = head - lead
    try:
        matcher = _Matcher(old[at : end + trail], new[at : stop + trail])
        groups = list(matcher.get_grouped_opcodes(_CONTEXT))
    except _TooMuchWork:
        before: _Block = (True, (head - lead, head), (head - lead, head))
        after: _Block = (True, (end, end + trail), (stop, stop + trail))
        return [[before, (False, (head, end), (head, stop)), after]]
    return [
        [(tag == "equal", (i + at, j + at), (k + at, m + at)) for tag, i, j, k, m in group]
        for group in groups
    ]


class _TooMuchWork(Exception):
    """Raised by `_Matcher`."""


class _Matcher(difflib.SequenceMatcher[str]):
    """Gives up where lines that repeat would keep it busy for minutes."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, old, new)
        found = self.b2j  # type: ignore[attr-defined]  # documented, and not in typeshed
        pairs = (len(found.get(line, ())) for line in old)
        self._pairs = list(itertools.accumulate(pairs, initial=0))
        """Of the lines before each."""
        self._work = 0

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        """As `difflib` does, which looks at all pairs of these lines.

        Raises:
            _TooMuchWork: There were too many by now.
        """
        self._work += self._pairs[-1 if ahi is None else ahi] - self._pairs[alo]
        if self._work > MOST_WORK:
            raise _TooMuchWork
        return super().find_longest_match(alo, ahi, blo, bhi)


def _binary(content: bytes) -> list[str]:
    packed = zlib.compress(content)
    lines = ["GIT binary patch\n", f"literal {len(content)}\n"]
    for at in range(0, len(packed), 52):
        part = packed[at : at + 52]
        size = chr(ord("A") + len(part) - 1) if len(part) <= 26 else chr(ord("a") + len(part) - 27)
        lines.append(f"{size}{b85encode(part, pad=True).decode()}\n")
    return [*lines, "\n"]


# ---- in a box ----


def read_file(box: Sandbox, workdir: str, path: str) -> bytes | None:
    """What a regular file holds; None if it is none, or not there."""
    try:
        return box.read(posixpath.join(workdir, path))
    except OSError:
        return None


def read_versions(box: Sandbox, workdir: str, paths: Sequence[str]) -> dict[str, Version | None]:
    """Files as they are before the policy's changes."""
    found = {path: read_file(box, workdir, path) for path in paths}
    there = [path for path, content in found.items() if content is not None]
    modes = []
    for some in _batches(there):
        told = box.run(f"stat -c %a -- {some}", cwd=workdir, keep_bytes=1 << 20)
        modes += [bool(int(mode, 8) & 0o100) for mode in re.findall(r"^[0-7]+$", told.output, re.M)]
    executable = dict(zip(there, modes, strict=False))
    return {
        path: None if content is None else Version(content, executable.get(path, False))
        for path, content in found.items()
    }


def version_after(change: Change) -> Version | None:
    """A file as a change leaves it; None if it is gone."""
    if change.kind == "deleted" or change.content is None:
        return None
    return Version(change.content, bool(change.mode & 0o100))


def carry_out(
    box: Sandbox, workdir: str, changes: Sequence[Change]
) -> tuple[list[Change], list[str]]:
    """Do what the policy did; says what was done, and flags of what cannot be.

    Raises:
        SandboxError: There is no room for it, or the box died.
    """
    gone = [change.path for change in changes if change.kind == "deleted"]
    for some in _batches(gone):
        box.run(f"rm -f -- {some}", cwd=workdir)
    for some in _batches(sorted({posixpath.dirname(path) for path in gone} - {""})):
        box.run(f"rmdir -p --ignore-fail-on-non-empty -- {some}", cwd=workdir)
    done, flags = [], []
    for change in changes:
        after = version_after(change)
        try:
            if after is not None:
                path, mode = posixpath.join(workdir, change.path), int(after.mode[-3:], 8)
                box.write(path, after.content, mode=mode)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise SandboxError(f"the work cannot be written: {error}") from error
            flags.append(f"in the way: {quote(change.path)}")
        else:
            done.append(change)
    return done, flags


def _batches(paths: Sequence[str]) -> Iterator[str]:
    """Paths as arguments of commands that are not too long."""
    for start in range(0, len(paths), 200):
        yield " ".join(map(shlex.quote, paths[start : start + 200]))
