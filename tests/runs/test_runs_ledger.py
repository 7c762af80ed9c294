"""The ledger: what a run records about itself, and what it never records."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tlnlp.errors import BundleError, NotFoundError, StorageError
from tlnlp.runs.ledger import Ledger, library_versions, list_ledgers, new_run_id, peak_memory, read_ledger
from tlnlp.storage import Storage

MOMENT = datetime(2026, 11, 23, 23, 1, 2, tzinfo=UTC)


class Clock:
    """A clock and a timer that advance only by ``pass_s``."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return MOMENT + timedelta(seconds=self.seconds)

    def timer(self) -> float:
        return self.seconds

    def pass_s(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


@pytest.fixture
def make(clock: Clock) -> Callable[..., Ledger]:
    def made(run_id: str = "run", config: dict[str, object] | None = None) -> Ledger:
        return Ledger("score", run_id, config or {}, clock=clock.now, timer=clock.timer)

    return made


def test_run_ids_sort_by_time_and_differ() -> None:
    ids = {new_run_id(MOMENT) for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"20261123T230102-[0-9a-f]{6}", run_id) for run_id in ids)
    # One hour east of UTC it is midnight and another day.
    east = MOMENT.astimezone(timezone(timedelta(hours=1)))
    assert new_run_id(east).startswith("20261123T230102-")
    assert max(ids) < new_run_id(MOMENT + timedelta(seconds=1))
    with pytest.raises(ValueError, match="needs a time with a time zone"):
        new_run_id(datetime(2026, 11, 23))


def test_a_run_that_goes_well(make: Callable[..., Ledger], clock: Clock, storage: Storage) -> None:
    ledger = make("20261123T230102-3f9a1c", {"table": "scores", "batch_size": 32})
    ledger.save(storage, "ledgers/a.json")
    assert read_ledger(storage, "ledgers/a.json")["status"] == "started"
    with ledger.stage("read"):
        clock.pass_s(1.5)
    with ledger.stage("score"):
        clock.pass_s(20)
    ledger.inputs("s3://bucket/documents", "sha256:ab", rows=25_000)
    ledger.inputs("file:///bundle", None)
    ledger.counts |= {"rows_in": 25_000}
    ledger.counts["rows_scored"] = 24_801
    ledger.results["model_version"] = 3
    clock.pass_s(0.25)
    ledger.finish("succeeded")
    ledger.save(storage, "ledgers/a.json")
    stored = read_ledger(storage, "ledgers/a.json")
    assert (stored["kind"], stored["run_id"], stored["status"]) == ("score", "20261123T230102-3f9a1c", "succeeded")
    assert (stored["started_at"], stored["finished_at"]) == (
        "2026-11-23T23:01:02+00:00",
        "2026-11-23T23:01:23.750000+00:00",
    )
    assert stored["duration_s"] == 21.75
    assert stored["stages"] == [
        {"name": "read", "status": "succeeded", "duration_s": 1.5},
        {"name": "score", "status": "succeeded", "duration_s": 20.0},
    ]
    assert stored["inputs"] == [
        {"uri": "s3://bucket/documents", "digest": "sha256:ab", "rows": 25_000},
        {"uri": "file:///bundle", "digest": None},
    ]
    assert stored["counts"] == {"rows_in": 25_000, "rows_scored": 24_801}
    assert stored["results"] == {"model_version": 3}
    assert stored["config"] == {"table": "scores", "batch_size": 32}
    assert stored["error"] is None
    assert stored["versions"]["numpy"] == version("numpy")
    assert stored["python"] == ".".join(map(str, sys.version_info[:3]))
    assert stored["machine"]


def test_the_cost_so_far_is_never_above_that_of_the_whole(make: Callable[..., Ledger], clock: Clock) -> None:
    ledger = make()
    ledger.priced(0.5)
    clock.pass_s(5.46123)  # 0.0007585 USD at 5.4612 s: on the edge of the last digit
    so_far = ledger.cost
    ledger.finish("succeeded")
    assert so_far is not None
    assert so_far["usd"] == 0.000758
    assert so_far == ledger.cost


def test_the_error_of_a_stage_goes_on_and_is_recorded(make: Callable[..., Ledger], clock: Clock) -> None:
    ledger = make()

    def load() -> None:
        with ledger.stage("load"):
            clock.pass_s(2)
            raise BundleError("m@3: model.onnx was altered; use another version")

    with pytest.raises(BundleError) as caught:
        load()
    ledger.finish("failed", caught.value)
    recorded = ledger.to_json()
    assert recorded["status"] == "failed"
    assert recorded["stages"] == [{"name": "load", "status": "failed", "duration_s": 2.0}]
    assert recorded["error"] == {
        "class": "BundleError",
        "exit_code": 4,
        "message": "m@3: model.onnx was altered; use another version",
    }


def test_the_message_of_a_library_is_not_recorded(make: Callable[..., Ledger], storage: Storage) -> None:
    ledger = make()
    ledger.finish("failed", ValueError("cannot convert 'a sentence somebody wrote' to int"))
    ledger.save(storage, "a.json")
    assert read_ledger(storage, "a.json")["error"] == {"class": "ValueError", "exit_code": 1, "message": None}
    assert b"somebody" not in storage.read("a.json")


def test_an_interrupted_run_can_be_recorded(make: Callable[..., Ledger]) -> None:
    ledger = make()
    ledger.finish("failed", KeyboardInterrupt())
    assert ledger.to_json()["error"]["class"] == "KeyboardInterrupt"


SECRETS: dict[str, object] = {
    "password": "canary",
    "Secret": "canary",
    "hf_token": "canary",
    "token": "canary",
    "sessionToken": "canary",
    "s3.session-token": "canary",
    "s3.secret-access-key": "canary",
    "s3.access-key-id": "canary",
    "fs.s3a.access.key": "canary",
    "credential": "canary",
    "api_key": "canary",
    "uri": "postgresql://ada:canary@host/db",
    "nested": {"deeper": [{"db_password": "canary"}, "https://canary@host/x"]},
}


def test_secrets_are_dropped_wherever_they_stand(make: Callable[..., Ledger], storage: Storage) -> None:
    harmless = {"tokenizer": "t", "max_tokens": 5, "tokens_per_s": 7, "key": "k", "uri2": "s3://bucket/a@b"}
    ledger = make(config=SECRETS | harmless)
    ledger.inputs("https://user:canary@host/labels.csv", None, token="canary")
    ledger.results |= {"secret": "canary"}
    ledger.finish("failed", StorageError("https://ada:canary@host: cannot read"))
    ledger.save(storage, "a.json")
    assert b"canary" not in storage.read("a.json")
    stored = read_ledger(storage, "a.json")
    assert stored["config"] == {
        "uri": "postgresql://***@host/db",
        "nested": {"deeper": [{}, "https://***@host/x"]},
        **harmless,
    }
    assert stored["inputs"][0]["uri"] == "https://***@host/labels.csv"


def test_any_config_becomes_plain_json(make: Callable[..., Ledger], storage: Storage) -> None:
    class Mode(Enum):
        FULL = "full"

    config: dict[str, object] = {
        "path": Path("/a/b"),
        "day": date(2026, 11, 23),
        "at": MOMENT,
        "names": ("a", "b"),
        "set": {"b", "a"},
        "none": None,
        "flag": True,
        "infinite": float("inf"),
        "nan": float("nan"),
        "share": 0.1,
        "mode": Mode.FULL,
        "text": "ünï",
        "by_number": {1: "x"},
    }
    make(config=config).save(storage, "a.json")
    stored = json.loads(storage.read("a.json"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert stored["config"] == {
        "path": "/a/b",
        "day": "2026-11-23",
        "at": "2026-11-23T23:01:02+00:00",
        "names": ["a", "b"],
        "set": ["a", "b"],
        "none": None,
        "flag": True,
        "infinite": "inf",
        "nan": "nan",
        "share": 0.1,
        "mode": "full",
        "text": "ünï",
        "by_number": {"1": "x"},
    }


def test_config_is_that_of_the_start(make: Callable[..., Ledger]) -> None:
    config: dict[str, Any] = {"seed": 1, "training": {"epochs": 2}}
    ledger = make(config=config)
    config["seed"], config["training"]["epochs"] = 5, 6
    assert ledger.to_json()["config"] == {"seed": 1, "training": {"epochs": 2}}


def test_peak_memory_is_in_bytes_and_sees_children() -> None:
    code = "from tlnlp.runs.ledger import peak_memory; import subprocess, sys\n"
    code += "before = peak_memory(); held = bytearray(300_000_000); after = peak_memory(); del held\n"
    code += "subprocess.run([sys.executable, '-c', 'x = bytearray(500_000_000)'], check=True)\n"
    code += "import json; print(json.dumps([before, after, peak_memory()]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after, last = json.loads(done.stdout)
    grown = after["process_bytes"] - before["process_bytes"]
    assert 200_000_000 < grown < 400_000_000
    assert 500_000_000 < last["largest_child_bytes"] < 700_000_000
    assert last["process_bytes"] < 500_000_000
    assert set(peak_memory()) == {"process_bytes", "largest_child_bytes"}


def test_only_installed_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert library_versions()["pyarrow"] == version("pyarrow")
    monkeypatch.setattr("tlnlp.runs.ledger.LIBRARIES", ("numpy", "tlnlp-no-such-library"))
    assert library_versions() == {"numpy": version("numpy")}


def test_ledgers_are_listed_newest_first(make: Callable[..., Ledger], clock: Clock, storage: Storage) -> None:
    assert list_ledgers(storage, "ledgers") == []
    for run_id in ("b", "a", "c"):
        make(run_id).save(storage, f"ledgers/{run_id}.json")
        clock.pass_s(60)
    storage.write("ledgers/notes.txt", b"not a ledger")
    make("elsewhere").save(storage, "other/elsewhere.json")
    listed = list_ledgers(storage, "ledgers")
    assert [ledger["run_id"] for ledger in listed] == ["c", "a", "b"]
    assert listed[0] == read_ledger(storage, "ledgers/c.json")


@pytest.mark.parametrize("damage", [b"", b"\xff", b"{", b"[]", b"{}", b'{"run_id": "x"}'])
def test_a_damaged_ledger_hides_nothing(make: Callable[..., Ledger], storage: Storage, damage: bytes) -> None:
    make("good").save(storage, "ledgers/good.json")
    storage.write("ledgers/bad.json", damage)
    assert [(one["run_id"], one["status"]) for one in list_ledgers(storage, "ledgers")] == [
        ("good", "started"),
        ("bad", "unreadable"),
    ]
    with pytest.raises(StorageError, match=r"ledgers/bad.json: not a ledger of tlnlp; delete it"):
        read_ledger(storage, "ledgers/bad.json")
    with pytest.raises(NotFoundError):
        read_ledger(storage, "ledgers/none.json")
