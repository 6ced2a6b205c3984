"""The lab and the network: what is fetched, what is refused, and what stays where the model cannot run."""

import json

import pytest
from lab_page import PAGE, PARTS, open_and_load, shown_chances
from rendered import HTML, ROOT
from test_browser import watched


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


def test_a_chapter_without_dials_opens_the_stored_list_with_its_message_doubled(browser, address):
    with watched(browser, address) as (tab, trouble):
        tab.goto(f"{address}/notebooks/05_weight_edits.html", wait_until="load")
        tab.get_by_role("link", name="the lab", exact=True).and_(tab.locator("article a")).click()
        example = json.loads((ROOT / "book" / "lab.json").read_text(encoding="utf8"))["examples"][1]
        assert tab.get_by_label("Prompt", exact=True).input_value() == example["prompt"]
        at = min(example["settings"][1:], key=lambda value: abs(value - 2 * example["own"]))
        row = example["settings"].index(at)
        for token, pair in shown_chances(tab).items():
            i = example["next"].index(token)
            assert pair == tuple(example["chances"][one][i] / 1e4 for one in (0, row))
        assert not trouble


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


@pytest.mark.parametrize("state", ["", "#prompt=My+own+words&dial=20.0.0:scale:-1&dial=20.0.3"])
def test_a_page_on_a_disk_keeps_the_stored_answers(browser, state):
    with watched(browser, HTML.as_uri()) as (tab, trouble):
        tab.goto(f"{HTML.as_uri()}/{PAGE}{state}", wait_until="load")
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


def test_the_browser_refuses_the_worker_what_is_outside_the_book(browser, address):
    """A worker made as the lab makes its own: the page's policy holds in it."""
    with watched(browser, address) as (tab, trouble):
        tab.goto(f"{address}/{PAGE}", wait_until="load")
        heard = tab.evaluate("""() => new Promise(done => {
            const told = "event => postMessage(event.effectiveDirective)";
            const script = `addEventListener("securitypolicyviolation", ${told});` +
                "fetch('https://example.org/a').then(() => postMessage('came'), () => postMessage('refused'));";
            const source = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
            const worker = new Worker(source, { type: "module" });
            const heard = [];
            worker.onmessage = event => { if (heard.push(event.data) === 2) done(heard.sort()); };
        })""")
        assert heard == ["connect-src", "refused"]
        assert not [line for line in trouble if line.startswith("asked for")]


def test_only_this_page_may_compile_webassembly(soups):
    policy = "meta[http-equiv=Content-Security-Policy]"
    rules = {page: soup.select_one(policy)["content"] for page, soup in soups.items()}
    assert [page for page, rule in rules.items() if "wasm-unsafe-eval" in rule or "blob:" in rule] == ["book/lab"]
    assert all("'unsafe-eval'" not in rule for rule in rules.values())
