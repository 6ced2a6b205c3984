"""One pass through the model's own forward: some of its blocks, on some tokens, under hooks.

Nothing here knows what a block computes. A pass calls the decoder as transformers and TransformerLens have it. Blocks
before `start` and from `stop` on hand their input on, block `start` reads the stream that it is given, and what the
attention of a layer sees besides its own keys and values is decided by the cache that the pass is given.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from .parts import device_of, head_bias, head_matrix, shape

OUTPUT = "output"  # a point of its own: the stream that a block leaves
Call = tuple[int, str, Callable]  # a layer, one of its hook points, function(value)
_TUPLES: WeakKeyDictionary = WeakKeyDictionary()  # model -> whether its blocks return tuples


class Seen(DynamicLayer):
    """The cache of one layer: keeps the pass's own keys and values, and says what its queries see."""

    def __init__(self, length: int, see: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]):
        super().__init__()
        self.length, self.see, self.own = length, see, None

    def update(self, key_states: Tensor, value_states: Tensor, *_, **__) -> tuple[Tensor, Tensor]:
        self.own = key_states, value_states
        return self.see(key_states, value_states)

    def get_seq_length(self) -> int:
        return self.length


def cache(n_layers: int, length: int = 0, see: Callable | None = None) -> Cache:
    """Make a cache of `length` earlier positions; `see(layer, keys, values)` returns what a layer's queries see."""
    return Cache([Seen(length, lambda k, v, i=i: (k, v) if see is None else see(i, k, v)) for i in range(n_layers)])


class Done(Exception):
    """Raised by a recording function when a pass need not go on."""


def forward(
    model, tokens: Tensor, hooks: Sequence[Call], past: Cache | None = None, start: int = 0, stop: int | None = None,
    stream: Tensor | None = None, **more,
) -> None:  # fmt: skip
    """Run the decoder without its unembedding; `hooks` see and change values, and are how anything comes out.

    `more`: `position_ids` and `attention_mask`, which are left out where the decoder knows no such argument.
    """
    trunk = model.original_model.base_model
    accepted = inspect.signature(trunk.forward).parameters
    more = {name: value for name, value in more.items() if name in accepted or "kwargs" in accepted}
    if past is not None:
        more |= {"past_key_values": past, "use_cache": True}
    with _only(model, start, len(model.blocks) if stop is None else stop, stream), _hooked(model, hooks):
        try:
            trunk(input_ids=tokens, **more)
        except Done:
            pass


@contextmanager
def _hooked(model, hooks: Sequence[Call]) -> Iterator[None]:
    added, after = [], []
    try:
        for layer, point, function in hooks:
            where = model.blocks[layer]
            if point == OUTPUT:  # the last to see it, after hooks that the reader has put on the block itself
                see = lambda _, args, out, f=function: f(out[0] if isinstance(out, tuple) else out)  # noqa: E731
                after.append(where.register_forward_hook(see))
                continue
            for part in point.split("."):
                if (where := getattr(where, part, None)) is None:
                    raise ValueError(f"it has no hook point blocks.{layer}.{point}")
            added.append((where, where.add_hook(lambda value, hook, f=function: f(value))))
        yield
    finally:
        for handle in after:
            handle.remove()
        for where, handle in added:  # the reader's own hooks stay
            handle.hook.remove()
            where.fwd_hooks.remove(handle)


@contextmanager
def _only(model, start: int, stop: int, stream: Tensor | None) -> Iterator[None]:
    """Inside, only the blocks from `start` to before `stop` compute, the first of them on `stream`."""
    with ExitStack() as stack:
        for layer, block in enumerate(model.blocks):
            if not start <= layer < stop:
                stack.enter_context(_replaced(block, _hand_on(_tuples(model))))
        if stream is not None and start < stop:

            def put(_, args, kwargs):
                own = stream.clone()  # a hook that writes in place must not reach a stored run
                return ((own, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": own})

            stack.callback(model.blocks[start].register_forward_pre_hook(put, with_kwargs=True, prepend=True).remove)
        yield


@contextmanager
def _replaced(part, function: Callable) -> Iterator[None]:
    """Inside, a module computes something else; may be nested."""
    before = part.__dict__.get("forward")
    object.__setattr__(part, "forward", function)
    try:
        yield
    finally:
        part.__dict__.pop("forward") if before is None else object.__setattr__(part, "forward", before)


@contextmanager
def projecting(model, layer: int, each: str, heads: slice, given: Tensor | None = None) -> Iterator[None]:
    """Inside, a layer makes its queries, keys and values, but for those in `each`, of the first position, for all.

    It has only some key/value `heads`, and the query heads that they serve. Queries are made of what is `given`.
    """

    def project(x: Tensor, name: str) -> Tensor:
        matrix, bias = head_matrix(model, layer, f"W_{name}"), head_bias(model, layer, f"b_{name}")
        groups = len(matrix) // (shape(model).heads // shape(model).groups)
        chosen = slice(None) if heads == slice(None) else slice(heads.start * groups, heads.stop * groups)
        made = x @ matrix[chosen].transpose(0, 1).flatten(1)
        return made if bias is None else made + bias[chosen].flatten()

    with ExitStack() as stack:
        for name in "qkv":
            part = getattr(model.blocks[layer].attn, name)
            whole = part.forward if heads == slice(None) else partial(project, name=name.upper())
            once = whole if name in each else lambda x, make=whole: make(x[:, :1]).expand(-1, x.shape[1], -1)
            if name == "q" and given is not None:
                once = lambda _, make=whole: make(given)  # noqa: E731
            stack.enter_context(_replaced(part, once))
        yield


def query_input(model, layer: int, tokens: Tensor, streams: Tensor, **more) -> Tensor:
    """Return what a layer makes its queries of, [batch, pos, d_model], when it reads these streams."""
    found: list[Tensor] = []

    def look(x: Tensor):
        found.append(x)
        raise Done

    with _replaced(model.blocks[layer].attn.q, look):
        forward(model, tokens, (), cache(len(model.blocks)), layer, layer + 1, streams, **more)
    if not found:
        raise ValueError("it makes its queries otherwise than by a query matrix")
    return found[0]


@contextmanager
def z_of(model, layer: int, function: Callable) -> Iterator[None]:
    """Inside, `function` sees what the heads of a layer give, side by side, [batch, pos, heads · d_head]."""
    handle = model.blocks[layer].attn.o.register_forward_pre_hook(lambda _, args: function(args[0]))
    try:
        yield
    finally:
        handle.remove()


def given_mask(model, layer: int, tokens: Tensor, past: Cache, **more) -> Tensor | None:
    """Return the mask that the decoder gives to a block, [batch, 1, pos, seq], boolean or to be added, if it does."""
    found: list[Tensor] = []

    def look(_, args, kwargs):
        found.extend(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.ndim == 4)
        raise Done

    handle = model.blocks[layer].register_forward_pre_hook(look, with_kwargs=True)
    try:
        forward(model, tokens, (), past, layer, layer + 1, **more)
    finally:
        handle.remove()
    return found[0] if found else None


def _hand_on(tuples: bool) -> Callable:
    def same(hidden_states, *_, **__):
        return (hidden_states, None) if tuples else hidden_states

    return same


@torch.no_grad()
def _tuples(model) -> bool:
    """Tell whether the model's blocks return tuples: one token through it, the first time."""
    if model not in _TUPLES:
        found = []

        def look(_, args, out):
            found.append(isinstance(out, tuple))
            raise Done

        handle = model.blocks[0].register_forward_hook(look)
        try:
            forward(model, torch.zeros(1, 1, dtype=torch.long, device=device_of(model)), ())
        finally:
            handle.remove()
        _TUPLES[model] = found[0]
    return _TUPLES[model]
