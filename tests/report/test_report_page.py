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
from tlnlp.evaluate.report_figures import calibration
from tlnlp.report import charts, sentences
from tlnlp.report.label_texts import LabelText
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
    warnings = sentences.warnings(report)
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
    report["baselines"]["ngram"] |= {"difference": -0.1, "difference_interval": [-0.15, -0.05]}
    assert any("(ngram) is better than this one" in one for one in sentences.warnings(report))


def test_a_model_is_better_or_worse_only_where_the_interval_excludes_zero(tmp_path: Path) -> None:
    report = made()
    seen, _ = written(report, tmp_path)
    assert "The model is 24.0 points better than the baseline ngram (70.0%)" in seen.text
    alike = "The model and the baseline frozen encoder (93.0%) cannot be distinguished by these labels"
    assert f"{alike}; with 95% confidence, the difference lies between -1.3 and +7.0 points." in seen.text
    for text in (seen.text, *charts_ticks(report)):
        assert "as good" not in text
    assert charts_ticks(report) == ["this model", "ngram", "frozen encoder (cannot be distinguished)"]
    # A bundle of an older tlnlp has another key instead of the verdict, or no interval.
    for one in report["baselines"].values():
        one["as_good"] = one.pop("verdict") == "undecided"
    assert alike in written(report, tmp_path)[0].text
    for one in report["baselines"].values():
        del one["difference_interval"], one["difference"]
    assert charts_ticks(report) == ["this model", "ngram", "frozen encoder (cannot be distinguished)"]
    assert [one for one in sentences.warnings(report) if "simple model" in one] == [
        "A simple model (frozen encoder) cannot be distinguished from this one by these labels."
    ]


def charts_ticks(report: dict[str, Any]) -> list[str]:
    """Return the names beside the intervals of the picture of the baselines."""
    figure = charts.baselines(report)
    assert figure is not None
    return [tick.get_text() for tick in figure.axes[0].get_yticklabels()]


def test_a_curve_that_cannot_tell_promises_nothing() -> None:
    report = made()
    figure = charts.learning_curve(report)
    assert figure is not None
    dashed = "expected from 100 more labels"
    assert dashed in figure.axes[0].get_legend_handles_labels()[1]
    report["learning_curve"]["more"] = {"labels": 60, "gain": 0.019, "low": 0.0004, "high": 0.061}
    assert sentences.learning_curve(report) == (
        "This curve cannot tell whether more labels help: with 95% confidence, 60 more would raise accuracy by at most "
        "6.1 points."
    )
    flat = charts.learning_curve(report)
    assert flat is not None
    assert [name for name in flat.axes[0].get_legend_handles_labels()[1] if "60" in name] == [
        "95% interval with 60 more labels"
    ]


def test_labels_to_check_stand_once_below_their_file_with_the_rate_of_false_alarms(tmp_path: Path) -> None:
    report = made()
    seen, _ = written(report, tmp_path)
    assert seen.text.count("labels/<i>.csv") == 1
    assert "A row is a record of this file, counted from 1 below the header" in seen.text
    assert "Check 2 labels of 90: a model that was not trained on them contradicts them most." in seen.text
    assert "Of 100 correct labels, at most 5 are listed by mistake" in seen.text
    assert "17 <b>& $x_{$ 98.1% 4 <b>& $x_{$ 93.0%" in seen.text
    report["suspected_faults"][1]["file"] = "s3://bucket/more.jsonl"
    seen, _ = written(report, tmp_path)
    assert seen.text.count("A row is a line of this file") == 1
    # The list of an older tlnlp has no stated rate.
    del report["false_alarm_share"]
    assert "many of these labels may be correct" in str(sentences.faults(report))
    assert sentences.faults({"suspected_faults": []}) == "The model contradicts no label strongly."


def test_texts_of_labels_are_escaped_and_a_missing_one_is_explained() -> None:
    texts = [LabelText("<script>alert(1)</script> & \n more"), LabelText(problem="The file has no such row now.")]
    page = render(made(), HEAD, {}, texts)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; \n more" in page
    assert Reader(page).tags.count("script") == 0
    assert "The file has no such row now." in page
    assert page.count('<tr class="with-text">') == 2
    assert 'class="text' not in render(made(), HEAD, {})


def test_no_word_is_broken_on_a_narrow_screen(tmp_path: Path) -> None:
    page, *_ = write_report(made(), HEAD, tmp_path)
    html = page.read_text(encoding="utf-8")
    style = html[html.index("<style>") : html.index("</style>")]
    rules = dict[str, str]()
    for names, body in re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"@media[^{]*", "", style)):
        for name in names.split(","):
            rules[name.strip()] = rules.get(name.strip(), "") + body
    # "anywhere" lets a table or flex box shrink a column to one letter, so in them only what has a least width has it.
    anywhere = {name for name, body in rules.items() if "overflow-wrap: anywhere" in body or "word-break" in body}
    assert anywhere == {"dd", ".file", "h1", ".text", ".warning", "tbody th", ".any"}
    assert "min-width: 8rem" in rules["tbody th"]
    assert "min-width: 8rem" in rules[".any"]
    assert "overflow-wrap: break-word" in rules["body"]
    assert "overflow-wrap: normal" in rules["td"]
    assert "overflow-x: auto" in rules[".scroll"]
    # Each table scrolls by itself, so the page is never wider than the screen.
    assert html.count("<table>") == html.count('<div class="scroll"><table>') == 3
    assert "minmax(0, 1fr)" in rules["dl"]
    assert "width=device-width" in html


def test_a_good_report_has_no_warnings() -> None:
    report = made(n=50)
    report["baselines"]["frozen_encoder"]["difference_interval"] = [0.01, 0.07]
    assert [one for one in sentences.warnings(report) if "went on to learn from unlabelled documents" not in one] == []
    # Of a model that learned from labels alone the figures are its own.
    report["rounds"] = []
    assert sentences.warnings(report) == []


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
