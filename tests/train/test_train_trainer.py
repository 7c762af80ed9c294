"""Training steps: balanced batches, the contrastive loss, and the head fitted at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tlnlp.config import TrainingSettings
from tlnlp.model.encoder_conventions import Conventions, EncoderSource
from tlnlp.model.tokenize import TokenIds
from tlnlp.train.fit.batches import balanced_batches
from tlnlp.train.fit.encoder_fit import EncoderFit, Objective
from tlnlp.train.fit.linear_head import linear_head
from tlnlp.train.fit.losses import contrast
from tlnlp.train.fit.precision import in_bfloat16
from tlnlp.train.fit.trainer import Trainer

CPU = torch.device("cpu")
RECIPE = TrainingSettings(
    batch_size=8, min_steps=1, dropout=0.0, learning_rate=2e-3, head_learning_rate=0.05, precision="fp32"
)


def fit(encoder: Path, objective: Objective, steps: int, texts: int = 24) -> EncoderFit:
    """Return a fit to texts whose first word decides their class."""
    tokens = TokenIds.of([2, 4 + i % 2, *range(6, 8 + i % 9), 3] for i in range(texts))
    targets = np.eye(2, dtype=np.float32)[np.arange(texts) % 2]
    return EncoderFit(
        encoder=EncoderSource(str(encoder), Conventions("mean", "", False, False, 128), pad_token_id=0),
        edges=(1, 1),
        tokens=tokens,
        targets=targets,
        weights=np.ones(texts, dtype=np.float32),
        held_out=tokens,
        steps=steps,
        crop_tokens=6,
        read_tokens=16,
        objective=objective,
        seed=3,
        recipe=RECIPE,
    )


def learned(fit: EncoderFit) -> Trainer:
    """Run all steps of a fit."""
    learner = Trainer(fit, CPU)
    learner.begin()
    for step, batch in learner.batches(0):
        learner.step(step, batch)
    learner.finish()
    return learner


def test_a_fit_starts_from_its_initial_tensors(tiny_encoder: Path) -> None:
    first = learned(fit(tiny_encoder, "contrast", 3)).model.state_dict()
    second = Trainer(replace(fit(tiny_encoder, "classify", 3), initial=dict(first)), CPU)
    assert all(torch.equal(tensor, first[name]) for name, tensor in second.model.state_dict().items())
    fresh = Trainer(fit(tiny_encoder, "classify", 3), CPU).model.state_dict()
    assert any(not torch.equal(tensor, first[name]) for name, tensor in fresh.items())


def test_a_contrastive_fit_keeps_a_share_of_its_change(tiny_encoder: Path) -> None:
    def ends(share: float, objective: Objective = "contrast") -> torch.Tensor:
        recipe = RECIPE.model_copy(update={"tuned_share": share})
        tuned = learned(replace(fit(tiny_encoder, objective, 3), recipe=recipe))
        return next(p for p in tuned.model.encoder.parameters() if p.requires_grad).detach()

    begun = next(
        p for p in Trainer(fit(tiny_encoder, "contrast", 3), CPU).model.encoder.parameters() if p.requires_grad
    )
    whole, part = ends(1.0), ends(0.25)
    assert not torch.allclose(whole, begun)
    assert torch.allclose(part, begun + 0.25 * (whole - begun), atol=1e-6)
    # With cross-entropy, the head was trained together with the weights, so these stay.
    assert torch.equal(ends(0.25, "classify"), ends(1.0, "classify"))


@pytest.mark.parametrize("sizes", [(30, 30), (40, 6, 2), (90, 1)])
def test_classes_come_equally_often(sizes: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    drawn = Counter(labels[np.concatenate(list(balanced_batches(labels, 12, 0, 0, 60)))].tolist())
    assert max(drawn.values()) - min(drawn.values()) <= 60
    assert set(drawn) == set(range(len(sizes)))


def test_with_many_classes_a_batch_holds_pairs() -> None:
    labels = np.arange(400) % 100
    for batch in balanced_batches(labels, 16, 1, 0, 30):
        assert set(Counter(labels[batch].tolist()).values()) == {2}


def test_balanced_batches_resumed_in_the_middle_are_the_same() -> None:
    labels = np.arange(50) % 3
    whole = [batch.tolist() for batch in balanced_batches(labels, 8, 5, 0, 20)]
    assert [batch.tolist() for batch in balanced_batches(labels, 8, 5, 13, 20)] == whole[13:]
    assert [batch.tolist() for batch in balanced_batches(labels, 8, 6, 0, 20)] != whole


def test_contrast_worked_by_hand() -> None:
    states = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # One pair of the same class at 90 degrees; two pairs of different classes at 45 degrees (0.7071 squared: 0.5).
    assert float(contrast(states, targets, torch.ones(3))) == pytest.approx(1.0 + 0.5)
    # The second text has weight 0, so no pair of the same class is left.
    assert float(contrast(states, targets, torch.tensor([1.0, 0.0, 1.0]))) == pytest.approx(0.5)
    # Texts of a class agree in direction, and classes are at 90 degrees.
    perfect = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    assert float(contrast(perfect, targets, torch.ones(3))) == pytest.approx(0.0, abs=1e-6)


def test_a_head_separates_what_can_be_separated() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    states = generator.normal(size=(60, 5)) + 40 * np.eye(5)[labels * 2]
    head = linear_head(states, np.where(labels == 2, 3, labels), 5)
    assert head is not None
    scores = states @ head[0].T + head[1]
    assert scores.argmax(axis=1).tolist() == np.where(labels == 2, 3, labels).tolist()
    assert linear_head(states, np.zeros(60, dtype=np.int64), 2) is None
    two = linear_head(states, np.minimum(labels, 1), 2)
    assert two is not None
    assert two[0][0] == pytest.approx(-two[0][1])


@pytest.mark.parametrize("objective", ["contrast", "classify"])
def test_a_fit_learns(tiny_encoder: Path, objective: Objective) -> None:
    given = fit(tiny_encoder, objective, 40)
    predicted = learned(given).predict(given.held_out)
    assert predicted.sum(axis=1) == pytest.approx(1.0)
    assert (predicted.argmax(axis=1) == np.arange(24) % 2).mean() >= 0.9


def test_contrast_draws_a_class_together(tiny_encoder: Path) -> None:
    given = fit(tiny_encoder, "contrast", 40)
    learner = Trainer(given, CPU)
    losses = [learner.step(step, batch) for step, batch in learner.batches(0)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_text_of_little_weight_has_little_effect(tiny_encoder: Path) -> None:
    # Half of the texts have the wrong label, at a hundredth of the weight.
    given = fit(tiny_encoder, "classify", 300, texts=48)
    wrong = np.arange(48) >= 24
    given.targets[wrong] = given.targets[wrong][:, ::-1]
    given.weights[wrong] = 0.01
    predicted = learned(given).predict(given.held_out)
    assert (predicted.argmax(axis=1) == np.arange(48) % 2).mean() >= 0.9


def test_word_embeddings_are_frozen(tiny_encoder: Path) -> None:
    before = Trainer(fit(tiny_encoder, "classify", 5), CPU).model.state_dict()
    after = learned(fit(tiny_encoder, "classify", 5)).model.state_dict()
    name = "encoder.embeddings.word_embeddings.weight"
    assert torch.equal(before[name], after[name])
    assert not torch.equal(
        before["encoder.encoder.layer.0.output.dense.weight"], after["encoder.encoder.layer.0.output.dense.weight"]
    )


def test_precision_follows_the_settings() -> None:
    assert in_bfloat16(CPU, "bf16")
    assert not in_bfloat16(CPU, "fp32")
    assert isinstance(in_bfloat16(CPU, "auto"), bool)
