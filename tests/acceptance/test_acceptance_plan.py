"""The duration and cost of a night of real reviews, predicted from a sample and measured. The figures are printed.

Needs TLNLP_DATA (see test_acceptance_path.py); TLNLP_PLAN_ROWS sets the number of reviews.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from test_acceptance_path import DAY, data, draw_labels, tlnlp

pytestmark = pytest.mark.acceptance
ROWS = int(os.environ.get("TLNLP_PLAN_ROWS", "5000"))
PRICES = Path(__file__).parents[2] / "conf" / "prices.yaml"
PRICE = ["--set", "cost.instance=m7i.large", "--set", f"cost.prices={PRICES}"]
MILLION = 1_000_000


def test_a_plan_predicts_the_night(tmp_path: Path) -> None:
    draw_labels("imdb", tmp_path, 100)
    trained = tlnlp(
        "finetune", "--set", "labels=labels.parquet", "--set", "model=imdb", "--set", "max_length=256", *PRICE,
        cwd=tmp_path,
    )  # fmt: skip
    tlnlp("promote", "imdb@1", cwd=tmp_path)
    reviews = pq.read_table(data("imdb_test.parquet")).to_pandas().sample(ROWS, random_state=101)
    reviews[["id", "text"]].to_parquet(tmp_path / "documents.parquet")
    settings = ["--set", "documents=documents.parquet", "--set", "model=imdb", "--set", f"score_date={DAY}", *PRICE]
    predicted = tlnlp("plan", *settings, cwd=tmp_path)
    tlnlp("score", *settings, cwd=tmp_path)
    ledgers = {ledger["kind"]: ledger for ledger in tlnlp("runs", cwd=tmp_path)}
    measured = ledgers["score"]["results"]["prediction"]
    training_usd = ledgers["finetune"]["cost"]["usd"]
    figures = {
        "documents": ROWS,
        "documents_per_s": predicted["documents_per_s"],
        "sample": predicted["sample"],
        "predicted_s": measured["seconds"],
        "actual_s": measured["actual_seconds"],
        "predicted_usd": measured["usd"],
        "actual_usd": measured["actual_usd"],
        "finetune_s": trained["seconds"],
        "finetune_usd": training_usd,
        # Proportional to the night above; a larger night may cost less for each document.
        "whole_project_usd": round(training_usd + measured["actual_usd"] * MILLION / ROWS, 2),
    }
    print(json.dumps(figures))
    assert measured["seconds"] == pytest.approx(measured["actual_seconds"], rel=0.25)
    assert measured["usd"] == pytest.approx(measured["actual_usd"], rel=0.25)
