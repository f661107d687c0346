import asyncio
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from agentgym.actions import Action
from agentgym.errors import ConfigError, ContextOverflow, PolicyError, RegistryError
from agentgym.policy.gbnf import one_of
from agentgym.policy.llamacpp import LlamaCppPolicy
from agentgym.tokens import token_spans
from agentgym.types import Sampling

KITCHEN = [
    {"role": "system", "content": "You play a text adventure."},
    {"role": "user", "content": "You are in a kitchen. A door leads north."},
]
EMOJI = [{"role": "user", "content": "Write only emoji like 🐉🐲🦄 and Chinese 你好龘"}]
ODD = [
    Action(text)
    for text in (
        "go north",
        "go",
        "go north-east",
        'say "hi" \\o/',
        "line\nbreak\ttab\r\x07\x7f",
        "naïve 你好 🐉",
        "a | b (c) [d] {e} # ::= root",
        "\u200b\u2028\ud800",
        " leading",
        "trailing ",
    )
]


def act(policy, messages=KITCHEN, *, session="s", admissible=None, max_tokens=16, **sampling):
    sampling = Sampling(max_tokens=max_tokens, **sampling)
    return policy.act(messages, sampling=sampling, session=session, admissible=admissible)


def threads():
    return len(os.listdir("/proc/self/task"))


# -------------------------------------------------------------------- sampling


async def test_the_same_seed_says_the_same_alone_and_among_others(llama):
    alone = [await act(llama, seed=seed, session=f"a{seed}") for seed in range(4)]
    together = await asyncio.gather(
        *(act(llama, seed=seed % 4, session=f"b{seed}") for seed in range(8))
    )
    for seed, said in enumerate(together):
        assert said.text == alone[seed % 4].text
        assert said.completion_ids.tolist() == alone[seed % 4].completion_ids.tolist()
    assert len({said.text for said in alone}) == 4


async def test_sampling_is_explicit_and_recorded_with_the_seed_drawn(llama):
    said = await act(llama, temperature=0.5, top_k=5, top_p=0.9, stop=("zzz",))
    seed = said.sampling["seed"]
    assert said.sampling == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.0,
        "samplers": ["temperature", "top_k", "top_p"],
        "max_tokens": 16,
        "seed": seed,
        "stop": ["zzz"],
    }
    again = await act(llama, temperature=0.5, top_k=5, top_p=0.9, stop=("zzz",), seed=seed)
    assert said.text == again.text


async def test_temperature_zero_takes_the_likeliest_token_each_time(llama):
    said = await act(llama, temperature=0.0, seed=1)
    assert said.text == (await act(llama, temperature=0.0, seed=2)).text
    tokens = said.completion_ids.tolist()
    prompt = said.prompt_ids.tolist()
    for position in (0, 5):
        reply = await llama._client.post(
            f"{llama._base}/completion",
            {"prompt": prompt + tokens[:position], "n_predict": 1, "n_probs": 1},
            lambda reply: reply["completion_probabilities"][0]["top_logprobs"][0]["id"],
        )
        assert reply == tokens[position]


# -------------------------------------------------------------------- tokens


async def test_the_prompt_is_what_the_models_own_template_makes_of_the_messages(llama):
    said = await act(llama, max_tokens=1)
    text = await llama._client.post(
        f"{llama._base}/detokenize",
        {"tokens": said.prompt_ids.tolist()},
        lambda reply: reply["content"],
    )
    assert text == (
        "<|im_start|>system\nYou play a text adventure.<|im_end|>\n"
        "<|im_start|>user\nYou are in a kitchen. A door leads north.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert said.prompt_ids.dtype == said.completion_ids.dtype == np.int32
    assert said.usage["prompt_tokens"] == len(said.prompt_ids)


async def test_each_turn_extends_exactly_what_was_seen_and_sampled(llama):
    messages, turns = [*EMOJI], []
    for turn in range(5):
        said = await act(llama, messages, temperature=1.3, seed=turn)
        turns.append(said)
        messages.append({"role": "assistant", "content": said.text})
        messages.append({"role": "user", "content": f"Turn {turn}\n\n1. item  22"})
    branches, _ = token_spans(turns)
    assert len(branches) == 1
    assert turns[-1].usage["cached_tokens"] > len(turns[-2].prompt_ids) - 8


async def test_a_history_that_changed_is_read_anew(llama):
    said = await act(llama, seed=1)
    changed = [*KITCHEN, {"role": "assistant", "content": "something else"}, KITCHEN[1]]
    after = await act(llama, changed, seed=1)
    fresh = await act(llama, changed, seed=1, session="other")
    assert after.prompt_ids.tolist() == fresh.prompt_ids.tolist()
    assert len(token_spans([said, after])[0]) == 2


async def test_log_probabilities_are_of_the_untempered_model(llama):
    said = await act(llama, temperature=0.3, seed=1)
    prompt, tokens = said.prompt_ids.tolist(), said.completion_ids.tolist()
    assert said.logprob_kind == "raw"
    for position in (0, 3, 7):
        true = await llama._logprob(prompt + tokens[:position], tokens[position])
        assert said.logprobs[position] == pytest.approx(true, abs=1e-2)


async def test_tokens_within_a_character_have_their_log_probabilities_too(llama):
    llama.constrain = True
    said = await act(llama, admissible=["go 🐉🐉"], max_tokens=24)
    prompt, tokens = said.prompt_ids.tolist(), said.completion_ids.tolist()
    assert said.text == "go 🐉🐉"
    assert len(tokens) == len(said.logprobs) == said.usage["completion_tokens"]
    true = [await llama._logprob(prompt + tokens[:at], tokens[at]) for at in range(len(tokens))]
    np.testing.assert_allclose(said.logprobs, true, atol=1e-2)


async def test_a_stop_word_is_cut_from_the_text_and_its_tokens_are_kept(llama):
    whole = await act(llama, temperature=0.0)
    word = whole.text.split()[3]
    said = await act(llama, temperature=0.0, stop=(word,))
    assert said.text == whole.text[: whole.text.index(word)]
    assert said.finish_reason == "stop"
    assert len(said.completion_ids) == len(said.logprobs)
    assert np.isfinite(said.logprobs).all()


# -------------------------------------------------------------------- the context


async def test_the_context_is_each_sessions_own(model_path):
    policy = LlamaCppPolicy(model_path, context=256, parallel=3)
    try:
        await act(policy, max_tokens=1)
        assert policy.context == 256
    finally:
        await policy.aclose()


async def test_an_answer_is_cut_where_the_context_ends(model_path):
    policy = LlamaCppPolicy(model_path, context=256, parallel=1)
    try:
        messages = [{"role": "user", "content": "word " * 190}]
        said = await act(policy, messages, max_tokens=500, temperature=3.0, seed=1)
        assert said.finish_reason == "length"
        assert said.sampling["max_tokens"] == 256 - len(said.prompt_ids)
        assert len(said.prompt_ids) + len(said.completion_ids) <= 256
        with pytest.raises(ContextOverflow, match="the context 256: give a larger context"):
            await act(policy, [{"role": "user", "content": "word " * 230}])
    finally:
        await policy.aclose()


# -------------------------------------------------------------------- constrained


async def test_a_constrained_model_says_only_what_is_admissible_whatever_its_characters(model_path):
    policy = LlamaCppPolicy(model_path, context=1024, constrain=True)
    try:
        assert policy.wants == "admissible"
        for action in ODD:  # each alone, so that each is written
            said = await act(policy, admissible=[action], max_tokens=40)
            assert said.text == action.replace("\ud800", "\ufffd")
            assert said.finish_reason == "stop"
        replies = await asyncio.gather(
            *(
                act(policy, admissible=ODD, temperature=4.0, seed=seed, max_tokens=40)
                for seed in range(8)
            )
        )
        texts = {said.text.replace("\ufffd", "\ud800") for said in replies}
        assert texts <= set(ODD)
        assert len(texts) > 2
        assert all(type(said.text) is Action for said in replies if "\ufffd" not in said.text)
        assert (await act(policy, admissible=None, seed=1)).text not in ODD
    finally:
        await policy.aclose()


async def test_log_probabilities_under_a_grammar_are_still_the_models_own(model_path):
    policy = LlamaCppPolicy(model_path, context=1024, constrain=True)
    try:
        said = await act(policy, admissible=["xylophone quartz"])
        assert said.text == "xylophone quartz"
        assert said.logprobs.sum() < -15  # forced: what it would never say by itself
    finally:
        await policy.aclose()


def test_a_grammar_shares_the_first_words_of_its_alternatives():
    assert one_of(["take red apple", "take red box", "look", "take", "take red apple"]) == (
        'root ::= "take " ("red " ("apple" | "box")) | "look" | "take"'
    )
    assert one_of([]) == one_of([""]) == 'root ::= ""'
    assert one_of(["word " * 5000 + letter for letter in "ab"]).count("(") == 16


# -------------------------------------------------------------------- faults


async def test_a_file_that_is_no_model_is_refused(tmp_path, model_path, capfd):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(model_path.read_bytes()[:100_000])
    for path in (broken, tmp_path / "empty.gguf"):
        path.touch()
        with pytest.raises(ConfigError, match="is it a GGUF model"):
            await act(LlamaCppPolicy(path))
    with pytest.raises(ConfigError, match="is not a file"):
        LlamaCppPolicy(tmp_path / "none.gguf")


def test_without_the_engine_installed_it_says_how_to_install_it(monkeypatch, model_path):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(RegistryError, match=r"pip install 'agentgym-env\[llamacpp\]'"):
        LlamaCppPolicy(model_path)


@pytest.mark.parametrize("options", [{"context": 1}, {"parallel": 0}])
def test_sizes_that_cannot_be_are_refused(model_path, options):
    with pytest.raises(ConfigError, match="give at least"):
        LlamaCppPolicy(model_path, **options)


async def test_images_are_refused_by_a_model_of_text(llama):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(ConfigError, match="image input is not supported"):
        await act(llama, [{"role": "user", "content": [{"type": "text", "text": "?"}, image]}])


async def test_text_that_is_not_valid_unicode_does_not_stop_it(llama):
    assert (await act(llama, [{"role": "user", "content": "a\ud800\x00b"}])).finish_reason


# -------------------------------------------------------------------- life and death


@pytest.mark.timeout(40)
async def test_giving_up_frees_the_engine_at_once(model_path):
    policy = LlamaCppPolicy(model_path, context=8192, parallel=1)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):  # the whole answer would take a minute
                await act(policy, max_tokens=7500, temperature=3.0, seed=1)
        assert (await act(policy, max_tokens=4)).usage["completion_tokens"] <= 4
    finally:
        await policy.aclose()


async def test_the_loop_goes_on_while_the_model_writes(llama):
    await act(llama, max_tokens=1)
    ticks = 0
    writing = asyncio.create_task(act(llama, max_tokens=64, temperature=2.0, seed=1))
    while not writing.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert ticks > 20


async def test_it_prints_nothing_leaves_no_threads_and_can_be_opened_again(model_path, capfd):
    policy = LlamaCppPolicy(model_path, context=1024)
    await act(policy, max_tokens=4)
    await policy.aclose()
    after_first = threads()  # llama.cpp keeps one thread for its log
    for _ in range(2):
        said = await act(policy, max_tokens=4, seed=1)
        await policy.aclose()
        await policy.aclose()
    assert said.text
    assert threads() == after_first
    assert capfd.readouterr() == ("", "")


def test_it_serves_one_event_loop_after_another(model_path):
    policy = LlamaCppPolicy(model_path, context=512)

    async def several():
        try:
            return await asyncio.gather(*(act(policy, max_tokens=2) for _ in range(3)))
        finally:
            await policy.aclose()

    for _ in range(2):
        assert len(asyncio.run(several())) == 3


async def test_closing_ends_what_is_under_way(model_path):
    policy = LlamaCppPolicy(model_path, context=4096, parallel=1)
    writing = asyncio.create_task(act(policy, max_tokens=4000, temperature=3.0, seed=1))
    while not policy._base:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    await policy.aclose()
    with pytest.raises(PolicyError):
        await writing


def test_a_program_that_forgets_to_close_it_still_ends(model_path):
    program = f"""
import asyncio
from agentgym.policy.llamacpp import LlamaCppPolicy
from agentgym.types import Sampling
policy = LlamaCppPolicy({str(model_path)!r}, context=512)
said = asyncio.run(policy.act([], sampling=Sampling(max_tokens=2), session=""))
print(len(said.completion_ids))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "2\n"), ended.stderr


async def test_what_a_manifest_records_is_json_and_names_the_model(llama, model_path):
    recorded = json.loads(json.dumps(llama.provenance))
    assert recorded["model"] == model_path.name
    assert recorded["bytes"] == model_path.stat().st_size
