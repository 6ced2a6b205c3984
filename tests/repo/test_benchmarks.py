"""Benchmarks compare like with like, and the page says what `benchmarks/results.json` holds. No time is asserted."""

import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import th_utils as th
from th_utils.tasks import ioi

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import _book  # noqa: E402
import _common as common  # noqa: E402
import _composition as composition  # noqa: E402
import _goals  # noqa: E402
import _growth  # noqa: E402
import _loading  # noqa: E402
import _patching  # noqa: E402
import _sliders  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402

SMALL = (3, 4, 24, 5)


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads(common.RESULTS.read_text(encoding="utf8"))


# --- the page and the numbers ---


def test_the_page_is_made_from_the_stored_numbers(results):
    assert report.PAGE.read_text(encoding="utf8") == report.page(results), "run python benchmarks/report.py"


def test_the_figure_is_drawn_from_the_stored_numbers(results):
    with Image.open(report.PICTURE) as picture:
        assert picture.text["results"] == report.digest(results), "run python benchmarks/report.py"


def test_the_figure_keeps_the_house_style(results):
    assert report.draw(results).png.startswith(b"\x89PNG")  # finish() refuses it otherwise


def test_every_goal_has_its_number_and_what_stands_in_the_way(results):
    assert results["goals"] == _goals.verdicts(results["parts"])
    assert [one["what"] for one in results["goals"]] == [goal.what for goal in _goals.GOALS]
    for goal, one in zip(_goals.GOALS, results["goals"], strict=True):
        if goal.part == "book" not in results["parts"]:
            continue  # needs a make test before it
        assert one["verdict"] in ("met", "missed"), one
        assert re.search(r"\d", one["measured"]), one
        assert bool(one["why"]) == (one["verdict"] == "missed"), one


def test_it_is_known_what_was_measured_where(results):
    assert {"processor", "cores", "system"} <= set(results["machine"])
    assert "torch" in results["versions"]
    assert set(measure.PARTS) - {"book"} <= set(results["parts"]) <= set(measure.PARTS)
    for part in results["parts"].values():
        assert {"date", "commit", "load before", "load after", "result"} <= set(part)


@pytest.mark.parametrize("bound, value, met", [("least", 10, True), ("least", 9.9, False), ("most", 10, True),
                                               ("most", 10.1, False)])  # fmt: skip
def test_goals_are_met_at_their_bound(bound, value, met):
    assert _goals.Goal("", "", lambda r: r, "", **{bound: 10}).met(value) is met


def test_a_part_that_was_not_run_is_not_called_met(results):
    parts = {name: part for name, part in results["parts"].items() if name not in ("patching", "book")}
    found = {one["what"]: one["verdict"] for one in _goals.verdicts(parts)}
    missing = {goal.what for goal in _goals.GOALS if goal.part in ("patching", "book")}
    assert {what for what, verdict in found.items() if verdict == "not measured"} == missing


# --- like with like ---


@pytest.mark.parametrize("mode", "QKV")
def test_the_rival_is_what_transformer_lens_computes(model, weights, mode):
    theirs = model.all_composition_scores(mode).scores
    earlier = torch.arange(weights.n_layers)[:, None] < torch.arange(weights.n_layers)
    mask = earlier[:, None, :, None].expand_as(theirs)
    torch.testing.assert_close(composition.transformer_lens(weights, mode)[mask], theirs[mask], atol=1e-5, rtol=1e-4)


def test_every_comparison_of_scores_checks_its_numbers_and_runs():
    one = composition.against_transformer_lens(SMALL)
    assert one["ratio"]["n"] == 3 and one["ratio"]["median"] > 0
    book = composition.textbook(SMALL, sample=5)
    assert book["seconds"] > book["milder seconds"] > 0
    assert set("QKV") < set(composition.against_the_machine(SMALL, repeats=1))


def test_operations_are_those_of_all_products():
    layers, heads, d_model, d_head = SMALL
    pairs = sum(1 for a in range(layers * heads) for b in range(layers * heads) if a // heads < b // heads)
    assert composition.operations(*SMALL) == pairs * d_head * 2 * d_model * d_head


def test_the_rival_gets_as_many_layers_as_fit():
    need = [composition.transformer_lens_mb(n, 4, 24, 5) for n in (2, 3)]
    assert composition.fitting(SMALL, need[1] + 1) == SMALL
    assert composition.fitting(SMALL, need[1] - 1e-6) == (2, 4, 24, 5)
    assert composition.fitting(SMALL, 0)[0] == 2


def test_hooked_passes_see_what_the_fast_ways_see(model):
    """Both raise when the two ways differ."""
    assert _patching.path_patching(model.th_card.name, n=8, sample=2)["largest difference"] <= 1e-4
    found = _patching.interventions(model.th_card.name, n=4, lengths=(15, 24), repeats=1)["by tokens"]
    assert list(found)[-1] == "24" and all(one["ratio"]["median"] > 0 for one in found.values())


def test_prompts_are_made_longer_in_front(tiny):
    prompts = ioi.generate(tiny("tiny-llama"), 4, seed=0, templates=[0])
    longer = _patching.of_length(prompts, 40)
    more = 40 - prompts.tokens.shape[1]
    assert torch.equal(longer.tokens[:, more:], prompts.tokens) and torch.equal(longer.end, prompts.end + more)


def test_sliders_are_timed_in_all_their_parts():
    found = _sliders.with_kernel("tiny-llama", lists=4, passages=2, tokens=16)
    assert len(found["of it"]) == 4
    assert found["dial"] == pytest.approx(sum(one["median"] for one in found["of it"].values()))


def test_the_browser_draws_every_step():
    found = _sliders.in_browser("tiny-llama", steps=20)
    assert found is None or found["95% ms"] >= found["median ms"] > 0


def reports(folder, chapters=("00_a", "01_b"), failures=()):
    """What tools/build.py and tools/peak.py leave behind."""
    stages = {"unit tests": 3.0, "notebooks on some-model": 20.0, "notebooks on tiny-gpt2": 4.0, "book": 2.0}
    (folder / "test.json").write_text(json.dumps({"target": "test", "stages": stages, "failures": list(failures)}))
    cases = "".join(
        f'<testcase classname="x" name="{folder}/{name}.ipynb" time="{10 + i}"><properties>'
        f'<property name="peak MB" value="{1000 + i}"/></properties></testcase>' for i, name in enumerate(chapters)
    )  # fmt: skip
    (folder / "notebooks-some-model.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    unit = '<testcase classname="tests.test_a" name="test_b" time="0.5"/>'
    (folder / "unit.xml").write_text(f"<testsuites><testsuite>{unit}</testsuite></testsuites>")


def test_times_of_the_book_are_those_of_the_last_make_test(tmp_path):
    reports(tmp_path)
    found = _book.last_test(tmp_path, ["00_a", "01_b"])
    assert found["chapters"] == {"00_a": {"seconds": 10, "peak MB": 1000}, "01_b": {"seconds": 11, "peak MB": 1001}}
    assert found["model"] == "some-model" and found["tests"] == {"notebooks-some-model": 2, "unit": 1}
    assert _goals.from_nothing(found) == 22


def test_a_make_test_that_failed_or_executed_too_little_is_not_read(tmp_path):
    with pytest.raises(_book.NotTested, match="no passed make test"):
        _book.last_test(tmp_path, ["00_a"])
    reports(tmp_path, chapters=["00_a"])
    with pytest.raises(_book.NotTested, match="01_b"):
        _book.last_test(tmp_path, ["00_a", "01_b"])
    reports(tmp_path, failures=["book: tests failed"])
    with pytest.raises(_book.NotTested, match="no passed make test"):
        _book.last_test(tmp_path, ["00_a"])


def test_a_pass_needs_the_operations_of_its_weights():
    """Of a GPT-2 they follow from its sizes."""
    found, cfg = _book.forward("tiny-gpt2", repeats=1), th.load_model("tiny-gpt2").cfg
    matrices = 4 * cfg.d_model**2 + 2 * cfg.d_model * cfg.d_mlp
    wanted = 2 * matrices * cfg.n_layers * found["prompts"] * found["tokens"] / 1e9
    assert found["GFLOP"] == pytest.approx(wanted, abs=0.06)


@pytest.mark.parametrize("over", ["heads", "components", "prompts", "tokens"])
def test_growth_has_a_number_for_every_size(over):
    found = _growth.curve(over, small=True)
    for line in found["lines"].values():
        assert len(line["seconds"]) == len(found["x"]) and min(line["seconds"]) > 0


def test_the_exponent_of_a_power_is_the_power():
    assert _growth.exponent([1, 2, 4, 8], [3 * x**1.5 for x in (1, 2, 4, 8)]) == 1.5


# --- the measuring itself ---


def test_memory_of_a_call_is_seen():
    code = "from _common import extra_mb; print(extra_mb(lambda: b'x' * (64 * 2**20)))"
    done = subprocess.run([sys.executable, "-c", code],
                          cwd=ROOT / "benchmarks", capture_output=True, text=True, check=True)  # fmt: skip
    assert 63 <= float(done.stdout) < 80  # the kernel counts in batches of pages


def test_pairs_take_ratios_within_pairs():
    calls = []
    found = common.pairs(lambda: calls.append("slow"), lambda: calls.append("fast"), 2)
    assert calls[0] == "fast" and {"slow", "fast"} == set(calls) and found["ratio"]["n"] == 2


def test_a_wheel_is_known_by_what_it_holds(tmp_path, monkeypatch):
    card = replace(th.MODELS[th.DEFAULT], size=100, file="x.gguf")
    monkeypatch.setenv("TH_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    for name, inside in (("other.whl", "y.gguf"), ("named_otherwise.whl", "pkg/x.gguf")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(inside, "0" * 200)
    assert _loading.cached_wheel(card).name == "named_otherwise.whl"
    (tmp_path / "named_otherwise.whl").unlink()
    assert _loading.cached_wheel(card) is None


def test_a_failing_benchmark_says_why():
    with pytest.raises(RuntimeError, match="textbook.*failed"):
        common.apart("textbook", "no size")
