"""One small random model for every kind of block, and what must hold of runs on it, each by another way.

References are transformers' own model on prompts without padding, and TransformerLens' own forward under hooks.
`tools/reach.py` asks the same of all families.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tiny_models
import torch
import transformers
from torch.nn.functional import cross_entropy

import th_utils as th
from th_utils.runs.hooks import POINTS
from th_utils.runs.trial import reach

CLOSE = 1e-3
LAYERS, MIDDLE = 3, 1
SIZES = {"num_hidden_layers": LAYERS, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64,
         "max_position_embeddings": 64}  # fmt: skip
GROUPED = SIZES | {"num_key_value_heads": 2, "head_dim": 8}
GPT2 = {"n_layer": LAYERS, "n_head": 4, "n_embd": 32, "n_positions": 64}
TYPES = ["sliding_attention", "full_attention", "sliding_attention"]
WINDOWS = GROUPED | {"sliding_window": 4, "layer_types": TYPES}

KINDS: dict[str, tuple[str, dict]] = {
    "plain": ("LlamaConfig", GROUPED),
    "biases, wide heads": ("LlamaConfig", GROUPED | {"attention_bias": True, "mlp_bias": True, "head_dim": 16}),
    "learned positions": ("GPT2Config", GPT2),
    "scores divided by the layer": ("GPT2Config", GPT2 | {"scale_attn_by_inverse_layer_idx": True}),
    "parallel": ("GPTNeoXConfig", SIZES | {"rotary_pct": 0.5}),
    "sequential": ("GPTNeoXConfig", SIZES | {"use_parallel_residual": False}),
    "windows": ("MistralConfig", GROUPED | {"sliding_window": 4}),
    "norms of queries and keys": ("Qwen3Config", GROUPED),
    "one norm of all queries, norms after": ("Olmo2Config", SIZES | {"num_key_value_heads": 2}),
    "norms after, caps, some windows": ("Gemma2Config", WINDOWS | {"final_logit_softcapping": 3.0,
                                                                    "attn_logit_softcapping": 4.0}),
    "two rotary bases": ("Gemma3TextConfig", WINDOWS),
    "norms of queries without a name": ("Llama4TextConfig", GROUPED | {"no_rope_layers": [1, 1, 0],
                                        "intermediate_size_mlp": 64, "num_local_experts": 4}),
    "multipliers": ("GraniteConfig", GROUPED | {"residual_multiplier": 0.5, "attention_multiplier": 0.2,
                                                "embedding_multiplier": 3.0, "logits_scaling": 2.0}),
    "layers without positions": ("SmolLM3Config", GROUPED | {"no_rope_layers": [1, 0, 1]}),
    "interleaved rotary": ("GlmConfig", GROUPED | {"partial_rotary_factor": 0.5, "pad_token_id": 1}),
    "ALiBi": ("BloomConfig", {"n_layer": LAYERS, "n_head": 4, "hidden_size": 32}),
    "ALiBi, sequential": ("FalconConfig", SIZES | {"alibi": True, "new_decoder_architecture": False,
                                                   "multi_query": False, "parallel_attn": False}),
    "one key for all heads": ("FalconConfig", SIZES | {"alibi": False, "new_decoder_architecture": False}),
    "parallel, one norm": ("PhiConfig", SIZES),
    "parallel, scaled logits": ("CohereConfig", GROUPED | {"logit_scale": 0.25}),
    "experts": ("MixtralConfig", GROUPED | {"num_local_experts": 4, "sliding_window": None}),
    "local attention of transformers": ("GPTNeoConfig", {"num_layers": LAYERS, "num_heads": 4, "hidden_size": 32,
                                                          "window_size": 4, "max_position_embeddings": 64,
                                                          "attention_types": [[["global", "local", "global"], 1]]}),
    "rotary attention of transformers": ("GPTJConfig", GPT2 | {"rotary_dim": 4}),
    "a decoder inside": ("OPTConfig", {name: n for name, n in SIZES.items() if name != "intermediate_size"}
                         | {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    "a gate": ("AfmoeConfig", WINDOWS | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}),
    "one norm for embedding and end": ("NanoChatConfig", SIZES | {"num_key_value_heads": 2}),
    "sinks": ("GptOssConfig", WINDOWS | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "low-rank keys": ("DeepseekV3Config", SIZES | {"num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8,
                                                   "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8,
                                                   "n_routed_experts": 4, "first_k_dense_replace": 3, "n_group": 1,
                                                   "topk_group": 1, "num_experts_per_tok": 2}),
    "layers scaled as a whole": ("Gemma4TextConfig", WINDOWS | {"per_layer_config": {}}),
    "states": ("MambaConfig", {"num_hidden_layers": LAYERS, "hidden_size": 32, "state_size": 4}),
}  # fmt: skip


def write(folder: Path, config: str | type, options: dict) -> Path:
    """Write a model with random weights, and the tokenizer of the tiny models."""
    config = getattr(transformers, config) if isinstance(config, str) else config
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_models.tiny_folder("tiny-gpt2"))
    tokens = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    made = config(**tokens | options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(made, dtype=torch.float32)
    tiny_models._draw_weights(model, torch.Generator().manual_seed(0))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def own_model(folder: Path):
    """The model as transformers has it."""
    own = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    return own.eval().requires_grad_(False)


@dataclass
class Case:
    """A loaded model, the same model as transformers has it, and prompts of several lengths."""

    model: object
    own: torch.nn.Module

    @classmethod
    def load(cls, folder: Path, fold: bool) -> Case:
        return cls(th.load_model(folder, fold=fold), own_model(folder))

    @cached_property
    def prompts(self) -> th.Prompts:
        made = th.tasks.ioi.generate(self.model, 5, seed=1)
        assert len(set(made.end.tolist())) > 1, "the prompts must be of several lengths"
        return made

    @cached_property
    def clean(self) -> th.Run:
        return th.run(self.model, self.prompts, "all")

    @cached_property
    def texts(self) -> list[torch.Tensor]:
        return [row[: end + 1][None] for row, end in zip(self.prompts.tokens, self.prompts.end.tolist(), strict=True)]

    @cached_property
    def own_logits(self) -> torch.Tensor:
        return torch.cat([self.own(text).logits[:, -1] for text in self.texts])

    def log_p(self, run: th.Run) -> torch.Tensor:
        return th.logits(self.model, run).log_softmax(-1)

    def hooked(self, *hooks) -> torch.Tensor:
        """Log-probabilities at END of TransformerLens' own forward."""
        out = self.model.run_with_hooks(self.prompts.tokens, fwd_hooks=list(hooks))
        return self.at(out, self.prompts.end).log_softmax(-1)

    def at(self, value: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        return value[torch.arange(len(value)), where]


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """How far two results are apart; infinite where one is no number."""
    found = float((one - other).abs().max())
    return found if found == found else torch.inf


def change(value, hook=None):
    """What hooks do in these checks."""
    return value * 0.6 + 0.05 * value.flip(-1)


def only_at(where: torch.Tensor, do, axis: int = 1):
    """A hook of whole runs that changes one position per prompt."""

    def hook(value, hook):
        value, rows = value.clone(), torch.arange(len(where))
        there = value.movedim(axis, 1)
        there[rows, where] = do(there[rows, where])
        return value

    return hook


def writable(case: Case) -> list[str]:
    """The points where hooks act."""
    return [point for point in POINTS if reach(case.model).patterns or not point.endswith("pattern")]


# Each check returns gaps, which must all be small.


def runs(case: Case) -> list[float]:
    """Log-probabilities of runs, kept at END and everywhere, are transformers' own without padding."""
    own = case.own_logits.log_softmax(-1)
    return [gap(case.log_p(run), own) for run in (case.clean, th.run(case.model, case.prompts, batch_size=2))]


def losses(case: Case) -> list[float]:
    """The loss of texts is transformers' own."""
    own = [cross_entropy(case.own(text).logits[0, :-1], text[0, 1:]) for text in case.texts]
    return [gap(th.text_loss(case.model, case.prompts), torch.stack(own))]


def last_tokens(case: Case) -> list[float]:
    """A re-run of END under a hook is TransformerLens' own forward whose hook acts at END alone, and hooks act."""
    found = []
    for layer in range(LAYERS):
        for point in writable(case) if layer == MIDDLE else ("attn.hook_q", "attn.hook_z"):
            name, axis = f"blocks.{layer}.{point}", 2 if point.endswith("pattern") else 1
            ours = case.log_p(th.rerun_last(case.model, case.clean, [(name, change)]))
            found.append(gap(ours, case.hooked((name, only_at(case.prompts.end, change, axis)))))
            if not gap(ours, case.log_p(case.clean)) > CLOSE / 10:
                raise AssertionError(f"the hook at {name} does nothing")
    return found


def hooks(case: Case) -> list[float]:
    """The same hooks act the same in runs and in TransformerLens' own forward, given or put on the model."""
    found = []
    for point in writable(case):
        hook = (f"blocks.{MIDDLE}.{point}", change)
        own = case.hooked(hook)
        found.append(gap(case.log_p(th.run(case.model, case.prompts, hooks=[hook])), own))
        case.model.add_hook(*hook)
        try:
            found.append(gap(case.log_p(th.run(case.model, case.prompts)), own))
        finally:
            case.model.reset_hooks()

    def shift(_, args, out):
        return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

    handle = case.model.blocks[MIDDLE].register_forward_hook(shift)
    try:
        found.append(gap(case.log_p(th.run(case.model, case.prompts)), case.hooked()))
    finally:
        handle.remove()
    return found


def kept_layers(case: Case) -> list[float]:
    """Going on from a kept layer under a hook is the whole run under it."""
    hook = [(f"blocks.{MIDDLE}.attn.hook_z", change)]
    base, whole = th.run(case.model, case.prompts, keep=MIDDLE), th.run(case.model, case.prompts, hooks=hook)
    return [gap(case.log_p(th.rerun(case.model, base, hook)), case.log_p(whole))]


def edits(case: Case) -> list[float]:
    """Heads and queries scaled in the weights are heads and queries scaled by hooks, in runs and re-runs."""
    weights, base, head = th.head_weights(case.model), th.run(case.model, case.prompts, keep=MIDDLE), (MIDDLE, 2)

    def scaled(value, hook):
        value = value.clone()
        value[:, :, head[1]] *= 0.3
        return value

    clean, found = case.log_p(case.clean), []  # before the edits
    for make, point in ((th.scale_head, "z"), (th.scale_query, "q")):
        own = case.hooked((f"blocks.{MIDDLE}.attn.hook_{point}", scaled))
        try:
            with th.edited(case.model, make(weights, head, 0.3)):
                found.append(gap(ours := case.log_p(th.run(case.model, case.prompts)), own))
                if not gap(ours, clean) > CLOSE / 10:
                    raise AssertionError(f"{make.__name__} does nothing")
                found.append(gap(case.log_p(th.rerun(case.model, base)), own))
        except ValueError as error:
            if point == "z" or "normalises its queries" not in str(error):
                raise
    return found


def patches(case: Case) -> list[float]:
    """Edges into queries, keys and values are what a forward gives in which that input alone is changed."""
    model, end, far, found = case.model, case.prompts.end, case.prompts.at("S2"), []
    (layer, head), (before, h), new = (LAYERS - 1, 3), (0, 1), change(case.clean.z)
    for via, read_at, where in (("q", end, end), ("q", end - 1, end - 1), ("k", end, end - 2), ("k", end, far),
                                ("v", end, end - 2), ("v", end, far)):  # fmt: skip
        ours = th.patch_edges(
            model, case.clean, new, th.Edge((layer, head), via, read_at, where), [(before, h), (1, 0)]
        )
        seen: dict[str, torch.Tensor] = {}

        def look(name, at=None, seen=seen):
            def noted(value, hook):
                seen[name] = value if at is None else case.at(value, at)

            return noted

        def other_head(z, where=where):
            z = z.clone()
            z[:, h] = case.at(new[before], where)[:, h]
            return z

        mlp, out, z = (f"blocks.{before}.{point}" for point in ("hook_mlp_out", "hook_resid_post", "attn.hook_z"))
        reads, changed = f"blocks.{layer}.hook_resid_pre", f"blocks.{layer}.attn.hook_{via}"
        case.hooked((mlp, look("mlp")), (out, look("clean", where)))
        case.hooked((z, only_at(where, other_head)), (mlp, lambda _, hook, seen=seen: seen["mlp"]),
                    (out, look("new", where)))  # fmt: skip
        case.hooked((reads, only_at(where, lambda x, seen=seen: x + seen["new"] - seen["clean"])),
                    (changed, look("input", where)))  # fmt: skip
        case.hooked((changed, only_at(where, lambda _, seen=seen: seen["input"])),
                    (f"blocks.{layer}.attn.hook_pattern", look("pattern")),
                    (f"blocks.{layer}.attn.hook_z", look("z", read_at)))  # fmt: skip
        found.append(gap(ours.z[0], seen["z"][:, head]))
        found.append(gap(ours.pattern[0], case.at(seen["pattern"].transpose(1, 2), read_at)[:, head]))
        if where is not far and not gap(ours.z[0], ours.clean_z) > CLOSE / 10:
            raise AssertionError(f"patching {via} does nothing")
    return found


def attribution(case: Case) -> list[float]:
    """Contributions add up to transformers' own logit difference, before a soft cap."""
    logits, cap = case.own_logits, getattr(case.own.config, "final_logit_softcapping", None)
    logits = logits if cap is None else cap * torch.atanh(logits / cap)
    own = case.at(logits, case.prompts.answer) - case.at(logits, case.prompts.distractor)
    return [gap(th.direct_logit_attribution(case.model, case.clean).total, own) / max(1.0, float(own.abs().max()))]


def gradients(case: Case) -> list[float]:
    """The gradient to a hook's number is that of TransformerLens' own forward."""
    model, prompts, name = case.model, case.prompts, f"blocks.{MIDDLE}.attn.hook_z"

    def slope(log_p) -> torch.Tensor:
        with torch.enable_grad():
            scale = torch.tensor(0.8, requires_grad=True)
            return torch.autograd.grad(case.at(log_p(lambda z: scale * z), prompts.answer).sum(), scale)[0]

    last = slope(lambda do: case.log_p(th.rerun_last(model, case.clean, [(name, lambda z, hook: do(z))])))
    whole = slope(lambda do: case.log_p(th.run(model, prompts, hooks=[(name, lambda z, hook: do(z))])))
    own = slope(lambda do: case.hooked((name, lambda z, hook: do(z))))
    own_last = slope(lambda do: case.hooked((name, only_at(prompts.end, do))))
    return [float(abs(ours - theirs) / (1 + abs(theirs))) for ours, theirs in ((last, own_last), (whole, own))]


CHECKS = (runs, losses, last_tokens, hooks, kept_layers, edits, patches, attribution, gradients)


@torch.no_grad()
def verdict(folder: Path, fold: bool) -> dict[str, str]:
    """Say of a model in a folder: right, refused and why, not loaded by TransformerLens and why, or wrong in what."""
    try:
        case = Case.load(folder, fold)
        found = reach(case.model)
    except Exception as error:
        kind = "not loaded" if str(error).startswith("TransformerLens does not load") else "refused"
        return {"verdict": kind if isinstance(error, ValueError) else "wrong", "why": said(error)}
    wrong = []
    for check in CHECKS:
        try:
            if not max(gaps := check(case)) < CLOSE:
                wrong.append(f"{check.__name__} by {max(gaps):.1g}")
        except Exception as error:
            wrong.append(f"{check.__name__}: {said(error)}")
    if wrong:
        return {"verdict": "wrong", "why": "; ".join(wrong)}
    return {"verdict": "right", "why": "" if found.patterns else "attention patterns can be read, not changed"}


def said(error: Exception) -> str:
    """An error as a reader sees it, its type where that is not the usual one."""
    return f"{'' if isinstance(error, ValueError) else type(error).__name__ + ': '}{' '.join(str(error).split())}"
