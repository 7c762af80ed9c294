"""Tests of pooling: mean, first or largest state, scaled or not; padding has no effect."""

from __future__ import annotations

from pathlib import Path

import kit
import pytest
import torch
from torch import Tensor

from tlnlp.model.torch_encoder import load_encoder

IDS = torch.tensor([[2, 5, 6, 7, 3, 0, 0], [2, 8, 3, 0, 0, 0, 0], [2, 9, 9, 9, 9, 9, 3]])
MASK = (IDS != 0).long()


@pytest.fixture(scope="module")
def uneven_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an encoder whose states differ in length and between texts."""
    return kit.make_encoder(tmp_path_factory.mktemp("encoder") / "uneven", deviation=0.3)


def states_of(encoder: Path) -> list[Tensor]:
    """Return the token states of each text, read alone."""
    network = load_encoder(str(encoder), 2, "mean", 0.0, 0).eval().encoder
    return [network(input_ids=ids[mask > 0][None]).last_hidden_state[0] for ids, mask in zip(IDS, MASK, strict=True)]


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_pooled_states_worked_out_text_by_text(uneven_encoder: Path, pooling: str, normalise: bool) -> None:
    model = load_encoder(str(uneven_encoder), 2, pooling, 0.0, 0, normalise=normalise).eval()
    with torch.inference_mode():
        pooled = model.pool(IDS, MASK)
        assert torch.equal(model(IDS, MASK, features=True), pooled)
        assert torch.allclose(model(IDS, MASK), pooled @ model.head.weight.T + model.head.bias, atol=1e-6)
        for one, states in zip(pooled, states_of(uneven_encoder), strict=True):
            expected = {"mean": states.mean(0), "cls": states[0], "max": states.max(0).values}[pooling]
            if normalise:
                expected = expected / expected.norm() * 32**0.5
                assert float(one.norm()) == pytest.approx(32**0.5, rel=1e-5)
            else:
                # Otherwise scaling would change nothing here.
                assert abs(float(one.norm()) - 32**0.5) > 0.01
            assert torch.allclose(one, expected, atol=1e-5)


def test_the_largest_is_not_that_of_padding(uneven_encoder: Path) -> None:
    # Where all states of a text are negative, padding must not raise the largest to 0.
    model = load_encoder(str(uneven_encoder), 2, "max", 0.0, 0).eval()
    states = -torch.ones(2, 3, 32)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]]).unsqueeze(-1)
    assert torch.equal(model._over_tokens(states, mask), -torch.ones(2, 32))
    half = model._over_tokens(states.to(torch.bfloat16), mask)
    assert torch.equal(half, -torch.ones(2, 32, dtype=torch.bfloat16))
