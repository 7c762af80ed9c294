"""Apply a network to texts in a process of its own, and print the seconds that this took once it was loaded.

python speed_worker.py ray_data|sentence_transformers FOLDER    (texts on stdin, separated by NUL)
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

MAX_LENGTH = 256
BATCH_SIZE = 32


def ray_data(folder: str, texts: list[str]) -> float:
    """Return the seconds that Ray Data takes on two actors of one core each."""
    import ray

    class Scorer:
        """Hold the network in an actor."""

        def __init__(self) -> None:
            import torch
            from transformers import AutoModelForSequenceClassification, AutoTokenizer

            torch.set_num_threads(1)
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            self.model = AutoModelForSequenceClassification.from_pretrained(folder).eval()

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            import torch

            given = self.tokenizer(
                list(batch["item"]), padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
            )
            with torch.inference_mode():
                return {"logits": self.model(**given).logits.numpy()}

    ray.init(num_cpus=3, include_dashboard=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    started = time.monotonic()
    frame = ray.data.from_items(texts, override_num_blocks=2)
    frame.map_batches(Scorer, batch_size=BATCH_SIZE, compute=ray.data.ActorPoolStrategy(size=2)).materialize()
    return time.monotonic() - started


def sentence_transformers(folder: str, texts: list[str]) -> float:
    """Return the seconds that sentence-transformers takes on all cores, with a linear head."""
    import numpy as np
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    model.max_seq_length = MAX_LENGTH
    started = time.monotonic()
    states = model.encode(texts, batch_size=BATCH_SIZE, show_progress_bar=False)
    np.argmax(states @ np.zeros((states.shape[1], 2)), axis=1)
    return time.monotonic() - started


if __name__ == "__main__":
    what, folder = sys.argv[1:]
    given = sys.stdin.buffer.read().decode().split("\0")
    print({"ray_data": ray_data, "sentence_transformers": sentence_transformers}[what](folder, given))
