"""Benchmarks compare like with like, and the page says what `benchmarks/results.json` holds. No time is asserted."""

import json
import re
import sys
from pathlib import Path

import pytest
import tiny_models
import torch
from PIL import Image

import th_utils as th

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import _book  # noqa: E402
import _common as common  # noqa: E402
import _composition as composition  # noqa: E402
import _engine  # noqa: E402
import _goals  # noqa: E402
import _growth  # noqa: E402
import _patching  # noqa: E402
import _sliders  # noqa: E402
import report  # noqa: E402

SMALL = (3, 4, 24, 5)
RESULTS = json.loads(common.RESULTS.read_text(encoding="utf8"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> str:
    return str(tiny_models.write(tmp_path_factory.mktemp("tiny"))["tiny-llama"])


# --- the page and the numbers ---


def test_page_and_figure_are_made_from_the_stored_numbers():
    assert report.PAGE.read_text(encoding="utf8") == report.page(RESULTS), "run python benchmarks/report.py"
    with Image.open(report.PICTURE) as picture:
        assert picture.text["results"] == report.digest(RESULTS), "run python benchmarks/report.py"
    assert report.draw(RESULTS).png.startswith(b"\x89PNG")


def test_chapters_state_the_minutes_and_the_memory_that_were_measured():
    chapters = RESULTS["parts"]["book"]["result"]["chapters"]
    for name, chapter in chapters.items():
        path = ROOT / "notebooks" / f"{name}.ipynb"
        opening = "".join(json.loads(path.read_text(encoding="utf8"))["cells"][0]["source"])
        said = report.stated(opening, chapter)
        assert "one CPU core" in said and said == opening, "run python benchmarks/report.py"


def test_every_goal_has_its_number_and_what_stands_in_the_way():
    assert RESULTS["goals"] == _goals.verdicts(RESULTS["parts"])
    for goal, one in zip(_goals.GOALS, RESULTS["goals"], strict=True):
        assert one["what"] == goal.what
        if goal.part in RESULTS["parts"]:  # the part `book` needs a make test before it
            assert one["verdict"] in ("met", "missed") and re.search(r"\d", one["measured"]), one
            assert bool(one["why"]) == (one["verdict"] == "missed"), one


def test_a_part_that_was_not_run_is_not_called_met():
    parts = {name: part for name, part in RESULTS["parts"].items() if name != "patching"}
    verdicts = {goal.part: one["verdict"] for goal, one in zip(_goals.GOALS, _goals.verdicts(parts), strict=True)}
    assert verdicts["patching"] == "not measured" and verdicts["composition"] in ("met", "missed")


# --- like with like ---


@torch.no_grad()
def test_an_interchange_gives_the_same_logits_by_both(llama):
    model = th.load_model(llama)
    by_lens, by_ours = _engine.interchanges(th, model, th.tasks.ioi.generate(model, 6, seed=0), 2)
    torch.testing.assert_close(by_ours(), by_lens(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", "QKV")
def test_the_rival_is_what_transformer_lens_computes(model, weights, mode):
    theirs = model.all_composition_scores(mode).scores
    earlier = torch.arange(weights.n_layers)[:, None] < torch.arange(weights.n_layers)
    mask = earlier[:, None, :, None].expand_as(theirs)
    torch.testing.assert_close(composition.transformer_lens(weights, mode)[mask], theirs[mask], atol=1e-5, rtol=1e-4)


def test_every_comparison_of_scores_runs_and_computes_the_decomposition_each_time():
    """Each checks its numbers against the rival's."""
    one = composition.against_transformer_lens(SMALL)
    assert one["ratio"]["n"] == 3 and one["ratio"]["median"] > 0
    book = composition.textbook(SMALL, sample=5)
    assert book["seconds"] > book["milder seconds"] > 0
    assert set("QKV") < set(composition.against_the_machine(SMALL, repeats=1))
    weights = composition.random_weights(*SMALL)
    kept = weights.ov
    composition.ours(weights, "Q")
    assert weights.ov is not kept


def test_hooked_passes_see_what_the_fast_ways_see(llama):
    """Both raise when the two ways differ."""
    assert _patching.path_patching(llama, n=8, sample=2)["largest difference"] <= 1e-4
    found = _patching.interventions(llama, n=4, lengths=(15, 24), repeats=1)["by tokens"]
    assert list(found)[-1] == "24" and all(one["ratio"]["median"] > 0 for one in found.values())


def test_sliders_are_timed_in_all_their_parts(llama):
    found = _sliders.with_kernel(llama, lists=4, passages=2, tokens=16)
    assert found["dial"] == pytest.approx(sum(one["median"] for one in found["of it"].values()))


@pytest.mark.parametrize("over", ["heads", "components", "prompts", "tokens"])
def test_growth_has_a_number_for_every_size(over, llama):
    found = _growth.curve(over, llama, small=True)
    for line in found["lines"].values():
        assert len(line["seconds"]) == len(found["x"]) and min(line["seconds"]) > 0
    assert _growth.exponent([1, 2, 4, 8], [3 * x**1.5 for x in (1, 2, 4, 8)]) == 1.5


# --- the last make test ---


def test_times_of_the_book_are_those_of_a_make_test_that_passed_and_executed_everything(tmp_path):
    stages = {"unit tests": 3.0, "notebooks on some-model": 20.0, "notebooks on tiny-gpt2": 4.0, "book": 2.0}
    told = {"target": "test", "stages": stages, "failures": []}
    peak = '<properties><property name="peak MB" value="1000"/></properties>'
    case = f'<testcase classname="x" name="{tmp_path}/00_a.ipynb" time="10">{peak}</testcase>'
    (tmp_path / "notebooks-some-model.xml").write_text(f"<testsuites><testsuite>{case}</testsuite></testsuites>")
    with pytest.raises(_book.NotTested, match="no passed make test"):
        _book.last_test(tmp_path, ["00_a"])
    (tmp_path / "test.json").write_text(json.dumps(told))
    found = _book.last_test(tmp_path, ["00_a"])
    assert found["chapters"] == {"00_a": {"seconds": 10, "peak MB": 1000}} and found["model"] == "some-model"
    with pytest.raises(_book.NotTested, match="01_b"):
        _book.last_test(tmp_path, ["00_a", "01_b"])
    (tmp_path / "test.json").write_text(json.dumps(told | {"failures": ["book: tests failed"]}))
    with pytest.raises(_book.NotTested, match="no passed make test"):
        _book.last_test(tmp_path, ["00_a"])
