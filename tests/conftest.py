from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure_server
import kit
import pytest
import s3_server
from xdist.scheduler import LoadScopeScheduling

from tlnlp.runs import environment
from tlnlp.runs.progress import shown_on_stderr

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

environment.apply_defaults()


@pytest.fixture(scope="session", autouse=True)
def progress_on_stderr() -> Iterator[None]:
    """Show progress as the commands do, so that a test that calls the library can read it on stderr."""
    with shown_on_stderr():
        yield


# The rooms whose tests take longest, by far. They start first, so that no process is left with one of them at the end.
LONGEST = ("score", "train")


def room_of(nodeid: str) -> str:
    """Return the room of a test: its folder in tests/."""
    return Path(nodeid.partition("::")[0]).relative_to("tests").parts[0]


class RoomByRoom(LoadScopeScheduling):  # type: ignore[misc]
    """Of processes that share the tests, each takes whole rooms: what a room starts (Ray, Spark) is started once."""

    def _split_scope(self, nodeid: str) -> str:
        return room_of(nodeid)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="record the golden figures of training anew")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the longest rooms come first where several processes share the tests."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: room_of(item.nodeid) not in LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> RoomByRoom:
    config.option.loadscopereorder = False  # xdist would take the rooms with the most tests first.
    return RoomByRoom(config, log)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def tiny_bundle(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.make_bundle(tiny_encoder, tmp_path_factory.mktemp("bundle") / "two")


@pytest.fixture(scope="session")
def worker_tmp() -> Iterator[Path]:
    """The temporary folder of Spark's Python workers, where they lay bundles; short, since Ray's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def s3_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bool]:
    """Whether a real S3 server runs, and this process's AWS environment leads to it. Without one nothing is skipped."""
    if not s3_server.SERVER.exists():
        yield False
        return
    with s3_server.running(tmp_path_factory.mktemp("s3") / "root") as values, s3_server.environment(values):
        yield True


@pytest.fixture(scope="session")
def s3_bucket(s3_environment: bool) -> str:
    """The URI of a bucket on the real S3 server; without one, the test is skipped, loudly."""
    s3_server.require()
    assert s3_environment
    return f"s3://{s3_server.BUCKET}"


@pytest.fixture(scope="session")
def azure_container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a container on a real emulator; without one, the test is skipped, loudly."""
    azure_server.require()
    with azure_server.running(tmp_path_factory.mktemp("azure") / "root") as values, s3_server.environment(values):
        yield f"az://{azure_server.CONTAINER}"


@pytest.fixture(scope="session")
def spark(worker_tmp: Path, s3_environment: bool) -> Iterator[SparkSession]:
    """The one Spark session of this process: Spark has no second beside it."""
    from tlnlp.score.session import spark_session

    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(worker_tmp)  # Spark's processes inherit it; this one has looked it up already.
    try:
        with spark_session(kit.SPARK, 2048) as session:
            yield session
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
