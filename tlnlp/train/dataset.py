"""The labelled examples as both views read them, and the fits made of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import FinetuneSettings
from tlnlp.data.labels import LabelledSet
from tlnlp.data.text import prepare
from tlnlp.errors import UsageError
from tlnlp.model import bundle
from tlnlp.model.combine import Floats
from tlnlp.model.encoder_conventions import Conventions, EncoderSource, read_conventions
from tlnlp.model.tokenize import Encoder, TokenIds
from tlnlp.model.torch_encoder import encoder_folder, save_tokenizer
from tlnlp.train.fit.batches import steps_of
from tlnlp.train.fit.encoder_fit import EmbeddingSpec, EncoderFit, Objective

Positions = NDArray[np.int64]
NO_TEXTS = TokenIds.of([])
# What training reads of a text at most: windows of a longer one come from its head and its tail.
WHOLE_TOKENS = 8192
# A text is told by so many tokens of it.
LEAST_WINDOW = 28
# Up to so many labels pairs of texts teach more than texts alone.
FEW_LABELS = 1000
# What a class is called says what its texts are about, to an encoder that was pretrained on pairs of texts: of few
# labels, these count as many more. More ways of saying it outweigh labels (tests/bench/RESULTS.md).
CLASS_NAME_TEMPLATES = ("{}", "It is about {}.", "The text is {}.")


@dataclass(frozen=True)
class Reader:
    """How texts become tokens: ``whole`` for windows of training, ``cut`` as scoring reads them."""

    whole: Encoder
    cut: Encoder
    encoder: EncoderSource
    max_chars: int

    @staticmethod
    def make(settings: FinetuneSettings, folder: Path) -> Reader:
        """Writes the encoder's tokenizer into the folder.

        Raises:
            InputDataError: the encoder cannot be opened, or is not supported.
            UsageError: prompt and special tokens leave no room for a text.
        """
        how = conventions_of(settings)
        source = EncoderSource(settings.encoder, how, save_tokenizer(settings.encoder, folder))
        path, share = folder / bundle.TOKENIZER, settings.head_share
        whole = Encoder.load(path, WHOLE_TOKENS, share, how.prompt, how.lower_case)
        max_length = min(settings.max_length, how.max_length)
        _require_room(settings, max_length, sum(whole.edges))
        return Reader(whole, replace(whole, max_length=max_length), source, settings.max_chars)

    @property
    def max_length(self) -> int:
        return self.cut.max_length

    def prepare(self, texts: Sequence[str]) -> list[str]:
        return [prepare(text, self.max_chars) for text in texts]


def conventions_of(settings: FinetuneSettings) -> Conventions:
    """How the encoder is used: as its own files say, but for what the settings say. Raises InputDataError."""
    return read_conventions(
        encoder_folder(settings.encoder),
        pooling=None if settings.pooling == "auto" else settings.pooling,
        prompt=settings.prompt,
        normalise=settings.normalise,
        lower_case=settings.lower_case,
        name=settings.encoder,
    )


def _require_room(settings: FinetuneSettings, max_length: int, edges: int) -> None:
    """Raises UsageError: prompt and special tokens, of so many tokens, fill what is read of a text."""
    limits = {
        "max_length": max_length,
        "training.crop_tokens": settings.training.crop_tokens,
        "teaching.crop_tokens": settings.teaching.crop_tokens,
        "teaching.read_tokens": settings.teaching.read_tokens,
    }
    for key, tokens in limits.items():
        if tokens <= edges:
            raise UsageError(
                f"{key}: {tokens} tokens leave no room for a text beside the prompt and the special tokens, which are "
                f"{edges} tokens; raise it, or shorten `prompt`"
            )


def said_of(classes: Sequence[str], descriptions: Mapping[str, str]) -> list[str]:
    """What all classes are called, said in one way after another; nothing where some have no name but a number."""
    words = [re.sub(r"[\W_]+", " ", descriptions.get(name, name)).strip() for name in classes]
    if not all(re.search(r"[^\W\d]", word) for word in words):
        return []
    return [saying.format(word) for saying in CLASS_NAME_TEMPLATES for word in words]


@dataclass(frozen=True)
class Examples:
    """``texts`` prepared; ``whole`` and ``cut`` token ids of each; ``targets`` (texts,): class indices.

    ``named``: token ids of what all classes are called, said in one way after another; empty where that is not known.
    """

    reader: Reader
    texts: list[str]
    whole: TokenIds
    cut: TokenIds
    targets: NDArray[np.int64]
    classes: tuple[str, ...]
    named: TokenIds = NO_TEXTS

    @staticmethod
    def make(labelled: LabelledSet, reader: Reader, descriptions: Mapping[str, str] | None = None) -> Examples:
        """``descriptions``: what classes are in words, where their names do not say it."""
        texts = reader.prepare(labelled.texts)
        named = reader.whole.encode(said_of(labelled.classes, descriptions or {}))
        return Examples(
            reader,
            texts,
            TokenIds.of(reader.whole.encode(texts)),
            TokenIds.of(reader.cut.encode(texts)),
            np.asarray(labelled.targets, dtype=np.int64),
            labelled.classes,
            TokenIds.of(named),
        )

    @property
    def one_hot(self) -> NDArray[np.float32]:
        return np.eye(len(self.classes), dtype=np.float32)[self.targets]

    def known(self, documents: int, given: NDArray[np.bool_] | None = None) -> Floats:
        """What is known of so many documents, nothing, and of the labels after them: their classes, where ``given``.

        Nothing is known of any text where a class has no label: spreading would take no document for that class.
        """
        labels = self.one_hot.astype(np.float64) if given is None else self.one_hot * given[:, None].astype(np.float64)
        labels = labels * float(labels.any(axis=0).all())
        return np.vstack([np.zeros((documents, len(self.classes))), labels])

    def fit(self, settings: FinetuneSettings, train: Positions, held_out: Positions, seed: int) -> EncoderFit:
        """A fit on some of the labels alone, and, if they are few, on what the classes are called."""
        named = self.named if self.learns_names(settings) else NO_TEXTS
        names = np.resize(np.eye(len(self.classes), dtype=np.float32), (len(named), len(self.classes)))
        tokens = self.whole.take(train) + named
        return EncoderFit(
            encoder=self.reader.encoder,
            edges=self.reader.cut.edges,
            tokens=tokens,
            targets=np.vstack([self.one_hot[train], names]),
            weights=np.ones(len(tokens), dtype=np.float32),
            held_out=self.cut.take(held_out),
            steps=steps_of(len(tokens), settings.training),
            crop_tokens=min(self.window(settings.training.crop_tokens), self.reader.max_length),
            read_tokens=self.reader.max_length,
            objective=self.objective(settings),
            seed=seed,
            recipe=settings.training,
        )

    def window(self, most: int) -> int:
        """Tokens of each text that a step learns from: half a text of average length, but 28 and the edges at least.

        News of some 50 tokens lose nothing by it and are learned from in two thirds of the time; reviews of 230 lose a
        point between windows of 64 and of 32 (tests/bench/RESULTS.md).
        """
        around = sum(self.reader.cut.edges)
        half = round((float(self.whole.lengths.mean()) - around) / 2)
        return min(most, around + max(LEAST_WINDOW, half))

    def learns_names(self, settings: FinetuneSettings) -> bool:
        """Whether labels are so few that what their classes are called counts."""
        return bool(self.named) and self.objective(settings) == "contrast"

    def objective(self, settings: FinetuneSettings) -> Objective:
        """How labels are learned from."""
        if settings.training.objective != "auto":
            return settings.training.objective
        return "contrast" if len(self.texts) <= FEW_LABELS else "classify"

    def embedding(self, settings: FinetuneSettings) -> EmbeddingSpec:
        """How texts are embedded with the encoder of these examples."""
        return EmbeddingSpec(self.reader.encoder, len(self.classes), settings.training.precision)
