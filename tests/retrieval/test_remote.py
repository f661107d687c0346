"""Searching over HTTP: what fails is named by its kind, in time, and never reads as text."""

import asyncio
import pickle
import threading

import aiohttp
import pytest
from search_servers import HOSTILE, SearchServer, each, echo, find
from servers import closed_port, drip, flood, garbage, hang_up, hang_up_midway, reset, stall, status

from agentgym.errors import ConfigError, InfraError, RetrievalError
from agentgym.retrieval import Hit, Passage, Passages, open_retriever
from agentgym.retrieval.http import HttpRetriever
from agentgym.retrieval.opensearch import OpenSearchRetriever

NO_FAULT_S = 60.0
"""A deadline that is never met unless something hangs."""


@pytest.fixture
def retrievers():
    """Makes retrievers, and closes them in the end."""
    made = []

    def make(server, **options):
        url = server if isinstance(server, str) else server.url
        made.append(HttpRetriever(url, **{"deadline_s": NO_FAULT_S, **options}))
        return made[-1]

    yield make
    for each_made in made:
        each_made.close()


async def test_hits_are_read_as_search_r1_gives_them(retrievers):
    async with SearchServer(default=find("Lyon", "Paris")) as server:
        found = await retrievers(server).asearch(["rivers", "towers"], 2)

    lyon = Hit(Passage("d0", "Lyon", ("This is Lyon.", "It is.")), 2.0)
    paris = Hit(Passage("d1", "Paris", ("This is Paris.", "It is.")), 1.0)
    assert found == [[lyon, paris], [lyon, paris]]
    assert server.requests[0].body == {
        "queries": ["rivers", "towers"],
        "topk": 2,
        "return_scores": True,
    }


async def test_the_other_dialect_asks_one_query_a_call(retrievers):
    async with SearchServer(default=echo()) as server:
        found = await retrievers(server, dialect="query").asearch(["a", "b"], 3)

    assert [hits[0].passage.title for hits in found] == ["a", "b"]
    assert [request.body["query"] for request in server.requests] == ["a", "b"]


async def test_one_query_a_call_goes_over_many_connections_at_once(retrievers):
    together = asyncio.Barrier(4)

    async def behave(request, body):
        await together.wait()  # is only left when four are here
        return await echo()(request, body)

    async with SearchServer(default=behave) as server:
        retriever = retrievers(server, dialect="query", connections=4)
        searches = []
        for n in range(8):
            searches.append(asyncio.create_task(retriever.asearch([f"q{n}"], 1)))
            await asyncio.sleep(0)
        found = await asyncio.gather(*searches)

    assert [hits[0].passage.title for (hits,) in found] == [f"q{n}" for n in range(8)]
    assert server.most_under_way == 4


SHAPES = {
    "scores as text": {"document": {"id": "a", "contents": '"T"\nx'}, "score": "1.5"},
    "a document alone": {"id": "a", "contents": '"T"\nx', "score": 1.5},
    "title and text": {"document": {"id": "a", "title": "T", "text": "x"}, "score": 1.5},
    "sentences": {"document": {"id": "a", "title": "T", "sentences": ["x"]}, "score": 1.5},
}


@pytest.mark.parametrize("item", SHAPES.values(), ids=SHAPES.keys())
async def test_the_shapes_that_servers_use_are_one(retrievers, item):
    async with SearchServer(default=each(lambda _: [item])) as server:
        found = await retrievers(server).asearch(["q"], 3)

    assert found == [[Hit(Passage("a", "T", ("x",)), 1.5)]]


async def test_a_flat_answer_to_one_query_is_that_querys(retrievers):
    document = {"document": {"id": "a", "contents": "x"}, "score": 1}
    async with SearchServer(default=status(200, {"result": [document]})) as server:
        found = await retrievers(server, dialect="query").asearch(["q"], 3)

    assert found == [[Hit(Passage("a", "", ("x",)), 1.0)]]


async def test_a_document_without_an_id_is_known_by_its_text(retrievers):
    async with SearchServer(
        default=each(lambda q: [{"document": f'"{q}"\nx', "score": 1}])
    ) as server:
        retriever = retrievers(server)
        (a,), (b,), (again,) = await retriever.asearch(["a", "b", "a"], 3)

    assert a == again
    assert a.passage.id != b.passage.id


async def test_a_long_text_is_cut(retrievers):
    long = {"document": {"id": "a", "contents": '"T"\n' + "x" * 100_000}, "score": 1}
    async with SearchServer(default=each(lambda _: [long])) as server:
        ((hit,),) = await retrievers(server).asearch(["q"], 1)

    assert len(hit.passage.text) < 20_001


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_query_arrives_cut_to_size_or_not_at_all(retrievers, query):
    async with SearchServer(default=echo()) as server:
        ((*hits,),) = await retrievers(server).asearch([query], 3)

    asked = [text for request in server.requests for text in request.body["queries"]]
    assert len(asked) == len(hits) <= 1
    assert all(len(text) <= 512 and text.isprintable() for text in asked)


# --- faults ------------------------------------------------------------------------------------

FAULTS = {
    "an error": (status(500), "http"),
    "overload": (status(503), "http"),
    "a bad request": (status(400, {"detail": "no"}), "http"),
    "not found": (status(404), "http"),
    "a redirect": (status(302, "", {"Location": "/elsewhere"}), "http"),
    "hanging up": (hang_up(), "transport"),
    "a reset": (reset(), "transport"),
    "half an answer": (hang_up_midway(), "transport"),
    "garbage": (garbage(), "protocol"),
    "nothing": (garbage(b""), "protocol"),
    "null": (garbage(b"null"), "protocol"),
    "a list": (garbage(b"[]"), "protocol"),
    "no result": (garbage(b"{}"), "protocol"),
    "null for a result": (garbage(b'{"result": null}'), "protocol"),
    "too few results": (garbage(b'{"result": []}'), "protocol"),
    "too many results": (garbage(b'{"result": [[], []]}'), "protocol"),
    "a result that is no list": (garbage(b'{"result": ["x"]}'), "protocol"),
    "a hit that is no object": (garbage(b'{"result": [[3]]}'), "protocol"),
    "no text": (garbage(b'{"result": [[{"document": {"id": 1}, "score": 1}]]}'), "protocol"),
    "text that is none": (
        garbage(b'{"result": [[{"document": {"contents": [1]}, "score": 1}]]}'),
        "protocol",
    ),
    "no number": (
        garbage(b'{"result": [[{"document": {"contents": "x"}, "score": "high"}]]}'),
        "protocol",
    ),
    "not a number": (
        garbage(b'{"result": [[{"document": {"contents": "x"}, "score": NaN}]]}'),
        "protocol",
    ),
    "nested too deep": (garbage(b"[" * 100_000), "protocol"),
    "ten megabytes": (flood(10_000_000), "protocol"),
}


@pytest.mark.parametrize(("fault", "kind"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_is_named_by_its_kind(retrievers, fault, kind):
    async with SearchServer(default=fault) as server:
        retriever = retrievers(server, breaker_failures=2)
        with pytest.raises(RetrievalError) as caught:
            await retriever.asearch(["q"], 3)

    assert caught.value.kind == kind
    assert isinstance(caught.value, InfraError)
    assert len(str(caught.value)) < 600
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.kind, str(again)) == (kind, str(caught.value))


@pytest.mark.parametrize("fault", [stall(), drip()], ids=["silence", "a byte now and then"])
async def test_what_takes_too_long_ends_at_the_deadline(retrievers, fault):
    async with SearchServer(default=fault) as server:
        with pytest.raises(RetrievalError) as caught:
            await retrievers(server, deadline_s=0.3).asearch(["q"], 3)

    assert caught.value.kind == "deadline"
    assert len(server.requests) <= 1


async def test_a_refused_connection_is_tried_until_the_breaker_opens_and_then_left_alone(
    retrievers,
):
    retriever = retrievers(f"http://127.0.0.1:{closed_port()}/retrieve", breaker_open_s=NO_FAULT_S)

    with pytest.raises(RetrievalError) as first:
        await retriever.asearch(["q"], 3)
    with pytest.raises(RetrievalError) as second:
        await retriever.asearch(["q"], 3)

    assert (first.value.kind, second.value.kind) == ("transport", "breaker")
    assert "is the server running?" in str(first.value)
    assert retriever.calls == 5


async def test_one_deadline_holds_for_all_tries_of_a_search(retrievers):
    async with SearchServer(default=status(500)) as server:
        retriever = retrievers(server, deadline_s=2.0, breaker_failures=1000)
        with pytest.raises(RetrievalError) as caught:
            await retriever.asearch(["q"], 3)

    assert caught.value.kind in ("http", "deadline")  # the last try, or the time for it
    assert 2 <= len(server.requests) < 10


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503])
async def test_what_may_pass_is_tried_again(retrievers, code):
    async with SearchServer(status(code), status(code), default=find("Lyon")) as server:
        found = await retrievers(server).asearch(["q"], 1)

    assert found[0][0].passage.title == "Lyon"
    assert len(server.requests) == 3


async def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(retrievers):
    busy = status(429, "", {"Retry-After": "3600"})
    async with SearchServer(busy, default=find("Lyon")) as server:
        with pytest.raises(RetrievalError) as caught:
            await retrievers(server).asearch(["q"], 1)

    assert caught.value.kind == "http"
    assert len(server.requests) == 1


async def test_a_busy_server_does_not_open_the_breaker(retrievers):
    async with SearchServer(*[status(429)] * 3, default=find("Lyon")) as server:
        found = await retrievers(server, breaker_failures=1).asearch(["q"], 1)

    assert found[0]


async def test_what_a_model_could_have_caused_is_not_tried_again(retrievers):
    async with SearchServer(default=status(400)) as server:
        retriever = retrievers(server)
        for _ in range(10):
            with pytest.raises(RetrievalError, match="HTTP 400"):
                await retriever.asearch(["q"], 3)

    assert len(server.requests) == 10


async def test_a_server_that_comes_back_is_asked_again(retrievers):
    async with SearchServer(default=find("Lyon")) as server:
        retriever = retrievers(server, breaker_open_s=0.0, breaker_failures=1)
        async with server.down():
            with pytest.raises(RetrievalError):
                await retriever.asearch(["q"], 1)
        assert (await retriever.asearch(["q"], 1))[0]


async def test_a_failure_in_a_call_is_told_to_each_search_in_it(retrievers):
    async with SearchServer(default=status(404)) as server:
        retriever = retrievers(server)
        results = await asyncio.gather(
            *(retriever.asearch([f"q{n}"], 3) for n in range(5)), return_exceptions=True
        )

    assert {type(each_result) for each_result in results} == {RetrievalError}
    assert len({id(each_result) for each_result in results}) == 5


async def test_a_url_that_cannot_be_asked_is_the_callers_mistake():
    with pytest.raises(ConfigError, match="not a URL"):
        open_retriever("http:///retrieve")


# --- together ----------------------------------------------------------------------------------


def gated(answer):
    """A behaviour that waits until it is let through."""
    gate = asyncio.Event()
    entered = asyncio.Event()

    async def behave(request, body):
        entered.set()
        await gate.wait()
        return await answer(request, body)

    return behave, gate, entered


async def test_a_lone_search_goes_at_once_and_those_that_wait_go_together(retrievers):
    slow, gate, entered = gated(echo())
    async with SearchServer(slow, default=echo()) as server:
        retriever = retrievers(server)
        first = asyncio.create_task(retriever.asearch(["first"], 3))
        await entered.wait()
        others = [asyncio.create_task(retriever.asearch([f"q{n}"], 3)) for n in range(50)]
        await asyncio.sleep(0)  # let each ask: what they ask waits, as a call is under way
        gate.set()
        found = await asyncio.gather(first, *others)

    assert [hits[0].passage.title for (hits,) in found] == ["first", *(f"q{n}" for n in range(50))]
    assert [len(request.body["queries"]) for request in server.requests] == [1, 50]


async def test_searches_for_the_same_are_sent_once(retrievers):
    async with SearchServer(default=echo()) as server:
        retriever = retrievers(server)
        found = await asyncio.gather(*(retriever.asearch(["same", " same "], 3) for _ in range(8)))

    assert all(hits == found[0] for hits in found)
    assert sum(len(request.body["queries"]) for request in server.requests) == 1


async def test_each_search_gets_as_many_passages_as_it_asked_for(retrievers):
    async with SearchServer(default=find("A", "B", "C", "D")) as server:
        retriever = retrievers(server)
        few, many = await asyncio.gather(retriever.asearch(["q"], 1), retriever.asearch(["r"], 4))

    assert (len(few[0]), len(many[0])) == (1, 4)
    assert len(server.requests) == 1


async def test_calls_are_as_large_as_may_be(retrievers):
    async with SearchServer(default=echo()) as server:
        retriever = retrievers(server, together=10)
        queries = [f"q{n}" for n in range(25)]
        found = await retriever.asearch(queries, 3)

    assert [hits[0].passage.title for hits in found] == queries
    assert [len(request.body["queries"]) for request in server.requests] == [10, 10, 5]


async def test_many_passages_a_query_make_calls_small(retrievers):
    async with SearchServer(default=echo()) as server:
        await retrievers(server).asearch([f"q{n}" for n in range(25)], 100)

    assert [len(request.body["queries"]) for request in server.requests] == [10, 10, 5]


async def test_queries_whose_answers_are_too_long_together_are_asked_in_parts(retrievers):
    def long(query):
        return [
            {"document": {"id": query, "contents": f'"{query}"\n' + "x" * 1_000_000}, "score": 1}
        ]

    async with SearchServer(default=each(long)) as server:
        found = await retrievers(server).asearch([f"q{n}" for n in range(12)], 1)

    assert [hits[0].passage.title for hits in found] == [f"q{n}" for n in range(12)]
    assert [len(request.body["queries"]) for request in server.requests] == [12, 6, 6]


async def test_a_search_that_was_given_up_is_not_sent(retrievers):
    slow, gate, entered = gated(echo())
    async with SearchServer(slow, default=echo()) as server:
        retriever = retrievers(server)
        first = asyncio.create_task(retriever.asearch(["first"], 3))
        await entered.wait()
        second = asyncio.create_task(retriever.asearch(["second"], 3))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        await first
        await retriever.asearch(["third"], 3)

    asked = [query for request in server.requests for query in request.body["queries"]]
    assert asked == ["first", "third"]


async def test_one_connection_carries_many_searches(retrievers):
    async with SearchServer(default=echo()) as server:
        retriever = retrievers(server)
        for n in range(20):
            await retriever.asearch([f"q{n}"], 3)

    assert len(server.connections) == 1


async def test_plain_code_and_threads_may_share_a_retriever(retrievers):
    async with SearchServer(default=echo()) as server:
        retriever = retrievers(server)
        loops = await asyncio.gather(
            *(asyncio.to_thread(retriever.search, [f"q{n}"], 3) for n in range(8)),
            retriever.asearch(["here"], 3),
        )
        elsewhere = []

        async def there():
            elsewhere.append(await retriever.asearch(["there"], 3))
            retriever.close()  # while its loop still runs

        thread = threading.Thread(target=lambda: asyncio.run(there()))
        thread.start()
        await asyncio.to_thread(thread.join)

    titles = [found[0][0].passage.title for found in [*loops, *elsewhere]]
    assert titles == [*(f"q{n}" for n in range(8)), "here", "there"]


async def test_loops_that_have_ended_leave_no_session_open(retrievers, monkeypatch):
    opened, real = [], aiohttp.ClientSession

    def recorded(**options):
        opened.append(real(**options))
        return opened[-1]

    monkeypatch.setattr(aiohttp, "ClientSession", recorded)
    nothing = status(200, {"result": [[]]}, {"Connection": "close"})
    async with SearchServer(default=nothing) as server:
        retriever = retrievers(server)
        for n in range(4):
            await asyncio.to_thread(lambda n=n: asyncio.run(retriever.asearch([f"q{n}"], 1)))

    assert [session.closed for session in opened] == [True, True, True, False]


async def test_a_closed_retriever_opens_again(retrievers):
    async with SearchServer(default=echo()) as server:
        retriever = retrievers(server)
        await retriever.asearch(["a"], 1)
        retriever.close()
        retriever.close()
        assert (await retriever.asearch(["b"], 1))[0]

    assert len(server.connections) == 2


# --- passages ----------------------------------------------------------------------------------


async def test_what_was_found_can_be_fetched_and_nothing_else(retrievers):
    async with SearchServer(default=find("Lyon")) as server:
        retriever = retrievers(server)
        assert retriever.fetch(["d0"]) == [None]
        ((hit,),) = await retriever.asearch(["q"], 1)

        assert await retriever.afetch(["d0", "d1"]) == [hit.passage, None]


async def test_a_corpus_gives_passages_that_were_never_found(retrievers):
    corpus = Passages("c", [Passage("x", "X", ("y",))])
    async with SearchServer(default=find("Lyon")) as server:
        retriever = retrievers(server, corpus=corpus)

        assert retriever.fetch(["x", "z"]) == [corpus[0], None]


def test_a_fingerprint_says_where_unless_it_is_known_what():
    one, other = HttpRetriever("http://a/retrieve"), HttpRetriever("http://b/retrieve")

    assert one.fingerprint != other.fingerprint
    assert HttpRetriever("http://a/retrieve", fingerprint="x").fingerprint == "x"


# --- OpenSearch --------------------------------------------------------------------------------


def hit(id, score, **source):
    return {"_index": "wiki", "_id": id, "_score": score, "_source": source}


def responses(*hits):
    return {
        "took": 1,
        "responses": [{"hits": {"total": {"value": len(each)}, "hits": each}} for each in hits],
    }


async def test_an_opensearch_index_is_asked_by_msearch():
    answer = responses(
        [hit("b", 2.0, title="B", text="One. Two."), hit("a", 2.0, title="A", text="x")], []
    )
    async with SearchServer(default=status(200, answer)) as server:
        retriever = open_retriever(
            f"opensearch://127.0.0.1:{server.port}/wiki", deadline_s=NO_FAULT_S
        )
        found = await retriever.asearch(["rivers", "towers"], 2)
        retriever.close()

    assert found == [
        [Hit(Passage("a", "A", ("x",)), 2.0), Hit(Passage("b", "B", ("One.", "Two.")), 2.0)],
        [],
    ]
    head, body, head_2, body_2 = server.requests[0].body["lines"]
    assert head == head_2 == {}
    assert (body["size"], body_2["query"]["multi_match"]["query"]) == (2, "towers")
    assert body["query"]["multi_match"]["fields"] == ["title^2", "text"]


OPENSEARCH_FAULTS = {
    "an error of one search": (
        {"responses": [{"error": {"type": "index_not_found_exception"}, "status": 404}]},
        "http",
    ),
    "no responses": ({"took": 1}, "protocol"),
    "no hits": ({"responses": [{"took": 1}]}, "protocol"),
    "no source": ({"responses": [{"hits": {"hits": [{"_id": "a", "_score": 1}]}}]}, "protocol"),
    "no score": (responses([hit("a", None, text="x")]), "protocol"),
    "no text": (responses([hit("a", 1.0, title="x")]), "protocol"),
}


@pytest.mark.parametrize(("answer", "kind"), OPENSEARCH_FAULTS.values(), ids=OPENSEARCH_FAULTS)
async def test_a_fault_of_opensearch_is_named_by_its_kind(answer, kind):
    async with SearchServer(default=status(200, answer)) as server:
        retriever = OpenSearchRetriever(
            f"elasticsearch://127.0.0.1:{server.port}/wiki", deadline_s=NO_FAULT_S
        )
        with pytest.raises(RetrievalError) as caught:
            await retriever.asearch(["q"], 2)
        retriever.close()

    assert caught.value.kind == kind


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_query_is_no_syntax_to_opensearch(query):
    async with SearchServer(default=status(200, responses([]))) as server:
        retriever = OpenSearchRetriever(
            f"opensearch://127.0.0.1:{server.port}/wiki", deadline_s=NO_FAULT_S
        )
        assert await retriever.asearch([query], 2) == [[]]
        retriever.close()

    for request in server.requests:
        match = request.body["lines"][1]["query"]["multi_match"]
        assert len(match["query"]) <= 512
