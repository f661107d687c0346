"""BM25 in this process: scores and order are those of the formula, whatever is asked."""

import asyncio
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_servers import HOSTILE

from agentgym.errors import ConfigError
from agentgym.retrieval import Passage, Passages, open_retriever
from agentgym.retrieval.analysis import (
    MAX_QUERY_CHARS,
    MAX_QUERY_TERMS,
    query_terms,
    sanitise,
    split_sentences,
    terms,
)
from agentgym.retrieval.bm25 import BM25Index, best, fused

WORDS = ["cat", "cats", "dog", "café", "the", "of", "Paris", "x9", "running", "東京"]
texts = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
corpora = st.lists(st.tuples(texts, texts), min_size=1, max_size=12).map(
    lambda rows: Passages(
        "small", [Passage(str(n), title, (text,)) for n, (title, text) in enumerate(rows)]
    )
)


def by_the_formula(corpus, query, k1=1.5, b=0.75, title_weight=2):
    """Lucene's BM25, written out: the score of each passage."""
    documents = [terms(p.title) * title_weight + terms(p.text) for p in corpus]
    average = sum(map(len, documents)) / len(documents)
    scores = []
    for words in documents:
        score = 0.0
        for term in query_terms(query):
            frequency = words.count(term)
            if frequency:
                holding = sum(term in other for other in documents)
                idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
                norm = k1 * (1 - b + b * len(words) / average)
                score += idf * frequency / (norm + frequency)
        scores.append(score)
    return scores


def city(count=40):
    return Passages(
        "cities",
        [
            Passage(f"c{n}", f"City {n}", (f"City {n} lies on river {n % 7}.", "It is old."))
            for n in range(count)
        ],
    )


@given(corpora, texts, st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_scores_and_order_are_those_of_the_formula(corpus, query, k):
    expected = by_the_formula(corpus, query)

    (hits,) = open_retriever("bm25", corpus).search([query], k)

    places = [int(hit.passage.id) for hit in hits]
    assert len(places) == min(k, sum(score > 0 for score in expected))
    for place, hit in zip(places, hits, strict=True):
        assert hit.score == pytest.approx(expected[place], rel=1e-5)
    found = [(-hit.score, place) for hit, place in zip(hits, places, strict=True)]
    assert found == sorted(found)
    missed = [expected[place] for place in range(len(corpus)) if place not in places]
    if hits:
        assert max(missed, default=0.0) <= hits[-1].score * (1 + 1e-5)


@given(corpora, texts, st.sampled_from([(0.9, 0.4, 1), (1.5, 0.75, 0), (2.0, 0.0, 3)]))
@settings(max_examples=50, deadline=None)
def test_other_parameters_change_the_scores_as_the_formula_says(corpus, query, parameters):
    k1, b, title_weight = parameters
    expected = by_the_formula(corpus, query, k1, b, title_weight)

    retriever = open_retriever("bm25", corpus, k1=k1, b=b, title_weight=title_weight)

    for hit in retriever.search([query], 12)[0]:
        assert hit.score == pytest.approx(expected[int(hit.passage.id)], rel=1e-5)


def test_equals_come_in_the_order_of_the_corpus():
    twins = Passages("twins", [Passage(f"t{n}", "Same", ("One text.",)) for n in range(300)])

    (hits,) = open_retriever("bm25", twins).search(["same text"], 5)

    assert [hit.passage.id for hit in hits] == ["t0", "t1", "t2", "t3", "t4"]


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=2000),
    st.integers(1, 40),
)
@settings(max_examples=200, deadline=None)
def test_the_shortcut_to_the_best_places_leaves_none_out(levels, k):
    scores = np.array(levels, np.float32)
    everything = sorted(
        ((place, float(s)) for place, s in enumerate(levels) if s > 0),
        key=lambda each: (-each[1], each[0]),
    )

    assert best(scores, k) == everything[:k]


def test_a_passage_is_found_by_its_title():
    corpus = Passages(
        "two",
        [
            Passage("a", "Rivers", ("Lyon is a city. Lyon is on two rivers.",)),
            Passage("b", "Lyon", ("A city of France.",)),
        ],
    )

    assert open_retriever("bm25", corpus).search(["lyon"], 1)[0][0].passage.id == "b"


def test_accents_case_and_endings_make_no_difference():
    corpus = Passages(
        "one", [Passage("a", "Beyoncé", ("She was singing in Zürich, Hauptstraße.",))]
    )
    retriever = open_retriever("bm25", corpus)

    for query in ("beyonce", "BEYONCÉ", "songs sing", "Zurich", "HAUPTSTRASSE"):
        assert retriever.search([query], 1)[0], query


def test_many_queries_are_answered_as_each_alone():
    retriever = open_retriever("bm25", city())
    queries = ["City 3", "river 4", "nothing of the kind", ""]

    together = retriever.search(queries, 5)

    assert together == [retriever.search([query], 5)[0] for query in queries]
    assert together == asyncio.run(retriever.asearch(queries, 5))


def test_an_index_is_built_once_for_a_corpus_and_its_parameters():
    one = open_retriever("bm25", city())
    other = open_retriever("bm25", city())
    heavier = open_retriever("bm25", city(), title_weight=3)

    assert one.engine is other.engine
    assert heavier.engine is not one.engine
    assert heavier.fingerprint != one.fingerprint == other.fingerprint


def test_the_fingerprint_is_the_same_on_every_machine():
    assert open_retriever("bm25", city(3)).fingerprint == "70368dcfa9af8984607ba8f924d22cf9"


def test_a_corpus_that_can_only_be_read_in_order_will_do():
    class Stream:
        name = "stream"
        fingerprint = "f" * 32

        def __len__(self):
            return 40

        def __iter__(self):
            return iter(city())

    retriever = open_retriever("bm25", Stream())

    assert retriever.search(["city 7"], 1)[0][0].passage.id == "c7"
    assert retriever.fetch(["c7", "nope"]) == [city().get("c7"), None]


def test_a_corpus_without_words_finds_nothing():
    corpus = Passages("empty", [Passage("a", "", ()), Passage("b", "!!!", ("...",))])

    assert open_retriever("bm25", corpus).search(["anything", ""], 3) == [[], []]


def test_building_tells_how_far_it_is():
    told = []

    BM25Index.build(city(2500), "x", progress=told.append)

    assert told == [1000, 2000]


# --- queries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_query_is_cut_to_size(query):
    asked = sanitise(query)

    assert len(asked) <= MAX_QUERY_CHARS
    assert asked.isprintable()
    assert len(query_terms(query)) <= MAX_QUERY_TERMS
    assert sanitise(asked) == asked
    asked.encode()


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_query_is_answered(query):
    (hits,) = open_retriever("bm25", city()).search([query], 3)

    assert len(hits) <= 3


@given(st.text(max_size=600))
@settings(max_examples=200, deadline=None)
def test_any_text_becomes_a_query_that_stays_as_it_is(text):
    asked = sanitise(text)

    assert sanitise(asked) == asked
    assert len(asked) <= MAX_QUERY_CHARS
    assert all(query_terms(text))


def test_a_term_counts_once_however_often_it_is_said():
    retriever = open_retriever("bm25", city())

    assert retriever.search(["city city city"], 3) == retriever.search(["city"], 3)


@pytest.mark.parametrize("k", [0, -1, 1001, "3", 2.5])
def test_a_senseless_number_of_passages_is_the_callers_mistake(k):
    with pytest.raises(ConfigError, match="ask for 1 to 1000"):
        open_retriever("bm25", city()).search(["city"], k)


# --- sentences ---------------------------------------------------------------------------------


def test_sentences_end_where_their_punctuation_says():
    text = 'He said "No." Then he left!  Was it 3.5 km?\n\nA heading\n\nThe end'

    assert split_sentences(text) == (
        'He said "No."',
        "Then he left!",
        "Was it 3.5 km?",
        "A heading",
        "The end",
    )


@given(st.text(max_size=200))
@settings(deadline=None)
def test_splitting_loses_no_word(text):
    assert " ".join(split_sentences(text)).split() == text.split()


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "options", "told"),
    [
        ("bm52", {}, "did you mean 'bm25'"),
        ("ftp://host/x", {}, "begins with http://"),
        ("bm25", {"k2": 1.0}, "no option 'k2'; it takes k1, b, title_weight"),
        ("bm25", {"k1": 0.0}, "give k1 > 0"),
        ("bm25", {"k1": "0.9"}, "give k1 > 0"),
        ("bm25", {"b": 2.0}, "b from 0 to 1"),
        ("bm25", {"title_weight": 99}, "from 0 to 10"),
        ("no/such/folder", {}, "agentgym corpus build SOURCE --out no/such/folder"),
        ("http://host/retrieve", {"dialect": "verl"}, "give 'queries' or 'query'"),
        ("http://host/retrieve", {"deadline_s": 0}, "seconds above 0"),
        ("http://host/retrieve", {"deadline_s": "5"}, "seconds above 0"),
        ("http://host/retrieve", {"connections": 0}, "connections is 0: give at least 1"),
        ("http://host/retrieve", {"breaker_failures": 0}, "breaker_failures is 0"),
        ("http://host/retrieve", {"breaker_open_s": "2"}, "breaker_open_s is '2'"),
        ("opensearch://host:9200", {}, "names no index"),
        ("qdrant://host:6333", {}, "is no collection"),
        ("qdrant://host:port/name", {}, "is no collection"),
    ],
)
def test_what_cannot_be_opened_is_named_with_what_to_do(spec, options, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        open_retriever(spec, city(), **options)


def test_a_corpus_names_the_passage_that_it_has_twice_however_long_it_is():
    passages = [Passage(str(n), "", ()) for n in range(300_000)]
    with pytest.raises(ConfigError, match="corpus 'long' has passage '299999' twice"):
        Passages("long", [*passages, passages[-1]])


def test_an_engine_needs_a_corpus():
    with pytest.raises(ConfigError, match="give corpus="):
        open_retriever("bm25")


def test_fusion_adds_reciprocal_ranks():
    lexical = [(7, 9.0), (3, 5.0)]
    dense = [(3, 0.9), (8, 0.8), (7, 0.1)]

    found = fused([lexical, dense], 2)

    assert [place for place, _ in found] == [3, 7]
    assert found[0][1] == pytest.approx(1 / 62 + 1 / 61)
    assert found[1][1] == pytest.approx(1 / 61 + 1 / 63)
