"""Try every decoder family of transformers that TransformerLens lists, on a tiny random model each; write the table.

Each family is tried in a process of its own, with folded and with raw weights, by the checks of `tests/kinds.py`.
A wrong number or an obscure error makes the command fail.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import version
from pathlib import Path

HOME = Path(__file__).parent.parent
PAGE = HOME / "book" / "reach.md"
TIMEOUT = 400  # seconds for one family
SMALL = {
    3: ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    4: ("num_attention_heads", "n_head", "n_heads", "num_heads", "sliding_window", "window_size", "num_experts",
        "num_local_experts", "n_routed_experts", "moe_num_experts", "q_lora_rank_", "qk_rope_head_dim", "state_size",
        "qk_nope_head_dim", "mamba_d_state", "rotary_dim", "attention_chunk_size", "ssm_state_size", "index_n_heads",
        "linear_num_value_heads", "linear_num_key_heads", "index_topk", "num_v_heads", "qk_head_dim"),
    2: ("num_experts_per_tok", "experts_per_token", "moe_topk", "moe_k", "num_experts_per_token", "top_k_experts"),
    1: ("n_group", "topk_group", "first_k_dense_replace", "mamba_n_groups", "n_groups", "num_nextn_predict_layers"),
    8: ("head_dim", "q_lora_rank", "kv_lora_rank", "v_head_dim", "global_head_dim", "linear_key_head_dim",
        "linear_value_head_dim", "kv_channels", "mamba_head_dim", "mamba_d_head", "index_head_dim", "mamba_headdim",
        "attention_head_dim", "lora_rank", "o_lora_rank"),
    32: ("hidden_size", "n_embd", "d_model", "moe_intermediate_size", "shared_expert_intermediate_size",
         "word_embed_proj_dim", "attention_hidden_size", "expert_ffn_hidden_size", "hidden_size_per_layer_input",
         "embedding_size"),
    64: ("intermediate_size", "n_inner", "ffn_dim", "max_position_embeddings", "n_positions", "max_seq_len",
         "ffn_hidden_size", "mlp_hidden_size", "d_ff", "lru_width_", "intermediate_size_mlp"),
}  # fmt: skip


def families() -> dict[str, str]:
    """Return the families, and their classes, that transformers has and TransformerLens lists."""
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CLASSES

    return {family: name for family, name in CLASSES.items() if name in SUPPORTED_ARCHITECTURES}


def small(config) -> dict:
    """Make the options with which a configuration's class makes a small one, of what it has."""
    made = {}
    for size, names in SMALL.items():
        made |= {name: size for name in names if isinstance(getattr(config, name, None), int)}
    heads, groups = (getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads"))
    if isinstance(groups, int) and isinstance(heads, int):
        made["num_key_value_heads"] = 1 if groups == 1 else 2 if groups < heads else 4
    if kinds := getattr(config, "layer_types", None):
        kinds = list(dict.fromkeys(kinds))
        made["layer_types"] = [kinds[i % len(kinds)] for i in range(3)]
    if getattr(config, "attention_types", None):
        made["attention_types"] = [[["global", "local", "global"], 1]]
    for name, inner in vars(config).items():
        if hasattr(inner, "model_type") and hasattr(inner, "to_dict"):
            made[name] = inner.to_dict() | small(inner)
    return made


def tried(family: str) -> list[dict]:
    """Try one family, folded and raw; return its rows of the table."""
    sys.path[:0] = [str(HOME), str(HOME / "tests")]
    import kinds
    import torch
    from transformers import CONFIG_MAPPING

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="th-reach-"))
    try:
        config = CONFIG_MAPPING[family]
        kinds.write(folder, config.__name__, small(config()))
        own = kinds.own_model(folder)
        own(torch.arange(12)[None])
    except Exception as error:
        return [{"fold": fold, "verdict": "not built", "why": brief(error)} for fold in (True, False)]
    return [{"fold": fold} | kinds.verdict(folder, fold) for fold in (True, False)]


def brief(error: BaseException) -> str:
    """Return an error's kind and first line."""
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:160]}"


def apart(family: str) -> list[dict]:
    """Try one family in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, family]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return [{"fold": None, "verdict": "wrong", "why": f"not done after {TIMEOUT} s"}]
    lines = [line for line in done.stdout.splitlines() if line.startswith("[{")]
    if not lines:
        return [{"fold": None, "verdict": "wrong", "why": f"exit {done.returncode}: {done.stderr.strip()[-200:]}"}]
    return json.loads(lines[-1])


def main() -> int:
    """Try all families; write the page; return 1 where something is wrong."""
    classes = families()
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(classes, pool.map(apart, classes), strict=True))
    rows = [(family, classes[family], row) for family in classes for row in found[family]]
    for family, name, row in rows:
        print(f"{family:24} {name:34} {row['fold']!s:6} {row['verdict']:10} {row['why']}", flush=True)
    return int(any(row["verdict"] == "wrong" for *_, row in rows))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(tried(sys.argv[1])))
    else:
        sys.exit(main())
