"""`python -m th_utils.models list` and `python -m th_utils.models fetch [name]`."""

import argparse
import sys

from .hub import ModelNotFound
from .loading import model_folder
from .registry import DEFAULT, MODELS, find_card


def main(arguments: list[str] | None = None) -> int:
    """List the known models, or fetch one and print its folder."""
    parser = argparse.ArgumentParser("python -m th_utils.models", description="List or fetch the known models.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the known models")
    commands.add_parser("fetch", help="fetch one and print its folder").add_argument("name", nargs="?")
    chosen = parser.parse_args(arguments)
    if chosen.command == "list":
        for card in MODELS.values():
            default = ", the default" if card.name == DEFAULT else ""
            sys.stdout.write(f"{card.name:14}{card.what}; {card.licence}; {card.source}{default}\n")
        return 0
    try:
        sys.stdout.write(f"{model_folder(find_card(chosen.name))}\n")
    except (ModelNotFound, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
