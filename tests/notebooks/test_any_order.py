"""The chapters once more, in used kernels, in an empty folder, with two threads: they show what the book shows.

The run for the book is one fresh kernel for each chapter, with one thread, in `notebooks/`. Here two kernels share the
chapters; each goes through its half backwards, then forwards, so that every chapter runs twice, among leftovers.
"""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel
from nbformat.v4 import output_from_msg

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import build  # noqa: E402

MODEL = build.STUB_MODEL  # the stubs of the exercises run here too
NAMES = [path.name for path in build.notebooks()]
HALVES = {"even": NAMES[::2], "odd": NAMES[1::2]}
CASES = [
    pytest.param(half, name, turn, id=f"{name[:2]} {way}", marks=pytest.mark.xdist_group(half))
    for half, names in HALVES.items()
    for turn, way, order in ((0, "backwards", names[::-1]), (1, "forwards", names))
    for name in order
]
# May differ. On stderr, which is not compared: Python shows a warning once per process.
MAY_DIFFER = [
    re.compile(r"(?<= · )\d+(?= threads · seed)"),  # th.setup says it
    re.compile(r"data:image/[^\"')]+"),  # pixels of a picture; its numbers are in its alternative text
]
NUMBER = re.compile(r"([-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?)")

# What a chapter has to leave as it was. Runs in the kernel, in a namespace of its own.
REMEMBER = """
def _remember():
    import os, random, sys, warnings
    import matplotlib, numpy, torch
    return {
        "plot style": dict(matplotlib.rcParams), "folder": os.getcwd(), "environment": dict(os.environ),
        "threads": torch.get_num_threads(), "kind of numbers": torch.get_default_dtype(),
        "NumPy's errors": numpy.geterr(), "files": os.listdir(),
    }

def _left(before):
    import sys, torch
    import th_utils as th
    loaded, now = th.load_model(), model
    found = [what for what, value in _remember().items() if value != before[what]]
    weights, fresh = (one.original_model.state_dict() for one in (now, loaded))
    if weights.keys() != fresh.keys() or not all(torch.equal(weights[name], fresh[name]) for name in fresh):
        found.append("weights")
    if any(point.fwd_hooks or point.bwd_hooks for point in now.hook_dict.values()):
        found.append("hooks")
    if any(parameter.requires_grad for parameter in now.parameters()) or torch.is_grad_enabled():
        found.append("gradients")
    if "matplotlib.pyplot" in sys.modules and sys.modules["matplotlib.pyplot"].get_fignums():
        found.append("open figures")
    return found

_before = _remember()
"""


class Kernel:
    def __init__(self, folder: Path):
        env = build.run_environment(MODEL) | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")
        self.manager, self.client = start_new_kernel(kernel_name="python3", env=env, cwd=str(folder))
        self.done = {}
        assert self.run(REMEMBER)[0]["status"] == "ok"

    def run(self, source: str, **options) -> tuple[dict, list]:
        outputs = []

        def keep(message):
            if message["msg_type"] in ("stream", "display_data", "execute_result", "error"):
                outputs.append(output_from_msg(message))

        reply = self.client.execute_interactive(
            source, store_history=False, timeout=build.CELL_TIMEOUT, output_hook=keep, stop_on_error=False, **options
        )
        return reply["content"], outputs

    def chapter(self, name: str, turn: int) -> tuple[list[str], list[str]]:
        """How a chapter's outputs differ from the book's, and what it has left behind; run once, then remembered."""
        if (name, turn) not in self.done:
            differ = []
            for number, cell in enumerate(book()[name].cells):
                if cell.cell_type != "code":
                    continue
                reply, outputs = self.run(cell.source)
                if reply["status"] != "ok":
                    differ.append(f"cell {number} stops: {reply['ename']}: {reply['evalue']}\n{cell.source}")
                    break
                differ += [f"cell {number}\n{one}" for one in differences(texts(cell.outputs), texts(outputs))]
            reply, _ = self.run("", user_expressions={"left": "__import__('json').dumps(_left(_before))"})
            left = reply["user_expressions"]["left"]
            said = left["data"]["text/plain"][1:-1] if left["status"] == "ok" else json.dumps([left["evalue"]])
            self.done[name, turn] = differ, json.loads(said)
        return self.done[name, turn]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The kernel of a half, started when it is first asked for."""
    started = {}

    def get(half: str) -> Kernel:
        if half not in started:
            started[half] = Kernel(tmp_path_factory.mktemp(half))
        return started[half]

    yield get
    for kernel in started.values():
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)


def book() -> dict:
    """The chapters with the outputs of the book's run."""
    if not _book:
        cache = build.open_cache(MODEL)
        for name, notebook in build.sources(MODEL).items():
            if not build.is_cached(cache, notebook):
                say = pytest.fail if os.environ.get("TH_BOOK_BUILT") else pytest.skip  # `make test` has just run it
                say(f"{name} has not been run on {MODEL} yet: make test does")
            _book[name] = cache.merge_match_into_notebook(notebook)[1]
    return _book


_book: dict = {}


def texts(outputs: list) -> list[str]:
    """What a cell shows as text: one piece for what it prints, then one per kind of text of each thing shown."""
    printed, shown = "", []
    for output in outputs:
        if output.output_type == "stream":
            printed += output.text if output.name == "stdout" else ""
        else:
            shown += [f"{kind}\n{text}" for kind, text in sorted(output.get("data", {}).items()) if "text/" in kind]
    for pattern in MAY_DIFFER:
        printed, shown = pattern.sub("…", printed), [pattern.sub("…", text) for text in shown]
    return [printed, *shown]


def differences(old: list[str], new: list[str]) -> list[str]:
    if len(old) != len(new):
        return [f"it shows {len(old)} texts in the book, {len(new)} here"]
    return [
        f"in the book: {cut(a, b)}\nhere:        {cut(b, a)}"
        for a, b in zip(old, new, strict=True)
        if not equal_when_rounded(a, b)
    ]


def equal_when_rounded(old: str, new: str) -> bool:
    """The same words; the same whole numbers; other numbers within one unit of the last digit, or of the third."""
    if old == new:
        return True
    a, b = NUMBER.split(old), NUMBER.split(new)
    return len(a) == len(b) and a[::2] == b[::2] and all(map(close, a[1::2], b[1::2]))


def close(a: str, b: str) -> bool:
    if a == b:
        return True
    if a.lstrip("+-−").isdigit() and b.lstrip("+-−").isdigit():
        return False
    x, y = (float(text.replace(",", "").replace("−", "-")) for text in (a, b))
    return abs(x - y) <= max(1e-3 * max(abs(x), abs(y)), 1.001 * min(unit(a), unit(b)))


def unit(text: str) -> float:
    """One in the last digit: 0.01 for 3.14, 100 for 1.2e3."""
    digits, _, exponent = text.partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


def cut(text: str, other: str, width: int = 300) -> str:
    """The text from a little before where it begins to differ from the other."""
    same = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    return text[max(0, same - 80) : same + width]


@pytest.mark.parametrize("half, name, turn", CASES)
def test_a_chapter_shows_the_same_in_a_used_kernel_elsewhere_and_with_two_threads(kernels, half, name, turn):
    """Numbers may differ by one in the last digit, or in the third; whole numbers and words may not."""
    differ, _ = kernels(half).chapter(name, turn)
    assert not differ, "\n\n".join(differ)


@pytest.mark.parametrize("half, name, turn", CASES)
def test_a_chapter_leaves_weights_hooks_gradients_styles_and_the_folder_as_they_were(kernels, half, name, turn):
    """Also the environment variables, the number of threads, NumPy's error handling and open figures."""
    _, left = kernels(half).chapter(name, turn)
    assert not left
