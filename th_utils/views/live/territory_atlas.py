"""A map of which outcome wins in a box of three coordinates: two are the map, a slider turns the third."""

import base64
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...stats import array
from ..boards import territories
from ..figure import View, rounded, written
from ..palette import PLACES

STEPS = 65535  # shares are shipped as two bytes


def territory_atlas(axes: Mapping[str, Sequence | Tensor], shares: Mapping[str, Float[Tensor, "points _"]],
                    natural: Mapping[str, Float[Tensor, "_ 3"]], names: Sequence[str], title: str, alt: str, unit: str,
                    outcome: str = "place", start: str | None = None) -> View:  # fmt: skip
    """Show which outcome wins at every point of a grid, by how much, and where a system is by nature.

    `axes`: the name of each of three coordinates -> its grid values, in equal steps up. `shares`: panel -> what each
    outcome got [points, outcomes], probabilities, in the order of `torch.cartesian_prod(*axes.values())`. `natural`:
    panel -> [outcomes, 3], the mean coordinates where each outcome is right, marked on the edge where they are outside.
    `names`: one per outcome; a panel may have fewer. `unit` says what the shares are, `outcome` what a name names.
    The map opens on the panel `start`, by default the first. Points snap to the grid; shares are rounded to 1/65535.
    The picture shows the third coordinate nearest to the natural means. Raises `ValueError` for unequal steps, shapes
    that do not fit, shares that are not probabilities, and natural means that are not finite or of other panels.
    """
    grid = {name: array(values) for name, values in axes.items()}
    for name, values in grid.items():
        steps = np.diff(values)
        if not (len(steps) and steps[0] > 0 and np.allclose(steps, steps[0], 1e-3)):
            raise ValueError(f"axis {name!r} must be two or more numbers in equal steps up, got {values.tolist()}")
    if list(shares) != list(natural):
        raise ValueError(f"shares and natural must have the same panels, got {list(shares)} and {list(natural)}")
    shape = [len(values) for values in grid.values()]
    won = {panel: _checked(values, natural[panel], shape, names, panel) for panel, values in shares.items()}
    usual = {panel: array(values) for panel, values in natural.items()}
    (x, y, third), (across, up, turned) = grid.values(), grid
    level = int(np.abs(third - np.concatenate(list(usual.values()))[:, 2].mean()).argmin())
    titles = {panel: f"{panel}, {turned} = {written(third[level])}" for panel in won}
    winners = {titles[panel]: values[:, :, level].argmax(-1).T for panel, values in won.items()}
    means = {titles[panel]: values[:, :2] for panel, values in usual.items()}
    view = territories(x, y, winners, names, title, alt, across, up, marks=means, marked="natural means")
    return view.enlivened("territory-atlas", {
        "title": title, "unit": unit, "outcome": outcome, "steps": STEPS, "names": list(names),
        "start": list(won).index(start) if start is not None else 0,
        "axes": [{"name": name, "values": rounded(values)} for name, values in grid.items()],
        "panels": [{
            "name": panel,
            "shares": base64.b64encode(np.rint(np.minimum(values, 1) * STEPS).astype("<u2").tobytes()).decode(),
            "natural": rounded(usual[panel]),
        } for panel, values in won.items()],
    })  # fmt: skip


def _checked(values, natural, shape: list[int], names: Sequence[str], panel: str) -> np.ndarray:
    """Return the shares of a panel on the grid."""
    found, means, points, most = array(values), array(natural), int(np.prod(shape)), min(len(names), len(PLACES))
    if found.ndim != 2 or len(found) != points or not 2 <= found.shape[1] <= most:
        raise ValueError(f"shares of {panel!r} must be [{points} points, 2-{most} outcomes], got {found.shape}")
    if not ((found >= 0).all() and (found.sum(1) <= 1 + 1e-4).all()):
        raise ValueError(f"shares of {panel!r} must be probabilities, 0 or more and at a point together at most 1")
    if means.shape != (found.shape[1], 3) or not np.isfinite(means).all():
        raise ValueError(f"natural means of {panel!r} must be finite [{found.shape[1]}, 3], got {means.tolist()}")
    return found.reshape(*shape, -1)
