"""Paths and URIs are normalised to one form, and invalid ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlnlp.errors import UsageError
from tlnlp.storage import Storage
from tlnlp.storage.uri import join_uri, local_path, resolve_uri


def test_paths_become_absolute_file_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = f"file://{tmp_path}"
    assert resolve_uri("labels") == f"{here}/labels"
    assert resolve_uri("./labels/") == f"{here}/labels"
    assert resolve_uri("a/../labels") == f"{here}/labels"
    assert resolve_uri(str(tmp_path / "labels")) == f"{here}/labels"
    assert resolve_uri(".") == here
    monkeypatch.setenv("HOME", "/home/someone")
    assert resolve_uri("~/labels") == "file:///home/someone/labels"


def test_a_storage_keeps_the_folder_it_was_made_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("here")
    storage.write("a", b"1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert storage.read("a") == b"1"
    assert (tmp_path / "here" / "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("file:///data/labels/", "file:///data/labels"),
        ("file:////data//labels/../x", "file:///data/x"),
        ("/data/50% off/ü", "file:///data/50% off/ü"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3a://bucket/a", "s3://bucket/a"),
        ("S3://Bucket/a", "s3://Bucket/a"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("az://container/a", "az://container/a"),
    ],
)
def test_uris_have_one_form(given: str, expected: str) -> None:
    assert resolve_uri(given) == expected
    assert resolve_uri(resolve_uri(given)) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ftp://host/x", "unknown scheme 'ftp'"),
        ("hdfs://host/x", "unknown scheme 'hdfs'"),
        ("http://host/x", "unknown scheme"),
        ("://x", "unknown scheme ''"),
        ("file://host/x", "takes an absolute path; write it as in file:///"),
        ("file:/data", "two slashes after the colon; write it as in s3://"),
        ("s3:/bucket/x", "two slashes"),
        ("s3://", "names no bucket or folder; write it as in s3://"),
        ("s3:///key", "names no bucket or folder"),
        ("file:///", "names no bucket or folder"),
        ("", "empty address"),
        ("  ", "empty address"),
    ],
)
def test_what_is_no_address_is_refused(given: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_uri(given)
    with pytest.raises(UsageError, match=message):
        Storage(given)


def test_local_path_is_none_for_object_stores(tmp_path: Path) -> None:
    assert local_path(f"file://{tmp_path}/a b") == tmp_path / "a b"
    assert local_path(str(tmp_path)) == tmp_path
    assert local_path("s3://bucket/a") is None


def test_join_uri_has_one_slash() -> None:
    assert join_uri("s3://bucket/a/", "/b/c") == join_uri("s3://bucket/a", "b/c") == "s3://bucket/a/b/c"
