"""Classify texts with a loaded bundle: the same code in evaluation, in Spark workers and in user programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlnlp.data.text import prepare
from tlnlp.errors import BundleError, EngineError
from tlnlp.model import bundle
from tlnlp.model.bounded_json import AGAIN
from tlnlp.model.bundle_checks import check_contents, check_vocabulary
from tlnlp.model.bundle_spec import BundleSpec
from tlnlp.model.cascade import ENCODER, NGRAM, STAGES, STUDENT, Cascade, Stages
from tlnlp.model.combine import Floats
from tlnlp.model.engines.engine import Engine, open_engine
from tlnlp.model.golden_texts import TEXTS, GoldenTexts, check_probabilities, compare
from tlnlp.model.ngram import NgramView
from tlnlp.model.profile import CTRANSLATE2_INT8, INT8_ENGINES, NONE, ONNX_FP32, Profile
from tlnlp.model.student import Student, open_student
from tlnlp.model.tokenize import Encoder

# Digest, engine and GPU of the bundles that this process has tried on golden texts: neither files nor machine change.
_tried: set[tuple[str, str, int]] = set()


@dataclass(frozen=True)
class Classifier:
    """Classify texts with both views of a bundle.

        classifier = Classifier.load(Path("bundle"))
        probabilities = classifier.predict(["Bread still warm at closing time."])

    Fields:
        digest: digest of the bundle, the sha256 of its manifest.
        encoder: the tokenizer, with the length limit and the prompt.
        engine: the encoder with its head.
        engine_name: name of the engine, in ``bundle.ENGINES``.
        ngram: the n-gram view.
        cascade: what the n-gram view settles alone; None: the encoder reads every text.
        student: what the cascade asks before the encoder; None without one.
    """

    spec: BundleSpec
    digest: str
    encoder: Encoder
    engine: Engine
    engine_name: str
    ngram: NgramView
    cascade: Cascade | None = None
    student: Student | None = None

    @staticmethod
    def load(
        folder: Path, threads: int = 0, profile: Profile | None = None, scoring_only: bool = False, gpu: int = 0
    ) -> Classifier:
        """Verify a bundle, check what its files mean, load it, and try it on golden texts once in a process.

        Args:
            threads: most threads that the encoder uses; 0 means one for each core.
            profile: engine and cascade; None means those that the bundle names.
            scoring_only: the folder holds only the files that scoring with the engine of ``profile`` reads (see
                ``bundle.verify``).
            gpu: index of the GPU for an engine that needs one.

        Raises:
            BundleError: a file is missing, altered, unlisted or of another format, or holds what no sound model has
                (see ``bundle_checks``); or this machine does not reproduce the probabilities of the golden texts.
            EngineError: this process cannot use the GPU.
        """
        only = profile.engine if profile is not None and scoring_only else None
        digest = bundle.verify(folder, only)
        contents = check_contents(folder, only)
        spec = contents.spec
        profile = profile or spec.profile
        name, cascade = profile.engine, spec.cascades.get(profile.cascade)
        if (profile.cascade != NONE and cascade is None) or not bundle.has_files(folder, name):
            raise BundleError(f"{folder}: the bundle has no files or no cascade for {profile}; use {ONNX_FP32}")
        encoder = Encoder.load(
            folder / bundle.TOKENIZER, spec.max_length, spec.head_share, spec.prompt, spec.lower_case
        )
        check_vocabulary(folder, contents, encoder)
        view = NgramView.load(folder / bundle.NGRAM)
        engine = open_engine(folder, spec, name, threads, gpu)
        # The student needs int8 weights. Without it, a cascade settles fewer texts, and these in the same way.
        asks = cascade is not None and cascade.student is not None and name == CTRANSLATE2_INT8
        student = open_student(folder, spec, encoder, threads) if asks else None
        classifier = Classifier(spec, digest, encoder, engine, name, view, cascade, student)
        if (digest, name, gpu) not in _tried:
            classifier._try(folder, contents.golden)
            _tried.add((digest, name, gpu))
        return classifier

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names, in the order of the probabilities."""
        return self.spec.classes

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return probabilities (texts, classes): texts in the order given, classes in the order of ``classes``."""
        return self.predict_staged(texts)[0]

    def predict_staged(self, texts: Sequence[str]) -> tuple[Floats, Stages]:
        """Return probabilities (texts, classes), and the stage that has decided each text, (texts,).

        A stage is a position in ``cascade.STAGES``.
        """
        prepared = [prepare(text, self.spec.max_chars) for text in texts]
        stages = np.full(len(texts), STAGES.index(ENCODER), dtype=np.int8)
        if self.cascade is None or not texts:
            return self._both(prepared), stages
        ngram = self.ngram.predict(prepared)
        probabilities = self.cascade.calibrated(ngram)
        settled = self.cascade.settled(probabilities)
        stages[settled] = STAGES.index(NGRAM)
        rest = np.flatnonzero(~settled)
        encoded = self.encoder.encode([prepared[position] for position in rest])
        if rest.size and self.student is not None and self.cascade.student is not None:
            own = self.cascade.student.apply(self.student.predict(encoded), ngram[rest])
            sure = self.cascade.settled(own)
            probabilities[rest[sure]], stages[rest[sure]] = own[sure], STAGES.index(STUDENT)
            rest, encoded = rest[~sure], [encoded[position] for position in np.flatnonzero(~sure)]
        if rest.size:
            probabilities[rest] = self.spec.combined(self.engine.predict(encoded), ngram[rest])
        return probabilities, stages

    def predict_without_cascade(self, texts: Sequence[str]) -> Floats:
        """Return probabilities (texts, classes) by both views, also of texts that the n-gram view would settle."""
        return self._both([prepare(text, self.spec.max_chars) for text in texts])

    def _both(self, prepared: Sequence[str]) -> Floats:
        if not prepared:
            return np.zeros((0, len(self.classes)))
        return self.spec.combined(*self._views(prepared))

    def views(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Return the probabilities of the encoder and of the n-gram view, both (texts, classes), not combined.

        Those of an n-gram view of weight 0 are all equal.
        """
        return self._views([prepare(text, self.spec.max_chars) for text in texts])

    def _views(self, prepared: Sequence[str]) -> tuple[Floats, Floats]:
        encoder = self.engine.predict(self.encoder.encode(prepared))
        if self.spec.ngram_weight == 0.0:
            return encoder, np.full_like(encoder, 1.0 / len(self.classes))
        return encoder, self.ngram.predict(prepared)

    def _try(self, folder: Path, golden: GoldenTexts | None) -> None:
        """Predict golden texts and compare; an older bundle without any must at least give probabilities."""
        texts = golden.texts if golden is not None else TEXTS
        weights = bundle.INT8 if self.engine_name in INT8_ENGINES else bundle.GRAPH
        try:
            encoder, ngram = self.views(texts)
            student = self.student.predict(self.encoder.encode(texts)) if self.student is not None else None
        except (EngineError, MemoryError):  # The machine is at fault.
            raise
        except Exception as error:  # The exceptions of the tokenizer and of the engines have no common class.
            raise BundleError(
                f"{folder}: {weights} cannot read the tokens of a text ({type(error).__name__}); {AGAIN}"
            ) from error
        shape = (len(texts), len(self.classes))
        check_probabilities(encoder, shape, str(folder / weights))
        check_probabilities(ngram, shape, str(folder / bundle.NGRAM))
        if student is not None:
            check_probabilities(student, shape, str(folder / bundle.STUDENT))
        if golden is not None:
            where = {"encoder": str(folder / weights), "ngram": str(folder / bundle.NGRAM)}
            where |= {STUDENT: str(folder / bundle.STUDENT)}
            compare(golden, encoder, ngram, self.engine_name, where, student)
