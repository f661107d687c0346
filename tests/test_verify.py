"""Verifiers: what counts as the same answer, number, document, test result and state."""

from __future__ import annotations

import json
import math
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym import verify
from agentgym.errors import ConfigError
from agentgym.types import Task
from agentgym.verify import (
    F1,
    ExactMatch,
    JsonMatch,
    Numeric,
    StateMatch,
    UnitTests,
    f1,
    find_verifier,
    normalise,
    read_number,
)
from agentgym.verify.corpus_forms import TEXT_FORMS
from agentgym.verify.text import MAX_CHARS

ODD = st.text("aAnN the.'-+#$%,:;/^1259½²−٤\u0301İß€°‰″“”…×≤eE()[]!?&|*_`\"\n")
TEXTS = st.one_of(st.text(), ODD)


def nested(leaf, key):
    """JSON-like values."""
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(key, inner, max_size=4),
        max_leaves=12,
    )


PLAIN = st.none() | st.booleans() | st.integers()
ANYTHING = nested(PLAIN | st.floats() | TEXTS | st.binary(max_size=4), st.text() | st.integers())
JSON = nested(PLAIN | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.text())


def text(answer, *references):
    return ExactMatch()(Task("q", data={"answers": list(references)}), {"answer": answer})


def number(answer, *references, verifier=None, **data):
    task = Task("q", data={"answers": list(references), **data})
    return (verifier or Numeric())(task, {"answer": answer})


def document(answer, expected, **data):
    return JsonMatch()(Task("q", data={"expected": expected, **data}), {"answer": answer})


# ---------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("said", "normal"),
    [
        ("The Lord of the Rings", "lord of rings"),
        ("the the", "the the"),
        ("Vitamin A", "vitamin a"),
        ("A", "a"),
        ("C++", "c++"),
        ("B-", "b-"),
        ("**A**", "a"),
        ("A*", "a*"),
        ("-∞", "-∞"),
        ("J. R. R. Tolkien", "jrr tolkien"),
        ("O’Brien", "o'brien"),
        ("1,000", "1000"),
        ("1,00,0", "1 00 0"),
        ("−40", "-40"),
        (".5", "0.5"),
        ("10²", "10^2"),
        ("1½", "1 1/2"),
        ("1914 – 1918", "1914-1918"),
        ("COVID-19", "covid-19"),
        ("Jean-Luc", "jean luc"),
        ("6 - 2", "6-2"),
        ("6 -2", "6 -2"),
        ("( 1, 2 )", "(1 2)"),
        ("(A).", "a"),
        ("A to Z", "a to z"),
        ("a to-do list", "to do list"),
        ('5" x 6″', '5" x 6"'),
        ("x := 5; y := 6", "x:=5 y:=6"),
        ("٤٢", "42"),
        ("「東京」", "東京"),
        ("!!!", "!!!"),
        (" \n", ""),
    ],
)
def test_normalisation_keeps_what_matters(said, normal):
    assert normalise(said) == normal


def test_words_of_every_script_keep_their_marks():
    assert normalise("कि") != normalise("की")
    assert normalise("Beyonce\u0301") == normalise("Beyoncé") != normalise("Beyonce")


@settings(deadline=None, max_examples=500)
@given(TEXTS)
def test_normalisation_is_idempotent_and_never_raises(said):
    assert normalise(normalise(said)) == normalise(said)


@settings(deadline=None)
@given(TEXTS.filter(str.strip), TEXTS.filter(str.strip))
def test_matching_is_symmetric_and_reflexive(one, other):
    if not normalise(one) or not normalise(other):
        return
    assert text(one, one).passed
    assert text(one, other) == text(other, one)
    assert f1(normalise(one), normalise(other)) == f1(normalise(other), normalise(one))


@pytest.mark.parametrize("form", TEXT_FORMS, ids=lambda form: form.answer)
def test_what_says_something_else_differs_whichever_is_the_reference(form):
    for wrong in form.wrong:
        assert not text(wrong, form.answer).passed
        assert not text(form.answer, wrong).passed


def test_long_odd_texts_are_normalised_in_no_time():
    started = time.process_time()
    for part in ("'a ", "*a ", '"', "(", "a.", "1,000,", "! ", " - ", "a . ", "\"'", "*'a", "x"):
        normalise((part * MAX_CHARS)[:MAX_CHARS])
    assert time.process_time() - started < 5


def test_any_of_several_references_will_do():
    assert text("ussr", "Soviet Union", "U.S.S.R.").passed
    assert F1()(Task("q", data={"answers": ["a b c", "c d"]}), {"answer": "c e"}).score == 0.5


def test_an_answer_that_only_contains_the_right_one_is_wrong():
    assert text("Paris, London or Rome", "Paris").score == 0.0


def test_f1_is_squads():
    # 2 of 3 words shared with 2 of 4: precision 2/3, recall 1/2.
    task = Task("q", data={"answers": ["big red old house"]})
    outcome = F1()(task, {"answer": "the red house garden"})
    assert outcome.score == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))
    assert outcome.parts == {"f1": outcome.score}
    assert (outcome.passed, outcome.label) == (False, "partly")


def test_f1_counts_repeated_words_once_each_and_order_keeps_from_passing():
    task = Task("q", data={"answers": ["man bites dog"]})
    assert F1()(task, {"answer": "man man man"}).score == pytest.approx(1 / 3)
    swapped = F1()(task, {"answer": "dog bites man"})
    assert (swapped.score, swapped.passed, swapped.parts["f1"]) == (0.5, False, 1.0)


@pytest.mark.parametrize("answers", [[], None, [""], ["  "], [3], [None]])
def test_a_task_without_proper_answers_is_the_tasks_fault(answers):
    with pytest.raises(ConfigError, match="answer"):
        ExactMatch()(Task("q", data={"answers": answers}), {"answer": "x"})


# ---------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("said", "value"),
    [
        *(("42", 42), ("-3", -3), ("−3", -3), ("1,234,567.5", Fraction(2469135, 2))),
        *(("1 000", 1000), ("1e3", 1000), ("2.5×10^-4", Fraction(1, 4000)), ("½", Fraction(1, 2))),
        *(
            ("1½", Fraction(3, 2)),
            ("1 1/2", Fraction(3, 2)),
            ("٤٢", 42),
            ("10⁶", 10**6),
            (".5", Fraction(1, 2)),
        ),
        *((7, 7), (0.1, Fraction(1, 10)), (np.float64(0.1), Fraction(1, 10))),
        ("2 million", 2_000_000),
    ],
)
def test_numbers_are_read_exactly(said, value):
    read = read_number(said)
    assert read is not None
    assert read.value == value


@pytest.mark.parametrize(
    "said",
    [
        *("", "nan", "NaN", "inf", "-Infinity", "∞", "1e999", "1e-999", "1e9999999999", "1/0"),
        *(
            "10²5",
            "½5",
            "½½",
            "4²",
            "1,00",
            "0.999...",
            "1 2",
            "41, 42",
            "int('42')",
        ),
        *("9" * 201, "9" * 10_000_000, "6*7", "(42)", "42 = 42", "1_000", "x"),
        *(None, True, float("nan"), float("inf"), 10**400, [42], {"a": 1}, 1j),
    ],
)
def test_what_is_no_number_is_refused(said):
    assert read_number(said) is None


@settings(deadline=None)
@given(ANYTHING)
def test_reading_a_number_never_raises(said):
    read = read_number(said)
    assert read is None or isinstance(read.value, Fraction)


@given(st.integers(-(10**20), 10**20))
def test_every_way_to_write_a_whole_number_is_that_number(value):
    for said in (str(value), f"{value:,}", f"{value}.0", f"{value}/1", f"{2 * value}/2", value):
        assert number(said, str(value)).passed
    assert not number(str(value + 1), str(value)).passed


def test_whole_numbers_are_met_exactly_and_others_closely():
    assert not number("10000001", "10000000").passed
    assert number("0.3333333", "1/3").passed
    assert not number("0.33", "1/3").passed
    assert number("0.33", "1/3", verifier=Numeric(relative=np.float64(0.02))).passed
    assert number("99", "100", verifier=Numeric(absolute=1)).passed
    assert not number("98", "100", verifier=Numeric(absolute=1)).passed
    assert number("99", "100", verifier=Numeric(relative=0.01, exact_whole=False)).passed


def test_a_whole_number_is_whole_in_every_unit():
    for reference, near in (
        ("1048577 bytes", "1 MiB"),
        ("1000001 ms", "1000 s"),
        ("100 m", "0.1000000001 km"),
        ("1000001 s", "277.7777778 h"),
    ):
        assert not number(near, reference).passed
        assert number(near, reference, verifier=Numeric(exact_whole=False)).passed
    assert number("328.0839895 ft", "100 m").passed
    assert not number("328.09 ft", "100 m").passed


def test_units_are_converted_and_kept_apart():
    assert number("5000 m", "5 km").passed
    assert number("3.106856 miles", "5 km").passed
    assert not number("5", "5 km").passed
    assert number("5", "5 km", unit="km").passed
    assert number("5000 m", "5", unit="km").passed
    assert not number("5 km/h", "5 km").passed
    assert not number("5 MW", "5 mW").passed
    assert number("0.5", "50%").passed
    assert number("7", "7 apples", unit="apples").passed
    assert number("1 apple", "1", unit="apples").passed
    assert not number("7 pears", "7", unit="apples").passed


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_number_of_at_least_0(tolerance):
    with pytest.raises(ConfigError, match="relative"):
        Numeric(relative=tolerance)


@pytest.mark.parametrize(
    ("answers", "unit"), [(["x"], None), ([True], None), ([[]], None), (["1"], ""), (["1"], 3)]
)
def test_a_task_whose_answer_is_no_number_is_the_tasks_fault(answers, unit):
    with pytest.raises(ConfigError, match="give"):
        number("1", *answers, unit=unit)


# ---------------------------------------------------------------------------- JSON


@settings(deadline=None)
@given(JSON)
def test_a_document_equals_itself_however_it_is_written(value):
    for written in (
        json.dumps(value),
        json.dumps(value, indent=2, sort_keys=True),
        f"```json\n{json.dumps(value)}\n```",
    ):
        outcome = document(written, value)
        assert (outcome.passed, outcome.parts["matched"]) == (True, 1.0)
    assert JsonMatch()(Task("q", data={"expected": value}), {"value": value}).passed


@settings(deadline=None)
@given(JSON, JSON)
def test_comparing_documents_is_symmetric(one, other):
    assert document(json.dumps(one), other).passed == document(json.dumps(other), one).passed


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ('{"a": 1, "a": 1}', "duplicate_key"),
        ('{"a": NaN}', "not_finite"),
        ('{"a": 1e999}', "not_finite"),
        ('{"a": ' + "9" * 5_000 + "}", "number_too_long"),
        ("[" * 100 + "]" * 100, "too_deep"),
        ('{"a":' * 100_000, "too_long"),
        (" " * 1_000_000 + "1", "too_long"),
        ("{'a': 1}", "unreadable"),
        ('{"a": 1} {"a": 1}', "unreadable"),
        ("", "unreadable"),
        (None, "no_answer"),
        ({"a": 1}, "unreadable"),
    ],
)
def test_why_a_document_was_not_read(answer, label):
    outcome = document(answer, {"a": 1})
    assert (outcome.score, outcome.label) == (0.0, label)


def test_types_differ_where_python_finds_them_equal():
    assert not document("1", True).passed
    assert not document("false", 0).passed
    assert document("1.0", 1).passed


@pytest.mark.parametrize(
    "answer", ["\ufeff[1]", "```[1]```", "```json [1] ```", "```JSON\n[1]\n```", " [1]\n"]
)
def test_json_may_be_wrapped_as_files_and_models_do(answer):
    assert document(answer, [1]).passed


def test_texts_are_the_same_in_either_normal_form_and_keys_only_as_they_are():
    assert document('"e\u0301"', "é").passed
    assert not document('"e"', "é").passed
    assert not document('{"e\u0301": 1}', {"é": 1}).passed


def test_brackets_in_text_are_no_depth():
    assert document(json.dumps("[" * 1_000), "[" * 1_000).passed


def test_tolerances_are_declared_by_path():
    expected = {"items": [{"price": 2.5}], "a/b": 1}
    near = '{"items": [{"price": 2.51}], "a/b": 1.2}'
    assert not document(near, expected).passed
    close = {"/items/0/price": 0.02, "/a~1b": 0.25}
    assert document(near, expected, tolerances=close).passed
    at_the_edge = '{"items": [{"price": 2.6}], "a/b": 1}'  # in floats, 2.6 - 2.5 is more than 0.1
    assert document(at_the_edge, expected, tolerances={"/items/0/price": 0.1}).passed
    assert not document(at_the_edge, expected, tolerances={"/items/0/price": 0.0999}).passed
    huge = f'{{"items": [{{"price": {10**350}}}], "a/b": 1}}'
    assert not document(huge, expected, tolerances=close).passed


def test_the_share_of_leaves_is_told_and_not_paid():
    outcome = document('{"a": 1, "b": 3, "d": 4}', {"a": 1, "b": 2, "c": [3]})
    assert outcome.score == 0.0
    assert outcome.parts["matched"] == 1 / 4  # a; not b, c, and d is one too many


# ---------------------------------------------------------------------------- tests and states

BAD_TOLERANCES = (
    *(None, [1], "x", 1, {"/a": "x"}, {"/a": None}, {"/a": True}, {"/a": float("nan")}),
    *({"/b": 0.1}, {"a": 0.1}, {"": 0.1}, {"/a/b": 0.1}, {0: 0.1}, {"/a": math.inf}),
)
TESTS = {"FAIL_TO_PASS": ["a", "b"], "PASS_TO_PASS": ["c", "d"]}


@pytest.mark.parametrize(
    ("results", "fixed", "kept"),
    [
        (dict.fromkeys("abcd", "passed"), 1.0, 1.0),
        ({"a": "PASSED", "b": "failed", "c": True, "d": False}, 0.5, 0.5),
        ({"a": "passed", "b": "passed", "c": "passed"}, 1.0, 0.5),
        ({"a": "xfail", "b": "passed", "c": "skipped", "d": "passed"}, 0.5, 0.5),
        ({}, 0.0, 0.0),
    ],
)
def test_test_results_count_by_list(results, fixed, kept):
    outcome = UnitTests()(Task("q", data=TESTS), {"tests": results})
    assert outcome.parts == {"fail_to_pass": fixed, "pass_to_pass": kept}
    assert outcome.passed is (fixed == kept == 1.0)


def test_swe_bench_counts_skips_and_expected_failures():
    results = {"a": "xfail", "b": "passed", "c": "skipped", "d": "passed"}
    task = Task("q", data=TESTS)
    assert UnitTests(as_swebench=True)(task, {"tests": results}).passed
    assert not UnitTests(as_swebench=True)(task, {"tests": {**results, "a": "skipped"}}).passed


def test_tests_that_were_never_run_and_states_nobody_saw_are_unavailable():
    assert not UnitTests()(Task("q", data=TESTS), {}).available
    assert not StateMatch()(Task("q", data={"expected": {"a": 1}}), {}).available
    assert UnitTests()(Task("q", data=TESTS), {"tests": {}}).label == "no_tests"


def test_a_state_is_right_when_every_declared_fact_holds():
    task = Task("q", data={"expected": {"a": 1, "b": [True]}, "tolerances": {"/a": 0.5}})
    assert StateMatch()(task, {"facts": {"a": 1.5, "b": [True], "c": object()}}).passed
    half = StateMatch()(task, {"facts": {"a": 1, "b": [1]}})
    assert (half.score, half.parts["satisfied"]) == (0.0, 0.5)


@pytest.mark.parametrize(
    ("verifier", "data"),
    [
        *((JsonMatch(), {}), (JsonMatch(), {"expected": float("nan")})),
        (JsonMatch(), {"expected": 1, "tolerances": {"": -1}}),
        *((JsonMatch(), {"expected": {"a": 1}, "tolerances": wrong}) for wrong in BAD_TOLERANCES),
        (StateMatch(), {"expected": {"a": 1}, "tolerances": {"/b": 0.1}}),
        (JsonMatch(), {"expected": ["a", [1]], "tolerances": {"/0": 0.1}}),
        (JsonMatch(), {"expected": ["a", [1]], "tolerances": {"/01/0": 0.1}}),
        (JsonMatch(), {"expected": ["a", [1]], "tolerances": {"/1/1": 0.1}}),
        *((StateMatch(), {"expected": {}}), (StateMatch(), {"expected": [1]})),
        *((UnitTests(), {}), (UnitTests(), {"FAIL_TO_PASS": "a"})),
        (UnitTests(), {"FAIL_TO_PASS": ["a"], "PASS_TO_PASS": [1]}),
    ],
)
def test_a_task_that_cannot_be_judged_is_the_tasks_fault(verifier, data):
    with pytest.raises(ConfigError, match="'q'"):
        verifier(Task("q", data=data), {"value": 1, "facts": {}, "tests": {}})


# ---------------------------------------------------------------------------- all of them

DATA = {"answers": ["1"], "expected": {"a": 1}, "FAIL_TO_PASS": ["a"]}
KEYS = st.sampled_from(["answer", "value", "tests", "facts"])


@pytest.mark.parametrize("name", verify.verifiers())
@settings(deadline=None)
@given(st.dictionaries(KEYS, st.one_of(ANYTHING, st.fixed_dictionaries({"a": ANYTHING}))))
def test_no_evidence_makes_a_verifier_raise(name, evidence):
    outcome = find_verifier(name)(Task("q", data=DATA), evidence)
    assert outcome.passed is (outcome.score == 1.0)


def test_a_verifier_is_found_by_name_or_in_a_module():
    assert find_verifier("exact") == ExactMatch()
    assert find_verifier("agentgym.verify:Numeric") == Numeric()
    with pytest.raises(ConfigError, match="did you mean 'numeric'"):
        find_verifier("numerc")
    for wrong in ("nowhere:x", "agentgym.verify:nothing", "agentgym.verify:__name__", ":", "a:"):
        with pytest.raises(ConfigError, match=r"no verifier|must be callable"):
            find_verifier(wrong)


def test_a_verifier_of_ones_own_can_be_registered(monkeypatch):
    monkeypatch.setattr(verify.base, "_registered", {})
    verify.register("lenient", Numeric(relative=0.1))
    assert number("1.4", "1.5", verifier=find_verifier("lenient")).passed
    with pytest.raises(ConfigError, match="colon"):
        verify.register("a:b", Numeric())
