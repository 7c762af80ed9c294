"""Run SetFit on one draw, in SetFit's own environment: read a job (JSON), write probabilities (npz), print figures.

The settings are the recommended ones: pairs in batches of 16 for one epoch, oversampled, at a learning rate of 2e-5,
then logistic regression on the embeddings.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from datasets import Dataset  # type: ignore[import-not-found]
from setfit import SetFitModel, Trainer, TrainingArguments  # type: ignore[import-not-found]
from transformers.utils import logging

BATCH_SIZE = 16
PACKAGES = ("setfit", "sentence-transformers", "transformers", "torch", "scikit-learn", "numpy")


def steps_of_an_epoch(labels: Sequence[int]) -> int:
    """Return the number of batches in one epoch of pairs.

    As in ``setfit.sampler``, there are pairs within a class, with those of a text and itself, and pairs across classes;
    the fewer kind is repeated until both have the same number.
    """
    sizes = Counter(labels).values()
    same = sum(size * (size + 1) // 2 for size in sizes)
    across = (len(labels) ** 2 - sum(size**2 for size in sizes)) // 2
    return math.ceil(2 * max(same, across) / BATCH_SIZE)


def train(job: dict[str, Any], texts: list[str], labels: list[int]) -> tuple[SetFitModel, int]:
    """Train and save a model, and return it with the number of its steps."""
    model = SetFitModel.from_pretrained(job["encoder"], local_files_only=True)
    model.model_body.max_seq_length = job["max_length"]
    # The texts begin with the encoder's prompt; the body would add it again when it embeds.
    model.model_body.default_prompt_name = None
    steps, cap = steps_of_an_epoch(labels), job["max_steps"]
    capped = cap is not None and cap < steps
    arguments = TrainingArguments(
        output_dir="setfit",
        batch_size=BATCH_SIZE,
        num_epochs=1,
        body_learning_rate=2e-5,
        max_steps=cap if capped else -1,
        seed=job["seed"],
        report_to="none",
        save_strategy="no",
        show_progress_bar=False,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict({"text": texts, "label": labels}))
    trainer.train()
    model.save_pretrained("setfit-model")
    return model, int(trainer.st_trainer.state.global_step)


def main() -> None:
    """Run the job that the argument names."""
    job = json.loads(Path(sys.argv[1]).read_text())
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    table = pq.read_table(job["labels"])
    started = time.monotonic()
    model, steps = train(job, table["text"].to_pylist(), table["label"].to_pylist())
    trained = time.monotonic()
    test = pq.read_table(job["test"])["text"].to_pylist()
    probabilities = model.predict_proba(test, as_numpy=True, show_progress_bar=False)
    figures = {
        "steps": steps,
        "seconds": trained - started,
        "predict_s": time.monotonic() - trained,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    # The columns are in the order of the class numbers.
    np.savez(job["out"], probabilities=np.asarray(probabilities, dtype=np.float64))
    print(json.dumps(figures), file=RESULT)


if __name__ == "__main__":
    # Libraries print while they train, and the caller expects one JSON document on stdout.
    RESULT, sys.stdout = sys.stdout, sys.stderr
    main()
