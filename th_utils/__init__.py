"""Helpers of the Talking Heads book: head SVDs, composition scores, path patching, channels, weight edits.

`import th_utils as th` is light; PyTorch and the model libraries are loaded when a name is first used.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "models.loading": ("load_model", "MODELS", "setup", "is_default", "model_name"),
    "weights.heads": ("HeadWeights", "head_weights", "label"),
    "weights.svd": ("Decomposition", "decompose_ov", "decompose_qk", "decompose_product"),
    "weights.composition": (
        "component_scores", "head_scores", "component_to_component", "random_baseline", "rotated_null",
        "rotated_queries", "z_scores",
    ),
    "weights.ranking": ("predictive_power", "standing"),
    "tasks": ("Prompts",),
    "tasks.prompts": ("token_strings",),
    "runs.run": ("Run", "run", "rerun", "rerun_last", "rows", "kept_at"),
    "runs.metrics": ("logits", "logit_difference", "top1", "answer_loss"),
    "runs.language": ("text_loss", "run_loss"),
    "runs.attribution": (
        "Attribution", "direct_logit_attribution", "attention_between", "previous_token_attention", "head_table",
        "mover_roles", "source_roles", "Thresholds",
    ),
    "runs.ioi_circuit": (
        "Circuit", "find_circuit", "attention_gap", "clean_gap", "query_effects", "value_effects",
    ),
    "runs.patching": ("patch_edges", "patch_input", "path_patch", "ablated", "earlier_heads", "head_outputs"),
    "runs.ablation": ("head_mask", "keep_heads", "knock_out", "random_like"),
    "channels.channel": ("Channel", "channel", "random_channel"),
    "channels.edits": (
        "Edit", "edited", "scale_component", "zero_component", "set_component", "scale_head", "scale_query",
        "scale_reading",
    ),
    "channels.sweep": ("traverse", "best_settings", "answers", "grid", "looks"),
    "channels.reach": ("position_codes", "reachable", "margins", "decode", "information"),
    "channels.edit_files": ("save_edits", "load_edits", "describe_edits"),
    "channels.fit": ("Fit", "fit_scales", "scale_heads", "head_edits", "strongest", "divergence"),
    "notebook": ("claim", "identity", "exercise", "ClaimFailed"),
    "prose": ("say", "table", "heads"),
    "stats": ("Estimate",),
    "views": ("View",),
}  # fmt: skip
_NAMES = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = {
    "tasks": "tasks", "views": "views", "live": "views.live", "stats": "stats", "parts": "models.parts",
    "notebook": "notebook",
}  # fmt: skip

__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f".{_MODULES[name]}", __name__)
    if name in _NAMES:
        return getattr(import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"th_utils has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_MODULES})
