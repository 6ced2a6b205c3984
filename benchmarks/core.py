"""Times and peak memory of the core, each in a process of its own: `make bench`, or `python benchmarks/core.py [NAME]`.

Prints one table. Ratios are taken in one process, medians of repeated pairs, so that a busy machine slows both sides.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time


def seconds(function, repeats: int = 5) -> float:
    """Median wall time of a call, after one call to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)


def import_time() -> None:
    start = time.perf_counter()
    import th_utils as th

    print(f"import th_utils: {time.perf_counter() - start:.3f} s")
    import torch  # noqa: F401

    start = time.perf_counter()
    th.decompose_ov  # noqa: B018
    print(f"first use of the maths, beyond torch: {time.perf_counter() - start:.3f} s")


def warm_load() -> None:
    import transformer_lens.model_bridge  # noqa: F401
    from transformers import AutoModelForCausalLM  # noqa: F401

    import th_utils as th

    th.models.load_model("tiny-llama")  # everything imported
    start = time.perf_counter()
    th.load_model()
    print(
        f"warm load of the default model, after imports: {time.perf_counter() - start:.2f} s, peak {peak_mb():.0f} MB"
    )


def composition() -> None:
    import torch

    import th_utils as th

    torch.set_grad_enabled(False)
    weights = th.head_weights(th.load_model())
    before = peak_mb()
    print(f"SVD of all heads: {seconds(lambda: th.decompose_ov(weights)):.2f} s")
    ov = th.decompose_ov(weights)
    for mode in "QKV":
        took = seconds(lambda mode=mode: th.component_scores(weights, ov, mode), 3)
        count = ov.write[..., 0].numel()
        print(f"component scores, mode {mode}, {count} components into {len(weights.heads)} heads: {took:.2f} s")
    print(f"head scores: {seconds(lambda: th.head_scores(weights, 'Q'), 3):.2f} s")
    print(
        f"peak memory {peak_mb():.0f} MB, of which {before:.0f} MB before the first score (PyTorch, libraries, model)"
    )


def last_token() -> None:
    import torch

    import th_utils as th
    from th_utils.tasks import Prompts, ioi

    torch.set_grad_enabled(False)
    model = th.load_model()
    base = ioi.generate(model, 32, seed=0, templates=[0])
    weights = th.head_weights(model)
    circuit = th.find_circuit(model, weights, n=32)
    dial = th.channel(weights, th.decompose_ov(weights), [(*circuit["S-inhibition"][0], 0)])
    for length in (16, 32, 64, 128):
        filler = length - base.tokens.shape[1]
        tokens = torch.cat([base.tokens[:, :1].expand(-1, max(filler, 0) + 1), base.tokens[:, 1:]], 1)
        prompts = Prompts(
            tokens, base.answer, base.distractor, {"END": base.end + max(filler, 0)}, base.text, base.table
        )
        clean = th.run(model, prompts)
        hooks = dial.zero(at=prompts.end)

        def full(tokens=tokens, hooks=hooks):
            return model.run_with_hooks(tokens, fwd_hooks=hooks)

        def last(clean=clean, prompts=prompts):
            return th.logit_difference(model, th.rerun_last(model, clean, dial.zero()), prompts)

        slow, fast = seconds(full, 3), seconds(last, 3)
        ratio = f"hooked forward {slow:.2f} s, last token {fast * 1e3:.0f} ms, {slow / fast:.0f} times"
        print(f"{tokens.shape[1]:4d} tokens, 32 prompts: {ratio}")


def path_patching() -> None:
    import torch

    import th_utils as th
    from th_utils.tasks import ioi

    torch.set_grad_enabled(False)
    model = th.load_model()
    weights = th.head_weights(model)
    prompts = ioi.generate(model, 32, seed=0, templates=[0])
    clean, new = th.run(model, prompts), th.run(model, ioi.corrupt(model, prompts, "ABC"))
    mover = th.find_circuit(model, weights, n=32)["name mover"][0]
    senders = th.earlier_heads(weights, mover)
    fast = seconds(lambda: th.patch_edges(model, weights, clean, new, mover, "q"), 3)
    forward = seconds(lambda: model(prompts.tokens), 3)
    print(
        f"all {len(senders)} senders into one query, 32 prompts: {fast:.2f} s; one forward pass per sender: "
        f"{forward * len(senders):.0f} s ({forward:.2f} s each), {forward * len(senders) / fast:.0f} times"
    )


def edits_and_traversal() -> None:
    from functools import partial

    import torch

    import th_utils as th
    from th_utils.tasks import english, laundry_list

    model = th.load_model()
    weights, first = th.head_weights(model), model.cfg.n_layers * 2 // 3
    prompts = laundry_list.generate(model, 32, 5)
    base = th.run(model, prompts, keep=first)
    ones = torch.ones(2, weights.n_layers, weights.n_heads)
    halved = torch.where(torch.arange(weights.n_layers)[:, None] >= first, 0.5, ones)
    hooks = th.search.scale_heads(halved, first)
    whole = seconds(lambda: th.run(model, prompts), 3)
    late = seconds(lambda: th.rerun(model, base, hooks), 3)
    print(f"edit of layers {first} on, 32 prompts of 5 items: {late:.2f} s of {whole:.2f} s for a whole run")
    target = th.channel(weights, th.decompose_ov(weights), [(first, 0, k) for k in range(3)])
    reader, spots = (first + 4, 0), laundry_list.first_mentions(prompts)
    points = th.traversal.grid(10.0, 3, 3)
    took = seconds(lambda: th.traverse(model, base, target, points, [reader], spots), 3)
    print(f"{len(points)} points of a channel x 32 prompts: {took:.2f} s, {1e3 * took / len(points) / 32:.2f} ms each")
    text = th.run(model, english.passages(model, ["moby", "darwin"]), "all", keep=first)
    late_only = torch.zeros_like(ones, dtype=torch.bool)
    late_only[:, first:] = True
    step = partial(
        th.fit_scales, model, partial(th.search.scale_heads, first=first), ones, [(prompts, base)], text,
        allowed=late_only, steps=1,
    )  # fmt: skip
    print(f"one step of fit_scales, 32 prompts and 2 passages: {seconds(step, 3):.2f} s")


BENCHMARKS = {
    f.__name__: f for f in (import_time, warm_load, composition, last_token, path_patching, edits_and_traversal)
}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        BENCHMARKS[sys.argv[1]]()
    else:
        for name in BENCHMARKS:
            print(f"{name.replace('_', ' ')}", flush=True)
            result = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True)
            print("".join(f"    {line}\n" for line in result.stdout.splitlines()), end="", flush=True)
            if result.returncode:
                sys.exit(f"error: {name} failed: {(result.stderr.strip().splitlines() or ['no message'])[-1]}")
