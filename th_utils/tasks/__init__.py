"""Tasks: prompt generators that return one frozen `Prompts` record each."""

from . import ioi
from .prompts import Prompts, single_token_words

__all__ = ["Prompts", "ioi", "single_token_words"]
