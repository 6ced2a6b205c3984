"""The chapters once more, in used kernels, in an empty folder, with two threads: they show what the book shows.

The run for the book is one fresh kernel for each chapter, with one thread, in `notebooks/`. Here two kernels share the
chapters; each goes through its half backwards with two threads, then forwards with one: every chapter runs twice in one
kernel, among what others have left.
"""

import ast
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel
from nbformat.v4 import new_code_cell, new_notebook, output_from_msg

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import build  # noqa: E402

MODEL = build.STUB_MODEL  # the stubs of the exercises run here too
NAMES = [path.name for path in build.notebooks()]
WAYS = ["backwards", "forwards"]
# May differ. On stderr, which is not compared: Python shows a warning once per process.
MAY_DIFFER = [
    re.compile(r"(?<= · )\d+(?= threads · seed)"),  # th.setup says it
    re.compile(r"(?<=largest gap )[-+\de.]+(?= of the scale)"),  # float error in an identity; th.identity limits it
    re.compile(r"data:image/[^\"')]+"),  # pixels of a picture; its numbers are in its alternative text
]
# A difference of two losses of a few nats is known no better in float32, however many digits of it are shown.
FLOAT = 1e-6
NUMBER = re.compile(r"([-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?)")

# What a chapter has to leave as it was. Runs in the kernel, beside the chapters' own names.
PROBE = """
_folder = __import__("os").getcwd()

def _state(threads=None):
    import os, matplotlib, numpy, torch
    if threads is not None:
        torch.set_num_threads(threads)
    return {
        "plot style": dict(matplotlib.rcParams), "folder": os.getcwd(), "files": os.listdir(_folder),
        "environment": dict(os.environ), "threads": torch.get_num_threads(),
        "kind of numbers": torch.get_default_dtype(), "NumPy's errors": numpy.geterr(),
    }

def _left(before, used):
    import torch
    import th_utils as th
    now = _state()
    found = [f"{what}: {now[what]}, was {before[what]}" for what in now if now[what] != before[what]]
    weights, fresh = (one.original_model.state_dict() for one in (used, th.load_model()))
    if weights.keys() != fresh.keys() or not all(torch.equal(weights[name], fresh[name]) for name in fresh):
        found.append("weights")
    if any(point.fwd_hooks or point.bwd_hooks for point in used.hook_dict.values()):
        found.append("hooks")
    if torch.is_grad_enabled() or any(parameter.requires_grad for parameter in used.parameters()):
        found.append("gradients")
    return found

__import__("sklearn"), __import__("th_utils").load_model()  # libraries set variables when they are first imported
"""


SPOILING = """
import os, matplotlib, numpy, torch
import th_utils as th
model = th.load_model()
model.blocks[0].attn.o.original_component.weight[0, 0] += 1
model.hook_embed.add_hook(lambda value, hook: value)
torch.set_grad_enabled(True), torch.set_num_threads(3)
torch.set_default_dtype(torch.float64), numpy.seterr(all="raise")
matplotlib.rcParams["font.size"], os.environ["HOME"] = 3, "elsewhere"
os.mkdir("new"), os.chdir("new")
"""


def run_half(names: list[str], folder: Path) -> dict:
    """(chapter, way) -> how its outputs differ from the book's, and what it has left behind."""
    env = build.run_environment(MODEL) | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    env["OMP_WAIT_POLICY"] = "PASSIVE"  # four threads on two cores: not by spinning
    manager, client = start_new_kernel(kernel_name="python3", env=env, cwd=str(folder))
    try:
        assert run_cell(client, PROBE)[0]["status"] == "ok"
        found = {}
        for way, order, threads in zip(WAYS, (names[::-1], names), (2, 1), strict=True):
            for name in order:
                found[name, way] = run_chapter(client, book()[name], threads)
        found["control", names[0]] = run_chapter(client, new_notebook(cells=[new_code_cell(SPOILING)]), 1)
        return found
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run_chapter(client, chapter, threads: int) -> tuple[list[str], list[str]]:
    run_cell(client, f"_before = _state({threads})")
    differ = []
    for number, cell in enumerate(chapter.cells):
        if cell.cell_type != "code":
            continue
        reply, outputs = run_cell(client, cell.source)
        if reply["status"] != "ok":
            return [*differ, f"cell {number} stops: {reply['ename']}: {reply['evalue']}\n{cell.source}"], ["it stopped"]
        differ += [f"cell {number}\n{one}" for one in differences(texts(cell.outputs), texts(outputs))]
    left = run_cell(client, "_left(_before, model)")[1][-1]
    return differ, ast.literal_eval(left["data"]["text/plain"])


def run_cell(client, source: str) -> tuple[dict, list]:
    outputs = []

    def keep(message):
        if message["msg_type"] in ("stream", "display_data", "execute_result", "error"):
            outputs.append(output_from_msg(message))

    options = {"store_history": False, "stop_on_error": False, "timeout": build.CELL_TIMEOUT, "output_hook": keep}
    return client.execute_interactive(source, **options)["content"], outputs


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Both kernels side by side, run when the first test asks."""
    book()
    with ThreadPoolExecutor(build.jobs()) as pool:
        halves = [NAMES[::2], NAMES[1::2]]
        folders = [tmp_path_factory.mktemp("empty") for _ in halves]
        return {case: result for half in pool.map(run_half, halves, folders) for case, result in half.items()}


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
    """The same words and whole numbers; other numbers within one unit of the last digit, of the third, or `FLOAT`."""
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
    return abs(x - y) <= max(1e-3 * max(abs(x), abs(y)), 1.001 * min(unit(a), unit(b)), FLOAT)


def unit(text: str) -> float:
    """One in the last digit: 0.01 for 3.14, 100 for 1.2e3."""
    digits, _, exponent = text.partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


def cut(text: str, other: str, width: int = 300) -> str:
    """The text from a little before where it begins to differ from the other."""
    same = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    return text[max(0, same - 80) : same + width]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_shows_the_same_in_a_used_kernel_elsewhere_and_with_two_threads(found, name, way):
    """Numbers may differ by one in the last digit, or in the third; whole numbers and words may not."""
    differ, _ = found[name, way]
    assert not differ, "\n\n".join(differ)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_leaves_weights_hooks_gradients_styles_and_the_folder_as_they_were(found, name, way):
    """Also the environment variables, the number of threads, the default dtype and NumPy's error handling."""
    _, left = found[name, way]
    assert not left


def test_what_a_cell_can_leave_behind_is_seen(found):
    """The control of the test above."""
    left = found["control", NAMES[0]][1]
    assert {one.split(":")[0] for one in left} == {
        "plot style", "folder", "files", "environment", "threads", "kind of numbers", "NumPy's errors",
        "weights", "hooks", "gradients",
    }  # fmt: skip


ROUNDED = [("0.123", "0.124"), ("−1.2e-05", "−1.3e-05"), ("12,345.0", "12,350.0"), ("-0.00", "0.00")]
OTHER = [("0.123", "0.126"), ("12", "13"), ("23.1", "23.1 and"), ("1.0", "−1.0"), ("", "1")]


@pytest.mark.parametrize("old, new", ROUNDED)
def test_rounding_is_no_difference(old, new):
    assert not differences([f"a {old} b"], [f"a {new} b"])


@pytest.mark.parametrize("old, new", OTHER)
def test_more_than_rounding_is_a_difference(old, new):
    assert differences([f"a {old} b"], [f"a {new} b"])
