"""pyproject.toml, constraints.txt and environment.yml must tell one story about versions."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import th_utils

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
LISTS = [PROJECT["build-system"]["requires"], PROJECT["project"]["dependencies"], *EXTRAS.values()]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
# Colab's own list of August 2026 (pip-freeze.gpu.txt in googlecolab/backend-info, commit a724079), Python 3.13.
COLAB = {
    "torch": "2.11.0+cu128", "transformers": "5.15.0", "tokenizers": "0.22.2", "safetensors": "0.8.0", "numpy": "2.1.3",
    "scipy": "1.16.3", "scikit-learn": "1.6.1", "pandas": "2.2.3", "matplotlib": "3.10.0", "pillow": "11.3.0",
    "platformdirs": "4.11.3", "tqdm": "4.67.3", "filelock": "3.32.3", "packaging": "26.3", "ipywidgets": "7.7.1",
}  # fmt: skip
WANTED = [Requirement(text) for texts in LISTS for text in texts]


def pin_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def pins() -> dict[str, Requirement]:
    return {canonicalize_name(one.name): one for one in map(Requirement, pin_lines())}


def environment_requirements() -> list[str]:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf8"))
    (pip_part,) = [one["pip"] for one in environment["dependencies"] if isinstance(one, dict)]
    return pip_part


def wanted(name: str) -> Requirement:
    (found,) = [one for one in WANTED if canonicalize_name(one.name) == name]
    return found


def test_every_constraint_is_one_exact_public_pin():
    for line in pin_lines():
        (specifier,) = Requirement(line).specifier
        assert specifier.operator == "==" and "*" not in specifier.version, line
        assert "+" not in specifier.version, f"{line}: a local build that nobody else can install"
    assert len(pins()) == len(pin_lines()), "a package is pinned twice"


@pytest.mark.parametrize("requirement", WANTED, ids=str)
def test_pin_satisfies_the_bounds(requirement):
    name = canonicalize_name(requirement.name)
    assert name in pins(), f"{name} is in pyproject.toml and has no pin in constraints.txt"
    (pin,) = pins()[name].specifier
    assert requirement.specifier.contains(pin.version, prereleases=True)


def test_jupyter_book_is_the_last_of_version_1():
    assert str(wanted("jupyter-book").specifier) == "==1.0.4.post1"


@pytest.mark.parametrize("name", ["transformer-lens", "transformers"])
def test_moving_dependencies_have_both_bounds(name):
    assert {one.operator for one in wanted(name).specifier} == {">=", "<"}


@pytest.mark.parametrize("name", ["torch", "numpy", "ipywidgets"])
def test_nothing_that_colab_ships_is_capped(name):
    assert all(one.operator == ">=" for one in wanted(name).specifier)


def test_conda_route_takes_the_same_versions():
    lines = environment_requirements()
    assert "-c constraints.txt" in lines
    (editable,) = [line for line in lines if line.startswith("-e ")]
    assert set(editable[editable.index("[") + 1 : -1].split(",")) == set(EXTRAS)
    plain = [Requirement(line) for line in lines if not line.startswith("-")]
    assert [one.name for one in plain][0] == "torch", "torch first, so that nothing else chooses its build"
    for one in plain:
        assert str(one) == str(pins()[canonicalize_name(one.name)])


@pytest.mark.parametrize("requirement", PROJECT["project"]["dependencies"])
def test_what_colab_has_is_new_enough(requirement):
    """The set-up cell changes nothing that Colab ships, so the bounds must let it pass."""
    requirement = Requirement(requirement)
    version = COLAB.get(canonicalize_name(requirement.name))
    assert version is None or requirement.specifier.contains(version)


def test_widgets_are_tested_with_what_colab_has():
    text = (ROOT / "tools" / "hashes.py").read_text(encoding="utf8")
    beside = [Requirement(one) for one in ast.literal_eval(re.search(r"^COLAB = (.+)$", text, re.M)[1])]
    assert [str(one) for one in beside if one.name == "ipywidgets"] == [f"ipywidgets=={COLAB['ipywidgets']}"]
    listed = (ROOT / "hashes" / "colab.txt").read_text(encoding="utf8")
    assert sorted(re.findall(r"^[\w-]+==[\w.]+", listed, re.M)) == sorted(map(str, beside))


def test_package_citation_and_book_agree():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
    assert CITATION["version"] == PROJECT["project"]["version"] == th_utils.__version__
    assert CITATION["repository-code"] == PROJECT["project"]["urls"]["Source"] == config["repository"]["url"]
    assert CITATION["title"].startswith(f"{config['title']}: ")
    assert [one["name"] for one in CITATION["authors"]] == [config["author"]]
    assert config["author"] == PROJECT["project"]["authors"][0]["name"]
    assert {"cff-version", "message", "title", "authors"} <= set(CITATION) and CITATION["cff-version"] == "1.2.0"


def test_the_preferred_citation_is_the_paper_as_the_book_cites_it():
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf8")
    entry = re.search(r"@inproceedings\{merullo2024talking,(.*?)\n\}", bibliography, re.S)[1]
    field = dict(re.findall(r"(\w+) = \{(.*?)\}", entry))
    paper = CITATION["preferred-citation"]
    assert paper["type"] == "conference-paper" and paper["title"] == field["title"]
    names = [f"{one['family-names']}, {one['given-names']}" for one in paper["authors"]]
    assert " and ".join(names) == field["author"] and paper["collection-title"] == field["booktitle"]
    assert (str(paper["year"]), str(paper["volume"])) == (field["year"], field["volume"])
    assert f"{paper['start']}--{paper['end']}" == field["pages"]
    assert paper["identifiers"] == [{"type": "other", "value": f"arXiv:{field['eprint']}"}]
    assert paper["url"] == f"https://arxiv.org/abs/{field['eprint']}"


def test_the_models_page_names_every_model_and_the_checksum():
    from th_utils.models.loading import MODELS

    page = (ROOT / "book" / "models.md").read_text(encoding="utf8")
    for card in MODELS.values():
        assert f"`{card.name}`" in page
        assert card.sha256 in page and (not card.file or card.file in page)


def test_the_api_page_documents_every_module():
    page = (ROOT / "book" / "api.md").read_text(encoding="utf8")
    inside = {"__init__", "cards", "fetch", "hub", "tiny"}  # reached through models
    for path in (ROOT / "th_utils").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert path.stem in inside or f"automodule:: {name}\n" in page, name
