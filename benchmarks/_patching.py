"""Path patching against one hooked forward pass per head, and interventions at END against whole hooked passes."""

from __future__ import annotations

from dataclasses import replace

import _common as common
import torch

import th_utils as th
from th_utils.tasks import Prompts, ioi


def hooked_query(model, tokens, end, kept: dict, new_z: torch.Tensor, sender, receiver) -> torch.Tensor:
    """The usual way: one forward pass in which one head writes its new output at END and all else is frozen.

    `kept` holds the clean `hook_z` and `hook_mlp_out` of every layer, `new_z` [layers, heads, batch, d_head] the new
    outputs at END. Returns the receiver's query at END.
    """
    rows, found = torch.arange(len(end)), []

    def frozen(name: str):
        return lambda x, hook: kept[name]

    def sends(z, hook):
        z = kept[f"blocks.{sender[0]}.attn.hook_z"].clone()
        z[rows, end, sender[1]] = new_z[sender]
        return z

    hooks = [(f"blocks.{sender[0]}.attn.hook_z", sends), (f"blocks.{sender[0]}.hook_mlp_out",
                                                          frozen(f"blocks.{sender[0]}.hook_mlp_out"))]  # fmt: skip
    for layer in range(sender[0] + 1, receiver[0]):
        hooks += [(name, frozen(name)) for name in (f"blocks.{layer}.attn.hook_z", f"blocks.{layer}.hook_mlp_out")]
    hooks.append((f"blocks.{receiver[0]}.attn.hook_q", lambda q, hook: found.append(q[rows, end, receiver[1]])))
    model.run_with_hooks(tokens, fwd_hooks=hooks)
    return found[0]


def hooked_pattern(model, tokens, end, query: torch.Tensor, receiver) -> torch.Tensor:
    """A second pass, clean but for the receiver's query at END: its attention from there, [batch, seq]."""
    rows, found = torch.arange(len(end)), []

    def put(q, hook):
        q = q.clone()
        q[rows, end, receiver[1]] = query
        return q

    layer = f"blocks.{receiver[0]}.attn"
    look = (f"{layer}.hook_pattern", lambda p, hook: found.append(p[rows, receiver[1], end]))
    model.run_with_hooks(tokens, fwd_hooks=[(f"{layer}.hook_q", put), look])
    return found[0]


def path_patching(name: str | None = None, n: int = 32, sample: int = 3) -> dict:
    """All earlier heads into one query. The loop is timed on heads spread over the layers, each in turn with ours."""
    torch.set_grad_enabled(False)
    model = th.load_model(name)
    prompts = ioi.generate(model, n, seed=0, templates=[0])
    clean, new = th.run(model, prompts), th.run(model, ioi.corrupt(model, prompts, "ABC"))
    receiver = max(th.find_circuit(model, n=n)["name mover"])
    _, kept = model.run_with_cache(prompts.tokens, names_filter=lambda name: name.endswith(("hook_z", "hook_mlp_out")))

    def ours():
        return th.patch_edges(model, clean, new, th.Edge(receiver))

    found = ours()
    senders, new_z = found.senders, new.at().z
    tried = senders[:: max(1, len(senders) // sample)][:sample]
    ratios, slow, fast, wrong = [], [], [], 0.0
    for sender in tried:
        query = hooked_query(model, prompts.tokens, prompts.end, kept, new_z, sender, receiver)
        pattern = hooked_pattern(model, prompts.tokens, prompts.end, query, receiver)
        wrong = max(wrong, float((pattern - found.pattern[senders.index(sender)]).abs().max()))
        slow.append(
            common.once(
                lambda sender=sender: hooked_query(model, prompts.tokens, prompts.end, kept, new_z, sender, receiver)
            )
        )
        fast.append(common.once(ours))
        ratios.append(slow[-1] * len(senders) / fast[-1])
    if wrong > 1e-4:
        raise RuntimeError(f"both ways differ by {wrong:.1e} in attention: one of them is wrong")
    return {
        "prompts": n, "tokens": prompts.tokens.shape[1], "senders": len(senders), "receiver": th.label(receiver),
        "one pass": common.summary(slow), "ours": common.summary(fast), "ratio": common.summary(ratios),
        "largest difference": float(f"{wrong:.1e}"),
    }  # fmt: skip


def of_length(prompts: Prompts, length: int) -> Prompts:
    """The same prompts with their first token repeated in front until they have `length` tokens."""
    more = max(length - prompts.tokens.shape[1], 0)
    tokens = torch.cat([prompts.tokens[:, :1].expand(-1, more), prompts.tokens], 1)
    return replace(prompts, tokens=tokens, positions={"END": prompts.end + more})


def interventions(name: str | None = None, n: int = 32, lengths=(15, 30, 60, 120), repeats: int = 3) -> dict:
    """One component of an S-inhibition head set to zero at END: whole hooked passes, and the last token alone."""
    torch.set_grad_enabled(False)
    model = th.load_model(name)
    short = ioi.generate(model, n, seed=0, templates=[0])
    head = max(th.find_circuit(model, n=n)["S-inhibition"])
    dial, result = th.channel(th.head_weights(model), [(*head, 0)]), {}
    for length in lengths:
        prompts = of_length(short, length)
        clean, rows = th.run(model, prompts), torch.arange(n)

        def whole(prompts=prompts, rows=rows):
            logits = model.run_with_hooks(prompts.tokens, fwd_hooks=dial.scale(0.0, at=prompts.end))[rows, prompts.end]
            return logits[rows, prompts.answer] - logits[rows, prompts.distractor]

        def last(prompts=prompts, clean=clean):
            return th.logit_difference(model, th.rerun_last(model, clean, dial.scale(0.0)))

        torch.testing.assert_close(whole(), last(), atol=1e-3, rtol=1e-3)
        result[str(prompts.tokens.shape[1])] = common.pairs(whole, last, repeats)
    return {"prompts": n, "head": th.label(head), "layers": th.parts.shape(model).layers, "by tokens": result}


def patching() -> dict:
    return {"paths": common.apart("path_patching"), "interventions": common.apart("interventions")}
