"""Questions with answers and no passages, as Natural Questions and TriviaQA are passed around.

What they are asked over is up to the retriever: an index of Wikipedia, or a server of one.
"""

from __future__ import annotations

import hashlib

from agentgym.tasks.questions_files import (
    Entry,
    FileQuestions,
    Row,
    Shelf,
    as_split,
    open_files,
)


def open_nq(path: str) -> FileQuestions:
    """Rows of `question` and `answer` or `answers`, in a file or a folder of files.

    Raises:
        TaskError: A file is missing or damaged, or a row wrong; names the file, row and field.
    """
    counts: dict[str, int] = {}

    def read(row: Row, shelf: Shelf) -> Entry:
        question = row.text("question")
        id = row.fields.get("id")
        if id is None or id == "":
            id = hashlib.blake2b(question.encode(), digest_size=6).hexdigest()
            counts[id] = counts.get(id, 0) + 1
            if counts[id] > 1:  # asked twice, with other answers
                id = f"{id}-{counts[id]}"
        return Entry(
            str(id),
            as_split(row.fields.get("split")) or row.split,
            {
                "question": question,
                "answers": row.texts("answers", "answer", "golden_answers"),
                "kind": str(row.fields.get("type") or "open"),
                "hops": 0,
                "evidence": [],
            },
        )

    return open_files("nq", path, read, passages=False)
