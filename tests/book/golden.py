"""The values of all claims of the chapters, kept: an upgrade that changes the science must be seen.

After a change that is meant, look at what differs and write them anew: `.venv/bin/python tests/book/golden.py`.
"""

import json
import re

from bs4 import BeautifulSoup
from rendered import HTML, ROOT, toc_pages

KEPT = ROOT / "tests" / "book" / "golden.json"
CLAIM = re.compile(r"^✓ (?P<text>.*?)(?: \((?P<value>[^()]*)\))?$")
NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def chapters() -> list[str]:
    return [page for page in toc_pages() if page.startswith("notebooks/")]


def claims(soup: BeautifulSoup) -> dict[str, str]:
    """What a chapter claims -> what it printed for it; identities, which are exact, are left out."""
    lines = [" ".join(card.p.get_text().split()) for card in soup.select(".th-claim.th-held")]
    found = [CLAIM.match(line) for line in lines if "(largest gap" not in line]
    return {one["text"]: one["value"] or "" for one in found}


def numbers(value: str) -> list[float]:
    return [float(x.replace("−", "-")) for x in NUMBER.findall(value)]


def main() -> None:
    texts = {page: (HTML / f"{page}.html").read_text(encoding="utf8") for page in chapters()}
    kept = {page: claims(BeautifulSoup(text, "html.parser")) for page, text in texts.items()}
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf8")
    print(f"{sum(map(len, kept.values()))} claims in {KEPT}")


if __name__ == "__main__":
    main()
