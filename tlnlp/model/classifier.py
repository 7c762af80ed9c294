"""A bundle, opened: the one way from texts to probabilities, in evaluation, in Spark workers and in your own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlnlp.data.text import prepare
from tlnlp.model import bundle
from tlnlp.model.combine import Floats, combine
from tlnlp.model.ngram import NgramView
from tlnlp.model.onnx_engine import OnnxEngine
from tlnlp.model.tokenize import Encoder


@dataclass(frozen=True)
class Classifier:
    """Both views and their combination.

        classifier = Classifier.load(Path("bundle"))
        probabilities = classifier.predict(["Bread still warm at closing time."])

    ``digest`` is the bundle's: the sha256 of its manifest.
    """

    spec: bundle.BundleSpec
    digest: str
    encoder: Encoder
    engine: OnnxEngine
    ngram: NgramView

    @staticmethod
    def load(folder: Path, threads: int = 0, scoring_only: bool = False) -> Classifier:
        """Verify and open a bundle; ``threads`` caps the encoder's threads (0: every core).

        Raises:
            BundleError: a file is missing, altered, unknown, or of another format.
        """
        digest = bundle.verify(folder, scoring_only)
        spec = bundle.read_spec(folder)
        return Classifier(
            spec,
            digest,
            Encoder.load(folder / bundle.TOKENIZER, spec.max_length, spec.head_share, spec.prompt, spec.lower_case),
            OnnxEngine(folder / bundle.GRAPH, spec.pad_token_id, spec.input_names, threads),
            NgramView.load(folder / bundle.NGRAM),
        )

    @property
    def classes(self) -> tuple[str, ...]:
        return self.spec.classes

    def predict(self, texts: Sequence[str], batch_size: int = 32) -> Floats:
        """Probabilities (texts, classes), in the order given; classes in the order of ``classes``."""
        if not texts:
            return np.zeros((0, len(self.classes)))
        prepared = [prepare(text, self.spec.max_chars) for text in texts]
        encoder = self.engine.predict(self.encoder.encode(prepared), batch_size)
        if self.spec.ngram_weight == 0.0:
            ngram = np.full_like(encoder, 1.0 / len(self.classes))
        else:
            ngram = self.ngram.predict(prepared)
        return combine(encoder, ngram, self.spec.encoder_weight, self.spec.ngram_weight)
