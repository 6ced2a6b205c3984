"""Scores of many writers into some readers, kept together with the readers: look up, rank, compare."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from .heads import Component, Head, check_head, label


@dataclass(frozen=True)
class Rank:
    """Where a head's best score stands among the scores of all earlier writers of one reader.

    `part`: (layer, head) or (layer, head, component); `rank` 1 is the highest of `of`; `z` is in standard deviations
    of all these scores; `outlier`: above their 99.9% quantile (for whole heads: the highest one).
    """

    part: tuple[int, ...]
    score: float
    rank: int
    of: int
    z: float
    outlier: bool

    def __str__(self) -> str:
        return f"{self.rank} of {self.of:,}"


@dataclass(frozen=True)
class Scores:
    """Scores of every writer into each of `readers`, NaN where the writer is not in an earlier layer.

    `values`: [layers, heads, readers] for whole heads, [layers, heads, components, readers] for components; the last
    axis is in the order of `readers`.
    """

    values: Float[Tensor, "layers heads *components readers"]
    readers: tuple[Head, ...]

    def __post_init__(self):
        if self.values.ndim not in (3, 4) or self.values.shape[-1] != len(self.readers):
            wanted = f"[layers, heads, (components,) {len(self.readers)} readers]"
            raise ValueError(f"values must be {wanted}, got {[*self.values.shape]}")

    def into(self, reader: Head) -> Float[Tensor, "layers heads *components"]:
        """Return the scores of all writers into one reader; `ValueError` for one that is not among `readers`."""
        if tuple(reader) not in self.readers:
            raise ValueError(f"no scores into {label(reader)}: the readers are {', '.join(map(label, self.readers))}")
        return self.values[..., self.readers.index(tuple(reader))]

    def best(self) -> "Scores":
        """Reduce components to the highest score of each head."""
        return replace(self, values=self.values.amax(2))

    def times(self, factor: Tensor | float) -> "Scores":
        """Multiply all scores by one number, or one per writer: [layers, heads], or with more axes of `values`."""
        factor = torch.as_tensor(factor)
        return replace(self, values=self.values * factor[(..., *[None] * (self.values.ndim - factor.ndim))])

    def z(self) -> Tensor:
        """(score − mean) / sd over all earlier writers of the same reader: the empirical null, the one that matters.

        It contains the model's real anisotropy. NaN stays NaN; a reader with equal or fewer than two scores gives NaN.
        """
        flat = self.values.flatten(0, -2)
        mean = flat.nanmean(0)
        sd = (flat - mean).square().nanmean(0).sqrt()
        return (self.values - mean) / torch.where(sd > 0, sd, torch.nan)

    def rank(self, writer: Head, reader: Head | None = None) -> Rank:
        """Rank a head, by its best component where there are components, among all writers into one reader.

        `reader` may be left out where there is only one. Raises `ValueError` when the writer is not earlier.
        """
        if reader is None and len(self.readers) != 1:
            raise ValueError(f"name the reader, one of {', '.join(map(label, self.readers))}")
        reader = self.readers[0] if reader is None else tuple(reader)
        column = self.into(reader)
        writer = check_head(writer, *column.shape[:2])
        values = column[writer]
        if not torch.isfinite(values).all():
            raise ValueError(f"no score for writer {label(writer)}: it is not in an earlier layer than {label(reader)}")
        score, others = values.max(), column[torch.isfinite(column)]
        part = (*writer, int(values.argmax())) if values.ndim else writer
        sd = others.std(correction=0).clamp_min(torch.finfo(others.dtype).tiny)
        place = int((others > score).sum()) + 1
        z = float((score - others.mean()) / sd)
        return Rank(part, float(score), place, others.numel(), z, place <= max(1, others.numel() // 1000))

    def loudest(self, writers: Sequence[Head]) -> Component:
        """Find the component of these heads that the readers hear best: the highest mean score over all readers."""
        mean = self.values.nanmean(-1)
        writers = [check_head(writer, *mean.shape[:2]) for writer in writers]
        parts = [(*writer, k) for writer in writers for k in range(mean.shape[2]) if mean[(*writer, k)].isfinite()]
        if not parts:
            raise ValueError(f"none of {[label(writer) for writer in writers]} is earlier than a reader")
        return max(parts, key=lambda part: float(mean[part]))
