"""Training reproduces the recorded losses, heads, combinations and scores (``golden_kit.py``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import golden_kit
import kit
import pytest

# Processors add in another order, so the last digits differ: by 2.7e-6 at most between the instruction sets of PyTorch
# on one processor (ATEN_CPU_CAPABILITY=default, avx2, avx512).
RELATIVE, ABSOLUTE = 1e-5, 1e-5


def numbers(figures: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Yield each number of nested lists and dictionaries, and its place."""
    if isinstance(figures, dict | list):
        for key, value in figures.items() if isinstance(figures, dict) else enumerate(figures):
            yield from numbers(value, f"{place}/{key}")
    else:
        yield place, figures


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an encoder whose states differ much between texts: with others, a head amplifies the last digits."""
    return kit.make_encoder(tmp_path_factory.mktemp("encoder") / "uneven", deviation=0.3)


@pytest.mark.parametrize("name", sorted(golden_kit.RUNS))
def test_a_run_reproduces_the_recorded_figures(
    name: str, encoder: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    figures = golden_kit.measure(name, encoder, tmp_path)
    if pytestconfig.getoption("--rewrite-golden"):
        golden_kit.rewrite(name, figures)
    recorded = json.loads(golden_kit.GOLDEN.read_text())
    found, wanted = (dict(numbers(one)) for one in (figures, recorded["runs"][name]))
    assert found == pytest.approx(wanted, rel=RELATIVE, abs=ABSOLUTE), (
        f"training changed. Recorded with {recorded['libraries']}, run with {golden_kit.libraries()}. If the change is "
        "meant, run pytest tests/train/test_train_golden.py --rewrite-golden"
    )


def test_the_recorded_runs_hold_each_kind_of_fit() -> None:
    runs = json.loads(golden_kit.GOLDEN.read_text())["runs"]
    # Two folds and the fit on all labels; then a student of six steps.
    fits = {name: [len(fit) for fit in run["losses"]] for name, run in runs.items()}
    assert fits == {"contrast": [6] * 3, "classify": [6] * 3, "co_training": [6] * 4}
    for run in runs.values():
        assert run["mean_change_of_the_encoder"] > 1e-5
        assert len({round(loss, 4) for fit in run["losses"] for loss in fit}) > 6
