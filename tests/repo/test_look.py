"""What makes claim cards, head chips and code buttons of plain outputs (_ext/look.py)."""

import json
import sys
from pathlib import Path

import pytest
from docutils import nodes

import th_utils as th

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "_ext"))
import look  # noqa: E402

ROLES = json.loads((ROOT / "book" / "lab.json").read_text(encoding="utf8"))["roles"]


def test_every_role_has_a_colour_of_the_palette_and_a_job_in_the_glossary():
    glossary = (ROOT / "book" / "glossary.md").read_text(encoding="utf8").splitlines()
    assert set(ROLES.values()) <= set(look.JOBS) & {line.removesuffix(" head") for line in glossary}
    assert {colour for colour, _ in look.JOBS.values()} <= set(look.palette.ROLES)


def marked(text, column=False):
    return [text[start:end] for start, end in look.places(text, ROLES, column)]


@pytest.mark.parametrize(
    "text, heads",
    [
        ("Head 23.3 loses 0.08 [0.07, 0.09]", ["23.3"]),
        ("the name movers 23.0, 23.2 and 23.1; S-inhibition heads 20.0 and 19.2", "23.0 23.2 23.1 20.0 19.2".split()),
        ("edges 20.0 → 23.0 and 19.2 → 23.1 (query)", "20.0 23.0 19.2 23.1".split()),
        ("the data choose 20.0.0 (takes 63% of the gap)", ["20.0.0"]),
        ("the best component of 20.0 ranks 2", ["20.0"]),
        ("search names 20.0 and 19.2 first", ["20.0", "19.2"]),
        ("Component 20.0.0 lies at 0.14, head 8.1 at 8.2.", ["20.0.0", "8.1"]),
        ("the contrast of 24.4, a negative mover, takes 60 signals", ["24.4"]),
    ],
)
def test_heads_become_chips(text, heads):
    assert marked(text) == heads


@pytest.mark.parametrize(
    "text",
    [
        "0.57 [0.53, 0.62]",
        "switch at 23.6 [23.6, 23.7]; 23.5\u00a0[23.3,\u00a023.7]",
        "16.0 [10.1, 18.5] to 23.0 [20.0, 23.2]",
        "between layers 23.0 and 23.7",
        "the heads gain 8.1 points, 5.6% and 1.1 bits",
        "leads by 1.5, 1.2 and 2.1",
        "10.2 [9.4, 11.1] with 3 items; 3.5 [3.0, 4.0] with 5",
        "leads by 1.5, 3.4, 5.1 points of attention",
        "they sum to 7.6 and 6.7 nats",
        "it falls from 8.1 to 5.6, ×2.1, +1.1, −8.0 and -1.2",
        "version 0.1.2.3, 3.11.9 or 23.04",
        "the heads are 8.15 apart, 23.9 and 31.0",
        "multiplied by 2.0 and 5.6 to 17.4 times",
    ],
)
def test_other_numbers_do_not(text):
    assert marked(text) == []


def table(head, *cells):
    rows = [nodes.row("", nodes.entry("", nodes.paragraph("", cell))) for cell in (head, *cells)]
    return nodes.table("", *rows)


def test_a_column_is_one_of_heads_by_its_word_and_by_all_of_its_cells():
    assert len(look.columns_of_heads(table("head", "8.1", "20.0 → 23.0", "none"))) == 3
    assert not look.columns_of_heads(table("attention", "8.1", "5.6"))
    assert not look.columns_of_heads(table("heads, share", "8.1", "5.62"))
    assert not look.columns_of_heads(table("gain of the head", "8.1", "9.9"))
    assert marked("8.1", column=True) == ["8.1"] and marked("8.1") == []


def test_a_claim_is_a_card_whose_text_is_the_printed_line():
    said = "✓ head 20.0 says it (1.04 [0.96, 1.12] against -0.1 [-0.2, 0.0])"
    printed = f"before\n{said}\n– not on this model: so it is (3)\nafter"
    block = nodes.literal_block("", printed)
    first, held, elsewhere, last = look.cards(block, ROLES, {}, "")
    assert (first.astext(), last.astext()) == ("before", "after")
    shown = "".join(look.re.sub("<[^>]+>", "", node.astext()) for node in held.findall(nodes.Text))
    line = "✓ head 20.0 says it (1.04 [0.96, 1.12] against −0.1 [−0.2, 0.0])"
    assert " ".join(shown.split()) == line
    assert "th-held" in held["classes"] and "th-elsewhere" in elsewhere["classes"]
    drawn = held.astext()
    assert drawn.count('class="th-range"') == 2 == drawn.count("<circle")
    assert 'class="th-range"' not in elsewhere.astext()


def test_a_card_says_how_its_claim_fared_on_fresh_words():
    tried = {"a": {"holds": False, "value": "-0.1 [-0.2, 0.0]"}, "b": {"holds": True, "value": ""}}
    block = nodes.literal_block("", "✓ a (0.5)\n✓ b\n✓ c\n– not on this model: a (3)")
    links = [card[-1].astext() for card in look.cards(block, ROLES, tried, "../") if "th-fresh" in card[-1]["classes"]]
    assert links == [
        '<a class="th-failed" href="../book/ledger.html">failed on fresh words: −0.1\u00a0[−0.2,\u00a00.0]</a>',
        '<a class="th-held" href="../book/ledger.html">held on fresh words</a>',
    ]


def test_a_whisker_is_drawn_to_scale_from_zero():
    drawn = look.whisker("0.50 [0.25, 1.00]")
    assert 'd="M8.0 0V14"' in drawn and "M39.0 7H132.0" in drawn and 'cx="70.0"' in drawn


@pytest.mark.parametrize(
    "title, label, kind",
    [
        ("Figure", "Code of this figure", "th-code"),
        ("Set-up, the same in every chapter. After", "Set-up", "th-setup"),
        ("Solution to exercise 1", "Solution to exercise 1", "th-solution"),
        ("Tools: who says most", "Tools: who says most", "th-code"),
    ],
)
def test_a_code_button_says_what_it_holds(title, label, kind):
    code = nodes.literal_block("", f"# @title {title}\nx = 1")
    fold = look.HideCodeCellNode("", nodes.container("", code))
    cell = nodes.container("", fold, classes=["cell", *(["tag_solution"] if "Solution" in title else [])])
    look.name_fold(fold, cell)
    assert fold["prompt_show"] == label and kind in fold["classes"] and code.astext() == "x = 1"


def test_numbers_have_a_true_minus_and_intervals_stay_in_one_piece():
    assert look.set_numbers("-0.5 [-0.6, 0.1], 10-20, a-1, 3e-06") == "−0.5\u00a0[−0.6,\u00a00.1], 10-20, a-1, 3e-06"


def test_choices_are_followed_by_what_waits_for_a_guess():
    def cell():
        return nodes.container(classes=["cell"])

    choices = nodes.bullet_list("", nodes.list_item("", nodes.paragraph("", "Yes.")))
    asked, plain = nodes.paragraph("", "Predict first. Does it?"), nodes.paragraph("", "Then")
    section = nodes.section("", asked, choices, cell(), cell(), plain, cell())
    look.cover_answers(section)
    box, covered, rest, last = section
    assert box["classes"] == ["th-predict"] and covered["classes"] == ["th-covered"] and len(covered) == 2
    assert rest.astext() == "Then" and last["classes"] == ["cell"]


def test_a_drawing_stands_on_a_page_once(tmp_path):
    page = th.views.floors({"END": "to"}, {"END": [(1, 0)]}, {}, range(2), "T", "One head on a rail.")
    html = page._repr_mimebundle_()["text/html"]
    assert html.count("<svg") == 1 and html.count("<img") == 1
    kept = look.keep_pictures(html, tmp_path, "")
    assert kept.count("<svg") == 1 and "<img" not in kept and "<style" not in kept
