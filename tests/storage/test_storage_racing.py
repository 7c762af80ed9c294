"""Races of processes for the same object. ``TLNLP_RACERS`` and ``TLNLP_ROUNDS`` set the number of racers and rounds."""

from __future__ import annotations

import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

from racing import race

from tlnlp.storage import Storage

RACERS = int(os.environ.get("TLNLP_RACERS", "8"))
ROUNDS = int(os.environ.get("TLNLP_ROUNDS", "25"))


def _claim(barrier: Barrier, racer: int, rounds: int, root: str) -> list[bool]:
    storage = Storage(root)
    wins = []
    for number in range(rounds):
        barrier.wait()
        wins.append(storage.put_if_absent(f"claims/{number}.json", b"%d" % racer))
    return wins


def test_of_racing_claims_one_wins(root: str) -> None:
    winners = race(_claim, RACERS, ROUNDS, root)
    assert winners == [1] * ROUNDS
    assert len(list(Storage(root).list())) == ROUNDS


def _swap(barrier: Barrier, racer: int, rounds: int, root: str) -> list[bool]:
    storage = Storage(root)
    wins = []
    for number in range(rounds):
        tag = storage.read_tagged(f"alias/{number}").tag
        barrier.wait()
        wins.append(storage.compare_and_swap(f"alias/{number}", b"%d" % racer, tag))
    return wins


def test_of_racing_swaps_one_wins(root: str) -> None:
    for number in range(ROUNDS):
        Storage(root).write(f"alias/{number}", b"start")
    assert race(_swap, RACERS, ROUNDS, root) == [1] * ROUNDS
    assert all(Storage(root).read(f"alias/{number}") != b"start" for number in range(ROUNDS))


def _count_up(barrier: Barrier, racer: int, rounds: int, root: str) -> list[bool]:
    # Half of the racers reach the object from another root.
    storage, key = (Storage(root), "a/b/counter") if racer % 2 else (Storage(root).at("a"), "b/counter")
    barrier.wait()
    for _ in range(rounds):
        swapped = False
        while not swapped:
            old = storage.read_tagged(key)
            swapped = storage.compare_and_swap(key, b"%d" % (int(old.data) + 1), old.tag)
    return [True] * rounds


def test_no_racing_increment_is_lost_between_roots(root: str) -> None:
    Storage(root).write("a/b/counter", b"0")
    race(_count_up, RACERS, ROUNDS, root)
    assert int(Storage(root).read("a/b/counter")) == RACERS * ROUNDS


def test_a_reader_never_sees_half_an_object(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("a", b"x" * 4_000_000)
    assert race(_replace_or_read, 2, 40, str(tmp_path)) == [2] * 40


def _replace_or_read(barrier: Barrier, racer: int, rounds: int, root: str) -> list[bool]:
    storage = Storage(root)
    whole = {b"x" * 4_000_000, b"y" * 4_000_001}
    barrier.wait()
    if racer == 0:
        return [storage.read("a") in whole for _ in range(rounds)]
    for number in range(rounds):
        storage.write("a", sorted(whole)[number % 2])
    return [True] * rounds
