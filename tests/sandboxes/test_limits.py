"""What a box may use, as it is given; and a machine that has no room for boxes."""

import contextlib
import os
import subprocess
import sys

import orjson
import pytest

from agentgym import cli
from agentgym.cli.tasks import _replacing
from agentgym.envs import swe_gate
from agentgym.errors import ConfigError
from agentgym.sandbox import Limits
from agentgym.tasks import swe, swe_projects

NO_ROOM = """
mount -t tmpfs -o nr_inodes=$1 none /dev/shm && exec "$0" -c '
from agentgym.errors import SandboxError
from agentgym.sandbox import open_sandbox
try:
    open_sandbox("base", backend="local")
except SandboxError as error:
    print(error)
'
"""


@pytest.mark.parametrize("field", ["memory_mb", "cpus", "pids", "disk_mb", "output_mb"])
@pytest.mark.parametrize("wrong", ["x", float("nan"), float("inf"), True, None, 0, -1])
def test_what_is_no_limit_is_refused_by_its_name(field, wrong):
    with pytest.raises(ConfigError, match=f"{field} is {wrong!r}"):
        Limits(**{field: wrong})


def test_limits_are_whole_numbers_but_for_processors():
    assert Limits(cpus=1.5).cpus == 1.5
    assert Limits(cpus=2).cpus == 2
    with pytest.raises(ConfigError, match="give a whole number"):
        Limits(pids=99.5)


@pytest.mark.parametrize("inodes", [1, 2])
def test_a_machine_without_room_in_memory_is_told(local_boxes, inodes):
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *users, "--mount", "sh", "-c", NO_ROOM, sys.executable, str(inodes)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert "/dev/shm/agentgym-" in done.stdout
    assert "No space left on device" in done.stdout


# --- the command that makes tasks writes to a file at the end, whatever that is ---------------


def test_what_was_there_stays_until_something_is_made(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"old")

    with pytest.raises(KeyboardInterrupt), _replacing(path):
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"

    with contextlib.suppress(KeyboardInterrupt), _replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        raise KeyboardInterrupt
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["tasks.jsonl"]


def test_what_is_made_in_full_takes_the_place_of_what_was_there_though_it_is_empty(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"old")
    with _replacing(path):
        pass
    assert path.read_bytes() == b""


@pytest.mark.parametrize("words", [["make", "swe", "--source", "nowhere"], ["verify", "nowhere"]])
def test_a_file_that_is_there_is_left_alone_without_force(words, tmp_path, capsys):
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"old")
    assert cli.main(["tasks", *words, "--out", str(path)]) == 2
    assert f"{path} exists already: replace it with --force" in capsys.readouterr().err
    assert cli.main(["tasks", *words, "--out", str(tmp_path), "--force"]) == 2
    assert f"{tmp_path} is not a file" in capsys.readouterr().err
    assert path.read_bytes() == b"old"


def test_tasks_are_checked_into_their_own_file_by_force_alone(
    tmp_path, capsys, monkeypatch, local_boxes
):
    monkeypatch.setattr(swe_gate, "admit", lambda task, *_: swe_gate.Admission(task, ()))
    path = tmp_path / "tasks.jsonl"
    rows = [orjson.dumps(swe.to_row(task)) for task in swe_projects.suite("train")[:2]]
    path.write_bytes(b"\n".join(rows))
    words = ["tasks", "verify", str(path), "--limit", "1", "--backend", "local"]
    assert cli.main([*words, "--out", str(path)]) == 2
    assert path.read_bytes().splitlines() == rows
    assert cli.main([*words, "--out", str(path), "--force"]) == 0
    assert path.read_bytes().splitlines() == rows[:1]
    assert os.listdir(tmp_path) == ["tasks.jsonl"]


def test_what_is_no_file_is_written_to_as_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    end = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with _replacing(tmp_path / "pipe") as file:
        file.write(b"a task")
    assert os.read(end, 99) == b"a task"
    os.close(end)
