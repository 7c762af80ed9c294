"""Classify texts with a loaded bundle: the same code in evaluation, in Spark workers and in user programs."""

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
    """Classify texts with both views of a bundle.

        classifier = Classifier.load(Path("bundle"))
        probabilities = classifier.predict(["Bread still warm at closing time."])

    Fields:
        digest: digest of the bundle, the sha256 of its manifest.
        encoder: the tokenizer, with the length limit and the prompt.
        engine: the encoder and its head, as an exported graph.
        ngram: the n-gram view.
    """

    spec: bundle.BundleSpec
    digest: str
    encoder: Encoder
    engine: OnnxEngine
    ngram: NgramView

    @staticmethod
    def load(folder: Path, threads: int = 0, scoring_only: bool = False) -> Classifier:
        """Verify a bundle and load it.

        Args:
            threads: most threads that the encoder uses; 0 means one for each core.
            scoring_only: the folder holds only the files that scoring reads (see ``bundle.verify``).

        Raises:
            BundleError: a file is missing, altered, unlisted or of another format.
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
        """Return the class names, in the order of the probabilities."""
        return self.spec.classes

    def predict(self, texts: Sequence[str], batch_size: int = 32) -> Floats:
        """Return probabilities (texts, classes): texts in the order given, classes in the order of ``classes``."""
        if not texts:
            return np.zeros((0, len(self.classes)))
        prepared = [prepare(text, self.spec.max_chars) for text in texts]
        encoder = self.engine.predict(self.encoder.encode(prepared), batch_size)
        if self.spec.ngram_weight == 0.0:
            ngram = np.full_like(encoder, 1.0 / len(self.classes))
        else:
            ngram = self.ngram.predict(prepared)
        return combine(encoder, ngram, self.spec.encoder_weight, self.spec.ngram_weight)
