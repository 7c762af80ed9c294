"""Register a table in the Glue Data Catalog, through which Athena, Redshift and EMR read it.

The table's own catalog is elsewhere; the Glue entry only names the current metadata file, in the form of Iceberg's own
Glue catalog (``table_type``, ``metadata_location``, ``previous_metadata_location``;
https://docs.aws.amazon.com/glue/latest/webapi/API_TableInput.html). An update is conditional on the entry's version
(``VersionId``), and the current metadata file is looked up after that version was read. So when two nights announce at
once, the entry ends at the newer one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from tlnlp.errors import NotFoundError, PublishConflictError, StorageError, TlnlpError
from tlnlp.storage.causes import described
from tlnlp.warehouse.published import Published
from tlnlp.warehouse.schema import PROBABILITIES

Outcome = Literal["created", "updated", "unchanged"]

_TRIES = 6
_TYPES = {"long": "bigint", PROBABILITIES: "map<string,double>"}
# Fields of an entry that an update would remove unless it repeats them.
_PRESERVED = ("Description", "Owner", "Retention")


def register(client: Any, database: str, current: Callable[[], Published]) -> Outcome:
    """Create or update the Glue entry of a table so that it names the current metadata file.

    Args:
        client: boto3's client of Glue.
        database: Glue database of the entry.
        current: returns the table as it is at the moment of the call.

    Returns:
        ``created``, ``updated`` or ``unchanged``.

    Raises:
        NotFoundError: the database does not exist.
        PublishConflictError: the name belongs to another table, or others changed the entry during every try.
        StorageError: Glue refuses or cannot be reached; the message gives only Glue's error code.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    name = current().name
    try:
        for _ in range(_TRIES):
            try:
                return _register_once(client, database, name, current)
            except ClientError as error:
                if _code(error) not in ("ConcurrentModificationException", "AlreadyExistsException"):
                    raise _refused(error, database, name) from error
    except BotoCoreError as error:
        raise StorageError(f"Glue cannot be reached for {database}.{name} {described(error)}") from error
    raise PublishConflictError(f"Glue: others changed {database}.{name} {_TRIES} times in a row; announce again")


def _register_once(client: Any, database: str, name: str, current: Callable[[], Published]) -> Outcome:
    entry = _entry(client, database, name)
    table = current()
    if entry is None:
        client.create_table(DatabaseName=database, TableInput=table_input(table))
        return "created"
    before = entry.get("Parameters", {})
    if before.get("table_type", "").upper() != "ICEBERG" or not _same_place(before, table):
        raise PublishConflictError(
            f"Glue: {database}.{name} is another table; announce to another database, or remove that entry"
        )
    if before["metadata_location"] == table.metadata_location:
        return "unchanged"
    client.update_table(
        DatabaseName=database, TableInput=table_input(table, entry), VersionId=entry["VersionId"], SkipArchive=True
    )
    return "updated"


def _entry(client: Any, database: str, name: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    try:
        found: dict[str, Any] = client.get_table(DatabaseName=database, Name=name)["Table"]
    except ClientError as error:
        # Glue gives the same code for a missing database; then creating the table fails.
        if _code(error) == "EntityNotFoundException":
            return None
        raise
    return found


def _same_place(parameters: dict[str, str], table: Published) -> bool:
    return parameters.get("metadata_location", "").startswith(f"{table.location}/")


def table_input(table: Published, entry: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return Glue's ``TableInput`` for the table, with what others added to the present ``entry`` preserved."""
    parameters = dict((entry or {}).get("Parameters", {}))
    if "metadata_location" in parameters:
        parameters["previous_metadata_location"] = parameters["metadata_location"]
    parameters |= {"table_type": "ICEBERG", "metadata_location": table.metadata_location}
    columns = [
        {
            "Name": column.name,
            "Type": _TYPES.get(column.type, column.type),
            "Parameters": {
                "iceberg.field.id": str(field_id),
                "iceberg.field.optional": str(not column.required).lower(),
                "iceberg.field.current": "true",
            },
        }
        for column, field_id in zip(table.columns, table.field_ids, strict=True)
    ]
    return {key: entry[key] for key in _PRESERVED if entry and key in entry} | {
        "Name": table.name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": parameters,
        "StorageDescriptor": {"Columns": columns, "Location": table.location},
        "PartitionKeys": [],
    }


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _refused(error: Any, database: str, name: str) -> TlnlpError:
    # The message gives only the code, because AWS's own text may repeat the signed request.
    if _code(error) == "EntityNotFoundException":
        return NotFoundError(f"Glue has no database {database}; create it (tlnlp warehouse ddl --dialect athena)")
    return StorageError(
        f"Glue refused {database}.{name} ({_code(error)}); grant glue:GetTable, glue:CreateTable and "
        "glue:UpdateTable on the catalog, the database and the table"
    )
