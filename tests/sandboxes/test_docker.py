"""What only an engine can be asked for: its runtimes, its processors, and one that is far away."""

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from agentgym.errors import SandboxError
from agentgym.sandbox import Limits, open_sandbox

pytestmark = pytest.mark.parametrize("box_backend", ["docker"], indirect=True)

DRIVER = """
import sys, time
from agentgym.sandbox import open_sandbox
from agentgym.sandboxes import docker, janitor

box = open_sandbox("base", backend="docker")
box.write("/there", b"far away")
assert box.read("/there") == b"far away"
assert box.run("cat /there").output == "far away"
if sys.argv[1] == "close":
    box.close()
    assert docker.settle()
print(janitor.owner(), flush=True)
if sys.argv[1] != "close":
    box.run("sleep 1000", timeout_s=1000)
"""


class Relay:
    """A TCP port on loopback that is connected to a socket of this machine."""

    def __init__(self, target):
        self.target = target
        self.server = socket.create_server(("127.0.0.1", 0))
        self.host = f"tcp://127.0.0.1:{self.server.getsockname()[1]}"
        self.threads = []
        self.start(self.accept)

    def start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def accept(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                self.start(self.connect, self.server.accept()[0])

    def connect(self, near):
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(self.target)
            back = self.start(self.pass_on, far, near)
            self.pass_on(near, far)
            back.join()

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for thread in list(self.threads):
            thread.join(10)

    @staticmethod
    def pass_on(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def far_engine(box_backend):
    """The address of this machine's engine, as another machine would have it."""
    from agentgym.sandboxes.engine import engine_host

    kind, _, path = engine_host().partition("://")
    if kind != "unix":
        pytest.skip("the engine is far away anyway")
    relay = Relay(path)
    yield relay.host
    relay.close()


def start(host, how):
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, how],
        env={**os.environ, "DOCKER_HOST": host},
        stdout=subprocess.PIPE,
        text=True,
    )


def containers_of(owner):
    from agentgym.sandboxes import docker, janitor

    filters = {"label": f"{janitor.LABEL}={owner}"}
    return docker.client().containers(all=True, filters=filters)


def test_a_runtime_may_be_chosen(box_backend):
    with open_sandbox("base", backend=box_backend, runtime="runc") as box:
        assert box.run("echo fine").output == "fine\n"


def test_a_runtime_that_the_engine_does_not_have_is_named(box_backend):
    with pytest.raises(SandboxError, match="nonesuch"):
        open_sandbox("base", backend=box_backend, runtime="nonesuch")


def test_more_processors_than_the_engine_has_are_all_it_has(box_backend):
    from agentgym.sandboxes import docker

    with open_sandbox("base", backend=box_backend, limits=Limits(cpus=4096.0)) as box:
        found = docker.client().inspect_container(box.container)["HostConfig"]["NanoCpus"]
        assert found == docker.client().info()["NCPU"] * 10**9


def test_an_engine_may_be_far_away(far_engine):
    with start(far_engine, "close") as driver:
        owner, _ = driver.communicate(timeout=60)

    assert driver.returncode == 0
    assert containers_of(owner.strip()) == []


def test_nothing_is_left_in_a_far_engine_by_a_process_that_is_killed(far_engine):
    with start(far_engine, "stay") as driver:
        owner = driver.stdout.readline().strip()
        assert len(containers_of(owner)) == 1
        driver.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while containers_of(owner) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert containers_of(owner) == []


def test_a_box_that_is_over_its_limit_can_be_cleared(box_backend):
    with open_sandbox("base", backend=box_backend, limits=Limits(disk_mb=16)) as box:
        quick = box.run("for i in 1 2 3; do head -c 10M /dev/zero > /fill$i; done")
        assert quick.stopped in ("", "disk")
        done = box.run("sleep 1.5; rm /fill*; sleep 1; echo fine")
        assert (done.stopped, done.output) == ("", "fine\n")


def test_a_box_without_python_can_be_cleared_too(box_backend):
    from agentgym.sandboxes.docker import find_image
    from agentgym.sandboxes.plain import PlainBox

    find_image("base")
    with PlainBox("agentgym/base:latest", Limits(disk_mb=16), "/", {}) as box:
        box.run("for i in 1 2 3; do head -c 10M /dev/zero > /fill$i; done")
        done = box.run("sleep 1.5; rm /fill*; sleep 1; echo fine")
        assert (done.stopped, done.output) == ("", "fine\n")


def test_what_fills_the_disk_of_a_box_without_python_in_the_background_is_ended(box_backend):
    from agentgym.sandboxes.docker import find_image
    from agentgym.sandboxes.plain import PlainBox

    find_image("base")
    with PlainBox("agentgym/base:latest", Limits(disk_mb=16), "/", {}) as box:
        fill = "cd /tmp; (for i in $(seq 99); do head -c 4M /dev/zero > $i; sleep 0.2; done) &"
        box.run(fill, background=True)
        deadline = time.monotonic() + 20
        while still_grows(box):
            assert time.monotonic() < deadline
        assert len(box.list("/tmp")) < 90


def still_grows(box):
    before = len(box.list("/tmp"))
    time.sleep(1.0)
    return len(box.list("/tmp")) > before


def test_a_path_that_is_too_long_for_a_box_without_python_is_refused(box_backend):
    from agentgym.sandboxes.docker import find_image
    from agentgym.sandboxes.plain import PlainBox

    find_image("base")
    with PlainBox("agentgym/base:latest", Limits(), "/", {}) as box:
        with pytest.raises(OSError, match="too long"):
            box.write("/" + "b/" * 3000 + "x", b"")
        assert box.run("echo fine").output == "fine\n"


def test_boxes_that_were_closed_leave_no_connections_to_the_engine(box_backend):
    from agentgym.sandboxes import docker

    held = []
    for _ in range(5):
        with open_sandbox("base", backend=box_backend) as box:
            assert box.run("true").code == 0
        assert docker.settle()
        gc.collect()
        held.append(count_of_sockets())
    assert held[-1] <= held[0] + docker.IDLE_CONNECTIONS


def test_a_box_that_the_engine_is_already_removing_is_waited_for(box_backend):
    from agentgym.sandboxes import docker

    for _ in range(10):
        box = open_sandbox("base", backend=box_backend)
        docker.client().kill(box.container)  # it removes what ended, by itself
        box.close()
        assert docker.settle()
        assert not docker.client().containers(all=True, filters={"id": box.container})


def count_of_sockets():
    found = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{entry}").startswith("socket:")
    return found
