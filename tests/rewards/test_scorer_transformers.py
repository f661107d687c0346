"""The scorer that runs on transformers, with the real SmolLM2 and a tiny model."""

import asyncio

import numpy as np
import pytest
from causal import smollm2, tiny

from agentgym.errors import ConfigError, RewardError, StageTimeout
from agentgym.policy.transformers import TransformersPolicy
from agentgym.prompt import Conversation
from agentgym.rewards import Batch
from agentgym.rewards.information import InfoGain
from agentgym.rewards.scorer import ScoreRequest
from agentgym.rewards.scorer_transformers import TransformersScorer
from agentgym.types import Completion, EpisodeKey, Outcome, Sampling, Task, Trajectory, Turn

FACTS = [  # question, answer, the document that holds it, one that does not
    (
        "Who founded the Velden Observatory?",
        "Lutz Marrow",
        "The Velden Observatory was founded in 1911 by Lutz Marrow.",
        "The Velden Observatory stands on a hill and has two domes.",
    ),
    (
        "What is the capital of the island of Brevik?",
        "Sandholm",
        "The capital of the island of Brevik is Sandholm, a fishing port.",
        "The island of Brevik has 4000 inhabitants and mild winters.",
    ),
    (
        "In which year did the Harrow Bridge open?",
        "1987",
        "The Harrow Bridge opened in 1987 after six years of work.",
        "The Harrow Bridge is made of steel and is painted green.",
    ),
]


def ask(scorer, context, target, about=""):
    return scorer.logprobs([ScoreRequest((context,), target, about)])[0]


@pytest.fixture
def real():
    return TransformersScorer(smollm2())


@pytest.fixture
def scorer():
    return TransformersScorer(tiny(), context=1024)


# ---------------------------------------------------------------------------------- real model


def test_a_model_finds_the_likely_likelier(real):
    paris, lima = real.logprobs(
        [ScoreRequest(("The capital of France is",), city) for city in (" Paris", " Lima")]
    )
    assert paris.dtype == np.float64
    assert paris.sum() > -1.0
    assert lima.sum() < paris.sum() - 3
    assert real.weight_version == "SmolLM2-135M-Instruct.Q4_1.gguf:b179c9523d0e6a0f"


async def test_the_scorer_and_the_policy_agree_on_what_was_sampled(real):
    policy = TransformersPolicy(smollm2())
    topics = ("Name a colour and an animal.", "Count. " * 20, "Hi")
    said = await asyncio.gather(
        *(
            policy.act(
                [{"role": "user", "content": topic}],
                sampling=Sampling(max_tokens=12, seed=3),
                session=topic,
            )
            for topic in topics
        )
    )
    await policy.aclose()
    requests = [
        ScoreRequest((tuple(each.prompt_ids.tolist()),), tuple(each.completion_ids.tolist()))
        for each in said
    ]
    for found, each in zip(real.logprobs(requests), said, strict=True):
        assert found == pytest.approx(each.logprobs, abs=1e-4)


def test_a_real_model_gains_more_from_the_document_that_holds_the_answer(real):
    played = []
    for question, answer, *documents in FACTS:
        for sample, document in enumerate(documents):
            conversation, turns = Conversation("Answer the question. You may search first."), []
            for observation in (question, document):
                conversation.observe(observation)
                text = real.lm.render(conversation.messages)
                said = Completion("search", prompt_ids=np.array(real.lm.tokenize(text), np.int32))
                conversation.answer(said)
                turns.append(Turn(observation, said, said.text, None, 0.0, {}))
            key = EpisodeKey("e", question, 0, sample)
            task = Task(question, data={"answer": answer})
            played.append(Trajectory(key, task, turns, "", Outcome(0.0, False)))
    for signal in (InfoGain(), InfoGain(kind="prob")):
        batch = Batch(played, real)
        gains = [float(signal.on(batch).values[start]) for start in batch.offsets[:-1]]
        assert all(right > wrong for right, wrong in zip(gains[::2], gains[1::2], strict=True))
        assert min(gains[::2]) > 0
        assert real.asked == 3 * (1 + 2)  # the question once, and every answer is kept


# ---------------------------------------------------------------------------------- any model


def test_scores_add_up_however_the_text_is_cut_and_batched(scorer):
    ids = scorer.tokenize("The capital of France is Paris, a city on the Seine. 🐉<|im_end|>\n")
    whole = ask(scorer, ids[:3], ids[3:])
    cuts = range(3, len(ids))
    for batch_tokens in (1, 50, 2048):
        other = TransformersScorer(tiny(), batch_tokens=batch_tokens)
        parts = other.logprobs([ScoreRequest((ids[:i],), ids[i : i + 1]) for i in cuts])
        assert np.concatenate(parts) == pytest.approx(whole, abs=1e-5)
        tails = other.logprobs([ScoreRequest((ids[:i],), ids[i:]) for i in cuts])
        for i, tail in zip(cuts, tails, strict=True):
            assert tail == pytest.approx(whole[i - 3 :], abs=1e-5)


def test_every_token_has_a_probability_and_they_sum_to_one(scorer):
    some = scorer.logprobs([ScoreRequest(((5, 6),), (token,)) for token in range(0, 49152, 64)])
    assert 0 < np.exp(some).sum() < 1
    import torch

    with torch.inference_mode():
        logits = scorer.lm.model(input_ids=torch.tensor([[5, 6]])).logits[0, -1].double()
    true = logits.log_softmax(-1)[::64].numpy()
    assert np.concatenate(some) == pytest.approx(true, abs=1e-5)


def test_a_model_that_cannot_leave_out_what_is_not_asked_scores_the_same(monkeypatch, scorer):
    request = [ScoreRequest(((5, 6, 7),), (8, 9)), ScoreRequest(((5,),), (8, 9, 10))]
    expected = scorer.logprobs(request)
    monkeypatch.setattr(type(scorer.lm), "takes", lambda self, argument: False)
    for got, each in zip(TransformersScorer(tiny()).logprobs(request), expected, strict=True):
        assert got == pytest.approx(each, abs=1e-6)


def test_new_weights_are_asked_anew(scorer):
    ask(scorer, (5,), (6,))
    ask(scorer, (5,), (6,))
    assert scorer.asked == 1
    scorer.lm.weight_version = "step-7"
    try:
        ask(scorer, (5,), (6,))
        assert scorer.provenance == {"scorer": "TransformersScorer", "weight_version": "step-7"}
    finally:
        scorer.lm.weight_version = "tiny-0"
    assert scorer.asked == 2


def test_tokens_of_another_model_and_contexts_too_long_are_refused_with_a_remedy(scorer):
    with pytest.raises(RewardError, match=r"^turn 4: token 1000000 .*another model's tokens"):
        ask(scorer, (10**6,), " x", "turn 4")
    with pytest.raises(RewardError, match=r"another model's tokens"):
        scorer.detokenize([-1])
    with pytest.raises(RewardError, match=r"^turn 4: .*do not fit.*Scorer\(context=1501\)"):
        ask(scorer, (5,) * 1500, (6,), "turn 4")
    with pytest.raises(RewardError, match=r"^turn 4: there is no context"):
        ask(scorer, (), " x", "turn 4")
    assert ask(scorer, "still", " there").size  # and goes on
    assert scorer.logprobs([]) == []


def test_a_scorer_that_takes_too_long_says_so_and_goes_on(scorer):
    scorer.timeout_s = 1e-6
    with pytest.raises(StageTimeout, match=r"^turn 4: .*no answer in 1e-06 s.*timeout_s"):
        ask(scorer, (5,) * 500, (6,), "turn 4")
    scorer.timeout_s = 60.0
    assert ask(scorer, (5,) * 500, (6,)).size == 1


def test_closing_frees_what_is_its_own_alone(scorer):
    with scorer:
        pass
    assert ask(scorer, (5,), (6,)).size
    own = TransformersScorer("smollm2")
    own.close()
    assert own.lm is not smollm2()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout_s": 0}, "timeout_s"),
        ({"context": 1}, "context"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"dtype": "float32"}, "loaded already"),
    ],
)
def test_numbers_out_of_range_are_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        TransformersScorer(tiny(), **options)
