"""The page and its pictures: drawn, escaped, self-contained, and complete with any part of a report."""

from __future__ import annotations

import base64
import re
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_kit import ODD, made

from tlnlp.errors import StorageError
from tlnlp.evaluate.findings import calibration
from tlnlp.report import charts, words
from tlnlp.report.page import render, write_report

HEAD = {"model": "moods", "version": 3, "address": "s3://bucket/<registry>", "seed": None}
ALL = ["confusion.png", "per_class.png", "calibration.png", "learning_curve.png", "baselines.png", "rounds.png"]


class Reader(HTMLParser):
    """Collect the tags of a page, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def written(report: dict[str, Any], folder: Path) -> tuple[Reader, list[Path]]:
    page, *drawn = write_report(report, HEAD, folder)
    return Reader(page.read_text(encoding="utf-8")), drawn


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_every_picture_is_drawn_beside_the_page_and_inside_it(tmp_path: Path) -> None:
    page, *drawn = write_report(made(), HEAD, tmp_path / "new" / "folder")
    assert page == tmp_path / "new" / "folder" / "report.html"
    assert [path.name for path in drawn] == ALL
    html = page.read_text(encoding="utf-8")
    inside = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', html)]
    assert sorted(inside) == sorted(path.read_bytes() for path in drawn)
    assert all(min(size(png)) > 200 for png in inside)
    # The page loads nothing: it has no other address and no script.
    assert not re.search(r'(src|href)="(?!data:)|<script|@import|url\(', html)


def test_names_are_escaped_and_figures_are_in_sentences(tmp_path: Path) -> None:
    seen, _ = written(made(), tmp_path)
    assert not {"b", "i", "views", "registry"} & set(seen.tags) - {"b"}
    assert seen.tags.count("b") == 4  # The four large figures, none of a label.
    for part in (*ODD, "labels/<i>.csv", "s3://bucket/<registry>", "98.1%", "17"):
        assert part in seen.text, part
    assert (
        "87 of 90 held-out labels were predicted correctly: 96.7%, with 95% confidence between 90.0% and 99.0%"
        in seen.text
    )
    assert (
        "differ by 3.1 points on average; before calibration they differed by 12.0 points: calibration helped"
        in seen.text
    )
    assert "100 more labels would raise accuracy by 4.2 points" in seen.text
    assert "<b>& $x_{$ 1" in seen.text  # A mistake, and how often it occurs.
    # The table shows the full name of a class that the font of the pictures lacks.
    assert "数字 (class 3 in pictures)" in seen.text
    assert "None" not in seen.text


def test_warnings_stand_before_the_figures(tmp_path: Path) -> None:
    report = made(n=9)
    warnings = words.warnings(report)
    assert [
        any(part in one for one in warnings)
        for part in ("frozen encoder", "ngram", "learned from the labels alone", "Only 27")
    ] == [
        True,
        False,
        True,
        True,
    ]
    assert "Fewer than 10 labels: <b>& (9)" in warnings[-1]
    seen, _ = written(report, tmp_path)
    assert max(seen.text.index(one) for one in warnings) < seen.text.index("macro-F1")
    report["baselines"]["ngram"] |= {"as_good": True, "difference": -0.1, "difference_interval": [-0.15, -0.05]}
    assert any("(ngram) is better than this one" in one for one in words.warnings(report))


def test_a_good_report_has_no_warnings() -> None:
    report = made(n=50)
    report["baselines"]["frozen_encoder"]["as_good"] = False
    assert [one for one in words.warnings(report) if "went on to learn from unlabelled documents" not in one] == []
    # Of a model that learned from labels alone the figures are its own.
    report["rounds"] = []
    assert words.warnings(report) == []


@pytest.mark.parametrize("part", [*made(), ""])
def test_what_is_missing_is_left_out(part: str, tmp_path: Path) -> None:
    report = {key: value for key, value in made().items() if key == part}
    seen, drawn = written(report, tmp_path)
    expected = {
        "cross_validation": ["confusion.png", "per_class.png"],
        "calibration": ["calibration.png"],
        "learning_curve": ["learning_curve.png"],
        "rounds": ["rounds.png"],
    }
    assert [path.name for path in drawn] == expected.get(part, [])
    without = {key: value for key, value in made().items() if key != part}
    lost = {*expected.get(part, []), *(["baselines.png"] if part in ("baselines", "cross_validation") else [])}
    assert [name for name, picture in charts.PICTURES.items() if picture(without)] == [
        name for name in ALL if name not in lost
    ]
    assert "moods, version 3" in seen.text
    assert "None" not in seen.text + Reader(render(without, HEAD, {})).text


def test_pictures_of_an_earlier_report_do_not_stay(tmp_path: Path) -> None:
    write_report(made(), HEAD, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    written({"rounds": made()["rounds"]}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "report.html", "rounds.png"]


def test_undefined_figures_are_left_out(tmp_path: Path) -> None:
    report = made(("no", "yes"), n=1)
    own = report["cross_validation"]
    own["per_class"]["yes"] = {"precision": None, "recall": None, "f1": None, "n": 0}
    own["per_class"]["no"]["f1"] = 0.0
    report["calibration"] |= {"ece_before": None, "bins_before": [], "ece_after": None}
    report["calibration"]["bins_after"] = [{"confidence": None, "accuracy": 1.0, "n": 1}]
    report["learning_curve"] = {"points": [{"labels": 1, "accuracy": 1.0, "low": 0.2, "high": 1.0}], "more": None}
    report["rounds"][0]["expected"] = None
    seen, drawn = written(report, tmp_path)
    assert [path.name for path in drawn] == [name for name in ALL if name != "calibration.png"]
    assert "yes - - - 0" in seen.text
    assert "The learning curve has too few points" in seen.text


@pytest.mark.parametrize("count", [2, 16, 17, 100])
def test_any_number_of_classes(count: int, tmp_path: Path) -> None:
    report = made(tuple(f"class with a long name, number {k}" for k in range(count)))
    drawn = charts.draw(report)
    for name in ("confusion.png", "per_class.png"):
        assert max(size(drawn[name])) < 2600, name
    figure = charts.confusion(report)
    assert figure is not None
    cells = figure.axes[0].texts
    assert len(cells) == (2 * count if count <= charts.NUMBERED_CLASSES else 0)
    bars = charts.per_class(report)
    assert bars is not None
    assert len(bars.axes[0].patches) == min(count, charts.MAX_BARS)


def test_each_bin_of_the_calibration_error_has_a_dot() -> None:
    probabilities = np.random.default_rng(0).dirichlet((1.0, 1.0), 40)
    figures = calibration(probabilities, probabilities, np.zeros(40, dtype=np.int64))
    dots = charts._dots(figures["bins_after"])
    assert dots.tolist() == [[one["confidence"], one["accuracy"], one["n"]] for one in figures["bins_after"]]
    assert (len(dots), dots[:, 2].sum()) == (15, 40)
    gaps = np.abs(dots[:, 0] - dots[:, 1]) @ dots[:, 2] / 40
    assert gaps == pytest.approx(figures["ece_after"])
    drawn = charts.calibration({"calibration": figures})
    assert drawn is not None
    assert [len(np.asarray(one.get_offsets())) for one in drawn.axes[0].collections] == [15, 15]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"the report cannot be written .*: name another folder"):
        write_report(made(), HEAD, tmp_path / "file" / "folder")
