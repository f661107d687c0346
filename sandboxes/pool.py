"""Boxes kept ready: an episode takes one that is there, and the next is made meanwhile.

A box is used once. Boxes are of a kind: an image and how it is opened. Making and removing happens
in threads that are there only while there is something to do.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agentgym.errors import ConfigError, SandboxError
from agentgym.sandbox import Image, Sandbox, open_sandbox

BACK_OFF_S = 0.1
"""After a first failure; twice that after the next, and so on, give or take half."""
_PATIENCE_S = 10.0


@dataclass(slots=True)
class _Kind:
    make: Callable[[], Sandbox]
    size: int
    ready: deque[Sandbox] = field(default_factory=deque)
    waiting: deque[object] = field(default_factory=deque)
    """A ticket of each who waits, in the order they came."""
    making: int = 0
    used: float = 0.0
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    error: Exception | None = None
    """The last failure, or a mistake of the caller's."""
    mistakes: int = 0

    @property
    def spare(self) -> int:
        """How many are ready that nobody waits for."""
        return len(self.ready) - len(self.waiting)


class Pool:
    """Boxes kept ready, by kind; safe to use from many threads, and after a fork.

    Args:
        size: How many to keep ready of each kind that is asked for.
        most: How many to keep ready in all; of the kind longest unused the first is removed.
        parallel: How many are made or removed at once; four a core if None.
        idle_s: A kind not asked for in that time is kept ready no longer.
        attempts: After so many failures in a row a kind is given up
        rest_s: for that long: who asks is told at once.
        open_: Starts a box.

    Raises:
        ConfigError: A number is out of range.
    """

    def __init__(
        self,
        size: int = 1,
        *,
        most: int = 16,
        parallel: int | None = None,
        idle_s: float = 300.0,
        attempts: int = 4,
        rest_s: float = 15.0,
        open_: Callable[..., Sandbox] = open_sandbox,
    ) -> None:
        cores = os.cpu_count() or 1
        self._parallel = 4 * cores if parallel is None else parallel
        counts = {"size": size, "most": most, "parallel": self._parallel, "attempts": attempts}
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise ConfigError(f"pool: {name} is {value!r}: give a whole number")
        if size < 0 or most < 0 or self._parallel < 1 or attempts < 1:
            raise ConfigError(
                f"pool: size={size!r}, most={most!r} from 0; "
                f"parallel={parallel!r}, attempts={attempts!r} from 1"
            )
        self._size, self._most, self._idle_s = size, most, idle_s
        self._attempts, self._rest_s, self._open = attempts, rest_s, open_
        self._begin()
        atexit.register(self.close)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._kinds: dict[str, _Kind] = {}
        self._jobs: deque[Callable[[], None]] = deque()
        self._workers = 0
        self._keeper: threading.Thread | None = None
        self._closed = False

    def pop(self, image: str | Image, *, wait_s: float = 300.0, **how: Any) -> Sandbox:
        """A box of one's own, that answers; close it, or `discard` it, when done.

        Args:
            image: What it begins with.
            wait_s: Longest to wait.
            how: As `open_sandbox` takes it: `backend`, `limits`, `workdir`, `env`, options.

        Raises:
            ConfigError, RegistryError: As `open_sandbox` does.
            SandboxError: None can be started, after several attempts; or the pool is closed.
        """
        deadline = time.monotonic() + wait_s
        kind = self._kind(image, how)
        while True:
            box = self._take(kind, deadline)
            if box.alive:
                return box
            self.discard(box)

    def warm(self, image: str | Image, count: int, **how: Any) -> None:
        """Keep so many of a kind ready from now on."""
        kind = self._kind(image, how)
        with self._changed:
            kind.size, kind.used = count, time.monotonic()
            self._plan(kind)

    def discard(self, box: Sandbox) -> None:
        """Close a box in the background."""
        self._mine()
        with self._changed:
            self._do(box.close)

    def close(self) -> None:
        """Close every box that is ready, and wait for those being made; closing twice is fine."""
        self._mine()
        atexit.unregister(self.close)
        with self._changed:
            self._closed = True
            ready = [box for kind in self._kinds.values() for box in kind.ready]
            for kind in self._kinds.values():
                kind.ready.clear()
            self._changed.notify_all()
        for box in ready:  # by this thread: no other can be started when the process is ending
            with contextlib.suppress(Exception):
                box.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._workers, _PATIENCE_S)
            keeper = self._keeper
        if keeper is not None:
            keeper.join(_PATIENCE_S)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- with the lock held

    def _plan(self, kind: _Kind) -> None:
        """Have as many made as are waited for, and as are to be kept ready."""
        now = time.monotonic()
        stock = 0 if kind.failures or now - kind.used > self._idle_s else min(kind.size, self._most)
        missing = len(kind.waiting) + stock - len(kind.ready) - kind.making
        if kind.failures:  # one at a time, until one succeeds
            missing = 0 if now < kind.rests_until else min(missing, 1 - kind.making)
        for _ in range(missing if not self._closed else 0):
            kind.making += 1
            self._do(lambda: self._make(kind))

    def _do(self, job: Callable[[], None]) -> None:
        self._jobs.append(job)
        if self._workers < self._parallel:
            self._workers += 1
            threading.Thread(target=self._work, name="agentgym-pool", daemon=True).start()

    def _evict(self) -> None:
        """Remove what is too much, and what was long unused."""
        now = time.monotonic()
        kinds = sorted(self._kinds.values(), key=lambda kind: kind.used)
        total = sum(max(kind.spare, 0) for kind in kinds)
        for kind in kinds:
            while kind.spare > 0 and (total > self._most or now - kind.used > self._idle_s):
                self._do(kind.ready.popleft().close)
                total -= 1
        for name in [name for name, kind in self._kinds.items() if now - kind.used > self._idle_s]:
            if not (self._kinds[name].waiting or self._kinds[name].making):
                del self._kinds[name]

    # ---------------------------------------------------------------- without it

    def _mine(self) -> None:
        if self._process != os.getpid():  # what was ready belongs to the parent
            self._begin()

    def _kind(self, image: str | Image, how: dict[str, Any]) -> _Kind:
        self._mine()
        name: object = image
        if isinstance(image, Image):
            from agentgym.sandboxes.images import digest

            name = [digest(image, image.base)]
        key = json.dumps([name, how], sort_keys=True, default=repr)
        with self._changed:
            if key not in self._kinds:

                def make() -> Sandbox:
                    return self._open(image, **how)

                self._kinds[key] = _Kind(make, self._size)
            self._kinds[key].used = time.monotonic()
            return self._kinds[key]

    def _take(self, kind: _Kind, deadline: float) -> Sandbox:
        with self._changed:
            mistakes, ticket = kind.mistakes, object()
            kind.waiting.append(ticket)
            try:
                while kind.waiting.index(ticket) >= len(kind.ready):
                    now = time.monotonic()
                    if self._closed:
                        raise SandboxError("the pool is closed")
                    if kind.mistakes != mistakes and kind.error is not None:
                        raise kind.error
                    rests = kind.rests_until - now
                    if kind.failures >= self._attempts and rests > 0:
                        raise SandboxError(
                            f"{kind.error} ({kind.failures} failures in a row: "
                            f"tried again in {rests:.0f} s)"
                        ) from kind.error
                    if now >= deadline:
                        raise SandboxError("no sandbox was ready in time") from kind.error
                    self._plan(kind)
                    self._changed.wait(max(min(deadline - now, rests if rests > 0 else 1.0), 0.001))
                return kind.ready.popleft()
            finally:
                kind.waiting.remove(ticket)
                kind.used = time.monotonic()
                self._plan(kind)

    def _make(self, kind: _Kind) -> None:
        with self._changed:
            if self._closed or time.monotonic() < kind.rests_until:  # others failed meanwhile
                kind.making -= 1
                self._changed.notify_all()
                return
        box, error = None, None
        try:
            box = kind.make()
        except Exception as raised:  # whatever it is, who waits is told
            error = raised
        with self._changed:
            kind.making -= 1
            if box is not None:
                kind.failures, kind.error = 0, None
                kind.ready.append(box)
                if self._closed:
                    self._jobs.append(kind.ready.pop().close)  # the next of this thread
                elif kind.spare > 0:
                    self._evict()
                    if self._keeper is None:
                        self._keeper = threading.Thread(
                            target=self._keep, name="agentgym-pool-keeper", daemon=True
                        )
                        self._keeper.start()
            elif isinstance(error, SandboxError):
                kind.failures, kind.error = kind.failures + 1, error
                wait_s = min(BACK_OFF_S * 2 ** (kind.failures - 1), self._rest_s)
                if kind.failures >= self._attempts:
                    wait_s = self._rest_s
                kind.rests_until = time.monotonic() + wait_s * random.uniform(0.5, 1.5)
            else:
                kind.mistakes, kind.error = kind.mistakes + 1, error
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._jobs:
                    self._workers -= 1
                    self._changed.notify_all()
                    return
                job = self._jobs.popleft()
            with contextlib.suppress(Exception):  # a box that cannot be closed is given up
                job()

    def _keep(self) -> None:
        """Remove what is long unused, as long as anything is ready."""
        with self._changed:
            while not self._closed and any(kind.ready for kind in self._kinds.values()):
                self._changed.wait(min(self._idle_s / 4 + 0.01, 30.0))
                self._evict()
            self._keeper = None
