"""Write hashes/: the sha256 of every file of every pinned version, for all platforms and Pythons.

uv resolves pyproject.toml with the versions in constraints.txt and asks the package index that pip uses for the hashes.
The set-up installs from these lists alone (tools/bootstrap.py), so what it gets is what was reviewed here, byte for
byte. Run it in an environment with uv; see "Move to other versions" in CONTRIBUTING.md.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "hashes"
# What Colab ships, beside what .venv uses: tests run the widgets with both (tests/views/live).
COLAB = ["ipywidgets==7.7.1", "ipython-genutils==0.2.0"]
# Wheels only, because building a package runs its code and fetches what no list names. This one has no wheel.
WHEELS = ["--only-binary :all:", "--no-binary transformers-stream-generator"]
ENTRY = re.compile(r"^(([\w.-]+)==[^\\\n]+?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M)


def run(*command: str) -> str:
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"error: {' '.join(command[:3])} failed: {result.stderr.strip()}")
    return result.stdout


def entries(text: str) -> dict[str, tuple[str, set[str]]]:
    """Name -> (the requirement with its marker, its hashes), from a requirements file with hashes."""
    return {name: (line, set(re.findall(r"[0-9a-f]{64}", hashes))) for line, name, hashes in ENTRY.findall(text)}


def resolve(requirements: list[str], *options: str, without: str = "") -> dict[str, tuple[str, set[str]]]:
    """All that the requirements need, on every platform, in the pinned versions."""
    settings = dict(line.split("=", 1) for line in run("pip", "config", "list").splitlines())
    for setting in (":env:.index-url", "global.index-url"):
        if setting in settings:
            options += ("--default-index", settings[setting].strip("'"))
            break
    with tempfile.TemporaryDirectory() as folder:
        wanted, never = Path(folder, "wanted.in"), Path(folder, "never.txt")
        wanted.write_text("\n".join(requirements), encoding="utf8")
        never.write_text(f"{without} ; python_version < '0'" if without else "", encoding="utf8")
        command = ["uv", "--system-certs", "pip", "compile", "--universal", "--generate-hashes", "--no-annotate"]
        command += ["--python-version", "3.11", "--override", str(never), *" ".join(WHEELS).split(), *options]
        return entries(run(*command, str(wanted)))


def requirements() -> list[str]:
    """All that pyproject.toml asks for, every extra included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    lists = [project["build-system"]["requires"], project["project"]["dependencies"]]
    return sum([*lists, *project["project"]["optional-dependencies"].values()], [])


def other_builds(torch: str) -> set[str]:
    """Builds of torch that the index does not list: the one that pip gets here, and those in the list already."""
    with tempfile.TemporaryDirectory() as folder:
        run("pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", folder, torch)
        (wheel,) = Path(folder).iterdir()
        with wheel.open("rb") as handle:
            found = {hashlib.file_digest(handle, "sha256").hexdigest()}
    path = OUT / "torch.txt"
    line, known = entries(path.read_text(encoding="utf8")).get("torch", ("", set())) if path.exists() else ("", set())
    return found | known if line == torch else found


def write(name: str, purpose: str, found: dict[str, tuple[str, set[str]]]) -> None:
    lines = [f"# {purpose} Written by tools/hashes.py.", "--require-hashes", *WHEELS]
    for line, hashes in found.values():
        lines.append(" \\\n    --hash=sha256:".join([line, *sorted(hashes)]))
    OUT.mkdir(exist_ok=True)
    (OUT / name).write_text("\n".join(lines) + "\n", encoding="utf8")
    print(f"hashes/{name}: {len(found)} packages, {sum(len(hashes) for _, hashes in found.values())} files")


def main() -> None:
    pinned = ("-c", "constraints.txt")
    found = resolve(requirements(), *pinned)
    slim = resolve(requirements(), *pinned, without="torch")
    pins = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf8").lower(), re.M))
    pins = {name.replace("_", "-") for name in pins}
    torch = found["torch"]
    found["torch"] = (torch[0], torch[1] | other_builds(torch[0]))
    first = ["torch", "setuptools"]
    cuda = [name for name in found if name not in {*slim, *pins, *first}]
    rest = [name for name in found if name not in {*cuda, *first}]
    write("torch.txt", "First and without its dependencies.", {"torch": found["torch"]})
    write("build.txt", "What builds the packages that have no wheel.", {"setuptools": found["setuptools"]})
    write("rest.txt", "What pyproject.toml needs on any platform.", {name: found[name] for name in rest})
    write("cuda.txt", "What the CUDA build of torch needs as well.", {name: found[name] for name in cuda})
    write("colab.txt", "Widgets as Colab has them, for the tests.", resolve(COLAB, "--no-deps"))


if __name__ == "__main__":
    main()
