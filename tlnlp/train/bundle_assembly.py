"""Write the bundle of a trained model: export the encoder, choose the engine that scores, and finish the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlnlp.config import CascadeSettings, FinetuneSettings
from tlnlp.data.labels import LabelledSet
from tlnlp.data.pool import Pool
from tlnlp.errors import UsageError
from tlnlp.evaluate.cascade_gate import fit_cascade
from tlnlp.evaluate.engine_gate import EngineTrial, choose_engine
from tlnlp.evaluate.metrics import Evaluation
from tlnlp.model.bundle_spec import BundleSpec
from tlnlp.model.bundle_writer import engines_of, export_encoder, finish_bundle
from tlnlp.model.cascade import Cascade
from tlnlp.model.combine import Floats, combine
from tlnlp.model.engines.engine import Engine, read_network
from tlnlp.model.learned_texts import learned_digests
from tlnlp.model.ngram import NgramView
from tlnlp.model.profile import CTRANSLATE2_INT8, FAST, NONE, ONNX_FP32, SAFE, slower
from tlnlp.model.torch_encoder import INPUT_NAMES, encoder_folder
from tlnlp.runs.progress import meter, say
from tlnlp.train.context import Run
from tlnlp.train.dataset import Examples, Reader
from tlnlp.train.learned_model import LearnedModel

# Share of the documents that test the cascade at most, and fewest documents that can show anything.
ASIDE_SHARE, LEAST_ASIDE = 0.1, 300
# Share of the time budget, and seconds, that reading them may take at most; and how many are read between two signs of
# progress. A test of 0.5 % needs 600 documents, thus 900 in all.
ASIDE_TIME, ASIDE_S, READ_AT_ONCE = 0.1, 60.0, 256
# With labels alone, a run takes less than a minute, so the engines are compared for a part of the time.
LABELS_ALONE = 5


@dataclass(frozen=True)
class Made:
    """Hold what a bundle records beside the trained model.

    Fields:
        figures: cross-validated figures; None with too few labels for them.
        report: the data of the report.
        aside: documents that nothing has learned from.
    """

    figures: Evaluation | None
    report: dict[str, Any]
    aside: tuple[str, ...] = ()


def check_engine(settings: FinetuneSettings) -> None:
    """Check, before any work, that the engine of the settings can run their encoder.

    Raises:
        InputDataError: the encoder cannot be opened.
        UsageError: the engine cannot run it.
    """
    if settings.engine == CTRANSLATE2_INT8 and read_network(Path(encoder_folder(settings.encoder))) is None:
        raise UsageError(
            f"engine: {settings.engine} cannot run {settings.encoder}, whose network is of another kind; use auto or "
            f"{ONNX_FP32}"
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


def reserved_s(settings: FinetuneSettings, aside: Sequence[str]) -> float:
    """Return the seconds of the time budget that engines and cascades are tested in, about."""
    return settings.engine_gate.seconds + _aside_s(settings) / 2 if aside else 0.0


def assemble_bundle(run: Run, labelled: LabelledSet, learned: LearnedModel, made: Made, folder: Path) -> None:
    """Write a bundle into a folder that already holds the tokenizer.

    Raises:
        BundleError: the exported graph differs from torch, or the files would be refused when the bundle is loaded.
    """
    settings, examples, ledger, report = run.settings, run.examples, run.ledger, made.report
    spec = _spec(settings, labelled, examples, learned)
    parity = export_encoder(folder, spec, learned.weights, examples.cut or examples.class_name_examples)
    say(f"bundle: the exported graph differs from torch by at most {parity:.1e} in probability")
    views = _Views(spec, examples.reader, learned.ngram, engines_of(folder, spec))
    # Documents in random order, which nothing has learned from; else the labelled texts.
    engine, trials = _choose(settings, views, made.aside or labelled.texts, bool(made.aside))
    cascades, tests = _cascades(settings, views, engine, trials, made.aside)
    optimise = next((name for name in slower(settings.optimise) if name in cascades), NONE)
    spec = replace(spec, engine=engine, cascades=cascades, optimise=optimise)
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


@dataclass(frozen=True)
class _Views:
    """Both views of a trained model, with the engines that can run the encoder."""

    spec: BundleSpec
    reader: Reader
    ngram: NgramView
    engines: dict[str, Engine]

    def both(self, encoder: Floats, ngram: Floats) -> Floats:
        """Return the combined probabilities (texts, classes) of both views."""
        return combine(encoder, ngram, self.spec.encoder_weight, self.spec.ngram_weight)


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
    settings: FinetuneSettings, views: _Views, texts: Sequence[str], are_documents: bool
) -> tuple[str, list[EngineTrial]]:
    """Return the name of the engine that scores, and what was measured of each engine."""
    engines, gate = views.engines, settings.engine_gate
    prepared = views.reader.prepare(texts[: gate.texts])
    own = views.ngram.predict(prepared)
    best, trials = choose_engine(
        engines,
        views.reader.cut.encode(prepared),
        lambda encoder, part: views.both(encoder, own[part]),
        gate,
        gate.seconds / (1 if are_documents else LABELS_ALONE),
    )
    for trial in trials:
        say(
            f"engine {trial.engine}: {trial.documents_per_s:,.0f} documents a second; {trial.changed} of {trial.texts} "
            f"labels changed{'' if trial.refused is None else '; it does not score: ' + trial.refused}"
        )
    wanted = ONNX_FP32 if settings.optimise == NONE else best
    return wanted if settings.engine == "auto" else settings.engine, trials


def _cascades(
    settings: FinetuneSettings, views: _Views, engine: str, trials: Sequence[EngineTrial], aside: Sequence[str]
) -> tuple[dict[str, Cascade], dict[str, Any]]:
    """Return the cascades that pass their test on documents that were set aside, and the tests, by profile."""
    rate = {trial.engine: trial.documents_per_s for trial in trials}[engine]
    texts = aside[: int(rate * _aside_s(settings))]
    if not texts:
        return {}, {}
    prepared = views.reader.prepare(texts)
    ngram = views.ngram.predict(prepared)
    with meter("scoring documents that were set aside", len(texts)) as shown:
        parts = []
        for start in range(0, len(prepared), READ_AT_ONCE):
            parts.append(views.engines[engine].predict(views.reader.cut.encode(prepared[start : start + READ_AT_ONCE])))
            shown.update(min(len(texts), start + READ_AT_ONCE))
    both = views.both(np.vstack(parts), ngram)
    cascades, tests = {}, {}
    for name, limit in ((SAFE, settings.cascade.safe), (FAST, settings.cascade.fast)):
        found = fit_cascade(ngram, both, limit)
        if found is None:
            say(f"cascade {name}: none keeps the limit of {limit:.1%} changed labels on {len(texts):,} documents")
            continue
        cascades[name], test = found
        tests[name] = test.to_json()
        say(
            f"cascade {name}: the n-gram view settles {test.settled_share:.0%}; it changes {test.changed} of "
            f"{test.tested:,} labels (at most {limit:.1%} of all documents, with 95% confidence)"
        )
    return cascades, tests
