"""The lab's numbers are those of torch: the whole model, its components, its tokenizer and what is stored of it."""

import json
import random

import numpy as np
import pytest
import torch
from lab_page import ATTENTION, IOI, LOG_PROBABILITY, PAGE, asked, turned
from rendered import ROOT
from test_browser import watched

import th_utils as th
from th_utils.tasks.prompts import encode

HARD = [
    IOI, "def f(x):\n\treturn  x**2  # naïve", " ", "\n\n\n",
    "Ünïcödé ☃ 👩‍👩‍👧 日本語 العربية", "1234567 3.14159 0x1F", "don't we'll I'VE", "a" * 200,
    "<|im_start|>user\nhi<|im_end|>",
    "e\u0301 \u00e9 \u200b \ufeff", "trailing space ", "MiXeD CaSe_snake-kebab", "http://a.b/c?d=e&f", "\u00a0x\u2003y",
]  # fmt: skip
LIST = "Today Ana needs to buy the lamp, the rope, and the coin. So far Ana has bought the coin. Ana still needs to"
SENTENCES = (IOI, LIST, "The", "import numpy as np\nx = np.")

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
            run = base if value is None else turned(model, weights, base, [(*component, "set", float(value))])
            chances = th.logits(model, run)[0].softmax(-1)
            ids = [int(encode(model.tokenizer, [token], False)[0][0, 0]) for token in example["next"]]
            assert abs(np.array(example["chances"][at]) / 1e4 - chances[ids].numpy()).max() < 1e-4
            for head, looks in zip(example["heads"], example["looks"][at], strict=True):
                layer, index = map(int, head.split("."))
                assert abs(np.array(looks) / 1e3 - run.pattern[layer, 0, index, -1].numpy()).max() < 1e-3
