"""Tasks: prompt generators that return one frozen `Prompts` record each."""

from . import colored_objects, english, facts, ioi, laundry_list
from .prompts import Prompts, single_token_words
