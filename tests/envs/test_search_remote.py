"""Search with a retriever elsewhere: the same episodes, and faults that no policy ever sees."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from types import MappingProxyType

import gymnasium as gym
import pytest
from aiohttp import web
from small_questions import PASSAGES, Small

from agentgym.actions import Action
from agentgym.collector import Collector, episode_keys
from agentgym.envs import search_leases
from agentgym.envs.search import RemoteSearch, Search
from agentgym.errors import InfraError, RetrievalError
from agentgym.policy import open_policy
from agentgym.policy.basic import ScriptedPolicy
from agentgym.retrieval import open_retriever
from agentgym.retrieval.server import make_app
from agentgym.rollout import play
from agentgym.tasks.questions import open_questions
from agentgym.types import EpisodeKey, Stop

WORLD = "world:hops=2,docs=100,worlds=1"


@asynccontextmanager
async def served(app):
    """The address of an application on loopback, in the running loop."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/retrieve"
    finally:
        await runner.cleanup()


def answering(*replies, then=None):
    """A server that replies so, one after another, and from then on as `then` does.

    A reply is a status, a body, or an exception to raise in the handler.
    """
    left = list(replies)
    app = web.Application()

    async def retrieve(request):
        reply = left.pop(0) if left else then
        if reply is None:
            await asyncio.Event().wait()  # never
        if isinstance(reply, int):
            return web.Response(status=reply)
        if callable(reply):
            return await reply(request)
        return web.Response(body=reply, content_type="application/json")

    app.router.add_post("/retrieve", retrieve)
    return app


async def found(request):
    """Nothing was found, for every query."""
    queries = json.loads(await request.read())["queries"]
    return web.json_response({"result": [[] for _ in queries]})


def remote(url, **options):
    options = {"deadline_s": 30.0, "breaker_failures": 1000, **options}
    return Search(task_set=Small(), retriever=url, retriever_options=options)


def without_index(facts):
    return {name: value for name, value in facts.items() if name != "index"}


async def test_an_episode_is_the_same_wherever_the_search_is():
    ids = open_questions(WORLD).ids("train")[:6]
    corpus = open_questions(WORLD).corpus(ids[0])
    seen = []
    async with served(make_app(open_retriever("bm25", corpus))) as url:
        for retriever in ("bm25", url):
            env = gym.make("agentgym/Search-v0", task_set=WORLD, retriever=retriever)
            policy = open_policy("oracle")
            for task in ids:
                played = await play(env, policy, EpisodeKey("", task, 0))
                assert played.error is None
                seen.append(
                    [
                        played.outcome,
                        without_index(played.facts),
                        [(t.observation, t.action, t.facts) for t in played.turns],
                    ]
                )
            await env.aclose()
    assert seen[:6] == seen[6:]
    assert all(outcome.passed for outcome, *_ in seen)


async def test_plain_steps_wait_for_a_retriever_elsewhere_too():
    async with served(make_app(open_retriever("bm25", Small().corpus("chain")))) as url:

        def episode():
            env = remote(url)
            _, info = env.reset(seed=0, options={"hints": ["oracle"]})
            while "outcome" not in info:
                _, _, _, _, info = env.step(info["oracle"])
            env.close()
            return info["outcome"]

        outcome = await asyncio.to_thread(episode)
    assert (outcome.score, outcome.parts["searches"]) == (1.0, 3.0)


async def test_sentences_are_those_of_the_corpus_where_a_server_knows_only_texts():
    """Search-R1's gives a title and a text: evidence is counted by sentences all the same."""
    passage = PASSAGES[0]._replace(
        sentences=("It is no. 1 of Mr. Smith.", "Its sponsor is Corvane.")
    )
    contents = f'"{passage.title}"\n{passage.text}'
    hit = {"document": {"id": "p0", "contents": contents}, "score": 1.0}
    async with served(answering(json.dumps({"result": [[hit]]}))) as url:
        env = Search(task_set=Small(passages=[passage, *PASSAGES[1:]]), retriever=url)
        await env.areset(seed=0)
        _, _, _, _, info = await env.astep(Action('search("prize")'))
        assert info["facts"]["shown_sentences"] == {"p0": [0, 1]}
        assert info["facts"]["evidence_found"] == [0]
        await env.aclose()


async def test_a_passage_that_a_server_cut_is_still_the_sets_and_another_is_a_fault():
    cut = {"document": {"id": "p0", "title": "x", "text": PASSAGES[0].text[:60]}, "score": 1.0}
    other = {"document": {"id": "p0", "title": "x", "text": "Its sponsor is mine."}, "score": 1.0}
    replies = [json.dumps({"result": [[hit]]}) for hit in (cut, other)]
    async with served(answering(*replies)) as url:
        env = remote(url)
        await env.areset(seed=0)
        _, _, _, _, info = await env.astep(Action('search("prize")'))
        assert info["facts"]["shown_sentences"] == {"p0": [0, 1, 2]}
        with pytest.raises(RetrievalError, match="passage 'p0' is another one"):
            await env.astep(Action('search("sponsor")'))
        await env.aclose()


async def test_searches_of_many_episodes_travel_together():
    async with served(make_app(open_retriever("bm25", Small().corpus("chain")))) as url:
        keys = list(episode_keys("", ["chain"], seeds=range(32)))
        collector = Collector(lambda: remote(url), open_policy("oracle"), concurrency=32)
        calls = searches = 0
        retriever = None
        async for trajectory in collector.stream(keys):
            retriever = retriever or next(iter(search_leases._leased.values()))[0]
            assert trajectory.outcome.passed
            searches += int(trajectory.outcome.parts["searches"])
            calls = retriever.calls
    assert searches == 96
    assert calls < searches / 2
    assert search_leases._leased == {}


# ----------------------------------------------------------------------------------------- faults

FAULTS = {
    "an error": (500, "http"),
    "not found": (404, "http"),
    "no JSON": (b"<html>busy</html>", "protocol"),
    "null": (b"null", "protocol"),
    "another shape": (b'{"result": {"text": "Sozvrisiria"}}', "protocol"),
    "a result too many": (b'{"result": [[], [], []]}', "protocol"),
    "a hit that is none": (b'{"result": [[{"score": 1}]]}', "protocol"),
    "a NaN": (b'{"result": [[{"document": {"contents": "x"}, "score": NaN}]]}', "protocol"),
    "too much": (b'{"result": [["' + b"x" * 9 * 2**20 + b'"]]}', "protocol"),
    "silence": (None, "deadline"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_of_the_retriever_is_raised_and_never_shown(name):
    reply, kind = FAULTS[name]
    async with served(answering(then=reply)) as url:
        env = remote(url, deadline_s=0.5 if reply is None else 30.0, breaker_failures=2)
        await env.areset(seed=0)
        with pytest.raises(RetrievalError) as failed:
            await env.astep(Action('search("Slesandhask Prize")'))
        assert failed.value.kind == kind
        assert env.turn == 0
        await env.aclose()


async def test_a_server_that_is_down_is_an_unscored_episode():
    async with served(answering()) as url:
        pass
    env = remote(url, breaker_failures=2)
    assert isinstance(env, RemoteSearch)
    said = ScriptedPolicy(['search("Slesandhask Prize")', 'answer("Sozvrisiria")'])
    played = await play(env, said, EpisodeKey("", "chain", 0))
    assert played.stop is Stop.ERROR
    assert not played.scored
    assert played.error.startswith("retriever: transport: ")
    assert played.turns == []
    await env.aclose()


async def test_what_failed_is_played_again_until_the_server_is_back():
    app = answering(500, b"null", b"[]", 404, then=found)
    async with served(app) as url:
        collector = Collector(
            lambda: remote(url),
            open_policy("oracle"),
            concurrency=1,
            retries=5,
        )
        episodes = [each async for each in collector.stream(episode_keys("", ["chain"], seeds=[0]))]
    assert [each.stop for each in episodes] == [Stop.TERMINATED]
    assert episodes[0].scored
    assert episodes[0].provenance["attempt"] > 1
    shown = " ".join(str(turn.observation) for turn in episodes[0].turns)
    assert "Nothing was found" in shown
    assert not any(word in shown.lower() for word in ("error", "500", "404", "null", "http"))


async def test_what_stays_broken_is_masked():
    async with served(answering(then=404)) as url:
        collector = Collector(lambda: remote(url), open_policy("oracle"), concurrency=2, retries=1)
        episodes = [
            each async for each in collector.stream(episode_keys("", ["chain"], seeds=[0, 1]))
        ]
    assert [each.scored for each in episodes] == [False, False]
    assert all(each.error.startswith("retriever: http") for each in episodes)


async def test_options_may_be_any_objects():
    async with served(answering(then=found)) as url:
        env = remote(url, headers=MappingProxyType({"Authorization": "Bearer x"}))
        await env.areset(seed=0)
        shown, *_ = await env.astep(Action('search("x")'))
        await env.aclose()
    assert "Nothing was found" in shown
    assert search_leases._leased == {}


async def test_a_retriever_is_shared_and_closed_with_its_last_user():
    async with served(answering(then=found)) as url:
        one, other = remote(url), remote(url)
        for env in (one, other):
            await env.areset(seed=0)
            await env.astep(Action('search("x")'))
        assert one.retriever is other.retriever
        shared = one.retriever
        await one.aclose()
        await one.aclose()
        assert [retriever for retriever, _ in search_leases._leased.values()] == [shared]
        await other.astep(Action('search("y")'))
        await other.aclose()
        assert search_leases._leased == {}
        await one.areset(seed=0)
        await one.astep(Action('search("z")'))
        await one.aclose()


async def test_faults_of_a_retriever_in_this_process_are_faults_too():
    class Broken:
        remote = False
        fingerprint = "broken"

        def search(self, queries, k):
            raise RetrievalError("index", "bits were flipped")

    env = Search(task_set=Small(), retriever=Broken())
    env.reset(seed=0)
    with pytest.raises(InfraError, match="index: bits were flipped"):
        env.step(Action('search("x")'))
