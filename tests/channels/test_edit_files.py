"""Files of edits: what was saved comes back bit for bit, or an error says why not."""

import json
import os
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import th_utils as th
from th_utils.channels.edit_files import FORMAT, PARTS


@pytest.fixture(scope="module")
def edits(weights):
    """Every kind of edit: rank 1, with a constant, a whole head, a reader."""
    target = th.channel(weights, [(1, 2, 0), (2, 0, 1)])
    directions = torch.randn(2, weights.d_model, generator=torch.Generator().manual_seed(0))
    return [*th.scale_component(weights, target, 0.0), *th.set_component(weights, target, -1.5),
            th.scale_head(weights, (3, 1), 1.3), th.scale_reading(weights, (2, 1), directions, 2.0)]  # fmt: skip


@pytest.fixture
def file(tmp_path, model, edits):
    return th.save_edits(tmp_path / "mine.safetensors", edits, model, note="best of 12 — é")


def assert_same(one, other):
    assert (one.name, one.head, one.matrix, one.fingerprint) == (
        other.name,
        other.head,
        other.matrix,
        other.fingerprint,
    )
    for part in PARTS:
        a, b = getattr(one, part), getattr(other, part)
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == b.dtype and torch.equal(a, b) and torch.equal(a.signbit(), b.signbit()))


def test_edits_come_back_bit_for_bit_and_independent_of_the_file(model, prompts, file, edits):
    loaded = th.load_edits(file, model)
    with th.edited(model, edits):
        expected, again = model(prompts.tokens), th.load_edits(file, model)  # an edited model is still the same model
    file.write_bytes(bytes(file.stat().st_size))
    for found in (loaded, again):
        for one, other in zip(found, edits, strict=True):
            assert_same(one, other)
    with th.edited(model, loaded):
        assert torch.equal(model(prompts.tokens), expected)


@pytest.mark.parametrize("function", ["pathlib.Path.write_bytes", "os.replace"])
def test_a_failed_write_leaves_what_was_there(model, file, edits, monkeypatch, function):
    before = file.read_bytes()

    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(function, full)
    with pytest.raises(OSError, match="No space"):
        th.save_edits(file, edits[:1], model)
    monkeypatch.undo()
    assert file.read_bytes() == before and os.listdir(file.parent) == [file.name]
    th.save_edits(file, edits[:1], model)
    assert len(th.load_edits(file, model)) == 1 and os.listdir(file.parent) == [file.name]


def test_another_model_is_refused(tiny, tmp_path, refuses):
    """Even one of the same shapes, and the same weights before and after folding."""
    gpt2, neox, raw = tiny("tiny-gpt2"), tiny("tiny-neox"), tiny("tiny-gpt2", fold=False)
    file = th.save_edits(tmp_path / "x.safetensors", [th.scale_head(th.head_weights(gpt2), (1, 1), 0.5)], gpt2)
    with refuses("made for the model '.*tiny-gpt2', this is '.*tiny-neox'"):
        th.load_edits(file, neox)
    with refuses("other weights of '.*tiny-gpt2'.*fold="):
        th.load_edits(file, raw)
    assert th.load_edits(file, gpt2)


@pytest.mark.parametrize("change, match", [
    (lambda about, tensors: about.pop("model"), "damaged .KeyError"),
    (lambda about, tensors: about.update(edits=3), "damaged .TypeError"),
    (lambda about, tensors: about["edits"][0].update(head=[1, 9]), "no head 1.9"),
    (lambda about, tensors: about["edits"][0].update(matrix="W_E"), "changes 'W_E'"),
    (lambda about, tensors: tensors.pop("0.right"), "damaged .AttributeError"),
    (lambda about, tensors: tensors.update({"0.left": torch.full((8, 1), torch.inf)}), "left must be finite"),
])  # fmt: skip
def test_files_changed_by_hand_are_refused(model, file, refuses, change, match):
    with safe_open(file, "pt") as opened:
        about = json.loads(opened.metadata()[FORMAT])
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}
    change(about, tensors)
    save_file(tensors, file, metadata={FORMAT: json.dumps(about)})
    with refuses(match):
        th.load_edits(file, model)


def test_other_files_are_refused(model, file, tmp_path, refuses):
    whole, path = file.read_bytes(), tmp_path / "x.safetensors"
    for content in (b"", b"{}", pickle.dumps({"left": [1.0]}), whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with refuses("x.safetensors is no file of edits, or damaged"):
            th.load_edits(path, model)
    save_file({"left": torch.ones(2)}, path, metadata={"format": "pt"})
    with refuses("no file of edits"):
        th.load_edits(path, model)
    with pytest.raises(FileNotFoundError, match="missing.safetensors"):
        th.load_edits(tmp_path / "missing.safetensors", model)
