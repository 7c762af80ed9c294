"""The process environment that runs get, on machines that are set up oddly."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlnlp.cli.entry import guarded
from tlnlp.runs import environment
from tlnlp.runs.console import print_json

ROOT = Path(__file__).parents[2]
# What a program of a user does: it imports the hub's library first, and sets nothing.
ASK_HUB = """
import pathlib, socket, sys
import huggingface_hub, transformers
def refuse(*args, **kwargs): raise SystemExit("the hub was asked")
socket.socket.connect = socket.getaddrinfo = refuse
from tlnlp.errors import InputDataError
from tlnlp.model.encoder_conventions import read_conventions
from tlnlp.model.torch_encoder import load_encoder, save_tokenizer
for call in (
    lambda: read_conventions("somebody/some-encoder"),
    lambda: load_encoder("somebody/some-encoder", 2, "mean", 0.1, 0),
    lambda: save_tokenizer("somebody/some-encoder", None),
):
    try:
        call()
    except InputDataError:
        continue
    raise SystemExit("an encoder that is not here was found")
read_conventions(sys.argv[1])
load_encoder(sys.argv[1], 2, "mean", 0.1, 0)
save_tokenizer(sys.argv[1], pathlib.Path("."))
"""
IMPORT_ORT = """
import os, socket, sys
import tlnlp
from tlnlp.model.engines.onnx_fp32 import load_onnxruntime
assert "onnxruntime" not in sys.modules and "ORT_DISABLE_TELEMETRY" not in os.environ
load_onnxruntime()
assert sorted(os.listdir(os.environ["HOME"])) == [], os.listdir(os.environ["HOME"])
"""


def bare(home: Path) -> dict[str, str]:
    """Return an environment in which nothing was decided for the libraries."""
    kept = {name: value for name, value in os.environ.items() if name not in environment.QUIET}
    home.mkdir()
    return kept | {"HOME": str(home), "PYTHONPATH": str(ROOT), "HF_HOME": str(home / "hub")}


@pytest.mark.parametrize("code", [ASK_HUB, IMPORT_ORT], ids=["model hub", "ONNX Runtime"])
def test_libraries_are_silent_in_the_program_of_a_user(code: str, tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_encoder)],
        env=bare(tmp_path / "home"),
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_user_decides_about_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from tlnlp.model.encoder_conventions import hub_is_offline

    for value, offline in (("0", False), ("false", False), ("1", True), (None, True)):
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        if value is not None:
            monkeypatch.setenv("HF_HUB_OFFLINE", value)
        assert hub_is_offline() is offline


def test_loopback_goes_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("no_proxy", "intern.example")
    monkeypatch.delenv("NO_PROXY", raising=False)
    environment.apply_defaults()
    assert os.environ["no_proxy"] == "intern.example"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "")
    for _ in range(2):
        environment.apply_defaults()
        assert os.environ["no_proxy"] == "intern.example,localhost,127.0.0.1,::1"
        assert os.environ["NO_PROXY"] == "localhost,127.0.0.1,::1"


def test_a_user_without_name_and_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tlnlp.model import encoder_catalogue

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "XDG_CACHE_HOME", "TLNLP_ENCODERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)
    assert environment.user_name() == f"uid{os.getuid()}"
    for _ in range(2):
        assert encoder_catalogue.cache() == tmp_path / ".tlnlp/home/.cache/tlnlp/encoders"
        assert encoder_catalogue.at_hand("none") is None
        environment.apply_defaults()
    assert os.environ["HOME"] == str(tmp_path / ".tlnlp" / "home")


def test_a_stdout_without_utf8_shows_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))

    def call() -> None:
        print_json({"label": "grün"})
        print("grün")

    assert guarded(call, debug=False) == 0
    sys.stdout.flush()
    document, line = raw.getvalue().decode("ascii").splitlines()
    assert json.loads(document) == {"label": "grün"}
    assert line == r"gr\xfcn"
