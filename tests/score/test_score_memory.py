"""A text that memory is too little for goes to quarantine, and the night goes on: with a real limit on the workers."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kit
import pandas as pd
import pytest
from score_kit import MODEL, counts, documents, night, positives, reasons, write_parquet

from tlnlp.errors import NothingToPublishError
from tlnlp.registry import Registry
from tlnlp.score import chunks, udf

pytestmark = pytest.mark.usefixtures("spark")
TOKENS = 12_000
# What the process may use beside what it has; the attention of the long text alone takes more than 1 GB.
MORE_BYTES = 600 << 20


@pytest.fixture(scope="module")
def long_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a version that reads texts of 12,000 tokens."""
    folder = tmp_path_factory.mktemp("long")
    name, shape = kit.ENCODERS["bert"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kit.ENCODERS, "bert", (name, shape | {"max_position_embeddings": TOKENS}))
        encoder = kit.make_encoder(folder / "encoder")
    made = kit.make_bundle(encoder, folder / "bundle", max_length=TOKENS, max_chars=1_000_000)
    Registry(str(folder / "registry")).publish(MODEL, made)
    return folder / "registry"


def limited(real: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``real`` (``batch_scorer``) with workers that have little more memory than they use at first."""

    def make(*arguments: Any) -> Any:
        scorer = real(*arguments)

        def score(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.DataFrame]:
            import resource
            from pathlib import Path

            # The model is loaded and has read a text, so what it needs always is there.
            udf.load_bundle(*arguments[:4]).predict(["warm bread"])
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            before = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MORE_BYTES, before[1]))
            try:
                yield from scorer(batches)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, before)

        return score

    return make


@pytest.mark.parametrize("engine", ["onnx-fp32", "ctranslate2-int8"])
def test_the_night_goes_on_without_the_text(
    long_registry: Path, warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    long = {"id": "long", "text": " ".join(["good bread"] * TOKENS)}
    source = write_parquet(tmp_path / "documents.parquet", [*documents(20), long])
    monkeypatch.setattr(chunks, "batch_scorer", limited(udf.batch_scorer))
    result = night(source, warehouse, long_registry, model=f"{MODEL}@1", engine=engine)
    assert (counts(result)["rows_scored"], counts(result)["rows_quarantined"]) == (20, 1)
    assert reasons(warehouse) == {"long": "out_of_memory"}
    assert set(positives(warehouse)) == {row["id"] for row in documents(20)}


def test_too_many_such_texts_publish_nothing(
    long_registry: Path, warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = [{"id": f"long{n}", "text": " ".join([f"good bread {n}"] * TOKENS)} for n in range(2)]
    source = write_parquet(tmp_path / "documents.parquet", [*documents(6), *long])
    monkeypatch.setattr(chunks, "batch_scorer", limited(udf.batch_scorer))
    with pytest.raises(NothingToPublishError, match="2 of them since the workers have too little memory"):
        night(source, warehouse, long_registry, model=f"{MODEL}@1")
    assert not list(warehouse.glob("tlnlp/scores"))
