"""An argument of the wrong class is refused by name, in every public function at once.

A model's name in place of a model, a model in place of its weights, or a Hugging Face model would otherwise fail deep
inside, or not at all. Each module ends in `check_classes(globals())`, which reads what its functions ask for from their
signatures. Classes are compared by name: nothing is imported for it.
"""

from __future__ import annotations

import functools
import inspect
import re

HOW = {
    "TransformerBridge": "load one with th.load_model(name)",
    "HeadWeights": "make them with th.head_weights(model)",
    "Run": "make one with th.run(model, prompts)",
    "Prompts": "make them with a task, as th.tasks.ioi.generate(model, n)",
    "Decomposition": "make one with th.decompose_ov(weights) or th.decompose_qk(weights)",
    "Channel": "make one with th.channel(weights, ov, components)",
    "Thresholds": "make them with th.Thresholds()",
}
_ALSO = {"None": ("NoneType",), "Tensor": ("Tensor", "ndarray")}


def check_classes(module: dict) -> None:
    """Let the public functions of a module raise `TypeError` for a model, a run, weights, … of another class.

    `module` is its `globals()`. Looked at are arguments called `model`, and those annotated with a name in `HOW`, alone
    or with None or a tensor as other choices.
    """
    for name, function in list(module.items()):
        if inspect.isfunction(function) and function.__module__ == module["__name__"] and name[0] != "_":
            wanted = [
                (place, argument.name, classes)
                for place, argument in enumerate(inspect.signature(function).parameters.values())
                if (classes := _classes(argument))
            ]
            if wanted:
                module[name] = _checked(function, wanted)


def _classes(argument: inspect.Parameter) -> tuple[str, ...]:
    """The names of the classes that an argument may have, or none where any will do."""
    found = str(argument.annotation)
    if argument.name == "model" and argument.annotation is argument.empty:
        found = "TransformerBridge"
    names = re.split(r"\s*\|\s*", found)
    known = HOW.keys() & names and set(names) <= HOW.keys() | _ALSO.keys()
    return tuple(one for name in names for one in _ALSO.get(name, (name,))) if known else ()


def _checked(function, wanted: list[tuple[int, str, tuple[str, ...]]]):
    @functools.wraps(function)
    def call(*args, **kwargs):
        for place, name, classes in wanted:
            if place < len(args):
                value = args[place]
            elif name in kwargs:
                value = kwargs[name]
            else:
                continue
            if not any(base.__name__ in classes for base in type(value).__mro__):
                given = repr(value) if value is None or isinstance(value, str) else f"a {type(value).__name__}"
                raise TypeError(f"{name} must be {_list(classes)}, got {given}: {HOW[classes[0]]}")
        return function(*args, **kwargs)

    return call


def _list(classes: tuple[str, ...]) -> str:
    """In words: "a Run", "HeadWeights", "a Run or None"."""
    said = {"NoneType": "None", "ndarray": "an array"}
    return " or ".join(said.get(name, name if name.endswith("s") else f"a {name}") for name in classes)
