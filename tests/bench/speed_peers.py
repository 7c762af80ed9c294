"""What tlnlp's scoring is compared with: the ways in which a user would apply a transformer to a column of texts.

Each peer is given the same texts and the same network. A peer's rate leaves out its start and the loading of its model,
which tlnlp's rate includes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, FloatType

MAX_LENGTH = 256
BATCH_SIZE = 32
HERE = Path(__file__).parent
SETFIT = HERE.parents[1] / ".cache" / "setfit" / "bin" / "python"


@dataclass(frozen=True)
class Peer:
    """A way to apply a network.

    Fields:
        title: its name in the table.
        seconds: returns the seconds that it takes for some texts with the network of a folder.
    """

    title: str
    seconds: Callable[[SparkSession, Path, Sequence[str]], float]


def sequence_classifier(encoder: Path, classes: int, folder: Path) -> Path:
    """Write an encoder as transformers' own classifier, which its pipeline takes, and return its folder.

    Its head is random: only the time matters here.
    """
    import transformers
    from transformers import AutoModelForSequenceClassification

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=classes, trust_remote_code=False)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(encoder / name, folder / name)
    return folder


def run_alone(folder: Path, texts: Sequence[str], batch_size: int) -> Callable[[], object]:
    """Return a function that applies the network of a folder to texts, in one thread, without Spark.

    The texts are tokenised once, in their order; those of a batch are padded to its longest.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    parts = [list(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size)]
    options = {"padding": True, "truncation": True, "max_length": MAX_LENGTH, "return_tensors": "pt"}
    batches = [tokenizer(part, **options) for part in parts]

    def run() -> None:
        """Apply the network to every batch."""
        with torch.inference_mode():
            for batch in batches:
                model(**batch)

    return run


def _frame(spark: SparkSession, texts: Sequence[str]) -> DataFrame:
    tasks = spark.sparkContext.defaultParallelism
    return spark.createDataFrame([(text,) for text in texts], "text string").repartition(tasks)


def _seconds(frame: DataFrame) -> float:
    started = time.monotonic()
    frame.write.format("noop").mode("overwrite").save()
    return time.monotonic() - started


def _pipeline(threads: int | None) -> Callable[[SparkSession, Path, Sequence[str]], float]:
    def seconds(spark: SparkSession, folder: Path, texts: Sequence[str]) -> float:
        place = str(folder)

        def score(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
            import torch
            from transformers import pipeline

            if threads is not None:
                torch.set_num_threads(threads)
            classify = pipeline("text-classification", model=place, device=-1, batch_size=BATCH_SIZE)
            for batch in batches:
                found = classify(batch.tolist(), truncation=True, max_length=MAX_LENGTH)
                yield pd.Series([one["score"] for one in found])

        udf: Any = F.pandas_udf(score, "double")  # type: ignore[attr-defined]
        return _seconds(_frame(spark, texts).select(udf("text")))

    return seconds


def _batch_udf(spark: SparkSession, folder: Path, texts: Sequence[str]) -> float:
    """Apply the network with Spark's ``predict_batch_udf``."""
    place = str(folder)

    def make() -> Callable[[Any], Any]:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.set_num_threads(1)
        tokenizer = AutoTokenizer.from_pretrained(place)
        model = AutoModelForSequenceClassification.from_pretrained(place).eval()

        def predict(inputs: Any) -> Any:
            batch = tokenizer(
                inputs.tolist(), padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
            )
            with torch.inference_mode():
                return model(**batch).logits.numpy()

        return predict

    udf = predict_batch_udf(make, return_type=ArrayType(FloatType()), batch_size=BATCH_SIZE)
    return _seconds(_frame(spark, texts).select(udf("text")))


def _ray_data(spark: SparkSession, folder: Path, texts: Sequence[str]) -> float:
    """Apply the network with Ray Data's ``map_batches``, in a process of its own."""
    return _own_process(Path(sys.executable), "ray_data", folder, texts)


def _sentence_transformers(spark: SparkSession, folder: Path, texts: Sequence[str]) -> float:
    """Embed the texts with sentence-transformers and apply a linear head, without Spark, in a process of its own."""
    return _own_process(SETFIT, "sentence_transformers", folder, texts)


def _own_process(python: Path, what: str, folder: Path, texts: Sequence[str]) -> float:
    code = HERE / "speed_worker.py"
    given = "\0".join(texts).encode()
    done = subprocess.run([python, code, what, folder], input=given, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} failed: {done.stderr.decode()[-2000:]}")
    return float(done.stdout.decode().splitlines()[-1])


PEERS = {
    "pipeline, a thread": Peer("Hugging Face pipeline in a pandas UDF, one thread a task", _pipeline(1)),
    "pipeline": Peer("Hugging Face pipeline in a pandas UDF, torch's own threads", _pipeline(None)),
    "predict_batch_udf": Peer("Spark's predict_batch_udf with torch", _batch_udf),
    "ray_data": Peer("Ray Data map_batches with torch", _ray_data),
    "sentence_transformers": Peer("sentence-transformers encode and a linear head, no Spark", _sentence_transformers),
}


def rate(peer: Peer, spark: SparkSession, folder: Path, texts: Sequence[str], start_s: float) -> float:
    """Return documents a second, without the ``start_s`` seconds that the peer takes for hardly any text."""
    return len(texts) / max(1e-9, peer.seconds(spark, folder, texts) - start_s)


def matmul_peaks() -> dict[str, float]:
    """Return the operations a second (10^9) of one core in products of matrices, by precision."""
    import torch

    torch.set_num_threads(1)
    rows, inner, columns = 512, 384, 1536
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    whole = (
        torch.randint(-99, 99, (rows, inner), dtype=torch.int8),
        torch.randint(-9, 9, (inner, columns)).to(torch.int8),
    )
    products: dict[str, Callable[[], Any]] = {
        "fp32": lambda: left @ right,
        "bf16": lambda: left.bfloat16() @ right.bfloat16(),
        "int8": lambda: torch._int_mm(*whole),
    }
    peaks = {}
    for name, product in products.items():
        product()
        times = []
        for _ in range(50):
            started = time.perf_counter()
            product()
            times.append(time.perf_counter() - started)
        peaks[name] = 2 * rows * inner * columns / float(np.median(times)) / 1e9
    return peaks
