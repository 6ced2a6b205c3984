"""Write `book/lab.json`: what the lab shows before the model is loaded, and what it knows of the book's findings.

    .venv/bin/python tools/lab.py

Roles of heads by `th.find_circuit`; the named components with their values in unedited prompts of either order; and,
for prompts that a rule chooses, the whole model's answers at many settings of the first component.
"""

import json
from pathlib import Path

import torch

import th_utils as th
from th_utils.models.registry import DEFAULT
from th_utils.tasks import ioi, laundry_list

OUT = Path(__file__).resolve().parents[1] / "book" / "lab.json"
DIAL = (20, 0, 0)
NAMED = {  # component -> what the chapters found of it, and what a reader meets at the ends of its slider
    DIAL: ("the message of chapters 00, 03, 04 and 05: whom to look at", ["before ‘and’", "after ‘and’"]),
    (20, 0, 3): ("of the same head, next in chapter 03, far behind", None),
    (20, 0, 5): ("of the same head, third axis of chapter 04's map", None),
    (19, 2, 7): ("of the other S-inhibition head", None),
    (19, 5, 1): ("second axis of chapter 04's map", None),
    (20, 1, 5): ("one of chapter 06's", None),
}
LIMIT, STEP = 100, 5  # of the slider; the settings between are not stored
LOOKERS = 3  # name movers, the strongest first
SHOWN = 6  # likeliest next tokens of a setting
ABOUT = 120  # prompts that the natural values are read from


def settings(own: float) -> list[float]:
    """Steps over the whole range, with the value as it is, none at all, and reversed."""
    return sorted({*range(-LIMIT, LIMIT + 1, STEP), 0.0, round(own, 4), round(-own, 4)})


def turned(model, base, dial, own: float) -> th.Run:
    """The same prompt at every setting, as one batch."""
    values = torch.tensor(settings(own))
    many = base.select([0] * len(values))
    return th.rerun_last(model, many, dial.set(values[:, None]))


def choose(model, dial, prompts, rivals) -> int:
    """The prompt on which the dial does most: the largest change of what the model says, right when left alone.

    Of those where reversing the message changes the likeliest token, if there are any.
    """
    base = th.run(model, prompts)
    own = dial.coordinates(base)
    before, after = (th.logits(model, run).softmax(-1) for run in (base, th.rerun_last(model, base, dial.scale(-1.0))))
    rows, right = torch.arange(len(prompts)), prompts.answer
    swing = before[rows, right] - after[rows, right]
    swing += after.gather(1, rivals).amax(1) - before.gather(1, rivals).amax(1)
    good = (before.argmax(-1) == right) & (own[:, 0].abs() > 5)
    flips = good & (after.gather(1, rivals).amax(1) > after[rows, right])
    return int(torch.where(flips if flips.any() else good, swing, -9.0).argmax())


def example(model, dial, movers, title: str, prompts, words: list[str]) -> dict:
    """One prompt at every setting: attention in thousandths, probabilities in ten thousandths."""
    base, length = th.run(model, prompts), int(prompts.end[0]) + 1  # the rest is padding
    own = float(dial.coordinates(base))
    runs = turned(model, base, dial, own)
    chances = torch.cat([th.logits(model, run).softmax(-1) for run in (base, runs)])
    ids = list(dict.fromkeys([int(th.tasks.prompts.word_id(model.tokenizer, word)) for word in words]
                             + chances.topk(SHOWN).indices.flatten().tolist()))  # fmt: skip
    rows = [[run.pattern[layer, :, head, 0, :length] for layer, head in movers] for run in (base, runs)]
    return {
        "title": title, "prompt": prompts.text[0], "dial": th.label(DIAL), "words": words,
        "tokens": ["BOS", *th.token_strings(model, prompts.tokens[0, 1:length])], "own": round(own, 4),
        "heads": [th.label(head) for head in movers], "next": [model.tokenizer.decode([i]) for i in ids],
        "settings": [None, *settings(own)],  # the first: nothing was changed
        "looks": (1e3 * torch.cat([torch.stack(one, 1) for one in rows])).round().int().tolist(),
        "chances": (1e4 * chances[:, ids]).round().int().tolist(),
    }  # fmt: skip


@torch.no_grad()
def main() -> None:
    model = th.load_model(DEFAULT)
    weights, circuit = th.head_weights(model), th.find_circuit(model)
    dial, movers = th.channel(weights, [DIAL]), circuit["name mover"][:LOOKERS]
    prompts = ioi.generate(model, ABOUT, seed=7)
    base = th.run(model, prompts)
    first = torch.tensor((prompts.table.order == "ABBA").to_numpy())
    channels = []
    for component, (says, ends) in NAMED.items():
        own = th.channel(weights, [component]).coordinates(base)[:, 0]
        ranges = [[round(float(x), 1) for x in values.quantile(torch.tensor([0.025, 0.5, 0.975]))]
                  for values in (own[first], own[~first])]  # fmt: skip
        channels.append({"name": th.label(component), "says": says, "ends": ends, "natural": ranges})
    lists = laundry_list.generate(model, 40, 3, seed=7)
    chosen = [choose(model, dial, prompts, prompts.distractor[:, None])]
    every = laundry_list.candidates(model, lists)
    chosen.append(choose(model, dial, lists, every[every != lists.answer[:, None]].view(len(lists), -1)))
    two, three = prompts.select([chosen[0]]), lists.select([chosen[1]])
    row = two.table.iloc[0]
    names = [row.IO, row.S] if row.order == "ABBA" else [row.S, row.IO]
    found = {
        "roles": {th.label(head): role for role, heads in circuit.roles.items() for head in heads},
        "channels": channels,
        "examples": [
            example(model, dial, movers, "Two names", two, names),
            example(model, dial, movers, "A list of three", three, list(three.table.iloc[0]["items"])),
        ],
        "limit": LIMIT,
    }  # fmt: skip
    OUT.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf8")
    print(OUT, OUT.stat().st_size, "bytes")
    print(found["roles"], channels, *(one["prompt"] for one in found["examples"]), sep="\n")


if __name__ == "__main__":
    main()
