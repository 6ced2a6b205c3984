"""What is installed and run is what was reviewed: versions agree, hashes are complete, weights are only data.

That no code unpickles, evaluates text or starts a shell is checked by ruff (pyproject.toml).
"""

import re
import subprocess
import tomllib
from pathlib import Path, PurePath

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
# Colab's own list of August 2026 (pip-freeze.gpu.txt in googlecolab/backend-info, commit a724079), Python 3.13.
COLAB = {
    "torch": "2.11.0+cu128", "transformers": "5.15.0", "tokenizers": "0.22.2", "safetensors": "0.8.0", "numpy": "2.1.3",
    "scipy": "1.16.3", "scikit-learn": "1.6.1", "pandas": "2.2.3", "matplotlib": "3.10.0", "pillow": "11.3.0",
    "platformdirs": "4.11.3", "tqdm": "4.67.3", "filelock": "3.32.3", "packaging": "26.3", "ipywidgets": "7.7.1",
}  # fmt: skip
LISTS = {path.name: path.read_text(encoding="utf8") for path in sorted((ROOT / "hashes").glob("*.txt"))}
NEEDED = ("torch.txt", "build.txt", "rest.txt")  # on every machine
(WORKFLOW,) = [path.read_text(encoding="utf8") for path in (ROOT / ".github" / "workflows").glob("*.yml")]
SECRETS = [
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY",
    r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{50,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{35})",
    r"\b(?:hf_[A-Za-z0-9]{30,}|pypi-AgE[\w-]{40,}|sk-[A-Za-z0-9_-]{32,}|(?:AKIA|ASIA)[A-Z0-9]{16}\b)",
    r"\w+://[^\s/:@\"'<>{}$]+:[^\s/:@\"'<>{}$]+@[\w.-]+\.[a-z]{2,}",  # a password in an address
]


def by_name(lines) -> dict[str, Requirement]:
    return {canonicalize_name(one.name): one for one in map(Requirement, lines)}


WANTED = by_name(sum(EXTRAS.values(), PROJECT["build-system"]["requires"] + PROJECT["project"]["dependencies"]))
PINS = by_name(re.findall("^[^#].*", (ROOT / "constraints.txt").read_text(encoding="utf8"), re.M))


def version(requirement: Requirement) -> str:
    """Of one exact pin that everybody can install: no local build."""
    (specifier,) = requirement.specifier
    assert specifier.operator == "==" and not re.search("[*+]", specifier.version), requirement
    return specifier.version


def listed(name: str) -> list[tuple[Requirement, list[str]]]:
    """The requirements of one list with their hashes, every line accounted for."""
    lines = [line for line in LISTS[name].replace("\\\n", "").splitlines() if not line.startswith(("#", "--"))]
    parts = [line.split("--hash=sha256:") for line in lines]
    return [(Requirement(first.strip()), [one.strip() for one in hashes]) for first, *hashes in parts]


# --- versions ---


@pytest.mark.parametrize("name", WANTED)
def test_bounds_let_the_pin_pass_and_what_colab_has(name):
    """The set-up cell changes nothing that Colab ships."""
    assert WANTED[name].specifier.contains(version(PINS[name]), prereleases=True)
    assert name not in COLAB or WANTED[name].specifier.contains(COLAB[name])


def test_bounds_are_where_they_are_needed_and_nowhere_else():
    operators = {name: {one.operator for one in wanted.specifier} for name, wanted in WANTED.items()}
    assert str(WANTED["jupyter-book"].specifier) == "==1.0.4.post1", "the last of version 1"
    assert operators["transformer-lens"] == operators["transformers"] == {">=", "<"}
    assert operators["torch"] == operators["numpy"] == operators["ipywidgets"] == {">="}, "Colab ships these"


def test_conda_route_takes_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf8"))
    (lines,) = [one["pip"] for one in environment["dependencies"] if isinstance(one, dict)]
    constraints, torch, editable = lines  # torch first, so that nothing else chooses its build
    assert constraints == "-c constraints.txt" and torch == str(PINS["torch"])
    assert set(re.fullmatch(r"-e \.\[(.+)\]", editable)[1].split(",")) == set(EXTRAS)


def test_everything_in_the_package_is_installed_with_it():
    """What is no Python, as Colab installs it from the repository: stubs of the lazy import, scripts, word lists."""
    names = subprocess.run(["git", "ls-files", "th_utils"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    suffixes = {PurePath(name).suffix for name in names.split()} - {".py"}
    installed = PROJECT["tool"]["setuptools"]["package-data"]["th_utils"]
    assert {".pyi", ".js"} <= suffixes and {f"**/*{suffix}" for suffix in suffixes} <= set(installed)


# --- hashes ---


@pytest.mark.parametrize("name", LISTS)
def test_every_listed_package_has_one_version_and_hashes_and_runs_no_code_while_it_is_installed(name):
    options = [line for line in LISTS[name].splitlines() if line.startswith("--")]
    assert options == ["--require-hashes", "--only-binary :all:", "--no-binary transformers-stream-generator"]
    assert len(listed(name)) == len({one.name for one, _ in listed(name)}) > 0
    for requirement, hashes in listed(name):
        assert version(requirement) and hashes and all(re.fullmatch("[0-9a-f]{64}", one) for one in hashes), requirement


def test_every_pin_has_hashes_for_its_version_and_tests_use_the_widgets_of_colab():
    found = {canonicalize_name(one.name): version(one) for name in NEEDED for one, _ in listed(name)}
    assert len(found) == sum(len(listed(name)) for name in NEEDED), "a package stands in two lists"
    assert {name: found[name] for name in PINS} == {name: version(pin) for name, pin in PINS.items()}
    assert set(WANTED) <= set(PINS)
    assert COLAB["ipywidgets"] in {version(one) for one, _ in listed("colab.txt") if one.name == "ipywidgets"}


def test_a_hash_without_a_pin_is_for_another_platform_only():
    """constraints.txt is complete for Linux with the CPU build of torch; all else is for other systems or CUDA."""
    here = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "implementation_name": "cpython",
            "platform_python_implementation": "CPython", "platform_machine": "x86_64"}  # fmt: skip
    for python in ("3.11", "3.12", "3.13"):
        here |= {"python_version": python, "python_full_version": f"{python}.9"}
        for requirement, _ in [one for name in NEEDED for one in listed(name)]:
            needed = requirement.marker is None or requirement.marker.evaluate(here)
            assert not needed or canonicalize_name(requirement.name) in PINS, requirement
    assert all("linux" in str(requirement.marker) for requirement, _ in listed("cuda.txt"))


# --- what runs, and what is read ---


def test_the_workflow_can_read_the_code_and_the_jobs_that_may_write_run_none_of_it():
    """Actions are named by commits, because tags can be moved; no text of a pull request becomes a command."""
    used, workflow = re.findall(r"uses: *(.+)", WORKFLOW), yaml.safe_load(WORKFLOW)
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used), used
    assert workflow["permissions"] == {"contents": "read"} and "secrets." not in WORKFLOW
    assert set(workflow[True]) == {"push", "pull_request", "schedule"}, "others run with the rights of the owner"
    for name, branch in (("publish", "refs/heads/main"), ("release", "refs/tags/v")):
        writes = workflow["jobs"][name]
        assert writes["permissions"] == {"actions": "read", "contents": "write"} and writes["needs"] == "test"
        assert branch in writes["if"] and "github.event_name == 'push'" in writes["if"]
        commands = [line for step in writes["steps"] for line in step.get("run", "").splitlines()]
        assert all(re.match(r"(git|gh run download|gh release create|sha256sum|ls|touch) ", line) for line in commands)
    for name, job in workflow["jobs"].items():
        assert ("permissions" not in job or name in ("publish", "release")) and job["timeout-minutes"]
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")
            assert "checkout@" not in step.get("uses", "") or step["with"]["persist-credentials"] is False
    recipe = (ROOT / "Makefile").read_text(encoding="utf8").split("\naudit:")[1].split("\n\n")[0]
    assert "make audit" in WORKFLOW and re.search(r"pip-audit==[\d.]+", recipe) and "hashes/*.txt" in recipe
    assert "--strict" in recipe, "a package that could not be looked up must not pass"


def test_what_the_workflow_publishes_is_what_the_build_writes():
    """A published branch must hold these, and the tests below tests/book see that the build writes them."""
    table = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    pages = {f"{chapter['file']}.html" for part in table["parts"] for chapter in part["chapters"]} | {"index.html"}
    site, outputs = yaml.safe_load(WORKFLOW)["jobs"]["publish"]["strategy"]["matrix"]["include"]
    assert pages >= set(site["holds"].split()) and outputs["holds"] == "notebooks student"


def test_no_file_holds_a_secret_and_models_are_read_as_data():
    """No code that comes with a model, no pickled weights."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    texts = {name: (ROOT / name).read_bytes().decode("utf8", "replace") for name in names if (ROOT / name).is_file()}
    unsafe = (
        r"trust_remote_code(?!\W+False)|allow_pickle(?!=False)|weights_only=(?!True)|torch\.(hub\.)?load\b|"
        r"import (pickle|joblib|dill|cloudpickle|shelve|marshal)\b|use_safetensors=(?!True)"
    )
    for sign, planted in (
        (SECRETS[0], "-----BEGIN " + "RSA PRIVATE KEY-----"), (SECRETS[-1], "https" + "://me:word" + "@example.org/a"),
        (unsafe, "f(trust_remote_code=True)"), (unsafe, "np.load(path, allow_pickle=yes)"),
    ):  # fmt: skip
        assert re.search(sign, planted)
    assert not [(name, sign) for name, text in texts.items() for sign in SECRETS if re.search(sign, text)]
    code = {name: text for name, text in texts.items() if re.match(r"(th_utils|tools|benchmarks|notebooks)/", name)}
    assert not {name: found[0] for name, text in code.items() if (found := re.search(unsafe, text))}
    assert "use_safetensors=True" in code["th_utils/models/hub.py"]  # what `fetch` unpacks is GGUF
