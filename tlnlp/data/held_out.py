"""Set labelled examples aside, which a version does not learn from, so that later versions can be compared on them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from tlnlp.data.label_faults import Example
from tlnlp.data.labels import LabelledSet
from tlnlp.data.text import prepare


def hold_out(labelled: LabelledSet, share: float, seed: int, max_chars: int) -> LabelledSet:
    """Return the set with about this share of each class, and at least one example of it, moved to ``held_out``.

    The side of a text depends on the seed and the text alone. So when labels are added and the next version is trained,
    a text that was set aside stays aside, and no version learned from the texts of another. Texts that a model reads
    alike (see ``model_text_sha256``) stay on one side.

    Args:
        share: from 0 to 1; with 0 the set is returned as it is.
        max_chars: the most characters of a text that the model reads.
    """
    if share == 0:
        return labelled
    places = [_place(seed, prepare(example.text, max_chars)) for example in labelled.examples]
    aside = {place for place in places if place < share}
    for label in labelled.counts:
        own = {place for place, example in zip(places, labelled.examples, strict=True) if example.label == label}
        if not own & aside:
            aside.add(min(own))
    sides: tuple[list[Example], list[Example]] = [], []
    for place, example in zip(places, labelled.examples, strict=True):
        sides[place in aside].append(example)
    return replace(labelled, examples=tuple(sides[0]), held_out=tuple(sides[1]))


def _place(seed: int, text: str) -> float:
    """Return a number from 0 to 1, as good as random, that depends on the seed and the text alone."""
    digest = hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
