"""Take hold of a channel: coordinates of what a few heads write at one position, read, zeroed, scaled or set.

Component k of a head writes `c·v_k` with `c = (z W_O)·v_k`, where `v_k` is the unit vector of `weights.ov.write`
(Merullo et al. 2024). `c` is the component's activation, in units of the residual stream's length. A `Channel` is one
or several such components (`channel`), or directions in which heads write differently in two kinds of prompts
(`channel_from`); its interventions change `c` and nothing else that the head writes.

The hooks act on `attn.hook_z`, so one list works in `model.run_with_hooks` (whole prompts) and in
`rerun_last` (last token). The same interventions as changed weights are in `edits`.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._guards import indices, numbers, same_model, whole
from ..runs.hooks import Hook, rows_of
from ..runs.record import Run, Where
from ..weights.heads import Component, Head, HeadWeights, label

NOISE = 1e-6  # relative error of weights in float32, a few roundings in
TURNED = 1e-2  # how far noise may turn a component before we say so


@dataclass(frozen=True)
class Channel:
    """Some write directions, of components or of data, `directions[i]` written by head `heads[i]`.

    `directions`: [components, d_model] unit vectors; `readout`, `steer`: [components, d_head] with `c = z·readout` and
    `z + Δc·steer` adding exactly `Δc·direction` to what the head writes. `fingerprint`: of the model.
    """

    heads: tuple[Head, ...]
    names: tuple[str, ...]
    directions: Float[Tensor, "components d_model"]
    readout: Float[Tensor, "components d_head"]
    steer: Float[Tensor, "components d_head"]
    fingerprint: str | None = None

    def __len__(self) -> int:
        return len(self.heads)

    def coordinates(self, run: Run, where: Where = None) -> Float[Tensor, "batch components"]:
        """Read the activation c of every component from a run, at END or another position.

        Raises `ValueError` for a run of another model or one that stops before the channel.
        """
        same_model(channel=self, run=run)
        if max(layer for layer, _ in self.heads) >= run.n_layers:
            raise ValueError(f"this run stops before layer {run.n_layers}, the channel has heads of later layers")
        z = run.at(where).z
        return torch.stack([z[head] @ r for head, r in zip(self.heads, self.readout, strict=True)], -1)

    def scale(self, factor: float | Sequence[float] | Tensor, at: Int[Tensor, " batch"] | None = None) -> list[Hook]:
        """Make hooks that multiply the coordinates: c ← factor·c; 0 removes the channel, −1 reverses it.

        `factor` is one number, one per component, or `[batch, components]`. `at` limits this to one
        position per prompt in whole runs; leave it None in `rerun_last`, which is END only.
        """
        factors = self.per_component(factor, "factor")
        return self._hooks(lambda i, c, rows: _of_batch(factors, rows, c)[..., i, None].to(c) * c, at)

    def set(self, value: float | Sequence[float] | Tensor, at: Int[Tensor, " batch"] | None = None) -> list[Hook]:
        """Make hooks that put the coordinates to given values: c ← value.

        `value` is one number, one per component, or `[batch, components]`.
        """
        values = self.per_component(value, "value")
        return self._hooks(lambda i, c, rows: _of_batch(values, rows, c)[..., i, None].to(c).expand_as(c), at)

    def per_component(self, value, name: str) -> Tensor:
        """Expand one number to all components; `ValueError` for another number of them, which would broadcast."""
        values = numbers(name, value, like=self.directions)
        if values.ndim == 0:
            values = values.expand(len(self))
        if values.shape[-1] != len(self) or values.ndim > 2:
            wanted = f"one number, one for each of {', '.join(self.names)}, or [batch, {len(self)}]"
            raise ValueError(f"{name} must be {wanted}, got shape {tuple(values.shape)}")
        return values

    def _hooks(self, new_value, at: Int[Tensor, " batch"] | None) -> list[Hook]:
        """One hook per layer; `new_value(i, c, rows)` is component i's new coordinate, `c` its old [batch, pos]."""

        def change(z: Tensor, hook) -> Tensor:
            changed, rows = z.clone(), rows_of(hook)
            for i, (layer, head) in enumerate(self.heads):
                if layer == hook.layer():
                    c = z[:, :, head] @ self.readout[i].to(z)
                    delta = new_value(i, c, rows) - c
                    if at is not None:
                        delta = delta * _at(at[rows], z)
                    changed[:, :, head] += delta[..., None] * self.steer[i].to(z)
            return changed

        return [(f"blocks.{layer}.attn.hook_z", change) for layer in sorted({layer for layer, _ in self.heads})]


def _at(positions: Tensor, z: Tensor) -> Tensor:
    """True at one position per prompt, [batch, pos]."""
    positions = indices("at", positions, z.shape[1], {"batch": len(z)}).to(z.device)
    return torch.arange(z.shape[1], device=z.device) == positions[:, None]


def _of_batch(values: Tensor, rows: slice, c: Tensor) -> Tensor:
    if values.ndim < 2:
        return values
    if len(values[rows]) != len(c):
        raise ValueError(f"the channel was given values for {len(values)} prompts: the run has another number")
    return values[rows]


def channel(weights: HeadWeights, components: Sequence[Component]) -> Channel:
    """Make the channel of some OV components `(layer, head, component)`.

    Several components of one head are orthogonal; those of different heads may not be. Warns about a
    component whose singular value is so close to another one's that float32 noise turns it (`Decomposition.gaps`).
    Raises `ValueError` for no components, repeated ones, or ones outside the model.
    """
    components = [(*weights.check_head((i, h)), whole("component", k, 0, weights.d_head - 1)) for i, h, k in components]
    names = tuple(map(label, components))
    if not components or len(set(components)) != len(components):
        raise ValueError(f"components must be distinct (layer, head, component) triples, at least one, got {names}")
    loose = [name for name, c in zip(names, components, strict=True) if weights.ov.gaps[c] < NOISE / TURNED]
    if loose:
        warnings.warn(
            f"component {', '.join(loose)} has a singular value within {NOISE / TURNED:.0e} of another one's: rounding "
            "turns it by more than 1%, and only the space that both span has a meaning. Take both",
            stacklevel=2,
        )
    return make(weights, [c[:2] for c in components], names, torch.stack([weights.ov.write[c] for c in components]))


def channel_from(
    weights: HeadWeights, heads: Sequence[Head], run: Run, other: Run, where: Where = None
) -> Channel:  # fmt: skip
    """Make the channel of what heads write differently in two kinds of prompts: one direction per head, from data.

    Head by head the unit vector along `mean(z W_O of run) − mean(z W_O of other)` at END, or at the position
    `where`; `c` is larger in `run`. The prompts need not be paired: `channel_from(weights, heads, clean.select(abba),
    clean.select(~abba))`. Read it on other prompts than these: on these any direction of this kind tells them apart.
    Raises `ValueError` for no heads or repeated ones, runs of another model, that stop before a head, under edits of
    the weights or with a hook at a head's z, and names a head whose means differ no more than those of random groups
    of the same prompts do (in 1% of 400 draws or more): its direction is noise.
    """
    same_model(weights=weights, run=run, other=other)
    heads, rows = [weights.check_head(head) for head in heads], []
    if not heads or len(set(heads)) != len(heads):
        raise ValueError(f"heads must be distinct (layer, head) pairs, at least one, got {[*map(label, heads)]}")
    for one in (run, other):
        if max(heads)[0] >= one.n_layers:
            raise ValueError(f"a run stops before layer {one.n_layers}, heads are {', '.join(map(label, heads))}")
        if hooked := [layer for layer, _ in heads if f"blocks.{layer}.attn.hook_z" in one.hooked]:
            raise ValueError(f"a run was made with a hook at z of layer {hooked[0]}, which is no data: run without it")
        if one.edits:
            raise ValueError("a run was made under edits of the weights, which its z does not show: run without them")
    z, kind = torch.cat([run.at(where).z, other.at(where).z], 2), torch.arange(len(run) + len(other)) < len(run)
    generator = torch.Generator().manual_seed(0)
    mixed = torch.stack([kind, *(kind[torch.randperm(len(kind), generator=generator)] for _ in range(400))]).to(z)
    contrast = mixed / len(run) - (1 - mixed) / len(other)  # [draws, batch]: times values, a difference of two means
    for head in heads:
        differences = contrast @ (z[head] - z[head].mean(0)) @ weights.W_O[head]
        size = differences.norm(dim=-1)
        if not size[0] > size[1:].quantile(0.99) * (1 + NOISE):  # equal groups are as far apart as themselves
            raise ValueError(f"head {label(head)} writes the same in run and other, within chance: leave it out")
        rows.append(differences[0] / size[0])
    return make(weights, heads, [f"{label(head)} by data" for head in heads], torch.stack(rows))


def random_channel(weights: HeadWeights, like: Channel, seed: int = 0) -> Channel:
    """Draw a control: random unit directions inside the same heads' write spaces, as many as `like` has.

    Orthogonal to the directions of `like` in the same head, so that the control does not contain the channel.
    Raises `ValueError` when `like` is of another model or leaves too few dimensions of a head for that.
    """
    same_model(weights=weights, channel=like)
    generator = torch.Generator().manual_seed(seed)
    rows: list[Tensor] = []
    for i, (layer, head) in enumerate(like.heads):
        taken = [like.directions[j] for j in range(len(like)) if like.heads[j] == (layer, head)]
        taken += [rows[j] for j in range(i) if like.heads[j] == (layer, head)]
        if len(taken) >= weights.d_head:
            raise ValueError(f"no room for a control: the channel takes half of head {label((layer, head))} or more")
        mix = torch.randn(weights.d_head, generator=generator).to(weights.W_O)
        basis = torch.linalg.qr(weights.W_O[layer, head].T).Q
        avoid = torch.linalg.qr(torch.stack(taken, 1)).Q
        row = basis @ mix
        row = row - avoid @ (avoid.T @ row)
        rows.append(row / row.norm())
    names = tuple(f"{label(head)} random {seed}" for head in like.heads)
    return make(weights, like.heads, names, torch.stack(rows))


def make(weights: HeadWeights, heads: Sequence[Head], names: Sequence[str], directions: Tensor) -> Channel:
    """Make a channel of any unit directions [n, d_model], `directions[i]` written by head `heads[i]`.

    Raises `ValueError` for a direction outside what its head can write.
    """
    W_O = torch.stack([weights.W_O[head] for head in heads])
    readout = torch.einsum("ckd,cd->ck", W_O, directions)
    # steer W_O = direction: solvable because the direction lies in the row space of its head's W_O.
    steer = torch.linalg.lstsq(W_O.mT.double(), directions.double()[..., None]).solution[..., 0].to(W_O)
    missed = (torch.einsum("ck,ckd->cd", steer, W_O) - directions).norm(dim=-1) > 1e-2
    if missed.any():
        raise ValueError(f"head weights cannot write the direction of {names[int(missed.nonzero()[0])]}")
    return Channel(tuple(heads), tuple(names), directions, readout, steer, weights.fingerprint)
