"""The scorer that asks a vLLM server, of a server on loopback that speaks vLLM's HTTP.

What it tells of a prompt is computed by a real model: the tiny one, with SmolLM2's tokenizer, in
float64, so that nothing but a mistake makes a difference.
"""

import asyncio
import copy
import json
import threading
import time
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from aiohttp import web
from causal import tiny
from episodes import episode
from servers import (
    closed_port,
    flood,
    garbage,
    hang_up,
    hang_up_midway,
    refuse,
    reset,
    stall,
    status,
)

from agentgym import cli
from agentgym.errors import ConfigError, PolicyError, RewardError, StageTimeout
from agentgym.policy.causal_lm import CausalLM
from agentgym.rewards import Batch
from agentgym.rewards.information import FeedbackGain, InfoGain
from agentgym.rewards.scorer import ScoreRequest
from agentgym.rewards.scorer_http import VLLMScorer
from agentgym.rewards.scorer_transformers import TransformersScorer
from agentgym.store import Store
from agentgym.types import Completion, Turn

LONGEST = 1024
"""The server's `--max-model-len`."""


@cache
def exact():
    """The tiny model in float64."""
    model = copy.deepcopy(tiny().model).double()
    return CausalLM.of(model, tiny().tokenizer, weight_version="exact", name="tiny")


class VLLMServer:
    """What of vLLM's HTTP a scorer needs, in a thread; refuses what vLLM refuses.

    Args:
        behaviours: What to do with the first completions instead, one each.
        default: What to do with all others; made of the server.
        key: Asked for on `/v1`, as by `--api-key`.
        root: Where the model is from.
    """

    def __init__(self, *behaviours, default: Callable | None = None, key="", root="/models/tiny"):
        self.behaviours = list(behaviours)
        self.default = default or told
        self.key = key
        self.root = root
        self.received: list[SimpleNamespace] = []
        self.under_way = self.most_under_way = 0
        self.lm = exact()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def completions(self):
        return [each.body for each in self.received if each.path == "/v1/completions"]

    def __enter__(self):
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_):
        self._run(self._runner.cleanup())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _listen(self):
        app = web.Application(client_max_size=2**30, middlewares=[self._watch])
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/detokenize", self._detokenize)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    @web.middleware
    async def _watch(self, request, handler):
        body = json.loads(await request.read() or "{}")
        headers = dict(request.headers)
        self.received.append(SimpleNamespace(path=request.path, body=body, headers=headers))
        allowed = not self.key or headers.get("Authorization") == f"Bearer {self.key}"
        if request.path.startswith("/v1") and not allowed:
            return web.json_response({"error": "Unauthorized"}, status=401)
        if body.get("model", "tiny") != "tiny":
            said = f"The model `{body['model']}` does not exist."
            return await refuse(said, 404, type="NotFoundError", code=404)(request, body)
        return await handler(request)

    async def _models(self, _):
        model = {"id": "tiny", "object": "model", "owned_by": "vllm", "root": self.root}
        return web.json_response({"object": "list", "data": [model]})

    async def _tokenize(self, request):
        body = await request.json()
        tokens = self.lm.tokenize(body["prompt"], start=body.get("add_special_tokens", True))
        return web.json_response(
            {"count": len(tokens), "max_model_len": LONGEST, "tokens": tokens, "token_strs": None}
        )

    async def _detokenize(self, request):
        body = await request.json()
        if min(body["tokens"], default=0) < 0:
            return await refuse("Input should be greater than or equal to 0")(request, body)
        return web.json_response({"prompt": self.lm.detokenize(body["tokens"])})

    async def _complete(self, request):
        body = await request.json()
        ids = body["prompt"]
        if body["max_tokens"] < 1:
            return await refuse("max_tokens must be at least 1", code=400)(request, body)
        if len(ids) + body["max_tokens"] > LONGEST:
            said = (
                f"You passed {len(ids)} input tokens and requested {body['max_tokens']} output "
                f"tokens. However, the model's context length is only {LONGEST} tokens"
            )
            return await refuse(said, param="input_tokens", code=400)(request, body)
        if wrong := [token for token in ids if not 0 <= token < self.lm.vocabulary]:
            said = f"Token id {wrong[0]} is out of vocabulary"
            return await refuse(said, code=400)(request, body)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            behaviour = self.behaviours.pop(0) if self.behaviours else self.default
            return await behaviour(request, body)
        finally:
            self.under_way -= 1


def prompt_logprobs(ids):
    """As vLLM tells them with `prompt_logprobs: 0`: null, then the token of each place."""
    import torch

    with exact().computing(lambda: None) as model:  # on one thread
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
        chosen = logits.gather(1, torch.tensor(ids[1:])[:, None])
        logprobs = (chosen - logits.logsumexp(-1, keepdim=True))[:, 0].tolist()
        ranks = ((logits > chosen).sum(-1) + 1).tolist()
    places = (
        {str(token): {"logprob": logprob, "rank": rank, "decoded_token": "x"}}
        for token, logprob, rank in zip(ids[1:], logprobs, ranks, strict=True)
    )
    return [None, *places]


def completion(places):
    choice = {
        "index": 0,
        "text": " a",
        "logprobs": None,
        "finish_reason": "length",
        "stop_reason": None,
        "prompt_logprobs": places,
    }
    return {"id": "cmpl-1", "object": "text_completion", "model": "tiny", "choices": [choice]}


async def told(_, body):
    assert body["prompt_logprobs"] == 0
    return web.json_response(completion(prompt_logprobs(body["prompt"])))


def changed(change):
    """An answer as it should be, but for what `change` makes of the list of places."""

    async def behave(_, body):
        return web.json_response(completion(change(prompt_logprobs(body["prompt"]))))

    return behave


def scorer_of(server, **options):
    url = server if isinstance(server, str) else server.url
    options = {"timeout_s": 20.0, "max_retries": 2, "weight_version": "w", **options}
    scorer = VLLMScorer("tiny", url, **options)
    scorer._client.first_pause_s = 0.01
    return scorer


def ask(scorer, context=(5, 6, 7), target=(8, 9), about="turn 4"):
    return scorer.logprobs([ScoreRequest((context,), target, about)])[0]


@pytest.fixture
def reference():
    return TransformersScorer(exact(), context=LONGEST)


REQUESTS = [
    ScoreRequest(("The capital of France is",), " Paris, a city on the Seine. 🐉"),
    ScoreRequest(("<|im_start|>user\nHi<|im_end|>\n", (5, 6), " and\n\n1. more"), (8, 9, 10)),
    ScoreRequest(((5,),), " x"),
    ScoreRequest(((5, 6, 7),), (8, 9)),
    ScoreRequest(("The capital of France is",), " Lima"),
]


# ------------------------------------------------------------------------------ what it tells


def test_it_tells_what_the_same_model_tells_in_process(reference):
    with VLLMServer() as server, scorer_of(server) as scorer:
        for got, expected in zip(
            scorer.logprobs(REQUESTS), reference.logprobs(REQUESTS), strict=True
        ):
            assert got.dtype == np.float64
            assert got == pytest.approx(expected, abs=1e-9)
        for text in ("The capital", "<|im_start|>user\nHi<|im_end|>\n", "🐉", ""):
            for start in (False, True):
                ids = reference.tokenize(text, start=start)
                assert scorer.tokenize(text, start=start) == ids
            assert scorer.detokenize(ids) == reference.detokenize(ids)


def test_signals_that_ask_get_the_same_from_either(reference):
    def step(before, shown, said):
        prompt = np.array(reference.tokenize(f"{before}{shown}\n"), np.int32)
        ids = np.array(reference.tokenize(said), np.int32)
        return Turn(shown, Completion(said, (), prompt, ids), said, None, 0.0, {})

    turns = [step("", "Who?", "search"), step("Who?\nsearch", "It was Lutz.", "Lutz")]
    played = [episode(turns, data={"answers": ["Lutz Marrow", "Marrow"]})]
    with VLLMServer() as server, scorer_of(server) as scorer:
        for signal in (InfoGain(), InfoGain(history="text"), FeedbackGain()):
            expected = signal.on(Batch(played, reference)).values
            assert signal.on(Batch(played, scorer)).values == pytest.approx(expected, abs=1e-9)
            assert expected[0] != 0


def test_what_is_sent_is_what_vllm_documents():
    with VLLMServer(key="sk-1") as server, scorer_of(server, api_key="sk-1") as scorer:
        scorer.logprobs([ScoreRequest(("a", " b"), " c"), ScoreRequest(("a",), " b")])
        assert "sk-1" not in repr((scorer.provenance, vars(scorer)["base_url"]))
        assert scorer.provenance["base_url"] == server.url
    texts = [each.body for each in server.received if each.path == "/tokenize"]
    asked = {(each["prompt"], each["add_special_tokens"]) for each in texts}
    assert asked == {("a", True), (" b", False), (" c", False)}
    assert len(texts) == 3  # each text once
    body = server.completions[-1]
    assert all(isinstance(token, int) for token in body.pop("prompt"))
    assert body == {"model": "tiny", "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    assert server.received[-1].headers["Authorization"] == "Bearer sk-1"


def test_several_requests_are_under_way_and_answers_keep_their_order(reference):
    def later(server_wait):
        async def behave(request, body):
            await asyncio.sleep(server_wait.pop(0) if server_wait else 0.0)
            return await told(request, body)

        return behave

    requests = [ScoreRequest(((5, i),), (8, 9)) for i in range(20, 0, -1)]
    slow_first = later([0.3, 0.2, 0.1])
    with (
        VLLMServer(default=slow_first) as server,
        scorer_of(server, concurrency=3) as scorer,
    ):
        found = scorer.logprobs(requests)
        assert server.most_under_way == 3
    for got, expected in zip(found, reference.logprobs(requests), strict=True):
        assert got == pytest.approx(expected, abs=1e-9)


def test_nothing_is_asked_twice_of_the_same_weights():
    with VLLMServer() as server, scorer_of(server) as scorer:
        assert scorer.logprobs([]) == []
        for _ in range(2):
            scorer.logprobs([REQUESTS[3], REQUESTS[3]])
        assert len(server.completions) == scorer.asked == 1
        scorer.weight_version = "after the sync"
        ask(scorer)
        assert len(server.completions) == 2
        assert scorer.provenance["weight_version"] == "after the sync"


@pytest.mark.parametrize(("root", "version"), [("/models/x", "tiny:/models/x"), ("tiny", "tiny")])
def test_without_a_version_the_weights_are_what_the_server_calls_them(root, version):
    with VLLMServer(root=root) as server, scorer_of(server, weight_version="") as scorer:
        ask(scorer)
        assert scorer.weight_version == version
        assert [each.path for each in server.received].count("/v1/models") == 1


async def test_it_can_be_asked_inside_an_event_loop():
    with VLLMServer() as server, scorer_of(server) as scorer:
        assert ask(scorer).size == 2


def test_a_closed_scorer_opens_new_connections_when_it_is_asked_again():
    with VLLMServer() as server, scorer_of(server) as scorer:
        ask(scorer)
        scorer.close()
        scorer.close()
        assert ask(scorer, (1,)).size == 2


# ------------------------------------------------------------------------------ what passes


def fat(places):
    """Ten megabytes of it."""
    for place in filter(None, places):
        for entry in place.values():
            entry["decoded_token"] = "x" * (10 * 2**20 // len(places))
    return places


@pytest.mark.parametrize(
    "fault",
    [
        status(429, headers={"Retry-After": "0"}),
        status(503),
        hang_up(),
        hang_up_midway(),
        reset(),
        garbage(),
        changed(fat),
    ],
    ids=["429", "503", "hang up", "hang up midway", "reset", "garbage", "10 MB"],
)
def test_what_passes_changes_no_number(fault, reference):
    with VLLMServer(fault) as server, scorer_of(server) as scorer:
        assert ask(scorer) == pytest.approx(ask(reference), abs=1e-9)


# ------------------------------------------------------------------------------ what does not


def test_a_server_that_is_silent_is_a_timeout():
    with (
        VLLMServer(stall(), stall()) as server,
        scorer_of(server, timeout_s=0.3, max_retries=1) as scorer,
    ):
        with pytest.raises(StageTimeout, match=r"^turn 4: .*no reply.*2 tries.*timeout_s"):
            ask(scorer)
        server.behaviours.clear()


@pytest.mark.parametrize("code", [429, 500, 502])
def test_a_server_that_keeps_failing_is_an_infrastructure_fault(code):
    with VLLMServer(default=status(code)) as server, scorer_of(server) as scorer:
        with pytest.raises(PolicyError, match=rf"^turn 4: .*HTTP {code}.*3 tries"):
            ask(scorer)
        assert len(server.completions) == 3
        server.default = told
        assert ask(scorer).size == 2  # and goes on


def test_a_refused_connection_is_an_infrastructure_fault():
    url = f"http://127.0.0.1:{closed_port()}/v1"
    for options, says in (
        ({}, r"^turn 4: .*is the server running\? \(3 tries\)"),
        ({"weight_version": ""}, "/v1/models: ClientConnectorError"),
    ):
        with scorer_of(url, **options) as scorer, pytest.raises(PolicyError, match=says):
            ask(scorer)


def test_a_reply_without_end_is_cut():
    options = {"max_reply_bytes": 2**20}
    for fault in (flood(2**21), garbage(), changed(fat)):
        with (
            VLLMServer(default=fault) as server,
            scorer_of(server, **options) as scorer,
            pytest.raises(PolicyError, match=r"^turn 4: .*(max_reply_bytes|not JSON)"),
        ):
            ask(scorer)


def second_last(value):
    """Something else in the place of the first target token (of two)."""
    return changed(lambda places: [*places[:-2], value, places[-1]])


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (status(200, {}), "gave no prompt_logprobs: is it a vLLM server"),
        (status(200, []), "gave no prompt_logprobs"),
        (status(200, {"choices": []}), "gave no prompt_logprobs"),
        (changed(lambda places: None), "gave no prompt_logprobs"),
        (changed(lambda places: {"a": 1}), "gave no prompt_logprobs"),
        (changed(lambda places: places[:-1]), "of 4 tokens for 5: the prompt was changed"),
        (changed(lambda places: [None, *places]), "of 6 tokens for 5"),
        (second_last(None), "how likely token 8 is.*gave None"),
        (second_last({}), "how likely token 8 is"),
        (second_last({"9": {"logprob": -1.0}}), "how likely token 8 is.*'9'"),
        (second_last({"8": None}), "how likely token 8 is"),
        (second_last({"8": -1.0}), "how likely token 8 is"),
        (second_last({"8": {"logprob": None}}), "how likely token 8 is"),
        (second_last({"8": {"logprob": "-1"}}), "how likely token 8 is"),
        (second_last({"8": {"logprob": True}}), "how likely token 8 is"),
        (second_last({"8": {"logprob": 0.5}}), "finite and <= 0"),
        (second_last({"8": {"logprob": float("nan")}}), "finite and <= 0"),
        (second_last({"8": {"logprob": -9999.0}}), "finite and <= 0"),
    ],
)
def test_an_answer_that_does_not_tell_each_token_is_refused_and_not_asked_for_again(answer, says):
    with VLLMServer(default=answer) as server, scorer_of(server) as scorer:
        with pytest.raises(RewardError, match=rf"^turn 4: .*{says}"):
            ask(scorer)
        assert len(server.completions) == 1


def test_what_the_server_will_not_have_says_who_asked_and_what_to_do():
    with VLLMServer() as server, scorer_of(server) as scorer:
        with pytest.raises(RewardError, match=r"^turn 4: .*only 1024 tokens.*--max-model-len"):
            ask(scorer, (5,) * LONGEST)
        with pytest.raises(RewardError, match=r"^turn 4: .*out of vocabulary.*model that played"):
            ask(scorer, (10**6,))
        with pytest.raises(RewardError, match=r"^turn 4: there is no context"):
            ask(scorer, ())
        with pytest.raises(RewardError, match="detokenize will not have it"):
            scorer.detokenize([-1])
        assert len(server.completions) == 2  # nothing was tried again
        assert ask(scorer).size == 2


def test_the_first_that_is_refused_ends_all():
    requests = [ScoreRequest(((i,),), (8,), f"turn {i}") for i in range(1, 200)]
    with (
        VLLMServer(told, stall(), stall(), refuse("no"), default=stall()) as server,
        scorer_of(server, concurrency=4) as scorer,
    ):
        with pytest.raises(RewardError, match=r"^turn \d: .*HTTP 400: no"):
            scorer.logprobs(requests)
        for _ in range(1000):  # what was under way is given up
            if not server.under_way:
                break
            time.sleep(0.01)
        assert server.under_way == 0
        assert len(server.completions) <= 6


def test_a_server_without_access_without_the_model_or_without_the_routes_is_named():
    with VLLMServer(key="sk-1") as server:
        for options in ({}, {"api_key": "sk-2"}, {"weight_version": ""}):
            with (
                scorer_of(server, **options) as scorer,
                pytest.raises(ConfigError, match=r"HTTP 401.*OPENAI_API_KEY") as caught,
            ):
                ask(scorer)
            assert "sk-" not in str(caught.value)
    with VLLMServer() as server:
        other = VLLMScorer("Qwen", server.url)
        with other, pytest.raises(ConfigError, match=r"404.*`Qwen` does not exist"):
            ask(other)
        for url in (f"http://127.0.0.1:{server.port}", f"http://127.0.0.1:{server.port}/v2"):
            with scorer_of(url) as scorer, pytest.raises(ConfigError, match=r"404.*ends in /v1"):
                ask(scorer)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"base_url": "gpu:8000/v1"}, "not a URL"),
        ({"model": ""}, "no model"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"max_retries": -1}, "max_retries"),
    ],
)
def test_what_cannot_be_is_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        VLLMScorer(**{"model": "tiny", "base_url": "http://127.0.0.1:1/v1", **options})


# ------------------------------------------------------------------------------ the command line


REWARD = "feedback_gain(history='text').sum()"


@pytest.fixture
def run(tmp_path):
    """A run of three episodes of two turns, by weights that are given."""

    def make(*versions):
        with Store.create(tmp_path / "run", {"plan": {"env": "e"}, "provides": []}) as store:
            for sample, version in enumerate(versions):
                said = Completion("look", weight_versions=version)
                turns = [Turn(shown, said, "look", None, 0.0, {}) for shown in ("A door.", "A cat")]
                store.append(episode(turns, sample=sample))
        return Store.open(store.path)

    return make


def score(run, capsys, scorer, reward=REWARD):
    code = cli.main(["score", str(run.path), "--reward", reward, "--scorer", scorer, "--force"])
    return code, capsys.readouterr().err


def test_a_stored_run_is_scored_by_a_server(run, capsys, monkeypatch, reference):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    stored = run((), (), ())
    with VLLMServer(key="sk-1") as server:
        code, said = score(stored, capsys, f"vllm:tiny@{server.url}")
    assert (code, "warning" in said) == (0, False), said
    (expected,) = {
        FeedbackGain(history="text").on(Batch([each], reference)).values[0]
        for each in stored.episodes()
    }
    for row in stored.rewards("reward"):
        assert row["scorer"] == "tiny:/models/tiny"
        assert row["parts"][REWARD] == [pytest.approx(expected, abs=1e-9), None], row
    assert not any(b"sk-1" in path.read_bytes() for path in stored.path.rglob("*.json*"))


@pytest.mark.parametrize("name", ["vllm", "vllm:tiny", "vllm:tiny@gpu:8000", "vllm:@http://gpu/v1"])
def test_the_model_of_a_server_is_named_with_its_url(run, capsys, name):
    code, said = score(run(()), capsys, name)
    assert code == 2
    assert "write 'vllm:MODEL@http://127.0.0.1:8000/v1'" in said


SHA = "b179c9523d0e6a0f"


@pytest.mark.parametrize(
    ("scorer", "versions", "strangers"),
    [
        ("step-7", [("step-7",), ("step-6", "step-7"), ("step-8",)], 2),
        ("step-7", [(), ("step-7",), (f"m:{SHA}",)], 0),  # nothing told, or of another kind
        ("tiny:/models/tiny", [("step-7",), ("step-7",), ("step-8",)], 0),
        (f"m.gguf:{SHA}", [(f"renamed:{SHA}",), (f"m.gguf:{SHA[::-1]}",), (f"m:{SHA}77",)], 1),
    ],
)
def test_episodes_of_other_weights_are_counted_in_one_warning(
    run, capsys, monkeypatch, scorer, versions, strangers
):
    stored = run(*versions)
    with VLLMServer() as server:
        monkeypatch.setattr(VLLMScorer, "weight_version", scorer)
        code, said = score(stored, capsys, f"vllm:tiny@{server.url}")
        assert code == 0
        assert said.count("warning") == bool(strangers)
        assert not strangers or f"{strangers} of 3 episodes" in said
        assert scorer in said or not strangers
        code, said = score(stored, capsys, f"vllm:tiny@{server.url}", "outcome")
        assert (code, "warning" in said) == (0, False)  # nobody was asked
