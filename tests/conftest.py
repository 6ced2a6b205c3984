"""What the unit tests share: the tiny models, prompts and runs on them, and errors as a user sees them."""

import contextlib
import functools

import jaxtyping
import pytest
import torch
from tiny_models import TINY, load

import th_utils as th
from th_utils.models.hub import ModelNotFound
from th_utils.models.registry import DEFAULT
from th_utils.tasks import ioi

torch.set_num_threads(1)

_load = functools.cache(load)  # once per process: these are read-only here, and edits restore what they change


def pytest_configure(config):
    config.addinivalue_line("markers", "real: needs the default model, skipped where it is not in the cache")


def pytest_collection_modifyitems(items):
    """All notebooks in one kernel take minutes of one worker: first, so that of two none takes them from the other."""
    items.sort(key=lambda item: item.path.name != "test_any_order.py")


@pytest.fixture(autouse=True)
def gradients():
    """On at the start of every test: notebooks and benchmarks switch them off for their whole process."""
    with torch.enable_grad():
        yield


@pytest.fixture(scope="session", params=TINY)
def model(request):
    """Each of the three architectures in turn."""
    return _load(request.param)


@pytest.fixture(scope="session")
def tiny():
    """A function that gives one tiny model by name."""
    return _load


@pytest.fixture(scope="session")
def default_model():
    """The default model from the cache; the tests that use it are skipped where it has not been fetched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("subprocess.run", _no_download)
        try:
            return _load(DEFAULT)
        except (ModelNotFound, OSError) as error:
            pytest.skip(f"{DEFAULT} is not in the cache (python -m th_utils.models fetch): {error}")


def _no_download(*args, **kwargs):
    raise OSError("unit tests do not download")


@pytest.fixture(scope="session")
def weights(model):
    return th.head_weights(model)


@pytest.fixture(scope="session")
def prompts(model):
    """Ten IOI prompts of different lengths."""
    made = ioi.generate(model, 10, seed=1)
    assert len(set(made.end.tolist())) > 2, "the batch must be ragged for these tests to mean anything"
    return made


@pytest.fixture(scope="session")
def corrupted(model, prompts):
    return ioi.corrupt(model, prompts, "S2->IO")


@pytest.fixture(scope="session")
def clean(model, prompts):
    return th.run(model, prompts, positions="all")


@pytest.fixture(scope="session")
def new(model, corrupted):
    return th.run(model, corrupted, positions="all")


@pytest.fixture
def refuses():
    """`with refuses("text"):` expects an error that says so, with shape checking off: what users see."""

    @contextlib.contextmanager
    def expect(match: str, error=ValueError):
        jaxtyping.config.update("jaxtyping_disable", True)
        try:
            with pytest.raises(error, match=match) as caught:
                yield caught
        finally:
            jaxtyping.config.update("jaxtyping_disable", False)

    return expect
