"""Models whose blocks are others than those of the engine are refused by name, and never run wrongly."""

import pytest
import tiny_models
import torch
import transformers
from tiny_models import tiny_folder

import th_utils as th

SIZES = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32,
         "intermediate_size": 64, "max_position_embeddings": 512}  # fmt: skip
GPT2 = {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 512}
RIGHT = {
    "LlamaConfig": SIZES | {"attention_bias": True},
    "GPTNeoXConfig": {name: n for name, n in SIZES.items() if "value" not in name} | {"use_parallel_residual": False},
    "GemmaConfig": SIZES | {"head_dim": 8},
}
REFUSED = {
    "Qwen3Config": (SIZES | {"head_dim": 8}, "cannot be run: its blocks are not"),
    "Gemma2Config": (SIZES | {"head_dim": 8}, "cannot be run: its blocks are not"),
    "Olmo2Config": (SIZES, "cannot be run: its blocks are not"),
    "GraniteConfig": (SIZES | {"residual_multiplier": 0.5}, "cannot be run: its blocks are not"),
    "MistralConfig": (SIZES | {"sliding_window": 4}, "this model's context is 4"),
    "GPT2Config": (GPT2 | {"scale_attn_by_inverse_layer_idx": True}, "cannot be run: its blocks are not"),
}


@pytest.fixture
def loaded(tmp_path):
    """A function that makes a model by its configuration, with the tokenizer of the tiny ones, and loads it."""

    def load(config: str, **options):
        tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2"))
        made = getattr(transformers, config)(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=0, **options)
        model = transformers.AutoModelForCausalLM.from_config(made)
        tiny_models._draw_weights(model, torch.Generator().manual_seed(0))
        for part in (model, tokenizer):
            part.save_pretrained(tmp_path)
        return th.load_model(tmp_path)

    return load


@pytest.mark.parametrize("config", RIGHT)
def test_blocks_of_the_known_kinds_run_as_the_model_itself(loaded, config):
    model = loaded(config, **RIGHT[config])
    prompts = th.tasks.ioi.generate(model, 4)
    own = model(prompts.tokens)[range(4), prompts.end]
    assert (th.logits(model, th.run(model, prompts)) - own).abs().max() < 1e-3


@pytest.mark.parametrize("config", REFUSED)
def test_other_blocks_are_refused(loaded, refuses, config):
    options, message = REFUSED[config]
    model = loaded(config, **options)
    with refuses(message):
        th.run(model, th.tasks.ioi.generate(model, 4))


def test_a_model_that_transformer_lens_gets_wrong_is_not_loaded(loaded, refuses):
    with refuses("other log-probabilities for .*fold=False"):
        loaded("GPT2Config", **GPT2, scale_attn_weights=False)
