"""The page of groups: shares with intervals, changes, ranks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from explore_kit import FIRST, SECOND, pages, row
from nights_kit import publish

from tlnlp.evaluate.intervals import wilson
from tlnlp.explore.group_figures import GroupCounts, group_rows


def names(page: str) -> list[str]:
    """Return the values of the rows of a page."""
    return re.findall(r"<a data-row [^>]*>([^<]*)</a>", page)


def test_each_value_has_the_share_of_the_label_with_its_interval(warehouse: Path) -> None:
    page = pages(warehouse).get("/groups?column=shop&label=negative").text
    assert names(page)[0] == "north"
    # Every third of 120 documents is of the shop in the north and negative; of these 40, 4 became neutral.
    low, high = wilson(36, 40)
    assert f'90.0%</td><td class="number">{low:.1%} to {high:.1%}' in page
    assert set(names(page)) == {"north", "south", "(no value)"}
    assert "-10.0" in page


def test_the_label_with_most_documents_is_shown_first(warehouse: Path) -> None:
    assert '<option value="positive" selected>' in pages(warehouse).get("/groups").text


def test_a_group_of_few_documents_does_not_lead() -> None:
    now = GroupCounts({"few": {"yes": 2}, "many": {"yes": 90, "no": 10}}, 2)
    rows = {one.value: one for one in group_rows(now, None, "yes", ("no",))}
    assert rows["few"].share > rows["many"].share
    assert rows["few"].low < rows["many"].low
    assert rows["many"].others == (0.1,)
    assert rows["many"].change is None


def test_only_a_change_beyond_chance_is_clear() -> None:
    before = GroupCounts({"a": {"yes": 500, "no": 500}, "b": {"yes": 5, "no": 5}, "gone": {"yes": 1}}, 3)
    now = GroupCounts({"a": {"yes": 600, "no": 400}, "b": {"yes": 6, "no": 4}, "new": {"yes": 3}}, 3)
    rows = {one.value: one for one in group_rows(now, before, "yes", ())}
    assert (rows["a"].is_clear, rows["b"].is_clear) == (True, False)
    assert rows["a"].change == pytest.approx(0.1)
    assert rows["new"].change is None


def test_a_table_without_kept_columns_says_what_to_do(tmp_path: Path) -> None:
    plain = [{key: value for key, value in row(number).items() if key not in ("shop", "weight")} for number in range(9)]
    publish(tmp_path, FIRST, plain, kept=())
    page = pages(tmp_path).get("/groups").text
    assert "keep_columns=" in page


def test_a_column_of_many_values_is_cut_to_the_most_frequent(tmp_path: Path) -> None:
    publish(tmp_path, FIRST, [row(number, shop=f"shop {number}") for number in range(1500)])
    publish(tmp_path, SECOND, [row(number, shop=f"shop {number % 1400}") for number in range(1500)])
    page = pages(tmp_path).get("/groups?column=shop&sort=documents").text
    assert "200 of 1,400 values" in page
    assert "those of most documents were ranked" in page


@pytest.mark.parametrize("sort", ["share", "change", "documents", "value"])
def test_each_order_holds_all_values(warehouse: Path, sort: str) -> None:
    assert set(names(pages(warehouse).get(f"/groups?column=shop&sort={sort}").text)) == {"north", "south", "(no value)"}


def test_a_label_that_no_document_has_is_refused(warehouse: Path) -> None:
    assert pages(warehouse).get("/groups?label=other").status_code == 400
