"""Trajectories as JSON lines, and back."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym import schema
from agentgym.errors import StoreError
from agentgym.types import (
    Completion,
    EpisodeKey,
    Outcome,
    Stop,
    Task,
    ToolCall,
    Trajectory,
    Turn,
)

KEY = EpisodeKey("agentgym/Some-v0?level=2", "coin:1", 7, 3)


def turn(completion=None, **changes):
    fields = {
        "observation": "a room",
        "completion": completion or Completion("go east"),
        "action": "go east",
        "invalid": None,
        "reward": 0.0,
        "facts": {"valid": True},
        **changes,
    }
    return Turn(**fields)


def episode(*turns, **changes):
    fields = {
        "outcome": Outcome(1.0, True, "won", {"score": 0.5}),
        "stop": Stop.TERMINATED,
        "final_observation": "the end",
        **changes,
    }
    return Trajectory(
        KEY, Task("coin:1", "agentgym/Some-v0", "test", {"level": 2}), list(turns), **fields
    )


def again(trajectory):
    return schema.decode(schema.encode(trajectory))


def with_tokens(prompt, sampled, logprobs=None):
    return Completion(
        "go",
        prompt_ids=np.asarray(prompt, np.int32),
        completion_ids=np.asarray(sampled, np.int32),
        logprobs=None if logprobs is None else np.asarray(logprobs, np.float32),
        logprob_kind=None if logprobs is None else "raw",
    )


def test_everything_a_trajectory_holds_comes_back():
    said = Completion(
        "hm",
        tool_calls=(ToolCall("go", '{"where": "east"}', "id"),),
        finish_reason="length",
        weight_versions=("step-1",),
        sampling={"temperature": 0.5, "seed": 3},
        usage={"prompt_tokens": 5},
    )
    before = episode(
        turn(
            said,
            invalid="parse",
            reward=0.25,
            facts={"valid": False, "n": [1, {"x": None}]},
            signals={"spa": 0.5, "igpo": None},
            timings={"policy_s": 0.1},
        ),
        error="policy: away",
        provenance={"policy": "oracle"},
    )
    after = again(before)
    assert (after.key, after.task, after.outcome, after.stop) == (
        before.key,
        before.task,
        before.outcome,
        before.stop,
    )
    assert after.error == "policy: away"
    assert after.provenance == {"policy": "oracle"}
    assert after.final_observation == "the end"
    got = after.turns[0]
    assert (got.invalid, got.reward, got.facts, got.signals, got.timings) == (
        "parse",
        0.25,
        {"valid": False, "n": [1, {"x": None}]},
        {"spa": 0.5, "igpo": None},
        {"policy_s": 0.1},
    )
    assert got.completion.tool_calls == said.tool_calls
    assert got.completion.weight_versions == ("step-1",)
    assert got.completion.sampling == said.sampling
    assert schema.encode(after) == schema.encode(before)


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5),
            st.lists(st.integers(0, 2**31 - 1), max_size=5),
            st.booleans(),
        ),
        max_size=5,
    )
)
def test_token_ids_and_logprobs_come_back_bit_for_bit(turns):
    completions, seen = [], []
    for added, sampled, extends in turns:
        prompt = [*seen, *added] if extends else added
        logprobs = -np.arange(len(sampled), dtype=np.float32) / 3
        completions.append(with_tokens(prompt, sampled, logprobs))
        seen = [*prompt, *sampled]
    after = again(episode(*map(turn, completions)))
    for before, got in zip(completions, (t.completion for t in after.turns), strict=True):
        assert np.array_equal(before.prompt_ids, got.prompt_ids)
        assert np.array_equal(before.completion_ids, got.completion_ids)
        assert before.logprobs.tobytes() == got.logprobs.tobytes()
        assert got.prompt_ids.dtype == np.int32
        assert got.logprob_kind == "raw"


def test_ids_of_a_server_that_tells_only_what_it_sampled_come_back():
    said = Completion(
        "go",
        completion_ids=np.asarray([4, 5], np.int32),
        logprobs=np.asarray([-1, -2], np.float32),
        logprob_kind="raw",
    )
    (got,) = (turn.completion for turn in again(episode(turn(said))).turns)
    assert got.prompt_ids is None
    assert got.completion_ids.tolist() == [4, 5]
    assert got.logprobs.tolist() == [-1, -2]


def test_logprobs_of_a_kind_that_is_not_told_come_back():
    told, untold = with_tokens([1], [2, 3], [-1.0, -2.0]), with_tokens([1, 2, 3], [4])
    told.logprob_kind = None
    first, second = (turn.completion for turn in again(episode(turn(told), turn(untold))).turns)
    assert (first.logprobs.tolist(), first.logprob_kind) == ([-1.0, -2.0], None)
    assert second.logprobs is None


def test_prompts_that_extend_one_another_cost_their_new_tokens_only():
    grown, seen = [], []
    for _ in range(50):
        prompt = [*seen, *range(90)]
        grown.append(with_tokens(prompt, range(10)))
        seen = [*prompt, *range(10)]
    line = schema.encode(episode(*map(turn, grown)))
    assert len(line) < 50 * 100 * 4 * 1.4 + 50 * 400  # base64 of each id once, and the rest
    last = schema.decode(line).turns[-1].completion
    first = schema.decode(line).turns[0].completion
    assert len(last.prompt_ids) == 4990
    assert len(first.prompt_ids) == 90


def test_completions_read_back_are_views_of_one_array():
    after = again(episode(turn(with_tokens([1, 2], [3])), turn(with_tokens([1, 2, 3, 4], [5]))))
    first, second = (t.completion.prompt_ids for t in after.turns)
    assert np.shares_memory(first, second)


def test_lone_surrogates_are_replaced_and_nothing_else_is_lost():
    after = again(episode(turn(Completion("caf\ud800é"), observation="\udfff")))
    assert after.turns[0].completion.text == "caf?é"
    assert after.turns[0].observation == "?"
    assert after.key == KEY


def test_a_fact_that_is_not_json_is_named():
    with pytest.raises(TypeError, match=r"turns\[0\].facts.seen is a set"):
        schema.encode(episode(turn(facts={"seen": {1, 2}})))


def test_numpy_facts_are_recorded_as_numbers():
    after = again(episode(turn(facts={"box": np.arange(3), "n": np.float32(0.5)})))
    assert after.turns[0].facts == {"box": [0, 1, 2], "n": 0.5}


def test_the_head_is_read_without_the_rest():
    line = schema.encode(episode(turn()))
    cut = line[: line.index(b'"task"')]
    assert schema.head(cut) == {
        "schema": 1,
        "key": list(KEY),
        "stop": "terminated",
        "scored": True,
    }


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]\n", b'{"head":', b'{"head":[]}', b"\xff\xfe\n"])
def test_a_foreign_line_is_refused(line):
    with pytest.raises(StoreError):
        schema.decode(line)


def test_a_torn_line_is_refused_wherever_it_is_cut():
    line = schema.encode(episode(turn(with_tokens([1], [2], [-1.0]))))
    for cut in range(0, len(line) - 2, 7):
        with pytest.raises(StoreError):
            schema.decode(line[:cut])


def test_a_newer_schema_says_to_upgrade():
    document = orjson.loads(schema.encode(episode()))
    document["head"]["schema"] = schema.SCHEMA + 1
    with pytest.raises(StoreError, match="upgrade agentgym-env"):
        schema.decode(orjson.dumps(document))
