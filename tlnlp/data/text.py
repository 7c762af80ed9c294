"""Cut and normalise texts before a model reads them, the same in training, evaluation and scoring."""

from __future__ import annotations

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

CUT_MARK = " ... "
HEAD_SHARE = 0.5
_WORD = re.compile(r"\S+")
# Patterns for Python and for Java: Spark decides by the same rules (``score.contract``). The insides of classes first.
# Control characters of binary content, and the replacement character:
CONTROL_CLASS = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufffd"
# White space, as ``str.isspace`` has it:
BLANK_CLASS = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# A tag that breaks a line, without regard to case:
BREAK_TAG = rf"<br[{BLANK_CLASS}]*/?>"
_BREAK_TAG = re.compile(BREAK_TAG, re.IGNORECASE)
_CONTROL = re.compile(f"[{CONTROL_CLASS}]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_NEVER = re.compile(r"[\x00\ud800-\udfff]")
MAX_CONTROL_SHARE = 0.1
# The default of ``max_chars``, where a version does not state it.
MAX_CHARS = 10_000


def text_sha256(text: str) -> str:
    """Return the sha256 of the raw text's UTF-8 bytes, in hex: it says whether a document has the very same text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_below(share: float) -> str:
    """Return what the digests of so large a share of all texts are below, as text: of a random sample of the texts."""
    return "g" if share >= 1 else f"{int(share * 2**32):08x}"


def model_text_sha256(text: str, max_chars: int) -> str:
    """Return the sha256 of a text as a model reads it (``prepare``), in hex: it says which texts are one text to learn.

    All that keeps training texts and test texts apart compares texts by it: duplicates, conflicting labels, labels that
    are set aside, documents with a label, and what a version learned from. Texts that differ in white space, in
    line-break tags, or only in the middle that is cut out, are one text. Case and Unicode form count, as they do in
    ``prepare``: what comes after it differs from encoder to encoder.
    """
    return text_sha256(prepare(text, max_chars))


def cut_lengths(max_chars: int) -> tuple[int, int]:
    """Return how many characters ``cut`` leaves of the head and of the tail of a text over ``max_chars``."""
    room = max_chars - len(CUT_MARK)
    head = int(room * HEAD_SHARE)
    return head, room - head


def cut(text: str, max_chars: int) -> str:
    """Return the text, or its head and tail if it is longer than ``max_chars`` characters (code points).

    The result has at most ``max_chars`` characters, so a second cut changes nothing. This matters because Spark cuts
    long texts in the JVM, before it sends them to Python, and the model cuts again.
    """
    if len(text) <= max_chars:
        return text
    head, tail = cut_lengths(max_chars)
    return text[:head] + CUT_MARK + text[len(text) - tail :]


def normalise(text: str) -> str:
    """Replace line-break tags and runs of white space by one space each, and strip the ends."""
    return " ".join((_BREAK_TAG.sub(" ", text) if "<" in text else text).split())


def prepare(text: str, max_chars: int) -> str:
    """Return the text as both views of a model read it: cut, then normalised."""
    return normalise(cut(text, max_chars))


def prepare_aligned(text: str, max_chars: int) -> tuple[str, NDArray[np.int64]]:
    """Return what ``prepare`` does, and the place in the given text of each character of it, (characters,).

    The place of what the given text does not have is -1: spaces between words, and the mark of a cut.
    """
    shown, places = cut(text, max_chars), np.arange(len(text))
    if len(text) > max_chars:
        head, tail = cut_lengths(max_chars)
        places = np.concatenate([places[:head], np.full(len(CUT_MARK), -1), places[len(text) - tail :]])
    words = [found.span() for found in _WORD.finditer(_BREAK_TAG.sub(lambda tag: " " * len(tag[0]), shown))]
    space = np.array([-1])
    parts = [part for start, end in words for part in (space, places[start:end])]
    prepared = " ".join(shown[start:end] for start, end in words)
    return prepared, np.concatenate(parts[1:]) if parts else np.zeros(0, dtype=np.int64)


def has_surrogates(text: str) -> bool:
    """Return whether a text holds an unpaired surrogate: it stands for bytes that are not UTF-8."""
    return not text.isascii() and _SURROGATES.search(text) is not None


def without_surrogates(text: str) -> str:
    """Return the text with the replacement character in place of each unpaired surrogate."""
    return _SURROGATES.sub("\ufffd", text)


def with_escapes(text: str) -> str:
    r"""Return the text with an escape in place of each unpaired surrogate: ``\xe9`` for a byte, ``\ud83d`` for others.

    A backslash is doubled, so that two texts that differ still do.
    """
    return _SURROGATES.sub(_escape, text.replace("\\", "\\\\"))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def is_blank(text: str) -> bool:
    """Return whether a text is empty, or white space and line-break tags only."""
    return not (_BREAK_TAG.sub("", text) if "<" in text else text).strip()


def is_text(text: str) -> bool:
    """Return False for binary content.

    Binary content has a NUL, an unpaired surrogate, or more than a tenth of control characters.
    """
    if _NEVER.search(text):
        return False
    return len(_CONTROL.findall(text)) <= MAX_CONTROL_SHARE * len(text)
