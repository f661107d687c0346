import asyncio
import gc
import time

import numpy as np
import pytest
from servers import (
    FaultServer,
    closed_port,
    drip,
    flood,
    garbage,
    hang_up,
    hang_up_midway,
    refuse,
    refuse_fields,
    reset,
    say,
    stall,
    status,
)

from agentgym.errors import ConfigError, ContextOverflow, PolicyError
from agentgym.policy.openai import OpenAIPolicy
from agentgym.types import Sampling, ToolCall

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
async def connect():
    """Make policies that are closed at the end."""
    policies = []

    def make(server, **options):
        url = server if isinstance(server, str) else server.url
        policy = OpenAIPolicy("m", url, **{"max_retries": 2, "timeout_s": 5.0, **options})
        policy._client.first_pause_s = 0.05
        policies.append(policy)
        return policy

    yield make
    for policy in policies:
        await policy.aclose()


def act(policy, messages=HELLO, *, session="s", **sampling):
    return policy.act(messages, sampling=Sampling(**sampling), session=session)


# -------------------------------------------------------------------- what is sent


async def test_sampling_is_sent_in_full_and_recorded_as_sent(connect):
    async with FaultServer() as server:
        said = await act(connect(server), temperature=0.7, top_p=0.9, seed=5, stop=("\n",))
    body = server.requests[0].body
    sampled = {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": -1,
        "min_p": 0.0,
        "max_tokens": 512,
        "seed": 5,
        "stop": ["\n"],
    }
    assert body == {
        "model": "m",
        "messages": HELLO,
        **sampled,
        "logprobs": True,
        "return_token_ids": True,
    }
    assert said.sampling == sampled


async def test_a_session_and_a_key_travel_as_headers_and_one_connection_is_reused(connect):
    async with FaultServer() as server:
        policy = connect(server, api_key="sk-1")
        for session in ("task#1.0@7f", "täsk\n#1.1"):
            await act(policy, session=session)
    first, second = server.requests
    assert first.headers["Authorization"] == "Bearer sk-1"
    assert [first.session, second.session] == ["task#1.0@7f", "t%C3%A4sk%0A%231.1"]
    assert len(server.connections) == 1


async def test_tools_and_extra_fields_are_sent_and_extra_fields_win(connect):
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    async with FaultServer() as server:
        policy = connect(server, tools=tools, extra_body={"top_k": 3, "cache_salt": "v1"})
        await act(policy)
    body = server.requests[0].body
    assert (body["tools"], body["top_k"], body["cache_salt"]) == (tools, 3, "v1")
    assert policy.provenance["tools"] == ["look"]


async def test_text_that_is_not_valid_unicode_is_sent_with_replacement_characters(connect):
    async with FaultServer() as server:
        await act(connect(server), [{"role": "user", "content": "a\ud800b 你"}])
    assert server.requests[0].body["messages"][0]["content"] == "a\ufffdb 你"


async def test_no_more_requests_are_under_way_than_allowed(connect):
    async with FaultServer(default=say("look", after_s=0.02)) as server:
        policy = connect(server, max_connections=3)
        await asyncio.gather(*(act(policy) for _ in range(12)))
    assert server.most_under_way == 3


async def test_waiting_for_ones_turn_does_not_count_as_waiting_for_a_reply(connect):
    async with FaultServer(default=say("look", after_s=0.2)) as server:
        policy = connect(server, max_connections=1, timeout_s=0.6, max_retries=0)
        replies = await asyncio.gather(*(act(policy) for _ in range(6)))
    assert len(replies) == 6


# -------------------------------------------------------------------- what comes back


async def test_token_ids_and_log_probabilities_are_kept_as_vllm_gives_them(connect):
    answer = say(
        "go",
        ids=[7, 2],
        logprobs=[-0.5, -1.25],
        prompt_token_ids=[1, 9, 9],
        usage={
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 1},
        },
        weight_versions=[{"version": "step-1", "start": 0, "end": 1}, {"version": "step-2"}],
    )
    async with FaultServer(answer) as server:
        said = await act(connect(server))
    assert said.completion_ids.tolist() == [7, 2]
    assert said.completion_ids.dtype == np.int32
    assert said.prompt_ids.tolist() == [1, 9, 9]
    assert said.logprobs.tolist() == [-0.5, -1.25]
    assert said.logprobs.dtype == np.float32
    assert said.logprob_kind == "raw"
    assert said.usage == {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 1}
    assert said.weight_versions == ("step-1", "step-2")


async def test_a_server_that_gives_no_tokens_leaves_them_unknown(connect):
    async with FaultServer(say("go")) as server:
        said = await act(connect(server))
    assert (said.prompt_ids, said.completion_ids, said.logprobs) == (None, None, None)
    assert said.logprob_kind is None
    assert said.usage == {}


async def test_counts_that_are_no_whole_numbers_are_left_out(connect):
    usage = {
        "prompt_tokens": "5",
        "completion_tokens": 2.5,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    async with FaultServer(say("go", usage=usage)) as server:
        said = await act(connect(server))
    assert (said.text, said.usage) == ("go", {"cached_tokens": 1})


async def test_fewer_log_probabilities_than_tokens_is_a_fault_and_not_retried(connect):
    async with FaultServer(say("go", ids=[7, 2], logprobs=[-0.5])) as server:
        with pytest.raises(PolicyError, match="2 token ids but 1 log-probabilities"):
            await act(connect(server))
    assert len(server.requests) == 1


async def test_tool_calls_are_kept_and_their_finish_is_a_stop(connect):
    calls = [{"id": "c1", "type": "function", "function": {"name": "go", "arguments": '{"to": 1}'}}]
    async with FaultServer(say(None, message={"tool_calls": calls}, finish="tool_calls")) as server:
        said = await act(connect(server))
    assert said.text == ""
    assert said.tool_calls == (ToolCall("go", '{"to": 1}', "c1"),)
    assert said.finish_reason == "stop"


@pytest.mark.parametrize(
    ("content", "finish", "text"),
    [
        ("go", "stop", "<think>hm</think>go"),
        (None, "length", "<think>hm"),
        ("", "stop", "<think>hm</think>"),
    ],
)
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_thoughts_that_a_server_split_off_are_put_back(connect, field, content, finish, text):
    async with FaultServer(say(content, message={field: "hm"}, finish=finish)) as server:
        said = await act(connect(server))
    assert said.text == text
    assert said.finish_reason == finish


async def test_text_may_be_empty_huge_in_parts_or_broken(connect):
    huge = "word " * 2**20
    parts = [{"type": "text", "text": "go "}, {"type": "text", "text": "north"}]
    broken = garbage(b'{"choices": [{"message": {"content": "a\\ud83d \xff"}}], "x": NaN}')
    async with FaultServer(say(""), say(huge), say(parts), say(None), broken) as server:
        policy = connect(server)
        texts = [(await act(policy)).text for _ in range(5)]
    assert texts == ["", huge, "go north", "", "a\ufffd \ufffd"]


# -------------------------------------------------------------------- servers that know less


async def test_a_server_that_does_not_know_the_extras_is_asked_without_them_from_then_on(connect):
    strict = refuse_fields("logprobs", "return_token_ids", "top_k", "min_p")
    async with FaultServer(default=strict) as server:
        policy = connect(server)
        said = await act(policy, seed=3)
        learning = len(server.requests)
        await act(policy, seed=4)
    assert said.text == "look"
    assert said.sampling == {"temperature": 1.0, "top_p": 1.0, "max_tokens": 512, "seed": 3}
    assert learning == 5
    assert len(server.requests) == learning + 1
    assert server.requests[-1].body.keys() == {"model", "messages", *said.sampling}


async def test_a_server_that_does_not_say_what_it_refuses_is_asked_without_all_extras(connect):
    async with FaultServer(status(422, "unprocessable")) as server:
        policy = connect(server)
        await act(policy)
    assert server.requests[1].body == {"model": "m", "messages": HELLO, "max_tokens": 512}
    assert len(server.requests) == 2


async def test_max_tokens_takes_its_new_name_where_a_server_wants_it(connect):
    told = refuse(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        param="max_tokens",
    )
    async with FaultServer(told) as server:
        policy = connect(server)
        said = await act(policy, max_tokens=9)
        await act(policy, max_tokens=8)
    assert said.sampling["max_completion_tokens"] == 9
    assert server.requests[2].body["max_completion_tokens"] == 8
    assert "max_tokens" not in server.requests[2].body


@pytest.mark.timeout(30)
async def test_a_field_of_ones_own_that_is_refused_ends_the_run(connect):
    told = refuse("Use 'max_completion_tokens' instead.", param="max_tokens")
    async with FaultServer(default=told) as server:
        with pytest.raises(ConfigError, match="max_completion_tokens"):
            await act(connect(server, extra_body={"max_tokens": 9}))
    assert len(server.requests) == 1


async def test_sampling_that_would_change_without_a_parameter_is_never_dropped(connect):
    async with FaultServer(default=refuse_fields("temperature", "top_k")) as server:
        with pytest.raises(ConfigError, match="temperature"):
            await act(connect(server), temperature=0.5)
        with pytest.raises(ConfigError, match="top_k"):
            await act(connect(server), top_k=5)
        assert "temperature" not in (await act(connect(server))).sampling


async def test_what_is_learnt_from_a_refusal_is_kept_only_if_it_helped(connect):
    async with FaultServer(refuse("bad image"), refuse("bad image")) as server:
        policy = connect(server)
        with pytest.raises(ConfigError, match="bad image"):
            await act(policy)
        await act(policy)
    assert server.requests[-1].body["logprobs"] is True


# -------------------------------------------------------------------- the context


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (400, "This model's maximum context length is 8192 tokens. However, you requested 9000"),
        (400, "Input is too long for requested model"),
        (400, "request (3600 tokens) exceeds the available context size (2048 tokens)"),
        (413, "prompt is too long: 210000 tokens > 200000 maximum"),
        (422, "inputs must have less than 4096: maximum input length exceeded"),
    ],
)
async def test_a_conversation_that_does_not_fit_is_an_overflow(connect, code, message):
    async with FaultServer(refuse(message, code)) as server:
        with pytest.raises(ContextOverflow, match="'m' at http"):
            await act(connect(server))
    assert len(server.requests) == 1


async def test_a_code_alone_tells_an_overflow_too(connect):
    told = status(400, {"error": {"message": "no", "code": "context_length_exceeded"}})
    async with FaultServer(told) as server:
        with pytest.raises(ContextOverflow):
            await act(connect(server))


@pytest.mark.parametrize(
    "message",
    [
        "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's maximum context "
        "length is 4096 tokens and your request has 4000 input tokens (512 > 4096 - 4000).",
        "This model's maximum context length is 4096 tokens. However, you requested 4512 tokens "
        "(4000 in the messages, 512 in the completion). Please reduce the length.",
        "You passed 4000 input tokens and requested 512 output tokens. However, the model's "
        "context length is only 4096 tokens, resulting in a maximum input length of 3584 tokens.",
    ],
)
async def test_where_the_prompt_fits_only_the_answer_is_cut(connect, message):
    async with FaultServer(refuse(message)) as server:
        said = await act(connect(server))
    assert said.sampling["max_tokens"] == 96
    assert server.requests[1].body["max_tokens"] == 96


# -------------------------------------------------------------------- faults that pass


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(502, "<html>bad gateway</html>"),
        status(503, headers={"Retry-After": "soon"}),
        status(408),
        status(429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        garbage(),
        garbage(b""),
        garbage(b'{"choices": []}'),
        garbage(b"[]"),
        garbage(b'{"error": {"message": "out of memory"}}'),
        garbage(b'{"choices": [{"message": {"content": 7}}]}'),
        garbage(b"[" * 100_000),
        hang_up(),
        hang_up_midway(),
        reset(),
    ],
    ids=lambda fault: fault.__qualname__.split(".")[0],
)
async def test_a_fault_that_passes_is_not_noticed(connect, fault):
    async with FaultServer(fault) as server:
        assert (await act(connect(server))).text == "look"
    assert len(server.requests) == 2
    assert server.requests[0].body == server.requests[1].body


async def test_a_server_that_comes_back_is_waited_for(connect):
    async with FaultServer() as server:
        policy = connect(server, max_retries=8)
        await act(policy)
        async with server.down():
            waiting = asyncio.create_task(act(policy))
            await asyncio.sleep(0.3)
        assert (await waiting).text == "look"


async def test_silence_and_dripping_end_with_the_deadline_of_a_try(connect):
    async with FaultServer(stall(), drip()) as server:
        policy = connect(server, timeout_s=0.3)
        assert (await act(policy)).text == "look"
    assert len(server.requests) == 3


@pytest.mark.parametrize("code", [429, 503])
async def test_a_server_that_says_when_is_not_asked_before(connect, code):
    async with FaultServer(status(code, headers={"Retry-After": "1"})) as server:
        begun = time.monotonic()
        await act(connect(server))
    assert time.monotonic() - begun >= 1.0


# -------------------------------------------------------------------- faults that do not


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (status(500, "boom\n" * 1000), r"chat/completions: HTTP 500: boom boom .*… \(3 tries\)$"),
        (garbage(), r"not JSON: <html>It works!</html> \(3 tries\)$"),
        (garbage(b'{"error": "oom"}'), r"not a chat completion \(error 'oom'\)"),
        (hang_up(), r"Server ?disconnected.* \(3 tries\)$"),
        (stall(), r"no reply within 0\.2 s \(3 tries\)$"),
    ],
)
async def test_a_fault_that_stays_is_told_in_one_line(connect, fault, told):
    async with FaultServer(default=fault) as server:
        with pytest.raises(PolicyError, match=told) as raised:
            await act(connect(server, timeout_s=0.2))
    assert len(server.requests) == 3
    assert len(str(raised.value)) < 400
    assert "\n" not in str(raised.value)


async def test_nobody_listening_is_told_with_a_question(connect):
    policy = connect(f"http://127.0.0.1:{closed_port()}/v1", max_retries=1)
    with pytest.raises(PolicyError, match=r"is the server running\? \(2 tries\)"):
        await act(policy)


async def test_a_reply_without_end_is_cut_off(connect):
    async with FaultServer(default=flood(8 * 2**20)) as server:
        with pytest.raises(PolicyError, match="longer than 1000000 bytes"):
            await act(connect(server, max_reply_bytes=1_000_000))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (refuse("Incorrect API key", 401), r"no access .*Incorrect API key.*OPENAI_API_KEY"),
        (refuse("forbidden", 403), "no access"),
        (refuse("check your plan", 429, code="insufficient_quota"), "HTTP 429.*check your plan"),
        (refuse("The model `m` does not exist", 404), "no model 'm'.*check the name"),
        (status(404, '{"detail": "Not Found"}'), "no such route.*Not Found"),
        (status(307, headers={"Location": "https://h/v1"}), "redirects to 'https://h/v1'"),
        (refuse("messages must alternate", 400, param="messages"), "will not take.*alternate"),
    ],
)
async def test_what_can_never_work_ends_the_run_and_says_what_to_do(connect, fault, told):
    async with FaultServer(default=fault) as server:
        with pytest.raises(ConfigError, match=told):
            await act(connect(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [400, 413, 422])
async def test_a_request_refused_by_a_server_that_took_others_is_that_episodes_fault(connect, code):
    blocked = refuse("blocked by the content filter", code, param="messages")
    async with FaultServer(say("look"), blocked, say("go")) as server:
        policy = connect(server)
        await act(policy)
        with pytest.raises(PolicyError, match=rf"HTTP {code}.*content filter"):
            await act(policy)
        assert (await act(policy)).text == "go"


# -------------------------------------------------------------------- life and death


async def test_giving_up_closes_the_connection_and_leaves_the_policy_usable(connect):
    async with FaultServer(stall()) as server:
        policy = connect(server)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await act(policy)
        await asyncio.sleep(0.05)
        assert server.under_way == 0
        assert (await act(policy)).text == "look"


async def test_closing_ends_what_is_under_way_and_closing_twice_is_fine(connect):
    async with FaultServer(stall()) as server:
        policy = connect(server)
        waiting = asyncio.create_task(act(policy))
        await asyncio.sleep(0.1)
        await policy.aclose()
        await policy.aclose()
        with pytest.raises(PolicyError, match="closed"):
            await waiting
        assert (await act(policy)).text == "look"


def test_a_policy_serves_one_event_loop_after_another():
    policy = OpenAIPolicy("m", "http://127.0.0.1:9/v1")

    async def once():
        async with FaultServer() as server:
            policy._url = f"{server.url}/chat/completions"
            assert (await act(policy)).text == "look"
            await policy.aclose()

    asyncio.run(once())
    asyncio.run(once())
    gc.collect()


# -------------------------------------------------------------------- the real thing


async def test_llama_cpp_behind_its_server_gives_text_tokens_and_log_probabilities(connect, engine):
    policy = connect(engine, timeout_s=60.0)
    said = await act(policy, max_tokens=24, seed=1)
    again = await act(policy, max_tokens=24, seed=1)
    other = await act(policy, max_tokens=24, seed=2)
    assert said.text == again.text != other.text
    assert said.completion_ids.tolist() == again.completion_ids.tolist()
    assert len(said.completion_ids) == len(said.logprobs) == said.usage["completion_tokens"]
    assert (said.logprobs <= 0).all()
    np.testing.assert_allclose(said.logprobs, again.logprobs, atol=1e-4)
    assert said.finish_reason in ("stop", "length")


async def test_tokens_that_llama_cpp_keeps_silent_about_are_not_invented(connect, engine):
    # it reports nothing of a token that ends within a character: most of an emoji
    policy = connect(engine, timeout_s=60.0, extra_body={"grammar": 'root ::= "go 🐉🐲"'})
    said = await act(policy, max_tokens=24)
    assert said.text == "go 🐉🐲"
    assert (said.completion_ids, said.logprobs) == (None, None)


async def test_a_conversation_too_long_for_llama_cpp_is_an_overflow(connect, engine):
    with pytest.raises(ContextOverflow, match="exceeds the available context size"):
        await act(connect(engine), [{"role": "user", "content": "word " * 3000}])
