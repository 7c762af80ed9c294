"""Entries in Glue: boto3 validates every request and sends it to a local server with Glue's rules."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import glue_server
import pytest
from botocore.exceptions import ParamValidationError

from tlnlp.errors import NotFoundError, PublishConflictError, StorageError
from tlnlp.storage.s3 import aws_client, s3_of_environment
from tlnlp.warehouse.glue import register, table_input
from tlnlp.warehouse.published import Published
from tlnlp.warehouse.schema import SCORES, Column

FOLDER = "s3://example-bucket/warehouse/tables/scores"


def facts(night: int) -> Published:
    columns = (*SCORES, Column("stars", "int"))
    file = f"{FOLDER}/metadata/{night:05}.metadata.json"
    return Published("scores", FOLDER, file, None, columns, tuple(range(1, len(columns) + 1)))


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> Iterator[glue_server.Glue]:
    served = glue_server.Glue()
    with glue_server.running(served) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield served


def entry(glue: glue_server.Glue) -> dict[str, Any]:
    return glue.databases["analytics"]["scores"]


def test_the_first_night_makes_the_entry_and_later_ones_move_it(glue: glue_server.Glue) -> None:
    client = aws_client("glue")
    assert register(client, "analytics", lambda: facts(1)) == "created"
    found = entry(glue)
    assert found["Parameters"] == {"table_type": "ICEBERG", "metadata_location": facts(1).metadata_location}
    assert found["TableType"] == "EXTERNAL_TABLE"
    assert found["StorageDescriptor"]["Location"] == FOLDER
    columns = {column["Name"]: column["Type"] for column in found["StorageDescriptor"]["Columns"]}
    assert (columns["probabilities"], columns["model_version"], columns["stars"], columns["scored_at"]) == (
        "map<string,double>", "bigint", "int", "timestamp",
    )  # fmt: skip
    assert register(client, "analytics", lambda: facts(1)) == "unchanged"
    assert entry(glue)["VersionId"] == "0"
    assert register(client, "analytics", lambda: facts(2)) == "updated"
    assert entry(glue)["VersionId"] == "1"
    assert entry(glue)["Parameters"]["metadata_location"] == facts(2).metadata_location
    assert entry(glue)["Parameters"]["previous_metadata_location"] == facts(1).metadata_location


def test_what_others_added_to_the_entry_stays(glue: glue_server.Glue) -> None:
    client = aws_client("glue")
    register(client, "analytics", lambda: facts(1))
    entry(glue)["Description"] = "reviews, scored"
    entry(glue)["Parameters"]["optimizer"] = "on"
    register(client, "analytics", lambda: facts(2))
    assert entry(glue)["Description"] == "reviews, scored"
    assert entry(glue)["Parameters"]["optimizer"] == "on"


def test_another_announcer_in_between_is_seen(glue: glue_server.Glue) -> None:
    client = aws_client("glue")
    register(client, "analytics", lambda: facts(1))
    interruptions = iter([facts(3)])
    newest = facts(2)

    def interrupt(operation: str) -> None:
        nonlocal newest
        if operation == "UpdateTable":
            for other in interruptions:
                newest = other
                glue.put("analytics", table_input(other, entry(glue)), int(entry(glue)["VersionId"]) + 1)

    glue.before = interrupt
    # The update to night 2 lost the race; the second look found that the entry names night 3 already.
    assert register(client, "analytics", lambda: newest) == "unchanged"
    assert entry(glue)["Parameters"]["metadata_location"] == facts(3).metadata_location
    assert glue.operations()[-3:] == ["GetTable", "UpdateTable", "GetTable"]


def test_an_announcer_that_is_late_does_not_turn_the_entry_back(glue: glue_server.Glue) -> None:
    client = aws_client("glue")
    register(client, "analytics", lambda: facts(1))
    newest = facts(2)

    def interrupt(operation: str) -> None:
        nonlocal newest
        if operation == "GetTable" and newest == facts(2):  # night 3 is announced before we read the entry
            newest = facts(3)
            glue.put("analytics", table_input(newest, entry(glue)), 1)

    glue.before = interrupt
    assert register(client, "analytics", lambda: newest) == "unchanged"
    assert entry(glue)["Parameters"]["metadata_location"] == facts(3).metadata_location


def test_another_announcer_may_make_the_entry_first(glue: glue_server.Glue) -> None:
    def interrupt(operation: str) -> None:
        if operation == "CreateTable" and "scores" not in glue.databases["analytics"]:
            glue.put("analytics", table_input(facts(1)), 0)

    glue.before = interrupt
    assert register(aws_client("glue"), "analytics", lambda: facts(2)) == "updated"
    assert entry(glue)["Parameters"]["metadata_location"] == facts(2).metadata_location


def test_of_announcers_at_once_the_entry_ends_at_the_newest(glue: glue_server.Glue) -> None:
    nights = iter(range(1, 100))
    newest = facts(0)

    def publish_and_announce(_: int) -> str:
        nonlocal newest
        newest = facts(next(nights))
        return register(aws_client("glue"), "analytics", lambda: newest)

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(publish_and_announce, range(4)))
    assert outcomes.count("created") == 1
    assert entry(glue)["Parameters"]["metadata_location"] == newest.metadata_location


def test_an_announcer_that_always_loses_raises(glue: glue_server.Glue) -> None:
    client = aws_client("glue")
    register(client, "analytics", lambda: facts(1))

    def interrupt(operation: str) -> None:
        if operation == "UpdateTable":
            entry(glue)["VersionId"] = str(int(entry(glue)["VersionId"]) + 1)

    glue.before = interrupt
    with pytest.raises(PublishConflictError, match="6 times in a row; announce again"):
        register(client, "analytics", lambda: facts(2))


@pytest.mark.parametrize(
    "parameters",
    [{}, {"table_type": "ICEBERG", "metadata_location": "s3://other/tables/scores/metadata/1.metadata.json"}],
)
def test_an_entry_of_another_table_is_left_alone(glue: glue_server.Glue, parameters: dict[str, str]) -> None:
    glue.put("analytics", {"Name": "scores", "Parameters": parameters}, 0)
    with pytest.raises(PublishConflictError, match=r"analytics\.scores is another table"):
        register(aws_client("glue"), "analytics", lambda: facts(1))
    assert entry(glue)["Parameters"] == parameters


def test_the_message_of_a_refusal_does_not_quote_aws(glue: glue_server.Glue) -> None:
    with pytest.raises(NotFoundError, match="no database nowhere; create it"):
        register(aws_client("glue"), "nowhere", lambda: facts(1))

    def refuse(operation: str) -> None:
        raise glue_server.RefusalError("AccessDeniedException")

    glue.before = refuse
    with pytest.raises(StorageError, match=r"AccessDeniedException.*glue:UpdateTable") as caught:
        register(aws_client("glue"), "analytics", lambda: facts(1))
    assert "canary" not in str(caught.value)


def test_a_glue_that_does_not_answer_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with glue_server.running(glue_server.Glue()) as environment:
        pass
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match="cannot be reached"):
        register(aws_client("glue"), "analytics", lambda: facts(1))


def test_boto_validates_what_is_sent(glue: glue_server.Glue) -> None:
    """The tests above rely on this: boto3 does not send a request that Glue's API model forbids."""
    client = aws_client("glue")
    wrong = table_input(facts(1)) | {"StorageDescriptor": {"Columns": [{"Nam": "a"}]}}
    with pytest.raises(ParamValidationError, match="Nam"):
        client.create_table(DatabaseName="analytics", TableInput=wrong)
    assert not glue.asked


def test_the_region_comes_from_the_environment_and_a_missing_one_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match="no AWS region is set; set AWS_REGION"):
        aws_client("glue")
    assert aws_client("glue", "eu-central-1").meta.region_name == "eu-central-1"
    # boto3 itself ignores AWS_REGION.
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert aws_client("glue").meta.region_name == s3_of_environment().region == "eu-west-1"
