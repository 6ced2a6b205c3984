"""Try every decoder family of transformers that TransformerLens lists, on a small random model each; write the table.

Each family is tried in a process of its own, with folded and with raw weights, by the checks of `tests/kinds.py`.
`python tools/reach.py [family …]`: a wrong number or an obscure error makes it fail; without names it writes the page.
"""

from __future__ import annotations

import importlib
import multiprocessing
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
PAGE = HOME / "book" / "reach.md"
TIMEOUT = 600  # seconds for one family
# What a small model has, by the names that configurations use for it.
SMALL = {
    3: ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    4: ("num_attention_heads", "num_key_value_heads", "n_head", "n_heads", "num_heads", "sliding_window",
        "window_size", "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "qk_rope_head_dim",
        "qk_nope_head_dim", "state_size", "mamba_d_state", "ssm_state_size", "rotary_dim", "attention_chunk_size",
        "index_n_heads", "index_topk", "linear_num_value_heads", "linear_num_key_heads"),
    2: ("num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts"),
    1: ("n_group", "topk_group", "first_k_dense_replace", "mamba_n_groups", "n_groups"),
    8: ("head_dim", "global_head_dim", "v_head_dim", "q_lora_rank", "kv_lora_rank", "linear_key_head_dim",
        "linear_value_head_dim", "kv_channels", "mamba_head_dim", "mamba_d_head", "mamba_headdim", "index_head_dim",
        "attention_head_dim", "mamba_n_heads"),
    32: ("hidden_size", "n_embd", "d_model", "moe_intermediate_size", "shared_expert_intermediate_size",
         "word_embed_proj_dim", "expert_ffn_hidden_size", "hidden_size_per_layer_input", "embedding_size"),
    64: ("intermediate_size", "n_inner", "ffn_dim", "max_position_embeddings", "n_positions", "max_seq_len",
         "ffn_hidden_size", "mlp_hidden_size", "d_ff", "intermediate_size_mlp"),
}  # fmt: skip

NEEDED = ("head_dim", "num_key_value_heads", "num_experts_per_tok")  # where the default is None
STATES = {"mamba_n_heads": 8, "mamba_d_head": 8}
ODD = {  # what their layers are made of stands elsewhere, or has to fit together
    "bamba": STATES | {"attn_layer_indices": [1]},
    "falcon_h1": STATES | {"mamba_d_ssm": 64},
    "gemma4": {"text_config": {"per_layer_config": {}}},
    "gemma4_text": {"per_layer_config": {}},
    "gemma4_unified": {"text_config": {"per_layer_config": {}}},
    "granitemoehybrid": STATES | {"layer_types": ["mamba", "attention", "mamba"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "laguna": {"num_attention_heads_per_layer": [4] * 3},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"]},
    "mamba2": {"num_heads": 8},
    "zamba2": {"layers_block_type": ["mamba", "hybrid", "mamba"], "n_mamba_heads": 8, "mamba_headdim": 8,
               "attention_head_dim": 16, "hybrid_layer_ids": [1]},
}  # fmt: skip


def families() -> dict[str, str]:
    """Return the families, and their classes, that transformers has and TransformerLens lists."""
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CLASSES

    return {family: name for family, name in sorted(CLASSES.items()) if name in SUPPORTED_ARCHITECTURES}


def small(config) -> dict:
    """Make the options with which a configuration's class makes a small one, of what it has."""
    has, made = config.to_dict(), {}
    layers = next((len(value) for name, value in has.items() if name.endswith("layer_types") and value), None)
    for size, names in SMALL.items():
        for name in has.keys() & set(names):
            if isinstance(has[name], int) or has[name] is None and name in NEEDED:
                made[name] = size
            elif isinstance(has[name], list) and isinstance(has[name][0], int):
                made[name] = [size] * 3
    for name, value in has.items():  # what each layer has of its own
        if isinstance(value, list) and len(value) == layers and name not in made:
            made[name] = value[:3]
    heads, groups = has.get("num_attention_heads"), has.get("num_key_value_heads")
    if isinstance(groups, int) and isinstance(heads, int):
        made["num_key_value_heads"] = 1 if groups == 1 else 2 if groups < heads else 4
    if "layer_types" in has:
        kinds = list(dict.fromkeys(has["layer_types"] or ["full_attention"]))
        made["layer_types"] = [kinds[i % len(kinds)] for i in range(3)]
    if has.get("attention_types"):
        made["attention_types"] = [[["global", "local", "global"], 1]]
    if "qk_rope_head_dim" in made:
        made["head_dim"] = made["qk_rope_head_dim"]
    for name, inner in vars(config).items():
        if hasattr(inner, "model_type") and hasattr(inner, "to_dict"):
            made[name] = inner.to_dict() | small(inner)
    return {name: value for name, value in made.items() if name in has}


def tried(family: str) -> list[dict]:
    """Try one family, folded and raw."""
    import kinds
    import torch
    from transformers import CONFIG_MAPPING

    with tempfile.TemporaryDirectory(prefix="th-reach-") as name:
        folder = Path(name) / family
        try:
            config = CONFIG_MAPPING[family]
            options = small(config())
            for name, value in ODD.get(family, {}).items():
                options[name] = options[name] | value if isinstance(value, dict) and value else value
            kinds.write(folder, config, options)
            kinds.own_model(folder)(torch.arange(12)[None])
        except Exception as error:
            return [{"verdict": "not built", "why": kinds.said(error)}] * 2
        return [kinds.verdict(folder, fold) for fold in (True, False)]


def table(classes: dict[str, str], found: dict[str, list[dict]]) -> str:
    """Write the page."""
    every = [row["verdict"] for rows in found.values() for row in rows]
    counts = ", ".join(f"{every.count(one)} {one}" for one in dict.fromkeys(sorted(every, reverse=True)))
    versions = ", ".join(f"{name} {version(name)}" for name in ("transformers", "transformer-lens", "torch"))
    lines = []
    for family, rows in found.items():
        verdicts = [row["verdict"] for row in rows]
        why = list(dict.fromkeys(brief(row["why"]) for row in rows if row["why"]))
        lines.append(f"| {family} | {classes[family]} | {' | '.join(verdicts)} | {escaped('; '.join(why))} |")
    return TEXT.format(n=len(found), counts=counts, date=date.today(), versions=versions, rows="\n".join(lines))


def brief(why: str) -> str:
    """Return a reason without what every reason says."""
    return why.split(" cannot be run here: ")[-1].split("; TransformerLens' own")[0].split(": try fold=False")[0]


def escaped(text: str) -> str:
    """Return text as a cell of a Markdown table shows it."""
    for sign in "\\|<*_`$":
        text = text.replace(sign, "\\" + sign)
    return text


TEXT = """# Which families run

Written by `make reach`; not by hand.

One small random model of each of the {n} decoder families that transformers has and TransformerLens lists was tried,
with folded and with raw weights: {counts} ({date}; {versions}).
*Right* means that runs, re-runs of the last token under hooks, hooks in whole runs, edits, patched edges into queries,
keys and values, attribution, losses and gradients agree with transformers' own model on prompts without padding, and
with TransformerLens' own forward pass. Sizes are small, windows are shorter than the prompts, and weights are random.

| family | class | folded | raw | why, or but |
| --- | --- | --- | --- | --- |
{rows}
"""


def main(names: list[str]) -> int:
    """Try the families; write the page unless they were named; return 1 where something is wrong."""
    sys.path[:0] = [str(HOME), str(HOME / "tests")]
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    importlib.import_module("kinds")  # seconds, once for all processes
    classes = families()
    chosen, found = names or list(classes), {}
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        waiting = {family: pool.apply_async(tried, [family]) for family in chosen}
        for family, one in waiting.items():
            try:
                found[family] = one.get(TIMEOUT)
            except Exception as error:  # what kills a process shows as a timeout
                found[family] = [{"verdict": "wrong", "why": f"{type(error).__name__}: {error}"}] * 2
            for how, row in zip(("folded", "raw"), found[family], strict=True):
                print(f"{family:22} {how:7} {row['verdict']:10} {row['why']}", flush=True)
    if not names:
        PAGE.write_text(table(classes, found), encoding="utf8")
    return int(any(row["verdict"] == "wrong" for rows in found.values() for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
