"""A good call of every public function, and for each argument what to spoil it with (see `inputs`)."""

import dataclasses
import functools

import torch
from inputs import Arg, as_is, choice, component, flag, floats, head, heads, index, real, records, whole

import th_utils as th
from th_utils import (
    bridge,
    circuit,
    composition,
    decomposition,
    edits,
    faithfulness,
    geometry,
    outputs,
    patching,
    playground,
    prose,
    runs,
    search,
    stats,
    traversal,
    weights,
)  # fmt: skip
from th_utils.tasks import colored_objects, english, facts, ioi, laundry_list, prompts


class World:
    """One tiny model and everything that the functions need from it."""

    def __init__(self, load, name: str):
        self.model = model = load(name)
        self.other = load("tiny-neox" if name == "tiny-llama" else "tiny-llama")
        self.weights = th.head_weights(model)
        self.ov, self.qk = th.decompose_ov(self.weights), th.decompose_qk(self.weights)
        self.prompts = ioi.generate(model, 5, seed=1)
        self.clean = th.run(model, self.prompts, "all", keep=1)
        self.end = th.run(model, self.prompts)
        corrupted = ioi.corrupt(model, self.prompts, "ABC")
        self.new = th.run(model, corrupted, "all")
        self.items = laundry_list.generate(model, 5, 3)
        self.things = colored_objects.generate(model, 4)
        self.listed = th.run(model, self.items, "all")
        self.text = english.passages(model, ["water", "bicycle"])
        self.text = self.text if len(self.text.tokens[0]) < 40 else self.text
        self.target = th.channel(self.weights, self.ov, [(0, 1, 0), (1, 2, 3)])
        self.scores = th.component_scores(self.weights, self.ov, "Q", [(2, 0), (3, 1)])
        self.whole = th.head_scores(self.weights, "Q", [(2, 0), (3, 1)])
        self.vocab = bridge.unembedding(model)[0].shape[1]
        first = self.weights
        self.narrow = th.HeadWeights(
            *(x[:, :2] for x in (first.W_Q, first.W_K, first.W_V, first.W_O, first.b_Q, first.b_K, first.b_V))
        )
        self.shallow = th.HeadWeights(
            *(x[:3] for x in (first.W_Q, first.W_K, first.W_V, first.W_O, first.b_Q, first.b_K, first.b_V))
        )

    @functools.cached_property
    def unnamed(self) -> th.Prompts:
        return dataclasses.replace(self.prompts, positions={"END": self.prompts.end})

    def a_prompts(self, named: bool = True) -> Arg:
        more = {"without names": self.unnamed} if named else {}
        return records(self.prompts, no_prompts=self.prompts.select([]), one=self.prompts.select([0]), **more)

    def a_run(self, ends: bool = True, whole_model: bool = True) -> Arg:
        """The clean run; `ends`: a run of END only is good, too."""
        bad = {
            "no prompts": runs.rows(self.clean, []), "one prompt": runs.rows(self.clean, [0]),
        }  # fmt: skip
        bad |= {"stopped": th.rerun_last(self.model, self.end, start=0, stop=1)} if whole_model else {}
        return records(self.clean, **bad, **({} if ends else {"END only": self.end}))

    def a_weights(self) -> Arg:
        return records(self.weights, narrow=self.narrow, shallow=self.shallow)

    def an_ov(self) -> Arg:
        return records(self.ov, narrow=th.decompose_ov(self.narrow), shallow=th.decompose_ov(self.shallow))

    def a_channel(self) -> Arg:
        return records(self.target)


def table(w: World) -> dict[str, tuple]:
    """By name: the function and its arguments."""
    m = as_is(w.model)
    W, P, R, OV, C = w.a_weights(), w.a_prompts(), w.a_run(), w.an_ov(), w.a_channel()
    plain = w.a_prompts(named=False)
    ALL, PART = w.a_run(ends=False), w.a_run(whole_model=False)
    NARROW = records(w.weights, narrow=w.narrow)
    row = floats(torch.rand(5), words=("values",), ravel=True)
    seed, batch = as_is(0), whole(3)
    ids = index(torch.stack([w.prompts.answer, w.prompts.distractor], 1), w.vocab, free=(1,))
    spots = index(torch.stack([w.prompts.positions["IO"], w.prompts.positions["S1"]], 1), 10**4, ("positions",), (1,))
    at = index(w.prompts.positions["S2"], 10**4)
    z = floats(w.new.z)
    return {
        "weights.check_head": (weights.check_head, dict(head=head((1, 2)), n_layers=as_is(4), n_heads=as_is(4))),
        "weights.label": (weights.label, dict(part=as_is((1, 2)))),
        "weights.head_weights": (weights.head_weights, dict(model=m)),
        "decomposition.decompose_product": (
            decomposition.decompose_product,
            dict(
                left=floats(w.weights.W_V, words=("factors",), free=(2,)),
                right=floats(w.weights.W_O, words=("factors",), free=(3,)),
            ),
        ),
        "decomposition.decompose_ov": (th.decompose_ov, dict(weights=as_is(w.weights))),
        "decomposition.decompose_qk": (th.decompose_qk, dict(weights=as_is(w.weights))),
        "composition.reader_factors": (composition.reader_factors, dict(weights=as_is(w.weights), mode=choice("Q"))),
        "composition.component_scores": (
            th.component_scores,
            dict(weights=W, ov=OV, mode=choice("V"), readers=heads([(2, 0), (3, 1)], empty=True)),
        ),
        "composition.head_scores": (
            th.head_scores,
            dict(weights=as_is(w.weights), mode=choice("K"), readers=heads([(2, 0)], empty=True)),
        ),
        "composition.component_to_component": (
            th.component_to_component,
            dict(ov=as_is(w.ov), reader=as_is(w.qk), writer_component=component((0, 1, 2)), side=choice("read")),
        ),
        "composition.random_baseline": (th.random_baseline, dict(weights=as_is(w.weights), mode=choice("Q"))),
        "composition.rotated_null": (
            th.rotated_null,
            dict(weights=W, ov=OV, mode=choice("Q"), writer=head((0, 1)), reader=head((2, 1)), n=whole(10), seed=seed),
        ),
        "composition.z_scores": (th.z_scores, dict(scores=as_is(w.scores))),
        "runs.run": (
            th.run,
            dict(
                model=m,
                prompts=records(w.prompts, empty=w.prompts.select([])),
                positions=choice("all"),
                hooks=as_is(()),
                batch_size=batch,
                keep=whole(1, 0, 3, none=True),
                caches=whole(2, 0, 4),
            ),
        ),
        "runs.rerun": (th.rerun, dict(model=m, base=records(w.clean, unkept=w.new), hooks=as_is(()), batch_size=batch)),
        "runs.kept_at": (th.kept_at, dict(base=records(w.clean, end=w.end), layer=whole(2, 0, 3))),
        "runs.rows": (th.rows, dict(base=as_is(w.clean), index=index(torch.tensor([0, 2]), 9, free=None))),
        "runs.rerun_last": (
            th.rerun_last,
            dict(
                model=m,
                base=as_is(w.end),
                hooks=as_is(()),
                start=whole(1, 0, 4, none=True),
                stop=whole(3, 1, 4, none=True),
            ),
        ),
        "runs.Run.at": (w.clean.at, dict(stored=as_is(w.clean.resid), position=at, axis=as_is(2))),
        "outputs.logits": (th.logits, dict(model=m, result=R, ids=ids)),
        "outputs.spots": (outputs.spots, dict(base=PART, positions=spots)),
        "outputs.logit_difference": (th.logit_difference, dict(model=m, result=R, prompts=plain)),
        "outputs.top1": (th.top1, dict(model=m, result=R, prompts=plain, batch_size=batch)),
        "outputs.answer_loss": (th.answer_loss, dict(model=m, result=R, prompts=plain)),
        "search.scale_heads": (
            lambda factors, first: applied(w, th.scale_heads(factors, first)),
            dict(factors=floats(torch.full((4, 4), 0.5), words=("first",), free=(0,)), first=whole(1, 0, 4)),
        ),
        "search.head_edits": (th.head_edits, dict(weights=records(w.weights), factors=floats(torch.full((4, 4), 0.5)))),
        "search.strongest": (
            th.strongest,
            dict(factors=floats(torch.rand(4, 4), words=("k must",)), k=whole(3, 1, 16), by=floats(torch.rand(4, 4))),
        ),
        "search.divergence": (th.divergence, dict(model=m, base=ALL, edited=records(w.clean, other=w.new, end=w.end))),
        "search.fit_scales": (
            th.fit_scales,
            dict(
                model=m,
                hooks=as_is(functools.partial(search.scale_heads, first=1)),
                start=floats(torch.ones(4, 4), words=("factors", "first"), free=(0,)),
                tasks=records([(w.prompts, w.end)], none=[], other=[(w.prompts.select([0]), w.end)]),
                english=records(w.clean, end=w.end, unkept=w.new),
                steps=whole(1, 0),
                price=real(1.0, -0.1),
                sparsity=real(0.1, -0.1),
                rate=real(0.05, 0.0),
                batch=whole(2),
                at_once=whole(1, 1, 1, none=True),
                texts=whole(2, 1, 5, none=True),
                seed=seed,
            ),
        ),
        "language.text_loss": (th.text_loss, dict(model=m, text=records(w.prompts, none=w.prompts.select([])))),
        "language.run_loss": (
            th.run_loss,
            dict(model=m, result=records(w.clean, end=w.end, none=runs.rows(w.clean, []))),
        ),
        "attribution.direct_logit_attribution": (
            th.direct_logit_attribution,
            dict(model=m, weights=W, result=R, prompts=plain),
        ),
        "attribution.attention_between": (
            th.attention_between,
            dict(result=PART, prompts=P, query=choice("END", "position named"), key=choice("S1", "position named")),
        ),
        "attribution.previous_token_attention": (th.previous_token_attention, dict(result=records(w.clean, end=w.end))),
        "attribution.head_table": (th.head_table, dict(model=m, weights=W, clean=ALL, prompts=P)),
        "attribution.mover_roles": (
            th.mover_roles,
            dict(table=as_is(th.head_table(w.model, w.weights, w.clean, w.prompts))),
        ),
        "attribution.source_roles": (
            th.source_roles,
            dict(table=as_is(th.head_table(w.model, w.weights, w.clean, w.prompts))),
        ),
        "circuit.attention_gap": (
            circuit.attention_gap,
            dict(pattern=floats(w.end.pattern[2, :, 1, 0], nan=True, inf=True, leading=True), prompts=P),
        ),
        "circuit.clean_gap": (circuit.clean_gap, dict(clean=R, prompts=P, head=head((2, 1)))),
        "circuit.query_effects": (
            th.query_effects,
            dict(model=m, weights=W, clean=R, new=R, prompts=P, movers=heads([(2, 1)], empty=True)),
        ),
        "circuit.value_effects": (
            th.value_effects,
            dict(
                model=m,
                weights=W,
                clean=ALL,
                new=ALL,
                prompts=P,
                middle=heads([(2, 1)], empty=True),
                movers=heads([(3, 1)], empty=True),
            ),
        ),
        "circuit.find_circuit": (
            th.find_circuit,
            dict(model=m, weights=W, prompts=P, clean=ALL, new=ALL, thresholds=as_is(None), n=whole(4), seed=seed),
        ),
        "patching.head_outputs": (th.head_outputs, dict(weights=W, z=floats(w.clean.z, free=(0, 1, 2)))),
        "patching.ablated": (
            th.ablated,
            dict(
                clean=records(w.end, all=w.clean),
                new=records(w.end, all=w.clean, one=runs.rows(w.end, [0])),
                kind=choice("mean", "ablation"),
                groups=as_is(None),
            ),
        ),
        "patching.earlier_heads": (th.earlier_heads, dict(weights=as_is(w.weights), receiver=head((2, 1)))),
        "patching.patch_edges": (
            th.patch_edges,
            dict(
                model=m,
                weights=W,
                clean=R,
                new=records(w.new, one=runs.rows(w.new, [0]), end=w.end),
                receiver=head((2, 1)),
                via=choice("k"),
                senders=heads([(0, 1), (1, 1)]),
                read_at=as_is(None),
                source=at,
                chunk=whole(2),
            ),
        ),
        "patching.patch_input": (
            th.patch_input,
            dict(
                model=m,
                clean=R,
                receiver=head((2, 1)),
                via=choice("v"),
                changes=floats(torch.rand(3, 5, 32), free=(0,)),
                read_at=as_is(None),
                source=at,
                chunk=whole(2),
            ),
        ),
        "patching.frozen_heads": (
            lambda **given: rerun_last(w, patching.frozen_heads(**given)),
            dict(model=m, clean=as_is(w.clean), new_z=z, senders=heads([(1, 1)]), freeze_mlps=flag(True)),
        ),
        "patching.path_patch": (
            th.path_patch,
            dict(
                model=m,
                weights=W,
                clean=R,
                new=z,
                senders=heads([(1, 1)]),
                receivers=heads([(2, 1)], empty=True),
                freeze_mlps=flag(False),
            ),
        ),
        "faithfulness.head_mask": (
            faithfulness.head_mask,
            dict(heads=heads([(1, 1)], True), n_layers=as_is(4), n_heads=as_is(4)),
        ),
        "faithfulness.keep_heads": (
            th.keep_heads,
            dict(
                model=m,
                prompts=records(w.prompts, one=w.prompts.select([0])),
                replacement=z,
                heads=heads([(1, 1)], True),
            ),
        ),
        "faithfulness.knock_out": (
            th.knock_out,
            dict(
                model=m,
                prompts=records(w.prompts, one=w.prompts.select([0])),
                replacement=z,
                heads=heads([(1, 1)], True),
            ),
        ),
        "faithfulness.random_like": (
            th.random_like,
            dict(weights=as_is(w.weights), heads=heads([(1, 1)], True), seed=seed),
        ),
        "channels.channel": (
            th.channel,
            dict(
                weights=W,
                ov=OV,
                components=Arg(
                    [(0, 1, 0)],
                    {name: [bad] for name, bad in component((0, 1, 2)).bad.items()} | {"none": []},
                    {},
                    ("component", "head"),
                ),
            ),
        ),
        "channels.random_channel": (th.random_channel, dict(weights=NARROW, like=C, seed=seed)),
        "channels.Channel.coordinates": (w.target.coordinates, dict(z=floats(w.end.at(w.end.z), free=(0, 1, 2)))),
        "channels.Channel.scale": (
            lambda factor, at: applied(w, w.target.scale(factor, at)),
            dict(factor=floats(torch.tensor([0.5, 2.0]), free=None), at=at),
        ),
        "channels.Channel.set": (
            lambda value, at: applied(w, w.target.set(value, at)),
            dict(value=floats(torch.tensor([0.5, 2.0]), free=None), at=at),
        ),
        "channels.Channel.zero": (lambda at: applied(w, w.target.zero(at)), dict(at=at)),
        "channels.Channel.gram": (w.target.gram, {}),
        "edits.scale_component": (th.scale_component, dict(weights=NARROW, target=C, factor=real(0.5))),
        "edits.zero_component": (th.zero_component, dict(weights=NARROW, target=C)),
        "edits.set_component": (
            th.set_component,
            dict(weights=NARROW, target=C, value=floats(torch.tensor([0.5, 1.0]), free=None)),
        ),
        "edits.scale_head": (th.scale_head, dict(weights=as_is(w.weights), head=head((1, 1)), factor=real(0.5))),
        "edits.scale_query": (th.scale_query, dict(weights=as_is(w.weights), head=head((1, 1)), factor=real(0.5))),
        "edits.scale_reading": (
            th.scale_reading,
            dict(
                weights=as_is(w.weights),
                reader=head((1, 1)),
                directions=floats(w.target.directions, free=(0,)),
                factor=real(0.5),
            ),
        ),
        "edits.edited": (lambda edit: edited(w, edit), dict(edit=as_is(th.scale_head(w.weights, (1, 1), 0.5)))),
        "edit_files.describe_edits": (
            th.describe_edits,
            dict(weights=W, edits=as_is(th.scale_head(w.weights, (3, 3), 0.5))),
        ),
        "traversal.grid": (traversal.grid, dict(limit=real(1.0, 0.0), dimensions=whole(2), n=whole(3, 2))),
        "traversal.looks": (traversal.looks, dict(result=R, heads=heads([(1, 1)]), positions=spots)),
        "traversal.traverse": (
            th.traverse,
            dict(
                model=m,
                base=PART,
                channel=C,
                points=floats(torch.rand(3, 2), free=(0,)),
                heads=heads([(2, 1)]),
                positions=spots,
            ),
        ),
        "traversal.answers": (
            traversal.answers,
            dict(
                model=m,
                base=PART,
                channel=C,
                values=floats(torch.rand(5, 2), free=None, words=("value", "positions")),
                ids=ids,
            ),
        ),
        "traversal.best_settings": (
            th.best_settings,
            dict(
                model=m,
                base=PART,
                channel=C,
                ids=ids,
                index=index(torch.tensor([0, 1, 0, 1, 0]), 2),
                limit=real(2.0, 0.0),
                n_points=whole(2),
                rounds=as_is((1,)),
                seed=seed,
            ),
        ),
        "geometry.position_codes": (
            th.position_codes,
            dict(
                model=m, base=R, reader=head((2, 1)), directions=floats(w.target.directions, free=(0,)), positions=spots
            ),
        ),
        "geometry.margins": (
            geometry.margins,
            dict(
                points=floats(torch.rand(4, 2), free=(1,)),
                offsets=floats(torch.rand(4), words=("offset",)),
                limit=real(2.0, 0.0, none=True),
            ),
        ),
        "geometry.reachable": (
            th.reachable,
            dict(
                points=floats(torch.rand(4, 2), free=(1,)),
                offsets=floats(torch.rand(4), words=("offset",)),
                limit=real(2.0, 0.0, none=True),
                tolerance=real(1e-7, -1e-9),
            ),
        ),
        "geometry.decode": (
            geometry.decode,
            dict(
                points=floats(torch.arange(24.0).view(12, 2), free=(1,)),
                labels=as_is([0, 1] * 6),
                folds=whole(3, 2, 6),
                seed=seed,
            ),
        ),
        "geometry.information": (geometry.information, dict(labels=as_is([0, 1]), predicted=as_is([0, 1]))),
        "prediction.standing": (
            th.standing,
            dict(
                scores=floats(w.whole, True, (0, 1, 2), ("scores", "no head"), True),
                head=head((0, 1)),
                reader=whole(1, 0, 1),
            ),
        ),
        "prediction.predictive_power": (
            th.predictive_power,
            dict(
                scores=floats(w.whole, True, inf=True),
                effects=floats(w.whole, True, inf=True),
                threshold=real(0.3),
                n_resamples=whole(5),
                seed=seed,
            ),
        ),
        "stats.array": (stats.array, dict(values=as_is([1, 2]))),
        "stats.mean": (
            stats.mean,
            dict(values=floats(torch.rand(5), free=None), level=real(0.9, 0.0, 1.0), n_resamples=whole(20), seed=seed),
        ),
        "stats.share": (stats.share, dict(hits=as_is([0, 1, 1]), level=real(0.9, 0.0, 1.0))),
        "stats.bootstrap": (
            lambda samples, **more: stats.bootstrap(lambda x: x.mean(), samples, **more),
            dict(
                samples=floats(torch.rand(5), free=None, words=("values",)),
                level=real(0.9, 0.0, 1.0),
                n_resamples=whole(20),
                seed=seed,
            ),
        ),
        "stats.rank_correlation": (stats.rank_correlation, dict(x=row, y=row)),
        "stats.auroc": (
            stats.auroc,
            dict(scores=floats(torch.rand(3), words=("values",), ravel=True), positives=as_is([0, 1, 1])),
        ),
        "stats.precision_at": (
            stats.precision_at,
            dict(
                scores=floats(torch.rand(3), words=("values",), ravel=True),
                positives=as_is([0, 1, 1]),
                k=whole(2, 1, 3),
            ),
        ),
        "stats.logistic": (
            stats.logistic,
            dict(predictors=as_is({"x": [0.0, 1, 2, 1]}), hits=as_is([0, 1, 1, 0]), level=real(0.9, 0.0, 1.0)),
        ),
        "playground.reading": (
            playground.reading,
            dict(model=m, weights=W, base=R, prompts=plain, target=C, head=head((2, 1))),
        ),
        "ioi.generate": (
            ioi.generate,
            dict(
                model=m, n=whole(3), seed=seed, templates=as_is(None), orders=as_is(ioi.ORDERS), prepend_bos=flag(True)
            ),
        ),
        "ioi.corrupt": (
            ioi.corrupt,
            dict(
                model=m,
                prompts=records(w.prompts, unnamed=w.unnamed, items=w.items),
                kind=choice("ABC", "corruption"),
                seed=seed,
            ),
        ),
        "colored_objects.generate": (
            colored_objects.generate,
            dict(
                model=m, n=whole(3), seed=seed, form=choice("question"), shots=whole(1, 0, 4), n_objects=whole(3, 2, 4)
            ),
        ),
        "colored_objects.corrupt": (
            colored_objects.corrupt,
            dict(model=m, prompts=records(w.things, other=w.items, ioi=w.prompts)),
        ),
        "colored_objects.candidates": (
            colored_objects.candidates,
            dict(model=m, prompts=records(w.things, other=w.items, ioi=w.prompts)),
        ),
        "colored_objects.mentions": (
            colored_objects.mentions,
            dict(prompts=records(w.things, other=w.items), what=choice("object", "positions of")),
        ),
        "laundry_list.generate": (
            laundry_list.generate,
            dict(model=m, n=whole(3), n_items=whole(3, 2, 20), seed=seed, frame=choice("buy"), listed=flag(True)),
        ),
        "laundry_list.pools": (laundry_list.pools, dict(model=m, n_pools=whole(2), seed=seed)),
        "laundry_list.first_mentions": (laundry_list.first_mentions, dict(prompts=records(w.items, other=w.things))),
        "laundry_list.second_mentions": (laundry_list.second_mentions, dict(prompts=records(w.items, other=w.things))),
        "laundry_list.candidates": (laundry_list.candidates, dict(model=m, prompts=records(w.items, other=w.things))),
        "laundry_list.corrupt": (laundry_list.corrupt, dict(model=m, prompts=records(w.items, other=w.things))),
        "laundry_list.reorder": (
            laundry_list.reorder,
            dict(model=m, prompts=records(w.items, other=w.things), n_orders=whole(2, 2), seed=seed),
        ),
        "facts.generate": (
            facts.generate,
            dict(
                model=m,
                relation=choice("capital"),
                shots=whole(1, 0),
                form=choice("question"),
                subjects=as_is(["France", "Italy"]),
                seed=seed,
            ),
        ),
        "english.passages": (
            english.passages,
            dict(model=m, names=Arg(["water"], {"other": ["x"], "none": [], "number": [3]})),
        ),
        "english.plain": (english.plain, dict(text=as_is("a  b"))),
        "prompts.word_id": (
            prompts.word_id,
            dict(tokenizer=as_is(w.model.tokenizer), word=Arg("Mary", {"two": "Mary Mary", "empty": "", "number": 3})),
        ),
        "prompts.single_token_words": (
            prompts.single_token_words,
            dict(tokenizer=as_is(w.model.tokenizer), words=as_is(["Mary"])),
        ),
        "prompts.encode": (
            prompts.encode,
            dict(
                tokenizer=as_is(w.model.tokenizer),
                texts=Arg(["Mary and"], {"none": [], "text": "Mary", "number": [3]}, {}, ("prompt",)),
                prepend_bos=flag(True),
            ),
        ),
        "prompts.token_strings": (prompts.token_strings, dict(model=m, tokens=as_is(w.prompts.tokens[0]))),
        "prompts.Prompts.select": (w.prompts.select, dict(rows=index(torch.tensor([0, 2]), 9, free=None))),
        "prompts.Prompts.to": (w.prompts.to, dict(device=as_is("cpu"))),
        "prose.heads": (
            prose.heads,
            dict(
                names=Arg(
                    [(1, 1)],
                    {"fraction": [(1.5, 0)], "bools": [(True, False)], "nan": [(float("nan"), 0)]},
                    {},
                    ("head",),
                )
            ),
        ),
        "checks.identity": (
            th.identity,
            dict(text=as_is("same"), left=as_is([1.0]), right=as_is([1.0]), tolerance=real(1e-4, -1e-9)),
        ),
    }


def rerun_last(w: World, hooks: list):
    return th.rerun_last(w.model, w.clean, hooks).resid


def applied(w: World, hooks: list):
    return th.run(w.model, w.prompts, "all", hooks).resid


def edited(w: World, edit):
    with edits.edited(w.model, edit):
        return th.run(w.model, w.prompts).resid
