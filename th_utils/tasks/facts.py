"""Facts: a subject and a relation, and the model must name the object: "The capital of France is the city of" -> Paris.

Relations of several kinds, after the families used by Yao et al. 2024: factual, linguistic and commonsense ones. The
facts and wordings are ours. Only the first token of the object is scored, so that long names can take part; objects
that share it ("San Salvador", "San Jose") cannot be told apart. Named positions: SUBJECT (the last token of the
subject), RELATION (the last token of the word that names the relation) and END.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from .._guards import whole
from .prompts import Prompts, encode

KINDS = ("factual", "linguistic", "commonsense")
FORMS = ("statement", "question")


class Relation(NamedTuple):
    """`statement` and `question` hold {subject} and, once, `word`; `pairs`: subject -> object."""

    kind: str
    word: str
    statement: str
    question: str
    pairs: dict[str, str]


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.strip().split(": ") for pair in " ".join(text.split()).split(","))


RELATIONS = {
    "capital": Relation("factual", "capital", "The capital of {subject} is the city of",
                        "What is the capital of {subject}?", _pairs("""
        France: Paris, Germany: Berlin, Italy: Rome, Spain: Madrid, Portugal: Lisbon, England: London, Ireland: Dublin,
        Scotland: Edinburgh, Wales: Cardiff, Norway: Oslo, Sweden: Stockholm, Denmark: Copenhagen, Finland: Helsinki,
        Iceland: Reykjavik, Belgium: Brussels, Switzerland: Bern, Austria: Vienna, Poland: Warsaw, Hungary: Budapest,
        Romania: Bucharest, Bulgaria: Sofia, Greece: Athens, Turkey: Ankara, Russia: Moscow, Ukraine: Kyiv,
        Belarus: Minsk, Estonia: Tallinn, Latvia: Riga, Lithuania: Vilnius, Croatia: Zagreb, Serbia: Belgrade,
        Slovenia: Ljubljana, Slovakia: Bratislava, Albania: Tirana, Cyprus: Nicosia, Malta: Valletta, Georgia: Tbilisi,
        Armenia: Yerevan, Azerbaijan: Baku, China: Beijing, Japan: Tokyo, South Korea: Seoul, North Korea: Pyongyang,
        Mongolia: Ulaanbaatar, Taiwan: Taipei, Vietnam: Hanoi, Thailand: Bangkok, Cambodia: Phnom Penh,
        Laos: Vientiane, Malaysia: Kuala Lumpur, Indonesia: Jakarta, India: New Delhi, Pakistan: Islamabad,
        Bangladesh: Dhaka, Nepal: Kathmandu, Bhutan: Thimphu, Afghanistan: Kabul, Iran: Tehran, Iraq: Baghdad,
        Syria: Damascus, Lebanon: Beirut, Jordan: Amman, Israel: Jerusalem, Saudi Arabia: Riyadh, Yemen: Sanaa,
        Oman: Muscat, Qatar: Doha, Kazakhstan: Astana, Uzbekistan: Tashkent, Egypt: Cairo, Libya: Tripoli,
        Morocco: Rabat, Sudan: Khartoum, Ethiopia: Addis Ababa, Kenya: Nairobi, Uganda: Kampala, Tanzania: Dodoma,
        Rwanda: Kigali, Ghana: Accra, Nigeria: Abuja, Senegal: Dakar, Mali: Bamako, Somalia: Mogadishu, Angola: Luanda,
        Zambia: Lusaka, Zimbabwe: Harare, Mozambique: Maputo, Madagascar: Antananarivo, Namibia: Windhoek,
        Canada: Ottawa, Cuba: Havana, Jamaica: Kingston, Haiti: Port-au-Prince, Peru: Lima, Chile: Santiago,
        Argentina: Buenos Aires, Uruguay: Montevideo, Venezuela: Caracas, Ecuador: Quito, Nicaragua: Managua,
        Honduras: Tegucigalpa, Australia: Canberra, New Zealand: Wellington, Fiji: Suva""")),
    "language": Relation("factual", "language", "The official language of {subject} is",
                         "What is the official language of {subject}?", _pairs("""
        France: French, Germany: German, Italy: Italian, Spain: Spanish, Portugal: Portuguese, England: English,
        Norway: Norwegian, Sweden: Swedish, Denmark: Danish, Finland: Finnish, Iceland: Icelandic, Austria: German,
        Poland: Polish, Hungary: Hungarian, Romania: Romanian, Bulgaria: Bulgarian, Greece: Greek, Turkey: Turkish,
        Russia: Russian, Ukraine: Ukrainian, Estonia: Estonian, Latvia: Latvian, Lithuania: Lithuanian,
        Croatia: Croatian, Serbia: Serbian, Slovenia: Slovene, Slovakia: Slovak, Albania: Albanian, Georgia: Georgian,
        Armenia: Armenian, China: Mandarin, Japan: Japanese, South Korea: Korean, North Korea: Korean,
        Mongolia: Mongolian, Vietnam: Vietnamese, Thailand: Thai, Cambodia: Khmer, Laos: Lao, Indonesia: Indonesian,
        Pakistan: Urdu, Bangladesh: Bengali, Nepal: Nepali, Iran: Persian, Iraq: Arabic, Syria: Arabic,
        Lebanon: Arabic, Jordan: Arabic, Israel: Hebrew, Saudi Arabia: Arabic, Yemen: Arabic, Egypt: Arabic,
        Libya: Arabic, Morocco: Arabic, Ethiopia: Amharic, Kenya: Swahili, Ghana: English, Nigeria: English,
        Senegal: French, Mali: French, Angola: Portuguese, Brazil: Portuguese, Mexico: Spanish, Cuba: Spanish,
        Peru: Spanish, Chile: Spanish, Argentina: Spanish, Uruguay: Spanish, Venezuela: Spanish, Ecuador: Spanish,
        Colombia: Spanish, Jamaica: English, Australia: English, New Zealand: English""")),
    "continent": Relation("factual", "continent", "In geography, {subject} is a country on the continent of",
                          "On which continent is {subject}?", _pairs("""
        France: Europe, Germany: Europe, Italy: Europe, Spain: Europe, Portugal: Europe, Norway: Europe, Sweden: Europe,
        Poland: Europe, Hungary: Europe, Romania: Europe, Bulgaria: Europe, Greece: Europe, Latvia: Europe,
        Croatia: Europe, Serbia: Europe, Austria: Europe, China: Asia, Japan: Asia, Mongolia: Asia, Vietnam: Asia,
        Thailand: Asia, Cambodia: Asia, Laos: Asia, Malaysia: Asia, Indonesia: Asia, India: Asia, Pakistan: Asia,
        Bangladesh: Asia, Nepal: Asia, Bhutan: Asia, Iran: Asia, Iraq: Asia, Egypt: Africa, Libya: Africa,
        Morocco: Africa, Sudan: Africa, Ethiopia: Africa, Kenya: Africa, Uganda: Africa, Tanzania: Africa,
        Rwanda: Africa, Ghana: Africa, Nigeria: Africa, Senegal: Africa, Mali: Africa, Somalia: Africa, Angola: Africa,
        Zambia: Africa, Brazil: South America, Peru: South America, Chile: South America, Argentina: South America,
        Uruguay: South America, Venezuela: South America, Ecuador: South America, Colombia: South America,
        Canada: North America, Mexico: North America""")),
    "opposite": Relation("linguistic", "opposite", "The opposite of {subject} is",
                         "What is the opposite of {subject}?", _pairs("""
        hot: cold, big: small, tall: short, fast: slow, happy: sad, rich: poor, hard: soft, light: dark, strong: weak,
        good: bad, old: young, new: old, early: late, high: low, up: down, left: right, open: closed, full: empty,
        clean: dirty, wet: dry, thick: thin, wide: narrow, deep: shallow, long: short, heavy: light, loud: quiet,
        rough: smooth, sharp: dull, sweet: bitter, true: false, alive: dead, awake: asleep, brave: cowardly,
        cheap: expensive, easy: difficult, safe: dangerous, near: far, inside: outside, above: below, before: after,
        front: back, first: last, same: different, male: female, love: hate, war: peace, life: death, day: night,
        win: lose, buy: sell, push: pull, begin: end, start: stop, accept: reject, increase: decrease,
        positive: negative, public: private, past: future, north: south, east: west, summer: winter, morning: evening,
        black: white, friend: enemy, hero: villain, success: failure, beautiful: ugly, polite: rude, generous: selfish,
        simple: complex, modern: ancient, minimum: maximum, input: output, teacher: student, husband: wife""")),
    "past": Relation("linguistic", "past", "The past tense of the verb {subject} is",
                     "What is the past tense of the verb {subject}?", _pairs("""
        go: went, see: saw, take: took, give: gave, make: made, come: came, know: knew, think: thought, buy: bought,
        bring: brought, catch: caught, teach: taught, find: found, run: ran, begin: began, drink: drank, sing: sang,
        swim: swam, ring: rang, eat: ate, fall: fell, feel: felt, keep: kept, sleep: slept, leave: left, lose: lost,
        meet: met, send: sent, spend: spent, build: built, sit: sat, stand: stood, win: won, write: wrote, drive: drove,
        ride: rode, rise: rose, speak: spoke, break: broke, choose: chose, steal: stole, wear: wore, tear: tore,
        fly: flew, grow: grew, throw: threw, blow: blew, draw: drew, tell: told, sell: sold, hear: heard, hold: held,
        lead: led, fight: fought, forget: forgot, become: became, pay: paid, say: said, have: had, do: did,
        walk: walked, play: played, work: worked, talk: talked, open: opened, look: looked, call: called, ask: asked,
        move: moved, live: lived""")),
    "plural": Relation("linguistic", "plural", "The plural of the noun {subject} is",
                       "What is the plural of the noun {subject}?", _pairs("""
        man: men, woman: women, child: children, foot: feet, tooth: teeth, mouse: mice, goose: geese, person: people,
        leaf: leaves, knife: knives, wife: wives, wolf: wolves, half: halves, shelf: shelves, thief: thieves,
        life: lives, city: cities, baby: babies, country: countries, party: parties, story: stories, lady: ladies,
        family: families, body: bodies, box: boxes, bus: buses, dish: dishes, church: churches, class: classes,
        watch: watches, hero: heroes, potato: potatoes, tomato: tomatoes, cat: cats, dog: dogs, house: houses,
        tree: trees, car: cars, book: books, table: tables, river: rivers, bird: birds, apple: apples, door: doors,
        crisis: crises, analysis: analyses, phenomenon: phenomena, criterion: criteria""")),
    "young": Relation("commonsense", "baby", "A baby {subject} is called a", "What is a baby {subject} called?",
                      _pairs("""
        dog: puppy, cat: kitten, cow: calf, horse: foal, sheep: lamb, goat: kid, pig: piglet, deer: fawn, bear: cub,
        lion: cub, tiger: cub, wolf: pup, fox: kit, rabbit: bunny, duck: duckling, goose: gosling, swan: cygnet,
        chicken: chick, hen: chick, frog: tadpole, butterfly: caterpillar, kangaroo: joey, seal: pup, whale: calf,
        elephant: calf, giraffe: calf, bird: chick, fish: fry""")),
    "color": Relation("commonsense", "color", "The color of {subject} is", "What is the color of {subject}?", _pairs("""
        grass: green, snow: white, blood: red, coal: black, milk: white, the sky: blue, the sun: yellow,
        a banana: yellow, a lemon: yellow, a carrot: orange, a tomato: red, a strawberry: red, a frog: green,
        an orange: orange, gold: yellow, a cucumber: green, a cherry: red, broccoli: green, spinach: green,
        cotton: white, a pumpkin: orange, chocolate: brown, coffee: brown, a polar bear: white, a crow: black,
        a flamingo: pink, an elephant: gray, ink: black, fire: red, the ocean: blue, a swan: white,
        lettuce: green, rice: white, salt: white, sugar: white, a ruby: red, an emerald: green, a sapphire: blue""")),
    "maker": Relation("factual", "company", "The product {subject} was made by the company",
                      "Which company made {subject}?", _pairs("""
        iPhone: Apple, iPad: Apple, iPod: Apple, Macintosh: Apple, Windows: Microsoft, Xbox: Microsoft,
        Excel: Microsoft, Outlook: Microsoft, Internet Explorer: Microsoft, Gmail: Google, Chrome: Google,
        Android: Google, YouTube: Google, PlayStation: Sony, Walkman: Sony, Kindle: Amazon, Alexa: Amazon,
        Game Boy: Nintendo, Wii: Nintendo, Super Mario: Nintendo, Photoshop: Adobe, Acrobat: Adobe, Mustang: Ford,
        Model T: Ford, Corvette: Chevrolet, Civic: Honda, Accord: Honda, Corolla: Toyota, Prius: Toyota, Camry: Toyota,
        Beetle: Volkswagen, Golf: Volkswagen, Galaxy: Samsung, Pentium: Intel, Instagram: Facebook,
        ThinkPad: IBM, Big Mac: McDonald, Coke: Coca""")),
}  # fmt: skip


def generate(
    model,
    relation: str,
    *,
    shots: int = 0,
    form: Literal["statement", "question"] = "statement",
    subjects: Sequence[str] | None = None,
    demonstrations: Sequence[str] | None = None,
    seed: int = 0,
    prepend_bos: bool = True,
) -> Prompts:
    """One prompt per subject; the answer is the first token of its object, the distractor that of another subject's.

    - "statement": "The capital of France is the city of"; "question": "Q: What is the capital of France?\\nA:".
    - `shots` solved examples come first, one a line, the same ones before every prompt. They are drawn from the
      subjects that are not tested, or given by name in `demonstrations`.
    - `subjects` are those tested, by default all (without the demonstrations).

    `distractor` is the object of a random other subject, always another token. Subjects may be several tokens:
    `prompts.select(prompts.end == prompts.end.mode().values)` keeps those of the most frequent length.
    `table` holds relation, subject, object. The same seed gives the same prompts.

    Raises `ValueError` for an unknown relation, form or subject, repeated subjects, demonstrations that are tested too
    or whose number is not `shots`, too few subjects to draw from, or fewer than two different first tokens.
    """
    if relation not in tuple(RELATIONS):
        raise ValueError(f"unknown relation {relation!r}: expected one of {tuple(RELATIONS)}")
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}: expected one of {FORMS}")
    shots = whole("shots", shots, 0)
    prepend_bos = bool(prepend_bos)
    rng = np.random.default_rng(seed)
    pairs = RELATIONS[relation].pairs
    given = None if subjects is None else _checked(subjects, relation, "subjects")
    if demonstrations is None:
        free = [subject for subject in pairs if subject not in (given or ())]
        if not 0 <= shots <= len(free) - (given is None):
            raise ValueError(f"shots must be 0-{len(free) - (given is None)} (subjects not tested), got {shots}")
        demonstrations = [free[i] for i in rng.choice(len(free), size=shots, replace=False)]
    demonstrations = _checked(demonstrations, relation, "demonstrations")
    if shots not in (0, len(demonstrations)):
        raise ValueError(f"shots is {shots} but there are {len(demonstrations)} demonstrations: leave one of them out")
    tested = [subject for subject in pairs if subject not in demonstrations] if given is None else given
    both = sorted(set(tested) & set(demonstrations))
    if both or not tested:
        raise ValueError(f"need subjects to test, none of them in the demonstrations; in both: {both}")

    start = "".join(_ask(relation, form, subject) + _told(relation, form, subject) for subject in demonstrations)
    text = tuple(start + _ask(relation, form, subject) for subject in tested)
    tokens, end = encode(model.tokenizer, text, prepend_bos)
    positions = {"SUBJECT": [], "RELATION": [], "END": end}
    for row, subject in enumerate(tested):
        for name, word in (("SUBJECT", subject), ("RELATION", RELATIONS[relation].word)):
            positions[name].append(_last_token(model.tokenizer, text[row], word, len(start), tokens[row], prepend_bos))
    positions = {name: torch.as_tensor(values) for name, values in positions.items()}
    first = {subject: model.tokenizer.encode(" " + pairs[subject], add_special_tokens=False)[0] for subject in pairs}
    answer = torch.tensor([first[subject] for subject in tested])
    if len(set(first.values())) < 2:
        raise ValueError(f"the objects of {relation!r} begin with one and the same token in this tokenizer")
    distractor = torch.tensor([rng.choice([t for t in first.values() if t != own]) for own in answer.tolist()])
    table = pd.DataFrame({"relation": relation, "subject": tested, "object": [pairs[s] for s in tested]})
    return Prompts(tokens, answer, distractor, positions, text, table)


def _checked(subjects: Sequence[str], relation: str, name: str) -> list[str]:
    subjects = [subjects] if isinstance(subjects, str) else list(subjects)
    unknown = [subject for subject in subjects if subject not in RELATIONS[relation].pairs]
    if unknown or len(set(subjects)) != len(subjects):
        raise ValueError(f"{name} must be different subjects of {relation!r}, unknown: {unknown}, given: {subjects}")
    return subjects


def _ask(relation: str, form: str, subject: str) -> str:
    asked = getattr(RELATIONS[relation], form).format(subject=subject)
    return f"Q: {asked}\nA:" if form == "question" else asked


def _told(relation: str, form: str, subject: str) -> str:
    return f" {RELATIONS[relation].pairs[subject]}" + ("\n" if form == "question" else ".\n")


def _last_token(tokenizer, text: str, word: str, start: int, tokens: torch.Tensor, prepend_bos: bool) -> int:
    """Where the last token of " word" ends, of its first mention from character `start` on."""
    upto = text[: text.index(" " + word, start) + 1 + len(word)]
    ids = tokenizer.encode(upto, add_special_tokens=False)
    position = len(ids) + prepend_bos - 1
    if tokens[prepend_bos : position + 1].tolist() != ids:
        raise ValueError(f"{word!r} does not end at the end of a token in {text!r}: leave this subject out")
    return position


