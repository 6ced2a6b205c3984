"""What a pass over prompts leaves behind, and looking at one position per prompt of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .._guards import chosen_rows, indices, same_model, whole
from ..models import state
from ..tasks.prompts import Prompts
from .hooks import POINTS, layer_of

Where = str | Int[Tensor, " batch"] | None  # a name among the prompts' positions, or indices; None for END


@dataclass(frozen=True)
class Run:
    """One cached pass over `prompts`. `positions` is "end" (`pos` has length 1), "all", or the names of those kept.

    `keys`, `values`: per layer `[batch, seq, kv_heads, d_head]`, keys rotated; of whole prompts, or empty: not kept.
    `resid`: [layers + 1, batch, pos, d_model], the residual stream before each layer and after the last.
    `q`, `z`: [layers, batch, pos, heads, d_head], queries before rotation and head outputs before W_O.
    `pattern`: [layers, batch, heads, from, seq], attention probabilities: from END alone, or from all positions.
    `kept`: (layer, [batch, seq, d_model]), the stream at all positions before one layer, for `rerun`; or None.
    `fingerprint`: of the model, None for a run made by hand; `hooked`, `edits`: the hook points and the edits of the
    weights it was made under. Use `at` for one position per prompt.
    """

    prompts: Prompts
    positions: str | tuple[str, ...]
    fingerprint: str | None
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    resid: Float[Tensor, "layers_1 batch pos d_model"]
    q: Float[Tensor, "layers batch pos heads d_head"]
    z: Float[Tensor, "layers batch pos heads d_head"]
    pattern: Float[Tensor, "layers batch heads from seq"]
    kept: tuple[int, Tensor] | None = None
    hooked: frozenset[str] = frozenset()
    edits: frozenset[tuple] = frozenset()

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def tokens(self) -> Int[Tensor, "batch seq"]:
        return self.prompts.tokens

    @property
    def end(self) -> Int[Tensor, " batch"]:
        return self.prompts.end

    @property
    def n_layers(self) -> int:
        """How many layers were run."""
        return len(self.z)

    def at(self, where: Where = None) -> "Spot":
        """Look at one position per prompt: a name among the prompts' positions, or indices; END by default.

        Raises `ValueError` for positions outside the prompts, and for such as the run does not keep.
        """
        return Spot(self, self.end if where is None else self.prompts.at(where))

    def select(self, rows=slice(None), caches: int = 0) -> "Run":
        """Return the run of some of its prompts (a row may repeat), without keys and values before layer `caches`."""
        index = rows if isinstance(rows, slice) else chosen_rows("rows", rows, len(self)).to(self.end.device)
        records = {name: getattr(self, name)[:, index] for name in ("resid", "q", "z", "pattern")}
        for name, old in (("keys", self.keys), ("values", self.values)):
            records[name] = tuple(x[index] if i >= caches else x[index, :0].clone() for i, x in enumerate(old))
        kept = self.kept and (self.kept[0], self.kept[1][index])
        return replace(self, prompts=self.prompts.select(rows), kept=kept, **records)

    def judged_by(self, answer: Int[Tensor, " batch"], distractor: Int[Tensor, " batch"]) -> "Run":
        """Return the same run with other answers and distractors, for logit differences between other tokens."""
        return replace(self, prompts=replace(self.prompts, answer=answer, distractor=distractor))

    def resumable_at(self, layer: int) -> "Run":
        """Turn a run of all positions into an END-only run that `rerun` can resume at any one `layer`.

        One full pass then serves interventions from every layer on. A hook on this layer's `hook_resid_pre` in that
        pass is already in the kept stream: do not give it to `rerun` again.
        Raises `ValueError` for a run without `positions="all"` and a layer that it does not hold.
        """
        if self.positions != "all":
            raise ValueError(f"need a run with positions='all', got {self.positions!r}")
        layer = whole("layer", layer, 0, self.n_layers - 1)
        return replace(self, positions="end", kept=(layer, self.resid[layer]), **self.end_only())

    def end_only(self) -> dict[str, Tensor]:
        """Return `resid`, `q`, `z` and `pattern` as a run that keeps END only stores them."""
        axes = {"resid": 2, "q": 2, "z": 2, "pattern": 3}  # of the query position
        end = self.at()
        return {name: end.pick(getattr(self, name), axis).unsqueeze(axis).contiguous() for name, axis in axes.items()}


def held_of(prompts: Prompts, positions: str | tuple[str, ...]) -> Int[Tensor, "batch pos"] | None:
    """Return the positions that a run keeps; None for all of them."""
    names = ("END",) if positions == "end" else positions
    return None if positions == "all" else torch.stack([prompts.at(name) for name in names], 1)


def within(base: Run, positions) -> Int[Tensor, "batch items"]:
    """Return several positions per prompt, on the run's device; `ValueError` unless all are 0 to the prompt's END."""
    found = indices("positions", positions, base.tokens.shape[1], {"batch": len(base), "items": None})
    found = found.to(base.end.device)
    if outside := int((found > base.end[:, None]).sum()):
        raise ValueError(f"positions must lie between 0 and each prompt's END: {outside} of {found.numel()} do not")
    return found


def require_known_hooks(model, run: Run) -> None:
    """Raise `ValueError` for a run of another model, or one made before the model got hooks of its own."""
    hooked = state.require_ready(model)
    same_model(model=state.fingerprint(model), run=run)
    if new := sorted(hooked - run.hooked):
        raise ValueError(f"the model has a hook of its own at {new[0]} that this run has not seen: give it as hooks=")


def require_current(model, run: Run, plain: Sequence[str] = ()) -> None:
    """Raise `ValueError` for a run of another model or under other edits, or hooked at a point that names `plain`."""
    require_known_hooks(model, run)
    if run.edits != state.edits(model):
        raise ValueError("this run was made under other edits of the weights than are in force here: make it anew")
    known = [name for name in run.hooked if name.split(".", 2)[-1] in POINTS or layer_of(name) < 0]
    if hooked := [name for name in run.hooked if name not in known or any(part in name for part in plain)]:
        raise ValueError(f"this run was made with a hook at {hooked[0]}, which would be left out or credited to others")


def require_pair(clean: Run, new: Run, aligned: bool = True) -> None:
    """Raise `ValueError` unless `new` is a run of the same model and shape, its positions in the same places."""
    same_model(clean=clean, new=new)
    here, there = clean.prompts.positions, new.prompts.positions
    moved = [name for name in here.keys() & there.keys() if aligned and not torch.equal(here[name], there[name])]
    if moved:
        raise ValueError(f"the prompts of clean and new differ in where {', '.join(moved)} is: corrupt clean's")
    one, other = ((run.n_layers, *run.tokens.shape[: 1 + aligned]) for run in (clean, new))
    if one != other:
        raise ValueError(f"clean and new are runs of different shapes (layers, batch, seq), {one} and {other}")


class Spot:
    """One position per prompt of a run. Records of heads are indexed `[layer, head]` as in `HeadWeights`."""

    def __init__(self, run: Run, position: Int[Tensor, " batch"]):
        self.run, self.position, self.column = run, position, None
        if (held := held_of(run.prompts, run.positions)) is not None:
            same = (held == position[:, None]).all(0).nonzero().flatten().tolist()
            if not same:
                raise ValueError(f"this run keeps {run.positions!r} only: name others in run(..., positions=)")
            self.column = same[0]

    def pick(self, stored: Tensor, axis: int) -> Tensor:
        """Take this position along an axis of a run's record; layers and batch stay in front."""
        if self.column is not None and (axis == 2 or stored.shape[axis] == 1):
            return stored.select(axis, self.column)
        rows = torch.arange(len(self.position), device=stored.device)
        return stored.movedim(axis, 2)[:, rows, self.position]

    @cached_property
    def resid(self) -> Float[Tensor, "layers_1 batch d_model"]:
        """The residual stream before each layer and after the last."""
        return self.pick(self.run.resid, 2)

    @cached_property
    def q(self) -> Float[Tensor, "layers heads batch d_head"]:
        """Queries before rotation."""
        return self.pick(self.run.q, 2).transpose(1, 2)

    @cached_property
    def z(self) -> Float[Tensor, "layers heads batch d_head"]:
        """Head outputs before W_O."""
        return self.pick(self.run.z, 2).transpose(1, 2)

    @cached_property
    def pattern(self) -> Float[Tensor, "layers heads batch seq"]:
        """Where every head looks from here."""
        return self.pick(self.run.pattern, 3).transpose(1, 2)

    def looks_at(self, where: str | Int[Tensor, " batch"]) -> Float[Tensor, "layers heads batch"]:
        """Attention probability of every head from here to another position of each prompt."""
        return self.run.prompts.pick(self.pattern, where)
