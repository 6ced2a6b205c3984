"""Set up .venv, then hand over to tools/build.py inside it.

Runs on whatever Python the reader has, with the standard library only. It is written so that even Python 2.7
parses it: an old interpreter must end in one readable line, not in a SyntaxError.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "talking-heads.json")  # written last: a .venv without it is half-finished
PIP_LOG = os.path.join(ROOT, "_build", "logs", "pip.log")
OLDEST = (3, 11)
NEEDED_GB = 4  # the environment is 2.2 GB with CPU-only torch, and pip unpacks before it moves


class Stop(Exception):
    """An expected failure: its message is the one line that the reader sees."""


def say(text):
    print("==> " + text)
    sys.stdout.flush()


def check_python():
    if sys.version_info[:2] < OLDEST:
        newer = [name for name in ("python3.13", "python3.12", "python3.11") if starts(name)]
        raise Stop(
            "Python %d.%d or newer is needed, and %s is %d.%d; try: make PYTHON=%s"
            % (OLDEST + (sys.executable,) + tuple(sys.version_info[:2]) + tuple((newer + ["python3.11"])[:1]))
        )
    import importlib.util

    for name in ("venv", "ensurepip"):
        if importlib.util.find_spec(name) is None:
            raise Stop(
                "%s has no module %s; on Debian or Ubuntu: apt-get install python3-venv" % (sys.executable, name)
            )


def starts(program):
    """True where the program runs: a pyenv shim can exist for a version that is switched off."""
    with open(os.devnull, "w") as null:
        try:
            return subprocess.call([program, "-c", ""], stdout=null, stderr=null) == 0
        except OSError:
            return False


def lock():
    """One make at a time in a checkout: -j, or two terminals, must not install or build over each other."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: no lock, as before
        return None
    handle = open(os.path.join(ROOT, ".make.lock"), "w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("another make is at work in this folder; waiting for it")
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def venv_python():
    return os.path.join(VENV, "Scripts" if os.name == "nt" else "bin", "python")


def wanted_state():
    """What the finished .venv must have been made from; it holds paths, so the folder is part of it."""
    digest = hashlib.sha256()
    for path in [os.path.join(ROOT, "pyproject.toml")] + sorted(glob.glob(os.path.join(ROOT, "hashes", "*.txt"))):
        with open(path, "rb") as handle:
            digest.update(handle.read())
    return {"root": ROOT, "pins": digest.hexdigest(), "package": os.path.isdir(os.path.join(ROOT, "th_utils"))}


def current_state():
    try:
        with open(STAMP) as handle:
            state = json.load(handle)
    except (OSError, ValueError):
        return None
    # The interpreter below a .venv can be removed or upgraded away.
    return state if starts(venv_python()) else None


def explain(output):
    """The one line that says why pip failed."""
    if "No space left on device" in output or "Errno 28" in output:
        return "no disk space left while installing; about %d GB are needed in %s" % (NEEDED_GB, ROOT)
    unlisted = r"from \S*?([^/\s#]+)(?:#\S*)?(?: \(.*)?:\n +Expected sha256 (?:.*\n)+? +Got +(\w+)"
    altered = re.search(unlisted, output)
    if altered:
        return (
            "%s has sha256 %s, which hashes/ does not list, so it was not installed; an index, mirror or proxy changed "
            "it, or the download broke: try another index (pip config list)" % altered.groups()
        )
    network = (
        "NewConnectionError",
        "name resolution",
        "Failed to establish",
        "ConnectTimeout",
        "ReadTimeout",
        "ProxyError",
        "Network is unreachable",
        "ConnectionError",
        "Connection refused",
    )
    if any(sign in output for sign in network):
        return "pip cannot reach its package index; check the network, the proxy or PIP_INDEX_URL"
    errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
    return errors[-1][7:] if errors else "pip failed"


def pip(arguments, what):
    start = time.time()
    command = [venv_python(), "-m", "pip", "--disable-pip-version-check", "-q", "install"] + arguments
    result = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    )
    output = result.communicate()[0]
    with open(PIP_LOG, "a") as handle:
        handle.write("$ pip install %s\n%s\n" % (" ".join(arguments), output))
    if result.returncode:
        raise Stop("installing %s failed: %s (details: %s)" % (what, explain(output), PIP_LOG))
    say("installed %s (%.0f s)" % (what, time.time() - start))


def install_torch():
    """Take it from a folder of wheels, where pip is told of one that has it (find-links), else from the index.

    Pip prefers files whose hash it knows beforehand, which no folder tells: asked for both at once, it would pass over
    the CPU build in a folder and download the CUDA build from the index.
    """
    arguments = ["--no-deps", "-r", "hashes/torch.txt"]
    try:
        pip(["--no-index"] + arguments, "torch")
    except Stop as stop:
        if "No matching distribution" not in str(stop):
            raise
        pip(arguments, "torch")


def dependencies():
    """The lists of all other packages: CUDA's libraries are needed unless torch is a CPU build."""
    cpu = glob.glob(os.path.join(VENV, "lib", "python*", "site-packages", "torch-*+cpu.dist-info"))
    return ["-r", "hashes/rest.txt"] + ([] if cpu else ["-r", "hashes/cuda.txt"])


def install():
    wanted, current = wanted_state(), current_state()
    if current == wanted:
        return
    if current is None or current["root"] != ROOT:
        # An interrupted pip can leave a package without some of its files and still count it as installed,
        # so a half-finished environment is made anew; pip's own cache keeps that short.
        if os.path.lexists(VENV):
            say("removing a half-finished or moved .venv")
            shutil.rmtree(VENV) if os.path.isdir(VENV) and not os.path.islink(VENV) else os.remove(VENV)
        free = shutil.disk_usage(ROOT).free / 1e9
        if free < NEEDED_GB:
            raise Stop("%.1f GB free in %s, and about %d GB are needed to install" % (free, ROOT, NEEDED_GB))
        say("creating .venv with %s" % sys.executable)
        # Symlinks: the interpreter is the reader's own, and stays theirs to upgrade.
        result = subprocess.Popen(
            [sys.executable, "-m", "venv", VENV],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        output = result.communicate()[0]
        if result.returncode:
            raise Stop("creating .venv failed: " + (output.strip().splitlines() or ["no reason given"])[-1])
    else:
        os.remove(STAMP)
        say("pins or package changed: updating .venv")
    if not os.path.isdir(os.path.dirname(PIP_LOG)):
        os.makedirs(os.path.dirname(PIP_LOG))
    # Pip compares every file with hashes/ (written by tools/hashes.py). Torch goes first: its build decides what else
    # is needed. The one package that has no wheel is built with the setuptools listed, not with one fetched unchecked.
    install_torch()
    pip(["--no-deps", "-r", "hashes/build.txt"], "setuptools")
    pip(["--no-build-isolation"] + dependencies(), "the other pinned dependencies")
    beside = ["--upgrade", "--target", os.path.join(VENV, "ipywidgets7")]
    pip(["--no-deps", "-r", "hashes/colab.txt"] + beside, "Colab's widgets for tests")
    pip(["--no-deps", "--no-build-isolation", "-e", "."], "th_utils (editable)")
    with open(STAMP + ".part", "w") as handle:
        json.dump(wanted, handle)
    os.rename(STAMP + ".part", STAMP)


def environment():
    """The caller's environment without what would leak another Python or plot backend into the runs."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "MPLBACKEND", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    env = dict((k, v) for k, v in os.environ.items() if k not in dropped)
    env["PATH"] = os.path.dirname(venv_python()) + os.pathsep + env.get("PATH", "")
    return env


def main(arguments):
    start = time.time()
    try:
        check_python()
        handle = lock()  # held until this process ends
        install()
    except Stop as stop:
        sys.exit("error: %s" % stop)
    except OSError as error:
        sys.exit("error: setting up failed: %s" % error)
    say("environment ready (%.1f s)" % (time.time() - start))
    if handle and arguments == ["serve"]:  # a server must not keep the next build waiting
        handle.close()
    command = [venv_python(), os.path.join(ROOT, "tools", "build.py")] + arguments
    return subprocess.call(command, cwd=ROOT, env=environment()) if arguments else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to go on")
