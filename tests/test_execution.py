"""Where environments run: threads, workers, the loop thread; and what goes wrong there."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import counting
import gymnasium as gym
import pytest
from worlds import CountInProcess  # noqa: F401 - registers its id

import agentgym
from agentgym.errors import ConfigError, EnvError, InfraError, SandboxError, StageTimeout, TaskError
from agentgym.execution import ThreadHost, WorkerPool, run_on_loop_thread

TROUBLE = "counting/Trouble-v0"


def make(id: str = TROUBLE, **kwargs: Any) -> Any:
    return gym.make(id, **kwargs)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(holds: Callable[[], bool], within_s: float = 5.0) -> bool:
    """Whether something stops being so in time."""
    until = time.monotonic() + within_s
    while holds() and time.monotonic() < until:
        time.sleep(0.01)
    return not holds()


async def where(host: Any, fact: str) -> int:
    """The process or thread a host's environment runs in."""
    result = await host.call("step", "look")
    return int(result[4]["facts"][fact])


async def opened(host: Any) -> Any:
    await host.call("reset", seed=0)
    return host


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(2)
    yield pool
    pool.close()


# ---------------------------------------------------------------- threads


async def test_a_thread_host_keeps_one_thread_of_its_own() -> None:
    hosts = [await opened(ThreadHost(make())) for _ in range(2)]
    threads = [await where(host, "thread") for host in (*hosts, *hosts)]
    assert threads[:2] == threads[2:]
    assert len({*threads, threading.get_ident()}) == 3
    for host in hosts:
        await host.close()


async def test_a_slow_step_in_a_thread_stalls_nothing_else() -> None:
    slow, quick = [await opened(ThreadHost(make())) for _ in range(2)]
    waiting = asyncio.ensure_future(slow.call("step", "sleep 2"))
    for _ in range(20):
        await quick.call("step", "look")
    assert not waiting.done()
    await waiting
    await slow.close()
    await quick.close()


async def test_a_hung_call_in_a_thread_can_be_given_up() -> None:
    before = threading.active_count()
    host = await opened(ThreadHost(make()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await host.call("step", "sleep 0.3")
    host.kill()
    assert ends(lambda: threading.active_count() > before)


async def test_a_closed_thread_host_leaves_no_thread() -> None:
    before = threading.active_count()
    host = await opened(ThreadHost(make()))
    await host.close()
    assert ends(lambda: threading.active_count() > before)


# ---------------------------------------------------------------- what crosses the boundary


HOSTS: dict[str, Callable[[WorkerPool, Any], Any]] = {
    "thread": lambda pool, env: ThreadHost(env),
    "process": lambda pool, env: pool.lease(env),
}


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize(
    ("said", "error", "told"),
    [
        ("fail key", KeyError, "x"),
        ("fail sandbox", SandboxError, "it is gone"),
        ("fail task", TaskError, "no such thing"),
    ],
)
async def test_an_error_arrives_as_it_was_raised(
    pool: WorkerPool, kind: str, said: str, error: type[Exception], told: str
) -> None:
    host = await opened(HOSTS[kind](pool, make()))
    with pytest.raises(error, match=told):
        await host.call("step", said)
    assert (await host.call("step", "look"))[0] == "Done."  # and the world goes on
    await host.close()


@pytest.mark.parametrize("kind", HOSTS)
async def test_the_models_mistakes_stay_observations(pool: WorkerPool, kind: str) -> None:
    host = await opened(HOSTS[kind](pool, make()))
    assert (await host.call("step", "fail invalid"))[4]["invalid"] == "own"
    assert (await host.call("step", ""))[4]["invalid"] == "empty"
    await host.close()


@pytest.mark.parametrize("kind", HOSTS)
async def test_a_world_that_raises_stop_iteration_hangs_nobody(pool: WorkerPool, kind: str) -> None:
    host = await opened(HOSTS[kind](pool, make()))
    async with asyncio.timeout(5):
        with pytest.raises(EnvError, match="StopIteration"):
            await host.call("step", "fail stop")
    await host.close()


@pytest.mark.parametrize("kind", HOSTS)
async def test_closing_cannot_hang_on_stop_iteration_either(pool: WorkerPool, kind: str) -> None:
    host = await opened(HOSTS[kind](pool, make(close="stop")))
    async with asyncio.timeout(5):
        with pytest.raises(EnvError, match="StopIteration"):
            await host.close()


async def test_an_error_that_does_not_survive_pickling_arrives_in_words(pool: WorkerPool) -> None:
    host = await opened(pool.lease(make()))
    with pytest.raises(EnvError, match="PickyError: one and two"):
        await host.call("step", "fail picky")


async def test_a_result_that_cannot_be_pickled_is_an_error_that_says_so(pool: WorkerPool) -> None:
    host = await opened(pool.lease(make()))
    with pytest.raises(EnvError, match="cannot pickle"):
        await host.call("step", "unpicklable")
    assert (await host.call("step", "look"))[0] == "Done."


@pytest.mark.timeout(30)
async def test_a_worker_that_hangs_in_a_close_is_given_up_by_the_next_in_it() -> None:
    pool = WorkerPool(1)
    hangs = pool.lease(gym.make("tests/CountInProcess-v0", fault="close hangs"))
    waits = pool.lease(gym.make("tests/CountInProcess-v0"))
    for host in (hangs, waits):
        await host.call("reset", seed=0)
    for given_up in (hangs.close(), waits.call("step", "1")):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await given_up
    with pytest.raises(EnvError, match="a call in it was given up"):
        await waits.call("step", "1")
    fresh = pool.lease(gym.make("tests/CountInProcess-v0"))
    assert (await fresh.call("reset", seed=0))[0].startswith("Count to")
    pool.close()


async def test_what_a_world_prints_disturbs_nothing(
    pool: WorkerPool, capfd: pytest.CaptureFixture[str]
) -> None:
    host = await opened(pool.lease(make()))
    assert (await host.call("step", "print"))[0] == "Done."
    assert capfd.readouterr() == ("", "")


async def test_megabytes_cross_the_boundary(pool: WorkerPool) -> None:
    host = await opened(pool.lease(make()))
    long = "é" * 2_000_000
    assert (await host.call("step", long))[4]["action"] == long


# ---------------------------------------------------------------- worker processes


async def test_workers_are_other_processes_filled_evenly(pool: WorkerPool) -> None:
    hosts = [await opened(pool.lease(make())) for _ in range(4)]
    pids = [await where(host, "pid") for host in hosts]
    assert os.getpid() not in pids
    assert sorted(map(pids.count, set(pids))) == [2, 2]


async def test_a_slot_given_back_is_used_again(pool: WorkerPool) -> None:
    first = [await opened(pool.lease(make())) for _ in range(2)]
    pids = {await where(host, "pid") for host in first}
    for host in first:
        await host.close()
    again = [await opened(pool.lease(make())) for _ in range(2)]
    assert {await where(host, "pid") for host in again} == pids


async def test_a_worker_serves_while_another_is_busy(pool: WorkerPool) -> None:
    slow, quick = [await opened(pool.lease(make())) for _ in range(2)]
    waiting = asyncio.ensure_future(slow.call("step", "sleep 2"))
    await quick.call("step", "look")
    assert not waiting.done()
    await waiting


async def test_a_worker_that_dies_is_an_infrastructure_fault(pool: WorkerPool) -> None:
    alone = WorkerPool(1)
    doomed, neighbour = [await opened(alone.lease(make())) for _ in range(2)]
    waiting = asyncio.ensure_future(neighbour.call("step", "look"))
    await waiting
    with pytest.raises(EnvError, match="worker process is gone: it died with exit status 3"):
        await doomed.call("step", "exit")
    with pytest.raises(InfraError, match="exit status 3"):
        await neighbour.call("step", "look")
    await doomed.close()
    await neighbour.close()
    assert (await (await opened(alone.lease(make()))).call("step", "look"))[0] == "Done."
    alone.close()


async def test_a_world_that_exits_takes_nobody_with_it() -> None:
    pool = WorkerPool(1)
    exits = pool.lease(gym.make("tests/CountInProcess-v0", fault="step exits"))
    neighbour = pool.lease(gym.make("tests/CountInProcess-v0"))
    for host in (exits, neighbour):
        await host.call("reset", seed=0)
    with pytest.raises(SystemExit):
        await exits.call("step", "1")
    assert (await neighbour.call("step", "1"))[0] == "1, go on"
    pool.close()


async def test_a_worker_killed_from_outside_is_noticed_at_once(pool: WorkerPool) -> None:
    host = await opened(pool.lease(make()))
    pid = await where(host, "pid")
    waiting = asyncio.ensure_future(host.call("step", "sleep 60"))
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        with pytest.raises(EnvError, match="exit status -9"):
            await waiting


@pytest.mark.parametrize("hang", ["sleep 60", "spin"])
async def test_giving_up_on_a_hung_call_kills_its_worker(pool: WorkerPool, hang: str) -> None:
    host = await opened(pool.lease(make()))
    pid = await where(host, "pid")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await host.call("step", hang)
    assert not is_alive(pid)
    with pytest.raises(EnvError, match="a call in it was given up"):
        await host.call("step", "look")
    host.kill()


async def test_closing_a_pool_ends_its_workers(pool: WorkerPool) -> None:
    host = await opened(pool.lease(make()))
    pid = await where(host, "pid")
    pool.close()
    assert not is_alive(pid)
    with pytest.raises(EnvError, match="it was closed"):
        await host.call("step", "look")
    await host.close()


async def test_an_environment_alone_takes_its_worker_with_it() -> None:
    env = make("counting/ProcessCounter-v0")
    await env.areset(seed=0)
    process = env.host._worker._process.pid
    assert is_alive(process)
    await env.aclose()
    assert not is_alive(process)


async def test_an_environment_closed_plainly_takes_its_worker_with_it() -> None:
    env = make("counting/ProcessCounter-v0")
    await env.areset(seed=0)
    process = env.host._worker._process.pid
    env.close()
    assert not is_alive(process)


async def test_an_environment_that_cannot_be_made_there_says_so_and_closes(
    pool: WorkerPool,
) -> None:
    env = make()
    env.spec.kwargs["start"] = "refused"
    host = pool.lease(env)
    for _ in range(2):
        with pytest.raises(SandboxError, match="no place to run in"):
            await host.call("reset", seed=0)
    await host.close()


async def test_only_what_gymnasium_made_can_be_made_again_there(pool: WorkerPool) -> None:
    with pytest.raises(ConfigError, match=r"gymnasium\.make"):
        pool.lease(counting.Trouble())


async def test_arguments_that_cannot_be_sent_are_refused(pool: WorkerPool) -> None:
    env = make()
    env.spec.kwargs["start"] = lambda: ""
    with pytest.raises(ConfigError, match=r"counting/Trouble-v0 .* cannot be sent there: .*pickle"):
        pool.lease(env)
    assert not pool._workers


async def test_a_class_that_only_the_program_has_is_refused(pool: WorkerPool) -> None:
    class Own(counting.Trouble):
        __module__ = "__main__"

    agentgym.register("counting/Own-v0", Own)
    with pytest.raises(ConfigError, match=r"counting/Own-v0 .* move its class to a module"):
        pool.lease(make("counting/Own-v0"))


async def test_an_interrupt_at_the_terminal_is_the_owners_business(pool: WorkerPool) -> None:
    host = await opened(pool.lease(make()))
    os.kill(await where(host, "pid"), signal.SIGINT)
    assert (await host.call("step", "look"))[0] == "Done."


def test_a_worker_may_be_used_from_several_loops_at_once() -> None:
    pool = WorkerPool(1)
    wrong: list[Any] = []

    async def play(name: str) -> None:
        host = await opened(pool.lease(make()))
        for turn in range(30):
            said = f"{name} {turn} " + "x" * 50_000
            if (await host.call("step", said))[4]["action"] != said:
                wrong.append((name, turn))
        await host.close()

    threads = [threading.Thread(target=asyncio.run, args=(play(f"t{i}"),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    pool.close()
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


# ---------------------------------------------------------------- the owner's end


OWNER = """
import asyncio, os, sys
sys.path.insert(0, {worlds!r})
import counting, gymnasium
from agentgym.execution import WorkerPool

async def main():
    host = WorkerPool(1).lease(gymnasium.make({id!r}))
    await host.call("reset", seed=0)
    result = await host.call("step", "look")
    print(result[4]["facts"]["pid"], flush=True)
    await host.call("step", {said!r})

asyncio.run(main())
"""


@pytest.mark.parametrize("said", ["sleep 60", "spin", "look"])
def test_no_worker_outlives_an_owner_that_is_killed(said: str) -> None:
    worlds = str(Path(counting.__file__).parent)
    code = OWNER.format(worlds=worlds, id=TROUBLE, said=said)
    if said == "look":
        code = code.replace("asyncio.run(main())", "asyncio.run(main()); input()")
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stderr is not None
        pid = int(owner.stdout.readline())
        assert is_alive(pid)
        time.sleep(0.1)
        owner.kill()
        owner.wait()
        assert ends(lambda: is_alive(pid))
        assert owner.stderr.read() == ""


def test_a_program_that_forgets_to_close_ends_cleanly() -> None:
    worlds = str(Path(counting.__file__).parent)
    code = OWNER.format(worlds=worlds, id=TROUBLE, said="look")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ends(lambda: is_alive(int(done.stdout)))


# ---------------------------------------------------------------- the loop thread


async def answer(wait_s: float = 0.0) -> int:
    await asyncio.sleep(wait_s)
    return 42


async def test_a_coroutine_runs_from_plain_code_inside_a_loop() -> None:
    assert run_on_loop_thread(answer(), 1.0, "it") == 42


def test_a_coroutine_that_takes_too_long_is_cancelled() -> None:
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    with pytest.raises(StageTimeout, match=r"it took longer than 0\.05 s"):
        run_on_loop_thread(hang(), 0.05, "it")
    assert cancelled.wait(5)


@pytest.mark.parametrize(
    "error", [TimeoutError("its own"), ValueError("bad"), SandboxError("gone")]
)
def test_a_coroutines_own_error_comes_out(error: Exception) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        run_on_loop_thread(fail(), 1.0, "it")


def test_threads_share_the_loop() -> None:
    loops = set()

    async def note() -> None:
        loops.add(asyncio.get_running_loop())

    threads = [
        threading.Thread(target=lambda: run_on_loop_thread(note(), 5.0, "it")) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loops) == 1
