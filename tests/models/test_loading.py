"""What `load_model` promises, on all three architectures, and how it fails."""

import copy
import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants as hub_constants
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformer_lens.model_bridge import TransformerBridge

from th_utils.models import hub, tiny
from th_utils.models import loading as models
from th_utils.models.hub import ModelNotFound
from th_utils.models.loading import load_model
from th_utils.models.registry import DEFAULT, MODELS, find_card

TINY = ("tiny-gpt2", "tiny-neox", "tiny-llama")
HUB = {"gpt2": "tiny-gpt2", "pythia-160m": "tiny-neox"}
TEXT = "Then, Ana and Bob went to the store. Bob gave a ring to"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("TH_MODEL", raising=False)


@pytest.fixture(scope="module")
def loaded():
    return {name: load_model(name) for name in TINY}


@pytest.fixture(scope="module")
def raw():
    return {name: load_model(name, fold=False) for name in TINY}


def save_checkpoint(tiny_name: str, folder: Path) -> Path:
    model, tokenizer, _ = tiny.build(MODELS[tiny_name], seed=7)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    parent = tmp_path_factory.mktemp("modèles locaux ☕")
    return {name: save_checkpoint(name, parent / f"my {name}") for name in TINY}


def logits(model, text=TEXT):
    with torch.no_grad():
        return model(model.to_tokens(text))


def transformers_logits(name, text=TEXT, seed=0):
    model, _, _ = tiny.build(MODELS[name], seed)
    tokens = load_model(name).to_tokens(text)
    with torch.no_grad():
        return model(tokens).logits


@pytest.mark.parametrize("name", TINY)
def test_raw_logits_are_those_of_transformers(name, raw):
    torch.testing.assert_close(logits(raw[name]), transformers_logits(name), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_folding_keeps_probabilities_and_moves_weights(name, raw, loaded):
    before, after = logits(raw[name]), logits(loaded[name])
    torch.testing.assert_close(after.log_softmax(-1), before.log_softmax(-1), rtol=0, atol=2e-5)
    assert not torch.allclose(loaded[name].W_V, raw[name].W_V)
    assert loaded[name].W_U.mean(-1).abs().max() < 1e-6  # centred over the vocabulary


@pytest.mark.parametrize("name", TINY)
def test_result_is_that_of_transformer_lens_own_processing(name, loaded):
    model, tokenizer, folder = tiny.build(MODELS[name])
    theirs = TransformerBridge.boot_transformers(str(folder), hf_model=model, tokenizer=tokenizer, device="cpu")
    theirs.enable_compatibility_mode(disable_warnings=True)
    assert_same_bridge(loaded[name], theirs)


def test_llama_with_biases_is_left_to_transformer_lens(tmp_path):
    """Value biases would have to move into the output bias: not the short way's business."""
    from transformers import AutoConfig, AutoModelForCausalLM

    _, tokenizer, folder = tiny.build(MODELS["tiny-llama"])
    config = AutoConfig.from_pretrained(folder, attention_bias=True)
    model = AutoModelForCausalLM.from_config(config)
    tiny._draw_weights(model, torch.Generator().manual_seed(0))
    for saved in (model, tokenizer):
        saved.save_pretrained(tmp_path)
    before, after = load_model(tmp_path, fold=False), load_model(tmp_path)
    torch.testing.assert_close(logits(after).log_softmax(-1), logits(before).log_softmax(-1), rtol=0, atol=2e-5)
    assert before.b_V.abs().max() > 0.1 and after.b_V.abs().max() == 0


def assert_same_bridge(ours, theirs):
    left, right = ours.state_dict(), theirs.state_dict()
    assert left.keys() == right.keys()
    assert [key for key in left if not torch.equal(left[key], right[key])] == []
    assert set(ours.hook_dict) == set(theirs.hook_dict)
    differing = {key for key, value in vars(ours.cfg).items() if value != getattr(theirs.cfg, key)}
    assert differing <= {"model_name"}
    with torch.no_grad():
        (ours_out, ours_cache), (theirs_out, theirs_cache) = (m.run_with_cache(TEXT) for m in (ours, theirs))
    assert torch.equal(ours_out, theirs_out)
    assert set(ours_cache) == set(theirs_cache)
    assert [key for key in ours_cache if not torch.equal(ours_cache[key], theirs_cache[key])] == []


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("fold", [True, False])
def test_ready_to_hook(name, fold, loaded, raw):
    model = (loaded if fold else raw)[name]
    card = MODELS[name]
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert (model.cfg.n_layers, model.cfg.n_heads, model.cfg.d_model, model.cfg.d_head) == (4, 4, 32, 8)
    assert (model.cfg.n_key_value_heads or model.cfg.n_heads) == card.n_kv_heads
    _, cache = model.run_with_cache(TEXT)
    length = model.to_tokens(TEXT).shape[1]
    for layer in range(4):
        assert cache[f"blocks.{layer}.hook_resid_pre"].shape == (1, length, 32)
        assert cache[f"blocks.{layer}.attn.hook_z"].shape == (1, length, 4, 8)
        assert cache[f"blocks.{layer}.attn.hook_pattern"].shape == (1, 4, length, length)
        assert cache[f"blocks.{layer}.hook_mlp_out"].shape == (1, length, 32)

    def silence(z, hook):
        return torch.zeros_like(z)

    with torch.no_grad():
        changed = model.run_with_hooks(TEXT, fwd_hooks=[("blocks.1.attn.hook_z", silence)])
    assert not torch.allclose(changed, logits(model), atol=1e-3)


@pytest.mark.parametrize("name", TINY)
def test_attention_is_neither_flat_nor_stuck(name, loaded):
    _, cache = loaded[name].run_with_cache(TEXT)
    last = torch.stack([cache[f"blocks.{layer}.attn.hook_pattern"][0, :, -1] for layer in range(4)])
    entropy = -(last * last.clamp_min(1e-9).log()).sum(-1) / np.log(last.shape[-1])
    assert 0.3 < entropy.mean() < 0.9
    assert last.flatten(0, 1).std(0).max() > 0.1  # heads differ


@pytest.mark.parametrize("name", TINY)
def test_weights_follow_the_seed_and_nothing_else(name):
    def flat(seed):
        return torch.cat([p.flatten() for p in tiny.build(MODELS[name], seed)[0].parameters()])

    torch.manual_seed(1)
    first = flat(0)
    state = torch.random.get_rng_state()
    again = flat(0)
    assert torch.equal(first, again) and not torch.equal(first, flat(1))
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's random numbers are not used up
    assert first.numel() < 300_000


def test_tiny_models_load_in_under_a_second():
    start = time.process_time()  # not the clock: the machine may be busy with other tests
    load_model("tiny-neox")
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name", TINY)
def test_words_are_single_tokens(name, loaded):
    model = loaded[name]
    for word in (" Ana", "Ana", " Mary", " store", " ring", " basket", " the", " blue", " 42", " B"):
        assert len(model.tokenizer.encode(word, add_special_tokens=False)) == 1, word
    assert model.to_string(model.to_single_token(" Ana")) == " Ana"
    assert model.tokenizer.bos_token_id != model.tokenizer.pad_token_id
    assert (model.to_tokens(" Ana", prepend_bos=True) == torch.tensor([[0, model.to_single_token(" Ana")]])).all()
    assert model.to_str_tokens("Then, Ana went", prepend_bos=False) == ["Then", ",", " Ana", " went"]


def test_words_of_the_tasks_are_single_tokens(loaded):
    words = {w for text in tiny._task_strings() for w in tiny.re.findall(r"[A-Za-z]+", text)}
    assert len(words) > 100
    tokenizer = loaded["tiny-gpt2"].tokenizer
    assert [w for w in words if len(tokenizer.encode(f" {w}", add_special_tokens=False)) != 1] == []


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back(loaded, text):
    tokenizer = loaded["tiny-llama"].tokenizer
    special = {tiny.BOS, tiny.PAD}
    if not any(token in text for token in special):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


@pytest.mark.parametrize("name", TINY)
def test_local_directory(name, checkpoints, monkeypatch):
    folder = checkpoints[name]
    expected = transformers_logits(name, seed=7).log_softmax(-1)
    for given_as in (folder, str(folder)):
        model = load_model(given_as)
        torch.testing.assert_close(logits(model).log_softmax(-1), expected, rtol=0, atol=2e-5)
    assert models.model_name(model) == f"my {name}" and not models.is_default(model)
    monkeypatch.setenv("TH_MODEL", str(folder))
    card = find_card()
    assert (card.kind, card.n_layers, card.n_heads, card.n_kv_heads, card.d_head) == (
        "directory", 4, 4, MODELS[name].n_kv_heads, 8,
    )  # fmt: skip
    torch.testing.assert_close(logits(load_model(fold=False)), logits(load_model(folder, fold=False)))


@pytest.mark.parametrize("name", TINY)
def test_editing_weights_never_reaches_the_file(name, checkpoints):
    file = checkpoints[name] / "model.safetensors"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    for fold in (True, False):
        model = load_model(checkpoints[name], fold=fold)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_copies_keep_their_name(loaded):
    assert models.model_name(copy.deepcopy(loaded["tiny-gpt2"])) == "tiny-gpt2"


def fill_hub_cache(cache: Path, repository: str, checkpoint: Path) -> Path:
    """A hub cache as the hub library lays it out."""
    place = cache / f"models--{repository.replace('/', '--')}"
    commit = "a" * 40
    snapshot = place / "snapshots" / commit
    shutil.copytree(checkpoint, snapshot)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    return snapshot


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty hub cache, and a hub that refuses every connection."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(hub_constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("repository", ["gpt2", "openai-community/gpt2", "EleutherAI/pythia-160m"])
def test_hub_cache_is_enough(repository, hub_cache, checkpoints):
    name = next(n for n, card in MODELS.items() if repository in (card.source, *card.aliases))
    fill_hub_cache(hub_cache, repository, checkpoints[HUB[name]])
    model = load_model(name)
    assert models.model_name(model) == name
    expected = transformers_logits(HUB[name], seed=7).log_softmax(-1)
    torch.testing.assert_close(logits(model).log_softmax(-1), expected, rtol=0, atol=2e-5)


def test_checkpoint_keys_as_the_hub_has_them_for_gpt2(tmp_path):
    """The hub's gpt2 file has no "transformer." prefix and carries causal masks."""
    folder = save_checkpoint("tiny-gpt2", tmp_path / "gpt2")
    weights = {k.removeprefix("transformer."): v for k, v in load_file(folder / "model.safetensors").items()}
    masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8) for layer in range(4)}
    save_file({**weights, **masks}, folder / "model.safetensors", metadata={"format": "pt"})
    torch.testing.assert_close(logits(load_model(folder, fold=False)), transformers_logits("tiny-gpt2", seed=7))


@pytest.mark.parametrize("name", HUB)
def test_no_hub_and_no_cache_says_the_three_ways_out(name, hub_cache):
    start = time.perf_counter()
    with pytest.raises(ModelNotFound) as caught:
        load_model(name)
    assert time.perf_counter() - start < 20  # not the minutes that retries would take
    message, source = str(caught.value), MODELS[name].source
    for part in ("connect and retry", f"hf download {source}", "HF_HOME", "TH_MODEL"):
        assert part in message
    assert "\n" not in message


def test_a_hub_that_never_answers_is_given_up(hub_cache, monkeypatch):
    monkeypatch.setattr(hub, "HUB_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(hub_constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.perf_counter()
        with pytest.raises(ModelNotFound, match="connect and retry"):
            load_model("gpt2")
    assert time.perf_counter() - start < 20  # not the minutes that retries would take


@pytest.mark.parametrize(
    ("lost", "reason"), [("model.safetensors", "no .*safetensors"), ("tokenizer.json", "no tokenizer")]
)
def test_partial_hub_cache_says_what_is_missing(lost, reason, hub_cache, checkpoints):
    (fill_hub_cache(hub_cache, "gpt2", checkpoints["tiny-gpt2"]) / lost).unlink()
    with pytest.raises(ModelNotFound, match=reason) as caught:
        load_model("gpt2")
    assert "connect and retry" in str(caught.value)


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was read')",)


def test_pickled_weights_are_never_read(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["tiny-gpt2"], tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({"wte.weight": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelNotFound, match="unpickling can run any code.*save_pretrained"):
        load_model(folder)


def test_code_of_a_checkpoint_is_never_run(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["tiny-gpt2"], tmp_path / "remote")
    (folder / "evil.py").write_text("raise SystemExit('remote code was run')")
    config = (folder / "config.json").read_text().replace('"gpt2"', '"unheard-of"', 1)
    auto = '{"auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"},'
    (folder / "config.json").write_text(
        config.replace("{", auto, 1).replace('"model_type": "gpt2"', '"model_type": "new"')
    )
    with pytest.raises(ModelNotFound, match="could not be read"):
        load_model(folder)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "wrong shape", "missing weight", "bad tokenizer"])
def test_damaged_checkpoint(damage, checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["tiny-llama"], tmp_path / "damaged")
    file = folder / "model.safetensors"
    weights = load_file(file)
    key = "model.layers.2.mlp.up_proj.weight"
    match damage:
        case "truncated":
            file.write_bytes(file.read_bytes()[:-1000])
        case "garbage":
            file.write_bytes(b"\xff" * 1000)
        case "empty":
            file.write_bytes(b"")
        case "wrong shape":
            save_file({**weights, key: weights[key][:-1].clone()}, file, metadata={"format": "pt"})
        case "missing weight":
            del weights[key]
            save_file(weights, file, metadata={"format": "pt"})
        case "bad tokenizer":
            (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelNotFound, match="could not be read|not complete") as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model_type": "resnet"}'])
def test_config_that_is_not_one(content, checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["tiny-llama"], tmp_path / "odd")
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelNotFound, match="does not describe a language model"):
        load_model(folder)


def test_directory_that_holds_no_model(tmp_path):
    with pytest.raises(ModelNotFound, match="no config.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["gpt-2", "", "/nowhere/at/all", Path("gpt2-that-is-not-there")])
def test_unknown_name(name, monkeypatch):
    if name == "":
        monkeypatch.setenv("TH_MODEL", name := "GPT2")
    with pytest.raises(ValueError, match="smollm2-135m, gpt2, pythia-160m, tiny-gpt2.*or a local directory") as caught:
        load_model(name)
    assert str(name) in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta2"])
def test_unusable_device(device):
    with pytest.raises(ValueError, match=device):
        load_model("tiny-gpt2", device=device)


def test_device_is_the_cpu_unless_asked(loaded):
    assert {p.device.type for p in loaded["tiny-gpt2"].parameters()} == {"cpu"}
    assert load_model("tiny-gpt2", torch.device("cpu")).cfg.device == "cpu"


def test_environment_chooses_the_model(monkeypatch):
    assert find_card().name == DEFAULT
    monkeypatch.setenv("TH_MODEL", "tiny-neox")
    assert models.model_name(load_model()) == "tiny-neox"
    assert models.model_name(load_model("tiny-gpt2")) == "tiny-gpt2"


@pytest.fixture
def plain_setup():
    """`setup` as a first cell calls it; afterwards the model and the gradients of this process are as before."""
    yield models.setup
    models.pick_card()
    torch.set_grad_enabled(True)


def test_setup_picks_the_model_and_picks_again_in_the_same_kernel(plain_setup, checkpoints, capsys):
    for model, name in (("tiny-neox", "tiny-neox"), (checkpoints["tiny-gpt2"], "my tiny-gpt2"), ("", DEFAULT)):
        plain_setup(model)
        assert find_card().name == name and f"model {name} ·" in capsys.readouterr().out
    plain_setup("tiny-llama")
    assert models.model_name(load_model()) == "tiny-llama"
    assert models.model_name(load_model("tiny-gpt2")) == "tiny-gpt2"  # a name in the call still wins
    plain_setup()
    assert find_card().name == DEFAULT


def test_the_environment_wins_over_the_picker_and_says_so(plain_setup, monkeypatch, capsys):
    monkeypatch.setenv("TH_MODEL", "tiny-neox")
    plain_setup("tiny-llama")
    assert find_card().name == "tiny-neox"
    assert "model tiny-neox (from TH_MODEL, not tiny-llama)" in capsys.readouterr().out
    monkeypatch.delenv("TH_MODEL")
    assert find_card().name == "tiny-llama"


@pytest.mark.parametrize("outer", [None, "tiny-neox"])
def test_setup_refuses_a_wrong_pick_at_once_and_keeps_the_last(outer, plain_setup, monkeypatch):
    plain_setup("tiny-llama")
    if outer:
        monkeypatch.setenv("TH_MODEL", outer)
    with pytest.raises(ValueError, match="unknown model 'gpt-2'. Known names: smollm2-135m, gpt2"):
        plain_setup("gpt-2")
    assert find_card().name == (outer or "tiny-llama")


def test_setup_seeds_and_says_what_is_in_use(monkeypatch, capsys):
    monkeypatch.setenv("TH_MODEL", "tiny-gpt2")
    draws = []
    try:
        for _ in range(2):
            models.setup(seed=3)
            assert not torch.is_grad_enabled()
            draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
        models.setup(seed=4)
        assert draws[0] == draws[1] != (random.random(), np.random.rand(), torch.rand(1).item())
    finally:
        torch.set_grad_enabled(True)
    line = capsys.readouterr().out.splitlines()[0]
    for part in (
        "th-utils",
        f"torch {torch.__version__}",
        "transformer-lens 4.",
        "model tiny-gpt2",
        "threads",
        "seed 3",
    ):
        assert part in line


@pytest.mark.parametrize("found", ["4.2.9", "5.0.0", "3.5.1", models.MISSING])
def test_unsupported_transformer_lens(found, monkeypatch):
    monkeypatch.setattr(models, "_version", lambda package: found)
    for call in (models.setup, lambda: load_model("tiny-gpt2")):
        with pytest.raises(RuntimeError, match=f"transformer-lens>=4.3,<5.*{found}.*pip install"):
            call()


@pytest.mark.parametrize("found", ["4.3.0", "4.10.2", "4.4.0rc1", "4.3.1+local"])
def test_supported_transformer_lens(found, monkeypatch):
    monkeypatch.setattr(models, "_version", lambda package: found)
    models.check_versions()


def test_import_is_light_and_telemetry_off():
    code = ("import sys, os, th_utils.models; print(sorted({'torch', 'transformers', 'transformer_lens', "
            "'huggingface_hub'} & set(sys.modules)), os.environ['HF_HUB_DISABLE_TELEMETRY'])")  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(models.__file__).parents[2])}
    environment.pop("HF_HUB_DISABLE_TELEMETRY", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "[] 1", done.stderr


def test_list_names_every_model(capsys):
    assert models.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(MODELS)
    assert "default" in lines[0]


@pytest.fixture(scope="module")
def default_model():
    try:
        return load_model(DEFAULT)
    except ModelNotFound as error:
        pytest.skip(f"the default model is not here: {error}")


@pytest.mark.slow
def test_default_model(default_model):
    card = MODELS[DEFAULT]
    assert models.is_default(default_model) and models.model_name(default_model) == DEFAULT
    cfg = default_model.cfg
    assert (cfg.n_layers, cfg.n_heads, cfg.n_key_value_heads, cfg.d_model, cfg.d_head) == (
        card.n_layers, card.n_heads, card.n_kv_heads, card.d_model, card.d_head,
    )  # fmt: skip
    answer = logits(default_model, "Then, Ana and Bob went to the store. Bob gave a ring to")[0, -1].argmax()
    assert default_model.to_string(answer) == " Ana"


@pytest.mark.slow
def test_default_model_is_what_transformer_lens_makes_of_it(default_model):
    folder = models.model_folder(MODELS[DEFAULT])
    model, tokenizer = hub.read_folder(folder)
    with torch.no_grad():
        expected = model(default_model.to_tokens(TEXT)).logits.log_softmax(-1)
    torch.testing.assert_close(logits(default_model).log_softmax(-1), expected, rtol=0, atol=2e-4)
    theirs = TransformerBridge.boot_transformers(str(folder), hf_model=model, tokenizer=tokenizer, device="cpu")
    theirs.enable_compatibility_mode(disable_warnings=True)
    theirs.requires_grad_(False)
    assert_same_bridge(default_model, theirs)
