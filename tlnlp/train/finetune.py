"""The fine-tuning stage: labels in, an immutable version in the registry out.

Two fits. The first leaves a part of the labels out, and on that part the combination of the two views is fitted and
its accuracy reported. The second learns from all labels; it is the one that is registered.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import FinetuneSettings
from tlnlp.cost import Budget
from tlnlp.data.labels import LabelContract, LabelledSet, describe_faults, read_labels, require_sound
from tlnlp.data.text import prepare, text_sha256
from tlnlp.errors import UsageError
from tlnlp.ledger import Ledger, new_run_id
from tlnlp.model import bundle
from tlnlp.model.combine import Floats, combine, fit_weights
from tlnlp.model.encode import Encoder
from tlnlp.model.ngram import FEATURES, NgramView, fit_ngram
from tlnlp.model.reference import max_positions, save_tokenizer
from tlnlp.progress import say
from tlnlp.registry import ModelVersion, Registry, check_name
from tlnlp.storage import Storage
from tlnlp.train import assemble, ray_job
from tlnlp.train.loop import Fit
from tlnlp.train.metrics import Evaluation, evaluate
from tlnlp.train.split import stratified_holdout


@dataclass(frozen=True)
class FinetuneResult:
    """``held_out``: figures on the labels that the first fit did not see; None where too few could be held out."""

    version: ModelVersion
    run_id: str
    labels: int
    classes: tuple[str, ...]
    steps: int
    seconds: float
    held_out: Evaluation | None
    cost: dict[str, object] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.version.name,
            "version": self.version.version,
            "uri": self.version.uri,
            "run_id": self.run_id,
            "labels": self.labels,
            "classes": list(self.classes),
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "held_out": self.held_out.to_json() if self.held_out is not None else None,
            "usd": self.cost["usd"] if self.cost else None,
        }


@dataclass(frozen=True)
class Prepared:
    """The examples as both views read them: prepared texts, token ids, class indices."""

    texts: list[str]
    encoded: list[list[int]]
    targets: NDArray[np.int64]
    classes: tuple[str, ...]
    max_length: int
    pad_token_id: int

    def ngram(self, positions: NDArray[np.int64], seed: int) -> NgramView:
        texts = [self.texts[i] for i in positions]
        return fit_ngram(texts, self.targets[positions].tolist(), len(self.classes), seed)

    def fit(self, settings: FinetuneSettings, train: NDArray[np.int64], held_out: NDArray[np.int64]) -> Fit:
        return Fit(
            encoder=settings.encoder,
            pooling=settings.pooling,
            classes=len(self.classes),
            pad_token_id=self.pad_token_id,
            encoded=[self.encoded[i] for i in train],
            targets=self.targets[train].tolist(),
            held_out=[self.encoded[i] for i in held_out],
            seed=settings.seed,
            recipe=settings.training,
        )


@dataclass(frozen=True)
class Rehearsal:
    """What the held-out labels taught: the weights of the two views, and how good they are together."""

    weights: tuple[float, float]
    figures: Evaluation | None


def finetune(settings: FinetuneSettings) -> FinetuneResult:
    """Train, bundle and register one version. A ledger is kept in the registry, also of a run that failed.

    Raises:
        UsageError, InputDataError, LabelFaultsError, BundleError, EngineError, StorageError.
        BudgetError: the run would cost more than its budget; fits that are done need not be done again.
    """
    check_name(settings.model)
    if settings.training.batch_size % settings.ray.workers:
        raise UsageError("training.batch_size must be a multiple of ray.workers: workers train on equal shares")
    started, registry, budget = time.monotonic(), Registry(settings.registry), Budget(settings.cost)
    ledger = Ledger("finetune", new_run_id(datetime.now(UTC)), settings.model_dump(mode="json"))
    if budget.price is not None:
        ledger.priced(budget.price.usd_per_hour, instance=budget.price.instance, instances=budget.price.instances)
    with ledger.kept(lambda finished: registry.write_ledger(settings.model, finished)):
        with ledger.stage("labels"):
            labelled = _read_sound(settings, ledger)
        with tempfile.TemporaryDirectory(prefix="tlnlp-bundle-") as scratch:
            folder = Path(scratch)
            prepared = _prepare(settings, labelled, folder)
            rehearsal, weights, steps = _train(settings, labelled, prepared, registry, ledger, budget)
            with ledger.stage("bundle"):
                _assemble(settings, labelled, prepared, rehearsal, weights, folder, ledger)
            with ledger.stage("register"):
                version = registry.publish(settings.model, folder)
        _forget_checkpoints(settings, labelled, registry)
        ledger.counts |= {"version": version.version, "steps": steps}
    seconds = time.monotonic() - started
    say(f"registered {version.name}@{version.version}")
    return FinetuneResult(
        version, ledger.run_id, len(labelled.examples), labelled.classes, steps, seconds, rehearsal.figures, ledger.cost
    )


def _read_sound(settings: FinetuneSettings, ledger: Ledger) -> LabelledSet:
    contract = LabelContract(settings.text_column, settings.label_column, settings.classes, settings.min_per_class)
    labelled = require_sound(read_labels(settings.labels, contract), settings.on_fault)
    ledger.inputs(labelled.uri, digest=labelled.digest, rows=labelled.rows)
    ledger.counts |= {"labels": len(labelled.examples), "faults": len(labelled.faults)}
    if labelled.faults:
        say(f"labels: {len(labelled.faults)} faults skipped\n{describe_faults(labelled.faults)}")
    say(f"labels: {len(labelled.examples)} ({', '.join(f'{n} {label}' for label, n in labelled.counts.items())})")
    return labelled


def _prepare(settings: FinetuneSettings, labelled: LabelledSet, folder: Path) -> Prepared:
    pad_token_id = save_tokenizer(settings.encoder, folder)
    max_length = min(settings.max_length, max_positions(settings.encoder))
    encoder = Encoder.load(folder / bundle.TOKENIZER, max_length, settings.head_share)
    texts = [prepare(text, settings.max_chars) for text in labelled.texts]
    targets = np.asarray(labelled.targets, dtype=np.int64)
    return Prepared(texts, encoder.encode(texts), targets, labelled.classes, max_length, pad_token_id)


def _train(
    settings: FinetuneSettings,
    labelled: LabelledSet,
    prepared: Prepared,
    registry: Registry,
    ledger: Ledger,
    budget: Budget,
) -> tuple[Rehearsal, dict[str, Any], int]:
    storage, name = _checkpoints(settings, labelled, registry)
    train, held_out = stratified_holdout(prepared.targets.tolist(), settings.training.holdout_share, settings.seed)
    everything, nothing = np.arange(len(prepared.texts)), np.zeros(0, dtype=np.int64)
    rehearsal = Rehearsal((1.0, 0.0), None)
    with ray_job.cluster(settings.ray):
        if len(held_out):
            with ledger.stage("fit_held_out"):
                budget.refuse(0.0, "before the first fit")
                fit = prepared.fit(settings, train, held_out)
                began_s = budget.spent_s
                tried = ray_job.run_fit(fit, settings.ray, storage, f"{name}-held-out", "rehearsal")
                ledger.results["fit_held_out"] = tried.to_json()
                # The last fit should take as long for a step.
                after = prepared.fit(settings, everything, nothing).steps / max(1, tried.steps)
                budget.refuse((budget.spent_s - began_s) * after, "before the last fit")
                rehearsal = _rehearse(prepared, train, held_out, tried.held_out, settings.seed)
        with ledger.stage("fit"):
            fit = prepared.fit(settings, everything, nothing)
            result = ray_job.run_fit(fit, settings.ray, storage, name, "training")
            ledger.results["fit"] = result.to_json()
    return rehearsal, result.weights, result.steps


def _rehearse(
    prepared: Prepared, train: NDArray[np.int64], held_out: NDArray[np.int64], encoder: Floats, seed: int
) -> Rehearsal:
    ngram = prepared.ngram(train, seed).predict([prepared.texts[i] for i in held_out])
    targets = prepared.targets[held_out]
    weights = fit_weights(encoder, ngram, targets)
    figures = evaluate(combine(encoder, ngram, *weights), targets, prepared.classes)
    say(f"rehearsal: {figures.accuracy:.1%} of {figures.n} held-out labels right")
    return Rehearsal(weights, figures)


def _assemble(
    settings: FinetuneSettings,
    labelled: LabelledSet,
    prepared: Prepared,
    rehearsal: Rehearsal,
    weights: dict[str, Any],
    folder: Path,
    ledger: Ledger,
) -> None:
    spec = bundle.BundleSpec(
        classes=labelled.classes,
        encoder=settings.encoder,
        pooling=settings.pooling,
        max_length=prepared.max_length,
        head_share=settings.head_share,
        max_chars=settings.max_chars,
        pad_token_id=prepared.pad_token_id,
        input_names=("input_ids", "attention_mask"),
        encoder_weight=rehearsal.weights[0],
        ngram_weight=rehearsal.weights[1],
        ngram_features=FEATURES,
    )
    training = {
        "run_id": ledger.run_id,
        "labels_digest": labelled.digest,
        "counts": labelled.counts,
        "seed": settings.seed,
        "recipe": settings.training.model_dump(mode="json"),
        "held_out": rehearsal.figures.to_json() if rehearsal.figures is not None else None,
        "text_sha256": sorted(text_sha256(text) for text in labelled.texts),
    }
    everything = np.arange(len(prepared.texts))
    ngram = prepared.ngram(everything, settings.seed)
    parity = assemble.write_bundle(folder, spec, weights, ngram, training, prepared.encoded)
    say(f"bundle: exported graph within {parity:.1e} of torch")


def _checkpoints(settings: FinetuneSettings, labelled: LabelledSet, registry: Registry) -> tuple[Storage, str]:
    storage = Storage(settings.ray.storage or registry.storage.at(settings.model).url("training"))
    return storage, _run_name(settings, labelled)


def _forget_checkpoints(settings: FinetuneSettings, labelled: LabelledSet, registry: Registry) -> None:
    # A registered run has nothing to resume; left in place, a later run of this name would return it untrained.
    storage, name = _checkpoints(settings, labelled, registry)
    for finished in (name, f"{name}-held-out"):
        storage.delete_folder(finished)


def _run_name(settings: FinetuneSettings, labelled: LabelledSet) -> str:
    """A name that changes with the labels and every key that changes the result, so that only its like is resumed."""
    shaping = settings.model_dump(mode="json", exclude={"ray", "registry", "labels", "run_name"})
    shaping["workers"] = settings.ray.workers
    text = json.dumps([labelled.digest, shaping], sort_keys=True)
    return f"{settings.run_name or 'finetune'}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
