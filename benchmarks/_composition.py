"""Composition scores against TransformerLens' own, the textbook's formula as written, and the machine's speed."""

from __future__ import annotations

import _common as common
import torch
from transformer_lens import FactoredMatrix
from transformer_lens.utilities import composition_scores

import th_utils as th
from th_utils.weights.composition import reader_factors
from th_utils.weights.svd import decompose_product

# layers, heads, d_model, d_head. The time does not depend on the values: the weights are random.
SIZES = {"GPT-2 small": (12, 12, 768, 64), "the default model": (30, 9, 576, 64)}

MOST_MB = 9000  # for the rival, which takes minutes beyond


def random_weights(layers: int, heads: int, d_model: int, d_head: int, seed: int = 0) -> th.HeadWeights:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(layers, heads, *shape, generator=generator) / d_model**0.5

    reads = (draw(d_model, d_head) for _ in range(3))
    return th.HeadWeights(*reads, draw(d_head, d_model), *torch.zeros(3, layers, heads, d_head))


def ours(weights: th.HeadWeights, mode: str) -> torch.Tensor:
    """From plain weights to the score of every component: the SVD of all heads is part of it, each time anew."""
    vars(weights).pop("_ov", None)  # it is kept otherwise
    return th.component_scores(weights, mode).values


def transformer_lens(weights: th.HeadWeights, mode: str) -> torch.Tensor:
    """What `TransformerBridge.all_composition_scores` (4.3) does with these matrices: [layer, head, layer, head]."""
    left = FactoredMatrix(weights.W_V, weights.W_O)
    qk = FactoredMatrix(weights.W_Q, weights.W_K.mT)
    return composition_scores(left, {"Q": qk, "K": qk.T, "V": left}[mode])


def transformer_lens_mb(layers: int, heads: int, d_model: int, d_head: int) -> float:
    """Both thin factors are repeated for every pair of heads, and their product is kept for every pair."""
    return (layers * heads) ** 2 * (2 * d_model * d_head + d_head**2) * 4 / 2**20


def fitting(size: tuple, limit_mb: float) -> tuple:
    """The size with as many layers as let TransformerLens' route fit into memory."""
    layers = max(n for n in range(2, size[0] + 1) if n == 2 or transformer_lens_mb(n, *size[1:]) < limit_mb)
    return layers, *size[1:]


def dense(weights: th.HeadWeights, head: tuple[int, int], mode: str) -> torch.Tensor:
    W_Q, W_K, W_V, W_O = (getattr(weights, name)[head] for name in ("W_Q", "W_K", "W_V", "W_O"))
    return {"Q": W_Q @ W_K.T, "K": W_K @ W_Q.T, "V": W_V @ W_O}[mode]


def pair_score(component: torch.Tensor, reader: torch.Tensor) -> torch.Tensor:
    """The formula as it stands: ‖A B‖ / (‖A‖ ‖B‖) of two dense matrices."""
    return (component @ reader).norm() / (component.norm() * reader.norm())


def textbook(size: tuple, mode: str = "Q", heads: int = 2, sample: int = 10) -> dict:
    """Dense matrices, a dense SVD per head, one product per component and reader: a sample, and what all would take.

    `milder` is more careful with the same dense matrices: one product of all directions of a writer per reader.
    """
    weights = random_weights(*size)
    layers, n_heads, _, d_head = size
    writers, reader = [(0, h) for h in range(heads)], (layers - 1, 0)
    matrix, sample = dense(weights, reader, mode), min(sample, d_head)
    u, s, vh = torch.linalg.svd(dense(weights, (0, 0), "V"))
    parts = [s[k] * torch.outer(u[:, k], vh[k]) for k in range(sample)]
    scores = th.component_scores(weights, mode, [reader]).into(reader)[0, 0, :sample]
    torch.testing.assert_close(torch.stack([pair_score(p, matrix) for p in parts]), scores, atol=1e-4, rtol=1e-3)
    cost = {
        "SVD of a head": common.summary(
            [common.once(lambda h=h: torch.linalg.svd(dense(weights, h, "V"))) for h in writers]
        ),
        "matrix of a reader": common.timed(lambda: dense(weights, reader, mode)),
        "one component, one reader": common.summary(
            [common.once(lambda k=k: pair_score(s[k] * torch.outer(u[:, k], vh[k]), matrix)) for k in range(sample)]
        ),
        "one writer, one reader": common.timed(lambda: (vh[:d_head] @ matrix).norm(dim=-1) / matrix.norm()),
    }
    pairs = n_heads**2 * layers * (layers - 1) // 2
    setting_up = layers * n_heads * sum(cost[name]["median"] for name in ("SVD of a head", "matrix of a reader"))
    return {
        "sample": cost,
        "ours": common.timed(lambda: ours(weights, mode)),
        "seconds": setting_up + pairs * d_head * cost["one component, one reader"]["median"],
        "milder seconds": setting_up + pairs * cost["one writer, one reader"]["median"],
    }


def operations(layers: int, heads: int, d_model: int, d_head: int) -> float:
    """Floating-point operations of the products that every route to all component scores of one mode must make."""
    return 2.0 * d_model * (heads * d_head) ** 2 * layers * (layers - 1) / 2


def against_the_machine(size: tuple, repeats: int = 5) -> dict:
    """Scores of one mode in turn with one square matrix product of as many operations, and where the time goes."""
    weights = random_weights(*size)
    write = weights.ov.write  # computed here, once
    side = round((operations(*size) / 2) ** (1 / 3))
    a, b, out = (torch.randn(side, side) for _ in range(3))
    result = {"GFLOP": round(operations(*size) / 1e9, 1), "side": side}
    for mode in "QKV":
        result[mode] = common.pairs(
            lambda: torch.mm(a, b, out=out), lambda mode=mode: th.component_scores(weights, mode), repeats
        )  # the ratio is the share of the ceiling that is reached
    layers, heads, d_model, d_head = size
    factors = reader_factors(weights, "Q")
    blocks = [factors[i].permute(1, 0, 2).reshape(d_model, heads * d_head).contiguous() for i in range(layers)]
    rows = [write[:i].reshape(-1, d_model) for i in range(layers)]
    result["profile"] = {
        "readers' thin factors": common.timed(lambda: reader_factors(weights, "Q")),
        "the products alone": common.timed(lambda: [rows[i] @ blocks[i] for i in range(1, layers)]),
    }
    return result


def against_transformer_lens(size: tuple, modes: str = "QKV") -> dict:
    """One pair of timings per mode; the numbers of both are compared before the ratio is taken."""
    weights, times = random_weights(*size), []
    for route in (ours, transformer_lens):
        route(random_weights(2, 2, 16, 4), modes[0])  # libraries load late parts the first time
    mask = torch.arange(size[0])[:, None] < torch.arange(size[0]).repeat_interleave(size[1])
    for mode in modes:
        found = []
        slow = common.once(lambda mode=mode, found=found: found.append(transformer_lens(weights, mode)))
        theirs = found[-1].flatten(2)
        times.append((slow, common.once(lambda mode=mode: ours(weights, mode))))
        same = th.head_scores(weights, mode).values
        same = torch.where(mask[:, None], same, 0.0)
        torch.testing.assert_close(torch.where(mask[:, None], theirs, 0.0), same, atol=1e-4, rtol=1e-3)
    return {
        "size": list(size),
        "slow": common.summary([a for a, _ in times]),
        "fast": common.summary([b for _, b in times]),
        "ratio": common.summary([a / b for a, b in times]),
        "head scores": common.timed(lambda: th.head_scores(weights, "Q")),
        "SVD": common.timed(lambda: decompose_product(weights.W_V, weights.W_O)),
    }


def memory(size: tuple, route: str, mode: str = "Q") -> float:
    """Extra peak memory of one call in MB; run it in a process of its own."""
    weights = random_weights(*size)
    small = random_weights(2, 2, 16, 4)
    call = {"ours": ours, "transformer_lens": transformer_lens}[route]
    call(small, mode)  # libraries take what they take the first time
    return common.extra_mb(lambda: call(weights, mode))


def composition() -> dict:
    result = {}
    for name, size in SIZES.items():
        whole = transformer_lens_mb(*size)
        fits = fitting(size, min(0.6 * common.available_mb(), MOST_MB))
        one, two = (
            {
                "ceiling": common.apart("against_the_machine", size, threads=threads),
                "lens": common.apart("against_transformer_lens", fits, "QKV" if threads == 1 else "Q", threads=threads),
            }
            for threads in (1, 2)
        )
        result[name] = {
            "size": list(size),
            "one thread": one | {"textbook": common.apart("textbook", size)},
            "two threads": two,
            "memory": {
                "size": list(fits),
                "ours": common.apart("memory", fits, "ours"),
                "lens": common.apart("memory", fits, "transformer_lens"),
                "ours, whole": common.apart("memory", size, "ours"),
                "lens, whole, by its formula": round(whole),
            },
        }
    return result
