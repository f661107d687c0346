"""Tasks out of a source tree: what is read, what is refused, and that each task is real."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from functools import cache
from pathlib import Path

import pytest

from agentgym.errors import ConfigError
from agentgym.sandbox import open_sandbox
from agentgym.tasks import swe_make, swe_projects
from agentgym.tasks.swe_describe import describe
from agentgym.tasks.swe_logs import is_solved
from agentgym.tasks.swe_make import make_bugs, run_tests
from agentgym.tasks.swe_mutate import combine
from agentgym.tasks.swe_source import WORKDIR, make_project, pack, read_source

LARDER = swe_projects.FOLDER / "larder"
OUTPUT = """\
F                                                                        [100%]
=================================== FAILURES ===================================
_________________________________ test_price[3] _________________________________
tests/test_shop.py:5: in test_price
    assert total == 7
E   assert 6 == 7
n          = 3
total      = 6
________________________________ test_discount _________________________________
tests/test_shop.py:8: in test_discount
    price(-1)
shop/prices.py:12: in price
    return table[n]
E   KeyError: <object object at 0x7f0011>
=========================== short test summary info ============================
FAILED tests/test_shop.py::test_price[3] - assert 6 == 7
FAILED tests/test_shop.py::test_discount - KeyError
"""
SHOP = make_project(
    "shop",
    "2.0",
    {
        "shop/__init__.py": b"",
        "shop/prices.py": b"def price(n):\n    return n\n",
        "tests/test_shop.py": b'''\
def test_price(n):
    """It is."""
    cart = [n]
    total = price(n) + sum(cart)
    assert total == 7

def test_discount():
    price(-1)
''',
    },
)


def archive(path: Path, members: dict[str, bytes], **special: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in special.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return path


# ---- sources ----


def test_a_folder_is_a_project():
    project = read_source(LARDER)

    assert project.name == "larder"
    assert "larder/cache.py" in project.source_paths
    assert "tests/test_cache.py" in project.test_paths
    assert not set(project.source_paths) & set(project.test_paths)


def test_an_archive_is_read_without_the_folder_around_it(tmp_path):
    members = {"shop-2.0/shop/__init__.py": b"x = 1\n", "shop-2.0/tests/test_x.py": b""}

    project = read_source(archive(tmp_path / "shop-2.0.tar.gz", members))

    assert (project.name, project.version) == ("shop", "2.0")
    assert sorted(project.files) == ["shop/__init__.py", "tests/test_x.py"]


def test_source_may_be_in_src():
    project = make_project("a", "", {"src/a/__init__.py": b"", "tests/test_a.py": b""})

    assert project.source_paths == ("src/a/__init__.py",)
    assert f"PYTHONPATH={WORKDIR}/src " in project.test_command


def test_source_may_be_one_module():
    files = {"a.py": b"", "setup.py": b"", "test_a.py": b"", "docs/conf.py": b""}

    assert make_project("a", "", files).source_paths == ("a.py",)


def test_tests_inside_a_package_are_no_source():
    files = {"a/__init__.py": b"", "a/tests/__init__.py": b"", "a/tests/test_a.py": b""}

    assert make_project("a", "", files).source_paths == ("a/__init__.py",)


def test_an_archive_that_would_write_elsewhere_is_refused(tmp_path):
    path = archive(tmp_path / "a-1.tar.gz", {"a/test_a.py": b"", "../evil.py": b""})

    with pytest.raises(ConfigError, match="outside the destination"):
        read_source(path)


def test_paths_of_an_archive_are_below_its_top(tmp_path):
    members = {"/a.py": b"", "b/../test_a.py": b""}

    assert sorted(read_source(archive(tmp_path / "a-1.tar", members)).files) == [
        "a.py",
        "test_a.py",
    ]


def test_an_archive_with_a_link_out_of_it_is_refused(tmp_path):
    path = archive(tmp_path / "a-1.tar.gz", {"a/test_a.py": b""}, **{"a/link": "../../etc"})

    with pytest.raises(ConfigError, match="cannot read"):
        read_source(path)


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a-1.tar.gz").write_bytes(b"no archive")

    with pytest.raises(ConfigError, match="as a source archive"):
        read_source(tmp_path / "a-1.tar.gz")


@pytest.mark.parametrize("kind", ["gz", "xz"])
def test_a_damaged_archive_is_refused(tmp_path, kind):
    path = tmp_path / f"a-1.tar.{kind}"
    with tarfile.open(path, f"w:{kind}") as tar:
        member = tarfile.TarInfo("a/test_a.py")
        member.size = 1 << 20
        tar.addfile(member, io.BytesIO(random.Random(0).randbytes(member.size)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)

    with pytest.raises(ConfigError, match="as a source archive"):
        read_source(path)


def test_a_project_without_tests_is_refused():
    with pytest.raises(ConfigError, match="has no tests"):
        make_project("a", "", {"a/__init__.py": b""})


def test_a_name_needs_a_version():
    with pytest.raises(ConfigError, match="NAME==VERSION"):
        read_source("sqlparse")


def test_the_same_files_are_packed_the_same():
    assert pack({"b": b"1", "a": b"2"}) == pack({"a": b"2", "b": b"1"})


# ---- issues ----


def test_an_issue_tells_what_was_tried_and_what_came_of_it():
    said = describe(SHOP, ["tests/test_shop.py::test_price[3]"], OUTPUT)

    assert "    n = 3\n    cart = [n]\n    total = price(n) + sum(cart)\n    assert total" in said
    assert "    assert 6 == 7\n" in said
    assert "    KeyError: <object object>" in said


def test_an_issue_names_no_test_and_no_place():
    said = describe(SHOP, ["tests/test_shop.py::test_price[3]"], OUTPUT)

    assert "test_" not in said
    assert "prices.py" not in said
    assert "table[n]" not in said


@pytest.mark.parametrize(
    ("source", "tells"),
    [
        (
            b"# coding: latin-1\nname = '\xe9'\n\ndef test_x():\n    assert f(1) == 2\n",
            True,
        ),
        (b"page = 1\n\x0c\ndef test_x():\n    assert f(1) == 2\n", True),
        (b"print 'old'\n\n\ndef test_x():\n    assert f(1) == 2\n", False),
    ],
    ids=["in another encoding", "with form feeds", "of another Python"],
)
def test_an_issue_can_be_told_of_tests(source, tells):
    project = make_project("a", "", {"a.py": b"", "test_a.py": source})
    line = source.count(b"\n")
    output = (
        f"= FAILURES =\n___ test_x ___\ntest_a.py:{line}: in test_x\n    x\nE   assert 1 == 2\n"
    )

    said = describe(project, ["test_a.py::test_x"], output)

    assert "    assert 1 == 2\n" in said
    assert ("With\n\n    assert f(1) == 2\n" in said) == tells


# ---- in boxes ----


@pytest.mark.parametrize("between", ["\f", "\x85", "\u2028", "\r"])
def test_a_patch_of_a_bug_can_be_applied_whatever_its_lines_hold(tmp_path, between):
    good = f"a = 1{between}\nb = 2\nc{between} = 3"
    bad = good.replace("2", "3")
    (tmp_path / "a.py").write_bytes(good.encode())

    apply(swe_make.diff({"a.py": good}, {"a.py": bad}), tmp_path)

    assert (tmp_path / "a.py").read_bytes() == bad.encode()


def apply(patch: str, folder: Path) -> None:
    subprocess.run(["git", "apply", "-"], input=patch, text=True, cwd=folder, check=True)


@cache
def make_four(backend: str):
    project = swe_projects.project("larder")
    tasks = make_bugs(
        project,
        count=4,
        seed=1,
        open_box=lambda image: open_sandbox(image, backend=backend),
    )
    return project, list(tasks)


@pytest.fixture
def made(box_backend):
    return make_four(box_backend)


def test_as_many_tasks_are_made_as_were_asked_for(made):
    _, tasks = made

    assert len({task.id for task in tasks}) == 4
    assert len({task.bug for task in tasks}) == 4


def test_a_made_task_fails_as_it_is_and_passes_when_solved(made, box_backend):
    project, tasks = made
    task = tasks[0]
    box = open_sandbox(task.image, backend=box_backend)
    try:
        box.write("/tmp/bug.patch", task.bug)
        box.write("/tmp/gold.patch", task.gold)
        assert box.run("git apply /tmp/bug.patch", cwd=WORKDIR).code == 0
        broken, _ = run_tests(box, task.test_command, task.tests, timeout_s=60)
        assert box.run("git apply /tmp/gold.patch", cwd=WORKDIR).code == 0
        solved, _ = run_tests(box, task.test_command, task.tests, timeout_s=60)
        for path in project.source_paths:
            assert box.read(f"{WORKDIR}/{path}") == project.files[path]
    finally:
        box.close()

    assert not any(is_solved(test, broken) for test in task.fail_to_pass)
    assert all(is_solved(test, broken) for test in task.pass_to_pass)
    assert all(is_solved(test, solved) for test in (*task.fail_to_pass, *task.pass_to_pass))


def test_tests_that_fail_are_kept_from_the_policy(made):
    _, tasks = made

    for task in tasks:
        assert {test.partition("::")[0] for test in task.fail_to_pass} == set(task.removed)
        assert not any(test in task.problem for test in task.fail_to_pass)


def test_the_same_seed_makes_the_same_bugs(made, box_backend):
    project, tasks = made

    again = make_bugs(
        project, count=1, seed=1, open_box=lambda image: open_sandbox(image, backend=box_backend)
    )

    assert next(again).bug == tasks[0].bug


def test_two_bugs_in_a_task_each_count(box_backend):
    project = swe_projects.project("larder")

    (task,) = make_bugs(
        project,
        count=1,
        seed=3,
        bugs=2,
        open_box=lambda image: open_sandbox(image, backend=box_backend),
    )

    assert len(task.row["bugs"]) == 2
    assert task.fail_to_pass


def test_a_bug_is_told_by_what_a_file_holds(box_backend):
    """A bug that keeps size and time of a file is not hidden by what was compiled before."""
    project = swe_projects.project("larder")
    box = open_sandbox(project.image, backend=box_backend)
    try:
        baseline = swe_make.measure(project, box)
        text = project.files["larder/cache.py"].decode()
        broken = {"larder/cache.py": text.replace("hits += 1", "hits -= 1")}
        failing, _ = swe_make._failing(project, baseline, box, broken, project.test_paths)
        none, _ = swe_make._failing(project, baseline, box, {}, project.test_paths)
    finally:
        box.close()

    assert len(failing) == 1
    assert none == frozenset()
    assert combine(text, []) == text
