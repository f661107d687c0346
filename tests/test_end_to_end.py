"""Real models in real games, and model servers that misbehave while many episodes are played."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing

import gymnasium as gym
import numpy as np
import pytest
from servers import FaultServer, garbage, hang_up, hang_up_midway, reset, say, stall, status
from worlds import Count  # registers tests/Count-v0

from agentgym import Sampling, Stop, Trajectory
from agentgym.collector import Collector, episode_keys
from agentgym.errors import ConfigError, InfraError
from agentgym.evaluate import Plan, Run
from agentgym.policy import open_policy
from agentgym.policy.openai import OpenAIPolicy
from agentgym.rollout import Deadlines
from agentgym.store import Store
from agentgym.tokens import token_spans

GAMES = {"family": "coin", "level": 1, "max_turns": 4}


async def carried_out(plan, path, **kwargs) -> list[Trajectory]:
    run = Run(plan, path)
    try:
        async with aclosing(run.stream(**kwargs)) as stream:
            async for _ in stream:
                pass
    finally:
        run.close()
    return list(Store.open(path).episodes())


async def test_a_real_model_in_process_plays_real_games(model_path, tmp_path):
    plan = Plan(
        "agentgym/TextWorld-v0",
        f"llamacpp:{model_path}",
        env_args=GAMES,
        policy_args={"constrain": True, "context": 2048, "parallel": 2},
        limit=2,
        sampling=Sampling(temperature=0.5, max_tokens=16),
        show_admissible=True,
    )
    episodes = await carried_out(plan, tmp_path / "run", concurrency=2)
    assert len(episodes) == 2
    for episode in episodes:
        assert episode.stop in (Stop.TERMINATED, Stop.TURNS), episode.error
        assert episode.scored
        for turn in episode.turns:
            said = turn.completion
            assert turn.invalid is None  # only admissible actions could be sampled
            assert turn.action in turn.completion.text
            assert len(said.prompt_ids) == said.usage["prompt_tokens"] > 0
            assert len(said.completion_ids) == len(said.logprobs) > 0
            assert np.all(said.logprobs <= 0)
            assert said.sampling["temperature"] == 0.5
        spans, places = token_spans(turn.completion for turn in episode.turns)
        assert None not in places
        assert sum(span.mask.sum() for span in spans) == sum(
            len(turn.completion.completion_ids) for turn in episode.turns
        )


async def test_the_same_model_behind_an_openai_server_plays_real_games(engine, tmp_path):
    plan = Plan(
        "agentgym/TextWorld-v0",
        f"openai:smollm2@{engine}",
        env_args=GAMES,
        limit=2,
        group=2,
        sampling=Sampling(temperature=0.8, max_tokens=12),
    )
    episodes = await carried_out(plan, tmp_path / "run", concurrency=4)
    assert len(episodes) == 4
    for episode in episodes:
        assert episode.stop in (Stop.TERMINATED, Stop.TURNS), episode.error
        for turn in episode.turns:
            said = turn.completion
            assert said.usage["completion_tokens"] <= 12
            assert said.finish_reason in ("stop", "length")
            if said.completion_ids is not None:  # llama.cpp leaves out tokens within an emoji
                assert len(said.completion_ids) == len(said.logprobs)
    assert any(turn.completion.completion_ids is not None for e in episodes for turn in e.turns)
    first, second = (e for e in episodes if e.key.task_id == episodes[0].key.task_id)
    assert first.turns[0].observation == second.turns[0].observation
    assert [t.completion.text for t in first.turns] != [t.completion.text for t in second.turns]


async def test_the_same_seed_gives_the_same_words_of_a_real_model(model_path, tmp_path):
    plan = Plan(
        "agentgym/TextWorld-v0", f"llamacpp:{model_path}", env_args=GAMES, limit=1, seed=3,
        policy_args={"context": 2048}, sampling=Sampling(max_tokens=12),
    )  # fmt: skip
    one, other = [await carried_out(plan, tmp_path / name) for name in ("a", "b")]
    assert [t.completion.text for t in one[0].turns] == [t.completion.text for t in other[0].turns]


# -------------------------------------------------------------------------------- servers


def count(body):
    """What a model that can count would say."""
    return str(sum(message["role"] == "user" for message in body["messages"]))


KEYS = list(episode_keys("tests/Count-v0", ["count:0"], seeds=range(12)))


async def collected(server, keys=KEYS, *, deadlines=Deadlines(), **kwargs):  # noqa: B008
    policy = OpenAIPolicy("m", server.url, max_retries=kwargs.pop("max_retries", 3))
    collector = Collector(
        lambda: gym.make("tests/Count-v0"), policy, concurrency=4, deadlines=deadlines, **kwargs
    )
    try:
        async with aclosing(collector.stream(keys)) as stream:
            return [trajectory async for trajectory in stream]
    finally:
        await policy.aclose()


@pytest.mark.parametrize(
    "fault",
    [
        garbage(), garbage(b'{"choices": []}'), status(429, headers={"Retry-After": "0"}),
        status(500), status(503), hang_up(), hang_up_midway(), reset(),
    ],
    ids=["html", "no choices", "429", "500", "503", "closed", "closed mid-reply", "reset"],
)  # fmt: skip
async def test_a_server_that_misbehaves_now_and_then_costs_no_episode(fault):
    async with FaultServer(*[fault, say(count)] * 5, default=say(count)) as server:
        trajectories = await collected(server)
    assert len(trajectories) == len(KEYS)
    assert all(t.outcome.passed for t in trajectories)


@pytest.mark.timeout(30)  # what hangs does so for a minute
async def test_a_server_that_stalls_is_given_up_at_the_deadline_and_asked_again():
    async with FaultServer(stall(), stall(), default=say(count)) as server:
        trajectories = await collected(server, deadlines=Deadlines(policy_s=0.5))
    assert all(t.outcome.passed for t in trajectories)
    assert sum(t.provenance["attempt"] for t in trajectories) == 2


async def test_a_server_that_dies_and_comes_back_costs_no_episode():
    async with FaultServer(default=say(count, after_s=0.02)) as server:
        playing = asyncio.create_task(collected(server, retries=8))
        while len(server.requests) < 8:
            await asyncio.sleep(0.01)
        async with server.down():
            await asyncio.sleep(0.5)
        trajectories = await playing
    assert all(t.outcome.passed for t in trajectories)


async def test_a_server_that_is_not_there_ends_the_run_in_one_line_that_names_it():
    server = FaultServer()
    server.port = 1
    with pytest.raises(InfraError, match=re.escape("127.0.0.1:1")) as caught:
        await collected(server, max_retries=0, retries=0, give_up_after=3)
    assert "\n" not in str(caught.value)


async def test_a_server_that_refuses_us_ends_the_run_at_once():
    async with FaultServer(default=status(401)) as server:
        with pytest.raises(ConfigError, match="401"):
            await collected(server)
    assert len(server.requests) <= 4


@pytest.mark.parametrize("text", ["", " \n", "x" * 3_000_000, "caf\ud800", None])
async def test_any_reply_is_an_observation_to_the_model(text):
    async with FaultServer(default=say(text)) as server:
        (trajectory,) = await collected(server, KEYS[:1])
    assert trajectory.stop is Stop.TURNS
    assert all(turn.invalid for turn in trajectory.turns)
    assert all(len(turn.observation) < 500 for turn in trajectory.turns)


async def test_every_episode_is_one_session_for_the_server():
    async with FaultServer(default=say(count)) as server:
        trajectories = await collected(server, KEYS[:3])
        sessions = {request.session for request in server.requests}
    assert len(sessions) == 3
    assert len(server.requests) == sum(len(t.turns) for t in trajectories)
    assert Count.instructions in server.requests[0].body["messages"][0]["content"]


async def test_tool_calls_reach_the_world(tmp_path):
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "act", "arguments": '{"command": "1"}'},
    }
    async with FaultServer(
        default=say(None, message={"tool_calls": [call]}, finish="tool_calls")
    ) as server:
        plan = Plan(
            "tests/Count-v0", f"openai:m@{server.url}", env_args={"dialect": "tools"}, limit=1
        )
        (episode,) = await carried_out(plan, tmp_path / "run")
        sent = server.requests[0].body
    assert episode.turns[0].action == "1"
    assert episode.turns[0].invalid is None
    assert sent["tools"][0]["function"]["name"] == "act"
    assert server.requests[1].body["messages"][-1]["role"] == "tool"


async def test_the_oracle_of_a_world_without_one_is_refused_in_one_line():
    collector = Collector(lambda: gym.make("tests/Foreign-v0"), open_policy("oracle"))
    async with aclosing(collector.stream(episode_keys("tests/Foreign-v0", [""]))) as stream:
        with pytest.raises(ConfigError, match="oracle"):
            await anext(stream)
