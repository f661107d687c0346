"""Negative controls: tests that must fail, by which a run that makes everything pass is told.

Code under test shares its process with what tests it, so it can make any test pass. It cannot make
the right ones fail without knowing which are wrong. Two kinds of control ask for that:

- A `Canary` is one more test in every run. It looks like any other, and asserts what is not so.
- `spoil` gives tests other answers, at the same places and under the same names: a run of them, in
  a box of its own, must fail where the task's own solution does, and pass elsewhere.
"""

from __future__ import annotations

import ast
import posixpath
import random
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_logs import Status

_WORDS = (
    "empty", "single", "nested", "order", "values", "missing", "default", "repeated", "names",
    "limits", "result", "input", "keys", "ranges", "copies", "equal", "last", "first", "several",
)  # fmt: skip
_FLIPS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.In: "not in", ast.NotIn: "in", ast.Is: "is not",
    ast.IsNot: "is", ast.Lt: ">=", ast.GtE: "<", ast.Gt: "<=", ast.LtE: ">",
}  # fmt: skip
_OPPOSITES = {
    "assertEqual": "assertNotEqual", "assertTrue": "assertFalse", "assertIn": "assertNotIn",
    "assertIs": "assertIsNot", "assertIsNone": "assertIsNotNone",
    "assertIsInstance": "assertNotIsInstance", "assertGreater": "assertLessEqual",
    "assertLess": "assertGreaterEqual",
}  # fmt: skip
_OPPOSITES |= {opposite: name for name, opposite in _OPPOSITES.items()}
_EQUALS = re.compile(r"assert(Count|Dict|List|MultiLine|Sequence|Set|Tuple)?Equals?")
_RAISES = ("raises", "assertRaises", "assertRaisesRegex", "warns")


@dataclass(frozen=True, slots=True)
class Canary:
    """A test that must fail."""

    path: str
    argument: str
    """How the test command is told of it."""
    name: str
    source: str

    @classmethod
    def of(cls, task: SWETask) -> Canary | None:
        """One for the runner of a task; None where it is not named its tests, or names none."""
        named = "{tests}" in task.test_command and task.tests
        if not named or task.evaluation == "reward_file":
            return None
        draw = random.Random(secrets.randbits(64))
        known = " ".join((*task.fail_to_pass, *task.pass_to_pass, *task.tests, *task.hidden))
        words = [word for word in _WORDS if word not in known] or [secrets.token_hex(4)]
        name = f"test_{'_'.join(draw.sample(words, min(3, len(words))))}"
        folder = posixpath.dirname(task.tests[0].partition("::")[0])
        if task.parser == "django":  # which takes modules of `tests`, and no files
            folder = posixpath.join("tests", *task.tests[0].split(".")[:-1])
        path = posixpath.join(folder, f"test_{'_'.join(draw.sample(words, min(2, len(words))))}.py")
        numbers = [draw.randint(2, 60) for _ in range(3)]
        wrong = max(numbers) + draw.randint(1, 9)
        if task.parser in ("unittest", "django"):
            source = (
                f"import unittest\n\n\nclass {name[5:].title().replace('_', '')}Test"
                f"(unittest.TestCase):\n    def {name}(self):\n"
                f"        self.assertEqual(max({numbers}), {wrong})\n"
            )
            module = path[: -len(".py")].replace("/", ".")
            if task.parser == "django":
                module = module.removeprefix("tests.")
            return cls(path, module, name, source)
        return cls(path, path, name, f"def {name}():\n    assert max({numbers}) == {wrong}\n")

    def objection(self, found: Mapping[str, Status], code: int) -> str:
        """Why a run is not to be believed; nothing if the canary was run, and failed."""
        own = re.compile(rf"(^|[:.]){self.name}($|[ (])")
        statuses = [status for name, status in found.items() if own.search(name)]
        if not statuses:
            return "canary not run"
        if any(status != "failed" for status in statuses) or code == 0 or code > 128:
            return "canary passed"
        return ""


# -------------------------------------------------------------------------------- wrong answers


class _Edit(NamedTuple):
    start: int
    end: int
    text: bytes


def spoil(
    sources: Mapping[str, str], wanted: Mapping[str, Callable[[str], bool]], draw: random.Random
) -> list[dict[str, str]]:
    """Files of tests in which half of some tests have a wrong answer, one each; and the other half.

    Where an answer is written down, it becomes another one of the same kind; else what is asked of
    it becomes another, or the opposite. Nobody can tell which are wrong without knowing what is
    right.

    Args:
        sources: Path to content.
        wanted: Path to whether a function of a name may be spoiled.
        draw: Chooses.

    Returns:
        Twice, once, or not at all, as there are functions that can be: the files that changed.
    """
    places: list[tuple[str, Sequence[_Edit]]] = []
    for path in sorted(sources):
        text = sources[path].replace("\r\n", "\n")
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            continue
        where = _Where(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and wanted[path](node.name):
                for rank in (_constants, _wrappings, _opposites):
                    if edits := list(rank(node, where, draw)):
                        places.append((path, edits))
                        break
    draw.shuffle(places)
    half = (len(places) + 1) // 2
    found = (_spoiled(sources, some, draw) for some in (places[:half], places[half:]))
    return [files for files in found if files]


def _spoiled(
    sources: Mapping[str, str], places: Sequence[tuple[str, Sequence[_Edit]]], draw: random.Random
) -> dict[str, str]:
    chosen: dict[str, list[_Edit]] = {}
    for path, edits in places:
        chosen.setdefault(path, []).append(draw.choice(edits))
    made = {path: _edited(sources[path].replace("\r\n", "\n"), chosen[path]) for path in chosen}
    return {path: text for path, text in made.items() if _is_python(text)}


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _edited(text: str, edits: Sequence[_Edit]) -> str:
    data = text.encode()
    for start, end, new in sorted(edits, reverse=True):
        data = data[:start] + new + data[end:]
    return data.decode()


class _Where:
    """Where nodes are in a text, in bytes."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self._lines = [0]
        for line in self.data.split(b"\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)

    def at(self, node: ast.expr) -> tuple[int, int]:
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self._lines[node.lineno - 1] + node.col_offset, self._lines[
            end_line - 1
        ] + end_column

    def text(self, node: ast.expr) -> bytes:
        start, end = self.at(node)
        return self.data[start:end]


def _answers(function: ast.AST) -> Iterator[ast.expr]:
    """What a test says that something equals.

    What equals one answer does not equal another, so a right solution of any kind fails where the
    task's own does: that cannot be said of what is less than something, or in it.
    """
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
            if isinstance(node.test.ops[-1], ast.Eq):
                yield node.test.comparators[-1]
        elif isinstance(node, ast.Call) and _EQUALS.fullmatch(_called(node)):
            yield from node.args[1:2]


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _constants(function: ast.AST, where: _Where, draw: random.Random) -> Iterator[_Edit]:
    for answer in _answers(function):
        formatted = {
            id(part)
            for node in ast.walk(answer)
            if isinstance(node, ast.JoinedStr)
            for part in ast.walk(node)
        }
        for node in ast.walk(answer):
            if isinstance(node, ast.Constant) and id(node) not in formatted:
                new = _other(node.value, where.text(node), draw)
                if new is not None:
                    yield _Edit(*where.at(node), new)


def _other(value: object, text: bytes, draw: random.Random) -> bytes | None:
    """Another constant of the same kind, written in the same way."""
    if isinstance(value, bool):
        return str(not value).encode()
    if isinstance(value, int):
        return str(value + draw.choice((1, 2) if value < 3 else (-1, 1, 2))).encode()
    if isinstance(value, float):
        return repr(value + draw.choice((0.5, 1.0, 2.0))).encode()
    if not isinstance(value, str) or b"\\" in text or text[:1] not in (b"'", b'"'):
        return None
    letters = [n for n, byte in enumerate(text) if chr(byte).isalnum() and byte < 128]
    if not letters:
        return text[:1] + b"a" + text[1:] if text[:3] not in (b"'''", b'"""') else None
    at = draw.choice(letters)
    alphabet = b"0123456789" if text[at : at + 1].isdigit() else b"abcdeghilmnoprstu"
    new = draw.choice([byte for byte in alphabet if byte != text[at]])
    return text[:at] + bytes([new]) + text[at + 1 :]


def _wrappings(function: ast.AST, where: _Where, draw: random.Random) -> Iterator[_Edit]:
    """Answers that are not written down become lists of them."""
    for answer in _answers(function):
        yield _Edit(*where.at(answer), b"[" + where.text(answer) + b"]")


def _opposites(function: ast.AST, where: _Where, draw: random.Random) -> Iterator[_Edit]:
    """What is asked becomes its opposite."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            test = node.test
            if isinstance(test, ast.Compare) and len(test.ops) == 1:
                answer = test.comparators[0]
                start, (end, _) = where.at(test.left)[1], where.at(answer)
                closing = where.data[start:end].count(b")") * b")"
                opening = where.data[start:end].count(b"(") * b"("
                flipped = _FLIPS[type(test.ops[0])].encode()
                yield _Edit(start, end, closing + b" " + flipped + b" " + opening)
            else:
                yield _Edit(*where.at(test), b"not (" + where.text(test) + b")")
        elif isinstance(node, ast.Call):
            name = _called(node)
            if name in _OPPOSITES and isinstance(node.func, ast.Attribute):
                end = where.at(node.func)[1]
                yield _Edit(end - len(name), end, _OPPOSITES[name].encode())
            elif name in _RAISES and node.args:
                other = (
                    b"OverflowError" if b"Overflow" not in where.text(node.args[0]) else b"KeyError"
                )
                yield _Edit(*where.at(node.args[0]), other)


def spoilable(task: SWETask, patched: Sequence[str]) -> dict[str, Callable[[str], bool]]:
    """Files of hidden tests, and which functions of them are tests that must be mended."""
    files = [path for path in (*task.hidden, *patched) if path.endswith(".py")]
    if task.evaluation == "reward_file":
        return dict.fromkeys(files, lambda name: name.startswith("test"))
    functions: dict[str, set[str]] = {}
    for test in set(task.fail_to_pass) - set(task.flaky):
        path, found, rest = test.partition("::")
        named = rest.partition("[")[0].rpartition("::")[2] if found else test
        for each in [path] if found else files:
            functions.setdefault(each, set()).update(re.findall(r"^\w+", named))
    return {path: names.__contains__ for path, names in functions.items()}
