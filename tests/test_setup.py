"""The set-up of sandboxes: an engine that is started once, whatever was left of the last one."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from conftest import missing

from agentgym.sandboxes import engine

ROOT = Path(__file__).resolve().parent.parent


def set_up(part, **environment):
    environment = {**os.environ, **environment}
    for name in [name for name, value in environment.items() if value is None]:
        del environment[name]
    command = [ROOT / "scripts" / "setup.sh", part]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)


class Place:
    """A folder in which `scripts/setup.sh docker` has an engine of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.docker = folder / "docker"

    def set_up(self, **environment):
        return set_up(
            "docker",
            **{
                "AGENTGYM_CACHE": str(self.folder),
                "DOCKER_HOST": None,
                # Beside another engine of this machine, which has the usual bridge.
                "AGENTGYM_DOCKERD_ARGS": "--bridge=none --iptables=false",
                **environment,
            },
        )

    def pids(self):
        files = (self.docker / "pid", self.docker / "exec" / "containerd" / "containerd.pid")
        return [int(file.read_text()) for file in files if file.exists()]

    def kill(self, number):
        for pid in self.pids():
            with contextlib.suppress(OSError):
                if str(self.docker).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, number)
        deadline = time.monotonic() + 15
        while self.engines() and time.monotonic() < deadline:
            time.sleep(0.05)

    def engines(self):
        """Processes that are engines of this folder."""
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (each / "cmdline").read_bytes().split(b"\0")
                if line[0].endswith(b"dockerd") and str(self.docker / "pid").encode() in line:
                    found.append(int(each.name))
        return found


@pytest.fixture
def place(monkeypatch):
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        missing("needs root and a Docker engine: scripts/setup.sh docker")
    # Short, as the name of a socket is at most 107 characters long.
    folder = Path(tempfile.mkdtemp(prefix="agentgym-", dir="/tmp"))
    monkeypatch.setenv("AGENTGYM_CACHE", str(folder))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    if engine.probe().ok:
        shutil.rmtree(folder)
        pytest.skip("an engine answers at the usual place, which is taken as it is")
    made = Place(folder)
    yield made
    made.kill(signal.SIGTERM)
    assert made.engines() == []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[4].startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", line.split()[4]], check=True)
    shutil.rmtree(folder)


def test_an_engine_is_started_where_none_answers_and_only_once(place):
    first = place.set_up(CI="true")
    assert first.returncode == 0, first.stderr
    assert "starting an engine" in first.stdout
    running = place.engines()
    assert len(running) == 1

    second = place.set_up(CI="true")

    assert "starting" not in second.stdout
    assert f"unix://{place.docker}/docker.sock" in second.stdout
    assert place.engines() == running
    assert engine.probe().ok  # found without being named


def test_an_engine_that_was_killed_is_started_again(place):
    """As after a reboot: files name processes that are gone, or are something else by now."""
    assert place.set_up(CI="true").returncode == 0
    place.kill(signal.SIGKILL)
    for file in (place.docker / "pid", place.docker / "exec" / "containerd" / "containerd.pid"):
        file.write_text(str(os.getpid()))

    again = place.set_up(CI="true")

    assert again.returncode == 0, again.stderr
    assert engine.probe().ok
    assert os.getpid() not in place.pids()


def test_an_engine_that_cannot_be_started_fails_only_in_ci(place):
    broken = {"AGENTGYM_DOCKERD_ARGS": "--no-such-option"}

    laptop = place.set_up(CI=None, **broken)

    assert laptop.returncode == 0
    assert "no engine can be started here" in laptop.stderr
    assert "no-such-option" in laptop.stderr


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_an_engine_that_was_named_must_answer(tmp_path, ci, code):
    done = set_up("docker", DOCKER_HOST=f"unix://{tmp_path}/nowhere", CI=ci)

    assert done.returncode == code
    assert "unset DOCKER_HOST" in done.stderr


def test_an_unknown_part_is_refused():
    done = set_up("podman")

    assert done.returncode == 2
    assert "docker, base" in done.stderr
