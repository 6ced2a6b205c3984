"""The lab in a browser: the whole model in the page, compared with torch; and what stays when it cannot run."""

import ast
import json
import random
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from rendered import HTML, ROOT
from test_browser import PHONE, watched

import th_utils as th
from th_utils.models.registry import DEFAULT
from th_utils.tasks import laundry_list
from th_utils.tasks.prompts import Prompts, encode

PAGE, PARTS = "book/lab.html", HTML / "_static" / "lab"
LOG_PROBABILITY, ATTENTION = 1e-3, 1e-4  # how far the page may be from torch
HARD = [
    "Then, Aaron and Ford went to the store. Ford gave a ring to", "def f(x):\n\treturn  x**2  # naïve", " ", "\n\n\n",
    "Ünïcödé ☃ 👩‍👩‍👧 日本語 العربية", "1234567 3.14159 0x1F", "don't we'll I'VE", "a" * 200,
    "<|im_start|>user\nhi<|im_end|>",
    "e\u0301 \u00e9 \u200b \ufeff", "trailing space ", "MiXeD CaSe_snake-kebab", "http://a.b/c?d=e&f", "\u00a0x\u2003y",
]  # fmt: skip
LIST = "Today Ana needs to buy the lamp, the rope, and the coin. So far Ana has bought the coin. Ana still needs to"
SENTENCES = (HARD[0], LIST, "The", "import numpy as np\nx = np.")

pytestmark = pytest.mark.skipif(
    (HTML / "index.html").is_file() and not (PARTS / "model.json").is_file(), reason="built without the model's file"
)


@pytest.fixture(scope="module")
def model():
    return th.load_model(DEFAULT)


@pytest.fixture(scope="module")
def weights(model):
    return th.head_weights(model)


def asked(model, text: str) -> Prompts:
    tokens, end = encode(model.tokenizer, [text])
    nothing = tokens[:, 0]
    return Prompts(tokens, nothing, nothing, {"END": end}, (text,), pd.DataFrame({"text": [text]}))


def turned(model, weights, base: th.Run, dials) -> th.Run:
    """The run under dials as the page has them: (layer, head, k, mode, value)."""
    hooks = []
    for layer, head, k, mode, value in dials:
        hooks += getattr(th.channel(weights, [(layer, head, k)]), mode)(value)
    return th.rerun_last(model, base, hooks)


@pytest.fixture(scope="module")
def visit(browser, address):
    """The page with its model loaded by the button, and what went wrong on the way."""
    with watched(browser, address) as (tab, trouble):
        open_and_load(tab, f"{address}/{PAGE}")
        yield tab
        assert not trouble


def open_and_load(tab, url: str) -> None:
    tab.goto(url, wait_until="load")
    tab.get_by_role("button", name="Load the model").click()
    tab.locator(".th-lab[data-engine=live]").wait_for(timeout=120_000)
    settle(tab, 0)


def answers(tab) -> int:
    return int(tab.locator(".th-lab").get_attribute("data-answers") or 0)


def settle(tab, before: int) -> None:
    """Wait for an answer after the first `before`, and until no newer one comes."""
    for _ in range(600):
        now = answers(tab)
        tab.wait_for_timeout(120)
        if now > before and answers(tab) == now and tab.locator(".th-lab").get_attribute("data-ms"):
            return
    raise AssertionError("no answer came")


def given(tab, link: str) -> None:
    """Put a state into the page by a link."""
    before = answers(tab)
    tab.evaluate("link => { location.hash = ''; location.hash = link }", link)
    tab.wait_for_timeout(450)
    settle(tab, before)


def shown_chances(tab) -> dict[str, tuple[float, float]]:
    rows = tab.locator(".lab-answers tr[data-token]").evaluate_all(
        "rows => rows.map(row => [row.dataset.token, row.dataset.chances])"
    )
    return {token: tuple(map(float, chances.split())) for token, chances in rows}


def shown_looks(tab, head: str) -> dict[str, np.ndarray]:
    row = tab.get_by_role("region", name=f"Attention of head {head}", exact=True)
    return {when: np.array(row.get_attribute(f"data-{when}").split(), float) for when in ("before", "after")}


def same_as_torch(tab, model, base: th.Run, after: th.Run, heads=("23.0",)) -> None:
    chances = [th.logits(model, run)[0].log_softmax(-1) for run in (base, after)]
    shown = shown_chances(tab)
    for token, pair in shown.items():
        (identity,) = encode(model.tokenizer, [token], False)[0][0].tolist()
        for found, expected in zip(pair, chances, strict=True):
            assert abs(np.log(found) - float(expected[identity])) < LOG_PROBABILITY, token
    for expected in chances:  # the likeliest tokens are all there
        assert {model.tokenizer.decode([i]) for i in expected.topk(3).indices.tolist()} <= set(shown)
    for head in heads:
        layer, index = map(int, head.split("."))
        for when, run in (("before", base), ("after", after)):
            expected = run.pattern[layer, 0, index, -1].numpy()
            assert abs(shown_looks(tab, head)[when] - expected).max() < ATTENTION, (head, when)


# --- numbers ---

ENGINE = """async jobs => {
    const folder = new URL("../_static/lab/", location.href);
    const load = name => import(new URL(name, folder).href);
    const [{ Model }, parts, svd, { Tokenizer }] = await Promise.all(
        ["model.js", "parts.js", "components.js", "tokenizers/tokenizers.min.mjs"].map(load));
    const about = await (await fetch(new URL("model.json", folder))).json();
    async function* weights() { for (const file of about.weights) yield (await parts.part(file, folder)).bytes; }
    const model = await Model.load(weights(), await (await fetch(new URL("kernel.wasm", folder))).arrayBuffer(), 96);
    const read = async ({ name }) => (await fetch(new URL(name, folder))).json();
    const words = await Promise.all(about.tokenizer.map(read));
    const tokenizer = new Tokenizer(...words);
    const listed = layers => layers.map(layer => layer.map(row => Array.from(row)));
    return {
        ids: jobs.hard.map(text => tokenizer.encode(text, { add_special_tokens: false }).ids),
        components: jobs.heads.map(([layer, head]) => svd.components(model, layer, head).map(one =>
            [one.sigma, Array.from(one.readout), Array.from(one.steer)])),
        runs: jobs.runs.map(({ text, dials }) => {
            const base = model.run([model.start, ...tokenizer.encode(text, { add_special_tokens: false }).ids]);
            const edits = dials.map(([layer, head, k, mode, value]) => svd.edit(layer, head,
                svd.components(model, layer, head)[k], c => (mode === "set" ? value : value * c)));
            const now = model.rerun(edits);
            const pack = (logits, looks) => ({ logits: Array.from(logits), looks: listed(looks) });
            return [pack(base.logits, base.attention.map(layer => layer.at(-1))), pack(now.logits, now.looks)];
        }),
    };
}"""


def random_dials(rng: random.Random, n: int) -> list[tuple]:
    found = []
    for _ in range(n):
        mode = rng.choice(["set", "scale"])
        value = round(rng.uniform(-40, 40) if mode == "set" else rng.uniform(-3, 3), 2)
        found.append((rng.randrange(1, 26), rng.randrange(9), rng.randrange(6), mode, value))
    return found


@pytest.fixture(scope="module")
def engine(browser, address):
    """The engine itself, called by the page: whole answers, where the page shows the likeliest tokens."""
    rng = random.Random(5)
    runs = [{"text": text, "dials": [(20, 0, 0, "set", 30.0)] * (i == 0) + random_dials(rng, 1 + i % 3)}
            for i, text in enumerate(SENTENCES)]  # fmt: skip
    jobs = {"hard": HARD, "heads": [(20, 0), (19, 2), (0, 3), (29, 8)], "runs": runs}
    with watched(browser, address) as (tab, trouble):
        tab.goto(f"{address}/{PAGE}", wait_until="load")
        found = tab.evaluate(ENGINE, jobs)
        assert not trouble
    return jobs, found


def test_log_probabilities_and_attention_are_those_of_torch(engine, model, weights):
    jobs, found = engine
    for job, pair in zip(jobs["runs"], found["runs"], strict=True):
        base = th.run(model, asked(model, job["text"]))
        for run, made in zip((base, turned(model, weights, base, job["dials"])), pair, strict=True):
            expected = th.logits(model, run)[0].log_softmax(-1)
            off = (torch.tensor(made["logits"]).log_softmax(-1) - expected).abs().max()
            assert off < LOG_PROBABILITY, (job, off)
            assert (torch.tensor(made["looks"]) - run.pattern[:, 0, :, -1]).abs().max() < ATTENTION, job


def test_components_are_those_of_th_utils(engine, weights):
    jobs, found = engine
    for (layer, head), rows in zip(jobs["heads"], found["components"], strict=True):
        sigma = torch.tensor([row[0] for row in rows])
        assert torch.allclose(sigma, weights.ov.singular_values[layer, head], rtol=1e-4)
        for k, (_, readout, steer) in enumerate(rows):
            if weights.ov.gaps[layer, head, k] > 1e-3:  # else noise turns it
                ours = th.channel(weights, [(layer, head, k)])
                scale = ours.readout[0].abs().max(), ours.steer[0].abs().max()
                assert (torch.tensor(readout) - ours.readout[0]).abs().max() < 1e-2 * scale[0]
                assert (torch.tensor(steer) - ours.steer[0]).abs().max() < 1e-2 * scale[1]


def test_tokens_are_those_of_th_utils(engine, model):
    for text, ids in zip(HARD, engine[1]["ids"], strict=True):
        assert ids == model.tokenizer.encode(text, add_special_tokens=False), text


def test_stored_answers_are_the_models(model, weights):
    """What the page shows before the model is loaded, at some of the settings."""
    stored = json.loads((ROOT / "book" / "lab.json").read_text(encoding="utf8"))
    for example in stored["examples"]:
        base = th.run(model, asked(model, example["prompt"]))
        component = tuple(map(int, example["dial"].split(".")))
        assert abs(float(th.channel(weights, [component]).coordinates(base)) - example["own"]) < 1e-3
        for at in range(0, len(example["settings"]), 10):
            value = example["settings"][at]
            run = base if value is None else turned(model, weights, base, [(*component, "set", value)])
            chances = th.logits(model, run)[0].softmax(-1)
            ids = [encode(model.tokenizer, [token], False)[0][0, 0] for token in example["next"]]
            assert abs(np.array(example["chances"][at]) / 1e4 - chances[ids].numpy()).max() < 1e-4
            for head, looks in zip(example["heads"], example["looks"][at], strict=True):
                layer, index = map(int, head.split("."))
                assert abs(np.array(looks) / 1e3 - run.pattern[layer, 0, index, -1].numpy()).max() < 1e-3


# --- the reader's way ---


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
    visit.get_by_text("Build a Laundry List").click()
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
    visit.get_by_text("Build a Laundry List").click()


def test_a_link_holds_the_state(visit, model, weights):
    text = "Mary & John went; \"John\" gave 50% = a+b to"
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
    visit.get_by_text("Build a Laundry List").click()
    found = []
    for theme in ("light", "dark"):
        visit.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        visit.wait_for_timeout(400)
        result = Axe().run(visit, options={"resultTypes": ["violations"]})
        found += [f"{theme}: {rule['id']}: {node['html'][:150]}" for rule in result.response["violations"]
                  if rule["impact"] in ("serious", "critical") for node in rule["nodes"][:3]]  # fmt: skip
    visit.evaluate("document.documentElement.dataset.theme = 'light'")
    visit.get_by_text("Build a Laundry List").click()
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
        [...document.querySelectorAll(".th-lab :is(button, input, select, textarea, svg)")]
        .filter(node => node.offsetParent !== null && !(node.getAttribute("aria-label") || node.textContent.trim() ||
            node.labels?.[0]?.textContent.trim()))
        .map(node => node.outerHTML.slice(0, 100))""")
    assert not nameless
    given(visit, "#prompt=Then,+Aaron+and+Ford+went+home.+Ford+gave+it+to&dial=20.0.0:set:40&head=23.0")
    visit.wait_for_timeout(600)
    aloud, sentence = (visit.locator(name).text_content() for name in (".lab-aloud[role=status]", ".lab-sentence"))
    assert aloud == sentence != ""


# --- the network, and what stays without it ---


def test_a_second_visit_loads_no_part_again(browser, address):
    with watched(browser, address) as (tab, trouble):
        fetched = []
        tab.context.on("request", lambda request: fetched.append(request.url))
        open_and_load(tab, f"{address}/{PAGE}")
        parts = [url for url in fetched if url.endswith(".gguf-part")]
        assert len(parts) == len(set(parts)) == len(list(PARTS.glob("*.gguf-part")))
        assert all(url.startswith((address, "blob:")) for url in fetched)
        fetched.clear()
        open_and_load(tab, f"{address}/{PAGE}?again")
        assert not [url for url in fetched if url.endswith((".gguf-part", "tokenizer.json"))]
        assert "own storage" in tab.locator(".lab-load").text_content()
        assert not trouble


def spoilt(route, answer: bytes) -> None:
    route.fulfill(body=answer, content_type="application/octet-stream")


@pytest.mark.parametrize("case", ["one byte", "cut short", "not there"])
def test_a_wrong_part_leaves_the_stored_answers_and_a_sentence(browser, address, case):
    right = (PARTS / "03.gguf-part").read_bytes()
    wrong = {"one byte": right[:999] + bytes([right[999] ^ 1]) + right[1000:], "cut short": right[:-1]}
    with watched(browser, address) as (tab, _):
        if case == "not there":
            tab.context.route("**/03.gguf-part", lambda route: route.fulfill(status=404, body=""))
        else:
            tab.context.route("**/03.gguf-part", lambda route: spoilt(route, wrong[case]))
        tab.goto(f"{address}/{PAGE}#prompt=My+own+words", wait_until="load")
        tab.get_by_role("button", name="Load the model").click()
        tab.get_by_text("The model could not be loaded").wait_for(timeout=60_000)
        assert "03.gguf-part" in tab.locator(".lab-load").text_content()
        stored_answers_work(tab)
        tab.context.unroute("**/03.gguf-part")
        tab.get_by_role("button", name="Try again").click()
        tab.locator(".th-lab[data-engine=live]").wait_for(timeout=120_000)


def stored_answers_work(tab) -> None:
    (example, *_) = json.loads((ROOT / "book" / "lab.json").read_text(encoding="utf8"))["examples"]
    assert tab.get_by_label("Prompt", exact=True).input_value() == example["prompt"]
    tab.get_by_role("button", name="reverse").click()
    at = example["settings"].index(-example["own"])
    shown = shown_chances(tab)
    for i, token in enumerate(example["next"][:2]):
        assert shown[token] == tuple(example["chances"][row][i] / 1e4 for row in (0, at))
    assert "With 20.0.0 at" in tab.locator(".lab-sentence").text_content()


@pytest.mark.parametrize("missing", ["WebAssembly", "Worker"])
def test_an_old_browser_keeps_the_stored_answers(browser, address, missing):
    with watched(browser, address) as (tab, _):
        if missing == "Worker":
            tab.add_init_script("delete window.Worker")
        else:
            tab.context.route("**/kernel.wasm", lambda route: spoilt(route, b"\0asm\1\0\0\0\xff"))
        tab.goto(f"{address}/{PAGE}", wait_until="load")
        tab.get_by_role("button", name="Load the model").click()
        tab.get_by_text("The model could not be loaded").wait_for(timeout=60_000)
        stored_answers_work(tab)


def test_a_page_on_a_disk_keeps_the_stored_answers(browser):
    with watched(browser, HTML.as_uri()) as (tab, trouble):
        tab.goto(f"{HTML.as_uri()}/{PAGE}", wait_until="load")
        assert "make serve" in tab.locator(".lab-load").text_content()
        assert not tab.get_by_role("button", name="Load the model").count()
        stored_answers_work(tab)
        assert not trouble


def test_without_scripts_a_table_is_there(browser, address):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{address}/{PAGE}")
    assert tab.locator(".th-lab .lab-still").is_visible()
    context.close()


def test_the_browser_refuses_the_worker_what_is_outside_the_book(visit):
    refused = visit.evaluate("""async () => {
        const script = "fetch('https://example.org/a').then(() => postMessage('came'), () => postMessage('refused'));" +
            "self.onsecuritypolicyviolation = event => postMessage(event.effectiveDirective);";
        const worker = new Worker(URL.createObjectURL(new Blob([script])), { type: "module" });
        const heard = [];
        worker.onmessage = event => heard.push(event.data);
        await new Promise(done => setTimeout(done, 500));
        return heard.sort();
    }""")
    assert refused == ["connect-src", "refused"]


def test_only_this_page_may_compile_webassembly(soups):
    policy = "meta[http-equiv=Content-Security-Policy]"
    rules = {page: soup.select_one(policy)["content"] for page, soup in soups.items()}
    assert [page for page, rule in rules.items() if "wasm-unsafe-eval" in rule or "blob:" in rule] == ["book/lab"]
    assert all("'unsafe-eval'" not in rule for rule in rules.values())
