"""`python -m th_utils.models fetch [name]`: fetch a model, by default the one in use, and print its folder."""

import sys

from .hub import ModelNotFound
from .loading import model_folder
from .registry import find_card


def main(arguments: list[str]) -> int | str:
    """Fetch a model and print its folder; return what the process should exit with."""
    if arguments[:1] != ["fetch"] or len(arguments) > 2:
        return "usage: python -m th_utils.models fetch [name]"
    try:
        sys.stdout.write(f"{model_folder(find_card(*arguments[1:]))}\n")
    except (ModelNotFound, ValueError) as error:
        return f"error: {error}"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
