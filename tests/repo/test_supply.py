"""What is installed and run is what was reviewed: hashes, pinned actions, no secrets, weights that are only data."""

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LISTS = {path.name: path.read_text(encoding="utf8") for path in sorted((ROOT / "hashes").glob("*.txt"))}
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CODE = [path for folder in ("th_utils", "tools", "benchmarks", "_ext") for path in (ROOT / folder).rglob("*.py")]
CODE += sorted((ROOT / "notebooks").glob("*.ipynb"))
SECRETS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{50,})",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "AWS key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "Google key": r"\bAIza[\w-]{35}",
    "package index token": r"\bpypi-AgE[\w-]{40,}",
    "Slack token": r"\bxox[abprs]-[\w-]{10,}",
    "model service key": r"\bsk-[A-Za-z0-9_-]{32,}",
    "password in an address": r"\w+://[^\s/:@\"'<>{}$]+:[^\s/:@\"'<>{}$]+@[\w.-]+\.[a-z]{2,}",
}


def pins() -> dict[str, str]:
    """Name -> version, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf8").splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in wanted}


def listed(name: str) -> list[tuple[Requirement, list[str]]]:
    """The requirements of one list with their hashes, every line accounted for."""
    lines = [line for line in LISTS[name].replace("\\\n", "").splitlines() if not line.startswith(("#", "--"))]
    parts = [line.split("--hash=sha256:") for line in lines]
    return [(Requirement(first.strip()), [one.strip() for one in hashes]) for first, *hashes in parts]


# --- what is installed ---


@pytest.mark.parametrize("name", LISTS)
def test_every_listed_package_has_one_version_and_hashes(name):
    assert len(listed(name)) == len({one.name for one, _ in listed(name)}) > 0
    for requirement, hashes in listed(name):
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and "*" not in specifier.version, requirement
        assert hashes and all(re.fullmatch("[0-9a-f]{64}", one) for one in hashes), requirement
        assert len(set(hashes)) == len(hashes), requirement


@pytest.mark.parametrize("name", LISTS)
def test_every_list_refuses_files_without_a_known_hash(name):
    assert "--require-hashes" in LISTS[name].splitlines()


@pytest.mark.parametrize("name", LISTS)
def test_only_a_package_without_wheels_may_run_code_while_it_is_installed(name):
    lines = LISTS[name].splitlines()
    assert "--only-binary :all:" in lines
    assert [one for one in lines if "no-binary" in one] == ["--no-binary transformers-stream-generator"]


def test_every_pin_has_hashes_for_the_same_version():
    found = {}
    for name in ("torch.txt", "build.txt", "rest.txt"):
        for requirement, _ in listed(name):
            assert canonicalize_name(requirement.name) not in found, f"{requirement.name} stands in two lists"
            found[canonicalize_name(requirement.name)] = requirement
    for name, version in pins().items():
        assert name in found, f"{name} is pinned and has no hash: run tools/hashes.py"
        assert str(found[name].specifier) == f"=={version}", f"{name} is {version} in constraints.txt"


def test_a_hash_without_a_pin_is_for_another_platform_only():
    """constraints.txt is complete for Linux with the CPU build of torch; all else is for other systems or CUDA."""
    here = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "implementation_name": "cpython",
            "platform_python_implementation": "CPython", "platform_machine": "x86_64"}  # fmt: skip
    for version in ("3.11", "3.12", "3.13"):
        python = {"python_version": version, "python_full_version": f"{version}.9"}
        for requirement, _ in listed("torch.txt") + listed("build.txt") + listed("rest.txt"):
            needed = requirement.marker is None or requirement.marker.evaluate(here | python)
            assert not needed or canonicalize_name(requirement.name) in pins(), requirement
    assert all("linux" in str(requirement.marker) for requirement, _ in listed("cuda.txt"))


def test_all_that_the_project_asks_for_is_listed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    asked = project["build-system"]["requires"] + project["project"]["dependencies"]
    asked = sum(project["project"]["optional-dependencies"].values(), asked)
    lists = listed("torch.txt") + listed("build.txt") + listed("rest.txt")
    have = {canonicalize_name(one.name): one for one, _ in lists}
    for wanted in map(Requirement, asked):
        (pin,) = have[canonicalize_name(wanted.name)].specifier
        assert wanted.specifier.contains(pin.version, prereleases=True), wanted


def test_the_set_up_installs_from_the_lists_and_nothing_else():
    """Whatever bootstrap.py gives pip is a list of hashes, or the checkout itself without dependencies."""
    text = (ROOT / "tools" / "bootstrap.py").read_text(encoding="utf8")
    assert set(re.findall(r"hashes/(\w+\.txt)", text)) == set(LISTS)
    for call in re.findall(r"^    +pip\((.+)\)$", text, re.M):
        known = "hashes/" in call or "dependencies()" in call or "arguments" in call
        assert known or ('"--no-deps", "--no-build-isolation", "-e", "."' in call), call
    arguments = re.search(r"arguments = (\[.+\])", text)[1]
    assert "hashes/torch.txt" in arguments and "constraints" not in text


# --- what runs in the workflow ---


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_named_by_its_commit(path):
    used = re.findall(r"uses: *(.+)", path.read_text(encoding="utf8"))
    assert used
    for one in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), f"{one}: a tag can be moved"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_can_read_the_code_and_nothing_more(path):
    text = path.read_text(encoding="utf8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow[True]) <= {"push", "pull_request", "schedule"}, "others run with the rights of the owner"
    assert "secrets." not in text
    for job in workflow["jobs"].values():
        assert "permissions" not in job and job["timeout-minutes"]
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "text of a pull request must not become a command"
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_known_vulnerabilities_are_looked_up_every_week():
    assert "make audit" in "".join(path.read_text(encoding="utf8") for path in WORKFLOWS)
    recipe = (ROOT / "Makefile").read_text(encoding="utf8").split("\naudit:")[1].split("\n\n")[0]
    assert re.search(r"pip-audit==[\d.]+", recipe) and "hashes/*.txt" in recipe
    assert "--strict" in recipe, "a package that could not be looked up must not pass"
    scheduled = [path for path in WORKFLOWS if "schedule" in yaml.safe_load(path.read_text(encoding="utf8"))[True]]
    assert any("make audit" in path.read_text(encoding="utf8") for path in scheduled)


# --- what the repository holds ---


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("private key", "-----BEGIN " + "RSA PRIVATE KEY-----"),
        ("GitHub token", "gh" + "p_" + "a" * 36),
        ("Hugging Face token", "h" + "f_" + "A" * 34),
        ("AWS key", "AKI" + "A" + "B" * 16),
        ("password in an address", "https" + "://me:word" + "@example.org/simple"),
    ],
)
def test_a_planted_secret_is_found(kind, text):
    assert re.search(SECRETS[kind], f"x = '{text}'")


def test_no_file_holds_a_secret():
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    texts = {name: (ROOT / name).read_bytes().decode("utf8", "replace") for name in names if (ROOT / name).is_file()}
    assert len(texts) > 150 and "tools/bootstrap.py" in texts
    found = [(name, kind) for name, text in texts.items() for kind, sign in SECRETS.items() if re.search(sign, text)]
    assert not found


# --- weights are data: nothing that is read can run ---


def dangers(tree: ast.AST) -> set[str]:
    """Ways in which code from a file, a model or a page could run, by name."""
    found = set()
    unpicklers = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names if one.name.split(".")[0] in unpicklers}
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in unpicklers:
            found.add(node.module)
        settings = [(one.arg, one.value) for one in getattr(node, "keywords", [])]
        if isinstance(node, ast.Dict):  # to be spread with **
            settings = [(key.value, value) for key, value in zip(node.keys, node.values, strict=True)
                        if isinstance(key, ast.Constant)]  # fmt: skip
        for name, value in settings:
            if name in {"trust_remote_code", "allow_pickle", "shell"} and not is_constant(value, False):
                found.add(f"{name}=")
            if name == "weights_only" and not is_constant(value, True):
                found.add("weights_only=")
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load"}:
            found.add(called)
        if re.fullmatch(r"(torch|np|numpy|torch\.hub|pd|pandas)\.(load|read_pickle|load_state_dict_from_url)", called):
            found.add(called)
        if called.endswith("ForCausalLM.from_pretrained"):
            given = {one.arg: one.value for one in node.keywords}
            spread = {key for one in node.keywords if one.arg is None for key in spread_keys(tree, one.value)}
            if not (is_constant(given.get("use_safetensors"), True) or "gguf_file" in spread | set(given)):
                found.add("weights of any kind")
    return found


def is_constant(node: ast.AST | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def spread_keys(tree: ast.AST, value: ast.AST) -> set[str]:
    """The keys of the dictionary literals that a name spread with ** was given in this file."""
    dicts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
             and ast.unparse(value) in map(ast.unparse, node.targets)]  # fmt: skip
    return {key.value for one in dicts for key in one.keys if isinstance(key, ast.Constant)}


def parsed(path: Path) -> ast.AST:
    text = path.read_text(encoding="utf8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
        text = "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines)
    return ast.parse(text, str(path))


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_code_reads_data_only(path):
    """No unpickling, no evaluated text, no shell, no code that comes with a model; weights are safetensors or GGUF."""
    assert not dangers(parsed(path))


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from joblib import load", "torch.load(path)", "np.load(path, allow_pickle=True)",
        "eval(text)", "exec(text)", "AutoTokenizer.from_pretrained(name, trust_remote_code=True)",
        "AutoModelForCausalLM.from_pretrained(name)", "read(path, weights_only=False)", "yaml.load(text)",
        "subprocess.run(line, shell=True)", "how = {'trust_remote_code': True}",
        "AutoModelForCausalLM.from_pretrained(name, use_safetensors=flag)",
    ],
)  # fmt: skip
def test_a_planted_danger_is_found(line):
    assert dangers(ast.parse(line))


@pytest.mark.parametrize("line", ["model.eval()", "yaml.safe_load(text)", "json.load(file)", "re.compile(sign)"])
def test_what_is_harmless_passes(line):
    assert not dangers(ast.parse(line))
