"""MuSiQue: questions of two to four hops, with the steps they were made of.

Questions marked as not answerable are left out: they are so over their own paragraphs, and all
questions are asked over the paragraphs of all.

Source: Trivedi et al., "MuSiQue: multihop questions via single-hop question composition", TACL
2022; data under CC BY 4.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentgym.retrieval.analysis import split_sentences
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


def open_musique(path: str) -> FileQuestions:
    """MuSiQue in a file, or a folder of files.

    Raises:
        TaskError: A file is missing or damaged, or a row wrong; names the file, row and field.
    """
    return open_files("musique", path, read_row)


def read_row(row: Row, shelf: Shelf) -> Entry | None:
    """A row: `id`, `question`, `answer`, `answer_aliases`, `paragraphs`, `question_decomposition`.

    Raises:
        TaskError: A field is missing or wrong.
    """
    id = row.text("id")
    docs, supporting = _paragraphs(row, shelf)
    if row.fields.get("answerable") is False:
        return None
    steps = row.fields.get("question_decomposition") or []
    if not isinstance(steps, list) or not all(isinstance(each, Mapping) for each in steps):
        raise row.wrong("question_decomposition", f"is {steps!a:.80}: give a list of steps")
    places = [each.get("paragraph_support_idx") for each in steps]
    if not all(isinstance(place, int) and place in docs for place in places):
        raise row.wrong("question_decomposition", f"points to {places!a:.80}, not all paragraphs")
    evidence: list[Evidence] = [
        {"doc": docs[place], "sentence": None, "options": 1}
        for place in dict.fromkeys(places or supporting)
    ]
    hops = re.match(r"([1-9])hop", id)
    aliases = row.fields.get("answer_aliases") or []
    if not isinstance(aliases, list):  # each letter of a text would be an answer
        raise row.wrong("answer_aliases", f"is {aliases!a:.80}: give a list of texts")
    return Entry(
        id,
        as_split(row.fields.get("split")) or row.split,
        {
            "question": row.text("question"),
            "answers": row.check_texts("answer_aliases", [row.text("answer"), *aliases]),
            "kind": id.partition("__")[0] if hops else "chain",
            "hops": int(hops[1]) if hops else len(evidence),
            "evidence": evidence,
            "searches": titles_of(shelf, evidence),
        },
    )


def _paragraphs(row: Row, shelf: Shelf) -> tuple[dict[int, str], list[int]]:
    """Ids of the paragraphs by their index, and the indices of those that support the answer."""
    docs: dict[int, str] = {}
    supporting = []
    for place, each in enumerate(row.get("paragraphs", list, "a list of paragraphs")):
        if not isinstance(each, Mapping):
            raise row.wrong("paragraphs", f"has {each!a:.80}: give an object")
        title, text = each.get("title"), each.get("paragraph_text")
        if not isinstance(title, str) or not isinstance(text, str):
            raise row.wrong("paragraphs", f"has {each!a:.80}: give 'title' and 'paragraph_text'")
        index = each.get("idx", place)
        if not isinstance(index, int):
            raise row.wrong("paragraphs", f"has the 'idx' {index!a:.80}: give a whole number")
        docs[index] = shelf.add(title, split_sentences(text))
        if each.get("is_supporting"):
            supporting.append(index)
    return docs, supporting
