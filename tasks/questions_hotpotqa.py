"""HotpotQA: questions over paragraphs of Wikipedia, with the sentences that support the answer.

Reads the authors' files, of the distractor and the fullwiki setting, and the same rows as tables of
columns. Where a question's own context lacks a supporting paragraph, as it may in the fullwiki
setting, its evidence is left empty: half of it would mislead.

Source: Yang et al., "HotpotQA: a dataset for diverse, explainable multi-hop question answering",
EMNLP 2018; data under CC BY-SA 4.0.
"""

from __future__ import annotations

from typing import Any

import orjson

from agentgym.tasks.questions import Evidence
from agentgym.tasks.questions_files import (
    Entry,
    FileQuestions,
    Row,
    Shelf,
    as_split,
    open_files,
    titles_of,
)

_HOPS = {"bridge_comparison": 4}


def open_hotpotqa(path: str) -> FileQuestions:
    """HotpotQA in a file, or a folder of files.

    Raises:
        TaskError: A file is missing or damaged, or a row wrong; names the file, row and field.
    """
    return open_files("hotpotqa", path, read_row)


def read_row(row: Row, shelf: Shelf) -> Entry:
    """A row of HotpotQA's form: `_id`, `question`, `answer`, `context`, `supporting_facts`, `type`.

    Raises:
        TaskError: A field is missing or wrong.
    """
    id = row.text("_id" if "_id" in row.fields else "id")
    docs: dict[str, tuple[str, int]] = {}
    for title, sentences in _pairs(row, "context", ("title", "sentences")):
        if not isinstance(sentences, list) or not all(isinstance(s, str) for s in sentences):
            raise row.wrong("context", f"has {sentences!a:.80} under {title!a:.40}: give sentences")
        docs[title] = shelf.add(title, sentences), len(sentences)
    facts = _pairs(row, "supporting_facts", ("title", "sent_id"))
    evidence: list[Evidence] = []
    for title, sentence in facts:
        if type(sentence) is not int or sentence < 0:
            raise row.wrong("supporting_facts", f"has sentence {sentence!a:.80}: give its index")
        if title in docs:
            doc, count = docs[title]
            place = sentence if sentence < count else None  # a few rows point behind the end
            evidence.append({"doc": doc, "sentence": place, "options": 1})
    if len(evidence) < len(facts):
        evidence = []
    kind = str(row.fields.get("type") or "bridge")
    return Entry(
        id,
        as_split(row.fields.get("split")) or row.split,
        {
            "question": row.text("question"),
            "answers": row.texts("answer"),
            "kind": kind,
            "hops": _HOPS.get(kind, 2),
            "evidence": evidence,
            "searches": titles_of(shelf, evidence),
        },
    )


def _pairs(row: Row, field: str, columns: tuple[str, str]) -> list[tuple[str, Any]]:
    """Pairs of a title and something: a list of them, two columns, or JSON of either."""
    value = row.get(field, (list, dict, str), "a list of pairs")
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise row.wrong(field, f"is no JSON ({error}): give a list of pairs") from error
    if isinstance(value, dict):
        titles, others = (value.get(each) for each in columns)
        if not isinstance(titles, list) or not isinstance(others, list):
            raise row.wrong(field, f"is {value!a:.80}: give {columns[0]!r} and {columns[1]!r}")
        value = list(zip(titles, others, strict=False)) if len(titles) == len(others) else [None]
    if not isinstance(value, list) or not all(
        isinstance(each, list | tuple) and len(each) == 2 and isinstance(each[0], str)
        for each in value
    ):
        raise row.wrong(field, f"is {value!a:.80}: give a list of pairs of a title and the rest")
    return [(title.strip(), other) for title, other in value]
