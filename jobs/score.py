"""Score one day of documents and publish the scores as one snapshot. Runs on a Spark cluster."""

from __future__ import annotations

from tlnlp.cli.job import run_job
from tlnlp.cli.options import Result
from tlnlp.config import ScoreSettings


def stage(settings: ScoreSettings) -> Result:
    """Score and publish one day."""
    # Imported late: the environment of the process must be set before the engine is loaded.
    from tlnlp.score.job import score

    return score(settings)


if __name__ == "__main__":
    run_job(__doc__ or "", ScoreSettings, stage)
