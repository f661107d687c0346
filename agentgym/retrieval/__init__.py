"""Finding passages: what a retriever is, and how one is named.

`open_retriever("bm25", corpus)` searches a corpus in this process; one elsewhere is named by its
address. Implementations are loaded when they are named.
"""

from agentgym.retrieval.base import Corpus, Hit, Passage, Passages, Retriever, open_retriever

__all__ = ["Corpus", "Hit", "Passage", "Passages", "Retriever", "open_retriever"]
