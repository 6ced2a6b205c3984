"""A transformer written out in numpy float64, one prompt at a time and without batches, padding or caches.

Nothing of `th_utils` or torch computes here: the tests compare both with it, and it with `transformers` in float64.
"""

import numpy as np
from scipy.special import ndtr

# Dimensions of each head that are turned, and the base of their angles.
ROTARY = {"tiny-gpt2": (0, 1.0), "tiny-neox": (4, 1e4), "tiny-llama": (8, 1e4), "smollm2-135m": (64, 1e5)}
ACTIVATIONS = {
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu": lambda x: x * ndtr(x),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def f64(x) -> np.ndarray:
    """A tensor as float64, None as zero."""
    return np.zeros(()) if x is None else x.detach().cpu().numpy().astype(np.float64)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def turn(x: np.ndarray, positions: np.ndarray, rotary: tuple[int, float]) -> np.ndarray:
    """Rotary positions as a product of complex numbers: x [pos, ..., d_head], entries i and i + n/2 are one number."""
    n, base = rotary
    if not n:
        return x
    half = n // 2
    angle = np.asarray(positions)[:, None] * base ** (-np.arange(half) / half)
    angle = angle.reshape(len(angle), *[1] * (x.ndim - 2), half)
    z = (x[..., :half] + 1j * x[..., half:n]) * np.exp(1j * angle)
    return np.concatenate([z.real, z.imag, x[..., n:]], -1)


class Dense:
    """The weights of a model and its forward pass, which `change` may alter.

    `change(layer, point, value)` sees resid, q, k, v, pattern, z, attn_out and mlp_out of every layer, `q` and `k`
    before rotation, [pos, heads, d_head]; `pattern` [heads, pos, pos]. What it returns is used, unless it is None.
    """

    def __init__(self, model, name: str):
        cfg, groups = model.cfg, model.cfg.n_heads // (model.cfg.n_key_value_heads or model.cfg.n_heads)
        self.eps, self.act, self.d_head = cfg.eps, ACTIVATIONS[cfg.act_fn], cfg.d_head
        self.rotary, self.rms = ROTARY[name], "RMS" in cfg.normalization_type
        self.parallel, self.layers = cfg.parallel_attn_mlp, []
        for block in model.blocks:
            attn, mlp = block.attn, block.mlp
            layer = {n: f64(getattr(attn, n)) for n in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O")}
            for n in ("W_K", "W_V", "b_K", "b_V"):
                layer[n] = np.repeat(layer[n], groups, 0) if layer[n].ndim else layer[n]
            layer |= {n: f64(getattr(mlp, n)) for n in ("W_in", "b_in", "W_gate", "W_out", "b_out")}
            layer |= {n: self.gain(getattr(block, n)) for n in ("ln1", "ln2")}
            self.layers.append(layer)
        self.final, self.W_E = self.gain(model.ln_final), f64(model.W_E)
        self.W_U, self.b_U = f64(model.W_U), f64(model.b_U)
        self.W_pos = f64(model.W_pos) if cfg.positional_embedding_type == "standard" else None

    def gain(self, norm) -> tuple[np.ndarray, np.ndarray]:
        linear = norm.original_component
        return f64(linear.weight), f64(getattr(linear, "bias", None))

    def norm(self, x: np.ndarray, gain: tuple) -> np.ndarray:
        x = x if self.rms else x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.eps) * gain[0] + gain[1]

    def project(self, layer: int, name: str, x: np.ndarray) -> np.ndarray:
        """q, k or v [pos, heads, d_head] of a stream [pos, d_model], before rotation."""
        own, letter = self.layers[layer], name.upper()
        return np.einsum("pd,hdk->phk", self.norm(x, own["ln1"]), own["W_" + letter]) + own["b_" + letter]

    def attend(self, q: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Patterns [heads, pos, pos] of queries and keys before rotation."""
        where = np.arange(len(q))
        scores = np.einsum("qhk,shk->hqs", turn(q, where, self.rotary), turn(k, where, self.rotary)) / self.d_head**0.5
        return softmax(np.where(np.tri(len(q), dtype=bool), scores, -np.inf))

    def mlp(self, layer: int, x: np.ndarray) -> np.ndarray:
        own = self.layers[layer]
        x = self.norm(x, own["ln2"])
        inner = self.act(x @ own["W_gate"]) * (x @ own["W_in"]) if own["W_gate"].ndim else None
        inner = self.act(x @ own["W_in"] + own["b_in"]) if inner is None else inner
        return inner @ own["W_out"] + own["b_out"]

    def unembed(self, stream: np.ndarray) -> np.ndarray:
        return self.norm(stream, self.final) @ self.W_U + self.b_U

    def forward(self, tokens, change=lambda layer, point, value: None) -> dict:
        """All that a pass computes, stacked over layers; `resid` has one more, `logits` are [pos, vocab]."""
        tokens = np.asarray(tokens)
        resid = self.W_E[tokens] + (0 if self.W_pos is None else self.W_pos[: len(tokens)])
        kept = {name: [] for name in ("resid", "q", "k", "v", "pattern", "z", "attn_out", "mlp_out")}

        def keep(layer, point, value):
            new = change(layer, point, value)
            kept[point].append(value if new is None else new)
            return kept[point][-1]

        for n, own in enumerate(self.layers):
            resid = keep(n, "resid", resid)
            q, k, v = (keep(n, name, self.project(n, name, resid)) for name in "qkv")
            pattern = keep(n, "pattern", self.attend(q, k))
            z = keep(n, "z", np.einsum("hqs,shk->qhk", pattern, v))
            out = keep(n, "attn_out", np.einsum("phk,hkd->pd", z, own["W_O"]) + own["b_O"])
            out = out + keep(n, "mlp_out", self.mlp(n, resid if self.parallel else resid + out))
            resid = resid + out
        kept["resid"].append(resid)
        return {name: np.stack(values) for name, values in kept.items()} | {"logits": self.unembed(resid)}
