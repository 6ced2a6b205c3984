"""Small tokenizers of every kind that decoders come with, trained in a second on the words of the tasks.

They differ in how a space reaches a token, in what they put around a text, and in which special tokens they have.
"""

from __future__ import annotations

import functools
import json

from tiny_models import vocabulary_words
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)  # fmt: skip
from transformers import PreTrainedTokenizerFast

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = [f"<0x{i:02X}>" for i in range(256)]


def corpus() -> list[str]:
    """Every word after a space, and punctuation as the tasks use it."""
    return [f"A {word} {word}, {word}. {word}? {word}:\n" for word in vocabulary_words()]


def bytes_bpe(special: list[str], split: bool = False, normalizer=None) -> Tokenizer:
    """Byte-level pairs; with `split` words are cut by a regular expression of their own."""
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split)
    own = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([own, level]) if split else level
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder, tokenizer.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=9000, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


@functools.cache
def _pieces() -> tuple[list[str], list[tuple[str, str]]]:
    """The tokens and merges of sentence pieces: characters, words with the space before them as "▁"."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=9000, show_progress=False))
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    ordered = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
    return [*ordered, "▁▁"], [*map(tuple, merges), ("▁", "▁")]


def pieces_bpe(special: list[str], prefix: bool) -> Tokenizer:
    """Pairs of sentence pieces that normalise spaces to "▁"; with `prefix` one more goes before every text."""
    pieces, merges = _pieces()
    vocabulary = {token: i for i, token in enumerate([*special, *BYTES, *pieces])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    space = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), space]) if prefix else space
    strip = [decoders.Strip(" ", 1, 0)] * prefix
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    tokenizer.add_special_tokens(special)
    return tokenizer


def pieces_unigram(special: list[str], scheme: str) -> Tokenizer:
    """Sentence pieces by their probability; `scheme` says before which words "▁" goes without a space."""
    pieces, _ = _pieces()
    scores = [(token, -float(len(token) == 1) * 10 - 1) for token in [*special, *BYTES, *pieces]]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=special.index("<unk>"), byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
    tokenizer.add_special_tokens(special)
    return tokenizer


def around(tokenizer: Tokenizer, template: str) -> Tokenizer:
    """Let the tokenizer put special tokens around every text: "<s> $A </s>"."""
    special = [(token, tokenizer.token_to_id(token)) for token in template.split() if token != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(template, special_tokens=special)
    return tokenizer


END, START, PIECES = "<|endoftext|>", "<|begin_of_text|>", ["<unk>", "<s>", "</s>"]
# kind -> the tokenizer, and its named special tokens
KINDS = {
    "bytes": lambda: (bytes_bpe([END]), {"bos_token": END, "eos_token": END, "unk_token": END}),
    "bytes, no start": lambda: (
        bytes_bpe([END, "<|im_end|>"], True, normalizers.NFC()), {"eos_token": "<|im_end|>", "pad_token": END},
    ),
    "bytes, start": lambda: (
        around(bytes_bpe([START, END], True), f"{START} $A"), {"bos_token": START, "eos_token": END},
    ),
    "bytes, two starts": lambda: (
        around(bytes_bpe([END, "[gMASK]", "<sop>"], True), "[gMASK] <sop> $A"),
        {"eos_token": END, "pad_token": END, "padding_side": "left"},
    ),
    "bytes, end only": lambda: (around(bytes_bpe([END, "<s>"]), f"$A {END}"), {"bos_token": "<s>", "eos_token": END}),
    "pieces, prefix": lambda: (
        around(pieces_bpe(PIECES, True), "<s> $A"), {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    ),
    "pieces, no prefix": lambda: (
        around(pieces_bpe(["<pad>", "<eos>", "<bos>", "<unk>"], False), "<bos> $A"),
        {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>",
         "padding_side": "left"},
    ),
    **{
        f"unigram, {scheme}": lambda scheme=scheme: (
            around(pieces_unigram(PIECES, scheme), "<s> $A </s>"),
            {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<s>"},
        )
        for scheme in ("always", "first", "never")
    },
}  # fmt: skip


@functools.cache
def small_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """One tokenizer of `KINDS`, as transformers wraps it."""
    tokenizer, named = KINDS[kind]()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
