"""The book as one PDF: every page printed by Chromium, then joined, numbered, linked and outlined.

Paper shows what a reader of the pages sees at first: folded code, hints and answers stay folded, solutions are left
out, live figures show their picture (_static/print.css).
"""

import io
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from browser import NoBrowser, headless, served
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, Fit, NameObject, NumberObject

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "_ext"))
from toc import contents  # noqa: E402

PAPER = {"format": "A4", "margin": {"top": "18mm", "bottom": "20mm", "left": "18mm", "right": "18mm"}}
NUMBER = '<div style="width:100%; text-align:center; font:9px sans-serif"><span class="pageNumber"></span></div>'
READY = """async () => {
    if (window.MathJax?.startup) await MathJax.startup.promise;
    document.querySelectorAll("img").forEach(image => image.loading = "eager");
    await Promise.all([...document.images].map(image => image.decode()));
    await document.fonts.ready;
}"""


def print_page(context, address: str) -> tuple[str, PdfReader]:
    """Title and pages of one document."""
    tab = context.new_page()
    try:
        tab.goto(address, wait_until="load")
        tab.emulate_media(media="print")
        tab.evaluate(READY)
        title = tab.locator("article h1").first.inner_text().strip()
        return title, PdfReader(io.BytesIO(tab.pdf(**PAPER, print_background=True)))
    finally:
        tab.close()


def numbers(context, count: int) -> PdfReader:
    """As many blank pages, each with its number at the foot."""
    tab = context.new_page()
    tab.set_content("<div style='break-after:page'>&nbsp;</div>" * (count - 1) + "<div>&nbsp;</div>")
    options = PAPER | {"display_header_footer": True, "header_template": "<span></span>", "footer_template": NUMBER}
    return PdfReader(io.BytesIO(tab.pdf(**options)))


def relink(writer: PdfWriter, address: str, printed: dict[str, tuple[int, PdfReader]]) -> None:
    """Links inside the book lead to pages of the PDF; those to files that are not in it are taken off.

    Names of places are unique within one document only, so every one is resolved while it is known whose it is.
    """
    for document, (first, reader) in printed.items():
        for page in writer.pages[first : first + len(reader.pages)]:
            kept = ArrayObject()
            for entry in page.get("/Annots", ()):
                link = entry.get_object()
                uri = str(link.get("/A", {}).get("/URI", ""))
                if not uri.startswith(address) and "/Dest" not in link:
                    kept.append(entry)  # an address outside the book
                    continue
                parts = urlsplit(uri)
                target = unquote(parts.path).strip("/").removesuffix(".html") if uri else document
                if target not in printed:
                    continue
                start, there = printed[target]
                name = f"/{unquote(parts.fragment)}" if uri else str(link["/Dest"])
                place = there.named_destinations.get(name)
                number = start + (there.get_destination_page_number(place) if place else 0)
                top = [NumberObject(0), place.top, NumberObject(0)] if place and place.top is not None else None
                goal = [writer.pages[number].indirect_reference, NameObject("/XYZ" if top else "/Fit"), *(top or [])]
                for key in ("/A", "/Dest"):
                    link.pop(key, None)
                link[NameObject("/Dest")] = ArrayObject(goal)
                kept.append(entry)
            page[NameObject("/Annots")] = kept


def write_pdf(browser, address: str, parts: list[tuple[str | None, list[str]]], target: Path) -> int:
    """Print these documents of the book at `address` into one file; how many pages that gave."""
    writer, printed = PdfWriter(), {}
    context = browser.new_context(color_scheme="light")
    local = (address, "data:", "about:")
    context.route("**/*", lambda route: route.continue_() if route.request.url.startswith(local) else route.abort())
    for caption, documents in parts:
        above = None
        for document in documents:
            title, reader = print_page(context, f"{address}/{document}.html")
            first = len(writer.pages)
            printed[document] = first, reader
            writer.append(reader, import_outline=False)
            if caption and above is None:
                above = writer.add_outline_item(title=caption, page_number=first, fit=Fit.fit())
            writer.add_outline_item(title=title, page_number=first, parent=above, fit=Fit.fit())
    for page, number in zip(writer.pages, numbers(context, len(writer.pages)).pages, strict=True):
        page.merge_page(number)
        page.compress_content_streams()
    context.close()
    relink(writer, address, printed)
    writer.root_object.pop("/Dests", None)
    writer.compress_identical_objects()  # fonts and images that several documents share
    writer.add_metadata({"/Title": "Talking Heads"})
    target.parent.mkdir(parents=True, exist_ok=True)
    writer.write(target)
    return len(writer.pages)


def main() -> int | str:
    html, target = ROOT / "_build" / "html", ROOT / "_build" / "talking-heads.pdf"
    if not (html / "index.html").is_file():
        return "error: no book yet; run make book first"
    try:
        with served(html) as address, headless() as browser:
            pages = write_pdf(browser, address, contents(ROOT), target)
    except NoBrowser as missing:
        return f"error: no browser to print with: {missing}"
    print(f"{target} ({pages} pages)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
