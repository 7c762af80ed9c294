"""Tests of the text functions that training and scoring share."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlnlp.data.text import (
    CUT_MARK,
    cut,
    cut_lengths,
    is_blank,
    is_text,
    normalise,
    prepare,
    prepare_aligned,
    text_sha256,
)

LONG = "".join(chr(0x4E00 + i % 500) for i in range(997)) + "\U0001f600" * 500


@pytest.mark.parametrize("max_chars", [5, 6, 100, 101, 1000, len(LONG) - 1, len(LONG), len(LONG) + 1])
def test_cut_is_bounded_and_idempotent(max_chars: int) -> None:
    once = cut(LONG, max_chars)
    assert len(once) == min(max_chars, len(LONG))
    assert cut(once, max_chars) == once


def test_cut_keeps_head_and_tail() -> None:
    head, tail = cut_lengths(100)
    assert head + tail + len(CUT_MARK) == 100
    assert cut(LONG, 100) == LONG[:head] + CUT_MARK + LONG[-tail:]
    assert cut("short", 100) == "short"


def test_cut_first_elsewhere_changes_nothing() -> None:
    # Spark cuts long texts before it sends them to Python, where the model prepares the result.
    text = "a <br /> b\t" * 300
    assert prepare(cut(text, 250), 250) == prepare(text, 250)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \n\t b  ", "a b"),
        ("one<br />two<BR>three<br/>four", "one two three four"),
        ("<b>kept</b> <bring>", "<b>kept</b> <bring>"),
        ("non\u00a0breaking\u3000wide", "non breaking wide"),
        ("", ""),
        ("<br>", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize(
    "text", ["plain", "tab\tand\nline\r\n", "\U0001f600 ünï", "", "x" * 9 + "\x01", "\ufffd" + "x" * 9]
)
def test_is_text(text: str) -> None:
    assert is_text(text)


@pytest.mark.parametrize("text", ["a\x00b", "x" * 8 + "\x01", "\x89PNG\x1a\x01\x02", "\ufffd\ufffdab", "bread \ud83d"])
def test_is_not_text(text: str) -> None:
    assert not is_text(text)


def test_is_blank() -> None:
    assert is_blank(" \n\t\u00a0\u3000")
    assert is_blank("<br><BR />\n<br/>")
    assert not is_blank("<br>a")
    assert not is_blank("<brr>")
    assert not is_blank(" . ")


def test_identity_is_of_the_raw_text() -> None:
    assert text_sha256("é") == hashlib.sha256("é".encode()).hexdigest()
    assert text_sha256("a b") != text_sha256("a  b")
    assert len(text_sha256("\ud83d")) == 64


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "bc", " ", "  ", "\n", "<br />", "<BR>", "<br", " />", "\u00a0", "\U0001f600"]))
    | st.lists(st.characters()),
    st.integers(6, 40),
)
def test_an_aligned_text_is_the_prepared_one_with_the_place_of_each_character(pieces: list[str], most: int) -> None:
    text = "".join(pieces)
    prepared, places = prepare_aligned(text, most)
    assert prepared == prepare(text, most)
    assert len(places) == len(prepared)
    found = [(character, place) for character, place in zip(prepared, places.tolist(), strict=True) if place >= 0]
    assert all(text[place] == character for character, place in found)
    assert [place for _, place in found] == sorted({place for _, place in found})
    # Beside spaces, only the mark of a cut has no place.
    without = "".join(character for character, place in zip(prepared, places, strict=True) if place < 0)
    assert without.replace(" ", "") == ("..." if len(text) > most else "")
