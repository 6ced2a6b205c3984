"""Formulas in float32 against numpy float64, written independently (`dense`): to 1e-4 of the largest number."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import reference
import torch
from dense import Dense, f64, turn
from tiny_models import TINY, load, tiny_folder

import th_utils as th
from th_utils.models.hub import read_folder
from th_utils.tasks import ioi

BOUND = 1e-4  # of the largest number; what float32 leaves of a sum of some thousand terms is about 1e-6
FACTOR, TWO = 0.3, [(0, 1, 0), (2, 2, 1)]
MOVER = (3, 1)
WEIGHTS, MODELS = {}, {}  # the cases, by name


def of_weights(function):
    """Register a function of `HeadWeights` that gives what th_utils computes and what it must be."""
    WEIGHTS[function.__name__] = function


def of_models(function):
    """Register a function of a `world` that gives what th_utils computes and what it must be."""
    MODELS[function.__name__] = function


@pytest.fixture(scope="module", params=TINY)
def world(request, tiny):
    """One tiny model, its dense double, and what both compute for the same prompts."""
    model = tiny(request.param)
    w = SimpleNamespace(name=request.param, model=model, weights=th.head_weights(model))
    w.dense, w.prompts = Dense(model, w.name), ioi.generate(model, 5, seed=1)
    corrupted = ioi.corrupt(model, w.prompts, "ABC")
    w.clean, w.end = th.run(model, w.prompts, "all", keep=1), th.run(model, w.prompts)
    w.new = th.run(model, corrupted, "all")
    w.rows = [tokens[: end + 1].numpy() for tokens, end in zip(w.prompts.tokens, w.prompts.end, strict=True)]
    w.passes = [w.dense.forward(row) for row in w.rows]
    w.other = [
        w.dense.forward(tokens[: len(row)].numpy()) for tokens, row in zip(corrupted.tokens, w.rows, strict=True)
    ]
    w.ids = torch.stack([w.prompts.answer, w.prompts.distractor], 1)
    w.target = th.channel(w.weights, TWO)
    w.where = {name: at.tolist() for name, at in w.prompts.positions.items()}
    return w


def flat(numbers) -> np.ndarray:
    if isinstance(numbers, torch.Tensor):
        return f64(numbers).ravel()
    if isinstance(numbers, list | tuple):
        return np.concatenate([flat(one) for one in numbers])
    return np.asarray(numbers, dtype=np.float64).ravel()


def error(found, wanted) -> float:
    """The largest difference, as a share of the largest number."""
    found, wanted = flat(found), flat(wanted)
    assert found.shape == wanted.shape and np.array_equal(np.isnan(found), np.isnan(wanted))
    return np.nanmax(np.abs(found - wanted)) / np.nanmax(np.abs(wanted))


# --- weights ---


def heads(weights):
    return list(itertools.product(range(weights.n_layers), range(weights.n_heads)))


def matrix(weights, head, kind) -> np.ndarray:
    """W_OV, or what mode Q, K or V reads with, d_model × d_model."""
    W_Q, W_K, W_V, W_O = (f64(getattr(weights, name)[head]) for name in ("W_Q", "W_K", "W_V", "W_O"))
    return {"OV": W_V @ W_O, "V": W_V @ W_O, "Q": W_Q @ W_K.T, "K": W_K @ W_Q.T}[kind]


def component(weights, part, kind="OV") -> tuple[np.ndarray, float, np.ndarray]:
    """Read direction, singular value and write direction of one component; the largest entry of `write` positive."""
    u, s, vh = np.linalg.svd(matrix(weights, part[:2], kind))
    sign = np.sign(vh[part[2]][np.abs(vh[part[2]]).argmax()])
    return sign * u[:, part[2]], s[part[2]], sign * vh[part[2]]


@of_weights
def decompositions(weights):
    found, wanted = [], []
    for parts, kind in ((weights.ov, "OV"), (weights.qk, "Q")):
        found += [parts.singular_values, parts.read.mT * parts.singular_values[..., None, :] @ parts.write]
        dense = np.array([matrix(weights, head, kind) for head in heads(weights)])
        wanted += [np.linalg.svd(dense, compute_uv=False)[:, : weights.d_head], dense]
    return found, wanted


@of_weights
def scores(weights):
    found, wanted = [], []
    for mode in "QKV":
        found += [th.component_scores(weights, mode).values, th.head_scores(weights, mode).values]
        one = np.full((*weights.ov.singular_values.shape, len(heads(weights))), np.nan)
        whole = np.full((weights.n_layers, weights.n_heads, len(heads(weights))), np.nan)
        for i, reader in enumerate(heads(weights)):
            B = matrix(weights, reader, mode)
            for writer in heads(weights)[: reader[0] * weights.n_heads]:
                A = matrix(weights, writer, "OV")
                whole[(*writer, i)] = np.linalg.norm(A @ B) / np.linalg.norm(A) / np.linalg.norm(B)
                vh = np.linalg.svd(A)[2][: weights.d_head]
                one[(*writer, slice(None), i)] = np.linalg.norm(vh @ B, axis=1) / np.linalg.norm(B)
        wanted += [one, whole]
    return found, wanted


@of_weights
def channels_and_component_edits(weights):
    target, v = th.channel(weights, TWO), np.array([component(weights, part)[2] for part in TWO])
    W_O = [f64(weights.W_O[part[:2]]) for part in TWO]
    made = [th.scale_component(weights, target, FACTOR), th.scale_component(weights, target, 0.0),
            th.set_component(weights, target, [1.5, -2.0])]  # fmt: skip
    steered = [s @ weights.W_O[part[:2]] for s, part in zip(target.steer, TWO, strict=True)]
    found = [target.directions, target.readout, steered]
    found += [edit.left @ edit.right for edits in made for edit in edits] + [edit.bias for edit in made[2]]
    wanted = [v, [M @ one for M, one in zip(W_O, v, strict=True)], v]
    for factor in (FACTOR, 0, 0):
        wanted += [(factor - 1) * M @ np.outer(one, one) for M, one in zip(W_O, v, strict=True)]
    return found, [*wanted, 1.5 * v[0], -2.0 * v[1]]


# --- runs, interventions, patching ---


def stored(w, run, passes):
    """All numbers of a run of all positions, and those of the dense passes."""
    found = [getattr(run, name)[:, i, : len(row)] for name in ("resid", "q", "z") for i, row in enumerate(w.rows)]
    found += [run.pattern[:, i, :, : len(row), : len(row)] for i, row in enumerate(w.rows)]
    wanted = [one[name] for name in ("resid", "q", "z") for one in passes]
    return found, wanted + [one["pattern"] for one in passes]


def ends(passes, name="logits"):
    """What the dense passes hold at END."""
    return [one[name][-1] if name == "logits" else one[name][:, -1] for one in passes]


def again(w, change):
    """The dense passes under `change(prompt, layer, point, value)`."""
    return [w.dense.forward(row, lambda *a, i=i: change(i, *a)) for i, row in enumerate(w.rows)]


def directions(w):
    return [(part[:2], component(w.weights, part)[2]) for part in TWO]


def written(w, new, end_only):
    """The dense passes with the coordinates c of the channel's components replaced by new(i, c)."""

    def change(prompt, layer, point, z):
        if point != "z":
            return None
        z, rows = z.copy(), slice(-1, None) if end_only else slice(None)
        for i, (head, v) in enumerate(directions(w)):
            if head[0] == layer:
                W_O = f64(w.weights.W_O[head])
                c = z[rows, head[1]] @ W_O @ v
                z[rows, head[1]] += np.outer(new(i, c) - c, v @ np.linalg.pinv(W_O))
        return z

    return again(w, change)


@of_models
def head_weights(w):
    names = ("W_Q", "W_K", "W_V", "W_O")
    return [getattr(w.weights, name) for name in names], [layer[name] for name in names for layer in w.dense.layers]


@of_models
def run(w):
    return stored(w, w.clean, w.passes)


@of_models
def rerun(w):
    hooks = w.target.scale(FACTOR)[1:]
    passes = written(w, lambda i, c: FACTOR * c if i else c, False)
    found, wanted = stored(w, th.rerun(w.model, w.clean, hooks), passes)
    resumed = th.rerun(w.model, w.clean.resumable_at(2), hooks)
    return [*found, resumed.at().z.permute(2, 0, 1, 3)], [*wanted, ends(passes, "z")]


@of_models
def rerun_last_and_coordinates(w):
    found, values = [w.target.coordinates(w.clean)], torch.linspace(-3, 3, 10).view(5, 2)
    z = ends(w.passes, "z")
    wanted = [[[one[head] @ f64(w.weights.W_O[head]) @ v for head, v in directions(w)] for one in z]]
    for hooks, new in (
        (w.target.set([1.5, -2.0]), lambda i, c: c * 0 + [1.5, -2.0][i]),
        (w.target.scale(0.0), lambda i, c: 0 * c),
    ):
        last, passes = th.rerun_last(w.model, w.end, hooks), written(w, new, True)
        found += [th.logits(w.model, last), last.at().resid.transpose(0, 1)]
        wanted += [ends(passes), ends(passes, "resid")]
    each = th.rerun_last(w.model, w.end, w.target.set(values))
    return [*found, w.target.coordinates(each)], [*wanted, f64(values)]


@of_models
def path_patch(w):
    found, wanted, sender, receiver = [], [], (0, 2), (2, 1)
    for frozen in (False, True):

        def first(i, layer, point, value, frozen=frozen):
            """Heads as they were, the sender as in the corrupted prompt, both at END."""
            if point == "z":
                z = w.passes[i]["z"][layer].copy()
                if layer == sender[0]:
                    z[-1, sender[1]] = w.other[i]["z"][layer, -1, sender[1]]
                return z
            return w.passes[i]["mlp_out"][layer] if point == "mlp_out" and frozen else None

        passes = again(w, first)

        def second(i, layer, point, value, passes=passes):
            if (layer, point) != (receiver[0], "q"):
                return None
            value = value.copy()
            value[-1, receiver[1]] = passes[i]["q"][layer, -1, receiver[1]]
            return value

        for receivers, expected in (((), passes), ([receiver], again(w, second))):
            patched = th.path_patch(w.model, w.clean, w.new, [sender], receivers, frozen)
            found.append(patched.at().resid.transpose(0, 1))
            wanted.append(ends(expected, "resid"))
    return found, wanted


@of_models
def keep_heads(w):
    chosen = [(0, 1), (2, 3)]

    def change(i, layer, point, z):
        keeps = np.array([(layer, head) in chosen for head in range(4)])
        return np.where(keeps[:, None], z, w.other[i]["z"][layer]) if point == "z" else None

    found = th.keep_heads(w.model, w.prompts, w.new.z, chosen).at().resid.transpose(0, 1)
    return found, ends(again(w, change), "resid")


@of_models
def position_codes(w):
    given = torch.randn(2, 32, generator=torch.Generator().manual_seed(2))
    spots = torch.stack([w.prompts.positions[name] for name in ("IO", "S1")], 1)
    wanted = [[], []]
    for one, at in zip(w.passes, spots.tolist(), strict=True):
        x, D = (y if w.dense.rms else y - y.mean(-1, keepdims=True) for y in (one["resid"][MOVER[0], -1], f64(given)))
        scale, end = np.sqrt((x**2).mean() + w.dense.eps), len(one["resid"][0]) - 1
        keys = turn(one["k"][MOVER[0]][:, [MOVER[1]]], np.arange(end + 1), w.dense.rotary)[at, 0]
        queries = np.concatenate([one["q"][MOVER[0]][-1, [MOVER[1]]], D @ f64(w.weights.W_Q[MOVER]) / scale])
        codes = keys @ turn(queries[:, None], [end] * 3, w.dense.rotary)[:, 0].T / w.dense.d_head**0.5
        wanted[0].append(codes[:, 0])
        wanted[1].append(codes[:, 1:])
    return th.position_codes(w.model, w.end, MOVER, given, spots), wanted


# --- the tests ---


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_formula_of_weights_agrees_with_float64(name, weights):
    for these in (weights, reference.random_weights(dtype=torch.float32, seed=4)):
        assert error(*WEIGHTS[name](these)) < BOUND


@pytest.mark.parametrize("name", MODELS)
def test_a_formula_of_a_model_agrees_with_float64(name, world):
    assert error(*MODELS[name](world)) < BOUND


@pytest.mark.parametrize("fold", [False, True])
def test_the_reference_agrees_with_transformers_in_float64(world, fold):
    """Up to the rotary angles, which transformers computes in float32, and float32 weights after folding."""
    dense, theirs = Dense(load(world.name, fold=fold), world.name), read_folder(tiny_folder(world.name))[0].double()
    for row in world.rows:
        one, other = dense.forward(row)["logits"], f64(theirs(torch.tensor(row)[None]).logits[0])
        if fold:
            one, other = (x - x.mean(-1, keepdims=True) for x in (one, other))
        assert np.abs(one - other).max() < (1e-5 if fold or dense.rotary[0] else 1e-12)


@pytest.mark.real
def test_the_default_model_agrees_with_float64(default_model):
    """Its weights, in a few heads, and one prompt through all of its layers."""
    weights, reader = th.head_weights(default_model), (20, 0)
    for mode in "QKV":
        B = matrix(weights, reader, mode)
        whole, parts = (score(weights, mode, [reader]).into(reader) for score in (th.head_scores, th.component_scores))
        for writer in [(0, 3), (7, 8), (19, 2)]:
            A = matrix(weights, writer, "OV")
            sizes, vh = np.linalg.svd(A)[1:]
            assert np.abs(f64(weights.ov.singular_values[writer]) - sizes[:64]).max() < BOUND * sizes[0]
            wanted = np.linalg.norm(vh[:64] @ B, axis=1) / np.linalg.norm(B)
            assert np.abs(f64(parts[writer]) - wanted).max() < BOUND
            assert abs(float(whole[writer]) - np.linalg.norm(A @ B) / np.linalg.norm(A) / np.linalg.norm(B)) < BOUND
    found = th.run(default_model, ioi.generate(default_model, 1, seed=1), "all")
    dense = Dense(default_model, "smollm2-135m").forward(found.tokens[0].numpy())
    assert np.abs(f64(found.pattern[:, 0]) - dense["pattern"]).max() < BOUND
    for got, wanted in ((found.z[:, 0], dense["z"]), (th.logits(default_model, found)[0], dense["logits"][-1])):
        assert np.abs(f64(got) - wanted).max() < BOUND * np.abs(wanted).max()
