"""The stages of `make book`, `make check` and `make test`; runs inside .venv (tools/bootstrap.py makes it).

`make book` executes and builds the front page and the first chapter before the rest, in a folder of their own.

A notebook is executed once per key. The key is what its outputs depend on: the helper module, the pinned versions,
the Python version and the model; jupyter-cache adds the notebook's own code cells. nbmake executes what has no match
in the cache, so book and tests share one run; Sphinx only reads it. Prose is in no key.

The deeper pages are kept executed in `book/stored`, with the day and the commit. `make deeper` runs them anew. A build
on the default model takes them as long as their own code is the same; they say on the page what they are.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import student
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, NbValidityError

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
CACHES = BUILD / "caches"
REPORTS = BUILD / "reports"
TINY = BUILD / "tiny"
STORED = ROOT / "book" / "stored"
# Of each chapter as last measured; the slowest begin first, so that two workers end together.
MEASURED = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf8"))["parts"].get("book", {})
SECONDS = {name: one["seconds"] for name, one in MEASURED.get("result", {}).get("chapters", {}).items()}
# What one can read while the rest is computed, and what it cites.
FIRST = ("book/index", "notebooks/00_first_look", "book/references")
STYLED = BUILD / ".ipython-styled"  # the IPYTHONDIR of chapters alone
RUNS = ROOT / ".nbmake"  # not below _build, a name that nbmake passes over
DEFAULT_MODEL = "smollm2-135m"
TINY_MODELS = ("tiny-gpt2", "tiny-neox", "tiny-llama", "tiny-gemma3")
STUB_MODEL = "tiny-llama"  # where the stub of every exercise is run too, and must fail its check
CELL_TIMEOUT = 600  # seconds, as in _config.yml
KEPT_CACHES = 12  # keys to keep; older ones are other states of the code


class Failed(Exception):
    """A stage that failed and has already shown why; the message is one line."""


TIMES: dict[str, float] = {}
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
        TIMES[name] = time.perf_counter() - start


def model_name() -> str:
    """The model of the book: a known name, or the whole path of a directory, because notebooks run elsewhere."""
    name = os.environ.get("TH_MODEL") or DEFAULT_MODEL
    return str(Path(name).expanduser().resolve()) if os.sep in name else name


def label(model: str) -> str:
    return Path(model).name


def jobs() -> int:
    return int(os.environ.get("JOBS") or min(2, os.cpu_count() or 1))


def run_environment(model: str) -> dict[str, str]:
    """One thread per process: numbers do not depend on the core count, and parallel runs do not fight."""
    env = {name: value for name, value in os.environ.items() if value or not name.startswith("TH_")}
    env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    env |= {"TH_MODEL": model, "TH_STATIC": "1"}  # pictures instead of widgets
    env |= {"IPYTHONDIR": str(BUILD / ".ipython"), "JUPYTER_PREFER_ENV_PATH": "1"}
    env |= {"TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    if model == DEFAULT_MODEL or Path(model).is_dir():
        env["HF_HUB_OFFLINE"] = "1"  # these need no hub, and must be seen to need none
    return env


def python(*arguments: object, env: dict[str, str], **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, env=env, text=True, **options)


# --- models ---


def keep_file(model: str) -> None:
    """Keep the default model's own file, which the page of the lab runs; where it cannot be had, that page says so."""
    if model == DEFAULT_MODEL:
        python("-m", "th_utils.models", "file", model, env=run_environment(model), stdout=subprocess.DEVNULL)


def fetch(model: str) -> None:
    """Bring the weights; the module prints where they are, or in one line why they are nowhere."""
    keep_file(model)
    if python("-m", "th_utils.models", "fetch", env=run_environment(model)).returncode:
        raise Failed(f"{label(model)} could not be fetched")


def tiny_model(name: str) -> str:
    """The directory of a tiny model; all are written again when older than the code that makes them."""
    code = [path for path in (ROOT / "th_utils" / "tasks").rglob("*") if path.suffix in (".py", ".json")]
    code.append(ROOT / "tests" / "tiny_models.py")
    done = TINY / "done"
    if not done.is_file() or done.stat().st_mtime < max(path.stat().st_mtime for path in code):
        shutil.rmtree(TINY, ignore_errors=True)
        if python("tests/tiny_models.py", TINY, env=run_environment(DEFAULT_MODEL)).returncode:
            raise Failed("the tiny models could not be written")
        done.touch()
    return str(TINY / name)


# --- executing notebooks ---


def sources(model: str) -> dict[str, nbformat.NotebookNode]:
    """Every notebook as it is executed on a model, by file name; of the tiny models one runs the deeper ones too."""
    prepared = student.with_failing_stubs if label(model) == STUB_MODEL else lambda notebook: notebook
    main_only = label(model) in TINY_MODELS and label(model) != STUB_MODEL
    paths = sorted((ROOT / "notebooks").glob("*.ipynb" if main_only else "**/*.ipynb"))
    return {path.name: prepared(nbformat.read(path, as_version=4)) for path in paths}


def cache_key(model: str) -> str:
    """Hash of everything outside a notebook that its outputs depend on."""
    digest = hashlib.sha256(f"{label(model)} python{sys.version_info[0]}.{sys.version_info[1]}".encode())
    code = [path for path in (ROOT / "th_utils").rglob("*") if "__pycache__" not in path.parts]
    code += [ROOT / "constraints.txt", ROOT / "tests" / "house_style.py"]
    parts = Path(model).iterdir() if Path(model).is_dir() else ()  # configuration, tokenizer, weights
    for path in filter(Path.is_file, [*sorted(code), *sorted(parts)]):
        name = path.relative_to(ROOT if path in code else model).as_posix()
        with path.open("rb") as handle:
            digest.update(f"\0{name}\0".encode() + hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()[:16]


def open_cache(model: str):
    path = CACHES / cache_key(model)
    path.mkdir(parents=True, exist_ok=True)
    path.touch()  # marks it as used: the oldest go
    for old in sorted(CACHES.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT_CACHES]:
        shutil.rmtree(old)
    return get_cache(path)


def is_cached(cache, notebook: nbformat.NotebookNode) -> bool:
    try:
        return bool(cache.match_cache_notebook(notebook))
    except KeyError:
        return False


def keep(cache, path: Path) -> None:
    """Put what nbmake wrote into the cache if it ran to its end; its timing goes, or no source would match it."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if any(output.output_type == "error" for output in cell.get("outputs", ())):
            return
    with suppress(NbValidityError):  # a cell was not run
        cache.cache_notebook_bundle(CacheBundleIn(notebook, path.name), overwrite=True)


def prepare_folder(model: str) -> Path:
    """An empty folder to run in; its kernels refuse figures that break the house style, as a reader's do not."""
    start_up = STYLED / "profile_default" / "startup" / "house_style.py"
    start_up.parent.mkdir(parents=True, exist_ok=True)
    start_up.unlink(missing_ok=True)
    start_up.symlink_to(ROOT / "tools" / "check_figures.py")
    folder = RUNS / label(model)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "peak.py", folder / "conftest.py")
    return folder


def execute(model: str, anew: Sequence[str] = (), only: Sequence[str] = ()) -> None:
    """Run every notebook, or `only` these, that has no match in the model's cache; some, `anew`, in any case."""
    cache, chapters = open_cache(model), sources(model)
    chapters = {name: chapters[name] for name in only or chapters}
    for path in STORED.glob("*.ipynb") if model == DEFAULT_MODEL else ():
        if path.name in chapters and not is_cached(cache, chapters[path.name]):
            keep(cache, path)
    for name in anew:
        with suppress(KeyError):
            cache.remove_cache(cache.match_cache_notebook(chapters[name]).pk)
    pending = [name for name, notebook in chapters.items() if not is_cached(cache, notebook)]
    print(f"    {len(chapters) - len(pending)} of {len(chapters)} notebooks are in the cache", flush=True)
    if not pending:
        return
    fetch(model)
    folder = prepare_folder(model)
    for name in pending:
        nbformat.write(chapters[name], folder / name)
    options = ["--nbmake", "--overwrite", f"--nbmake-timeout={CELL_TIMEOUT}", f"--rootdir={folder}", "-o", "addopts="]
    options += ["--durations=0", "--durations-min=1", "--dist=load", "--maxschedchunk=1"]
    paths = [folder / name for name in sorted(pending, key=lambda name: -SECONDS.get(Path(name).stem, 0))]
    try:
        pytest(f"notebooks-{label(model)}", model, *options, *paths, IPYTHONDIR=str(STYLED))
    except Failed:
        raise Failed(f"a notebook failed on {label(model)}") from None
    finally:
        for path in paths:
            keep(cache, path)
    shutil.rmtree(folder)


def executed(model: str) -> dict[Path, nbformat.NotebookNode]:
    """Every notebook with its outputs, from the model's cache, by its path in the repository."""
    cache, chapters = open_cache(model), sources(model)
    if missing := [name for name, notebook in chapters.items() if not is_cached(cache, notebook)]:
        raise Failed(f"{len(missing)} notebooks were not executed as they are now; run make book first")
    paths = {path.name: path.relative_to(ROOT) for path in (ROOT / "notebooks").glob("**/*.ipynb")}
    return {paths[name]: cache.merge_match_into_notebook(notebook)[1] for name, notebook in chapters.items()}


def commit() -> str:
    """The commit, and whether code or notebooks have changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "th_utils", "notebooks", "constraints.txt")
    return git("rev-parse", "--short", "HEAD") + " with changes" * bool(changed)


def claims(notebook: nbformat.NotebookNode) -> list[str]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [line for output in outputs for line in output.get("text", "").splitlines() if line.startswith("✓")]


def store(names: Sequence[str]) -> None:
    """Keep what those of these notebooks gave that ran on the default model; say which claims read otherwise now."""
    cache, chapters = open_cache(DEFAULT_MODEL), sources(DEFAULT_MODEL)
    for name in (name for name in names if is_cached(cache, chapters[name])):
        notebook = cache.get_cache_bundle(cache.match_cache_notebook(chapters[name]).pk).nb
        notebook.metadata["stored"] = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "commit": commit()}
        before = claims(nbformat.read(STORED / name, as_version=4)) if (STORED / name).is_file() else claims(notebook)
        for line in (line for line in claims(notebook) if line not in before):
            print(f"    {name}: {line}", flush=True)
        nbformat.write(notebook, STORED / name)


def jupyter_book(model: str, cache: Path, *options: object) -> None:
    """Build pages with the outputs that lie in a model's cache; the link to it is where Jupyter Book looks."""
    if cache.is_dir() and not cache.is_symlink():  # of a build by hand
        shutil.rmtree(cache)
    cache.unlink(missing_ok=True)
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.symlink_to(CACHES / cache_key(model))
    command = "from jupyter_book.cli.main import main; main()"  # there is no python -m jupyter_book
    result = python("-c", command, "build", ROOT, "--keep-going", "-q", *options, env=run_environment(model),
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    if result.returncode:
        print(result.stdout)
        raise Failed("Jupyter Book stopped with the warnings or errors above")
    print(f"    {cache.parent / 'html' / 'index.html'}", flush=True)


def build_first(model: str) -> None:
    """Build the first pages alone; what leads to pages that are not there yet is no link."""
    toc = BUILD / "first" / "_toc.yml"
    toc.parent.mkdir(exist_ok=True)
    files = "".join(f"- file: {page}\n" for page in FIRST[1:])
    toc.write_text(f"format: jb-book\nroot: {FIRST[0]}\nchapters:\n{files}", encoding="utf8")
    jupyter_book(model, toc.parent / "_build" / ".jupyter_cache", "--toc", toc, "--path-output", toc.parent)


def state_of_pages(model: str) -> str:
    """Hash of what every page depends on: outputs, the sidebar, our directives, the glossary's roles of heads."""
    paths = [ROOT / "_toc.yml", ROOT / "book" / "glossary.md", *sorted((ROOT / "_ext").glob("*.py"))]
    return hashlib.sha256(b"\0".join([cache_key(model).encode(), *(path.read_bytes() for path in paths)])).hexdigest()


def build_book(model: str) -> None:
    """Build all pages, as warnings allow; every page anew where something changed that all of them depend on."""
    keep_file(model)
    state = state_of_pages(model)
    built = BUILD / "state.txt"
    if not built.is_file() or built.read_text(encoding="utf8") != state:
        shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
    built.unlink(missing_ok=True)  # an interrupted build counts for nothing
    jupyter_book(model, BUILD / ".jupyter_cache", "-W")
    built.write_text(state, encoding="utf8")


# --- tests ---


def pytest(report: str, model: str, *arguments: object, **variables: str) -> None:
    path = REPORTS / f"{report}.xml"
    path.unlink(missing_ok=True)
    command = ["-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={path}", "-q", "-n", jobs(), "--dist=worksteal"]
    if python(*command, *arguments, env=run_environment(model) | {"TH_BOOK_BUILT": "1"} | variables).returncode:
        raise Failed("tests failed")


def count_tests() -> str:
    """One line over all pytest runs of this make, in the plain form that CI systems read."""
    suites = [suite for path in REPORTS.glob("*.xml") for suite in ElementTree.parse(path).iter("testsuite")]
    total = {key: sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "failures", "errors", "skipped")}
    failed = total["failures"] + total["errors"]
    return f"{total['tests'] - failed - total['skipped']} passed, {failed} failed, {total['skipped']} skipped"


UNITS = ("tests", "--ignore=tests/book")


def book() -> None:
    model = model_name()
    if not (BUILD / "html" / "index.html").is_file():
        with stage("the first pages, to read while the rest is computed"):
            execute(model, only=[f"{FIRST[1].removeprefix('notebooks/')}.ipynb"])
            build_first(model)
    with stage(f"notebooks on {label(model)}"):
        execute(model)
    if not FAILURES:
        with stage("book"):
            build_book(model)


def deeper() -> None:
    """Run the deeper pages anew, or those that PAGES names, and keep them."""
    there = [path.name for path in sorted((ROOT / "notebooks" / "deeper").glob("*.ipynb"))]
    names = [f"{name}.ipynb" for name in os.environ.get("PAGES", "").split()] or there
    with stage(f"{len(names)} of the deeper pages"):
        if unknown := {*names} - {*there}:
            raise Failed(f"PAGES names {', '.join(sorted(unknown))}; there are {', '.join(there)}")
        try:
            execute(DEFAULT_MODEL, names, only=names)
        finally:
            store(names)


def quick() -> None:
    with stage("quick unit tests"):
        quickly = ("--ignore=tests/notebooks", "-m", "not slow and not real")
        pytest("quick", model_name(), *UNITS, *quickly, TH_BROWSER="no", CI="")
    with stage(f"chapters on {STUB_MODEL}"):
        execute(tiny_model(STUB_MODEL), only=[path.name for path in sorted((ROOT / "notebooks").glob("*.ipynb"))])


def test() -> None:
    model = model_name()
    shutil.rmtree(REPORTS)
    REPORTS.mkdir()
    with stage("model"):
        fetch(model)
    with stage(f"notebooks on {STUB_MODEL}"):
        execute(tiny_model(STUB_MODEL))
    with stage("unit tests, and notebooks in any order"):
        pytest("unit", model, *UNITS)
    for name in (model, *(name for name in TINY_MODELS if name != STUB_MODEL)):
        with stage(f"notebooks on {label(name)}"):
            execute(tiny_model(name) if name in TINY_MODELS else name)
    if not any(failure.startswith("notebooks") for failure in FAILURES):
        with stage("book"):
            build_book(model)
        with stage("rendered pages"):
            pytest("book", model, "tests/book", "-rs")
    print(count_tests())


def main(target: str) -> int | str:
    REPORTS.mkdir(parents=True, exist_ok=True)
    try:
        {"book": book, "check": quick, "deeper": deeper, "test": test}[target]()
    except KeyboardInterrupt:
        return "interrupted; run the same command again to go on"
    for name, seconds in TIMES.items():
        print(f"    {seconds:7.1f} s  {name}")
    report = {"target": target, "stages": TIMES, "failures": FAILURES}
    (REPORTS / f"{target}.json").write_text(json.dumps(report, indent=1), encoding="utf8")
    for failure in FAILURES:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
