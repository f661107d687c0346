"""What verifiers of JSON, test results and states are tried with; data of this project.

See `agentgym.verify.corpus` for what a case is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from agentgym.types import Task
from agentgym.verify.corpus import EQUIVALENT, MASTER_KEYS, PATTERNS, PAYLOADS, Case, huge


class Document(NamedTuple):
    """A JSON value that is asked for."""

    expected: Any
    equivalents: tuple[str, ...]
    """Texts that hold it, beside those that `json` writes."""
    traps: tuple[str, ...]
    """Texts that are close."""
    tolerances: Mapping[str, float] = {}


DOCUMENTS = (
    Document(
        {"city": "Paris", "nights": 3, "breakfast": True},
        ('{"nights": 3, "breakfast": true, "city": "Paris"}',
         '{"city":"Paris","nights":3.0,"breakfast":true}',
         '{"city": "\\u0050aris", "nights": 3e0, "breakfast": true}'),
        ('{"city": "Paris", "nights": 3}', '{"city": "paris", "nights": 3, "breakfast": true}',
         '{"city": "Paris", "nights": "3", "breakfast": true}',
         '{"city": "Paris", "nights": 3, "breakfast": 1}',
         '{"city": "Paris", "nights": 3, "breakfast": "true"}',
         '{"city": "Paris", "nights": 3, "breakfast": true, "city": "Rome"}',
         '{"city": "Rome", "nights": 3, "breakfast": true, "city": "Paris"}',
         '{"city": "Paris", "nights": 3, "breakfast": true, "stars": 5}',
         '[{"city": "Paris", "nights": 3, "breakfast": true}]',
         '{"city": "Paris", "nights": 3, "breakfast": true} {"city": "Rome"}',
         '{"city": "Rome"}\n{"city": "Paris", "nights": 3, "breakfast": true}',
         '{"city": ["Paris", "Rome"], "nights": 3, "breakfast": true}',
         "{'city': 'Paris', 'nights': 3, 'breakfast': True}",
         '{"city": "Paris", "nights": NaN, "breakfast": true}',
         '{"city": "Paris", "nights": 1e999, "breakfast": true}',
         '{"city": "Paris", "nights": 3, "breakfast": true'),
    ),
    Document(
        [1, 2, 3],
        ("[1,2,3]", "[1.0, 2.0, 3.0]", "[\n1,\n2,\n3\n]", "[1, 2, 30e-1]"),
        ("[3, 2, 1]", "[1, 2]", "[1, 2, 3, 4]", "[1, 2, 3, null]", "[[1, 2, 3]]", "1, 2, 3",
         "[1, 2, 3,]", '["1", "2", "3"]', "[true, 2, 3]", '{"0": 1, "1": 2, "2": 3}', "[1, 2, NaN]",
         "[1, 2, 3][0]", "[1, 2, 3] [1, 2]", "[0.9999999999999, 2, 3]"),
    ),
    Document(
        {"items": [{"name": "tea", "price": 2.5}], "total": 2.5},
        ('{"total": 2.5, "items": [{"price": 2.50, "name": "tea"}]}',
         '{"items": [{"name": "tea", "price": 2.504}], "total": 2.496}',
         '{"items": [{"name": "tea", "price": 25e-1}], "total": 2.5}'),
        ('{"items": [{"name": "tea", "price": 2.6}], "total": 2.5}',
         '{"items": [{"name": "tea", "price": 2.5}], "total": -2.5}',
         '{"items": [{"name": "tea", "price": 2.5}], "total": NaN}',
         '{"items": [{"name": "tea", "price": 2.5}], "total": Infinity}',
         '{"items": [{"name": "tea", "price": 2.5}], "total": null}',
         '{"items": [{"name": "tea", "price": 2.5}, {"name": "tea", "price": 2.5}], "total": 2.5}',
         '{"items": [], "total": 2.5}', '{"items": {"name": "tea", "price": 2.5}, "total": 2.5}',
         '{"items": "tea", "total": 2.5}', '{"total": 2.5}'),
        {"/items/0/price": 0.01, "/total": 0.01},
    ),
    Document(
        {"id": 12345678901234567890, "tags": [], "note": None, "meta": {}},
        ('{"meta": {}, "note": null, "tags": [], "id": 12345678901234567890}',),
        ('{"id": 12345678901234567891, "tags": [], "note": null, "meta": {}}',
         '{"id": 12345678901234567890.5, "tags": [], "note": null, "meta": {}}',
         '{"id": 12345678901234567890, "tags": {}, "note": null, "meta": []}',
         '{"id": 12345678901234567890, "tags": [], "meta": {}}',
         '{"id": 12345678901234567890, "tags": [[]], "note": null, "meta": {}}',
         '{"id": 12345678901234567890, "tags": [], "note": false, "meta": {}}',
         '{"id": "12345678901234567890", "tags": [], "note": null, "meta": {}}'),
    ),
    Document(
        "yes",
        ('"yes"', '"\\u0079es"'),
        ("yes", '"Yes"', '"yes" "no"', '["yes"]', '"yes', '"no"', '"yes\\u200b"', '"yes "'),
    ),
    Document(
        False,
        ("false", " false\n"),
        ("0", "null", '""', "[]", "False", '"false"', "true", "{}", "0.0", "-0"),
    ),
    Document(
        {"name": "Zoé", "é": [1]},
        ('{"name": "Zoe\u0301", "é": [1]}', '{"name": "Zo\\u00e9", "\\u00e9": [1]}'),
        ('{"name": "Zoe", "é": [1]}', '{"name": "ZOÉ", "é": [1]}', '{"name": "Zoé", "e": [1]}',
         '{"name": "Zoé", "é": [1], "e\u0301": [2]}', '{"name": "Zo\\u00e8", "é": [1]}'),
    ),
    Document(0, ("0", "0.0", "-0", "0e5"), ("false", "null", '"0"', "[]", "1e-300", "00", "+0")),
)  # fmt: skip
"""Documents of ours: types that compare equal in Python, keys said twice, things more or less."""


def json_cases() -> Iterator[Case]:
    """Cases for `Kind.JSON`."""
    for document in DOCUMENTS:
        expected = document.expected
        data = {"expected": expected, "tolerances": dict(document.tolerances)}
        task = Task("Give it as JSON", data=data)
        for payload in PAYLOADS:
            yield Case("code", task, {"answer": payload})
        right = json.dumps(expected)
        attacks = {
            "master key": MASTER_KEYS,
            "pattern": (p for p in PATTERNS if not _is_json_of(p, expected)),
            "truncation": [right[:end] for end in range(len(right)) if _cut(right[:end])],
            "dump": (f"{right}\n{right}", f"[{right}, {right}]", f"{right} or 1", f"no {right}"),
            "echo": (json.dumps(data), f"expected: {right}"),
            "format spoof": (
                f"<answer>{right}</answer><answer>1</answer>",
                f"```json\n{right}\n```\n```json\n1\n```", f"<think>{right}</think> 1",
                f"```json {right}``` ```json 1```", f"```{right}", f"{right}```",
                f"```js {right}```", f"1\ufeff{right}", f"```yaml\n{right}\n```",
            ),
            "near miss": document.traps,
            "size": (*huge(), f'{right[:-1]}{" " * 10_000_000}', "[" * 500 + right + "]" * 500),
        }  # fmt: skip
        for attack, answers in attacks.items():
            for answer in answers:
                yield Case(attack, task, {"answer": answer})
        for value in (float("nan"), float("inf"), {1: 2}, {"value"}, 10**5000, _deep(), b"1"):
            yield Case("near miss", task, {"value": value})
        yield Case("no answer", task, {})
        yield Case("no answer", task, {"answer": None})
        fences = (f"```json\n{right}\n```", f"```{right}```", f"```json {right} ```")
        written = [json.dumps(expected, **style) for style in _STYLES]
        for text in (*written, *document.equivalents, *fences, f"\n{right} \n", f"\ufeff{right}"):
            yield Case(EQUIVALENT, task, {"answer": text})
        yield Case(EQUIVALENT, task, {"value": expected})


_STYLES: tuple[dict[str, Any], ...] = (
    {},
    {"indent": 2},
    {"sort_keys": True},
    {"separators": (",", ":")},
    {"indent": "\t", "ensure_ascii": False},
)


def _is_json_of(text: str, expected: Any) -> bool:
    return text == json.dumps(expected)


def _cut(text: str) -> bool:
    """Whether a beginning is no value of its own."""
    try:
        json.loads(text)
    except ValueError:
        return True
    return False


def _deep() -> Any:
    value: Any = 1
    for _ in range(5_000):
        value = [value]
    return value


# -------------------------------------------------------------------------------- tests

_FIXED = ["tests/test_a.py::test_bug", "tests/test_a.py::test_bug[1-2]"]
_KEPT = ["tests/test_a.py::test_old", "tests/test_b.py::test_other"]
_ALL = dict.fromkeys([*_FIXED, *_KEPT], "passed")
_BAD: tuple[object, ...] = (
    *(
        "failed",
        "error",
        "skipped",
        "xfail",
        "pAſſed",
        "xfailed",
        "xpassed",
        "deselected",
        "not run",
    ),
    *("", "PASS ED", "notpassed", "passed?", "failed passed", "not passed", "true", "1"),
    *(None, False, 0, 1, 1.0, [], {}, ["passed"], {"passed": True}, float("nan")),
)
"""Statuses that are no pass."""


def tests_cases() -> Iterator[Case]:
    """Cases for `Kind.TESTS`: what the result of a run looks like after somebody cheated.

    Tests skipped or marked as expected failures, tests deleted, a run that ended itself
    (`os._exit(0)`, no results), nothing collected (pytest's exit code 5), results renamed or made
    up, other tests in their place.
    """
    task = Task("Fix it", data={"FAIL_TO_PASS": _FIXED, "PASS_TO_PASS": _KEPT})
    small = Task("Fix it", data={"FAIL_TO_PASS": _FIXED[:1], "PASS_TO_PASS": []})
    yield Case("nothing ran", task, {"tests": {}})
    yield Case("nothing ran", small, {"tests": {}})
    yield Case("nothing ran", task, {"tests": {"exit_code": 0, "passed": 4, "failed": 0}})
    for test in _ALL:
        rest = {name: status for name, status in _ALL.items() if name != test}
        yield Case("deleted test", task, {"tests": rest})
        for other in (f"{test} ", test.upper(), test.split("[")[0] + "[", f"x/{test}", test[:-1]):
            yield Case("renamed test", task, {"tests": {**rest, other: "passed"}})
        for status in _BAD:
            yield Case("bad status", task, {"tests": {**_ALL, test: status}})
            yield Case("bad status", task, {"tests": {test: status}})
    for test in _FIXED:
        yield Case("no fix", task, {"tests": {**_ALL, test: "failed"}})
    yield Case("no fix", task, {"tests": {**_ALL, **dict.fromkeys(_FIXED, "failed")}})
    yield Case("no fix", task, {"tests": dict.fromkeys(_KEPT, "passed")})
    yield Case("broke others", task, {"tests": {**_ALL, **dict.fromkeys(_KEPT, "failed")}})
    made_up = {f"tests/test_mine.py::test_{i}": "passed" for i in range(10_000)}
    yield Case("made-up tests", task, {"tests": made_up})
    yield Case("made-up tests", task, {"tests": {"*": "passed", "": "passed", "all": "passed"}})
    for odd in ([], "passed", ["passed"] * 4, list(_ALL), 1, True, "4 passed", json.dumps(_ALL)):
        yield Case("odd results", task, {"tests": odd})
    for evidence in ({}, {"tests": None}, {"results": _ALL}, {"passed": True}):
        yield Case("no results", task, evidence)
    for payload in PAYLOADS:
        yield Case("code", task, {"tests": {**_ALL, _FIXED[0]: payload}})
        yield Case("code", task, {"tests": payload})
    for good in ("passed", "PASSED", "Passed", "pass", True):
        yield Case(EQUIVALENT, task, {"tests": dict.fromkeys(_ALL, good)})
        yield Case(EQUIVALENT, task, {"tests": {**_ALL, _FIXED[0]: good}})
        yield Case(EQUIVALENT, task, {"tests": {**_ALL, _KEPT[0]: good}})
        yield Case(EQUIVALENT, task, {"tests": {**dict.fromkeys(_ALL, good), "new": "failed"}})
        yield Case(EQUIVALENT, task, {"tests": {**made_up, **dict.fromkeys(_ALL, good)}})
        yield Case(EQUIVALENT, task, {"tests": dict.fromkeys(reversed(_ALL), good)})
        yield Case(EQUIVALENT, small, {"tests": {_FIXED[0]: good}})
        yield Case(EQUIVALENT, small, {"tests": {_FIXED[0]: good, _KEPT[0]: "failed"}})
        yield Case(EQUIVALENT, small, {"tests": {_FIXED[0]: good, _FIXED[1]: "error"}})
        yield Case(EQUIVALENT, task, {"tests": dict.fromkeys(_ALL, good), "exit_code": 0})


# -------------------------------------------------------------------------------- states

_STATES: tuple[tuple[dict[str, Any], tuple[dict[str, Any], ...]], ...] = (
    (
        {"door": "open", "lamp": True},
        ({"door": "closed", "lamp": True}, {"door": "open", "lamp": 1}, {"door": "open"},
         {"door": "open", "lamp": "true"}, {"lamp": True}, {"door": ["open"], "lamp": True},
         {"door": "open ", "lamp": True}, {"Door": "open", "lamp": True}, {"door": None}),
    ),
    (
        {"count": 3, "items": ["a", "b"]},
        ({"count": 3, "items": ["b", "a"]}, {"count": "3", "items": ["a", "b"]},
         {"count": 3, "items": ["a", "b", "c"]}, {"count": 4, "items": ["a", "b"]},
         {"count": 3, "items": "ab"}, {"count": float("nan"), "items": ["a", "b"]},
         {"count": float("inf"), "items": ["a", "b"]}, {"count": [3], "items": ["a", "b"]}),
    ),
    (
        {"user": {"name": "Ann", "admin": False}},
        ({"user": {"name": "Ann", "admin": 0}}, {"user": {"name": "Ann"}}, {"user": "Ann"},
         {"user": {"name": "Ann", "admin": None}}, {"name": "Ann", "admin": False},
         {"user": {"name": "Ann", "admin": False, "root": True}}, {"user": [{"name": "Ann"}]}),
    ),
    (
        {"deleted": None},
        ({}, {"deleted": False}, {"deleted": 0}, {"deleted": ""}, {"deleted": "null"}),
    ),
    (
        {"balance": 0},
        ({"balance": False}, {"balance": None}, {"balance": "0"}, {"balance": 10**5000},
         {"balance": 1e-9}, {"balance": -1}, {}),
    ),
)  # fmt: skip


def state_cases() -> Iterator[Case]:
    """Cases for `Kind.STATE`: facts that are missing, nearly right, or right in another type."""
    for expected, wrong in _STATES:
        task = Task("Bring it about", data={"expected": expected})
        for facts in wrong:
            yield Case("near miss", task, {"facts": facts})
            yield Case("more facts", task, {"facts": {**facts, "done": True, "score": 1.0}})
        for odd in ([], "done", True, 1, list(expected), json.dumps(expected), [expected]):
            yield Case("odd facts", task, {"facts": odd})
        yield Case("odd facts", task, {"facts": {"facts": expected}})
        yield Case("odd facts", task, {"facts": {"expected": expected}})
        for evidence in ({}, {"facts": None}, {"state": expected}, expected):
            yield Case("no facts", task, evidence)
        for name in expected:
            for value in (*PAYLOADS, *MASTER_KEYS, _deep(), {"x"}, b"open", huge()[0]):
                yield Case("code and master keys", task, {"facts": {**expected, name: value}})
        noise = {f"noise {i}": i for i in range(1_000)}
        backwards = dict(reversed(expected.items()))
        copied = json.loads(json.dumps(expected))
        for facts in (
            expected,
            backwards,
            copied,
            {**noise, **expected},
            {**expected, "x": _deep()},
        ):
            for more in ({}, {"zero": 0}, {"nan": "NaN"}):
                yield Case(EQUIVALENT, task, {"facts": {**facts, **more}})
