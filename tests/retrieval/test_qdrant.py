"""Qdrant finds what is found here: the same passages with the same scores."""

import contextlib
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_servers import HOSTILE
from servers import closed_port

from agentgym.errors import ConfigError, RetrievalError
from agentgym.retrieval import Passage, Passages, open_retriever
from agentgym.retrieval.building import build_index
from agentgym.retrieval.folder import open_index

if os.environ.get("CI") != "true":
    pytest.importorskip("qdrant_client")
import qdrant_client

from agentgym.retrieval.qdrant import connect, push

CITIES = Passages(
    "cities",
    [
        Passage(f"c{n}", f"City {n}", (f"City {n} is on river {n % 7}.", f"It is {n % 3} old."))
        for n in range(120)
    ],
)
QUERIES = ["city 7", "old river 3", "nothing of the kind", "", "is 2"]


@pytest.fixture(scope="module")
def client():
    made = qdrant_client.QdrantClient(":memory:")
    push(made, "cities", CITIES, open_retriever("bm25", CITIES).engine)
    yield made
    made.close()


@pytest.fixture
def retriever(client):
    opened = open_retriever("qdrant://here/cities", client=client, deadline_s=60.0)
    yield opened
    opened.close()


def compare(found, expected):
    assert [[hit.passage for hit in hits] for hits in found] == [
        [hit.passage for hit in hits] for hits in expected
    ]
    for hits, others in zip(found, expected, strict=True):
        for hit, other in zip(hits, others, strict=True):
            assert hit.score == pytest.approx(other.score, rel=1e-5)


def test_it_finds_what_is_found_here_with_the_same_scores(retriever):
    compare(retriever.search(QUERIES, 5), open_retriever("bm25", CITIES).search(QUERIES, 5))


async def test_it_can_be_awaited(retriever):
    compare(await retriever.asearch(QUERIES, 3), open_retriever("bm25", CITIES).search(QUERIES, 3))


words = st.lists(st.sampled_from(["cat", "dog", "paris", "the", "x"]), max_size=6).map(" ".join)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=6), words)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_small_corpora_score_alike(rows, query):
    corpus = Passages(
        "small", [Passage(str(n), title, (text,)) for n, (title, text) in enumerate(rows)]
    )
    local = open_retriever("bm25", corpus)
    with contextlib.closing(qdrant_client.QdrantClient(":memory:")) as client:
        push(client, "small", corpus, local.engine)
        there = open_retriever("qdrant://here/small", client=client, deadline_s=60.0)
        found, expected = there.search([query], 6), local.search([query], 6)
        there.close()

    scores = {hit.passage: pytest.approx(hit.score, rel=1e-5) for hit in expected[0]}
    assert {hit.passage: hit.score for hit in found[0]} == scores


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_query_is_answered(retriever, query):
    compare(retriever.search([query], 3), open_retriever("bm25", CITIES).search([query], 3))


def test_an_index_folder_can_be_pushed(tmp_path):
    build_index(CITIES, tmp_path, name="cities")
    told = []
    with (
        contextlib.closing(qdrant_client.QdrantClient(":memory:")) as client,
        contextlib.closing(open_index(tmp_path)) as index,
    ):
        push(client, "cities", index, index.bm25, progress=lambda *each: told.append(each))
        retriever = open_retriever("qdrant://here/cities", client=client, deadline_s=60.0)
        compare(retriever.search(QUERIES, 5), open_retriever("bm25", CITIES).search(QUERIES, 5))
        assert retriever.fingerprint == open_retriever("bm25", CITIES).fingerprint
        retriever.close()

    assert told[-1] == ("pushing passages", 120, 120)


def test_that_there_is_nobody_to_push_to_is_said():
    client, name = connect(f"qdrant://127.0.0.1:{closed_port()}/cities")
    with contextlib.closing(client), pytest.raises(RetrievalError, match="cities cannot be pushed"):
        push(client, name, CITIES, open_retriever("bm25", CITIES).engine)


def test_what_is_pushed_again_replaces_what_was_there():
    few = Passages("few", [Passage("only", "Only", ("city",))])
    with contextlib.closing(qdrant_client.QdrantClient(":memory:")) as client:
        push(client, "c", CITIES, open_retriever("bm25", CITIES).engine)
        push(client, "c", few, open_retriever("bm25", few).engine)
        retriever = open_retriever("qdrant://here/c", client=client, deadline_s=60.0)
        ((hit,),) = retriever.search(["city"], 5)
        retriever.close()

    assert hit.passage.id == "only"


def test_passages_are_had_by_id(retriever):
    assert retriever.fetch(["c7", "nope"]) == [CITIES[7], None]


def test_a_collection_of_others_is_told(client):
    with pytest.raises(ConfigError, match="agentgym corpus push FOLDER"):
        open_retriever("qdrant://here/nothing", client=client)


def test_a_server_that_is_not_there_is_told():
    with pytest.raises(RetrievalError, match="is the server running") as caught:
        open_retriever(f"qdrant://127.0.0.1:{closed_port()}/wiki")

    assert caught.value.kind == "transport"


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [(500, b"no", "http"), (200, b"<html>", "protocol"), (200, b'{"result": 3}', "protocol")],
)
def test_a_server_that_fails_is_named_by_its_kind(code, body, kind):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(RetrievalError) as caught:
                open_retriever(f"qdrant://127.0.0.1:{server.server_port}/wiki")
        finally:
            server.shutdown()
            thread.join()

    assert caught.value.kind == kind


@pytest.mark.slow
def test_a_qdrant_server_scores_as_we_do():
    """Against a real server, where one listens at its usual port."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6333)):
            pytest.skip("no Qdrant server listens on 127.0.0.1:6333")
    with contextlib.closing(qdrant_client.QdrantClient(host="127.0.0.1", port=6333)) as client:
        try:
            push(client, "agentgym-test", CITIES, open_retriever("bm25", CITIES).engine)
            retriever = open_retriever("qdrant://127.0.0.1:6333/agentgym-test")
            compare(retriever.search(QUERIES, 5), open_retriever("bm25", CITIES).search(QUERIES, 5))
            retriever.close()
        finally:
            client.delete_collection("agentgym-test")
            client.delete_collection("agentgym-test-terms")
