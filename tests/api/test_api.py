"""The Python API: from lists, a DataFrame or a file to a classifier that predicts as scikit-learn's do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kit
import numpy as np
import pandas as pd
import pytest

import tlnlp
from tlnlp.data.text import model_text_sha256, text_sha256
from tlnlp.errors import InputDataError, LabelFaultsError, ModelNotFoundError, UsageError
from tlnlp.registry import Registry
from tlnlp.registry.training import read_training

TEXTS = kit.texts(12)


def settings(encoder: Path, folder: Path) -> dict[str, Any]:
    """Settings of a run that takes a second: an encoder that stays as it is, an engine that no clock chooses."""
    return {
        "registry": str(folder / "registry"), "model": "reviews", "encoder": str(encoder), "max_length": 32,
        "training": {"moves": "never"}, "engine": "onnx-fp32",
    }  # fmt: skip


@pytest.fixture(scope="module")
def labelled() -> pd.DataFrame:
    return pd.DataFrame(kit.labelled(40))[["text", "label"]]


@pytest.fixture(scope="module")
def classifier(
    tiny_encoder: Path, labelled: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> tlnlp.Classifier:
    folder = tmp_path_factory.mktemp("api")
    return tlnlp.finetune(labelled, **settings(tiny_encoder, folder))


def test_the_public_surface() -> None:
    assert sorted(dir(tlnlp)) == ["Classifier", "__version__", "finetune"]
    public = {name for name in vars(tlnlp.Classifier) if not name.startswith("_")}
    assert public == {"load", "predict", "predict_proba", "predict_frame", "explain", "score", "evaluate"}
    with pytest.raises(AttributeError, match="no attribute 'Classifer'"):
        tlnlp.Classifer  # noqa: B018
    assert (Path(tlnlp.__file__).parent / "py.typed").exists()


def test_lists_a_frame_and_a_file_give_the_same_model(
    tiny_encoder: Path, labelled: pd.DataFrame, classifier: tlnlp.Classifier, tmp_path: Path
) -> None:
    file = kit.write_jsonl(tmp_path / "labels.jsonl", labelled.to_dict("records"))
    for given in ((labelled["text"].tolist(), labelled["label"].tolist()), file, str(file)):
        made = tlnlp.finetune(given, **settings(tiny_encoder, tmp_path))
        assert made.predict_proba(TEXTS) == pytest.approx(classifier.predict_proba(TEXTS), abs=1e-6)
    assert [info.version for info in Registry(str(tmp_path / "registry")).versions("reviews")] == [1, 2, 3]


def test_a_version_is_loaded_by_name_and_by_folder(
    tiny_encoder: Path, labelled: pd.DataFrame, classifier: tlnlp.Classifier, tmp_path: Path
) -> None:
    tlnlp.finetune(labelled, **settings(tiny_encoder, tmp_path))
    registry = tmp_path / "registry"
    version = Registry(str(registry)).resolve("reviews@1")
    folder = Registry(str(registry)).fetch(version, tmp_path / "fetched")
    for loaded in (
        tlnlp.Classifier.load("reviews@1", registry), tlnlp.Classifier.load(folder), tlnlp.Classifier.load(str(folder))
    ):  # fmt: skip
        assert (loaded.predict_proba(TEXTS) == classifier.predict_proba(TEXTS)).all()
    with pytest.raises(ModelNotFoundError):
        tlnlp.Classifier.load("reviews@2", registry)
    with pytest.raises(ModelNotFoundError):
        tlnlp.Classifier.load("reviews", registry)  # Nothing was promoted.


def test_predictions_follow_scikit_learn(classifier: tlnlp.Classifier) -> None:
    assert classifier.classes_.tolist() == sorted(classifier.classes_)
    probabilities, predicted = classifier.predict_proba(TEXTS), classifier.predict(TEXTS)
    assert probabilities.shape == (12, len(classifier.classes_))
    assert probabilities.sum(axis=1) == pytest.approx(1.0)
    assert (predicted == classifier.classes_[probabilities.argmax(axis=1)]).all()
    assert classifier.predict([]).shape == (0,)
    for given in (pd.Series(TEXTS), np.array(TEXTS), tuple(TEXTS)):
        assert (classifier.predict(given) == predicted).all()


def test_a_frame_of_predictions_has_the_index_of_its_texts(classifier: tlnlp.Classifier) -> None:
    texts = pd.Series(TEXTS, index=range(100, 112))
    frame = classifier.predict_frame(texts)
    assert list(frame.columns) == ["label", "score", "probabilities"]
    assert frame.index.equals(texts.index)
    assert (frame["label"] == classifier.predict(TEXTS)).all()
    row: Any = frame.loc[103]
    assert row["probabilities"][row["label"]] == row["score"] == max(row["probabilities"].values())


def test_a_text_is_explained_by_its_sentences(classifier: tlnlp.Classifier) -> None:
    text = "Good bread was warm. The ferry was cold! Never bad."
    found = classifier.explain(text)
    (probabilities,) = classifier.predict_proba([text])
    assert found.label == found.explained == classifier.predict([text])[0]
    assert list(found.probabilities.values()) == probabilities.tolist()
    assert [one.text for one in found.sentences] == ["Good bread was warm.", "The ferry was cold!", "Never bad."]
    rest = classifier.predict_proba(["Good bread was warm. Never bad."])[0]
    k = classifier.classes_.tolist().index(found.label)
    assert found.sentences[1].contribution == pytest.approx(probabilities[k] - rest[k], abs=1e-9)
    other = classifier.classes_[1 - k]
    assert classifier.explain(text, label=str(other)).explained == other
    assert classifier.explain(text, most_sentences=1).unmeasured == 2
    given: Any = [text]
    with pytest.raises(UsageError, match="the text is list, not a string: explain one text at a time"):
        classifier.explain(given)


def test_evaluation(classifier: tlnlp.Classifier, labelled: pd.DataFrame) -> None:
    found = classifier.evaluate(labelled["text"], labelled["label"])
    hits = classifier.predict(labelled["text"]) == labelled["label"]
    assert found.n == 40
    assert found.accuracy == pytest.approx(hits.mean())
    assert classifier.score(labelled["text"], labelled["label"]) == found.accuracy
    with pytest.raises(InputDataError, match="no class of this model: 1 of the labels"):
        classifier.evaluate(TEXTS[:2], ["nothing known", classifier.classes_[0]])
    for texts, labels in (([], []), (TEXTS, ["x"])):
        with pytest.raises(UsageError, match="give one label for each text"):
            classifier.evaluate(texts, labels)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a string", "texts is one string: give a list of texts"),
        (b"bytes", "texts is one string"),
        (["good bread", "\ud83d"], "text 1 holds half a surrogate pair"),
        (["fine", None], "text 1 is NoneType, not a string"),
        (pd.Series(["fine", float("nan")]), "text 1 is float, not a string"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(classifier: tlnlp.Classifier, given: Any, message: str) -> None:
    for method in (classifier.predict, classifier.predict_proba, classifier.predict_frame):
        with pytest.raises(UsageError, match=message):
            method(given)


def test_labels_that_cannot_be_learned_from_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    given = settings(tiny_encoder, tmp_path)
    with pytest.raises(UsageError, match="2 texts and 1 labels"):
        tlnlp.finetune((["a", "b"], ["x"]), **given)
    with pytest.raises(UsageError, match="has no column label; it has text"):
        tlnlp.finetune(pd.DataFrame({"text": ["a"]}), **given)
    incomplete: Any = ["x", None] * 6
    with pytest.raises(LabelFaultsError):
        tlnlp.finetune((TEXTS, incomplete), **given)
    with pytest.raises(UsageError, match="modle"):
        tlnlp.finetune((TEXTS, ["x", "y"] * 6), modle="reviews", **given)


def test_spellings_of_one_text_are_one_text(tiny_encoder: Path, labelled: pd.DataFrame, tmp_path: Path) -> None:
    given = settings(tiny_encoder, tmp_path)
    doubled = pd.concat([labelled, labelled.assign(text=labelled["text"] + " ")])
    for labels in (doubled, (doubled["text"].tolist(), doubled["label"].tolist())):
        with pytest.raises(
            LabelFaultsError, match=r"40 faults in 80 rows.*\n.*row 41: duplicate: the same text as row 1, b"
        ):
            tlnlp.finetune(labels, **given)
    tlnlp.finetune(doubled, on_fault="skip", **given)
    training = read_training(Registry(str(tmp_path / "registry")).resolve("reviews@1"))
    assert training["model_text_sha256"] == sorted(model_text_sha256(text, 10_000) for text in labelled["text"])
    assert training["text_sha256"] == sorted(text_sha256(text) for text in labelled["text"])
    assert training["unlabelled_model_text_sha256"] == []


def test_classes_that_look_alike_are_a_warning(tiny_encoder: Path, labelled: pd.DataFrame, tmp_path: Path) -> None:
    names = [
        "Positive" if row % 4 == 1 and label == "positive" else label for row, label in enumerate(labelled["label"])
    ]
    assert set(names) == {"negative", "positive", "Positive"}
    with pytest.warns(
        UserWarning, match=r"labels: the classes 'Positive' \(10 labels\) and 'positive' \(10 labels\)"
    ) as all_:
        made = tlnlp.finetune((labelled["text"].tolist(), names), **settings(tiny_encoder, tmp_path))
    assert [Path(one.filename).name for one in all_] == ["test_api.py"]
    assert made.classes_.tolist() == ["Positive", "negative", "positive"]


def test_labels_of_other_types_are_named_as_files_name_them(
    tiny_encoder: Path, labelled: pd.DataFrame, tmp_path: Path
) -> None:
    truth = (labelled["label"] == "positive").tolist()
    made = tlnlp.finetune((labelled["text"].tolist(), truth), **settings(tiny_encoder, tmp_path))
    assert made.classes_.tolist() == ["false", "true"]
    named = ["true" if one else "false" for one in truth]
    assert made.score(labelled["text"], truth) == made.score(labelled["text"], named)
    numbers = labelled.assign(label=np.array(truth, dtype=np.float32))
    assert tlnlp.finetune(numbers, **settings(tiny_encoder, tmp_path)).classes_.tolist() == ["0", "1"]


def test_lists_of_labels_and_other_columns_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    given = settings(tiny_encoder, tmp_path)
    several: Any
    for several in (["a", "b"], ("a",), np.array(["a", "b"]), {"a"}):
        with pytest.raises(
            UsageError, match=r"label 1 is a (list|tuple|ndarray|set): a list of labels; several labels"
        ):
            tlnlp.finetune((TEXTS, ["a", several, *["b"] * 10]), **given)
    frame = pd.DataFrame({"text": TEXTS, "Label": "a"})
    with pytest.raises(
        UsageError, match=r"no column label; it has text, Label; did you mean 'Label'\?; name your colu"
    ):
        tlnlp.finetune(frame, **given)
    missing = pd.Series(["a", pd.NA, *["b"] * 10], dtype="string")
    with pytest.raises(LabelFaultsError, match="row 2: empty label"):
        tlnlp.finetune(pd.DataFrame({"text": TEXTS, "label": missing}), **given)
