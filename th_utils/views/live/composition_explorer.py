"""A component explorer: every earlier head as a writer into one reader, by weights and by measurement."""

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...stats import array
from ...weights.heads import Head, check_head, label
from ...weights.scores import Scores
from ..figure import View, finish, new, rounded
from ..palette import GREY, INK

STEPS = 255  # component scores are shipped as bytes, in parts of the reader's largest


def composition_explorer(components: Scores, whole: Scores, effects: Float[Tensor, "layers heads readers"], title: str,
                         alt: str, unit: str, marks: Sequence[Head] = ()) -> View:  # fmt: skip
    """Show composition scores of all writers into a chosen reader, their ranks, and a measured effect.

    `components` and `whole` come from `component_scores` and `head_scores`; `effects` is what path patching measured
    for the same pairs, in `unit`; `marks` are heads to outline. On the page component scores are rounded to 1/255 of
    the reader's largest. The picture shows the first reader: best component against effect, and the components of the
    writer with the largest effect. Raises `ValueError` for scores of different readers, shapes that do not fit, and
    scores that are negative or not NaN exactly where the writer is not earlier than the reader.
    """
    single, heads, measured = array(components.values), array(whole.values), array(effects)
    layers, n_heads, k, _ = single.shape
    if components.readers != whole.readers or {heads.shape, measured.shape} != {(layers, n_heads, len(whole.readers))}:
        raise ValueError(f"need the same writers and readers, got {single.shape}, {heads.shape} and {measured.shape}")
    readers, marks = components.readers, [check_head(head, layers, n_heads) for head in marks]
    data = {
        "title": title, "alt": " ".join(alt.split()), "unit": unit, "k": k, "steps": STEPS,
        "marks": [label(head) for head in marks],
        "readers": [{"name": label(reader), **_column(single[..., j], heads[..., j], measured[..., j], reader)}
                    for j, reader in enumerate(readers)],
    }  # fmt: skip
    figure = _picture(single[..., 0], measured[..., 0], readers[0], unit)
    return finish(figure, title, alt, colours=64).enlivened("composition-explorer", data)


def _column(single: np.ndarray, whole: np.ndarray, effect: np.ndarray, reader: Head) -> dict:
    """Return what the page holds about one reader, one entry per earlier head."""
    earlier = np.zeros(whole.shape, bool)
    earlier[: reader[0]] = True
    scores, scored = single[earlier], ~np.isnan(whole) | ~np.isnan(single).all(-1)
    if (scored != earlier).any() or not (scores >= 0).all():
        raise ValueError(f"scores into {label(reader)} must be 0 or more from earlier heads and NaN from all others")
    top = float(scores.max()) or 1.0
    ranks = (-scores).ravel().argsort().argsort().reshape(scores.shape) + 1
    rows, best = np.arange(len(scores)), scores.argmax(1)
    return {
        "writers": np.argwhere(earlier).tolist(),
        "top": top,
        "components": base64.b64encode(np.rint(scores / top * STEPS).astype(np.uint8).tobytes()).decode(),
        # What the page says in words is exact: component, score and rank of each writer's best.
        "best": [*zip(best.tolist(), rounded(scores[rows, best]), ranks[rows, best].tolist(), strict=True)],
        "whole": rounded(whole[earlier]),
        "effect": [round(float(x), 6) + 0.0 for x in effect[earlier]],
    }


def _picture(scores: np.ndarray, effect: np.ndarray, reader: Head, unit: str):
    earlier = np.isfinite(scores).all(-1)
    scores, effect, names = scores[earlier], effect[earlier], [*map(label, map(tuple, np.argwhere(earlier).tolist()))]
    figure, (upper, lower) = new(6.4, 5.4, rows=2)
    upper.scatter(scores.max(1), effect, s=14, color=INK, lw=0, alpha=0.7)
    for i in np.argsort(-np.abs(effect))[:5]:
        upper.annotate(names[i], (scores[i].max(), effect[i]), (4, 3), textcoords="offset points", fontsize=8)
    upper.axhline(0, color="black", lw=0.6)
    upper.set(xlabel=f"best component's score into {label(reader)}", ylabel=unit)
    writer = int(np.argmax(np.abs(effect)))
    lower.bar(range(scores.shape[1]), scores[writer], color=GREY)
    lower.axhspan(*np.quantile(scores, [0.0005, 0.9995]), color="black", alpha=0.1, lw=0)
    lower.set(xlabel=f"component of {names[writer]} (shaded: 99.9% of all components)", ylabel="composition score")
    return figure
