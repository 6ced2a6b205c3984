"""The component explorer: every earlier head as a writer into one reader, by weights and by measurement, in the page.

The reader of the book chooses a reading head and a writer; the page shows the writer's composition score as a whole
head, those of its components, their ranks, and what path patching measured. Neither kernel nor network is needed.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...stats import array
from ...weights.heads import check_head, label
from ..figure import COLOURS, View, finish, new

STEPS = 255  # component scores are shipped as bytes, in parts of the reader's largest


def composition_explorer(
    components: Float[Tensor, "layers heads k readers"],
    whole: Float[Tensor, "layers heads readers"],
    effects: Float[Tensor, "layers heads readers"],
    readers: Sequence[tuple[int, int]],
    title: str,
    alt: str,
    unit: str,
    marks: Sequence[tuple[int, int]] = (),
) -> View:
    """Composition scores of all writers into some readers, whole heads and components, beside a measured effect.

    `components` and `whole` as `component_scores` and `head_scores` give them (NaN where the writer is not earlier);
    `effects` is what path patching measured for the same pairs, in `unit`. `marks` are heads to outline, for instance
    those of a known role. On the page component scores are rounded to 1/255 of the reader's largest. The picture shows
    the first reader: best component against effect, and the components of the writer with the largest effect.

    Raises `ValueError` for shapes that do not fit each other or the readers, readers or marks outside the model, a
    reader without an earlier head, negative or infinite scores, and effects that are not finite where there are scores.
    """
    single, heads = array(components, "components"), array(whole, "whole")
    measured = array(effects, "effects")
    if (
        single.ndim != 4
        or not single.shape[2]
        or not heads.shape == measured.shape == (*single.shape[:2], single.shape[3])
    ):
        raise ValueError(
            "need components [layers, heads, k, readers] with whole and effects [layers, heads, readers], got "
            f"{single.shape}, {heads.shape} and {measured.shape}"
        )
    if len(readers) != single.shape[3] or not len(readers):
        raise ValueError(f"need one reader for each of the {single.shape[3]} columns, got {len(readers)}")
    readers, marks = ([check_head(head, *single.shape[:2]) for head in some] for some in (readers, marks))
    data = {
        "title": title, "alt": " ".join(alt.split()), "unit": unit, "k": single.shape[2], "steps": STEPS,
        "marks": [label(head) for head in marks],
        "readers": [
            {"name": label(reader), **_column(single[..., j], heads[..., j], measured[..., j], reader)}
            for j, reader in enumerate(readers)
        ],
    }  # fmt: skip
    figure = _picture(single[..., 0], measured[..., 0], readers[0], unit)
    return finish(figure, title, alt, colours=64).enlivened("composition-explorer", data)


def _column(single: np.ndarray, whole: np.ndarray, effect: np.ndarray, reader: tuple[int, int]) -> dict:
    earlier = np.isfinite(whole) & np.isfinite(single).all(-1)
    scored = ~np.isnan(whole) | ~np.isnan(single).all(-1)
    if (scored != earlier).any() or (single[earlier] < 0).any():
        raise ValueError(
            f"scores into reader {label(reader)} must be 0 or more, and NaN only for whole writers that are not earlier"
        )
    if not earlier.any():
        raise ValueError(f"reader {label(reader)} has no earlier head to read from")
    if np.nonzero(earlier)[0].max() >= reader[0]:
        raise ValueError(f"reader {label(reader)} has scores of writers not earlier: are the readers in order?")
    if not np.isfinite(effect[earlier]).all():
        raise ValueError(f"effects on reader {label(reader)} hold NaN or infinite numbers")
    top = float(single[earlier].max()) or 1.0
    scores = single[earlier]
    levels = np.rint(scores / top * STEPS).astype(np.uint8)
    ranks = (-scores).ravel().argsort().argsort().reshape(scores.shape) + 1
    best = scores.argmax(1)
    rows = np.arange(len(best))
    return {
        "writers": [tuple(map(int, pair)) for pair in zip(*np.nonzero(earlier), strict=True)],
        "top": top,
        "components": base64.b64encode(levels.tobytes()).decode(),
        # What the page says in words is exact: component, score and rank of each writer's best.
        "best": [
            [int(k), float(f"{x:.6g}"), int(r)]
            for k, x, r in zip(best, scores[rows, best], ranks[rows, best], strict=True)
        ],
        "whole": [float(f"{x:.6g}") for x in whole[earlier]],
        "effect": [round(float(x), 6) + 0.0 for x in effect[earlier]],
    }


def _picture(scores: np.ndarray, effect: np.ndarray, reader: tuple[int, int], unit: str):
    earlier = np.isfinite(scores).all(-1)
    scores, effect, writers = scores[earlier], effect[earlier], [tuple(pair) for pair in np.argwhere(earlier).tolist()]
    figure, (upper, lower) = new(6.4, 5.4, rows=2)
    upper.scatter(scores.max(1), effect, s=14, color=COLOURS[0], lw=0, alpha=0.7)
    for i in np.argsort(-np.abs(effect))[:5]:
        at = (scores[i].max(), effect[i])
        upper.annotate(label(writers[i]), at, (4, 3), textcoords="offset points", fontsize=8)
    upper.axhline(0, color="black", lw=0.6)
    upper.set(xlabel=f"best component's score into {label(reader)}", ylabel=unit)
    writer = int(np.argmax(np.abs(effect)))
    lower.bar(range(scores.shape[1]), scores[writer], color=COLOURS[1])
    low, high = np.quantile(scores, [0.0005, 0.9995])
    lower.axhspan(low, high, color="black", alpha=0.1, lw=0)
    name = label(writers[writer])
    lower.set(xlabel=f"component of {name} (shaded: 99.9% of all components)", ylabel="composition score")
    return figure
