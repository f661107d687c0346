"""Scorers: a table, and a real model in this process."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import ConfigError, RewardError, StageTimeout
from agentgym.policy.llamacpp import LlamaCppPolicy
from agentgym.rewards.scorer import CachedScorer, ScoreRequest, TableScorer
from agentgym.rewards.scorer_llamacpp import LlamaScorer
from agentgym.types import Sampling


def ask(scorer, context, target, about=""):
    return scorer.logprobs([ScoreRequest((context,), target, about)])[0]


# --------------------------------------------------------------------------------------- table


def test_a_table_gives_what_is_written_down_as_text_or_as_tokens():
    scorer = TableScorer({("the capital is", " New York"): [-1.5, -0.25]})
    found = ask(scorer, "the capital is", " New York")
    assert found.tolist() == [-1.5, -0.25]
    assert found.dtype == np.float64
    ids = scorer.tokenize("the capital is")
    assert ask(scorer, ids, scorer.tokenize(" New York")).tolist() == [-1.5, -0.25]
    pieces = ScoreRequest((ids[:2], " is"), " New York")
    assert scorer.logprobs([pieces])[0].tolist() == [-1.5, -0.25]


def test_a_world_that_can_be_computed_is_a_function():
    scorer = TableScorer(lambda context, target: [-len(context) / 10.0])
    assert ask(scorer, "four", "x").tolist() == [-0.4]


def test_what_is_asked_twice_is_computed_once_and_new_weights_are_asked_anew():
    scorer = TableScorer(lambda context, target: [-1.0 if scorer.version == "1" else -2.0], "1")
    twice = [ScoreRequest(("a",), "x", "one"), ScoreRequest(("a",), "x", "other")]
    assert [each.tolist() for each in scorer.logprobs(twice)] == [[-1.0], [-1.0]]
    assert ask(scorer, "a", "x").tolist() == [-1.0]
    assert scorer.asked == 1
    scorer.version = "2"
    assert ask(scorer, "a", "x").tolist() == [-2.0]
    assert scorer.asked == 2
    assert scorer.provenance == {"scorer": "TableScorer", "weight_version": "2"}


def test_the_cache_is_bounded():
    scorer = TableScorer(lambda context, target: [-1.0])
    scorer._cached = 2
    for context in ("a", "b", "c", "a"):
        ask(scorer, context, "x")
    assert scorer.asked == 4
    ask(scorer, "c", "x")
    assert scorer.asked == 4


def test_answers_are_in_the_order_of_the_requests():
    scorer = TableScorer(lambda context, target: [-float(context)])
    found = scorer.logprobs([ScoreRequest((str(i),), "x") for i in (3, 1, 2, 1)])
    assert [each[0] for each in found] == [-3, -1, -2, -1]


def test_what_the_table_lacks_is_named_with_who_asked():
    scorer = TableScorer({("a b", "x"): [-1.0]})
    with pytest.raises(RewardError, match=r"info_gain: turn 2: .*'x' after 'a c'; did you mean"):
        ask(scorer, "a c", "x", "info_gain: turn 2")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([-1.0], r"info_gain: turn 2: the scorer gave 1 log-probabilities for 2 tokens"),
        ([-1.0, -1.0, -1.0], "gave 3 log-probabilities for 2 tokens"),
        ([-1.0, np.nan], "finite and <= 0"),
        ([-1.0, 0.5], "finite and <= 0"),
        ([-1.0, -np.inf], "finite and <= 0"),
    ],
)
def test_answers_that_cannot_be_are_refused_with_who_asked(answer, says):
    scorer = TableScorer(lambda context, target: answer)
    with pytest.raises(RewardError, match=says):
        ask(scorer, "a", "New York", "info_gain: turn 2")
    with pytest.raises(RewardError, match="no token to score"):
        ask(scorer, "a", "", "info_gain: turn 2")


def test_tokens_of_another_table_are_refused():
    with pytest.raises(RewardError, match="its own"):
        ask(TableScorer({}), (7,), (8,))


@given(st.text(max_size=40))
def test_a_tables_tokens_are_its_text(text):
    scorer = TableScorer({})
    assert scorer.detokenize(scorer.tokenize(text)) == text


# ---------------------------------------------------------------------------------- real model


@pytest.fixture(scope="module")
def llama_scorer(model_path):
    with LlamaScorer(model_path, context=1024) as scorer:
        yield scorer


def test_a_model_finds_the_likely_likelier(llama_scorer):
    paris = ask(llama_scorer, "The capital of France is", " Paris")
    assert paris.sum() > -1.0
    assert ask(llama_scorer, "The capital of France is", " Lima").sum() < paris.sum() - 3


def test_scores_add_up_however_the_text_is_cut(llama_scorer):
    ids = llama_scorer.tokenize("The capital of France is Paris, a city.")
    whole = ask(llama_scorer, ids[:3], ids[3:])
    parts = [ask(llama_scorer, ids[:i], ids[i : i + 1])[0] for i in range(3, len(ids))]
    assert whole == pytest.approx(parts, abs=1e-3)


def test_every_token_has_a_score_also_ends_of_turns_and_parts_of_characters(llama_scorer):
    target = llama_scorer.tokenize("a 🐉<|im_end|>\n")
    assert len(target) > 5
    assert len(ask(llama_scorer, "Draw a dragon:", target)) == len(target)
    assert llama_scorer.detokenize(target) == "a 🐉<|im_end|>\n"


def test_the_weights_are_named_by_what_is_in_the_file(llama_scorer):
    assert llama_scorer.weight_version == "SmolLM2-135M-Instruct.Q4_1.gguf:b179c9523d0e6a0f"


def test_tokens_of_another_model_and_contexts_too_long_are_refused_with_a_remedy(llama_scorer):
    with pytest.raises(RewardError, match=r"^turn 4: .*another model's tokens"):
        ask(llama_scorer, (10**6,), " x", "turn 4")
    with pytest.raises(RewardError, match=r"^turn 4: .*do not fit.*LlamaScorer\(context=1501\)"):
        ask(llama_scorer, (5,) * 1500, (6,), "turn 4")
    with pytest.raises(RewardError, match="no context"):
        ask(llama_scorer, (), " x", "turn 4")
    assert ask(llama_scorer, "still", " there").size  # and goes on


def test_a_scorer_that_takes_too_long_says_so_and_goes_on(model_path):
    with LlamaScorer(model_path, context=1024) as scorer:
        scorer.tokenize("loaded")
        scorer.timeout_s = 0.01
        scorer._hang_up()
        with pytest.raises(StageTimeout, match=r"^turn 4: .*no answer in 0.01 s.*timeout_s"):
            ask(scorer, (5,) * 900, (6,), "turn 4")
        scorer.timeout_s = 60.0
        assert ask(scorer, "The capital of France is", " Paris")[0] > -1.0
    scorer.close()


def test_numbers_out_of_range_and_missing_files_are_refused(tmp_path, model_path):
    with pytest.raises(ConfigError, match="is not a file"):
        LlamaScorer(tmp_path / "none.gguf")
    with pytest.raises(ConfigError, match="timeout_s"):
        LlamaScorer(model_path, timeout_s=0)
    with pytest.raises(ConfigError, match="context"):
        LlamaScorer(model_path, context=1)


async def test_the_scorer_and_the_policy_agree_on_what_was_sampled(llama_scorer, model_path):
    policy = LlamaCppPolicy(model_path, context=512, parallel=1)
    try:
        said = await policy.act(
            [{"role": "user", "content": "Name a colour and an animal."}],
            sampling=Sampling(max_tokens=12, seed=3),
            session="s",
        )
    finally:
        await policy.aclose()
    context, target = tuple(said.prompt_ids.tolist()), tuple(said.completion_ids.tolist())
    assert ask(llama_scorer, context, target) == pytest.approx(said.logprobs, abs=0.02)


def test_a_scorer_of_ones_own_is_a_class_with_five_methods():
    class Uniform(CachedScorer):
        weight_version = "uniform"

        def tokenize(self, text, *, start=False):
            return tuple(text.encode())

        def detokenize(self, ids):
            return bytes(ids).decode()

        def measure(self, context, target, about):
            return [-np.log(256)] * len(target)

    assert ask(Uniform(), "a", "bc") == pytest.approx([-5.545177, -5.545177])
