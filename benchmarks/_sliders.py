"""One step of a slider: with a kernel behind it, and on a page without one."""

from __future__ import annotations

import sys
from pathlib import Path

import _common as common

# Draws every step at once: script and layout are timed, waiting for the screen is not.
STEPS = """
async ({figure, steps}) => {
  const [waiting, spent] = [[], []];
  window.requestAnimationFrame = draw => waiting.push(draw);
  const sliders = [...figure.querySelectorAll("input[type=range]")];
  for (let step = 0; step < steps; step++) {
    const slider = sliders[step % sliders.length];
    slider.value = Number(slider.min) + (Number(slider.max) - Number(slider.min)) * ((step * 37) % 101) / 100;
    const start = performance.now();
    slider.dispatchEvent(new Event("input"));
    waiting.splice(0).forEach(draw => draw(start));
    figure.getBoundingClientRect();
    spent.push(performance.now() - start);
    await new Promise(resume => setTimeout(resume));
  }
  return spent;
}
"""
# Steps as fast as the screen takes them: the time from one frame to the next.
FRAMES = """
({figure, steps}) => new Promise(resolve => {
  const slider = figure.querySelector("input[type=range]");
  const at = [];
  function step(now) {
    at.push(now);
    if (at.length > steps) return resolve(at.slice(1).map((time, i) => time - at[i]));
    slider.value = Number(slider.min) + (Number(slider.max) - Number(slider.min)) * (at.length % 50) / 50;
    slider.dispatchEvent(new Event("input"));
    requestAnimationFrame(step);
  }
  requestAnimationFrame(step);
})
"""


def prepared(name: str | None, n: int = 4):
    """A model, a run of a few prompts, a channel of the component the movers hear best, and who listens to it."""
    import torch

    import th_utils as th
    from th_utils.tasks import ioi

    torch.set_grad_enabled(False)
    model = th.load_model(name)
    weights = th.head_weights(model)
    circuit = th.find_circuit(model, n=32)
    movers, inhibitors = circuit["name mover"], circuit["S-inhibition"]
    best = th.component_scores(weights, "Q", movers).loudest(inhibitors)
    listeners = [head for head in movers if head[0] > best[0]] or [(weights.n_layers - 1, 0)]
    return model, th.run(model, ioi.generate(model, n, seed=0)), th.channel(weights, [best]), listeners


def with_kernel(name: str | None = None, lists: int = 56, passages: int = 5, tokens: int = 64) -> dict:
    """A channel turned for four prompts, and one turn of chapter 05's dial of edits."""
    from dataclasses import replace

    import torch

    import th_utils as th
    from th_utils.tasks import english, laundry_list

    model, base, dial, listeners = prepared(name)
    first, (n_layers, n_heads, *_) = min(dial.heads)[0], th.parts.shape(model)

    def channel_step():
        run = th.rerun_last(model, base, dial.set(3.0))
        return th.logit_difference(model, run), [run.pattern[layer, :, head] for layer, head in listeners]

    items = laundry_list.generate(model, lists, 5, seed=25)
    held = th.run(model, items, caches=first)
    text = english.passages(model, english.CHOOSE[:passages])
    length = min(tokens, int(text.end.min()) + 1)
    text = replace(text, tokens=text.tokens[:, :length], positions={"END": torch.full_like(text.end, length - 1)})
    text = th.run(model, text, "all", keep=first)
    scale = torch.full((n_heads, 1), 0.8)  # of what every head writes, and of its queries
    hooks = [(f"blocks.{layer}.attn.{point}", lambda value, hook: value * scale)
             for layer in range(first, n_layers) for point in ("hook_z", "hook_q")]  # fmt: skip

    def accuracy():
        return th.top1(model, th.rerun_last(model, held, hooks, start=first))

    def english_again():
        return th.rerun(model, text, hooks)

    edited = english_again()
    numbers = {"accuracy, %": 40.0, "top-1, %": 50.0, "English loss added, nats": 0.1}

    def drawing():
        states = {"start:\nmechanism = 0\nrest = 0": numbers, "now:\nmechanism = 1\nrest = 1": numbers}
        text = {"title": "The edit in two halves", "alt": "bars of what an edit gains and what it costs"}
        return th.views.compare(states, unit="", **text)._repr_mimebundle_()

    parts = {"channel, 4 prompts": channel_step, f"accuracy on {lists} lists, last token alone": accuracy,
             f"{passages} passages of {length} tokens through the edited layers": english_again,
             "their loss": lambda: th.run_loss(model, edited), "drawing": drawing}  # fmt: skip
    times = {name: common.timed(call) for name, call in parts.items()}
    names = list(parts)[1:]
    return {"channel": times.pop("channel, 4 prompts"), "dial": sum(times[n]["median"] for n in names), "of it": times}


def in_browser(name: str | None = None, steps: int = 200) -> dict | None:
    """The playground of chapter 00 in a headless Chromium: milliseconds a step. None where there is no browser."""
    sys.path.insert(0, str(Path(common.ROOT) / "tools"))
    from browser import NoBrowser, headless

    import th_utils as th

    model, base, dial, listeners = prepared(name)
    text = {"title": "the playground", "alt": "attention of heads to the tokens of a prompt"}
    html = th.live.channel_playground(model, base, dial, listeners, **text)._repr_mimebundle_()
    try:
        with headless() as browser:
            tab = browser.new_page()
            tab.set_content(f"<!DOCTYPE html><body>{html['text/html']}</body>")
            figure = tab.locator("figure[data-live]").element_handle()
            frames = tab.evaluate(FRAMES, {"figure": figure, "steps": steps})
            spent = sorted(tab.evaluate(STEPS, {"figure": figure, "steps": steps}))
    except NoBrowser as missing:
        print(f"    left out: {missing}", flush=True)
        return None
    return {
        "steps": steps, "heads": len(listeners), "tokens": int(base.end[0]) + 1,
        "median ms": round(spent[steps // 2], 2), "95% ms": round(spent[steps * 95 // 100], 2),
        "frame ms": common.summary(frames),
    }  # fmt: skip


def sliders() -> dict:
    return {"with kernel": common.apart("with_kernel"), "in browser": common.apart("in_browser")}
