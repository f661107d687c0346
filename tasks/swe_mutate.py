"""Bugs for Python source: small mistakes as people make them, put in by rule.

An operator finds places in the syntax tree where its mistake can be made and says which characters
to replace; nothing else of the file changes, so layout and comments stay. What only tools and
readers see is left alone: docstrings, annotations, imports, `__all__` and its like, versions, and
what runs under `TYPE_CHECKING` or as a script.
"""

from __future__ import annotations

import ast
import random
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agentgym.errors import ConfigError
from agentgym.tasks.swe_code import Code, Site
from agentgym.tasks.swe_operators import OPERATORS


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file with one mistake in it."""

    operator: str
    """Which mistake."""
    line: int
    """Where, from 1."""
    before: str
    """The characters that were replaced."""
    after: str
    """What they became."""
    source: str
    """The whole file."""
    start: int
    """Where they were in the file, in characters."""


def mutants(
    source: str, rng: random.Random, *, lines: Collection[int] | None = None
) -> Iterator[Mutant]:
    """Every file that is one mistake away, kinds of mistakes taking turns.

    Each compiles, and means something else to the compiler than `source` does.

    Args:
        source: A Python file.
        rng: Decides on the order; the same state gives the same mutants.
        lines: Only mistakes that begin on these.

    Raises:
        ConfigError: `source` is no Python that this interpreter reads.
    """
    tree = _parsed(source)
    if tree is None:
        raise ConfigError("the source does not parse: nothing to put a bug in")
    code, meaning = Code(tree, source), ast.dump(tree)
    queues: list[tuple[str, list[Site]]] = []
    taken: set[Site] = set()
    for operator in OPERATORS:
        sites = [site for site in operator.sites_in(code) if site not in taken]
        taken.update(sites)
        if lines is not None:
            sites = [site for site in sites if code.line(site.start) in lines]
        rng.shuffle(sites)
        if sites:
            queues.append((operator.name, sites))
    while queues:
        rng.shuffle(queues)
        for name, sites in queues:
            start, end, after = sites.pop()
            changed = source[:start] + after + source[end:]
            parsed = _parsed(changed)
            if parsed is not None and ast.dump(parsed) != meaning:
                before = source[start:end]
                yield Mutant(name, code.line(start), before, after, changed, start)
        queues = [queue for queue in queues if queue[1]]


def combine(source: str, parts: Sequence[Mutant]) -> str:
    """One file with the mistakes of several mutants of it.

    Raises:
        ConfigError: They touch the same characters, or do not compile together.
    """
    ordered = sorted(parts, key=lambda part: part.start)
    for first, second in pairwise(ordered):
        if first.start + len(first.before) >= second.start:
            raise ConfigError(f"two bugs touch each other on line {second.line}: take others")
    for part in reversed(ordered):
        source = source[: part.start] + part.after + source[part.start + len(part.before) :]
    if _parsed(source) is None:
        raise ConfigError("the bugs do not compile together: take others")
    return source


def _parsed(source: str) -> ast.Module | None:
    """The tree, or None for what does not compile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `1 is 1` and the like: the mistake is on purpose
        try:
            tree = ast.parse(source)
            compile(tree, "<mutant>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError):
            return None
    return tree
