"""Write the bundle of a trained model: export the encoder, choose the engine that scores, and finish the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlnlp.config import CascadeSettings, FinetuneSettings
from tlnlp.data.labels import LabelledSet
from tlnlp.data.pool import Pool
from tlnlp.errors import UsageError
from tlnlp.evaluate.engine_gate import EngineTrial, choose_engine
from tlnlp.evaluate.metrics import Evaluation
from tlnlp.model import bundle
from tlnlp.model.bundle_spec import BundleSpec
from tlnlp.model.bundle_writer import engines_of, export_encoder, finish_bundle
from tlnlp.model.learned_texts import learned_digests
from tlnlp.model.onnx_export import INPUT_NAMES
from tlnlp.model.profile import CTRANSLATE2_INT8, NONE, ONNX_FP32, slower
from tlnlp.model.student import Student, open_student, save_student
from tlnlp.model.torch_encoder import encoder_network
from tlnlp.runs.progress import say
from tlnlp.train.cascade_choice import Views, choose_cascades
from tlnlp.train.context import Run
from tlnlp.train.dataset import Examples, Reader
from tlnlp.train.distillation import Distilled, distilling_s
from tlnlp.train.fit.run_fit import INT8
from tlnlp.train.learned_model import LearnedModel

# Share of the documents that test the cascade at most, and fewest documents that can show anything.
ASIDE_SHARE, LEAST_ASIDE = 0.1, 300
# Share of the time budget, and seconds, that reading them may take at most. Of 1,200 documents an IMDb version could
# settle 53 % by a test of 0.5 %, of 3,000 it could settle 63 %.
ASIDE_TIME, ASIDE_S = 0.1, 120.0
# With labels alone, a run takes less than a minute, so the engines are compared for a part of the time.
LABELS_ALONE = 10
# Share of the time budget that comparing the engines may take at most.
GATE_TIME = 0.04


@dataclass(frozen=True)
class Made:
    """Hold what a bundle records beside the trained model.

    Fields:
        figures: cross-validated figures; None with too few labels for them.
        report: the data of the report.
        aside: documents that nothing has learned from.
        student: a distilled student; None without one.
    """

    figures: Evaluation | None
    report: dict[str, Any]
    aside: tuple[str, ...] = ()
    student: Distilled | None = None


def check_engine(settings: FinetuneSettings) -> None:
    """Check, before any work, that the engine and the precision of the settings suit their encoder.

    Raises:
        InputDataError: the encoder cannot be opened.
        UsageError: there are no int8 weights of such an encoder.
    """
    own, reading = settings.engine, settings.teaching.read_precision
    if own != CTRANSLATE2_INT8 and reading != INT8:
        return
    if encoder_network(settings.encoder) is None:
        given, other = (
            (f"engine: {own}", ONNX_FP32) if own == CTRANSLATE2_INT8 else ("read_precision: int8", "training")
        )
        raise UsageError(
            f"{given} cannot run {settings.encoder}, whose network is of another kind; use auto or {other}"
        )


def set_aside(pool: Pool | None, settings: CascadeSettings) -> tuple[Pool | None, tuple[str, ...]]:
    """Return the pool without the documents that test the cascade, and these; none if they would be too few to."""
    if pool is None:
        return None, ()
    count = min(settings.documents, int(len(pool.texts) * ASIDE_SHARE))
    if count < LEAST_ASIDE:
        return pool, ()
    return replace(pool, texts=pool.texts[count:]), pool.texts[:count]


def _aside_s(settings: FinetuneSettings) -> float:
    return min(ASIDE_S, ASIDE_TIME * settings.time_budget_s)


def _gate_s(settings: FinetuneSettings) -> float:
    return min(settings.engine_gate.seconds, GATE_TIME * settings.time_budget_s)


def reserved_s(settings: FinetuneSettings, aside: Sequence[str]) -> float:
    """Return the seconds of the time budget that a student is made in, and engines and cascades are tested, about."""
    return distilling_s(settings, aside) + _gate_s(settings) + _aside_s(settings) / 2 if aside else 0.0


def assemble_bundle(run: Run, labelled: LabelledSet, learned: LearnedModel, made: Made, folder: Path) -> None:
    """Write a bundle into a folder that already holds the tokenizer.

    Raises:
        BundleError: the exported graph differs from torch, or the files would be refused when the bundle is loaded.
    """
    settings, examples, ledger, report = run.settings, run.examples, run.ledger, made.report
    spec = _spec(settings, labelled, examples, learned)
    parity = export_encoder(folder, spec, learned.weights, examples.cut or examples.class_name_examples)
    say(f"bundle: the exported graph differs from torch by at most {parity:.1e} in probability")
    student = None if made.student is None else _open(made.student, folder, spec, examples.reader)
    views = Views(spec, examples.reader, learned.ngram, engines_of(folder, spec), student)
    # Documents in random order, which nothing has learned from; else the labelled texts.
    engine, trials = _choose(settings, views, made.aside or labelled.texts, bool(made.aside))
    rate = {trial.engine: trial.documents_per_s for trial in trials}[engine]
    cascades, tests = choose_cascades(settings, views, engine, made.aside[: int(rate * _aside_s(settings))])
    optimise = next((name for name in slower(settings.optimise) if name in cascades), NONE)
    spec = replace(spec, engine=engine, cascades=cascades, optimise=optimise)
    if made.student is not None and any(cascade.student for cascade in cascades.values()):
        spec = replace(spec, student=made.student.spec)
    else:
        (folder / bundle.STUDENT).unlink(missing_ok=True)
    found = {"engines": [trial.to_json() for trial in trials], "profile": str(spec.profile), "cascade": tests}
    ledger.results |= found
    if report:  # An empty one says that there is no report.
        report["scoring"] = found
    say(f"scoring: {spec.profile}")
    training = {
        "run_id": ledger.run_id,
        "validated": not report.get("unvalidated", False),
        "labels_digest": labelled.digest,
        "counts": labelled.counts,
        "seed": settings.seed,
        "recipe": settings.training.model_dump(mode="json"),
        "teaching": settings.teaching.model_dump(mode="json"),
        "held_out": made.figures.to_json() if made.figures is not None else None,
        "report": report,
        "parity": parity,
    }
    training |= learned_digests(labelled.texts, learned.documents, settings.max_chars)
    finish_bundle(folder, spec, learned.ngram, training)


def _spec(settings: FinetuneSettings, labelled: LabelledSet, examples: Examples, learned: LearnedModel) -> BundleSpec:
    source = examples.reader.encoder
    return BundleSpec(
        classes=labelled.classes,
        encoder=source.name,
        pooling=source.conventions.pooling,
        max_length=examples.reader.max_length,
        head_share=settings.head_share,
        max_chars=settings.max_chars,
        pad_token_id=source.pad_token_id,
        input_names=INPUT_NAMES,
        encoder_weight=learned.combination[0],
        ngram_weight=learned.combination[1],
        ngram_features=learned.ngram.weights.shape[0],
        prompt=source.conventions.prompt,
        normalise=source.conventions.normalise,
        lower_case=source.conventions.lower_case,
    )


def _choose(
    settings: FinetuneSettings, views: Views, texts: Sequence[str], are_documents: bool
) -> tuple[str, list[EngineTrial]]:
    """Return the name of the engine that scores, and what was measured of each engine."""
    engines, gate = views.engines, settings.engine_gate
    prepared = views.reader.prepare(texts[: gate.texts])
    own = views.ngram.predict(prepared)
    best, trials = choose_engine(
        engines,
        views.reader.cut.encode(prepared),
        lambda encoder, rows: views.spec.combined(encoder, own[rows]),
        gate,
        _gate_s(settings) / (1 if are_documents else LABELS_ALONE),
    )
    for trial in trials:
        say(
            f"engine {trial.engine}: {trial.documents_per_s:,.0f} documents a second; {trial.changed} of {trial.texts} "
            f"labels changed{'' if trial.refused is None else '; it does not score: ' + trial.refused}"
        )
    wanted = ONNX_FP32 if settings.optimise == NONE else best
    return wanted if settings.engine == "auto" else settings.engine, trials


def _open(distilled: Distilled, folder: Path, spec: BundleSpec, reader: Reader) -> Student:
    """Write a student into the folder of the bundle, and return it."""
    save_student(folder, distilled.weights, distilled.spec.layers)
    return open_student(folder, replace(spec, student=distilled.spec), reader.cut)
