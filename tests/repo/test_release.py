"""A release is whole or refused: a wheel that works alone, every page, and sums that hold."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import release  # noqa: E402

TOC = """\
format: jb-book
root: index
parts:
- caption: Read
  chapters:
  - file: notebooks/a
    sections:
    - file: notebooks/b
"""


@pytest.fixture
def parts(tmp_path):
    for name, text in {"_toc.yml": TOC, "book.pdf": "pdf", "t.whl": "wheel", "site/index.html": "i",
                       "site/notebooks/a.html": "a", "site/notebooks/b.html": "b"}.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "site", tmp_path, tmp_path / "book.pdf", tmp_path / "t.whl", tmp_path / "release"


def test_files_of_a_release_and_their_sums(parts):
    *files, sums = release.pack(*parts)
    assert {path.name for path in files} == {"t.whl", "book.pdf", "talking-heads-pages.zip"}
    assert "notebooks/b.html" in zipfile.ZipFile(parts[-1] / "talking-heads-pages.zip").namelist()
    check = ["sha256sum", "--check", "--strict", sums.name]
    assert subprocess.run(check, cwd=parts[-1], stdout=subprocess.DEVNULL).returncode == 0
    (parts[-1] / "t.whl").write_text("another")
    assert subprocess.run(check, cwd=parts[-1], capture_output=True).returncode


@pytest.mark.parametrize("page", ["index.html", "notebooks/b.html"])
def test_a_partial_site_is_refused_and_nothing_is_left(parts, page):
    release.pack(*parts)
    (parts[0] / page).write_text("")
    with pytest.raises(release.Incomplete, match=page.removesuffix(".html")):
        release.pack(*parts)
    assert not parts[-1].exists()


def test_the_wheel_holds_the_whole_package_and_works_without_the_repository(tmp_path):
    wheel = release.build_wheel(tmp_path / "wheel")
    tracked = subprocess.run(["git", "ls-files", "th_utils"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {*tracked.stdout.split()} <= {*zipfile.ZipFile(wheel).namelist()}
    zipfile.ZipFile(wheel).extractall(tmp_path / "alone")
    code = "import th_utils; print(th_utils.__file__, th_utils.head_weights.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(tmp_path / "alone"), "HOME": str(tmp_path)})  # fmt: skip
    assert done.stdout.split() == [str(tmp_path / "alone" / "th_utils" / "__init__.py"), "head_weights"]
