"""Runs, END re-runs and patching: beside TransformerLens, and beside the last commit that computed blocks by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import _common as common

FORMER = "e9543ce"  # `th_utils` with equations of its own, right for one kind of block


def ready(n: int = 64) -> tuple:
    """The `th_utils` of this process, the default model, prompts, and an edit in layer 20."""
    import torch

    import th_utils as th
    from th_utils.tasks import ioi

    torch.set_grad_enabled(False)
    model = th.load_model()
    return th, model, ioi.generate(model, n, seed=0), [("blocks.20.attn.hook_z", lambda z, hook: z * 0.5)]


def calls() -> dict[str, float]:
    """Seconds of each call: names that both commits have."""
    th, model, prompts, half = ready()
    new = th.run(model, th.tasks.ioi.corrupt(model, prompts, "ABC"), "all")
    ends, base = th.run(model, prompts), th.run(model, prompts, "all")
    reader = (23, 0)
    cases = {
        "run, END kept": lambda: th.run(model, prompts),
        "run, all positions kept": lambda: th.run(model, prompts, "all"),
        "END re-run from layer 20": lambda: th.rerun_last(model, ends, half),
        "all senders into a query": lambda: th.patch_edges(model, base, new, th.Edge(reader, "q")),
        "all senders into a key": lambda: th.patch_edges(model, base, new, th.Edge(reader, "k", source="IO")),
        "all senders into a value": lambda: th.patch_edges(model, base, new, th.Edge(reader, "v", source="IO")),
    }
    return {name: common.timed(call)["median"] for name, call in cases.items()}


def beside_former(rounds: int = 3) -> dict:
    """Both, in processes in turn, from a checkout of the former commit beside this one."""
    with tempfile.TemporaryDirectory() as folder:
        former = Path(folder) / "former"
        git = ["git", "-C", str(common.ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", str(former), FORMER], check=True, capture_output=True)
        try:
            found = [{side: _times(root) for side, root in (("then", former), ("now", common.ROOT))}
                     for _ in range(rounds)]  # fmt: skip
        finally:
            subprocess.run([*git, "remove", "--force", str(former)], check=True, capture_output=True)
    return {name: {"then": common.summary([one["then"][name] for one in found]),
                   "now": common.summary([one["now"][name] for one in found]),
                   "ratio": common.summary([one["now"][name] / one["then"][name] for one in found])}
            for name in found[0]["now"]}  # fmt: skip


def _times(root: Path) -> dict[str, float]:
    env = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__], cwd=root, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def interchanges(th, model, prompts, layer: int) -> tuple:
    """Calls with TransformerLens' tool and with ours: a random direction of attention's output at END, exchanged."""
    import torch
    from transformer_lens.tools.analysis.interchange import SubspaceInterchange, intervened_logits, random_basis

    other = th.run(model, th.tasks.ioi.corrupt(model, prompts, "ABC"))
    source = th.laws.attention_write(model, layer, other.z[layer])[:, 0]
    swap = SubspaceInterchange(random_basis(th.parts.shape(model).d_model, 1, seed=0))
    base, rows, name = th.run(model, prompts), torch.arange(len(prompts)), f"blocks.{layer}.hook_attn_out"

    def lens():
        def at_end(tokens):
            return model(tokens)[rows, prompts.end]

        return intervened_logits(model, name, swap, prompts.tokens, source, at_end, positions=prompts.end)

    def ours():
        put = (name, lambda x, hook: swap(x[:, 0], source)[:, None])
        return th.logits(model, th.rerun_last(model, base, [put]))

    return lens, ours


def beside_transformer_lens(repeats: int = 5) -> dict:
    """A run beside `run_with_cache` of the same values, edits in whole passes of both, and its interchange tool."""
    th, model, prompts, half = ready()
    points = ("hook_resid_pre", "attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_z", "attn.hook_pattern")
    kept = th.run(model, prompts, keep=20)
    pairs = {
        "run, all positions kept": (
            lambda: model.run_with_cache(prompts.tokens, names_filter=lambda name: name.endswith(points)),
            lambda: th.run(model, prompts, "all"),
        ),
        "re-run from layer 20, all positions": (
            lambda: model.run_with_hooks(prompts.tokens, fwd_hooks=half),
            lambda: th.rerun(model, kept, half),
        ),
        "interchange of one direction at END, layer 20": interchanges(th, model, prompts, 20),
    }
    return {name: common.pairs(*both, repeats) for name, both in pairs.items()}


def engine() -> dict:
    return {"former": beside_former(), "lens": common.apart("beside_transformer_lens")}


if __name__ == "__main__":
    print(json.dumps(calls()))
