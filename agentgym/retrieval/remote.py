"""Searching elsewhere: what every retriever over a network shares.

A search is sent at once where nothing is under way, else it waits and goes out with the others that
do: one call for all of them. It has one deadline, retries included. What may pass (no connection,
408, 425, 429, 5xx) is tried again after a jittered exponential pause or the one the server asks
for; after some failures in a row nobody asks for a while (a circuit breaker). Every failure is a
`RetrievalError`, never text that a model could read.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgym.errors import ConfigError, RetrievalError
from agentgym.execution import run_on_loop_thread
from agentgym.retrieval.analysis import check_k, sanitise
from agentgym.retrieval.base import Corpus, Hit, Passage
from agentgym.retrieval.local import as_shelf

if TYPE_CHECKING:
    import aiohttp

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
MOST_TOGETHER = 256
_MOST_HITS_TOGETHER = 1000
_REMEMBERED = 4096
_GRACE_S = 5.0


class Passing(Exception):
    """A failure that another try may not meet; raised by `_exchange`.

    Args:
        kind: As in `RetrievalError`.
        message: What failed.
        pause_s: How long the server asks to be left alone.
        counts: Whether it speaks against the server: one that says it is busy is alive.
    """

    def __init__(
        self, kind: str, message: str, pause_s: float | None = None, *, counts: bool = True
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.pause_s = pause_s
        self.counts = counts


class TooLong(RetrievalError):
    """The reply is over the limit; raised by `_exchange`: fewer queries may have a shorter one."""


class Breaker:
    """Keeps a server that fails time and again from being asked.

    Args:
        failures: In a row, after which nobody asks.
        open_s: For how long; then the next failure is enough.
    """

    def __init__(self, failures: int, open_s: float) -> None:
        self.failures = failures
        self.open_s = open_s
        self.count = 0
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the server is not to be asked now."""
        return self.count >= self.failures and time.monotonic() < self._until

    def failed(self) -> bool:
        """Count a failure; whether it is one too many."""
        self.count += 1
        if self.count < self.failures:
            return False
        self._until = time.monotonic() + self.open_s
        return True

    def worked(self) -> None:
        """Forget the failures."""
        self.count = 0


@dataclass(slots=True, eq=False)
class _Search:
    """A search that waits for its answer."""

    queries: list[str]
    k: int
    deadline: float
    answer: asyncio.Future[list[list[Hit]]]


class Line:
    """The searches of one event loop, and the connections they go over."""

    def __init__(self) -> None:
        self.waiting: list[_Search] = []
        self.calls: set[asyncio.Task[None]] = set()
        """Those under way."""
        self.starting = 0
        """Of these, how many have taken nothing yet."""
        self.session: Any = None


class RemoteRetriever(ABC):
    """A retriever over a network. Safe to share between threads and event loops.

    Args:
        name: For messages: where it is.
        fingerprint: Of what is there, as far as it is known.
        corpus: Passages by id, for `fetch`; without one, those that were found lately.
        deadline_s: Longest a search may take, retries and waiting included.
        connections: Calls under way at once; 1 lets the most searches travel together.
        together: Most queries in a call.
        breaker_failures: Failures in a row after which nobody asks.
        breaker_open_s: For how long.

    Raises:
        ConfigError: An argument is out of range.
    """

    remote = True

    def __init__(
        self,
        name: str,
        fingerprint: str,
        *,
        corpus: Corpus | None = None,
        deadline_s: float = 10.0,
        connections: int = 1,
        together: int = MOST_TOGETHER,
        breaker_failures: int = 5,
        breaker_open_s: float = 2.0,
    ) -> None:
        if not isinstance(deadline_s, int | float) or not deadline_s > 0:
            raise ConfigError(f"deadline_s is {deadline_s!r}: give a number of seconds above 0")
        if not isinstance(breaker_open_s, int | float) or not breaker_open_s >= 0:
            raise ConfigError(f"breaker_open_s is {breaker_open_s!r}: give a number of seconds")
        for argument, value in (
            ("connections", connections),
            ("together", together),
            ("breaker_failures", breaker_failures),
        ):
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{argument} is {value!r}: give at least 1")
        self.name = name
        self.deadline_s = deadline_s
        self.connections = connections
        self.together = together
        self.breaker = Breaker(breaker_failures, breaker_open_s)
        self.calls = 0
        """Calls that were made, tries included."""
        self._fingerprint = fingerprint
        self._corpus = None if corpus is None else as_shelf(corpus)
        self._found: OrderedDict[str, Passage] = OrderedDict()
        self._lines: dict[asyncio.AbstractEventLoop, Line] = {}
        self._random = random.Random()
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """Of what is there, as far as it is known: at least of where it is."""
        return self._fingerprint

    @abstractmethod
    async def _exchange(self, line: Line, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """One call: the hits of each query.

        Raises:
            Passing: It failed in a way that may pass.
            RetrievalError: It failed in another.
        """

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """`asearch`, from plain code."""
        work = self.asearch(queries, k)
        return run_on_loop_thread(work, self.deadline_s + _GRACE_S, f"a search at {self.name}")

    async def asearch(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The best `k` passages for each query, best first.

        Raises:
            RetrievalError: There is no answer; `kind` says why.
            ConfigError: `k` is out of range.
        """
        check_k(k)
        asked = [sanitise(query) for query in queries]
        wanted = [query for query in dict.fromkeys(asked) if query]
        if not wanted:
            return [[] for _ in asked]
        loop = asyncio.get_running_loop()
        line = self._line(loop)
        deadline = loop.time() + self.deadline_s
        search = _Search(wanted, k, deadline, loop.create_future())
        line.waiting.append(search)
        self._start_calls(line)
        try:
            async with asyncio.timeout_at(deadline):
                found = await search.answer
        except TimeoutError as error:
            raise self._late() from error
        finally:
            if search in line.waiting:
                line.waiting.remove(search)
        hits = dict(zip(wanted, found, strict=True))
        self._remember(found)
        return [hits.get(query, []) for query in asked]

    def fetch(self, ids: Sequence[str]) -> list[Passage | None]:
        """Passages by id: the corpus's, or those that were found lately."""
        if self._corpus is not None:
            return [self._corpus.get(id) for id in ids]
        return [self._found.get(id) for id in ids]

    async def afetch(self, ids: Sequence[str]) -> list[Passage | None]:
        """`fetch`."""
        return self.fetch(ids)

    def close(self) -> None:
        """Let go of the connections; the next search opens new ones."""
        with self._lock:
            lines = list(self._lines.items())
        for loop, line in lines:
            session, line.session = line.session, None
            if session is None:
                continue
            if loop.is_running() and not _runs_here(loop):
                loop.call_soon_threadsafe(_shut, session)
            else:
                _shut(session)

    # ---------------------------------------------------------------------------- calls

    def _line(self, loop: asyncio.AbstractEventLoop) -> Line:
        """The line of a loop; those of loops that have ended are let go of."""
        with self._lock:
            line = self._lines.get(loop)
            if line is None:
                for ended in [each for each in self._lines if each.is_closed()]:
                    session = self._lines.pop(ended).session
                    if session is not None:
                        _shut(session)
                line = self._lines[loop] = Line()
            return line

    def _start_calls(self, line: Line) -> None:
        """Begin calls while there is something to send and room for it."""
        while len(line.calls) < self.connections and line.starting < len(line.waiting):
            line.starting += 1
            call = asyncio.create_task(self._call(line))
            line.calls.add(call)
            call.add_done_callback(functools.partial(self._ended, line))

    async def _call(self, line: Line) -> None:
        """Send what waits, together, until nothing does."""
        line.starting -= 1
        while batch := self._take(line):
            await self._answer(line, batch)

    def _ended(self, line: Line, call: asyncio.Task[None]) -> None:
        """Make room for another call: what came after this one's last look still waits."""
        line.calls.discard(call)
        if not call.cancelled():
            self._start_calls(line)

    def _take(self, line: Line) -> list[_Search]:
        """The searches for the next call: the first that wait, as many as fit."""
        batch: list[_Search] = []
        queries = most = 0
        while line.waiting:
            first = line.waiting[0]
            most = max(most, first.k)
            queries += len(first.queries)
            if batch and queries > self._fit(most):
                break
            batch.append(line.waiting.pop(0))
        return batch

    def _fit(self, k: int) -> int:
        """Queries that a call may hold, so that its answer stays short of the limit."""
        return min(self.together, max(1, _MOST_HITS_TOGETHER // k))

    async def _answer(self, line: Line, batch: Sequence[_Search]) -> None:
        """Ask for a batch, each query once, and hand out the answers, or what went wrong."""
        queries = list(dict.fromkeys(query for search in batch for query in search.queries))
        k = max(search.k for search in batch)
        deadline = max(search.deadline for search in batch)
        try:
            hits: dict[str, list[Hit]] = {}
            fit = self._fit(k)
            parts = [queries[start : start + fit] for start in range(0, len(queries), fit)]
            while parts:
                part = parts.pop(0)
                try:
                    found = await self._persist(line, part, k, deadline)
                except TooLong:
                    if len(part) == 1:
                        raise
                    half = len(part) // 2
                    parts[:0] = [part[:half], part[half:]]
                    continue
                hits.update(zip(part, found, strict=True))
        except RetrievalError as error:
            for search in batch:
                if not search.answer.done():
                    told = RetrievalError(error.kind, error.message)
                    told.__cause__ = error.__cause__
                    search.answer.set_exception(told)
            return
        except asyncio.CancelledError:  # the loop is ending
            for search in batch:
                search.answer.cancel()
            raise
        except Exception as error:
            for search in batch:
                if not search.answer.done():
                    search.answer.set_exception(error)
            return
        for search in batch:
            if not search.answer.done():
                search.answer.set_result([hits[query][: search.k] for query in search.queries])

    async def _persist(
        self, line: Line, queries: Sequence[str], k: int, deadline: float
    ) -> list[list[Hit]]:
        """Try a call until it works, its deadline is over, or the breaker opens."""
        loop = asyncio.get_running_loop()
        tries = 0
        while True:
            if self.breaker.is_open:
                raise RetrievalError(
                    "breaker",
                    f"{self.name} failed {self.breaker.count} times in a row: "
                    f"it is left alone for {self.breaker.open_s:g} s",
                )
            tries += 1
            self.calls += 1
            try:
                async with asyncio.timeout_at(deadline):
                    found = await self._exchange(line, queries, k)
            except Passing as error:
                failure = error
            except TimeoutError as error:
                self.breaker.failed()
                raise self._late() from error
            else:
                self.breaker.worked()
                return found
            too_many = failure.counts and self.breaker.failed()
            pause_s = self._pause(tries, failure.pause_s)
            if too_many or loop.time() + pause_s >= deadline:
                ending = f"{tries} {'try' if tries == 1 else 'tries'}"
                raise RetrievalError(failure.kind, f"{self.name}: {failure} ({ending})") from (
                    failure.__cause__
                )
            await asyncio.sleep(pause_s)

    def _pause(self, tries: int, asked_s: float | None) -> float:
        if asked_s is not None:
            return asked_s + self._random.uniform(0.0, 0.1)
        longest: float = min(_FIRST_PAUSE_S * 2.0 ** (tries - 1), _LONGEST_PAUSE_S)
        return longest * self._random.uniform(0.5, 1.0)

    def _late(self) -> RetrievalError:
        return RetrievalError("deadline", f"{self.name}: no answer within {self.deadline_s:g} s")

    def _remember(self, found: Sequence[Sequence[Hit]]) -> None:
        with self._lock:
            for hits in found:
                for hit in hits:
                    self._found[hit.passage.id] = hit.passage
                    self._found.move_to_end(hit.passage.id)
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _shut(session: aiohttp.ClientSession) -> None:
    """Close a session's connections now, also where nobody can await, or its loop is gone."""
    closing = session.close()
    with contextlib.suppress(StopIteration):
        closing.send(None)  # its first step closes them; the rest would wait for the other ends
    closing.close()
