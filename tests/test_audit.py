"""The audit of verifiers, and `agentgym audit`: shipped ones hold, bad ones are found out."""

from __future__ import annotations

import builtins
import json

import pytest

from agentgym import cli, verify
from agentgym.errors import ConfigError
from agentgym.types import Outcome, Task
from agentgym.verify import ExactMatch, corpus
from agentgym.verify import audit as audits
from agentgym.verify.audit import MOST_MISSED, audit, cases
from agentgym.verify.base import Kind, find_verifier, graded_of, kind_of
from agentgym.verify.corpus import EQUIVALENT, Case

FEWEST = {"text": (2_000, 100), "number": (1_500, 100), "json": (900, 70), "tests": (250, 50),
          "state": (300, 70)}  # fmt: skip
"""Attacks and equivalent forms that the corpus of a kind has at least."""


def run(verifier, kind=None):
    name = (
        verifier
        if ":" in verifier or verifier in verify.verifiers()
        else f"bad_verifiers:{verifier}"
    )
    found = find_verifier(name)
    return audit(found, Kind(kind) if kind else kind_of(found), name)


@pytest.mark.parametrize("name", verify.verifiers())
def test_every_shipped_verifier_lets_no_attack_pass_and_knows_equivalent_forms(name):
    report = run(name)
    assert [(f.case.attack, audits.shown(f.case.evidence)) for f in report.false_positives] == []
    assert report.crashes == []
    assert report.missed <= MOST_MISSED
    assert report.ok


@pytest.mark.parametrize("kind", Kind)
def test_the_corpus_is_large_enough_to_tell(kind):
    attacks, equivalents = FEWEST[kind]
    listed = list(cases(kind))
    assert sum(not case.passes for case in listed) >= attacks
    assert sum(case.passes for case in listed) >= equivalents
    assert listed[0].attack != EQUIVALENT
    assert any(case.attack in ("code", "code and master keys") for case in listed)


def test_attacks_and_equivalent_forms_do_not_contradict_each_other():
    for kind in (Kind.TEXT, Kind.NUMBER):
        listed = list(cases(kind))
        right = {(c.task.id, c.evidence["answer"]) for c in listed if c.passes}
        for case in listed:
            answer = case.evidence.get("answer")
            if not case.passes and isinstance(answer, str):
                assert (case.task.id, answer) not in right


def test_containment_passes_dumps():
    report = run("containment", "text")
    assert not report.ok
    assert report.tallies["dump"].wrong == report.tallies["dump"].cases
    assert report.tallies["echo"].wrong > 0


def test_always_0_refuses_all_equivalent_forms():
    report = run("always_0", "text")
    assert (report.false_positives, report.missed, report.ok) == ([], 1.0, False)


def test_always_1_passes_all_attacks():
    report = run("always_1", "number")
    assert len(report.false_positives) == report.attacks
    assert (report.highest, report.ok) == (1.0, False)


def partly(score, graded=None):
    """A verifier that pays every wrong answer the same, and may say so."""

    def judge(task, evidence):
        return Outcome(1.0, True) if ExactMatch()(task, evidence).passed else Outcome(score, False)

    if graded is not None:
        judge.graded = graded
    return judge


def test_partial_credit_for_attacks_is_a_false_positive_unless_it_is_declared():
    undeclared = audit(partly(0.95), Kind.TEXT, "partly")
    assert (undeclared.ok, len(undeclared.false_positives)) == (False, undeclared.attacks)
    assert undeclared.false_positives[0].what == "scored 0.95"
    assert not audit(partly(0.01), Kind.TEXT, "partly").ok
    assert audit(partly(0.3, graded=0.3), Kind.TEXT, "partly").ok
    assert not audit(partly(0.31, graded=0.3), Kind.TEXT, "partly").ok


@pytest.mark.parametrize("graded", [-0.1, 1, 1.0, float("nan"), "0.5", True, None])
def test_what_is_declared_as_graded_is_below_1(graded):
    judge = partly(0.0)
    judge.graded = graded
    with pytest.raises(ConfigError, match="graded"):
        audit(judge, Kind.TEXT, "partly")


def test_f1_declares_no_more_than_the_corpus_gets_out_of_it():
    report = run("f1")
    assert report.graded - 0.05 < report.highest <= report.graded < 1
    assert [name for name, judge in verify.verifiers().items() if graded_of(judge)] == ["f1"]


def test_a_verifier_that_raises_or_ends_the_program_is_found():
    report = run("crashes", "text")
    assert not report.ok
    assert {f.what.partition(":")[0] for f in report.crashes} == {
        "raised KeyError", "raised AttributeError"
    }  # fmt: skip
    report = run("leaves", "tests")
    assert len(report.crashes) == report.attacks + report.equivalents


def test_a_verifier_that_evaluates_is_caught_at_once_and_tried_no_further():
    report = run("evaluates", "number")
    assert (report.evaluated, report.ok, report.attacks) == (True, False, 1)
    assert not hasattr(builtins, corpus.CANARY)


def test_a_verifier_that_changes_its_mind_or_gives_no_outcome_is_found():
    report = run("changes_its_mind", "text")
    assert report.crashes[0].what == "said something else the second time"
    report = run("gives_a_bool", "text")
    assert report.crashes[0].what == "returned True, not an Outcome"


def test_a_verifier_that_hangs_is_cut_off(monkeypatch):
    monkeypatch.setattr(audits, "DEADLINE_S", 0.05)
    case = Case("size", Task("q"), {"answer": "x"})
    report = audit(find_verifier("bad_verifiers:hangs"), Kind.TEXT, "hangs", [case])
    assert report.crashes[0].what == "raised _TookTooLong: 0.05 s were not enough"


def test_squads_own_normalisation_has_false_positives():
    tried = [case for case in cases(Kind.TEXT) if case.attack != "size"]
    report = audit(find_verifier("bad_verifiers:squad"), Kind.TEXT, "squad", tried)
    accepted = {
        (finding.case.task.data["answers"][0], finding.case.evidence.get("answer"))
        for finding in report.false_positives
    }
    for pair in (
        ("-40", "40"),
        ("1.5", "15"),
        ("C++", "C"),
        ("The The", ""),
        ("vitamin A", "vitamin"),
    ):
        assert pair in accepted


def test_comparing_floats_misses_other_forms_and_accepts_near_misses():
    report = run("by_float", "number")
    assert report.missed > 0.3
    accepted = {finding.case.evidence["answer"] for finding in report.false_positives}
    assert {"41.9999", "0.9999999999", "1,00,000"} & accepted


# ---------------------------------------------------------------------------- the command


@pytest.fixture
def command(capsys):
    def call(*words):
        capsys.readouterr()
        code = cli.main(["audit", *words])
        return code, *capsys.readouterr()

    return call


def test_the_command_audits_all_shipped_verifiers(command):
    code, out, err = command()
    assert (code, err) == (0, "")
    for name in verify.verifiers():
        assert f"\n{name}: ok: 0 of " in out
    assert "graded, 0.95 allowed" in out


def test_the_command_audits_the_shipped_verifiers_of_a_kind(command):
    code, out, _ = command("--kind", "text", "--json")
    assert code == 0
    assert [each["verifier"] for each in json.loads(out)["audits"]] == ["exact", "f1", "short"]


def test_the_command_tells_what_partial_credit_an_attack_got(command, monkeypatch):
    monkeypatch.setattr(verify.base, "_registered", {})
    verify.register("secret", partly(0.95))
    verify.register("open", partly(0.95, graded=0.95))
    code, out, _ = command("secret", "open", "--kind", "text")
    assert code == 1
    assert "\n  false positive: code: " in out
    assert " scored 0.95\n" in out
    attacks = sum(not case.passes for case in cases(Kind.TEXT))
    best = "attacks paid off (the best scored 0.95;"
    assert f"secret: FAILED: {attacks} of {attacks} {best} 0 allowed)" in out
    assert f"open: ok: 0 of {attacks} {best} graded, 0.95 allowed)" in out
    code, out, _ = command("open", "--kind", "text", "--json")
    assert (code, json.loads(out)["audits"][0]["graded"]) == (0, 0.95)


def test_the_command_names_what_went_wrong_and_exits_with_1(command):
    code, out, _ = command("bad_verifiers:containment", "--kind", "text")
    assert code == 1
    assert "false positive: dump: 'What is the capital of Australia?': " in out
    assert "more (--json has all)" in out
    assert "bad_verifiers:containment: FAILED" in out
    code, out, _ = command("bad_verifiers:evaluates", "--kind", "number")
    assert code == 1
    assert "runs code out of answers" in out


def test_the_command_gives_json(command):
    code, out, _ = command("exact", "bad_verifiers:always_0", "--kind", "text", "--json")
    told = json.loads(out)
    good, bad = told["audits"]
    assert (code, told["ok"], good["ok"], bad["ok"]) == (1, False, True, False)
    assert (good["false_positives"], good["crashes"]) == ([], [])
    assert len(bad["false_negatives"]) == bad["equivalents"] == good["equivalents"]
    assert good["tallies"]["dump"]["cases"] > 200
    assert good["tallies"]["dump"]["wrong"] == good["tallies"]["dump"]["crashes"] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["exakt"], "did you mean 'exact'?"),
        (["nowhere:x"], "no verifier 'nowhere:x'"),
        (["bad_verifiers:Good"], "give --kind"),
        (["exact", "--kind", "gui"], "--kind"),
    ],
)
def test_what_cannot_be_audited_is_refused(command, words, told):
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert told in err


def test_a_class_of_ones_own_is_audited(command):
    code, out, _ = command("bad_verifiers:Good", "--kind", "text")
    assert code == 0
    assert "bad_verifiers:Good: ok" in out
