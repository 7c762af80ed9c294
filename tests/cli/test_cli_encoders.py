"""``tlnlp encoders`` lists the known encoders and their cost; ``tlnlp encoders fetch`` installs one from a jar."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import encoder_kit
import pytest
from cli_kit import tlnlp

from tlnlp.model.encoder_catalogue import known


@pytest.fixture(scope="module")
def tiny(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A catalogue file with one encoder, and its jar."""
    folder = tmp_path_factory.mktemp("tiny")
    graph, _ = encoder_kit.quantised(tiny_encoder, folder)
    tokenizer = tiny_encoder / "tokenizer.json"
    file = encoder_kit.catalogue(graph, tokenizer, folder / "encoders.yaml")
    return file, encoder_kit.jar(graph, tokenizer, folder / "tiny.jar")


@pytest.fixture(autouse=True)
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's cache of encoders."""
    monkeypatch.setenv("TLNLP_ENCODERS", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "cache"


def test_the_list_holds_every_known_encoder() -> None:
    rows = {row["name"]: row for row in tlnlp("encoders", "--no-cost", "--json").json}
    assert rows.keys() == known().keys()
    packaged, fetched = rows["all-minilm-l6-v2"], rows["e5-small-v2"]
    assert packaged["at_hand"]
    assert Path(packaged["folder"], "config.json").exists()
    assert (fetched["at_hand"], fetched["folder"], fetched["s_per_million_tokens"]) == (False, None, None)
    assert (fetched["licence"], fetched["layers"], fetched["languages"]) == ("MIT", 12, "English")
    assert fetched["prompts"]["query"] == "query: "
    table = tlnlp("encoders", "--no-cost")
    assert table.code == 0
    (line,) = (line for line in table.out.splitlines() if line.startswith("roberta-large"))
    assert "355.0 M" in line
    assert "not tried here" in line
    assert " no " in line


def test_an_encoder_fetched_from_a_jar_is_listed_as_at_hand_and_measured(tiny: tuple[Path, Path], cached: Path) -> None:
    file, jar = tiny
    config = ("--config", str(file), "--json")
    (row,) = tlnlp("encoders", *config).json
    assert (row["name"], row["at_hand"]) == ("tiny", False)
    wanted = {"name": "tiny", "folder": str(cached / "tiny")}
    assert tlnlp("encoders", "fetch", "tiny", "--from", str(jar), *config).json == wanted | {"fetched": True}
    assert tlnlp("encoders", "fetch", "Tiny", *config).json == wanted | {"fetched": False}
    (row,) = tlnlp("encoders", *config).json
    assert (row["at_hand"], row["folder"]) == (True, str(cached / "tiny"))
    assert 0 < row["s_per_million_tokens"] < 1e5


def test_a_mistake_has_its_exit_code_and_message(tiny: tuple[Path, Path], tmp_path: Path) -> None:
    file, jar = tiny
    (tmp_path / "no.jar").write_bytes(b"no zip")
    for code, says, arguments in (
        (2, "did you mean 'e5-base-v2'?", ["fetch", "e5-bas-v2"]),
        (2, "set HF_HUB_OFFLINE=0", ["fetch", "e5-base-v2"]),
        (3, "cannot read tiny-q.onnx", ["fetch", "tiny", "--config", str(file), "--from", str(tmp_path / "no.jar")]),
        (
            2,
            "--config and --set stand before fetch, and have no effect there: write them after fetch",
            ["--config", str(file), "fetch", "tiny", "--from", str(jar)],
        ),
        (2, "unknown key 'encoder'", ["--set", "encoder=x"]),
        (2, "cannot read the config file", ["--config", str(tmp_path / "none.yaml")]),
    ):
        result = tlnlp("encoders", *arguments)
        assert (result.code, result.out) == (code, ""), result.err
        assert says in result.err
        assert "Traceback" not in result.err


def test_an_encoder_that_is_not_at_hand_is_reported_before_training(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("text,label\n" + "".join(f"text {k},{'ab'[k % 2]}\n" for k in range(20)))
    result = tlnlp("finetune", labels=labels, registry=tmp_path / "registry", encoder="e5-small-v2")
    assert result.code == 3
    assert "run: tlnlp encoders fetch e5-small-v2" in result.err


def test_listing_and_fetching_load_no_heavy_package(tmp_path: Path) -> None:
    code = (
        "import sys, json; from tlnlp.cli.commands import cli; cli(sys.argv[1:], standalone_mode=False)\n"
        "print(json.dumps([name for name in ('torch', 'transformers', 'ray', 'onnx') if name in sys.modules]))"
    )
    for arguments in (["encoders", "--no-cost", "--json"], ["encoders", "fetch", "all-minilm-l6-v2"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
        assert json.loads(done.stdout.splitlines()[-1]) == []
