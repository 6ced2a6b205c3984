"""The architecture as tests: what may import what, who reaches inside a model, and how large it all may become."""

import ast
import importlib.util
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import th_utils

HOME = Path(th_utils.__file__).parent
# On top the report, which uses all the rest by its public names, and the command line that starts it.
FLOORS = [
    "_guards", "stats", "weights", "models", "tasks", "runs", "notebook", "channels", "views", "report", "__main__",
]  # fmt: skip
INSIDE = {"cfg", "tokenizer", "blocks", "ln_final", "W_U", "W_E", "W_pos", "b_U", "embed", "unembed", "rotary_emb",
          "original_model", "hook_dict"}  # fmt: skip
SOURCES = {path: path.read_text(encoding="utf8") for path in sorted(HOME.rglob("*.py*")) if path.suffix != ".pyc"}


def name_of(path: Path) -> str:
    """`runs.run` for th_utils/runs/run.py, `runs` for its __init__.py."""
    return ".".join(part for part in path.relative_to(HOME).with_suffix("").parts if part != "__init__")


MODULES = {name_of(path): ast.parse(text) for path, text in SOURCES.items() if path.parent / "__init__.py" in SOURCES}
del MODULES[""]  # th_utils itself, which imports everything


def imports(name: str) -> set[str]:
    """The modules of th_utils that a module imports, anywhere in it, those for type checkers included."""
    package = f"th_utils.{name}" if (HOME / name.replace(".", "/")).is_dir() else f"th_utils.{name}".rpartition(".")[0]
    found = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for one in [f"{source}.{alias.name}" for alias in node.names]:
                found |= {part.removeprefix("th_utils.") for part in (one, source) if part.startswith("th_utils.")}
    return found & MODULES.keys() - {name}


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    floor = FLOORS.index(name.split(".")[0])
    above = [other for other in imports(name) if FLOORS.index(other.split(".")[0]) > floor]
    assert not above, f"{name} imports {above}, from above it: {' < '.join(FLOORS)}"


def test_imports_go_round_in_no_circle():
    packages = {name for name in MODULES if (HOME / name.replace(".", "/")).is_dir()}
    assert list(TopologicalSorter({name: imports(name) - packages for name in MODULES}).static_order())


@pytest.mark.parametrize("name", sorted(name for name in MODULES if not name.startswith("models.")))
def test_only_the_floor_of_models_reaches_inside_a_model(name):
    found = [f"line {node.lineno}: model.{node.attr}" for node in ast.walk(MODULES[name])
             if isinstance(node, ast.Attribute) and node.attr in INSIDE
             and isinstance(node.value, ast.Name) and node.value.id == "model"]  # fmt: skip
    assert not found, f"{name} should ask models: {found}"


def test_every_public_name_can_be_loaded():
    stub = ast.parse(SOURCES[HOME / "__init__.pyi"])
    names = {one.asname for node in ast.walk(stub) if isinstance(node, ast.ImportFrom) for one in node.names}
    assert names == set(th_utils.__all__)
    for name in names:
        assert getattr(th_utils, name) is not None


@pytest.mark.parametrize("name", ["parts", "live", "tasks"])
def test_a_module_can_be_the_first_that_is_asked_for(name):
    subprocess.run([sys.executable, "-c", f"import th_utils as th; print(th.{name})"], check=True, timeout=120)


def test_th_utils_stays_small():
    code = {path: text for path, text in SOURCES.items() if path.suffix == ".py"}  # .pyi is the list of public names
    lines = {str(path.relative_to(HOME)): len(text.splitlines()) for path, text in code.items()}
    assert not {name: n for name, n in lines.items() if n > 260}, "no file above 260 lines"
    # 5200, and: any decoder (an engine on the model's own forward, its trial, the laws of norms) and tokenizer 1050,
    # Gemma's terms and five wheels 50, `report` (measuring, drawing and writing a page) and channels from data 950,
    # runs of named positions 10.
    assert sum(lines.values()) <= 7260
