"""Set up .venv, then run a command in it: `python3 tools/bootstrap.py [COMMAND ...]`.

Runs on the reader's own Python (the Makefile asks for 3.11), with the standard library only. An expected failure ends
in one readable line.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "talking-heads.json"  # written last: a .venv without it is half-finished
LOG = ROOT / "_build" / "logs" / "pip.log"
NEEDED_GB = 4  # the environment is 2.2 GB with CPU-only torch, and pip unpacks before it moves
NETWORK = "NewConnection|name resolution|Failed to establish|Timeout|ProxyError|Network is un|Connection(Error| ref)"


class Stop(Exception):
    """An expected failure: its message is the one line that the reader sees."""


def run(*command: str | Path) -> tuple[int, str]:
    """Exit status and everything printed."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def lock():
    """One make at a time in a checkout: -j, or two terminals, must not install or build over each other."""
    handle = (ROOT / ".make.lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("==> another make is at work in this folder; waiting for it", flush=True)
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def wanted_state() -> dict:
    """What the finished .venv must have been made from; it holds paths, so the folder is part of it."""
    digest = hashlib.sha256()
    for path in [ROOT / "pyproject.toml", *sorted((ROOT / "hashes").glob("*.txt"))]:
        digest.update(path.read_bytes())
    return {"root": str(ROOT), "pins": digest.hexdigest()}


def current_state() -> dict | None:
    try:
        state = json.loads(STAMP.read_text(encoding="utf8"))
        return None if run(PYTHON, "-c", "")[0] else state  # the interpreter below a .venv can be removed or upgraded
    except (OSError, ValueError):
        return None


def explain(output: str) -> str:
    """The one line that says why pip failed."""
    if "No space left on device" in output or "Errno 28" in output:
        return f"no disk space left while installing; about {NEEDED_GB} GB are needed in {ROOT}"
    unlisted = r"from \S*?([^/\s#]+)(?:#\S*)?(?: \(.*)?:\n +Expected sha256 (?:.*\n)+? +Got +(\w+)"
    if altered := re.search(unlisted, output):
        return (
            f"{altered[1]} has sha256 {altered[2]}, which hashes/ does not list, so it was not installed; an index, "
            "mirror or proxy changed it, or the download broke: try another index (pip config list)"
        )
    if re.search(NETWORK, output):
        return "pip cannot reach its package index; check the network, the proxy or PIP_INDEX_URL"
    return next((line[7:] for line in reversed(output.splitlines()) if line.startswith("ERROR: ")), "pip failed")


def pip(what: str, *arguments: str | Path) -> None:
    command = (PYTHON, "-m", "pip", "--disable-pip-version-check", "-q", "install", *arguments)
    status, output = run(*command)
    if status and "No matching distribution" in output and "--no-index" not in arguments:
        status, output = run(*command)  # an index that is busy may say that it knows nothing
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("a", encoding="utf8") as log:
        log.write(f"$ pip install {' '.join(map(str, arguments))}\n{output}\n")
    if status:
        raise Stop(f"installing {what} failed: {explain(output)} (details: {LOG})")
    print(f"==> installed {what}", flush=True)


def create() -> None:
    """A new .venv: an interrupted pip can leave a package without some of its files and still count it as installed."""
    if missing := [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]:
        raise Stop(f"{sys.executable} has no module {missing[0]}; on Debian or Ubuntu: apt-get install python3-venv")
    if os.path.lexists(VENV):
        print("==> removing a half-finished or moved .venv", flush=True)
        VENV.unlink() if VENV.is_symlink() or VENV.is_file() else shutil.rmtree(VENV)
    if (free := shutil.disk_usage(ROOT).free / 1e9) < NEEDED_GB:
        raise Stop(f"{free:.1f} GB free in {ROOT}, and about {NEEDED_GB} GB are needed to install")
    print(f"==> creating .venv with {sys.executable}", flush=True)
    status, output = run(sys.executable, "-m", "venv", VENV)
    if status:
        raise Stop(f"creating .venv failed: {(output.strip() or 'no reason given').splitlines()[-1]}")


def install() -> None:
    """Pip compares every file with hashes/ (written by tools/hashes.py). Torch goes first: its build decides the rest.

    Pip prefers files whose hash it knows beforehand, which no folder tells: asked for both at once, it would pass over
    the CPU build in a folder of wheels (find-links) and download the CUDA build from the index.
    """
    wanted, current = wanted_state(), current_state()
    if current == wanted:
        return
    if current is None or current["root"] != wanted["root"]:
        create()
    STAMP.unlink(missing_ok=True)
    torch = ("torch", "--no-deps", "-r", "hashes/torch.txt")
    try:
        pip(*torch, "--no-index")
    except Stop as stop:
        if "No matching distribution" not in str(stop):
            raise
        pip(*torch)
    pip("setuptools", "--no-deps", "-r", "hashes/build.txt")  # builds the one package that has no wheel
    cuda = [] if list(VENV.glob("lib/python*/site-packages/torch-*+cpu.dist-info")) else ["-r", "hashes/cuda.txt"]
    pip("the other pinned dependencies", "--no-build-isolation", "-r", "hashes/rest.txt", *cuda)
    pip("Colab's widgets", "--no-deps", "-r", "hashes/colab.txt", "--upgrade", "--target", VENV / "ipywidgets7")
    pip("th_utils (editable)", "--no-deps", "--no-build-isolation", "-e", ".")
    STAMP.write_text(json.dumps(wanted), encoding="utf8")


def main(command: list[str]) -> int | str:
    try:
        handle = lock()  # noqa: F841 - held until this process ends
        install()
    except (Stop, OSError) as error:
        return f"error: {error if isinstance(error, Stop) else f'setting up failed: {error}'}"
    path = os.pathsep.join((str(VENV / "bin"), os.environ.get("PATH", "")))
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"PATH": path}).returncode if command else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to go on")
