"""A map of which outcome wins in a box of three coordinates, to walk through in the page, without kernel or network.

Two coordinates are the map, a slider turns the third, and at the chosen point the shares of all outcomes stand as bars.
Where scripts do not run, the picture is `maps.territories` at one setting of the third coordinate.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_hex
from torch import Tensor

from ...stats import array
from ..figure import View
from ..lists import shades, territories

STEPS = 65535  # shares are shipped as two bytes
MOST = 40_000  # shares of all panels together: a tenth of a megabyte on the page


def territory_atlas(
    axes: Mapping[str, Sequence | Tensor],
    shares: Mapping[str, Float[Tensor, "points _"]],
    natural: Mapping[str, Float[Tensor, "_ 3"]],
    names: Sequence[str],
    title: str,
    alt: str,
    unit: str,
    outcome: str = "place",
) -> View:
    """Which outcome wins at every point of a grid, by how much, and where a system is by nature.

    `axes`: the name of each of three coordinates -> its grid values, in equal steps up. `shares`: panel -> what each
    outcome got [points, outcomes], the last coordinate moving fastest, as in `torch.cartesian_prod(*axes.values())`. At
    a point they are probabilities that sum to at most 1: `traverse(...).mean((1, 2))`, its mean over heads and prompts,
    is one panel. `natural`: panel -> [outcomes, 3], for every outcome the mean coordinates where it is the right one,
    marked on the edge where they lie outside. `names`: a short name per outcome, written on the map; a panel may have
    fewer. `unit` says what the shares are, `outcome` what a name names.

    Between grid points nothing is known: the reader's point snaps to the grid, and so do natural means when the page
    says whose territory they lie in. Shares are rounded to 1/65535. Raises `ValueError` for anything else than three
    named axes in equal steps, no panel, shapes that do not fit, shares that are no probabilities, natural means that
    are not finite or of other panels, empty names, and more than 40 000 shares.
    """
    grid = {name: array(values) for name, values in axes.items()}
    if len(grid) != 3 or not all(isinstance(name, str) and name.strip() for name in grid):
        raise ValueError(f"axes must name three coordinates, got {list(grid)}")
    for name, values in grid.items():
        steps = np.diff(values) if values.ndim == 1 else values[:0]
        if not len(steps) or not np.isfinite(steps).all() or steps[0] <= 0 or not np.allclose(steps, steps[0], 1e-3):
            raise ValueError(f"axis {name!r} must be two or more numbers in equal steps up, got {values.tolist()}")
    if not shares or list(shares) != list(natural):
        raise ValueError(f"shares and natural must have the same panels, at least one: {list(shares)}, {list(natural)}")
    if not all(isinstance(text, str) and text.strip() for text in (*names, *shares, unit, outcome)):
        raise ValueError(f"every outcome, panel and unit needs a name, got {[*names, *shares, unit, outcome]}")
    shape = tuple(len(values) for values in grid.values())
    won = {panel: _shares(values, shape, names, panel) for panel, values in shares.items()}
    usual = {panel: _natural(values, won[panel].shape[-1], panel) for panel, values in natural.items()}
    total = sum(values.size for values in won.values())
    if total > MOST:
        raise ValueError(f"shares holds {total} numbers, at most {MOST} fit into a page: take a coarser grid")
    view = _picture(grid, won, usual, names, title, alt)
    return view.enlivened("territory-atlas", {
        "title": title, "unit": unit, "outcome": outcome, "steps": STEPS, "names": list(names),
        "axes": [{"name": name, "values": [_short(x) for x in values]} for name, values in grid.items()],
        "panels": [{
            "name": panel, "colours": [(to_hex(shade), _ink(shade)) for shade in shades(values.shape[-1])],
            "shares": base64.b64encode(np.rint(np.minimum(values, 1) * STEPS).astype("<u2").tobytes()).decode(),
            "natural": [[_short(x) for x in row] for row in usual[panel]],
        } for panel, values in won.items()],
    })  # fmt: skip


def _shares(values, shape: tuple[int, ...], names: Sequence[str], panel: str) -> np.ndarray:
    found = array(values)
    points = int(np.prod(shape))
    if found.ndim != 2 or found.shape[0] != points or not 2 <= found.shape[1] <= len(names):
        raise ValueError(f"shares of {panel!r} must be [{points} points, 2-{len(names)} outcomes], got {found.shape}")
    if not ((found >= 0).all() and (found.sum(1) <= 1 + 1e-4).all()):
        raise ValueError(f"shares of {panel!r} must be probabilities, 0 or more and at a point together at most 1")
    return found.reshape(*shape, -1)


def _natural(values, n: int, panel: str) -> np.ndarray:
    found = array(values)
    if found.shape != (n, 3) or not np.isfinite(found).all():
        raise ValueError(f"natural means of {panel!r} must be finite numbers [{n}, 3], got {found.tolist()}")
    return found


def _picture(grid, won, usual, names: Sequence[str], title: str, alt: str) -> View:
    """The maps at the step of the third coordinate that is nearest to the natural means."""
    (x, y, third), axes = grid.values(), list(grid)
    level = int(np.abs(third - np.concatenate(list(usual.values()))[:, 2].mean()).argmin())
    titles = {panel: f"{panel}, {axes[2]} = {third[level]:.3g}".replace("-", "−") for panel in won}
    winners = {titles[panel]: values[:, :, level].argmax(-1).T for panel, values in won.items()}
    means = {titles[panel]: values[:, :2] for panel, values in usual.items()}
    return territories(x, y, winners, names, title, alt, axes[0], axes[1], marks=means, marked="natural means")


def _ink(shade) -> str:
    """Black or white, whichever is easier to read on a colour."""
    return "#fff" if np.dot(np.power(shade[:3], 2.2), (0.21, 0.72, 0.07)) < 0.18 else "#000"


def _short(value: float) -> float:
    return float(f"{value:.6g}") + 0.0
