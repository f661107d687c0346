"""Everything that is shown on standard output: tables, reports, transcripts, JSON.

On a terminal with colour and within its width; elsewhere plain text, one row a line, never cut.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentgym.cli.text import brief, clean, duration, resume_command, several
from agentgym.report import Difference, Summary, compare
from agentgym.types import Stop

WIDTH_OF_PIPES = 1000
MOST_COLUMNS = 4
"""Runs shown side by side; more are shown one a row, with less said of each."""


class _Console(Console):
    """Takes what it is given literally, and leaves a broken pipe to the caller."""

    def on_broken_pipe(self) -> None:
        """Rich would exit with 1.

        Raises:
            BrokenPipeError: Always.
        """
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """A console; where there is no terminal nothing is wrapped."""
    made = _Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.is_terminal:
        made.width = WIDTH_OF_PIPES
    return made


def print_line(text: str = "", style: str = "") -> None:
    """Print text, control characters made visible."""
    console().print(Text(clean(text), style), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print JSON, indented."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    text = orjson.dumps(value, default=_plain, option=options).decode()
    sys.stdout.write(f"{text}\n")


def _plain(value: Any) -> Any:
    """What orjson does not take: named tuples, and the odd object in somebody's facts."""
    return list(value) if isinstance(value, tuple) else str(value)


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False
) -> None:
    """Print a table; `numbers`: all columns but the first are aligned on the right."""
    target = console()
    if not target.is_terminal:
        _print_columns(headers, [*rows], numbers)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i, header in enumerate(headers):
        justify = "right" if numbers and i else "left"
        table.add_column(Text(clean(header)), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    target.print(table)


def _print_columns(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool) -> None:
    """Plain columns two spaces apart, for pipes."""
    cells = [[brief(cell, WIDTH_OF_PIPES) for cell in row] for row in [headers, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [
            cell.rjust(width) if numbers and i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


# -------------------------------------------------------------------------------- reports


@dataclass(frozen=True, slots=True)
class Reported:
    """A run as it is reported."""

    name: str
    """What distinguishes it from those beside it."""
    path: str
    env: str
    """Id and arguments."""
    policy: str
    summary: Summary
    planned: int | None = None
    """Episodes its plan has, where it is known."""

    @property
    def unfinished(self) -> int:
        """Episodes of the plan that were not scored yet."""
        return 0 if self.planned is None else max(0, self.planned - self.summary.scored)


def print_reports(runs: Sequence[Reported]) -> None:
    """Print what the runs say, and how they compare."""
    for env in dict.fromkeys(run.env for run in runs):
        print_line(env, "bold")
    if len(runs) <= MOST_COLUMNS:
        lines = _lines(runs)
        rows = [[name, *(line(run.summary) for run in runs)] for name, line in lines.items()]
        print_table(["policy", *(run.name for run in runs)], rows, numbers=True)
    else:
        headers = ["policy", "episodes", "scored", "mean", "95 %", "passed", "turns", "invalid"]
        print_table(headers, [_row(run) for run in runs], numbers=True)
    print_line()
    for run in runs:
        _print_unscored(run)
    for name, found in comparisons(runs):
        low, high = found.interval
        print_line(
            f"{name}: {found.mean:+.3f} [{low:+.3f}, {high:+.3f}] over "
            f"{several(found.units, runs[0].summary.unit)}"
        )


def comparisons(runs: Sequence[Reported]) -> list[tuple[str, Difference]]:
    """Every run after the first against the first, where they have tasks of one world in common."""
    found = []
    for run in runs[1:]:
        difference = compare(runs[0].summary, run.summary) if run.env == runs[0].env else None
        if difference is not None:
            found.append((f"{run.name} − {runs[0].name}", difference))
    return found


def reports_as_json(runs: Sequence[Reported]) -> dict[str, Any]:
    """What `print_reports` says, as data."""
    return {
        "runs": [
            {
                "path": run.path,
                "env": run.env,
                "policy": run.policy,
                "planned": run.planned,
                "unfinished": run.unfinished,
                "summary": run.summary,
            }
            for run in runs
        ],
        "comparisons": [
            {"name": name, "units": d.units, "mean": d.mean, "interval": d.interval}
            for name, d in comparisons(runs)
        ],
    }


def _lines(runs: Sequence[Reported]) -> dict[str, Callable[[Summary], str]]:
    """Every line of the report on a run; of stops and samples, those that any of the runs has."""
    lines: dict[str, Callable[[Summary], str]] = {
        "episodes": lambda s: str(s.episodes),
        "scored": lambda s: str(s.scored),
        "mean score": lambda s: _number(s.mean, 3),
        "95 % interval": _interval,
        "pass rate": lambda s: _percent(s.pass_rate),
    }
    for k in sorted({k for run in runs for k in run.summary.pass_at if k > 1}):
        lines[f"pass@{k}"] = lambda s, k=k: _percent(s.pass_at.get(k))  # type: ignore[misc]
        lines[f"pass^{k}"] = lambda s, k=k: _percent(s.pass_all.get(k))  # type: ignore[misc]
    if any(run.summary.dead_group_fraction is not None for run in runs):
        lines["dead groups"] = lambda s: _percent(s.dead_group_fraction)
    lines["mean turns"] = lambda s: _number(s.mean_turns, 1)
    lines["invalid actions"] = lambda s: _percent(s.invalid_rate)
    for stop in Stop:
        if any(stop in run.summary.stops for run in runs):
            lines[f"stop: {stop}"] = lambda s, stop=stop: str(s.stops.get(stop, 0))  # type: ignore[misc]
    return {
        **lines,
        "tokens in": lambda s: f"{s.tokens_in:,}" if s.tokens_in else "–",
        "tokens out": lambda s: f"{s.tokens_out:,}" if s.tokens_out else "–",
        "branched episodes": lambda s: str(s.branched),
        "policy time": lambda s: duration(s.policy_s),
        "environment time": lambda s: duration(s.env_s),
        "wall time": lambda s: duration(s.wall_s),
    }


def _row(run: Reported) -> list[str]:
    s = run.summary
    return [
        run.name,
        str(s.episodes),
        str(s.scored),
        _number(s.mean, 3),
        _interval(s),
        _percent(s.pass_rate),
        _number(s.mean_turns, 1),
        _percent(s.invalid_rate),
    ]


def _print_unscored(run: Reported) -> None:
    s = run.summary
    if s.unscored:
        blamed = ", ".join(f"{count} {source}" for source, count in s.unscored.items())
        print_line(f"{run.name}: {several(s.episodes - s.scored, 'episode')} unscored: {blamed}")
        for complaint in s.complaints.values():
            print_line(f"  {brief(complaint)}")
    if run.unfinished:
        print_line(
            f"{run.name}: {run.unfinished} of {several(run.planned or 0, 'episode')} still to be "
            f"scored; {resume_command(run.path)}"
        )


def _interval(s: Summary) -> str:
    return f"{s.interval.low:.3f} – {s.interval.high:.3f}" if s.interval else "–"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
