"""Helpers of the Talking Heads book: head SVDs, composition scores, path patching, channels, weight edits.

`import th_utils as th` is light; PyTorch and the model libraries are loaded when a name is first used.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "models": ("load_model", "MODELS", "setup", "is_default", "model_name"),
    "weights": ("HeadWeights", "head_weights", "label"),
    "decomposition": ("Decomposition", "decompose_ov", "decompose_qk", "decompose_product"),
    "composition": (
        "component_scores", "head_scores", "component_to_component", "random_baseline", "rotated_null",
        "rotated_queries", "z_scores",
    ),
    "tasks": ("Prompts",),
    "blocks": (),
    "runs": ("Run", "run", "rerun", "rerun_last", "rows", "kept_at"),
    "outputs": ("logits", "logit_difference", "top1", "answer_loss"),
    "search": ("Fit", "fit_scales", "scale_heads", "head_edits", "strongest", "divergence"),
    "language": ("text_loss", "run_loss"),
    "attribution": (
        "Attribution", "direct_logit_attribution", "attention_between", "previous_token_attention", "head_table",
        "mover_roles", "source_roles", "Thresholds",
    ),
    "circuit": ("Circuit", "find_circuit", "attention_gap", "clean_gap", "query_effects", "value_effects"),
    "patching": ("patch_edges", "patch_input", "path_patch", "ablated", "earlier_heads", "head_outputs"),
    "faithfulness": ("keep_heads", "knock_out", "random_like"),
    "channels": ("Channel", "channel", "random_channel"),
    "edits": (
        "Edit", "edited", "scale_component", "zero_component", "set_component", "scale_head", "scale_query",
        "scale_reading",
    ),
    "traversal": ("traverse", "best_settings"),
    "geometry": ("position_codes", "reachable"),
    "maps": (),
    "viewer": (),
    "explorer": (),
    "playground": (),
    "edit_files": ("save_edits", "load_edits", "describe_edits"),
    "checks": ("claim", "identity", "exercise", "ClaimFailed"),
    "prediction": ("predictive_power", "standing"),
    "stats": ("Estimate",),
    "prose": ("say",),
    "views": ("View",),
    "widgets": (),
}  # fmt: skip
_NAMES = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = (*_HOMES, "bridge")

__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _NAMES:
        return getattr(import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"th_utils has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_MODULES})
