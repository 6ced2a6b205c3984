"""Which positions of a list can a few numbers select? A reader's scores as affine functions of coordinates.

Fix a prompt and the scale of the reader's normalisation. When the coordinates of some stream directions change by `a`,
the reader's score for position i becomes `b_i + a·κ_i`: each position is a point κ_i, its code. A position can be
selected iff some `a` puts it above all others, which for large `a` means that κ_i is a corner of the points' convex
hull. Corners of a line are its two ends. On a circle all points are corners, with margins that shrink as 1/N². This
is our own derivation; chapter 04 tests it on a real head.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linprog
from torch import Tensor

from .._guards import numbers
from ..models import laws, parts
from ..runs.patching import Edge, patch_input
from ..runs.record import Run, require_current, within
from ..stats import array
from ..weights.heads import Head, check_head, label


@torch.no_grad()
def position_codes(
    model, base: Run, reader: Head, directions: Float[Tensor, "k d_model"], positions: Int[Tensor, "batch items"]
) -> tuple[Float[Tensor, "batch items"], Float[Tensor, "batch items k"]]:
    """Compute the reader's scores b from END to some positions, and how each score answers to each direction, κ.

    `b_i = q·k_i / √d_head` as in the run (`laws.attention_scale`); `κ_i = (R v W_Q)·k_i / (s √d_head)` with the run's
    own rotated keys, the rotation R at END and the scale s of the reader's normalisation at END. Adding `a` (in units
    of the stream) along the directions gives scores `b_i + a·κ_i` as long as s stays, and nothing in between reacts.
    Where attention is more than the softmax of q·k / √d_head (norms of queries, soft caps), b is the log of attention
    and κ its slope, measured by `patch_input`: the norms react, and only differences between positions have a meaning.
    Raises `ValueError` for runs of another model, directions or positions of another shape, and positions that the
    reader cannot see.
    """
    require_current(model, base)
    size = parts.shape(model)
    layer, head = check_head(reader, size.layers, size.heads)
    if layer >= base.n_layers or base.keys[layer].shape[1] == 0:
        raise ValueError(f"base does not hold the keys of the reader's layer {layer}: run it whole, see run(caches=)")
    positions = within(base, positions)
    directions = numbers("directions", directions, {"k": None, "d_model": size.d_model}, base.z)
    if not (base.at().pattern[layer, head].gather(1, positions) > 0).all():
        raise ValueError(f"head {label(reader)} cannot see some of these positions from END, and has no scores there")
    if plain_attention(model, base, (layer, head)):
        return _formula(model, base, (layer, head), directions, positions)
    return _measured(model, base, (layer, head), directions, positions)


def plain_attention(model, base: Run, reader: Head) -> bool:
    """Tell whether a head's attention from END is the softmax of q·k / √d_head over all positions that it sees.

    Attention tells scores up to a constant per prompt, and a head that looks at one place alone tells nothing.
    """
    if any(laws.head_norm(model, reader[0], name) is not None for name in "qk"):
        return False
    places = torch.arange(base.tokens.shape[1], device=base.end.device).expand(len(base), -1)
    none = base.z.new_zeros(1, base.resid.shape[-1])
    scores, _ = _formula(model, base, reader, none, places)
    attention = base.at().pattern[reader]
    most, where = attention.max(-1, keepdim=True)
    apart = scores - scores.gather(-1, where) - (attention / most).log()
    return bool((apart.where(attention > 1e-6, 0.0).abs() < 1e-2).all())  # smaller ones are noise


def _formula(model, base: Run, reader: Head, directions: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    (layer, head), size, resid = reader, parts.shape(model), base.at().resid[reader[0]]
    scale = laws.input_scale(model, layer, resid)
    added = laws.input_law(model, layer).linear(directions) @ parts.head_matrix(model, layer, "W_Q")[head]
    angles = laws.rotary(model, resid, base.end[:, None], layer)
    batch = torch.arange(len(base), device=resid.device)[:, None]
    keys = base.keys[layer][batch, positions, head // size.groups]

    def rotated(queries: Tensor) -> Tensor:
        return laws.rotate(queries.unsqueeze(2), angles)[:, :, 0]

    root = laws.attention_scale(model, layer)
    query = rotated(base.at().q[layer, head][:, None])
    scores = torch.einsum("bk,bik->bi", query[:, 0], keys) / root
    codes = [torch.einsum("bvk,bik->biv", rotated(part.expand(len(base), -1, -1)), keys) for part in added.split(256)]
    return scores, torch.cat(codes, -1) / (scale[:, None, None] * root)


def _measured(model, base: Run, reader: Head, directions: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    scores = base.at().pattern[reader].gather(1, positions).log()
    step, slopes = 1e-2 * float(base.at().resid[reader[0]].norm(dim=-1).mean()), []
    length = directions.norm(dim=-1)
    for part in (directions / length.clamp_min(torch.finfo(length.dtype).tiny)[:, None]).split(256):
        changes = step * torch.cat([part, -part])[:, None].expand(-1, len(base), -1)
        pattern = patch_input(model, base, Edge(reader), changes).pattern
        up, down = pattern.gather(2, positions.expand(len(changes), -1, -1)).log().chunk(2)
        slopes.append((up - down) / (2 * step))
    return scores, torch.cat(slopes).movedim(0, -1) * length


def margins(points, offsets=None, limit: float | None = None) -> np.ndarray:
    """Compute for every point the largest lead over its strongest rival that any `a` from -`limit` to `limit` gives it.

    `points`: [items, k]; `offsets`: [items], zeros by default. The lead of i is the minimum over j of
    (b_i + a·κ_i) − (b_j + a·κ_j), maximised by a linear programme; above 0 (1e-7, for rounding) means "can be
    selected". Without a limit the lead may be infinite and is cut at 1.
    Raises `ValueError` for fewer than two points, and offsets of another length.
    """
    codes = array(points)
    base = np.zeros(len(codes)) if offsets is None else array(offsets)
    if codes.ndim != 2 or len(codes) < 2 or base.shape != (len(codes),):
        raise ValueError(f"need points [items >= 2, k] and one offset each, got {codes.shape} and {base.shape}")
    k = codes.shape[1]
    bounds = [(None, None) if limit is None else (-limit, limit)] * k + [(None, 1.0 if limit is None else None)]
    best = []
    for i in range(len(codes)):
        others = np.delete(np.arange(len(codes)), i)
        matrix = np.column_stack([codes[others] - codes[i], np.ones(len(others))])
        solution = linprog(np.append(np.zeros(k), -1.0), matrix, base[i] - base[others], bounds=bounds)
        if solution.status != 0:
            raise RuntimeError(f"the linear programme of point {i} was not solved: {solution.message}")
        best.append(solution.x[-1])
    return np.array(best)
