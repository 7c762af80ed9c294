"""The pieces of a run are made once, and resumed by a later start of the same run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tlnlp.storage import Storage
from tlnlp.train.fit.encoder_fit import FitResult
from tlnlp.train.resume_cache import ResumeCache


def never() -> None:
    """Fail: the artifact exists already."""
    raise AssertionError("made a second time")


def test_notes_probabilities_and_fits_are_made_once(tmp_path: Path) -> None:
    cache, again = (ResumeCache(Storage(str(tmp_path)), "run") for _ in range(2))
    whole = FitResult({"a": torch.arange(3.0)}, np.array([[0.25, 0.75]]), 7, 1.5, 2.5)
    fits = [whole, FitResult({}, np.zeros((0, 2)), 8)]
    assert cache.note("plan", lambda: {"rounds": 2}) == {"rounds": 2}
    assert cache.array("p", lambda: np.eye(2)).tolist() == np.eye(2).tolist()
    cache.fits("f", lambda: fits)

    assert again.note("plan", never) == {"rounds": 2}  # type: ignore[arg-type]
    assert again.array("p", never).tolist() == np.eye(2).tolist()  # type: ignore[arg-type]
    one, other = again.fits("f", never)  # type: ignore[arg-type]
    assert torch.equal(one.weights["a"], torch.arange(3.0))
    assert (one.held_out.tolist(), one.steps, one.seconds, one.rate) == ([[0.25, 0.75]], 7, 1.5, 2.5)
    assert (other.weights, other.held_out.shape, other.steps) == ({}, (0, 2), 8)


def test_artifacts_belong_to_one_run_until_it_forgets_them(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    ResumeCache(storage, "run").note("plan", lambda: {"rounds": 2})
    with pytest.raises(AssertionError, match="second time"):
        ResumeCache(storage, "other").note("plan", never)  # type: ignore[arg-type]
    ResumeCache(storage, "run").forget()
    assert ResumeCache(storage, "run").note("plan", lambda: {"rounds": 3}) == {"rounds": 3}
