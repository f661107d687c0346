"""2WikiMultihopQA: comparison, inference and composition over Wikipedia, in HotpotQA's form.

Source: Ho et al., "Constructing a multi-hop QA dataset for comprehensive evaluation of reasoning
steps", COLING 2020; the authors' repository is under Apache-2.0.
"""

from __future__ import annotations

from agentgym.tasks.questions_files import FileQuestions, open_files
from agentgym.tasks.questions_hotpotqa import read_row


def open_2wiki(path: str) -> FileQuestions:
    """2WikiMultihopQA in a file, or a folder of files.

    Raises:
        TaskError: A file is missing or damaged, or a row wrong; names the file, row and field.
    """
    return open_files("2wiki", path, read_row)
