"""What an expert does next: the question's own searches, else the titles of what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from agentgym.envs.search_ledger import Ledger
from agentgym.envs.search_text import pages
from agentgym.retrieval import Passage
from agentgym.tasks.questions import Question, plan
from agentgym.types import Task

Call = tuple[str, Mapping[str, Any]]
"""A verb and its arguments."""


def planned(task: Task, ledger: Ledger) -> str:
    """What the question's expert searches for next, as long as evidence is missing; `""` if not."""
    searches, _ = plan(cast("Question", task.data))
    documents, wanted = ledger.gold.documents, ledger.wanted
    if documents and wanted is None:
        return ""
    if wanted is not None and len(searches) == len(documents):  # each has its own
        searches = [searches[documents.index(wanted[0])]]
    return next((each for each in searches if not ledger.asked(each)), "")


def reading(passage: Passage, ledger: Ledger, page_chars: int) -> Call | None:
    """The page of a passage that holds what is wanted, if the passage was shown."""
    id = next((id for id, each in ledger.passages.items() if each.id == passage.id), None)
    sentence = ledger.wanted[1] if ledger.wanted else None
    for number, page in enumerate(pages(passage, page_chars), 1):
        wanted = sentence is None or sentence in page.sentences
        if id is not None and wanted and not ledger.has(passage, page):
            return "open", {"doc_id": id, "page": number}
    return None


def looking_for(passage: Passage, ledger: Ledger, most_chars: int) -> Call | None:
    """A search for a passage: by its title, then by all that it says."""
    for query in (passage.title, f"{passage.title} {passage.text}"):
        query = " ".join(query.split())[:most_chars].strip()
        if query and not ledger.asked(query):
            return "search", {"query": query}
    return None


def answering(ledger: Ledger, most_cites: int) -> Call:
    """The answer, with what it rests on as far as it was shown."""
    shown = {each.id: id for id, each in ledger.passages.items()}
    cites = [shown[each] for each in ledger.gold.documents if each in shown]
    return "answer", {"text": ledger.gold.answers[0], "cites": cites[:most_cites]}
