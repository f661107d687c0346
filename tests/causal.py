"""Models of transformers to test with: SmolLM2 itself, and a tiny one with its tokenizer.

Loaded once for the whole run, as converting the GGUF file takes a quarter of a minute.
"""

from functools import cache
from importlib.util import find_spec

from conftest import missing

from agentgym import models
from agentgym.errors import ConfigError
from agentgym.policy.causal_lm import CausalLM


@cache
def smollm2():
    """The real model, in float32."""
    if any(find_spec(name) is None for name in ("torch", "transformers", "gguf")):
        missing("transformers is not installed: scripts/setup.sh transformers")
    try:
        models.find("smollm2")
    except ConfigError as error:
        missing(str(error))
    lm = CausalLM("smollm2", device="cpu")
    lm.load()
    return lm


@cache
def tiny():
    """A random Llama of two layers that takes a millisecond a token."""
    tokenizer = smollm2().tokenizer
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        initializer_range=0.6,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
    return CausalLM.of(model, tokenizer, weight_version="tiny-0", name="tiny")
