"""Every kind of block: runs are right, or the model is refused with the reason."""

import contextlib
import functools
import tempfile
from pathlib import Path

import kinds
import pytest
import torch

import th_utils as th

NO_HEADS = "no attention heads with a query, key, value and output matrix"
REFUSED = {
    ("sinks", True): "TransformerLens computes other log-probabilities .*fold=False",
    ("low-rank keys", True): NO_HEADS,
    ("low-rank keys", False): NO_HEADS,
    ("layers scaled as a whole", True): "does more than add what attention and MLP write",
    ("layers scaled as a whole", False): "does more than add what attention and MLP write",
    ("states", True): NO_HEADS,
    ("states", False): NO_HEADS,
}
READ_ONLY = {
    "a gate", "one norm for embedding and end", "local attention of transformers",
    "rotary attention of transformers", "a decoder inside",
}  # fmt: skip
NORMED = {
    "norms of queries and keys", "one norm of all queries, norms after", "two rotary bases", "a gate",
    "one norm for embedding and end", "norms of queries without a name",
}  # fmt: skip
ALL = [(kind, fold) for kind in kinds.KINDS for fold in (True, False)]


@functools.cache
def folder(kind: str) -> Path:
    return kinds.write(Path(tempfile.mkdtemp(prefix="th-kind-")), *kinds.KINDS[kind])


@functools.cache
def case(kind: str, fold: bool) -> kinds.Case:
    return kinds.Case.load(folder(kind), fold)


@torch.no_grad()
@pytest.mark.parametrize("check", kinds.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("kind", "fold"), [one for one in ALL if one not in REFUSED])
def test_runs_are_right(kind, fold, check):
    assert max(check(case(kind, fold))) < kinds.CLOSE


@pytest.mark.parametrize(("kind", "fold"), REFUSED)
def test_what_cannot_be_right_is_refused_with_the_reason(refuses, kind, fold):
    with refuses(REFUSED[kind, fold]):
        loaded = th.load_model(folder(kind), fold=fold)
        th.run(loaded, th.tasks.ioi.generate(loaded, 2))


@pytest.mark.parametrize("kind", sorted(READ_ONLY))
def test_patterns_that_hooks_do_not_change_are_refused(refuses, kind):
    model, prompts = case(kind, True).model, case(kind, True).prompts
    with refuses("lets attention be read .*not changed"):
        th.run(model, prompts, hooks=[("blocks.1.attn.hook_pattern", kinds.change)])


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_scaled_queries_are_refused_where_a_norm_scales_them_back(refuses, kind):
    if (kind, False) in REFUSED:
        return
    model = case(kind, False).model
    weights = th.head_weights(model)
    with refuses("normalises its queries") if kind in NORMED else contextlib.nullcontext():
        with th.edited(model, th.scale_query(weights, (1, 2), 0.5)):
            pass
    basis = weights.W_Q[1, 2].T[:1]
    with th.edited(model, th.scale_reading(weights, (1, 2), basis, 0.0)):  # changes their direction
        pass


def test_a_model_that_transformer_lens_does_not_load_is_refused_in_its_words(refuses, tmp_path):
    kinds.write(tmp_path, "BioGptConfig", kinds.SIZES)
    with refuses("TransformerLens does not load .*, a BioGptForCausalLM .*fold=False"):
        th.load_model(tmp_path)


def test_a_model_that_looks_ahead_is_refused(refuses):
    """What it makes of a prompt would depend on padding."""
    seen = kinds.Case.load(folder("plain"), True).model

    def mean(_, args, out):
        return out + out.mean(1, keepdim=True)

    mean.__module__ = "transformers.as_if"  # part of the model, not the reader's
    seen.blocks[1].mlp.register_forward_hook(mean)
    with refuses("what follows a token changes what it says"):
        th.run(seen, th.tasks.ioi.generate(seen, 2))
