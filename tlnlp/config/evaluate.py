"""Settings of evaluation and promotion: the complete files are ``conf/evaluate.yaml`` and ``conf/promote.yaml``.

The default of a key stands in its line; the text below the line says what the key means.
"""

from __future__ import annotations

from pydantic import Field

from tlnlp.config.base import Uri
from tlnlp.config.shared import DEFAULT_WORKSPACE, LabelSettings


class EvaluateSettings(LabelSettings):
    """Settings of ``tlnlp evaluate``. ``classes`` left empty are those of the version."""

    model: str = "classifier"
    """NAME, NAME@champion or NAME@VERSION. A name alone is its champion; for ``promote``, its newest version."""
    registry: Uri = f"{DEFAULT_WORKSPACE}/registry"
    """Folder or URI of the model registry."""
    threads: int = Field(0, ge=0)
    """Threads of the encoder. 0: one for each core."""


class PromoteSettings(EvaluateSettings):
    """Settings of ``tlnlp promote`` and ``jobs/promote.py``."""

    labels: Uri = ""
    """Path or URI of labels that neither version was trained on: Parquet, JSON Lines or CSV, a file or a folder of
    files. Empty: those that ``held_out_share`` set aside when the candidate was trained. The first promotion of a
    model needs none."""
    margin: float = Field(0.02, ge=0, lt=1)
    """Largest loss of accuracy that the gate allows, as a share of the texts (0.02 is two percentage points)."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Confidence of the one-sided interval of the difference in accuracy that the gate compares with ``margin``."""
    min_labels: int = Field(50, ge=2)
    """Least number of valid labelled examples; with fewer, the gate refuses."""
    force: bool = False
    """Whether to promote even if the gate refuses. Needs a ``reason``."""
    reason: str = ""
    """Why the version is promoted; recorded with the alias."""
    by: str = ""
    """Who promotes; recorded with the alias. Empty: the user that runs the process."""
