"""Settings that several jobs share: the places of a workspace, a labelled set, the cost of machines.

The default of a key stands in its line; the text below the line says what the key means.
"""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tlnlp.config.base import Names, Settings, Uri

DEFAULT_WORKSPACE = ".tlnlp"
OnFault = Literal["fail", "skip"]
InputFormat = Literal["auto", "parquet", "json", "csv"]
# On a command line, a tab is easier to write as backslash and t.
_Character = Annotated[str, BeforeValidator(lambda value: "\t" if value == "\\t" else value)]


def _encoding(name: str) -> str:
    """Return Python's name of an encoding, if texts in it can be split into lines before they are decoded."""
    ascii = rb"\u0041", bytes(range(128))
    ends = [bytes([first]) + end for first in range(128, 256) for end in (b"\n", b"\r")]
    try:
        if all(each.decode(name) == each.decode("ascii") for each in ascii) and all(
            _keeps_its_end(line, name) for line in ends
        ):
            return codecs.lookup(name).name
    except (LookupError, ValueError):
        pass
    raise ValueError(
        f"{name!r} is not an encoding that can be read by lines, such as utf-8, latin-1 or cp1252; convert the files "
        "to UTF-8 (iconv -t UTF-8)"
    )


def _keeps_its_end(line: bytes, encoding: str) -> bool:
    try:
        return line.decode(encoding).endswith(line[1:].decode("ascii"))
    except UnicodeDecodeError:
        return True  # The bytes before the end are an incomplete character, which readers find too.


Encoding = Annotated[str, AfterValidator(_encoding)]


class RegistrySettings(Settings):
    """Where the registry is."""

    registry: Uri = f"{DEFAULT_WORKSPACE}/registry"
    """Folder or URI of the model registry."""


class WarehouseSettings(Settings):
    """Where the warehouse is."""

    warehouse: Uri = f"{DEFAULT_WORKSPACE}/warehouse"
    """Folder or URI of the warehouse."""
    catalog: str | None = None
    """Name of a catalog in PyIceberg's configuration. None: the warehouse is its own catalog."""


class TableSettings(WarehouseSettings):
    """Which table of scores, and where its warehouse is."""

    table: str = Field("scores", pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Name of the table of scores. A table takes one source and one model."""


class CsvSettings(Settings):
    """How files in CSV are written."""

    header: bool = True
    """Whether the first row holds the names of the columns. Without it they are named ``_c0``, ``_c1``, ..."""
    delimiter: _Character = Field(",", min_length=1, max_length=1)
    """Character between two fields; ``\\t`` is a tab."""
    quote: str = Field('"', max_length=1)
    """Character around a quoted field. Empty: no field is quoted."""
    escape: str = Field('"', max_length=1)
    """Character before a quote inside a quoted field. Empty: a quoted field holds no quote."""
    multiline: bool = True
    """Whether quoted fields may hold line breaks. With False, a large file can be read in parts, by several tasks."""

    @model_validator(mode="after")
    def _check(self) -> CsvSettings:
        if self.delimiter in (self.quote, self.escape, "\n", "\r") or {self.quote, self.escape} & {"\n", "\r"}:
            raise ValueError("delimiter must differ from quote and escape, and none of them is a line break")
        return self


class LabelSettings(Settings):
    """Where a labelled set is, and what it must fulfil."""

    labels: Uri = Field(min_length=1)
    """Path or URI of Parquet, JSON Lines or CSV: a file, or a folder of files."""
    format: InputFormat = "auto"
    """File format of the labels. json is JSON Lines. auto: of each file, by its name."""
    csv: CsvSettings = CsvSettings()
    """How labels in CSV are written."""
    encoding: Encoding = "utf-8"
    """Encoding of labels in CSV and JSON Lines: utf-8, or another one whose first 128 characters are ASCII, by Python's
    name: latin-1, cp1252."""
    text_column: str = "text"
    """Name of the column of texts."""
    label_column: str = "label"
    """Name of the column of labels."""
    classes: Names = ()
    """The allowed labels. Empty: every label that occurs is a class. Otherwise, any other label is a fault."""
    min_per_class: int = Field(5, ge=1)
    """Least number of valid examples of each class; fewer are a fault, where the set is used for training."""
    on_fault: OnFault = "fail"
    """fail: a set with faults is refused. skip: faulty rows are left out."""


class LineageSettings(Settings):
    """Where OpenLineage events of a run are sent; they are kept beside its ledger in any case."""

    namespace: str = Field("tlnlp", min_length=1)
    """Name of this installation, in which jobs are named."""
    url: str | None = Field(None, pattern=r"^https?://")
    """Address that takes events, such as http://marquez:5000/api/v1/lineage. OPENLINEAGE_API_KEY holds a token for it.
    None: none are sent."""
    timeout_s: float = Field(5.0, gt=0)
    """Most seconds that each step of sending an event may take. A failure is only logged."""


class CostSettings(Settings):
    """What the machines of a run cost, and the budget of the run. With no price set, no cost is computed."""

    instance: str | None = None
    """Name of a machine in the price list. None: the list is not used."""
    instances: int = Field(1, ge=1)
    """Number of machines that the run keeps busy, including the machine of the driver."""
    usd_per_hour: float | None = Field(None, ge=0)
    """Price of one machine, in US dollars an hour. Replaces the price in the list. None: the list's price."""
    prices: str | None = None
    """Path of a price list of your own, a YAML file like ``conf/prices.yaml``. None: the list that comes with tlnlp."""
    budget_usd: float | None = Field(None, gt=0)
    """Most that the run may cost, in US dollars. A run that is expected to cost more is refused; a run that has come
    to cost more is stopped, and can be resumed. None: no limit."""
