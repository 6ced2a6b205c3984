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


BENCHMARKS = {f.__name__: f for f in (import_time, warm_load, composition, last_token, path_patching)}

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
