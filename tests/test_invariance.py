"""What must not depend on how a head is written down: the basis of its inner space, and the signs of its components."""

from dataclasses import replace

import pytest
import reference
import torch
from conftest import TINY

import th_utils as th
from th_utils.models import parts as bridge
from th_utils.tasks import ioi
from th_utils.weights.composition import reader_factors

CLOSE = {"rtol": 1e-3, "atol": 2e-4, "equal_nan": True}
PARTS = [(0, 1, 0), (1, 2, 3)]


def rotations(*shape, n, seed=0, dtype=torch.float32):
    """Random orthogonal matrices [..., n, n]."""
    drawn = torch.randn(*shape, n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.linalg.qr(drawn).Q.to(dtype)


def turned(weights: th.HeadWeights) -> th.HeadWeights:
    """The same heads in another basis: W_Q R, W_K R and W_V S, Sᵀ W_O."""
    R, S = (
        rotations(weights.n_layers, weights.n_heads, n=weights.d_head, seed=i, dtype=weights.W_Q.dtype) for i in (1, 2)
    )
    rows = {
        name: (getattr(weights, name)[..., None, :] @ M)[..., 0, :] for name, M in (("b_Q", R), ("b_K", R), ("b_V", S))
    }
    return th.HeadWeights(weights.W_Q @ R, weights.W_K @ R, weights.W_V @ S, S.mT @ weights.W_O, **rows)


def decompositions(weights):
    return th.decompose_ov(weights), th.decompose_qk(weights)


def channel(weights):
    return th.channel(weights, th.decompose_ov(weights), PARTS)


def ov_after(weights, edits):
    """W_V (W_O + change) of every edited head."""
    return [weights.W_V[edit.head] @ (weights.W_O[edit.head] + edit.left @ edit.right) for edit in edits]


BASIS_FREE = {
    "singular values and vectors": lambda w: [
        getattr(d, f) for d in decompositions(w) for f in ("read", "singular_values", "write")
    ],
    "shares of energy": lambda w: [d.energy for d in decompositions(w)],
    "what a reader sees": lambda w: [M @ M.mT for M in (reader_factors(w, mode) for mode in "QKV")],
    "scores of heads": lambda w: [th.head_scores(w, mode) for mode in "QKV"],
    "scores of components": lambda w: [th.component_scores(w, th.decompose_ov(w), mode) for mode in "QKV"],
    "cosines of components": lambda w: [th.component_to_component(*decompositions(w), (0, 1, 2))],
    "the closed-form baseline": lambda w: [th.random_baseline(w, mode)[1] for mode in "QKV"],
    "the rotated null": lambda w: [th.rotated_null(w, th.decompose_ov(w), "K", (0, 1), (2, 3), n=20)],
    "directions of a channel": lambda w: [channel(w).directions, channel(w).gram()],
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
        for one, other in zip(result(these), result(turned(these)), strict=True):
            torch.testing.assert_close(one, other, **CLOSE)


@pytest.fixture(scope="module", params=TINY)
def twins(request):
    """A model, and the same with the value space of every head turned; without rotary positions its queries, too."""
    plain, other = th.load_model(request.param), th.load_model(request.param)
    for layer in range(plain.cfg.n_layers):
        S = rotations(bridge.head_matrix(other, layer, "W_V").shape[0], n=plain.cfg.d_head, seed=layer)
        groups = bridge.kv_groups(other)
        changes = [("W_V", S, None), ("W_O", None, S.repeat_interleave(groups, 0).mT)]
        if plain.cfg.positional_embedding_type == "standard":
            R = rotations(plain.cfg.n_heads, n=plain.cfg.d_head, seed=10 + layer)
            changes += [("W_Q", R, None), ("W_K", R, None)]
            for name in ("b_Q", "b_K"):
                bias = bridge.head_bias(other, layer, name)
                bias.copy_((bias[:, None] @ R)[:, 0])
        for name, right, left in changes:
            matrix = bridge.head_matrix(other, layer, name)
            matrix.copy_(matrix @ right if left is None else left @ matrix)
    return plain, other


@pytest.fixture(scope="module")
def runs(twins):
    made = ioi.generate(twins[0], 6, seed=1)
    corrupted = ioi.corrupt(twins[0], made, "ABC")
    return made, [
        (model, th.head_weights(model), th.run(model, made, "all"), th.run(model, corrupted, "all")) for model in twins
    ]


MEASURED = {
    "the stream and attention": lambda p, m, w, clean, new: [clean.resid, clean.pattern],
    "logits": lambda p, m, w, clean, new: [th.logits(m, clean), th.text_loss(m, p)],
    "attribution": lambda p, m, w, clean, new: [
        th.direct_logit_attribution(m, w, clean, p).heads,
        th.head_outputs(w, clean.z),
    ],
    "coordinates": lambda p, m, w, clean, new: [channel(w).coordinates(clean.at(clean.z))],
    "a channel that is set": lambda p, m, w, clean, new: [th.rerun_last(m, clean, channel(w).set([3.0, -2.0])).resid],
    "edges": lambda p, m, w, clean, new: [
        th.patch_edges(m, w, clean, new, (3, 1), via, source=p.positions["S2"])[1] for via in "qkv"
    ],
    "paths": lambda p, m, w, clean, new: [th.path_patch(m, w, clean, new, [(0, 2)], [(2, 1)]).resid],
    "knocked out heads": lambda p, m, w, clean, new: [th.knock_out(m, p, new.z, [(1, 2)]).resid],
    "position codes": lambda p, m, w, clean, new: th.position_codes(
        m, clean, (2, 1), torch.eye(32)[:3], torch.stack([p.positions["IO"], p.positions["S1"]], 1)
    ),
}


@pytest.mark.parametrize("measure", MEASURED.values(), ids=MEASURED)
def test_measurements_do_not_depend_on_the_basis_of_the_head_space(measure, runs):
    made, both = runs
    assert not torch.allclose(both[0][1].W_O, both[1][1].W_O, atol=0.1) and not torch.allclose(
        both[0][2].z, both[1][2].z, atol=0.1
    )
    for one, other in zip(*(measure(made, *given) for given in both), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def flipped(parts: th.Decomposition) -> th.Decomposition:
    """Every second component with both of its signs turned."""
    signs = torch.ones(parts.singular_values.shape[-1])
    signs[::2] = -1
    return replace(parts, read=parts.read * signs[:, None], write=parts.write * signs[:, None])


SIGN_FREE = {
    "scores": lambda w, ov, qk: [th.component_scores(w, ov, mode) for mode in "QKV"],
    "z-scores": lambda w, ov, qk: [th.z_scores(th.component_scores(w, ov, "Q"))],
    "cosines": lambda w, ov, qk: [
        th.component_to_component(ov, qk, part, side) for part in PARTS for side in ("read", "write")
    ],
    "the piece of the circuit": lambda w, ov, qk: [ov.read[p][:, None] * ov.write[p] for p in PARTS],
    "weight edits": lambda w, ov, qk: [e.left @ e.right for e in th.scale_component(w, th.channel(w, ov, PARTS), 0.3)],
}


@pytest.mark.parametrize("result", SIGN_FREE.values(), ids=SIGN_FREE)
def test_signs_of_components_do_not_matter(result, weights):
    ov, qk = decompositions(weights)
    for one, other in zip(result(weights, ov, qk), result(weights, flipped(ov), flipped(qk)), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def test_coordinates_turn_with_the_sign_and_interventions_stay(model, weights, clean):
    ov, signs = th.decompose_ov(weights), torch.tensor([-1.0, 1.0])
    plain, turned_round = (th.channel(weights, parts, PARTS) for parts in (ov, flipped(ov)))
    z = clean.at(clean.z)
    torch.testing.assert_close(turned_round.coordinates(z), signs * plain.coordinates(z), **CLOSE)
    pairs = [
        (plain.zero(), turned_round.zero()),
        (plain.scale([0.5, -1.0]), turned_round.scale([0.5, -1.0])),
        (plain.set([3.0, -2.0]), turned_round.set([-3.0, -2.0])),
    ]
    for one, other in pairs:
        torch.testing.assert_close(
            th.rerun_last(model, clean, one).resid, th.rerun_last(model, clean, other).resid, **CLOSE
        )
