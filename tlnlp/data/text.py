"""What is done to a text before any model sees it. Training, evaluation and scoring call the same functions."""

from __future__ import annotations

import hashlib
import re

CUT_MARK = " ... "
HEAD_SHARE = 0.5
_TAG_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_WHITESPACE = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")
_NEVER = re.compile(r"[\x00\ud800-\udfff]")
MAX_CONTROL_SHARE = 0.1


def text_sha256(text: str) -> str:
    """Hex digest of the raw text's UTF-8 bytes: the identity of a text everywhere in tlnlp."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def cut_lengths(max_chars: int) -> tuple[int, int]:
    """How many characters of the head and of the tail a text over ``max_chars`` keeps."""
    room = max_chars - len(CUT_MARK)
    head = int(room * HEAD_SHARE)
    return head, room - head


def cut(text: str, max_chars: int) -> str:
    """The text, or its head and tail where it is longer than ``max_chars`` characters (code points).

    The result is at most ``max_chars`` long, so that cutting twice changes nothing: Spark cuts long texts in the JVM
    before they travel to Python, and the model cuts again.
    """
    if len(text) <= max_chars:
        return text
    head, tail = cut_lengths(max_chars)
    return text[:head] + CUT_MARK + text[len(text) - tail :]


def normalise(text: str) -> str:
    """Line-break tags and runs of white space become one space; the ends are stripped."""
    return _WHITESPACE.sub(" ", _TAG_BREAK.sub(" ", text)).strip()


def prepare(text: str, max_chars: int) -> str:
    """What the views of a model read: the text cut, then normalised."""
    return normalise(cut(text, max_chars))


def is_blank(text: str) -> bool:
    return not text.strip()


def is_text(text: str) -> bool:
    """False for binary content: a NUL, half of a surrogate pair, or over a tenth of control characters."""
    if _NEVER.search(text):
        return False
    return len(_CONTROL.findall(text)) <= MAX_CONTROL_SHARE * len(text)
