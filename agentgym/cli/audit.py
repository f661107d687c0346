"""Attack a verifier: what passes that must not, what fails that must not, and what breaks it.

VERIFIER is a shipped name or module:attribute of your own, a function or class that takes
(task, evidence) and gives an Outcome; without one, all shipped ones are audited, or those of a
--kind. Exits with 1 when an attack passes or scores above 0, a verdict breaks, or more than 2 % of
the equivalent forms are refused. A verifier that pays partial credit declares as its attribute
`graded` how much of it an attack may get; then an attack that scores more is what fails.

Examples:
agentgym audit
agentgym audit exact --json
agentgym audit my_package.judges:Grader --kind text
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agentgym.errors import ConfigError

if TYPE_CHECKING:
    from agentgym.verify import Kind, Verifier
    from agentgym.verify.audit import Audit, Finding

_KINDS = ("text", "number", "json", "tests", "state")
_MOST_SHOWN = 8
"""Findings of a sort that the report names; JSON has all."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "verifiers", metavar="VERIFIER", nargs="*", help="a shipped name, or module:attribute"
    )
    parser.add_argument(
        "--kind", choices=_KINDS, help="what it reads (the verifier's own `kind` if unset)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Audit the verifiers and show what was found."""
    from agentgym import verify
    from agentgym.cli import render
    from agentgym.verify.audit import audit

    shipped = verify.verifiers()
    if args.kind:
        shipped = {n: each for n, each in shipped.items() if verify.kind_of(each) == args.kind}
    chosen = {name: verify.find_verifier(name) for name in args.verifiers or shipped}
    kinds = {name: _kind(name, verifier, args.kind) for name, verifier in chosen.items()}
    audits = [audit(verifier, kinds[name], name) for name, verifier in chosen.items()]
    if args.json:
        render.print_json(
            {"ok": all(a.ok for a in audits), "audits": [_as_json(a) for a in audits]}
        )
    else:
        _print(audits)
    return 0 if all(a.ok for a in audits) else 1


def _kind(name: str, verifier: Verifier, given: str | None) -> Kind:
    from agentgym.verify import Kind, kind_of

    kind = Kind(given) if given else kind_of(verifier)
    if kind is None:
        raise ConfigError(f"verifier {name!r} has no `kind`: give --kind, {' or '.join(_KINDS)}")
    return kind


def _print(audits: list[Audit]) -> None:
    from agentgym.cli import render

    rows = [
        [a.verifier, attack, *map(str, (tally.cases, tally.wrong, tally.crashes))]
        for a in audits
        for attack, tally in a.tallies.items()
    ]
    render.print_table(["verifier", "tried with", "cases", "wrong", "broke"], rows)
    for a in audits:
        render.print_line()
        findings = {
            "false positive": a.false_positives,
            "false negative": a.false_negatives,
            "broke": a.crashes,
        }
        for told, found in findings.items():
            for finding in found[:_MOST_SHOWN]:
                render.print_line(f"  {told}: {_line(finding)}")
            if len(found) > _MOST_SHOWN:
                render.print_line(f"  {told}: {len(found) - _MOST_SHOWN} more (--json has all)")
        render.print_line(_summary(a), "green" if a.ok else "red")


def _summary(a: Audit) -> str:
    if a.evaluated:
        return f"{a.verifier}: FAILED: it runs code out of answers, and was tried no further"
    allowed = f"graded, {a.graded:.2f} allowed" if a.graded else "0 allowed"
    return (
        f"{a.verifier}: {'ok' if a.ok else 'FAILED'}: {len(a.false_positives)} of {a.attacks} "
        f"attacks paid off (the best scored {a.highest:.2f}; {allowed}), {len(a.false_negatives)} "
        f"of {a.equivalents} equivalent forms were refused, {len(a.crashes)} broke it"
    )


def _line(finding: Finding) -> str:
    from agentgym.verify.audit import shown

    case = finding.case
    return f"{case.attack}: {case.task.id!r}: {shown(case.evidence)} {finding.what}"


def _as_json(a: Audit) -> dict[str, Any]:
    from agentgym.verify.audit import shown

    def listed(findings: list[Finding]) -> list[dict[str, str]]:
        return [
            {
                "attack": finding.case.attack,
                "task": finding.case.task.id,
                "evidence": shown(finding.case.evidence),
                "what": finding.what,
            }
            for finding in findings
        ]

    return {
        "verifier": a.verifier,
        "kind": str(a.kind),
        "ok": a.ok,
        "attacks": a.attacks,
        "equivalents": a.equivalents,
        "highest": a.highest,
        "graded": a.graded,
        "evaluated": a.evaluated,
        "tallies": {attack: asdict(tally) for attack, tally in a.tallies.items()},
        "false_positives": listed(a.false_positives),
        "false_negatives": listed(a.false_negatives),
        "crashes": listed(a.crashes),
    }
