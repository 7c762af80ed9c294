"""Tests of the n-gram view: fit, save, load, with two and more classes."""

from __future__ import annotations

from pathlib import Path

import kit
import numpy as np
import pytest
from safetensors.numpy import save_file

from tlnlp.errors import BundleError
from tlnlp.model.ngram import FEATURES, NgramView, features_for, fit_ngram

SIX = ("a", "b", "c", "d", "e", "f")


def fitted(classes: tuple[str, ...], seed: int = 0, features: int = 1 << 12) -> NgramView:
    rows = kit.labelled(40 * len(classes), 1, classes)
    targets = [classes.index(row["label"]) for row in rows]
    return fit_ngram([row["text"] for row in rows], targets, len(classes), seed, features)


@pytest.mark.parametrize("classes", [SIX[:2], SIX[:3], SIX])
def test_it_learns_and_gives_probabilities(classes: tuple[str, ...]) -> None:
    view = fitted(classes)
    # Words that mark a class occur in other texts, too, so not every text can be classified.
    rows = [row | {"text": " ".join([row["text"].split()[0]] * 3)} for row in kit.labelled(60, 2, classes)]
    out = view.predict([row["text"] for row in rows])
    assert out.shape == (60, len(classes))
    assert out.sum(axis=1) == pytest.approx(1.0)
    assert (out > 0).all()
    hits = np.mean([classes[best] == row["label"] for best, row in zip(out.argmax(axis=1), rows, strict=True)])
    assert hits >= 0.9


def test_unbalanced_classes_and_one_example() -> None:
    texts = ["warm bread", "fresh warm bread", "late ferry", "wet ferry night", "boots"]
    view = fit_ngram(texts, [0, 0, 1, 1, 2], 3, seed=0, features=1 << 10)
    assert view.predict(texts).argmax(axis=1).tolist() == [0, 0, 1, 1, 2]


def test_a_text_without_known_words_gets_the_bias() -> None:
    view = fitted(SIX[:3])
    empty, unknown = view.predict(["", "..."])
    assert empty == pytest.approx(unknown)
    assert empty == pytest.approx(np.exp(view.bias) / np.exp(view.bias).sum(), abs=1e-6)
    assert view.predict([]).shape == (0, 3)


def test_inner_apostrophes_and_marks_are_features() -> None:
    texts = ["i don't", "i do", "fine!", "fine"] * 5
    view = fit_ngram(texts, [0, 1, 0, 1] * 5, 2, seed=0, features=1 << 12)
    assert view.predict(["i don't", "i do", "fine!", "fine"]).argmax(axis=1).tolist() == [0, 1, 0, 1]


def test_a_score_does_not_depend_on_other_texts() -> None:
    view, texts = fitted(SIX), kit.texts(50, 9)
    together = view.predict(texts)
    alone = np.concatenate([view.predict([text]) for text in texts])
    backwards = view.predict(texts[::-1])[::-1]
    assert np.abs(together - alone).max() < 1e-7
    assert np.abs(together - backwards).max() < 1e-7


def test_the_same_labels_give_the_same_weights() -> None:
    one, two = fitted(SIX[:3]), fitted(SIX[:3])
    assert (one.weights == two.weights).all()
    assert (one.bias == two.bias).all()
    assert one.weights.dtype == one.bias.dtype == np.float32


def test_saved_and_loaded(tmp_path: Path) -> None:
    for classes, columns in ((2, 1), (3, 3)):
        view = fitted(SIX[:classes], features=FEATURES)
        view.save(tmp_path / "ngram.safetensors")
        again = NgramView.load(tmp_path / "ngram.safetensors")
        assert (again.predict(kit.texts(10)) == view.predict(kit.texts(10))).all()
        assert again.weights.shape == (FEATURES, columns)


def test_a_first_class_with_weights_of_its_own_is_saved_too(tmp_path: Path) -> None:
    for classes in (2, 3):
        weights = np.random.default_rng(1).normal(size=(64, classes)).astype(np.float32)
        view = NgramView(weights, np.zeros(classes, dtype=np.float32))
        view.save(tmp_path / "ngram.safetensors")
        again = NgramView.load(tmp_path / "ngram.safetensors")
        assert again.weights.shape == (64, classes)
        assert (again.predict(kit.texts(10)) == view.predict(kit.texts(10))).all()


def test_what_is_no_ngram_view(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"nothing of the kind")
    save_file({"weights": np.zeros((2, 2), dtype=np.float32)}, tmp_path / "b")
    for name in ("a", "b", "missing"):
        with pytest.raises(BundleError, match=f"{name}: (no readable safetensors|not the weights of an n-gram view)"):
            NgramView.load(tmp_path / name)


def test_weights_say_how_much_a_text_counts() -> None:
    texts = ["warm bread", "late ferry"] * 10 + ["warm bread"] * 10
    targets = [0, 1] * 10 + [1] * 10
    equal = fit_ngram(texts, targets, 2, seed=0, features=1 << 10).predict(["warm bread"])[0]
    weights = np.array([1.0] * 20 + [0.01] * 10)
    light = fit_ngram(texts, targets, 2, seed=0, features=1 << 10, weights=weights).predict(["warm bread"])[0]
    assert equal[0] == pytest.approx(0.5, abs=0.05)
    assert light[0] > 0.9


def test_a_class_that_no_text_has_is_never_predicted() -> None:
    texts = ["warm bread", "late ferry"] * 5
    view = fit_ngram(texts, [0, 2] * 5, 3, seed=0, features=1 << 10)
    assert view.predict(texts).argmax(axis=1).tolist() == [0, 2] * 5
    assert view.predict(["boots"])[0, 1] < 0.01
    one = fit_ngram(texts, [1] * 10, 2, seed=0, features=1 << 10)
    assert one.predict(["boots"])[0, 1] > 0.99


def test_many_classes_share_the_weights_there_are() -> None:
    assert [features_for(classes) for classes in (2, 3, 4, 5, 9, 100)] == [1 << 20] * 3 + [1 << 19] + [FEATURES] * 2
