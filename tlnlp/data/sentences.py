"""Split a text into sentences, as spans of the text.

The rules need no language: marks of many scripts end a sentence, and so do paragraphs, line-break tags and items of a
list. A span over ``MOST_CHARS`` characters is split at white space or a comma, which also covers scripts that have no
such marks. All but white space and line-break tags belongs to a span. The time grows linearly with the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from tlnlp.data.text import BREAK_TAG

# Where a sentence starts and ends, in characters (code points) of the text.
Span = tuple[int, int]
# Longest span, in characters.
MOST_CHARS = 500

# The insides of character classes: marks that end a sentence only before white space; marks that always do, of Chinese
# and Japanese, Devanagari, Arabic, Urdu, Armenian, Ethiopic, Myanmar, Khmer and Tibetan; and what may close a sentence
# after its mark: quotes and brackets.
_SPACED_CLASS = r".!?\u2026"
_ALWAYS_CLASS = r"\u3002\uff01\uff1f\uff61\u0964\u0965\u061f\u06d4\u0589\u1362\u1367\u104b\u17d4\u0f0d"
_CLOSER_CLASS = r"\"'\u201d\u2019\u00bb)\]\u300d\u300f\uff09\u3011\u300b"
_MARKS = re.compile(
    rf"(?P<spaced>[{_SPACED_CLASS}]++)(?P<closed>[{_CLOSER_CLASS}]*+)|[{_ALWAYS_CLASS}]++[{_CLOSER_CLASS}]*+"
)
_PARAGRAPH = re.compile(
    rf"{BREAK_TAG}|\n[^\S\n]*+\n|\n(?=[^\S\n]*+(?:[-*\u2022\u00b7\u2013]|\d{{1,3}}[.)])\s)", re.IGNORECASE
)
_SEPARATOR = re.compile(r"[\s,;:\uff0c\u3001\uff1b\uff1a\u060c]")
_LIST_NUMBER = re.compile(r"\W*\d{1,3}\.")
_LAST_WORD = re.compile(r"[\w.]+\Z")
# The longest word that is looked up as an abbreviation.
_WORD_CHARS = 12
# Abbreviations that another word of the same sentence always follows.
_TITLES = frozenset(
    (
        *("mr", "mrs", "ms", "mx", "dr", "prof", "st", "rev", "hon", "gen", "col", "sgt", "capt", "lt"),
        *("vs", "cf", "fig", "figs", "vol", "approx", "dept", "nr", "ca", "e.g", "i.e", "z.b", "d.h", "u.a"),
    )
)
# Abbreviations that may also end a sentence.
_ENDINGS = frozenset(("etc", "usw", "jr", "sr", "inc", "ltd", "co"))


def split_sentences(text: str) -> list[Span]:
    """Return the spans of the sentences, in order, without white space at their ends; none of a blank text."""
    return [
        bounded
        for paragraph in _paragraphs(text)
        for sentence in _joined(text, _pieces(text, paragraph))
        for bounded in _bounded(text, sentence)
    ]


def _paragraphs(text: str) -> Iterator[Span]:
    start = 0
    for found in _PARAGRAPH.finditer(text):
        yield from _stripped(text, start, found.start())
        start = found.end()
    yield from _stripped(text, start, len(text))


def _stripped(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the span without the white space at its ends; nothing if it is blank."""
    part = text[start:end]
    if part and not part.isspace():
        yield start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def _pieces(text: str, paragraph: Span) -> Iterator[Span]:
    """Yield what the marks of a paragraph end."""
    start, end = paragraph
    for found in _MARKS.finditer(text, start, end):
        if found.end() < end and (found["spaced"] is None or _ends_sentence(text, found)):
            yield from _stripped(text, start, found.end())
            start = found.end()
    yield from _stripped(text, start, end)


def _ends_sentence(text: str, found: re.Match[str]) -> bool:
    """Return whether a sentence ends at a mark that ends one only before white space."""
    if not text[found.end()].isspace():
        return False
    following = _next_character(text, found.end())
    if following.islower() and (len(found["spaced"]) > 1 or "\u2026" in found["spaced"] or found["closed"]):
        return False  # As in: "Was it?" she asked.
    if found["spaced"] != ".":
        return True
    last = _LAST_WORD.search(text, max(0, found.start() - _WORD_CHARS), found.start())
    word = last[0] if last is not None else ""
    if word.lower() in _TITLES or (word != "I" and _is_initials(word)):
        return False
    return not (following.islower() and (word.lower() in _ENDINGS or "." in word))


def _is_initials(word: str) -> bool:
    """Return whether a word is one capital letter, or several with a point after each but the last: ``U.S``."""
    return all(len(letter) == 1 and letter.isupper() for letter in word.split("."))


def _next_character(text: str, place: int) -> str:
    while place < len(text) and text[place].isspace():
        place += 1
    return text[place : place + 1]


def _joined(text: str, pieces: Iterable[Span]) -> list[Span]:
    """Join marks without a word to the sentence before them, and the number of a list's item to the one after it."""
    joined: list[Span] = []
    for start, end in pieces:
        has_word = any(character.isalnum() for character in text[start:end])
        if joined and (not has_word or _is_list_number(text, joined[-1])):
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def _is_list_number(text: str, span: Span) -> bool:
    return span[1] - span[0] <= _WORD_CHARS and _LIST_NUMBER.fullmatch(text, *span) is not None


def _bounded(text: str, sentence: Span) -> Iterator[Span]:
    """Yield a sentence in parts of at most ``MOST_CHARS`` characters."""
    start, end = sentence
    while end - start > MOST_CHARS:
        limit = start + MOST_CHARS
        separators = [found.end() for found in _SEPARATOR.finditer(text, start + MOST_CHARS // 2, limit)]
        place = separators[-1] if separators else _between_characters(text, start, limit)
        yield from _stripped(text, start, place)
        start = place
    yield from _stripped(text, start, end)


def _between_characters(text: str, start: int, place: int) -> int:
    """Return a place up to the given one that does not part a letter from its combining marks."""
    least = max(start + 1, place - _WORD_CHARS)
    while place > least and unicodedata.category(text[place]).startswith("M"):
        place -= 1
    return place
