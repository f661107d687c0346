"""Grading: nothing that is tried passes (the matrix of attacks), and what is right does."""

from __future__ import annotations

import ast
import random
import subprocess
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import count

import pytest
import swe_attacks as attacks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgym.envs import swe_grade
from agentgym.envs.swe_control import Canary, spoil
from agentgym.envs.swe_diff import Version, write_diff
from agentgym.envs.swe_gate import admit
from agentgym.envs.swe_grade import grade, grader_image, policy_image, run_tests
from agentgym.errors import SandboxError
from agentgym.sandbox import Change, Image, find_backend, open_sandbox
from agentgym.tasks.swe import SWETask
from agentgym.tasks.swe_patches import reverse
from agentgym.tasks.swe_projects import suite

TASK = replace(
    next(each for each in suite() if each.id == "projects:almanac-1"), tests_timeout_s=20
)
GOLD = attacks.file("/tmp/gold.patch", TASK.gold) + "git apply --whitespace=nowarn /tmp/gold.patch"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Controls are made here, and not taken from what another version has made."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swe_grade, "cache_folder", lambda *parts: folder.joinpath(*parts))
        yield folder


def opener(backend, workdir=TASK.workdir):
    return partial(open_sandbox, backend=backend, workdir=workdir)


def play(script, backend, task=TASK):
    """What an agent changes by a command."""
    image = policy_image(task, find_backend(backend))
    with closing(opener(backend, task.workdir)(image)) as box:
        box.manifest(task.workdir, exclude=[".git"])
        done = box.run(script, background=True)
        return done, box.changes()


def graded(script, backend, task=TASK):
    _, changes = play(script, backend, task)
    return grade(task, changes, find_backend(backend), opener(backend, task.workdir))


# -------------------------------------------------------------------------------- the matrix


def test_the_solution_passes_and_is_confirmed(box_backend):
    verdict = graded(GOLD, box_backend)
    assert (verdict.level, verdict.flags) == ("passes", ())
    assert verdict.confirmed
    assert all(verdict.tests.values())


@pytest.mark.parametrize("name", attacks.REFUSED)
def test_what_grades_cannot_be_changed_by(name, box_backend):
    verdict = graded(attacks.REFUSED[name], box_backend)
    assert verdict.level in ("empty", "fails")
    assert verdict.fail_to_pass == 0
    assert verdict.flags


@pytest.mark.parametrize("name", attacks.UNSEEN)
def test_nothing_comes_of(name, box_backend):
    verdict = graded(attacks.UNSEEN[name], box_backend)
    assert verdict.level in ("empty", "fails")
    assert verdict.fail_to_pass == 0


@pytest.mark.parametrize("name", attacks.WORK)
def test_work_that_cheats_fails_with(name, box_backend):
    verdict = graded(attacks.WORK[name], box_backend)
    assert verdict.level == "fails"
    assert verdict.fail_to_pass == 0
    assert verdict.patch


@pytest.mark.parametrize(
    "name", ["conftest in a folder of tests", "json shadowed on the path", "folder that is a link"]
)
def test_the_solution_counts_beside_what_is_refused(name, box_backend):
    with_gold = f"{GOLD}\n{attacks.REFUSED[name]}"
    verdict = graded(with_gold, box_backend)
    assert verdict.flags
    assert verdict.passed == (name != "folder that is a link")


def test_the_same_changes_have_the_same_verdict(box_backend):
    backend = find_backend(box_backend)
    for script in (GOLD, attacks.WORK["answers that equal everything"]):
        _, changes = play(script, box_backend)
        one, other = (grade(TASK, changes, backend, opener(box_backend)) for _ in range(2))
        assert replace(one, log="") == replace(other, log="")


# -------------------------------------------------------------------------------- other tasks

UNITTESTS = """import unittest
from code_ import double

class TestDouble(unittest.TestCase):
    def test_numbers(self):
        self.assertEqual(double(4), 8)
    def test_words(self):
        self.assertEqual(double("ab"), "abab")
"""
SMALL = SWETask(
    id="small",
    repo="small",
    problem="",
    image=Image(
        "base",
        {"/repo/code_.py": "def double(x):\n    return x\n", "/repo/old.txt": "1\n2\n3\n"},
        workdir="/repo",
    ),
    workdir="/repo",
    test_command="python3 -m unittest -v {tests}",
    tests=("test_code",),
    parser="unittest",
    fail_to_pass=tuple(f"test_{x} (test_code.TestDouble.test_{x})" for x in ("numbers", "words")),
    gold="--- a/code_.py\n+++ b/code_.py\n@@ -1,2 +1,2 @@\n def double(x):\n-    return x\n"
    "+    return 2 * x\n",
    hidden={"test_code.py": UNITTESTS},
)
NAMED = replace(
    SMALL,
    id="named",
    test_command="python3 -m pytest -rA -k 'numbers or words' test_code.py",
    tests=(),
    parser="pytest",
    fail_to_pass=("test_code.py::TestDouble::test_numbers", "test_code.py::TestDouble::test_words"),
)
SCRIPT = replace(
    SMALL,
    id="script",
    test_command="python3 -m unittest test_code && mkdir -p /logs && echo 1 > /logs/reward.txt",
    evaluation="reward_file",
    reward_file="/logs/reward.txt",
    fail_to_pass=(),
    tests=(),
)
IN_PACKAGES = replace(
    SMALL,
    id="in packages",
    test_command="cd tests && PYTHONPATH=.. python3 -m unittest -v {tests}",  # as Django's runner
    tests=("doubles.test_code",),
    parser="django",
    fail_to_pass=tuple(name.replace("(", "(doubles.") for name in SMALL.fail_to_pass),
    hidden={"tests/doubles/__init__.py": "", "tests/doubles/test_code.py": UNITTESTS},
)
ALL_THERE_ARE = replace(
    NAMED, id="all there are", test_command="python3 -m pytest -rA {tests}", tests=()
)
SCRIPT_OF_TESTS = replace(
    SCRIPT,
    id="script of tests",
    test_command=SCRIPT.test_command.replace("test_code", "{tests}"),
    tests=("test_code",),
)
RUNNERS = [SMALL, NAMED, SCRIPT, IN_PACKAGES, ALL_THERE_ARE, SCRIPT_OF_TESTS]
SMALL_GOLD = "sed -i 's/return x/return 2 * x/' code_.py"
IS_UNITTEST = "import unittest as _u\n"
CHEATS = {
    "assertions that do nothing": IS_UNITTEST + "_u.TestCase.assertEqual = lambda *a, **k: None",
    "tests that end at once": IS_UNITTEST
    + "_u.TestCase._callTestMethod = lambda self, method: None",
    "answers that equal everything": attacks.ALWAYS_EQUAL + "double = lambda x: _Same()",
    "a file with the reward": "import os\nos.makedirs('/logs', exist_ok=True)\n"
    "open('/logs/reward.txt', 'w').write('1')",
}


@pytest.mark.parametrize("task", RUNNERS, ids=lambda task: task.id)
def test_other_runners_pass_the_solution(task, box_backend):
    verdict = graded(SMALL_GOLD, box_backend, task)
    assert (verdict.level, verdict.flags) == ("passes", ())
    assert verdict.confirmed


@pytest.mark.parametrize("name", CHEATS)
@pytest.mark.parametrize("task", [SMALL, NAMED, SCRIPT, IN_PACKAGES], ids=lambda task: task.id)
def test_other_runners_are_not_fooled_by(name, task, box_backend):
    verdict = graded(attacks.inject(CHEATS[name], "code_.py"), box_backend, task)
    assert verdict.level == "fails"


def test_a_planted_reward_does_not_count(box_backend):
    task = replace(SCRIPT, reward_file="/repo/reward.txt", test_command="false")
    verdict = graded("echo 1 > reward.txt; echo 'x = 1' >> code_.py", box_backend, task)
    assert (verdict.level, verdict.fail_to_pass) == ("fails", 0)
    assert verdict.flags == ("protected test: reward.txt", "no reward file")


def test_without_a_solution_a_pass_is_not_confirmed(box_backend):
    verdict = graded(SMALL_GOLD, box_backend, replace(SMALL, gold="", id="unsolved"))
    assert (verdict.level, verdict.confirmed) == ("passes", False)


def test_part_of_the_work_is_told_as_part(box_backend):
    half = "sed -i 's/return x/return 2 * x if x == 4 else x/' code_.py"
    verdict = graded(half, box_backend, NAMED)
    assert (verdict.level, verdict.fail_to_pass) == ("fails", 0.5)


# -------------------------------------------------------------------------------- the gate


def counting(backend):
    """Opens boxes that know how many there were before."""
    number = count(1)

    def open_box(image):
        box = opener(backend, "/repo")(image)
        box.write("/tmp/number", str(next(number)))
        return box

    return open_box


def test_a_sound_task_is_admitted_without_its_flaky_tests(box_backend):
    flaky = (
        "    def test_turns(self):\n        assert int(open('/tmp/number').read()) in (4, 6, 7)\n"
    )
    name = "test_turns (test_code.TestDouble.test_turns)"
    task = replace(SMALL, id="flaky", hidden={"test_code.py": UNITTESTS + flaky})
    for listed in ({"fail_to_pass": (*SMALL.fail_to_pass, name)}, {"pass_to_pass": (name,)}):
        found = admit(replace(task, **listed), find_backend(box_backend), counting(box_backend))
        assert (found.problems, found.task.flaky) == ((), (name,))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"gold": ""}, "it has no solution"),
        ({"gold": SMALL.gold.replace("return x", "return y")}, "its solution does not apply"),
        ({"gold": SMALL.gold.replace("2 * x", "3 * x")}, "solved, 2 of 2 tests to mend fail"),
        ({"bug": SMALL.gold, "gold": reverse(SMALL.gold)}, "as it is, 2 of 2 tests to mend pass"),
        ({"pass_to_pass": ("test_more (test_code)",)}, "as it is, 1 of 1 other tests fail"),
        ({"flaky": SMALL.fail_to_pass}, "every test to mend is flaky"),
        ({"test_patch": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"}, "test patch does not apply"),
        ({"setup": ("exit 3",)}, "ended with 3"),
    ],
)
def test_a_task_that_is_not_sound_says_why(changed, problem, box_backend):
    task = replace(SMALL, id="unsound", **changed)
    found = admit(task, find_backend(box_backend), opener(box_backend, "/repo"))
    assert not found.sound
    assert any(problem in each for each in found.problems), found.problems


# -------------------------------------------------------------------------------- faults


def test_a_grader_that_dies_is_no_verdict(box_backend):
    _, changes = play(GOLD, box_backend)

    def dying(image):
        box = opener(box_backend)(image)
        real = box.run

        def run(command, **options):
            if "pytest" in command:
                box.close()
            return real(command, **options)

        box.run = run
        return box

    with pytest.raises(SandboxError):
        grade(TASK, changes, find_backend(box_backend), dying)


@pytest.mark.parametrize(
    "patch",
    [
        "--- a/none.py\n+++ b/none.py\n@@ -1 +1 @@\n-x\n+y\n",
        "--- a/none.py\n+++ b/none.py\n@@ -1,9 +1 @@\n-x\n",
    ],
    ids=["of another repository", "damaged"],
)
def test_a_test_patch_that_does_not_apply_is_the_tasks_fault(patch, box_backend):
    task = replace(SMALL, test_patch=patch)
    with pytest.raises(SandboxError, match="task small: its test patch"):
        graded(SMALL_GOLD, box_backend, task)


def test_nothing_of_the_policy_can_be_in_the_way_of_the_tests(box_backend):
    patch = write_diff("spec/test_code.py", None, Version(UNITTESTS.encode()))
    task = replace(NAMED, id="patched", hidden={}, test_patch=patch)
    task = replace(task, test_command=task.test_command.replace("test_code", "spec/test_code"))
    task = replace(task, fail_to_pass=tuple(f"spec/{name}" for name in task.fail_to_pass))
    for trick in ("echo > spec", "ln -s /tmp spec", "printf '* eol=crlf\\n' > .gitattributes"):
        verdict = graded(f"{SMALL_GOLD}; {trick}", box_backend, task)
        assert verdict.passed, verdict


def test_controls_that_could_not_be_made_are_made_another_time(box_backend):
    task = replace(SMALL, id=f"busy {box_backend}")
    backend, open_box = find_backend(box_backend), opener(box_backend, "/repo")
    _, changes = play(SMALL_GOLD, box_backend, task)
    runs = []

    def busy(image):
        box = open_box(image)
        real = box.run

        def run(command, **options):
            if "unittest" in command:
                runs.append(command)
                if len(runs) > 1:  # but for those that the work is graded by
                    options["timeout_s"] = 0.001
            return real(command, **options)

        box.run = run
        return box

    verdict = grade(task, changes, backend, busy)
    assert (verdict.passed, verdict.confirmed, len(runs)) == (True, False, 3)
    assert grade(task, changes, backend, open_box).confirmed


def test_a_full_disk_is_no_verdict(box_backend):
    class Full:
        def __init__(self, box):
            self.box = box

        def __getattr__(self, name):
            return getattr(self.box, name)

        def write(self, path, data, **options):
            if path.endswith("code_.py"):
                raise OSError(28, "No space left on device", path)
            self.box.write(path, data, **options)

    _, changes = play(SMALL_GOLD, box_backend, SMALL)
    with pytest.raises(SandboxError, match="the work cannot be written"):
        grade(
            SMALL,
            changes,
            find_backend(box_backend),
            lambda image: Full(opener(box_backend, "/repo")(image)),
        )


def test_a_policy_gets_no_removed_test_compiled_either(box_backend):
    files = {**SMALL.image.files, "/repo/tests/test_code.py": UNITTESTS}
    image = Image("base", files, ["python3 -m compileall -q ."], "/repo")
    task = replace(SMALL, image=image, hidden={}, removed=("tests/test_code.py",))
    found = {}
    for make in (policy_image, grader_image):
        with closing(opener(box_backend, "/repo")(make(task, find_backend(box_backend)))) as box:
            found[make] = box.run("find . -name .git -prune -o -name '*code*' -print").output
    assert "test_code" in found[grader_image]
    assert "test_code" not in found[policy_image]
    assert found[policy_image].count("code_") == 2, "others stay, compiled and not"


def test_as_it_is_no_test_is_mended(box_backend):
    with closing(opener(box_backend)(grader_image(TASK, find_backend(box_backend)))) as box:
        verdict = run_tests(TASK, box)
    assert (verdict.level, verdict.fail_to_pass, verdict.pass_to_pass) == ("fails", 0.0, 1.0)


# -------------------------------------------------------------------------------- patches

SWAPS = r"""
rm old.txt && mkdir old.txt && printf 'no newline' > old.txt/inside
mv code_.py 'with space.py' && mkdir code_.py && echo x > code_.py/__init__.py
printf 'a\r\nb\r\n' > crlf.txt; printf 'a\fb\x0bc\xe2\x80\xa8d\re\n' > ends.txt
printf 'caf\xc3\xa9' > 'é "quoted" \.txt'; printf x > "$(printf 'line\nand\ttab')"
printf 'latin \xe9' > latin.txt; head -c 3000 /dev/urandom > binary.bin; touch empty
printf x > "$(printf 'bytes\xff')"; printf '#!/bin/sh\n' > run.sh; chmod 755 run.sh
mkdir -p deep/er/est && echo y > deep/er/est/file; echo z > ./-dash; echo q > '*'
"""


def tree(box):
    """Paths, modes and digests."""
    return box.run(
        "find . -path ./.git -prune -o -type f -exec sha256sum {} + | sort; "
        "find . -path ./.git -prune -o -type f -printf '%m %p\\n' | sort",
        cwd="/repo",
        keep_bytes=1 << 20,
    ).output


def test_a_recorded_patch_makes_the_same_files_of_a_fresh_copy(box_backend):
    backend, open_box = find_backend(box_backend), opener(box_backend, "/repo")
    with closing(open_box(policy_image(SMALL, backend))) as box:
        box.manifest("/repo", exclude=[".git"])
        done = box.run(SWAPS)
        assert (done.code, done.output) == (0, "")
        changes, wanted = box.changes(), tree(box)
    verdict = grade(SMALL, changes, backend, open_box)
    assert verdict.flags == ()
    with closing(open_box(policy_image(SMALL, backend))) as box:
        box.write("/tmp/patch", verdict.patch)
        done = box.run("git apply --whitespace=nowarn /tmp/patch", cwd="/repo")
        assert (done.code, done.output) == (0, "")
        assert tree(box) == wanted


def test_a_file_that_was_only_made_executable_counts(box_backend):
    verdict = graded("chmod +x code_.py", box_backend, SMALL)
    assert (verdict.level, verdict.patch.splitlines()[1:]) == (
        "fails",
        ["old mode 100644", "new mode 100755"],
    )


CONTENTS = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.lists(st.sampled_from(["a\n", "b\n", "c\r\n", "d", "\f\n", "\u2028", "é\n", "\n"])).map(
        lambda lines: "".join(lines).encode()
    ),
)
NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=9
).filter(lambda name: name not in (".", "..") and name.lower() not in (".git", "git~1"))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, st.tuples(CONTENTS, CONTENTS, st.booleans(), st.booleans())))
def test_a_patch_of_any_files_can_be_applied(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("copy")
    patch = ""
    for name, (old, new, was_executable, is_executable) in files.items():
        before = None if old is None else Version(old, was_executable)
        after = None if new is None else Version(new, is_executable)
        patch += write_diff(f"in/{name}", before, after)
        if old is not None:
            (folder / "in").mkdir(exist_ok=True)
            (folder / "in" / name).write_bytes(old)
            (folder / "in" / name).chmod(0o755 if was_executable else 0o644)
    if patch:
        command = ["git", "apply", "--whitespace=nowarn", "-"]
        done = subprocess.run(command, input=patch.encode(), cwd=folder, capture_output=True)
        assert done.returncode == 0, done.stderr
    made = {
        path.name: (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in (folder / "in").glob("*")
    }
    assert made == {n: (new, runs) for n, (_, new, _, runs) in files.items() if new is not None}


def test_large_changes_are_written_at_once():
    old = "".join(f"{n % 7}\n" for n in range(400_000)).encode()
    new = "".join(f"{n % 5}\n" for n in range(400_000)).encode()
    patch = write_diff("a", Version(old), Version(b"x\n" + new))
    assert patch.count("\n@@ ") == 1


def test_changes_far_from_each_other_leave_what_is_between():
    lines = [f"{n}\n" for n in range(5000)]
    old = Version("".join(lines).encode())
    lines[9], lines[4900] = "one\n", "other\n"
    patch = write_diff("a", old, Version("".join(lines).encode()))
    assert (patch.count("\n@@ "), patch.count("\n-"), patch.count("\n+")) == (2, 3, 3)


# -------------------------------------------------------------------------------- controls

SOURCE = """import pytest
from lib import f

@pytest.mark.parametrize("given, told", [(1, 2)])
def test_given(given, told):
    assert f(given) == told

def test_number():
    assert f(1) == [Pair(2, "two"), -3.5, None]

def test_word():
    with pytest.raises(ValueError, match="too small"):
        f(0)

def test_kind():
    with pytest.raises(ValueError):
        f(0)

async def test_truth():
    assert f(3)
    assert not (f(4)) in (f(5))

class TestMore:
    def test_method(self):
        self.assertEqual(f(1), g(2))
        self.assertTrue(f(1))

def test_nothing():
    f(1)

def helper():
    assert 1 == 1
"""


@pytest.mark.parametrize("seed", range(20))
def test_wrong_answers_are_of_the_same_form_and_in_tests_alone(seed):
    sources = {"test_a.py": SOURCE}
    wanted = {"test_a.py": lambda name: name.startswith("test")}
    made = spoil(sources, wanted, random.Random(seed))
    assert made == spoil(sources, wanted, random.Random(seed))
    changed = [
        [
            old
            for old, new in zip(SOURCE.split("\n"), each["test_a.py"].split("\n"), strict=True)
            if old != new
        ]
        for each in made
    ]
    assert [len(lines) for lines in changed] == [3, 3]
    assert len({*changed[0], *changed[1]}) == 6
    assert not any("def " in line or "1 == 1" in line for lines in changed for line in lines)
    for each in made:
        ast.parse(each["test_a.py"])


def test_what_cannot_be_read_or_has_no_answers_is_left():
    wanted = {"a": lambda name: True}
    for source in ("def broken(:", "print 'old'", "", "def test_x():\n    f()\n"):
        assert spoil({"a": source}, wanted, random.Random(0)) == []


def test_a_canary_is_never_the_same_and_looks_like_a_test():
    made = [Canary.of(TASK) for _ in range(20)]
    assert len({each.name for each in made}) > 15
    for each in made:
        assert each.path.startswith("tests/test_")
        assert each.path not in TASK.tests
        assert not any(char.isdigit() for char in each.name + each.path)


def test_a_canary_must_fail_and_nothing_else_will_do():
    canary = Canary("tests/test_a.py", "tests/test_a.py", "test_b", "")
    own = "tests/test_a.py::test_b"
    assert canary.objection({own: "failed"}, 1) == ""
    assert canary.objection({"test_b (tests.test_a.BTest)": "failed"}, 1) == ""
    assert canary.objection({own: "passed"}, 1) == "canary passed"
    assert canary.objection({own: "failed"}, 0) == "canary passed"
    assert canary.objection({own: "failed"}, 137) == "canary passed"
    assert canary.objection({f"{own}_more": "failed"}, 1) == "canary not run"


def test_changes_of_a_policy_may_be_given_in_any_order(box_backend):
    changes = [
        Change("b/c.txt", "added", content=b"x"),
        Change("old.txt", "deleted"),
        Change("old.txt/x", "added", content=b"y"),
    ]
    backend, open_box = find_backend(box_backend), opener(box_backend, "/repo")
    told = {grade(SMALL, order, backend, open_box).patch for order in (changes, changes[::-1])}
    assert len(told) == 1
