"""Film the figure of the front page: the message is turned there and back, and written to `book/images/hero.gif`.

Needs the built book. The picture is of what the page shows, so make it anew when the figure changes.
"""

import io
import sys
from pathlib import Path

from browser import NoBrowser, headless, served
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "book" / "images" / "hero.gif"
STEPS = 25
TURN = """(figure, share) => {
    const dial = figure.querySelector('input[type=range]');
    dial.value = Number(dial.min) + share * (dial.max - dial.min);
    dial.dispatchEvent(new Event('input', {bubbles: true}));
}"""


def frames(page) -> list[Image.Image]:
    """Pictures of the figure while its dial goes from one end to the other and back."""
    figure = page.locator("figure.th-channel-playground[data-live]").first
    figure.scroll_into_view_if_needed()
    found = []
    for step in range(STEPS):
        figure.evaluate(TURN, step / (STEPS - 1))
        page.wait_for_timeout(60)
        found.append(Image.open(io.BytesIO(figure.screenshot())).convert("RGB"))
    return found + found[-2:0:-1]


def main() -> int | str:
    html = ROOT / "_build" / "html"
    if not (html / "book" / "index.html").is_file():
        return "error: no book yet; run make book first"
    try:
        with served(html) as address, headless() as browser:
            page = browser.new_page(viewport={"width": 900, "height": 700}, color_scheme="light")
            page.goto(f"{address}/book/index.html", wait_until="load")
            taken = frames(page)
    except NoBrowser as missing:
        return f"error: no browser to film with: {missing}"
    palette = taken[0].quantize(48)
    small = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in taken]
    small[0].save(TARGET, save_all=True, append_images=small[1:], duration=90, loop=0, optimize=True)
    print(f"{TARGET} ({len(taken)} frames, {TARGET.stat().st_size / 1000:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
