"""Tests of the sentence splitter: rules by example, and what holds of any text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlnlp.data.sentences import MOST_CHARS, split_sentences
from tlnlp.data.text import BREAK_TAG

PIECES = [
    *("a", "Mr", "e.g", "I", "7", "bread ", "Rye", "\u4eca\u5929", "\u0e01\u0e32", "\U0001f600", "\u0301", "<br />"),
    *(".", "...", "!", "?", "\u2026", "\u3002", "\u0964", '"', ")", "\u201d", "'", ",", "-", "1.", "<br", ">"),
    *(" ", "\n", "\n\n", "\t", "\u00a0", "\u2028", "\x85", "\x1c", "x" * 300),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join) | st.text(max_size=80)


def split(text: str) -> list[str]:
    """Return the sentences of a text as texts."""
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("The bread was warm. Was it? Yes!", ["The bread was warm.", "Was it?", "Yes!"]),
        ("it was cold. i went home.", ["it was cold.", "i went home."]),
        ("Dr. Moss met J. R. Hill at 3.5 p.m. by the U.S. pier. He left.", None),
        (
            "Bring boots, rope etc. and a map. Etc. means more.",
            ["Bring boots, rope etc. and a map.", "Etc. means more."],
        ),
        (
            '"Was it?" she asked. He said "no." Then he left.',
            ['"Was it?" she asked.', 'He said "no."', "Then he left."],
        ),
        ("Well... perhaps. (It rained.) Fine.", ["Well... perhaps.", "(It rained.)", "Fine."]),
        ("Warm ! ! ! Again", ["Warm ! ! !", "Again"]),
        ("one<br /><br>two\n\nthree\nfour", ["one", "two", "three\nfour"]),
        ("1. Warm bread\n2. Cold soup. Never\n- a pier", ["1. Warm bread", "2. Cold soup.", "Never", "- a pier"]),
        ("\u4eca\u5929\u5f88\u597d\u3002\u660e\u5929\u5462\uff1f\u597d", None),
        ("\u092f\u0939 \u0905\u091a\u094d\u091b\u093e \u0939\u0948\u0964 \u0935\u0939 \u092c\u0941\u0930\u093e", None),
        ("  spaces \t", ["spaces"]),
        ("no mark at all", ["no mark at all"]),
        ("...", ["..."]),
    ],
)
def test_where_sentences_end(text: str, sentences: list[str] | None) -> None:
    others = {
        "Dr": ["Dr. Moss met J. R. Hill at 3.5 p.m. by the U.S. pier.", "He left."],
        "\u4eca\u5929": ["\u4eca\u5929\u5f88\u597d\u3002", "\u660e\u5929\u5462\uff1f", "\u597d"],
        "\u092f\u0939": [text[: text.find("\u0964") + 1], text[text.find("\u0964") + 2 :]],
    }
    assert split(text) == (sentences or others[text[:2]])


@pytest.mark.parametrize("text", ["", "  \n\t ", "<br /><BR/> <br>", "\u2028"])
def test_a_blank_text_has_no_sentences(text: str) -> None:
    assert split_sentences(text) == []


def test_a_text_without_marks_is_split_where_words_end() -> None:
    thai = "\u0e2d\u0e32\u0e2b\u0e32\u0e23 " * 300
    parts = split(thai)
    assert len(parts) > 3
    assert {word for part in parts for word in part.split()} == {thai.split()[0]}
    assert list(map(len, split("x" * (2 * MOST_CHARS + 1)))) == [MOST_CHARS, MOST_CHARS, 1]
    # A letter stays with its marks.
    marked = "x" * (MOST_CHARS - 1) + "e\u0301\u0302" + "x" * 10
    assert split(marked)[1].startswith("e\u0301\u0302x") or split(marked)[0].endswith("e\u0301\u0302")


@settings(max_examples=600, deadline=None)
@given(TEXTS)
def test_spans_are_ordered_and_hold_all_but_white_space_and_tags(text: str) -> None:
    spans = split_sentences(text)
    places = [place for span in spans for place in span]
    assert places == sorted(places)
    assert all(0 < end - start <= MOST_CHARS and text[start:end] == text[start:end].strip() for start, end in spans)
    between = [*zip([0, *places[1::2]], [*places[::2], len(text)], strict=True)]
    left_over = "".join(re.sub(BREAK_TAG, "", text[start:end], flags=re.IGNORECASE) for start, end in between)
    assert not left_over.strip()
