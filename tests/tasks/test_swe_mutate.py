"""Bugs put in by rule: they compile, they are small, and they leave readers' text alone."""

from __future__ import annotations

import ast
import random
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgym.errors import ConfigError
from agentgym.tasks.swe_mutate import Mutant, combine, mutants
from agentgym.tasks.swe_operators import OPERATORS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("agentgym", "tasks", "envs")
    for path in (ROOT / folder).rglob("*.py")
    if path.stat().st_size < 8_000
)

EXAMPLES = {
    "compare": ("x = a < b", "x = a <= b"),
    "logic": ("x = a and b", "x = a or b"),
    "not": ("x = not a", "x = a"),
    "increment": ("x = a + 1", "x = a"),
    "arithmetic": ("x = a - b", "x = a + b"),
    "default": ("def f(a='x'): pass", "def f(a=''): pass"),
    "constant": ("x = 4", "x = 5"),
    "bound": ("x = a[:n]", "x = a[:n - 1]"),
    "arguments": ("f(a, b)", "f(b, a)"),
    "keyword": ("f(a, key=b)", "f(a)"),
    "flag": ("x = True", "x = False"),
    "guard": (
        "def f(a):\n    if a:\n        return 1\n    return g",
        "def f(a):\n    if a:\n        pass\n    return g",
    ),
    "loop": ("for x in y:\n    continue", "for x in y:\n    break"),
    "branch": ("a = b\nif a:\n    b = c\n", "a = b\n"),
    "call": ("x = a.strip().name", "x = a.name"),
    "callee": ("x = min(a)", "x = max(a)"),
    "variable": ("def f(a, b):\n    return a", "def f(a, b):\n    return b"),
    "handler": (
        "try:\n    f()\nexcept A:\n    x = a",
        "try:\n    f()\nexcept A:\n    raise",
    ),
    "statement": ("f(a)", "pass"),
}


def every(source: str, seed: int = 0, most: int = 10_000) -> list[Mutant]:
    return list(islice(mutants(source, random.Random(seed)), most))


def untouchable(source: str) -> list[str]:
    """Docstrings, annotations and dunder assignments, in order."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(ast.get_docstring(node) or "")
        annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if isinstance(annotation, ast.AST):
            found.append(ast.dump(annotation))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("__"):
            found.append(ast.unparse(node))
    return sorted(found)


@pytest.mark.parametrize("name", [operator.name for operator in OPERATORS])
def test_every_operator_makes_its_mistake(name):
    before, after = EXAMPLES[name]

    assert after in [each.source for each in every(before) if each.operator == name]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(SOURCES), seed=st.integers(0, 2**16))
def test_a_mutant_compiles_and_differs_in_one_place(path, seed):
    source = path.read_text()

    for mutant in every(source, seed, most=5):
        compile(mutant.source, "mutant", "exec", dont_inherit=True)
        start, end = mutant.start, mutant.start + len(mutant.before)
        assert source[start:end] == mutant.before != mutant.after
        assert mutant.source == source[:start] + mutant.after + source[end:]
        assert source[:start].count("\n") + 1 == mutant.line
        assert ast.dump(ast.parse(mutant.source)) != ast.dump(ast.parse(source))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(SOURCES), seed=st.integers(0, 2**16))
def test_the_same_seed_gives_the_same_mutants(path, seed):
    source = path.read_text()

    assert every(source, seed, most=8) == every(source, seed, most=8)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(SOURCES), seed=st.integers(0, 2**16))
def test_docstrings_and_annotations_stay(path, seed):
    source = path.read_text()
    before = untouchable(source)

    for mutant in every(source, seed, most=5):
        if "def " not in mutant.before and "class " not in mutant.before:  # a branch, gone
            assert set(untouchable(mutant.source)) <= set(before)


def test_what_only_tools_read_is_left_alone():
    source = '''"""Version 1."""
from typing import TYPE_CHECKING, TypeVar
__all__ = ["a"]
__version__ = "1.2"
version_info = (1, 2)
T = TypeVar("T", bound=int)
if TYPE_CHECKING:
    limit = 3
def f(x: "int | None") -> "list[int]":
    """Not 1 < 2."""
if __name__ == "__main__":
    f(1)
'''

    assert every(source) == []


def test_text_before_a_mistake_may_be_in_any_script():
    source = 'x = "größer 大" if a < b else f(a, "ü")  # ≤\n'

    assert 'x = "größer 大" if a <= b else f(a, "ü")  # ≤\n' in [m.source for m in every(source)]
    assert 'x = "größer 大" if a < b else f("ü", a)  # ≤\n' in [m.source for m in every(source)]


def test_operators_in_comments_are_not_taken_for_those_of_the_code():
    source = "x = (a  # a < b?\n     < b)\n"

    assert "x = (a  # a < b?\n     <= b)\n" in [each.source for each in every(source)]


def test_only_mistakes_on_some_lines():
    source = "x = 1\ny = 2\nz = 3\n"

    found = list(mutants(source, random.Random(0), lines={2}))

    assert {each.line for each in found} == {2}


def test_kinds_of_mistakes_take_turns():
    source = "".join(f"x{i} = {i} + 5\n" for i in range(50)) + "y = a < b\n"

    assert "compare" in [each.operator for each in every(source, most=len(OPERATORS))]


def test_two_bugs_in_one_file():
    source = "x = a < b\ny = c and d\n"
    one, other = (
        next(each for each in every(source) if each.operator == name)
        for name in ("compare", "logic")
    )

    assert combine(source, [other, one]) == "x = a <= b\ny = c or d\n"


def test_bugs_in_the_same_place_do_not_go_together():
    source = "x = 4\n"
    one, other = every(source)

    with pytest.raises(ConfigError, match="touch each other"):
        combine(source, [one, other])


def test_what_is_no_python_is_refused():
    with pytest.raises(ConfigError, match="does not parse"):
        every("def f(:\n")
