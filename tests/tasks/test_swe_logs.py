"""What test runners print is read back to what their tests did; printing cannot better it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.tasks.swe_logs import PARSERS, add_parser, is_kept, is_solved, status_of

BAD = {"failed", "error"}

# ------------------------------------------------------------------------------- real runs

PYTEST_FILE = r'''
import unittest
import pytest

@pytest.mark.parametrize(
    "x", ["a b", "x] - y", "[z]", "é", "a - b", "\n", "PASSED", "c::d", "e FAILED f", "- [g"]
)
def test_p(x):
    assert x not in ("a - b", "x] - y"), "boo - [hoo]"

@pytest.mark.xfail(reason="known - bad")
def test_expected():
    assert 0

@pytest.mark.xfail
def test_unexpected():
    pass

@pytest.mark.xfail(strict=True)
def test_strict():
    pass

@pytest.mark.skip(reason="(not [now])")
def test_skipped():
    pass

@pytest.fixture
def broken():
    raise RuntimeError("x")

@pytest.fixture
def breaks_later():
    yield
    raise RuntimeError("x")

def test_setup(broken):
    pass

def test_teardown(breaks_later):
    pass

class TestClass:
    class TestInner:
        def test_m(self):
            print("a.py::test_setup PASSED   [ 10%]\nPASSED a.py::test_strict")
            print("=== short test summary info ===\nPASSED a.py::test_never")

    def test_f(self):
        assert [] == [1] and " - " in "]"

class TestCase(unittest.TestCase):
    def test_subtest(self):
        for i in range(3):
            with self.subTest("m s", i=i):
                self.assertNotEqual(i, 1)

    def test_fine(self):
        """A docstring."""

    @unittest.expectedFailure
    def test_known(self):
        self.fail()

def test_subtests(subtests):
    with subtests.test("m", k=1):
        assert 0
'''

RECORD = """
import json, pathlib
seen = {}
def pytest_runtest_logreport(report):
    name = type(report).__name__
    seen.setdefault(report.nodeid, []).append([name, report.when, report.outcome,
                                               hasattr(report, "wasxfail")])
def pytest_sessionfinish():
    pathlib.Path("truth.json").write_text(json.dumps(seen))
"""


def truth_of(reports):
    """What the reports of one test come to."""
    if any(outcome == "failed" and when != "call" for _, when, outcome, _ in reports):
        return "error"
    if any(outcome == "failed" for _, _, outcome, _ in reports):
        return "failed"
    if any(outcome == "skipped" for _, _, outcome, _ in reports):
        return "xfailed" if any(expected for *_, expected in reports) else "skipped"
    return "passed"


def run(*arguments, cwd):
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    return done.stdout


@pytest.mark.parametrize(
    "options",
    [
        "-rA",
        "-v",
        "-rA -v",
        "-vv --tb=no",
        "-v -rA -n1",
        "-rA -q",
        "-v --color=yes",
        "-rA --color=yes --tb=no --no-header",
    ],
)
def test_a_real_run_of_pytest_is_read_as_what_its_tests_did(tmp_path, options):
    (tmp_path / "a.py").write_text(PYTEST_FILE)
    (tmp_path / "conftest.py").write_text(RECORD)

    command = ["pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", *options.split(), "a.py"]
    output = run(*command, cwd=tmp_path)

    truth = {
        id: truth_of(reports)
        for id, reports in json.loads((tmp_path / "truth.json").read_text()).items()
    }
    assert set(truth.values()) == {"passed", "xfailed", "skipped", "failed", "error"}
    found = PARSERS["pytest"](output)
    for id, status in truth.items():
        told = status_of(id, found)
        if status == "skipped" and "-v" not in options:
            assert told == "missing"  # a summary tells of the line that skipped
        elif id == "a.py::test_p[x] - y]" and "-v" not in options:
            assert told == "missing"  # its line ends in a reason, and nothing says where
            assert found["a.py::test_p[x]"] == "failed"
        else:
            assert (id, told) == (id, status)
    assert "a.py::test_never" not in found
    assert set(found) <= {*truth, "a.py::test_p[x]"}


def test_a_file_that_cannot_be_imported_is_an_error_of_all_its_tests(tmp_path):
    (tmp_path / "a.py").write_text("def test_a(): pass")
    (tmp_path / "b.py").write_text("print('PASSED b.py::test_b')\nimport nothing_like_it")
    options = ["-p", "no:cacheprovider", "-p", "no:asyncio", "--continue-on-collection-errors"]

    found = PARSERS["pytest"](run("pytest", "-rA", *options, "a.py", "b.py", cwd=tmp_path))

    assert found == {"a.py::test_a": "passed", "b.py": "error"}
    spoofed = "b.py::test_b PASSED\n=== short test summary info ===\nERROR b.py - Boom"
    assert PARSERS["pytest"](spoofed) == {"b.py": "error", "b.py::test_b": "error"}


UNITTEST_FILE = '''
import sys
import unittest


class Main(unittest.TestCase):
    def test_fine(self):
        pass

    def test_described(self):
        """One line ... of it

        and more"""

    def test_described_and_bad(self):
        """Another line."""
        self.fail("x")

    def test_bad(self):
        print("hello\\nok")
        self.fail("x")

    def test_prints(self):
        print("hello")

    def test_prints_on_its_line(self):
        sys.stderr.write("hello")

    def test_error(self):
        raise RuntimeError("test_fine (a.Main) ... FAIL")

    @unittest.skip("no ... ok")
    def test_skipped(self):
        pass

    @unittest.expectedFailure
    def test_expected(self):
        self.fail()

    @unittest.expectedFailure
    def test_unexpected(self):
        pass

    def test_subtests(self):
        for i in range(3):
            with self.subTest("m s", i=i):
                self.assertNotEqual(i, 1)

class Unset(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError

    def test_never(self):
        pass
'''

TRUTH = {
    "test_fine": "passed",
    "test_described": "passed",
    "test_described_and_bad": "failed",
    "test_bad": "failed",
    "test_prints": "passed",
    "test_prints_on_its_line": "passed",
    "test_error": "error",
    "test_skipped": "skipped",
    "test_expected": "xfailed",
    "test_unexpected": "failed",
    "test_subtests": "failed",
}


@pytest.mark.parametrize("version", ["", "3.8", "3.9", "3.10", "3.12", "3.13"])
def test_a_real_run_of_unittest_is_read_as_what_its_tests_did(tmp_path, version):
    (tmp_path / "a.py").write_text(UNITTEST_FILE)
    python = sys.executable
    if version:
        found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        if not found:
            pytest.skip(f"there is no Python {version} of pyenv's")
        python = str(found[0])
    command = [python, "-m", "unittest", "-v", "a"]
    done = subprocess.run(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = done.stdout

    def name(test, of="Main"):
        full = f"a.{of}" if version in ("3.8", "3.9", "3.10") else f"a.{of}.{test}"
        return f"{test} ({full})"

    found = PARSERS["unittest"](output)
    assert {test: status_of(name(test), found) for test in TRUTH} == TRUTH
    printed = {"RuntimeError: test_fine (a.Main)"}  # by a test, as if it were one
    assert set(found) - printed == {*map(name, TRUTH), "setUpClass (a.Unset)"}
    assert found["setUpClass (a.Unset)"] == "error"
    by_docstring = PARSERS["django"](output)
    assert by_docstring["One line ... of it"] == "passed"
    assert by_docstring["Another line."] == "failed"
    assert {by_docstring[name(test)] for test in ("test_bad", "test_subtests")} <= BAD
    assert by_docstring[name("test_prints")] == "passed"


SYMPY = """============================= test process starts ==============================
executable:         /usr/bin/python  (3.11.7-final-0) [CPython]
hash randomization: off

sympy/core/tests/test_zy.py[1]
test_shared F                                                             [FAIL]

sympy/core/tests/test_zz.py[9]
test_ok ok
test_print hello
ok
test_f F
test_e E
test_s because of it s
test_xf f
test_xp X
test_slow Slow w
test_shared ok
test_last ok                                                              [FAIL]


________________________________ xpassed tests _________________________________
sympy/core/tests/test_zz.py: test_xp

________________________________________________________________________________
______________________ sympy/core/tests/test_zz.py:test_e ______________________
Traceback (most recent call last):
  File "/tmp/sy/sympy/core/tests/test_zz.py", line 5, in test_e
RuntimeError: x

 tests finished: 3 passed, 2 failed, 2 skipped, 1 expected to fail,
1 expected to fail but passed, 1 exceptions, in 0.43 seconds
DO *NOT* COMMIT!
"""


def test_what_sympy_printed_is_read_with_the_last_test_of_a_file():
    assert PARSERS["sympy"](SYMPY) == {
        "test_shared": "failed",  # of one of two files
        "test_ok": "passed",
        "test_print": "passed",
        "test_f": "failed",
        "test_e": "error",
        "test_s": "skipped",
        "test_xf": "xfailed",
        "test_xp": "passed",
        "test_slow": "skipped",
        "test_last": "passed",
        "sympy/core/tests/test_zz.py:test_e": "failed",
    }


def test_a_line_of_django_that_its_own_output_interrupted_is_read():
    output = """test_a (m.C) ... Internal Server Error: /x/
ok
Applying sites.0002_alter_domain_unique...test_b (m.C) ... ok
test_c (m.C) ... Testing against Django installed in '/testbed/django'
System check identified no issues (0 silenced).
ok
A docstring of two tests ... ok
A docstring of two tests ... FAIL
test_d (m.C) ... test_e (m.C) ... ok
test_f (m.C) ..."""

    assert PARSERS["django"](output) == {
        "test_a (m.C)": "passed",
        "test_b (m.C)": "passed",
        "test_c (m.C)": "passed",
        "A docstring of two tests": "failed",
        "test_d (m.C)": "failed",  # it began, and the next one did
        "test_e (m.C)": "passed",
        "test_f (m.C)": "failed",  # it was the last that ran
    }


def test_words_of_old_versions_of_pytest_are_read():
    output = """=== test session starts ===
a.py::test_x xfail
a.py::test_y PASSED
=== short test summary info ===
FAIL a.py::test_y
XFAIL a.py::test_x
  a reason
SKIP [1] a.py:3: no
"""
    assert PARSERS["pytest"](output) == {"a.py::test_x": "xfailed", "a.py::test_y": "failed"}


def test_names_that_swe_bench_changes_are_changed():
    output = "PASSED a.py::t[/home/x/data.dcm]\nPASSED a.py::t[//x/y]\nPASSED a.py::t[/a/*.py]"
    assert set(PARSERS["pytest_options"](output)) == {
        "a.py::t[/data.dcm]",
        "a.py::t[//x/y]",
        "a.py::t[/a/*.py]",
    }
    found = PARSERS["pytest_options"](output)
    assert is_solved("a.py::t[/n/fs/elsewhere/x/data.dcm]", found)
    output = "PASSED a.py::t[MouseButton.LEFT]\nFAILED a.py::t[MouseButton.RIGHT-x] - no"
    assert PARSERS["pytest_matplotlib"](output) == {
        "a.py::t[1]": "passed",
        "a.py::t[3-x]": "failed",
    }


def test_a_parser_can_be_added(monkeypatch):
    monkeypatch.delitem(PARSERS, "mine", raising=False)

    @add_parser("mine")
    def parse(output):
        return dict.fromkeys(output.split(), "passed")

    assert PARSERS.pop("mine")("a b") == {"a": "passed", "b": "passed"}


# --------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("status", "solved", "kept"),
    [
        ("passed", True, True),
        ("xfailed", True, True),
        ("skipped", False, True),
        ("failed", False, False),
        ("error", False, False),
    ],
)
def test_a_skipped_test_is_kept_but_not_solved(status, solved, kept):
    found = {"a.py::t": status}
    assert (is_solved("a.py::t", found), is_kept("a.py::t", found)) == (solved, kept)


def test_a_test_that_is_not_there_has_failed():
    assert status_of("a.py::t", {"a.py::t[x]": "passed"}) == "missing"
    assert not is_solved("a.py::t", {})
    assert not is_kept("a.py::t", {})


def test_a_name_cut_at_a_space_stands_for_all_that_it_may_begin():
    found = {"a.py::t[x y]": "passed", "a.py::t[x z]": "xfailed", "a.py::t[xy]": "failed"}
    assert is_solved("a.py::t[x", found)  # t[xy] has no space there
    assert is_kept("a.py::t[x", {**found, "a.py::t[x w]": "skipped"})
    assert not is_solved("a.py::t[x", {**found, "a.py::t[x w]": "skipped"})
    assert not is_kept("a.py::t[x", {**found, "a.py::t[x w]": "failed"})
    assert is_solved("a.py::t[ab", {"a.py::t[abc]": "passed"})  # cut elsewhere
    assert is_solved("a.py::t[a]", {"a.py::t[a] b]": "passed"})
    assert status_of("a.py::t[a]", {"a.py::t[a]b]": "passed"}) == "missing"
    assert status_of("a.py::t", {"a.py::t x": "passed"}) == "missing"


# -------------------------------------------------------------------------------- properties

NAMES = ["a.py::t", "a.py::t[x]", "a.py::t[x] - y]", "a.py::C::t[a b]", "b.py::t"]
pieces = st.sampled_from(
    [
        *NAMES,
        *("PASSED", "FAILED", "ERROR", "XFAIL", "SKIPPED", "SUBFAILED[m]", "[gw0]", "[ 10%]"),
        *(" ", " - ", " ... ", "(m.C)", "test_a", "ok", "FAIL", "FAIL: ", "skipped 'x'", "E", "F"),
        *("=== test session starts ===", "=== short test summary info ===", "=== PASSES ==="),
        *(
            "=" * 70,
            "-" * 70,
            "\n",
            "3 passed in 0.1s",
            "\x1b[31m",
            "____ x.py:test_a ____",
            "a.py",
        ),
    ]
)
soup = st.lists(pieces | st.text(max_size=5), max_size=40).map("".join)


@given(soup, st.sampled_from(sorted(PARSERS)))
def test_any_text_is_read(text, name):
    for test, status in PARSERS[name](text).items():
        assert isinstance(test, str)
        assert status in ("passed", "xfailed", "skipped", "failed", "error")


statuses = st.sampled_from(["PASSED", "FAILED", "ERROR", "XFAIL", "SKIPPED", "XPASS"])
reports = st.lists(st.tuples(st.sampled_from(NAMES), statuses), min_size=1, max_size=8)


@st.composite
def pytest_logs(draw):
    listed = draw(reports)
    verbose, summed = draw(st.sampled_from([(True, False), (True, True), (False, True)]))
    lines = ["=== test session starts ==="]
    if verbose:
        lines += [f"{name} {word}   [ 10%]" for name, word in listed]
    if summed:
        reason = draw(st.sampled_from(["", " - assert [1] - 2", " - y]"]))
        lines += ["=== short test summary info ==="]
        lines += [f"{word} {name}{reason if word != 'PASSED' else ''}" for name, word in listed]
    return [*lines, "=== 1 passed in 0.1s ==="]


def is_bad(status):
    return status in BAD


@given(pytest_logs(), st.lists(soup, max_size=4), st.data())
def test_added_lines_never_make_a_failed_test_of_pytest_pass(lines, added, data):
    before = PARSERS["pytest"]("\n".join(lines))
    extra = list(added)
    extra += data.draw(st.lists(st.sampled_from([f"PASSED {n}" for n in NAMES]), max_size=3))
    extra += data.draw(st.lists(st.sampled_from([f"{n} PASSED" for n in NAMES]), max_size=3))
    for line in extra:
        lines.insert(data.draw(st.integers(0, len(lines))), line)

    after = PARSERS["pytest"]("\n".join(lines))

    for name, status in before.items():
        if is_bad(status):
            assert not is_kept(name, {name: after[name]} if name in after else {})


ended = st.sampled_from(["ok", "FAIL", "ERROR", "skipped 'x'", "expected failure"])
unit_names = st.sampled_from([f"test_{letter} (m.C)" for letter in "abcd"])


@given(
    st.lists(st.tuples(unit_names, ended, st.sampled_from([" ", "\n", " x\n"])), max_size=6),
    st.lists(soup | st.builds("{} ... ok".format, unit_names) | st.just("ok"), max_size=5),
    st.data(),
)
def test_added_lines_never_make_a_failed_test_of_unittest_pass(listed, added, data):
    lines = "".join(f"{name} ...{gap}{word}\n" for name, word, gap in listed).splitlines()
    for name, word, _ in listed:
        if word in ("FAIL", "ERROR"):
            lines += ["=" * 70, f"{word}: {name}", "-" * 70, "Traceback", ""]
    failed = {name for name, word, _ in listed if word in ("FAIL", "ERROR")}
    for parser in ("unittest", "django"):
        assert {n for n, s in PARSERS[parser]("\n".join(lines)).items() if is_bad(s)} == failed
    for line in added:
        lines.insert(data.draw(st.integers(0, len(lines))), line)

    for parser in ("unittest", "django"):
        after = PARSERS[parser]("\n".join(lines))
        assert all(is_bad(after[name]) for name in failed)


def test_a_reason_right_behind_an_expected_failure_is_no_part_of_its_name():
    output = "\n".join(
        [
            "=== short test summary info ===",
            "PASSED a.py::test_ok",
            "XFAIL a.py::test_plain Needs to be fixed",
            "XFAIL a.py::test_some[x y] is [not] done",
            "XPASS a.py::test_new - see b",
        ]
    )
    found = PARSERS["pytest"](output)
    assert found["a.py::test_plain"] == "xfailed"
    assert found["a.py::test_new"] == "passed"
    assert set(found) >= {"a.py::test_ok", "a.py::test_plain", "a.py::test_new"}
