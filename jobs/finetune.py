"""Fine-tune a classifier on labelled examples and register it as a new version. Runs on a Ray cluster."""

from __future__ import annotations

from tlnlp.cli.job import run_job
from tlnlp.cli.options import Result
from tlnlp.config import FinetuneSettings


def stage(settings: FinetuneSettings) -> Result:
    """Train and register one version."""
    # Imported late: the environment of the process must be set before the engine is loaded.
    from tlnlp.train.finetune import finetune

    return finetune(settings)


if __name__ == "__main__":
    run_job(__doc__ or "", FinetuneSettings, stage)
