"""The stages of `make book` and `make test`; runs inside .venv (tools/bootstrap.py makes it).

A notebook is executed once per key. The key is what its outputs depend on: the helper module, the pinned
versions, the Python version and the model; jupyter-cache adds the notebook's own code cells. nbmake executes
what has no match in the cache, so book and tests share one run; Sphinx only reads it. Prose is in no key.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from contextlib import contextmanager
from pathlib import Path

import nbformat
import student
import yaml

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
CACHES = BUILD / ".jupyter_cache"
HTML = BUILD / "html"
PDF = BUILD / "talking-heads.pdf"
REPORTS = BUILD / "reports"
RUNS = ROOT / ".nbmake"  # not below _build, a name that nbmake passes over
DEFAULT_MODEL = "smollm2-135m"
TINY_MODELS = ("tiny-gpt2", "tiny-neox", "tiny-llama")
STUB_MODEL = "tiny-llama"  # where the stub of every exercise is run too, and must fail its check
CELL_TIMEOUT = 600  # seconds, as in _config.yml
KEPT_CACHES = 12  # keys to keep; older ones are other states of the code


class Failed(Exception):
    """A stage that failed and has already shown why; the message is one line."""


TIMES: list[tuple[str, float]] = []
FAILURES: list[str] = []


@contextmanager
def stage(name: str):
    """Announce a stage, keep its time, and go on after a failure so that one run shows all of them."""
    print(f"==> {name}", flush=True)
    start = time.perf_counter()
    try:
        yield
    except Failed as failure:
        FAILURES.append(f"{name}: {failure}")
        print(f"error: {name}: {failure}", file=sys.stderr, flush=True)
    finally:
        TIMES.append((name, time.perf_counter() - start))


def model_name() -> str:
    return os.environ.get("TH_MODEL") or DEFAULT_MODEL


def jobs() -> int:
    return int(os.environ.get("JOBS") or min(2, os.cpu_count() or 1))


def run_environment(model: str) -> dict[str, str]:
    """One thread per process: numbers do not depend on the core count, and parallel runs do not fight."""
    env = {name: value for name, value in os.environ.items() if value or not name.startswith("TH_")}
    env |= {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    env |= {
        "TH_MODEL": model,
        "TH_STATIC": "1",  # pictures instead of widgets: see th_utils/widgets.py
        "TQDM_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "IPYTHONDIR": str(BUILD / ".ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    if model == DEFAULT_MODEL or model in TINY_MODELS:
        env["HF_HUB_OFFLINE"] = "1"  # these need no hub, and must be seen to need none
    return env


# --- executing notebooks ---


def notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def sources(model: str) -> dict[str, nbformat.NotebookNode]:
    """Every notebook as it is executed on a model, by file name."""
    found = {path.name: nbformat.read(path, as_version=4) for path in notebooks()}
    return {name: student.with_failing_stubs(one) for name, one in found.items()} if model == STUB_MODEL else found


def cache_key(model: str) -> str:
    """Hash of everything outside a notebook that its outputs depend on."""
    digest = hashlib.sha256(f"{model} python{sys.version_info[0]}.{sys.version_info[1]}".encode())
    code = sorted(path for path in (ROOT / "th_utils").rglob("*") if path.is_file())
    for path in [ROOT / "constraints.txt", *(path for path in code if "__pycache__" not in path.parts)]:
        digest.update(f"\0{path.relative_to(ROOT).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def open_cache(model: str):
    from jupyter_cache import get_cache

    path = CACHES / cache_key(model)
    path.mkdir(parents=True, exist_ok=True)
    path.touch()  # marks it as used, for prune_caches
    return get_cache(path)


def prune_caches() -> None:
    for path in sorted(CACHES.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT_CACHES]:
        shutil.rmtree(path)


def is_cached(cache, notebook: nbformat.NotebookNode) -> bool:
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    return True


def run_folder(model: str) -> Path:
    """A fresh folder that looks to a notebook like its own: same neighbours, same path to the rest."""
    top = RUNS / model.replace("/", "_")
    shutil.rmtree(top, ignore_errors=True)
    folder = top / "notebooks"
    folder.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name != "notebooks" and not path.name.startswith((".", "_build")):
            (top / path.name).symlink_to(path)
    for path in (ROOT / "notebooks").iterdir():
        if path.suffix != ".ipynb" and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    (folder / "conftest.py").symlink_to(ROOT / "tools" / "peak.py")
    return folder


def execute(model: str) -> None:
    """Run every notebook that has no match in the model's cache, and put what passed into it."""
    from jupyter_cache.base import CacheBundleIn

    if not notebooks():
        raise Failed("no notebooks/*.ipynb")
    cache = open_cache(model)
    chapters = sources(model)
    pending = [name for name, notebook in chapters.items() if not is_cached(cache, notebook)]
    print(f"    {len(chapters) - len(pending)} of {len(chapters)} notebooks are in the cache", flush=True)
    if not pending:
        return
    fetch(model)
    folder = run_folder(model)
    for name in pending:
        nbformat.write(chapters[name], folder / name)
    report = REPORTS / f"notebooks-{folder.parent.name}.xml"
    options = [
        "--nbmake",
        "--overwrite",
        f"--nbmake-timeout={CELL_TIMEOUT}",
        f"--rootdir={folder}",
        "-o",
        "addopts=",
        "-n",
        str(min(jobs(), len(pending))),
        "--dist=worksteal",
        "-q",
        "--durations=0",
        "--durations-min=1",
    ]
    passed = pytest(options + [str(folder / name) for name in pending], report, run_environment(model))
    for case in ElementTree.parse(report).iter("testcase") if report.is_file() else ():
        name = Path(case.get("name", "")).name
        if name not in pending or {child.tag for child in case} & {"failure", "error", "skipped"}:
            continue
        executed = nbformat.read(folder / name, as_version=4)
        # Outputs go into the source as it was read: nbmake adds timing to cell metadata, which is hashed.
        for cell, result in zip(chapters[name].cells, executed.cells, strict=True):
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = result.outputs, result.execution_count
        chapters[name].metadata |= {
            key: value for key, value in executed.metadata.items() if key in ("widgets", "language_info")
        }
        seconds = float(case.get("time", "nan"))
        cache.cache_notebook_bundle(
            CacheBundleIn(chapters[name], str(ROOT / "notebooks" / name), data={"execution_seconds": seconds}),
            check_validity=False,
            overwrite=True,
        )
    if not passed:
        raise Failed(f"a notebook failed on {model}")
    shutil.rmtree(folder.parent)
    prune_caches()


def fetch(model: str) -> None:
    """Bring the weights; the last line that the module prints is their path, or the reason it has none."""
    if model in TINY_MODELS:
        return
    result = subprocess.run(
        [sys.executable, "-m", "th_utils.models", "fetch"],
        cwd=ROOT,
        text=True,
        env=run_environment(model),
        capture_output=True,
    )
    lines = (result.stdout if result.returncode == 0 else result.stderr or result.stdout).strip().splitlines()
    if result.returncode:
        raise Failed(lines[-1] if lines else f"fetching {model} failed")
    print(f"    {model}: {lines[-1] if lines else 'ready'}", flush=True)


# --- the book ---


def copy_mathjax() -> None:
    """MathJax beside the pages, from the wheel that ships it: the book must render with no network."""
    from importlib.resources import files

    source = Path(str(files("mathjax"))) / "static" / "mathjax" / "es5"
    target = BUILD / "extra" / "_static" / "mathjax"
    if (target / "LICENSE").is_file():
        return
    shutil.rmtree(target, ignore_errors=True)
    fonts = "output/chtml/fonts/woff-v2"
    shutil.copytree(source / fonts, target / fonts)
    shutil.copy(source / "tex-chtml-full.js", target)
    licence = next(one for one in (source.parent / "LICENSE", source / "LICENSE") if one.is_file())
    shutil.copy(licence, target / "LICENSE")  # last: marks the copy as complete


def copy_circuitsvis() -> None:
    """circuitsvis' script beside the pages too: one file for all figures of the book (th_utils/gallery.py)."""
    from th_utils.views.live import pattern_gallery as gallery

    target = BUILD / "extra" / gallery.IN_BOOK
    target.parent.mkdir(parents=True, exist_ok=True)
    text = gallery.bundle()
    if not target.is_file() or target.read_text(encoding="utf8") != text:
        target.write_text(text, encoding="utf8")


def build_book(model: str) -> None:
    """Jupyter Book on the model's cache; its path is a Sphinx setting, so a new key re-reads every page."""
    copy_mathjax()
    copy_circuitsvis()
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
    config["execute"]["cache"] = str(CACHES / cache_key(model))
    local = config["sphinx"]["local_extensions"]  # paths are taken from where the configuration lies
    config["sphinx"]["local_extensions"] = {name: str(ROOT / folder) for name, folder in local.items()}
    derived = BUILD / "_config.yml"
    toc = BUILD / "_toc.yml"  # a copy of the last one: Sphinx does not see that the sidebar of unchanged pages is new
    if not toc.is_file() or toc.read_bytes() != (ROOT / "_toc.yml").read_bytes():
        shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
        shutil.copy(ROOT / "_toc.yml", toc)
    derived.write_text(yaml.safe_dump(config), encoding="utf8")
    jupyter_book = "from jupyter_book.cli.main import main; main()"  # there is no python -m jupyter_book
    command = [sys.executable, "-c", jupyter_book, "build", str(ROOT), "--config", str(derived)]
    result = subprocess.run(
        [*command, "-W", "--keep-going", "-q"], cwd=ROOT, env=run_environment(model), stdout=subprocess.PIPE, text=True
    )
    if result.returncode:
        print(result.stdout)
        raise Failed("Jupyter Book stopped with the warnings or errors above")
    print(f"    {HTML / 'index.html'}", flush=True)


# --- tests ---


def pytest(arguments: list[str], report: Path, env: dict[str, str]) -> bool:
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env).returncode == 0


def check(name: str, arguments: list[str]) -> None:
    if not pytest(arguments, REPORTS / f"{name}.xml", run_environment(model_name()) | {"TH_BOOK_BUILT": "1"}):
        raise Failed("tests failed")


def count_tests() -> str:
    """One line over all pytest runs of this make, in the plain form that CI systems read."""
    total = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for report in REPORTS.glob("*.xml"):
        for suite in ElementTree.parse(report).iter("testsuite"):
            for key in total:
                total[key] += int(suite.get(key, 0))
    failed = total["failures"] + total["errors"]
    return f"{total['tests'] - failed - total['skipped']} passed, {failed} failed, {total['skipped']} skipped"


def lint() -> None:
    command = [sys.executable, "-m", "ruff", "check", "-q", "--output-format=concise", "."]
    if subprocess.run(command, cwd=ROOT).returncode:
        raise Failed("ruff found something")


# --- targets ---


def book() -> None:
    model = model_name()
    with stage(f"notebooks on {model}"):
        execute(model)
    if not FAILURES:
        with stage("book"):
            build_book(model)


def test() -> None:
    shutil.rmtree(REPORTS, ignore_errors=True)
    with stage("model"):
        fetch(model_name())
    with stage("unit tests"):
        elsewhere = ["--ignore=tests/book", "--ignore=tests/notebooks"]
        check("unit", ["tests", *elsewhere, "-q", "-n", str(jobs()), "--dist=worksteal"])
    before = len(FAILURES)
    for model in (model_name(), *TINY_MODELS):
        with stage(f"notebooks on {model}"):
            execute(model)
    if len(FAILURES) == before:
        with stage("notebooks in any order"):
            check("any_order", ["tests/notebooks", "-q"])
    if len(FAILURES) == before:
        with stage("book"):
            build_book(model_name())
        with stage("rendered pages"):
            check("book", ["tests/book", "-q", "-rs", "-n", str(jobs()), "--dist=worksteal"])
    print(count_tests())


def bench() -> None:
    with stage("model"):
        fetch(model_name())
    for path in sorted((ROOT / "benchmarks").glob("[!_]*.py")):
        with stage(path.name):
            command = [sys.executable, str(path)]
            if subprocess.run(command, cwd=ROOT, env=run_environment(model_name())).returncode:
                raise Failed("it exited with an error")


def students() -> None:
    for path in student.write(notebooks(), BUILD / "student"):
        print(f"    {path}")


def pdf() -> None:
    import printing
    from browser import NoBrowser, headless, served

    need_book()
    with stage("PDF"):
        try:
            with served(HTML) as address, headless() as browser:
                pages = printing.write_pdf(browser, address, printing.contents(ROOT / "_toc.yml"), PDF)
        except NoBrowser as missing:
            raise Failed(f"no browser to print with: {missing}") from missing
        print(f"    {PDF} ({pages} pages)")


def need_book() -> None:
    if not (HTML / "index.html").is_file():
        raise Failed("no book yet; run make book first")


def serve() -> None:
    need_book()
    port = os.environ.get("PORT") or "8000"
    print(f"http://127.0.0.1:{port} (Ctrl-C stops)", flush=True)
    command = [sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1", "--directory", str(HTML)]
    subprocess.run(command)


TARGETS = {
    "book": book,
    "test": test,
    "lint": lint,
    "bench": bench,
    "student": students,
    "pdf": pdf,
    "serve": serve,
}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in TARGETS:
        return f"error: expected one of {', '.join(TARGETS)}, got {' '.join(arguments) or 'nothing'}"
    try:
        TARGETS[arguments[0]]()
    except Failed as failure:
        FAILURES.append(str(failure))
    except KeyboardInterrupt:
        return "interrupted; run the same command again to go on"
    for name, seconds in TIMES:
        print(f"    {seconds:7.1f} s  {name}")
    if TIMES:
        REPORTS.mkdir(parents=True, exist_ok=True)
        times = {"target": arguments[0], "stages": dict(TIMES), "failures": FAILURES}
        (REPORTS / f"{arguments[0]}.json").write_text(json.dumps(times, indent=1), encoding="utf8")
    for failure in FAILURES:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
