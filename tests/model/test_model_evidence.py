"""Tests of evidence by sentence: each contribution is what predictions without the sentence say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import kit
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlnlp.data.sentences import split_sentences
from tlnlp.data.text import CUT_MARK, cut_lengths
from tlnlp.errors import UsageError
from tlnlp.model.cascade import Cascade
from tlnlp.model.classifier import Classifier
from tlnlp.model.evidence import Evidence, explain
from tlnlp.model.profile import CTRANSLATE2_INT8, NONE, ONNX_FP32, SAFE, Profile

TEXT = (
    "Good bread was warm. The ferry was cold! Never bad,<br /><br />it was a fine night. \u4eca\u5929\u3002\u660e\u3002"
)
SENTENCES = ["good bread.", "Bad ferry!", "it was not very warm.", "n1x2 cold night?", "fine.", "\u597d\u3002"]


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier.load(tiny_bundle, 1)


@pytest.fixture(scope="module")
def three(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder = tmp_path_factory.mktemp("evidence") / "three"
    return Classifier.load(kit.make_bundle(tiny_encoder, folder, classes=("a", "b", "c")), 1)


def log_odds(probabilities: np.ndarray, k: int) -> float:
    return float(np.log(probabilities[k]) - np.log(np.delete(probabilities, k).sum()))


def without(text: str, start: int, end: int) -> str:
    return text[:start] + text[end:]


def check(classifier: Classifier, text: str, evidence: Evidence) -> None:
    """Compare each number with predictions of the text without the sentence, each made for itself."""
    k = classifier.classes.index(evidence.explained)
    own, views = classifier.predict([text])[0], classifier.views([text])
    assert list(evidence.probabilities.values()) == own.tolist()
    assert list(evidence.encoder.values()) == views[0][0].tolist()
    assert [(one.start, one.end) for one in evidence.sentences] == split_sentences(text)
    for one in evidence.sentences:
        rest = without(text, one.start, one.end)
        other, (encoder, ngram) = classifier.predict([rest])[0], classifier.views([rest])
        assert one.text == text[one.start : one.end]
        assert one.contribution == pytest.approx(own[k] - other[k], abs=1e-12)
        assert one.log_odds == pytest.approx(log_odds(own, k) - log_odds(other, k), abs=1e-12)
        assert one.encoder == pytest.approx(log_odds(views[0][0], k) - log_odds(encoder[0], k), abs=1e-12)
        assert one.ngram == pytest.approx(log_odds(views[1][0], k) - log_odds(ngram[0], k), abs=1e-12)
        assert one.read == "both"


@pytest.mark.parametrize("engine", [ONNX_FP32, CTRANSLATE2_INT8])
def test_a_contribution_is_the_prediction_with_the_sentence_minus_the_one_without(
    tiny_bundle: Path, engine: str
) -> None:
    classifier = Classifier.load(tiny_bundle, 1, Profile(engine, NONE))
    for text in (TEXT, "One sentence of good bread", "warm. warm. cold."):
        check(classifier, text, explain(classifier, text))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=6), st.sampled_from([" ", "\n\n", "<br />", "  "]))
def test_it_holds_of_generated_texts(three: Classifier, sentences: list[str], between: str) -> None:
    text = between.join(sentences)
    for label in (None, *three.classes):
        found = explain(three, text, label)
        assert found.explained == (label or found.label)
        check(three, text, found)


def test_with_two_classes_the_views_add_up_by_their_weights(classifier: Classifier) -> None:
    spec = classifier.spec
    for one in explain(classifier, TEXT, "positive").sentences:
        assert one.encoder is not None
        assert one.ngram is not None
        assert one.log_odds == pytest.approx(spec.encoder_weight * one.encoder + spec.ngram_weight * one.ngram)
    opposite = explain(classifier, TEXT, "negative").sentences
    for one, other in zip(explain(classifier, TEXT, "positive").sentences, opposite, strict=True):
        assert one.contribution == pytest.approx(-(other.contribution or 0.0), abs=1e-12)


@pytest.mark.parametrize("text", ["", " \n ", "<br />"])
def test_a_blank_text_has_probabilities_and_no_sentences(classifier: Classifier, text: str) -> None:
    found = explain(classifier, text)
    assert found.sentences == found.ranked == ()
    assert list(found.probabilities.values()) == classifier.predict([text])[0].tolist()


def test_what_a_cut_leaves_out_is_unread_and_contributes_nothing(classifier: Classifier) -> None:
    text = " ".join(f"The bread n{number} was good." for number in range(40))
    most = classifier.spec.max_chars
    assert len(text) > most
    found = explain(classifier, text, classifier.classes[0])
    head, tail = cut_lengths(most)
    for one in found.sentences:
        is_read = one.start < head or one.end > len(text) - tail
        assert (one.read != "unread") == is_read
        if not is_read:
            assert (one.contribution, one.log_odds, one.ngram, one.encoder) == (0.0, 0.0, 0.0, 0.0)
    assert {one.read for one in found.sentences} >= {"unread", "both"}
    # Of what is left, nothing else comes in place of a sentence.
    first = found.sentences[0]
    seen = text[:head] + CUT_MARK + text[len(text) - tail :]
    shorter = classifier.ngram.predict([" ".join(without(seen, first.start, first.end).split())])[0]
    whole = classifier.ngram.predict([" ".join(seen.split())])[0]
    assert first.ngram == pytest.approx(log_odds(whole, 0) - log_odds(shorter, 0), abs=1e-9)


def test_what_the_encoder_does_not_read_is_the_n_grams_alone(classifier: Classifier) -> None:
    text = " ".join(f"warm bread n{number}." for number in range(22))
    assert len(text) < classifier.spec.max_chars
    ids = classifier.encoder.encode([text])[0]
    assert len(ids) == classifier.spec.max_length
    found = explain(classifier, text)
    middle = [one for one in found.sentences if one.read == "ngram"]
    assert 3 < len(middle) < 20
    assert all(one.encoder == 0.0 and one.ngram != 0.0 and one.contribution != 0.0 for one in middle)
    for one in (found.sentences[0], found.sentences[-1]):
        assert one.read == "both"
        assert one.encoder != 0.0
    # The encoder has read its own tokens less those of the sentence.
    first = classifier.encoder.encode([found.sentences[0].text])[0][1:-1]
    assert ids[1 : 1 + len(first)] == first
    whole, rest = classifier.engine.predict([ids, ids[:1] + ids[1 + len(first) :]])
    k = classifier.classes.index(found.explained)
    assert found.sentences[0].encoder == pytest.approx(log_odds(whole, k) - log_odds(rest, k), abs=1e-12)


def test_of_many_sentences_the_encoder_is_read_without_some(classifier: Classifier) -> None:
    text = "x. y. n2x2 n3x3 n4x4. " + " ".join(SENTENCES)
    whole, few = explain(classifier, text), explain(classifier, text, most_sentences=4)
    assert (whole.unmeasured, few.unmeasured) == (0, len(whole.sentences) - 4)
    by_ngram = sorted(range(len(whole.sentences)), key=lambda i: -abs(whole.sentences[i].ngram or 0.0))
    others = [i for i in range(len(whole.sentences)) if i not in by_ngram[:2]]
    by_length = sorted(others, key=lambda i: -len(classifier.encoder.encode([whole.sentences[i].text])[0]))
    measured = {i for i, one in enumerate(few.sentences) if one.contribution is not None}
    assert measured == {*by_ngram[:2], *by_length[:2]} != set(by_ngram[:4])
    for i, (one, other) in enumerate(zip(whole.sentences, few.sentences, strict=True)):
        if i in measured:
            assert one == other
        else:
            assert other == replace(one, contribution=None, log_odds=None, encoder=None)
    assert [one.contribution for one in few.ranked[4:]] == [None] * few.unmeasured
    assert explain(classifier, text, most_sentences=0).unmeasured == len(whole.sentences)


def test_a_settled_text_is_explained_by_its_calibration(
    tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cascade = Cascade(2.0, (0.1, -0.1), 0.6, 0.005)
    folder = tmp_path_factory.mktemp("evidence") / "cascade"
    kit.make_bundle(tiny_encoder, folder, cascades={SAFE: cascade}, optimise=SAFE)
    classifier = Classifier.load(folder, 1)
    stages = set()
    for text in (f"{one} {other}" for one in SENTENCES for other in SENTENCES if one != other):
        found = explain(classifier, text)
        (own,), (settled,) = classifier.predict_staged([text])
        stages.add(found.stage)
        assert found.stage == ("ngram" if settled else "encoder")
        assert list(found.probabilities.values()) == own.tolist()
        if not settled:
            continue
        k = classifier.classes.index(found.explained)
        for one in found.sentences:
            rest = cascade.calibrated(classifier.views([without(text, one.start, one.end)])[1])[0]
            assert one.contribution == pytest.approx(own[k] - rest[k], abs=1e-12)
            assert (one.encoder, one.read) == (None, "ngram")
    assert stages == {"ngram", "encoder"}


def test_n_grams_without_weight_have_no_part(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("evidence") / "alone"
    classifier = Classifier.load(kit.make_bundle(tiny_encoder, folder, ngram_weight=0.0), 1)
    found = explain(classifier, TEXT)
    assert found.ngram is None
    assert list(found.probabilities.values()) == classifier.predict([TEXT])[0].tolist()
    assert {(one.ngram, one.read) for one in found.sentences} == {(None, "encoder")}
    assert explain(classifier, TEXT, most_sentences=2).unmeasured == len(found.sentences) - 2


def test_ranked_begins_with_what_speaks_most_for_the_class(classifier: Classifier) -> None:
    found = explain(classifier, TEXT, "positive")
    changes = [one.log_odds or 0.0 for one in found.ranked]
    assert changes == sorted(changes, reverse=True)
    assert set(found.ranked) == set(found.sentences)
    assert found.to_json()["sentences"][0]["text"] == "Good bread was warm."


def test_an_unknown_class_and_half_a_character_are_refused(classifier: Classifier) -> None:
    with pytest.raises(UsageError, match="no class 'positve'; did you mean 'positive'"):
        explain(classifier, TEXT, "positve")
    with pytest.raises(UsageError, match="half a surrogate pair"):
        explain(classifier, "warm \ud83d bread")
