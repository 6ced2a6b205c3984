"""Imports, and loading the default model warm and cold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import _common as common
import psutil


def import_time() -> dict:
    """In a fresh process: PyTorch first, then what this package adds to it."""
    start = time.perf_counter()
    import torch  # noqa: F401

    torch_at = time.perf_counter()
    import th_utils as th

    module_at = time.perf_counter()
    th.HeadWeights, th.component_scores, th.channel  # noqa: B018 - names are loaded when first used
    return {"torch": torch_at - start, "th_utils": module_at - torch_at, "its maths": time.perf_counter() - module_at}


def warm_load(name: str | None = None) -> dict:
    """The first load of a process after everything is imported, with the converted model in the cache."""
    import transformer_lens.model_bridge  # noqa: F401
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: F401

    import th_utils as th
    from th_utils.models.hub import read_folder
    from th_utils.models.loading import model_folder
    from th_utils.models.registry import find_card

    before, start = common.peak_mb(), time.perf_counter()
    model = th.load_model(name)
    seconds, peak, card = time.perf_counter() - start, common.peak_mb(), find_card(name)
    after = psutil.Process().memory_info().rss / 2**20
    del model
    start = time.perf_counter()
    read_folder(model_folder(card))
    reading = time.perf_counter() - start
    return {"seconds": seconds, "peak MB": peak, "MB before": before, "MB after": after, "of it, reading": reading}


def cached_wheel(card) -> Path | None:
    """The model's wheel if it is on this machine: in the model cache, or as pip keeps what it has downloaded."""
    from th_utils.models.pypi import cache_dir

    found = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True)
    kept = Path(found.stdout.strip() or ".") if found.returncode == 0 else Path("/nonexistent")
    for path in [*cache_dir().glob("*.whl"), *kept.glob("http*/**/*")]:
        if path.is_file() and path.stat().st_size > card.size // 2 and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(Path(name).name == card.file for name in archive.namelist()):
                    return path
    return None


def cold(wheel: str, name: str) -> dict:
    """From an empty cache and the wheel on disk to a model that is ready: check, unpack, convert, load, imports too."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(wheel, Path(folder) / name)
        os.environ["TH_CACHE"] = folder
        start = time.perf_counter()
        import th_utils as th
        from th_utils.models.registry import DEFAULT

        th.load_model(DEFAULT)
        return {"seconds": time.perf_counter() - start, "peak MB": common.peak_mb()}


def loading(repeats: int = 5) -> dict:
    from th_utils.models.registry import DEFAULT, MODELS

    card = MODELS[DEFAULT]
    imports = [common.apart("import_time") for _ in range(repeats)]
    loads = [common.apart("warm_load") for _ in range(3)]
    result = {
        "imports": {name: common.summary([one[name] for one in imports]) for name in imports[0]},
        "beyond torch": common.summary([one["th_utils"] + one["its maths"] for one in imports]),
        "warm": {name: common.summary([one[name] for one in loads]) for name in loads[0]},
    }
    wheel = cached_wheel(card)
    if wheel is None:
        result["cold"] = None
        print(f"    cold fetch left out: {card.source} is not here and would be downloaded again", flush=True)
    else:
        name = f"{card.source.split('==')[0].replace('-', '_')}-{card.source.split('==')[1]}-py3-none-any.whl"
        result["cold"] = common.apart("cold", str(wheel), name)
    return result
