"""pyproject.toml, constraints.txt and environment.yml must tell one story about versions."""

import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
LISTS = [PROJECT["build-system"]["requires"], PROJECT["project"]["dependencies"], *EXTRAS.values()]
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


def test_versions_of_package_and_citation_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
    assert citation["version"] == PROJECT["project"]["version"]
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
    assert citation["repository-code"] == PROJECT["project"]["urls"]["Source"] == config["repository"]["url"]


def test_the_models_page_names_every_model_and_the_checksum():
    from th_utils.models import MODELS

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
