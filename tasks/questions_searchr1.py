"""Search-R1's training and test data: Parquet files, or the same rows as JSON lines.

Answers are read from `golden_answers`, or from the reward model's ground truth; the question from
its field, or from the end of the prompt. Rows hold no passages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentgym.tasks.questions_files import (
    Entry,
    FileQuestions,
    Row,
    Shelf,
    as_split,
    open_files,
)


def open_searchr1(path: str) -> FileQuestions:
    """Search-R1's rows in a file, or a folder of files.

    Raises:
        TaskError: A file is missing or damaged, or a row wrong; names the file, row and field.
    """
    return open_files("searchr1", path, read_row, passages=False)


def read_row(row: Row, shelf: Shelf) -> Entry:
    """A row: `question` or `prompt`, `golden_answers` or `reward_model`, `data_source`, `id`.

    Raises:
        TaskError: A field is missing or wrong.
    """
    extra = _mapping(row.fields.get("extra_info"))
    split = as_split(row.fields.get("split") or extra.get("split")) or row.split
    source = str(row.fields.get("data_source") or "")
    number = row.fields.get("id")
    if number is None:
        number = extra.get("index")
    if number is None:
        raise row.wrong("id", "is missing: give one, or 'extra_info' with an 'index'")
    return Entry(
        ":".join(each for each in (source, split, str(number)) if each),
        split,
        {
            "question": _question(row),
            "answers": _answers(row),
            "kind": source or "open",
            "hops": 0,
            "evidence": [],
        },
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _question(row: Row) -> str:
    if row.fields.get("question") is not None:
        return row.text("question")
    prompt = row.get("prompt", (list, str), "the question, as 'question' or at a prompt's end")
    last = (
        prompt
        if isinstance(prompt, str)
        else _mapping(prompt[-1] if prompt else None).get("content")
    )
    if not isinstance(last, str) or "Question:" not in last:
        raise row.wrong("prompt", f"is {prompt!a:.80}: give 'question'")
    question = last.rpartition("Question:")[2].strip()
    if not question:
        raise row.wrong("prompt", "ends without a question")
    return question


def _answers(row: Row) -> list[str]:
    if row.fields.get("golden_answers") is not None:
        return row.texts("golden_answers")
    truth = _mapping(row.get("reward_model", dict, "an object with 'ground_truth'"))
    target = _mapping(truth.get("ground_truth")).get("target", truth.get("ground_truth"))
    return row.check_texts("reward_model", target)
