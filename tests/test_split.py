"""Models in parts, some of them on disk: the same numbers as in one piece, or an error that says what to do."""

from dataclasses import fields

import pytest
import torch
from conftest import TINY

import th_utils as th
from th_utils.models import parts as bridge
from th_utils.models.tiny import build
from th_utils.tasks import ioi

# Half of the layers, and what each family has of its own (positions, output matrix, embedding), on disk.
HERE = {
    "tiny-gpt2": "transformer.wte transformer.drop transformer.h.0 transformer.h.1 transformer.ln_f lm_head",
    "tiny-neox": "gpt_neox.embed_in gpt_neox.emb_dropout gpt_neox.rotary_emb gpt_neox.layers.0 gpt_neox.layers.1",
    "tiny-llama": "model.rotary_emb model.layers.0 model.layers.1 model.norm",
}
AWAY = {
    "tiny-gpt2": "transformer.wpe transformer.h.2 transformer.h.3",
    "tiny-neox": "gpt_neox.layers.2 gpt_neox.layers.3 gpt_neox.final_layer_norm lm_head",
    "tiny-llama": "model.embed_tokens model.layers.2 model.layers.3 lm_head",
}


def device_map(name: str) -> dict[str, str]:
    return dict.fromkeys(HERE[name].split(), "cpu") | dict.fromkeys(AWAY[name].split(), "disk")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The tiny models as checkpoints."""
    found = {}
    for name in TINY:
        found[name] = tmp_path_factory.mktemp(name)
        hf_model, tokenizer, _ = build(th.MODELS[name])
        hf_model.save_pretrained(found[name])
        tokenizer.save_pretrained(found[name])
    return found


@pytest.fixture(scope="module", params=TINY)
def pair(request, folders):
    """The same raw weights in one piece and split."""
    folder = folders[request.param]
    return th.load_model(folder, fold=False), th.load_model(folder, fold=False, device_map=device_map(request.param))


@pytest.fixture(scope="module")
def task(pair):
    return ioi.generate(pair[0], 6, seed=1)


@pytest.fixture(scope="module")
def runs(pair, task):
    return [th.run(model, task, "all", keep=1) for model in pair]


def same(one, other):
    """Bit for bit: it is the same arithmetic, wherever the weights were."""
    for field in fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, torch.Tensor):
            assert torch.equal(left, right), field.name


def test_half_of_a_split_model_is_not_in_memory(pair):
    whole, split = pair
    assert [bridge.offloaded(split, layer) for layer in range(4)] == [False, False, True, True]
    assert not any(bridge.offloaded(whole, layer) for layer in range(4))
    assert sum(weight.is_meta for weight in split.original_model.parameters()) >= 12
    assert bridge.device_of(split) == torch.device("cpu")


def test_a_split_model_gives_the_logits_and_runs_of_the_whole_one(pair, task, runs):
    whole, split = pair
    assert torch.equal(whole(task.tokens), split(task.tokens))
    same(*runs)
    for measure in (th.logit_difference, th.answer_loss, th.top1):
        assert torch.equal(measure(whole, runs[0], task), measure(split, runs[1], task))
    assert torch.equal(th.logits(whole, runs[0]), th.logits(split, runs[1]))
    assert torch.equal(th.text_loss(whole, task), th.text_loss(split, task))


def test_a_split_model_has_the_head_weights_of_the_whole_one(pair):
    same(*map(th.head_weights, pair))
    for layer in range(4):
        one, other = (bridge.output_bias(model, layer) for model in pair)
        assert one is other is None or torch.equal(one, other)


def test_interventions_and_patching_work_on_a_split_model(pair, task, runs):
    weights = th.head_weights(pair[0])
    target = th.channel(weights, th.decompose_ov(weights), [(0, 1, 0), (2, 3, 1)])
    corrupted = ioi.corrupt(pair[0], task, "ABC")
    same(*(th.rerun_last(model, base, target.set(2.0)) for model, base in zip(pair, runs, strict=True)))
    same(*(th.rerun(model, base, target.scale(0.5)[1:]) for model, base in zip(pair, runs, strict=True)))
    new = [th.run(model, corrupted, "all") for model in pair]
    for via in "qkv":
        one, other = (
            th.patch_edges(model, weights, base, other, (3, 1), via, source=task.positions["S2"])
            for model, base, other in zip(pair, runs, new, strict=True)
        )
        assert torch.equal(one[1], other[1]) and torch.equal(one[2], other[2])


def test_layers_in_memory_can_be_edited_and_layers_on_disk_refuse(pair, task, refuses):
    weights = th.head_weights(pair[0])
    found = []
    for model in pair:
        with th.edited(model, th.scale_head(weights, (1, 2), 0.0)):
            found.append(th.run(model, task))
    same(*found)
    with refuses("changes layer 2, which is kept on disk"), th.edited(pair[1], th.scale_head(weights, (2, 0), 0.0)):
        pass


@pytest.mark.parametrize("name", TINY)
def test_folding_needs_all_weights_in_memory(name, folders, refuses):
    with refuses("use fold=False"):
        th.load_model(folders[name], device_map=device_map(name))


def test_one_place_for_all_parts_is_no_split(folders, task):
    for where in ("auto", {"": "cpu"}) if not torch.cuda.is_available() else ({"": "cpu"},):
        model = th.load_model(folders["tiny-llama"], device_map=where)
        assert torch.equal(model(task.tokens), th.load_model("tiny-llama")(task.tokens))


@pytest.mark.parametrize("arguments, match", [
    ({"device_map": {"model": "cpu", "lm_head": "nowhere"}}, "could not be split.*'nowhere'"),
    ({"device_map": {"model": "xla:3"}}, "could not be split"),
    ({"device_map": "nonsense"}, "could not be split.*'nonsense'"),
    ({"device_map": "auto", "device": "cpu"}, "without device"),
])  # fmt: skip
def test_places_that_cannot_be_are_refused(folders, refuses, arguments, match):
    with refuses(match):
        th.load_model(folders["tiny-llama"], **arguments)


def test_models_without_a_file_are_not_split(refuses):
    with refuses("models in files.*tiny-gpt2"):
        th.load_model("tiny-gpt2", device_map="auto")
