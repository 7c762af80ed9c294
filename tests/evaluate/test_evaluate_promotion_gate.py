"""The promotion gate: which candidates pass, which are refused and why, and what the alias records."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import kit
import numpy as np
import pytest
from gate_kit import GOOD, Scene, named_rows, variant

from tlnlp.config import PromoteSettings
from tlnlp.errors import InputDataError, LabelFaultsError, ModelNotFoundError, PromotionRefusedError, UsageError
from tlnlp.evaluate.evaluation import evaluate_version
from tlnlp.evaluate.promotion_gate import PromoteResult
from tlnlp.model import bundle
from tlnlp.model.classifier import Classifier
from tlnlp.model.learned_texts import learned_digests


@pytest.fixture
def scene(tiny_bundle: Path, tmp_path: Path) -> Scene:
    return Scene(tmp_path, tiny_bundle)


def test_the_first_becomes_champion_without_a_comparison(scene: Scene) -> None:
    result = scene.promote("m@2", labels="", by="ada")
    assert (result.version.version, result.previous, result.decision) == (2, None, "promoted")
    assert result.comparison is None
    champion = scene.registry.champion("m")
    assert champion is not None
    assert (champion.version, champion.by, champion.forced) == (2, "ada", False)
    assert "first version" in champion.reason


def test_a_repeated_text_is_counted_once(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    scene.promote("m@1")
    rows = named_rows(240, 77)
    repeated = kit.write_jsonl(scene.folder / "repeated.jsonl", [*rows, rows[3], rows[3] | {"label": rows[3]["label"]}])
    result = scene.promote("m@3", labels=str(repeated))
    assert result.comparison is not None
    assert result.comparison.n == 240
    assert "2 of 242 rows repeat a text and its label: each text is counted once" in capfd.readouterr().err
    # Two labels of one text stay a fault.
    torn = kit.write_jsonl(
        scene.folder / "torn.jsonl", [*rows, rows[3] | {"label": "negative"}, rows[3] | {"label": "positive"}]
    )
    with pytest.raises(LabelFaultsError, match="conflicting labels"):
        scene.promote("m@1", labels=str(torn))


def test_a_bare_name_means_the_newest(scene: Scene) -> None:
    assert scene.promote("m").version.version == 3


def test_equal_predictions_pass_and_the_result_holds_the_comparison(scene: Scene) -> None:
    scene.promote("m@1")
    result = scene.promote("m@3")
    assert scene.champion == 3
    assert result.previous == 1
    assert result.comparison is not None
    assert (result.comparison.n, result.comparison.difference) == (240, 0.0)
    assert "on 240 labels" in result.reasons[0]
    assert "this number of labels can detect a difference of" in result.reasons[0]
    document = json.loads(json.dumps(result.to_json()))
    assert (document["decision"], document["comparison"]["n"]) == ("promoted", 240)
    champion = scene.registry.champion("m")
    assert champion is not None
    assert champion.reason == result.reasons[0]


def test_a_better_candidate_passes(scene: Scene) -> None:
    scene.promote("m@2")
    result = scene.promote("m@1", margin=0.0)
    assert result.comparison is not None
    assert result.comparison.lower > 0
    assert scene.champion == 1


def test_a_worse_candidate_is_refused_with_the_detectable_difference(scene: Scene) -> None:
    scene.promote("m@1")
    with pytest.raises(PromotionRefusedError) as caught:
        scene.promote("m@2")
    assert caught.value.exit_code == 5
    message = str(caught.value)
    assert message.startswith("refused: candidate ")
    assert "on 240 labels" in message
    assert float(message.split("the difference is ")[1].split("%")[0]) < -30
    assert "this number of labels can detect a difference of" in message
    assert scene.champion == 1


def test_few_labels_cannot_show_that_a_candidate_is_not_worse(scene: Scene) -> None:
    kit.write_jsonl(scene.labels, named_rows(60, 77))
    scene.promote("m@1")
    with pytest.raises(
        PromotionRefusedError, match=r": label more documents, raise the margin, or use --force with a reason"
    ):
        scene.promote("m@3", margin=0.01)
    assert scene.promote("m@3", margin=0.1).version.version == 3


def test_a_second_promotion_needs_labels(scene: Scene) -> None:
    scene.promote("m@1")
    needed = r"m has a champion \(version 1\): the comparison needs labels that neither version was trained on"
    with pytest.raises(UsageError, match=needed):
        scene.promote("m@3", labels="")
    kit.write_jsonl(scene.labels, named_rows(49, 77))
    with pytest.raises(PromotionRefusedError, match=r"49 sound labels, fewer than min_labels=50: too few"):
        scene.promote("m@3")
    with pytest.raises(InputDataError, match="nothing is there"):
        scene.promote("m@3", labels=str(scene.folder / "nowhere"))
    assert scene.champion == 1


def test_labels_that_were_trained_on_are_refused(scene: Scene) -> None:
    # The bundles of the kit were trained on the 40 texts of seed 0.
    kit.write_jsonl(scene.labels, [*named_rows(200, 77), *kit.labelled(40, 0)[:7]])
    scene.promote("m@1")
    with pytest.raises(PromotionRefusedError, match=r"m@3 and m@1 learned from 7 of the 207 labels, so these"):
        scene.promote("m@3")
    kit.write_jsonl(scene.labels, kit.labelled(40, 0))
    with pytest.raises(PromotionRefusedError, match=r": m@3 and m@1 learned from all 40 labels, so these cannot show"):
        scene.promote("m@3")
    assert scene.champion == 1


def test_labels_that_were_trained_on_in_another_spelling_are_refused(scene: Scene, tiny_bundle: Path) -> None:
    texts = [row["text"] for row in kit.labelled(40, 0)]
    own = variant(tiny_bundle, scene.folder / "own", **GOOD)
    (own / bundle.TRAINING).write_bytes(bundle.dump_json(learned_digests(texts, (), 400)))
    bundle.seal(own)
    scene.publish(own)
    scene.promote("m@1")
    spelt = [row | {"text": f" {row['text'].replace(' ', '<br/>')}"} for row in kit.labelled(40, 0)[:7]]
    kit.write_jsonl(scene.labels, [*named_rows(200, 77), *spelt])
    # The champion is of an earlier version of tlnlp, which recorded digests of raw texts.
    with pytest.raises(PromotionRefusedError, match=r"m@4 learned from 7 of the 207 labels, so these"):
        scene.promote("m@4")
    kit.write_jsonl(scene.labels, [*named_rows(200, 77), *kit.labelled(40, 0)[:5]])
    with pytest.raises(PromotionRefusedError, match=r"m@4 and m@1 learned from 5 of the 205 labels, so these"):
        scene.promote("m@4")
    kit.write_jsonl(scene.labels, named_rows(240, 77))
    assert scene.promote("m@4").version.version == 4


def test_texts_that_one_of_the_versions_reads_alike_are_counted_once(scene: Scene, tiny_bundle: Path) -> None:
    scene.promote("m@1")  # It reads 400 characters of a text, the candidate reads 4000.
    scene.publish(variant(tiny_bundle, scene.folder / "longer", max_chars=4000, **GOOD))
    long = [{"text": f"positive: {'warm ' * 90}{middle}{' bread' * 90}", "label": "positive"} for middle in "xyz"]
    rows = named_rows(240, 77)
    kit.write_jsonl(scene.labels, [*rows, *long, rows[0] | {"text": f"{rows[0]['text']} "}])
    result = scene.promote("m@4")
    assert result.comparison is not None
    assert result.comparison.n == 241
    kit.write_jsonl(scene.labels, [*rows, *long[:1], long[1] | {"label": "negative"}])
    with pytest.raises(
        LabelFaultsError, match="conflicting labels: 'negative' here, 'positive' in row 241, whose text"
    ):
        scene.promote("m@3")


def test_classes_of_an_earlier_version_may_be_called_as_csv_had_them(scene: Scene, tiny_bundle: Path) -> None:
    for number, classes in enumerate([("False", "True"), ("false", "true")]):
        scene.publish(variant(tiny_bundle, scene.folder / f"truth-{number}", classes=classes, **GOOD))
    names = {"negative": False, "positive": True}
    kit.write_jsonl(scene.labels, [row | {"label": names[row["label"]]} for row in named_rows(240, 77)])
    scene.promote("m@4")
    result = scene.promote("m@5")
    assert result.comparison is not None
    assert result.comparison.candidate == result.comparison.champion > 0.9


def test_faulty_labels_are_refused_or_skipped(scene: Scene) -> None:
    kit.write_jsonl(scene.labels, [*named_rows(240, 77), {"text": "", "label": "positive"}])
    scene.promote("m@1")
    with pytest.raises(LabelFaultsError, match="empty text"):
        scene.promote("m@3")
    assert scene.promote("m@3", on_fault="skip").version.version == 3


def test_labels_of_another_domain_are_refused(scene: Scene) -> None:
    kit.write_jsonl(scene.labels, named_rows(240, 77, ("negative", "mixed")))
    scene.promote("m@1")
    with pytest.raises(
        InputDataError, match=r"m@3 cannot predict the label mixed; its classes are negative, positive: "
    ):
        scene.promote("m@3")


def test_other_classes_are_not_compared(scene: Scene, tiny_bundle: Path) -> None:
    scene.promote("m@1")
    scene.publish(variant(tiny_bundle, scene.folder / "swapped", classes=("positive", "negative")))
    with pytest.raises(PromotionRefusedError, match="m@4 and the champion have different classes"):
        scene.promote("m@4")


def test_to_promote_the_champion_again_changes_nothing(scene: Scene) -> None:
    scene.promote("m@1")
    before = scene.registry.champion("m")
    # A retry, or the next command after &&, must go on. Neither labels nor a reason are needed for it.
    for more in ({}, {"labels": ""}, {"force": True, "reason": "again"}):
        result = scene.promote("m@1", **more)
        assert (result.version.version, result.previous, result.decision) == (1, 1, "unchanged")
    assert scene.registry.champion("m") == before


def test_force_needs_a_reason_and_records_it(scene: Scene) -> None:
    scene.promote("m@1")
    for reason in ("", "  "):
        with pytest.raises(UsageError, match="a forced promotion needs a reason"):
            scene.promote("m@2", force=True, reason=reason)
    assert scene.champion == 1
    result = scene.promote("m@2", force=True, reason="the law changed", by="grace", labels="")
    assert result.comparison is None
    champion = scene.registry.champion("m")
    assert champion is not None
    assert (champion.version, champion.forced, champion.by) == (2, True, "grace")
    assert champion.reason == "forced: the law changed"
    assert scene.registry.rollback("m", by="ada", reason="it had not").version == 1


def test_what_does_not_exist(scene: Scene) -> None:
    with pytest.raises(ModelNotFoundError, match="m has no version 9; it has 1, 2, 3"):
        scene.promote("m@9")
    with pytest.raises(ModelNotFoundError, match="no model 'other'"):
        scene.promote("other")


def test_one_of_two_concurrent_promotions_wins(scene: Scene, tiny_bundle: Path) -> None:
    scene.publish(variant(tiny_bundle, scene.folder / "fourth", **GOOD))
    scene.promote("m@1")
    start = Barrier(2)

    def race(model: str) -> PromoteResult | Exception:
        start.wait()
        try:
            return scene.promote(model)
        except PromotionRefusedError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(race, ("m@3", "m@4")))
    (won,) = [result for result in results if isinstance(result, PromoteResult)]
    (lost,) = [result for result in results if isinstance(result, PromotionRefusedError)]
    assert scene.champion == won.version.version
    assert won.previous == 1
    assert "first" in str(lost)


def test_evaluate_says_how_many_texts_were_trained_on(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    seen = kit.write_jsonl(scene.folder / "seen.jsonl", kit.labelled(40, 0))
    settings = PromoteSettings(labels=str(seen), registry=scene.registry.storage.uri, model="m@1")
    result = evaluate_version(settings)
    assert (result.trained_on, result.figures.n) == (40, 40)
    assert "m@1 was trained on 40 of these 40 texts" in capfd.readouterr().err
    fresh = evaluate_version(settings.model_copy(update={"labels": str(scene.labels)}))
    assert fresh.trained_on == 0
    rows = named_rows(240, 77)
    assert fresh.figures.accuracy > 0.9
    probabilities = Classifier.load(scene.folder / "variant-0", 1).predict([row["text"] for row in rows])
    predicted = probabilities.argmax(axis=1)
    hits = [kit.CLASSES[best] == row["label"] for best, row in zip(predicted, rows, strict=True)]
    assert fresh.figures.accuracy == pytest.approx(np.mean(hits))
    assert result.to_json()["model"] == "m"
