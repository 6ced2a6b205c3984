"""What a release holds, in `_build/release`: the wheel, the pages, the PDF, and their checksums.

A site of which pages are missing is refused, and nothing is left in the folder then.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "_ext"))
from toc import contents  # noqa: E402

BUILD = ROOT / "_build"


class Incomplete(Exception):
    """What is missing; the message is one line."""


def missing(site: Path, root: Path) -> list[str]:
    """The pages of the table of contents that the built site lacks, or has empty."""
    pages = [page for _, part in contents(root) for page in part]
    files = {page: site / f"{page}.html" for page in pages}
    return [page for page, path in files.items() if not path.is_file() or not path.stat().st_size]


def pack(site: Path, root: Path, pdf: Path, wheel: Path, folder: Path) -> list[Path]:
    """Write the files of a release and SHA256SUMS, in the form that `sha256sum --check` reads."""
    shutil.rmtree(folder, ignore_errors=True)
    if absent := missing(site, root):
        raise Incomplete(f"{len(absent)} pages are not in {site} ({', '.join(absent[:3])}); run make book first")
    if absent := [str(path) for path in (pdf, wheel) if not path.is_file()]:
        raise Incomplete(f"not built: {', '.join(absent)}")
    folder.mkdir(parents=True)
    files = [Path(shutil.copy(path, folder)) for path in (wheel, pdf)]
    files.append(Path(shutil.make_archive(str(folder / "talking-heads-pages"), "zip", site)))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf8")
    return [*files, folder / "SHA256SUMS"]


def build_wheel(folder: Path) -> Path:
    """Build the wheel of `th_utils`, in a copy, because setuptools leaves folders where it works."""
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        for part in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / part, name)
        shutil.copytree(ROOT / "th_utils", Path(name, "th_utils"), ignore=shutil.ignore_patterns("__pycache__"))
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, name]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Incomplete(f"the wheel could not be built: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def main() -> int | str:
    try:
        wheel = build_wheel(BUILD / "wheel")
        files = pack(BUILD / "html", ROOT, BUILD / "talking-heads.pdf", wheel, BUILD / "release")
    except Incomplete as error:
        return f"error: {error}"
    print(*files, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
