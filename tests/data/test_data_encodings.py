"""Encodings: which ones a setting may name, and how a file in another one is recognised by its first line."""

from __future__ import annotations

import pytest

from tlnlp.config import EvaluateSettings, FinetuneSettings, ScoreSettings, load_settings
from tlnlp.data.encodings import check_first_line, decode_line
from tlnlp.data.text import has_surrogates
from tlnlp.errors import InputDataError, UsageError


@pytest.mark.parametrize("name", ["utf-8", "UTF8", "latin-1", "cp1252", "koi8-r", "euc_jp", "shift_jis", "gb18030"])
def test_an_encoding_that_extends_ascii_is_taken(name: str) -> None:
    settings = load_settings(ScoreSettings, overrides=[f"encoding={name}", "documents=d", "score_date=2026-11-23"])
    assert b"a,b\n".decode(settings.encoding) == "a,b\n"


@pytest.mark.parametrize("name", ["utf-16", "utf-32-le", "utf-7", "cp037", "rot13", "hex", "unicode_escape", "nothing"])
def test_any_other_encoding_is_refused_by_name(name: str) -> None:
    for kind, key in ((EvaluateSettings, "encoding"), (FinetuneSettings, "unlabelled_encoding")):
        with pytest.raises(UsageError, match=f"'{key}': '{name}' is not an encoding that can be read by lines"):
            load_settings(kind, overrides=[f"{key}={name}", "labels=l"])


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "euc_jp", "shift_jis", "gb18030", "big5"])
def test_bytes_of_any_kind_are_decoded_to_text_or_to_surrogates(encoding: str) -> None:
    for first in range(256):
        for second in (b"", b"a", b"\n", b"\x81", b"\xff"):
            line = b"ab" + bytes([first]) + second + b"\n"
            text = decode_line(line, encoding)
            assert (text[:2], text[-1]) == ("ab", "\n")
            try:
                assert text == line.decode(encoding)
            except UnicodeDecodeError:
                assert has_surrogates(text)


@pytest.mark.parametrize("end", ["", "-le", "-be"])
@pytest.mark.parametrize("width", [16, 32])
def test_wide_encodings_are_recognised(width: int, end: str) -> None:
    for text in ("id,text\n", '{"id": "1", "text": "caf\u00e9"}\n', "id,\u30c6\u30ad\u30b9\u30c8\n"):
        with pytest.raises(InputDataError, match=f"a.csv: the file is in UTF-{width}.*iconv -f UTF-{width}"):
            check_first_line("a.csv", text.encode(f"utf-{width}{end}"), "csv")


@pytest.mark.parametrize("line", [b"a\x00b,text\n", b"\xff,text\n", b"[1, 2]\n", b"[]\n", b'{"id": 1,\n', b"id,text\n"])
def test_a_line_of_text_is_left_to_the_parsers(line: bytes) -> None:
    check_first_line("a", line, "csv")
    check_first_line("a", line, "json")
