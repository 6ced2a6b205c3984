"""What every live figure keeps: phones, dark pages, hostile words, keyboards, readers without scripts."""

import re
from pathlib import Path

import pytest
import torch
from house_style import check
from pages import EVIL, html, settle

import th_utils as th
from th_utils.views.palette import css

ALT = f"a figure that shows {EVIL} among other words"
NAMES = [EVIL, "$b$", "c"]
pytestmark = pytest.mark.filterwarnings("ignore:constrained_layout")  # long names leave a picture little room
FOCUS = (
    "() => [...document.querySelectorAll('button, input, [tabindex], [role=button]')].indexOf(document.activeElement)"
)


def causal(heads: int = 3, tokens: int = 3) -> torch.Tensor:
    scores = torch.randn(heads, tokens, tokens, generator=torch.Generator().manual_seed(0))
    return scores.masked_fill(torch.ones(tokens, tokens, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)


def channel_playground(tiny):
    model = tiny("tiny-gpt2")
    base = th.run(model, th.tasks.ioi.generate(model, 2, seed=0))
    channel = th.channel(th.head_weights(model), [(1, 2, 0)])
    return th.live.channel_playground(model, base, channel, [(2, 0)], EVIL, ALT, ends=(EVIL, "$b$"))


def composition_explorer(tiny):
    weights, readers = th.head_weights(tiny("tiny-gpt2")), [(2, 1), (3, 0)]
    scores = (score(weights, "Q", readers) for score in (th.component_scores, th.head_scores))
    return th.live.composition_explorer(*scores, torch.arange(32.0).reshape(4, 4, 2), EVIL, ALT, EVIL)


def territory_atlas(tiny):
    axes = {f"{EVIL}{i}": [0.0, 1.0, 2.0] for i in range(3)}
    shares = torch.full((27, 3), 0.1)
    return th.live.territory_atlas(axes, {EVIL: shares}, {EVIL: torch.ones(3, 3)}, NAMES, EVIL, ALT, EVIL, EVIL)


def frame_slider(tiny):
    frames = {name: th.views.bars({name: 1.0}, EVIL, ALT, "unit") for name in NAMES}
    return th.live.frame_slider(frames, EVIL, start=EVIL, at=[0, 1, 5], marks={EVIL: 4})


FIGURES = {
    "attention_viewer": lambda tiny: th.live.attention_viewer(NAMES, causal(), NAMES, EVIL, ALT, whole=True),
    "channel_playground": channel_playground,
    "composition_explorer": composition_explorer,
    "frame_slider": frame_slider,
    "territory_atlas": territory_atlas,
}


@pytest.fixture(params=FIGURES)
def make(request, tiny, monkeypatch):
    # On a built page the viewer's library comes from the book: here it is inside the figure, as in a kernel.
    monkeypatch.setenv("TH_STATIC", "0" if request.param == "attention_viewer" else "1")
    return lambda: FIGURES[request.param](tiny)


def test_several_on_a_phone_in_the_dark_with_hostile_words(make, show):
    """All come alive, none widens the page, ink follows the theme, words stay text; a cell that runs again is quiet."""
    one, same = make(), make()
    assert html(one) == html(same), "the same figure is the same output"
    tab = show(one, same, width=360, dark=True)
    assert tab.locator("figure[data-live][data-theme-dark]").count() == 2
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert EVIL in tab.locator("body").inner_text() and tab.evaluate("window.harm") is None
    assert tab.locator("figure b").count() == 0
    tab.evaluate("() => { document.querySelector('figure').remove(); document.body.style.color = '#111' }")
    settle(tab)
    settle(tab)
    assert tab.locator("figure:not([data-theme-dark])").count() == 1


def test_every_control_is_reached_by_keyboard(make, show):
    tab = show(make())
    if "in circuitsvis" in tab.content():
        tab.get_by_role("button", name="in circuitsvis").press("Enter")
        tab.get_by_text("Zoomed").wait_for()
        tab.evaluate("() => { document.body.tabIndex = -1; document.body.focus(); }")
        tab.evaluate("document.body.removeAttribute('tabindex')")
    controls = tab.locator("button, input, [tabindex], [role=button]").count()
    reached = set()
    for _ in range(controls):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate(FOCUS))
    assert reached == set(range(controls)) and controls


def test_without_scripts_the_picture_is_there_in_the_house_style(make, show, drawn):
    view = make()
    tab = show(view, java_script_enabled=False)
    assert tab.get_by_role("img", name=view.alt).is_visible() and tab.locator("img").count() == 1
    for figure in drawn:
        check(figure, figure.get_suptitle(), ALT)


def test_controls_fit_a_finger(make, show):
    tab = show(make(), width=390, has_touch=True, is_mobile=True)
    small = tab.evaluate("""() => [...document.querySelectorAll("button, input")].filter(node => {
        const { width, height } = node.getBoundingClientRect();
        return Math.min(width, height) < 44;
    }).map(node => node.outerHTML)""")
    assert not small


LIVE = Path(th.live.__file__).parent
NAMED = "(?:black|white|gr[ae]y|red|green|blue|orange|purple|gold|tab:\\w+)"
COLOUR = re.compile(
    r"#[0-9a-fA-F]{3,8}\b|\b(?:rgb|hsl)a?\(" + rf"|[\"'`]{NAMED}[\"'`]"
    rf"|(?:color|background|border|outline|fill|stroke)[^;}}`\n]*[: ]{NAMED}\b(?!-)"
)


@pytest.mark.parametrize("path", sorted([*LIVE.glob("*.js"), *LIVE.glob("*.py")]), ids=lambda path: path.name)
def test_every_colour_is_one_of_the_palette(path):
    """No literal colour, and no variable that the palette does not write."""
    code = re.sub(r"//.*", "", path.read_text(encoding="utf8"))
    assert not COLOUR.findall(code)
    written = set(re.findall(r"--th-([\w-]+):", css())) | {"sans", "looks"}
    used = set(re.findall(r"--th-([\w-]+)(?=[,)])", code)) | set(re.findall(r'colourOf\(\w+, "([\w-]+)"\)', code))
    assert used <= written, used - written
