"""The stores on which the behaviour suite runs; a new store is one more line in STORES."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from tlnlp.storage import Storage

Factory = Callable[[pytest.FixtureRequest], str]


def local_folder(request: pytest.FixtureRequest) -> str:
    tmp_path_factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    return str(tmp_path_factory.mktemp("store") / f"root {uuid4().hex[:6]}")


def s3_folder(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue('s3_bucket')}/store/root {uuid4().hex[:6]}"


def azure_folder(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue('azure_container')}/store/root {uuid4().hex[:6]}"


# name -> factory of the URI of an empty root; a factory may start a server through the request's fixtures.
STORES: dict[str, Factory] = {"local": local_folder, "s3": s3_folder, "azure": azure_folder}


@pytest.fixture(params=list(STORES.values()), ids=list(STORES))
def root(request: pytest.FixtureRequest) -> str:
    factory: Factory = request.param
    return factory(request)


@pytest.fixture
def storage(root: str) -> Storage:
    return Storage(root)
