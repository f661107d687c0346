"""Runs being played: with progress, until they are done, fail, or are interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from agentgym.cli import complain
from agentgym.cli.progress import Progress
from agentgym.errors import AgentGymError
from agentgym.evaluate import Plan, Run
from agentgym.report import Tally
from agentgym.rollout import Deadlines
from agentgym.store import EPISODES, MANIFEST


class Interrupted(Exception):
    """Ctrl-C or SIGTERM; what was played is saved."""

    def __init__(self, code: int, *, at_once: bool = False) -> None:
        super().__init__(code, at_once)
        self.code = code
        """The exit code, 128 and the signal."""
        self.at_once = at_once
        """Whether coroutines were left as they were: nothing but an exit can follow."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a run is played; no part of its plan."""

    concurrency: int
    retries: int
    workers: int | None
    deadlines: Deadlines


class Job:
    """A run of this session; opening it locks its folder.

    Raises:
        AgentGymError: The environment, tasks or folder cannot be had.
    """

    def __init__(self, plan: Plan, path: Path, *, resume: bool) -> None:
        self.path = path
        self.plan = plan
        self._new = not (path / MANIFEST).exists()
        self.run = Run(plan, path, resume=resume)
        self.code = 0
        """2 or 1 when it failed."""
        self.played = 0
        """Episodes that ended in this session."""
        self._interruptions = 0

    def play(self, pace: Pace) -> None:
        """Play what is left of it; an error is said and kept in `code`.

        Raises:
            Interrupted: It was left; what was played is saved.
        """
        progress = Progress(self.plan.policy, len(self.run.keys), self._before())
        runner = asyncio.Runner()
        try:
            with progress:
                runner.run(self._stream(pace, progress))
        except AgentGymError as error:
            if self._interruptions:  # it broke while it was being stopped
                raise Interrupted(128 + signal.SIGINT) from error
            self.code = complain(error)
        except KeyboardInterrupt:
            raise Interrupted(128 + signal.SIGINT, at_once=self._interruptions > 1) from None
        except asyncio.CancelledError:
            raise Interrupted(128 + signal.SIGTERM) from None
        finally:
            self.played = progress.tally.episodes
            if self._interruptions < 2:  # closing waits for what is in flight
                runner.close()

    async def _stream(self, pace: Pace, progress: Progress) -> None:
        episodes = self.run.stream(
            concurrency=pace.concurrency,
            retries=pace.retries,
            workers=pace.workers,
            deadlines=pace.deadlines,
        )
        with self._interruptible():
            async with aclosing(episodes):
                async for trajectory in episodes:
                    progress.add(trajectory)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Cancel the running task at SIGTERM too, and say at Ctrl-C what another one does."""
        if threading.current_thread() is not threading.main_thread():  # it gets no signals
            yield
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancel = signal.getsignal(signal.SIGINT)  # asyncio's: the second time it raises

        def on_interrupt(number: int, frame: FrameType | None) -> None:
            self._interruptions += 1
            if self._interruptions == 1:  # not by print: the signal may come amid one
                os.write(2, b"\nagentgym: stopping what is in flight (Ctrl-C again: at once)\n")
            if callable(cancel):
                cancel(number, frame)

        signal.signal(signal.SIGINT, on_interrupt)
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGINT, cancel)

    def _before(self) -> Tally:
        """What was scored before this session."""
        tally = Tally()
        if self.run.done:
            for trajectory in self.run.store.episodes():
                if trajectory.key in self.run.done:
                    tally.add(trajectory)
        return tally

    @property
    def stillborn(self) -> bool:
        """Whether it could not even begin: its arguments were wrong."""
        return self._new and self.code == 2 and not self.played

    def close(self) -> None:
        """Force everything to disk and release the folder."""
        self.run.close()

    def discard(self) -> None:
        """Remove the folder of a run that never began, so that a corrected one can take it."""
        self.close()
        for name in (EPISODES, MANIFEST):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()
