"""Ordinary English, to see what an intervention costs: short passages of which `th.text_loss` takes the loss.

Eight are openings of works published before 1928, which no copyright covers any more; dashes and quotation marks are
the keyboard's, and words in italics are plain. Texts as well known as these were almost certainly in a model's
training data, so that their loss says little about other English: what counts is how much it changes. Two passages
were written for this book, after the models were trained.

`CHOOSE` and `TEST` name two halves: what is chosen by the loss on one (which edit, which scale) is reported on the
other. Five passages are few: give a mean with an interval over them, not over their tokens, which depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from .prompts import Prompts, encode


class Passage(NamedTuple):
    """`year` is that of first publication; paragraphs of `text` are separated by an empty line."""

    title: str
    author: str
    year: int
    text: str


PASSAGES = {
    "alice": Passage("Alice's Adventures in Wonderland", "Lewis Carroll", 1865, """
        Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once
        or twice she had peeped into the book her sister was reading, but it had no pictures or conversations in it,
        "and what is the use of a book," thought Alice "without pictures or conversations?"

        So she was considering in her own mind (as well as she could, for the hot day made her feel very sleepy and
        stupid), whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the
        daisies, when suddenly a White Rabbit with pink eyes ran close by her.

        There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the
        Rabbit say to itself, "Oh dear! Oh dear! I shall be late!" (when she thought it over afterwards, it occurred to
        her that she ought to have wondered at this, but at the time it all seemed quite natural)"""),
    "moby": Passage("Moby-Dick", "Herman Melville", 1851, """
        Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my purse, and
        nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of
        the world. It is a way I have of driving off the spleen and regulating the circulation. Whenever I find myself
        growing grim about the mouth; whenever it is a damp, drizzly November in my soul; whenever I find myself
        involuntarily pausing before coffin warehouses, and bringing up the rear of every funeral I meet; and
        especially whenever my hypos get such an upper hand of me, that it requires a strong moral principle to prevent
        me from deliberately stepping into the street, and methodically knocking people's hats off - then, I account it
        high time to get to sea as soon as I can. This is my substitute for pistol and ball."""),
    "darwin": Passage("On the Origin of Species", "Charles Darwin", 1859, """
        When on board H.M.S. 'Beagle,' as naturalist, I was much struck with certain facts in the distribution of the
        inhabitants of South America, and in the geological relations of the present to the past inhabitants of that
        continent. These facts seemed to me to throw some light on the origin of species - that mystery of mysteries,
        as it has been called by one of our greatest philosophers. On my return home, it occurred to me, in 1837, that
        something might perhaps be made out on this question by patiently accumulating and reflecting on all sorts of
        facts which could possibly have any bearing on it. After five years' work I allowed myself to speculate on the
        subject, and drew up some short notes; these I enlarged in 1844 into a sketch of the conclusions, which then
        seemed to me probable: from that period to the present day I have steadily pursued the same object."""),
    "walden": Passage("Walden", "Henry David Thoreau", 1854, """
        When I wrote the following pages, or rather the bulk of them, I lived alone, in the woods, a mile from any
        neighbor, in a house which I had built myself, on the shore of Walden Pond, in Concord, Massachusetts, and
        earned my living by the labor of my hands only. I lived there two years and two months. At present I am a
        sojourner in civilized life again.

        I should not obtrude my affairs so much on the notice of my readers if very particular inquiries had not been
        made by my townsmen concerning my mode of life, which some would call impertinent, though they do not appear to
        me at all impertinent, but, considering the circumstances, very natural and pertinent. Some have asked what I
        got to eat; if I did not feel lonesome; if I was not afraid; and the like."""),
    "water": Passage("How water goes round", "this book", 2026, """
        The water cycle describes how water moves between the sea, the air and the land. Heat from the sun turns water
        at the surface of the sea into vapour, which rises and cools until it forms clouds. When the drops in a cloud
        grow heavy enough, they fall as rain or snow. Some of this water runs along the ground into streams and rivers,
        which carry it back to the sea. The rest sinks into the soil, where plants take it up through their roots, or
        it fills the spaces between grains of rock and stays there for years. A city that pumps more water out of the
        ground than the rain puts back will find, after some time, that its wells run dry."""),
    "pride": Passage("Pride and Prejudice", "Jane Austen", 1813, """
        It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a
        wife.

        However little known the feelings or views of such a man may be on his first entering a neighbourhood, this
        truth is so well fixed in the minds of the surrounding families, that he is considered as the rightful property
        of some one or other of their daughters.

        "My dear Mr. Bennet," said his lady to him one day, "have you heard that Netherfield Park is let at last?"

        Mr. Bennet replied that he had not.

        "But it is," returned she; "for Mrs. Long has just been here, and she told me all about it."

        Mr. Bennet made no answer."""),
    "cities": Passage("A Tale of Two Cities", "Charles Dickens", 1859, """
        It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness,
        it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of
        Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing
        before us, we were all going direct to Heaven, we were all going direct the other way - in short, the period
        was so far like the present period, that some of its noisiest authorities insisted on its being received, for
        good or for evil, in the superlative degree of comparison only.

        There were a king with a large jaw and a queen with a plain face, on the throne of England; there were a king
        with a large jaw and a queen with a fair face, on the throne of France. In both countries it was clearer than
        crystal to the lords of the State preserves of loaves and fishes, that things in general were settled for
        ever."""),
    "bohemia": Passage("A Scandal in Bohemia", "Arthur Conan Doyle", 1891, """
        To Sherlock Holmes she is always the woman. I have seldom heard him mention her under any other name. In his
        eyes she eclipses and predominates the whole of her sex. It was not that he felt any emotion akin to love for
        Irene Adler. All emotions, and that one particularly, were abhorrent to his cold, precise but admirably
        balanced mind. He was, I take it, the most perfect reasoning and observing machine that the world has seen, but
        as a lover he would have placed himself in a false position. He never spoke of the softer passions, save with a
        gibe and a sneer. They were admirable things for the observer - excellent for drawing the veil from men's
        motives and actions. But for the trained reasoner to admit such intrusions into his own delicate and finely
        adjusted temperament was to introduce a distracting factor which might throw a doubt upon all his mental
        results."""),
    "federalist": Passage("The Federalist, No. 10", "James Madison", 1787, """
        Among the numerous advantages promised by a well constructed Union, none deserves to be more accurately
        developed than its tendency to break and control the violence of faction. The friend of popular governments
        never finds himself so much alarmed for their character and fate, as when he contemplates their propensity to
        this dangerous vice. He will not fail, therefore, to set a due value on any plan which, without violating the
        principles to which he is attached, provides a proper cure for it. The instability, injustice, and confusion
        introduced into the public councils, have, in truth, been the mortal diseases under which popular governments
        have everywhere perished; as they continue to be the favorite and fruitful topics from which the adversaries to
        liberty derive their most specious declamations."""),
    "bicycle": Passage("How to stay upright", "this book", 2026, """
        A bicycle stays upright mainly because it is steered under its own fall. When it leans to the left, the rider,
        or the shape of the front fork, turns the wheel a little to the left as well, and the point where the tyre
        meets the road moves back beneath the weight. The faster the bicycle goes, the smaller the turn that is needed,
        which is why it is hard to ride very slowly and easy to ride with no hands on a straight road. Spinning wheels
        resist being tilted, too, but this effect is weaker than most people believe: bicycles have been built with
        extra wheels that turn backwards and cancel it, and they can be ridden without trouble. Children who learn on a
        small bicycle without pedals find this out for themselves."""),
}  # fmt: skip
CHOOSE = ("alice", "moby", "darwin", "walden", "water")
TEST = ("pride", "cities", "bohemia", "federalist", "bicycle")


def passages(model, names: Sequence[str] | None = None, prepend_bos: bool = True) -> Prompts:
    """The passages of these names (`CHOOSE`, `TEST`; None: all) as a batch for `th.text_loss` and `th.run`.

    Cut where the model's context ends. `table` holds name, title, author, year and tokens (how many are predicted).
    A passage asks nothing: `answer` and `distractor` are its own last token. Raises `ValueError` for an unknown name
    or none.
    """
    names = tuple(PASSAGES) if names is None else (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in names if name not in PASSAGES]
    if unknown or not names:
        raise ValueError(f"need names among {tuple(PASSAGES)}, got {unknown or names}")
    text = tuple(plain(PASSAGES[name].text) for name in names)
    tokens, end = encode(model.tokenizer, text, prepend_bos)
    tokens, end = tokens[:, : model.cfg.n_ctx], end.clamp(max=model.cfg.n_ctx - 1)
    last = tokens.gather(1, end[:, None])[:, 0]
    rows = [(name, *PASSAGES[name][:3], int(n)) for name, n in zip(names, end, strict=True)]
    table = pd.DataFrame(rows, columns=["name", "title", "author", "year", "tokens"])
    return Prompts(tokens, last, last, {"END": end}, text, table)


def plain(text: str) -> str:
    """The text without the line breaks and indents of this file; empty lines separate paragraphs."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))


