"""A folder with questions and the corpus they are asked over, as JSON lines.

`questions.jsonl` has `id`, `question` and `answers`; and where they are known `split`, `type`,
`hops`, `gold` (the passages to find: `doc`, and `sents`, the sentences in it or null) and
`decomposition` (steps with their `doc`, in order). `corpus.jsonl` has `id`, `title`, and `sents` or
`text`. Either may end in `.gz`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentgym.errors import TaskError
from agentgym.retrieval.analysis import split_sentences
from agentgym.tasks.questions import Evidence
from agentgym.tasks.questions_files import (
    Entry,
    FileQuestions,
    Row,
    Shelf,
    as_split,
    read_files,
    titles_of,
)


def open_folder(path: str) -> FileQuestions:
    """The questions of a folder.

    Raises:
        TaskError: A file is missing or damaged, or a row wrong; names the file, row and field.
    """
    folder = Path(path).expanduser()
    shelf = Shelf()
    for row in read_files(str(_find(folder, "corpus"))):
        id = row.text("id")
        if id in shelf.passages:
            raise row.wrong("id", f"is {id!r}, as that of an earlier passage: give each its own")
        title = row.get("title", str, "text")
        if row.fields.get("sents") is None:
            sentences = split_sentences(row.text("text"))
        else:
            sentences = tuple(row.get("sents", list, "a list of sentences"))
            if not all(isinstance(each, str) for each in sentences):
                raise row.wrong("sents", f"is {sentences!a:.80}: give a list of sentences")
        shelf.add(title, sentences, id)
    entries = [_read(row, shelf) for row in read_files(str(_find(folder, "questions")))]
    return FileQuestions("folder", entries, shelf)


def _find(folder: Path, name: str) -> Path:
    for suffix in (".jsonl", ".jsonl.gz"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise TaskError(
        f"{str(folder)!r} has no {name}.jsonl or {name}.jsonl.gz: give a folder of both"
    )


def _read(row: Row, shelf: Shelf) -> Entry:
    gold = _places(row, shelf)
    steps = row.fields.get("decomposition") or []
    if not isinstance(steps, list):
        raise row.wrong("decomposition", f"is {steps!a:.80}: give a list of steps")
    order = [each.get("doc") for each in steps if isinstance(each, Mapping)]
    gold.sort(key=lambda each: order.index(each["doc"]) if each["doc"] in order else len(order))
    hops = row.fields.get("hops") or 0
    if not isinstance(hops, int) or hops < 0:
        raise row.wrong("hops", f"is {hops!a:.80}: give a whole number")
    return Entry(
        row.text("id"),
        as_split(row.fields.get("split")) or row.split,
        {
            "question": row.text("question"),
            "answers": row.texts("answers"),
            "kind": str(row.fields.get("type") or "open"),
            "hops": hops,
            "evidence": gold,
            "searches": titles_of(shelf, gold),
        },
    )


def _places(row: Row, shelf: Shelf) -> list[Evidence]:
    found: list[Evidence] = []
    gold = row.fields.get("gold") or []
    if not isinstance(gold, list):
        raise row.wrong("gold", f"is {gold!a:.80}: give a list")
    for each in gold:
        doc: Any = each.get("doc") if isinstance(each, Mapping) else None
        if not isinstance(doc, str) or doc not in shelf.passages:
            raise row.wrong("gold", f"has {each!a:.80}: give 'doc', a passage of the corpus")
        sentences = each.get("sents")
        if not isinstance(sentences, list | None):
            raise row.wrong("gold", f"has the 'sents' {sentences!a:.80}: give a list, or null")
        count = len(shelf.passages[doc].sentences)
        for sentence in [None] if sentences is None else sentences:
            if sentence is not None and not (type(sentence) is int and 0 <= sentence < count):
                raise row.wrong("gold", f"has sentence {sentence!a:.40} of {count} in {doc!r}")
            found.append({"doc": doc, "sentence": sentence, "options": 1})
    return found
