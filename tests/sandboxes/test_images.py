"""What boxes begin with: the base, recipes that are built once, and room that is kept to."""

import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import pytest
from conftest import missing

from agentgym.cache import cache_folder
from agentgym.errors import ConfigError, SandboxError
from agentgym.sandbox import Image, find_backend, open_sandbox
from agentgym.sandboxes import base, engine, images, rootfs

LONG_AGO = 1_000_000


def tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def small(tmp_path):
    """A root file system that has a Python by name only."""
    return tar(tmp_path / "small.tar", {"usr/bin/python3": b"#!/bin/sh\n", "etc/small": b"yes"})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, with no engine in reach."""
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere")
    return tmp_path / "cache"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache, but for the base image."""
    made = base.archive()
    if not made.exists():
        missing("there is no base image: agentgym images base")
    host = engine.engine_host()
    memory = Path("/dev/shm")  # where unpacking and removing takes a tenth of the time
    place = tempfile.mkdtemp(prefix="cache-", dir=memory if memory.is_dir() else tmp_path)
    monkeypatch.setenv("AGENTGYM_CACHE", place)
    monkeypatch.setenv("DOCKER_HOST", host)
    base.archive().parent.mkdir()
    base.archive().symlink_to(made)
    yield Path(place)
    shutil.rmtree(place)


@pytest.fixture
def docker_client():
    found = engine.probe()
    if not found.ok:
        missing(f"{found.detail}: scripts/setup.sh docker")
    from agentgym.sandboxes import docker

    return docker.client()


# --- the base ----------------------------------------------------------------------------------


def test_the_base_image_is_made_once(cache, small):
    said = []
    assert base.make(source=str(small), progress=said.append) == ["local"]
    assert said == [f"copying {small}", "unpacking it for local boxes"]
    made = base.archive().stat()

    assert base.make(progress=said.append) == ["local"]

    assert base.archive().stat().st_mtime_ns == made.st_mtime_ns
    assert len(said) == 2
    (layer,) = rootfs.find("base").layers
    assert (layer / "etc" / "small").read_text() == "yes"


def test_a_base_made_again_is_what_boxes_begin_with(cache, small, tmp_path):
    base.make(source=str(small))
    other = tar(tmp_path / "other.tar", {"usr/local/bin/python3": b"", "etc/other": b""})

    base.make(source=str(other))

    (layer,) = rootfs.find("base").layers
    assert (layer / "etc" / "other").exists()
    assert not (layer / "etc" / "small").exists()


def test_what_a_killed_process_left_of_a_base_is_removed(cache, small):
    base.archive().parent.mkdir(parents=True)
    (base.archive().parent / "base.tar.12345").write_bytes(b"half of it")

    base.make(source=str(small))

    assert [path.name for path in base.archive().parent.iterdir()] == ["base.tar"]


@pytest.mark.parametrize(
    ("content", "told"), [(b"nonsense" * 500, "is no tar file"), (None, "has no python3")]
)
def test_a_file_that_is_no_base_is_refused(cache, tmp_path, content, told):
    file = tar(tmp_path / "bad.tar", {"etc/passwd": b""})
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SandboxError, match=told):
        base.make(source=str(file))

    assert list(base.archive().parent.iterdir()) == []


def test_where_no_base_can_be_made_it_says_what_to_do(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(SandboxError, match=r"apt-get install mmdebstrap.*--from base\.tar"):
        base.make()
    with pytest.raises(SandboxError, match="agentgym images base"):
        rootfs.find("base")


@pytest.mark.slow
def test_a_base_is_made_from_packages(cache):
    if os.geteuid() != 0:
        pytest.skip("needs root and mmdebstrap")
    said = []

    base.make(progress=said.append)

    assert any("downloading packages" in line for line in said)
    with tarfile.open(base.archive()) as archive:
        assert {"./usr/bin/git", "./usr/bin/pytest-3"} <= set(archive.getnames())


def test_a_program_that_ends_its_process_group_ends_itself_alone(cache):
    """As mmdebstrap does on a full disk."""
    words = ["/bin/sh", "-c", "echo E: no room >&2; kill 0; sleep 9"]

    assert base._run(words, dict(os.environ), print) == "E: no room"


def test_a_folder_that_a_killed_process_left_is_removed_unless_it_is_in_use(
    cache, small, monkeypatch
):
    monkeypatch.setattr(base, "_LEFT_S", 0.0)
    left, busy = (Path(tempfile.mkdtemp(prefix="agentgym-base-")) for _ in range(2))
    (left / "file").write_text("")

    with base._held(str(busy)):
        base.make(source=str(small))
        assert not left.exists()
        assert busy.exists()
    base.make(source=str(small))
    assert not busy.exists()


def test_a_file_that_happens_to_be_called_base_is_not_taken_for_it(
    cache, small, tmp_path, monkeypatch
):
    base.make(source=str(small))
    (tmp_path / "base").write_text("of the user")
    monkeypatch.chdir(tmp_path)

    (layer,) = rootfs.find("base").layers
    assert (layer / "etc" / "small").exists()


@pytest.mark.parametrize("place", ["locks", "base"])
def test_a_cache_that_cannot_be_written_is_named(cache, small, place):
    cache.mkdir()
    (cache / place).write_text("in the way")

    with pytest.raises(SandboxError, match=f"{cache}/{place}.*set AGENTGYM_CACHE"):
        base.make(source=str(small))


def test_the_command_names_a_cache_that_cannot_be_written(cache, small):
    cache.write_text("in the way")

    done = agentgym("base", "--from", str(small))

    assert done.returncode == 1
    assert str(cache) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_base_is_made_in_a_container_where_there_are_no_packages(docker_client, tmp_path):
    """Of an image that has them already, as none can be pulled in CI."""
    before = {each["Id"] for each in docker_client.containers(all=True)}

    base.from_engine(tmp_path / "base.tar", print, image="base", packages=())

    base._check(tmp_path / "base.tar")
    after = docker_client.containers(all=True, filters={"label": f"agentgym.owner={_owner()}"})
    assert not {each["Id"] for each in after} - before


def _owner():
    from agentgym.sandboxes import janitor

    return janitor.owner()


def test_an_engine_has_the_base_that_is_in_the_cache(docker_client, small, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", engine.engine_host())
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path))
    monkeypatch.setattr(base, "TAG", f"agentgym/test-base:{os.getpid()}")
    base.archive().parent.mkdir()
    said = []
    try:
        small.rename(base.archive())
        base.into_engine(docker_client, said.append)
        first = docker_client.inspect_image(base.TAG)["Id"]
        base.into_engine(docker_client, said.append)
        assert docker_client.inspect_image(base.TAG)["Id"] == first
        assert len(said) == 1

        os.utime(base.archive())
        base.into_engine(docker_client, said.append)
        assert len(said) == 2
    finally:
        docker_client.remove_image(base.TAG)


# --- recipes -----------------------------------------------------------------------------------


def recipe(tag, **other):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("inner.txt")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"tar"))
    settings = {
        "files": {
            "/work/a.txt": f"{tag}\n",
            "/work/run": "#!/bin/sh\necho ran\n",
            "/work/deep/tree.tar": packed.getvalue(),
        },
        "commands": ["./run > out.txt", "sleep 1000 &"],
        "workdir": "/work",
    }
    return Image("base", **(settings | other))


def test_a_recipe_is_built_once_and_boxes_begin_with_it(box_backend):
    image = recipe("once", commands=["./run > out.txt", "sleep 1000 &", "date +%N > made.txt"])

    name = find_backend(box_backend).build(image)
    with open_sandbox(name, backend=box_backend) as box:
        assert box.run("pwd").output == "/work\n"
        made = box.read("/work/made.txt")

    assert find_backend(box_backend).build(image) == name
    with open_sandbox(image, backend=box_backend) as box:
        assert box.run("pwd; cat a.txt out.txt deep/inner.txt").output == "/work\nonce\nran\ntar"
        assert "sleep" not in box.run("cat /proc/[0-9]*/comm").output
        assert box.read("/work/made.txt") == made


def test_another_recipe_is_another_image(box_backend):
    backend = find_backend(box_backend)

    names = {
        backend.build(recipe("one")),
        backend.build(recipe("two")),
        backend.build(recipe("one", commands=["true"])),
        backend.build(recipe("one", commands=["true"], workdir="/")),
    }

    assert len(names) == 4


def test_a_recipe_that_many_ask_for_is_built_by_one(box_backend):
    made = time.time_ns()
    image = recipe("many", commands=[f"echo {made} >> count.txt", "sleep 0.5"])
    names = []
    threads = [
        threading.Thread(target=lambda: names.append(find_backend(box_backend).build(image)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(names) == 4
    assert len(set(names)) == 1
    with open_sandbox(names[0], backend=box_backend) as box:
        assert box.read("/work/count.txt").decode() == f"{made}\n"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_forked_while_an_image_is_made_keeps_nobody_out(cache):
    with images.one_at_a_time("image"):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        with (cache / "locks" / "image").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_command_that_fails_is_named_with_what_it_printed(box_backend):
    image = recipe("fails", commands=["echo fine", "echo no such luck; exit 3"])

    with pytest.raises(SandboxError, match=r"'echo no such luck; exit 3' ended with 3: no such"):
        find_backend(box_backend).build(image)


@pytest.mark.parametrize("wrong", [{"files": {"a.txt": ""}}, {"workdir": "work"}])
def test_a_path_that_is_not_absolute_is_refused(box_backend, wrong):
    with pytest.raises(ConfigError, match="is no absolute path"):
        find_backend(box_backend).build(recipe("relative", **wrong))


def test_what_was_built_is_listed_and_in_use_now(box_backend):
    before = int(time.time())
    name = find_backend(box_backend).build(recipe("listed"))
    open_sandbox(name, backend=box_backend).close()

    (found,) = [image for image in images.kept(box_backend) if image.name == name]

    assert found.backend == box_backend
    assert 0 < found.size < 10e6
    assert found.used >= before


# --- room --------------------------------------------------------------------------------------


def age(name):
    """Make an image long unused."""
    mark = cache_folder("local", "images", f"{name.replace('/', '_').replace(':', '_')}.json")
    os.utime(mark, (LONG_AGO, LONG_AGO))


def test_local_images_longest_unused_are_removed_first(own_cache):
    local = find_backend("local")
    old, new = local.build(recipe("old")), local.build(recipe("new"))
    age(old)
    layers = set((own_cache / "local" / "layers").iterdir())

    assert images.prune("local", 0) == [old]  # the rest was used just now

    assert len(layers - set((own_cache / "local" / "layers").iterdir())) == 1
    assert not local.has(old)
    with open_sandbox(new, backend="local") as box:
        assert box.run("cat a.txt").output == "new\n"


def test_what_a_box_is_using_is_not_removed(own_cache):
    name = find_backend("local").build(recipe("used"))
    with open_sandbox(name, backend="local") as box:
        for record in (own_cache / "local" / "images").iterdir():
            os.utime(record, (LONG_AGO, LONG_AGO))
        removed = images.prune("local", 0)
        assert name not in removed
        assert box.run("cat a.txt").output == "used\n"
    assert name in images.prune("local", 0)
    assert (own_cache / "local" / "layers").exists()
    assert images.kept("local") == []
    with open_sandbox("base", backend="local") as box:  # unpacked again
        assert box.run("python3 -c 'print(1)'").output == "1\n"


def test_building_keeps_to_the_budget(own_cache, monkeypatch):
    local = find_backend("local")
    old = local.build(recipe("old"))
    age(old)
    (own_cache / "locks" / "pruned-local").unlink()  # looked after a moment ago
    monkeypatch.setenv("AGENTGYM_IMAGES_GB", "0.001")

    new = local.build(recipe("new"))

    assert (local.has(old), local.has(new)) == (False, True)


def test_images_of_an_engine_longest_unused_are_removed_first(docker_client):
    backend = find_backend("docker")
    name = backend.build(recipe(f"room {time.time_ns()}", commands=["head -c 8M /dev/urandom > b"]))
    mark = cache_folder("used", name.replace("/", "_").replace(":", "_"))
    os.utime(mark, (LONG_AGO, LONG_AGO))
    total = sum(image.size for image in images.kept("docker"))

    assert images.prune("docker", total - 4_000_000) == [name]

    assert not backend.has(name)
    assert not mark.exists()


@pytest.mark.parametrize("wrong", ["much", "nan", "inf", "-1"])
def test_a_budget_that_is_no_number_is_refused(monkeypatch, wrong):
    monkeypatch.setenv("AGENTGYM_IMAGES_GB", wrong)

    with pytest.raises(ConfigError, match=f"AGENTGYM_IMAGES_GB='{wrong}'"):
        images.budget_gb()


# --- the command -------------------------------------------------------------------------------


def agentgym(*words):
    command = [sys.executable, "-m", "agentgym.cli", "images", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_makes_lists_and_removes(cache, small):
    made = agentgym("base", "--from", str(small), "--json")
    assert json.loads(made.stdout) == {
        "path": str(base.archive()),
        "size": small.stat().st_size,
        "backends": ["local"],
    }
    assert "unpacking" in made.stderr

    listed = json.loads(agentgym("--json").stdout)
    assert [(each["name"], each["backend"]) for each in listed["images"]] == [("base", "local")]
    assert "no Docker engine" in listed["problems"]["docker"]
    assert "base" in agentgym("list", "--backend", "local").stdout

    for record in (cache / "local" / "images").iterdir():
        os.utime(record, (LONG_AGO, LONG_AGO))
    removed = json.loads(agentgym("prune", "--keep", "0", "--json").stdout)["removed"]
    assert len(removed["local"]) == 1
    assert json.loads(agentgym("--json", "--backend", "local").stdout)["images"] == []


def test_images_without_a_name_of_their_own_are_summed_up(own_cache):
    for number in range(3):
        rootfs.add(f"agentgym/built:{number}", [own_cache])
    rootfs.add("mine", [own_cache])

    listed = agentgym("list", "--backend", "local").stdout
    assert "3 built" in listed
    assert "mine" in listed
    assert "agentgym/built" not in listed
    assert "agentgym/built:2" in agentgym("list", "--backend", "local", "--all").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["base", "--from", "nowhere.tar"], "no base image from 'nowhere.tar': No such file"),
        (["--force"], "go with `agentgym images base`"),
        (["--keep", "3"], "goes with `agentgym images prune`"),
        (["prune", "--keep", "-1"], "--keep -1: give a number of gigabytes from 0"),
        (["prune", "--keep", "nan"], "--keep nan: give"),
        (["prune", "--keep", "inf"], "--keep inf: give"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(cache, words, told):
    done = agentgym(*words)

    assert done.returncode == 2
    assert told in done.stderr


def test_a_backend_that_is_asked_alone_must_answer(cache):
    done = agentgym("--backend", "docker")

    assert done.returncode == 1
    assert "no Docker engine" in done.stderr


def test_paths_are_where_the_cache_is(cache):
    assert base.archive() == Path(cache) / "base" / "base.tar"
