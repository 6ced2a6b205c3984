"""A run's keys and values as one more token sees them: prompts turned so that it stands in the last column.

That is how a decoder goes on with prompts of different lengths: they are padded on the left, so its own masks hold,
sliding windows too. Keys are rotated already and know nothing of the column they stand in. What comes after the token
in its prompt comes before all else, where the mask hides it.
"""

from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache

from ..models.forward import cache
from .record import Run


class Turned:
    """The stored keys and values of `base` for a token at one position `at` of each prompt."""

    def __init__(self, base: Run, at: Int[Tensor, " batch"]):
        self.base, self.at, seq = base, at, base.tokens.shape[1]
        self.columns = torch.arange(seq, device=at.device)
        self.shift = seq - 1 - at[:, None]
        self.mask = (self.columns >= self.shift).long()
        self.level = not bool(self.shift.any())  # every prompt ends in the last column: nothing to turn

    @cached_property
    def away(self) -> Int[Tensor, "batch seq"]:
        """The prompts' own columns in their turned order."""
        return (self.columns - self.shift) % len(self.columns)

    @cached_property
    def home(self) -> Int[Tensor, "batch seq"]:
        """Where the prompts' own columns are in the turned order."""
        return (self.columns + self.shift) % len(self.columns)

    def seen(self, stored: Float[Tensor, "batch seq kv_heads d_head"]) -> Float[Tensor, "batch kv_heads seq d_head"]:
        """Turn one layer's keys or values, as attention has them."""
        if not self.level:
            stored = stored[torch.arange(len(self.at), device=self.at.device)[:, None], self.away]
        return stored.transpose(1, 2)

    def there(self, pattern: Float[Tensor, "batch heads pos seq"]) -> Float[Tensor, "batch heads pos seq"]:
        """Turn attention patterns."""
        return pattern if self.level else pattern.gather(-1, self.away[:, None, None].expand(pattern.shape))

    def back(self, pattern: Float[Tensor, "batch heads pos seq"]) -> Float[Tensor, "batch heads pos seq"]:
        """Bring turned attention patterns back to the prompts' own columns."""
        return pattern if self.level else pattern.gather(-1, self.home[:, None, None].expand(pattern.shape))

    def cache(self) -> Cache:
        """Make the cache for one more token at `at`, which replaces what is stored there."""

        def see(layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
            stored = (self.seen(x[layer])[:, :, :-1] for x in (self.base.keys, self.base.values))
            return tuple(torch.cat(pair, 2) for pair in zip(stored, (keys, values), strict=True))

        return cache(len(self.base.keys), len(self.columns) - 1, see)
