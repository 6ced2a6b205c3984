"""The reports that chapter 10 reads are whole, small and dated; a part of them is made again."""

import json
import sys
from pathlib import Path

import pytest
import torch

import th_utils as th
from th_utils.channels.channel import make
from th_utils.models import pypi
from th_utils.models.registry import MODELS
from th_utils.report import measure
from th_utils.report.measure import Settings
from th_utils.report.run import SCHEMA, SECTIONS, read

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "_ext"))
import stored_reports  # noqa: E402

PATHS = sorted(Path(measure.__file__).parent.glob("data/*.json"))
GEMMA = MODELS["gemma3-270m"]
FETCHED = pypi.cache_dir() / f"{GEMMA.name}-{pypi.CONVERSION}-{GEMMA.sha256[:8]}"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_stored_report_is_whole_and_small_and_its_page_dated(path):
    found, models = read(path), (ROOT / "book" / "models.md").read_text(encoding="utf8")
    assert found["schema"] == SCHEMA and found["model"]["name"] == path.stem and path.stat().st_size < 200_000
    assert {*SECTIONS, "signals", "english"} <= found["sections"].keys()
    assert not [name for name, one in found["sections"].items() if "refused" in one]
    assert found["key"]["settings"] == json.loads(json.dumps(vars(Settings())))
    assert f"Measured {found['made']}" in stored_reports.page(path) and f"`{found['command']}`" in models


def made_again(model, name: str) -> None:
    """On a quarter of the prompts: the answer, and what the stored directions do to the movers."""
    stored = read(Path(measure.__file__).parent / "data" / f"{name}.json")["sections"]
    one = stored["channel"]["channels"]["data"]
    prompts = measure.halves(model, Settings(prompts=28))[1]
    run, rows = th.run(model, prompts), measure.abba(prompts)
    directions = torch.nn.functional.normalize(torch.tensor(one["directions_at"]), dim=-1)
    channel = make(th.head_weights(model), [tuple(head) for head in one["heads"]], one["names"], directions)
    c = channel.coordinates(run)
    middle = (c[rows].mean(0) + c[~rows].mean(0)) / 2
    movers = [tuple(head) for head in one["listeners"]]
    doses = {dose["factor"]: dose["gap"] for dose in one["doses"]}
    found = {factor: measure.gap(th.rerun_last(model, run, channel.set(middle + factor * (c - middle))), movers).mean()
             for factor in (1, -1)}  # fmt: skip
    found["answer"], doses["answer"] = th.logit_difference(model, run).mean(), stored["task"]["logit_difference"]
    for what, value in found.items():  # of fewer prompts: within twice the width of the stored interval
        wide = 2 * (doses[what]["high"] - doses[what]["low"])
        assert float(value) == pytest.approx(doses[what]["value"], abs=wide), what
    assert found[-1] < 0 < found[1]


@pytest.mark.real
@torch.no_grad()
def test_the_stored_numbers_of_the_default_model_come_again(default_model):
    made_again(default_model, "smollm2-135m")


if FETCHED.is_dir():  # nobody is asked for a yes here, and nothing is fetched

    @pytest.mark.real
    @torch.no_grad()
    def test_the_stored_numbers_of_gemma_come_again():
        made_again(th.load_model("gemma3-270m"), "gemma3-270m")
