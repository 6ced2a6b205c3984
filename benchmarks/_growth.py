"""How the time grows with heads, components, prompts and tokens: a straight line through logarithms."""

from __future__ import annotations

from dataclasses import replace

import _common as common
import numpy as np


def exponent(x: list[float], seconds: list[float]) -> float:
    """The slope p of the least-squares line log(seconds) = p · log(x) + c."""
    return round(float(np.polyfit(np.log(x), np.log(seconds), 1)[0]), 2)


def curve(over: str, model: str | None = None, small: bool = False) -> dict:
    """Medians of three calls at every size of one kind; the model is the default one, and of no concern to weights."""
    import torch

    torch.set_grad_enabled(False)
    what, x, calls = {"heads": heads, "components": components, "prompts": prompts, "tokens": tokens}[over](
        model, small
    )
    lines = {name: [common.timed(call)["median"] for call in series] for name, series in calls.items()}
    return {
        "what": what,
        "x": x,
        "lines": {name: {"seconds": s, "exponent": exponent(x, s)} for name, s in lines.items()},
    }


def heads(model: str | None, small: bool):
    from _composition import ours, random_weights

    heads, d_model, d_head = (3, 24, 4) if small else (9, 576, 64)
    layers = [2, 4, 8] if small else [4, 8, 15, 30]
    made = [random_weights(n, heads, d_model, d_head) for n in layers]
    calls = {"SVD and scores": [lambda w=w: ours(w, "Q") for w in made]}
    return "all components of all heads into all later heads", [n * heads for n in layers], calls


def components(model: str | None, small: bool):
    from _composition import random_weights

    import th_utils as th
    from th_utils.weights.svd import Decomposition

    weights = random_weights(*((4, 3, 24, 8) if small else (15, 9, 576, 64)))
    counts, ov = [2, 4, 8] if small else [4, 8, 16, 32, 64], weights.ov

    def cut(n: int) -> th.HeadWeights:
        """The same weights, with the first components alone in the place of those that are computed."""
        part = replace(weights)
        vars(part)["ov"] = Decomposition(ov.read[:, :, :n], ov.singular_values[:, :, :n], ov.write[:, :, :n])
        return part

    calls = {"scores": [lambda part=part: th.component_scores(part, "Q") for part in map(cut, counts)]}
    return "the first components of every head into all later heads", counts, calls


def prompts(model: str | None, small: bool):
    import th_utils as th
    from th_utils.tasks import ioi

    model, counts = th.load_model(model), [2, 4, 8] if small else [8, 16, 32, 64]
    edge = th.Edge((th.parts.shape(model).layers - 2, 0))
    made = [ioi.generate(model, n, seed=0, templates=[0]) for n in counts]
    runs = [(th.run(model, p), th.run(model, ioi.corrupt(model, p, "ABC"))) for p in made]
    calls = {
        "run": [lambda p=p: th.run(model, p) for p in made],
        "all paths into one query": [lambda r=r: th.patch_edges(model, *r, edge) for r in runs],
    }
    return "prompts of one length through the model, and all senders into one query", counts, calls


def tokens(model: str | None, small: bool):
    from _patching import of_length

    import th_utils as th
    from th_utils.tasks import ioi

    model = th.load_model(model)
    short = ioi.generate(model, 8, seed=0, templates=[0])
    lengths = [16, 32, 64] if small else [16, 32, 64, 128, 256]
    made = [replace(of_length(short, n)) for n in lengths]
    runs = [th.run(model, p) for p in made]
    calls = {
        "run": [lambda p=p: th.run(model, p) for p in made],
        "the last token again": [lambda r=r: th.rerun_last(model, r, start=0) for r in runs],
    }
    return "eight prompts through the model, and their last token alone", lengths, calls


def growth() -> dict:
    return {over: common.apart("curve", over) for over in ("heads", "components", "prompts", "tokens")}
