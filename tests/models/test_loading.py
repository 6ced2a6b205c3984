"""What `load_model` promises, on all three architectures, and how it fails."""

import hashlib
import math
import os
import random
import shutil
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from huggingface_hub import constants as hub_constants
from safetensors.torch import load_file, save_file
from tiny_models import TINY, tiny_folder
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources.transformers import helpers
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3TextConfig

from th_utils.models import hub, loading, pypi
from th_utils.models.hub import ModelNotFound, read_folder
from th_utils.models.loading import load_model, model_name
from th_utils.models.registry import DEFAULT, MODELS, find_card

HUB = {"gpt2": "tiny-gpt2", "pythia-160m": "tiny-neox"}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("TH_MODEL", raising=False)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Directories at awkward paths, with other weights than those of the fixtures `model` and `tiny`."""
    parent = tmp_path_factory.mktemp("modèles locaux ☕")
    return {name: folder.rename(parent / f"my {name}") for name, folder in tiny_models.write(parent, seed=7).items()}


def logits(model, hf_model=None):
    """Of one sentence; of a model read by transformers for the tokens that TransformerLens makes of it."""
    tokens = model.to_tokens("Then, Ana and Bob went to the store. Bob gave a ring to")
    with torch.no_grad():
        return hf_model(tokens).logits if hf_model else model(tokens)


def check(model, folder, atol=2e-5):
    """The probabilities are those that transformers computes from the files."""
    expected = logits(model, read_folder(folder)[0]).log_softmax(-1)
    torch.testing.assert_close(logits(model).log_softmax(-1), expected, rtol=0, atol=atol)


# --- folding ---


@pytest.mark.parametrize("name", TINY)
def test_folding_moves_weights_and_keeps_the_probabilities_of_transformers(name, tiny):
    folder, folded, raw = tiny_folder(name), tiny(name), tiny(name, fold=False)
    torch.testing.assert_close(logits(raw), logits(folded, read_folder(folder)[0]), rtol=0, atol=1e-5)
    check(folded, folder)
    assert not torch.allclose(folded.W_V, raw.W_V)
    assert folded.W_U.mean(-1).abs().max() < 1e-6  # centred over the vocabulary


@pytest.mark.parametrize("name", tiny_models.KINDS)
def test_no_folded_weight_is_left_in_the_mapped_file(name):
    """One would keep the whole file in memory, beside the folded copy."""
    assert all(weight.untyped_storage().resizable() for weight in tiny_models.load(name).parameters())


def assert_same_bridge(ours, folder):
    """Equal in every weight, hook and setting to what TransformerLens' own processing makes of the files."""
    model, tokenizer = read_folder(folder)
    theirs = TransformerBridge.boot_transformers(str(folder), hf_model=model, tokenizer=tokenizer, device="cpu")
    theirs.enable_compatibility_mode(disable_warnings=True)
    left, right = ours.state_dict(), theirs.state_dict()
    assert left.keys() == right.keys()
    assert [key for key in left if not torch.equal(left[key], right[key])] == []
    assert set(ours.hook_dict) == set(theirs.hook_dict)
    differing = {key for key, value in vars(ours.cfg).items() if value != getattr(theirs.cfg, key)}
    assert differing <= {"model_name", "tokenizer_prepends_bos"}  # theirs is a tokenizer that was read anew
    with torch.no_grad():
        (ours_out, ours_cache), (theirs_out, theirs_cache) = (
            m.run_with_cache("Then, Ana and Bob") for m in (ours, theirs)
        )
    assert torch.equal(ours_out, theirs_out) and set(ours_cache) == set(theirs_cache)
    assert [key for key in ours_cache if not torch.equal(ours_cache[key], theirs_cache[key])] == []


@pytest.mark.parametrize("name", TINY)
def test_result_is_that_of_transformer_lens_own_processing(name, tiny):
    assert_same_bridge(tiny(name), tiny_folder(name))


def test_gemma_3_with_its_offset_gains_and_many_norms_is_folded_alike(checkpoints, tmp_path):
    """Longer than the window, so that both kinds of layer and both rotary bases count."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoints["tiny-llama"])
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=1, head_dim=16, sliding_window=4, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    tiny_models._draw_weights(model, torch.Generator().manual_seed(0))
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path)
    folded, raw = load_model(tmp_path), load_model(tmp_path, fold=False)
    assert set(config.layer_types) == {"sliding_attention", "full_attention"}
    assert_same_bridge(folded, tmp_path)
    for one in (folded, raw):
        check(one, tmp_path)
    assert not torch.allclose(folded.W_V, raw.W_V) and folded.W_U.mean(-1).abs().max() < 1e-6


GEMMA = MODELS["gemma3-270m"]
FETCHED = pypi.cache_dir() / f"{GEMMA.name}-{pypi.CONVERSION}-{GEMMA.sha256[:8]}"
if FETCHED.is_dir():  # nobody is asked for a yes here, and nothing is fetched

    @pytest.mark.real
    def test_gemma_is_folded_alike_and_speaks_english():
        model, (hf_model, tokenizer) = load_model("gemma3-270m"), read_folder(FETCHED)
        text = "Then, Anna and Bob went to the store. Bob gave a ring to"
        tokens = tokenizer(text, return_tensors="pt").input_ids
        assert torch.equal(model.to_tokens(text), tokens) and tokens[0, 0] == tokenizer.bos_token_id == 2
        assert tokenizer.decode(tokens[0], skip_special_tokens=True) == text and model.to_single_token(" Anna") == 24944
        with torch.no_grad():
            theirs = hf_model(tokens, labels=tokens)
            torch.testing.assert_close(model(tokens).log_softmax(-1), theirs.logits.log_softmax(-1), rtol=0, atol=2e-4)
        assert model.to_string(theirs.logits[0, -1].argmax()) == " Anna" and theirs.loss < math.log(100)
        kept = ("layer_types", "sliding_window", "rope_parameters", "query_pre_attn_scalar", "head_dim", "vocab_size")
        assert [getattr(hf_model.config, name) for name in kept] == [
            (["sliding_attention"] * 5 + ["full_attention"]) * 3, 512,
            {"full_attention": {"rope_theta": 1e6, "rope_type": "default"},
             "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"}}, 256, 256, 262_144,
        ]  # fmt: skip


@pytest.mark.real
def test_default_model_is_what_transformer_lens_makes_of_it(default_model):
    folder = loading.model_folder(MODELS[DEFAULT])
    check(default_model, folder, atol=2e-4)
    assert_same_bridge(default_model, folder)
    assert loading.is_default(default_model) and model_name(default_model) == DEFAULT
    assert default_model.to_string(logits(default_model)[0, -1].argmax()) == " Ana"


def test_value_biases_of_a_llama_move_into_the_output_bias(checkpoints, tmp_path):
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoints["tiny-llama"], attention_bias=True)
    model = AutoModelForCausalLM.from_config(config)
    tiny_models._draw_weights(model, torch.Generator().manual_seed(0))
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(checkpoints["tiny-llama"]).save_pretrained(tmp_path)
    before, after = load_model(tmp_path, fold=False), load_model(tmp_path)
    check(after, tmp_path)
    assert before.b_V.abs().max() > 0.1 and after.b_V.abs().max() == 0


# --- what comes out ---


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("fold", [True, False])
def test_ready_to_hook(name, fold, tiny):
    model, tokens = tiny(name, fold=fold), torch.arange(7)[None]
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert {(p.dtype, p.device.type) for p in model.parameters()} == {(torch.float32, "cpu")}
    _, cache = model.run_with_cache(tokens)
    assert cache["blocks.3.hook_resid_pre"].shape == cache["blocks.3.hook_mlp_out"].shape == (1, 7, 32)
    assert cache["blocks.3.attn.hook_z"].shape == (1, 7, 4, 8)
    assert cache["blocks.3.attn.hook_pattern"].shape == (1, 4, 7, 7)
    silence = ("blocks.1.attn.hook_z", lambda z, hook: torch.zeros_like(z))
    assert not torch.allclose(model.run_with_hooks(tokens, fwd_hooks=[silence]), model(tokens), atol=1e-3)


@pytest.mark.parametrize("name", TINY)
def test_local_directory(name, checkpoints, monkeypatch):
    folder = checkpoints[name]
    for source in (folder, str(folder)):
        model = load_model(source)
        check(model, folder)
    assert model_name(model) == f"my {name}" and not loading.is_default(model)
    monkeypatch.setenv("TH_MODEL", str(folder))
    check(load_model(), folder)


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


# --- the hub ---


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
    assert model_name(model) == name
    check(model, checkpoints[HUB[name]])


def test_checkpoint_keys_as_the_hub_has_them_for_gpt2(checkpoints, tmp_path):
    """The hub's gpt2 file has no "transformer." prefix and carries causal masks."""
    folder = shutil.copytree(checkpoints["tiny-gpt2"], tmp_path / "gpt2")
    weights = {k.removeprefix("transformer."): v for k, v in load_file(folder / "model.safetensors").items()}
    masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8) for layer in range(4)}
    save_file({**weights, **masks}, folder / "model.safetensors", metadata={"format": "pt"})
    check(load_model(folder), checkpoints["tiny-gpt2"])


@pytest.mark.parametrize("name", HUB)
def test_no_hub_and_no_cache_says_the_three_ways_out(name, hub_cache):
    with pytest.raises(ModelNotFound) as caught:
        load_model(name)
    message, source = str(caught.value), MODELS[name].source
    assert all(part in message for part in ("connect and retry", f"hf download {source}", "HF_HOME", "TH_MODEL"))
    assert "\n" not in message


def test_a_hub_that_never_answers_is_given_up(hub_cache, monkeypatch):
    monkeypatch.setattr(hub, "HUB_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(hub_constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ModelNotFound, match="connect and retry"):
            load_model("gpt2")


@pytest.mark.parametrize("lost", ["model.safetensors", "tokenizer.json"])
def test_an_incomplete_hub_cache_is_not_used(lost, hub_cache, checkpoints):
    (fill_hub_cache(hub_cache, "gpt2", checkpoints["tiny-gpt2"]) / lost).unlink()
    with pytest.raises(ModelNotFound, match="is not complete in the local Hugging Face cache"):
        load_model("gpt2")


# --- directories that hold no usable model ---


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was read')",)


def test_pickled_weights_are_never_read(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["tiny-gpt2"], tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({"wte.weight": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelNotFound, match="can run any code.*save_pretrained"):
        load_model(folder)


def test_code_of_a_checkpoint_is_never_run(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["tiny-gpt2"], tmp_path / "remote")
    (folder / "evil.py").write_text("raise SystemExit('remote code was run')")
    auto = '{"auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"},'
    config = (folder / "config.json").read_text().replace("{", auto, 1)
    (folder / "config.json").write_text(config.replace('"model_type": "gpt2"', '"model_type": "new"'))
    with pytest.raises(ModelNotFound, match="could not be read"):
        load_model(folder)


def save_weights(folder: Path, change) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})


LOST, CUT = "model.layers.2.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize("damage", [
    lambda folder: (folder / "config.json").unlink(),
    lambda folder: (folder / "tokenizer.json").unlink(),
    lambda folder: (folder / "config.json").write_text("{}"),
    lambda folder: (folder / "tokenizer.json").write_text("{}"),
    lambda folder: (folder / "model.safetensors").write_bytes(b""),
    lambda folder: os.truncate(folder / "model.safetensors", 50_000),
    lambda folder: save_weights(folder, lambda weights: weights.pop(LOST)),
    lambda folder: save_weights(folder, lambda weights: weights.update({CUT: weights[CUT][:-1].clone()})),
])  # fmt: skip
def test_damaged_checkpoint(damage, checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["tiny-llama"], tmp_path / "damaged")
    damage(folder)
    with pytest.raises(ModelNotFound, match="could not be read|lacks|has no") as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ["gpt-2", "/nowhere/at/all", Path("gpt2-that-is-not-there")])
def test_unknown_name(name):
    with pytest.raises(ValueError, match=f"unknown model '{name}'.*smollm2-135m, gpt2, .*or a local directory"):
        load_model(name)


# --- the set-up cell ---


@pytest.fixture
def setup():
    """`setup` as a first cell calls it; afterwards the model and the gradients of this process are as before."""
    yield loading.setup
    loading.pick_card()
    torch.set_grad_enabled(True)


def test_setup_picks_the_model_and_picks_again_in_the_same_kernel(setup, checkpoints, capsys):
    for model, name in (("gpt2", "gpt2"), (checkpoints["tiny-gpt2"], "my tiny-gpt2"), ("", DEFAULT)):
        setup(model)
        assert find_card().name == name and f"model {name} ·" in capsys.readouterr().out
    setup(checkpoints["tiny-neox"])
    assert model_name(load_model()) == "my tiny-neox"
    assert model_name(load_model(checkpoints["tiny-gpt2"])) == "my tiny-gpt2"  # a name in the call still wins
    setup()
    assert find_card().name == DEFAULT


def test_the_environment_wins_over_the_picker_and_says_so(setup, monkeypatch, capsys):
    setup("gpt2")
    for outer, name in ((None, "gpt2"), ("pythia-160m", "pythia-160m")):
        if outer:
            monkeypatch.setenv("TH_MODEL", outer)
        with pytest.raises(ValueError, match="unknown model 'gpt-2': expected one of smollm2-135m, gpt2"):
            setup("gpt-2")  # refused at once, and changes nothing
        assert find_card().name == name
    setup("gpt2")
    assert "model pythia-160m (from TH_MODEL, not gpt2)" in capsys.readouterr().out


def test_setup_seeds_and_says_what_is_in_use(setup, capsys):
    draws = []
    for seed in (3, 3, 4):
        setup("gpt2", seed=seed)
        assert not torch.is_grad_enabled()
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1] != draws[2]
    line = capsys.readouterr().out.splitlines()[0]
    for part in ("th-utils", f"torch {version('torch')}", "transformer-lens 4.", "model gpt2", "threads", "seed 3"):
        assert part in line


def test_import_is_light_and_telemetry_off():
    code = ("import sys, os, th_utils, th_utils.models; print(sorted({'torch', 'transformers', 'transformer_lens', "
            "'huggingface_hub'} & set(sys.modules)), os.environ['HF_HUB_DISABLE_TELEMETRY'])")  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(loading.__file__).parents[2])}
    environment.pop("HF_HUB_DISABLE_TELEMETRY", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "[] 1", done.stderr


def test_loading_installs_nothing(monkeypatch, checkpoints):
    """For models that see images TransformerLens would install torchvision, and another PyTorch with it."""
    boot = TransformerBridge.boot_transformers

    def asking(*args, **options):
        assert helpers._ensure_torchvision() is False
        return boot(*args, **options)

    monkeypatch.setattr(subprocess, "check_call", lambda command, **_: pytest.fail(f"ran {command}"))
    monkeypatch.setattr(TransformerBridge, "boot_transformers", asking)
    load_model(checkpoints["tiny-llama"])
