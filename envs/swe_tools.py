"""The tools of an agent that works on a repository: shell, editor, search.

Each takes a box and arguments as a model gave them, and returns what the model reads, or raises
`InvalidAction` with what was wrong. Long output is cut in the middle, and says so.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence

from agentgym.actions import Argument, Verb
from agentgym.errors import InvalidAction
from agentgym.sandbox import ExecResult, Sandbox

MOST_MATCHES = 100
LONGEST_MATCH = 1000
"""Bytes of a line that a search shows, with its file and number."""
MOST_ENTRIES = 400
LARGEST_VIEW = 4 << 20
QUIET = {
    "PAGER": "cat", "MANPAGER": "cat", "GIT_PAGER": "cat", "LESS": "-R", "TERM": "dumb",
    "PIP_PROGRESS_BAR": "off", "TQDM_DISABLE": "1", "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip
"""Variables that keep programs from waiting for a reader or drawing."""

BASH = Verb(
    "bash",
    "Run a command in a shell; it goes on in the folder and with the variables of the last one",
    Argument("command", min_length=1, example="ls"),
    Argument("timeout", int, "Seconds", default=None, minimum=1),
)
VIEW = Verb(
    "view",
    "Show a file with line numbers, or what is in a folder",
    Argument("path", min_length=1, example="README.md"),
    Argument("start", int, "First line", default=1, minimum=1),
    Argument("end", int, "Last line; the end of the file if left out", default=None, minimum=1),
)
CREATE = Verb(
    "create",
    "Write a new file",
    Argument("path", min_length=1, example="notes.txt"),
    Argument("text", example="text"),
)
STR_REPLACE = Verb(
    "str_replace",
    "Replace text in a file; `old` must be there exactly once",
    Argument("path", min_length=1, example="a.py"),
    Argument("old", min_length=1, example="x = 1"),
    Argument("new", example="x = 2"),
)
INSERT = Verb(
    "insert",
    "Insert text after a line of a file; 0: at its start",
    Argument("path", min_length=1, example="a.py"),
    Argument("line", int, minimum=0, example=0),
    Argument("text", example="text"),
)
UNDO = Verb(
    "undo",
    "Take back the last edit of a file",
    Argument("path", min_length=1, example="a.py"),
)
SEARCH = Verb(
    "search",
    "Find lines that match an extended regular expression, in files under a path",
    Argument("pattern", min_length=1, example="def main"),
    Argument("path", default="."),
)
RUN_TESTS = Verb("run_tests", "Run the tests of the repository")
SUBMIT = Verb("submit", "Hand in the repository as it is now: ends the work")

EDITOR = (VIEW, CREATE, STR_REPLACE, INSERT, UNDO)


def cut(text: str, most: int, *, elided: int = 0, head: int | None = None) -> str:
    """A text of at most about `most` characters: its head and its tail.

    Args:
        text: The text.
        most: Characters.
        elided: Bytes that are already left out, after `head` characters.
        head: Where.
    """
    if elided and head is not None:
        front, back = text[:head], text[head:]
    elif len(text) > most:
        front, back = text[: len(text) // 2], text[len(text) // 2 :]
    else:
        return text
    keep_front, keep_back = front[: most // 2], back[len(back) - min(most // 2, len(back)) :]
    left_out = len(text) - len(keep_front) - len(keep_back)
    what = f"{left_out} characters" if not elided else f"about {elided + left_out} characters"
    return f"{keep_front}\n[… {what} left out …]\n{keep_back}"


def told(done: ExecResult, most: int) -> str:
    """What a model reads of a command."""
    text = cut(done.output, most, elided=done.elided, head=done.head).rstrip("\n")
    ends = {
        "timeout": "ended: it took too long",
        "output": "ended: it printed too much",
        "disk": "ended: the disk is full",
        "interrupt": "ended from outside",
    }
    note = ends.get(done.stopped) or (f"exit code {done.code}" if done.code else "")
    return "\n".join(filter(None, [text, f"[{note}]" if note else ""])) or "[no output]"


class Editor:
    """Edits files of a box, and can take each edit back.

    Args:
        box: Where the files are.
        folder: What relative paths start from.
        most: Characters of a file that are shown.
    """

    def __init__(self, box: Sandbox, folder: str, most: int) -> None:
        self.box = box
        self.folder = folder
        self.most = most
        self.history: list[tuple[str, bytes | None]] = []
        """Each edit: the file, and what it held before."""

    def path(self, said: str) -> str:
        """An absolute path; what a link leads to."""
        path = posixpath.normpath(posixpath.join(self.folder, said))
        try:
            kinds = {entry.path: entry.kind for entry in self.box.list(posixpath.dirname(path))}
        except OSError:
            return path  # whoever uses it is told
        if kinds.get(posixpath.basename(path)) != "link":
            return path
        command = f"readlink -f -- {shlex.quote(path)}"
        found = self.box.run(command, background=True).output.rstrip("\n")
        return found or path

    def view(self, said: str, start: int, end: int | None) -> str:
        """A file with line numbers, or a folder two levels deep."""
        path = self.path(said)
        try:
            data = self._read(path)
        except IsADirectoryError:
            return self._view_folder(path)
        if b"\0" in data[:8192]:
            raise InvalidAction("binary", f"{said} is no text ({len(data)} bytes)")
        lines = _lines(data)
        if start > max(len(lines), 1) or (end is not None and end < start):
            raise InvalidAction("range", f"{said} has {len(lines)} lines: give a range within")
        shown = lines[start - 1 : end]
        width = len(str(start + len(shown)))
        text = "\n".join(f"{n:>{width}}\t{line}" for n, line in enumerate(shown, start))
        return cut(text, self.most) or "[the file is empty]"

    def _view_folder(self, path: str) -> str:
        entries = self.box.list(path, depth=2, limit=MOST_ENTRIES + 1)
        names = [
            entry.path + ("/" if entry.kind == "folder" else "")
            for entry in entries[:MOST_ENTRIES]
            if not any(part.startswith(".") for part in entry.path.split("/"))
        ]
        more = "\n[… more left out …]" if len(entries) > MOST_ENTRIES else ""
        return cut("\n".join(names) or "[the folder is empty]", self.most) + more

    def create(self, said: str, text: str) -> str:
        """A new file."""
        path = self.path(said)
        try:
            self._read(path)
        except InvalidAction as error:
            if error.kind != "no_file":
                raise
        except IsADirectoryError as error:
            raise InvalidAction("exists", f"{said} is a folder") from error
        else:
            raise InvalidAction("exists", f"{said} is there already: edit it, or choose a name")
        self._write(path, text.encode("utf-8", "surrogateescape"), None)
        return f"{said} is written."

    def str_replace(self, said: str, old: str, new: str) -> str:
        """One piece of text for another."""
        path, before = self._text(said)
        wanted = old.encode("utf-8", "surrogateescape")
        count = before.count(wanted)
        if count == 0:
            hint = ""
            if wanted.strip() and before.count(wanted.strip()):
                hint = ": white space around it differs"
            raise InvalidAction("no_match", f"the text is not in {said}{hint}")
        if count > 1:
            raise InvalidAction(
                "not_unique", f"the text is {count} times in {said}: give more of what is around it"
            )
        at = before.index(wanted)
        after = before.replace(wanted, new.encode("utf-8", "surrogateescape"))
        self._write(path, after, before)
        return self._around(said, after, before[:at].count(b"\n") + 1, new.count("\n") + 1)

    def insert(self, said: str, line: int, text: str) -> str:
        """Text after a line."""
        path, before = self._text(said)
        lines = re.findall(rb"[^\n]*\n|[^\n]+", before)
        if line > len(lines):
            raise InvalidAction("range", f"{said} has {len(lines)} lines: give at most that")
        added = text.encode("utf-8", "surrogateescape")
        added += b"" if added.endswith(b"\n") else b"\n"
        if line and not lines[line - 1].endswith(b"\n"):
            lines[line - 1] += b"\n"
        after = b"".join([*lines[:line], added, *lines[line:]])
        self._write(path, after, before)
        return self._around(said, after, line + 1, added.count(b"\n"))

    def undo(self, said: str) -> str:
        """The last edit of a file, taken back."""
        path = self.path(said)
        for i in range(len(self.history) - 1, -1, -1):
            if self.history[i][0] == path:
                _, before = self.history.pop(i)
                if before is None:
                    self.box.run(f"rm -f -- {shlex.quote(path)}", background=True)
                    return f"{said} is gone again."
                self.box.write(path, before)
                return f"{said} is as it was before the last edit."
        raise InvalidAction("no_edit", f"there is no edit of {said} to take back")

    def _text(self, said: str) -> tuple[str, bytes]:
        path = self.path(said)
        try:
            return path, self._read(path)
        except IsADirectoryError as error:
            raise InvalidAction("no_file", f"{said} is a folder") from error

    def _read(self, path: str) -> bytes:
        try:
            return self.box.read(path, max_bytes=LARGEST_VIEW)
        except IsADirectoryError:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InvalidAction("no_file", f"there is no {path}") from error
        except OSError as error:
            raise InvalidAction("unreadable", f"{path}: {error.strerror}") from error

    def _write(self, path: str, after: bytes, before: bytes | None) -> None:
        try:
            self.box.write(path, after)
        except OSError as error:
            raise InvalidAction("not_written", f"{path}: {error.strerror}") from error
        self.history.append((path, before))

    def _around(self, said: str, data: bytes, line: int, count: int) -> str:
        lines = _lines(data)
        first, last = max(line - 4, 0), min(line + count + 3, len(lines))
        width = len(str(last))
        shown = "\n".join(f"{n + 1:>{width}}\t{lines[n]}" for n in range(first, last))
        return f"{said} now reads:\n{cut(shown, self.most)}"


def _lines(data: bytes) -> list[str]:
    """As `grep -n` and `insert` count them: they end at newlines only."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    return text.removesuffix("\n").split("\n") if text else []


def search(
    box: Sandbox, folder: str, pattern: str, path: str, most: int, timeout_s: float = 60.0
) -> str:
    """Lines that match, with file and number."""
    where = posixpath.normpath(posixpath.join(folder, path))
    command = (
        f"grep -rnHIE --exclude-dir=.git -e {shlex.quote(pattern)} -- {shlex.quote(where)} 2>&1 "
        f"| head -n {MOST_MATCHES + 1} | cut -b -{LONGEST_MATCH}"
    )
    kept = (MOST_MATCHES + 1) * (LONGEST_MATCH + 1)
    done = box.run(f"( {command} )", timeout_s=timeout_s, keep_bytes=2 * kept, background=True)
    lines = _lines(done.output.encode())
    if (lines and all(line.startswith("grep: ") for line in lines)) or (done.stopped and not lines):
        raise InvalidAction("search", f"cannot search: {cut(done.output, 300).strip()}")
    short: Sequence[str] = [line.removeprefix(f"{folder}/") for line in sorted(lines)]
    more = f"\n[… more than {MOST_MATCHES}: narrow it down …]" if len(lines) > MOST_MATCHES else ""
    return cut("\n".join(short[:MOST_MATCHES]), most) + more or "[no line matches]"
