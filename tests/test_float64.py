"""Every formula in float32 against the same formula in numpy float64, written independently (`dense`): to 1e-4."""

import importlib
import inspect
import itertools
import pkgutil
from types import SimpleNamespace

import jaxtyping
import numpy as np
import pytest
import reference
import torch
from conftest import TINY
from dense import Dense, f64, softmax, turn

import th_utils
import th_utils as th
from th_utils import stats
from th_utils.channels import fit as search
from th_utils.channels import sweep as traversal
from th_utils.models.tiny import build
from th_utils.runs import ioi_circuit as circuit
from th_utils.tasks import ioi
from th_utils.views.live import channel_playground as playground
from th_utils.weights import composition

BOUND = 1e-4  # of the largest number; what float32 leaves of a sum of some thousand terms is about 1e-6
CASES = {}
FACTOR, TWO = 0.3, [(0, 1, 0), (2, 2, 1)]
MOVER, SENDERS = (3, 1), [(0, 2), (1, 1), (2, 3)]


def case(*names: str):
    """Register a function that gives what `th_utils` computes and what it must be, as lists of numbers."""

    def register(function):
        CASES[function] = names
        return function

    return register


@pytest.fixture(scope="module", params=TINY)
def w(request, tiny):
    return world(request.param, tiny(request.param))


def world(name, model):
    """One tiny model, its dense double, and what both compute for the same prompts."""
    w = SimpleNamespace(name=name, model=model)
    w.dense, w.weights = Dense(w.model, w.name), th.head_weights(w.model)
    w.random = reference.random_weights(dtype=torch.float32, seed=4).to(w.weights.W_Q.device)
    w.prompts = ioi.generate(w.model, 5, seed=1)
    corrupted = ioi.corrupt(w.model, w.prompts, "ABC")
    w.clean, w.end = th.run(w.model, w.prompts, "all", keep=1), th.run(w.model, w.prompts)
    w.new = th.run(w.model, corrupted, "all")
    w.rows = [tokens[: end + 1].numpy() for tokens, end in zip(w.prompts.tokens, w.prompts.end, strict=True)]
    w.passes = [w.dense.forward(row) for row in w.rows]
    w.other = [
        w.dense.forward(tokens[: len(row)].numpy()) for tokens, row in zip(corrupted.tokens, w.rows, strict=True)
    ]
    w.ids = torch.stack([w.prompts.answer, w.prompts.distractor], 1)
    w.target = th.channel(w.weights, th.decompose_ov(w.weights), TWO)
    w.where = {name: at.tolist() for name, at in w.prompts.positions.items()}
    return w


def flat(numbers) -> np.ndarray:
    if isinstance(numbers, torch.Tensor):
        return f64(numbers).ravel()
    if isinstance(numbers, list | tuple):
        return np.concatenate([flat(one) for one in numbers])
    return np.asarray(numbers, dtype=np.float64).ravel()


@pytest.fixture(autouse=True, scope="module")
def as_users_have_it():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


# --- weights: random ones, and a model's ---


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


def every(w, compute):
    """`compute(weights)` -> (got, expected), for random weights and the model's."""
    return zip(*(compute(weights) for weights in (w.random, w.weights)), strict=True)


@case("weights.head_weights")
def head_weights(w):
    names = ("W_Q", "W_K", "W_V", "W_O")
    return [getattr(w.weights, name) for name in names], [layer[name] for name in names for layer in w.dense.layers]


@case("decomposition.decompose_ov", "decomposition.decompose_qk", "decomposition.decompose_product")
def decompositions(w):
    def compute(weights):
        found, wanted = [], []
        for parts, kind in ((th.decompose_ov(weights), "OV"), (th.decompose_qk(weights), "Q")):
            found += [parts.singular_values, parts.read.mT * parts.singular_values[..., None, :] @ parts.write]
            dense = np.array([matrix(weights, head, kind) for head in heads(weights)])
            wanted += [np.linalg.svd(dense, compute_uv=False)[:, : weights.d_head], dense]
        return found, wanted

    return every(w, compute)


@case("composition.reader_factors")
def reader_factors(w):
    def compute(weights):
        dense = [matrix(weights, head, mode) for mode in "QKV" for head in heads(weights)]
        factors = [composition.reader_factors(weights, mode) for mode in "QKV"]
        return [M @ M.mT for M in factors], [B @ B.T for B in dense]

    return every(w, compute)


@case("composition.component_scores", "composition.head_scores")
def scores(w):
    def compute(weights):
        ov, found, wanted = th.decompose_ov(weights), [], []
        for mode in "QKV":
            found += [th.component_scores(weights, ov, mode), th.head_scores(weights, mode)]
            one = np.full((*ov.singular_values.shape, len(heads(weights))), np.nan)
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

    return every(w, compute)


@case("composition.component_to_component")
def cosines(w):
    def compute(weights):
        ov, qk = th.decompose_ov(weights), th.decompose_qk(weights)
        found = [th.component_to_component(ov, qk, (0, 1, 2), side) for side in ("read", "write")]
        v = component(weights, (0, 1, 2))[2]
        reads = [[component(weights, (*h, k), "Q") for k in range(weights.d_head)] for h in heads(weights)]
        return found, [abs(one[side] @ v) for side in (0, 2) for row in reads for one in row]

    return every(w, compute)


@case("composition.random_baseline")
def random_baseline(w):
    def compute(weights):
        d, wanted = weights.d_model, []
        for head in heads(weights):  # the variance of v S vᵀ for v uniform on the sphere, with S = B Bᵀ / ‖B‖²
            B = matrix(weights, head, "K")
            S = B @ B.T / np.linalg.norm(B) ** 2
            wanted.append(np.sqrt(2 / (d * (d + 2)) * (np.trace(S @ S) - np.trace(S) ** 2 / d)))
        mean, sd = th.random_baseline(weights, "K")
        return [mean, sd], [1 / d, wanted]

    return every(w, compute)


@case("composition.rotated_null")
def rotated_null(w):
    def compute(weights):
        ov = th.decompose_ov(weights)
        mixing = f64(torch.randn(7, weights.d_head, generator=torch.Generator().manual_seed(3)))
        v = mixing / np.linalg.norm(mixing, axis=1)[:, None] @ f64(ov.write[0, 2])
        B = matrix(weights, (2, 1), "Q")
        found = th.rotated_null(weights, ov, "Q", (0, 2), (2, 1), n=7, seed=3)
        return found, np.linalg.norm(v @ B, axis=1) / np.linalg.norm(B)

    return every(w, compute)


@case("composition.z_scores", "prediction.standing")
def z_scores(w):
    found = th.component_scores(w.weights, th.decompose_ov(w.weights), "Q", [(2, 0), (3, 1)])
    x = f64(found).reshape(-1, 2)
    z = (x - np.nanmean(x, 0)) / np.nanstd(x, 0)
    place, known = th.standing(found, (1, 2), 1), x[np.isfinite(x[:, 1]), 1]
    best = f64(found)[1, 2, :, 1].max()
    rank = [(known > best).sum() + 1, known.size, (best - known.mean()) / known.std()]
    return [th.z_scores(found), place.rank, place.of, place.z], [z, rank]


@case("composition.rotated_queries")
def rotated_queries(w):
    n = 4
    angle = 5 * 10000.0 ** (-torch.arange(n // 2).double() / (n // 2))
    cos, sin = (f(angle).float().repeat(2) for f in (torch.cos, torch.sin))

    turned = th.rotated_queries(w.random, cos, sin)
    rows = [f64(getattr(w.random, name)).reshape(1, -1, w.random.d_head) for name in ("W_Q", "b_Q")]
    return [turned.W_Q, turned.b_Q], [turn(one, [5], (n, 1e4)) for one in rows]


@case(
    "channels.channel", "channels.Channel.gram", "edits.scale_component", "edits.zero_component", "edits.set_component"
)
def channels(w):
    def compute(weights):
        target = th.channel(weights, th.decompose_ov(weights), TWO)
        v = np.array([component(weights, part)[2] for part in TWO])
        W_O = [f64(weights.W_O[part[:2]]) for part in TWO]
        made = [th.scale_component(weights, target, FACTOR), th.zero_component(weights, target),
                th.set_component(weights, target, [1.5, -2.0])]  # fmt: skip
        found = [target.directions, target.gram(), target.readout, torch.einsum("ck,ckd->cd", target.steer, torch.stack(
            [weights.W_O[part[:2]] for part in TWO]))]  # fmt: skip
        found += [edit.left @ edit.right for edits in made for edit in edits] + [edit.bias for edit in made[2]]
        wanted = [v, v @ v.T, [M @ one for M, one in zip(W_O, v, strict=True)], v]
        for factor in (FACTOR, 0, 0):
            wanted += [(factor - 1) * M @ np.outer(one, one) for M, one in zip(W_O, v, strict=True)]
        return found, [*wanted, 1.5 * v[0], -2.0 * v[1]]

    return every(w, compute)


@case("edits.scale_head", "edits.scale_query", "edits.scale_reading", "search.head_edits")
def head_edits(w):
    def compute(weights):
        directions = torch.randn(3, weights.d_model, generator=torch.Generator().manual_seed(0))
        made = [th.scale_head(weights, (1, 2), FACTOR), th.scale_query(weights, (1, 2), FACTOR),
                th.scale_reading(weights, (1, 2), directions, FACTOR)]  # fmt: skip
        factors = torch.ones(weights.n_layers, weights.n_heads)
        factors[1, 2] = FACTOR
        made += th.head_edits(weights, torch.stack([factors, factors]))
        W_O, W_Q, D = f64(weights.W_O[1, 2]), f64(weights.W_Q[1, 2]), f64(directions)
        seen = D.T @ np.linalg.inv(D @ D.T) @ D  # the projector on the directions
        out, queries = (FACTOR - 1) * W_O, (FACTOR - 1) * W_Q
        return [edit.left @ edit.right for edit in made], [out, queries, (FACTOR - 1) * seen @ W_Q, out, queries]

    return every(w, compute)


# --- runs, interventions, patching: a model ---


def stored(w, run, passes):
    """All numbers of a run of all positions, and those of the dense passes."""
    found = [getattr(run, name)[:, i, : len(row)] for name in ("resid", "q", "z") for i, row in enumerate(w.rows)]
    found += [run.pattern[:, i, :, : len(row), : len(row)] for i, row in enumerate(w.rows)]
    wanted = [one[name] for name in ("resid", "q", "z") for one in passes]
    return found, wanted + [one["pattern"] for one in passes]


def ends(w, passes, name="logits"):
    """What the dense passes hold at END."""
    return [one[name][-1] if name == "logits" else one[name][:, -1] for one in passes]


def again(w, change):
    """The dense passes under `change(prompt, layer, point, value)`."""
    return [w.dense.forward(row, lambda *a, i=i: change(i, *a)) for i, row in enumerate(w.rows)]


def directions(w):
    return [(part[:2], component(w.weights, part)[2]) for part in TWO]


def written(w, value, new, end_only):
    """z of one layer with the coordinates c of the channel's components in it replaced by new(i, c)."""

    def change(prompt, layer, point, z):
        if point != "z":
            return None
        z = z.copy()
        for i, (head, v) in enumerate(directions(w)):
            if head[0] == layer:
                W_O = f64(w.weights.W_O[head])
                rows = slice(-1, None) if end_only else slice(None)
                c = z[rows, head[1]] @ W_O @ v
                z[rows, head[1]] += np.outer(new(i, c) - c, v @ np.linalg.pinv(W_O))
        return z

    return again(w, change)


@case("runs.run", "runs.Run.at")
def run(w):
    return stored(w, w.clean, w.passes)


@case("runs.run")
def keys_and_values(w):
    heads = w.model.cfg.n_heads // w.clean.keys[0].shape[2]
    found, wanted = [], []
    for layer, (keys, values) in enumerate(zip(w.clean.keys, w.clean.values, strict=True)):
        for i, row in enumerate(w.rows):
            found += [x[i, : len(row)].repeat_interleave(heads, 1) for x in (keys, values)]
            one = w.passes[i]
            wanted += [turn(one["k"][layer], np.arange(len(row)), w.dense.rotary), one["v"][layer]]
    return found, wanted


@case("runs.rerun", "runs.kept_at", "channels.Channel.scale")
def rerun(w):
    hooks = w.target.scale(FACTOR)[1:]
    passes = written(w, w.target, lambda i, c: FACTOR * c if i else c, False)
    found, wanted = stored(w, th.rerun(w.model, w.clean, hooks), passes)
    kept = th.rerun(w.model, th.kept_at(w.clean, 2), hooks)
    return [*found, kept.at(kept.z).transpose(0, 1)], [*wanted, ends(w, passes, "z")]


@case("runs.rerun_last", "channels.Channel.set", "channels.Channel.zero", "channels.Channel.coordinates")
def rerun_last(w):
    values = torch.linspace(-3, 3, 10).view(5, 2)
    found, wanted = [w.target.coordinates(w.clean.at(w.clean.z))], []
    z = ends(w, w.passes, "z")
    wanted.append([[one[head] @ f64(w.weights.W_O[head]) @ v for head, v in directions(w)] for one in z])
    for hooks, new in (
        (w.target.set([1.5, -2.0]), lambda i, c: c * 0 + [1.5, -2.0][i]),
        (w.target.zero(), lambda i, c: 0 * c),
    ):
        last, passes = th.rerun_last(w.model, w.end, hooks), written(w, w.target, new, True)
        found += [th.logits(w.model, last), last.at(last.resid).transpose(0, 1)]
        wanted += [ends(w, passes), ends(w, passes, "resid")]
    each = th.rerun_last(w.model, w.end, w.target.set(values))
    return [*found, w.target.coordinates(each.at(each.z))], [*wanted, f64(values)]


@case("outputs.logits", "outputs.logit_difference", "outputs.answer_loss", "outputs.top1")
def logits(w):
    dense = np.array(ends(w, w.passes))
    answer, distractor = w.ids.T.numpy()
    each, log_p = np.arange(5), np.log(softmax(dense))
    found = [
        th.logits(w.model, w.end),
        th.logits(w.model, w.end, w.ids),
        th.logit_difference(w.model, w.end, w.prompts),
    ]
    found += [th.answer_loss(w.model, w.end, w.prompts), th.top1(w.model, w.end, w.prompts)]
    wanted = [dense, dense[each[:, None], w.ids.numpy()], dense[each, answer] - dense[each, distractor]]
    return found, [*wanted, -log_p[each, answer], dense.argmax(1) == answer]


@case("language.text_loss", "language.run_loss")
def losses(w):
    wanted = []
    for row, one in zip(w.rows, w.passes, strict=True):
        wanted.append(-np.log(softmax(one["logits"][:-1]))[np.arange(len(row) - 1), row[1:]].mean())
    return [th.text_loss(w.model, w.prompts), th.run_loss(w.model, w.clean)], [wanted, wanted]


@case("search.divergence", "search.scale_heads", "edits.edited", "search.fit_scales")
def divergence(w):
    factors = torch.ones(2, 4, 4)
    factors[0, 1, 2] = factors[1, 2, 0] = FACTOR

    def change(prompt, layer, point, value):
        if (layer, point) in ((1, "z"), (2, "q")):
            value = value.copy()
            value[:, {1: 2, 2: 0}[layer]] *= FACTOR
            return value
        return None

    passes = again(w, change)
    hooked = th.run(w.model, w.prompts, "all", th.scale_heads(factors))
    with th.edited(w.model, th.head_edits(w.weights, factors)):
        edited = th.run(w.model, w.prompts, "all")
    kl = []
    for one, two in zip(w.passes, passes, strict=True):
        p, q = np.log(softmax(one["logits"])), np.log(softmax(two["logits"]))
        kl.append((np.exp(p) * (p - q)).sum(-1))
    kl = np.concatenate(kl).mean()
    fit = search.fit_scales(w.model, lambda f: th.scale_heads(f, 1), factors, [(w.prompts, w.end)], w.clean, steps=1)
    end_only = again(w, lambda i, layer, point, value: _last(value, change(i, layer, point, value)))
    task = [-np.log(softmax(x))[a] for x, a in zip(ends(w, end_only), w.prompts.answer.tolist(), strict=True)]
    found, wanted = stored(w, hooked, passes)
    found += [edited.resid[:, i, : len(row)] for i, row in enumerate(w.rows)]  # z is scaled by the hooks alone
    wanted += [one["resid"] for one in passes]
    found += [th.divergence(w.model, w.clean, hooked), fit.history.to_numpy()]
    return found, [*wanted, kl, np.mean(task), kl]


def _last(old, new):
    """The new value at the last position alone."""
    return None if new is None else np.concatenate([old[:-1], new[-1:]])


@case("attribution.direct_logit_attribution", "patching.head_outputs")
def attribution(w):
    got = th.direct_logit_attribution(w.model, w.weights, w.end, w.prompts)
    wanted = {name: [] for name in ("heads", "mlps", "embedding", "bias", "written")}
    for (answer, distractor), one in zip(w.ids.tolist(), w.passes, strict=True):
        x = one["resid"][-1, -1]
        x, d = (y if w.dense.rms else y - y.mean() for y in (x, w.dense.W_U[:, answer] - w.dense.W_U[:, distractor]))
        d = d / np.sqrt((x**2).mean() + w.dense.eps)
        out = np.einsum("lhk,lhkd->lhd", one["z"][:, -1], f64(w.weights.W_O))
        biases = sum(np.broadcast_to(layer["b_O"], d.shape) @ d for layer in w.dense.layers)
        b_U = np.broadcast_to(w.dense.b_U, w.dense.W_U.shape[1:])
        for name, value in {
            "heads": out @ d, "mlps": one["mlp_out"][:, -1] @ d, "embedding": one["resid"][0, -1] @ d,
            "bias": biases + b_U[answer] - b_U[distractor], "written": out,
        }.items():  # fmt: skip
            wanted[name].append(value)
    stacked = [np.stack(wanted[name], -1) for name in ("heads", "mlps", "embedding", "bias")]
    outputs_ = th.head_outputs(w.weights, w.end.z)[:, :, 0]
    total = [x["logits"][-1] @ (np.eye(1, x["logits"].shape[1], a) - np.eye(1, x["logits"].shape[1], b))[0]
             for x, (a, b) in zip(w.passes, w.ids.tolist(), strict=True)]  # fmt: skip
    found = [got.heads, got.mlps, got.embedding, got.bias, outputs_, got.total]
    return found, [*stacked, np.stack(wanted["written"], 1), total]


@case("attribution.attention_between", "attribution.previous_token_attention", "attribution.head_table",
      "traversal.looks", "circuit.attention_gap", "circuit.clean_gap")  # fmt: skip
def attention(w):
    def between(query, key):
        pairs = zip(w.passes, w.where[query], w.where[key], strict=True)
        return np.stack([one["pattern"][:, :, q, k] for one, q, k in pairs], -1)

    before = np.stack([np.diagonal(one["pattern"], -1, 2, 3)[:, :, 1:].mean(-1) for one in w.passes], -1)
    table = th.head_table(w.model, w.weights, w.clean, w.prompts)
    share = th.direct_logit_attribution(w.model, w.weights, w.clean, w.prompts)
    gap = (between("END", "IO") - between("END", "S1"))[MOVER]
    spots = torch.stack([w.prompts.positions[name] for name in ("IO", "S2")], 1)
    seen = np.stack([between("END", name)[[1, 3], [0, 1]].mean(0) for name in ("IO", "S2")], 1)
    found = [th.attention_between(w.clean, w.prompts, "S2", "S1"), th.previous_token_attention(w.clean)]
    found += [table["END→IO"], table["previous token"], table["share"], th.clean_gap(w.clean, w.prompts, MOVER)]
    found += [circuit.attention_gap(w.clean.at(w.clean.pattern, axis=3)[MOVER[0], :, MOVER[1]], w.prompts)]
    wanted = [between("S2", "S1"), before, between("END", "IO").mean(-1), before.mean(-1)]
    wanted += [f64(share.heads).mean(-1) / f64(share.total).mean(), gap, gap]
    return [*found, traversal.looks(w.end, [(1, 0), (3, 1)], spots)], [*wanted, seen]


def edge(w, i, receiver, via, change, at):
    """The receiver's attention row and output at END when `change` is added to one of its inputs at one position."""
    (layer, head), one = receiver, w.passes[i]
    q, k, v = (one[name][layer][:, head].copy() for name in "qkv")
    {"q": q, "k": k, "v": v}[via][at] = w.dense.project(layer, via, one["resid"][layer][at : at + 1] + change)[0, head]
    where = np.arange(len(q))
    q, k = (turn(x[:, None], where, w.dense.rotary)[:, 0] for x in (q, k))
    row = softmax(q[-1] @ k.T / w.dense.d_head**0.5)
    return row, row @ v


def sent(w, i, sender, at):
    """What a sender writes more in the corrupted prompt, at one position."""
    layer, head = sender
    return (w.other[i]["z"] - w.passes[i]["z"])[layer, at, head] @ f64(w.weights.W_O[sender])


@case("patching.patch_edges", "patching.patch_input", "circuit.query_effects")
def edges(w):
    found, wanted = [], []
    for via in "qkv":
        source = w.prompts.positions["S2"]
        _, patterns, z = th.patch_edges(w.model, w.weights, w.clean, w.new, MOVER, via, SENDERS, source=source)
        for s, sender in enumerate(SENDERS):
            for i, row in enumerate(w.rows):
                at = len(row) - 1 if via == "q" else w.where["S2"][i]
                found += [patterns[s, i, : len(row)], z[s, i]]
                wanted += edge(w, i, MOVER, via, sent(w, i, sender, at), at)
    effects = th.query_effects(w.model, w.weights, w.clean, w.new, w.prompts, [MOVER])[MOVER]
    return [*found, [effects[sender] for sender in SENDERS]], [*wanted, [query_effect(w, sender) for sender in SENDERS]]


def gaps(w, rows):
    return np.mean([row[io] - row[s1] for row, io, s1 in zip(rows, w.where["IO"], w.where["S1"], strict=True)])


def query_effect(w, sender):
    before = gaps(w, [one["pattern"][MOVER[0], MOVER[1], -1] for one in w.passes])
    after = gaps(w, [edge(w, i, MOVER, "q", sent(w, i, sender, len(row) - 1), len(row) - 1)[0]
                     for i, row in enumerate(w.rows)])  # fmt: skip
    return (before - after) / before


@case("circuit.value_effects")
def value_effects(w):
    middle, senders = (2, 1), heads(w.weights)[:8]
    table = th.value_effects(w.model, w.weights, w.clean, w.new, w.prompts, [middle], [MOVER])
    before, wanted = gaps(w, [one["pattern"][MOVER[0], MOVER[1], -1] for one in w.passes]), []
    for sender in senders:
        after = []
        for i, one in enumerate(w.passes):
            _, z = edge(w, i, middle, "v", sent(w, i, sender, w.where["S2"][i]), w.where["S2"][i])
            change = (z - one["z"][middle[0], -1, middle[1]]) @ f64(w.weights.W_O[middle])
            after.append(edge(w, i, MOVER, "q", change, -1 + len(w.rows[i]))[0])
        wanted.append(gaps(w, after) / before)
    return 1 - table[middle].to_numpy()[:8], wanted  # the share that stays: what goes is a difference of near numbers


@case("patching.path_patch", "patching.frozen_heads", "patching.ablated")
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
            if (layer, point) == (receiver[0], "q"):
                value = value.copy()
                value[-1, receiver[1]] = passes[i]["q"][layer, -1, receiver[1]]
                return value
            return None

        for receivers, expected in (((), passes), ([receiver], again(w, second))):
            patched = th.path_patch(w.model, w.weights, w.clean, w.new, [sender], receivers, frozen)
            found.append(patched.at(patched.resid).transpose(0, 1))
            wanted.append(ends(w, expected, "resid"))
    means = th.ablated(w.end, th.run(w.model, ioi.corrupt(w.model, w.prompts, "ABC")), "mean")[:, 0]
    return [*found, means], [*wanted, np.mean(ends(w, w.other, "z"), 0)[:, None]]


@case("faithfulness.keep_heads", "faithfulness.knock_out")
def keep_heads(w):
    chosen = [(0, 1), (2, 3)]
    found, wanted = [], []
    for function, kept in ((th.keep_heads, True), (th.knock_out, False)):

        def change(i, layer, point, z, kept=kept):
            if point != "z":
                return None
            keeps = np.array([((layer, head) in chosen) == kept for head in range(4)])
            return np.where(keeps[:, None], z, w.other[i]["z"][layer])

        result = function(w.model, w.prompts, w.new.z, chosen)
        found.append(result.at(result.resid).transpose(0, 1))
        wanted.append(ends(w, again(w, change), "resid"))
    return found, wanted


@case("traversal.traverse", "traversal.answers", "traversal.grid")
def traverse(w):
    points = traversal.grid(2.0, 2, 3)
    spots = torch.stack([w.prompts.positions[name] for name in ("IO", "S1")], 1)
    found, wanted = [points], [np.array(list(itertools.product([-2, 0, 2], repeat=2)))]
    found.append(th.traverse(w.model, w.end, w.target, points[:2], [MOVER], spots))
    for point in points[:2].tolist():
        passes = written(w, w.target, lambda i, c, point=point: c * 0 + point[i], True)
        wanted += [one["pattern"][MOVER][-1, at] for one, at in zip(passes, spots.tolist(), strict=True)]
    found.append(traversal.answers(w.model, w.end, w.target, points[1], w.ids))
    return found, [*wanted, [x[ids] for x, ids in zip(ends(w, passes), w.ids.tolist(), strict=True)]]


@case("geometry.position_codes", "playground.reading", "playground.attention_under")
def position_codes(w):
    given = torch.randn(2, 32, generator=torch.Generator().manual_seed(2))
    spots = torch.stack([w.prompts.positions[name] for name in ("IO", "S1")], 1)
    found, wanted = list(th.position_codes(w.model, w.end, MOVER, given, spots)), [[], []]
    for one, at in zip(w.passes, spots.tolist(), strict=True):
        x, D = (y if w.dense.rms else y - y.mean(-1, keepdims=True) for y in (one["resid"][MOVER[0], -1], f64(given)))
        scale, end = np.sqrt((x**2).mean() + w.dense.eps), len(one["resid"][0]) - 1
        keys = turn(one["k"][MOVER[0]][:, [MOVER[1]]], np.arange(end + 1), w.dense.rotary)[at, 0]
        asked = np.concatenate([one["q"][MOVER[0]][-1, [MOVER[1]]], D @ f64(w.weights.W_Q[MOVER]) / scale])
        codes = keys @ turn(asked[:, None], [end] * 3, w.dense.rotary)[:, 0].T / w.dense.d_head**0.5
        wanted[0].append(codes[:, 0])
        wanted[1].append(codes[:, 1:])
    change = torch.tensor([0.4, -0.3]).expand(5, 2)
    read = playground.reading(w.model, w.weights, w.end, w.prompts, w.target, MOVER)
    shown = playground.attention_under(read, change.to(read["b"]))
    added = f64(change[0]) @ np.array([v for _, v in directions(w)])
    rows = [edge(w, i, MOVER, "q", added, len(row) - 1)[0] for i, row in enumerate(w.rows)]
    return [*found, [shown[i, : len(row)] for i, row in enumerate(w.rows)]], [*wanted, rows]


# --- measures ---


@case("stats.rank_correlation", "stats.auroc", "stats.precision_at", "stats.mean", "stats.share", "stats.bootstrap",
      "prediction.predictive_power", "search.strongest", "geometry.information")  # fmt: skip
def measures(w):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 40)).astype(np.float32)
    hits = y + x > 0.3
    rank = [[sorted(v).index(one) for one in v] for v in (x.tolist(), y.tolist())]
    won = [(a > b) + 0.5 * (a == b) for a in x[hits] for b in x[~hits]]
    best = np.argsort(-x)[: hits.sum()]
    power = th.predictive_power(torch.tensor(x)[:, None], torch.tensor(hits)[:, None].float(), 0.5, 20)
    joint = np.array(
        [[np.mean(hits & (x > 0)), np.mean(hits & (x <= 0))], [np.mean(~hits & (x > 0)), np.mean(~hits & (x <= 0))]]
    )
    bits = (joint * np.log2(joint / joint.sum(1, keepdims=True) / joint.sum(0))).sum()
    found = [stats.rank_correlation(x, y), stats.auroc(x, hits), stats.precision_at(x, hits, int(hits.sum()))]
    found += [stats.mean(x).value, stats.share(hits).value, stats.bootstrap(np.mean, x).value, power.auroc.value]
    found += [th.strongest(torch.tensor(x), 3), th.information(hits, x > 0)]
    size = np.abs(x.astype(np.float64) - 1)
    wanted = [np.corrcoef(rank)[0, 1], np.mean(won), hits[best].mean(), x.astype(np.float64).mean(), hits.mean()]
    return found, [*wanted, x.astype(np.float64).mean(), np.mean(won), size >= np.sort(size)[-3], bits]


# --- the tests ---


def error(compute, w) -> float:
    """The largest difference, as a share of the largest number."""
    found, wanted = (flat(numbers if hasattr(numbers, "shape") else list(numbers)) for numbers in compute(w))
    assert found.shape == wanted.shape and np.array_equal(np.isnan(found), np.isnan(wanted))
    return np.nanmax(np.abs(found - wanted)) / np.nanmax(np.abs(wanted))


@pytest.mark.parametrize("compute", CASES, ids=lambda one: one.__name__)
def test_float32_agrees_with_a_formula_written_out_in_float64(compute, w):
    assert error(compute, w) < BOUND


# Functions without a formula of their own, and where what they do is tested.
ELSEWHERE = {
    "text, names, tokens, files, figures": "bridge blocks cards checks classes edit_files fetch figure hub inputs "
    "interrupts models outputs.spots prose style tiny ioi laundry_list colored_objects facts english prompts "
    "views viewer gallery cloud explorer maps atlas scrub widgets playground.playground stats.array",
    "choices and checks: indexing, no arithmetic": "weights.check_head weights.check_component weights.label "
    "weights.HeadWeights decomposition.check_ov channels.check_channel runs.rows outputs.last patching.earlier_heads "
    "faithfulness.head_mask attribution.mover_roles attribution.source_roles",
    "random draws, with properties in test_channels and test_faithfulness": "channels.random_channel "
    "faithfulness.random_like",
    "searches whose parts are tested here": "circuit.find_circuit traversal.best_settings",
    "scipy and scikit-learn in float64, with planted answers in test_geometry and test_stats": "geometry.margins "
    "geometry.reachable geometry.decode stats.logistic",
}  # fmt: skip


def public():
    """Every public function, and every method of a class, as "module.function" or "module.Class.method"."""
    for module in pkgutil.walk_packages(th_utils.__path__, "th_utils."):
        home, short = importlib.import_module(module.name), module.name.rsplit(".", 1)[1]
        own = {name: one for name, one in vars(home).items() if getattr(one, "__module__", "") == module.name}
        own |= {f"{name}.{of}": f for name, one in own.items() if inspect.isclass(one) for of, f in vars(one).items()}
        yield from (f"{short}.{name}" for name, one in own.items() if inspect.isfunction(one))


def test_every_formula_has_a_reference():
    tested = set(itertools.chain.from_iterable(CASES.values()))
    elsewhere = set(" ".join(ELSEWHERE.values()).split())
    names = {name for name in public() if "._" not in name}
    covered = {name for name in names if any(name == one or name.startswith(f"{one}.") for one in elsewhere)}
    assert not names - tested - covered, "give these a case, or say in ELSEWHERE why they need none"
    assert not tested - names and not tested & covered
    assert all(any(name == one or name.startswith(f"{one}.") for name in names) for one in elsewhere), "no longer there"


@pytest.mark.parametrize("fold", [False, True])
def test_the_reference_agrees_with_transformers_in_float64(w, fold):
    """Up to the rotary angles, which transformers computes in float32, and float32 weights after folding."""
    dense, theirs = Dense(th.load_model(w.name, fold=fold), w.name), build(th.MODELS[w.name])[0].double()
    for row in w.rows:
        one, other = dense.forward(row)["logits"], f64(theirs(torch.tensor(row)[None]).logits[0])
        if fold:
            one, other = (x - x.mean(-1, keepdims=True) for x in (one, other))
        assert np.abs(one - other).max() < (1e-5 if fold or w.dense.rotary[0] else 1e-12)


@pytest.mark.real
def test_the_default_model_agrees_with_float64(default_model):
    """Its weights, in a few heads, and one prompt through all of its layers."""
    weights = th.head_weights(default_model)
    ov = th.decompose_ov(weights)
    reader, writers = (20, 0), [(0, 3), (7, 8), (19, 2)]
    for mode in "QKV":
        B = matrix(weights, reader, mode)
        whole, parts = th.head_scores(weights, mode, [reader]), th.component_scores(weights, ov, mode, [reader])
        for writer in writers:
            A = matrix(weights, writer, "OV")
            sizes, vh = np.linalg.svd(A)[1:]
            assert np.abs(f64(ov.singular_values[writer]) - sizes[:64]).max() < BOUND * sizes[0]
            wanted = np.linalg.norm(vh[:64] @ B, axis=1) / np.linalg.norm(B)
            assert np.abs(f64(parts[writer])[:, 0] - wanted).max() < BOUND
            assert abs(float(whole[writer]) - np.linalg.norm(A @ B) / np.linalg.norm(A) / np.linalg.norm(B)) < BOUND
    prompts = ioi.generate(default_model, 1, seed=1)
    found = th.run(default_model, prompts, "all")
    dense = Dense(default_model, "smollm2-135m").forward(prompts.tokens[0].numpy())
    assert np.abs(f64(found.pattern[:, 0]) - dense["pattern"]).max() < BOUND
    for got, wanted in ((found.z[:, 0], dense["z"]), (th.logits(default_model, found)[0], dense["logits"][-1])):
        assert np.abs(f64(got) - wanted).max() < BOUND * np.abs(wanted).max()
