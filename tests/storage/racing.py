"""Run a race between processes, round by round, and count the winners."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

_TIMEOUT_S = 300.0


def race(work: Callable[..., list[bool]], racers: int, rounds: int, *arguments: Any) -> list[int]:
    """Run ``work(barrier, racer, rounds, *arguments)`` in ``racers`` new processes.

    Returns the number of racers with the result True, for each round.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(racers)
    results = context.Queue()
    processes = [
        context.Process(target=_run, args=(work, barrier, racer, rounds, arguments, results)) for racer in range(racers)
    ]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=_TIMEOUT_S) for _ in processes]
    for process in processes:
        process.join(_TIMEOUT_S)
    failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if failures:
        raise RuntimeError(f"{len(failures)} of {racers} racers failed: {failures[0]}")
    return [sum(wins) for wins in zip(*outcomes, strict=True)]


def _run(
    work: Callable[..., list[bool]],
    barrier: Barrier,
    racer: int,
    rounds: int,
    arguments: tuple[Any, ...],
    results: Any,
) -> None:
    outcome: list[bool] | str = f"racer {racer}, whose traceback stands above"
    try:
        outcome = work(barrier, racer, rounds, *arguments)
    finally:
        if isinstance(outcome, str):
            barrier.abort()
        results.put(outcome)
