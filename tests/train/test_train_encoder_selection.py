"""``encoder: auto``: which encoders are tried, and which of them is chosen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from train_kit import THREE

from tlnlp.config import FinetuneSettings, load_settings
from tlnlp.model import encoder_catalogue
from tlnlp.model.classifier import Classifier
from tlnlp.model.encoder_catalogue import MARKER
from tlnlp.registry import Registry
from tlnlp.storage.uri import local_path
from tlnlp.train.encoder_selection import STRONGEST, EncoderTrial, _better, candidates, other_script
from tlnlp.train.finetune import finetune

RUSSIAN = ["Паром опаздывает на два часа, и хлеб уже остыл.", "Ночь была тёплая, и сапоги высохли к утру."]
CHINESE = ["渡轮晚点了两个小时、面包已经凉了。", "夜里很暖和、靴子到早上就干了。"]
ENGLISH = ["The ferry is two hours late and the bread is cold.", "Größe, Maß und Höhe: noch ist alles lateinisch."]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up an empty cache of encoders, and a catalogue that the test writes."""
    monkeypatch.setenv("TLNLP_ENCODERS", str(tmp_path / "cache"))
    monkeypatch.setattr(encoder_catalogue, "catalogue_file", lambda: tmp_path / "encoders.yaml")
    return tmp_path / "cache"


def knows(cached: Path, **entries: dict[str, Any]) -> None:
    """Write the catalogue."""
    common = {
        "package": None, "maven": None, "hub": {"name": "someone/encoder", "revision": None}, "licence": "MIT",
        "layers": 2, "languages": "English", "max_length": 128, "pooling": "mean", "prompts": {}, "tried": False,
    }  # fmt: skip
    made = [common | {"name": name} | entry for name, entry in entries.items()]
    (cached.parent / "encoders.yaml").write_text(yaml.safe_dump({"encoders": made}))


def lay(cached: Path, name: str, encoder: Path | None = None) -> None:
    """Put an encoder into the cache."""
    (cached / name).mkdir(parents=True)
    if encoder is not None:
        shutil.copytree(encoder, cached / name, dirs_exist_ok=True)
    (cached / name / MARKER).write_text("{}")


def named(encoder: str = "auto") -> FinetuneSettings:
    return FinetuneSettings(labels="labels", encoder=encoder)


def test_encoders_at_hand_are_tried_the_largest_first(cached: Path, capfd: pytest.CaptureFixture[str]) -> None:
    knows(cached, tiny={"parameters": 1000}, absent={"parameters": 9000}, large={"parameters": 5000})
    for name in ("tiny", "large"):
        lay(cached, name)
    assert candidates(named(), ENGLISH) == ["large", "tiny"]
    stderr = capfd.readouterr().err
    assert f"{STRONGEST} is not at hand" in stderr
    assert f"`tlnlp encoders fetch {STRONGEST}`" in stderr
    assert "Latin" not in stderr
    assert candidates(named("absent"), RUSSIAN) == ["absent"]
    assert not capfd.readouterr().err
    knows(cached, **{STRONGEST: {"parameters": 3000}, "tiny": {"parameters": 1000}})
    lay(cached, STRONGEST)
    assert candidates(named(), ENGLISH) == [STRONGEST, "tiny"]
    assert not capfd.readouterr().err


@pytest.mark.parametrize("texts", [RUSSIAN, CHINESE])
def test_another_script_leaves_out_english_encoders(
    texts: list[str], cached: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    knows(cached, tiny={"parameters": 1000}, wide={"parameters": 500, "languages": "94 languages"})
    lay(cached, "tiny")
    assert candidates(named(), texts) == ["tiny"]
    assert "made for English: tiny: used because no other encoder is at hand: set" in capfd.readouterr().err
    lay(cached, "wide")
    assert candidates(named(), texts) == ["wide"]
    assert "made for English: tiny: left out\n" in capfd.readouterr().err
    assert candidates(named(), ENGLISH) == ["tiny", "wide"]


def test_the_script_of_most_letters_counts() -> None:
    assert other_script(RUSSIAN) == other_script(CHINESE) == 1.0
    assert other_script(ENGLISH) == 0.0
    assert other_script(["ab вг", "123 ... 🙂"]) == 0.5
    assert other_script(["", "7"]) == other_script([]) == 0.0


def hits(right: int, of: int = 400, other: int = 0) -> NDArray[np.bool_]:
    """Return ``right`` hits among ``of`` labels: the first ones, and ``other`` of them at the end."""
    result = np.arange(of) < right - other
    result[of - other :] = True
    return result


@pytest.mark.parametrize(
    ("large", "small", "chosen", "why"),
    [
        (hits(200), hits(300), "small", "it predicts 25.0% more of the labels correctly than large (95 % interval -"),
        (
            hits(300),
            hits(300),
            "small",
            "it is smaller than large, which is less than a point more accurate (+0.0%, 95 %",
        ),
        (hits(300), hits(200), "large", "it predicts 25.0% more of the labels correctly than small (95 % interval +"),
        (hits(20, 40), hits(20, 40, 10), "large", "it is larger, and the labels do not show that small is as accurate"),
        (None, hits(300), "large", "as before"),
        (hits(300), None, "large", "as before"),
    ],
)
def test_the_better_of_two_encoders(
    large: NDArray[np.bool_] | None, small: NDArray[np.bool_] | None, chosen: str, why: str
) -> None:
    better, reason = _better("large", "small", {"large": large, "small": small}, "as before")
    assert better == chosen
    assert reason.startswith(why)


def test_a_trial_as_json() -> None:
    trial = EncoderTrial("tiny", 1000, 0.123456, (0.25, 0.5), None, 1234.56789, 8)
    assert json.loads(json.dumps(trial.to_json())) == {
        "encoder": "tiny", "parameters": 1000, "accuracy": 0.1235, "interval": [0.25, 0.5], "by_names": None,
        "tokens_per_s": 1234.5679, "n": 8,
    }  # fmt: skip


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("able", ["small", "large"])
def test_the_encoder_that_separates_the_classes_is_chosen(
    able: str, cached: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    knows(cached, large={"parameters": 5000}, small={"parameters": 1000})
    for name in ("large", "small"):
        # The texts are in capitals: one tokenizer lower-cases them, and for the other every word is unknown.
        lay(cached, name, kit.make_encoder(tmp_path / name, lowercase=name == able))
    marks = ("COLD FERRY", "WARM BREAD", "GOOD NIGHT")
    rows = [{"id": str(i), "text": f"{marks[i % 3]} " * 6 + str(i), "label": THREE[i % 3]} for i in range(45)]
    given = [
        f"labels={kit.write_jsonl(tmp_path / 'labels.jsonl', rows)}",
        f"registry={tmp_path / 'registry'}",
        "model=moods",
        "max_length=32",
        "training.moves=never",
    ]
    result = finetune(load_settings(FinetuneSettings, None, given))
    assert result.encoder == able
    stderr = capfd.readouterr().err
    other = {"small": "large", "large": "small"}[able]
    assert f"encoder {able} is chosen: it predicts " in stderr
    assert f"more of the labels correctly than {other} (95 % interval" in stderr
    path = local_path(result.version.uri)
    assert path is not None
    assert Classifier.load(path, threads=1).spec.encoder == able
    report = json.loads((path / "training.json").read_text())["report"]
    first, second = report["encoders"]
    assert (first["encoder"], second["encoder"]) == (able, other)
    assert first["parameters"] == {"small": 1000, "large": 5000}[able]
    assert first["interval"][0] <= first["accuracy"] <= first["interval"][1]
    assert first["accuracy"] > second["accuracy"] + 0.3
    assert first["n"] == second["n"] == 45
    assert first["tokens_per_s"] > 0
    assert 0 <= first["by_names"] <= 1
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    assert ledger["results"]["encoders"] == report["encoders"]
    # Neither run leaves a resume cache or checkpoints.
    assert not [path for path in (tmp_path / "registry/moods/training").rglob("*") if path.is_file()]
