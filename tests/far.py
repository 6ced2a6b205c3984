"""A device that is not there: its tensors compute on the CPU, and refuse other devices as those on a GPU do.

It shows on any machine what a GPU would: whether everything is moved to where it is needed, and how often a number
comes back to Python, which stops a GPU until it has caught up. PyTorch knows one such device for a whole process, so
`test_device` runs this file in one of its own; it prints what it has found as JSON.
"""

import json

import test_float64
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

import th_utils as th
from th_utils.channels import sweep as traversal

_setup_privateuseone_for_python_backend("far")
FIRST, SECOND = torch.device("far:0"), torch.device("far:1")
MOVES = ("copy_", "_to_copy")  # between any devices
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")  # also by indices on the CPU


class Far(torch.Tensor):
    """A tensor on a device that is not there; `near` holds its numbers."""

    @staticmethod
    def __new__(cls, near: torch.Tensor, device: torch.device):
        made = torch.Tensor._make_wrapper_subclass(
            cls, near.size(), strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype,
            device=device, requires_grad=near.requires_grad,
        )  # fmt: skip
        made.near = near
        return made

    def __repr__(self):
        return f"Far({self.near!r}, {self.device})"

    def untyped_storage(self):
        return self.near.untyped_storage()

    def tolist(self):
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return compute(function, args, kwargs or {})


class Machine(TorchDispatchMode):
    """While it is on, tensors can be made on the device; `fetched` counts the numbers that came back to Python."""

    def __init__(self):
        super().__init__()
        self.fetched = 0

    def __enter__(self):
        torch._C._set_only_lift_cpu_tensors(True)  # lists become tensors on the CPU first
        return super().__enter__()

    def __exit__(self, *error):
        torch._C._set_only_lift_cpu_tensors(False)
        return super().__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        fetches = name in ("_local_scalar_dense", "equal", "nonzero") or kwargs.get("device") == torch.device("cpu")
        self.fetched += fetches and bool(args) and isinstance(args[0], Far)
        return compute(function, args, kwargs)


def compute(function, args, kwargs):
    """Run one operation on the CPU; the result is where its tensors are, or where it was asked to be."""
    name = function.overloadpacket.__name__
    given = [x for x in _flat((*args, *kwargs.values())) if isinstance(x, torch.Tensor)]
    if kwargs.get("device") is None and not any(isinstance(x, Far) for x in given):
        return function(*args, **kwargs)
    devices = [x.device for x in given if x.ndim or isinstance(x, Far)]
    if name in INDEXING:  # only the indices may be elsewhere
        devices = [x.device for x in given if x is given[0] or x.is_floating_point() or isinstance(x, Far)]
    if len(set(devices)) > 1 and name not in MOVES:
        raise RuntimeError(f"{name}: expected all tensors on one device, found {sorted(set(map(str, devices)))}")
    device = devices[0] if devices else torch.device("cpu")
    if kwargs.get("device") is not None:
        device, kwargs = torch.device(kwargs["device"]), kwargs | {"device": torch.device("cpu")}
    found = function(*_each(_near, args), **{key: _each(_near, value) for key, value in kwargs.items()})
    if name.endswith("_") and name[0] != "_":
        return args[0]
    return found if device.type == "cpu" else _each(lambda x: _far(x, device), found)


def _flat(values):
    for x in values:
        yield from _flat(x) if isinstance(x, list | tuple) else (x,)


def _each(change, x):
    return type(x)(map(lambda one: _each(change, one), x)) if type(x) in (list, tuple) else change(x)


def _near(x):
    return x.near if isinstance(x, Far) else x


def _far(x, device):
    return Far(x, device) if isinstance(x, torch.Tensor) and not isinstance(x, Far) else x


def move(module: torch.nn.Module, device: torch.device) -> None:
    """Put the weights of a module on the device."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = torch.nn.Parameter(Far(_near(weight.detach()), device), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Far(_near(buffer), device)


def formulas(name: str, two: bool) -> dict[str, str | float]:
    """For every case of `test_float64` its error on the device, or on two of them, or what was raised."""
    model = th.load_model(name)
    move(model, FIRST)
    if two:
        for part in (*list(model.blocks)[2:], model.ln_final, model.unembed):
            move(part, SECOND)
        model.cfg.n_devices = 2
    world, found = test_float64.world(name, model), {}
    assert world.clean.resid.device == world.weights.W_V.device == FIRST
    assert model.W_U.device == (SECOND if two else FIRST)
    for case in test_float64.CASES:
        try:
            found[case.__name__] = test_float64.error(case, world)
        except RuntimeError as error:
            found[case.__name__] = str(error).splitlines()[0]
    return found


def fetches(machine: Machine) -> dict[str, list[int]]:
    """How many numbers come back to Python for some, and for three times as many, heads, points or readers."""
    model = th.load_model("tiny-llama")
    move(model, FIRST)
    w = test_float64.world("tiny-llama", model)
    ov, spots = th.decompose_ov(w.weights), torch.stack([w.prompts.positions[name] for name in ("IO", "S1")], 1)
    points = traversal.grid(1.0, 2, 3)

    def count(function, *sizes) -> list[int]:
        found = []
        for size in sizes:
            before = machine.fetched
            function(size)
            found.append(machine.fetched - before)
        return found

    return {
        "senders": count(
            lambda n: th.patch_edges(model, w.weights, w.clean, w.new, (3, 1), "q", w.weights.heads[:n]), 4, 12
        ),
        "points": count(lambda n: th.traverse(model, w.end, w.target, points[:n], [(3, 1)], spots), 3, 9),
        "scores": count(lambda n: th.component_scores(w.weights, ov, "Q", w.weights.heads[:n]), 5, 15),
        "steps": count(lambda n: [th.rerun_last(model, w.end, w.target.zero()) for _ in range(n)], 1, 3),
        "heads": count(lambda n: th.knock_out(model, w.prompts, w.new.z, w.weights.heads[:n]), 4, 12),
    }


def refused() -> list[str]:
    """What is said to tensors of two devices."""
    one, found = torch.ones(2, device=FIRST), []
    for other in (torch.ones(2), torch.ones(2, device=SECOND)):
        try:
            found.append(str(one + other))
        except RuntimeError as error:
            found.append(str(error))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    with Machine() as machine:
        report = {name: formulas(name, two=True) for name in test_float64.TINY}
        print(json.dumps(report | {"one device": formulas("tiny-llama", two=False), "fetches": fetches(machine),
                                    "refused": refused()}))  # fmt: skip
