"""SetFit on one draw, in SetFit's own environment: reads a job (JSON), writes probabilities (npz), prints figures.

Recommended settings: pairs in batches of 16 for one epoch, oversampled, at 2e-5; logistic regression on the embeddings.
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
    """Pairs of one class and pairs of two, the fewer of them repeated until they are as many; in batches.

    As ``setfit.sampler`` makes them: a text is paired with itself too.
    """
    sizes = Counter(labels).values()
    same = sum(size * (size + 1) // 2 for size in sizes)
    across = (len(labels) ** 2 - sum(size**2 for size in sizes)) // 2
    return math.ceil(2 * max(same, across) / BATCH_SIZE)


def train(job: dict[str, Any], texts: list[str], labels: list[int]) -> tuple[SetFitModel, int]:
    """The trained model, which is saved too, and how many steps it took."""
    model = SetFitModel.from_pretrained(job["encoder"], local_files_only=True)
    model.model_body.max_seq_length = job["max_length"]
    # The texts begin with the encoder's prompt already; the body would add it again, to embed but not to train.
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
    job = json.loads(Path(sys.argv[1]).read_text())
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    table = pq.read_table(job["labels"])
    started = time.monotonic()
    model, steps = train(job, table["text"].to_pylist(), table["label"].to_pylist())
    trained = time.monotonic()
    test = pq.read_table(job["test"])["text"].to_pylist()
    probabilities = model.predict_proba(test, as_numpy=True, show_progress_bar=False)
    found = {
        "steps": steps,
        "seconds": trained - started,
        "predict_s": time.monotonic() - trained,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    # Columns in the order of the classes, which are numbered from 0.
    np.savez(job["out"], probabilities=np.asarray(probabilities, dtype=np.float64))
    print(json.dumps(found), file=RESULT)


if __name__ == "__main__":
    # Libraries print as they train; the caller reads one JSON document.
    RESULT, sys.stdout = sys.stdout, sys.stderr
    main()
