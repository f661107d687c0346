"""A model in this process by transformers: the real SmolLM2, and a tiny one."""

import asyncio
import json
import sys

import numpy as np
import pytest
from causal import smollm2, tiny

from agentgym.errors import ConfigError, ContextOverflow, PolicyError, RegistryError
from agentgym.policy import describe, open_policy
from agentgym.policy.causal_lm import CausalLM
from agentgym.policy.transformers import TransformersPolicy, _draw
from agentgym.tokens import token_spans
from agentgym.types import Sampling

KITCHEN = [
    {"role": "system", "content": "You play a text adventure."},
    {"role": "user", "content": "You are in a kitchen. A door leads north."},
]
ODD = "a 🐉 1234567\n\n1. item  22<|im_end|>\nnaïve 你好"


def act(policy, messages=KITCHEN, *, session="s", max_tokens=16, **sampling):
    sampling = Sampling(max_tokens=max_tokens, **sampling)
    return policy.act(messages, sampling=sampling, session=session)


@pytest.fixture
async def policy():
    policy = TransformersPolicy(tiny())
    yield policy
    await policy.aclose()


@pytest.fixture
async def real():
    policy = TransformersPolicy(smollm2())
    yield policy
    await policy.aclose()


def alone(policy, prompt, tokens):
    """The log-probabilities of `tokens`, each by a pass of its own over all before it."""
    import torch

    found = []
    for place, token in enumerate(tokens):
        ids = torch.tensor([[*prompt, *tokens[:place]]])
        with torch.inference_mode():
            logits = policy.lm.model(input_ids=ids).logits[0, -1].double()
        found.append(float(logits.log_softmax(-1)[token]))
    return found


# -------------------------------------------------------------------- the real model


async def test_the_real_model_reads_and_says_the_tokens_that_llama_cpp_does(real, llama):
    ours = await act(real, temperature=0.0, max_tokens=4)
    theirs = await act(llama, temperature=0.0, max_tokens=4)
    assert ours.prompt_ids.tolist() == theirs.prompt_ids.tolist()
    assert ours.completion_ids.tolist() == theirs.completion_ids.tolist()
    assert ours.text == theirs.text
    assert ours.logprobs == pytest.approx(theirs.logprobs, abs=0.1)  # its kernels are of 8 bits
    assert real.lm.tokenize(ODD) == await llama._tokenize(ODD, add_special=False)


async def test_log_probabilities_are_the_real_models_own_alone_and_in_a_batch(real):
    topics = [("tea", 5), ("The sea. " * 12, 6), ("x", 7)]
    asked = [
        act(real, [{"role": "user", "content": text}], session=text, seed=seed, temperature=0.7)
        for text, seed in topics
    ]
    for said in await asyncio.gather(*asked):
        true = alone(real, said.prompt_ids.tolist(), said.completion_ids.tolist()[:4])
        assert said.logprobs[:4] == pytest.approx(true, abs=1e-4)
        assert said.logprob_kind == "raw"
        assert said.weight_versions == ("SmolLM2-135M-Instruct.Q4_1.gguf:b179c9523d0e6a0f",)


def test_the_librarys_model_is_named_by_its_name_or_not_at_all():
    for spec in ("transformers:smollm2", "transformers"):
        recorded = describe(open_policy(spec))
        assert recorded["model"] == "SmolLM2-135M-Instruct.Q4_1.gguf"
        assert recorded["weight_version"] == smollm2().weight_version


# -------------------------------------------------------------------- sampling


async def test_the_same_seed_says_the_same_alone_and_among_others(policy):
    single = [await act(policy, seed=seed, session=f"a{seed}") for seed in range(4)]
    together = await asyncio.gather(
        *(act(policy, seed=seed % 4, session=f"b{seed}") for seed in range(12))
    )
    for seed, said in enumerate(together):
        assert said.completion_ids.tolist() == single[seed % 4].completion_ids.tolist()
    assert len({said.text for said in single}) == 4


async def test_what_is_asked_at_once_may_be_of_any_length_and_end_at_any_time(policy):
    asked = [
        act(
            policy, [{"role": "user", "content": "word " * 3 * i}], session="", seed=i, max_tokens=n
        )
        for i, n in enumerate((3, 24, 1, 9, 16, 2, 30, 4))
    ]
    for said in await asyncio.gather(*asked):
        tokens = said.completion_ids.tolist()
        assert len(tokens) <= said.sampling["max_tokens"]
        true = alone(policy, said.prompt_ids.tolist(), tokens)
        assert said.logprobs == pytest.approx(true, abs=1e-4)


async def test_sampling_is_explicit_and_recorded_with_the_seed_drawn(policy):
    said = await act(policy, temperature=0.5, top_k=5, top_p=0.9, stop=("zzz",), session="")
    seed = said.sampling["seed"]
    assert said.sampling == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "max_tokens": 16,
        "seed": seed,
        "stop": ["zzz"],
    }
    again = await act(
        policy, temperature=0.5, top_k=5, top_p=0.9, stop=("zzz",), seed=seed, session=""
    )
    assert said.text == again.text


def test_tokens_are_drawn_as_often_as_the_distribution_says():
    tiny()  # torch is here
    import torch

    logits = torch.tensor([0.5, 0.1, 0.3, 0.1], dtype=torch.float64).log()
    chances = (np.arange(1000) + 0.5) / 1000

    def shares(**sampling):
        drawn = [_draw(logits, Sampling(**sampling), chance) for chance in chances]
        return (np.bincount(drawn, minlength=4) / 1000).tolist()

    assert shares() == [0.5, 0.1, 0.3, 0.1]
    assert shares(temperature=0.0) == [1, 0, 0, 0]
    assert shares(top_k=1) == [1, 0, 0, 0]
    assert shares(top_k=2) == shares(top_p=0.6) == [0.625, 0, 0.375, 0]
    assert shares(top_p=0.01) == [1, 0, 0, 0]
    halved = np.array([0.5, 0.1, 0.3, 0.1]) ** 0.5
    assert shares(temperature=2.0) == pytest.approx(halved / halved.sum(), abs=2e-3)
    assert shares(top_k=9) == pytest.approx([0.5, 0.1, 0.3, 0.1], abs=2e-3)


async def test_temperature_zero_takes_the_likeliest_token_whatever_the_seed(policy):
    said = [await act(policy, temperature=0.0, seed=seed, session="") for seed in (1, 2)]
    assert said[0].text == said[1].text


async def test_a_stop_word_is_cut_from_the_text_and_its_tokens_are_kept(policy):
    whole = await act(policy, seed=3, session="")
    word = whole.text[4:7]
    said = await act(policy, seed=3, session="", stop=("never said", word))
    assert said.text == whole.text[: whole.text.index(word)]
    assert said.finish_reason == "stop"
    assert len(said.completion_ids) == len(said.logprobs) < 16


# -------------------------------------------------------------------- the context


async def test_each_turn_extends_exactly_what_was_seen_and_sampled(policy):
    messages, turns = [*KITCHEN], []
    for turn in range(4):
        said = await act(policy, messages, temperature=1.3, seed=turn)
        turns.append(said)
        messages.append({"role": "assistant", "content": said.text})
        messages.append({"role": "user", "content": f"Turn {turn}\n\n1. item  22"})
    assert len(token_spans(turns)[0]) == 1


async def test_where_the_model_ends_its_turn_that_token_is_the_templates(policy):
    import torch

    first = await act(policy, temperature=0.0, max_tokens=1)
    weights = policy.lm.model.get_input_embeddings().weight
    before = weights[2].clone()
    with torch.no_grad():  # an end of turn becomes what it would say first
        weights[2] = weights[int(first.completion_ids[0])] * 3
    try:
        said = await act(policy, temperature=0.0)
        assert (said.completion_ids.tolist(), said.text) == ([2], "")
        assert said.finish_reason == "stop"
        more = [{"role": "assistant", "content": said.text}, {"role": "user", "content": "Go on."}]
        after = await act(policy, [*KITCHEN, *more], max_tokens=1)
    finally:
        with torch.no_grad():
            weights[2] = before
    start = [*said.prompt_ids.tolist(), 2]
    assert after.prompt_ids.tolist()[: len(start)] == start
    assert policy.lm.detokenize(after.prompt_ids).count("<|im_end|>") == 4


async def test_a_history_that_changed_is_read_anew(policy):
    await act(policy, seed=1)
    changed = [*KITCHEN, {"role": "assistant", "content": "something else"}, KITCHEN[1]]
    after, fresh = [await act(policy, changed, seed=1, session=each) for each in ("s", "other")]
    assert after.prompt_ids.tolist() == fresh.prompt_ids.tolist()


async def test_an_answer_is_cut_where_the_context_ends():
    policy = TransformersPolicy(tiny(), context=256)
    try:
        long, longer = ([{"role": "user", "content": "word " * n}] for n in (190, 230))
        said = await act(policy, long, max_tokens=500, temperature=3.0, seed=1)
        assert said.finish_reason in ("stop", "length")
        assert said.sampling["max_tokens"] == 256 - len(said.prompt_ids)
        both = await asyncio.gather(
            act(policy, longer), act(policy, session="t", max_tokens=2), return_exceptions=True
        )
        assert isinstance(both[0], ContextOverflow)
        assert "the context 256: give a larger context" in str(both[0])
        assert len(both[1].completion_ids) <= 2
    finally:
        await policy.aclose()


async def test_the_context_is_never_longer_than_the_model_can(policy):
    await act(policy, max_tokens=1)
    assert policy.context == 2048


# -------------------------------------------------------------------- weights


async def test_a_model_that_is_trained_says_with_which_weights_it_spoke(policy):
    policy.lm.weight_version = "step-7"
    try:
        assert (await act(policy, max_tokens=1)).weight_versions == ("step-7",)
    finally:
        policy.lm.weight_version = "tiny-0"


async def test_a_folder_is_loaded_named_by_its_weights_and_freed(tmp_path):
    tiny().model.save_pretrained(tmp_path / "mine")
    tiny().tokenizer.save_pretrained(tmp_path / "mine")
    policy = open_policy(f"transformers:{tmp_path / 'mine'}", device="cpu", context=512)
    recorded = json.loads(json.dumps(describe(policy)))
    assert (recorded["policy"], recorded["model"]) == ("transformers", "mine")
    said = await act(policy, seed=4)
    await policy.aclose()
    await policy.aclose()
    assert said.weight_versions == (recorded["weight_version"],)
    again = TransformersPolicy(tiny())
    assert said.text == (await act(again, seed=4)).text
    await again.aclose()


# -------------------------------------------------------------------- life and death


async def test_the_loop_goes_on_while_the_model_writes(policy):
    writing = asyncio.create_task(act(policy, max_tokens=200, temperature=2.0, seed=1))
    ticks = 0
    while not writing.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert ticks > 5


async def test_giving_up_frees_the_model_at_once(policy):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):  # the whole answer would take much longer
            await act(policy, max_tokens=1900, temperature=5.0, seed=1)
    said = await asyncio.wait_for(act(policy, max_tokens=2), 2)
    assert len(said.completion_ids) <= 2


async def test_closing_ends_what_is_under_way_and_it_can_be_opened_again(policy):
    writing = asyncio.create_task(act(policy, max_tokens=1900, temperature=5.0, seed=1))
    await asyncio.sleep(0.2)
    await policy.aclose()
    with pytest.raises(PolicyError, match="was closed"):
        await writing
    assert (await act(policy, max_tokens=2)).finish_reason


# -------------------------------------------------------------------- faults


def test_without_torch_installed_it_says_how_to_install_it(monkeypatch):
    for name in ("transformers", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(RegistryError, match=rf"{name} .*'agentgym-env\[transformers\]'"):
            open_policy("transformers:some/model")


@pytest.mark.parametrize(
    ("spec", "options", "told"),
    [
        ("transformers:/nowhere.gguf", {}, "'/nowhere.gguf' is neither a GGUF file nor a folder"),
        ("transformers:{here}", {}, "holds no config.json"),
        ("transformers:{here}", {"gguf_file": "x.gguf"}, "x.gguf' is not a file"),
        ("transformers:some/model", {"context": 1}, "give at least 64"),
        ("transformers:some/model", {"batch": 0}, "give at least 1"),
        ("transformers:some/model", {"threads": 0}, "give at least 1"),
        ("transformers:some/model", {"dtpye": "x"}, "did you mean 'dtype'"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_what_to_do(tmp_path, spec, options, told):
    tiny()
    with pytest.raises(ConfigError, match=told):
        open_policy(spec.format(here=tmp_path), **options)


async def test_a_file_that_is_no_model_is_refused(tmp_path):
    tiny()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    policy = TransformersPolicy(broken)
    with pytest.raises(ConfigError, match=r"cannot load 'broken.gguf'.*is it a causal"):
        await act(policy)
    await policy.aclose()


async def test_images_are_refused_and_parts_of_text_are_read(policy):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    words = {"type": "text", "text": KITCHEN[1]["content"]}
    with pytest.raises(ConfigError, match="image input is not supported"):
        await act(policy, [{"role": "user", "content": [words, image]}])
    said = await act(policy, [KITCHEN[0], {"role": "user", "content": [words]}], max_tokens=1)
    plain = await act(policy, max_tokens=1, session="other")
    assert said.prompt_ids.tolist() == plain.prompt_ids.tolist()


async def test_text_that_is_not_valid_unicode_does_not_stop_it(policy):
    said = await act(policy, [{"role": "user", "content": "a\ud800\x00b"}], max_tokens=2)
    assert said.finish_reason


async def test_a_model_without_a_chat_template_is_refused(monkeypatch, policy):
    monkeypatch.setattr(policy.lm.tokenizer, "chat_template", None)
    with pytest.raises(ConfigError, match="has no chat template"):
        await act(policy)


async def test_weights_that_are_not_numbers_are_an_error_of_the_policy(tmp_path):
    import copy

    import torch

    model = copy.deepcopy(tiny().model)
    with torch.no_grad():
        model.model.norm.weight.fill_(torch.nan)
    policy = TransformersPolicy(CausalLM.of(model, tiny().tokenizer, weight_version="nan"))
    with pytest.raises(PolicyError, match="likely: try dtype='float32'"):
        await act(policy)
    await policy.aclose()
