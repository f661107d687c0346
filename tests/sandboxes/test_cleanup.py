"""What is left of boxes when whoever made them is killed: nothing."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agentgym.errors import ConfigError
from agentgym.sandbox import open_sandbox
from agentgym.sandboxes import janitor

DRIVER = """
import signal, sys, threading, time
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)  # whoever started the tests may ignore them
signal.signal(signal.SIGINT, signal.default_int_handler)
from agentgym.sandbox import Limits, open_sandbox
from agentgym.sandboxes import janitor, rootfs, local

backend, stage = sys.argv[1:]
LIMITS = Limits(memory_mb=512, disk_mb=256)

def here(*_, **__):
    print(janitor.owner(), flush=True)
    time.sleep(1000)

if stage == "created":
    if backend == "docker":
        from agentgym.sandboxes import docker
        docker.client().start = here
    else:
        local.LocalBox._take_folder = here
if stage == "greeted":
    from agentgym.sandboxes.box import Box
    Box._hello = here
box = open_sandbox("base", backend=backend, limits=LIMITS)
box.run("setsid sleep 1000 & head -c 50M /dev/urandom > /fill", background=True)
if stage == "started":
    here()
if stage == "command":
    threading.Timer(0.3, here).start()
    box.run("setsid sleep 999 & trap '' TERM; while :; do :; done", timeout_s=600)
if stage in ("snapshot", "forked", "forking"):
    if stage == "forked":
        box.fork().fork()
        here()
    print(janitor.owner(), flush=True)
    while True:
        box.snapshot() if stage == "snapshot" else box.fork()
if stage == "close":
    print(janitor.owner(), flush=True)
    box.close()
    time.sleep(1000)
if stage == "forgotten":
    print(janitor.owner(), flush=True)
"""
STAGES = ("created", "greeted", "started", "command", "snapshot", "forking", "forked", "close")


class Driver(subprocess.Popen):
    """A process that does not outlive a test that fails."""

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, trace)


def start(backend, stage):
    """A process that has boxes, and its name as an owner."""
    driver = Driver(
        [sys.executable, "-c", DRIVER, backend, stage], stdout=subprocess.PIPE, text=True
    )
    return driver, driver.stdout.readline().strip()


def left(backend, owner):
    """All that there is of an owner."""
    found = [str(path) for path in janitor._places(janitor.folder()) if owner in path.name]
    mounts = Path("/proc/mounts").read_text().splitlines()
    found += [line for line in mounts if owner in line]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if owner.encode() in command and b"janitor.py" not in command:
            found.append(f"process {entry.name}")
    if backend == "docker":
        engine = client()
        label = {"label": f"{janitor.LABEL}={owner}"}
        found += [each["Names"][0] for each in engine.containers(all=True, filters=label)]
        found += [str(each["RepoTags"]) for each in engine.images(filters=label)]
    return found


def client():
    from agentgym.sandboxes import docker

    return docker.client()


def wait_until_nothing_is_left(backend, owner):
    deadline = time.monotonic() + 60
    while (found := left(backend, owner)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found == []


def janitor_of(owner):
    return next(
        int(entry.parent.name)
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if b"janitor.py" in read(entry) and owner.encode() in read(entry)
    )


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_left_of_boxes_whose_owner_is_killed(box_backend, stage):
    driver, owner = start(box_backend, stage)
    with driver:
        assert owner.startswith("agentgym-")
        if stage in ("snapshot", "forking", "close"):
            time.sleep(0.05)
        if stage != "close":
            assert left(box_backend, owner)
        driver.kill()
    wait_until_nothing_is_left(box_backend, owner)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_nothing_is_left_of_boxes_whose_owner_is_ended(box_backend, number):
    driver, owner = start(box_backend, "started")
    with driver:
        driver.send_signal(number)
    wait_until_nothing_is_left(box_backend, owner)


def test_nothing_is_left_of_boxes_that_were_not_closed(box_backend):
    driver, owner = start(box_backend, "forgotten")
    driver.communicate()
    wait_until_nothing_is_left(box_backend, owner)


@pytest.mark.parametrize("stage", ["created", "started", "forked"])
def test_what_is_left_when_the_janitor_is_killed_too_is_removed_by_the_next_owner(
    box_backend, stage
):
    driver, owner = start(box_backend, stage)
    with driver:
        os.kill(janitor_of(owner), signal.SIGKILL)
        driver.kill()
    later, other = start(box_backend, "started")
    with later:
        wait_until_nothing_is_left(box_backend, owner)
        assert left(box_backend, other)
        later.kill()
    wait_until_nothing_is_left(box_backend, other)


def test_a_janitor_that_is_killed_is_replaced(box_backend):
    with open_sandbox("base", backend=box_backend):
        first = janitor_of(janitor.owner())
        os.kill(first, signal.SIGKILL)
        while janitor.started(first) is not None:
            time.sleep(0.01)
        with open_sandbox("base", backend=box_backend) as box:
            assert janitor_of(janitor.owner()) != first
            assert box.alive


def test_a_process_that_the_owner_forked_does_not_keep_its_boxes(box_backend):
    fork = "import os\nif os.fork() == 0:\n    time.sleep(100)\n    os._exit(0)\n"
    code = DRIVER.replace('if stage == "started":', f'{fork}if stage == "started":')
    driver = subprocess.Popen(
        [sys.executable, "-c", code, box_backend, "started"], stdout=subprocess.PIPE, text=True
    )
    owner = driver.stdout.readline().strip()
    driver.kill()
    driver.wait()
    driver.stdout.close()
    wait_until_nothing_is_left(box_backend, owner)


def test_owners_that_cannot_be_judged_are_left_alone():
    own = janitor.owner()
    assert janitor.lives(own)
    head, machine, space, pid, ticks = own.split("-")
    dead = f"{head}-{machine}-{space}-{pid}-{int(ticks) + 1}"
    assert not janitor.lives(dead)
    before = f"{head}-{machine[:6]}{'0' * 6}-{space}-{pid}-{ticks}"
    assert not janitor.lives(before)
    elsewhere = f"{head}-{'0' * 6}{machine[6:]}-{space}-{pid}-1"
    assert janitor.lives(elsewhere)
    inside = f"{head}-{machine}-1{space}-{pid}-1"
    assert janitor.lives(inside)
    assert janitor.lives("somebody")


JANITOR = """
import os, sys
{before}
from agentgym.sandboxes import janitor
janitor.main()
"""
NO_SUCH_CALL = """
def refuse(pid):
    raise OSError(38, "Function not implemented")
os.pidfd_open = refuse
"""


@pytest.mark.parametrize(
    ("before", "lives"),
    [
        pytest.param("", False, id="of an owner that ended before"),
        pytest.param(NO_SUCH_CALL, True, id="on a kernel that does not tell"),
        pytest.param("del os.pidfd_open", True, id="in a Python that does not ask"),
    ],
)
def test_a_janitor_hears_of_the_engine(tmp_path, before, lives):
    with Driver(["sleep", "1000"]) as process:
        owner = janitor._owner(process.pid)
        if lives:
            told = asks_engine(JANITOR.format(before=before), owner, tmp_path)
        process.kill()
    if not lives:
        told = asks_engine(JANITOR.format(before=before), owner, tmp_path)
    assert told.startswith(b"GET /version")


def asks_engine(code, owner, kept):
    """What a janitor says to the engine that it is told of."""
    command = [sys.executable, "-c", code, owner, str(kept)]
    with (
        socket.create_server(("127.0.0.1", 0)) as engine,
        Driver(command, stdin=subprocess.PIPE) as process,
    ):
        process.stdin.write(f"tcp://127.0.0.1:{engine.getsockname()[1]}\n".encode())
        process.stdin.close()
        engine.settimeout(30)
        with engine.accept()[0] as asked:
            told = asked.recv(1000)
        process.kill()
    return told


class Forks:
    """Stands in for an engine that has images of forks of forks, all of the same second."""

    def __init__(self):
        self.left = ["in use", "fork", "fork of the fork", "fork of that"]

    def containers(self, **_):
        return []

    def images(self, **_):
        return list(self.left)  # in any order, this one included

    def remove_image(self, image, **_):
        if image == "in use" or image != self.left[-1]:
            raise OSError("unable to delete: image has dependent child images")
        self.left.pop()


def test_forks_of_forks_are_removed_in_whatever_order_an_engine_lists_them():
    engine = Forks()
    janitor.clean_engine(engine, "somebody")
    assert engine.left == ["in use"]


@pytest.mark.parametrize("box_backend", ["local"], indirect=True)
def test_a_process_with_many_open_files_has_boxes_too(box_backend):
    with contextlib.ExitStack() as opened:
        while opened.enter_context(open(os.devnull)).fileno() < 1100:
            pass
        with open_sandbox("base", backend=box_backend) as box:
            assert box.alive


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_forked_while_a_box_is_being_opened_may_open_one(box_backend):
    open_sandbox("base", backend=box_backend).close()
    from agentgym.sandboxes import docker, local

    with janitor._starting, local._counting, docker._connecting:  # by another thread
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            try:
                open_sandbox("base", backend=box_backend).close()
                os._exit(0)
            finally:
                os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def resources():
    return (
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()),
    )


MANY = pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])


@pytest.mark.parametrize("times", [10, MANY])
def test_boxes_that_are_closed_leave_nothing(box_backend, times):
    def live():
        with open_sandbox("base", backend=box_backend) as box:
            box.run("sleep 1000 & echo x > /file", background=True)

    def settled():
        if box_backend == "docker":
            from agentgym.sandboxes import docker

            assert docker.settle()
            while [each for each in threading.enumerate() if each.name == "agentgym-warden"]:
                time.sleep(0.05)  # it finds that there is nothing more to look after
            return docker.IDLE_CONNECTIONS  # so many may be kept, whether or not there were before
        return 0

    live()
    kept = settled()
    known, (files, *rest) = set(left(box_backend, janitor.owner())), resources()
    for _ in range(times):
        live()
    settled()
    assert all(now <= then for now, then in zip(resources(), (files + kept, *rest), strict=True))
    assert set(left(box_backend, janitor.owner())) <= known


def test_forks_that_are_closed_leave_nothing(box_backend):
    known = set(left(box_backend, janitor.owner()))
    with open_sandbox("base", backend=box_backend) as box:
        for _ in range(3):
            with box.fork() as other, other.fork() as third:
                third.run("true")
    if box_backend == "docker":
        from agentgym.sandboxes import docker

        assert docker.settle()
    assert set(left(box_backend, janitor.owner())) <= known


def test_boxes_that_cannot_be_started_leave_nothing(box_backend, monkeypatch):
    from agentgym.sandboxes.box import Box

    known = set(left(box_backend, janitor.owner()))

    def fails(self, timeout_s):
        raise RuntimeError("no")

    with pytest.raises(ConfigError):
        open_sandbox("base", backend=box_backend, env={"A=B": "no name"})
    assert set(left(box_backend, janitor.owner())) <= known

    monkeypatch.setattr(Box, "_hello", fails)
    held = []
    for _ in range(6):
        with pytest.raises(RuntimeError):
            open_sandbox("base", backend=box_backend)
        if box_backend == "docker":
            from agentgym.sandboxes import docker

            assert docker.settle()
        held.append(resources())
    assert set(left(box_backend, janitor.owner())) <= known
    # The first three may be the first of all, and fill what is kept for the next.
    assert all(now <= then for now, then in zip(held[5], held[2], strict=True))
