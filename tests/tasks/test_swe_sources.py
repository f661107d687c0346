"""Published rows become tasks, with what they name intact; damaged ones say what to give."""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import ConfigError, RegistryError, TaskError
from agentgym.sandbox import Image
from agentgym.tasks import swe, swe_bench, swe_gym, swe_smith
from agentgym.tasks.swe import SWETask, from_row, load, to_row
from agentgym.tasks.swe_logs import PARSERS, is_kept, is_solved, shortened
from agentgym.tasks.swe_patches import files_of, reverse

DATA = os.environ.get("AGENTGYM_TEST_DATA", "")
FOLDER = Path(DATA) / "swe"
real = pytest.mark.skipif(
    not FOLDER.is_dir() or not DATA, reason="AGENTGYM_TEST_DATA names no folder with swe rows"
)
FILES = {
    "swe-bench": ("swe_bench", 12),
    "swe-bench-verified-as-nemo": ("swe_nemo", 5),
    "swe-gym-as-nemo": ("swe_nemo", 5),
    "swe-smith": ("swe_smith", 4),
    "deepswe-as-nemo": ("swe_nemo", 5),
}

PATCH = """diff --git a/tests/queries/test_a.py b/tests/queries/test_a.py
--- a/tests/queries/test_a.py
+++ b/tests/queries/test_a.py
@@ -1,2 +1,2 @@ def test():
-x = 1
+x = 2
 y = 1
"""
BENCH = {
    "repo": "django/django",
    "instance_id": "Django__django-1",
    "version": "4.2",
    "problem_statement": "It breaks.",
    "patch": PATCH.replace("tests/queries/test_", "django/"),
    "test_patch": PATCH,
    "FAIL_TO_PASS": '["test_a (m.C)"]',
    "PASS_TO_PASS": ["test_b (m.C)"],
    "environment_setup_commit": "x",
}
OWN = {
    "id": "mine",
    "fail_to_pass": ["t.py::test_a"],
    "repo": "me/mine",
    "problem": "Fix it.",
    "image": "base",
    "workdir": "/testbed",
    "test_command": "python -m pytest -rA {tests}",
}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def without(row, key):
    return {name: value for name, value in row.items() if name != key}


# -------------------------------------------------------------------------------- real rows


def published(file):
    return [json.loads(line) for line in (FOLDER / f"{file}.jsonl").read_text().splitlines()]


@real
@pytest.mark.parametrize("file", FILES)
def test_every_published_row_is_read_and_kept(file):
    source, count = FILES[file]

    tasks = load(FOLDER / f"{file}.jsonl")

    assert [task.row for task in tasks] == published(file)
    assert (len(tasks), {task.source for task in tasks}) == (count, {source})
    for task in tasks:
        assert task.problem
        assert str(task.image).count(":") == 1
        assert task.parser in PARSERS
        assert from_row(orjson.loads(orjson.dumps(to_row(task)))) == task


@real
def test_names_of_tests_are_those_of_the_row_whether_in_a_list_or_in_json():
    for file in ("swe-bench", "swe-bench-verified-as-nemo", "swe-gym-as-nemo", "swe-smith"):
        for task in load(FOLDER / f"{file}.jsonl"):
            row = task.row.get("instance", task.row)
            for key, names in (
                ("FAIL_TO_PASS", task.fail_to_pass),
                ("PASS_TO_PASS", task.pass_to_pass),
            ):
                value = row[key]
                assert list(names) == (json.loads(value) if isinstance(value, str) else value)
            assert task.fail_to_pass


def print_log(task, failing=()):
    """What the runner of a task's tests would print if it ran these."""
    names = [*task.fail_to_pass, *task.pass_to_pass]
    if task.parser == "django":
        lines = [f"{name} ... {'FAIL' if name in failing else 'ok'}" for name in names]
    elif task.parser == "sympy":
        lines = ["sympy/a/tests/test_b.py[9] "]
        lines += [f"{name} {'F' if name in failing else 'ok'}" for name in names]
    elif "--verbose" in task.test_command:
        lines = ["=== test session starts ==="]
        lines += [f"{n} {'FAILED' if n in failing else 'PASSED'}  [ 10%]" for n in names]
        lines += ["=== 1 passed in 0.10s ==="]
    else:
        lines = ["=== test session starts ===", "a.py ...F", "=== short test summary info ==="]
        lines += [f"PASSED {name}" for name in names if name not in failing]
        lines += [f"FAILED {name} - assert [1] - 2" for name in names if name in failing]
        lines += ["=== 1 failed, 1 passed in 0.10s ==="]
    return "\n".join(lines)


@real
@pytest.mark.parametrize("file", [file for file in FILES if file != "deepswe-as-nemo"])
def test_every_published_name_comes_back_from_a_log_of_its_framework(file):
    for task in load(FOLDER / f"{file}.jsonl"):
        names = {*task.fail_to_pass, *task.pass_to_pass}
        parse = PARSERS[task.parser]

        found = parse(print_log(task))
        assert all(is_solved(name, found) for name in names)
        if task.parser == "pytest_options":  # names with paths of another machine: to their ends
            parse = PARSERS["pytest"]
            assert set(found) == set(map(shortened, names))
        assert parse(print_log(task)) == dict.fromkeys(names, "passed")
        if task.parser != "django":  # whose headings follow
            failing = set(task.fail_to_pass[:3])
            found = parse(print_log(task, failing))
            assert {name for name in names if found[name] == "failed"} == failing
            assert not any(is_solved(name, found) for name in failing)
            assert all(is_kept(name, found) for name in names - failing)


@real
def test_a_published_name_that_was_cut_at_a_space_is_found_by_its_whole():
    (task,) = [t for t in load(FOLDER / "swe-bench.jsonl") if t.id == "pytest-dev__pytest-11143"]
    cut = [name for name in task.pass_to_pass if "[" in name and not name.endswith("]")]
    assert len(cut) == 10
    whole = {name: f"{name} and the rest]" for name in cut}
    log = [f"PASSED {whole.get(name, name)}" for name in task.pass_to_pass]

    found = PARSERS["pytest"]("\n".join(["=== short test summary info ===", *log]))

    assert not set(cut) & set(found)
    assert all(is_solved(name, found) for name in task.pass_to_pass)
    found = {**found, f"{cut[0]} or other]": "failed"}
    assert [name for name in task.pass_to_pass if not is_kept(name, found)] == [cut[0]]


@real
def test_images_are_named_as_they_are_published():
    def first(file):
        return load(FOLDER / f"{file}.jsonl", limit=1)[0].image

    assert first("swe-bench") == (
        "docker.io/swebench/sweb.eval.x86_64.pydicom_1776_pydicom-1458:latest"
    )
    assert first("swe-gym-as-nemo") == (
        "docker.io/xingyaoww/sweb.eval.x86_64.python_s_mypy-17071:latest"
    )
    for row in published("swe-gym-as-nemo"):  # as NeMo-Gym names its copy of the image
        named = swe_gym.image_name(row["instance"]["instance_id"])
        assert Path(row["metadata"]["image"]).stem.replace("xingyaoww_", "xingyaoww/") in named
    assert first("swe-smith") == (
        "docker.io/swebench/swesmith.x86_64.marshmallow-code_1776_apispec.8b421526:latest"
    )


@real
def test_a_task_of_swe_smith_begins_with_the_bug_and_without_the_tests_that_fail():
    for task in load(FOLDER / "swe-smith.jsonl"):
        assert task.bug == task.row["bug_patch"]
        assert task.gold == reverse(task.bug)
        assert set(task.removed) == {name.split("::")[0] for name in task.fail_to_pass}
        assert set(task.removed) <= set(task.tests)
        assert task.problem == swe_smith.NO_PROBLEM
        assert not set(task.removed) & set(files_of(task.bug))
        assert task.setup == ()  # no branch of the image


@real
def test_a_script_of_nemo_gym_is_run_with_the_files_it_names():
    mypy, *others = load(FOLDER / "swe-gym-as-nemo.jsonl")

    assert [task.split for task in (mypy, *others)] == ["train"] * 5
    assert mypy.tests == ()
    assert 'pytest -rA -k "testTypeGuardTypeVarReturn or ' in mypy.test_command
    for task in others:
        filled = task.test_command.replace("{tests}", " ".join(task.tests))
        assert filled == task.row["instance"]["test_script"].partition("\n")[2].strip()
        assert task.tests
        bare = without(without(task.row["instance"], "test_script"), "setup_script")
        own = swe_gym.read(bare)
        assert own.tests == task.tests
        assert own.test_command.split("; ")[-1].split() == task.test_command.split("\n")[-1].split()
    bare = swe_gym.read(without(mypy.row["instance"], "test_script")).test_command
    assert " -k 'testTypeGuardIsBool or testTypeGuardTypeVarReturn or " in bare


@real
def test_a_row_of_deepswe_is_graded_by_the_file_that_its_script_writes():
    task = load(FOLDER / "deepswe-as-nemo.jsonl", limit=1)[0]

    assert (task.id, task.evaluation) == ("abs-module-cache-flags", "reward_file")
    assert task.reward_file == "/logs/verifier/reward.txt"
    assert task.problem.startswith("Improve ABS module loading")
    assert (task.fail_to_pass, task.gold) == ((), "")


# ---------------------------------------------------------------------------------- patches


def git(*arguments, cwd, stdin=None):
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def tree(folder):
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o111 > 0)
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def commit(folder):
    if not (folder / ".git").exists():
        git("init", "-q", cwd=folder)
    git("add", "-A", cwd=folder)
    name = ("-c", "user.name=x", "-c", "user.email=x@x")
    git(*name, "commit", "-q", "--allow-empty", "-m", "x", cwd=folder)


@real
def test_the_reverse_of_every_published_patch_takes_it_back():
    """Rows hold no repositories: files are made of the patches, with the lines between left out."""
    for file in ("swe-bench", "swe-bench-verified-as-nemo", "swe-gym-as-nemo", "swe-smith"):
        for task in load(FOLDER / f"{file}.jsonl"):
            for patch in filter(None, (task.gold, task.bug, task.test_patch)):
                assert reverse(reverse(patch)) == patch
                assert files_of(reverse(patch)) != ()
                assert re.sub(r"(?m)^([-+ @\\].*|index .*)\n", "", reverse(patch)) == re.sub(
                    r"(?m)^([-+ @\\].*|index .*)\n", "", patch
                ).replace("new file mode", "deleted file mode")


def lay_out(folder, patch):
    """Make the files that a patch expects, with blank lines where it says nothing."""
    for section in re.split(r"(?m)^diff --git ", patch)[1:]:
        path = re.search(r"(?m)^--- a/(.*)$", section)
        if path is None:
            continue
        lines = []
        for start, body in re.findall(
            r"(?ms)^@@ -(\d+)\S* \+\S+ @@[^\n]*\n(.*?)(?=^@@ |\Z)", section
        ):
            lines += [""] * (int(start) - 1 - len(lines))
            lines += [line[1:] for line in body.splitlines() if line[:1] in ("-", " ", "")]
        file = folder / path[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")


@real
def test_gold_after_the_bug_gives_the_files_that_were_there(tmp_path):
    for number, task in enumerate(load(FOLDER / "swe-smith.jsonl")):
        folder = tmp_path / str(number)
        folder.mkdir()
        lay_out(folder, task.bug)
        commit(folder)
        before = tree(folder)

        git("apply", cwd=folder, stdin=task.bug.encode())
        assert tree(folder) != before
        git("apply", cwd=folder, stdin=task.gold.encode())

        assert tree(folder) == before


def test_patches_of_git_for_all_that_it_does_to_files_are_taken_back(tmp_path):
    files = {
        "a file.py": "".join(f"{n}\n" for n in range(40)),
        "end.txt": "a\nb",
        "gone.txt": "-- a\n++ b\n",
        "moved.txt": "".join(f"{n} moved\n" for n in range(20)),
        "mode.sh": "x\n",
        "é.txt": "é\n",
        "cr.txt": "a\r\nb\r\x0cc\r\n",
        "odd.txt": "--- a/x\n+++ b/y\n@@ -1 +1 @@\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    commit(tmp_path)
    before = tree(tmp_path)
    (tmp_path / "a file.py").write_text(
        "".join(f"{n}\n" for n in range(40) if n not in (3, 30)).replace("7\n", "7\nnew\nlines\n")
    )
    (tmp_path / "end.txt").write_text("a\nb\nc\n")
    (tmp_path / "gone.txt").unlink()
    (tmp_path / "moved.txt").rename(tmp_path / "to here é.txt")
    (tmp_path / "to here é.txt").write_text(files["moved.txt"].replace("7", "seven"))
    (tmp_path / "mode.sh").chmod(0o755)
    (tmp_path / "é.txt").write_text("e\n")
    (tmp_path / "cr.txt").write_bytes(b"a\r\nB\r\x0cc\r\n")
    (tmp_path / "odd.txt").write_text("--- b\n")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "x.txt").write_text("no end")
    (tmp_path / "empty.txt").write_text("")
    commit(tmp_path)
    after = tree(tmp_path)
    patch = git("diff", "-M", "HEAD~1", "HEAD", cwd=tmp_path).decode()
    assert "rename from" in patch
    assert "old mode" in patch

    back = reverse(patch)

    assert reverse(back) == patch
    git("apply", cwd=tmp_path, stdin=back.encode())
    assert tree(tmp_path) == before
    git("apply", cwd=tmp_path, stdin=patch.encode())
    assert tree(tmp_path) == after
    commit(tmp_path)
    assert set(files_of(patch)) == {*files, *after}
    assert set(files_of(patch, gone=False)) == set(after)


def changed(patch):
    """Lines that a patch takes away or puts in."""
    body = patch.partition("@@")[2].splitlines()
    return [line for line in body if line[:1] in ("-", "+")]


words = st.lists(st.sampled_from(["a", "b", "- c", "+d", "", "@@ e", "\\ f"]), max_size=12)


@given(words, words, st.integers(0, 3), st.booleans(), st.booleans())
def test_taking_back_twice_gives_the_patch_again(before, after, context, ended, of_git):
    old = [f"{line}\n" for line in before]
    new = [f"{line}\n" for line in after]
    lines = list(difflib.unified_diff(old, new, "a/x", "b/x", n=context))
    if not lines:
        return
    text = "".join(lines)
    if not ended and lines[-1].startswith(" "):
        text += "\\ No newline at end of file\n"
    patch = f"diff --git a/x b/x\nindex 0123abc..4567def 100644\n{text}" if of_git else text

    back = reverse(patch)

    assert reverse(back) == patch
    swapped = {"-": "+", "+": "-"}
    assert sorted(swapped[line[0]] + line[1:] for line in changed(patch)) == sorted(changed(back))
    assert files_of(patch) == ("x",)


@given(st.text(max_size=60) | st.integers(0, len(PATCH)).map(lambda end: PATCH[:end]))
def test_damaged_patches_are_read_or_refused(text):
    with suppress(TaskError):
        reverse(text)
        files_of(text)


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        (PATCH.replace(" y = 1\n", ""), "line 7 is the end of a hunk that announced more lines"),
        (PATCH + "+more\n", "line 8 is a line that its hunk did not announce"),
        ("diff --git a/x b/x\nBinary files a/x and b/x differ\n", "cannot be taken back: it has"),
    ],
)
def test_a_patch_that_cannot_be_taken_back_says_why(patch, says):
    with pytest.raises(TaskError, match=says):
        reverse(patch)


# ------------------------------------------------------------------------------- the formats


def test_django_runs_modules_and_only_those_of_tests(tmp_path):
    patch = "".join(
        PATCH.replace("tests/queries/test_a.py", path)
        for path in ("tests/queries/test_a.py", "tests/queries/models.py", "docs/a.txt")
    )

    (task,) = load(write(tmp_path / "rows.jsonl", {**BENCH, "test_patch": patch}))

    assert task.tests == ("queries.test_a",)
    assert task.parser == "django"
    assert task.test_command.startswith(". /opt/miniconda3/bin/activate && conda activate testbed;")
    assert task.fail_to_pass == ("test_a (m.C)",)
    assert task.pass_to_pass == ("test_b (m.C)",)
    assert task.image == "docker.io/swebench/sweb.eval.x86_64.django_1776_django-1:latest"


def test_a_file_that_a_test_patch_takes_away_is_not_run():
    gone = PATCH.replace("+++ b/tests/queries/test_a.py", "+++ /dev/null").replace(
        "@@ -1,2 +1,2 @@ def test():\n-x = 1\n+x = 2\n y = 1\n", "@@ -1,1 +0,0 @@\n-x = 1\n"
    )
    task = swe_bench.read({**BENCH, "repo": "pallets/flask", "test_patch": gone})
    assert (task.tests, files_of(gone)) == ((), ("tests/queries/test_a.py",))


@pytest.mark.parametrize(
    ("repo", "version", "has", "lacks"),
    [
        ("django/django", "4.2", "--parallel 1", "setup.py install"),
        ("django/django", "3.1", "locale-gen", "setup.py install"),
        ("django/django", "2.2", "setup.py install", "locale-gen"),
        ("django/django", "1.9", "--verbosity 2 {tests}", "--parallel"),
        ("astropy/astropy", "1.3", "-p no:nose", "setup.py"),
        ("astropy/astropy", "v5.3", "pytest -rA {tests}", "nose"),
        ("matplotlib/matplotlib", "2.1", "setup.py build", "nose"),
        ("sympy/sympy", "1.12", "bin/test -C --verbose {tests}", "pytest"),
        ("sphinx-doc/sphinx", "3.5", "tox --current-env -epy39 -v -- {tests}", "setup.py"),
    ],
)
def test_versions_have_commands_of_their_own(repo, version, has, lacks):
    command = swe_bench.shell(swe_bench.find_spec(repo, version))
    assert has in command
    assert lacks not in command


def test_specs_name_parsers_that_there_are():
    for spec in (*swe_bench.SPECS.values(), *swe_gym.SPECS.values(), swe_smith.SPEC):
        assert spec.parser in PARSERS
        assert ("{tests}" in spec.command) != ("{names}" in spec.command)
    assert not set(swe_bench.SPECS) & set(swe_gym.SPECS)


def test_a_row_of_swe_smith_may_name_its_image_and_call_the_bug_a_patch(tmp_path):
    row = {
        "instance_id": "o__r.01234567.x",
        "repo": "swesmith/o__r.01234567",
        "patch": PATCH.rstrip("\n"),
        "FAIL_TO_PASS": ["tests/test_a.py::test_a"],
        "PASS_TO_PASS": ["tests/test_b.py::test_b"],
        "image_name": "jyangballin/swesmith.x86_64.o_1776_r.01234567",
        "problem_statement": "Broken.",
    }

    (task,) = load(write(tmp_path / "rows.jsonl", row))

    assert task.image == "docker.io/jyangballin/swesmith.x86_64.o_1776_r.01234567"
    assert (task.bug, task.gold) == (PATCH, reverse(PATCH))
    assert (task.tests, task.removed) == (
        ("tests/test_a.py", "tests/test_b.py"),
        ("tests/test_a.py",),
    )
    with pytest.raises(TaskError, match="only rows whose tests are pytest's"):
        swe_smith.read({**row, "FAIL_TO_PASS": ["TestGo"]})
    with pytest.raises(TaskError, match=r"give it as 'swesmith/OWNER__NAME\.COMMIT'"):
        swe_smith.read({**without(row, "image_name"), "repo": "o/r"})


def test_a_task_is_written_and_read_again(tmp_path):
    image = Image("base", {"/a.txt": "é", "/b.tar": b"\x00\xff"}, ("true",), "/testbed")
    task = replace(
        from_row(OWN),
        image=image,
        fail_to_pass=("a.py::t[x y]",),
        hidden={"tests/a.py": "x"},
        tests_timeout_s=60.0,
        row={"as": ["published"]},
        source="swe_bench",
    )
    other = replace(from_row(OWN), id="other")
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"\n\n".join(orjson.dumps(to_row(each)) for each in (task, other)))

    assert load(path) == [task, other]
    assert to_row(from_row(OWN)) == {**OWN, "source": "agentgym"}


# ------------------------------------------------------------------------------- the sources


def test_json_jsonl_and_parquet_hold_the_same_tasks(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{**BENCH, "instance_id": f"d__d-{n}", "PASS_TO_PASS": ["t (m.C)"]} for n in range(3)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")

    from_lines = load(write(tmp_path / "rows.jsonl", *rows))

    assert [task.id for task in from_lines] == ["d__d-0", "d__d-1", "d__d-2"]
    assert load(tmp_path / "rows.json") == from_lines
    assert load(tmp_path / "rows.parquet") == from_lines
    assert load(tmp_path / "rows.parquet", limit=2) == from_lines[:2]


def test_a_split_is_taken_where_rows_have_one(tmp_path):
    rows = [{**OWN, "id": f"{n}", "split": ("test", "train")[n % 2]} for n in range(4)]
    path = write(tmp_path / "rows.jsonl", *rows)

    assert [task.id for task in load(path, split="train")] == ["1", "3"]
    assert [task.id for task in load(path, split="train", limit=1)] == ["1"]
    with pytest.raises(ConfigError, match=r"has no tasks of split 'dev'"):
        load(path, split="dev")


def test_a_suite_is_loaded_by_its_name(monkeypatch):
    module = ModuleType("suite_of_mine")
    module.tasks = lambda split: [from_row({**OWN, "split": split})]
    monkeypatch.setitem(sys.modules, "suite_of_mine", module)
    monkeypatch.setitem(swe.SUITES, "mine", "suite_of_mine:tasks")

    assert load("mine", split="dev")[0].split == "dev"
    with pytest.raises(ConfigError, match=r"a suite \(.*mine.*\).*did you mean 'mine'"):
        load("min")


def test_a_dataset_of_the_hub_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    for source in ("hub:SWE-bench/SWE-bench_Lite", "SWE-bench/SWE-bench_Lite"):
        with pytest.raises(RegistryError, match="needs datasets: pip install datasets"):
            load(source)


def test_a_local_dataset_is_loaded_by_the_package(tmp_path):
    pytest.importorskip("datasets")
    write(tmp_path / "test.jsonl", OWN)
    write(tmp_path / "train.jsonl", {**OWN, "id": "other"})

    assert [task.id for task in load(f"hub:{tmp_path}")] == ["mine"]
    (task,) = load(f"hub:{tmp_path}", split="train")
    assert (task.id, task.split) == ("other", "train")
    with pytest.raises(ConfigError, match="cannot load split 'dev'"):
        load(f"hub:{tmp_path}", split="dev")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"source": "nowhere.jsonl"}, r"no tasks at 'nowhere.jsonl': give a .jsonl, .json, .parq"),
        ({"source": "nothing"}, r"or 'hub:ORG/NAME' for a dataset"),
        ({"source": "x", "format": "swebench"}, r"format is 'swebench'.*did you mean 'swe_bench'"),
        ({"source": "x", "limit": 0}, r"limit is 0: give at least 1"),
    ],
)
def test_a_source_that_is_not_there_says_what_to_give(arguments, says):
    with pytest.raises(ConfigError, match=says):
        load(**arguments)


@pytest.mark.parametrize(
    ("row", "format", "says"),
    [
        (without(BENCH, "FAIL_TO_PASS"), None, "as swe_bench: has no 'FAIL_TO_PASS': give a list"),
        ({**BENCH, "PASS_TO_PASS": "[1"}, None, "'PASS_TO_PASS' is '.*', which is no JSON"),
        ({**BENCH, "PASS_TO_PASS": [1]}, None, r"'PASS_TO_PASS' is \[1\]: give a list of texts"),
        ({**BENCH, "problem_statement": None}, None, "has no 'problem_statement': give text"),
        ({**BENCH, "version": 4.2}, None, "'version' is 4.2: give text"),
        ({**BENCH, "repo": "django/djang"}, None, "no test command.*did you mean 'django/django'"),
        ({**BENCH, "test_patch": "@@ -1,9 +1,9 @@\n x"}, None, "the patch is damaged: line 3"),
        (without(BENCH, "version"), "swe_bench", "has no 'version'"),
        (without(BENCH, "environment_setup_commit"), None, "as swe_gym: 'repo' is 'django/dj"),
        ({"question": "?"}, None, r"is of no known format \(agentgym, .*which it lacks '"),
        (without(OWN, "workdir"), None, "closest is agentgym, for which it lacks 'workdir'"),
        (
            {**OWN, "hidden_": 1},
            None,
            "'hidden_', which is no field of a task; did you mean 'hidden'",
        ),
        ({**OWN, "hidden": {"a": 1}}, None, "'hidden' is .*: give an object of names and texts"),
        ({**OWN, "tests_timeout_s": -1}, None, "'tests_timeout_s' is -1: give a number above 0"),
        ({**OWN, "evaluation": "x"}, None, "'evaluation' is 'x': give 'tests' or 'reward_file'"),
        ({**OWN, "evaluation": "reward_file"}, None, "has no 'reward_file'"),
        ({**OWN, "image": {}}, None, "has no 'base': give text"),
        ({**OWN, "image": {"base": "x", "files": {"/a": 1}}}, None, "a file '/a' that is neither"),
        ({"responses_create_params": {"input": []}}, None, "has no 'task_id'"),
        ({"responses_create_params": 1, "task_id": "x"}, None, "has no prompt: give 'responses"),
        ({"responses_create_params": {}, "instance": 1}, None, "'instance' is int: give the wrap"),
        ([1], None, "is list: give an object with keys"),
    ],
)
def test_a_malformed_row_says_where_it_is_and_what_to_give(tmp_path, row, format, says):
    path = write(tmp_path / "rows.jsonl", row)
    with pytest.raises(TaskError, match=says) as raised:
        load(path, format=format)
    assert str(raised.value).startswith(f"{str(path)!r}, row 1")


def test_the_line_of_a_damaged_row_is_told(tmp_path):
    path = write(tmp_path / "rows.jsonl", OWN)
    path.write_text("\n" + path.read_text() + '{"id": ')
    with pytest.raises(TaskError, match=r"rows.jsonl', row 3: is no JSON"):
        load(path)
    (tmp_path / "rows.json").write_text("nothing")
    with pytest.raises(TaskError, match=r"rows.json': is no JSON"):
        load(tmp_path / "rows.json")
    (tmp_path / "rows.parquet").write_text("nothing")
    pytest.importorskip("pyarrow")
    with pytest.raises(TaskError, match=r"rows.parquet' is no parquet file"):
        load(tmp_path / "rows.parquet")


def test_two_tasks_with_one_id_are_refused(tmp_path):
    with pytest.raises(TaskError, match="has 2 tasks with the id 'mine'"):
        load(write(tmp_path / "rows.jsonl", OWN, OWN))


def test_every_format_has_a_loader():
    for name, path in swe.FORMATS.items():
        module, _, function = path.partition(":")
        assert callable(getattr(__import__(module, fromlist=["x"]), function)), name
    assert set(swe.SIGNS) == set(swe.FORMATS)
    assert isinstance(from_row(OWN), SWETask)
