"""Facts: prompts, positions and answers must be those of the relation."""

import pytest
import torch

from th_utils.tasks import facts


@pytest.fixture(scope="module")
def gpt2(tiny):
    return tiny("tiny-gpt2")


def up_to(model, prompts, i, name):
    return model.tokenizer.decode(prompts.tokens[i, 1 : prompts.at(name)[i] + 1])


def check(model, prompts):
    relation = facts.RELATIONS[prompts.table.relation[0]]
    for i, row in enumerate(prompts.table.itertuples()):
        assert relation.pairs[row.subject] == row.object
        assert up_to(model, prompts, i, "SUBJECT").endswith(" " + row.subject)
        assert up_to(model, prompts, i, "RELATION").endswith(" " + relation.word)
        assert up_to(model, prompts, i, "END") == prompts.text[i]
        for name in ("SUBJECT", "RELATION"):  # of the question itself, not of a demonstration
            assert "\n" not in prompts.text[i].removeprefix(up_to(model, prompts, i, name)).removesuffix("\nA:")
        # the answer is what comes next where the object is written out
        whole = model.tokenizer.encode(prompts.text[i] + " " + row.object, add_special_tokens=False)
        assert whole[prompts.end[i]] == prompts.answer[i] != prompts.distractor[i]
        assert int(prompts.distractor[i]) in {
            model.tokenizer.encode(" " + other, add_special_tokens=False)[0] for other in relation.pairs.values()
        }


@pytest.mark.parametrize("relation", facts.RELATIONS)
@pytest.mark.parametrize("form, shots", [("statement", 0), ("question", 2), ("statement", 2)])
def test_positions_and_answers(gpt2, relation, form, shots):
    prompts = facts.generate(gpt2, relation, form=form, shots=shots)
    check(gpt2, prompts)
    assert len(prompts) == len(facts.RELATIONS[relation].pairs) - shots
    lines = shots * (2 if form == "question" else 1) + (form == "question")
    assert all(text.count("\n") == lines for text in prompts.text)


@pytest.mark.real
@pytest.mark.parametrize("relation", facts.RELATIONS)
def test_positions_and_answers_in_a_real_tokenizer(default_model, relation):
    check(default_model, facts.generate(default_model, relation))
    check(default_model, facts.generate(default_model, relation, form="question", shots=1))


@pytest.mark.parametrize("relation", facts.RELATIONS)
def test_relations_are_well_formed(relation):
    kind, word, statement, question, pairs = facts.RELATIONS[relation]
    assert {r.kind for r in facts.RELATIONS.values()} == {"factual", "linguistic", "commonsense"}
    for template in (statement, question):
        assert template.count("{subject}") == 1 and template.count(" " + word) == 1
        assert " {subject}" in template, "a word at the start of a text is another token in many tokenizers"
    assert len(pairs) >= 20 and question.endswith("?")
    if relation in ("capital", "maker", "opposite", "color"):  # the answer is not in the question
        assert all(thing == "orange" or thing not in subject for subject, thing in pairs.items())


def test_demonstrations_are_shared_and_never_tested(gpt2):
    prompts = facts.generate(gpt2, "capital", shots=3, seed=1)
    (start,) = {text.rsplit("\n", 1)[0] for text in prompts.text}
    shown = [subject for subject in facts.RELATIONS["capital"].pairs if f"of {subject} is" in start]
    assert len(shown) == 3 and not set(shown) & set(prompts.table.subject)


def test_the_seed_decides_everything(gpt2):
    one, same, other = (facts.generate(gpt2, "capital", shots=2, seed=seed) for seed in (5, 5, 6))
    assert one.text == same.text != other.text and torch.equal(one.distractor, same.distractor)


@pytest.mark.parametrize("arguments, match", [
    ({"shots": 1000}, "larger sample"),
])  # fmt: skip
def test_bad_requests_are_refused(gpt2, refuses, arguments, match):
    with refuses(match):
        facts.generate(gpt2, "capital", **arguments)
