"""The tokenizer of a loaded model is the one of its tokenizer.json, whatever class transformers picks for the model."""

import json
import shutil

import pytest
from small_tokenizers import KINDS, small_tokenizer
from tiny_models import TINY, tiny_folder
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from th_utils.models.hub import _read_tokenizer
from th_utils.models.loading import load_model
from th_utils.tasks.prompts import encode, prefix

TEXT = "Then, Mary  and John's café ☕ cost 12345\n\nto the store."


def folder_with(tmp_path, kind, model_type, **settings):
    """A folder with a tokenizer, and a config that says which model it belongs to."""
    small_tokenizer(kind).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    file = tmp_path / "tokenizer_config.json"
    named = json.loads(file.read_text()) | settings
    file.write_text(json.dumps({key: value for key, value in named.items() if value is not None}))
    return tmp_path


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gpt_neox", "gemma", "qwen2", "qwen3_5", "bert", "xglm"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_file_counts_and_not_the_class(tmp_path, kind, model_type):
    folder = folder_with(tmp_path, kind, model_type, tokenizer_class=None)
    file, read = Tokenizer.from_file(str(folder / "tokenizer.json")), _read_tokenizer(folder)
    assert read.encode(TEXT, add_special_tokens=False) == file.encode(TEXT, add_special_tokens=False).ids
    assert read(TEXT)["input_ids"] == file.encode(TEXT).ids
    assert len(read) == file.get_vocab_size()
    assert read.special_tokens_map == small_tokenizer(kind).special_tokens_map


def test_transformers_alone_would_rebuild_it(tmp_path):
    """What the test above guards against: the day this fails, `_read_tokenizer` can go."""
    picked = AutoTokenizer.from_pretrained(folder_with(tmp_path, "pieces, no prefix", "qwen2"))
    assert picked.encode(TEXT) != small_tokenizer("pieces, no prefix").encode(TEXT)


def test_a_start_that_only_the_class_knows_is_kept(tmp_path):
    """Old files name no special tokens, and the class of their model does."""
    named = {f"{name}_token": None for name in ("bos", "eos", "unk", "pad")}
    read = _read_tokenizer(folder_with(tmp_path, "bytes", "gpt2", tokenizer_class=None, **named))
    assert read.bos_token == "<|endoftext|>" and len(read) == len(small_tokenizer("bytes"))


@pytest.mark.parametrize("kind", ["bytes", "bytes, no start", "bytes, two starts", "pieces, prefix", "unigram, always"])
def test_a_loaded_model_keeps_it(tmp_path, kind):
    """TransformerLens would read it anew, add a start to every text, and call the end the start where there is none."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder(TINY[2]), folder)
    given = small_tokenizer(kind)
    given.save_pretrained(folder)
    loaded = load_model(folder).tokenizer
    assert loaded.bos_token == given.bos_token and loaded.eos_token == given.eos_token
    assert loaded.pad_token == (given.pad_token or given.eos_token)
    assert loaded(TEXT)["input_ids"] == given(TEXT)["input_ids"] and prefix(loaded) == prefix(given)
    assert encode(loaded, [TEXT])[0].tolist() == encode(given, [TEXT])[0].tolist()
    assert loaded.init_kwargs.get("add_bos_token") == given.init_kwargs.get("add_bos_token")
