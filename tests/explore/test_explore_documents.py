"""The list of documents: selection, order, paging and export."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from explore_kit import FIRST, ROWS, THIRD, pages, row
from hypothesis import given, settings
from hypothesis import strategies as st
from nights_kit import publish
from starlette.testclient import TestClient

from tlnlp.runs.scratch import process_folder

SELECTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "label=neutral": lambda one: one["number"] % 10 == 0,
    "stage=encoder": lambda one: one["number"] % 4 == 0,
    "from=0.6&to=0.7": lambda one: 0.6 <= one["score"] <= 0.7,
    "words=d0": lambda one: one["number"] < 100,
    "words=D1+9": lambda one: one["number"] >= 100 and "9" in str(one["number"]),
    "column=shop&value=north": lambda one: one["shop"] == "north",
    "column=shop&none=1": lambda one: one["shop"] is None,
    "column=weight&value=1.5": lambda one: one["weight"] == 1.5,
    "label=positive&stage=ngram&column=shop&value=south": lambda one: (
        one["number"] % 10 and one["number"] % 4 and one["shop"] == "south"
    ),
}


def ids(page: str) -> list[str]:
    """Return the ids of the rows of a page."""
    return re.findall(r'<a data-row href="/document\?[^"]*id=([^"&]*)"', page)


def selection(query: str) -> list[str]:
    """Return the ids that a selection of the third night holds, by plain Python, the lowest score first."""
    rows = [row(number) | {"number": number} for number in range(ROWS)]
    return [str(one["document_id"]) for one in rows if SELECTIONS[query](one)]


def walk(client: TestClient, address: str) -> list[str]:
    """Return the ids of all pages of a list, by its links to the next page."""
    found = list[str]()
    while True:
        page = client.get(address).text
        found += ids(page)
        following = re.search(r'<a rel="next" href="([^"]*)"', page)
        if following is None:
            return found
        address = unescape(following[1])


@pytest.mark.parametrize("query", SELECTIONS)
def test_a_selection_holds_what_its_address_says(warehouse: Path, query: str) -> None:
    client, expected = pages(warehouse), selection(query)
    assert 0 < len(expected) < ROWS
    page = client.get(f"/documents?{query}").text
    assert f"{len(expected)} of {ROWS} documents are selected" in page
    assert walk(client, f"/documents?{query}") == expected
    assert walk(client, f"/documents?{query}&sort=confidence") == expected[::-1]


def test_pages_follow_each_other_without_loss(warehouse: Path) -> None:
    assert walk(pages(warehouse), "/documents") == [f"d{number:03}" for number in range(ROWS)]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([0.5, 0.75, 1.0, float("nan")]), min_size=60, max_size=130))
def test_rows_of_the_same_score_are_neither_lost_nor_doubled(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float]
) -> None:
    warehouse = tmp_path_factory.mktemp("ties")
    publish(warehouse, FIRST, [row(number, score=score) for number, score in enumerate(scores)])
    for sort in ("doubt", "confidence"):
        found = walk(pages(warehouse), f"/documents?sort={sort}")
        assert sorted(found) == [f"d{number:03}" for number in range(len(scores))]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=many", "write it as in from=0.5"),
        ("to=1.5", "write it as in to=0.5"),
        ("from=nan", "write it as in from=0.5"),
        ("column=nothing", "it has shop, weight"),
        ("sort=luck", "doubt, confidence"),
        ("after=nowhere", "open the first page"),
        ("after=x:y", "open the first page"),
        (f"words={'w' * 5000}", "more than 4,000 characters"),
    ],
)
def test_a_wrong_address_is_explained(warehouse: Path, query: str, words: str) -> None:
    answer = pages(warehouse).get(f"/documents?{query}")
    assert answer.status_code == 400
    assert words in unescape(answer.text)


def test_an_export_holds_every_column_and_value(warehouse: Path) -> None:
    client, expected = pages(warehouse), selection("column=shop&value=north")
    answer = client.get("/documents/export.csv?column=shop&value=north")
    assert f'filename="scores-{THIRD}.csv"' in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert sorted(one["document_id"] for one in rows) == expected
    assert {one["shop"] for one in rows} == {"north"}
    table = pq.read_table(io.BytesIO(client.get("/documents/export.parquet?column=shop&value=north").content))
    assert sorted(table["document_id"].to_pylist()) == expected
    kept = {one["document_id"]: one for one in table.to_pylist()}
    assert kept["d003"]["score"] == row(3)["score"]
    assert kept["d003"]["probabilities"] == row(3)["probabilities"]
    assert set(rows[0]) == set(table.schema.names)


def test_an_empty_export_has_its_columns(warehouse: Path) -> None:
    client = pages(warehouse)
    assert client.get("/documents/export.csv?label=none").text.startswith("document_id,label,score,")
    assert pq.read_table(io.BytesIO(client.get("/documents/export.parquet?label=none").content)).num_rows == 0


@pytest.mark.parametrize(("sort", "expected"), [("doubt", range(10)), ("confidence", range(110, 120))])
def test_a_large_export_is_cut_to_the_first_rows_and_says_so(warehouse: Path, sort: str, expected: range) -> None:
    client = pages(warehouse, export_rows=10)
    assert "the first 10 of them, in this order" in client.get(f"/documents?sort={sort}").text
    rows = csv.DictReader(io.StringIO(client.get(f"/documents/export.csv?sort={sort}").text))
    assert sorted(one["document_id"] for one in rows) == [f"d{number:03}" for number in expected]


def test_an_export_that_cannot_be_made_is_a_page(warehouse: Path) -> None:
    answer = pages(warehouse).get("/documents/export.csv?date=2020-01-01")
    assert answer.status_code == 404
    assert "content-disposition" not in answer.headers


def test_a_copy_that_was_cleaned_away_is_made_again(tmp_path: Path) -> None:
    publish(tmp_path, FIRST, [row(number) for number in range(5)])
    client = pages(tmp_path)
    assert len(ids(client.get("/documents").text)) == 5
    for file in process_folder("explore").glob("*.duckdb"):
        file.unlink()
    assert len(ids(client.get("/documents").text)) == 5


def test_copies_of_few_nights_are_kept(tmp_path: Path) -> None:
    days = [FIRST + timedelta(days=number) for number in range(5)]
    for day in days:
        publish(tmp_path, day, [row(number) for number in range(5)])
    client, folder = pages(tmp_path), process_folder("explore")
    before = set(folder.glob("*.duckdb"))
    for day in [*days, *days]:
        assert len(ids(client.get(f"/documents?date={day}").text)) == 5
    assert len(set(folder.glob("*.duckdb")) - before) == 3
