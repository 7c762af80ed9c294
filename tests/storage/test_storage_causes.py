"""A failure of a store names its cause and the next step, with the real errors of the libraries and the system."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import obstore
import pytest
import s3_server
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError, SSOTokenLoadError
from obstore.store import LocalStore, S3Store
from pyarrow.fs import S3FileSystem

from tlnlp.errors import EngineError, NotFoundError, StorageError
from tlnlp.storage import Storage
from tlnlp.storage.causes import cause_of, is_full, storage_failure


def s3(bucket: str, **changes: str) -> S3Store:
    """Return a store on the real server that tries once."""
    found: dict[str, Any] = {
        "endpoint": os.environ["AWS_ENDPOINT_URL"],
        "access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "region": "us-east-1",
    }
    return S3Store(
        bucket,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=5)},
        **(found | changes),
    )


def boto(**changes: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5)
    return boto3.client("s3", config=config, **{"endpoint_url": os.environ["AWS_ENDPOINT_URL"]} | changes)


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(Exception) as raised:  # noqa: PT011  # each library has classes of its own
        call()
    cause = cause_of(raised.value)
    assert cause is not None, raised.value
    assert cause.step
    return cause.reason


def test_a_missing_bucket_is_no_missing_object(s3_bucket: str) -> None:
    assert reason(lambda: list(obstore.list(s3("nowhere")))) == "the bucket does not exist"
    assert reason(lambda: boto().list_objects_v2(Bucket="nowhere")) == "the bucket does not exist"
    for call in (lambda at: at.read("a"), lambda at: at.write("a", b"1"), lambda at: list(at.list())):
        with pytest.raises(StorageError, match=r"s3://nowhere.*\(the bucket does not exist\); create it") as raised:
            call(Storage("s3://nowhere/folder"))
        assert type(raised.value) is StorageError
    # The name of a missing object says nothing about the cause.
    for name in ("NoSuchBucket", "403 Forbidden", "timed out.json", "No space left on device"):
        with pytest.raises(NotFoundError):
            Storage(f"{s3_bucket}/causes").read(name)


def test_wrong_and_missing_rights(s3_bucket: str) -> None:
    bucket = s3_bucket.removeprefix("s3://")
    refused = "the store refuses the credentials"
    assert reason(lambda: obstore.put(s3(bucket, secret_access_key="wrong"), "a", b"1")) == refused
    assert reason(lambda: obstore.get(s3(bucket, access_key_id="unknown"), "a")) == refused
    assert reason(lambda: obstore.head(s3(bucket, secret_access_key="wrong"), "a")) == "Permission denied"
    assert reason(lambda: boto(aws_secret_access_key="x", aws_access_key_id="y").list_buckets()) == refused


def test_no_server_and_no_such_host(s3_bucket: str) -> None:
    closed = f"http://127.0.0.1:{s3_server.free_port()}"
    unknown = "http://nowhere.invalid:1"
    for endpoint, expected in ((closed, "Connection refused"), (unknown, "the host name cannot be resolved")):
        store, client = s3("b", endpoint=endpoint), boto(endpoint_url=endpoint)
        assert reason(partial(obstore.get, store, "a")) == expected
        assert reason(client.list_buckets) == expected
    arrow = S3FileSystem(endpoint_override=closed.removeprefix("http://"), scheme="http", request_timeout=1)
    assert reason(lambda: arrow.open_input_file("b/a")) == "Connection refused"
    with (
        pytest.raises(OSError, match="refused") as raised,
        socket.create_connection(("127.0.0.1", int(closed.rpartition(":")[2]))),
    ):
        pass
    assert str(storage_failure(raised.value)).endswith("check that the server runs, and its address and port")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ExpiredToken", "the credentials have expired"),
        ("ExpiredTokenException", "the credentials have expired"),
        ("RequestTimeTooSkewed", "the clock of this machine is wrong"),
        ("AccessDenied", "Permission denied"),
        ("NoSuchBucket", "the bucket does not exist"),
        ("PermanentRedirect", "the bucket is in another region"),
    ],
)
def test_what_a_server_says_by_its_code(code: str, expected: str) -> None:
    answer = {"Error": {"Code": code, "Message": "x"}}
    assert reason(lambda: _raise(ClientError(answer, "PutObject"))) == expected
    text = f"Error performing PUT http://h/timeout in 1ms - status code: 400 Bad Request: <Error><Code>{code}</Code>"
    assert reason(lambda: _raise(obstore.exceptions.GenericError(text))) == expected


def test_no_or_old_credentials() -> None:
    assert reason(lambda: _raise(NoCredentialsError())) == "no credentials were found"
    old = SSOTokenLoadError(error_msg="Token for x does not exist")
    assert reason(lambda: _raise(old)) == "the credentials have expired"


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("number", "expected", "step"),
    [
        (errno.ENOSPC, "No space left on device", "free disk space"),
        (errno.EROFS, "Read-only file system", "choose a folder"),
        (errno.EACCES, "Permission denied", "ask for access"),
    ],
)
def test_what_the_system_says_by_its_number(number: int, expected: str, step: str) -> None:
    for error in (
        OSError(number, os.strerror(number), "/data/x"),
        obstore.exceptions.GenericError(f"Unable to open file /data/x#1: {os.strerror(number)} (os error {number})"),
        OSError(f"[Errno {number}] Error writing bytes to file"),
    ):
        cause = cause_of(error)
        assert cause is not None
        assert cause.reason == expected
        assert step in cause.step
    assert str(storage_failure(OSError(number, "x", "/data/x"))).startswith("/data/x: cannot be read or written (")


def test_an_error_of_another_kind_has_no_cause() -> None:
    assert storage_failure(RuntimeError("the request timed out")) is None
    assert storage_failure(ValueError("a text: no space left, access denied")) is None
    assert cause_of(FileNotFoundError(errno.ENOENT, "No such file", "/a/Permission denied/timed out")) is None


def test_a_full_disk_below_another_error_is_found() -> None:
    error = EngineError("Spark failed")
    error.__cause__ = RuntimeError("java.io.IOException: No space left on device\n\tat java.base")
    assert is_full(error)
    assert not is_full(EngineError("Spark failed: No space left on device"))


def mounted(folder: Path, options: str) -> bool:
    """Mount a small file system in memory, where this user may."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.mark.parametrize(("options", "expected"), [("size=64k", "No space left on device"), ("ro", "Read-only file")])
def test_a_full_and_a_read_only_file_system(tmp_path: Path, options: str, expected: str) -> None:
    folder = tmp_path / "small"
    if not mounted(folder, options):
        pytest.skip("this user may not mount a file system")
    try:
        with pytest.raises(StorageError, match=expected):
            Storage(str(folder)).write("a", b"x" * (1 << 20))
        with pytest.raises(Exception, match="os error"):
            obstore.put(LocalStore(prefix=str(folder)), "b", b"x" * (1 << 20))
        # Where the command itself writes, it ends with the code of a store and the cause.
        command = [
            sys.executable,
            "-c",
            "from tlnlp.cli.entry import guarded; import sys; sys.exit(guarded(CALL, False))",
        ]
        command[2] = command[2].replace("CALL", f"lambda: open({str(folder / 'c')!r}, 'wb').write(b'x' * (1 << 20))")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 6
        assert done.stderr.startswith("tlnlp: ")
        assert expected in done.stderr
        assert "unexpected" not in done.stderr
    finally:
        subprocess.run(["umount", str(folder)], check=True)
