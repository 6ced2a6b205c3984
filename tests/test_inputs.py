"""Bad input to every public function: a right result, or an error that names what is wrong; and HTML stays text."""

import functools
import importlib
import inspect
import json
import pkgutil
import re
from html.parser import HTMLParser

import input_cases
import inputs
import jaxtyping
import pytest
import view_cases
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import th_utils
import th_utils as th
from th_utils.classes import HOW

HOSTILE = "</script><script>alert(1)</script><b onclick='x'>\"&<!-- é 猫 😀 $x_{ \\frac"
# Modules whose functions take no numbers, heads or prompts of a reader, and functions that have tests of their own.
ELSEWHERE = {
    "bridge": "the inside of TransformerLens", "blocks": "test_runs", "cards": "test_models", "fetch": "test_fetch",
    "hub": "test_models", "models": "test_models", "tiny": "test_models", "figure": "test_views", "style": "test_style",
    "interrupts": "test_interrupts", "inputs": "the checks themselves", "classes": "the checks themselves",
    "playground.attention_under": "what the page computes: test_playground",
    "composition.rotated_queries": "test_composition", "checks.claim": "test_checks", "checks.exercise": "test_checks",
    "edit_files.load_edits": "test_edit_files", "edit_files.save_edits": "test_edit_files", "gallery.bundle": "none",
    "outputs.last": "test_run_limits",
    "viewer.check_patterns": "viewer.viewer", "viewer.picture": "viewer.viewer",
    "widgets.live": "test_widgets", "decomposition.check_ov": "channels.channel",
    "channels.check_channel": "edits.scale_component", "weights.check_component": "channels.channel",
    "weights.HeadWeights.to": "test_input_prompts", "weights.HeadWeights.check_head": "weights.check_head",
    "prompts.Prompts.at": "attribution.attention_between",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def as_users_have_it():
    """No shape checking, no gradients, figures as in the book."""
    jaxtyping.config.update("jaxtyping_disable", True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TH_STATIC", "1")
        yield
    jaxtyping.config.update("jaxtyping_disable", False)


@functools.cache
def tables(name: str) -> dict[str, tuple]:
    load = functools.cache(th.load_model)
    world = input_cases.World(load, name)
    return input_cases.table(world) | view_cases.figures(world)


def public() -> list[str]:
    """Every function, and every method of a class, without an underscore."""
    found = []
    for module in pkgutil.walk_packages(th_utils.__path__, "th_utils."):
        home, short = importlib.import_module(module.name), module.name.rsplit(".", 1)[1]
        if short in ELSEWHERE:
            continue
        own = {name: one for name, one in vars(home).items() if getattr(one, "__module__", "") == module.name}
        for name, one in list(own.items()):
            own |= {f"{name}.{method}": f for method, f in vars(one).items()} if inspect.isclass(one) else {}
        found += [f"{short}.{name}" for name, one in own.items() if inspect.isfunction(one) and "_" not in name[:1]
                  and "._" not in name]  # fmt: skip
    return found


NAMES = sorted(set(public()) - set(ELSEWHERE))


def test_every_public_function_is_tried():
    tried = set(tables("tiny-gpt2"))
    assert not set(NAMES) - tried, "give these a good call in input_cases or view_cases"
    gone = {name for name in ELSEWHERE if "." in name} - set(public())
    assert not gone, "these are no longer there"


@functools.cache
def good(model: str, name: str):
    function, arguments = tables(model)[name]
    return inputs.outcome(function, {key: one.value for key, one in arguments.items()})


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(data=st.data())
def test_bad_input_is_refused_by_name_and_other_spellings_change_nothing(name, data):
    model = "tiny-llama" if len(name) % 3 == 0 else "tiny-neox" if len(name) % 3 == 1 else "tiny-gpt2"
    function, arguments = tables(model)[name]
    expected = good(model, name)
    tries = [
        (key, kind, how) for key, one in arguments.items() for kind in ("bad", "same") for how in getattr(one, kind)
    ]
    if not tries:
        return
    key, kind, how = data.draw(st.sampled_from(tries))
    values = {other: one.value for other, one in arguments.items()} | {key: getattr(arguments[key], kind)[how]}
    if kind == "same":
        assert inputs.agree(expected, inputs.outcome(function, values)), f"{key} as {how} gives another result"
        return
    with pytest.raises((ValueError, KeyError, TypeError)) as caught:
        inputs.outcome(function, values)
    words = (key, *key.split("_"), *arguments[key].words)
    assert any(word.lower() in str(caught.value).lower() for word in words), f"{caught.value!r} does not name {key}"


def takers() -> list[tuple]:
    """Every public function with every argument that is a model, a run, weights, …: (name, function, argument)."""
    inside = ("bridge", "blocks", "inputs", "classes", "tiny")  # called with what other functions have checked
    found = []
    for module in pkgutil.walk_packages(th_utils.__path__, "th_utils."):
        home, short = importlib.import_module(module.name), module.name.rsplit(".", 1)[1]
        for name, one in () if short in inside else vars(home).items():
            if inspect.isfunction(one) and one.__module__ == module.name and name[0] != "_":
                for argument in inspect.signature(one).parameters.values():
                    asked = str(argument.annotation)
                    simple = re.fullmatch(r"[\w |]+", asked) and HOW.keys() & re.findall(r"\w+", asked)
                    if simple or (argument.name, argument.annotation) == ("model", argument.empty):
                        found.append((f"{short}.{name}", one, argument))
    return found


TAKERS = takers()


@pytest.mark.parametrize("name, function, argument", TAKERS, ids=[f"{name}({a.name})" for name, _, a in TAKERS])
def test_another_class_than_the_one_asked_for_is_refused_by_name(name, function, argument, tiny):
    model = tiny("tiny-gpt2")
    wrong = ["gpt2", 3, model.original_model, th.Estimate(1.0, 0.0, 2.0)]
    wrong += [model] if argument.name != "model" and "TransformerBridge" not in str(argument.annotation) else []
    wrong += [] if "None" in str(argument.annotation) else [None]
    for value in wrong:
        with pytest.raises(TypeError, match=rf"^{argument.name} must be .*, got .*: (load|make) .*th\."):
            function(**{argument.name: value})


class Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes: what hostile text must not change."""

    def __init__(self):
        super().__init__()
        self.found, self.data = [], []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, *(name for name, _ in attributes)))
        self.is_data = ("type", "application/json") in attributes

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "script" and self.is_data:
            self.data.append(json.loads(data))


def skeleton(view) -> Skeleton:
    page = Skeleton()
    page.feed(view._repr_mimebundle_()["text/html"])
    return page


def hostile(value):
    """The same value with HTML in all its words."""
    if isinstance(value, str):
        return f"{value} {HOSTILE}"
    if isinstance(value, dict):
        return {hostile(key): hostile(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(hostile, value))
    return value


FIGURES = [name for name in NAMES if name.split(".")[0] in ("views", "viewer", "gallery", "cloud", "explorer", "maps",
                                                            "atlas", "scrub", "widgets", "playground")
           and name not in ("maps.nth", "maps.shades", "playground.reading")]  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_html_and_formulas_in_words_stay_text(name):
    function, arguments = tables("tiny-gpt2")[name]
    values = {key: one.value for key, one in arguments.items()}
    plain = skeleton(function(**values))
    spoilt = skeleton(function(**{key: hostile(value) for key, value in values.items()}))
    assert spoilt.found == plain.found
    assert len(spoilt.data) == len(plain.data)
    if plain.data and name != "scrub.scrub":
        assert HOSTILE in json.dumps(spoilt.data[0], ensure_ascii=False).replace(r"\"", '"').replace(r"\\", "\\")


@pytest.mark.parametrize(
    "show",
    [
        lambda text: th.say(f"The token {text} is `{text}`"),
        lambda text: th.table([text], [[text]]),
    ],
)
def test_html_in_sentences_and_tables_stays_text(show, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda one, **more: shown.append(one._repr_mimebundle_()["text/markdown"])
    )
    show("<script>alert(1)</script>")
    outside = shown[0].split("`")[::2]
    assert not any("<" in part for part in outside), shown[0]
