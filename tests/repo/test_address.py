"""The book has one address, in _config.yml: every mention agrees with it, and `make fork` moves all of them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import fork  # noqa: E402
import student  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# All that names a repository: the page itself, a file in it, Colab's and pip's spellings of both.
MENTION = re.compile(
    r"(?:github\.com|raw\.githubusercontent\.com|colab\.research\.google\.com/github|mybinder\.org/v2/gh)[/:]"
    r"(?P<path>[\w-]+/[\w-]+(?:\.(?!git\b)\w[\w-]*)*)(?:\.git)?"
    r"(?:@(?P<at>[\w./-]*\w)|/(?:blob|tree|raw|edit)/(?P<branch>[\w-]+)(?:/(?P<file>[\w./-]*\w))?)?"
)
OTHER = "/".join(("octo-school", "mech.interp-2027"))  # in parts: this file is tracked too


def tracked(root: Path = ROOT) -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listing.stdout.split("\0") if (root / name).is_file()]


def text_files(root: Path) -> dict[str, str]:
    data = {name: (root / name).read_bytes() for name in tracked(root)}
    return {name: one.decode("utf8") for name, one in data.items() if b"\0" not in one}


def assert_one_address(root: Path) -> None:
    """What must hold here, and in every fork."""
    repository = yaml.safe_load((root / "_config.yml").read_text(encoding="utf8"))["repository"]
    path, branch = repository["url"].removeprefix("https://github.com/"), repository["branch"]
    owner, name = path.split("/")
    texts, named = text_files(root), set()
    for file, text in texts.items():
        if file.startswith(("tests/", "tools/")):  # these hold examples
            continue
        for found in MENTION.finditer(text):
            if owner not in found["path"].split("/") and name not in found["path"].split("/"):
                continue  # somebody else's repository
            assert found["path"] == path, f"{file}: {found[0]}"
            assert (found["at"] or found["branch"] or branch) == branch, f"{file}: {found[0]}"
            assert not found["file"] or found["file"] in texts, f"{file}: {found[0]} is not tracked"
            named.add(file)
    notebooks = {f"notebooks/{one.name}" for one in (root / "notebooks").glob("*.ipynb")}
    assert named >= {"_config.yml", "CITATION.cff", "pyproject.toml", *notebooks}
    for one in notebooks:
        assert f"git+https://github.com/{path}@{branch}" in texts[one]


def test_every_mention_is_the_configured_address_and_branch():
    assert_one_address(ROOT)


def test_students_install_from_the_same_address(tmp_path):
    for path in student.write(NOTEBOOKS, tmp_path / "student"):
        ours, theirs = (nbformat.read(one, as_version=4).cells for one in (ROOT / "notebooks" / path.name, path))
        assert next(c for c in ours if c.cell_type == "code") == next(c for c in theirs if c.cell_type == "code")


LINKS = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "book", "notebooks"])
def test_relative_links_lead_to_tracked_files(name):
    files, place = tracked(), ROOT / name
    found = 0
    for path in [place] if place.is_file() else sorted([*place.glob("*.md"), *place.glob("*.ipynb")]):
        text = path.read_text(encoding="utf8")
        if path.suffix == ".ipynb":
            text = "\n".join(one.source for one in nbformat.reads(text, 4).cells if one.cell_type == "markdown")
        for target in LINKS.findall(re.sub(r"```.*?```", "", text, flags=re.S)):
            found += 1
            target = (path.parent / target).resolve().relative_to(ROOT).as_posix()
            assert target in files, f"{path.name} links to {target}"
    assert found or name == "CONTRIBUTING.md"


# --- make fork ---


@pytest.fixture
def copy(tmp_path):
    """A repository of its own with every tracked file, as it lies here."""
    root = tmp_path / "a copy"
    for name in tracked():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    commit(root)
    return root


def commit(root: Path) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    for arguments in (["init", "-q"], ["add", "-A", "-f"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *arguments], cwd=root, check=True)


def contents(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in tracked(root)}


def move(root: Path, *arguments: str):
    return subprocess.run([sys.executable, "tools/fork.py", *arguments], cwd=root, capture_output=True, text=True)


def configured(root: Path = ROOT) -> tuple[str, str]:
    return fork.configured((root / "_config.yml").read_text(encoding="utf8"))


def test_fork_moves_every_mention_and_back_again(copy):
    """With a new branch too, and with the forms of an address that the files hold none of today."""
    path, branch = configured()
    forms = (
        f"colab.research.google.com/github/{path}/blob/{branch}/README.md git@github.com:{path}.git#x",
        f"https://raw.githubusercontent.com/{path}/{branch}/book/images/dial.png",
        "https://{}.github.io/{}/index.html".format(*path.split("/")),
        f"https://github.com/{path}/issues and https://github.com/{path}, or https://github.com/{path}.",
    )
    (copy / "FORMS.md").write_text("\r\n".join(forms), encoding="utf8", newline="")
    (copy / "other.bin").write_bytes(b"\0\xff" + f"https://github.com/{path}-two and {path}s".encode())
    commit(copy)
    before = contents(copy)
    done = move(copy, f"https://github.com/{OTHER}.git/", "term/spring-27")
    assert done.returncode == 0, done.stderr
    after = contents(copy)
    assert configured(copy) == (OTHER, "term/spring-27")
    assert not [name for name, data in after.items() if re.search(rf"{path}(?![\w-])".encode(), data)]
    changed = {name for name in before if before[name] != after[name]}
    assert {"FORMS.md", "_config.yml", "CITATION.cff", "pyproject.toml"} < changed and "other.bin" not in changed
    assert all(name in done.stdout for name in changed)
    expected = "\r\n".join(forms).replace(path, OTHER).replace(f"/{branch}/", "/term/spring-27/")
    expected = expected.replace("{}.github.io/{}".format(*path.split("/")), "{}.github.io/{}".format(*OTHER.split("/")))
    assert after["FORMS.md"].decode() == expected

    again = move(copy, f"https://github.com/{OTHER}")
    assert again.returncode == 0 and "nothing to change" in again.stdout and contents(copy) == after
    commit(copy)
    assert move(copy, f"https://github.com/{path}", branch).returncode == 0
    assert contents(copy) == before


def test_a_fork_passes_the_tests_of_addresses(copy):
    assert move(copy, f"https://github.com/{OTHER}", "trunk").returncode == 0
    commit(copy)
    assert_one_address(copy)
    tests = ["tests/test_pins.py", "tests/test_notebooks_static.py", "-k", "address or agree or colab or setup"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "--noconftest", *tests]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    "address",
    [
        "github.com/me/course",
        "http://github.com/me/course",
        "https://gitlab.com/me/course",
        "https://github.com/me",
        "https://github.com/me/course/tree/main",
        "https://github.com/-me/course",
        "https://github.com/me/..",
        "https://github.com/me/my course",
        'https://github.com/me/course"\nx',
    ],
)
def test_fork_refuses_what_is_no_address(address):
    with pytest.raises(fork.Refused, match="https://github.com/OWNER/NAME, got"):
        fork.plan(ROOT, address)


@pytest.mark.parametrize("branch", ["-main", "a b", "a..b", "main/", 'm"'])
def test_fork_refuses_what_is_no_branch(branch):
    with pytest.raises(fork.Refused, match="BRANCH must be"):
        fork.plan(ROOT, f"https://github.com/{OTHER}", branch)


@pytest.mark.parametrize("arguments", [[], [""], ["", "main"], ["https://github.com/me"], ["a", "b", "c"]])
def test_fork_says_in_one_line_what_it_needs(arguments):
    done = subprocess.run([sys.executable, fork.__file__, *arguments], capture_output=True, text=True)
    assert done.returncode and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "https://github.com/OWNER/NAME" in done.stderr


def test_fork_refuses_files_with_changes_of_their_own(copy):
    (copy / "README.md").write_text("edited, and not one of the files that change\n")
    (copy / "CITATION.cff").open("a").write("# mine\n")
    before = contents(copy)
    done = move(copy, f"https://github.com/{OTHER}")
    assert done.returncode and "CITATION.cff" in done.stderr and "README" not in done.stderr
    assert contents(copy) == before
    commit(copy)
    assert move(copy, f"https://github.com/{OTHER}").returncode == 0


def test_fork_refuses_a_mention_it_does_not_understand(copy):
    (copy / "README.md").open("a").write(f"see {configured()[0]} on GitHub\n")
    commit(copy)
    before = contents(copy)
    done = move(copy, f"https://github.com/{OTHER}")
    assert done.returncode and "README.md mentions" in done.stderr and contents(copy) == before


def test_fork_puts_back_what_it_wrote_when_a_file_fails(copy, monkeypatch):
    planned = fork.plan(copy, f"https://github.com/{OTHER}")
    before, last = contents(copy), list(planned)[-1]
    write = Path.write_bytes

    def fail(path, data):
        if path == last and data == planned[last][1]:
            write(path, data[:10])
            raise OSError("disk full")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        fork.write(planned)
    assert contents(copy) == before


def test_fork_outside_a_git_checkout_says_so(tmp_path):
    shutil.copy(ROOT / "_config.yml", tmp_path)
    with pytest.raises(fork.Refused, match="git ls-files failed"):
        fork.plan(tmp_path, f"https://github.com/{OTHER}")
    with pytest.raises(fork.Refused, match="_config.yml is missing"):
        fork.plan(tmp_path / "nowhere", f"https://github.com/{OTHER}")
