"""Tokens of an episode: stored once, and branched where a prompt does not extend the one before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.tokens import token_spans
from agentgym.types import Completion

ids = st.lists(st.integers(0, 50_000), max_size=12)


def completion(prompt, sampled, logprobs=None):
    return Completion(
        "",
        prompt_ids=np.asarray(prompt, dtype=np.int32),
        completion_ids=np.asarray(sampled, dtype=np.int32),
        logprobs=None if logprobs is None else np.asarray(logprobs, dtype=np.float32),
    )


def test_prompts_that_extend_one_another_make_one_branch_stored_once():
    spans, places = token_spans(
        [completion([1, 2], [3, 4], [-1, -2]), completion([1, 2, 3, 4, 5], [6], [-3])]
    )
    assert len(spans) == 1
    assert spans[0].ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert spans[0].mask.tolist() == [False, False, True, True, False, True]
    assert spans[0].logprobs[spans[0].mask].tolist() == [-1, -2, -3]
    assert places == [(0, 2, 4), (0, 5, 6)]


def test_a_prompt_that_changes_what_was_sampled_opens_a_branch():
    spans, places = token_spans([completion([1], [2, 3]), completion([1, 2, 9], [4])])
    assert [span.ids.tolist() for span in spans] == [[1, 2, 3], [1, 2, 9, 4]]
    assert [place.branch for place in places] == [0, 1]


def test_a_prompt_shorter_than_what_was_seen_opens_a_branch():
    spans, _ = token_spans([completion([1, 2, 3], [4]), completion([1, 2], [5])])
    assert len(spans) == 2


def test_a_turn_without_ids_has_no_place_and_breaks_the_branch():
    spans, places = token_spans(
        [completion([1], [2]), Completion("said by a human"), completion([1, 2], [3])]
    )
    assert places[1] is None
    assert len(spans) == 2


def test_logprobs_are_nan_where_an_engine_gave_none_for_a_turn():
    spans, _ = token_spans([completion([1], [2], [-0.5]), completion([1, 2], [3])])
    assert spans[0].logprobs[1] == np.float32(-0.5)
    assert np.isnan(spans[0].logprobs[2])


@pytest.mark.parametrize("logprobs", [[-0.5], [-0.5] * 4, []])
def test_a_turn_must_have_a_logprob_for_each_token_it_sampled(logprobs):
    with pytest.raises(ValueError, match=r"turn 2 has 3 completion_ids but \d logprobs"):
        token_spans([Completion("said by a human"), completion([1], [2, 3, 4], logprobs)])


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=6), st.booleans())
def test_every_turn_is_found_again_at_its_place(turns, extend):
    completions, seen = [], []
    for added, sampled in turns:
        prompt = [*seen, *added] if extend else added
        completions.append(completion(prompt, sampled))
        seen = [*prompt, *sampled]
    spans, places = token_spans(completions)
    for said, place in zip(completions, places, strict=True):
        branch = spans[place.branch].ids
        assert branch[: place.prompt_end].tolist() == said.prompt_ids.tolist()
        sampled = branch[place.prompt_end : place.completion_end]
        assert sampled.tolist() == said.completion_ids.tolist()
    if extend:
        assert len(spans) == 1
        assert len(spans[0].ids) == len(seen)
