"""Classify texts with a loaded bundle: the same code in evaluation, in Spark workers and in user programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlnlp.data.text import prepare
from tlnlp.errors import BundleError
from tlnlp.model import bundle
from tlnlp.model.bounded_json import AGAIN
from tlnlp.model.bundle_checks import check_contents, check_vocabulary
from tlnlp.model.combine import Floats, combine
from tlnlp.model.golden_texts import TEXTS, GoldenTexts, check_probabilities, compare
from tlnlp.model.ngram import NgramView
from tlnlp.model.onnx_engine import OnnxEngine
from tlnlp.model.tokenize import Encoder

# Digests of the bundles that this process has tried on golden texts: a bundle's files and the machine do not change.
_tried: set[str] = set()


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
        """Verify a bundle, check what its files mean, load it, and try it on golden texts once in a process.

        Args:
            threads: most threads that the encoder uses; 0 means one for each core.
            scoring_only: the folder holds only the files that scoring reads (see ``bundle.verify``).

        Raises:
            BundleError: a file is missing, altered, unlisted or of another format, or holds what no sound model has
                (see ``bundle_checks``); or this machine does not reproduce the probabilities of the golden texts.
        """
        digest = bundle.verify(folder, scoring_only)
        contents = check_contents(folder, scoring_only)
        spec = contents.spec
        encoder = Encoder.load(
            folder / bundle.TOKENIZER, spec.max_length, spec.head_share, spec.prompt, spec.lower_case
        )
        check_vocabulary(folder, contents, encoder)
        engine = OnnxEngine(folder / bundle.GRAPH, spec.input_names, threads)
        classifier = Classifier(spec, digest, encoder, engine, NgramView.load(folder / bundle.NGRAM))
        if digest not in _tried:
            classifier._try(folder, contents.golden)
            _tried.add(digest)
        return classifier

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names, in the order of the probabilities."""
        return self.spec.classes

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return probabilities (texts, classes): texts in the order given, classes in the order of ``classes``."""
        if not texts:
            return np.zeros((0, len(self.classes)))
        encoder, ngram = self.views(texts)
        return combine(encoder, ngram, self.spec.encoder_weight, self.spec.ngram_weight)

    def views(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Return the probabilities of the encoder and of the n-gram view, both (texts, classes), not combined.

        Those of an n-gram view of weight 0 are all equal.
        """
        prepared = [prepare(text, self.spec.max_chars) for text in texts]
        encoder = self.engine.predict(self.encoder.encode(prepared))
        if self.spec.ngram_weight == 0.0:
            return encoder, np.full_like(encoder, 1.0 / len(self.classes))
        return encoder, self.ngram.predict(prepared)

    def _try(self, folder: Path, golden: GoldenTexts | None) -> None:
        """Predict golden texts and compare; an older bundle without any must at least give probabilities."""
        texts = golden.texts if golden is not None else TEXTS
        try:
            encoder, ngram = self.views(texts)
        except Exception as error:  # The exceptions of the tokenizer and of ONNX Runtime have no common class.
            raise BundleError(
                f"{folder}: {bundle.GRAPH} cannot read the tokens of a text ({type(error).__name__}); {AGAIN}"
            ) from error
        shape = (len(texts), len(self.classes))
        check_probabilities(encoder, shape, str(folder / bundle.GRAPH))
        check_probabilities(ngram, shape, str(folder / bundle.NGRAM))
        if golden is not None:
            where = {"encoder": str(folder / bundle.GRAPH), "ngram": str(folder / bundle.NGRAM)}
            compare(golden, encoder, ngram, where)
