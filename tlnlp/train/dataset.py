"""The labelled examples, tokenised for both views, and the encoder fits that learn from them."""

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
from tlnlp.train.tuned_constants import TUNED

Positions = NDArray[np.int64]
NO_TEXTS = TokenIds.of([])
# Tokens of a text that training reads at most; of a longer text, windows come from its head and its tail.
WHOLE_TOKENS = 8192
# Fewest tokens of a window; fewer would not show the class of a text.
LEAST_WINDOW = 28


@dataclass(frozen=True)
class Reader:
    """The tokenizers of an encoder.

    Fields:
        whole: tokenises whole texts, which training takes windows from.
        cut: cuts texts to ``max_length`` tokens, as scoring does.
        encoder: the pretrained encoder, with its conventions.
        max_chars: characters of a text at most.
    """

    whole: Encoder
    cut: Encoder
    encoder: EncoderSource
    max_chars: int

    @staticmethod
    def make(settings: FinetuneSettings, folder: Path) -> Reader:
        """Return the reader of the settings' encoder, and write its tokenizer into the folder.

        Raises:
            InputDataError: the encoder cannot be opened, or is not supported.
            UsageError: prompt and special tokens fill a window, so that no token of the text fits.
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
        """Return how many tokens of a text scoring reads, prompt and special tokens included."""
        return self.cut.max_length

    def prepare(self, texts: Sequence[str]) -> list[str]:
        """Normalise texts and cut them to ``max_chars`` characters."""
        return [prepare(text, self.max_chars) for text in texts]


def conventions_of(settings: FinetuneSettings) -> Conventions:
    """Return how the encoder is used: the settings override the encoder's own files.

    Raises:
        InputDataError: the encoder cannot be opened, or is not supported.
    """
    return read_conventions(
        encoder_folder(settings.encoder),
        pooling=None if settings.pooling == "auto" else settings.pooling,
        prompt=settings.prompt,
        normalise=settings.normalise,
        lower_case=settings.lower_case,
        name=settings.encoder,
    )


def _require_room(settings: FinetuneSettings, max_length: int, edges: int) -> None:
    """Check that prompt and special tokens, ``edges`` in all, leave room for a text in every window."""
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
                f"{edges} tokens: raise {key}, or shorten `prompt`"
            )


def class_name_texts(classes: Sequence[str], descriptions: Mapping[str, str]) -> list[str]:
    """Return the names of all classes in each template; an empty list where a name holds no letter.

    Args:
        descriptions: words that stand for the names of some classes.
    """
    words = [re.sub(r"[\W_]+", " ", descriptions.get(name, name)).strip() for name in classes]
    if not all(re.search(r"[^\W\d]", word) for word in words):
        return []
    return [template.format(word) for template in TUNED.class_name_templates for word in words]


@dataclass(frozen=True)
class Examples:
    """The labelled examples of a run.

    Fields:
        texts: the prepared texts.
        whole: token ids of whole texts.
        cut: token ids of texts cut as in scoring.
        targets: class indices, (texts,).
        class_name_examples: token ids of ``class_name_texts``; empty where classes have no names in words.
    """

    reader: Reader
    texts: list[str]
    whole: TokenIds
    cut: TokenIds
    targets: NDArray[np.int64]
    classes: tuple[str, ...]
    class_name_examples: TokenIds = NO_TEXTS

    @staticmethod
    def make(labelled: LabelledSet, reader: Reader, descriptions: Mapping[str, str] | None = None) -> Examples:
        """Tokenise a labelled set; ``descriptions``: words that stand for the names of some classes."""
        texts = reader.prepare(labelled.texts)
        name_texts = class_name_texts(labelled.classes, descriptions or {})
        return Examples(
            reader,
            texts,
            TokenIds.of(reader.whole.encode(texts)),
            TokenIds.of(reader.cut.encode(texts)),
            np.asarray(labelled.targets, dtype=np.int64),
            labelled.classes,
            TokenIds.of(reader.whole.encode(name_texts)),
        )

    @property
    def one_hot(self) -> NDArray[np.float32]:
        """Return the targets one-hot, (texts, classes)."""
        return np.eye(len(self.classes), dtype=np.float32)[self.targets]

    def known(self, documents: int, given: NDArray[np.bool_] | None = None) -> Floats:
        """Return the input of label spreading, (documents + labels, classes): 0 for documents, one-hot for labels.

        All rows are 0 where a class has no label, because label spreading would give that class no document.

        Args:
            given: the labels that are used, (labels,); None: all.
        """
        labels = self.one_hot.astype(np.float64) if given is None else self.one_hot * given[:, None].astype(np.float64)
        labels = labels * float(labels.any(axis=0).all())
        return np.vstack([np.zeros((documents, len(self.classes))), labels])

    def fit(self, settings: FinetuneSettings, train: Positions, held_out: Positions, seed: int) -> EncoderFit:
        """Return an encoder fit to the labels at the positions ``train``, and to class names if labels are few."""
        names = self.class_name_examples if self.learns_names(settings) else NO_TEXTS
        name_targets = np.resize(np.eye(len(self.classes), dtype=np.float32), (len(names), len(self.classes)))
        tokens = self.whole.take(train) + names
        return EncoderFit(
            encoder=self.reader.encoder,
            edges=self.reader.cut.edges,
            tokens=tokens,
            targets=np.vstack([self.one_hot[train], name_targets]),
            weights=np.ones(len(tokens), dtype=np.float32),
            held_out=self.cut.take(held_out),
            steps=steps_of(len(tokens), settings.training),
            crop_tokens=min(self.window(settings.training.crop_tokens), self.reader.max_length),
            read_tokens=self.reader.max_length,
            objective=self.objective(settings),
            seed=seed,
            recipe=settings.training,
            class_names=len(names),
        )

    def window(self, most: int) -> int:
        """Return the tokens of a training window: half an average text, at least 28 plus prompt and special tokens.

        News of some 50 tokens train in two thirds of the time without loss of accuracy; reviews of 230 tokens lose a
        point between windows of 64 and of 32 tokens (tests/bench/RESULTS.md).

        Args:
            most: the longest window.
        """
        edges = sum(self.reader.cut.edges)
        half = round((float(self.whole.lengths.mean()) - edges) / 2)
        return min(most, edges + max(LEAST_WINDOW, half))

    def learns_names(self, settings: FinetuneSettings) -> bool:
        """Return whether labels are so few that fits learn from class names too."""
        return bool(self.class_name_examples) and self.objective(settings) == "contrast"

    def objective(self, settings: FinetuneSettings) -> Objective:
        """Return the objective of fits: the configured one, or for ``auto`` the one for this number of labels."""
        if settings.training.objective != "auto":
            return settings.training.objective
        return "contrast" if len(self.texts) <= TUNED.few_labels else "classify"

    def embedding(self, settings: FinetuneSettings) -> EmbeddingSpec:
        """Return how the encoder of these examples embeds texts."""
        return EmbeddingSpec(self.reader.encoder, len(self.classes), settings.training.precision)
