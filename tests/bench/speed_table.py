"""Make the tables of speed from the measured figures, and write them into benchmarks.md between their markers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from table import into_page

BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
TITLES = {"imdb": "IMDb", "agnews": "AG News"}
CORES = 2
# Multiply-adds of one token of twelve layers of width 384 with a feed-forward part of 1536, without attention's own.
NETWORK_OPERATIONS = 2 * 12 * (4 * 384 * 384 + 2 * 384 * 1536)
PRECISION = {"onnx-fp32": "fp32", "ctranslate2-int8": "int8"}


def write_tables(results: Mapping[str, Any]) -> None:
    """Write the tables into the page."""
    into_page(tables(results), PAGE, BEGIN, END)


def tables(results: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    parts = [
        _table(TITLES[data], results[data]) + "\n" + _bare(results[data]["engines"], results[data]["peaks"])
        for data in TITLES
        if data in results
    ]
    notes = (
        "In turns, medians. Peers: without their start and the loading of their model, on the first of the same "
        "documents. tlnlp: the whole command, from the start of Spark to the published table."
    )
    return "\n".join([*parts, notes, ""])


def _table(title: str, found: Mapping[str, Any]) -> str:
    peer = max(rate for name, rate in found["peers"].items() if "pipeline" in name and "6 layers" not in name)
    lines = [
        f"**{title}**, {found['documents']:,} test documents, on {found['machine']['cpu']}, "
        f"{found['machine']['cores']} cores",
        "",
        "| | documents/s per core | ratio | accuracy | settled before the encoder |",
        "|---|---|---|---|---|",
    ]
    for name, rate in sorted(found["peers"].items(), key=lambda item: item[1]):
        lines.append(f"| {name} | {rate / CORES:.1f} | {rate / peer:.1f} | | |")
    for name, own in found["profiles"].items():
        rate = own["whole_documents_per_s"]
        lines.append(
            f"| **tlnlp score, {name}** ({own['profile']}) | {rate / CORES:.1f} | {rate / peer:.1f} | "
            f"{own['accuracy']:.1%} | {own['settled_share']:.0%} |"
        )
    if "whole" in found:
        whole = found["whole"]
        for name, own in whole["profiles"].items():
            rate = own["whole_documents_per_s"]
            title = f"**the same, {name}, all {whole['documents']:,} test documents**"
            lines.append(
                f"| {title} | {rate / CORES:.1f} | {rate / peer:.1f} | {own['accuracy']:.1%} | "
                f"{own['settled_share']:.0%} |"
            )
    return "\n".join([*lines, ""])


def _bare(engines: Mapping[str, float], peaks: Mapping[str, float]) -> str:
    lines = [
        f"Without Spark, on one core, {engines['tokens']:.0f} tokens a document:",
        "",
        "| | documents/s | operations a second, against a product of matrices by torch |",
        "|---|---|---|",
    ]
    for name, rate in engines.items():
        if name == "tokens":
            continue
        share = ""
        if name in PRECISION:
            used = rate * engines["tokens"] * NETWORK_OPERATIONS / 1e9
            share = f"{used:,.0f} against {peaks[PRECISION[name]]:,.0f} GOP/s ({PRECISION[name]})"
        lines.append(f"| {name} | {rate:,.1f} | {share} |")
    return "\n".join([*lines, ""])
