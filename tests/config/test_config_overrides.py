"""What ``--set key=value`` gives: text, unless the value is a list or a mapping in brackets, a truth value or null."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlnlp.config import FinetuneSettings, load_settings, read_yaml
from tlnlp.errors import UsageError


def of(*overrides: str) -> FinetuneSettings:
    return load_settings(FinetuneSettings, overrides=["labels=/labels", *overrides])


@pytest.mark.parametrize("name", ["/a: b.csv", "/x #1.csv", "/2026-01-31", "/{a}.csv", "/'a.csv"])
def test_a_file_name_is_text_whatever_yaml_makes_of_it(name: str) -> None:
    assert of(f"labels={name}").labels == f"file://{name}"


def test_lists_and_mappings_stand_in_brackets() -> None:
    assert of("classes=[good, bad]").classes == of("classes=good, bad").classes == ("good", "bad")
    assert of("ray={workers: 3}").ray.workers == 3


def test_a_mapping_without_brackets_is_refused() -> None:
    with pytest.raises(UsageError, match="'ray'"):
        of("ray=workers: 3")


def test_a_key_that_a_file_has_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "night.yaml"
    file.write_text("documents: a\nspark:\n  driver_memory: 1g\n  driver_memory: 2g\n")
    with pytest.raises(UsageError, match=r"night.yaml, line 4: the key driver_memory is there twice: remove one"):
        read_yaml(file)
    file.write_text("base: &base {master: a}\nspark: {<<: *base, master: b}\n")
    assert read_yaml(file)["spark"] == {"master": "b"}
    file.write_text("? [a, b]\n: c\n")
    with pytest.raises(UsageError, match=r"night.yaml, line 1: the config file is not valid YAML"):
        read_yaml(file)
    file.write_text("documents: a\nspark: {driver_memory: 1g}\n")
    assert read_yaml(file) == {"documents": "a", "spark": {"driver_memory": "1g"}}
