"""The map for assistants names every page of the contents, and leads to files that are there."""

import re

from rendered import HTML, toc_pages


def test_the_map_names_every_page_and_leads_nowhere_else():
    text = (HTML / "llms.txt").read_text(encoding="utf8")
    assert text.startswith("# Talking Heads\n\n> ")
    links = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", text, re.M)
    assert set(links) == {f"{page}.html" for page in toc_pages()} | {"llms-full.txt"}
    assert all((HTML / link).is_file() for link in links) and len(links) == len(set(links))


def test_the_plain_text_leads_to_pages():
    text = (HTML / "llms-full.txt").read_text(encoding="utf8")
    links = [link.split("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text)]
    assert links and all((HTML / link).is_file() for link in links)
