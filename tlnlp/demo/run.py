"""Run the demo: check labels, train and promote a model, score and publish documents, query the table.

The demo makes the same calls as the commands of ``tlnlp``. A second run in the same workspace reuses the model that was
trained on the same labels.
"""

from __future__ import annotations

import importlib.resources
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tlnlp.config import DEFAULT_WORKSPACE, EvaluateSettings, FinetuneSettings, PromoteSettings, ScoreSettings
from tlnlp.data.labels import LabelContract, read_labels, require_sound
from tlnlp.errors import UsageError
from tlnlp.registry import ModelVersion, Registry
from tlnlp.registry.training import read_training
from tlnlp.runs import console
from tlnlp.runs.progress import say
from tlnlp.storage.uri import local_path, resolve_uri
from tlnlp.warehouse.query import run_query

MODEL = "reviews"
FILES = {"labels.jsonl": "labels", "heldout.jsonl": "heldout", "documents.jsonl": "documents"}


@dataclass(frozen=True)
class _Workspace:
    folder: Path

    def path(self, name: str) -> str:
        """Return the path of a shipped file in the workspace."""
        return str(self.folder / FILES[name] / name)

    @property
    def registry(self) -> str:
        """Return the folder of the registry."""
        return str(self.folder / "registry")

    @property
    def warehouse(self) -> str:
        """Return the folder of the warehouse."""
        return str(self.folder / "warehouse")


def run_demo(workspace: str, as_json: bool) -> None:
    """Run the whole path in a workspace folder and print the results, as text or as one JSON document.

    Raises:
        UsageError: the workspace is not a folder on this machine.
        TlnlpError: a stage failed.
    """
    started = time.monotonic()
    folder = local_path(resolve_uri(workspace))
    if folder is None:
        raise UsageError(f"{workspace}: the demo needs a folder on this machine; choose another --workspace")
    place = _Workspace(folder)
    _copy_texts(place)
    say("1/5  checking the labels")
    labelled = require_sound(read_labels(place.path("labels.jsonl"), LabelContract()), "fail")
    version = _model(place, labelled.digest)
    say("4/5  evaluating on held-out labels")
    figures = _evaluate(place)
    say("5/5  scoring the documents")
    scored = _score(place)
    result = {
        "model": version.name,
        "version": version.version,
        **scored,
        "accuracy": figures["accuracy"],
        "encoders": read_training(version).get("report", {}).get("encoders", []),
        "held_out_labels": figures["n"],
        "workspace": str(folder),
        "total_seconds": round(time.monotonic() - started, 1),
    }
    console.print_json(result) if as_json else _print_report(place, result)


def _copy_texts(place: _Workspace) -> None:
    shipped = importlib.resources.files("tlnlp.demo")
    for name in FILES:
        target = Path(place.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((shipped / name).read_bytes())


def _model(place: _Workspace, digest: str) -> ModelVersion:
    registry = Registry(place.registry)
    champion = registry.champion(MODEL)
    if champion is not None:
        version = registry.resolve(f"{MODEL}@{champion.version}")
        if read_training(version).get("labels_digest") == digest:
            say(f"2/5  training: {version} was trained on these labels already")
            say("3/5  promotion: it is champion already")
            return version
    say("2/5  training")
    from tlnlp.evaluate.promotion_gate import promote
    from tlnlp.train.finetune import finetune

    settings = FinetuneSettings(labels=place.path("labels.jsonl"), registry=place.registry, model=MODEL, max_length=128)
    version = finetune(settings).version
    say("3/5  promotion")
    promote(PromoteSettings(registry=place.registry, model=str(version), labels=place.path("heldout.jsonl")))
    return version


def _evaluate(place: _Workspace) -> dict[str, Any]:
    from tlnlp.evaluate.evaluation import evaluate_version

    settings = EvaluateSettings(registry=place.registry, model=MODEL, labels=place.path("heldout.jsonl"))
    return evaluate_version(settings).to_json()


def _score(place: _Workspace) -> dict[str, Any]:
    from tlnlp.score.job import score

    settings = ScoreSettings(
        documents=place.path("documents.jsonl"),
        registry=place.registry,
        warehouse=place.warehouse,
        model=MODEL,
        keep_columns=("item", "date"),
        score_date=datetime.now(UTC).date(),
    )
    return score(settings).to_json()


_LABELS = "select label, count(*) as documents from scores where score_date = '{day}' group by 1 order by 1"
_ITEMS = """
select item, count(*) as documents, count(*) filter (label = 'positive') as positive,
       round(avg(probabilities['positive']), 2) as mean_positive
from scores where score_date = '{day}' group by 1 order by mean_positive desc"""
_EXTREMES = """
select document_id, item, label, round(scores.score, 3) as score
from scores where score_date = '{day}' order by scores.score {order}, document_id limit 3"""


def _print_report(place: _Workspace, result: dict[str, Any]) -> None:
    day, version = result["score_date"], f"{result['model']}@{result['version']}"
    console.heading("Accuracy of the model")
    print(f"  {version}: {result['accuracy']:.1%} of {result['held_out_labels']} held-out labels right")
    for number, candidate in enumerate(result["encoders"]):
        decision = "chosen" if number == 0 else "not chosen"
        accuracy = "not measured"
        if candidate["accuracy"] is not None:
            accuracy = f"{candidate['accuracy']:.1%} of {candidate['n']} held-out labels right"
        print(f"  encoder {candidate['encoder']}: {decision}; before fine-tuning {accuracy}")
    console.heading(f"Scores of {day} in table {result['table']}")
    _table(place, _LABELS.format(day=day))
    console.heading("By item, most positive first")
    _table(place, _ITEMS.format(day=day))
    console.heading("Three documents with the highest scores")
    _table(place, _EXTREMES.format(day=day, order="desc"))
    console.heading("Three documents with the lowest scores")
    _table(place, _EXTREMES.format(day=day, order="asc"))
    console.heading("The run")
    rate = f", {result['documents_per_s']} documents a second" if result["rows_scored"] else ""
    print(
        f"  {result['rows_scored']} documents scored ({result['texts_scored']} texts{rate}), "
        f"{result['rows_reused']} with scores copied from an earlier run, {result['rows_quarantined']} quarantined"
    )
    print(f"  the table is in {place.warehouse}, the model in {place.registry}; {result['total_seconds']:.0f} s in all")
    console.heading("Next")
    option = "" if place.folder == Path(DEFAULT_WORKSPACE).absolute() else f" --workspace {place.folder}"
    print(f'  tlnlp query{option} "select item, label, count(*) from scores group by all order by all"')
    print(f"  tlnlp queue{option} && tlnlp explore{option} --set held_out={place.path('heldout.jsonl')}")


def _table(place: _Workspace, sql: str) -> None:
    found = run_query(place.warehouse, sql)
    console.print_rows(["", *found.columns], [["", *row] for row in found.rows])
