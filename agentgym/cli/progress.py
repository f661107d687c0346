"""How a run is going, on standard error: a live bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agentgym.cli.render import console
from agentgym.cli.text import clean, duration, several
from agentgym.report import Tally

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from agentgym.types import Trajectory

EVERY_S = 5.0
"""Lines come no faster than this where there is no terminal."""


class Progress:
    """Counts episodes as they end and shows how far it is.

    Args:
        name: Of the run.
        total: Episodes in all.
        before: What was scored before this session, in a run that is resumed.
    """

    def __init__(self, name: str, total: int, before: Tally | None = None) -> None:
        self.name = clean(name)
        self.total = total
        self.tally = Tally()
        """Of this session."""
        self._before = before or Tally()
        self._console = console(stderr=True)
        self._started = self._said = time.monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        self._started = self._said = time.monotonic()
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bar = self._open_bar()
        elif self.done:
            self._say(f"{several(self.done, 'episode')} of {self.total} were scored before")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self.tally.episodes:
            self._say(self._status())

    def add(self, trajectory: Trajectory) -> None:
        """Count an episode that ended."""
        self.tally.add(trajectory)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, status=self._facts())
        elif self.done < self.total and time.monotonic() - self._said >= EVERY_S:
            self._say(self._status())

    @property
    def done(self) -> int:
        """Episodes that need not be played any more."""
        return self._before.scored + self.tally.episodes

    def _open_bar(self) -> Bar:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            refresh_per_second=4,
            redirect_stdout=False,
        )
        bar.add_task(self.name, total=self.total, completed=self.done, status="")
        bar.start()
        return bar

    def _status(self) -> str:
        return f"{self.done}/{self.total}, {self._facts()}"

    def _facts(self) -> str:
        """Mean so far, speed, faults, time left."""
        passed_s = max(time.monotonic() - self._started, 1e-9)
        tally, scored = self.tally, self.tally.scored + self._before.scored
        facts = []
        if scored:
            facts.append(f"mean {(tally.total + self._before.total) / scored:.3f}")
        facts.append(f"{tally.turns / passed_s:.1f} turns/s")
        if tally.tokens_out:
            facts.append(f"{tally.tokens_out / passed_s:.0f} tokens/s")
        if tally.episodes > tally.scored:
            facts.append(f"{tally.episodes - tally.scored} unscored")
        left = self.total - self.done
        if left and tally.episodes:
            facts.append(f"{duration(left * passed_s / tally.episodes)} left")
        return ", ".join(facts)

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(f"{self.name}: {text}", soft_wrap=True)
