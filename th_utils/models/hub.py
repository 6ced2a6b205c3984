"""Models in Hugging Face folders: find one in the hub's cache or download it, check what it holds, read it.

Only safetensors are read, never a pickle, and no code that comes with a model is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HUB_TIMEOUT = 5  # seconds until the hub must have answered the first request
HUB_FILES = ["*.json", "*.safetensors", "tokenizer*", "merges.txt"]


class ModelNotFound(RuntimeError):
    """The model's files could not be obtained: the message says what happened, what was expected and the fix."""


def hub_model(source: str, aliases: tuple[str, ...] = ()) -> Path:
    """Return the folder with the files of a hub repository: from the local Hugging Face cache, else by a download.

    Raises `ModelNotFound` when neither worked, within seconds where there is no connection.
    """
    from huggingface_hub import HfApi, snapshot_download

    for repository in (source, *aliases):
        with suppress(OSError, ModelNotFound):  # the hub library says with an OSError that its cache has no such model
            return check_folder(Path(snapshot_download(repository, allow_patterns=HUB_FILES, local_files_only=True)))
    try:
        HfApi().model_info(source, timeout=HUB_TIMEOUT)  # the download alone would wait without limit
        return check_folder(Path(snapshot_download(source, allow_patterns=HUB_FILES)))
    except Exception as error:  # connection, proxy, permission, disk: the same three ways out of all of them
        raise ModelNotFound(
            f"{source!r} is not complete in the local Hugging Face cache, and the hub did not "
            f"deliver it ({type(error).__name__}: {first_line(error)}). Do one of these: (1) connect and retry; "
            f"(2) on another machine run `hf download {source}` and copy its cache folder into this machine's "
            "HF_HOME; (3) set TH_MODEL to a directory with the model in Hugging Face format."
        ) from error


def check_folder(folder: Path) -> Path:
    """Return `folder` if it holds a config, safetensors weights and a tokenizer; else raise `ModelNotFound`."""
    names = {path.name for path in folder.iterdir() if path.is_file()}
    if "config.json" not in names:
        raise ModelNotFound(f"{folder} is not a model in Hugging Face format: it has no config.json")
    if not any(name.endswith(".safetensors") for name in names):
        raise ModelNotFound(f"{folder} has no *.safetensors weights (pickles can run any code): use save_pretrained()")
    if not (names & {"tokenizer.json", "tokenizer.model"} or {"vocab.json", "merges.txt"} <= names):
        raise ModelNotFound(f"{folder} has no tokenizer.json. Save the model's tokenizer there with save_pretrained().")
    return folder


def read_folder(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read the float32 model and the tokenizer in `folder`; weights are memory-mapped, the file is never written.

    Raises `ModelNotFound` when something in it is damaged, or weights are missing.
    """
    import torch
    from transformers import AutoModelForCausalLM

    how = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet_transformers():
            model, info = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, attn_implementation="eager",
                output_loading_info=True, **how,
            )  # fmt: skip
            tokenizer = _read_tokenizer(folder, **how)
    except Exception as error:  # damage shows in many ways
        raise ModelNotFound(
            f"the model in {folder} could not be read ({type(error).__name__}: {first_line(error)}). If th_utils or "
            "the hub library put it there, delete that folder and try again; else save it anew with save_pretrained()."
        ) from error
    if missing := sorted(info["missing_keys"]):  # transformers would go on with random numbers in their place
        raise ModelNotFound(f"{folder} lacks {len(missing)} parameters, among them {missing[0]}: fetch or save it anew")
    return model, tokenizer


def _read_tokenizer(folder: Path, **how) -> PreTrainedTokenizerBase:
    """Read the tokenizer as tokenizer.json has it: the class that transformers picks may build another of it."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        return AutoTokenizer.from_pretrained(folder, **how)
    own = PreTrainedTokenizerFast.from_pretrained(folder, **how)
    if not own.special_tokens_map:  # old files leave them to the class, which counts where it changes nothing else
        with suppress(Exception):
            picked, text = AutoTokenizer.from_pretrained(folder, **how), "Ana  had 1234\n\nof Bob's cafés ☕"
            return picked if picked.encode(text) == own.encode(text) and len(picked) == len(own) else own
    return own


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the progress bars and the log of transformers inside the block."""
    from transformers.utils import logging as hf_logging

    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that is not empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
