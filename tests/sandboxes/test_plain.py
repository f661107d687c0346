"""Images without Python make boxes that can do less, and say so."""

import io
import os
import tarfile

import pytest
from conftest import missing, no_boxes

from agentgym.errors import ConfigError, SandboxError
from agentgym.sandbox import Change, Image, Limits, find_backend, open_sandbox

WITHOUT_PYTHON = Image(
    "base", commands=["rm -f /usr/bin/python3* /usr/local/bin/python3* && mkdir -p /repo"]
)


@pytest.fixture(scope="module")
def image():
    if why := no_boxes("docker"):
        missing(why)
    return find_backend("docker").build(WITHOUT_PYTHON)


@pytest.fixture(scope="module")
def shared(image):
    with open_sandbox(image, backend="docker", env={"GREETING": "it's é"}) as box:
        yield box


@pytest.fixture
def box(shared):
    shared.run("rm -rf /repo; mkdir /repo", cwd="/repo")
    return shared


def test_it_says_what_it_can_do(box):
    assert box.features == {"interrupt", "fork"}
    assert box.alive


def test_that_an_image_has_no_python_is_found_out_once(image):
    from agentgym.sandboxes import docker
    from agentgym.sandboxes.plain import PlainBox

    with open_sandbox(image, backend="docker") as box:
        assert type(box) is PlainBox
    assert docker.find_image(image)[0] in docker.BACKEND._without_python


def test_an_image_without_a_shell_is_refused(image):
    from agentgym.sandboxes import docker

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    name = f"agentgym/test-empty:{os.getpid()}"
    repository, _, tag = name.partition(":")
    docker.client().import_image_from_data(packed.getvalue(), repository=repository, tag=tag)
    try:
        with pytest.raises(SandboxError, match=f"image '{name}' has no /bin/sh"):
            open_sandbox(name, backend="docker")
    finally:
        assert docker.settle()
        docker.client().remove_image(name)


def test_a_command_tells_its_output_and_how_it_ended(box):
    done = box.run("echo out; echo err >&2; echo $GREETING; exit 3")

    assert (done.code, done.output, done.stopped) == (3, "out\nerr\nit's é\n", "")
    assert (done.total, done.elided) == (len(done.output.encode()), 0)


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        ("printf '%s\\n' \"$X\"; pwd", 0, "it's\n/usr\n"),
        ("cat", 0, ""),
        ("exit 7", 7, ""),
        ("exec sh -c 'exit 9'", 9, ""),
        ("true\n\nfalse\n", 1, ""),
        ("cat <<'EOF'\n$X 'quoted\nEOF", 0, "$X 'quoted\n"),
        ("sh -c 'kill -9 $$'", 137, None),
        ("echo 'never closed", 2, None),
        ("kill -9 1; echo fine", 0, "fine\n"),
        ("printf '\\000\\377' | wc -c", 0, "2\n"),
    ],
)
def test_commands_are_a_shells(box, command, code, output):
    done = box.run(command, cwd="/usr", env={"X": "it's"})

    assert done.code == code
    assert output is None or done.output == output
    assert box.run("echo next").output == "next\n"


def test_a_command_of_200_kb_runs(box):
    done = box.run("echo " + "x" * 200_000, keep_bytes=1 << 20)

    assert done.output == "x" * 200_000 + "\n"


@pytest.mark.parametrize("command", ["sleep 100", "trap '' TERM INT; while :; do :; done"])
def test_what_takes_too_long_is_ended(box, command):
    done = box.run(command, timeout_s=0.5)

    assert (done.stopped, done.code) == ("timeout", 137)
    assert box.run("echo fine").output == "fine\n"


def test_endless_output_is_cut(image):
    with open_sandbox(image, backend="docker", limits=Limits(output_mb=4)) as box:
        done = box.run("yes", keep_bytes=1000)

        assert done.stopped == "output"
        assert len(done.output) == 1000
        assert done.elided == done.total - 1000 > 4 << 20
        assert box.run("echo fine").output == "fine\n"


def test_long_output_keeps_its_head_and_tail(box):
    done = box.run("seq 1 100000", keep_bytes=100)

    assert done.output.startswith("1\n2\n3\n")
    assert done.output.endswith("99999\n100000\n")
    assert (len(done.output), done.total, done.head) == (100, 588_895, 50)


def test_a_command_is_interrupted_from_another_thread(box, again_and_again):
    with again_and_again(box.interrupt):
        assert box.run("sleep 1000").stopped == "interrupt"


def test_what_a_command_leaves_running_is_ended_unless_it_is_to_stay(box):
    box.run("sleep 61 &")
    assert "sleep" not in box.run("cat /proc/[0-9]*/comm", background=True).output
    box.run("sleep 62 &", background=True)
    assert "sleep" in box.run("cat /proc/[0-9]*/comm", background=True).output
    box.reset_session()
    assert "sleep" not in box.run("cat /proc/[0-9]*/comm", background=True).output


def test_what_no_shell_can_run_is_refused(box):
    with pytest.raises(ConfigError, match="NUL"):
        box.run("echo \0")


def test_files_are_written_read_listed_and_removed(box):
    box.write("/repo/deep/er/a.bin", b"\0\xff", mode=0o755)
    box.write("/repo/line\nbreak", "text")
    box.write("/repo/deep/er/a.bin", b"\0\xfe")

    assert box.read("/repo/deep/er/a.bin") == b"\0\xfe"
    assert box.run("stat -c %a /repo/deep/er/a.bin").output == "755\n"
    found = [(entry.path, entry.kind, entry.size) for entry in box.list("/repo", depth=9)]
    assert [each for each in found if each[1] == "file"] == [
        ("deep/er/a.bin", "file", 2),
        ("line\nbreak", "file", 4),
    ]
    assert [path for path, _, _ in found] == ["deep", "deep/er", "deep/er/a.bin", "line\nbreak"]
    assert [entry.path for entry in box.list("/repo", depth=2, limit=2)] == ["deep", "deep/er"]

    box.delete("/repo/line\nbreak")
    with pytest.raises(FileNotFoundError):
        box.read("/repo/line\nbreak")


def test_what_is_no_regular_file_is_not_read(box):
    box.run("cd /repo; ln -s /etc/passwd link; mkfifo pipe; head -c 2000 /dev/zero > large")

    for path, error in {
        "/repo/none": FileNotFoundError,
        "/repo": IsADirectoryError,
        "/repo/link": OSError,
        "/repo/pipe": OSError,
        "/repo/large": OSError,
        "/repo/nul\0": OSError,
    }.items():
        with pytest.raises(error):
            box.read(path, max_bytes=1000)
    with pytest.raises(IsADirectoryError):
        box.write("/repo", "x")
    with pytest.raises(NotADirectoryError):
        box.list("/repo/large")


def test_a_link_is_replaced_not_followed(box):
    box.run("echo kept > /tmp/target; ln -s /tmp/target /repo/link")

    box.write("/repo/link", "new")

    assert box.read("/tmp/target") == b"kept\n"
    assert box.read("/repo/link") == b"new"


def test_changes_are_told_by_the_engine(box):
    for name in ("same", "changed", "gone", "folder/a", "folder/b", ".git/config"):
        box.write(f"/repo/{name}", name)
    box.run("ln -s same /repo/link")
    assert box.manifest("/repo", exclude=[".git"]) == 6
    assert list(box.changes()) == []

    box.run(
        "cd /repo; echo more >> changed; rm -r gone folder; mkdir folder; echo c > folder/c;"
        "ln -sf changed link; echo x > .git/new; chmod 755 same; touch empty"
    )

    assert list(box.changes()) == [
        Change("changed", "modified", content=b"changedmore\n", size=12),
        Change("empty", "added", content=b"", size=0),
        Change("folder/a", "deleted", mode=0),
        Change("folder/b", "deleted", mode=0),
        Change("folder/c", "added", content=b"c\n", size=2),
        Change("gone", "deleted", mode=0),
        Change("link", "modified", "link", 0o777, b"changed", 7),
        Change("same", "modified", mode=0o755, content=b"same", size=4),
    ]


def test_changes_of_what_is_in_the_image_are_told(box):
    assert box.manifest("/usr/share/git-core") > 0
    names = [entry.path for entry in box.list("/usr/share/git-core", depth=9)]

    box.run("rm -r /usr/share/git-core/templates")

    changes = box.changes()
    assert {change.kind for change in changes} == {"deleted"}
    assert {change.path for change in changes} <= set(names)


def test_without_a_manifest_there_are_no_changes(image):
    with (
        open_sandbox(image, backend="docker") as box,
        pytest.raises(SandboxError, match="manifest"),
    ):
        box.changes()


def test_a_fork_has_the_same_files(box):
    box.write("/repo/a.txt", "one")

    with box.fork() as other:
        assert other.read("/repo/a.txt") == b"one"
        other.write("/repo/a.txt", "two")
        assert other.features == box.features

    assert box.read("/repo/a.txt") == b"one"


def test_a_box_that_dies_says_so(image):
    from agentgym.sandboxes import docker

    with open_sandbox(image, backend="docker") as box:
        docker.client().kill(box.container)
        with pytest.raises(SandboxError, match="is lost"):
            box.run("echo")
        assert not box.alive
    with pytest.raises(SandboxError):
        box.run("echo")
