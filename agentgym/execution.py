"""Where environments run: on the loop thread, in a thread of their own, in a worker process.

A `Host` carries out one environment's plain hooks away from the event loop, so that a slow step
stalls no other episode and a hung one can be given up:

- `ThreadHost`: a daemon thread for each environment. A call that hangs keeps its thread, nothing
  else.
- `ProcessHost`: a slot in a worker process of a `WorkerPool`; each worker holds many environments
  and serves them one after another. Giving up on a call that hangs kills the worker, and the other
  episodes in it end as infrastructure faults.

Workers are started as fresh interpreters, never by forking, and die with their owner even when it
is killed: each holds one end of a pipe whose closing the kernel answers with a signal.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import itertools
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agentgym.errors import AgentGymError, ConfigError, EnvError, StageTimeout

if TYPE_CHECKING:
    import gymnasium as gym

T = TypeVar("T")


# -------------------------------------------------------------------------------- the loop thread


_starting = threading.Lock()


@functools.cache
def _start_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="agentgym-loop", daemon=True).start()
    os.register_at_fork(after_in_child=_start_loop.cache_clear)  # threads do not survive a fork
    return loop


def _loop_thread() -> asyncio.AbstractEventLoop:
    """The one event loop the library owns, started when first needed."""
    with _starting:
        return _start_loop()


def run_on_loop_thread(work: Coroutine[Any, Any, T], timeout_s: float, what: str) -> T:
    """Run a coroutine from plain code, whether or not the caller is inside an event loop.

    Raises:
        StageTimeout: It took longer than `timeout_s`; it was cancelled.
    """
    future = asyncio.run_coroutine_threadsafe(work, _loop_thread())
    try:
        return future.result(timeout_s)
    except TimeoutError as error:
        if future.cancel():
            raise StageTimeout(f"{what} took longer than {timeout_s:g} s") from error
        raise
    except BaseException:
        future.cancel()
        raise


# -------------------------------------------------------------------------------- hosts


class Host(Protocol):
    """Carries out the calls of one environment."""

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the environment there.

        Cancelling the wait gives the call up: the host cannot be used afterwards, only killed.
        """
        ...

    async def close(self) -> None:
        """Close the environment there and let go of the place."""
        ...

    def kill(self) -> None:
        """Let go without waiting."""
        ...


def open_host(env: gym.Env[Any, Any], execution: str) -> Host:
    """The host that `execution` names; a worker process of its own for `process`."""
    if execution == "process":
        return WorkerPool(1, owned=True).lease(env)
    return ThreadHost(env)


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    """Settle a future from another thread; its loop may be gone by then."""
    if isinstance(error, StopIteration):  # futures refuse it
        error = EnvError(f"the environment raised {error!r}")

    def settle() -> None:
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

    try:
        future.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:
        return  # the loop was closed: nobody waits any more


class ThreadHost:
    """A daemon thread that carries out one environment's calls, in order."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = env
        self._work: queue.SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        name = f"agentgym-{type(env).__name__}"
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            future, function = item
            try:
                result, error = function(), None
            except BaseException as raised:
                result, error = None, raised
            _resolve(future, result, error)
            del item, future, function, result, error

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method on the thread."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._work.put((future, functools.partial(getattr(self._env, method), *args, **kwargs)))
        return await future

    async def close(self) -> None:
        """Close the environment on its thread, which then ends."""
        try:
            await self.call("close")
        finally:
            self.kill()

    def kill(self) -> None:
        """Let the thread end after what it is doing."""
        self._work.put(None)


class WorkerPool:
    """Worker processes that hold environments; a new lease goes to the least loaded.

    Args:
        size: Most workers; the processors this process may use if None.
        owned: Close the pool when its last lease is returned.
    """

    def __init__(self, size: int | None = None, *, owned: bool = False) -> None:
        self._size = size or len(os.sched_getaffinity(0))
        self._owned = owned
        self._workers: list[_Worker] = []

    def lease(self, env: gym.Env[Any, Any]) -> ProcessHost:
        """Make a twin of `env` in a worker.

        Raises:
            ConfigError: `env` cannot be made again there: it was not made by `gymnasium.make`, only
                this program has its class, or its arguments cannot be pickled.
        """
        if env.spec is None:
            raise ConfigError(
                f"{type(env).__name__} runs in a worker process: make it with gymnasium.make, "
                "so that the worker can make it too"
            )
        if getattr(env.spec.entry_point, "__module__", "") == "__main__":
            raise ConfigError(
                f"{env.spec.id} runs in a worker process, which cannot import what the program "
                "itself defines: move its class to a module"
            )
        try:
            pickle.dumps(env.spec)
        except Exception as error:
            raise ConfigError(
                f"{env.spec.id} runs in a worker process, and cannot be sent there: {error}"
            ) from error
        self._workers = [w for w in self._workers if w.alive]
        worker = min(self._workers, key=lambda w: len(w.slots), default=None)
        if worker is None or (worker.slots and len(self._workers) < self._size):
            worker = _Worker()
            self._workers.append(worker)
        return ProcessHost(self, worker, worker.add(env))

    def release(self, worker: _Worker, slot: int) -> None:
        """Give a slot back."""
        worker.slots.discard(slot)
        if self._owned and not worker.slots:
            worker.stop()

    def close(self) -> None:
        """End every worker."""
        for worker in self._workers:
            worker.stop()
        self._workers.clear()


class ProcessHost:
    """One environment's slot in a worker process."""

    def __init__(self, pool: WorkerPool, worker: _Worker, slot: int) -> None:
        self._pool = pool
        self._worker = worker
        self._slot = slot
        self._open = True

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method in the worker; giving up on a call that is under way kills the worker."""
        number, future = self._worker.send(self._slot, method, args, kwargs)
        try:
            return await future
        except asyncio.CancelledError:
            if method != "close" and self._worker.is_at(number):
                self._worker.stop("a call in it was given up")
            raise

    async def close(self) -> None:
        """Close the environment in the worker and give the slot back."""
        if self._open and self._worker.alive:
            try:
                await self.call("close")
            finally:
                self.kill()
        self.kill()

    def kill(self) -> None:
        """Give the slot back; the worker closes the environment when it comes to it."""
        if self._open:
            self._open = False
            if self._worker.alive:
                self._worker.forget(self._slot)
            self._pool.release(self._worker, self._slot)


# -m would import this module twice. Ctrl-C is its owner's, also while it imports.
_BOOT = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "from agentgym.execution import _main; _main()"
)


class _Worker:
    """The parent's end of a worker process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        lifeline_read, self._lifeline = os.pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, str(theirs.fileno()), str(lifeline_read)],
                pass_fds=(theirs.fileno(), lifeline_read),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        os.close(lifeline_read)
        self._connection = Connection(ours.detach())
        self._connection.send(sys.path)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._why = "it died"
        self.slots: set[int] = set()
        self.alive = True
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._send, name="agentgym-worker", daemon=True)
        self._writer.start()
        self._reader = threading.Thread(target=self._read, name="agentgym-worker", daemon=True)
        self._reader.start()

    def add(self, env: gym.Env[Any, Any]) -> int:
        """Make a twin of `env` there; errors come with the first call."""
        slot = next(self._numbers)
        self.slots.add(slot)
        self._write((None, slot, "open", (env.spec,), {}))
        return slot

    def send(
        self, slot: int, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[int, asyncio.Future[Any]]:
        """Start a call: its number, and a future for its result."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        number = next(self._numbers)
        with self._lock:
            self._pending[number] = future
        if not self.alive:
            self._fail_pending()
        else:
            self._write((number, slot, method, args, kwargs))
        return number, future

    def is_at(self, number: int) -> bool:
        """Whether no call that somebody waits for is before the one of this number.

        Calls are taken in their order. One that was given up may be before it: then that hangs.
        """
        with self._lock:
            return not any(n < number and not f.done() for n, f in self._pending.items())

    def forget(self, slot: int) -> None:
        """Tell the worker to close an environment, without waiting."""
        self._write((None, slot, "forget", (), {}))

    def stop(self, why: str = "it was closed") -> None:
        """Kill the process and wait until it is gone."""
        if self._retire(why):
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._close()
        self._fail_pending()

    def _close(self) -> None:
        self._outbox.put(None)
        self._writer.join()
        self._connection.close()
        os.close(self._lifeline)

    def _retire(self, why: str) -> bool:
        """Mark it gone; whoever is told True cleans up."""
        with self._lock:
            first, self.alive = self.alive, False
            if first:
                self._why = why
            return first

    def _write(self, message: tuple[Any, ...]) -> None:
        self._outbox.put(pickle.dumps(message))

    def _send(self) -> None:
        """Send what was put: in a thread, as a busy worker takes a large message late."""
        while (message := self._outbox.get()) is not None:
            try:
                self._connection.send_bytes(message)
            except OSError:
                break  # the reader sees the end too

    def _read(self) -> None:
        unreadable = ""
        while True:
            try:
                number, result, error = self._connection.recv()
            except (EOFError, OSError):
                break
            except Exception as raised:
                unreadable = f"its answer cannot be unpickled here: {raised}"
                self._process.kill()
                break
            with self._lock:
                future = self._pending.pop(number, None)
            if future is not None:
                _resolve(future, result, error)
        code = self._process.wait()
        if self._retire(unreadable or f"it died with exit status {code}"):
            self._close()
        self._fail_pending()

    def _fail_pending(self) -> None:
        with self._lock:
            lost, self._pending = list(self._pending.values()), {}
        for future in lost:
            _resolve(
                future, None, EnvError(f"the environment's worker process is gone: {self._why}")
            )


# -------------------------------------------------------------------------------- in the worker


def _die_with_owner(lifeline: int) -> None:
    """Have the kernel end this process when the other end of `lifeline` is closed."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # the default is to end, whatever Python is doing
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
    try:
        closed = os.read(lifeline, 1) == b""
    except BlockingIOError:
        closed = False
    if closed:  # before the signal was asked for
        os._exit(1)


def _work(connection: Connection) -> None:
    """Serve calls until the owner is gone."""
    envs: dict[int, Any] = {}
    broken: dict[int, BaseException] = {}
    while True:
        try:
            number, slot, method, args, kwargs = connection.recv()
        except (EOFError, OSError):
            return
        result: Any = None
        error: BaseException | None = None
        try:
            if method == "open":
                envs[slot] = args[0].make()
            elif method == "forget":
                broken.pop(slot, None)
                env = envs.pop(slot, None)
                if env is not None:
                    env.close()
            elif slot in broken:
                if method != "close":
                    raise broken[slot]
            else:
                result = getattr(envs[slot], method)(*args, **kwargs)
        except (Exception, SystemExit) as raised:
            error = raised
            if method == "open":
                broken[slot] = raised
        if number is not None:
            connection.send_bytes(_pickled(number, result, error))


def _pickled(number: int, result: Any, error: BaseException | None) -> bytes:
    try:
        message = pickle.dumps((number, result, error))
        if error is not None:
            pickle.loads(message)  # some exceptions pickle and do not come back
    except Exception as unpicklable:
        told = error if error is not None else unpicklable
        plain = EnvError(f"{type(told).__name__}: {told}")
        message = pickle.dumps((number, None, plain))
    return message


def _main() -> None:
    _die_with_owner(int(sys.argv[2]))
    connection = Connection(int(sys.argv[1]))
    try:
        sys.path[:] = connection.recv()
        import agentgym  # noqa: F401 - registers ids
    except (AgentGymError, EOFError):
        return
    _work(connection)
