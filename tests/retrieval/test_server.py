"""A corpus behind HTTP: three dialects, bounds, and the real clients of others."""

import asyncio
import contextlib
import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import aiohttp
import msgpack
import pytest
from conftest import missing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_servers import HOSTILE

from agentgym.cache import cache_folder
from agentgym.errors import ConfigError, RetrievalError
from agentgym.retrieval import Passage, Passages, open_retriever
from agentgym.retrieval.building import build_index
from agentgym.retrieval.server import MAX_BODY_BYTES, serve

CITIES = Passages(
    "cities",
    [
        Passage(f"c{n}", f"City {n}", (f"City {n} is on river {n % 7}.", 'It "is" old. Still.'))
        for n in range(40)
    ],
)


@contextlib.asynccontextmanager
async def serving(retriever=None):
    """The URL of a server in this loop."""
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(
            retriever or open_retriever("bm25", CITIES),
            port=0,
            about={"corpus": "cities"},
            on_ready=url.set_result,
            until=stop,
        )
    )
    try:
        yield await url
    finally:
        stop.set()
        await task


@pytest.fixture
async def url():
    async with serving() as found:
        yield found


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as opened:
        yield opened


def contents(place):
    return f'"City {place}"\nCity {place} is on river {place % 7}. It "is" old. Still.'


async def test_many_queries_are_answered_as_search_r1_asks(url, session):
    asked = {"queries": ["city 7", "nothing"], "topk": 2, "return_scores": True}
    async with session.post(url, json=asked) as response:
        found = (await response.json())["result"]

    assert response.status == 200
    assert found[1] == []
    assert found[0][0]["document"] == {"id": "c7", "contents": contents(7)}
    assert found[0][0]["score"] > found[0][1]["score"]


async def test_without_scores_the_documents_are_given_alone(url, session):
    for count in (1, 2, 3):
        asked = {"queries": ["city 7"] * count, "topk": 1, "return_scores": False}
        async with session.post(url, json=asked) as response:
            found = (await response.json())["result"]
        assert found == [[{"id": "c7", "contents": contents(7)}]] * count


async def test_one_query_is_answered_as_skyrl_asks(url, session):
    asked = {"query": "city 7", "topk": None, "return_scores": True}
    async with session.post(url, json=asked) as response:
        (found,) = (await response.json())["result"]

    assert found[0]["document"]["contents"] == contents(7)
    assert len(found) == 3


async def test_one_query_is_answered_in_message_pack_as_gem_asks(url, session):
    asked = msgpack.packb({"query": "city 7", "topk": 1, "return_scores": True})
    async with session.post(url, data=asked) as response:
        found = msgpack.unpackb(await response.read())["result"]

    assert found[0]["document"] == {"id": "c7", "contents": contents(7)}


@pytest.mark.parametrize("dialect", ["queries", "query"])
async def test_our_own_client_gets_what_is_searched_here(url, dialect):
    local = open_retriever("bm25", CITIES)
    remote = open_retriever(url, dialect=dialect, deadline_s=60.0)
    queries = ["city 7", "old rivers", "", "nothing"]

    assert await remote.asearch(queries, 5) == local.search(queries, 5)
    remote.close()


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_query_is_answered_or_refused(url, session, query):
    asked = json.dumps({"queries": [query], "topk": 3})
    async with session.post(url, data=io.BytesIO(asked.encode())) as response:
        answer = await response.json()

    assert response.status == 200
    assert len(answer["result"][0]) <= 3


REFUSED = {
    "nothing": b"",
    "no json": b"queries=city",
    "a list": b"[]",
    "no queries": b"{}",
    "an empty list": b'{"queries": []}',
    "queries that are text": b'{"queries": "city"}',
    "queries that are numbers": b'{"queries": [1]}',
    "too many queries": json.dumps({"queries": ["x"] * 1025}).encode(),
    "a query that is a list": b'{"query": ["x"]}',
    "no passages": b'{"query": "x", "topk": 0}',
    "too many passages": b'{"query": "x", "topk": 101}',
    "half a passage": b'{"query": "x", "topk": 1.5}',
    "true passages": b'{"query": "x", "topk": true}',
    "passages nested too deep": b'{"query": "x", "topk": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "half of message pack": b"\x81\xa5query",
    "message pack that is too deep": b"\x81\xa5query" + b"\x91" * 5000,
    "nested too deep": b'{"query": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_answered_is_refused_with_a_reason(url, session, body):
    async with session.post(url, data=body) as response:
        answer = await response.json()

    assert response.status == 400
    assert set(answer) == {"detail"}
    assert answer["detail"]


async def test_a_long_body_is_refused(url, session):
    class Long:
        async def __call__(self):
            for _ in range(MAX_BODY_BYTES // 2**16 + 1):
                yield b" " * 2**16

    async with session.post(url, data=Long()()) as response:
        answer = await response.json()

    assert response.status == 413
    assert "at most" in answer["detail"]


@pytest.mark.parametrize(("method", "path", "code"), [("GET", "retrieve", 405), ("POST", "x", 404)])
async def test_another_method_or_path_is_told_what_there_is(url, session, method, path, code):
    async with session.request(method, url.replace("retrieve", path)) as response:
        assert response.status == code
        assert "POST /retrieve" in (await response.json())["detail"]


async def test_health_says_what_is_served(url, session):
    async with session.get(url.replace("retrieve", "health")) as response:
        about = await response.json()

    fingerprint = open_retriever("bm25", CITIES).fingerprint
    assert about == {"status": "ok", "corpus": "cities", "fingerprint": fingerprint}


@given(st.binary(max_size=200))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_body_breaks_the_server(body):
    async def ask():
        async with (
            serving() as url,
            aiohttp.ClientSession() as session,
            session.post(url, data=body) as response,
        ):
            assert response.status in (200, 400)
            await response.read()

    asyncio.run(ask())


async def test_a_retriever_that_fails_is_a_status_that_may_pass(session):
    class Broken:
        fingerprint = "x"

        async def asearch(self, queries, k):
            raise RetrievalError("http", "HTTP 500")

    async with serving(Broken()) as url, session.post(url, json={"query": "x"}) as response:
        assert response.status == 503
        assert (await response.json())["detail"] == "http: HTTP 500"


async def test_a_search_under_way_is_answered_before_the_server_stops(session):
    entered, gate = asyncio.Event(), asyncio.Event()

    class Slow:
        fingerprint = "x"

        async def asearch(self, queries, k):
            entered.set()
            await gate.wait()
            return [[] for _ in queries]

    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(Slow(), port=0, on_ready=url.set_result, until=stop))
    search = asyncio.create_task(session.post(await url, json={"query": "x"}))
    await entered.wait()
    stop.set()
    await asyncio.sleep(0)
    gate.set()

    assert (await (await search).json())["result"] == [[]]
    await server


async def test_a_port_that_is_taken_is_named():
    async with serving() as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1:{port}"):
            await serve(open_retriever("bm25", CITIES), port=port)


# --- the command -------------------------------------------------------------------------------


@contextlib.contextmanager
def command(*arguments):
    """`agentgym corpus serve`, and what it says first."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agentgym.cli", "corpus", "serve", *arguments, "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lines = []
        while (line := process.stdout.readline()) and line.rstrip() != "}":
            lines.append(line)
        yield process, json.loads("".join([*lines, "}"]))
    finally:
        process.kill()
        process.communicate()


def test_the_command_serves_an_index_and_stops_when_told_to(tmp_path):
    build_index(CITIES, tmp_path, name="cities")

    with command(str(tmp_path), "--port", "0") as (process, said):
        retriever = open_retriever(said["url"], deadline_s=60.0)
        ((hit,),) = retriever.search(["city 7"], 1)
        retriever.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0

    assert hit.passage == CITIES[7]
    assert said["url"].startswith("http://127.0.0.1:")
    assert (said["corpus"], said["passages"]) == ("cities", 40)


def test_the_command_serves_a_corpus_that_has_no_index(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": "a", "title": "Lyon", "text": "A city."}\n')

    with command(str(path), "--port", "0") as (_, said):
        retriever = open_retriever(said["url"], deadline_s=60.0)
        ((hit,),) = retriever.search(["lyon"], 1)
        retriever.close()

    assert hit.passage.id == "a"


# --- the clients of others ---------------------------------------------------------------------

SKYRL = "skyrl-gym==0.4.0"


@pytest.fixture(scope="session")
def skyrl_gym():
    """The folder of a real skyrl-gym, without what it has no use for here."""
    folder = cache_folder("peers", SKYRL)
    if not (folder / "complete").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{SKYRL}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "complete").exists():
                install(folder, SKYRL, "omegaconf", "requests", "func_timeout")
    return folder


def install(folder, *packages):
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    installer = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    common = [*installer, "install", "--quiet", "--target", str(folder)]
    for arguments in (["--no-deps", packages[0]], packages[1:]):
        done = subprocess.run([*common, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"{arguments} cannot be installed: {done.stderr.strip()[-300:]}")
    (folder / "complete").touch()


async def test_a_real_skyrl_gym_environment_searches_our_server(url, skyrl_gym):
    program = """
        import json, sys, types

        sys.path.insert(0, sys.argv[2])
        sys.modules["pandas"] = types.ModuleType("pandas")  # its SQL tool's, not its search's
        from skyrl_gym.envs.search.env import SearchEnv, SearchEnvConfig

        extras = {"reward_spec": {"ground_truth": {"target": ["river 0"]}}, "max_turns": 4}
        env = SearchEnv(SearchEnvConfig(search_url=sys.argv[1], topk=2), extras)
        env.init([{"role": "user", "content": "Which river is City 7 on?"}])
        found = env.step("<search>City 7</search>")
        nothing = env.step("<search>xyzzy</search>")
        answered = env.step("<answer>river 0</answer>")
        print(json.dumps([found["observations"][0]["content"],
                          nothing["observations"][0]["content"], answered["reward"]]))
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(program), url, str(skyrl_gym)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "no_proxy": "127.0.0.1"},
    )
    output, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    found, nothing, reward = json.loads(output)
    assert "Doc 1: " in found
    assert json.dumps(contents(7))[1:-1] in found
    assert "error" not in (found + nothing).lower()
    assert reward == 1.0
