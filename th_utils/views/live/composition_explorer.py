"""A component explorer: every earlier head as a writer into one reader, by weights and by measurement."""

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...stats import array
from ...weights.heads import Head, check_head, label
from ...weights.scores import Scores
from ..charts import scatter
from ..figure import View, rounded

STEPS = 255  # component scores are shipped as bytes, in parts of the reader's largest


def composition_explorer(components: Scores, whole: Scores, effects: Float[Tensor, "layers heads readers"], title: str,
                         alt: str, unit: str, marks: Sequence[Head] = ()) -> View:  # fmt: skip
    """Show all writers into a chosen reader on two boards: composition scores beside a measured effect, with ranks.

    `components` and `whole` come from `component_scores` and `head_scores`; `effects` is what path patching measured
    for the same pairs, in `unit`; `marks` are heads to outline. On the page component scores are rounded to 1/255 of
    the reader's largest. The picture shows the first reader: best component against effect. Raises `ValueError` for
    scores of different readers, shapes that do not fit, and scores that are negative or not NaN exactly where the
    writer is not earlier than the reader.
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
    best, found = single[: readers[0][0], ..., 0].max(-1).ravel(), measured[: readers[0][0], ..., 0].ravel()
    names = {label(divmod(i, n_heads)): (best[i], found[i]) for i in np.argsort(-np.abs(found))[:5].tolist()}
    text = {"title": title, "alt": alt, "xlabel": f"best component's score into {label(readers[0])}", "ylabel": unit}
    return scatter({"earlier heads": (best, found)}, names=names, **text).enlivened("composition-explorer", data)


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
