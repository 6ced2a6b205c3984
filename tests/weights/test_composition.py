"""Composition scores, against dense matrices, TransformerLens, closed forms and planted channels."""

import pytest
import reference
import torch

import th_utils as th

WEIGHTS = reference.random_weights(layers=3, heads=4, d_model=24, d_head=5)
MODES = ("Q", "K", "V")


def ratio(a, b):
    return (a @ b).norm() / (a.norm() * b.norm())


@pytest.mark.parametrize("mode", MODES)
def test_scores_equal_the_dense_formula(mode):
    ov, heads, components = WEIGHTS.ov, th.head_scores(WEIGHTS, mode), th.component_scores(WEIGHTS, mode)
    for reader in WEIGHTS.heads:
        B = reference.dense(WEIGHTS, reader, mode)
        for writer in WEIGHTS.heads[: 4 * reader[0]]:
            dense = ratio(reference.dense(WEIGHTS, writer, "OV"), B)
            torch.testing.assert_close(heads.into(reader)[writer], dense)
            for k in range(5):
                piece = ov.singular_values[writer][k] * torch.outer(ov.read[writer][k], ov.write[writer][k])
                torch.testing.assert_close(components.into(reader)[writer][k], ratio(piece, B))


@pytest.mark.parametrize("mode", MODES)
def test_head_score_is_the_energy_weighted_mean_of_component_scores(weights, mode):
    components, heads = th.component_scores(weights, mode).values, th.head_scores(weights, mode).values
    mean = (weights.ov.energy[..., None] * components.square()).sum(2)
    torch.testing.assert_close(mean, heads.square(), rtol=1e-3, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("mode, reader, side", [
    ("Q", WEIGHTS.qk, "read"), ("K", WEIGHTS.qk, "write"), ("V", WEIGHTS.ov, "read"),
])  # fmt: skip
def test_component_score_is_the_energy_weighted_mean_of_cosines(mode, reader, side):
    scores = th.component_scores(WEIGHTS, mode).values
    for part in [(0, 0, 0), (0, 3, 4), (1, 2, 1)]:
        cosines = (getattr(reader, side) @ WEIGHTS.ov.write[part]).abs()
        expected = (reader.energy * cosines.square()).sum(-1).flatten().sqrt()
        later = [i for i, (layer, _) in enumerate(WEIGHTS.heads) if layer > part[0]]
        torch.testing.assert_close(scores[part][later], expected[later])


@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_transformer_lens(model, weights, mode):
    theirs = model.all_composition_scores(mode).scores.flatten(2)
    ours = th.head_scores(weights, mode).values
    torch.testing.assert_close(ours.nan_to_num(0.0), theirs, rtol=1e-3, atol=1e-5)
    assert torch.equal(ours.isnan(), theirs == 0)


@pytest.mark.parametrize("score", [th.head_scores, th.component_scores])
def test_only_earlier_layers_have_scores_and_readers_may_be_chosen(score):
    everyone, chosen = score(WEIGHTS, "Q"), score(WEIGHTS, "Q", [(2, 1), (1, 3)])
    for reader in WEIGHTS.heads:
        finite = torch.isfinite(everyone.into(reader))
        assert finite[: reader[0]].all() and not finite[reader[0] :].any()
    known = everyone.values[torch.isfinite(everyone.values)]
    assert (known >= 0).all() and (known <= 1).all()
    for reader in chosen.readers:
        torch.testing.assert_close(chosen.into(reader), everyone.into(reader), equal_nan=True)


def test_zero_readers_and_writers_score_zero():
    blank = reference.random_weights()
    for name in ("W_Q", "W_O"):
        getattr(blank, name)[:, 0] = 0
    scores = th.head_scores(blank, "Q")
    assert scores.into((1, 0))[0, 1] == 0, "reader 1.0 has no query"
    assert scores.into((1, 1))[0, 0] == 0, "writer 0.0 writes nothing"


# --- nulls ---


def squared_scores_of_random_directions(weights, head, mode, n=40_000):
    drawn = torch.randn(n, weights.d_model, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = reference.dense(weights, head, mode)
    return (drawn @ matrix).square().sum(-1) / drawn.square().sum(-1) / matrix.square().sum()


@pytest.mark.parametrize("mode", MODES)
def test_random_band_holds_its_share_of_random_directions(mode):
    """The normal approximation of CS² at 68%, where few dimensions do not matter yet; the mean is 1/d."""
    weights = reference.random_weights(layers=2, heads=2, d_model=96, d_head=24)
    for head in [(0, 1), (1, 0)]:
        squares = squared_scores_of_random_directions(weights, head, mode)
        low, high = th.random_band(weights, mode, head, level=0.6827)
        assert squares.mean().item() == pytest.approx(1 / 96, rel=0.02)
        assert (high**2 - low**2) / 2 == pytest.approx(squares.std().item(), rel=0.03)
        inside = (squares.sqrt() > low) & (squares.sqrt() < high)
        assert inside.double().mean().item() == pytest.approx(0.68, abs=0.02)
        wider = th.random_band(weights, mode, head)
        assert 0 <= wider[0] < low < high < wider[1]


def test_rotated_null_stays_in_the_write_space():
    """E over directions uniform in the write space of CS² is the plain mean of the components' CS²."""
    null = th.rotated_null(WEIGHTS, "Q", (0, 2), (2, 1), n=20_000)
    components = th.component_scores(WEIGHTS, "Q", [(2, 1)]).into((2, 1))[0, 2]
    assert null.square().mean().item() == pytest.approx(components.square().mean().item(), rel=0.02)
    assert torch.equal(null, th.rotated_null(WEIGHTS, "Q", (0, 2), (2, 1), n=20_000))
    assert not torch.equal(null, th.rotated_null(WEIGHTS, "Q", (0, 2), (2, 1), n=20_000, seed=1))


# --- a channel that is there by construction ---


def planted(seed: int, share: float) -> th.HeadWeights:
    """Random heads, but component 5 of writer 0.3 writes exactly what reader 1.0's query sees best."""
    weights = reference.random_weights(layers=2, heads=8, d_model=256, d_head=16, seed=seed)
    target = torch.linalg.svd(reference.dense(weights, (1, 0), "Q")).U[:, 0]
    basis = torch.linalg.qr(torch.cat([target[:, None], weights.W_O[0, 3, :15].T], 1)).Q.T
    basis = basis[[*range(1, 6), 0, *range(6, 16)]]
    energy = torch.full((16,), 1.0, dtype=torch.float64)
    energy[:5], energy[6:] = torch.linspace(1.4, 1.2, 5), torch.linspace(0.009, 0.001, 10)
    energy[5] = 0.0
    energy[5] = share / (1 - share) * energy.sum()
    weights.W_V[0, 3], weights.W_O[0, 3] = torch.linalg.qr(weights.W_V[0, 3]).Q, energy.sqrt()[:, None] * basis
    return weights


def test_component_scores_find_a_planted_channel_that_head_scores_miss():
    first = 0
    for seed in range(10):
        weights = planted(seed, share=0.01)
        assert weights.ov.energy[0, 3, 5].item() == pytest.approx(0.01)
        scores = th.component_scores(weights, "Q", [(1, 0)])
        found = scores.rank((0, 3))
        assert (found.part, found.rank) == ((0, 3, 5), 1) and found.z > 4 and found.outlier
        assert scores.loudest([(0, h) for h in range(8)]) == (0, 3, 5)
        assert scores.values[0].flatten().sort().values[-2] < 0.75 * found.score
        first += th.head_scores(weights, "Q", [(1, 0)]).rank((0, 3)).rank == 1
    assert first <= 5, "the head score should be blind to it"


# --- rotary offsets ---


def test_offset_zero_is_the_weights_themselves(weights):
    same = th.rotated_queries(weights, torch.ones(weights.d_head), torch.zeros(weights.d_head))
    assert torch.equal(same.W_Q, weights.W_Q) and torch.equal(same.b_Q, weights.b_Q) and same.W_O is weights.W_O


@pytest.mark.parametrize("name", ["tiny-neox", "tiny-llama"])
@pytest.mark.parametrize("offset", [0, 1, 5])
def test_rotated_queries_give_the_models_scores_at_that_offset(tiny, name, offset):
    model = tiny(name)
    weights = th.head_weights(model)
    _, cache = model.run_with_cache(th.tasks.ioi.generate(model, 4).tokens)
    cos, sin = (a[0, 0] for a in reference.angles(model, torch.tensor([offset])))
    rotated = th.rotated_queries(weights, cos, sin)
    for layer in (0, 2):
        x = reference.normalise(model, cache[f"blocks.{layer}.hook_resid_pre"])
        q = torch.einsum("bsd,hdk->bhsk", x, rotated.W_Q[layer]) + rotated.b_Q[layer][:, None]
        k = torch.einsum("bsd,hdk->bhsk", x, rotated.W_K[layer]) + rotated.b_K[layer][:, None]
        ours = (q @ k.mT).diagonal(-offset, -2, -1) / weights.d_head**0.5
        theirs = cache[f"blocks.{layer}.attn.hook_attn_scores"].diagonal(-offset, -2, -1)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
