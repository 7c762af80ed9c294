"""Tests of the champion alias: promotion, refusal, rollback."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from registry_kit import MOMENT, promote

from tlnlp.errors import ModelNotFoundError, PromotionRefusedError, StorageError
from tlnlp.registry import Registry


def test_the_first_promotion_and_the_next(registry: Registry, folder: Path) -> None:
    for _ in range(2):
        registry.publish("m", folder)
    assert registry.champion("m") is None
    first = promote(registry, 1, "the first")
    assert (first.version, first.previous, first.by, first.reason, first.forced) == (1, None, "ada", "the first", False)
    assert first.at == (MOMENT + timedelta(minutes=3)).isoformat()
    second = promote(registry, 2, "had to", forced=True)
    assert (second.version, second.previous, second.forced) == (2, 1, True)
    assert second == registry.champion("m")
    assert second.history == (first.reign,)
    stored = json.loads(registry.storage.read("m/champion.json"))
    assert (stored["version"], stored["previous"], stored["forced"], stored["by"]) == (2, 1, True, "ada")
    assert "tag" not in stored


def test_a_promotion_against_an_old_alias_is_refused(registry: Registry, folder: Path) -> None:
    for _ in range(3):
        registry.publish("m", folder)
    first = promote(registry, 1)
    promote(registry, 2)
    for expected in (None, first.tag, "", "nonsense"):
        with pytest.raises(PromotionRefusedError, match=r"m@3 .*another promotion came first \(version 2 is champion"):
            registry.set_champion("m", 3, expected=expected, by="eve", reason="x")
    assert registry.resolve("m").version == 2


def test_a_promotion_that_expects_a_champion_where_there_is_none(registry: Registry, folder: Path) -> None:
    registry.publish("m", folder)
    with pytest.raises(PromotionRefusedError, match="no champion now"):
        registry.set_champion("m", 1, expected="tag", by="eve", reason="x")
    assert registry.champion("m") is None


def test_an_alias_that_went_and_came_back_is_another(registry: Registry, folder: Path) -> None:
    for _ in range(2):
        registry.publish("m", folder)
    seen = promote(registry, 1)
    promote(registry, 2)
    registry.rollback("m", by="ada", reason="worse")
    with pytest.raises(PromotionRefusedError):
        registry.set_champion("m", 2, expected=seen.tag, by="eve", reason="x")


def test_the_champion_is_not_promoted_again(registry: Registry, folder: Path) -> None:
    registry.publish("m", folder)
    promote(registry, 1)
    with pytest.raises(PromotionRefusedError, match="champion already"):
        promote(registry, 1)


def test_rollbacks_walk_back_and_say_when_they_cannot(registry: Registry, folder: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no model 'm'"):
        registry.rollback("m", by="ada", reason="x")
    for _ in range(4):
        registry.publish("m", folder)
    with pytest.raises(ModelNotFoundError, match="no champion yet"):
        registry.rollback("m", by="ada", reason="x")
    for version in (1, 3, 2):
        promote(registry, version)
    back = registry.rollback("m", by="grace", reason="worse on Tuesday")
    assert (back.version, back.previous, back.by, back.reason) == (3, 1, "grace", "worse on Tuesday")
    promote(registry, 4)
    walked = [registry.rollback("m", by="grace", reason="x").version for _ in range(2)]
    assert walked == [3, 1]
    with pytest.raises(ModelNotFoundError, match=r"no champion came before version 1.*stays champion"):
        registry.rollback("m", by="grace", reason="x")
    assert registry.resolve("m").version == 1
    assert promote(registry, 2).previous == 1


def test_no_rollback_to_a_version_that_is_gone(registry: Registry, folder: Path) -> None:
    for version in (1, 2):
        registry.publish("m", folder)
        promote(registry, version)
    registry.storage.delete_folder("m/versions/1")
    with pytest.raises(ModelNotFoundError, match=r"no version 1, .*it has 2"):
        registry.rollback("m", by="ada", reason="x")
    assert registry.resolve("m").version == 2


def test_the_alias_remembers_a_hundred(registry: Registry, folder: Path) -> None:
    for _ in range(2):
        registry.publish("m", folder)
    for number in range(105):
        promote(registry, number % 2 + 1)
    champion = registry.champion("m")
    assert champion is not None
    assert len(champion.history) == 100
    assert [reign.version for reign in champion.history[-2:]] == [1, 2]


@pytest.mark.parametrize("damage", [b"", b"\xff", b"[]", b"3", b"{}", b'{"version": 1}'])
def test_a_damaged_alias_is_named(registry: Registry, folder: Path, damage: bytes) -> None:
    registry.publish("m", folder)
    registry.storage.write("m/champion.json", damage)
    with pytest.raises(StorageError, match=r"m/champion.json: not a champion alias"):
        registry.resolve("m")
    assert registry.resolve("m@1").version == 1
