"""Which files of a folder are read, and which are left out and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlnlp.data.labels import LabelContract, read_labels
from tlnlp.data.pool import read_pool
from tlnlp.data.tables import list_source
from tlnlp.errors import InputDataError


def folder_of(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"text": "warm bread", "label": "good"}\n')
    return folder


@pytest.mark.parametrize(
    ("names", "read", "left_out"),
    [
        (["top.jsonl", "archive/more.jsonl"], ["archive/more.jsonl", "top.jsonl"], []),
        (["2026/01/31/part-0.jsonl"], ["2026/01/31/part-0.jsonl"], []),
        (["b.jsonl", "date=2026-01-30/a.jsonl"], ["b.jsonl", "date=2026-01-30/a.jsonl"], []),
        (["a.jsonl", "README.txt", "b/notes.md"], ["a.jsonl"], ["README.txt", "b/notes.md"]),
        (["a.jsonl", "_old/b.jsonl", ".c.jsonl"], ["a.jsonl"], [".c.jsonl", "_old/b.jsonl"]),
        (["a.jsonl", "_SUCCESS", ".a.jsonl.crc"], ["a.jsonl"], []),
    ],
)
def test_files_in_plain_sub_folders_are_read_and_others_are_named(
    tmp_path: Path, names: list[str], read: list[str], left_out: list[str]
) -> None:
    listing = list_source(str(folder_of(tmp_path / "docs", *names)))
    assert [file.key.removeprefix("docs/") for file in listing.files] == read
    assert listing.left_out == left_out


def test_files_of_another_format_than_the_given_one_are_named(tmp_path: Path) -> None:
    listing = list_source(str(folder_of(tmp_path / "docs", "a.jsonl", "b.csv")), "csv")
    assert ([file.key for file in listing.files], listing.left_out) == (["docs/b.csv"], ["a.jsonl"])


@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        ("docs/_delta_log/00000000000000000000.json", "Delta"),
        ("docs/shop/_delta_log/00000000000000000000.json", "Delta"),
        ("docs/metadata/00001-ab.metadata.json", "Iceberg"),
        ("docs/.hoodie/hoodie.properties", "Hudi"),
        ("_delta_log/00000000000000000000.json", "Delta or Hudi"),
    ],
)
def test_the_files_of_a_table_format_are_refused(tmp_path: Path, mark: str, kind: str) -> None:
    folder_of(tmp_path, "docs/a.jsonl", mark)
    for read in (
        lambda uri: read_labels(uri, LabelContract()),
        lambda uri: read_pool(uri, "text", 5, 0, ()),
    ):
        with pytest.raises(InputDataError, match=rf"docs: the folder belongs to a table of {kind}, .*export its rows"):
            read(str(tmp_path / "docs"))
