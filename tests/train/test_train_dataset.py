"""An encoder's conventions, from its files and the settings, reach tokenisation and fits."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import kit
import numpy as np
import pytest

from tlnlp.config import FinetuneSettings
from tlnlp.data.labels import LabelContract, read_labels
from tlnlp.errors import InputDataError, UsageError
from tlnlp.model.encoder_conventions import Conventions
from tlnlp.train.dataset import Examples, Reader, conventions_of
from tlnlp.train.fit.trainer import new_model


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(tiny_encoder, tmp_path_factory.mktemp("conventional") / "encoder"))
    return kit.write_conventions(folder, "max", normalise=True, prompt="the warm night ", lower_case=True)


def settings(encoder: Path | str, **more: object) -> FinetuneSettings:
    return FinetuneSettings.model_validate({"labels": "labels.jsonl", "encoder": str(encoder)} | more)


def test_settings_override_files(encoder: Path, tiny_encoder: Path) -> None:
    assert conventions_of(settings(encoder)) == Conventions("max", "the warm night ", True, True, 128)
    assert conventions_of(settings(tiny_encoder)) == Conventions("mean", "", False, False, 128)
    changed = settings(encoder, pooling="cls", prompt="", normalise=False, lower_case=False)
    assert conventions_of(changed) == Conventions("cls", "", False, False, 128)
    assert conventions_of(settings(tiny_encoder, prompt="good ", normalise=True)).prompt == "good "


def test_an_error_names_the_encoder_as_the_settings_do(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=rf"encoder '{tmp_path.as_uri()}': there is no config"):
        conventions_of(settings(tmp_path.as_uri()))


def test_fits_and_embeddings_use_the_conventions_of_the_encoder(encoder: Path, tmp_path: Path) -> None:
    rows = kit.write_jsonl(tmp_path / "labels.jsonl", kit.labelled(12))
    given = settings(encoder, labels=str(rows), max_length=100)
    (tmp_path / "bundle").mkdir()
    reader = Reader.make(given, tmp_path / "bundle")
    examples = Examples.make(read_labels(str(rows), LabelContract()), reader)
    fit = examples.fit(given, np.arange(8), np.arange(8, 12), 0)
    assert fit.encoder == examples.embedding(given).encoder == reader.encoder
    assert (fit.encoder.name, fit.encoder.conventions, fit.encoder.pad_token_id) == (
        str(encoder),
        Conventions("max", "the warm night ", True, True, 128),
        0,
    )
    model = new_model(fit, 0.0)
    assert (model.pooling, model.normalise) == ("max", True)
    # The prompt is a part of the edges, which every window has.
    assert fit.edges == (4, 1)
    assert reader.whole.prefix == reader.cut.prefix
    for ids in [*fit.tokens, *fit.held_out, *examples.class_name_examples]:
        assert tuple(ids[:4]) == reader.cut.prefix
        assert tuple(ids[-1:]) == reader.cut.suffix


@pytest.mark.parametrize(("words", "window"), [(10, 33), (55, 33), (60, 35), (200, 64)])
def test_a_window_is_half_a_text(encoder: Path, tmp_path: Path, words: int, window: int) -> None:
    labels = [{"text": f"{'good ' * (words - 1)}{last}", "label": last} for last in ("good", "night")]
    rows = kit.write_jsonl(tmp_path / "labels.jsonl", labels)
    given = settings(encoder, labels=str(rows), max_length=100)
    examples = Examples.make(read_labels(str(rows), LabelContract()), Reader.make(given, tmp_path))
    assert sum(examples.reader.cut.edges) == 5
    fit = examples.fit(given, np.arange(2), np.arange(0), 0)
    assert fit.crop_tokens == window
    # The names of the two classes, each in three wordings, are learned from like labelled texts.
    assert fit.size == "8 examples (6 of them are wordings of the class names)"
    assert replace(fit, class_names=0).size == "8 examples"
    assert examples.window(20) == 20


@pytest.mark.parametrize(("asked", "given"), [(100, 100), (128, 128), (256, 128)])
def test_position_embeddings_limit_the_length_but_files_do_not(
    encoder: Path, tmp_path: Path, asked: int, given: int
) -> None:
    # sentence_bert_config.json says 16.
    assert Reader.make(settings(encoder, max_length=asked), tmp_path).max_length == given


@pytest.mark.parametrize(
    "more",
    [
        {"max_length": 10},
        {"training": {"crop_tokens": 10}},
        {"teaching": {"crop_tokens": 10}},
        {"teaching": {"read_tokens": 10}},
    ],
)
def test_a_prompt_that_leaves_no_room_is_refused(tiny_encoder: Path, tmp_path: Path, more: dict[str, object]) -> None:
    Reader.make(settings(tiny_encoder, prompt="the " * 7, **more), tmp_path)
    (key,) = (f"{name}.{next(iter(value))}" if isinstance(value, dict) else name for name, value in more.items())
    with pytest.raises(UsageError, match=rf"^{key}: 10 tokens leave no room .* which are 10 tokens: raise {key}, or"):
        Reader.make(settings(tiny_encoder, prompt="the " * 8, **more), tmp_path)
