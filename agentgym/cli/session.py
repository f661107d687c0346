"""Runs being played: with progress, until they are done, fail, or are interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
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
from agentgym.types import Stop


class Interrupted(Exception):
    """Ctrl-C or SIGTERM; what was played is saved."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
        """The exit code, 128 and the signal."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a run is played; no part of its plan."""

    concurrency: int
    retries: int
    give_up_after: int | None
    workers: int | None
    deadlines: Deadlines


def _run(work: Coroutine[None, None, None]) -> None:
    """`asyncio.run`, which ends all tasks in order also when one raises `KeyboardInterrupt`.

    What a world or a policy raises so leaves the loop at once, and again with each task that it
    passes through; the loop is run on until they have all ended.
    """
    before = signal.getsignal(signal.SIGINT)
    with asyncio.Runner() as runner:
        try:
            runner.run(work)
        except KeyboardInterrupt:
            loop = runner.get_loop()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            while any(not task.done() for task in left):
                with suppress(KeyboardInterrupt):
                    loop.run_until_complete(asyncio.wait(left))
            for task in left:
                if not task.cancelled():
                    task.exception()  # or asyncio complains that nobody asked
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, before)
            raise


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
        self._interrupted = False

    def play(self, pace: Pace, resume: str) -> None:
        """Play what is left of it; an error is said and kept in `code`.

        Args:
            pace: How.
            resume: The command that goes on with it, for who leaves in a hurry.

        Raises:
            Interrupted: It was left; what was played is saved.
        """
        progress = Progress(self.plan.policy, len(self.run.keys), self._before())
        try:
            with progress:
                _run(self._stream(pace, progress, resume))
        except AgentGymError as error:
            if self._interrupted:  # it broke while it was being stopped
                raise Interrupted(128 + signal.SIGINT) from error
            self.code = complain(error)
        except KeyboardInterrupt:
            raise Interrupted(128 + signal.SIGINT) from None
        except asyncio.CancelledError:
            raise Interrupted(128 + signal.SIGTERM) from None
        finally:
            self.played = progress.tally.episodes

    async def _stream(self, pace: Pace, progress: Progress, resume: str) -> None:
        episodes = self.run.stream(
            concurrency=pace.concurrency,
            retries=pace.retries,
            give_up_after=pace.give_up_after,
            workers=pace.workers,
            deadlines=pace.deadlines,
        )
        with self._interruptible(resume):
            async with aclosing(episodes):
                async for trajectory in episodes:
                    progress.add(trajectory)

    @contextmanager
    def _interruptible(self, resume: str) -> Iterator[None]:
        """Cancel the running task at Ctrl-C and SIGTERM; end the process at a second Ctrl-C.

        What was played is on disk by then. Raising `KeyboardInterrupt` would not do: it may come up
        in any coroutine, and wait there for what hangs to be cleaned up.
        """
        if threading.current_thread() is not threading.main_thread():  # it gets no signals
            yield
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancel = signal.getsignal(signal.SIGINT)  # asyncio's

        def on_interrupt(number: int, frame: FrameType | None) -> None:
            # not by print: the signal may come amid one
            if self._interrupted:
                cursor = b"\x1b[?25h" if os.isatty(2) else b""  # a live bar hides it
                told = f"\nagentgym: interrupted: what ended is saved; go on with: {resume}\n"
                os.write(2, cursor + told.encode("utf-8", "replace"))
                os._exit(128 + signal.SIGINT)
            self._interrupted = True
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
        """Whether it could not even begin: its arguments were wrong, and no episode has ended."""
        if not self._new or self.code != 2 or self.played:
            return False
        heads = self.run.store.heads().values()
        return all(head["stop"] == Stop.CANCELLED for _, head in heads)

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
