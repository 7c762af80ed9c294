"""Fine-tune a classifier on labelled examples; runs on a Ray cluster."""

from __future__ import annotations

import sys

from tlnlp.cli.entry import Result, run_job
from tlnlp.config import FinetuneSettings


def stage(settings: FinetuneSettings) -> Result:
    # Imported late: the process environment must be set before the engine is loaded.
    from tlnlp.train.finetune import finetune

    return finetune(settings)


if __name__ == "__main__":
    sys.exit(run_job(__doc__ or "", FinetuneSettings, stage))
