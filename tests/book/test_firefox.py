"""The pages with most in them in another browser than Chromium: Firefox, over its own protocol (WebDriver BiDi)."""

import asyncio
import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from rendered import HTML, ROOT
from tornado.websocket import websocket_connect

PAGES = ["book/index", "notebooks/00_first_look", "notebooks/04_laundry_list"]
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
pytestmark = pytest.mark.skipif(FIREFOX is None, reason="no Firefox is installed")

# Nothing but this machine can be reached.
OFFLINE = """user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", 9);
user_pref("network.proxy.share_proxy_settings", true);
"""
DRAWN = """async () => {
    if (window.MathJax?.startup) await MathJax.startup.promise;
    const images = [...document.images];
    images.forEach(image => image.loading = "eager");
    await Promise.all(images.map(image => image.decode().catch(() => null)));
    const idle = [...document.querySelectorAll(".th-live")].filter(one => !("live" in one.dataset));
    const bad = [...images.filter(image => !image.naturalWidth), ...document.querySelectorAll("mjx-merror"), ...idle];
    return JSON.stringify({
        bad: bad.map(one => one.outerHTML.slice(0, 120)), live: document.querySelectorAll(".th-live").length,
        wide: document.documentElement.scrollWidth - innerWidth,
    });
}"""
ANSWERS = """async () => {
    [...document.querySelectorAll("button")].find(one => one.textContent.startsWith("Load the model")).click();
    const lab = document.querySelector(".th-lab"), rows = ".lab-answers tr[data-token]";
    while (lab.dataset.engine !== "live" || !lab.dataset.ms) await new Promise(done => setTimeout(done, 200));
    return JSON.stringify([...document.querySelectorAll(rows)].map(row => [row.dataset.token, row.dataset.chances]));
}"""


def run_apart(asking):
    """The result of a coroutine, at most four minutes later; in a thread, as Playwright keeps a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(asyncio.wait_for(asking, 240))).result()


async def asked(folder, address: str, script: str) -> tuple[object, list[str]]:
    """What a function of a page returns, as JSON, and the errors that the page has logged until then."""
    (folder / "user.js").write_text(OFFLINE)
    options = "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(folder)
    process = await asyncio.create_subprocess_exec(FIREFOX, *options, stderr=subprocess.PIPE)
    try:
        while not (place := re.search(rb"listening on (ws:\S+)", line := await process.stderr.readline())):
            assert line, "Firefox ended"
        socket = await websocket_connect(f"{place[1].decode()}/session", max_message_size=2**26)
        logged = []

        async def call(method: str, **params):
            await socket.write_message(json.dumps({"id": 1, "method": method, "params": params}))
            while "id" not in (said := json.loads(await socket.read_message())):
                entry = said["params"]
                logged.extend([entry["text"]] if entry.get("level") == "error" else [])
            assert said["type"] == "success", said
            return said["result"]

        await call("session.new", capabilities={})
        await call("session.subscribe", events=["log.entryAdded"])
        tab = (await call("browsingContext.getTree"))["contexts"][0]["context"]
        await call("browsingContext.navigate", context=tab, url=address, wait="complete")
        found = await call(
            "script.callFunction", functionDeclaration=script, target={"context": tab}, awaitPromise=True
        )
        assert found["type"] == "success", found
        return json.loads(found["result"]["value"]), logged
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
def firefox(tmp_path, address):
    def run(page: str, script: str):
        found, logged = run_apart(asked(tmp_path, f"{address}/{page}", script))
        assert not logged
        return found

    return run


@pytest.mark.parametrize("name", PAGES)
def test_a_page_draws_itself(firefox, name):
    found = firefox(f"{name}.html", DRAWN)
    assert found["live"] and not found["bad"] and found["wide"] <= 1


def test_the_lab_answers(firefox):
    if not (HTML / "_static" / "lab" / "model.json").is_file():
        pytest.skip("built without the model's file")
    (example, *_) = json.loads((ROOT / "book" / "lab.json").read_text(encoding="utf8"))["examples"]
    shown = {token: float(chances.split()[0]) for token, chances in firefox("book/lab.html", ANSWERS)}
    for token, chance in zip(example["next"][:2], example["chances"][0], strict=False):
        assert abs(shown[token] - chance / 1e4) < 1e-3
