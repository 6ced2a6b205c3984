"""On a device of their own models compute what they do on the CPU, on one device and split over two (see `far`)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY
from test_float64 import BOUND, CASES

FORMULAS = [case.__name__ for case in CASES]
# PyTorch's stand-in for a device has no second one to compute gradients on.
SPLIT = [name for name in FORMULAS if name != "divergence"]


@pytest.fixture(scope="module")
def report():
    """What `far` finds, in a process of its own."""
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here.parent), str(here)])
    done = subprocess.run(
        [sys.executable, str(here / "far.py")], capture_output=True, text=True, timeout=500, check=False,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("formula", FORMULAS)
def test_every_formula_is_computed_on_the_device_of_the_model(report, formula):
    assert report["one device"][formula] < BOUND


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("formula", SPLIT)
def test_a_model_split_over_two_devices_gives_the_same_numbers(report, name, formula):
    assert report[name][formula] < BOUND


@pytest.mark.parametrize("of_what", ["senders", "points", "scores", "steps", "heads"])
def test_no_number_is_fetched_from_the_device_in_a_loop(report, of_what):
    some, three_times_as_many = report["fetches"][of_what]
    assert some == three_times_as_many <= 10


def test_the_stand_in_for_a_device_refuses_tensors_of_another_one(report):
    assert [message.split(", ", 1)[1] for message in report["refused"]] == [
        "found ['cpu', 'far:0']", "found ['far:0', 'far:1']",
    ]  # fmt: skip
