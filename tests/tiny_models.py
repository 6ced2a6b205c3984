"""Randomly initialised models, one per architecture, and the tokenizer that they share, as model directories.

They say nothing sensible and are not meant to: they let every function and notebook run in seconds,
offline, on three plain shapes of model (LayerNorm with learned positions, parallel blocks with partial
rotary, grouped-query RMSNorm) and on one with norms on queries and keys, norms after attention and MLP,
and windows. Weights are drawn wider than a trainer would, so that attention patterns differ between heads
and norms have something to fold.

`python tests/tiny_models.py FOLDER` writes FOLDER/tiny-gpt2 and the others.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

import th_utils as th
from th_utils import tasks

TINY = ("tiny-gpt2", "tiny-neox", "tiny-llama")  # what unit tests run on
KINDS = (*TINY, "tiny-gemma3")  # what notebooks run on
BOS, PAD = "<|endoftext|>", "<pad>"
N_CTX = 512
TASKS = ("ioi", "laundry_list", "colored_objects", "facts")
WORDS = """
the a an to of and in on at it is was were be has have had he she they them his her their with for from by
as that this then when after while who what where which how many not no yes or but if so there here all one
two three four five six seven eight nine ten new old big small good long first last next other same more
most very went gave give got had said saw took put made bought found lost sent wanted decided argued working
work fun drink met answer question list color colour thing item items things same as true false capital city
country language river born lives speaks located apple banana orange lemon pear grape peach cherry bread
cheese butter milk water coffee tea juice soup cake rice salt ball bat bone book box bottle bowl bag basket
bell bike boat brush bucket button camera candle card chair clock coat computer cup desk dish doll door drum
fan flag flower fork glass glove guitar hammer hat jacket kettle key kite knife lamp map mirror mug necklace
needle newspaper paper pen pencil phone piano picture pillow plate pot ring rope ruler scarf scissors shirt
shoe sock sofa spoon stamp stone table ticket towel toy umbrella vase wallet watch window bank bar beach
bridge cafe church cinema farm garden hospital hotel house kitchen library market museum office park
restaurant river road school shop station store street theater train bus car tree dog cat bird fish horse
cow red blue green yellow orange purple pink black white brown gray silver gold man woman boy girl king
queen friend teacher doctor day night year time week morning name word number Then When After While The A I
He She They It On In At There What Where Which Question Answer Ana Bob Mary John Tom James Alice Sarah Paul
Mark Anna David Emma Jack Kate Luke Peter Rose Sam Will France Germany Italy Spain England Japan China
Russia Paris Berlin Rome Madrid London Tokyo Beijing Moscow Monday Tuesday Wednesday Thursday Friday
Saturday Sunday
"""


def vocabulary_words() -> list[str]:
    """The words with a token of their own: everyday and task words, letters, numbers to 99."""
    found = set(WORDS.split())
    for text in _task_strings():
        found.update(re.findall(r"[A-Za-z]+", text))
    found.update(map(str, range(100)))
    found.update("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return sorted(found)


def make_tokenizer() -> Tokenizer:
    """A byte-level tokenizer: each word is one token, with or without a space before it; the rest is bytes.

    Pieces are scored so that one long token always beats several short ones (a Unigram model; bytes at
    −10). No text is unknown, and decoding gives back exactly what was encoded.
    """
    scores = {BOS: 0.0, PAD: 0.0}
    scores |= dict.fromkeys(sorted(pre_tokenizers.ByteLevel.alphabet()), -10.0)
    for word in vocabulary_words():
        scores["Ġ" + word] = -1.0
        if len(word) > 1:
            scores[word] = -2.0
    tokenizer = Tokenizer(models.Unigram(list(scores.items()), unk_id=None, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(BOS, special=True), AddedToken(PAD, special=True)])
    return tokenizer


LAYERS, HEADS, WIDTH = 4, 4, 32


def configs(vocabulary: int) -> dict:
    """The architecture of each tiny model, by name."""
    tokens = {"vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    sizes = {
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH, "max_position_embeddings": N_CTX,
    }  # fmt: skip
    return {
        "tiny-gpt2": GPT2Config(n_positions=N_CTX, n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH, **tokens),
        "tiny-neox": GPTNeoXConfig(rotary_pct=0.5, use_parallel_residual=True, **sizes, **tokens),
        "tiny-llama": LlamaConfig(num_key_value_heads=2, tie_word_embeddings=True, **sizes, **tokens),
        "tiny-gemma3": Gemma3TextConfig(
            num_key_value_heads=2,
            head_dim=8,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention"] * 2,
            **sizes,
            **tokens,
        ),  # fmt: skip
    }


def write(parent: Path, seed: int = 0) -> dict[str, Path]:
    """Write every tiny model with weights drawn from `seed` below `parent`; the folders by name."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=make_tokenizer(), bos_token=BOS, eos_token=BOS, pad_token=PAD,
        model_max_length=N_CTX, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    found = {}
    for name, config in configs(len(tokenizer)).items():
        with torch.random.fork_rng(devices=[]):  # the constructor draws too, from the caller's random state
            model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
        _draw_weights(model, torch.Generator().manual_seed(seed))
        found[name] = parent / name
        model.save_pretrained(found[name])
        tokenizer.save_pretrained(found[name])
    return found


@torch.no_grad()
def _draw_weights(model, generator: torch.Generator) -> None:
    """Matrices at 1.5 over the root of the width, which spreads attention scores by about 2; gains near 1."""
    width = model.config.get_text_config().hidden_size
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:  # matrices, and those of all experts in one
            scale = 1.5 if "wpe" not in name else 0.5
            parameter.copy_(noise * scale / width**0.5)
        else:
            parameter.copy_(0.1 * noise + (0.0 if name.endswith("bias") else 1.0))


def _task_strings() -> Iterator[str]:
    """Every string in the upper-case constants of the task modules, and the answers that begin with a capital."""
    for name in TASKS:
        for constant, value in vars(getattr(tasks, name)).items():
            if constant.isupper():
                yield from _strings(value)
    yield from map(str.capitalize, tasks.colored_objects.VALUES["colour"])


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _strings(pair)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            yield from _strings(part)


@functools.cache
def _tiny_folders(seed: int) -> dict[str, Path]:
    folder, process = tempfile.mkdtemp(prefix="th-tiny-"), os.getpid()
    # From Python 3.13 on forked processes call this as well when they end.
    atexit.register(lambda: shutil.rmtree(folder) if os.getpid() == process else None)
    return write(Path(folder), seed)


def tiny_folder(name: str, seed: int = 0) -> Path:
    """The directory of a tiny model, gone when Python exits."""
    return _tiny_folders(seed)[name]


def load(name: str, seed: int = 0, **how):
    """A fresh model: one of the tiny ones, with weights drawn from `seed`, or any other by its name."""
    return th.load_model(tiny_folder(name, seed) if name in KINDS else name, **how)


if __name__ == "__main__":
    for folder in write(Path(sys.argv[1])).values():
        print(folder)
