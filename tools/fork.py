"""Give the book another address: every mention of the repository in tracked files changes, and nothing else does.

    make fork ADDRESS=https://github.com/OWNER/NAME [BRANCH=main]

The address in force is the one in _config.yml. Everything is read and checked before the first file is written, and
what was written is put back should a later file fail. Running it twice changes nothing more.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# GitHub's rules for the names of accounts and repositories. GitHub only: Colab opens no notebooks from elsewhere.
ADDRESS = re.compile(r"https://github\.com/([A-Za-z0-9](?:-?[A-Za-z0-9]){0,38})/([\w.-]{1,100})", re.ASCII)
BRANCH = re.compile(r"\w(?:[\w-]|[./](?=\w))*", re.ASCII)
HOST = r"((?:github\.com|raw\.githubusercontent\.com|colab\.research\.google\.com/github|mybinder\.org/v2/gh)[/:])"
END = r"(?=(?:\.git)?(?![\w-]|\.\w))"  # not the beginning of a longer name


class Refused(Exception):
    """Nothing was changed; the message is the one line that says why."""


def git(root: Path, *arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    if result.returncode:
        raise Refused(f"git {arguments[0]} failed in {root}: {result.stderr.strip() or 'no reason given'}")
    return result.stdout


def parse(address: str) -> str:
    """OWNER/NAME of a GitHub address."""
    found = ADDRESS.fullmatch(address.strip().rstrip("/").removesuffix(".git"))
    if not found or not found[2].strip("."):
        raise Refused(f"the address must look like https://github.com/OWNER/NAME, got {address!r}")
    return f"{found[1]}/{found[2]}"


def configured(text: str) -> tuple[str, str]:
    """(OWNER/NAME, branch) that _config.yml names."""
    url, branch = (re.search(rf"^  {key}: *([^\s\"'#]+)", text, re.M) for key in ("url", "branch"))
    if not url or not branch:
        raise Refused("_config.yml must name url and branch of the repository, unquoted, on lines of their own")
    return parse(url[1]), branch[1]


def moved(data: bytes, old: tuple[str, str], new: tuple[str, str]) -> bytes:
    """The bytes of a file in which each address of `old` (OWNER/NAME, branch) has become one of `new`."""

    def replace(found: re.Match) -> bytes:
        branch = found[2] + new[1].encode() if found[2] else b""
        return found[1] + new[0].encode() + branch

    link = rf"(?:((?:\.git)?(?:@|/(?:(?:blob|tree|raw|edit)/)?)){re.escape(old[1])}{END})?"
    data = re.sub(f"{HOST}{re.escape(old[0])}{END}{link}".encode(), replace, data)
    before, after = ("{}.github.io/{}".format(*path.split("/")) for path in (old[0], new[0]))
    return re.sub(f"{re.escape(before)}{END}".encode(), after.encode(), data)


def plan(root: Path, address: str, branch: str = "") -> dict[Path, tuple[bytes, bytes]]:
    """(before, after) of every file that has to change; `Refused` where that would be less than a whole move."""
    path = parse(address)
    config = root / "_config.yml"
    if not config.is_file():
        raise Refused(f"{config} is missing: it names the present address")
    old = configured(config.read_text(encoding="utf8"))
    new = (path, branch or old[1])
    if not BRANCH.fullmatch(new[1]):
        raise Refused(f"BRANCH must be the name of a branch, got {branch!r}")
    planned = {}
    for file in (root / name for name in git(root, "ls-files", "-z").split("\0") if name):
        if file.is_symlink() or not file.is_file():
            continue
        before = file.read_bytes()
        after = moved(before, old, new)
        if file == config:
            after = re.sub(rb"(?m)^(  branch: *)[^\s\"'#]+", lambda found: found[1] + new[1].encode(), after, count=1)
        if old[0] != new[0] and re.search(rf"(?<![\w.-]){re.escape(old[0])}{END}".encode(), after):
            raise Refused(f"{file} mentions {old[0]} in a way that is not understood; change that by hand first")
        if after != before:
            planned[file] = (before, after)
    edited = git(root, "status", "--porcelain", "-uno", "--", *map(str, planned)) if planned else ""
    if edited:
        raise Refused(f"commit your changes first, in {', '.join(line[3:] for line in edited.splitlines())}")
    return planned


def write(planned: dict[Path, tuple[bytes, bytes]]) -> None:
    """All files or none."""
    begun = []
    try:
        for file, (_, after) in planned.items():
            begun.append(file)
            file.write_bytes(after)
    except BaseException:
        for file in begun:
            file.write_bytes(planned[file][0])
        raise


def main(arguments: list[str]) -> int | str:
    if not 1 <= len(arguments) <= 2 or not arguments[0]:
        return "error: name the new address: make fork ADDRESS=https://github.com/OWNER/NAME [BRANCH=main]"
    try:
        planned = plan(ROOT, *arguments)
        write(planned)
    except (Refused, OSError) as error:
        return f"error: {error}; nothing was changed"
    for file, (before, after) in planned.items():
        lines = zip(before.splitlines(), after.splitlines(), strict=True)
        print(f"{file.relative_to(ROOT)}: {sum(one != other for one, other in lines)} changed")
    print("now commit and push these files" if planned else "nothing to change: this is the book's address already")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
