"""The page of the lab as tests use it: load it, set it, read what it shows, and compare that with torch."""

import numpy as np
import pandas as pd
from rendered import HTML

import th_utils as th
from th_utils.tasks.prompts import Prompts, encode

PAGE, PARTS = "book/lab.html", HTML / "_static" / "lab"
LOG_PROBABILITY, ATTENTION = 1e-3, 1e-4  # how far the page may be from torch
IOI = "Then, Aaron and Ford went to the store. Ford gave a ring to"


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


def open_and_load(tab, url: str) -> None:
    tab.goto(url, wait_until="load")
    tab.get_by_role("button", name="Load the model").click()
    tab.locator(".th-lab[data-engine=live]").wait_for(timeout=120_000)
    settle(tab, 0)


def answers(tab) -> int:
    return int(tab.locator(".th-lab").get_attribute("data-answers") or 0)


def settle(tab, before: int) -> None:
    """Wait for an answer after the first `before`, until it is the one to what was asked last."""
    settled = tab.locator(".th-lab[data-settled][data-ms]:not([data-ms=''])")
    for _ in range(600):
        now = answers(tab)
        tab.wait_for_timeout(120)
        if now > before and answers(tab) == now and settled.count():
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
