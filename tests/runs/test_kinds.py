"""Every kind of block: runs are right, or the model is refused with the reason."""

import functools
import tempfile
from pathlib import Path

import kinds
import pytest
import torch

import th_utils as th

REFUSED = {
    ("sinks", True): "TransformerLens computes other log-probabilities .*fold=False",
    ("low-rank keys", True): "no attention heads with a query, key, value and output matrix",
    ("low-rank keys", False): "no attention heads with a query, key, value and output matrix",
    ("states", True): "no attention heads with a query, key, value and output matrix",
    ("states", False): "no attention heads with a query, key, value and output matrix",
}
READ_ONLY = {"local attention of transformers", "rotary attention of transformers", "a decoder inside"}
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
