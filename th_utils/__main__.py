"""`python -m th_utils report [model]`: measure a model as the book does and write it down as a page."""

import sys


def main(arguments: list[str]) -> int | str:
    """Dispatch to a command; return what the process should exit with."""
    if arguments[:1] != ["report"]:
        return "usage: python -m th_utils report [model] (see report --help), python -m th_utils.models fetch [name]"
    from .report.run import main as report

    return report(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
