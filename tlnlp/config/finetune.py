"""Settings of the fine-tuning job: the complete file is ``conf/finetune.yaml``.

The default of a key stands in its line; the text below the line says what the key means.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlnlp.config.base import Settings, Uri
from tlnlp.config.shared import (
    DEFAULT_WORKSPACE,
    CostSettings,
    CsvSettings,
    Encoding,
    InputFormat,
    LabelSettings,
    LineageSettings,
)


class TrainingSettings(Settings):
    """How one encoder is fitted on the labels."""

    moves: Literal["auto", "always", "never"] = "auto"
    """Whether the weights of the encoder are trained. never: only a linear head over the pretrained encoder is.
    auto: cross-validation on the labels decides."""
    epochs: float = Field(4.0, gt=0)
    """Passes over the labels. The number of steps follows from them, within the next three limits."""
    min_steps: int = Field(40, ge=1)
    """Least number of optimiser steps, unless they need more than ``max_passes`` passes."""
    max_passes: float = Field(10.0, gt=0)
    """Most passes over the labels that ``min_steps`` may ask for."""
    max_steps: int = Field(2000, ge=1)
    """Most optimiser steps."""
    batch_size: int = Field(16, ge=1)
    """Texts in one step, over all workers; a multiple of ``ray.workers``."""
    learning_rate: float = Field(1e-4, gt=0)
    """Peak learning rate of the encoder."""
    head_learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate of the classification head."""
    weight_decay: float = Field(0.01, ge=0)
    """Weight decay of the AdamW optimiser."""
    warmup_share: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises to its peak; after them it falls linearly to 0."""
    dropout: float | None = Field(0.0, ge=0, lt=1)
    """Dropout probability of the encoder. None: as it was pretrained."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Label smoothing of the cross-entropy."""
    objective: Literal["auto", "contrast", "classify"] = "auto"
    """contrast: supervised contrastive loss, then a linear head. classify: cross-entropy. auto: contrast with few
    labels, classify with many."""
    crop_tokens: int = Field(64, ge=8)
    """Most tokens of a text that one step reads: a window at a random place. The window is shorter where the texts
    are short."""
    frozen_layers: float = Field(0.34, ge=0, lt=1)
    """Share of the encoder's layers, from the lowest, whose weights stay as pretrained."""
    tuned_share: float = Field(0.75, gt=0, le=1)
    """After a contrastive fit: weight of the tuned parameters in their average with the pretrained ones."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of matrix products. auto: bf16 where the processor computes faster in it, else fp32; the version
    records which. A fixed value gives the same weights on every run."""
    report_every_steps: int = Field(25, ge=1)
    """Steps between two progress reports."""


class TeachingSettings(Settings):
    """How the encoder and the n-gram view learn from unlabelled documents: rounds of prediction and training."""

    max_documents: int = Field(100_000, ge=1)
    """Most documents sampled from ``unlabelled``."""
    max_rounds: int = Field(4, ge=1)
    """Most rounds. The time budget may allow fewer."""
    batch_size: int = Field(32, ge=1)
    """Windows of text in one step, over all workers; a multiple of ``ray.workers``."""
    learning_rate: float = Field(6e-5, gt=0)
    """Peak learning rate of the encoder."""
    frozen_layers: float = Field(0.0, ge=0, lt=1)
    """Share of the encoder's layers, from the lowest, whose weights stay as pretrained."""
    crop_tokens: int = Field(64, ge=8)
    """Most tokens of a document that one step reads: a window at a random place."""
    read_precision: Literal["auto", "training", "int8"] = "auto"
    """Number format of the encoder that predicts the documents' classes. training: as ``training.precision``. auto:
    int8 where this machine reads faster with it and the states of a few documents hardly differ. On a GPU: as
    training."""
    read_tokens: int = Field(192, ge=8)
    """Most tokens that the encoder reads of a document to predict its class; the middle of a longer one is cut out."""


class EngineGateSettings(Settings):
    """How far a faster engine may differ from the reference, onnx-fp32, on documents (or on the labelled texts)."""

    changed_share: float = Field(0.02, ge=0, le=1)
    """Largest share of texts whose label is another one than the reference's."""
    expected_loss: float = Field(0.001, ge=0, le=1)
    """Largest share of texts that are expected to be wrong by this and were right, by the reference's probabilities."""
    mean_difference: float = Field(0.02, ge=0, le=1)
    """Largest change of a probability, on average over the texts."""
    texts: int = Field(1000, ge=1)
    """Most texts whose labels are compared."""
    seconds: float = Field(20.0, gt=0)
    """Seconds that this may take, about, and at most 4 % of the time budget; with labels alone a tenth of it."""


class CascadeSettings(Settings):
    """What the n-gram view may settle without the encoder when a night scores; needs unlabelled documents."""

    documents: int = Field(3000, ge=0)
    """Most documents that nothing learns from, so that the cascade can be tested on them; at most a tenth of all. 0:
    no cascade."""
    safe: float = Field(0.01, gt=0, lt=1)
    """Largest share of documents whose label the cascade ``safe`` may change, with 95% confidence."""
    fast: float = Field(0.02, gt=0, lt=1)
    """The same for the cascade ``fast``."""


class RaySettings(Settings):
    """How the fine-tuning job uses a Ray cluster."""

    address: str | None = None
    """``auto`` or HOST:PORT of the cluster. None: RAY_ADDRESS if it is set, else Ray on this machine."""
    workers: int = Field(1, ge=1)
    """Workers that share each fit."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: GPUs if the cluster has one for each worker, else CPUs. gpu is refused where there is none."""
    cpus_per_worker: int = Field(0, ge=0)
    """CPU cores of each worker. 0: an equal share of the cluster's cores."""
    max_failures: int = Field(3, ge=0)
    """How many times a fit restarts from its last checkpoint after a worker was lost."""
    job_tokens: int = Field(200_000, ge=0)
    """Most tokens of a fit that runs without a Ray Train job of its own, and without checkpoints. Work of at most so
    many tokens stays in this process, without Ray, where neither documents nor settings ask for a cluster."""
    checkpoint_every_s: float = Field(60.0, ge=0)
    """Seconds between two checkpoints."""
    storage: Uri | None = None
    """Folder or URI of the checkpoints of an unfinished run. None: beside the model in the registry."""

    @property
    def jobless_tokens(self) -> int:
        """Return the most tokens of a fit without a Ray Train job; 0 where several workers share each fit."""
        return self.job_tokens if self.workers == 1 else 0


class FinetuneSettings(LabelSettings):
    """Settings of ``tlnlp finetune`` and ``jobs/finetune.py``."""

    labels: Uri = ""
    """Path or URI of Parquet, JSON Lines or CSV: a file, or a folder of files. It may stay empty only with
    ``allow_unvalidated``."""
    allow_unvalidated: bool = False
    """Whether class names and unlabelled documents alone may train a model, where ``labels`` is empty or a class has
    fewer than ``min_per_class`` examples. The quality of such a model is unknown, so it is marked as unvalidated."""
    held_out_share: float = Field(0.0, ge=0, lt=1)
    """Share of the labels of each class that are set aside: the version does not learn from them, and ``tlnlp promote``
    compares it with the champion on them. A text is set aside in every version with the same share and seed."""
    class_descriptions: dict[str, str] = Field(default_factory=dict)
    """A word or two for each class whose name does not say what the class is: ``{"0": "negative"}``."""
    unlabelled: Uri | None = None
    """Path or URI of documents without labels, their texts in ``text_column``. None: train on the labels alone."""
    unlabelled_format: InputFormat = "auto"
    """File format of the documents. json is JSON Lines. auto: of each file, by its name."""
    unlabelled_csv: CsvSettings = CsvSettings()
    """How documents in CSV are written."""
    unlabelled_encoding: Encoding = "utf-8"
    """Encoding of documents in CSV and JSON Lines, as ``encoding`` of the labels."""
    time_budget_s: float = Field(1200.0, gt=0)
    """Seconds that a run with unlabelled documents may take. More time allows more rounds."""
    registry: Uri = f"{DEFAULT_WORKSPACE}/registry"
    """Folder or URI of the model registry."""
    model: str = "classifier"
    """Name of the model; the run registers its next version."""
    encoder: str = "auto"
    """auto: the encoder on this machine that does best on the labels. Otherwise a name listed by ``tlnlp encoders``,
    a folder, a URI, or a name on the Hugging Face hub (with HF_HUB_OFFLINE=0)."""
    pooling: Literal["auto", "mean", "cls", "max"] = "auto"
    """How token states become one vector. auto: as the encoder's files say (``tlnlp.model.encoder_conventions``)."""
    prompt: str | None = None
    """Text before each input, such as ``query: ``. None: as the encoder's files say. Empty: no prompt."""
    normalise: bool | None = None
    """Whether the pooled vector is scaled to unit length. None: as the encoder's files say."""
    lower_case: bool | None = None
    """Whether texts are lower-cased for the encoder. None: as the encoder's files say."""
    max_length: int = Field(256, ge=8, le=8192)
    """Most tokens of a text, with prompt and special tokens. Lowered to what the encoder's positions allow."""
    max_chars: int = Field(10_000, ge=100)
    """Most characters of a text. A longer text is cut to its head and tail before it is tokenised."""
    head_share: float = Field(0.5, ge=0, le=1)
    """Of the tokens left of a text over ``max_length``: the share from its head. The others are from its tail."""
    seed: int = 0
    """Random seed. The same seed, labels, settings and machine give the same weights."""
    run_name: str | None = None
    """First part of the name of the run, before a digest of labels and settings. An interrupted run of the same name
    is resumed. None: ``finetune``."""
    training: TrainingSettings = TrainingSettings()
    """How one encoder is fitted on the labels."""
    teaching: TeachingSettings = TeachingSettings()
    """How unlabelled documents are used."""
    engine: Literal["auto", "onnx-fp32", "ctranslate2-int8"] = "auto"
    """The engine that scores with the version. auto: the fastest one here that passes ``engine_gate``. ``tlnlp score``
    can take another one."""
    optimise: Literal["none", "safe", "fast"] = "safe"
    """How fast a night scores with the version, unless it asks for another way. safe, fast: see ``cascade``. none: the
    encoder reads every text."""
    cascade: CascadeSettings = CascadeSettings()
    """What the n-gram view may settle without the encoder."""
    student: Literal["auto", "none"] = "auto"
    """Whether a small encoder is made that reads, in a cascade, what the n-gram view is not sure of; the encoder reads
    what is left. auto: if there are documents to distil it from, the time budget affords it, and it makes a night
    faster, as measured here."""
    engine_gate: EngineGateSettings = EngineGateSettings()
    """What an engine with rounded weights may change."""
    ray: RaySettings = RaySettings()
    """How the Ray cluster is used."""
    cost: CostSettings = CostSettings()
    """Price of the machines, and budget of the run."""
    lineage: LineageSettings = LineageSettings()
    """OpenLineage events of the run."""
