"""What a reader does in the lab, by mouse and keyboard, on a desk and on a phone; what is shown is what torch says."""

import ast
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from lab_page import ATTENTION, PARTS, answers, asked, given, same_as_torch, settle, shown_chances, shown_looks, turned
from rendered import HTML, ROOT
from test_browser import PHONE

import th_utils as th
from th_utils.tasks import laundry_list


def test_a_reader_loads_the_model_turns_the_message_and_sees_what_torch_says(visit, model, weights):
    base = th.run(model, asked(model, visit.get_by_label("Prompt", exact=True).input_value()))
    before = answers(visit)
    visit.get_by_label("Activation of 20.0.0, as a number").fill("30")
    visit.get_by_label("Activation of 20.0.0, as a number").press("Enter")
    settle(visit, before)
    same_as_torch(visit, model, base, turned(model, weights, base, [(20, 0, 0, "set", 30.0)]))
    slider = visit.get_by_role("slider", name="Activation of 20.0.0")
    for keys, step in ((["ArrowRight"], 1), (["ArrowLeft", "ArrowLeft"], -2)):
        before, old = answers(visit), float(slider.input_value())
        for key in keys:
            slider.press(key)
        settle(visit, before)
        value = float(slider.input_value())
        assert np.sign(value - old) == np.sign(step)
        same_as_torch(visit, model, base, turned(model, weights, base, [(20, 0, 0, "set", value)]))
    for name, dial in (("reverse", (20, 0, 0, "scale", -1.0)), ("zero", (20, 0, 0, "set", 0.0))):
        before = answers(visit)
        visit.get_by_role("button", name=name, exact=True).click()
        settle(visit, before)
        same_as_torch(visit, model, base, turned(model, weights, base, [dial]))
    own = float(visit.locator(".lab-dial").get_attribute("data-own"))
    assert abs(own - float(th.channel(weights, [(20, 0, 0)]).coordinates(base))) < 1e-3


def test_any_prompt_component_and_head(visit, model, weights):
    text = "The boat that the girls on the island saw"
    before = answers(visit)
    visit.get_by_label("Prompt", exact=True).fill(text)
    visit.wait_for_timeout(500)
    settle(visit, before)
    for label, value in (("Add a component", "7.3.2"), ("Add a head", "12.5")):
        before = answers(visit)
        visit.get_by_label(label).fill(value)
        visit.get_by_label(label).press("Enter")
        settle(visit, before)
    before = answers(visit)
    card = visit.get_by_role("group", name="7.3.2", exact=True)
    card.get_by_role("button", name="times").click()
    card.get_by_label("Activation of 7.3.2, as a number").fill("-2.5")
    card.get_by_label("Activation of 7.3.2, as a number").press("Enter")
    settle(visit, before)
    base = th.run(model, asked(model, text))
    dials = [(20, 0, 0, "set", 0.0), (7, 3, 2, "scale", -2.5)]
    same_as_torch(visit, model, base, turned(model, weights, base, dials), ("23.0", "12.5"))
    for label, wrong in (("Add a component", "30.0.0"), ("Add a head", "cat")):
        visit.get_by_label(label).fill(wrong)
        visit.get_by_label(label).press("Enter")
        assert wrong in visit.get_by_role("alert").filter(has_text=wrong).text_content()


@pytest.mark.parametrize("chapter, dials", [("00_first_look", 1), ("03_inhibition_subspace", 3)])
def test_a_chapter_opens_the_lab_on_its_own_sentence_with_its_dials_turned(visit, model, weights, chapter, dials):
    page = BeautifulSoup((HTML / "notebooks" / f"{chapter}.html").read_text(encoding="utf8"), "html.parser")
    shown = [json.loads(one.text) for one in page.select(".th-channel-playground script[type='application/json']")]
    (figure,) = (one for one in shown if len(one["axes"]) == dials)
    given(visit, "#" + page.select_one('a[href*="lab.html#"]')["href"].split("#")[1])
    prompt = visit.get_by_label("Prompt", exact=True).input_value()
    assert prompt == "".join(figure["prompts"][0]["tokens"][1:])
    base = th.run(model, asked(model, prompt))
    reversed_ = [(*map(int, axis["name"].split(".")), "scale", -1.0) for axis in figure["axes"]]
    same_as_torch(visit, model, base, turned(model, weights, base, reversed_), tuple(figure["heads"][:2]))


def test_other_tokens_look_too(visit, model):
    given(visit, "#prompt=The+boat+that+the+girls+saw&head=12.5&dial=20.0.0")
    before = answers(visit)
    visit.get_by_label("from").select_option("3")
    settle(visit, before)
    whole = th.run(model, asked(model, "The boat that the girls saw"), positions="all")
    expected = whole.pattern[12, 0, 5, 3].numpy()
    found = shown_looks(visit, "12.5")["after"]
    assert abs(found - expected[: len(found)]).max() < ATTENTION and len(found) == 4


def test_the_board_picks_heads_by_keyboard_and_by_pointer(visit):
    given(visit, "#prompt=The+boat+that+the+girls+saw&dial=20.0.0:set:30&head=23.0")
    board = visit.locator(".lab-board")
    before = answers(visit)
    board.focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        board.press(key)
    settle(visit, before)
    assert visit.get_by_role("region", name="Attention of head 24.1").is_visible()
    before = answers(visit)
    board.locator("circle").nth(9 * 10 + 4).click(force=True)
    settle(visit, before)
    assert visit.get_by_role("region", name="Attention of head 10.4").is_visible()
    assert "#prompt=The+boat" in visit.evaluate("location.href"), "keys in the figure turn no page"


def test_a_long_prompt_is_refused_with_the_limit(visit):
    visit.get_by_label("Prompt", exact=True).fill("word " * 120)
    visit.get_by_text("96 are the limit").wait_for()
    assert not visit.locator(".lab-answers").is_visible()
    before = answers(visit)
    visit.get_by_role("button", name="Two names").click()
    settle(visit, before)


def test_the_list_is_th_utils_own(visit, model):
    lists = laundry_list.generate(model, 3, 4, seed=3)
    frames = json.loads((ROOT / "th_utils/tasks/data/laundry_list.json").read_text(encoding="utf8"))["frames"]
    script = (PARTS / "page.js").read_text(encoding="utf8")
    (body,) = re.findall(r"function join\(.*?\n}\n.*?function laundryPrompt\(.*?\n}\n", script, re.DOTALL)
    for row, text in zip(lists.table.itertuples(), lists.text, strict=True):
        made = visit.evaluate(
            f"([frame, who, items, ticked]) => {{ {body} return laundryPrompt(frame, who, items, ticked); }}",
            [frames[row.frame], row.who, list(row.items), list(row.ticked)],
        )
        assert made == text


def test_a_list_is_built_ticked_and_answered(visit, model):
    before = answers(visit)
    visit.get_by_text("Build a Laundry List", exact=True).click()
    settle(visit, before)
    visit.get_by_label("Thing 2").fill("torch")
    visit.get_by_label("Thing 2").press("Tab")
    before = answers(visit)
    visit.get_by_role("button", name="torch ticked off").click()
    visit.get_by_role("button", name="lamp ticked off").click()
    settle(visit, before)
    text = visit.get_by_label("Prompt", exact=True).input_value()
    assert "the lamp, the torch, and the coin" in text and "has bought the coin and the torch" in text
    assert "Left over, so right: lamp." in visit.locator(".lab-builder").text_content()
    assert {" lamp", " torch", " coin"} <= set(shown_chances(visit))
    base = th.run(model, asked(model, text))
    same_as_torch(visit, model, base, base)
    visit.get_by_text("Build a Laundry List", exact=True).click()


def test_a_link_holds_the_state(visit, model, weights):
    text = 'Mary & John went; "John" gave 50% = a+b to'
    given(visit, "#" + "&".join([
        "prompt=Mary+%26+John+went%3B+%22John%22+gave+50%25+%3D+a%2Bb+to", "word=Mary", "word=John",
        "dial=20.0.0:set:12.5", "dial=19.2.4:scale:-1", "head=23.0", "head=23.2",
    ]))  # fmt: skip
    assert visit.get_by_label("Prompt", exact=True).input_value() == text
    base = th.run(model, asked(model, text))
    after = turned(model, weights, base, [(20, 0, 0, "set", 12.5), (19, 2, 4, "scale", -1.0)])
    same_as_torch(visit, model, base, after, ("23.0", "23.2"))
    visit.wait_for_timeout(600)  # the page writes its own link
    link, before = visit.evaluate("location.hash"), shown_chances(visit)
    given(visit, "#prompt=The")
    given(visit, link)
    assert shown_chances(visit) == before and {" Mary", " John"} <= set(before)


def test_a_hostile_link_is_text(visit):
    dials = "dial=99.0.0:set:1&dial=20.0.0:set:1e999"
    given(visit, f"#prompt=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&{dials}&head=%3Cb%3E&word=%3Ci%3E")
    assert not visit.locator(".th-lab img, .th-lab b, .th-lab i").count()
    assert not visit.locator(".lab-dial").count() and not visit.locator(".lab-look").count()


def test_the_copied_code_gives_the_same_numbers(visit):
    given(visit, "#prompt=Ann+and+Bob+met.+Bob+gave+a+%22pen%22+to&dial=20.0.0:set:25&dial=19.2.7:scale:-1&head=23.0")
    code = visit.locator(".lab-code code").text_content()
    assert "import th_utils as th" in code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    shown = shown_chances(visit)
    for i, line in enumerate(line for line in lines if not line.startswith("  ")):
        for token, chance in ast.literal_eval(line[line.index("{") :]).items():
            if token in shown:
                assert abs(shown[token][i] - chance) < 2e-4
    looks = [json.loads(line.split("looks ")[1]) for line in lines if line.startswith("  23.0")]
    for when, expected in zip(("before", "after"), looks, strict=True):
        assert abs(shown_looks(visit, "23.0")[when] - np.array(expected)).max() < 2e-3


def test_before_and_after_in_words_agree_with_the_numbers(visit):
    """The sentence never disagrees with what the whole model says."""
    prompt = "prompt=Then,+Aaron+and+Ford+went+to+the+store.+Ford+gave+a+ring+to"
    for value in (-90, -40, 0, 40, 90):
        given(visit, f"#{prompt}&dial=20.0.0:set:{value}&head=23.0")
        shown = shown_chances(visit)
        first = [max(shown, key=lambda token, i=i: shown[token][i]).strip() for i in (0, 1)]
        said = visit.locator(".lab-sentence").text_content()
        expected = f"still says “{first[1]}”" if first[0] == first[1] else f"says “{first[1]}”"
        assert expected in said and f"{100 * max(pair[1] for pair in shown.values()):.1f}%" in said


# --- everybody ---


def test_no_serious_accessibility_violation_while_the_model_runs(visit):
    given(visit, "#prompt=Then,+Aaron+and+Ford+went+home.+Ford+gave+it+to&dial=20.0.0:set:40&head=23.0&word=Aaron")
    visit.get_by_text("Build a Laundry List", exact=True).click()
    found = []
    for theme in ("light", "dark"):
        visit.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        visit.wait_for_timeout(400)
        result = Axe().run(visit, options={"resultTypes": ["violations"], "preload": False})
        found += [f"{theme}: {rule['id']}: {node['html'][:150]}" for rule in result.response["violations"]
                  if rule["impact"] in ("serious", "critical") for node in rule["nodes"][:3]]  # fmt: skip
    visit.evaluate("document.documentElement.dataset.theme = 'light'")
    visit.get_by_text("Build a Laundry List", exact=True).click()
    assert not found


def test_it_fits_a_phone_and_a_finger(visit):
    size = visit.viewport_size
    visit.set_viewport_size(PHONE)
    visit.wait_for_timeout(200)
    wrong = visit.evaluate("""() => {
        const wrong = document.documentElement.scrollWidth > 391 ? ["wider than the screen"] : [];
        for (const node of document.querySelectorAll(".th-lab *")) {
            const box = node.getBoundingClientRect();
            if (!box.width || node.closest("pre, .lab-aloud")) continue;
            const name = node.outerHTML.slice(0, 80);
            if (box.right > 391 || box.left < -1) wrong.push(`outside: ${name}`);
            if (node.matches("button, input, select, textarea, summary") && Math.min(box.width, box.height) < 24)
                wrong.push(`a small target: ${name}`);
        }
        return wrong;
    }""")
    visit.set_viewport_size(size)
    assert not wrong


def test_every_control_has_a_name_and_the_answer_is_read_out(visit):
    nameless = visit.evaluate("""() =>
        [...document.querySelectorAll(".th-lab :is(button, input, select, textarea, svg[tabindex])")]
        .filter(node => node.offsetParent !== null && !(node.getAttribute("aria-label") || node.textContent.trim() ||
            node.labels?.[0]?.textContent.trim()))
        .map(node => node.outerHTML.slice(0, 100))""")
    assert not nameless
    given(visit, "#prompt=Then,+Aaron+and+Ford+went+home.+Ford+gave+it+to&dial=20.0.0:set:40&head=23.0")
    visit.wait_for_timeout(600)
    aloud, sentence = (visit.locator(name).text_content() for name in (".lab-aloud[role=status]", ".lab-sentence"))
    assert aloud == sentence != ""
