"""What the benchmark scripts share: a figure with its bound, and how figures are printed."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value."""

    value: float
    unit: str
    bound: float | None = None
    """What it must not cross; None where it is only reported."""
    lower_is_better: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the bound holds; None without one."""
        if self.bound is None:
            return None
        return self.value <= self.bound if self.lower_is_better else self.value >= self.bound


def cpu_seconds() -> float:
    """User and system time of this process and of its finished children."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def arguments(description: str) -> argparse.Namespace:
    """The command line every benchmark has."""
    return parser(description).parse_args()


def parser(description: str) -> argparse.ArgumentParser:
    """The same, for a benchmark that takes more."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="fewer repetitions: noisier, seconds")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def report(figures: dict[str, Figure], *, as_json: bool) -> int:
    """Print the figures; 1 if a bound does not hold."""
    if as_json:
        document = {
            name: {
                "value": figure.value,
                "unit": figure.unit,
                "bound": figure.bound,
                "lower_is_better": figure.lower_is_better,
                "met": figure.met,
            }
            for name, figure in figures.items()
        }
        json.dump(document, sys.stdout, indent=2)
        print()
    else:
        width = max(map(len, figures))
        for name, figure in figures.items():
            bound = ""
            if figure.bound is not None:
                sign = "<=" if figure.lower_is_better else ">="
                bound = f"  {sign} {figure.bound:g}  {'met' if figure.met else 'NOT MET'}"
            print(f"{name:{width}}  {figure.value:10.3f} {figure.unit}{bound}")
    return int(any(figure.met is False for figure in figures.values()))
