"""Files of edits: what was saved comes back bit for bit, or an error says why not."""

import json
import os
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import th_utils as th
from th_utils.channels import edit_files


@pytest.fixture(scope="module")
def edits(weights):
    """Every kind of edit: rank 1, with a constant, a whole head, a reader."""
    target = th.channel(weights, th.decompose_ov(weights), [(1, 2, 0), (2, 0, 1)])
    directions = torch.randn(2, weights.d_model, generator=torch.Generator().manual_seed(0))
    return [
        *th.zero_component(weights, target),
        *th.set_component(weights, target, -1.5),
        th.scale_head(weights, (3, 1), 1.3),
        th.scale_reading(weights, (2, 1), directions, 2.0),
    ]


@pytest.fixture
def file(tmp_path, model, edits):
    return th.save_edits(tmp_path / "mine.safetensors", edits, model, note="best of 12 — é")


def same(one, other):
    assert (one.name, one.head, one.matrix) == (other.name, other.head, other.matrix)
    for part in edit_files.PARTS:
        a, b = getattr(one, part), getattr(other, part)
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == b.dtype and torch.equal(a, b) and torch.equal(a.signbit(), b.signbit()))


def test_edits_come_back_bit_for_bit(model, prompts, file, edits):
    loaded = th.load_edits(file, model)
    assert len(loaded) == len(edits)
    for one, other in zip(loaded, edits, strict=True):
        same(one, other)
    with th.edited(model, edits):
        expected = model(prompts.tokens)
        assert len(th.load_edits(file, model)) == len(edits), "an edited model is still the same model"
    with th.edited(model, loaded):
        assert torch.equal(model(prompts.tokens), expected)
    assert not torch.allclose(model(prompts.tokens), expected, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_numbers_keep_their_type_and_sign_of_zero(model, tmp_path, dtype):
    left = torch.tensor([[-0.0, 1e-30, 1 / 3, 4, 5, 6, 7, 8]], dtype=dtype).T
    edit = th.Edit("small", (0, 1), "W_O", left, torch.ones(1, 32, dtype=dtype))
    (loaded,) = th.load_edits(th.save_edits(tmp_path / "x.safetensors", edit, model), model)
    assert edit.left.signbit()[0] and edit.left.dtype == dtype
    same(loaded, edit)


def test_the_file_is_small_and_says_what_it_is(model, file, edits):
    numbers = sum(getattr(e, part).numel() for e in edits for part in edit_files.PARTS if getattr(e, part) is not None)
    assert file.stat().st_size < 4 * numbers + 4000
    with safe_open(file, "pt") as opened:
        about = json.loads(opened.metadata()[edit_files.FORMAT])
    assert about["model"] == th.model_name(model) and about["note"] == "best of 12 — é" and about["version"] == 1
    assert [one["name"] for one in about["edits"]] == [edit.name for edit in edits]


def test_loaded_edits_do_not_depend_on_the_file(model, file, edits):
    loaded = th.load_edits(file, model)
    file.write_bytes(bytes(file.stat().st_size))
    assert torch.equal(loaded[0].left, edits[0].left)


# --- writing ---


def test_saving_replaces_a_file_whole(model, file, edits):
    th.save_edits(str(file), edits[0], model)
    assert len(th.load_edits(str(file), model)) == 1
    assert os.listdir(file.parent) == [file.name]


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


def test_a_folder_that_is_not_there_is_an_error(model, edits, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        th.save_edits(tmp_path / "nowhere" / "x.safetensors", edits, model)


def test_edits_that_do_not_fit_are_not_saved(model, edits, tmp_path, refuses):
    path = tmp_path / "x.safetensors"
    for bad, match in [
        (replace(edits[0], head=(9, 0)), "does not have"),
        (replace(edits[0], left=edits[0].left[:-1]), "another model's weights"),
        (replace(edits[0], left=edits[0].left * torch.nan), "left holds NaN"),
    ]:
        with refuses(match):
            th.save_edits(path, [edits[1], bad], model)
    for none in ([], [None], [edits]):
        with refuses("one edit or a flat list of edits"):
            th.save_edits(path, none, model)
    assert not os.listdir(tmp_path)


# --- reading ---


def tampered(file, model, change):
    """The same file with its description changed by hand."""
    with safe_open(file, "pt") as opened:
        about = json.loads(opened.metadata()[edit_files.FORMAT])
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}
    change(about, tensors)
    save_file(tensors, file, metadata={edit_files.FORMAT: json.dumps(about)})
    return file


def test_another_model_is_refused(tiny, tmp_path, refuses):
    """Even one of the same shapes, and the same weights before and after folding."""
    gpt2, neox, raw = tiny("tiny-gpt2"), tiny("tiny-neox"), th.load_model("tiny-gpt2", fold=False)
    file = th.save_edits(tmp_path / "x.safetensors", th.scale_head(th.head_weights(gpt2), (1, 1), 0.5), gpt2)
    with refuses("made for the model 'tiny-gpt2', this is 'tiny-neox'"):
        th.load_edits(file, neox)
    with refuses("other weights of 'tiny-gpt2'.*fold="):
        th.load_edits(file, raw)
    assert th.load_edits(file, gpt2)


@pytest.mark.parametrize("change, match", [
    (lambda about, tensors: about.update(version=2), "version 2, this th_utils reads 1"),
    (lambda about, tensors: about.update(version="1"), "version '1'"),
    (lambda about, tensors: about.pop("version"), "damaged .KeyError"),
    (lambda about, tensors: about.pop("model"), "damaged .KeyError"),
    (lambda about, tensors: about.update(unembedding="much"), "damaged .ValueError"),
    (lambda about, tensors: about.update(unembedding=float("nan")), "other weights"),
    (lambda about, tensors: about.update(edits=3), "damaged .TypeError"),
    (lambda about, tensors: about["edits"][0].update(head=[1]), "damaged .ValueError"),
    (lambda about, tensors: about["edits"][0].update(head=[1, 1.5]), "edit 0 is described as"),
    (lambda about, tensors: about["edits"][0].update(head=[1, True]), "edit 0 is described as"),
    (lambda about, tensors: about["edits"][0].update(head=[1, 9]), "does not have"),
    (lambda about, tensors: about["edits"][0].update(matrix="W_E"), "names W_E"),
    (lambda about, tensors: about["edits"][0].update(matrix=None), "edit 0 is described as"),
    (lambda about, tensors: about["edits"][0].pop("name"), "damaged .KeyError"),
    (lambda about, tensors: about["edits"].pop(), "belong to no edit"),
    (lambda about, tensors: tensors.pop("0.right"), "damaged .KeyError"),
    (lambda about, tensors: tensors.update({"0.left": torch.ones(7, 1)}), "another model's weights"),
    (lambda about, tensors: tensors.update({"0.left": torch.full((8, 1), torch.inf)}), "left holds NaN or infinite"),
    (lambda about, tensors: tensors.update({"0.bias": torch.ones(3)}), "bias is"),
    (lambda about, tensors: tensors.update({"extra": torch.ones(3)}), "belong to no edit: .'extra'"),
])  # fmt: skip
def test_files_changed_by_hand_are_refused(model, file, refuses, change, match):
    with refuses(match):
        th.load_edits(tampered(file, model, change), model)


@pytest.mark.parametrize("content", [
    b"", b"\x00" * 8, b"{}", pickle.dumps({"left": [1.0]}), "plain text, ä".encode(), os.urandom(300),
], ids=["empty", "zeros", "json", "pickle", "text", "noise"])  # fmt: skip
def test_other_files_are_refused(model, tmp_path, refuses, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with refuses("x.safetensors is no file of edits, or damaged"):
        th.load_edits(path, model)


def test_files_cut_short_are_refused(model, file, refuses):
    content = file.read_bytes()
    for length in (4, 8, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        with refuses("damaged"):
            th.load_edits(file, model)


def test_safetensors_of_something_else_are_refused(model, tmp_path, refuses):
    path = tmp_path / "x.safetensors"
    for metadata in (None, {"format": "pt"}, {edit_files.FORMAT: "no json"}, {edit_files.FORMAT: "[1]"}):
        save_file({"left": torch.ones(2)}, path, metadata=metadata)
        with refuses("no file of edits"):
            th.load_edits(path, model)
    torch.save({"left": torch.ones(2)}, path)
    with refuses("no file of edits"):
        th.load_edits(path, model)


def test_paths_without_a_file_are_named(model, tmp_path, refuses):
    with pytest.raises(FileNotFoundError, match="missing.safetensors"):
        th.load_edits(tmp_path / "missing.safetensors", model)
    with refuses("is a folder"):
        th.load_edits(tmp_path, model)


# --- what edits change ---


def test_the_table_measures_the_change_of_the_matrices(model, weights, edits):
    table = th.describe_edits(weights, edits)
    assert table.name.tolist() == [edit.name for edit in edits]
    assert table["rank"].tolist() == [1, 1, 1, 1, 8, 2] and table["head"].tolist()[-1] == "2.1"
    for edit, row in zip(edits, table.itertuples(), strict=True):
        with th.edited(model, edit):
            after = th.head_weights(model)
        old, new = (getattr(w, edit.matrix)[edit.head] for w in (weights, after))
        assert row.change == pytest.approx((new - old).norm().item(), rel=1e-4)
        assert row.relative == pytest.approx(((new - old).norm() / old.norm()).item(), rel=1e-4)
        assert row.bias == (0 if edit.bias is None else pytest.approx(1.5, rel=1e-4))
    assert table.relative[4] == pytest.approx(0.3, rel=1e-4), "a whole head, 1.3 times"


def test_edits_that_do_not_fit_the_weights_have_no_table(weights, edits, refuses):
    with refuses("no head 9.0"):
        th.describe_edits(weights, replace(edits[0], head=(9, 0)))
    with refuses("the matrix is"):
        th.describe_edits(weights, replace(edits[0], matrix="W_Q"))
    with refuses("changes 'W_E': expected one of"):
        th.describe_edits(weights, replace(edits[0], matrix="W_E"))
    with refuses(r"is \(8, 1\) @ \(2, 32\)"):
        th.describe_edits(weights, replace(edits[0], right=edits[0].right.repeat(2, 1)))
    with refuses("one edit or a flat list"):
        th.describe_edits(weights, [])


def test_a_bias_that_the_model_lacks_is_not_saved(tiny, tmp_path, refuses):
    llama = tiny("tiny-llama")
    edit = replace(th.scale_query(th.head_weights(llama), (1, 1), 2.0), bias=torch.ones(llama.cfg.d_head))
    with refuses("this model has none there"):
        th.save_edits(tmp_path / "edits.safetensors", edit, llama)


def test_a_share_of_nothing_is_not_a_number(weights):
    empty = replace(weights, W_Q=torch.zeros_like(weights.W_Q))
    assert th.describe_edits(empty, th.scale_query(weights, (1, 1), 2.0))["relative"].isna().all()
