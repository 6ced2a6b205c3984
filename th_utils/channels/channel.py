"""Take hold of a channel: the coordinates of a few OV components at one position, read, zeroed, scaled or set.

Component k of a head writes `c·v_k` with `c = (z W_O)·v_k`, where `v_k` is the unit vector of `Decomposition.write`
(Merullo et al. 2024). `c` is the component's activation, in units of the residual stream's length. A `Channel` is one
or several such components; its interventions change `c` and nothing else that the head writes.

The hooks act on `attn.hook_z`, so one list works in `model.run_with_hooks` (whole prompts) and in
`runs.rerun_last` (last token). The same interventions as changed weights are in `edits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._guards import indices, numbers
from ..classes import check_classes
from ..weights.heads import HeadWeights, check_component, label
from ..weights.svd import Decomposition, check_ov

Component = tuple[int, int, int]


@dataclass(frozen=True)
class Channel:
    """The write directions of some components, `directions[i]` written by head `heads[i]`.

    `directions`: [components, d_model] unit vectors; `readout`, `steer`: [components, d_head] with
    `c = z·readout` and `z + Δc·steer` adding exactly `Δc·direction` to what the head writes.
    """

    heads: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    directions: Float[Tensor, "components d_model"]
    readout: Float[Tensor, "components d_head"]
    steer: Float[Tensor, "components d_head"]

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def first_layer(self) -> int:
        return min(layer for layer, _ in self.heads)

    def gram(self) -> Float[Tensor, "components components"]:
        """Cosines between the directions: how far the channel really has as many dimensions as components."""
        return self.directions @ self.directions.T

    def coordinates(self, z: Float[Tensor, "layers batch heads d_head"]) -> Float[Tensor, "batch components"]:
        """Activation c of every component, from head outputs at one position (`run.at(run.z)`)."""
        z = numbers("z", z, like=self.readout)
        layers, heads = (max(axis) + 1 for axis in zip(*self.heads, strict=True))
        if z.ndim != 4 or len(z) < layers or z.shape[2] < heads or z.shape[3] != self.readout.shape[1]:
            raise ValueError(
                f"z must be [layers >= {layers}, batch, heads >= {heads}, d_head={self.readout.shape[1]}], "
                f"got {list(z.shape)}"
            )
        return torch.stack([z[head[0], :, head[1]] @ r for head, r in zip(self.heads, self.readout, strict=True)], -1)

    def _hooks(self, new_value, at: Int[Tensor, " batch"] | None) -> list:
        """One hook per layer; `new_value(i, c, rows)` gives component i's new coordinate from its old `[batch, pos]`.

        `runs` tells the hook which prompts it sees (`hook.rows`); TransformerLens shows it all of them.
        """
        at = None if at is None else indices("at", at, torch.iinfo(torch.int32).max, batch=None)
        layers: dict[int, list[int]] = {}
        for i, (layer, _) in enumerate(self.heads):
            layers.setdefault(layer, []).append(i)

        def make(members: list[int]):
            def hook(z: Tensor, hook) -> Tensor:
                changed = z.clone()
                rows = getattr(hook, "rows", slice(None))
                for i in members:
                    head = self.heads[i][1]
                    c = z[:, :, head] @ self.readout[i].to(z)
                    delta = new_value(i, c, rows) - c
                    if at is not None:
                        delta = delta * _at(at[rows], z)
                    changed[:, :, head] += delta[..., None] * self.steer[i].to(z)
                return changed

            return hook

        return [(f"blocks.{layer}.attn.hook_z", make(members)) for layer, members in layers.items()]

    def scale(self, factor: float | Sequence[float] | Tensor, at: Int[Tensor, " batch"] | None = None) -> list:
        """Hooks that multiply the coordinates: c ← factor·c; 0 removes the channel, −1 reverses it.

        `factor` is one number, one per component, or `[batch, components]`. `at` limits this to one
        position per prompt in whole runs; leave it None in `rerun_last`, which is END only.
        """
        factors = self._per_component(factor, "factor")
        return self._hooks(lambda i, c, rows: _of_batch(factors, rows, c)[..., i, None].to(c) * c, at)

    def zero(self, at: Int[Tensor, " batch"] | None = None) -> list:
        """Hooks that remove the components: c ← 0."""
        return self.scale(0.0, at)

    def set(self, value: float | Sequence[float] | Tensor, at: Int[Tensor, " batch"] | None = None) -> list:
        """Hooks that put the coordinates to given values: c ← value.

        `value` is one number, one per component, or `[batch, components]`.
        """
        values = self._per_component(value, "value")
        return self._hooks(lambda i, c, rows: _of_batch(values, rows, c)[..., i, None].to(c).expand_as(c), at)

    def _per_component(self, value, name: str) -> Tensor:
        values = numbers(name, value, like=self.directions)
        if values.ndim == 0:
            values = values.expand(len(self))
        if values.shape[-1] != len(self) or values.ndim > 2:
            raise ValueError(
                f"{name} must be one number, {len(self)} numbers (one per component {self.names}) "
                f"or [batch, {len(self)}], got shape {tuple(values.shape)}"
            )
        return values


def _at(positions: Tensor, z: Tensor) -> Tensor:
    """True at one position per prompt, [batch, pos]."""
    positions = indices("at", positions, z.shape[1], batch=len(z)).to(z.device)
    return torch.arange(z.shape[1], device=z.device) == positions[:, None]


def _of_batch(values: Tensor, rows: slice, c: Tensor) -> Tensor:
    if values.ndim < 2:
        return values
    if len(values[rows]) != len(c):
        raise ValueError(f"the channel was given values for {len(values)} prompts: the run has another number")
    return values[rows]


def channel(weights: HeadWeights, ov: Decomposition, components: Sequence[Component]) -> Channel:
    """The channel of some OV components `(layer, head, component)`.

    Several components of one head are orthogonal; those of different heads may not be (`Channel.gram`).
    Raises `ValueError` for no components, repeated ones, or ones outside the model.
    """
    check_ov(weights, ov)
    parts = [check_component(c, weights.n_layers, weights.n_heads, weights.d_head) for c in components]
    if not parts or len(set(parts)) != len(parts):
        raise ValueError(
            f"components must be distinct (layer, head, component) triples, at least one, got {components}"
        )
    directions = torch.stack([ov.write[c] for c in parts])
    return _channel(weights, tuple(c[:2] for c in parts), tuple(map(label, parts)), directions)


def check_channel(weights: HeadWeights, target: Channel) -> None:
    """`ValueError` for a channel of heads or a width that `weights` do not have."""
    for head in target.heads:
        weights.check_head(head)
    given, wanted = (*target.readout.shape[1:], *target.directions.shape[1:]), (weights.d_head, weights.d_model)
    if given != wanted:
        raise ValueError(f"the channel has d_head and d_model {given}, the weights {wanted}: they are of two models")


def random_channel(weights: HeadWeights, like: Channel, seed: int = 0) -> Channel:
    """A control: random unit directions inside the same heads' write spaces, as many as `like` has.

    Orthogonal to the directions of `like` in the same head, so that the control does not contain the channel.
    Raises `ValueError` when `like` leaves too few dimensions of a head for that.
    """
    check_channel(weights, like)
    generator = torch.Generator().manual_seed(seed)
    rows: list[Tensor] = []
    for i, (layer, head) in enumerate(like.heads):
        taken = [like.directions[j] for j in range(len(like)) if like.heads[j] == (layer, head)]
        taken += [rows[j] for j in range(i) if like.heads[j] == (layer, head)]
        if len(taken) >= weights.d_head:
            raise ValueError(
                f"no room for a control: the channel has over half the dimensions of head {label((layer, head))}"
            )
        mix = torch.randn(weights.d_head, generator=generator).to(weights.W_O)
        basis = torch.linalg.qr(weights.W_O[layer, head].T).Q
        avoid = torch.linalg.qr(torch.stack(taken, 1)).Q
        row = basis @ mix
        row = row - avoid @ (avoid.T @ row)
        rows.append(row / row.norm())
    names = tuple(f"{label(head)} random {seed}" for head in like.heads)
    return _channel(weights, like.heads, names, torch.stack(rows))


def _channel(weights: HeadWeights, heads, names, directions: Tensor) -> Channel:
    W_O = torch.stack([weights.W_O[head] for head in heads])
    readout = torch.einsum("ckd,cd->ck", W_O, directions)
    # steer W_O = direction: solvable because a component's direction lies in the row space of its head's W_O.
    steer = torch.linalg.lstsq(W_O.mT.double(), directions.double()[..., None]).solution[..., 0].to(W_O)
    missed = (torch.einsum("ck,ckd->cd", steer, W_O) - directions).norm(dim=-1) > 1e-2
    if missed.any():
        raise ValueError(
            f"head weights cannot write the direction of {names[int(missed.nonzero()[0])]}: "
            "pass ov = decompose_ov(weights) of the same weights"
        )
    return Channel(tuple(heads), tuple(names), directions, readout, steer)


check_classes(globals())
