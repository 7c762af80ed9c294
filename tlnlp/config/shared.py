"""Settings that several jobs share: the places of a workspace, a labelled set, the cost of machines.

The default of a key stands in its line; the text below the line says what the key means.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tlnlp.config.base import Names, Settings, Uri

DEFAULT_WORKSPACE = ".tlnlp"
OnFault = Literal["fail", "skip"]


class RegistrySettings(Settings):
    """Where the registry is."""

    registry: Uri = f"{DEFAULT_WORKSPACE}/registry"
    """Folder or URI of the model registry."""


class LabelSettings(Settings):
    """Where a labelled set is, and what it must fulfil."""

    labels: Uri = Field(min_length=1)
    """Path or URI of Parquet, JSON Lines or CSV: a file, or a folder of files."""
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
