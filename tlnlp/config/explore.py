"""Settings of ``tlnlp explore``, whose complete file is ``conf/explore.yaml``, and of ``tlnlp report``.

The default of a key stands in its line; the text below the line says what the key means.
"""

from __future__ import annotations

from pydantic import Field

from tlnlp.config.base import ByteSize, Day, Names, Uri
from tlnlp.config.labelling import LabellingSettings
from tlnlp.config.shared import RegistrySettings, TableSettings


class ReportSettings(RegistrySettings, TableSettings, LabellingSettings):
    """Settings of ``tlnlp report``: where the model is, and with ``--night`` the table of scores.

    Without ``--night`` only ``registry`` is read.
    """

    score_date: Day | None = None
    """Day of the night. None: the newest night."""
    rows: int = Field(200, ge=0, le=1000)
    """Documents that are listed: the most doubtful ones."""


class ExploreSettings(RegistrySettings, TableSettings, LabellingSettings):
    """Settings of ``tlnlp explore``."""

    documents: Uri | None = None
    """Path or URI of the documents, from which the texts of shown documents are read. None: where the ledger of the
    night says that they were."""
    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on. Any other than a loopback address makes a token necessary, which is a part of the printed
    URL; the variable TLNLP_EXPLORE_TOKEN sets it."""
    port: int = Field(8300, ge=0, le=65535)
    """Port to listen on. 0: any free port."""
    allowed_hosts: Names = ()
    """Further names by which a browser may reach the pages, such as that of a proxy. Without them, only ``host`` and
    addresses made of digits are accepted."""
    held_out: Uri | None = None
    """Labels on which the page Model compares two versions; neither may have learned from them. None: those that were
    set aside when the later one was trained (``held_out_share``)."""
    memory_limit: ByteSize = Field(ByteSize(400_000_000), gt=0)
    """Most memory of one query, such as ``500MB``. Sorts and joins that need more go to a temporary folder, which is
    removed."""
    timeout_s: float = Field(120.0, gt=0)
    """Most seconds that one query may compute."""
    export_rows: int = Field(1_000_000, ge=1)
    """Most rows of an exported selection."""
