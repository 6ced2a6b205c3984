"""What must not depend on how a head is written down: the basis of its inner space, and the signs of its components."""

from dataclasses import replace

import pytest
import reference
import torch
from tiny_models import TINY, load

import th_utils as th
from th_utils.tasks import ioi
from th_utils.weights.composition import reader_factors

CLOSE = {"rtol": 1e-3, "atol": 2e-4, "equal_nan": True}
PARTS = [(0, 1, 0), (1, 2, 3)]


def rotations(*shape, n, seed=0, dtype=torch.float32):
    """Random orthogonal matrices [..., n, n]."""
    drawn = torch.randn(*shape, n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(drawn).Q.to(dtype)


def rewritten(weights: th.HeadWeights) -> th.HeadWeights:
    """The same heads in another basis: W_Q R, W_K R and W_V S, Sᵀ W_O."""
    shape = (weights.n_layers, weights.n_heads)
    R, S = (rotations(*shape, n=weights.d_head, seed=i, dtype=weights.W_Q.dtype) for i in (1, 2))
    biases = {"b_Q": R, "b_K": R, "b_V": S}
    rows = {name: (getattr(weights, name)[..., None, :] @ M)[..., 0, :] for name, M in biases.items()}
    return th.HeadWeights(weights.W_Q @ R, weights.W_K @ R, weights.W_V @ S, S.mT @ weights.W_O, **rows)


def channel(weights):
    return th.channel(weights, PARTS)


def ov_after(weights, edits):
    """W_V (W_O + change) of every edited head."""
    return [weights.W_V[edit.head] @ (weights.W_O[edit.head] + edit.left @ edit.right) for edit in edits]


BASIS_FREE = {
    "singular values and vectors": lambda w: [
        getattr(d, f) for d in (w.ov, w.qk) for f in ("read", "singular_values", "write")
    ],
    "shares of energy and gaps": lambda w: [w.ov.energy, w.qk.energy, w.ov.gaps, w.qk.gaps],
    "what a reader sees": lambda w: [M @ M.mT for M in (reader_factors(w, mode) for mode in "QKV")],
    "scores of heads": lambda w: [th.head_scores(w, mode).values for mode in "QKV"],
    "scores of components": lambda w: [th.component_scores(w, mode).values for mode in "QKV"],
    "cosines of components": lambda w: [(w.qk.read @ w.ov.write[0, 1, 2]).abs()],
    "the band of random directions": lambda w: [torch.tensor(th.random_band(w, mode, (2, 1))) for mode in "QKV"],
    "the rotated null": lambda w: [th.rotated_null(w, "K", (0, 1), (2, 3), n=20)],
    "directions of a channel": lambda w: [channel(w).directions],
    "a component scaled in the weights": lambda w: ov_after(w, th.scale_component(w, channel(w), 0.3)),
    "a component set in the weights": lambda w: [edit.bias for edit in th.set_component(w, channel(w), [2.0, -1.0])],
    "a head scaled in the weights": lambda w: ov_after(w, [th.scale_head(w, (1, 2), -0.5)]),
    "a reading scaled in the weights": lambda w: [
        (w.W_Q[1, 2] + edit.left @ edit.right) @ w.W_K[1, 2].T
        for edit in [th.scale_reading(w, (1, 2), torch.eye(w.d_model)[:3], 0.2)]
    ],
}


@pytest.mark.parametrize("result", BASIS_FREE.values(), ids=BASIS_FREE)
def test_the_basis_of_the_head_space_does_not_matter(result, weights):
    for these in (weights, reference.random_weights(dtype=torch.float32)):
        for one, other in zip(result(these), result(rewritten(these)), strict=True):
            torch.testing.assert_close(one, other, **CLOSE)


@pytest.fixture(scope="module", params=TINY)
def twins(request):
    """A model, and the same with the value space of every head rotated; without rotary positions its queries, too."""
    plain, other = load(request.param), load(request.param)
    size = th.parts.shape(plain)
    for layer in range(size.layers):
        S = rotations(size.heads // size.groups, n=size.d_head, seed=layer)
        changes = [("W_V", S, None), ("W_O", None, S.repeat_interleave(size.groups, 0).mT)]
        if plain.cfg.positional_embedding_type == "standard":
            R = rotations(size.heads, n=size.d_head, seed=10 + layer)
            changes += [("W_Q", R, None), ("W_K", R, None)]
            for name in ("b_Q", "b_K"):
                bias = th.parts.head_bias(other, layer, name)
                bias.copy_((bias[:, None] @ R)[:, 0])
        for name, right, left in changes:
            matrix = th.parts.head_matrix(other, layer, name)
            matrix.copy_(matrix @ right if left is None else left @ matrix)
    return plain, other


@pytest.fixture(scope="module")
def runs(twins):
    made = ioi.generate(twins[0], 6, seed=1)
    pair = (made, ioi.corrupt(twins[0], made, "ABC"))
    return [(model, th.head_weights(model), *(th.run(model, p, "all") for p in pair)) for model in twins]


MEASURED = {
    "the stream and attention": lambda m, w, clean, new: [clean.resid, clean.pattern],
    "logits": lambda m, w, clean, new: [th.logits(m, clean), th.text_loss(m, clean.prompts)],
    "attribution": lambda m, w, clean, new: [th.direct_logit_attribution(m, clean).heads],
    "what heads write": lambda m, w, clean, new: [torch.einsum("lbphk,lhkd->lbphd", clean.z, w.W_O)],
    "coordinates": lambda m, w, clean, new: [channel(w).coordinates(clean)],
    "a channel that is set": lambda m, w, clean, new: [th.rerun_last(m, clean, channel(w).set([3.0, -2.0])).resid],
    "edges": lambda m, w, clean, new: [
        th.patch_edges(m, clean, new, th.Edge((3, 1), via, source="S2")).pattern for via in "qkv"
    ],
    "paths": lambda m, w, clean, new: [th.path_patch(m, clean, new, [(0, 2)], [(2, 1)]).resid],
    "position codes": lambda m, w, clean, new: th.position_codes(
        m, clean, (2, 1), torch.eye(32)[:3], torch.stack([clean.prompts.at("IO"), clean.prompts.at("S1")], 1)
    ),
}


@pytest.mark.parametrize("measure", MEASURED.values(), ids=MEASURED)
def test_measurements_do_not_depend_on_the_basis_of_the_head_space(measure, runs):
    (_, plain, clean, _), (_, other, again, _) = runs
    assert not torch.allclose(plain.W_O, other.W_O, atol=0.1) and not torch.allclose(clean.z, again.z, atol=0.1)
    for one, two in zip(*(measure(*given) for given in runs), strict=True):
        torch.testing.assert_close(one, two, **CLOSE)


def flipped(weights: th.HeadWeights) -> th.HeadWeights:
    """The same weights, decomposed with both signs of every second component the other way round."""
    signs, again = torch.ones(weights.d_head), replace(weights)
    signs[::2] = -1
    for name in ("ov", "qk"):
        parts = getattr(again, name)
        written, _ = vars(again)[f"_{name}"]
        parts = replace(parts, read=parts.read * signs[:, None], write=parts.write * signs[:, None])
        vars(again)[f"_{name}"] = written, parts
    return again


SIGN_FREE = {
    "scores": lambda w: [th.component_scores(w, mode).values for mode in "QKV"],
    "the piece of the circuit": lambda w: [w.ov.read[p][:, None] * w.ov.write[p] for p in PARTS],
    "weight edits": lambda w: [e.left @ e.right for e in th.scale_component(w, channel(w), 0.3)],
}


@pytest.mark.parametrize("result", SIGN_FREE.values(), ids=SIGN_FREE)
def test_signs_of_components_do_not_matter(result, weights):
    for one, other in zip(result(weights), result(flipped(weights)), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def test_coordinates_change_sign_with_the_component_and_interventions_stay(model, weights, clean):
    plain, other = channel(weights), channel(flipped(weights))
    torch.testing.assert_close(other.coordinates(clean), torch.tensor([-1.0, 1.0]) * plain.coordinates(clean), **CLOSE)
    for one, two in [
        (plain.scale(0.0), other.scale(0.0)),
        (plain.scale([0.5, -1.0]), other.scale([0.5, -1.0])),
        (plain.set([3.0, -2.0]), other.set([-3.0, -2.0])),
    ]:
        one, two = (th.rerun_last(model, clean, hooks).resid for hooks in (one, two))
        torch.testing.assert_close(one, two, **CLOSE)
